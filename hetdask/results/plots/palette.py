"""Maps as PNG files with a palette: a colour map has 256 colours, so one byte a pixel says all, without a loss."""

from __future__ import annotations

import io
from typing import Final

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float64]
Bytes = NDArray[np.uint8]

EMPTY_INDEX: Final = 255
"""Palette entry of pixels without data: clear, so that the page shows through."""


def indexed_png(values: Array, colours: str) -> bytes:
    """PNG of values from 0 to 1 in the colours of a named colour map; NaN is clear, values beyond the ends are clipped.

    Parameters
    ----------
    values : (rows, columns) float64
        The first row is drawn at the top.
    colours : str
        Name of a matplotlib colour map.
    """
    known = np.isfinite(values)
    index = np.full(values.shape, EMPTY_INDEX, np.uint8)
    index[known] = np.rint(np.clip(values[known], 0.0, 1.0) * (EMPTY_INDEX - 1)).astype(np.uint8)
    palette = np.zeros((256, 3), np.uint8)
    palette[:EMPTY_INDEX] = mpl.colormaps[colours](np.linspace(0.0, 1.0, EMPTY_INDEX), bytes=True)[:, :3]
    return _png(index, palette, EMPTY_INDEX)


def repalette(png: bytes) -> bytes:
    """The same pixels with a palette, where they have at most 256 colours; else the PNG as it is."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))
    packed = np.ascontiguousarray(pixels).view(np.uint32)[..., 0]
    colours, index = np.unique(packed, return_inverse=True)
    if colours.size > 256:
        return png
    table = colours.view(np.uint8).reshape(-1, 4)
    clear = np.flatnonzero(table[:, 3] == 0)
    if np.any((table[:, 3] != 255) & (table[:, 3] != 0)) or clear.size > 1:
        return png
    return _png(index.reshape(packed.shape).astype(np.uint8), table[:, :3], int(clear[0]) if clear.size else None)


def _png(index: Bytes, palette: Bytes, clear: int | None) -> bytes:
    image = Image.fromarray(index, mode="P")
    image.putpalette(np.ascontiguousarray(palette).tobytes())
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True, **({} if clear is None else {"transparency": clear}))
    return out.getvalue()
