"""What a job asks of a worker's hardware: `NodeSelector`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from chutes_jupyter.agent import cards
from chutes_jupyter.errors import SpecError

GPU_COUNT = (1, 8)
VRAM_GB = (16, 140)
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
        wanted = self.to_json()
        fitting = [gpu for gpu in found if cards.fits(gpu, wanted)]
        if len(fitting) >= self.gpu_count:
            return None, None
        return f"{worker} has {_listed(found)}; the job asks for {self._asked()}.", None

    def _asked(self) -> str:
        plural = "s" if self.gpu_count > 1 else ""
        text = f"{self.gpu_count} GPU{plural} with {self.min_vram_gb_per_gpu} GB or more"
        if self.include:
            text += f", one of {', '.join(self.include)}"
        if self.exclude:
            text += f", not {', '.join(self.exclude)}"
        return text


def too_few(
    wanted: int | None, gpus: Sequence[Mapping[str, Any]] | None, worker: str
) -> str | None:
    """Return why a worker never has as many GPUs as a job wants for itself, or None.

    Where it has none the job runs all the same, and is told: what a job can't do without,
    `NodeSelector` says.
    """
    if not wanted or not gpus or wanted <= len(gpus):
        return None
    return f"{worker} has {len(gpus)} ({_listed(gpus)}); the job asks for {wanted} GPUs."


def _listed(gpus: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(f"{gpu['name']} ({cards.gigabytes(gpu):.0f} GB)" for gpu in gpus) or "no GPU"


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
    if not listed or not all(isinstance(item, str) and cards.words(item) for item in models):
        raise SpecError(field, value, "must be a list of GPU models", f'{field}=["h100", "a100"]')
    return models
