"""From `preprocessor_config.json` to the steps that make pixels of a picture, judged and never guessed."""

from typing import Any

from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from llava.errors import InputError, shown
from llava.image_processor import view_edge
from llava.model.checkpoint.folder import Folder
from llava.model.checkpoint.hf_layout import preprocessor_of
from llava.model.checkpoint.rules import Rule, check, flag, list_of, nullable, number, one_of, positive, whole
from llava.model.multimodal_encoder.source import KNOWN_TOWERS, TowerSource
from llava.model.multimodal_encoder.tower_configs import SIGLIP

FILE = "preprocessor_config.json"
_SIDE = whole(1, 4096)


def _is_size(value: Any) -> bool:
    if isinstance(value, dict):
        return set(value) in ({"shortest_edge"}, {"height", "width"}) and all(map(_SIDE.holds, value.values()))
    return _SIDE.holds(value)


_SIZE = Rule("a number of pixels, as shortest_edge or as height and width", _is_size)
_BACKENDS = ("", "Fast", "Pil")
# How llava-hf's cut pictures up, `image_aspect_ratio` says; what they do to a view is the tower's own.
_OF_LLAVA = [f"Llava{kind}ImageProcessor{end}" for kind in ("", "Next", "Onevision") for end in _BACKENDS]
_CLIP_NAMES = one_of(*(f"CLIPImageProcessor{end}" for end in _BACKENDS), "CLIPFeatureExtractor", *_OF_LLAVA)
_SIGLIP_NAMES = one_of(*(f"SiglipImageProcessor{end}" for end in _BACKENDS), *_OF_LLAVA)
RULES: dict[str, Rule] = {
    **dict.fromkeys(("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"), flag()),
    **dict.fromkeys(("size", "crop_size"), _SIZE),
    "resample": whole(0, 5),
    "rescale_factor": positive(1),
    "image_mean": list_of(number(-10, 10), 3, 3),
    "image_std": list_of(positive(10), 3, 3),
}
_NAME_KEYS = ("image_processor_type", "feature_extractor_type")


def build_image_processor(source: TowerSource, view_size: int | None = None) -> Any:
    """The tower's Pillow image processor, as its `preprocessor_config.json` says.

    The file lies beside the tower, or in the checkpoint; one that carries its tower with itself knows best. Only the
    published towers need none: their values are known. SigLIP's are LLaVA-NeXT's own, which reads no such file.

    Args:
        view_size: edge of the squares to make, where a tower sees larger ones than its encoder takes (`s2`).

    Raises:
        InputError: for a file that cannot be read or does not fit, and where there is none: other pixels than those a
            model was trained on give wrong answers without a word.
    """
    side, siglip = source.config.image_size, source.config.model_type == SIGLIP
    square, wanted = {"height": side, "width": side}, view_size or side
    for place in _places(source):
        raw = preprocessor_of(place)
        if raw is not None:
            return _from_settings(_judged(raw, f"{place.path}/{FILE}", siglip, (side, wanted)), siglip, wanted)
    if siglip:
        return _from_settings({"size": square}, siglip, wanted)
    if source.published:
        return _from_settings({"size": {"shortest_edge": side}, "crop_size": square}, siglip, wanted)
    looked = " and ".join(place.path for place in _places(source)) or "no folder"
    raise InputError(
        f"a vision tower needs its {FILE}: looked in {looked}, where there is none; copy the tower's file there, it "
        f"says how pictures become pixels"
    )


def _places(source: TowerSource) -> list[Folder]:
    tower = Folder(source.name) if source.name is not None and source.name not in KNOWN_TOWERS else None
    both = [source.checkpoint, tower] if source.own else [tower, source.checkpoint]
    return [place for place in both if place is not None]


def _judged(raw: dict[str, Any], where: str, siglip: bool, sides: tuple[int, ...]) -> dict[str, Any]:
    """What a file says of a processor that makes squares of one of `sides`; InputError for any other."""
    what = f"a vision tower's {FILE}"
    names = dict.fromkeys(_NAME_KEYS, nullable(_SIGLIP_NAMES if siglip else _CLIP_NAMES))
    check(raw, RULES | names, what, where)
    settings = {name: value for name, value in raw.items() if name in RULES}
    processor = _kind(siglip)(**settings)
    if processor.do_center_crop:
        result = processor.crop_size["height"], processor.crop_size["width"]
    else:
        result = processor.size.get("height"), processor.size.get("width")
    if result[0] != result[1] or result[0] not in sides:
        raise InputError(
            f"{what} must fit its tower: {shown(where, 300)} makes pictures of {result[1]} x {result[0]} pixels, "
            f"expected {sides[0]} x {sides[0]}; use the tower's own file"
        )
    return settings


def _from_settings(settings: dict[str, Any], siglip: bool, side: int) -> Any:
    """The processor; for `s2`, made to give the squares of the largest scale, as LLaVA does."""
    processor, square = _kind(siglip)(**settings), {"height": side, "width": side}
    if siglip and not processor.do_center_crop:  # nothing is cropped; programs ask LLaVA-NeXT's processor for it
        return _kind(siglip)(**settings | {"crop_size": square})
    if view_edge(processor) == side:
        return processor
    size = {"shortest_edge": side} if processor.size.get("shortest_edge") else square
    return _kind(siglip)(**settings | {"size": size, "crop_size": square})


def _kind(siglip: bool) -> Any:
    return SiglipImageProcessorPil if siglip else CLIPImageProcessorPil
