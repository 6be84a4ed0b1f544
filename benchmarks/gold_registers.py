"""What the compiler makes of the GOLD kernels for a Hopper GPU, without one: registers, shared memory, spills, instructions.

    python3 benchmarks/gold_registers.py

Exits with 1 where a kernel does not compile or keeps more than a few bytes a thread in local memory. Needs Triton alone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.pop("TRITON_INTERPRET", None)
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from gfqa.kernels.gold_attention import triton_build_kernels as build
from gfqa.kernels.gold_attention import triton_kernels as scan
from gfqa.kernels.gold_attention import triton_latent_kernels as latent
from gfqa.kernels.gold_attention.triton_one_kernels import scan_one_kernel

TOOLS = Path(triton.__file__).parent / "backends/nvidia/bin"
SHOWN = ("HGMMA", "IGMMA", "HMMA", "IMMA", "LDGSTS", "LDG", "LDS", "STS", "MUFU", "SHFL", "BAR", "LDL", "STL")
SPILL_LIMIT = 64
"""Bytes a thread."""

POINTERS = {
    "*i8": ("keys", "c", "c_before", "tau", "codes", "made"),
    "*fp16": (
        "key_scales", "value_scales", "z", "q_tau", "q_now", "q_mixed", "scales", "made_scales", "w_c", "mix_w", "w1",
        "w2_turned", "w2", "gram",
    ),
    "*bf16": ("q", "values", "table", "merged", "out"),
    "*i32": ("bigram", "offsets", "length", "first", "second"),
    "*i64": ("order",),
    "*fp32": (
        "peaks", "sums", "outs", "logits", "totals", "mass", "pooled", "settled", "e_first", "e_second", "scale",
        "scale_before", "s", "s_before", "mean", "deviation", "q_sums", "q_constant", "inverse", "mix", "gain", "bias",
        "found",
    ),
}  # fmt: skip
TYPES = {name: kind for kind, names in POINTERS.items() for name in names} | {
    "factor": "fp32",
    "share": "fp32",
    "epsilon": "fp32",
}
PRODUCT = {"PRECISION": "tf32x3"}
ONE = {
    "N": 64,
    "KEY_SCALES": True,
    "VALUE_SCALES": False,
    "KEYS_FIRST": True,
    "AHEAD": True,
    "GIVEN": False,
    "MASS": False,
    "ASK": 2,
    "WHOLE": True,
}
ROWS = {"N": 64, "TILE": 64, "VALUE_ROWS": 32, "KEY_SCALES": True, "VALUE_SCALES": False, "INTEGER": True, "MASS": True}
BUILD = {"C": 768, "width": 48, "TILE": 64, "WIDTH": 64, "SCALED": True, "DTYPE": tl.float16, **PRODUCT}
KEYS = {**BUILD, "N": 64, "COLUMNS": 32, "MIXES": 32, "LORA": 64, "TOKENS": True, "QUANTISED": True, "SMALLEST": 6e-5}
VALUES = {**KEYS, "TOKENS": False, "SCALED": False, "QUANTISED": False}
D2048 = {"C": 2048, "width": 128, "WIDTH": 128, "LORA": 128, "COLUMNS": 16}
FOUR, EIGHT = ({"num_warps": warps, "num_stages": 2} for warps in (4, 8))
LATENT = {"room": 16, "TILE": 128, "HEADS": 16, "GROUP": 4, "DTYPE": tl.float16, **PRODUCT}

CASES: list[tuple[str, Any, dict[str, Any], dict[str, str], dict[str, Any]]] = [
    ("one query, integer", scan_one_kernel, {**ONE, "TILE": 256, "VALUE_ROWS": 64, "INTEGER": True}, {}, {}),
    ("one query, int8 values", scan_one_kernel,
     {**ONE, "TILE": 256, "VALUE_ROWS": 64, "INTEGER": True, "VALUE_SCALES": True}, {"values": "*i8"}, {}),
    ("one query, widened", scan_one_kernel, {**ONE, "TILE": 256, "VALUE_ROWS": 64, "INTEGER": False}, {}, {}),
    ("one query, logits given", scan_one_kernel,
     {**ONE, "TILE": 256, "VALUE_ROWS": 64, "INTEGER": False, "GIVEN": True, "KEY_SCALES": False}, {}, {}),
    *(
        (f"{n} queries", scan.scan_rows_kernel,
         {**ROWS, **PRODUCT, "ROWS": n, "KEY_DTYPE": tl.bfloat16, "WEIGHT_DTYPE": tl.float16}, {}, {})
        for n in (16, 64)
    ),
    ("own keys", scan.own_kernel,
     {**PRODUCT, "N": 64, "TILE": 64, "ROWS": 16, "LENGTH": True, "CAUSAL": True, "DTYPE": tl.bfloat16},
     {"keys": "*bf16"}, {}),
    ("merge", scan.merge_kernel, {"N": 64, "PARTS": 128}, {}, {}),
    ("mass", scan.mass_kernel, {"TILE": 1024}, {}, {}),
    ("pool", scan.pool_kernel, {"TILE": 1024, "SETTLE": True}, {}, {}),
    ("latent logits, w 48", latent.latent_kernel, {**LATENT, "width": 48, "WIDTH": 64, "lora": 64, "LORA": 64}, {},
     {"num_warps": 8, "maxnreg": 128}),
    ("latent logits, w 128", latent.latent_kernel, {**LATENT, "width": 128, "WIDTH": 128, "lora": 128, "LORA": 128}, {},
     {"num_warps": 8}),
    ("kappa's rms", build.inverse_rms_kernel, {**BUILD, "TILE": 128, "COLUMNS": 64}, {}, {"num_warps": 8}),
    ("keys made", build.rows_kernel, KEYS, {}, FOUR),
    ("keys made, D448", build.rows_kernel, {**KEYS, "C": 448, "width": 28, "WIDTH": 32}, {}, FOUR),
    ("keys made, D2048", build.rows_kernel, {**KEYS, **D2048}, {}, EIGHT),
    ("values made", build.rows_kernel, VALUES, {"made": "*bf16"}, FOUR),
    ("bigrams", latent.bigram_kernel, {"room": 16, "width": 40, "HEADS": 16, "ROWS": 8, "PARTS": 32}, {}, {}),
]  # fmt: skip


def _aligned(kernel: Any) -> tuple[str, ...]:
    """Numbers that are a multiple of 16."""
    return ("mixes", "parts") if kernel is latent.bigram_kernel else ("mixes",)


def compiled(kernel: Any, constants: dict[str, Any], types: dict[str, str], options: dict[str, Any]) -> Any:
    """The kernel for compute capability 9.0; pointers and row lengths are multiples of 16."""
    names = kernel.arg_names
    kinds = {**dict.fromkeys(names, "i32"), **{n: k for n, k in TYPES.items() if n in names}, **types}
    signature = {name: "constexpr" if name in constants else kinds[name] for name in names}
    aligned = [i for i, name in enumerate(names) if signature[name].startswith("*") or name in _aligned(kernel)]
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(i,): [["tt.divisibility", 16]] for i in aligned},
    )
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_stages": 3, **options})


def described(found: Any) -> tuple[int, str]:
    """Bytes of local memory a thread, and a line of what a compiled kernel uses."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(found.asm["cubin"])
        file.flush()
        dump = [subprocess.run([TOOLS / "cuobjdump", flag, file.name], capture_output=True, text=True).stdout
                for flag in ("-res-usage", "-sass")]  # fmt: skip
    registers, stack = map(int, re.findall(r"REG:(\d+) STACK:(\d+)", dump[0])[-1])
    counts = Counter(re.findall(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+ )?([A-Z0-9]+)", dump[1], re.MULTILINE))
    wide = len(re.findall(r"\bLDG\.E\.128", dump[1]))
    shown = " ".join(f"{name} {counts[name]}" for name in SHOWN if counts[name])
    return stack, (
        f"{registers:>3} registers {stack:>4} B local {found.metadata.shared:>6} B shared  {shown} ({wide} of 16 B)"
    )


def main() -> int:
    """Compile every case and print a line each; 1 where one failed."""
    print(f"Triton {triton.__version__}, sm_90")
    failed = 0
    for label, kernel, constants, types, options in CASES:
        try:
            found = compiled(kernel, constants, types, options)
        except Exception as error:
            print(f"{label:<26} {type(error).__name__}: {str(error)[:150]}")
            failed += 1
            continue
        stack, line = described(found)
        failed += stack > SPILL_LIMIT
        print(f"{label:<26} {line}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
