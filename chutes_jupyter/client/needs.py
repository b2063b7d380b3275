"""What a chute's node selector asks of a worker, against what the worker has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chutes_jupyter.replies import Gpu, Info

#: A card of 16 GB reports a little less.
_TOLERANCE = 0.97
_MIB = 1024 * 1024


def refusal(selector: Mapping[str, Any], info: Info, worker: str) -> str | None:
    """Return why a worker is not what a node selector asks for, or None.

    Parameters
    ----------
    selector : mapping
        ``gpu_count``, ``min_vram_gb_per_gpu``, ``include`` and ``exclude``, each if set.
    info : Info
        What the worker says of itself; without GPU tools there nothing is refused.
    worker : str
        Its name.
    """
    if info.gpus is None:
        return None
    count = int(selector.get("gpu_count") or 0)
    memory = float(selector.get("min_vram_gb_per_gpu") or 0)
    fitting = [gpu for gpu in info.gpus if _fits(gpu, memory, selector)]
    if len(fitting) >= count:
        return None
    asked = f"{count} GPU{'s' if count != 1 else ''}"
    if memory:
        asked += f" with at least {memory:g} GB each"
    for word, key in (("of", "include"), ("other than", "exclude")):
        if selector.get(key):
            asked += f" {word} {', '.join(map(str, selector[key]))}"
    return f"worker {worker!r} does not have {asked}; it has {_described(info.gpus)}"


def notice(selector: Mapping[str, Any], info: Info, worker: str) -> str | None:
    """Return what the person should know if GPUs are asked for and can't be counted."""
    if info.gpus is not None or not selector.get("gpu_count"):
        return None
    return (
        f"worker {worker!r} has no GPU tools (nvidia-smi), so the node selector was not checked"
    )


def _fits(gpu: Gpu, memory: float, selector: Mapping[str, Any]) -> bool:
    if gpu.memory_mib * _MIB < memory * 1e9 * _TOLERANCE:
        return False
    name = gpu.name.lower()
    include, exclude = selector.get("include"), selector.get("exclude")
    if include and not any(str(word).lower() in name for word in include):
        return False
    return not (exclude and any(str(word).lower() in name for word in exclude))


def _described(gpus: Sequence[Gpu]) -> str:
    if not gpus:
        return "no GPU"
    return ", ".join(f"{gpu.name} ({gpu.memory_mib * _MIB / 1e9:.0f} GB)" for gpu in gpus)
