"""Which GPUs fit what a job asks for: the rule of `NodeSelector`, on both sides."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping

#: Cards report a little less than they are sold with: a 16 GB Tesla T4 15109 MiB.
_SLACK = 0.97


def fits(gpu: Mapping[str, Any], selector: Mapping[str, Any]) -> bool:
    """Whether a GPU has the memory and the model that a selector asks for.

    Parameters
    ----------
    gpu : mapping
        With ``name`` and ``memory_mib``.
    selector : mapping
        A `NodeSelector` as the spec has it.
    """
    if gigabytes(gpu) < selector["min_vram_gb_per_gpu"] * _SLACK:
        return False
    include, exclude = selector.get("include"), selector.get("exclude")
    if include is not None and not any(_is_model(gpu, name) for name in include):
        return False
    return not any(_is_model(gpu, name) for name in exclude or ())


def gigabytes(gpu: Mapping[str, Any]) -> float:
    """Return a GPU's memory in GB (10**9 bytes, as cards are sold)."""
    return float(gpu["memory_mib"]) * 2**20 / 1e9


def words(text: str) -> List[str]:
    """Return what a model's name is compared by."""
    return re.findall(r"[a-z0-9]+", text.lower())


def names(gpus: List[Dict[str, Any]]) -> str:
    """Return GPUs as ``2 x NVIDIA H100, 1 x NVIDIA L4``."""
    counts: Dict[str, int] = {}
    for gpu in gpus:
        counts[gpu["name"]] = counts.get(gpu["name"], 0) + 1
    return ", ".join("%d x %s" % (count, name) for name, count in counts.items())


def _is_model(gpu: Mapping[str, Any], model: str) -> bool:
    """Whether a card is of that model: ``l4`` is not an ``NVIDIA L40S``."""
    card, wanted = words(str(gpu["name"])), words(model)
    runs = range(len(card) - len(wanted) + 1)
    joined = {"".join(card[i:j]) for i in range(len(card)) for j in range(i + 1, len(card) + 1)}
    return "".join(wanted) in joined or any(card[i : i + len(wanted)] == wanted for i in runs)
