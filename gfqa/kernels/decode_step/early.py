"""Whether a launch may begin before the one ahead has ended (CUDA's programmatic dependent launch)."""

from __future__ import annotations

import ctypes
from functools import cache

import torch

EARLY_DRIVER = 12030
"""The first driver that captures such launches: that of CUDA 12.3."""


@cache
def begins_early(device: torch.device) -> bool:
    """Whether a device can start a launch before the one ahead has ended, in a graph too: NVIDIA's from Hopper on."""
    if device.type != "cuda" or torch.version.hip is not None or torch.cuda.get_device_capability(device) < (9, 0):
        return False
    return driver_version() >= EARLY_DRIVER


def driver_version() -> int:
    """CUDA's driver: 1000 times its major plus 10 times its minor version; 0 where it does not say.

    Asked of the driver itself: torch has no public way to.
    """
    version = ctypes.c_int()
    try:
        failed = ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return 0
    return 0 if failed else version.value
