"""What a job asks of a worker's hardware: `NodeSelector`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from chutes_jupyter.errors import SpecError

GPU_COUNT = (1, 8)
VRAM_GB = (16, 140)
#: Cards report a little less than they are sold with: a 16 GB Tesla T4 15109 MiB.
_SLACK = 0.97
_EXAMPLE = "NodeSelector(gpu_count=1, min_vram_gb_per_gpu=24)"


@dataclass(frozen=True)
class NodeSelector:
    """What a worker must have to run a job.

    Parameters
    ----------
    gpu_count : int
        How many GPUs: 1 to 8.
    min_vram_gb_per_gpu : int
        The memory of each in GB (10**9 bytes, as cards are sold): 16 to 140.
    max_hourly_price_per_gpu : float, optional
        Kept for the platform; your own workers have no price.
    include, exclude : list of str, optional
        Only, or none of, these models (``["h100", "a100"]``).

    Raises
    ------
    SpecError
        If one of them breaks its rule.
    """

    gpu_count: int = 1
    min_vram_gb_per_gpu: int = 16
    max_hourly_price_per_gpu: float | None = None
    include: Sequence[str] | None = None
    exclude: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _check_range("gpu_count", self.gpu_count, *GPU_COUNT)
        _check_range("min_vram_gb_per_gpu", self.min_vram_gb_per_gpu, *VRAM_GB)
        price: Any = self.max_hourly_price_per_gpu
        number = isinstance(price, int | float) and not isinstance(price, bool)
        if price is not None and not (number and price > 0):
            rule = "must be None or a number above 0"
            raise SpecError("max_hourly_price_per_gpu", price, rule, "max_hourly_price_per_gpu=2.5")
        for field in ("include", "exclude"):
            object.__setattr__(self, field, _check_models(field, getattr(self, field)))

    @classmethod
    def parse(cls, value: object) -> NodeSelector | None:
        """Return a selector that may be written as a dict, or None."""
        if value is None or isinstance(value, NodeSelector):
            return value
        if isinstance(value, Mapping) and set(value) <= set(cls.__dataclass_fields__):
            return cls(**value)
        raise SpecError("node_selector", value, "must be a NodeSelector", _EXAMPLE)

    def to_json(self) -> dict[str, Any]:
        """Return the selector as the spec has it."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    def check(
        self, gpus: Iterable[Mapping[str, Any]] | None, worker: str = "the worker"
    ) -> tuple[str | None, str | None]:
        """Compare with what a worker has.

        Parameters
        ----------
        gpus : iterable of mapping, optional
            Its GPUs, each with ``name`` and ``memory_mib``; None if it has no GPU tools.
        worker : str
            Its name.

        Returns
        -------
        refusal, notice : str or None
            Why the job can't run there; or what could not be checked.
        """
        if gpus is None:
            return None, f"{worker} has no GPU tools (nvidia-smi): {self._asked()} is not checked."
        found = list(gpus)
        fitting = [gpu for gpu in found if self._fits(gpu)]
        if len(fitting) >= self.gpu_count:
            return None, None
        has = ", ".join(f"{gpu['name']} ({_gigabytes(gpu):.0f} GB)" for gpu in found) or "no GPU"
        return f"{worker} has {has}; the job asks for {self._asked()}.", None

    def _asked(self) -> str:
        plural = "s" if self.gpu_count > 1 else ""
        text = f"{self.gpu_count} GPU{plural} with {self.min_vram_gb_per_gpu} GB or more"
        if self.include:
            text += f", one of {', '.join(self.include)}"
        if self.exclude:
            text += f", not {', '.join(self.exclude)}"
        return text

    def _fits(self, gpu: Mapping[str, Any]) -> bool:
        if _gigabytes(gpu) < self.min_vram_gb_per_gpu * _SLACK:
            return False
        if self.include is not None and not any(_is_model(gpu, name) for name in self.include):
            return False
        return not any(_is_model(gpu, name) for name in self.exclude or ())


def _gigabytes(gpu: Mapping[str, Any]) -> float:
    return float(gpu["memory_mib"]) * 2**20 / 1e9


def _is_model(gpu: Mapping[str, Any], model: str) -> bool:
    """Whether a card is of that model: ``l4`` is not an ``NVIDIA L40S``."""
    card, wanted = _words(str(gpu["name"])), _words(model)
    runs = range(len(card) - len(wanted) + 1)
    joined = {"".join(card[i:j]) for i in range(len(card)) for j in range(i + 1, len(card) + 1)}
    return "".join(wanted) in joined or any(card[i : i + len(wanted)] == wanted for i in runs)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _check_range(field: str, value: object, low: int, high: int) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not low <= value <= high:  # type: ignore[operator]  # an int by now
        rule = f"must be a whole number from {low} to {high}"
        raise SpecError(field, value, rule, _EXAMPLE)


def _check_models(field: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    listed = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
    models = tuple(value) if listed else ()
    if not listed or not all(isinstance(item, str) and _words(item) for item in models):
        raise SpecError(field, value, "must be a list of GPU models", f'{field}=["h100", "a100"]')
    return models
