"""From the frames of a video to what the model takes: by the processor alone, whatever pictures get (LLaVA-NeXT)."""

from collections.abc import Sequence

import torch
from PIL import Image

from llava.errors import InputError
from llava.files.pictures import to_rgb
from llava.image_processor import ImageProcessor, check_resized


def process_video(frames: Sequence[Image.Image], image_processor: ImageProcessor) -> torch.Tensor:
    """Pixels of a video's frames, (frames, 3, h, w) float32, for `generate(images=[pixels], modalities=["video"])`.

    CLIP's processor shortens the shorter side and crops the centre; SigLIP's squeezes. Neither `image_aspect_ratio` nor
    pinpoints count.

    Raises:
        InputError: there is no frame, or frames do not fit into memory.
    """
    if not frames:
        raise InputError("a video must have frames: got none; open it with llava.files.videos.open_video")
    pictures = [frame if frame.mode == "RGB" else to_rgb(frame) for frame in frames]
    for picture in pictures:
        check_resized(picture.size, image_processor)
    try:
        return torch.as_tensor(image_processor.preprocess(pictures, return_tensors="pt")["pixel_values"])
    except MemoryError:
        raise InputError(
            f"frames must fit into memory: {len(frames)} of {frames[0].width} x {frames[0].height} pixels do not; ask "
            f"for fewer (--num-frames)"
        ) from None
