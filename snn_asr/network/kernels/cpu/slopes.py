"""The surrogate derivatives of network/surrogates.py as compiled loops over the units of one row at one frame."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import numpy as np

from snn_asr.kernel_cache import njit
from snn_asr.network import surrogates
from snn_asr.network.kernels.cpu.elementwise import DIVIDING, exponential
from snn_asr.network.surrogates import Derivative

_STRAIGHT_THROUGH, _GAUSSIAN, _BOXCAR, _ATAN, _FAST_SIGMOID = range(5)


class Slope(NamedTuple):
    """A surrogate derivative in numbers.

    ``kind`` is one of the five constants above. ``differentiate`` has the formula of each kind, with ``scale`` and
    ``height``.
    """

    kind: int
    scale: float
    height: float


def slope(derivative: Derivative, dtype: np.dtype | type) -> Slope:
    """The Slope of a derivative that ``surrogates.choose`` has returned. Raises TypeError for any other function."""
    if not isinstance(derivative, partial) or derivative.func not in surrogates.SURROGATES.values():
        raise TypeError("the cpu backend knows only the derivatives of surrogates.choose")
    width, area_width = derivative.keywords["width"], derivative.keywords.get("area_width")
    kind, scale, height = {
        surrogates.straight_through: (_STRAIGHT_THROUGH, 1.0, 1.0),
        surrogates.gaussian: (_GAUSSIAN, 1 / math.sqrt(width), 1 / math.sqrt(math.pi * (area_width or width))),
        surrogates.boxcar: (_BOXCAR, width, 1.0),
        surrogates.atan: (_ATAN, math.pi / (2 * width), 1 / (2 * width)),
        surrogates.fast_sigmoid: (_FAST_SIGMOID, 1 / width, 1.0),
    }[derivative.func]
    number = np.dtype(dtype).type
    return Slope(kind, number(scale), number(height))


@njit(cache=True, nogil=True, **DIVIDING)
def differentiate(slope, sums, threshold, result):
    """Set ``result`` to the derivative ``slope`` (a Slope) at sums - threshold. The scale of a boxcar is its width."""
    kind, scale, height = slope
    one, size = sums.dtype.type(1), result.shape[0]
    if kind == _GAUSSIAN:
        for k in range(size):
            v = (sums[k] - threshold) * scale
            result[k] = height * exponential(-(v * v))
    elif kind == _BOXCAR:
        for k in range(size):
            result[k] = one if abs(sums[k] - threshold) <= scale else one - one
    elif kind == _ATAN:
        for k in range(size):
            v = (sums[k] - threshold) * scale
            result[k] = height / (one + v * v)
    elif kind == _FAST_SIGMOID:
        for k in range(size):
            v = one + abs(sums[k] - threshold) * scale
            result[k] = one / (v * v)
    else:
        for k in range(size):
            result[k] = one
