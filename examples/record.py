"""Record terminal scenes as SVG pictures: real commands, on the examples, with the installed reader.

    python examples/record.py                  # every scene, into docs/images
    python examples/record.py first --out /tmp # one of them, elsewhere

Works on a copy of the examples and in an empty GFQA_HOME, both temporary, on an 80-column terminal. The pictures name no font
to be fetched: every glyph is given its width, so any monospace font of the reader's fits.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import html
import io
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

HERE = Path(__file__).resolve().parent
COLUMNS = 80
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
PICTURE = """<svg role="img" aria-label="LABEL" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: FONT; font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-family: FONT; font-size: 18px; }}
{styles}
</style>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
""".replace("FONT", FONT)


class Scene(NamedTuple):
    """What is typed, and in which folder of the examples."""

    folder: str
    commands: tuple[str, ...]


SCENES = {
    "first": Scene(
        "inkwell",
        (
            "gfqa ingest .",
            'gfqa ask "Which port does the server listen on?"',
            'gfqa ask "How long are copies of the database kept?" --sources 1',
            "gfqa ingest .",
        ),
    ),
    "find": Scene(
        "inkwell",
        (
            "gfqa ingest . --quiet",
            'gfqa find "retry delay after a failed job" --count 4',
            'gfqa ask "How does the queue retry a job?" --context 150',
        ),
    ),
    "pdfs": Scene(
        "pdfs",
        (
            "gfqa ingest . --name papers",
            'gfqa ask "What is the name of the station boat?"',
            'gfqa ask "At what height did the aeroplane fly?" --sources 1',
            "gfqa status",
        ),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Record terminal scenes as SVG.")
    parser.add_argument("names", nargs="*", metavar="SCENE", help=f"of {', '.join(SCENES)}; default: all")
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / "images")
    options = parser.parse_args()
    if unknown := set(options.names) - set(SCENES):
        parser.error(f"there is no scene {', '.join(sorted(unknown))}")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names or SCENES:
        picture = options.out / f"{name}.svg"
        picture.write_text(recorded(name, SCENES[name]))
        sys.stdout.write(f"{picture}: {picture.stat().st_size:,} bytes\n")


def recorded(name: str, scene: Scene) -> str:
    """Run the commands of a scene one after the other; the picture of what the terminal shows."""
    screen = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / scene.folder
        shutil.copytree(HERE / scene.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
        for number, command in enumerate(scene.commands):
            shown = typed(command, folder, Path(scratch) / "home")
            if number:
                screen.print()
            screen.print(Text.assemble(("$ ", "green"), (command, "bold")))
            if shown:
                screen.print(Text.from_ansi(shown))
    label = html.escape("; ".join(scene.commands), quote=True)
    picture = screen.export_svg(
        title=scene.folder,
        theme=DIMMED_MONOKAI,
        code_format=PICTURE.replace("LABEL", label),
        unique_id=f"gfqa-{name}",
    )
    # Rich clips every line, the last one by a path that it does not define, and draws each line break as a text.
    picture = re.sub(r' clip-path="[^"]*"', "", picture)
    picture = re.sub(r"<text[^>]*>\n</text>", "\n", picture)
    return re.sub(r"[ \t]*\n(?:[ \t]*\n)*", "\n", picture)


def typed(command: str, folder: Path, home: Path) -> str:
    """What a command writes on a terminal. Standard error is no terminal, so no bar of progress is drawn.

    Raises RuntimeError where the command fails: a picture of a failure is never made by accident.
    """
    words = [sys.executable, "-m", "gfqa.cli", *shlex.split(command)[1:]]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GFQA_")}
    setting = {"GFQA_HOME": str(home), "XDG_CONFIG_HOME": str(home), "TERM": "xterm", "COLUMNS": str(COLUMNS)}
    reading, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            words, cwd=folder, env=kept | setting, stdin=subprocess.DEVNULL, stdout=terminal, stderr=errors
        )
        os.close(terminal)
        shown = b""
        # A terminal whose last writer is gone is an error on Linux and an empty read elsewhere.
        with contextlib.suppress(OSError):
            while piece := os.read(reading, 65536):
                shown += piece
        os.close(reading)
        code = process.wait()
        errors.seek(0)
        text = (errors.read() + shown).decode().replace("\r\n", "\n")
    if code:
        raise RuntimeError(f"{command}: exit code {code}\n{text}")
    return text.rstrip("\n")


if __name__ == "__main__":
    main()
