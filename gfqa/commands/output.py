"""`--output FILE`: where results go instead of standard output. Checked before the work, written after it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated

import typer

from gfqa.errors import GfqaError, UsageError

Output = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", metavar="FILE|-", help="Write to a file, whole or not at all; - is standard output."
    ),
]


def output_file(name: str | None, questions: str | None = None) -> Path | None:
    """The file that --output names; None for standard output. questions: a file that it must not be.

    UsageError for what can be no file or has no folder, GfqaError for what may not be written, both before a question costs
    anything.
    """
    if name is None or name == "-":
        return None
    path = Path(name)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = None
    except OSError as error:
        raise _refused(path, error) from None
    if not name or name.endswith(os.sep) or (mode is not None and stat.S_ISDIR(mode)):
        raise UsageError(f"--output {name or repr(name)} is no name of a file.", hint="Name a file in a folder.")
    if mode is not None and not stat.S_ISREG(mode):
        # To take its place would destroy a device or a pipe.
        raise UsageError(f"--output {name} is no regular file.", hint="Leave out --output and redirect with >.")
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder} for --output.", hint="Make it first: mkdir -p.")
    if mode is not None and questions is not None and os.path.exists(questions) and path.samefile(questions):
        raise UsageError(
            f"The answers would take the place of the questions in {questions}.", hint="Name another file."
        )
    # The file is replaced, so its folder counts, too.
    if not os.access(folder, os.W_OK) or (mode is not None and not os.access(path, os.W_OK)):
        raise _refused(path, None)
    return path


def write(path: Path, text: str) -> None:
    """The file with this text; as it was where that fails. Modes are those that > would give. GfqaError names the file."""
    from gfqa.cachestore import fs

    # A link goes on pointing to the file.
    target = Path(os.path.realpath(path))
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666
    try:
        fs.write_file_atomically(target, [text.encode("utf-8")], mode=mode)
    except GfqaError as error:
        raise GfqaError(error.message, hint=_HINT) from error


_HINT = "The answer was not written; name another file with --output."


def _refused(path: Path, error: OSError | None) -> GfqaError:
    reason = "permission denied" if error is None else (error.strerror or "input/output error").lower()
    return GfqaError(f"Cannot write {path}: {reason}.", hint=_HINT)
