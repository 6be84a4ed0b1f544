"""The layers hold: imports only go down, one place prints, one place writes, nothing loads code from data."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "gfqa"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)

ENTRY = {"cli", "commands", "console", "entry", "failures", "guard", "quick", "views", "views_caches"}
USE_CASES = {"ingest", "ask", "caches", "find", "models", "status", "training"}
# The memory is built by prefill, both need an opened model, a second look needs a memory: the order among the shared ones.
SHARED_ORDER = [
    "model_folders",
    "head_start",
    "shelf",
    "reader",
    "prefill",
    "loaded",
    "gather",
    "rates",
    "memory",
    "passages",
    "pointing",
]
PARTS = {"documents", "tokenizer", "model", "cachestore", "answer"}
PRIMITIVES = {"kernels", "errors", "config", "digest"}
RANK = {
    **dict.fromkeys(ENTRY, 4),
    "doctor": 3.7,  # tries the others
    **dict.fromkeys(("batch", "chat"), 3.5),  # ask many times
    "serve": 3.5,  # asks for others
    "hub": 3.3,  # converts what it fetched
    "plan": 3.5,  # an ingest that only looks
    "rebuild": 3.5,  # an ingest from what a cache holds
    "watch": 3.5,  # ingests many times
    "evaluation": 3.5,  # measures the other use cases: it asks through `ask`, with questions made by `training`
    **dict.fromkeys(USE_CASES, 3),
    **dict.fromkeys(SHARED_ORDER, 2),
    **dict.fromkeys(PARTS, 1),
    **dict.fromkeys(PRIMITIVES, 0),
}
TORCH_FREE = (
    "cachestore",
    "documents",
    "console.py",
    "cli.py",
    "commands/",
    "guard.py",
    "entry.py",
    "digest.py",
    "failures.py",
    "quick.py",
    "caches.py",
    "status.py",
    "views_caches.py",
    "config.py",
    "errors.py",
    "views.py",
    "find.py",
    "model_folders.py",
    "shelf.py",
    "answer/prompt.py",
    "serve/__init__.py",
    "serve/chat.py",
    "serve/client.py",
    "serve/protocol.py",
    "serve/wire.py",
    "answer/result.py",
    "answer/checks.py",
)


def name_of(path: Path) -> str:
    """The room a file belongs to: its folder, or its own name at the top."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """(module, line, whether only type checkers see it) of every import, functions included."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) in typing_only
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide the layers"
            if node.module == "gfqa":
                for alias in node.names:
                    yield f"gfqa.{alias.name}", node.lineno, id(node) in typing_only
            elif node.module:
                yield node.module, node.lineno, id(node) in typing_only


def test_every_room_has_a_layer() -> None:
    rooms = {name_of(path) for path in FILES} - {"__init__", "pretrained"}
    assert rooms <= RANK.keys(), f"rooms without a layer: {rooms - RANK.keys()}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_go_down(path: Path) -> None:
    me = name_of(path)
    for module, line, _ in imports(path):
        if not module.startswith("gfqa.") or me == "__init__":
            continue
        other = module.split(".")[1]
        if other in (me, "__version__"):
            continue
        where = f"{path.relative_to(PACKAGE)}:{line} imports {module}"
        assert other in RANK, where
        sideways_entry = me in ENTRY and other in ENTRY
        shared = me in SHARED_ORDER and other in SHARED_ORDER and SHARED_ORDER.index(other) < SHARED_ORDER.index(me)
        to_primitive = RANK[other] == 0 and RANK[me] == 0 and other == "errors"
        assert RANK[other] < RANK[me] or sideways_entry or shared or to_primitive, where


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_torch_free_rooms(path: Path) -> None:
    if not str(path.relative_to(PACKAGE)).startswith(TORCH_FREE):
        return
    for module, line, typing_only in imports(path):
        assert typing_only or module.split(".")[0] not in ("torch", "triton", "safetensors"), f"{path}:{line}"


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """(dotted name, call) of every call with a plain name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_console_prints(path: Path) -> None:
    if path.name == "console.py":
        return
    here = str(path.relative_to(PACKAGE))
    # Child processes answer their parent on stdout; nothing of theirs reaches a terminal.
    child = here in ("documents/pdf_worker.py", "model/convert.py")
    # Training tools are started as modules by developers (`python -m gfqa.training.…`), never by the command line.
    if here.startswith("training/") or here == "evaluation/calibrate.py":
        return
    for name, call in calls(path):
        assert name not in ("print", "typer.echo", "typer.secho"), f"{here}:{call.lineno}"
        assert child or not name.startswith(("sys.stdout.write", "sys.stderr.write")), f"{here}:{call.lineno}"


WRITERS = ("cachestore/fs.py", "model/checkpoint.py", "model/convert.py", "training/", "evaluation/")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_one_place_writes(path: Path) -> None:
    here = str(path.relative_to(PACKAGE))
    if here.startswith(WRITERS):
        return
    for name, call in calls(path):
        words = [
            word.value for word in (*call.args, *(k.value for k in call.keywords)) if isinstance(word, ast.Constant)
        ]
        modes = [word for word in words if isinstance(word, str) and len(word) <= 3 and set(word) <= set("rwxab+t")]
        opens = name == "open" or name.endswith(".open")
        assert not (opens and any(set(mode) & set("wxa+") for mode in modes)), f"{here}:{call.lineno} opens for writing"
        assert name not in ("os.replace", "os.rename", "os.fsync"), f"{here}:{call.lineno} calls {name}"
        assert not name.endswith((".write_text", ".write_bytes")), f"{here}:{call.lineno} calls {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_code_from_data(path: Path) -> None:
    here = str(path.relative_to(PACKAGE))
    for name, call in calls(path):
        where = f"{here}:{call.lineno} calls {name}"
        assert name not in ("eval", "exec", "pickle.load", "pickle.loads", "yaml.load", "pydoc.locate"), where
        assert name != "importlib.import_module", where
        assert name != "torch.load" or here == "model/convert.py", where
        if name == "torch.load":
            flags = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            assert flags.get("weights_only") == "True", where
        assert not any(k.arg == "shell" and ast.unparse(k.value) != "False" for k in call.keywords), where


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_stay_readable(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert len(path.read_text().splitlines()) <= 500, f"{path} is too long to read in one go"
    assert ast.get_docstring(tree) or not tree.body, f"{path} does not say what it is"
