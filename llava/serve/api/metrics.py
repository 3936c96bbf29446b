"""What a server counts, for Prometheus."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """One server's numbers, in a registry of their own."""

    def __init__(self, engine: Any) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry, "namespace": "visiondrop"}
        self.requests = Counter("requests", "Chat requests by HTTP status", ["status"], **own)
        self.prompt_tokens = Counter("prompt_tokens", "Decoder inputs of prompts, image tokens included", **own)
        self.image_tokens = Counter("image_tokens", "Image tokens that entered the LLM", **own)
        self.cached_tokens = Counter("cached_tokens", "Decoder inputs that came from a known image prefix", **own)
        self.answer_tokens = Counter("answer_tokens", "Tokens that were drawn", **own)
        self.first_token = Histogram("first_token_seconds", "From a request's arrival to its first token", **own)
        read = {
            "running": ("Answers being made", lambda: engine.running),
            "waiting": ("Requests in the queue", lambda: engine.waiting),
            "prefix_bytes": ("Bytes of image prefixes kept", lambda: engine.prefix_bytes),
            "prefixes_encoded": ("Image prefixes made", lambda: engine.encoded),
            "prefixes_reused": ("Image prefixes found again", lambda: engine.reused),
        }
        for name, (about, value) in read.items():
            Gauge(name, about, **own).set_function(value)
