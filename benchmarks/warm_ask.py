"""What a warm `gfqa ask` costs beside a cold one: processor time and wall time of the whole client, time to its first byte.

`python benchmarks/warm_ask.py [--device cpu] [--repeats 5] [--source examples/inkwell]` ingests a folder into a temporary
store, starts `gfqa serve`, and asks the same question in fresh processes with and without it, and from a process that is
there already, as an editor's plugin would (`held`). `beyond_model` is the wall time less what the answer itself reports as
its model's work; `interpreter` is what a Python that does nothing takes. Prints one JSON object; each figure is the least of
the repeats.
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
sys.path.insert(0, str(ROOT))

from gfqa.serve import client  # noqa: E402

QUESTION = "Which port does the server listen on?"


def asked(*flags: str) -> dict[str, float]:
    """Seconds of one `gfqa ask`: streamed, for its first byte, and once more as JSON."""
    command = [sys.executable, "-m", "gfqa.entry", "ask", QUESTION, *flags]
    began = time.monotonic()
    streamed = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert streamed.stdout is not None
    streamed.stdout.read(1)
    first = time.monotonic() - began
    streamed.communicate()
    began = time.monotonic()
    process = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    answer = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - began
    timing = answer["timing"]
    model = timing["decode"] + timing["reread"] + timing["cite"]
    return {
        "first_byte": first,
        "wall": wall,
        "model": model,
        "beyond_model": wall - model,
        "client_cpu": usage.ru_utime + usage.ru_stime,
        "warm": float(bool(timing.get("warm"))),
    }


def held() -> dict[str, float]:
    """Seconds to the first text and to the whole answer, asked from this process; the client is imported already."""
    first: list[float] = []
    began = time.monotonic()
    answer = client.ask(
        QUESTION,
        device=os.environ["GFQA_DEVICE"],
        on_text=client.Shown(lambda text: first.append(time.monotonic() - began)),
    )
    wall = time.monotonic() - began
    if answer is None or not first:
        sys.exit("The server did not answer.")
    return {"first_text": first[0], "wall": wall}


def interpreter() -> dict[str, float]:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return {"wall": time.monotonic() - began}


def least(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(min(run[name] for run in runs), 3) for name in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--source", default=str(ROOT / "examples" / "inkwell"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/tmp") as temporary:
        # Modules are compiled once, as where gfqa is installed.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ |= {"GFQA_HOME": temporary, "GFQA_DEVICE": arguments.device, "GFQA_CONFIG": os.devnull}
        gfqa = [sys.executable, "-m", "gfqa.entry"]
        ingest = [*gfqa, "ingest", arguments.source, "--name", "bench", "--json"]
        report = json.loads(subprocess.run(ingest, stdout=subprocess.PIPE, check=True).stdout)
        server = subprocess.Popen([*gfqa, "serve", "--cache", "bench", "--json"], stdout=subprocess.PIPE)
        assert server.stdout is not None
        began = time.monotonic()
        ready = json.loads(server.stdout.readline())
        start = time.monotonic() - began
        try:
            runs = [(asked(), asked("--no-server")) for _ in range(arguments.repeats)]
            inside = [held() for _ in range(4 * arguments.repeats)]
            bare = [interpreter() for _ in range(arguments.repeats)]
        finally:
            server.terminate()
            server.wait()
    found = {
        "device": ready["device"],
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "tokens": report["tokens"]["total"],
        "server_start": round(start, 3),
        "interpreter": least(bare),
        "held": least(inside),
        "warm": least([warm for warm, _ in runs]),
        "cold": least([cold for _, cold in runs]),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
