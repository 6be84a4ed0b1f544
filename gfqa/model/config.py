"""The shape of a model: one frozen dataclass, unknown keys refused, the reference's field names kept.

Fields up to `use_v2` are those of the reference implementation's configuration; the rest is gfqa's own.
Letters: C = n_embd, N = head_size, H = C / N.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gfqa.errors import ModelError

TIME_MIXES = ("x060", "x060c2", "gold", "gptalpha", "llama")
CHANNEL_MIXES = ("x060", "llama")
LAYOUTS = ("independent", "chained")
KEY_DTYPES = ("int8", "bfloat16", "float32")


@dataclass(frozen=True)
class Rope:
    """Rotary position encoding: frequencies (base * rebase)^(-2i/N) / rescale over adjacent pairs."""

    base: float = 10000.0
    rescale: float = 1.0
    rebase: float = 1.0


@dataclass(frozen=True)
class LoraSizes:
    """Inner sizes of the low-rank pairs. `gold` 0 means max(C // 16, 64), the reference's rule."""

    shift: int = 32
    decay: int = 64
    value2: int = 64
    query: int = 32
    key_value: int = 32
    gold: int = 0


LATER = ("pointer_width",)
"""Fields that came after the first release, whose caches carry an identity made of the others."""


@dataclass(frozen=True)
class ModelConfig:
    """A model of the zoo: `tmix` layers first, then (ratio permitting) `tmix2` layers."""

    n_embd: int
    n_layer: int
    vocab_size: int
    head_size: int = 64
    tmix: str = "x060c2"
    tmix2: str = ""
    cmix: str = "x060"
    cmix2: str = "x060"
    inv_other_layer_ratio: float = 3.0
    kv_cache_compression_ratio: float = 16
    dim_att: int = 0
    dim_ffn: int = 0
    head_size_divisor: int = 8
    ctx_len: int = 4096
    parallel: int = 0
    dropout: float = 0.0
    rope: Rope | None = None
    use_one_minus_w: int = 1
    use_v2: int = 1
    # gfqa's own
    layout: str = "chained"
    key_dtype: str = "bfloat16"
    decay_floor: float | None = None
    """Lower bound of the per-token log decay; None is the reference's unbounded -exp(w)."""
    tie_embeddings: bool = False
    length_scale: float | None = None
    """GOLD queries are multiplied by log(visible keys) / log(length_scale); None is the reference's constant 1."""
    reread_tokens: int = 0
    """Tokens of a passage that the pointer reads with the question; says nothing for a model without a pointer."""
    pointer_width: int = 0
    """Inner width of the pointer that answers with spans of a passage (`pointer`); 0: the model has none."""
    tokenizer: str = "tokenizer.model"
    lora: LoraSizes = field(default_factory=LoraSizes)

    def __post_init__(self) -> None:
        checks = [
            (self.tmix in TIME_MIXES, f"unknown time mix {self.tmix!r}"),
            (self.tmix2 in ("", *TIME_MIXES), f"unknown time mix {self.tmix2!r}"),
            (self.tmix != "gold", "GOLD layers need Finch layers before them: they cannot be the first kind"),
            (self.cmix in CHANNEL_MIXES and self.cmix2 in CHANNEL_MIXES, "unknown channel mix"),
            (self.layout in LAYOUTS, f"unknown layout {self.layout!r}"),
            (self.key_dtype in KEY_DTYPES, f"unknown key dtype {self.key_dtype!r}"),
            (0 < self.n_embd <= 65536 and 0 < self.n_layer <= 1024, "n_embd or n_layer out of range"),
            (0 < self.vocab_size <= 2**24, "vocab_size out of range"),
            (self.head_size > 0 and self.n_embd % self.head_size == 0, "n_embd must be a multiple of head_size"),
            (self.dim_att in (0, self.n_embd), "dim_att must equal n_embd"),
            (self.decay_floor is None or self.decay_floor < 0, "decay_floor must be negative"),
            (0 <= self.pointer_width <= 65536, "pointer_width out of range"),
            (self.layout == "chained" or self.rope is None, "a model with RoPE cannot use the independent layout"),
        ]
        for holds, sentence in checks:
            if not holds:
                raise ModelError(f"The model configuration is not usable: {sentence}.")
        if self.pointer_width and not (self.n_gold and self.layout == "independent" and self.reread_tokens > 0):
            raise ModelError(
                "The model configuration is not usable: a pointer needs GOLD layers, the independent layout and reread_tokens."
            )
        if self.tmix2 == "gold" and not (self.split_layer > 0 and self.key_width > 0):
            raise ModelError("The model configuration is not usable: it leaves no Finch layer or a key of width 0.")

    @property
    def n_head(self) -> int:
        return self.n_embd // self.head_size

    @property
    def split_layer(self) -> int:
        """Index of the first `tmix2` layer; n_layer where there is none (truncated as in the reference)."""
        if not self.tmix2:
            return self.n_layer
        ratio = self.inv_other_layer_ratio
        return int(self.n_layer * (ratio - 1) / ratio)

    @property
    def n_gold(self) -> int:
        """Number of GOLD layers."""
        return self.n_layer - self.split_layer if self.tmix2 == "gold" else 0

    @property
    def key_width(self) -> int:
        """Width of the compressed key; 0 without GOLD layers."""
        return int(self.n_embd / self.kv_cache_compression_ratio) if self.tmix2 == "gold" else 0

    @property
    def ffn_width(self) -> int:
        """Hidden width of the x060 channel mix."""
        return self.dim_ffn or int(3.5 * self.n_embd) // 32 * 32

    @property
    def gold_lora(self) -> int:
        return self.lora.gold or max(self.n_embd // 16, 64)

    def time_mix(self, layer: int) -> str:
        return self.tmix if layer < self.split_layer else self.tmix2

    def channel_mix(self, layer: int) -> str:
        return self.cmix if layer < self.split_layer else self.cmix2

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelConfig:
        """Build from JSON-like data; raises ModelError for unknown keys and wrong types."""
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise ModelError(f"The model configuration has unknown keys: {', '.join(map(str, unknown))}.")
        values = dict(data)
        for name, kind in (("rope", Rope), ("lora", LoraSizes)):
            value = values.get(name)
            if isinstance(value, Mapping):
                try:
                    values[name] = kind(**value)
                except TypeError:
                    raise ModelError(f"The model configuration has unknown keys in {name!r}.") from None
            elif value is None and name == "lora":
                values.pop(name, None)
        for f in dataclasses.fields(cls):
            if f.name in values:
                _check_type(f.name, values[f.name], str(f.type))
        try:
            return cls(**values)
        except TypeError as error:
            raise ModelError(f"The model configuration is incomplete: {error}.") from None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them; those of LATER at their default are left out: they would change identities."""
        later = {f.name: f.default for f in dataclasses.fields(self) if f.name in LATER}
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in later or v != later[k]}

    @classmethod
    def load(cls, path: Path) -> ModelConfig:
        """Read a config.json of at most 64 KiB."""
        try:
            raw = path.read_bytes()
            if len(raw) > 65536:
                raise ModelError(f"{path} is too large for a model configuration.")
            data = json.loads(raw)
        except OSError as error:
            raise ModelError(f"Cannot read {path}: {error.strerror}.") from None
        except (ValueError, RecursionError):
            raise ModelError(f"{path} is not valid JSON.") from None
        if not isinstance(data, dict):
            raise ModelError(f"{path} does not hold a JSON object.")
        return cls.from_dict(data)


def _check_type(name: str, value: Any, annotation: str) -> None:
    allowed = tuple(part.strip() for part in annotation.split("|"))
    fits = {
        "int": isinstance(value, int) and not isinstance(value, bool),
        "float": isinstance(value, (int, float)) and not isinstance(value, bool) and value == value,
        "str": isinstance(value, str),
        "bool": isinstance(value, bool),
        "None": value is None,
        "Rope": isinstance(value, Rope),
        "LoraSizes": isinstance(value, LoraSizes),
    }
    if not any(fits[part] for part in allowed):
        raise ModelError(f"The model configuration's {name!r} must be {annotation}, not {value!r}.")


def from_reference(data: Mapping[str, Any], tensors: Mapping[str, Any]) -> ModelConfig:
    """The configuration of a reference model: its own dict plus LoRA sizes read off the tensors' shapes.

    `__type__` and null `rope`/`brope`/`alibi` are taken as they are; other unknown keys are refused.
    """
    values = {key: value for key, value in data.items() if key != "__type__"}
    for name in ("brope", "alibi"):
        if values.pop(name, None) is not None:
            raise ModelError(f"The model configuration uses {name!r}, which is not supported.")
    if isinstance(values.get("rope"), Mapping):
        values["rope"] = {key: value for key, value in values["rope"].items() if key != "__type__"}
    values["lora"] = dataclasses.asdict(lora_sizes(tensors))
    return ModelConfig.from_dict(values)


def lora_sizes(tensors: Mapping[str, Any]) -> LoraSizes:
    """LoRA inner sizes from the first tensor of each kind (shapes [C, inner] or [groups, inner, C])."""
    endings = {
        "shift": ("att.time_maa_w2", -2),
        "decay": ("att.time_decay_w1", -1),
        "value2": ("att.time_value2_w1", -1),
        "query": ("att.time_maa_q_w1", -1),
        "key_value": ("att.time_maa_kv_w2", -2),
        "gold": ("att.time_key_w1", -1),
    }
    sizes: dict[str, int] = {}
    for size, (ending, axis) in endings.items():
        for name, tensor in tensors.items():
            if name.endswith(ending):
                sizes[size] = int(tensor.shape[axis])
                break
    return LoraSizes(**sizes)
