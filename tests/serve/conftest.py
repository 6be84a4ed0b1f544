"""A warm server in this process: its model thread is a thread of the test."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Result

Serving = Callable[..., contextlib.AbstractContextManager[Any]]


@pytest.fixture
def serving(tiny_model: Path, home: Path) -> Serving:
    """`with serving() as server:` runs a server of the tiny model on the CPU for the block."""
    from gfqa.serve.engine import Engine
    from gfqa.serve.server import Server, listening, only_one

    @contextlib.contextmanager
    def run(model: Path = tiny_model, idle: float | None = None) -> Iterator[Server]:
        server = Server(Engine(str(model), "cpu"), idle)
        with only_one() as path, listening(server, path):
            thread = threading.Thread(target=server.run)
            thread.start()
            try:
                yield server
            finally:
                server.stop()
                thread.join(20)
                assert not thread.is_alive()

    return run


@pytest.fixture
def ingested(gfqa: Callable[..., Result], project: Path) -> Callable[..., Result]:
    """The `gfqa` runner, after the ingest of the project."""
    assert gfqa("ingest", project, "-q").code == 0
    return gfqa
