# ruff: noqa: E501  # cells on one line
"""Cells of plain Python."""

from __future__ import annotations

from tests.corpus.cases import Case

CASES = {
    # -- functions and what is around them
    "a closure made in the cell": Case(
        """
counter = make(10)
print(counter(), counter())
answer = counter()
""",
        (
            "def make(n):\n    def count():\n        nonlocal n\n        n += 1\n        return n\n    return count",
        ),
    ),
    "a closure of the notebook": Case(
        "answer = [add_five(1), add_five(2)]",
        (
            "def adder(n):\n    def add(x):\n        return x + n\n    return add",
            "add_five = adder(5)",
        ),
    ),
    "a closure that counts, of the notebook": Case(
        "answer = count()",
        (
            "def make():\n    n = 0\n    def count():\n        nonlocal n\n        n += 1\n"
            "        return n\n    return count",
            "count = make()",
        ),
    ),
    "a decorator of the notebook": Case(
        """
@logged
def area(w, h):
    return w * h

answer = [area(2, 3), area.__name__]
""",
        (
            "import functools",
            "def logged(f):\n    @functools.wraps(f)\n    def wrapper(*a, **k):\n"
            "        print('calling', f.__name__, a)\n        return f(*a, **k)\n    return wrapper",
        ),
    ),
    "a decorated function of the notebook": Case(
        "answer = greet('you')",
        (
            "def repeat(times):\n    def around(f):\n        def wrapper(*a):\n"
            "            return [f(*a) for _ in range(times)]\n        return wrapper\n    return around",
            "@repeat(3)\ndef greet(name):\n    return f'hello {name}'",
        ),
    ),
    "a cached recursion": Case(
        "answer = [fib(n) for n in range(20)]\nprint(fib.cache_info().currsize)",
        (
            "from functools import lru_cache",
            "@lru_cache(maxsize=None)\ndef fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)",
        ),
    ),
    "functions that call each other": Case(
        "answer = [even(10), odd(7), even(3)]",
        (
            "def even(n):\n    return n == 0 or odd(n - 1)",
            "def odd(n):\n    return n != 0 and even(n - 1)",
        ),
    ),
    "the same function twice": Case(
        "answer = price(10)",
        ("def price(x):\n    return x * 2", "def price(x):\n    return x * 3"),
    ),
    "the same function again in the cell": Case(
        "before = price(10)\ndef price(x):\n    return x * 5\nanswer = [before, price(10)]",
        ("def price(x):\n    return x * 2",),
    ),
    "a function that uses what was defined later": Case(
        "answer = total([1, 2])",
        ("def total(xs):\n    return sum(map(weight, xs))", "def weight(x):\n    return x * 7"),
    ),
    "lambdas": Case(
        "words = sorted(['bb', 'a', 'ccc'], key=by)\nanswer = [words, twice(4)]",
        ("by = lambda w: -len(w)\ntwice = lambda x: x * 2",),
    ),
    "late lambdas": Case("fs = [lambda: i for i in range(3)]\nanswer = [f() for f in fs]"),
    "a list of lambdas with defaults": Case(
        "answer = [f() for f in fs]",
        ("fs = [lambda i=i: i for i in range(3)]",),
    ),
    "defaults and keywords": Case(
        "answer = [f(1), f(1, 2, 3, key=4), f(*[5], **{'key': 6})]",
        ("def f(a, b=2, *rest, key=None, **more):\n    return [a, b, list(rest), key]",),
    ),
    "a mutable default": Case(
        "answer = [list(add(1)), list(add(2))]",
        ("def add(x, seen=[]):\n    seen.append(x)\n    return seen",),
    ),
    "partial and single dispatch": Case(
        """
from functools import partial, singledispatch

@singledispatch
def show(x):
    return f"thing {x}"

@show.register
def _(x: int):
    return f"number {x}"

answer = [show("a"), show(1), partial(pow, 2)(5)]
"""
    ),
    "recursion over a tree": Case(
        "answer = depth({'a': {'b': {}, 'c': {'d': {}}}})",
        ("def depth(tree):\n    return 1 + max(map(depth, tree.values()), default=0)",),
    ),
    # -- classes
    "inheritance and super": Case(
        "class Puppy(Dog):\n    def speak(self):\n        return super().speak() + '!'\n"
        "answer = [Puppy('Rex').speak(), Dog('Fido').speak()]",
        (
            "class Animal:\n    def __init__(self, name):\n        self.name = name\n"
            "    def speak(self):\n        return f'{self.name} makes a sound'",
            "class Dog(Animal):\n    def speak(self):\n        return super().speak() + ': woof'",
        ),
    ),
    "a diamond": Case(
        """
class A:
    def go(self): return ["A"]
class B(A):
    def go(self): return ["B"] + super().go()
class C(A):
    def go(self): return ["C"] + super().go()
class D(B, C):
    def go(self): return ["D"] + super().go()
answer = [D().go(), [k.__name__ for k in D.__mro__]]
"""
    ),
    "a dataclass": Case(
        "c = Config(layers=[1, 2])\nprint(c)\nanswer = asdict(replace(c, rate=0.5))",
        (
            "from dataclasses import asdict, dataclass, field, replace",
            "@dataclass(order=True)\nclass Config:\n    rate: float = 0.1\n"
            "    layers: list = field(default_factory=list)",
        ),
    ),
    "an enum": Case(
        "answer = [c.name for c in Colour] + [Colour(2).value]\nprint(Colour.RED)",
        ("from enum import Enum, auto", "class Colour(Enum):\n    RED = auto()\n    BLUE = auto()"),
    ),
    "a named tuple": Case(
        "p = Point(1, 2)\nq = Pair(3, 4)\nanswer = [p.x + q.b, p._asdict(), repr(q)]",
        (
            "from collections import namedtuple\nfrom typing import NamedTuple",
            "Pair = namedtuple('Pair', 'a b')",
            "class Point(NamedTuple):\n    x: int\n    y: int = 0",
        ),
    ),
    "an abstract class": Case(
        "try:\n    Shape()\nexcept TypeError:\n    print('abstract')\nanswer = Square(3).area()",
        (
            "from abc import ABC, abstractmethod",
            "class Shape(ABC):\n    @abstractmethod\n    def area(self): ...",
            "class Square(Shape):\n    def __init__(self, side):\n        self.side = side\n"
            "    def area(self):\n        return self.side ** 2",
        ),
    ),
    "properties and class methods": Case(
        """
class Celsius:
    made = 0
    def __init__(self, t):
        self._t = t
        type(self).made += 1
    @property
    def f(self):
        return self._t * 9 / 5 + 32
    @f.setter
    def f(self, value):
        self._t = (value - 32) * 5 / 9
    @classmethod
    def zero(cls):
        return cls(0)
    @staticmethod
    def name():
        return "C"
t = Celsius.zero()
t.f = 212
answer = [t._t, t.f, Celsius.made, Celsius.name()]
"""
    ),
    "a metaclass that registers": Case(
        """
class Meta(type):
    known = {}
    def __new__(mcs, name, bases, body):
        cls = super().__new__(mcs, name, bases, body)
        mcs.known[name] = cls
        return cls
class Base(metaclass=Meta): pass
class Child(Base): pass
answer = sorted(Meta.known)
"""
    ),
    "a descriptor": Case(
        """
class Positive:
    def __set_name__(self, owner, name):
        self.name = "_" + name
    def __get__(self, it, owner):
        return getattr(it, self.name)
    def __set__(self, it, value):
        if value <= 0:
            raise ValueError(f"{self.name[1:]} must be positive")
        setattr(it, self.name, value)
class Box:
    width = Positive()
box = Box()
box.width = 3
print(box.width)
box.width = -1
"""
    ),
    "operators": Case(
        "answer = repr(Vec(1, 2) + Vec(3, 4) * 2)\nprint(Vec(1, 2) == Vec(1, 2), len({Vec(1, 2), Vec(1, 2)}))",
        (
            "class Vec:\n    __slots__ = ('x', 'y')\n    def __init__(self, x, y):\n"
            "        self.x, self.y = x, y\n    def __add__(self, o):\n"
            "        return Vec(self.x + o.x, self.y + o.y)\n    def __mul__(self, k):\n"
            "        return Vec(self.x * k, self.y * k)\n    def __eq__(self, o):\n"
            "        return (self.x, self.y) == (o.x, o.y)\n    def __hash__(self):\n"
            "        return hash((self.x, self.y))\n    def __repr__(self):\n"
            "        return f'Vec({self.x}, {self.y})'",
        ),
    ),
    "generics and protocols": Case(
        """
class Stack(Generic[T]):
    def __init__(self) -> None:
        self.items: List[T] = []
    def push(self, item: T) -> None:
        self.items.append(item)
s: Stack[int] = Stack()
s.push(4)
answer = [s.items, isinstance(s, Pushes)]
""",
        (
            "from typing import Generic, List, Protocol, TypeVar, runtime_checkable\nT = TypeVar('T')",
            "@runtime_checkable\nclass Pushes(Protocol):\n    def push(self, item): ...",
        ),
    ),
    "a class that is pickled": Case(
        "import pickle\nagain = pickle.loads(pickle.dumps(Item(3)))\nanswer = [again.n, type(again) is Item]",
        ("class Item:\n    def __init__(self, n):\n        self.n = n",),
    ),
    "an instance of a notebook class": Case(
        "answer = item.n",
        ("class Item:\n    def __init__(self, n):\n        self.n = n", "item = Item(3)"),
    ),
    "a class inside a function": Case(
        "answer = make()().hello()",
        (
            "def make():\n    class Inner:\n        def hello(self):\n            return 'inner'\n    return Inner",
        ),
    ),
    # -- names
    "names of the notebook are changed": Case(
        "n += 1\nitems.append(n)\ncfg['deep']['x'] = items\nanswer = [n, cfg]",
        ("n = 1\nitems = [0]\ncfg = {'deep': {}}",),
    ),
    "a captured name is bound again": Case(
        "old = scale(1)\nrate = 100\nanswer = [old, scale(1)]",
        ("rate = 10\ndef scale(x):\n    return x * rate",),
    ),
    "global state": Case(
        "bump()\nbump()\nanswer = [total, history]",
        (
            "total = 0\nhistory = []\ndef bump():\n    global total\n    total += 5\n    history.append(total)",
        ),
    ),
    "a global that only a function makes": Case(
        "def begin():\n    global started\n    started = True\nbegin()\nanswer = started"
    ),
    "builtins are shadowed": Case(
        "list = [3, 1, 2]\nid = 7\ndef print_all(items):\n    for i in items:\n        print(i, id)\n"
        "print_all(list)\nanswer = sum",
        ("sum = 12",),
    ),
    "a builtin is shadowed by a function": Case(
        "answer = [max([1, 2]), len('abc')]", ("def max(xs):\n    return 'mine'",)
    ),
    "a name that is deleted": Case("x = 1\ndel x\nprint('x' in globals())\nx"),
    "a name that is nowhere": Case("print('before')\nresult = undefined_name + 1"),
    "star imports": Case(
        "from math import *\nfrom os.path import *\nanswer = [floor(pi), join('a', 'b'), hypot(3, 4)]"
    ),
    "star imports of the notebook": Case(
        "answer = [sqrt(16), basename('/a/b')]", ("from math import *\nfrom os.path import *",)
    ),
    "imports of the notebook by other names": Case(
        "answer = [osp.basename('/a/b'), dumps({'a': 1}), ET.Element('x').tag, root(9)]",
        (
            "import os.path as osp\nfrom json import dumps\nimport xml.etree.ElementTree as ET\n"
            "from math import sqrt as root",
        ),
    ),
    "main": Case(
        "def main():\n    print('main runs')\n\nif __name__ == '__main__':\n    main()\nanswer = __name__"
    ),
    "exec and eval": Case(
        "exec('made = n + 1')\nanswer = [made, eval('made * 2'), [eval('n') for _ in range(2)]]",
        ("n = 4",),
    ),
    "globals and locals": Case(
        "globals()['made'] = 5\nx = 1\nanswer = [made, 'x' in locals(), 'x' in globals(), 'nope' in dir()]"
    ),
    # -- syntax
    "comprehension scopes": Case(
        "x = 'outer'\nsquares = [x * x for x in range(4)]\nevens = {x: y for x in range(2) for y in 'ab'}\n"
        "answer = [x, squares, evens, [y for x in [[1], [2]] for y in x]]"
    ),
    "a comprehension in a class": Case(
        "class A:\n    n = 3\n    xs = [i for i in range(n)]\nanswer = A.xs\nclass B:\n    n = 3\n"
        "    ys = [n for i in range(2)]\nprint(B.ys)",
        ("n = 'global'",),
    ),
    "walrus": Case(
        "data = [1, 5, 8]\nif (count := len(data)) > 2:\n    print(f'{count} items')\n"
        "big = [last := v for v in data if v > 2]\nwhile (item := data.pop()) != 1:\n    print(item)\n"
        "answer = [big, last, item]"
    ),
    "match": Case(
        """
def what(x):
    match x:
        case {"type": "point", "at": [x0, y0]}:
            return f"at {x0}, {y0}"
        case int() | float() if x > 10:
            return "large"
        case [first, *rest]:
            return f"{first} and {len(rest)} more"
        case str(text):
            return text.upper()
        case _:
            return "nothing"

answer = [what({"type": "point", "at": [1, 2]}), what(11), what([1, 2, 3]), what("a"), what(None)]
""",
        since=(3, 10),
    ),
    "nested f-strings": Case(
        "width, rows = 8, {'a': 1.23456, 'b': 2}\n"
        "for key, value in rows.items():\n"
        "    print(f\"{key!r:>{width}}|{f'{value:.2f}':<{width}}|{rows['a']:{'.1f'}}|{value=}\")\n"
        "print(f'''{width\n  + 1}''')"
    ),
    "type aliases": Case(
        "Vector = List[float]\nRow = Dict[str, Union[int, Vector]]\ndef scale(v: Vector, by: float) -> Vector:\n"
        "    return [x * by for x in v]\nanswer = [scale([1.0], 2), str(Row)]",
        ("from typing import Dict, List, Union",),
    ),
    "a union of types": Case(
        "def f(x: int | None = None) -> list[int]:\n    return [x or 0]\nanswer = f(isinstance(1, int | str))",
        since=(3, 10),
    ),
    "the type statement": Case(
        "type Vector = list[float]\nanswer = 1",
        refused="is not Python",
        unread="In[1] line 2: a type statement can be read by Python 3.12 and newer",
    ),
    "annotations and postponed ones": Case(
        "from __future__ import annotations\nclass Node:\n    next: Node | None = None\n"
        "answer = Node.__annotations__['next']"
    ),
    "texts over lines": Case(
        'text = """first\n    second\n  third"""\nquery = (\n    "select *"\n    " from t"\n)\nanswer = [text, query]'
    ),
    "unpacking": Case(
        "first, *middle, last = range(5)\n(a, b), c = (1, 2), 3\nmerged = {**{'x': 1}, 'y': [*middle]}\n"
        "answer = [first, middle, last, a + b + c, merged]"
    ),
    "try, else, finally": Case(
        "def attempt(x):\n    try:\n        r = 10 / x\n    except ZeroDivisionError as e:\n        return str(e)\n"
        "    else:\n        return r\n    finally:\n        print('done', x)\nanswer = [attempt(0), attempt(5)]"
    ),
    "generators": Case(
        "def numbers():\n    n = 0\n    while True:\n        sent = yield n\n        n = sent if sent is not None else n + 1\n"
        "g = numbers()\nanswer = [next(g), next(g), g.send(10), next(g)]\n"
        "print(sum(x for x in range(5)), list(chain([1], (y for y in 'ab'))))",
        ("from itertools import chain",),
    ),
    "a context manager": Case(
        "with tag('b') as name, suppress(KeyError):\n    print(name)\n    {}['gone']\nprint('after')",
        (
            "from contextlib import contextmanager, suppress",
            "@contextmanager\ndef tag(name):\n    print(f'<{name}>')\n    yield name\n    print(f'</{name}>')",
        ),
    ),
    "an iterator class": Case(
        "class Down:\n    def __init__(self, n):\n        self.n = n\n    def __iter__(self):\n        return self\n"
        "    def __next__(self):\n        if self.n == 0:\n            raise StopIteration\n        self.n -= 1\n"
        "        return self.n\nanswer = list(Down(3))"
    ),
    # -- async
    "await and gather": Case(
        "import asyncio\nasync def work(n):\n    await asyncio.sleep(0)\n    return n * n\n"
        "answer = list(await asyncio.gather(*(work(n) for n in range(4))))"
    ),
    "an async generator": Case(
        "async def ticks(n):\n    for i in range(n):\n        await asyncio.sleep(0)\n        yield i\n"
        "answer = [i async for i in ticks(3)]\nasync for i in ticks(2):\n    print('tick', i)",
        ("import asyncio",),
    ),
    "an async context and a queue": Case(
        """
@asynccontextmanager
async def opened(name):
    print("open", name)
    yield asyncio.Queue()
    print("close", name)

async def produce(queue):
    for n in range(3):
        await queue.put(n)
    await queue.put(None)

answer = []
async with opened("q") as queue:
    task = asyncio.create_task(produce(queue))
    while (item := await queue.get()) is not None:
        answer.append(item)
    await task
""",
        ("import asyncio\nfrom contextlib import asynccontextmanager",),
    ),
    # -- errors
    "an error of a builtin type": Case("data = {'a': 1}\nprint('start')\ndata['b']"),
    "an error in a function of the notebook": Case(
        "parse('12')\nparse('twelve')", ("def parse(text):\n    return int(text)",)
    ),
    "an error of the notebook's own type": Case(
        "raise TooHot(99)",
        (
            "class TooHot(RuntimeError):\n    def __init__(self, t):\n        super().__init__(f'{t} degrees')\n"
            "        self.t = t",
        ),
    ),
    "an error from another": Case(
        "try:\n    int('x')\nexcept ValueError as e:\n    raise RuntimeError('bad row') from e"
    ),
    "an exception group": Case(
        "def check(x):\n    errors = [ValueError(n) for n in range(x)]\n    raise ExceptionGroup('bad', errors)\n"
        "try:\n    check(2)\nexcept* ValueError as g:\n    print(len(g.exceptions))\ncheck(3)",
        since=(3, 11),
    ),
    "an assertion": Case("x = [1, 2]\nassert len(x) == 3, f'has {len(x)}'"),
    "an error with notes": Case(
        "e = KeyError('row')\ne.add_note('in file a.csv')\nraise e", since=(3, 11)
    ),
    "too deep a recursion": Case(
        "def f(n):\n    return f(n + 1)\ntry:\n    f(0)\nexcept RecursionError:\n    print('deep')"
    ),
    "nothing but comments": Case("# to do\n"),
    "a docstring": Case('"""What this cell is for."""\nanswer = 1'),
    # -- what can't travel, and what is not Python
    "an open file": Case("print(f.read())", ("f = open('/etc/hostname')",), refused="f is a"),
    "a lock": Case(
        "with lock:\n    print(1)",
        ("import threading\nlock = threading.Lock()",),
        refused="lock is a",
    ),
    "a generator of the notebook": Case(
        "print(next(g))", ("g = (i for i in range(3))",), refused="g is a generator"
    ),
    "a value that is too large": Case(
        "answer = len(big)", ("big = b'x' * 101_000_000",), refused="may travel by name"
    ),
    "a yield at the top": Case("yield 1", refused="'yield' outside function"),
    "a slip of the pen": Case("for i in range(3)\n    print(i)", refused="expected ':'"),
    "the shell of IPython": Case("get_ipython().user_ns", refused="get_ipython is IPython's"),
}
