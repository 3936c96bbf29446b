"""From `preprocessor_config.json` to the steps that make pixels of a picture, judged and never guessed."""

from typing import Any

from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from llava.errors import InputError, shown
from llava.model.checkpoint.folder import Folder
from llava.model.checkpoint.rules import Rule, check, flag, list_of, nullable, number, one_of, positive, whole
from llava.model.multimodal_encoder.source import KNOWN_TOWERS, TowerSource

FILE = "preprocessor_config.json"
_SIDE = whole(1, 4096)


def _is_size(value: Any) -> bool:
    if isinstance(value, dict):
        return set(value) in ({"shortest_edge"}, {"height", "width"}) and all(map(_SIDE.holds, value.values()))
    return _SIDE.holds(value)


_SIZE = Rule("a number of pixels, as shortest_edge or as height and width", _is_size)
_NAMES = one_of("CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil", "CLIPFeatureExtractor")
RULES: dict[str, Rule] = {
    **dict.fromkeys(("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"), flag()),
    **dict.fromkeys(("size", "crop_size"), _SIZE),
    "resample": whole(0, 5),
    "rescale_factor": positive(1),
    "image_mean": list_of(number(-10, 10), 3, 3),
    "image_std": list_of(positive(10), 3, 3),
}
NAMES = dict.fromkeys(("image_processor_type", "feature_extractor_type"), nullable(_NAMES))


def build_image_processor(source: TowerSource) -> CLIPImageProcessorPil:
    """The tower's Pillow image processor, as its `preprocessor_config.json` says.

    The file lies beside the tower, or in the checkpoint; one that carries its tower with itself knows best. Only the
    published towers need none: their values are known.

    Raises:
        InputError: for a file that cannot be read or does not fit, and where there is none: other pixels than those a
            model was trained on give wrong answers without a word.
    """
    side = source.config.image_size
    for place in _places(source):
        settings = place.read_object(FILE)
        if settings is not None:
            return _from_settings(settings, f"{place.path}/{FILE}", side)
    if source.published:
        return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    looked = " and ".join(place.path for place in _places(source)) or "no folder"
    raise InputError(
        f"a vision tower needs its {FILE}: looked in {looked}, where there is none; copy the tower's file there, it "
        f"says how pictures become pixels"
    )


def _places(source: TowerSource) -> list[Folder]:
    tower = Folder(source.name) if source.name is not None and source.name not in KNOWN_TOWERS else None
    both = [source.checkpoint, tower] if source.own else [tower, source.checkpoint]
    return [place for place in both if place is not None]


def _from_settings(raw: dict[str, Any], where: str, side: int) -> CLIPImageProcessorPil:
    what = f"a vision tower's {FILE}"
    check(raw, RULES | NAMES, what, where)
    settings = {name: value for name, value in raw.items() if name in RULES}
    processor = CLIPImageProcessorPil(**settings)
    if processor.do_center_crop:
        result = processor.crop_size["height"], processor.crop_size["width"]
    else:
        result = processor.size.get("height"), processor.size.get("width")
    if tuple(result) != (side, side):
        raise InputError(
            f"{what} must fit its tower: {shown(where, 300)} makes pictures of {result[1]} x {result[0]} pixels, "
            f"expected {side} x {side}; use the tower's own file"
        )
    return processor
