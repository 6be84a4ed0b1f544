"""An answer on its way through the socket: the console shows it like one of its own process. Torch-free.

What arrives is a `View`: the same attributes, read from JSON, whatever they are. So the class of an answer, and what it is made
of, need not be imported to show one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OBJECT = "@"
"""The one key of what stands for an object, where a mapping stays a mapping."""


def to_wire(value: Any) -> Any:
    """JSON of a frozen dataclass with its fields and properties, all the way down; tuples become lists."""
    import dataclasses  # Only the server makes these; a client that shows one must be quick.

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        names += [name for name, member in vars(type(value)).items() if isinstance(member, property)]
        return {_OBJECT: {name: to_wire(getattr(value, name)) for name in names}}
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


class ResultView(View):
    """A result as the server sent it: attributes of `Answer` or `Passages`, and its documented JSON object."""

    def __init__(self, fields: Mapping[str, Any], document: dict[str, Any]) -> None:
        super().__init__(fields)
        self._document = document

    def to_json(self) -> dict[str, Any]:
        """As of the result itself; an answer's has `"warm": true` among the timing."""
        return self._document


def _seen(value: Any) -> Any:
    match value:
        case {"@": dict(fields)} if len(value) == 1:
            return View(fields)
        case dict():
            return {name: _seen(item) for name, item in value.items()}
        case list():
            return tuple(map(_seen, value))
    return value
