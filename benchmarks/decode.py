"""GOLD decode on a GPU: attention over one layer's memory and the whole step, beside a Llama of the same size.

    python3 benchmarks/decode.py --quick [--out decode.json]      (D768 at 100,000 and 1,000,000 tokens, within 100 s)
    python3 benchmarks/decode.py [--minutes 9] [--only attention,step,…] [--sizes D768] [--lengths 100000,1000000]
        [--ways fused] [--sweep] [--out decode.json]
    TRITON_INTERPRET=1 python3 benchmarks/decode.py --device cpu --tiny      (does it run? no times worth reading)

Random weights (two thirds Finch-C2, one third GOLD), random compressed keys, ids whose bigrams repeat as in source code (the
ratio is printed). Times are medians over CUDA events after a warm-up, queries taking turns, steps eight in a row; a memory
much smaller than the L2 cache is measured from it. Every form is compared with plain PyTorch on the same memory before its
time is printed; `read` is the bytes a step must read over its time, as a share of the copy bandwidth measured first. A section
that fails prints one line.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import decode_peers as peers
from benchmarks.decode_load import load
from benchmarks.decode_truth import against_float32
from gfqa.kernels.decode_step import triton as step_form
from gfqa.kernels.gold_attention import triton as sorted_form
from gfqa.kernels.gold_attention import triton_latent as latent_form
from gfqa.kernels.gold_attention.latent_tokens import LatentTokens, widened_keys
from gfqa.kernels.gold_attention.reference import gold_attention as plain_attention
from gfqa.kernels.gold_attention.triton_memory import SortedMemory, unsorted
from gfqa.kernels.testing import relative_error
from gfqa.model import KeyCache, LanguageModel, ModelConfig
from gfqa.model.checkpoint import place
from gfqa.model.decode_graph import DecodeStep
from gfqa.model.gpu_memory import latent_memory, sorted_memory
from gfqa.model.key_cache import rounded

SIZES = {"D512": (512, 12), "D768": (768, 12), "D2048": (2048, 24)}
LENGTHS = [4_000, 100_000, 1_000_000, 10_000_000]
FORMS: dict[str, tuple[Any, dict[str, torch.dtype]]] = {
    "int8 keys, int8 values": (sorted_memory, {}),
    "int8 keys, bf16 values": (sorted_memory, {"value_dtype": torch.bfloat16}),
    "latent, bf16 values": (latent_memory, {}),
    "latent, int8 values": (latent_memory, {"value_dtype": torch.int8}),
    "bf16 keys, bf16 values": (sorted_memory, {"key_dtype": torch.bfloat16, "value_dtype": torch.bfloat16}),
}
SECTIONS = ("equality", "attention", "latent", "rows", "step", "first", "load", "peers", "settings", "build", "sweep")
QUICK = set(SECTIONS) - {"rows", "build", "sweep"}
QUICK_FORMS = ("int8 keys, int8 values", "int8 keys, bf16 values", "latent, int8 values")
STEPS: dict[str, dict[str, Any]] = {
    "fused": {},
    "fused, early launches": {"early": True},
    "fused, mass": {"want_mass": True},
    "fused, no attention": {"attention": False},
    "fused early, no attention": {"early": True, "attention": False},
    "plain": {"fused": False},
    "compiled": {"fused": False, "compiled": True},
}
"""Ways to take a step; the first three for every form. Without attention: what the rest costs."""
SETTINGS: list[dict[str, Any]] = [
    {"per_processor": 8, "keys_first": False, "ahead": False},
    {"per_processor": 4, "keys_first": False, "ahead": False},
    {"ahead": False},
    {"keys_first": False},
    {"per_processor": 3},
    {"per_processor": 6},
    {"per_processor": 8},
    {"per_processor": 16},
    {"value_rows": 32, "warps": 2, "per_processor": 6, "ahead": False},
    {"value_rows": 32},
    {"tile": 512, "per_processor": 3, "stages": 2},
    {"tile": 128, "value_rows": 32, "warps": 2, "per_processor": 8},
    {"tile": 128, "value_rows": 32, "per_processor": 7},
    {"tile": 64, "value_rows": 32, "warps": 1, "per_processor": 9},
]
"""Settings of the scan of int8 keys that differ from the default; the first is what ran before there were the last two."""
QUERIES, CHECK_CHUNK = 4, 262_144
IN_A_ROW = 8
"""Steps timed at once: what the host takes to start the next one is hidden by the one before, as in an answer."""
LARGEST = 100e9
"""Bytes of keys of all layers that are tried on a GPU of 141 GB."""
TAIL = 0.68
"""How heavy the tail of what follows a token is: 5.9 tokens a distinct bigram at 1 M, as in source code."""


class Bench:
    """The run: what was asked for, the clock, the ceilings, the rows of the table."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.device, self.tiny, self.minutes = arguments.device, arguments.tiny, arguments.minutes
        self.sections = (
            set(arguments.only.split(",")) if arguments.only else set(SECTIONS) - {"sweep", "settings", "build"}
        )
        self.quick, self.ways = arguments.quick, arguments.ways
        if self.quick and not arguments.only:
            self.sections = set(QUICK)
        self.forms = [name for name in FORMS if not self.quick or name in QUICK_FORMS]
        if arguments.sweep:
            self.sections.add("sweep")
        self.vocab = 61 if self.tiny else 65_536
        if self.tiny and self.device == "cpu":
            # The interpreter's time is that of its programs.
            step_form.LAUNCH = step_form.LAUNCH.reshaped(spread=1)
        self.dtype = torch.float32 if self.tiny else torch.bfloat16
        self.began, self.bandwidth = time.monotonic(), 0.0
        self.rows: list[dict[str, Any]] = []
        self.out = arguments.out

    def milliseconds(self, call: Callable[[int], Any], repeats: int = 24, row: int = 1) -> float:
        """Median time of call(number), of so many in a row; on the CPU one call's wall clock."""
        if self.device == "cpu":
            start = time.perf_counter()
            call(0)
            return 1e3 * (time.perf_counter() - start)
        for number in range(4):
            call(number)
        times = []
        for number in range(repeats):
            before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            before.record()
            for turn in range(row):
                call(number * row + turn)
            after.record()
            after.synchronize()
            times.append(before.elapsed_time(after) / row)
        return statistics.median(times)

    def report(self, section: str, size: str, tokens: int, name: str, ms: float, n_bytes: int = 0, **more: Any) -> None:
        """One line of the table, and of the JSON."""
        share = n_bytes / (ms * 1e6) / self.bandwidth if n_bytes and self.bandwidth else None
        row = {
            "section": section,
            "size": size,
            "tokens": tokens,
            "name": name,
            "ms": ms,
            "bytes": n_bytes,
            "share": share,
        }
        self.rows.append({**row, **more})
        read = f"{n_bytes / 1e9:8.3f} GB read {100 * share:5.1f} %" if share is not None else ""
        extra = "  ".join(f"{k} {v:.2g}" if isinstance(v, float) else f"{k} {v}" for k, v in more.items())
        print(f"{section:<10}{size:<7}{tokens:>9}  {name:<44}{ms:10.4f} ms {read}  {extra}", flush=True)
        if self.out:
            Path(self.out).write_text(json.dumps(self.rows, indent=1), encoding="utf-8")

    def section(self, name: str, where: str, work: Callable[[], None]) -> None:
        """Run a part of the benchmark if it was asked for and time is left; a failure is one line."""
        if name not in self.sections:
            return
        if time.monotonic() - self.began > 60 * self.minutes:
            print(f"{name} {where}: left out, {self.minutes} minutes are over", flush=True)
            return
        try:
            work()
        except Exception as error:
            line = traceback.extract_tb(error.__traceback__)[-1]
            message = str(error).split("\n")[0][:200]
            print(
                f"{name} {where}: FAILED {type(error).__name__}: {message} ({line.filename}:{line.lineno})", flush=True
            )
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def ceilings(self) -> None:
        """Copy bandwidth (read plus written) in GB/s and the rate of a bf16 matrix product."""
        if self.device == "cpu":
            return
        buffers = torch.randn(2, 1 << 29, device="cuda")
        self.bandwidth = buffers.nbytes / self.milliseconds(lambda _: buffers[0].copy_(buffers[1])) / 1e6
        a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        rate = 2 * 8192**3 / self.milliseconds(lambda _: a @ b) / 1e9
        print(f"{torch.cuda.get_device_name()}  torch {torch.__version__}  triton {sorted_form.triton.__version__}  "
              f"copy {self.bandwidth:.0f} GB/s  bf16 product {rate:.0f} TFLOP/s", flush=True)  # fmt: skip


def text_like_ids(length: int, vocab: int, seed: int = 0) -> Tensor:
    """ids [length] on the CPU: what follows a token is a heavy-tailed choice of its own, so bigrams repeat as in text."""
    draw = torch.Generator().manual_seed(seed)
    chains = min(1024, max(1, length // 64))
    now = torch.randint(vocab, (chains,), generator=draw)
    out = []
    for _ in range(-(-length // chains)):
        out.append(now)
        rank = (torch.rand(chains, generator=draw, dtype=torch.float64) ** -TAIL).clamp(max=1e9).long()
        place = (now * 7919 + rank * 104_729) % 1_000_003
        now = (vocab * (place.double() / 1_000_003) ** 3).long()
    return torch.stack(out, dim=1).flatten()[:length]


def make_model(bench: Bench, width: int, depth: int) -> LanguageModel:
    """Random weights: matrices that keep lengths, mixes in 0..1, decays that remember."""
    head = 32 if bench.tiny else 64
    config = ModelConfig(
        n_embd=width, n_layer=depth, vocab_size=bench.vocab, head_size=head, tmix2="gold", layout="independent",
        key_dtype="int8", decay_floor=-1.0, length_scale=512.0,
    )  # fmt: skip
    with torch.device(bench.device):
        model = LanguageModel(config)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".ln" in name or name.startswith("ln"):
                weight.fill_(1.0 if name.endswith("weight") else 0.0)
            elif "time_maa" in name and weight.shape[0] == 1:
                weight.uniform_(0, 1)
            elif weight.dim() == 2 and weight.shape[0] != 1:
                weight.normal_(0, 1 if name == "emb.weight" else weight.shape[1] ** -0.5)
            else:
                weight.normal_(0, 0.1)
    return place(model, bench.device, bench.dtype).eval()


def make_cache(bench: Bench, model: LanguageModel, tokens: int) -> KeyCache:
    """Ids and compressed keys as a store gives them: int8 rounded, one chain a thousand tokens or so."""
    ids = text_like_ids(tokens, bench.vocab).to(bench.device)
    keys = torch.empty((tokens, model.config.key_width), device=bench.device, dtype=bench.dtype)
    for start in range(0, tokens, 1 << 20):
        part = torch.randn(keys[start : start + (1 << 20)].shape, device=bench.device)
        keys[start : start + (1 << 20)] = rounded(part, "int8").to(bench.dtype)
    return KeyCache(ids, keys, torch.arange(0, tokens, 1009))


@torch.inference_mode()
def slow_attention(q: Tensor, own: tuple[Tensor, Tensor], memory: Any) -> Tensor:
    """q [1, H, T, N] over the memory and own keys, chunk by chunk in float32 from the stored numbers: the check."""
    t = memory.shared if isinstance(memory, LatentTokens) else memory
    H, N = q.shape[1], q.shape[3]
    query = q[0].float() * N**-0.5
    logits = query @ own[0][0].float().transpose(-1, -2)
    visible = torch.ones(logits.shape[1:], dtype=torch.bool, device=q.device).tril(logits.shape[2] - logits.shape[1])
    logits = logits.masked_fill(~visible, float("-inf"))
    total, out = torch.logsumexp(logits, -1, keepdim=True), torch.softmax(logits, -1) @ own[1][0].float()
    for start in range(0, len(memory), CHECK_CHUNK):
        tile = slice(start, start + CHECK_CHUNK)
        if isinstance(memory, SortedMemory):
            keys = memory.keys[:, tile].float()
            if memory.key_scales is not None:
                keys = keys * memory.key_scales[:, tile].float().unsqueeze(-1)
        else:
            keys = widened_keys(memory, tile).view(-1, H, N).transpose(0, 1)
        rows = t.bigram[tile].long()
        values = memory.values[:, rows].float()
        if memory.value_scales is not None:
            values = values * memory.value_scales[:, rows].float().unsqueeze(-1)
        logits = query @ keys.transpose(-1, -2)
        part = torch.logsumexp(logits, -1, keepdim=True)
        merged = torch.logaddexp(total, part)
        out = out * torch.exp(total - merged) + torch.exp(logits - merged) @ values
        total = merged
    return out


def queries(bench: Bench, model: LanguageModel, new: int, own: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Several sets of q, own keys, own values of layer-normed rows."""
    H, N = model.config.n_head, model.config.head_size
    sets = []
    for _ in range(QUERIES):
        rows = [torch.randn(1, n, H, N, device=bench.device).to(bench.dtype).transpose(1, 2) for n in (new, own, own)]
        sets.append((rows[0], rows[1], rows[2]))
    return sets


def prepared(model: LanguageModel, cache: KeyCache, name: str) -> list[Any]:
    """The memory of every GOLD layer in one form; MemoryError where its keys alone are too large."""
    make, options = FORMS[name]
    key_bytes = {torch.bfloat16: 2, torch.int8: 1}[options.get("key_dtype", torch.int8)] if make is sorted_memory else 0
    n_bytes = key_bytes * len(cache) * model.config.n_embd * model.config.n_gold
    if n_bytes > LARGEST:
        raise MemoryError(f"keys of {n_bytes / 1e9:.0f} GB do not fit")
    return [*make(model, cache, **options)]


def attend(memory: Any) -> Callable[..., Any]:
    return sorted_form.attend if isinstance(memory, SortedMemory) else latent_form.attend


def check(inputs: tuple[Tensor, Tensor, Tensor], memory: Any) -> float:
    """Relative error against `slow_attention`; raises where it is too large to speak of times."""
    error = relative_error(attend(memory)(*inputs, memory)[0][0], slow_attention(inputs[0], inputs[1:], memory))
    if not error < 2e-2:
        raise AssertionError(f"the output is off by {error:.2g}")
    return error


def captured(bench: Bench, call: Callable[[], Any]) -> Callable[[int], Any]:
    """The call as a CUDA graph, so that launches cost what they cost in a decode step."""
    if bench.device == "cpu":
        return lambda _: call()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return lambda _: graph.replay()


def equality(bench: Bench, size: str, model: LanguageModel) -> None:
    """Steps in place and plain PyTorch's, each measured from float32 with the same weights; see `decode_truth`."""
    cache = make_cache(bench, model, 300 if bench.tiny else 4_000)
    question = torch.arange(1, 9, device=bench.device)[None] % bench.vocab
    steps = 2 if bench.tiny else 64

    def made(name: str, fused: bool) -> Callable[[Any], DecodeStep]:
        def make(state: Any) -> DecodeStep:
            layers = prepared(model, cache, name)
            way = None if fused and isinstance(layers[0], SortedMemory) else attend(layers[0])
            return DecodeStep(model, state, layers, steps, attend=way, fused=fused, want_mass=False)

        return make

    forms = {f"{name}, fused": made(name, True) for name in bench.forms}
    forms[f"{bench.forms[0]}, not fused"] = made(bench.forms[0], False)
    for name, row in against_float32(model, cache, question, steps, forms).items():
        bench.report("equality", size, len(cache), name, 0.0, **row)


def attention(bench: Bench, size: str, model: LanguageModel, cache: KeyCache) -> None:
    """One layer's attention, one query: every form, then plain PyTorch."""
    for name in bench.forms:

        def one(name: str = name) -> None:
            start = time.perf_counter()
            layers = prepared(model, cache, name)
            memory = layers[0]
            if bench.device == "cuda":
                torch.cuda.synchronize()
            seconds = time.perf_counter() - start
            sets = queries(bench, model, 1, 64)
            error = max(check(inputs, memory) for inputs in sets[:2])
            graphs = [captured(bench, lambda s=s: attend(memory)(*s, memory)) for s in sets]
            ms = bench.milliseconds(lambda number: graphs[number % QUERIES](number))
            bench.report("attention", size, len(cache), name, ms, memory.nbytes, error=error, build_s=seconds)
            if len(sets) and isinstance(memory, SortedMemory):
                mass = [captured(bench, lambda s=s: attend(memory)(*s, memory, want_logits=True)) for s in sets]
                ms = bench.milliseconds(lambda number: mass[number % QUERIES](number))
                bench.report("attention", size, len(cache), f"{name}, with logits", ms, memory.nbytes)

        bench.section("attention", f"{size} {len(cache)} {name}", one)  # fmt: skip

    def plain() -> None:
        if bench.quick or len(cache) > 1_000_000 or (len(cache) > 200_000 and model.config.n_embd > 1024):
            return
        memory = unsorted(sorted_memory(model, cache, bench.dtype, bench.dtype)[0])
        sets = queries(bench, model, 1, 64)
        ms = bench.milliseconds(lambda number: plain_attention(*sets[number % QUERIES], memory), 8)
        bench.report("attention", size, len(cache), "plain PyTorch, float32 keys", ms)

    bench.section("attention", f"{size} {len(cache)} plain", plain)


def rows(bench: Bench, size: str, model: LanguageModel, cache: KeyCache) -> None:
    """One layer's attention for several queries at once: questions sharing a pass, a question's pre-fill."""
    memory = sorted_memory(model, cache)[0]
    for new in (2, 4, 16, 64):
        sets = queries(bench, model, new, 64)
        error = check(sets[0], memory)
        graphs = [captured(bench, lambda s=s: attend(memory)(*s, memory)) for s in sets]
        ms = bench.milliseconds(lambda number, turns=graphs: turns[number % QUERIES](number))  # type: ignore[misc]
        bench.report("rows", size, len(cache), f"int8 keys, {new} queries", ms, memory.nbytes, error=error)


def latent_parts(bench: Bench, size: str, model: LanguageModel, cache: KeyCache) -> None:
    """Where the latent form's time goes: the query absorbed, the bigrams' tables, logits, and their scan."""
    memory = prepared(model, cache, "latent, int8 values")[0]
    q = queries(bench, model, 1, 64)[0][0]
    absorbed = latent_form.absorb(q[0, :, 0], memory)
    logits = torch.empty((model.config.n_head, len(cache)), device=bench.device)
    tiles, parts = sorted_form.shares(-(-len(cache) // sorted_form.ONE.tile), model.config.n_head,
                                      sorted_form.ONE.per_processor, q.device)  # fmt: skip
    partials = sorted_form.Partials.empty(model.config.n_head, parts, model.config.head_size, q.device)
    for name, call in (
        ("latent: absorb, bigrams", lambda: latent_form.absorb(q[0, :, 0], memory)),
        ("latent: logits", lambda: latent_form._logits(absorbed, memory, logits)),
        ("latent: scan", lambda: sorted_form.scan_given(logits, memory, partials, (0, 1), 0, tiles, parts)),
    ):
        bench.report("latent", size, len(cache), name, bench.milliseconds(captured(bench, call), 12))


def step(bench: Bench, size: str, model: LanguageModel, cache: KeyCache) -> None:
    """The whole decode step as one graph, layers' memories all different: plain, compiled and fused."""
    question = torch.arange(1, 33, device=bench.device)[None] % bench.vocab
    weights = sum(p.numel() * p.element_size() for name, p in model.named_parameters() if name != "emb.weight")
    small = KeyCache(cache.ids[:256], cache.keys[:256], cache.chain_starts[:1])
    with torch.inference_mode():
        _, state = model.decode(question, None, small)
    for number, name in enumerate(bench.forms):

        def one(name: str = name, number: int = number) -> None:
            layers = prepared(model, cache, name)
            n_bytes = weights + sum(layer.nbytes for layer in layers)
            inputs = queries(bench, model, 1, 64)[0]
            error = max(check(inputs, layer) for layer in layers)
            for label, how in list(STEPS.items())[: None if number == 0 else 3]:
                if bench.ways not in label:
                    continue
                if bench.device == "cpu" and "compiled" in how:
                    continue

                def run(label: str = label, how: dict[str, Any] = how) -> None:
                    options = {"want_mass": False, "fused": True, **how}
                    before, step_form.LAUNCH.early = step_form.LAUNCH.early, options.pop("early", False)
                    if not options.pop("attention", True):
                        options["attend"] = no_attention
                    elif not (options["fused"] and isinstance(layers[0], SortedMemory)):
                        options["attend"] = attend(layers[0])
                    try:
                        decode = DecodeStep(model, state, layers, 2 if bench.tiny else 8 + 24 * IN_A_ROW, **options)
                        ms = bench.milliseconds(lambda number: decode(number % bench.vocab), row=IN_A_ROW)
                    finally:
                        step_form.LAUNCH.early = before
                    read = weights if "no attention" in label else n_bytes
                    bench.report("step", size, len(cache), f"{name}, {label}", ms, read, error=error,
                                 tokens_per_s=round(1e3 / ms))  # fmt: skip

                bench.section("step", f"{size} {len(cache)} {name}, {label}", run)

        bench.section("step", f"{size} {len(cache)} {name}", one)


def no_attention(q: Tensor, keys: Tensor, values: Tensor, memory: Any, **options: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Attention that reads nothing."""
    return q, q, q


def first_token(bench: Bench, size: str, model: LanguageModel, cache: KeyCache) -> None:
    """A question of 20 tokens to its first token on the host, weights in place, the memory still to make or in place."""
    question = (torch.arange(20, device=bench.device)[None] * 37 + 1) % bench.vocab

    def asked(memory: KeyCache) -> float:
        if bench.device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        logits, _ = model.decode(question, None, memory, attention=[], last_only=True)
        int(logits[0, -1].argmax())
        return 1e3 * (time.perf_counter() - start)

    for form in ("sorted", "latent8"):
        fresh = [KeyCache(cache.ids, cache.keys, cache.chain_starts, form=form) for _ in range(2)]
        asked(fresh[0])
        bench.report("first", size, len(cache), f"{form}, memory to make", asked(fresh[1]))
        ms = statistics.median(asked(fresh[1]) for _ in range(1 if bench.tiny else 7))
        bench.report("first", size, len(cache), f"{form}, memory in place", ms)


def settings(bench: Bench, size: str, model: LanguageModel, cache: KeyCache) -> None:
    """A few launch settings of the scan of int8 keys, and of the fused step without attention."""
    memory = sorted_memory(model, cache)[0]
    sets = queries(bench, model, 1, 64)
    kept = dataclasses.replace(sorted_form.ONE)
    for changed in SETTINGS:

        def one(chosen: dict[str, Any], label: str) -> None:
            for field, value in chosen.items():
                setattr(sorted_form.ONE, field, value)
            check(sets[0], memory)
            graphs = [captured(bench, lambda s=s: attend(memory)(*s, memory)) for s in sets]
            ms = bench.milliseconds(lambda number: graphs[number % QUERIES](number), 12)
            bench.report("settings", size, len(cache), label, ms, memory.nbytes)

        chosen = {**dataclasses.asdict(kept), **changed}
        label = "scan, " + ", ".join(f"{field} {value}" for field, value in changed.items())
        bench.section("settings", label, lambda c=chosen, n=label: one(c, n))
    for field in dataclasses.fields(kept):
        setattr(sorted_form.ONE, field.name, getattr(kept, field.name))


def peer(bench: Bench, size: str, width: int, depth: int, tokens: int) -> None:
    """A Llama's decode step: one key head a head, 4:1 grouped, and those in float8."""
    n = 32 if bench.tiny else 64
    heads = width // n
    for label, key_heads, dtype in (
        ("Llama, bf16 cache", heads, torch.bfloat16),
        ("Llama 4:1, bf16 cache", max(1, heads // 4), torch.bfloat16),
        ("Llama 4:1, fp8 cache", max(1, heads // 4), torch.float8_e4m3fn),
    )[: 2 if bench.quick else 3]:
        width_bytes = 2 if dtype == torch.bfloat16 else 1
        n_bytes = 2 * depth * key_heads * n * tokens * width_bytes
        if bench.bandwidth:
            bench.report("floor", size, tokens, f"{label}, at copy bandwidth", n_bytes / bench.bandwidth / 1e6, n_bytes)
        if bench.device == "cuda" and n_bytes > 0.85 * torch.cuda.mem_get_info()[0]:
            print(f"peers {size} {tokens} {label}: its cache of {n_bytes / 1e9:.0f} GB does not fit", flush=True)
            continue

        def one(
            label: str = label, key_heads: int = key_heads, dtype: torch.dtype = dtype, n_bytes: int = n_bytes
        ) -> None:
            caches = [peers.make_cache(key_heads, tokens, n, dtype, bench.device) for _ in range(depth)]
            q = torch.randn(key_heads, heads // key_heads, n, device=bench.device, dtype=torch.bfloat16)
            expected = peers.plain(q, *caches[0])
            best: dict[str, float] = {}
            for name, attention in peers.candidates(dtype).items():
                if bench.quick and name in ("efficient", "math"):
                    continue
                try:
                    error = relative_error(attention(q, *caches[0]), expected)
                    if not error < 3e-2:
                        raise AssertionError(f"the output is off by {error:.2g}")
                    one_layer = captured(bench, lambda a=attention: a(q, *caches[0]))
                    best[name] = bench.milliseconds(one_layer, 8)
                    bench.report(
                        "peers", size, tokens, f"{label}, {name}, one layer", best[name], n_bytes // depth, error=error
                    )
                except Exception as error:
                    print(f"peers {size} {tokens} {label} {name}: {type(error).__name__} {str(error)[:80]}", flush=True)
            chosen = min(best, key=lambda name: best[name])
            llama = peers.LlamaStep(width, depth, heads, key_heads, bench.vocab, bench.device, caches,
                                    peers.candidates(dtype)[chosen])  # fmt: skip
            weights = [*llama.qkv, *llama.out, *llama.up, *llama.down, llama.head]
            whole = captured(bench, llama)
            ms = bench.milliseconds(whole, row=IN_A_ROW)
            n_bytes += sum(weight.nbytes for weight in weights)
            bench.report("step", size, tokens, f"{label}, {chosen}", ms, n_bytes, tokens_per_s=round(1e3 / ms))

        bench.section("peers", f"{size} {tokens} {label}", one)


def sweep(bench: Bench, size: str, model: LanguageModel, cache: KeyCache) -> None:
    """Launch settings of the latent logits, one layer."""
    latent = latent_memory(model, cache)[0]
    sets = queries(bench, model, 1, 64)

    def timed(name: str, memory: Any) -> None:
        try:
            check(sets[0], memory)
            graphs = [captured(bench, lambda s=s: attend(memory)(*s, memory)) for s in sets]
            bench.report(
                "sweep", size, len(cache), name, bench.milliseconds(lambda i: graphs[i % QUERIES](i), 12), memory.nbytes
            )
        except Exception as error:
            print(f"sweep {name}: {type(error).__name__} {str(error)[:80]}", flush=True)

    kept_latent = {name: getattr(latent_form, name) for name in ("TILE", "WARPS", "GROUP", "REGISTERS")}
    for shape, group, registers in itertools.product(((64, 4), (128, 4), (128, 8), (256, 8)), (4, 8), (None, 128)):
        if time.monotonic() - bench.began > 60 * bench.minutes:
            break
        for name, value in zip(kept_latent, (*shape, group, registers)):
            setattr(latent_form, name, value)
        timed(f"latent t{shape[0]} w{shape[1]} g{group} r{registers}", latent)
    for name, value in kept_latent.items():
        setattr(latent_form, name, value)


def one_size(bench: Bench, size: str, width: int, depth: int, lengths: list[int]) -> None:
    """Every section for one model, length by length."""
    model = make_model(bench, width, depth)
    bench.section("equality", size, lambda: equality(bench, size, model))
    for tokens in lengths:
        one_length(bench, size, model, tokens)
    for tokens in lengths:
        bench.section("peers", f"{size} {tokens}", lambda t=tokens: peer(bench, size, width, depth, t))
    for tokens in lengths if bench.sections & {"settings", "sweep"} else ():
        cache = make_cache(bench, model, tokens)
        bench.section("settings", f"{size} {tokens}", lambda c=cache: settings(bench, size, model, c))
        bench.section("sweep", f"{size} {tokens}", lambda c=cache: sweep(bench, size, model, c))


def one_length(bench: Bench, size: str, model: LanguageModel, tokens: int) -> None:
    """GOLD's sections for one model and one memory."""
    cache = make_cache(bench, model, tokens)
    pairs = torch.unique(cache.ids[:-1] * bench.vocab + cache.ids[1:]).numel()
    where = f"{size} {tokens}"
    print(f"{where} tokens, {tokens / max(1, pairs):.1f} a distinct bigram", flush=True)
    attention(bench, size, model, cache)
    bench.section("latent", where, lambda: latent_parts(bench, size, model, cache))
    bench.section("rows", where, lambda: rows(bench, size, model, cache))
    bench.section("step", where, lambda: step(bench, size, model, cache))
    bench.section("first", where, lambda: first_token(bench, size, model, cache))
    bench.section("load", where, lambda: load(bench, size, model, cache.ids.cpu()))


@torch.inference_mode()
def main() -> None:
    """Run the sections asked for, size by size and length by length; print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a tiny model and memory: does it run?")
    parser.add_argument("--quick", action="store_true", help="D768 at 100,000 and 1,000,000 tokens, within 100 s")
    parser.add_argument("--minutes", type=float, default=0.0, help="start nothing new after this (9; with --quick 1.4)")
    parser.add_argument("--only", default="", help=f"sections, comma-separated: {', '.join(SECTIONS)}")
    parser.add_argument("--sizes", default="")
    parser.add_argument("--lengths", default="", help="memory tokens, comma-separated")
    parser.add_argument("--ways", default="", help="of taking a step: those with this in their name")
    parser.add_argument("--sweep", action="store_true", help="try launch settings too")
    parser.add_argument("--out", default="", help="write the rows as JSON here, after every row")
    arguments = parser.parse_args()
    arguments.minutes = arguments.minutes or (1.4 if arguments.quick else 9.0)
    arguments.sizes = arguments.sizes or ("D768" if arguments.quick else "D768,D512,D2048")
    bench = Bench(arguments)
    bench.ceilings()
    sizes = {"tiny": (64, 3)} if bench.tiny else {name: SIZES[name] for name in arguments.sizes.split(",")}
    lengths = [150, 700] if bench.tiny else [100_000, 1_000_000] if bench.quick else LENGTHS
    lengths = [int(length) for length in arguments.lengths.split(",")] if arguments.lengths else lengths
    for size, (width, depth) in sizes.items():
        one_size(bench, size, width, depth, lengths)
    print(f"{time.monotonic() - bench.began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
