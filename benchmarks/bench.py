"""Ingest and ask on this machine with the shipped reader: tokens/s, bytes a token, time to the first token.

`python benchmarks/bench.py [--device cpu] [--tokens 65536]` reads this project's own source and documents, repeated under other
names until they are long enough, into a temporary store, then asks. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
QUESTION = "What is the default timeout of fetch_rates?"


def gfqa(*arguments: str) -> tuple[dict[str, object], float]:
    """Run the command in a process of its own: (its JSON object, seconds of the whole process)."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "gfqa.cli", *arguments, "--json"], capture_output=True, check=True)
    return json.loads(done.stdout), time.monotonic() - began


def corpus(folder: Path, characters: int) -> None:
    """Copies of the project's text files with a line of their own, until `characters` are reached."""
    files = [
        p for p in sorted((ROOT / "gfqa").rglob("*.py")) + sorted((ROOT / "examples").rglob("*.md")) if p.is_file()
    ]
    written, copy = 0, 0
    while written < characters:
        for file in files:
            text = f"copy {copy}\n{file.read_text(encoding='utf-8')}"
            target = folder / str(copy) / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            written += len(text)
            if written >= characters:
                break
        copy += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tokens", type=int, default=65_536)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["GFQA_HOME"] = str(Path(temporary) / "home")
        source = Path(temporary) / "source"
        corpus(source, 3 * arguments.tokens)
        device = ("--device", arguments.device)
        report, seconds = gfqa("ingest", str(source), "--name", "bench", *device)
        again, again_seconds = gfqa("ingest", str(source), "--name", "bench", *device)
        answer, ask_seconds = gfqa("ask", QUESTION, "--cache", "bench", *device)
    tokens, cache = report["tokens"], report["cache"]
    assert isinstance(tokens, dict)
    assert isinstance(cache, dict)
    assert isinstance(report["seconds"], float)
    figures = {
        "documents": report["documents"],
        "tokens": tokens["total"],
        "ingest_tokens_per_s": round(tokens["prefilled"] / report["seconds"]),
        "ingest_process_s": round(seconds, 2),
        "bytes_per_token": round(cache["bytes"] / tokens["total"], 2),
        "unchanged_ingest_process_s": round(again_seconds, 2),
        "unchanged_prefilled": again["tokens"]["prefilled"],  # type: ignore[index]
        "ask_process_s": round(ask_seconds, 2),
        "ask_timing_s": answer["timing"],
        "command": "python benchmarks/bench.py " + " ".join(sys.argv[1:]),
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
