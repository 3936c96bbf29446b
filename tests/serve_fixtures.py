"""What tests of the engine, the server and the page share. Their helpers lie in `serve/`, so they are imported late."""

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Load

from llava.eval.runs.loading import Loaded


@pytest.fixture
def asker(load: Load) -> Any:
    """Makes requests to an engine on a tiny checkpoint."""
    from asker import Asker

    loaded = load("llava-tiny-12l")
    return Asker(Loaded(loaded.tokenizer, loaded.model, loaded.processor))


@pytest.fixture
def engine(asker: Any) -> Iterator[Any]:
    """A running engine for at most six requests at a time."""
    from llava.serve.engine.engine import Engine

    with Engine(asker.loaded, prefix_bytes=2**26, most_rows=6) as running:
        yield running


@pytest.fixture(scope="module")
def shapes_model() -> Loaded:
    """The shipped model."""
    from served import shipped

    return shipped()


@pytest.fixture(scope="module")
def server(shapes_model: Loaded) -> Iterator[Any]:
    """A server on the shipped model, on a free port."""
    from served import served

    with served(shapes_model) as running:
        yield running


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The page as `make web` starts it."""
    from browser_page import started

    with started() as place:
        yield place


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium."""
    from browser_page import chromium

    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page on the shipped model, in a tab."""
    from browser_page import opened

    with opened(browser, address) as tab:
        yield tab
