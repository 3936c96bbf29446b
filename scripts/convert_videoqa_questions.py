"""Make the question file of a video benchmark from its published files: `{"question_id", "video", "text"}`, JSON Lines.

    python scripts/convert_videoqa_questions.py --dataset msvd --questions test_q.json --answers test_a.json \\
        --video-folder videos --output llava_msvd_qa.jsonl

Looks in the folder for the file of every video, whatever its ending. `python -m llava.eval.prepare msvd` says where the
files come from.
"""

from llava.eval.benchmarks.video_files import question_lines
from llava.eval.benchmarks.videoqa import read_annotations
from llava.eval.eval_videoqa import add_annotation_options
from llava.eval.runs.command import Parser, run
from llava.files.writing import write_text

SUFFIX = "Answer the question using a single word or phrase."


def main() -> None:
    """The command."""
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    add_annotation_options(parser)
    parser.add_argument("--video-folder", required=True, help="the videos: files, or folders of frames")
    parser.add_argument("--mapping", help="MSVD's youtube_mapping.txt, for videos that are called by number")
    parser.add_argument("--output", required=True, help="written; its folder is made")
    parser.add_argument("--suffix", default=SUFFIX, help="after every question, on a line of its own; '': nothing")
    parser.add_argument("--allow-missing", action="store_true", help="leave out questions whose videos are not there")
    args = parser.parse_args()

    questions = read_annotations(args.dataset, args.questions, args.answers, args.mapping)
    lines = question_lines(questions, args.video_folder, args.suffix, args.allow_missing)
    write_text(args.output, lines)
    print(f"{lines.count(chr(10))} questions in {args.output}")


if __name__ == "__main__":
    run(main)
