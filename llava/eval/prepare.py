"""Say which files of a benchmark are there, which are missing, and where to get them. Nothing is downloaded.

    python -m llava.eval.prepare pope --data playground/data/eval

Ends with code 0 when the benchmark can be run, 1 when something is missing.
"""

import json
import sys
from pathlib import Path

from llava.errors import InputError
from llava.eval.benchmarks.datasets import BENCHMARKS, Benchmark, Source
from llava.eval.files import read_jsonl
from llava.eval.runs.command import Parser, run
from llava.files.reading import file_digest, files_in, read_json

SEEN = {"image": "pictures", "video": "videos"}


def is_there(source: Source, folder: Path) -> bool:
    """A file exists; a folder holds something other than names that begin with a dot."""
    path = folder / source.path
    return path.is_dir() and bool(files_in(path)) if source.path.endswith("/") else path.is_file()


def verdict(source: Source, folder: Path) -> tuple[str, str]:
    """One word on a file, and what to know about it."""
    if not is_there(source, folder):
        return (
            ("absent", f"optional, from {source.origin}") if source.optional else ("missing", f"from {source.origin}")
        )
    if source.sha256 is None:
        return "there", ""
    if file_digest(str(folder / source.path)) == source.sha256:
        return "there", "the published file (SHA-256)"
    return "differs", f"not the published file, scores may not compare; its SHA-256 begins {source.sha256[:12]}"


def count_questions(benchmark: Benchmark, folder: Path) -> tuple[int, list[str]]:
    """The questions of a benchmark's question file, and the pictures or videos they name that are not there."""
    path, key = folder / benchmark.questions, benchmark.seen
    if path.suffix == ".tsv":
        from llava.eval.benchmarks.mmbench import read_table

        return len(read_table(str(path))), []
    if path.suffix == ".json":
        records = read_json(str(path), "a question file")
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise InputError(f"a question file must be a JSON array of objects: '{path}' is none; fetch it again")
    else:
        records = [record for _, record in read_jsonl(str(path), (key,), "a question file", (key,))]
    names = {str(record[key]) for record in records if key in record}
    there = Path.exists if key == "video" else Path.is_file  # a video may be a folder of frames
    missing = sorted(name for name in names if not there(folder / benchmark.images / name))
    return len(records), missing


def inspect(name: str, data: Path) -> tuple[list[str], bool]:
    """Lines on a benchmark for a person, and whether it can be run."""
    benchmark = BENCHMARKS[name]
    folder = data / benchmark.folder
    verdicts = [(source.path, *verdict(source, folder)) for source in benchmark.files]
    report = [f"{name}: {folder}"] + [f"  {word:8} {path:40} {about}".rstrip() for path, word, about in verdicts]
    complete = not any(word == "missing" for _, word, _ in verdicts)
    if (folder / benchmark.questions).is_file():
        found, without = count_questions(benchmark, folder)
        published = "as published" if found == benchmark.count else f"published: {benchmark.count}"
        report.append(f"  {found} questions ({published})")
        if without:
            report.append(f"  missing  {len(without)} {SEEN[benchmark.seen]} that questions name, first {without[0]}")
            complete = False
    return report, complete


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.prepare", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("benchmarks", nargs="*", metavar="DATASET", help=f"of {', '.join(BENCHMARKS)}; none: all")
    parser.add_argument("--data", default="playground/data/eval", help="folder of benchmark data")
    parser.add_argument("--json", action="store_true", help="print one JSON object: name to whether it can be run")
    args = parser.parse_args()
    unknown = [name for name in args.benchmarks if name not in BENCHMARKS]
    if unknown:
        raise InputError(f"a benchmark must be one of {', '.join(BENCHMARKS)}: got '{unknown[0]}'")
    complete = {}
    for name in args.benchmarks or BENCHMARKS:
        report, complete[name] = inspect(name, Path(args.data))
        if not args.json:
            print("\n".join(report))
    if args.json:
        print(json.dumps(complete))
    sys.exit(0 if all(complete.values()) else 1)


if __name__ == "__main__":
    run(main)
