"""What a first call on a GPU must not import: torch's compiler alone takes seconds, and a question needs none of it."""

from __future__ import annotations

import os
import subprocess
import sys

FIRST_CALL = """
import sys
import torch
from gfqa.kernels.wkv6 import triton
r, k, v = (torch.randn(1, 65, 2, 16) for _ in range(3))
decay = -torch.rand(1, 65, 2, 16)
triton.wkv6(r, k, v, decay)
triton.finch_wkv(r, k, v, decay, torch.zeros(2, 16), floor=-1.0)
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""


def test_a_first_call_does_not_import_the_compiler() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FIRST_CALL], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
