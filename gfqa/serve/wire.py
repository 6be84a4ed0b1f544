"""An answer on its way through the socket: the console shows it like one of its own process. Torch-free.

The class of an answer cannot be imported without torch, so what arrives is a `View`: the same attributes, read from JSON.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


def to_wire(value: Any) -> Any:
    """JSON of a frozen dataclass with its fields and properties, all the way down; tuples become lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        names += [name for name, member in vars(type(value)).items() if isinstance(member, property)]
        return {name: to_wire(getattr(value, name)) for name in names}
    if isinstance(value, list | tuple):
        return [to_wire(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): to_wire(item) for name, item in value.items()}
    return value


class View:
    """What `to_wire` made of an object, with the same attributes; lists come back as tuples. AttributeError for others."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._fields:
            raise AttributeError(name)
        return _seen(self._fields[name])


class AnswerView(View):
    """An answer as the server sent it: attributes of `gfqa.ask.Answer`, and its documented JSON object."""

    def __init__(self, fields: Mapping[str, Any], document: dict[str, Any]) -> None:
        super().__init__(fields)
        self._document = document

    def to_json(self) -> dict[str, Any]:
        """As `Answer.to_json`, with `"warm": true` among the timing."""
        return self._document


def _seen(value: Any) -> Any:
    if isinstance(value, dict):
        return View(value)
    return tuple(map(_seen, value)) if isinstance(value, list) else value
