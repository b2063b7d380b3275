"""Pictures for the codec: PIL images by their pixels, matplotlib figures as PNG.

A PIL image travels unpacked, so that what comes is as large as what is made of it, and nothing
of a stranger's is decoded. A figure is drawn where it is, and becomes a `Picture`.
"""

from __future__ import annotations

import io
import struct
import sys
from typing import Any, Dict, List, Optional, Tuple

from .families import Packed, library
from .refusals import CodecError, Place, malformed, name_of

#: The largest picture that is believed, in pixels: what a browser draws of more is its end.
MAX_PIXELS = 1 << 28
_PNG = b"\x89PNG\r\n\x1a\n"
_HEAD = struct.Struct("!8sI4sII")
#: How many bytes a pixel takes; in mode "1" it is a bit, and rows are padded.
_DEPTHS = {
    **dict.fromkeys(("L", "P"), 1),
    **dict.fromkeys(("LA", "La", "PA", "I;16", "I;16L", "I;16B", "I;16N"), 2),
    **dict.fromkeys(("RGB", "YCbCr", "LAB", "HSV"), 3),
    **dict.fromkeys(("RGBA", "RGBa", "RGBX", "CMYK", "I", "F"), 4),
}
#: What an image's `info` may hold and keep; what else is there belongs to the file it is from.
_INFO = (bool, int, float, str, bytes, tuple)


class Picture:
    """A picture as PNG: what comes back of a figure. The last line of a cell shows it.

    Parameters
    ----------
    data : bytes
        The PNG file.
    """

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    @property
    def size(self) -> Tuple[int, int]:
        """Its width and height in pixels."""
        _, _, _, width, height = _HEAD.unpack_from(self.data)
        return width, height

    def save(self, path: Any) -> None:
        """Write it to a file."""
        with open(path, "wb") as file:
            file.write(self.data)

    def image(self) -> Any:
        """Return it as a PIL image, which needs Pillow."""
        pil = library("PIL.Image", "a picture", "pillow")
        return pil.open(io.BytesIO(self.data))

    def _repr_png_(self) -> bytes:
        return self.data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Picture) and other.data == self.data

    def __hash__(self) -> int:
        return hash(self.data)

    def __repr__(self) -> str:
        return "<Picture of %d×%d pixels>" % self.size


def pack(value: Any, place: Place) -> Optional[Packed]:
    """Return an image or figure taken apart; None for another value.

    Raises
    ------
    CodecError
        If it has several pictures in it, or can't be drawn.
    """
    if type(value) is Picture:
        return Packed("picture.png", [], [value.data])
    images = sys.modules.get("PIL.Image")
    if images is not None and isinstance(value, images.Image):
        return _pack_image(value, place)
    figures = sys.modules.get("matplotlib.figure")
    if figures is not None and isinstance(value, figures.Figure):
        return Packed("picture.png", [], [drawn(value)])
    return None


def drawn(figure: Any) -> memoryview:
    """Return a matplotlib figure as PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight")
    return file.getbuffer()


def unpack(tag: str, parts: List[Any], blobs: List[memoryview]) -> Any:
    """Return what `pack` took apart.

    Raises
    ------
    CodecError
        If Pillow is missing for an image, or the pixels are not as many as they must be.
    """
    if len(blobs) != 1:
        raise malformed("a picture of no pixels")
    if tag == "picture.png":
        return _picture(bytes(blobs[0]))
    if tag != "picture.image" or len(parts) != 4:
        raise malformed("unknown tag %.40r" % tag)
    return _image(parts, blobs[0])


def _picture(data: bytes) -> Picture:
    if len(data) < _HEAD.size:
        raise malformed("a picture that is cut short")
    magic, size, kind, width, height = _HEAD.unpack_from(data)
    if (magic, size, kind) != (_PNG, 13, b"IHDR"):
        raise malformed("a picture that is no PNG")
    if not 0 < width * height <= MAX_PIXELS:
        raise malformed("a picture of %d×%d pixels" % (width, height))
    return Picture(data)


# -- PIL ---------------------------------------------------------------------------------------


def _pack_image(image: Any, place: Place) -> Packed:
    if getattr(image, "n_frames", 1) > 1:
        raise CodecError(
            "%s is an image of %d pictures, which can't travel: pass a list of them, or write it "
            "to a file." % (name_of(place), image.n_frames)
        )
    if image.mode != "1" and image.mode not in _DEPTHS:
        raise CodecError(
            "%s is an image of the mode %s, which can't travel: pass image.convert('RGB')."
            % (name_of(place), image.mode)
        )
    pixels = image.tobytes()  # which loads it, and its palette
    palette = None
    if image.palette is not None and image.mode in ("P", "PA"):
        palette = (image.palette.mode, image.palette.tobytes())
    info: Dict[str, Any] = {
        key: item
        for key, item in image.info.items()
        if type(key) is str and type(item) in _INFO and _is_plain(item)
    }
    parts = [(None, image.mode), (None, image.size), (None, palette), (None, info)]
    return Packed("picture.image", parts, [pixels])


def _is_plain(item: Any) -> bool:
    return type(item) is not tuple or all(type(part) in _INFO[:-1] for part in item)


def _image(parts: List[Any], pixels: memoryview) -> Any:
    images = library("PIL.Image", "a PIL image", "pillow")
    mode, size, palette, info = parts
    width, height = size
    if type(mode) is not str or type(width) is not int or type(height) is not int:
        raise malformed("an image of no size")
    if mode == "1":
        expected = (width + 7) // 8 * height
    elif mode in _DEPTHS:
        expected = width * height * _DEPTHS[mode]
    else:
        raise malformed("an image of no mode")
    # Before anything is allocated: an image is as large as what came.
    if width < 0 or height < 0 or expected != pixels.nbytes:
        raise malformed("an image of the wrong size")
    if expected:
        image = images.frombytes(mode, (width, height), bytes(pixels))
    else:
        image = images.new(mode, (width, height))
    if palette is not None:
        kind, colours = palette
        if colours:
            image.putpalette(colours, kind)
            image.load()  # which takes it over, or says what is wrong with it
    if type(info) is not dict:
        raise malformed("an image of no info")
    image.info.update(info)
    return image
