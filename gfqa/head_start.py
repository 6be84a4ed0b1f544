"""What a command sets going, in threads that seldom need Python's lock, before it imports torch, which takes seconds."""

from __future__ import annotations

import contextlib
import ctypes
import re
import threading
from pathlib import Path

from gfqa import digest, model_folders
from gfqa.errors import ModelError

_GPU = re.compile(r"auto|cuda(?::(\d+))?")


def begin(model: str | Path | None, device: str) -> list[threading.Thread]:
    """Read what the model's weights hash to and, for a GPU, make its context and read what Triton hashes to.

    model, device: as for `gfqa.reader.open_model`. What fails here fails again where it is said. Returns the threads.
    """
    work = [threading.Thread(target=_hash_weights, args=(model,), daemon=True)]
    chosen = _GPU.fullmatch(device)
    with contextlib.suppress(OSError):  # no driver, no GPU
        if chosen is not None:
            driver = ctypes.CDLL("libcuda.so.1")
            work.append(threading.Thread(target=_open_context, args=(driver, int(chosen[1] or 0)), daemon=True))
            with contextlib.suppress(ImportError):  # a platform without Triton has other kernels
                from triton.runtime.cache import triton_key

                work.append(threading.Thread(target=triton_key, daemon=True))
    for thread in work:
        thread.start()
    return work


def _hash_weights(model: str | Path | None) -> None:
    with contextlib.suppress(ModelError, OSError):
        digest.of_file(model_folders.find_model(model) / model_folders.WEIGHTS)


def _open_context(driver: ctypes.CDLL, number: int) -> None:
    """Have the driver make the context that torch will use; it counts a context's owners, so torch finds it made."""
    place, context = ctypes.c_int(), ctypes.c_void_p()
    with contextlib.suppress(AttributeError):  # another library of that name
        if not driver.cuInit(0) and not driver.cuDeviceGet(ctypes.byref(place), number):
            driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), place)
