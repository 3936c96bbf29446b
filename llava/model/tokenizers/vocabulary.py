"""Whether a `tokenizer.model` is a whole SentencePiece model."""

from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2

from llava.errors import InputError, shown
from llava.files.reading import read_bytes


def check_vocabulary(file: str) -> None:
    """Refuse what is no SentencePiece model, or the first part of one.

    SentencePiece itself takes a file that was cut off between two pieces for a smaller model of another type.

    Raises:
        InputError: saying what the file is.
    """
    content = read_bytes(file, "a tokenizer.model")
    problem = "is empty" if not content else _problem(content)
    if problem:
        raise InputError(
            f"a LLaMA tokenizer (tokenizer.model) must be a SentencePiece model: {shown(file, 300)} {problem}; copy it "
            f"from the base language model again"
        )


def _problem(content: bytes) -> str:
    """What is wrong with a file, in words; empty when nothing is."""
    if content.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file itself (git lfs pull fetches it)"
    try:
        model = sentencepiece_model_pb2.ModelProto.FromString(content)
    except DecodeError:
        return "is none, or damaged"
    if not model.pieces:  # other files can be read as one that has nothing
        return "is none, or damaged"
    if not model.HasField("trainer_spec") or not model.HasField("normalizer_spec"):
        return "lacks its end"
    types = [piece.type for piece in model.pieces]
    unknown = sentencepiece_model_pb2.ModelProto.SentencePiece.UNKNOWN
    if types.count(unknown) != 1 or len({piece.piece for piece in model.pieces}) != len(types):
        return "is damaged: no one unknown piece, or a piece that comes twice"
    return ""
