"""Pictures that requests bring along as `data:` addresses, or name by an `https:` address."""

import asyncio
import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PIL import Image

from llava.errors import InputError, one_line
from llava.files.pictures import load_image_from_base64
from llava.mm_utils import process_picture
from llava.serve.api.errors import Refusal
from llava.serve.api.seen import SeenPictures, key_of
from llava.serve.engine.request import Picture

DATA = re.compile(r"data:(image/[\w.+-]+)?(;[\w-]+=[\w.-]+)*;base64,", re.A | re.I)

FETCHES = 32  # at once; whoever sends pictures along does not wait behind a slow server of somebody else's


class Opener:
    """Opens the pictures of requests in threads, each once for as long as it is remembered.

    Args:
        loaded: the model with its image processor.
        fetch: gets the bytes of an `https:` address; None: this server fetches nothing.
    """

    def __init__(self, loaded: Any, fetch: Callable[[str], bytes] | None) -> None:
        self._loaded, self._fetch, self._seen = loaded, fetch, SeenPictures()
        self._fetching = ThreadPoolExecutor(FETCHES, "fetch") if fetch is not None else None

    async def all(self, urls: Sequence[str]) -> tuple[Picture, ...]:
        """The pictures at addresses, in order; Refusal as `picture_of`."""
        several = len(urls) > 1
        opening = [self._one(url, f"image {number}", several) for number, url in enumerate(urls, 1)]
        return tuple(await asyncio.gather(*opening)) if several else tuple([await one for one in opening])

    async def _one(self, url: str, place: str, several: bool) -> Picture:
        key = key_of(url, several)
        known = self._seen.get(key)
        if known is not None:
            return known
        loop, pool = asyncio.get_running_loop(), self._fetching if key is None else None
        picture = await loop.run_in_executor(pool, picture_of, url, place, self._loaded, self._fetch, several)
        self._seen.put(key, picture)
        return picture


def picture_of(
    url: str, place: str, loaded: Any, fetch: Callable[[str], bytes] | None, beside_others: bool = False
) -> Picture:
    """The picture at an address, ready for the model.

    Args:
        place: the field, for complaints.
        fetch: gets the bytes of an `https:` address; None: this server fetches nothing.
        beside_others: the prompt has several pictures.

    Raises:
        Refusal: 400 for what is no picture, cannot be reached, is too large, or has another kind of address.
    """
    image = opened(url, place, fetch)
    try:
        pixels, modality = process_picture(image, loaded.processor, loaded.model.config, beside_others)
    except InputError as error:
        raise Refusal(400, f"{place}: {one_line(error)}", "invalid_image_url", place) from None
    key = hashlib.sha256(image.tobytes() + repr(image.size).encode()).hexdigest()
    return Picture(pixels, image.size, key, modality)


def opened(url: str, place: str, fetch: Callable[[str], bytes] | None) -> Image.Image:
    """The picture at an address, RGB; arguments and errors as `picture_of`."""
    try:
        return load_image_from_base64(base64.b64encode(_content(url, fetch)))
    except InputError as error:
        raise Refusal(400, f"{place}: {one_line(error)}", "invalid_image_url", place) from None


def _content(url: str, fetch: Callable[[str], bytes] | None) -> bytes:
    head = DATA.match(url)
    if head is not None:
        try:
            return base64.b64decode(url[head.end() :], validate=True)
        except (binascii.Error, ValueError):
            raise InputError("a data: address must hold base64 text: it does not; encode the picture again") from None
    if url[:6].lower() == "https:" and fetch is not None:
        return fetch(url)
    kinds = "data: or https:" if fetch is not None else "data:"
    raise InputError(f"a picture's address must be a {kinds} one: got {url[:40]!r}; send its bytes as base64")
