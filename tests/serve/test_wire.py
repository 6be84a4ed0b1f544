"""What an object looks like on the other side: the same attributes, and nothing that was not there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytest

from gfqa.serve.wire import ResultView, to_wire


@dataclass(frozen=True)
class Inner:
    path: str
    line: int | None

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class Outer:
    text: str
    inner: tuple[Inner, ...]
    counts: Any


def sent(value: Any) -> ResultView:
    frame = json.loads(json.dumps({"view": to_wire(value), "json": {"schema": 1}}))
    return ResultView(frame["view"]["@"], frame["json"])


def test_attributes_and_properties_come_through() -> None:
    value = Outer("t\udcff", (Inner("a", 1), Inner("b", None)), MappingProxyType({"x": 1.5, "y": [Inner("c", 2)]}))
    view = sent(value)
    assert (view.text, len(view.inner)) == (value.text, 2)
    assert [inner.place for inner in view.inner] == ["a:1", "b:None"]
    assert view.inner[1].line is None
    assert view.counts["x"] == 1.5
    assert view.counts["y"][0].place == "c:2"
    assert view.to_json() == {"schema": 1}


@pytest.mark.parametrize("name", ["nothing", "_hidden", "__len__"])
def test_other_attributes_are_missing(name: str) -> None:
    with pytest.raises(AttributeError):
        getattr(sent(Outer("t", (), {})), name)
