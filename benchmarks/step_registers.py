"""What the compiler makes of the fused decode step for a Hopper GPU, without one: its launches counted, registers, spills.

    python3 benchmarks/step_registers.py [--sizes D768,D2048] [--early]

Every launch of one step is compiled as it would be made, with its sizes. Exits with 1 where one does not compile or keeps more
than a few bytes a thread in local memory.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.pop("TRITON_INTERPRET", None)
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from benchmarks.gold_registers import SPILL_LIMIT, described
from gfqa.kernels.decode_step import triton as form
from gfqa.kernels.gold_attention import SortedMemory
from gfqa.model import LanguageModel, ModelConfig, fused_step, step_attention
from gfqa.model.state import BlockState
from gfqa.model.step_attention import StepAttention

SIZES = {"D512": (512, 12), "D768": (768, 12), "D2048": (2048, 24)}
PROCESSORS = 132
TYPES = {
    torch.bfloat16: "*bf16", torch.float32: "*fp32", torch.float16: "*fp16", torch.int8: "*i8", torch.int64: "*i64",
    torch.int32: "*i32",
}  # fmt: skip


def _memory(heads: int, n: int, value_dtype: torch.dtype) -> SortedMemory:
    """A million tokens of 170,000 bigrams, on the default device."""
    tokens, bigrams, half = 1_000_000, 170_000, torch.float16
    return SortedMemory(
        torch.empty(heads, tokens, n, dtype=torch.int8),
        torch.empty(heads, tokens, dtype=half),
        torch.empty(heads, bigrams, n, dtype=value_dtype),
        torch.empty(heads, bigrams, dtype=half) if value_dtype == torch.int8 else None,
        torch.empty(tokens, dtype=torch.int32),
        torch.empty(bigrams + 1, dtype=torch.int32),
        torch.empty(tokens, dtype=torch.long),
    )


def recorded(
    width: int, depth: int, value_dtype: torch.dtype
) -> list[tuple[Any, tuple[Any, ...], dict[str, Any], tuple[int, ...]]]:
    """The launches of one step over a memory of int8 keys: (kernel, arguments, constants, grid)."""
    config = ModelConfig(
        n_embd=width, n_layer=depth, vocab_size=65_536, tmix2="gold", layout="independent", length_scale=512.0
    )
    with torch.device("meta"):
        model = LanguageModel(config).to(torch.bfloat16)
        for name, parameter in model.named_parameters():
            if name.endswith("time_decay"):
                parameter.data = parameter.data.float()
        weight, room, n = model.emb.weight, 1024, config.head_size
        own = weight.new_zeros(config.n_gold, 2, room, width)
        blocks = [
            BlockState(torch.zeros(1, config.n_head, n, n), torch.zeros(1, width), torch.zeros(1, width))
            for _ in range(depth)
        ]
        buffers = fused_step.Buffers(
            token=torch.zeros(1, 1, dtype=torch.long), ids=torch.zeros(1, room, dtype=torch.long),
            compressed=torch.zeros(1, room, config.key_width), length=torch.zeros(1, dtype=torch.int32),
            o=weight.new_zeros(1, width), kappa=weight.new_zeros(1, width), blocks=blocks, own=own,
            logits=torch.zeros(config.vocab_size),
        )  # fmt: skip
    calls: list[Any] = []

    def run(
        kernel: Any,
        grid: Any,
        where: Any,
        *arguments: Any,
        shape: form.Shape | None = None,
        first: bool = False,
        num_warps: int | None = None,
        num_stages: int = 3,
        registers: int | None = None,
        **constants: Any,
    ) -> None:
        shape = shape or form.Shape()
        options = {"num_warps": num_warps or shape.warps, "num_stages": num_stages, "maxnreg": registers}
        calls.append((kernel, arguments, {**constants, **options}, grid))

    form._run = run  # type: ignore[assignment]
    form.attention.processors = lambda device: PROCESSORS  # type: ignore[assignment]
    fused_step.launches = step_attention.launches = lambda x: form  # type: ignore[assignment]
    with torch.device("meta"):
        memory = _memory(config.n_head, n, value_dtype)
        attention = StepAttention([memory] * config.n_gold, own, buffers.length, config.n_head, False)
        fused_step.FusedStep(model, buffers, attention, len(memory))()
    return calls


def compiled(kernel: Any, arguments: tuple[Any, ...], constants: dict[str, Any], early: bool) -> Any:
    """One launch for compute capability 9.0; pointers are multiples of 16, and so are numbers that are."""
    options = {name: constants.pop(name) for name in ("num_warps", "num_stages", "maxnreg")} | {"launch_pdl": early}
    constants["EARLY"] = 2 * early
    if "ASK" in constants:
        constants["ASK"] = 2
    names = [name for name in kernel.arg_names if name not in constants]
    varying = {
        kernel.params[place].name for place in range(len(kernel.params)) if kernel.params[place].do_not_specialize
    }
    values = dict(zip(names, arguments, strict=True))
    signature, attributes = {}, {}
    for place, name in enumerate(kernel.arg_names):
        value = values.get(name)
        if name in constants:
            signature[name] = "constexpr"
            continue
        if isinstance(value, torch.Tensor):
            signature[name] = TYPES[value.dtype]
        else:
            signature[name] = "fp32" if isinstance(value, float) else "i32"
        if isinstance(value, torch.Tensor) or (isinstance(value, int) and value % 16 == 0 and name not in varying):
            attributes[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(kernel.arg_names.index(name),): value for name, value in constants.items()},
        attrs=attributes,
    )
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)


def main() -> int:
    """Count and compile; 1 where a launch failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="D768,D2048")
    parser.add_argument("--values", default="int8", choices=("int8", "bfloat16", "float32"))
    parser.add_argument("--early", action="store_true", help="with programmatic dependent launch")
    arguments = parser.parse_args()
    failed = 0
    for size in arguments.sizes.split(","):
        calls = recorded(*SIZES[size], getattr(torch, arguments.values))
        counts = Counter(kernel.__name__ for kernel, *_ in calls)
        print(f"{size}: {len(calls)} launches a token")
        seen = set()
        for kernel, values, constants, grid in calls:
            label = f"{size} {kernel.__name__.removesuffix('_kernel')}"
            if label in seen:
                continue
            seen.add(label)
            programs = 1
            for n in grid:
                programs *= n
            try:
                found = compiled(kernel, values, dict(constants), arguments.early)
            except Exception as error:
                print(f"{label:<26} {type(error).__name__}: {str(error)[:150]}")
                failed += 1
                continue
            stack, line = described(found)
            failed += stack > SPILL_LIMIT
            print(f"{label:<26} x{counts[kernel.__name__]:<3} {programs:>5} programs  {line}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
