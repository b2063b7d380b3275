"""Images, figures and tensors come back exactly, and a bomb is refused before it is lit."""

from __future__ import annotations

import io
import struct
import subprocess
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from chutes_jupyter.agent.codec import CodecError, dumps, loads
from chutes_jupyter.agent.pictures import Picture
from tests.agent.coded import lies, message, mutations, sound_or_refused
from tests.interpreters import oldest

mpl.use("agg")
import matplotlib.pyplot as plt

REPOSITORY = Path(__file__).resolve().parents[2]


def there_and_back(value: Any, **options: Any) -> Any:
    return loads(dumps(value, **options))


# -- Images ------------------------------------------------------------------------------------

MODES = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB"]
MODES += ["HSV", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"]


def image(mode: str, size: tuple[int, int], seed: int = 0) -> Image.Image:
    dice = np.random.default_rng(seed)
    made = Image.new(mode, size)
    pixels = len(made.tobytes())
    if pixels:
        made = Image.frombytes(mode, size, dice.bytes(pixels))
    if mode in ("P", "PA"):
        made.putpalette(dice.bytes(768))
    return made


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(5, 3), (9, 1), (0, 3), (1, 1)], ids=str)
def test_an_image_comes_back_as_it_was_and_writable(mode: str, size: tuple[int, int]) -> None:
    value = image(mode, size)
    value.info.update({"dpi": (72, 72), "exif": b"x", "comment": "é"})
    back = there_and_back({"x": [value]})["x"][0]
    assert back == value
    assert (back.mode, back.size, back.info) == (mode, size, value.info)
    assert back.tobytes() == value.tobytes()
    if mode in ("P", "PA"):
        assert back.getpalette("RGBA") == value.getpalette("RGBA")
    if all(size):
        back.putpixel((0, 0), value.getpixel((size[0] - 1, 0)))


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(MODES), st.integers(0, 20), st.integers(0, 20), st.integers(0, 2**32))
def test_any_image_comes_back_as_it_was(mode: str, width: int, height: int, seed: int) -> None:
    value = image(mode, (width, height), seed)
    assert there_and_back(value) == value


@pytest.mark.parametrize("suffix", ["png", "gif", "tiff", "bmp"])
def test_an_image_of_a_file_comes_back_without_its_file(suffix: str) -> None:
    file = io.BytesIO()
    image("P", (6, 4)).save(file, suffix)
    value = Image.open(file)
    back = there_and_back(value)
    assert type(back) is Image.Image
    assert back.convert("RGB").tobytes() == value.convert("RGB").tobytes()
    transparent = Image.new("P", (2, 2))
    transparent.putpalette(bytes(range(16)), "RGBA")
    assert there_and_back(transparent) == transparent


def test_what_a_file_says_of_an_image_and_nobody_can_keep_is_left() -> None:
    value = Image.new("L", (1, 1))
    value.info.update({"a": object(), "b": [1], 3: 4, "c": 5})
    assert there_and_back(value).info == {"c": 5}


def test_an_image_of_several_pictures_is_refused() -> None:
    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, "GIF", save_all=True, append_images=[image("L", (4, 4))])
    with pytest.raises(CodecError, match=r'^result\["g"\] is an image of 2 pictures.*a list'):
        dumps({"g": Image.open(file)}, "result")


# -- Figures -----------------------------------------------------------------------------------


@pytest.fixture
def figure() -> Any:
    made, axes = plt.subplots()
    axes.plot([1, 2])
    yield made
    plt.close(made)


def test_a_figure_comes_back_as_a_picture_that_shows_itself(figure: Any, tmp_path: Path) -> None:
    back = there_and_back({"x": [figure]}, figures=True)["x"][0]
    assert type(back) is Picture
    png = back._repr_png_()
    assert Image.open(io.BytesIO(png)).size == back.size == back.image().size
    assert repr(back) == "<Picture of {}×{} pixels>".format(*back.size)
    back.save(tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes() == png
    assert there_and_back(back) == back
    assert {back} == {Picture(png)}


def test_a_figure_is_drawn_only_at_the_end_of_its_way(figure: Any) -> None:
    with pytest.raises(CodecError, match=r"Figure, which can't travel: make it in the function"):
        dumps(figure)
    with pytest.raises(CodecError, match=r"Axes, which can't travel: return axes\.figure"):
        dumps(figure.axes, figures=True)


def test_a_figure_that_cannot_be_drawn_says_why(figure: Any) -> None:
    figure.axes[0].set_title("$\\nonsense$")
    with pytest.raises(CodecError, match=r"^result is of type matplotlib\.figure\.Figure, which"):
        dumps(figure, "result", figures=True)


# -- Tensors -----------------------------------------------------------------------------------

TENSORS = [
    torch.tensor(3.0),
    torch.arange(6).reshape(2, 3),
    torch.arange(6).reshape(2, 3).T,
    torch.arange(10)[::3],
    torch.zeros(0, 3),
    torch.tensor([True, False]),
    torch.tensor([1 + 2j]).conj(),
    torch.ones(2, dtype=torch.bfloat16),
    torch.ones(2, dtype=torch.uint16),
    torch.tensor([float("nan"), -0.0], dtype=torch.float16),
    torch.ones(2, requires_grad=True),
    torch.nn.Parameter(torch.ones(2)),
    torch.nn.Parameter(torch.ones(2), requires_grad=False),
]


def assert_same(back: Any, value: Any) -> None:
    assert type(back) is type(value)
    assert (back.dtype, back.shape) == (value.dtype, value.shape)
    assert back.requires_grad == value.requires_grad
    plain = value.detach().resolve_conj().contiguous()
    if plain.numel():
        raw = [item.detach().reshape(-1).view(torch.uint8).tolist() for item in (back, plain)]
        assert raw[0] == raw[1]


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda tensor: str(tensor.dtype))
def test_a_tensor_comes_back_as_it_was_and_writable(tensor: Any) -> None:
    back = there_and_back({"x": [tensor]})["x"][0]
    assert_same(back, tensor)
    back.detach().fill_(1)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_the_smallest_numbers_come_back(name: str) -> None:
    tensor = torch.tensor([0.5, -2.0]).to(getattr(torch, name))
    assert_same(there_and_back(tensor), tensor)


@settings(max_examples=80, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from(["<f4", "<f8", "<i8", "<u1", "?", "<c8"]),
        hnp.array_shapes(min_dims=0, min_side=0, max_side=4),
    )
)
def test_any_tensor_comes_back_as_it_was(array: np.ndarray) -> None:
    tensor = torch.from_numpy(array.copy())
    assert_same(there_and_back(tensor), tensor)


def test_a_model_learns_from_a_state_that_came_back() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    state = model.state_dict()
    back = there_and_back(state)
    assert type(back) is type(state)
    assert list(back) == list(state)
    assert back._metadata == state._metadata
    fresh = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    fresh.load_state_dict(back)
    assert torch.equal(fresh[0].weight, model[0].weight)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (torch.ones(2, requires_grad=True) * 2, "pass tensor.detach()"),
        (torch.ones(2).to_sparse(), "pass tensor.to_dense()"),
        (torch.ones(2, device="meta"), "a tensor on meta, which can't travel: pass tensor.cpu()"),
        (torch.nn.Linear(1, 1), "Linear, which can't travel"),
        (torch.float32, "torch.dtype, which can't travel: pass str"),
        (torch.Size([1]), "torch.Size, which can't travel"),
    ],
    ids=lambda item: type(item).__name__,
)
def test_what_is_no_plain_tensor_is_refused(value: Any, why: str) -> None:
    with pytest.raises(CodecError) as caught:
        dumps({"t": value}, "result")
    assert str(caught.value).startswith('result["t"] is ')
    assert why in str(caught.value)


WITHOUT = (
    "import sys\n"
    "sys.modules['torch'] = sys.modules['PIL'] = None\n"
    "from chutes_jupyter.agent import codec\n"
    "try: value = codec.loads(sys.stdin.buffer.read())\n"
    "except codec.CodecError as error: print(error)\n"
    "else: print(type(value).__module__, value.dtype, value.tolist())\n"
)


def without(python: Path | str, value: Any) -> str:
    done = subprocess.run(
        [str(python), "-c", WITHOUT], input=dumps(value), capture_output=True, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_where_torch_is_missing_a_tensor_comes_as_an_array() -> None:
    here = REPOSITORY / ".venv/bin/python"
    assert without(here, torch.tensor([1, 2])) == "numpy int64 [1, 2]\n"
    assert without(here, torch.zeros(0)) == "numpy float32 []\n"
    assert "bfloat16, which only torch has" in without(here, torch.ones(1, dtype=torch.bfloat16))
    assert "a PIL image, and PIL.Image is not installed" in without(oldest(), image("L", (1, 1)))


# -- Strangers ---------------------------------------------------------------------------------


def png(width: int, height: int, pixels: bytes = b"") -> bytes:
    def part(kind: bytes, data: bytes) -> bytes:
        sum_ = struct.pack("!I", zlib.crc32(kind + data))
        return struct.pack("!I", len(data)) + kind + data + sum_

    head = struct.pack("!IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = part(b"IHDR", head) + part(b"IDAT", zlib.compress(pixels)) + part(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def pixels(mode: Any, size: Any, blob: bytes, palette: Any = None, info: Any = None) -> bytes:
    node = ["picture.image", 1, mode, ["tuple", *size], palette, {} if info is None else info]
    return message(node, blob)


def tensor(name: Any, shape: Any, blob: bytes, tag: str = "tensor.tensor") -> bytes:
    return message([tag, 1, name, ["tuple", *shape], False], blob)


STRANGE = {
    "a bomb": message(["picture.png", 1], png(60_000, 60_000, bytes(10_000))),
    "no png": message(["picture.png", 1], b"<svg onload=alert(1)>" * 10),
    "a short png": message(["picture.png", 1], b"\x89PNG\r\n\x1a\n"),
    "an empty png": message(["picture.png", 1], png(0, 0)),
    "two pngs": message(["picture.png", 2], png(1, 1), png(1, 1)),
    "no picture": message(["picture.png", 0]),
    "pixels that are missing": pixels("L", (100_000, 100_000), b"x"),
    "pixels too many": pixels("L", (1, 1), b"xx"),
    "negative": pixels("L", (-1, -1), b"x"),
    "a size of text": pixels("L", ("1", 1), b"x"),
    "no mode": pixels("EVIL", (1, 1), b"x"),
    "mode of a list": pixels(["list"], (1, 1), b"x"),
    "no palette": pixels("P", (1, 1), b"x", ["tuple", "EVIL", ["bytes"]]),
    "no info": pixels("L", (1, 1), b"x", info=["list"]),
    "a file": message(["picture.open", 1, "/etc/passwd"], b""),
    "tensor too large": tensor("float32", (2**40,), bytes(4)),
    "tensor past all numbers": tensor("float32", (2**62, 2**62, 0), b"x"),
    "tensor of no dtype": tensor("load", (1,), bytes(4)),
    "tensor of neither": tensor("bool", (1,), b"\x02"),
    "tensor of no shape": tensor("float32", (-1,), bytes(4)),
    "tensor of another": tensor("float32", (1,), bytes(4), "tensor.load"),
    "half a tensor": message(["tensor.tensor", 1, "float32"], bytes(4)),
}


@pytest.mark.parametrize("data", STRANGE.values(), ids=STRANGE)
def test_a_stranger_makes_nothing_but_an_error(data: bytes) -> None:
    begin = time.process_time()
    tracemalloc.start()
    with pytest.raises(CodecError):
        loads(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.process_time() - begin < 2
    assert peak < 20_000_000


def test_the_stranger_is_given_the_layout_that_is_read() -> None:
    assert loads(message(["picture.png", 1], png(1, 1, b"\0\0"))).size == (1, 1)
    assert loads(pixels("L", (2, 1), b"ab")).tobytes() == b"ab"
    assert loads(tensor("bool", (1,), b"\x01")).tolist() == [True]


SAMPLE = dumps(
    [*(image(mode, (5, 3)) for mode in MODES), *TENSORS, Picture(png(1, 1, b"\0\0"))], figures=True
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(mutations(SAMPLE), lies(SAMPLE)))
def test_spoiled_pictures_do_no_more_than_fail(data: bytes) -> None:
    for value in sound_or_refused(data) or []:
        # What was believed can be looked at.
        if isinstance(value, Image.Image) and value.size[0] * value.size[1] < 10**6:
            value.tobytes()
        elif isinstance(value, Picture):
            repr(value)
