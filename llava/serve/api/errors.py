"""Refusals in OpenAI's form: a status, one sentence, a type and a code that their clients turn into exceptions."""

from fastapi.responses import JSONResponse

from llava.errors import one_line


class Refusal(Exception):
    """What a request is answered with instead of an answer.

    Args:
        status: HTTP's.
        message: one sentence.
        code: OpenAI's word for it, where they have one.
        param: the field that is to blame.
    """

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param

    def body(self) -> dict:
        """The JSON object that is sent."""
        kinds = {401: "authentication_error", 429: "rate_limit_error", 500: "server_error", 503: "server_error"}
        kind = kinds.get(self.status, "invalid_request_error")
        return {"error": {"message": one_line(self), "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """The whole answer."""
        later = {"Retry-After": "5"} if self.status in (429, 503) else {}
        wants_key = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        return JSONResponse(self.body(), self.status, headers=later | wants_key)
