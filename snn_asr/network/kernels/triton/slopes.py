"""The surrogate derivatives of network/surrogates.py inside Triton kernels."""

from __future__ import annotations

import math
from functools import partial

import triton
import triton.language as tl

from snn_asr.network import surrogates
from snn_asr.network.surrogates import Derivative

KINDS = ("straight_through", "gaussian", "boxcar", "atan", "fast_sigmoid")


def slope_numbers(derivative: Derivative) -> tuple[int, float, float] | None:
    """The place in KINDS, the scale and the height of a derivative of ``surrogates.choose``; None for other
    functions."""
    if not isinstance(derivative, partial) or derivative.func not in surrogates.SURROGATES.values():
        return None
    width, area_width = derivative.keywords["width"], derivative.keywords.get("area_width")
    name = derivative.func.__name__
    scale, height = {
        "straight_through": (1.0, 1.0),
        "gaussian": (1 / width, 1 / math.sqrt(math.pi * (area_width or width))),
        "boxcar": (width, 1.0),
        "atan": (math.pi / (2 * width), 1 / (2 * width)),
        "fast_sigmoid": (1 / width, 1.0),
    }[name]
    return KINDS.index(name), scale, height


@triton.jit
def slope(u, scale, height, KIND: tl.constexpr):
    """The derivative at u, the distance from the threshold. Scale and height are those of ``slope_numbers``."""
    if KIND == 1:
        result = height * tl.exp(-(u * u) * scale)
    elif KIND == 2:
        result = tl.where(tl.abs(u) <= scale, 1.0, 0.0).to(u.dtype)
    elif KIND == 3:
        result = height / (1.0 + (u * scale) * (u * scale))
    elif KIND == 4:
        closeness = 1.0 / (1.0 + tl.abs(u) * scale)
        result = closeness * closeness
    else:
        result = u * 0.0 + 1.0
    return result
