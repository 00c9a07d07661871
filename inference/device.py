"""Which processor a model runs on, in which number format, and why; and how many threads."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """name: as torch names it.   dtype: as torch names it.   reason: a sentence for a person."""

    name: str
    dtype: str
    reason: str


def usable_cores() -> int:
    """The cores this process may use: its affinity where the system has one, else all."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # macOS has no affinity
        return os.cpu_count() or 1


def threads(wanted: int) -> int:
    """The threads of the models; 0 means all cores but one, because threads that wait for a busy core cost more than they bring."""
    return wanted or max(1, usable_cores() - 1)


def best_device() -> Device:
    """The device for the local models; needs torch."""
    import torch

    if torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        dtype = "bfloat16" if major >= 8 else "float16"
        return Device("cuda:0", dtype, f"CUDA compute capability {major}.{minor}, so {dtype}")
    return Device("cpu", "float32", "no CUDA device; float32 is the fastest format on this kind of CPU")
