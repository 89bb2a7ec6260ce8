"""The weights of a model as a safetensors file, and the checks of such a file before memory is taken for it.

The matrices of a quantised model are whole numbers with one float32 scale for each row (output):

    encoder.layers.0.input_weight           int8 (M, D), or uint8 (M, ⌈D / 2⌉) with two of four bits in each byte
    encoder.layers.0.input_weight.scales    float32 (M,)      weight = integer · scale

Integers go from -127 to 127, or with four bits from -7 to 7; the first of two is in the lower half of their byte
(integers.py). Of pruned matrices only the numbers that are not zero are stored (sparse_weights.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from snn_asr.data.normalization import Normalization
from snn_asr.errors import DataError
from snn_asr.files import utf8_path
from snn_asr.network.integers import INT4, INT8, Grid
from snn_asr.network.model import AcousticModel, ModelSettings
from snn_asr.network.sparse_weights import FOUR_BITS, Shape, fitting, is_compact, is_thinned, thinned, whole

# A program that knows one of these formats must refuse the later ones: int8 weights, sparse ones, int4 and blocks.
FORMAT, INT8_FORMAT, SPARSE_FORMAT, COMPACT_FORMAT = FORMATS = 1, 2, 3, 4
CONFIG, WEIGHTS = "config.json", "weights.safetensors"
SCALES = ".scales"  # behind the name of a matrix
_FLOATS, _WHOLE = ("F16", "BF16", "F32", "F64"), ("I64", "I32")  # safetensors' names of types
_SMALL = ("I8", FOUR_BITS)


def pack(state: Mapping[str, Tensor], grids: Mapping[str, Grid]) -> dict[str, Tensor]:
    """The tensors of a weights file for a model's ``state``: matrices with a grid as whole numbers, pruned matrices
    without their zeros, everything else unchanged."""
    packed = {name: each.detach().cpu().contiguous() for name, each in state.items()}
    for name, grid in grids.items():
        packed |= {name: grid.rounded(packed[name]), name + SCALES: grid.scales}
    return thinned(packed, {name for name, grid in grids.items() if grid.kind == INT4})


def unpack(packed: Mapping[str, Tensor], shapes: Mapping[str, Shape]) -> tuple[dict[str, Tensor], dict[str, Grid]]:
    """The inverse of ``pack``: the state in float32 and the grids by name, given the ``shapes`` of all weights.

    Raises KeyError for missing scales, and ValueError for scales that are not one float32 number for each row and for a
    pruned matrix that has more or fewer numbers than it says.
    """
    tensors, narrow = whole(packed, shapes)
    grids = {
        name: Grid(INT4 if name in narrow else INT8, tensors[name + SCALES])
        for name, each in tensors.items() if each.dtype == torch.int8
    }
    for name, grid in grids.items():
        if grid.scales.dtype != torch.float32 or grid.scales.shape != tensors[name].shape[:1]:
            raise ValueError(f"'{name}{SCALES}' is not a scale for each row of its matrix")
    state = {name: each for name, each in tensors.items() if name.removesuffix(SCALES) not in grids}
    return state | {name: grid.restored(tensors[name]) for name, grid in grids.items()}, grids


def format_of(packed: Mapping[str, Tensor]) -> int:
    """The number of the oldest format that has such tensors, as ``pack`` gives them."""
    if is_compact(packed):
        return COMPACT_FORMAT
    if is_thinned(packed):
        return SPARSE_FORMAT
    return INT8_FORMAT if any(each.dtype == torch.int8 for each in packed.values()) else FORMAT


def check_shapes(
    settings: ModelSettings, normalization: Normalization, classes: int, path: Path
) -> dict[str, Shape]:
    """The shapes of all tensors of the network that the settings describe, after comparing them with the file at
    ``path``.

    Raises DataError for a file with other tensors. This takes no memory: only the header of the file is read
    (safetensors has checked it against the size of the file), and the network is built on torch's device ``meta``, with
    shapes and no numbers. The counts that make loops are compared with the number of tensors first, because every layer
    has at least one.
    """
    with utf8_path(path) as name, safetensors.safe_open(name, framework="pt") as tensors:
        slices = {name: tensors.get_slice(name) for name in tensors.keys()}
        found = {name: tuple(each.get_shape()) for name, each in slices.items()}
        types = {name: str(each.get_dtype()) for name, each in slices.items()}
    for name, size in (("num_layers", settings.num_layers), ("hidden_size", settings.hidden_size)):
        if type(size) is not int:
            raise DataError(f"{name} {size!r} is not a whole number", path.with_name(CONFIG), "train it again")
    if settings.num_layers > len(found):
        what = f"num_layers {settings.num_layers} cannot be, with {len(found)} tensors in {WEIGHTS}"
        raise DataError(what, path.with_name(CONFIG), "train it again")
    with torch.device("meta"), _ShapesAlone():
        model = AcousticModel(settings, normalization, classes)
    expected = {name: tuple(each.shape) for name, each in model.state_dict().items()}
    found, types = fitting(found, types, expected)
    integers = {name for name, each in model.state_dict().items() if not each.is_floating_point()}
    scales = {name for name in found if name not in expected and name.removesuffix(SCALES) in expected}
    for name in sorted(expected.keys() & found.keys()):
        if types[name] not in (_WHOLE if name in integers else (*_FLOATS, *_SMALL)):
            what = f"'{name}' is of type {types[name]}"
            raise DataError(what, path, "copy the model folder again, or train it again")
    for name in sorted(expected.keys() | found.keys() - scales):
        if expected.get(name) != found.get(name):
            told, held = (_size(each.get(name)) for each in (expected, found))
            what = f"size mismatch: '{name}' is {held} in the file, and {told} by {CONFIG}"
            raise DataError(what, path, "copy the model folder again, or train it again")
    return expected


class _ShapesAlone(TorchFunctionMode):
    """Skips the arithmetic that initialises a network's weights, which changes no shape on the device ``meta``.

    For this arithmetic torch would import its compiler there, which takes seconds.
    """

    _KEEP_SHAPE = frozenset((
        "normal_", "uniform_", "mul_", "clamp_", "sign", "mul", "add", "sub", "__rsub__", "clamp", "exp", "log",
        "sigmoid",
    ))

    def __torch_function__(
        self, function: Callable[..., Any], types: Sequence[type], arguments: Sequence[Any] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        name, options = getattr(function, "__name__", ""), options or {}
        if name in self._KEEP_SHAPE:
            return arguments[0] if arguments else options["tensor"]
        if name == "linalg_qr":
            return arguments[0], arguments[0][: arguments[0].shape[1]]
        return function(*arguments, **options)


def _size(shape: tuple[int, ...] | None) -> str:
    """A shape in words for an error."""
    return "absent" if shape is None else "×".join(map(str, shape)) or "one number"


def check_finite(state: Mapping[str, Tensor], path: Path) -> None:
    """Raise DataError about the file at ``path`` for weights that are not finite and for negative variances."""
    for name, each in state.items():
        if each.is_floating_point() and not torch.isfinite(each).all():
            what = f"'{name}' holds numbers that are not finite"
            raise DataError(what, path, "train the model again, or copy its folder again")
        if name.endswith("running_var") and (each < 0).any():
            what = f"'{name}' holds variances below 0"
            raise DataError(what, path, "train the model again, or copy its folder again")
