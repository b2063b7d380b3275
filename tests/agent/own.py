"""Classes as people write them in a notebook's modules, for what is returned of them."""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import pydantic

CALLED: list[str] = []
T = TypeVar("T")


class Colour(enum.Enum):
    RED = 1
    CRIMSON = 1  # noqa: PIE796
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


class Bits(enum.IntFlag):
    A = 1
    B = 4


class Word(str, enum.Enum):  # noqa: UP042
    YES = "yes"


class Point(NamedTuple):
    x: int
    y: Any = 0


Old = collections.namedtuple("Old", "a b")


@dataclasses.dataclass
class Plain:
    x: int
    y: Any = None
    z: ClassVar[int] = 3
    seed: dataclasses.InitVar[int] = 0

    def __post_init__(self, seed: int) -> None:
        CALLED.append("post_init")
        self.more = seed


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: Any


@dataclasses.dataclass
class Watching:
    x: Any

    def __setattr__(self, name: str, value: object) -> None:
        CALLED.append("setattr")
        super().__setattr__(name, value)


@dataclasses.dataclass(slots=True)  # type: ignore[call-overload]
class Slotted:
    x: Any
    y: int = dataclasses.field(default=1, init=False)


@dataclasses.dataclass
class Child(Plain):
    w: Any = None

    @functools.cached_property
    def half(self) -> float:
        return self.x / 2


@dataclasses.dataclass
class Box(Generic[T]):
    item: T


class Outer:
    @dataclasses.dataclass
    class Inner:
        x: int


class Model(pydantic.BaseModel):
    name: str
    size: int = 3
    inner: Any = None
    _cache: int = pydantic.PrivateAttr(default=7)

    @pydantic.field_validator("size")
    @classmethod
    def check(cls, value: int) -> int:
        CALLED.append("validator")
        return value

    def model_post_init(self, context: Any) -> None:
        CALLED.append("model_post_init")
        super().model_post_init(context)


class Open(pydantic.BaseModel, extra="allow", frozen=True):
    a: int


class Root(pydantic.RootModel[list[int]]):
    pass


@dataclasses.dataclass
class Ending:
    path: str

    def __del__(self) -> None:
        CALLED.append("del")


@dataclasses.dataclass
class Items(list):  # type: ignore[type-arg]
    x: int


@dataclasses.dataclass
class Hiding:
    x: int

    def save(self) -> None:
        CALLED.append("save")


class Anything:
    pass
