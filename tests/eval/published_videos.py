"""Small copies of the video benchmarks as Video-ChatGPT has them: two JSON lists and a folder of videos."""

import json
from collections.abc import Callable
from pathlib import Path

from films import greys, write_film

WORD = "Answer the question using a single word or phrase."
# Name of a video, question, answer, and what ActivityNet-QA and TGIF-QA say it is about.
ASKED = [
    ("clip_a", "what is the man doing?", "cooking", 0),
    ("clip_b", "how many dogs are there?", "two", 1),
    ("clip_a", "who is cooking?", "man", 3),
    ("clip_b", "is the dog white?", "no", 3),
]


def video_benchmark(name: str, folder: str, videos: str, prefix: str = "") -> Callable[[Path], None]:
    """A writer of `folder/<benchmark>` with two films, four questions, and the question file made of them."""

    def write(data: Path) -> None:
        place = data / "GPT_Zero_Shot_QA" / folder
        (place / videos).mkdir(parents=True)
        for number, clip in enumerate(("clip_a", "clip_b")):
            write_film(place / videos / f"{prefix}{clip}.mkv", greys(10, (48, 32), 5 + 15 * number))
        kinds = name in ("tgif", "activitynet")
        asked = [{"video_name": v, "question": q, "question_id": f"{v}_{n}"} for n, (v, q, _, _) in enumerate(ASKED)]
        answers = [
            {"answer": answer, "question_id": question["question_id"]} | ({"type": kind} if kinds else {})
            for question, (_, _, answer, kind) in zip(asked, ASKED)
        ]
        (place / "test_q.json").write_text(json.dumps(asked))
        (place / "test_a.json").write_text(json.dumps(answers))
        lines = [
            {
                "question_id": question["question_id"],
                "video": f"{prefix}{question['video_name']}.mkv",
                "text": f"{question['question']}\n{WORD}",
            }
            for question in asked
        ]
        (place / f"llava_{name}_qa.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    write.__name__ = name
    return write


msvd = video_benchmark("msvd", "MSVD_Zero_Shot_QA", "videos")
msrvtt = video_benchmark("msrvtt", "MSRVTT_Zero_Shot_QA", "videos/all")
tgif = video_benchmark("tgif", "TGIF_Zero_Shot_QA", "mp4")
activitynet = video_benchmark("activitynet", "Activitynet_Zero_Shot_QA", "all_test", "v_")
