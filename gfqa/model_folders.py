"""Where models lie: the shipped one, those in the data directory, and any folder. Torch-free; weights are not looked at."""

from __future__ import annotations

import json
from pathlib import Path

from gfqa import config
from gfqa.errors import ModelError
from gfqa.tokenizer import Tokenizer, load_tokenizer

SHIPPED = Path(__file__).parent / "pretrained"
CONFIG, WEIGHTS = "config.json", "weights.safetensors"
"""As in gfqa.model.checkpoint, which cannot be imported without torch."""


def model_name(folder: Path) -> str:
    """What messages call the model of a folder."""
    return "gfqa-reader" if folder == SHIPPED else folder.name


def find_model(path: str | Path | None, here: Path | None = None) -> Path:
    """The folder of a model given by path, by name, or (None) of the shipped reader; ModelError where there is none.

    here: the folder that a relative path starts from; None: the current one.
    """
    if path is None:
        if not (SHIPPED / CONFIG).is_file():
            raise ModelError(
                "This installation holds no reader.", hint="Name a model folder with --model, or set GFQA_MODEL."
            )
        return SHIPPED
    given = Path(path).expanduser()
    named, placed = config.home() / "models" / given, (here or Path()) / given
    for folder in (placed, named) if len(given.parts) == 1 else (placed,):
        if (folder / CONFIG).is_file():
            return folder.resolve()
    if given.suffix == ".pth":
        raise ModelError(f"{given} is a .pth file.", hint=f"Convert it once: gfqa models convert {given} FOLDER")
    raise ModelError(f"{given} is not a model folder: it holds no {CONFIG}.", hint="See `gfqa models list`.")


def all_folders() -> list[Path]:
    """The folders of the shipped reader and of the models in gfqa's data directory."""
    installed = sorted(path.parent for path in (config.home() / "models").glob(f"*/{CONFIG}"))
    return [SHIPPED, *installed] if (SHIPPED / CONFIG).is_file() else installed


def installed_names() -> list[str]:
    """The names of the models in gfqa's data directory, sorted."""
    folder = config.home() / "models"
    return sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))


def tokenizer_of(path: str | Path | None) -> Tokenizer:
    """The tokenizer of a model given as for `find_model`; ModelError for a folder that is no model."""
    folder = find_model(path)
    try:
        name = json.loads((folder / CONFIG).read_text("utf-8"))["tokenizer"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(f"{folder / CONFIG} does not name a tokenizer.") from None
    return named_tokenizer(folder, str(name))


def named_tokenizer(folder: Path, name: str) -> Tokenizer:
    """The tokenizer that the configuration of a folder names ("bytes" is built in); ModelError if it lies elsewhere."""
    if Path(name).name != name:
        raise ModelError(f"The configuration of {folder} names a tokenizer outside its folder: {name!r}.")
    return load_tokenizer(name if name == "bytes" else folder / name)
