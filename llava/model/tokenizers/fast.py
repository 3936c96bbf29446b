"""A tokenizer as one `tokenizer.json`, for programs that read nothing else: transformers, vLLM and their servers."""

from typing import Any

from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from llava.errors import InputError
from llava.model.tokenizers.decoding import MARK
from llava.model.tokenizers.kinds import ROLES
from llava.model.tokenizers.llama import LlamaTokenizer

_BPE, _USER_DEFINED = 2, 4  # of SentencePiece


def as_fast(tokenizer: Any) -> PreTrainedTokenizerFast:
    """The same ids from a tokenizer that lives in a `tokenizer.json`.

    Raises:
        InputError: for a SentencePiece model that such a file cannot hold.
    """
    made = _converted(tokenizer) if isinstance(tokenizer, LlamaTokenizer) else _copied(tokenizer)
    roles = {name: getattr(tokenizer, name) for name in ROLES if getattr(tokenizer, name, None) is not None}
    more = {"clean_up_tokenization_spaces": False, "model_max_length": tokenizer.model_max_length}
    return PreTrainedTokenizerFast(tokenizer_object=made, **roles, **more)


def _copied(tokenizer: Any) -> Tokenizer:
    return Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())


def _converted(tokenizer: LlamaTokenizer) -> Tokenizer:
    """SentencePiece's pieces and their order of merging, and what `LlamaTokenizer` does around them."""
    model = sentencepiece_model_pb2.ModelProto.FromString(tokenizer.sp_model.serialized_model_proto())
    spec = model.normalizer_spec
    plain = not spec.precompiled_charsmap and not spec.remove_extra_whitespaces and spec.add_dummy_prefix
    if model.trainer_spec.model_type != _BPE or not plain or any(p.type == _USER_DEFINED for p in model.pieces):
        raise InputError(
            "a tokenizer.json is written of LLaMA's kind of SentencePiece model, byte pairs without normalisation: got "
            "another; keep the original layout"
        )
    vocabulary = {piece.piece: number for number, piece in enumerate(model.pieces)}
    scores = {piece.piece: piece.score for piece in model.pieces if piece.type == piece.NORMAL}
    unknown = next(piece.piece for piece in model.pieces if piece.type == piece.UNKNOWN)
    pairs = models.BPE(vocabulary, _merges(vocabulary, scores), unk_token=unknown, fuse_unk=True, byte_fallback=True)
    made = Tokenizer(pairs)
    if tokenizer.legacy:
        made.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme="first", split=False)
    parts = [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    made.decoder = decoders.Sequence(parts)
    numbered = sorted(tokenizer.added_tokens_decoder.items())
    for token in (token for _, token in numbered):
        flags = {name: getattr(token, name) for name in ("lstrip", "rstrip", "single_word", "normalized")}
        made.add_tokens([AddedToken(token.content, special=token.special, **flags)])
    before = [tokenizer.bos_token] if tokenizer.add_bos_token and tokenizer.bos_token else []
    behind = [tokenizer.eos_token] if tokenizer.add_eos_token and tokenizer.eos_token else []
    if before or behind:
        ends = [(token, tokenizer.convert_tokens_to_ids(token)) for token in dict.fromkeys(before + behind)]
        single, pair = [*before, "$A", *behind], [*before, "$A", *behind, *before, "$B", *behind]
        made.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=ends)
    return made


def _merges(vocabulary: dict[str, int], scores: dict[str, float]) -> list[tuple[str, str]]:
    """Pairs of pieces that make a piece, that of the highest score first, as SentencePiece merges them."""
    found = [
        (-score, vocabulary[piece[:at]], vocabulary[piece[at:]], piece[:at], piece[at:])
        for piece, score in scores.items()
        for at in range(1, len(piece))
        if piece[:at] in vocabulary and piece[at:] in vocabulary
    ]
    return [(left, right) for *_, left, right in sorted(found)]
