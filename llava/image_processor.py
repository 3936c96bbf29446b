"""What is read of a vision tower's image processor: the squares it makes of pictures, however their size is written.

transformers writes a size as a number, as {"shortest_edge": 336} or as {"height": 336, "width": 336}.
"""

from typing import Any, Protocol

from llava.errors import InputError, shown
from llava.files.pictures import MOST_PIXELS, check_size


class ImageProcessor(Protocol):
    """What is used of transformers' CLIP image processor."""

    image_mean: Any
    crop_size: Any
    size: Any

    def preprocess(self, images: Any, *, return_tensors: Any) -> Any:
        """Return a mapping whose "pixel_values" are (images, 3, height, width), float32."""


def view_edge(processor: ImageProcessor) -> int:
    """The edge, in pixels, of the square that the processor makes of a square picture.

    Raises:
        InputError: it makes no square.
    """
    if getattr(processor, "do_center_crop", True):
        return _edge("crop_size", getattr(processor, "crop_size", None))
    return _edge("size", getattr(processor, "size", None))


def resized_edge(processor: ImageProcessor) -> int:
    """The edge that a square picture is resized to, before anything is cropped; InputError as `view_edge`."""
    return _edge("size", getattr(processor, "size", None)) if resizes(processor) else view_edge(processor)


def resizes(processor: ImageProcessor) -> bool:
    """True where the processor resizes pictures at all."""
    return bool(getattr(processor, "do_resize", True))


def keeps_proportions(processor: ImageProcessor) -> bool:
    """True where a picture keeps its proportions when it is resized, so that a crop may lose its ends."""
    return not resizes(processor) or isinstance(processor.size, int) or bool(_entry(processor.size, "shortest_edge"))


def check_view_edge(processor: ImageProcessor, image_size: int) -> None:
    """Refuse a processor whose squares are not those the vision tower takes, of `image_size` pixels."""
    edge = view_edge(processor)
    if edge != image_size:
        raise InputError(
            f"preprocessor_config.json must make the pictures that the vision tower takes: got {edge} x {edge} pixels, "
            f"expected {image_size} x {image_size}; use the file that belongs to the tower"
        )


def check_resized(size: tuple[int, int], processor: ImageProcessor) -> None:
    """Refuse a picture of `size` (width, height) that would grow beyond all measure: 65000 x 1, the 1 made to 336."""
    if keeps_proportions(processor) and resizes(processor):
        scale = resized_edge(processor) / min(size)
        label = f"an image of {size[0]} x {size[1]}, resized for the model,"
        check_size(int(size[0] * scale), int(size[1] * scale), label)


def _entry(size: Any, name: str) -> Any:
    return size.get(name) if hasattr(size, "get") else None


def _edge(name: str, size: Any) -> int:
    """The edge of a square size."""
    height, width = _entry(size, "height"), _entry(size, "width")
    edge = size if isinstance(size, int) else _entry(size, "shortest_edge") or (height if height == width else None)
    if not isinstance(edge, int) or isinstance(edge, bool) or edge < 1 or edge * edge > MOST_PIXELS:
        written = dict(size) if hasattr(size, "keys") or hasattr(size, "get") else size
        raise InputError(
            f"{name} of the image processor must be a square: got {shown(written)}, expected a number of pixels such "
            f'as {{"height": 336, "width": 336}}; mend preprocessor_config.json'
        )
    return edge
