"""What a job function returns comes back as it was, through a real worker, and safely."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from chutes_jupyter.agent import codec
from chutes_jupyter.commands import tables
from chutes_jupyter.own_classes import OwnClasses, is_own
from tests.agent import own
from tests.agent.coded import message

PATIENCE = 60


def script(folder: Path, text: str, **modules: str) -> str:
    """Run a script as a person does, in a folder of its own, and return what it prints."""
    for name, source in {**modules, "script": text}.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(source))
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return done.stdout


CLASSES = """
    import dataclasses, enum, typing
    import pydantic

    class Colour(enum.Enum):
        RED = 1

    class Point(typing.NamedTuple):
        x: int

    @dataclasses.dataclass
    class Run:
        colour: Colour
        best: Point
        parts: list = dataclasses.field(default_factory=list)

        def __post_init__(self):
            print("made a Run")

    class Model(pydantic.BaseModel):
        size: int
        run: typing.Any = None
"""


@pytest.mark.slow
def test_classes_of_a_script_and_of_a_module_come_back(home: Path, tmp_path: Path) -> None:
    module = textwrap.dedent(CLASSES) + textwrap.dedent(
        """
        from chutes_jupyter import Chute
        chute = Chute("me", "demo", "x")

        @chute.job()
        def work(self, **job_data):
            run = Run(Colour.RED, Point(3), [{"deep": (Point(4), Colour.RED)}])
            return {"run": run, "model": Model(size=1, run=run)}
        """
    )
    said = script(
        tmp_path,
        module
        + textwrap.dedent(
            f"""
            import beside
            for mine, job in ((work, work.submit()), (beside.work, beside.work.submit())):
                names = sys.modules[mine.code.namespace["__name__"]]
                got = job.result({PATIENCE})
                run, model = got["run"], got["model"]
                assert type(run) is names.Run and type(run.best) is names.Point
                assert run.colour is names.Colour.RED
                assert run.parts == [{{"deep": (names.Point(4), names.Colour.RED)}}]
                assert type(model) is names.Model and model.run == run
                print("right")
            """
        ).replace("import beside", "import beside, sys"),
        beside=module,
    )
    assert said == "right\nright\n"  # nothing here made a Run


@pytest.mark.slow
def test_instances_go_along_as_job_data(home: Path, tmp_path: Path) -> None:
    said = script(
        tmp_path,
        textwrap.dedent(CLASSES)
        + textwrap.dedent(
            f"""
            from fractions import Fraction
            from http import HTTPStatus
            from chutes_jupyter import Chute, SpecError
            chute = Chute("me", "demo", "x")

            @chute.job()
            def work(self, **job_data):
                run: Run = job_data["run"]
                assert type(run) is Run and type(run.best) is Point, type(run)
                return run.colour is Colour.RED, run.best.x, job_data["status"], job_data["n"]

            @chute.job()
            def blind(self, **job_data):
                return 1

            run = Run(Colour.RED, Point(3))
            got = work.submit(run=run, status=HTTPStatus.OK, n=Fraction(1, 2)).result({PATIENCE})
            assert got == (True, 3, HTTPStatus.OK, Fraction(1, 2)), got
            assert type(got[2]) is HTTPStatus
            try:
                blind.submit(a=1, best=[Point(3)])
            except SpecError as error:
                print(error)
            """
        ),
    )
    assert "has a Point in it, and blind doesn't use that name" in said


@pytest.mark.slow
def test_frames_pictures_and_tensors_come_back(home: Path, tmp_path: Path) -> None:
    said = script(
        tmp_path,
        f"""
        from chutes_jupyter import Chute
        chute = Chute("me", "demo", "x")

        @chute.job()
        def work(self, **job_data):
            import pandas as pd, polars as pl, pyarrow as pa, torch
            import matplotlib.pyplot as plt
            from PIL import Image
            frame = job_data["frame"]
            figure, axes = plt.subplots()
            axes.plot(frame["a"])
            return {{
                "frame": frame.assign(b=frame["a"] * 2, z=pd.Timestamp("2020", tz="UTC")),
                "polars": pl.DataFrame({{"a": [1, None]}}),
                "table": pa.table({{"a": ["x"]}}),
                "figure": figure,
                "image": Image.new("RGB", (3, 2), "red"),
                "tensor": torch.ones(2, dtype=torch.bfloat16),
            }}

        import pandas as pd
        job = work.submit(frame=pd.DataFrame({{"a": [1, 2]}}))
        got = job.result({PATIENCE})
        assert got["frame"]["b"].tolist() == [2, 4] and str(got["frame"]["z"].dt.tz) == "UTC"
        assert got["polars"]["a"].to_list() == [1, None]
        assert got["table"].to_pylist() == [{{"a": "x"}}]
        assert got["figure"]._repr_png_().startswith(b"\\x89PNG")
        assert got["image"].getpixel((2, 1)) == (255, 0, 0)
        assert got["tensor"].float().tolist() == [1.0, 1.0]
        print(got["figure"])
        """,
    )
    assert said.startswith("<Picture of ")


@pytest.mark.slow
def test_a_result_whose_class_is_not_here_waits_until_it_is(home: Path, tmp_path: Path) -> None:
    declared = textwrap.dedent(CLASSES) + textwrap.dedent(
        """
        from chutes_jupyter import Chute
        chute = Chute("me", "demo", "x")

        @chute.job()
        def work(self, **job_data):
            return [Point(3)]
        """
    )
    wait = f"\njob = work.submit()\njob.wait({PATIENCE})\nprint(job.id)\n"
    name = script(tmp_path, declared + wait).strip()
    # Another process, as a terminal is, which doesn't know the class at first.
    said = script(
        tmp_path,
        f"""
        import typing
        from chutes_jupyter import ResultError, attach
        job = attach("{name}")
        try:
            job.result({PATIENCE})
        except ResultError as error:
            print(error)
        class Point(typing.NamedTuple):
            x: int
        print(job.result({PATIENCE}) == [Point(3)])
        """,
    )
    assert "holds a Point, a class of the notebook or script that the job is of: define it" in said
    assert said.endswith("True\n")


@pytest.mark.slow
def test_what_can_not_come_back_is_named(home: Path, tmp_path: Path) -> None:
    said = script(
        tmp_path,
        f"""
        import threading
        from chutes_jupyter import Chute, JobFailed
        chute = Chute("me", "demo", "x")

        @chute.job()
        def work(self, **job_data):
            return {{"a": [1, threading.Lock()]}}

        try:
            work.submit().result({PATIENCE})
        except JobFailed as error:
            print(error)
        """,
    )
    assert 'result["a"][1] is of type _thread.lock, which can\'t travel' in said


@pytest.mark.slow
def test_plain_objects_of_a_script_and_of_a_module_come_back_from_this_machine(
    home: Path, tmp_path: Path
) -> None:
    module = textwrap.dedent(
        """
        from chutes_jupyter import Chute
        chute = Chute("me", "demo", "x")

        def twice(x):
            return 2 * x

        class Net:
            def __init__(self):
                self.layers = [3]
                self.step = twice

        @chute.job()
        def work(self, **job_data):
            return {"net": Net()}
        """
    )
    said = script(
        tmp_path,
        module
        + textwrap.dedent(
            f"""
            import asyncio, beside, sys
            async def awaited(job):
                return await job
            for mine in (work, beside.work):
                names = sys.modules[mine.code.namespace["__name__"]]
                job = mine.submit()
                for net in (job.result({PATIENCE})["net"], asyncio.run(awaited(job))["net"]):
                    assert type(net) is names.Net and net.layers == [3]
                    assert net.step is names.twice
            print("right")
            """
        ),
        beside=module,
    )
    assert said == "right\n"


class Shy:
    def __repr__(self) -> str:
        raise AttributeError("fields that a worker chose")


def test_what_can_not_be_shown_says_so() -> None:
    assert tables.value([Shy()]) == "<list that can't be shown: AttributeError>"


# -- Which classes -----------------------------------------------------------------------------


def test_a_library_s_class_counts_only_where_the_person_has_it_by_its_name() -> None:
    from http import HTTPStatus
    from importlib.metadata import EntryPoint
    from urllib.parse import ParseResult

    nobody = OwnClasses({})
    assert nobody("urllib.parse", "ParseResult") is None
    assert OwnClasses({"Parsed": ParseResult})("urllib.parse", "ParseResult") is ParseResult
    assert OwnClasses({"EntryPoint": EntryPoint})("urllib.parse", "ParseResult") is None
    assert nobody("http", "HTTPStatus") is HTTPStatus
    assert nobody("numpy", "ndarray") is None
    assert nobody(own.__name__, "Point") is own.Point
    assert nobody(own.__name__, "Outer.Inner") is own.Outer.Inner
    assert nobody(own.__name__, "dataclasses.Field") is None
    assert nobody(own.__name__, "Outer.__init__") is None
    assert nobody("chutes_jupyter.models", "JobSpec") is None
    assert nobody("not_there", "Thing") is None
    assert nobody("__main__", "not_there") is None
    assert OwnClasses({"Point": own.Point})("__main__", "Point") is own.Point
    assert OwnClasses({"point": own.CALLED})("__main__", "point") is None


def test_what_is_installed_is_not_the_person_s_own() -> None:
    import numpy.ma  # noqa: F401

    assert [is_own(name) for name in ("json", "numpy.ma", "_thread", "builtins", "sys")] == [0] * 5
    assert not is_own("chutes_jupyter.errors")
    assert is_own(__name__)
    assert is_own(own.__name__)


# -- Attacks -----------------------------------------------------------------------------------


class Attack:
    """What runs a command as soon as it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return (eval, (f"__import__('pathlib').Path({str(self._mark)!r}).touch()",))


def archive(name: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(name, data)
    return file.getvalue()


def numpy_file(attack: Attack) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([attack], object), allow_pickle=True)
    return file.getvalue()


def torch_file(attack: Attack) -> bytes:
    file = io.BytesIO()
    torch.save(attack, file)
    return file.getvalue()


def arrow_file(attack: Attack) -> bytes:
    """Return the file that made pyarrow run code (CVE-2023-47248): a pickled extension type."""
    metadata = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(attack),
    }
    schema = pa.schema([pa.field("x", pa.int64(), metadata=metadata)])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_table(pa.table([pa.array([1])], schema=schema))
    return sink.getvalue().to_pybytes()


def attacks(mark: Path) -> dict[str, bytes]:
    attack = Attack(mark)
    raw = pickle.dumps(attack)
    return {
        **{f"pickle {n}": pickle.dumps(attack, n) for n in range(6)},
        "global": f"cbuiltins\neval\n(Vopen({str(mark)!r}, 'w')\ntR.".encode(),
        "npy": numpy_file(attack),
        "npz": archive("x.npy", numpy_file(attack)),
        "torch": torch_file(attack),
        "zip": archive("archive/data.pkl", raw),
        "arrow": arrow_file(attack),
        "joblib": b"\x80\x04\x95" + raw,
    }


NAMES = [*(f"pickle {n}" for n in range(6)), "global", "npy", "npz", "torch", "zip", "arrow"]
NAMES += ["joblib"]


def test_the_attacks_work_on_who_unpickles(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    assert sorted(attacks(mark)) == sorted(NAMES)
    pickle.loads(attacks(mark)["pickle 5"])
    assert mark.exists()
    mark.unlink()
    np.load(io.BytesIO(attacks(mark)["npy"]), allow_pickle=True)
    assert mark.exists()
    mark.unlink()
    torch.load(io.BytesIO(attacks(mark)["torch"]), weights_only=False)
    assert mark.exists()
    mark.unlink()
    pickle.loads(attacks(mark)["global"])
    assert mark.exists()


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_in_place_of_a_result_does_nothing(name: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    data = attacks(mark)[name]
    with pytest.raises(codec.CodecError):
        codec.loads(data, classes=OwnClasses({}))
    # And inside of one, it stays the bytes that it is.
    whole = codec.dumps({"x": [data, np.frombuffer(data, "u1")]})
    assert codec.loads(whole)["x"][0] == data
    for tag in ("picture.png", "tensor.tensor", "arrow.table", "pandas.DataFrame", "class.data"):
        with pytest.raises(codec.CodecError):
            codec.loads(message([tag, 1], data), classes=OwnClasses({}))
    assert not mark.exists()
