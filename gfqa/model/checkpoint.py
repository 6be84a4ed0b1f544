"""Reading and writing model folders: config.json, weights.safetensors, a tokenizer, a card. Files are untrusted.

A weight matrix may be stored as int8 with one float16 scale a row (`<name>` int8 and `<name>.scale`); everything else as
float16, bfloat16 or float32. Reading checks names, dtypes, shapes and that every number is finite, and runs no code.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gfqa import digest
from gfqa.errors import ModelError
from gfqa.model.config import ModelConfig, from_reference
from gfqa.model.language_model import LanguageModel

CONFIG, WEIGHTS = "config.json", "weights.safetensors"
CHECKSUMS = "SHA256SUMS"
SCALE = ".scale"
FLOATS = (torch.float16, torch.bfloat16, torch.float32)


def load_reference(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> LanguageModel:
    """A model from the reference implementation's configuration dict and its state dict.

    config: as the reference writes it (`__type__`, null `rope`/`brope`/`alibi` included; other unknown keys are refused).
    tensors: by the reference's names, of any float dtype; LoRA sizes are read off the shapes. Returns the model in float32,
    eval mode, on the CPU. Raises ModelError for missing, unexpected or misshapen tensors.
    """
    return build(from_reference(config, tensors), {name: tensor.float() for name, tensor in tensors.items()})


def build(config: ModelConfig, tensors: Mapping[str, Tensor]) -> LanguageModel:
    """The model of `config` with `tensors` as its parameters, eval mode."""
    with torch.device("meta"):
        model = LanguageModel(config)
    expected = {name: parameter.shape for name, parameter in model.named_parameters()}
    missing = sorted(set(expected) - set(tensors))
    unexpected = sorted(set(tensors) - set(expected))
    if missing or unexpected:
        what = (
            f"lack {missing[0]!r}" if missing else f"hold {unexpected[0]!r}, which the configuration has no place for"
        )
        count = len(missing) + len(unexpected) - 1
        raise ModelError(f"The weights {what}" + (f" (and {count} more names differ)." if count else "."))
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise ModelError(f"The weight {name!r} has shape {list(tensors[name].shape)} instead of {list(shape)}.")
        # The sum costs a tenth and is not finite where a number is not; where only the sum is not, the numbers decide.
        if not tensors[name].sum().isfinite() and not torch.isfinite(tensors[name]).all():
            raise ModelError(f"The weight {name!r} holds numbers that are not finite.")
    model.load_state_dict(dict(tensors), strict=True, assign=True)
    return model.requires_grad_(False).eval()


def load_model(folder: Path, device: str = "cpu", dtype: torch.dtype | None = None) -> LanguageModel:
    """The model of a folder, on `device`, in `dtype` (default float32 on the CPU, bfloat16 on a GPU), eval mode.

    Raises ModelError where a file is missing, damaged or does not fit.
    """
    config = ModelConfig.load(folder / CONFIG)
    try:
        stored = load_file(folder / WEIGHTS)
    except FileNotFoundError:
        raise ModelError(f"There is no {WEIGHTS} in {folder}.") from None
    except (SafetensorError, OSError) as error:
        raise ModelError(f"Cannot read {folder / WEIGHTS}: {error}.") from None
    model = build(config, dequantised(stored))
    if dtype is None:
        dtype = torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16
    return place(model, device, dtype)


def place(model: LanguageModel, device: str | torch.device, dtype: torch.dtype) -> LanguageModel:
    """Move a model; base decays stay float32, since rounding them changes how long a channel remembers."""
    decays = {name: p.detach().float() for name, p in model.named_parameters() if name.endswith("time_decay")}
    try:
        model = model.to(device=device, dtype=dtype)
    except torch.OutOfMemoryError:
        raise ModelError(f"The model does not fit into the memory of {device}.") from None
    for name, value in decays.items():
        model.get_parameter(name).data = value.to(device)
    return model


def dequantised(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stored tensors as float32 parameters: int8 rows times their scales, floats as they are."""
    tensors = {}
    for name, tensor in stored.items():
        if name.endswith(SCALE):
            continue
        if tensor.dtype == torch.int8:
            scale = stored.get(name + SCALE)
            if scale is None or scale.dtype != torch.float16 or scale.shape != tensor.shape[:-1]:
                raise ModelError(f"The int8 weight {name!r} has no fitting scale.")
            tensors[name] = tensor.float().mul_(scale.float().unsqueeze(-1))
        elif tensor.dtype in FLOATS:
            tensors[name] = tensor.float()
        else:
            raise ModelError(f"The weight {name!r} is of type {tensor.dtype}, which is not supported.")
    return tensors


def quantised(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters in their shipped form: matrices of at least 4,096 numbers int8 with a float16 scale a row, rest float16.

    Base decays stay float32.
    """
    stored = {}
    for name, tensor in tensors.items():
        value = tensor.detach().float().cpu().contiguous()
        if name.endswith("time_decay"):
            stored[name] = value
        elif value.dim() >= 2 and value.numel() >= 4096:
            # Rounded to float16 first, so that codes are chosen for the scale that is stored.
            scale = (value.abs().amax(dim=-1) / 127).clamp(min=6.2e-5).to(torch.float16)
            stored[name] = torch.round(value / scale.float().unsqueeze(-1)).clamp(-127, 127).to(torch.int8)
            stored[name + SCALE] = scale
        else:
            stored[name] = value.to(torch.float16)
    return stored


def save_model(model: LanguageModel, folder: Path, *, quantise: bool = False) -> None:
    """Write config.json and weights.safetensors into `folder`, each replaced atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters()}
    write_atomically(folder / CONFIG, lambda path: path.write_text(json.dumps(model.config.to_dict(), indent=2) + "\n"))
    stored = quantised(tensors) if quantise else tensors
    write_atomically(folder / WEIGHTS, lambda path: save_file(stored, path))


def write_atomically(path: Path, write: Any) -> None:
    """Call `write(temporary path)`, then fsync it and rename it to `path`."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def model_identity(folder: Path) -> str:
    """SHA-256 over the configuration and the weight file: which model this is, 64 hex digits."""
    config = json.dumps(ModelConfig.load(folder / CONFIG).to_dict(), sort_keys=True)
    try:
        weights = digest.of_file(folder / WEIGHTS)
    except OSError as error:
        raise ModelError(f"Cannot read {folder / WEIGHTS}: {error.strerror}.") from None
    return hashlib.sha256(config.encode() + weights).hexdigest()


def write_checksums(folder: Path) -> None:
    """SHA256SUMS of a model folder, of every file that what it answers depends on, as `sha256sum --check` takes it."""
    names = sorted(
        path.name for path in folder.iterdir() if path.is_file() and path.name not in (CHECKSUMS, "README.md")
    )
    lines = [f"{digest.of_file(folder / name).hex()}  {name}\n" for name in names]
    write_atomically(folder / CHECKSUMS, lambda path: path.write_text("".join(lines), "utf-8"))
