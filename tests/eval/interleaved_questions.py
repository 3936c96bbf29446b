"""A question file in which pictures come back again and again, in no order."""

import json
import random
from pathlib import Path

ASKED = ["What color is the circle?", "Is it a dog?\nAnswer the question using a single word or phrase.", "Où?", "Why?"]


def interleaved(folder: Path, count: int, seed: int = 0) -> None:
    """Questions about four pictures in random order."""
    chance = random.Random(seed)
    lines = [
        {"question_id": at, "image": f"{chance.randrange(4)}.png", "text": f"{chance.choice(ASKED)} {at}"}
        for at in range(count)
    ]
    (folder / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
