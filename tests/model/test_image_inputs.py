"""Images and sizes in every form that LLaVA takes: each <image> gets its own, or one line says what does not match."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from llava.errors import InputError
from llava.model.image_inputs import read_sizes, sort_images

IMAGE = -200


def prompts(counts: list[int]) -> torch.Tensor:
    """Ids of prompts that name so many images each, padded on the right."""
    rows = [[7, *[IMAGE] * count, 8] for count in counts]
    return torch.tensor([row + [0] * (max(map(len, rows)) - len(row)) for row in rows])


def image(number: int, views: int = 0) -> torch.Tensor:
    """An image that can be told by its content: (3, 2, 2), or (views, 3, 2, 2)."""
    return torch.full((views, 3, 2, 2) if views else (3, 2, 2), float(number))


def told(views: list[torch.Tensor]) -> list[float]:
    return [float(view.flatten()[0]) for view in views]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.data())
@example([2, 0, 1], None)
def test_every_image_token_gets_its_own_image_or_a_line_says_why(counts: list[int], data: Any) -> None:
    """Images alone, with None anywhere, or with LLaVA's filler for each prompt without image."""
    wanted = list(range(sum(counts)))
    numbers = iter(wanted)
    filled: list[Any] = []
    for count in counts:
        filled += [image(next(numbers)) for _ in range(count)] or [image(-1)]
    forms: dict[str, list[Any]] = {"alone": [image(number) for number in wanted], "filled": filled}
    forms["fillers are None"] = [None if entry[0, 0, 0] < 0 else entry for entry in filled]
    for form in forms.values():
        views, sizes, _ = sort_images(prompts(counts), form, [(n + 1, n + 2) for n, _ in enumerate(form)])
        assert told(views) == wanted
        assert sizes == [(n + 1, n + 2) for n, entry in enumerate(form) if entry is not None and entry[0, 0, 0] >= 0]
    if data is None:
        return
    given_now = data.draw(st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=8))
    entries = [None if number is None else image(number) for number in given_now]
    present = [number for number in given_now if number is not None]
    whole = sum(max(1, count) for count in counts)
    try:
        views, *_ = sort_images(prompts(counts), entries, None)
    except InputError as error:
        assert "prompts and images must match" in str(error)
        assert len(present) != sum(counts) or len(entries) == whole
    else:
        assert len(views) == sum(counts)
        if len(entries) != whole:
            assert told(views) == present


def test_images_at_padding_count_for_nothing() -> None:
    ids = torch.tensor([[7, IMAGE], [IMAGE, 8]])
    mask = torch.tensor([[1, 1], [0, 1]])
    assert told(sort_images(ids, [image(3)], None, mask)[0]) == [3]


@pytest.mark.parametrize(
    "sizes",
    [
        [(640, 480), (336, 672)],
        ((640, 480), (336, 672)),
        [[640, 480], [336, 672]],
        [[640.0, 480.0], [336.0, 672.0]],
        torch.tensor([[640, 480], [336, 672]]),
        torch.tensor([[640.0, 480.0], [336.0, 672.0]]),
        [torch.tensor([640, 480]), torch.tensor([336, 672])],
        [(torch.tensor(640), torch.tensor(480)), (336, 672)],
        np.array([[640, 480], [336, 672]]),
        [(np.int64(640), np.float32(480)), np.array([336, 672])],
    ],
    ids=str,
)
def test_sizes_come_in_many_forms_and_leave_as_whole_numbers(sizes: Any) -> None:
    found = read_sizes(sizes, [image(0), image(1)])
    assert found == [(640, 480), (336, 672)]
    assert {type(number) for pair in found for number in pair or ()} == {int}


@pytest.mark.parametrize(
    ("sizes", "complaint"),
    [
        ([(640, 480)], "got 1, expected 2"),
        ([(640, 480)] * 3, "got 3, expected 2"),
        (torch.tensor([[640, 480]]), "got 1, expected 2"),
        (torch.tensor([640, 480]), "got 640"),
        ((640, 480), "got 640"),
        (640, "got 640, expected 2"),
        ("ab", "got 'ab', expected 2"),
        ([(640, 480), (0, 480)], r"got \(0, 480\)"),
        ([(640, 480), (-5, 480)], r"got \(-5, 480\)"),
        ([(640, 480), (5, 480, 3)], r"got \(5, 480, 3\)"),
        ([(640, 480), (5.5, 480)], r"got \(5.5, 480\)"),
        ([(640, 480), (float("nan"), 480)], r"got \(nan, 480\)"),
        ([(640, 480), (float("inf"), 480)], r"got \(inf, 480\)"),
        ([(640, 480), ("640", "480")], r"got \('640', '480'\)"),
        ([(640, 480), (True, 480)], r"got \(True, 480\)"),
        ([(640, 480), None], "got None"),
        ([(640, 480), torch.zeros(2, 2)], r"got \[\[0.0, 0.0\], \[0.0, 0.0\]\]"),
    ],
)
def test_what_is_no_size_is_refused(sizes: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=f"^(image_sizes|an image size) must .*{complaint}") as error:
        read_sizes(sizes, [image(0), image(1)])
    assert "\n" not in str(error.value)


def test_an_image_that_is_none_needs_no_size() -> None:
    assert read_sizes([None, (4, 5)], [None, image(0)]) == [None, (4, 5)]


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        (torch.zeros(3, 2, 2), r"got \(3, 2, 2\)"),
        (torch.zeros(1, 1, 1, 3, 2, 2), r"got \(1, 1, 1, 3, 2, 2\)"),
        (image, "got a function"),
        ("0.png", "got a str"),
        ([np.zeros((3, 2, 2))], "got a ndarray"),
        ([[image(0)]], "got a list"),
        ([torch.zeros(1, 1, 3, 2, 2)], r"got \(1, 1, 3, 2, 2\)"),
        ([torch.zeros(2, 2)], r"got \(2, 2\)"),
        ([torch.zeros(4, 2, 2)], r"got \(4, 2, 2\)"),
        ([torch.zeros(0, 3, 2, 2)], r"got \(0, 3, 2, 2\)"),
        ([torch.zeros(3, 2, 2, dtype=torch.uint8)], "got numbers of torch.uint8, which are not normalised"),
        (torch.zeros(1, 3, 2, 2, dtype=torch.long), "got numbers of torch.int64"),
    ],
)
def test_what_is_no_image_is_refused(images: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=f"{complaint}.* llava.mm_utils.process_images$"):
        sort_images(prompts([1]), images, None)


def test_views_and_dtypes_may_differ() -> None:
    images = [image(0, views=1), image(1), image(2, views=5).half()]
    views, *_ = sort_images(prompts([1, 2]), images, None)
    assert [tuple(view.shape) for view in views] == [(1, 3, 2, 2), (1, 3, 2, 2), (5, 3, 2, 2)]
    assert [len(view) for view in sort_images(prompts([2]), torch.zeros(2, 4, 3, 2, 2), None)[0]] == [4, 4]


@pytest.mark.parametrize(
    ("modalities", "entries", "found"),
    [
        (None, 2, None),
        (["image"], 3, None),
        ("video", 1, ["video"]),
        (["image", "video"], 3, ["image", "video", "image"]),
        (("video", "text"), 2, ["video", "image"]),
        (["image", "image", "text"], 1, None),  # one for each prompt, of which some have no image
        (["view"], 2, ["view", "image"]),
    ],
)
def test_what_an_entry_is_may_be_said_of_the_first_ones_alone(modalities: Any, entries: int, found: Any) -> None:
    images = [image(number) for number in range(entries)]
    sorted_images = sort_images(prompts([entries]), images, None, None, modalities)
    assert sorted_images.modalities == found and told(sorted_images.views) == list(range(entries))


def test_modalities_name_entries_also_where_some_are_passed_over() -> None:
    """LLaVA-NeXT counts a prompt's filler too."""
    filled = [image(0), image(-1), image(1, views=4)]
    found = sort_images(prompts([1, 0, 1]), filled, None, None, ["image", "text", "video"])
    assert told(found.views) == [0, 1] and found.modalities == ["image", "video"] and found.frames == 4
    found = sort_images(prompts([1, 1]), [image(0, views=2), None, image(1)], None, None, ["video", "video"])
    assert found.modalities == ["video", "image"] and found.frames == 2


def test_stacked_pictures_of_one_view_are_plain_views() -> None:
    """LLaVA puts no newline after those of a tensor (I, 3, h, w), and one after each of a list."""
    assert sort_images(prompts([2]), torch.zeros(2, 3, 2, 2), None).modalities == ["view", "view"]
    assert sort_images(prompts([2]), torch.zeros(2, 1, 3, 2, 2), None).modalities is None
    assert sort_images(prompts([2]), list(torch.zeros(2, 3, 2, 2)), None).modalities is None
    assert sort_images(prompts([1]), torch.zeros(1, 3, 2, 2), None, None, ["video"]).modalities == ["video"]


def test_a_video_needs_no_size() -> None:
    video, size = image(0, views=3), (7, 5)
    assert sort_images(prompts([1]), [video], [(9, 9)] * 3, None, "video").sizes == [None]  # one for each frame
    mixed = sort_images(prompts([2]), [video, image(1, views=2)], [None, size], None, ["video"])
    assert mixed.sizes == [None, size]
    assert sort_images(prompts([2]), [video, image(1)], [(4, 4), size], None, ["video"]).sizes == [(4, 4), size]


@pytest.mark.parametrize(
    ("modalities", "complaint"),
    [
        (["audio"], r"modalities must be known: got \['audio'\], expected a list of image, view, video"),
        ("videos", "modalities must be known: got 'videos'"),
        (["image", None], "modalities must be known"),
        (3, "modalities must be known: got 3"),
        ({"video": 1}, "modalities must be known"),
        (["image", "image", "video"], r"got a video at place 3 or later, of 2 entries.* images=\[frames\]"),
        (["image", "view"], "an image of modality 'view' has one view: got 2"),
    ],
)
def test_what_is_no_modality_is_refused(modalities: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as error:
        sort_images(prompts([2]), [image(0), image(1, views=2)], None, None, modalities)
    assert "\n" not in str(error.value)


def test_frames_that_are_given_as_pictures_are_named() -> None:
    with pytest.raises(InputError, match=r"got 4 images, expected 1, .* frames of a video are one image"):
        sort_images(prompts([1]), torch.zeros(4, 3, 2, 2), None, None, ["video"])


def test_the_row_with_a_tag_too_many_is_named() -> None:
    with pytest.raises(InputError) as error:
        sort_images(prompts([1, 2, 1]), [image(n) for n in range(3)], None)
    assert str(error.value) == (
        "prompts and images must match: got 3 images, expected 4, one per <image>, [1, 2, 1] in rows 0 to 2 (row 1 has "
        "2; the text <image> in a question is one too); add or remove images or <image> tokens"
    )
    with pytest.raises(InputError, match="got 0 images, expected 1, one per <image>; add"):
        sort_images(prompts([1]), None, None)
