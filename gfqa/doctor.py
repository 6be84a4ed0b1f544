"""`gfqa doctor`: what this machine has, and whether gfqa works on it from end to end.

Every check stands alone: what is broken, the installation of torch included, is a failed check and never an exception.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from gfqa import __version__, config
from gfqa.cachestore import Store, fs
from gfqa.errors import CacheError, GfqaError, ModelError

if TYPE_CHECKING:
    from gfqa.reader import Reader

PACKAGES: Final = ("torch", "triton", "numpy", "safetensors", "sentencepiece", "pypdf")
LITTLE_MEMORY: Final = 2_000_000_000
LITTLE_DISK: Final = 2_000_000_000
"""Bytes: an ingest with less than this may end in the middle."""
DOCUMENTS: Final = {
    "guide.md": "# Guide\n\nThe backup runs every night.\nThe server listens on port 8471.\n",
    "app.py": "def connect():\n    return open_connection(timeout=30)\n",
}
QUESTION, EXPECTED = "Which port does the server listen on?", "8471"
"""The shipped reader answers this; another model has to give any answer, with a citation that holds."""

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Check:
    """One line of the report. detail is one sentence or a list of facts, values the same for programs."""

    name: str
    status: Status
    detail: str
    hint: str | None = None
    values: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """An entry of `checks` in `doctor --json`."""
        return asdict(self)


def checks(model: str | None, device: str | None) -> Iterator[Check]:
    """Every check, one after the other as they are done; model and device: what flags or the environment say."""
    settings: dict[str, Any] = {}
    yield _system()
    yield _guarded("packages", _packages)
    yield _guarded("configuration", lambda: _configuration(settings))
    model, device = model or settings.get("model"), device or settings.get("device", "auto")
    yield _guarded("memory", _memory)
    yield _guarded("processor", _processor)
    yield _guarded("gpu", _gpu)
    yield _guarded("data", _data)
    yield _guarded("caches", _caches)
    opened: list[Reader] = []
    yield _guarded("model", lambda: _model(model, device, opened))
    yield _guarded("server", _server)
    if opened:
        yield _guarded("self-test", lambda: _self_test(opened[0]))


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except GfqaError as error:
        return Check(name, "failed", error.message, error.hint)
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        return Check(name, "failed", f"{error.strerror or type(error).__name__}{place}.")
    except Exception as error:
        return Check(name, "failed", f"{type(error).__name__}: {error}", "Install gfqa again, or report this.")


def _system() -> Check:
    values = {"gfqa": __version__, "python": platform.python_version(), "platform": platform.platform()}
    return Check("gfqa", "ok", f"{__version__}, Python {values['python']}, {values['platform']}", values=values)


def _packages() -> Check:
    values: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            values[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            values[name] = None
    missing = [name for name, version in values.items() if version is None and name != "triton"]
    detail = ", ".join(f"{name} {version}" for name, version in values.items() if version)
    if missing:
        return Check("packages", "failed", f"Missing: {', '.join(missing)}.", "Install gfqa again.", values)
    return Check("packages", "ok", detail, values=values)


def _configuration(settings: dict[str, Any]) -> Check:
    file = config.path()
    settings |= config.load()
    values = {"path": str(file), "settings": settings}
    if not settings:
        return Check("configuration", "ok", f"nothing is set; {file} would be read", values=values)
    return Check("configuration", "ok", f"{', '.join(settings)} from {file}", values=values)


def _memory() -> Check:
    total, available = memory_bytes()
    values = {"total": total, "available": available}
    detail = f"{_gigabytes(available)} of {_gigabytes(total)} available"
    if available is not None and available < LITTLE_MEMORY:
        return Check("memory", "warning", detail, "Close other programs before a large ingest.", values)
    return Check("memory", "ok", detail, values=values)


def memory_bytes() -> tuple[int | None, int | None]:
    """(total, available) main memory in bytes; None for what the platform does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        return found["MemTotal"], found["MemAvailable"]
    except (OSError, ValueError, KeyError, IndexError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), None
    except (ValueError, OSError):
        return None, None


def _processor() -> Check:
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    values = {"cores": os.cpu_count(), "usable": usable, "threads": torch.get_num_threads()}
    return Check("processor", "ok", f"{usable} cores to use, threads of torch: {values['threads']}", values=values)


def _gpu() -> Check:
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda or torch.version.hip
        reason = "torch is built for the CPU alone" if built is None else "torch finds none"
        return Check("gpu", "ok", f"none ({reason}): gfqa runs on the CPU", values={"gpus": []})
    gpus: list[dict[str, Any]] = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        capability = ".".join(map(str, torch.cuda.get_device_capability(number)))
        name = torch.cuda.get_device_name(number)
        gpus.append({"name": name, "capability": capability, "total": total, "free": free})
    detail = "; ".join(f"{gpu['name']}, {_gigabytes(gpu['free'])} of {_gigabytes(gpu['total'])} free" for gpu in gpus)
    try:
        metadata.version("triton")
    except metadata.PackageNotFoundError:
        hint = "Install triton: without it the GPU does without gfqa's kernels."
        return Check("gpu", "warning", detail, hint, {"gpus": gpus})
    return Check("gpu", "ok", detail, values={"gpus": gpus})


def _data() -> Check:
    home = config.home()
    there = next(place for place in (home, *home.parents) if place.exists())
    free = shutil.disk_usage(there).free
    values: dict[str, Any] = {"path": str(home), "free": free, "writable": os.access(there, os.W_OK | os.X_OK)}
    detail = f"{home}, {_gigabytes(free)} free"
    hint = "GFQA_HOME chooses another place; asking works without writing."
    if there == home and values["writable"]:
        # Only writing shows a quota, or a disk that was mounted read-only after an error.
        probe = home / f".doctor-{os.getpid()}"
        try:
            fs.write_file_atomically(probe, [b"gfqa doctor\n"])
        except GfqaError as error:
            return Check("data", "failed", error.message, hint, {**values, "writable": False})
        finally:
            fs.unlink(probe)
    if not values["writable"]:
        return Check("data", "failed", f"{there} cannot be written to", hint, values)
    if free < LITTLE_DISK:
        return Check("data", "warning", detail, "Free some space, or choose another place with GFQA_HOME.", values)
    return Check("data", "ok", detail, values=values)


def _caches() -> Check:
    store, tokens, size, damaged = Store.open(config.home()), 0, 0, []
    names = store.names()
    for name in names:
        try:
            info = store.info(name)
            tokens, size = tokens + info.tokens, size + info.bytes
        except CacheError:
            damaged.append(name)
    values = {"caches": len(names), "tokens": tokens, "bytes": size, "damaged": damaged}
    if damaged:
        return Check("caches", "warning", f"Damaged: {', '.join(damaged)}.", "Ingest their sources again.", values)
    return Check("caches", "ok", f"{len(names)}, {tokens:,} tokens, {size / 1e6:,.1f} MB", values=values)


def _model(model: str | None, device: str, opened: list[Reader]) -> Check:
    from gfqa import models
    from gfqa.reader import open_model

    found = models.verify(model)
    reader = open_model(model, device)
    opened.append(reader)
    values = {**{key: value for key, value in found.items() if key != "schema"}, "device": reader.device}
    million = found["parameters"] / 1e6
    detail = f"{found['name']}, {million:.1f} million parameters, sound, on {reader.device}"
    return Check("model", "ok", detail, values=values)


def _server() -> Check:
    from gfqa.serve import client

    found = client.status()
    if found is None:
        return Check("server", "ok", "none runs; gfqa serve keeps the model warm", values={"running": False})
    values = {"running": True, **{key: found.get(key) for key in ("model", "device", "pid", "caches")}}
    return Check("server", "ok", f"serves {found.get('model')} on {found.get('device')}", values=values)


def _self_test(reader: Reader) -> Check:
    """Two small documents, read into a cache of their own and asked about."""
    from gfqa.ask import ask, open_memory
    from gfqa.ingest import run
    from gfqa.reader import SHIPPED

    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gfqa-doctor-") as folder:
        source, home = Path(folder).resolve() / "documents", Path(folder) / "home"
        fs.make_dir(source)
        for name, text in DOCUMENTS.items():
            fs.write_file_atomically(source / name, [text.encode()])
        report = run([source], reader=reader, home=home)
        ingested = time.monotonic()
        answer = ask(open_memory(reader, Store.open(home), [report.name]), QUESTION, max_tokens=16)
        done = time.monotonic()
    values = {
        "ingest_seconds": round(ingested - began, 3),
        "ask_seconds": round(done - ingested, 3),
        "tokens": report.total,
        "answer": answer.text,
    }
    if report.ingested != len(DOCUMENTS) or answer.tokens["prefilled"]:
        raise ModelError("The cache of the self-test does not hold its documents.")
    for citation in answer.citations:
        if citation.quote not in DOCUMENTS.get(citation.path, ""):
            raise ModelError(f"The self-test was cited wrongly: {citation.place}.")
    if reader.folder == SHIPPED and EXPECTED not in answer.text:
        return Check("self-test", "failed", "The reader answered wrongly.", "Install gfqa again.", values)
    detail = f"ingest {values['ingest_seconds']:.1f} s, ask {values['ask_seconds']:.1f} s"
    return Check("self-test", "ok", detail, values=values)


def _gigabytes(count: int | None) -> str:
    return "an unknown amount" if count is None else f"{count / 1e9:,.1f} GB"
