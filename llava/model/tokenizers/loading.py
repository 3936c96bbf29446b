"""Which tokenizer a checkpoint has: LLaMA's SentencePiece one, Qwen2's, or one with rules of its own in a file."""

from typing import Any

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.errors import InputError, shown
from llava.files.reading import parse_json, read_json_object, read_text, reason
from llava.model.checkpoint.hf_layout import kind_there
from llava.model.tokenizers.llama import LlamaTokenizer
from llava.model.tokenizers.qwen import FILES, Qwen2Tokenizer, qwen_arguments
from llava.model.tokenizers.settings import find_file, read_settings

# Classes whose ids are those of `tokenizer.json` as it stands: transformers' generic one under its names.
_GENERIC = ("PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend")


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint or base, by what its files are.

    `tokenizer_class` of `tokenizer_config.json` is asked first, as in LLaVA. LLaMA's (or none named) is read from
    `tokenizer.model`. Any other is read from `tokenizer.json`, by the rules that file holds; where there is none,
    Qwen2's is read from `vocab.json` and `merges.txt`, by its own rules. No class and no code is loaded by name. A
    `tokenizer.json` that was made of a SentencePiece model counts only where it is named as what gives the ids:
    transformers 5 writes its merges in another order, and nothing in it says which the weights know. In transformers'
    layout (llava-hf) it counts, and the tokenizer knows the picture's token: `picture_token_id`, by which
    `tokenizer_image_token` cuts a prompt as transformers does.

    Raises:
        InputError: naming the file that is missing, damaged or of another kind.
    """
    tokenizer = _load_kind(path)
    own = _transformers_own(path)
    if own is not None and tokenizer.get_added_vocab().get(DEFAULT_IMAGE_TOKEN) == own:
        tokenizer.picture_token_id = own
    return tokenizer


def _transformers_own(path: str) -> int | None:
    """The image token's id in a checkpoint of transformers' layout, whose `tokenizer.json` gives the ids; else None."""
    file = find_file(path, "config.json")
    raw = read_json_object(file, "a checkpoint's config.json", "copy it again") if file is not None else {}
    index = raw.get("image_token_index", raw.get("image_token_id", -1)) if kind_there(raw) is not None else None
    return index if isinstance(index, int) else None


def _load_kind(path: str) -> PreTrainedTokenizerBase:
    """The tokenizer that the files say."""
    settings = read_settings(path)
    kind = settings.get("tokenizer_class") or ("a class of its own" if "auto_map" in settings else None)
    is_llama = kind is None or kind.removesuffix("Fast") == "LlamaTokenizer"
    model, file = find_file(path, "tokenizer.model"), find_file(path, "tokenizer.json")
    written = _transformers_own(path)
    if model and (is_llama or (written is not None and kind in _GENERIC)):
        return _load(LlamaTokenizer, path, model, {})
    if file is None and kind is not None and kind.removesuffix("Fast") == "Qwen2Tokenizer":
        arguments = qwen_arguments(path)
        if arguments is not None:
            return _load(Qwen2Tokenizer, path, " and ".join(FILES), arguments)
    if file is None:
        found = f"tokenizer.model for {shown(kind)}" if model else "neither tokenizer.model nor tokenizer.json"
        raise InputError(
            f"a checkpoint must hold a LLaMA tokenizer (tokenizer.model), a tokenizer.json or Qwen2's vocab.json and "
            f"merges.txt: {shown(path, 300)} has {found}; copy the tokenizer of its base language model there"
        )
    if written is None and kind not in _GENERIC and is_converted(_read(file)):
        raise InputError(
            f"a LLaMA tokenizer must come as tokenizer.model: {shown(path, 300)} has a tokenizer.json made of one, "
            f"whose ids can be others; copy tokenizer.model there, or, if the weights were trained on the ids of "
            f'tokenizer.json, write "tokenizer_class": "PreTrainedTokenizerFast" into tokenizer_config.json'
        )
    # Settings could name other files.
    return _load(PreTrainedTokenizerFast, path, file, {"tokenizer_file": file, "gguf_file": None})


def is_converted(content: dict[str, Any]) -> bool:
    """Whether a `tokenizer.json` was made of a SentencePiece model: spaces are marks, or characters fall back to bytes.

    Byte-level vocabularies (GPT-2's kind: Llama-3, Qwen) have neither.
    """
    steps = [step for part in ("normalizer", "pre_tokenizer") for step in _steps(content.get(part))]
    marks = any(step.get("type") == "Metaspace" or step.get("content") == "\u2581" for step in steps)
    model = content.get("model")
    return marks or (isinstance(model, dict) and (model.get("type") == "Unigram" or model.get("byte_fallback") is True))


def _steps(part: Any) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, those of sequences one by one, in any order."""
    found, left = list[dict[str, Any]](), [part]
    while left:
        step = left.pop()
        if isinstance(step, dict):
            inner = step.get("normalizers") or step.get("pretokenizers")
            if isinstance(inner, list):
                left += inner
            else:
                found.append(step)
    return found


def _read(file: str) -> dict[str, Any]:
    content = parse_json(read_text(file, "a tokenizer.json"), "a tokenizer.json", shown(file, 300))
    if not isinstance(content, dict):
        raise InputError(f"a tokenizer.json must be one JSON object: {shown(file, 300)} is none; fetch it again")
    return content


def _load(
    kind: type[PreTrainedTokenizerBase], path: str, file: str, arguments: dict[str, Any]
) -> PreTrainedTokenizerBase:
    """Read it, try it, and refuse added tokens whose ids have no row in an embedding of `len(tokenizer)`."""
    try:
        tokenizer = kind.from_pretrained(path, **arguments)
        tokenizer.decode(tokenizer("a text").input_ids)
    except InputError:
        raise
    except BaseException as error:
        # transformers and tokenizers raise of all kinds for damaged files; what Rust panics with is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise InputError(
            f"a tokenizer must be readable: {shown(file, 300)}, with the settings beside it, is not ({reason(error)}); "
            f"copy the tokenizer's files from the checkpoint's source again"
        ) from None
    beyond = [number for number in tokenizer.added_tokens_decoder if number >= len(tokenizer)]
    if beyond and kind is LlamaTokenizer:
        raise InputError(
            f"added tokens must continue the vocabulary: {shown(path, 300)} has the id {beyond[-1]} among "
            f"{len(tokenizer)} tokens; mend added_tokens_decoder of tokenizer_config.json"
        )
    return tokenizer
