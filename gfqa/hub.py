"""Models from the Hugging Face hub: a gfqa model folder as it is, a published .pth or .safetensors checkpoint converted.

The only part of gfqa that uses a network, and only where it is asked to. Needs the extra `hub`.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from gfqa import config
from gfqa.answer.confidence import SCORE
from gfqa.errors import ModelError, UsageError
from gfqa.model import ModelConfig
from gfqa.model.checkpoint import CHECKSUMS, CONFIG, WEIGHTS
from gfqa.model.convert import WORLD_TOKENIZER
from gfqa.models import ModelInfo, convert, describe

CHECKPOINTS = (".pth", ".safetensors")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")

T = TypeVar("T")


@dataclass(frozen=True)
class Pulled:
    """A model that was pulled. revision: the commit it is from, so that it can be had again."""

    info: ModelInfo
    repository: str
    revision: str
    files: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The documented object of `models pull --json`."""
        origin = {"repository": self.repository, "revision": self.revision, "files": list(self.files)}
        return {"schema": 1, **origin, **self.info.to_json()}


def pull(
    repository: str,
    *,
    revision: str | None = None,
    file: str | None = None,
    tokenizer: Path | None = None,
    name: str | None = None,
    on_note: Callable[[str], None] = lambda text: None,
) -> Pulled:
    """Install a model of the hub under gfqa's data directory.

    revision: a branch, tag or commit (default: the main branch as it is now). file: which checkpoint, where there are several.
    tokenizer: a file for a checkpoint that comes without one. Raises UsageError for a name that is taken or not one, several
    checkpoints to choose from, a missing tokenizer file; ModelError without the extra, without a network, and for what is no
    model.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(f"{repository!r} is no repository of the hub.", hint="Write it as OWNER/NAME.")
    name = name or repository.split("/")[1]
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", name):
        raise UsageError(f"{name!r} cannot be the name of a model.")
    target = config.home() / "models" / name
    if target.exists():
        raise UsageError(f"There is a model {name} already: {target}.", hint="Choose another one with --name.")
    if tokenizer is not None and not tokenizer.is_file():
        raise UsageError(f"There is no file {tokenizer}.")
    hub = _library()
    listed = _asked(
        repository, revision, lambda: hub.HfApi().model_info(repository, revision=revision, files_metadata=True)
    )
    sizes = {sibling.rfilename: sibling.size or 0 for sibling in listed.siblings or ()}

    def fetch(path: str) -> Path:
        on_note(f"fetching {path} ({sizes[path] / 1e6:,.1f} MB)")
        # At the commit that was listed: the branch may move while this goes on.
        return Path(_asked(repository, revision, lambda: hub.hf_hub_download(repository, path, revision=listed.sha)))

    target.parent.mkdir(parents=True, exist_ok=True)
    if file is None and {CONFIG, WEIGHTS} <= sizes.keys():
        files = _folder(repository, sizes, fetch, target)
    else:
        checkpoint = _chosen(repository, file, [path for path in sizes if path.endswith(CHECKPOINTS)])
        pieces = tokenizer or _tokenizer(repository, list(sizes), fetch)
        convert(fetch(checkpoint), target, pieces)
        files = (checkpoint, pieces.name)
    return Pulled(describe(target), repository, str(listed.sha), files)


def _folder(repository: str, sizes: dict[str, int], fetch: Callable[[str], Path], target: Path) -> tuple[str, ...]:
    """Install a repository that is a gfqa model folder."""
    settings = ModelConfig.load(fetch(CONFIG))
    wanted = [CONFIG, WEIGHTS, *(path for path in (CHECKSUMS, SCORE, settings.tokenizer) if path in sizes)]
    if settings.tokenizer not in ("bytes", *wanted) or Path(settings.tokenizer).name != settings.tokenizer:
        raise ModelError(f"The model {repository} lacks its tokenizer {settings.tokenizer!r}.")
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=".pull-"))
    try:
        inner = staging / target.name  # one folder deeper, so that nobody takes a half-copied model for one
        inner.mkdir()
        for path in wanted:
            shutil.copyfile(fetch(path), inner / path)
        inner.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return tuple(wanted)


def _chosen(repository: str, file: str | None, candidates: list[str]) -> str:
    if file is not None:
        if file not in candidates:
            raise UsageError(
                f"{repository} has no checkpoint {file!r}.", hint=f"It has: {', '.join(candidates) or 'none'}"
            )
        return file
    if not candidates:
        raise ModelError(f"{repository} holds no model that gfqa reads: no {WEIGHTS}, .pth or .safetensors file.")
    if len(candidates) > 1:
        raise UsageError(
            f"{repository} has {len(candidates)} checkpoints.", hint=f"Choose with --file: {', '.join(candidates)}"
        )
    return candidates[0]


def _tokenizer(repository: str, paths: list[str], fetch: Callable[[str], Path]) -> Path:
    """The tokenizer of a checkpoint: from its repository, else the World vocabulary of an installed package."""
    named = [path for path in paths if re.fullmatch(r"rwkv_vocab[^/]*\.txt|[^/]*\.model", path.rpartition("/")[2])]
    if named:
        return fetch(named[0])
    for package in ("pyrwkv_tokenizer", "rwkv"):
        spec = find_spec(package)
        for place in spec.submodule_search_locations or () if spec is not None else ():
            if (found := Path(place) / WORLD_TOKENIZER).is_file():
                return found
    raise ModelError(
        f"{repository} has no tokenizer file, and no package on this machine has {WORLD_TOKENIZER}.",
        hint=f"Name one: --tokenizer {WORLD_TOKENIZER} (pip install rwkv brings it).",
    )


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise ModelError("Pulling a model needs the extra hub.", hint="pip install 'gfqa[hub]'") from None
    return huggingface_hub


def _asked(repository: str, revision: str | None, request: Callable[[], T]) -> T:
    """What the library answers. Its errors, and those of the HTTP library below it, differ between versions."""
    try:
        return request()
    except Exception as error:
        kind = type(error).__name__
    if kind in ("RepositoryNotFoundError", "GatedRepoError"):
        raise ModelError(f"The hub shows no repository {repository}.", hint="It does not exist, or needs a login.")
    if kind == "RevisionNotFoundError":
        raise ModelError(f"The repository {repository} has no revision {revision!r}.")
    raise ModelError(
        f"The hub could not be reached for {repository} ({kind}).",
        hint="Without a network: copy the model's folder here, or convert its .pth file with gfqa models convert.",
    )
