"""Who ranks decides what is shared: a prefix has the LLM's work where no text ranks; answers are the same anyway."""

import pytest
import torch
from conftest import Load, sample

from llava.reduction import create

pytestmark = pytest.mark.shallow

DROP = {"dominant": 30, "contextual": 0, "layer_list": [3, 6], "image_token_list": [[20, 0], [9, 2]]}
RATIOS = {"layer_list": [3, 6], "image_token_ratio_list": [0.3, 0.1]}


@pytest.mark.parametrize("ranking", ["visual", "text"])
@pytest.mark.parametrize("name", ["visiondrop", "pyramiddrop", "LLM only"])
@torch.inference_mode()
def test_shared_work_gives_the_same_answers(name: str, ranking: str, load: Load) -> None:
    loaded = load("llava-tiny-12l")
    settings = RATIOS if name == "pyramiddrop" else DROP | ({"dominant": 0} if name == "LLM only" else {})
    method = create("pyramiddrop" if name == "pyramiddrop" else "visiondrop", **settings, ranking=ranking)
    first, second = (sample(loaded, question, "0.png") for question in ("What is it?", "Is there a red circle in it?"))
    [prefix] = loaded.model.encode_prefixes([first.input_ids[0]], first.images, first.image_sizes, method)
    assert bool(prefix.blocks) is (ranking == "visual")
    for asked in (first, second):
        alone = loaded.model.generate(**asked._asdict(), reduction=method, max_new_tokens=3, do_sample=False)
        shared = loaded.model.ask([prefix], [asked.input_ids[0]], max_new_tokens=3, do_sample=False)
        assert shared.tolist() == alone.tolist()
