"""Is the fused decode step right, how quick is it, what does a cold `gfqa ask` with it wait for? On a GPU, in three minutes.

    python3 benchmarks/decode_check.py [--only truth,reader,step,ask] [--seconds 175]
    python3 benchmarks/decode_check.py --device cpu --only truth,reader --seconds 600     (the same in plain PyTorch)
    TRITON_INTERPRET=1 python3 benchmarks/decode_check.py --device cpu --tiny --only truth,reader,step     (does it run?)

Every part is a process with a limit of its own, and so is every command of `ask`: what is too slow is stopped and said, with
what it had found. The table comes last. truth: random weights of D768 over 4,000 tokens; reader: the shipped one over the
example project; both by `decode_truth`, 64 tokens and more. step: D768, one token as a graph. ask: commands in fresh processes
over a fresh Triton cache, with the kernels each of them compiled.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

LIMITS = {"truth": 70, "reader": 45, "step": 50, "ask": 120}
"""Seconds of a part."""
COMMAND_LIMIT = 30
SOURCE = ROOT / "examples" / "inkwell"
QUESTIONS = ("Which port does the server listen on?", "What does inkwell do when the queue holds more than 200 jobs?")
FORMS = ("int8 keys, int8 values", "int8 keys, bf16 values", "latent, int8 values")

LISTENER = """
import json, sys, time
began, log = time.time(), sys.argv[1]
from triton import knobs
def heard(*, src=None, times=None, cache_hit=False, **_):
    seconds = 1e-6 * getattr(times, "total", 0)
    line = {"kernel": getattr(src, "name", "?"), "hit": cache_hit, "s": seconds, "at": time.time() - began}
    with open(log, "a") as out:
        out.write(json.dumps(line) + "\\n")
knobs.compilation.listener = heard
sys.argv = ["gfqa", *sys.argv[2:]]
from gfqa.entry import main
main()
"""
"""`gfqa` with every kernel it compiles, or finds compiled, written down as it comes."""


def say(part: str, name: str, **values: Any) -> None:
    """One row for the table, at once."""
    print("ROW " + json.dumps([part, name, values]), flush=True)


def truth(bench: Any) -> None:
    import torch

    from benchmarks import decode
    from benchmarks.decode_truth import against_float32

    model = decode.make_model(bench, *((64, 3) if bench.tiny else (768, 12)))
    cache = decode.make_cache(bench, model, 300 if bench.tiny else 4_000)
    question = torch.arange(1, 9, device=bench.device)[None] % bench.vocab
    steps = 2 if bench.tiny else 64
    forms = {
        f"{name}, {way}": _made(model, cache, name, steps, way == "fused")
        for name in FORMS
        for way in ("fused", "apart")
    }
    for name, row in against_float32(model, cache, question, steps, forms).items():
        say("truth", name, **row)


def _made(model: Any, cache: Any, form: str, steps: int, fused: bool) -> Any:
    from benchmarks import decode

    def make(state: Any) -> Any:
        layers = decode.prepared(model, cache, form)
        return decode.DecodeStep(model, state, layers, steps, fused=fused, want_mass=False)

    return make


def reader(bench: Any) -> None:
    import torch

    from benchmarks.decode_truth import against_float32
    from gfqa.answer.prompt import document_ids, question_ids
    from gfqa.model import KeyCache, load_model
    from gfqa.model.key_cache import rounded
    from gfqa.reader import open_model

    opened = open_model(None, bench.device)
    model = load_model(opened.folder, bench.device, torch.bfloat16)
    ids, keys = [], []
    for path in sorted(SOURCE.rglob("*"))[: 3 if bench.tiny else None]:
        if path.suffix in (".py", ".md"):
            text = path.read_text(encoding="utf-8")
            ids.append(torch.tensor(document_ids(opened.tokenizer, path.name, text)[0], device=bench.device))
            with torch.inference_mode():
                keys.append(rounded(model.prefill(ids[-1][None])[0][0], "int8"))
    starts = torch.tensor([sum(map(len, ids[:number])) for number in range(len(ids))])
    cache = KeyCache(torch.cat(ids), torch.cat(keys), starts)
    for number, asked in enumerate(QUESTIONS[: 1 if bench.tiny else None]):
        steps = 2 if bench.tiny else (256, 64)[number]
        forms = {f"{name}, fused": _made(model, cache, name, steps, True) for name in FORMS}
        question = torch.tensor([question_ids(opened.tokenizer, asked)], device=bench.device)
        for name, row in against_float32(model, cache, question, steps, forms).items():
            say("reader", f"question {number + 1}, {name}", **row)


def step(bench: Any) -> None:
    import torch

    from benchmarks import decode

    width, depth = (64, 3) if bench.tiny else (768, 12)
    model = decode.make_model(bench, width, depth)
    question = torch.arange(1, 33, device=bench.device)[None] % bench.vocab
    for tokens in (300,) if bench.tiny else (100_000, 1_000_000):
        cache = decode.make_cache(bench, model, tokens)
        small = decode.KeyCache(cache.ids[:256], cache.keys[:256], cache.chain_starts[:1], form="materialised")
        with torch.inference_mode():
            _, state = model.decode(question, None, small)
        layers = decode.prepared(model, cache, FORMS[0])
        for label, mass in (("", False), (" with mass", True)):
            one = decode.DecodeStep(model, state, layers, 128, want_mass=mass, fused=True)
            say(
                "step",
                f"{tokens:,} tokens{label}",
                ms=bench.milliseconds(lambda n, one=one: one(n % bench.vocab), 12, decode.IN_A_ROW),
            )


def ask(bench: Any) -> None:
    with tempfile.TemporaryDirectory() as home:
        settings = {"GFQA_HOME": f"{home}/gfqa", "GFQA_CONFIG": os.devnull, "TRITON_CACHE_DIR": f"{home}/triton"}
        environment = {**os.environ, **settings, "PYTHONPATH": os.pathsep.join((str(ROOT), *sys.path))}
        # Modules are compiled once, as where gfqa is installed.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        device = ("--device", bench.device)
        for name, kernels, command in (
            ("ingest", "0", ("ingest", str(SOURCE), *device)),
            ("ask, plain", "0", ("ask", QUESTIONS[0], "--json", *device)),
            ("ask, kernels, cold", "1", ("ask", QUESTIONS[0], "--json", *device)),
            ("the same once more", "1", ("ask", QUESTIONS[0], "--json", *device)),
            ("another question", "1", ("ask", QUESTIONS[1], "--json", *device)),
            ("the same, by the fused step", "1", ("ask", QUESTIONS[1], "--json", "--max-tokens", "600", *device)),
            ("the same once more", "1", ("ask", QUESTIONS[1], "--json", "--max-tokens", "600", *device)),
        ):
            log = Path(home) / "kernels.jsonl"
            log.unlink(missing_ok=True)
            log.touch()
            began = time.monotonic()
            out = _limited(
                [sys.executable, "-c", LISTENER, str(log), *command],
                COMMAND_LIMIT,
                {**environment, "GFQA_GPU_KERNELS": kernels},
            )
            heard = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
            new = [entry for entry in heard if not entry["hit"]]
            values: dict[str, Any] = {
                "wall": time.monotonic() - began,
                "compiled": len(new),
                "found": len(heard) - len(new),
            }
            if new:
                values["compile_s"] = sum(entry["s"] for entry in new)
            if out is None:
                values["stopped"] = COMMAND_LIMIT
            elif command[0] == "ask":
                try:
                    answer = json.loads(out)
                    values |= {"answer": answer.get("answer"), "score": answer.get("score")}
                    values |= {name: value for name, value in answer["timing"].items() if isinstance(value, float)}
                except (ValueError, KeyError):  # a JSON error, say, has no timing
                    values["failed"] = out[-200:]
            say("ask", name, **values)
            print(f"{name}: {' '.join(str(entry['kernel']) for entry in new)}", flush=True)


def _limited(command: list[str], seconds: float, environment: dict[str, str]) -> str | None:
    """Standard output of a command, or None where it had to be stopped; it and what it started are ended."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, env=environment, text=True, start_new_session=True, cwd=ROOT
    )
    try:
        return process.communicate(timeout=max(1.0, seconds))[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None


def part_process(part: str, arguments: argparse.Namespace, seconds: float) -> list[Any]:
    """Rows of one part, those before it was stopped included."""
    with tempfile.NamedTemporaryFile("r", suffix=".txt") as out:
        with open(out.name, "w") as written:
            command = [sys.executable, __file__, "--part", part, "--device", arguments.device]
            process = subprocess.Popen(
                [*command, *(["--tiny"] if arguments.tiny else [])], stdout=written, start_new_session=True, cwd=ROOT
            )
            try:
                state = f"ended with {process.wait(timeout=max(1.0, seconds))}"
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                state = f"stopped after {seconds:.0f} s"
        lines = out.read().splitlines()
    for line in lines:
        if not line.startswith("ROW "):
            print(f"  {part}: {line}")
    rows = [json.loads(line[4:]) for line in lines if line.startswith("ROW ")]
    return rows if state == "ended with 0" else [*rows, [part, state, {}]]


def shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(LIMITS))
    parser.add_argument("--seconds", type=float, default=175)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--part", choices=LIMITS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part == "ask":
        return ask(SimpleNamespace(device=arguments.device))
    if arguments.part:
        from benchmarks import decode

        options = SimpleNamespace(only="", sweep=False, quick=True, ways="", out="", minutes=9)
        bench = decode.Bench(argparse.Namespace(**vars(options), device=arguments.device, tiny=arguments.tiny))
        bench.dtype = __import__("torch").bfloat16
        return globals()[arguments.part](bench)
    began, rows = time.monotonic(), []
    for part in arguments.only.split(","):
        left = arguments.seconds - (time.monotonic() - began)
        rows += part_process(part, arguments, min(LIMITS[part] * (1 if arguments.device == "cuda" else 8), left))
        print(f"{part}: {time.monotonic() - began:.0f} s", flush=True)
    print("error: of logits, relative to float32; lost: float32's margin where another token is said, in errors")
    for part, name, values in rows:
        print(f"{part:<7} {name:<34} " + "  ".join(f"{key} {shown(value)}" for key, value in values.items()))


if __name__ == "__main__":
    main()
