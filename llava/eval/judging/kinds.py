"""Every benchmark that can be scored here, by name: its files, its rule, and its own score where that is no mean."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llava.eval.benchmarks.shapes import FOLDER
from llava.eval.judging.choices import mmbench, mmbench_cn, seed, sqa
from llava.eval.judging.items import Item
from llava.eval.judging.vqa import textvqa, vizwiz, vqav2
from llava.eval.judging.words import exact, gqa, yes_no
from llava.eval.judging.yes_or_no import mean_f1, mme, perception_and_cognition, pope

LONG = 128  # new tokens that an answer may have, as in the runners; the shapes' are one word
# Tables of MMBench by which its server scored answers to the first one.
LATER = ("MMBench_DEV_EN_legacy", "mmbench_dev_20231003", "mmbench_dev_en_20231003")


@dataclass(frozen=True)
class Kind:
    """How a benchmark is read and scored.

    Attributes:
        read: from question file, file or folder of right answers and folder of pictures to its items.
        files: these three, below the folder of benchmark data.
        metric: what the mean over items is called.
        official: the benchmark's own score from items and their scores; None: it is that mean.
        official_name: what it is called.
        limit: new tokens that an answer may have.
    """

    read: Callable[[str, str, str], list[Item]]
    files: tuple[str, str, str]
    metric: str = "right answers, %"
    official: Callable[[Sequence[Item], Sequence[float]], float] | None = None
    official_name: str = ""
    limit: int = LONG


SOFT = "soft accuracy, %"
KINDS = {
    "exact": Kind(exact, ("questions.jsonl", "answers.jsonl", "images"), limit=8),
    "yes-no": Kind(yes_no, ("questions.jsonl", "answers.jsonl", "images"), limit=8),
    "gqa": Kind(
        gqa, ("gqa/llava_gqa_testdev_balanced.jsonl", "gqa/data/testdev_balanced_questions.json", "gqa/data/images")
    ),
    "pope": Kind(
        pope,
        ("pope/llava_pope_test.jsonl", "pope/coco", "pope/val2014"),
        official=mean_f1,
        official_name="mean of three F1, %",
    ),
    "mme": Kind(
        mme,
        ("MME/llava_mme.jsonl", "MME/MME_Benchmark_release_version", "MME/MME_Benchmark_release_version"),
        official=perception_and_cognition,
        official_name="perception + cognition, of 2800",
    ),
    "textvqa": Kind(
        textvqa,
        ("textvqa/llava_textvqa_val_v051_ocr.jsonl", "textvqa/TextVQA_0.5.1_val.json", "textvqa/train_images"),
        SOFT,
    ),
    "vqav2": Kind(
        vqav2,
        ("vqav2/llava_vqav2_mscoco_val2014.jsonl", "vqav2/v2_mscoco_val2014_annotations.json", "vqav2/val2014"),
        SOFT,
    ),
    "vizwiz": Kind(vizwiz, ("vizwiz/llava_val.jsonl", "vizwiz/val.json", "vizwiz/val"), SOFT),
    "sqa": Kind(sqa, ("scienceqa/llava_test_CQM-A.json", "scienceqa", "scienceqa/images/test")),
    "mmbench": Kind(
        mmbench, ("mmbench/mmbench_dev_20230712.tsv", "mmbench/mmbench_dev_20230712.tsv", ""), "circular accuracy, %"
    ),
    "mmbench_cn": Kind(
        mmbench_cn,
        ("mmbench_cn/mmbench_dev_cn_20231003.tsv", "mmbench_cn/mmbench_dev_cn_20231003.tsv", ""),
        "circular accuracy, %",
    ),
    "seed": Kind(seed, ("seed_bench/llava-seed-bench.jsonl", "seed_bench/SEED-Bench.json", "seed_bench")),
}
RULES = tuple(KINDS)
# What may be asked for by name: all of those with files of their own, and the shapes, which ship.
NAMES = ("shapes", *(name for name in KINDS if name not in ("exact", "yes-no")))


def place_of(name: str, data: str) -> tuple[str, str, str, str]:
    """Rule, question file, right answers and pictures of a benchmark under the folder of benchmark data."""
    if name == "shapes":
        return ("exact", *(f"{FOLDER}/{part}" for part in KINDS["exact"].files))  # type: ignore[return-value]
    questions, truth, images = (str(Path(data, part)) for part in KINDS[name].files)
    if name == "mmbench":
        there = (Path(data, "mmbench", f"{table}.tsv") for table in LATER)
        truth = next((str(path) for path in there if path.is_file()), truth)
    return name, questions, truth, images
