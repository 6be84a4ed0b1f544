"""The configuration of a training phase: dataclasses filled from JSON or YAML files and dotted overrides.

Later files win over earlier ones, overrides over files. Unknown keys and values of the wrong type are refused by name.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gfqa.errors import UsageError
from gfqa.training.optimizer import OptimizerConfig
from gfqa.training.passage_parts import PassageShape
from gfqa.training.rows import RowShape

PRESETS = Path(__file__).parent / "presets"


@dataclass
class TrainConfig:
    """One phase. Lengths in tokens, rows per GPU and micro-batch, peak learning rates in `optimizer`."""

    model: dict[str, Any] = field(default_factory=dict)
    tokenizer: str = ""
    tokens: str = ""
    """Folder of an opened text stream; needed where there are language rows."""
    questions: str = ""
    """Folder of opened units; needed where there are question rows."""
    start: str = ""
    """Weights to begin with: a folder of shards, or a model folder; the optimizer starts anew."""
    out: str = "runs/phase"
    minutes: float = 1.0
    steps: int = 0
    """Ends the phase by steps instead of minutes where not 0; the schedule follows."""
    accumulate: int = 1
    """Micro-batches a step."""
    language_rows: int = 16
    language_length: int = 4096
    question_rows: int = 0
    language_share: float = 0.15
    """Share of the steps on language rows where there are question rows too, at the beginning of the phase."""
    language_share_end: float | None = None
    """The share at its end, which it moves to linearly; None: the same throughout."""
    passage_rows: int = 0
    """Rows for the pointer, of `passage_shape.per_context` questions each."""
    passage_share: float = 0.3
    """Share of the steps on passage rows, where there are any, at the beginning of the phase."""
    passage_share_end: float | None = None
    """The share at its end; what language and passages leave is the share of question rows."""
    cut_share: float = 0.35
    """Share of language rows cut into chains that begin from nothing."""
    round_keys: bool = False
    """Compressed keys as they come back from the cache, straight through."""
    round_weights_from: float = 1.0
    """From this share of the phase on, weights as they come back from their shipped form, straight through."""
    warmup_steps: int = 60
    cooldown: float = 0.5
    """Share of the phase over which the rate falls linearly to `final_factor`."""
    peak_factor: float = 1.0
    final_factor: float = 0.02
    place_weight: float = 0.0
    """Weight of the loss that draws the attention of a question's last token, all GOLD layers and heads together, to the place
    of the answer; 0: none."""
    choice_weight: float = 0.0
    """Weight of the loss of choosing, of the passages that one question is asked of, the one that answers
    (`passage_shape.compared`)."""
    dropout: float = 0.0
    """Share of what every block adds that is left out of passage rows while training."""
    row_shape: RowShape = field(default_factory=RowShape)
    passage_shape: PassageShape = field(default_factory=PassageShape)
    set_weights: dict[str, float] = field(default_factory=dict)
    """How often a question set seeds a context; `synthetic` and `recurring`: shares of contexts made on the
    spot, out of nothing and out of the text stream."""
    passage_weights: dict[str, float] = field(default_factory=dict)
    """What passage rows take in place of some of them."""
    held: tuple[str, ...] = ()
    """Question sets of which one group in thirty (articles, repositories) is kept out and measured at the end of the phase."""
    held_rows: int = 32
    """Rows measured of each."""
    held_minutes: float = 0.0
    """How often they are measured besides; 0: at the end alone."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    teacher: str = ""
    """Folder of a sentence encoder whose token states the keys of documents are drawn towards (`teacher`); empty: none."""
    teacher_weight: float = 1.0
    compiled: bool = True
    flex: bool = True
    workers: int = 6
    seed: int = 0
    log_every: int = 20
    shard_size: float = 15.0
    """Megabytes (2^20 bytes) of a weight or checkpoint file at most."""
    checkpoint_minutes: float = 0.0
    """How often the whole state is written for an exact resume; 0: only when the process is told to stop."""
    patience_minutes: float = 3.0
    """How long a process waits for the others before it gives up; compiling at different speeds must fit."""


def load_config(files: Sequence[str], overrides: Sequence[str] = ()) -> TrainConfig:
    """The configuration of files (JSON, YAML, or the name of a preset) and `a.b=value` overrides (JSON values, or strings).

    Raises UsageError naming the file, key or value that cannot be used.
    """
    data: dict[str, Any] = {}
    for name in files:
        _merge(data, _read(name))
    for override in overrides:
        name, sign, text = override.partition("=")
        if not sign or not name:
            raise UsageError(f"{override!r} is no override.", hint="Write key=value, or a.b=value inside a group.")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        for part in reversed(name.split(".")):
            value = {part: value}
        _merge(data, value)
    return _fill(TrainConfig, data, "")


def _read(name: str) -> dict[str, Any]:
    path = Path(name)
    if not path.suffix:
        path = PRESETS / f"{name}.json"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        known = ", ".join(sorted(preset.stem for preset in PRESETS.glob("*.json")))
        raise UsageError(f"Cannot read {name}: {error.strerror}.", hint=f"A file, or a preset: {known}.") from None
    data = _yaml(text, name) if path.suffix in (".yaml", ".yml") else _json(text, name)
    if not isinstance(data, dict):
        raise UsageError(f"{name} does not hold keys and values.")
    return data


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"{name} is not JSON: {error}.") from None


def _yaml(text: str, name: str) -> Any:
    try:
        import yaml  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise UsageError(
            f"{name} is YAML, which needs PyYAML.", hint="pip install 'gfqa[train]', or use JSON."
        ) from None
    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UsageError(f"{name} is not YAML: {' '.join(str(error).split())}.") from None


def _merge(data: dict[str, Any], more: dict[str, Any]) -> None:
    """Merge nested dicts in place; the later value wins."""
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(data.get(key), dict):
            _merge(data[key], value)
        else:
            data[key] = value


def _fill(into: Any, data: Any, where: str) -> Any:
    """An instance of the dataclass `into` from a dict; `where` is the dotted prefix of its keys."""
    if not isinstance(data, dict):
        raise UsageError(f"{where.rstrip('.')} takes keys and values, not {data!r}.")
    hints = typing.get_type_hints(into)
    unknown = sorted(set(data) - {f.name for f in dataclasses.fields(into)})
    if unknown:
        raise UsageError(
            f"There is no setting {where + unknown[0]!r}.",
            hint=f"Settings here: {', '.join(f.name for f in dataclasses.fields(into))}.",
        )
    return into(**{key: _typed(hints[key], value, where + key) for key, value in data.items()})


def _typed(kind: Any, value: Any, name: str) -> Any:
    """`value` as the type of a field; an int will do for a float, nothing else is converted."""
    if dataclasses.is_dataclass(kind):
        return _fill(kind, value, name + ".")
    if isinstance(kind, types.UnionType):  # with None, the only union there is
        return None if value is None else _typed(typing.get_args(kind)[0], value, name)
    origin = typing.get_origin(kind)
    if origin is dict and isinstance(value, dict):
        inner = typing.get_args(kind)[1]
        return {key: _typed(inner, item, f"{name}.{key}") for key, item in value.items()}
    if origin is tuple and isinstance(value, list | tuple):
        inner = typing.get_args(kind)
        if inner[-1] is Ellipsis:
            inner = inner[:1] * len(value)
        if len(inner) == len(value):
            return tuple(_typed(one, item, name) for one, item in zip(inner, value))
    if kind is Any or (kind is float and type(value) is int):
        return value if kind is Any else float(value)
    if isinstance(kind, type) and not isinstance(kind, types.GenericAlias) and type(value) is kind:
        return value
    wanted = getattr(origin or kind, "__name__", str(kind))
    raise UsageError(f"{name} takes a value of type {wanted}, not {value!r}.")
