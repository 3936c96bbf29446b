"""Every scene by its name."""

import runner_scenes as runners
import scorer_scenes as scorers

SCENES = {
    scene.__name__: scene
    for scene in (
        *(scorers.pope, scorers.mme, scorers.gqa, scorers.gqa_converter, scorers.science_qa, scorers.textvqa),
        *(scorers.video_qa, scorers.seed, scorers.seed_converter, scorers.mmbench, scorers.mmbench_converter),
        *(scorers.vizwiz_converter, scorers.vqav2_converter, scorers.mmvet_converter, scorers.prepare),
        *(scorers.merge, scorers.record, scorers.report, runners.loader, runners.open_ended),
        *(runners.science_runner, runners.mmbench_runner, runners.finished),
    )
}
