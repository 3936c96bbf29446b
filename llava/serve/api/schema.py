"""The fields of a chat request, with types and ranges. What would change the answer and is not done is refused."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llava.serve.api.errors import Refusal

# Fields that other servers obey and this one cannot; a value that asks for nothing is fine.
NOT_DONE: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("tools", "functions", "stop_token_ids", "modalities", "audio", "prediction"), (None, [])),
    **dict.fromkeys(("tool_choice", "function_call"), (None, "none", "auto")),
    **dict.fromkeys(("frequency_penalty", "presence_penalty"), (None, 0, 0.0)),
    "logit_bias": (None, {}),
    "response_format": (None, {"type": "text"}),
    "web_search_options": (None,),
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class ImageURL(_Strict):
    """Where a picture is: a `data:` or `https:` address."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class TextPart(_Strict):
    """A piece of text."""

    type: Literal["text"]
    text: str


class ImagePart(_Strict):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageURL


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Message(_Strict):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None


StopText = Annotated[str, Field(min_length=1, max_length=200)]


class StreamOptions(_Strict):
    """What a stream ends with."""

    include_usage: bool = False


class ChatRequest(_Strict):
    """`POST /v1/chat/completions`."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1, max_length=1000)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    n: Annotated[int, Field(ge=1, le=16)] | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    ignore_eos: bool | None = None  # an answer of just so many tokens, for measuring
    reduction: str | dict[str, Any] | None = None


def read_request(body: dict[str, Any]) -> ChatRequest:
    """A request's JSON object, checked.

    Raises:
        Refusal: 400, naming the field.
    """
    for name, idle in NOT_DONE.items():
        if name in body and body[name] not in idle:
            raise Refusal(400, f"{name} is not supported by this server; leave it out", "unsupported_parameter", name)
    try:
        request = ChatRequest.model_validate(body)
    except ValidationError as error:
        place, complaint = _told(error.errors(include_url=False, include_input=False))
        raise Refusal(400, f"{place or 'the request'}: {complaint}", "invalid_value", place or None) from None
    if request.top_logprobs is not None and not request.logprobs:
        raise Refusal(400, "top_logprobs needs logprobs to be true", "invalid_value", "top_logprobs")
    return request


def _told(errors: Sequence[Any]) -> tuple[str, str]:
    """The field that is to blame first, and what is wrong with it.

    Where a field may be of several kinds, pydantic complains for each of them: what was meant is the kind that the
    value is of, and where it is of none, all kinds are named.
    """
    first = errors[0]["loc"]
    alike = [error for error in errors if error["loc"][: len(_field(first))] == first[: len(_field(first))]]
    meant = [error for error in alike if not error["type"].endswith("_type")]
    deeper = [error for error in alike if len(error["loc"]) > min(len(error["loc"]) for error in alike)]
    if len(alike) == 1 or meant or deeper:
        told = max(meant or deeper or alike, key=lambda error: len(error["loc"]))
        return _place(told["loc"]), told["msg"]
    return _place(first), " or ".join(dict.fromkeys(error["msg"] for error in alike))


def _field(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """A place without the name of the kind it ends with."""
    return loc[:-1] if isinstance(loc[-1], str) and _is_kind(loc[-1]) else loc


def _is_kind(part: int | str) -> bool:
    return isinstance(part, str) and (part == "str" or "[" in part or "constrained" in part)


def _place(loc: tuple[int | str, ...]) -> str:
    """A place as clients know it: without kinds, and without the tag before a part's field of the same name."""
    parts = [part for part in loc if not _is_kind(part)]
    return ".".join(str(part) for at, part in enumerate(parts) if at == 0 or part != parts[at - 1])
