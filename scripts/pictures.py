"""What the scripts that make the pictures of docs/img have in common."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

from PIL import Image

Colour = tuple[int, int, int]

REPOSITORY = Path(__file__).resolve().parents[1]
PICTURES = REPOSITORY / "docs" / "img"
#: What Lab calls each of its themes that pictures are taken in.
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}


def keep(screenshot: bytes, file: Path) -> None:
    """Write a screenshot with a palette: it is a third as large and looks the same.

    The grounds keep their colours, and what is small keeps its own: the usual median cut would
    make a green sign grey.
    """
    picture = Image.open(io.BytesIO(screenshot)).convert("RGB")
    counted = picture.getcolors(picture.width * picture.height) or []
    colours = [colour for _, colour in sorted(counted, reverse=True)]
    palette = colours[:128] + _covering(colours[128:], 128)
    nearest = {
        each: min(range(len(palette)), key=lambda at, each=each: _far(each, palette[at]))
        for each in colours
    }
    few = Image.new("P", picture.size)
    few.putpalette(list(itertools.chain(*palette)))
    few.putdata([nearest[pixel] for pixel in picture.get_flattened_data()])
    few.save(file, optimize=True)


def _covering(colours: list[Colour], most: int) -> list[Colour]:
    """Return few colours, of which one is near each of these."""
    row = Image.new("RGB", (max(1, len(colours)), 1))
    row.putdata(colours)
    few = row.quantize(most, method=Image.Quantize.MAXCOVERAGE).convert("RGB")
    return [colour for _, colour in few.getcolors(most)]


def _far(one: Colour, other: Colour) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))
