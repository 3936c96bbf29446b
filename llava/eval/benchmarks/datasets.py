"""The benchmarks' files: where they lie under `playground/data/eval`, where they come from, how to know them again.

Checksums are those of the files that LLaVA-1.5 was published with (its `eval.zip`) and of POPE's commit e3e39262.
"""

from dataclasses import dataclass

EVAL_ZIP = "eval.zip of LLaVA, Google Drive id 1atZSBBrAX54yYpxtVVW33zFvcnaHeFPy (see LLaVA's docs/Evaluation.md)"
POPE_COMMIT = "https://github.com/AoiDragon/POPE/tree/e3e39262c85a6a83f26cf5094022a782cb0df58d/output/coco"
SCIENCE = "https://github.com/lupantech/ScienceQA/tree/main/data/scienceqa"
OPENXLAB = "https://opencompass.openxlab.space/utils/MMBench/"
OPENXLAB_V11 = "https://opencompass.openxlab.space/utils/benchmarks/MMBench/"
VIDEO_LLAVA = "https://github.com/PKU-YuanGroup/Video-LLaVA, TRAIN_AND_VALIDATE.md"
XU = "https://github.com/xudejing/video-question-answering"
OPENMMLAB = "https://download.openmmlab.com/mmclassification/datasets/mmbench/"


@dataclass(frozen=True)
class Source:
    """A file or, with a slash at its end, a folder: its path under the benchmark's folder and where to get it."""

    path: str
    origin: str
    sha256: str | None = None
    optional: bool = False  # its script can do without


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark needs.

    Attributes:
        folder: under the data folder.
        files: everything that its script reads.
        questions: path of the question file.
        count: questions in the published file.
        images: folder that the questions' image or video names are relative to; empty where pictures lie in the
            question file.
        seen: key of those names: image or video.
    """

    folder: str
    files: tuple[Source, ...]
    questions: str
    count: int
    images: str = ""
    seen: str = "image"


def _mmbench(folder: str, file: str, count: int, language: str, *more: str) -> Benchmark:
    legacy = f"MMBench_TEST_{language}_legacy.tsv"  # VisionDrop's
    answered = f"MMBench_TEST_{language}_V11.tsv"  # with answers since MMBench's server closed
    tests = (
        Source(legacy, OPENXLAB + legacy, optional=True),
        Source(answered, OPENXLAB_V11 + answered, optional=True),
    )
    others = (Source(name, OPENMMLAB + name, optional=True) for name in more)
    return Benchmark(folder, (Source(file, OPENMMLAB + file), *others, *tests), file, count)


def _videos(name: str, folder: str, videos: str, count: int, own: str) -> Benchmark:
    """A benchmark about videos as Video-ChatGPT and Video-LLaVA have it; `own`: where its own files come from."""
    made = f"llava_{name}_qa.jsonl"
    return Benchmark(
        f"GPT_Zero_Shot_QA/{folder}",
        (
            Source("test_q.json", f"{VIDEO_LLAVA}; or {own}"),
            Source("test_a.json", f"{VIDEO_LLAVA}; or {own}"),
            Source(f"{videos}/", f"{VIDEO_LLAVA}; or {own}"),
            Source(made, f"scripts/convert_videoqa_questions.py --dataset {name}, from the others"),
        ),
        made,
        count,
        videos,
        "video",
    )


BENCHMARKS = {
    "gqa": Benchmark(
        "gqa",
        (
            Source(
                "llava_gqa_testdev_balanced.jsonl",
                EVAL_ZIP,
                "515aab3142889269480c71212d3b5b8118704d8da6637d767a0cb5bdf80a3d35",
            ),
            Source("data/images/", "images.zip of https://cs.stanford.edu/people/dorarad/gqa (20.3 GB)"),
            Source(
                "data/testdev_balanced_questions.json",
                "questions1.2.zip of https://downloads.cs.stanford.edu/nlp/data/gqa/",
            ),
        ),
        "llava_gqa_testdev_balanced.jsonl",
        12578,
        "data/images",
    ),
    "mmbench": _mmbench("mmbench", "mmbench_dev_20230712.tsv", 4377, "EN", "mmbench_dev_en_20231003.tsv"),
    "mmbench_cn": _mmbench("mmbench_cn", "mmbench_dev_cn_20231003.tsv", 4329, "CN"),
    "mme": Benchmark(
        "MME",
        (
            Source("llava_mme.jsonl", EVAL_ZIP, "9f67707cb72d2a71df955d0dce84337f2f22eafe2ed473ca3e148c187ac360c5"),
            Source(
                "MME_Benchmark_release_version/",
                "by request: https://github.com/BradyFU/Awesome-Multimodal-Large-Language-Models/tree/Evaluation",
            ),
        ),
        "llava_mme.jsonl",
        2374,
        "MME_Benchmark_release_version",
    ),
    "pope": Benchmark(
        "pope",
        (
            Source(
                "llava_pope_test.jsonl", EVAL_ZIP, "1d3b41f0dced74b4f361c659787ef673497cfac54a6be7bde00eb405bab03c70"
            ),
            Source(
                "coco/coco_pope_adversarial.json",
                POPE_COMMIT,
                "1d8f0906a9b50c05640f6f23abfac97523be2a1bed28f7eadc63b811699b2d26",
            ),
            Source(
                "coco/coco_pope_popular.json",
                POPE_COMMIT,
                "5b16653023bf4f64d57eb0d168259de6627f5cde7538b85ebed3cc33034aa6cc",
            ),
            Source(
                "coco/coco_pope_random.json",
                POPE_COMMIT,
                "c16b65d2df6d70bb0814c8a4375833d39cdb09928fd936d3fc546491efa37f35",
            ),
            Source("val2014/", "http://images.cocodataset.org/zips/val2014.zip"),
        ),
        "llava_pope_test.jsonl",
        8910,
        "val2014",
    ),
    "sqa": Benchmark(
        "scienceqa",
        (
            Source(
                "llava_test_CQM-A.json", EVAL_ZIP, "a2dc5ea9fba561b0d0d8ecc80e688d3b0e1ff308e06c4f4f94cff86b20ec2f0a"
            ),
            Source("pid_splits.json", SCIENCE, "85c7820b9f136e572579a01dab2c77a7f8140b59211e421fa5182491d45ee3a7"),
            Source("problems.json", SCIENCE),
            Source("images/test/", "https://scienceqa.s3.us-west-1.amazonaws.com/images/test.zip"),
        ),
        "llava_test_CQM-A.json",
        4241,
        "images/test",
    ),
    "textvqa": Benchmark(
        "textvqa",
        (
            Source(
                "llava_textvqa_val_v051_ocr.jsonl",
                EVAL_ZIP,
                "9f60db6fb89e369263ed676dc26b48d00d4a462e73f0930c09d23394e9dcf3a3",
            ),
            Source("TextVQA_0.5.1_val.json", "https://dl.fbaipublicfiles.com/textvqa/data/TextVQA_0.5.1_val.json"),
            Source("train_images/", "https://dl.fbaipublicfiles.com/textvqa/images/train_val_images.zip"),
        ),
        "llava_textvqa_val_v051_ocr.jsonl",
        5000,
        "train_images",
    ),
    "vizwiz": Benchmark(
        "vizwiz",
        (
            Source("llava_test.jsonl", EVAL_ZIP, "25b71577dafc1e4049b1a273b8e58d0d8bca510510b512e4925730905c3eceac"),
            Source("test/", "https://vizwiz.cs.colorado.edu/VizWiz_final/images/test.zip"),
        ),
        "llava_test.jsonl",
        8000,
        "test",
    ),
    "vqav2": Benchmark(
        "vqav2",
        (
            Source("llava_vqav2_mscoco_test-dev2015.jsonl", EVAL_ZIP),
            Source("llava_vqav2_mscoco_test2015.jsonl", EVAL_ZIP),
            Source("test2015/", "http://images.cocodataset.org/zips/test2015.zip"),
        ),
        "llava_vqav2_mscoco_test-dev2015.jsonl",
        107394,
        "test2015",
    ),
    "seed": Benchmark(
        "seed_bench",
        (
            Source("llava-seed-bench.jsonl", EVAL_ZIP),
            Source("SEED-Bench.json", "https://huggingface.co/datasets/AILab-CVC/SEED-Bench"),
            Source("SEED-Bench-image/", "https://huggingface.co/datasets/AILab-CVC/SEED-Bench"),
            Source(
                "SEED-Bench-video-image/",
                "extract_video_frames.py of eval.zip, run on the videos that SEED-Bench's DATASET.md names",
            ),
        ),
        "llava-seed-bench.jsonl",
        19242,
        ".",
    ),
    "mmvet": Benchmark(
        "mm-vet",
        (
            Source("llava-mm-vet.jsonl", EVAL_ZIP, "ac90c438b58fa867f3e9ff5d1cb0c27be4dd35f167ea129ccceb246e913a65c6"),
            Source("images/", "https://github.com/yuweihao/MM-Vet/releases/download/v1/mm-vet.zip"),
        ),
        "llava-mm-vet.jsonl",
        218,
        "images",
    ),
    "llavabench": Benchmark(
        "llava-bench-in-the-wild",
        (
            Source("questions.jsonl", "https://huggingface.co/datasets/liuhaotian/llava-bench-in-the-wild"),
            Source("images/", "https://huggingface.co/datasets/liuhaotian/llava-bench-in-the-wild"),
        ),
        "questions.jsonl",
        60,
        "images",
    ),
    "msvd": _videos("msvd", "MSVD_Zero_Shot_QA", "videos", 13157, XU),
    "msrvtt": _videos("msrvtt", "MSRVTT_Zero_Shot_QA", "videos/all", 72821, XU),
    "tgif": _videos("tgif", "TGIF_Zero_Shot_QA", "mp4", 13691, "https://github.com/YunseokJANG/tgif-qa"),
    "activitynet": _videos(
        "activitynet", "Activitynet_Zero_Shot_QA", "all_test", 8000, "https://github.com/MILVLG/activitynet-qa"
    ),
}
