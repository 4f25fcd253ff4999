"""How busy a training keeps the machine it runs on."""

import contextlib
import os

import torch


def busy_percent(cpu_seconds: float, seconds: float, processes: int) -> dict[str, float]:
    """Shares of the processors, and of the graphics processors where there are any and they can be asked.

    Args:
        cpu_seconds: What this process computed.
        seconds: Meanwhile, by the clock on the wall.
        processes: How many of this training run on the machine; they share the work evenly.

    Returns:
        `cpu_percent`, and `gpu_percent` where there is one to tell of.
    """
    cores = len(os.sched_getaffinity(0))
    told = {"cpu_percent": round(min(100.0, 100 * cpu_seconds * processes / max(seconds, 1e-9) / cores), 1)}
    if torch.cuda.is_available():
        with contextlib.suppress(ImportError, RuntimeError):  # the driver's library is not there, or says nothing
            told["gpu_percent"] = float(torch.cuda.utilization())
    return told
