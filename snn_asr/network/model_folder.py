"""A model folder on disk: written whole, checked before it is believed, read without running anything from it.

    config.json  weights.safetensors  normalization.json  tokens.json  metrics.json  recipe.yaml  checksums.json

Loading reads JSON and safetensors only: no YAML, no pickle, no code. ``recipe.yaml`` is there to be read by people.
What config.json says of the network's size is held against the weights before memory is taken for it.

The matrices of a quantised model are whole numbers with one float32 scale for each row (output):

    encoder.layers.0.input_weight           int8 (M, D), or uint8 (M, ⌈D / 2⌉) with two of four bits in each byte
    encoder.layers.0.input_weight.scales    float32 (M,)      weight = integer · scale

Integers go from -127 to 127, those of four bits from -7 to 7, the first of two in the byte's lower half (integers.py).
Of pruned matrices the numbers that are not zero are kept alone (sparse_weights.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from snn_asr import __version__
from snn_asr.data.normalization import Normalization
from snn_asr.data.tokens import Tokens
from snn_asr.errors import DataError, SnnAsrError, UsageError, describing
from snn_asr.files import read_json_object, sha256, write_bytes, write_json, write_text
from snn_asr.network import shipped_models
from snn_asr.network.integers import INT4, INT8, Grid
from snn_asr.network.model import AcousticModel, ModelSettings
from snn_asr.network.sparse_weights import FOUR_BITS, Shape, fitting, is_compact, is_thinned, thinned, whole

# Programs from before int8 weights, from before sparse ones, and from before int4 and blocks must refuse them.
FORMAT, INT8_FORMAT, SPARSE_FORMAT, COMPACT_FORMAT = FORMATS = 1, 2, 3, 4
CONFIG, WEIGHTS, CHECKSUMS = "config.json", "weights.safetensors", "checksums.json"
NORMALIZATION, TOKENS, METRICS = "normalization.json", "tokens.json", "metrics.json"
CHECKED = (CONFIG, WEIGHTS, NORMALIZATION, TOKENS, METRICS, "recipe.yaml")
SCALES = ".scales"  # behind the name of a matrix
_FLOATS, _WHOLE = ("F16", "BF16", "F32", "F64"), ("I64", "I32")  # safetensors' names of types
_SMALL = ("I8", FOUR_BITS)


@dataclass(frozen=True)
class LoadedModel:
    """What a model folder holds: the network in evaluation mode, its tokens, and what was measured as it was trained.

    ``fingerprint`` is the same for folders of the same content.
    """

    model: AcousticModel
    tokens: Tokens
    metrics: dict[str, Any]
    fingerprint: str


def save_model(
    folder: str | Path, model: AcousticModel, tokens: Tokens, metrics: dict[str, Any], recipe_text: str
) -> None:
    """Write a model folder; the checksums last, so that a folder without them is known to be unfinished.

    An earlier model in the folder is replaced. Raises DataError where the folder cannot be written, or holds files
    under a model's names that no model folder has: they are the user's own and stay.
    """
    folder = Path(folder)
    _refuse_foreign_files(folder)
    with describing(folder, "choose a writable folder"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CHECKSUMS).unlink(missing_ok=True)
    packed = pack(model.state_dict(), model.grids)
    settings = model.settings.to_dict()
    write_json(folder / CONFIG, {"format": _format_of(packed), "snn_asr": __version__, "model": settings})
    write_bytes(folder / WEIGHTS, safetensors.torch.save(packed))
    write_json(folder / NORMALIZATION, model.normalization.to_dict())
    write_json(folder / TOKENS, tokens.to_dict())
    write_json(folder / METRICS, metrics)
    write_text(folder / "recipe.yaml", recipe_text)
    write_json(folder / CHECKSUMS, {name: sha256(folder / name) for name in CHECKED})


def _format_of(packed: Mapping[str, Tensor]) -> int:
    if is_compact(packed):
        return COMPACT_FORMAT
    if is_thinned(packed):
        return SPARSE_FORMAT
    return INT8_FORMAT if any(each.dtype == torch.int8 for each in packed.values()) else FORMAT


def _refuse_foreign_files(folder: Path) -> None:
    """Raise DataError where a file is in the way that was not written as part of a model."""
    present = [name for name in (*CHECKED, CHECKSUMS) if (folder / name).exists()]
    if present and not _is_of_a_model(folder):
        raise DataError(
            "is not of a model, and would be overwritten", folder / present[0], "choose another folder, or move it away"
        )


def _is_of_a_model(folder: Path) -> bool:
    """Whether config.json, written first, or checksums.json, written last, is a model's: so are then its other files,
    whatever a killed process has left of them or damage has done to one."""
    for name, keys in ((CONFIG, ("snn_asr", "model")), (CHECKSUMS, CHECKED)):
        try:
            found = read_json_object(folder / name)
        except DataError:
            continue
        if all(key in found for key in keys):
            return True
    return False


def find_model(path: str | Path) -> Path:
    """The model folder at ``path``: itself, ``model`` within a run folder, or a model that comes along, by its name,
    where there is nothing of that name. Raises DataError where there is none, UsageError for what is no path."""
    if not isinstance(path, (str, os.PathLike)):
        raise UsageError("not the name of a folder", repr(path), "give a text or a path")
    for folder in (Path(path), Path(path) / "model"):
        with describing(path):  # it may not be entered, or its name is too long for any
            if (folder / CHECKSUMS).is_file():
                return folder
    shipped = shipped_models.discover()
    todo = f"give the output folder of a finished 'snn-asr train', or a model that comes along ({', '.join(shipped)})"
    if str(path) in shipped:
        if not os.path.lexists(path):
            return shipped[str(path)]
        todo = "for the model of this name that comes along work in another folder, or rename what is here"
    raise DataError("no finished model here", path, todo)


def damage(folder: Path, names: Sequence[str] = CHECKED) -> DataError | None:
    """What is wrong with these files of a model folder by its checksums; None where all are as they were written."""
    try:
        checksums = read_json_object(folder / CHECKSUMS)
        for name in names:
            if checksums.get(name) != sha256(folder / name):
                return DataError("not as training wrote it", folder / name, "copy the model folder again")
    except DataError as error:
        return error
    return None


def load(path: str | Path, device: str | torch.device = "cpu") -> LoadedModel:
    """Load a model folder (or the run folder around it) in evaluation mode.

    Raises DataError where a file is missing, changed since it was written, or does not fit the others, and where a
    weight is not a finite number.
    """
    folder = find_model(path)
    damaged = damage(folder)
    if damaged is not None:
        raise damaged
    settings = _settings(folder)
    try:
        tokens = Tokens.from_dict(read_json_object(folder / TOKENS))
        normalization = Normalization.from_dict(read_json_object(folder / NORMALIZATION))
        shapes = _check_shapes(settings, normalization, tokens.size, folder / WEIGHTS)
        model = AcousticModel(settings, normalization, tokens.size)
        state, model.grids = unpack(safetensors.torch.load_file(folder / WEIGHTS), shapes)
        model.load_state_dict(state)
        _check_finite(model.state_dict(), folder / WEIGHTS)  # as they are now, in float32
    except _MISFITS as error:
        if isinstance(error, DataError) and error.where is not None:
            raise
        raise _misfit(error, folder) from error
    metrics = read_json_object(folder / METRICS)
    return LoadedModel(model.to(device).eval(), tokens, metrics, sha256(folder / CHECKSUMS))


# What values of a wrong type or size raise, wherever they are first used.
_MISFITS = (
    AttributeError, IndexError, KeyError, MemoryError, OverflowError, RuntimeError, TypeError, ValueError,
    safetensors.SafetensorError, SnnAsrError,
)


def _misfit(error: BaseException, folder: Path) -> DataError:
    words = (str(error) or type(error).__name__).splitlines()[0]
    return DataError(f"cannot be loaded ({words})", folder, "train it again")


def _settings(folder: Path) -> ModelSettings:
    config = read_json_object(folder / CONFIG)
    if config.get("format") not in FORMATS:
        what = f"model format {config.get('format')!r} is not {', '.join(map(str, FORMATS[:-1]))} or {FORMATS[-1]}"
        raise DataError(what, folder, "use a matching snn-asr")
    try:
        return ModelSettings.from_dict(config["model"])
    except _MISFITS as error:
        raise _misfit(error, folder / CONFIG) from error


def _check_shapes(
    settings: ModelSettings, normalization: Normalization, classes: int, path: Path
) -> dict[str, Shape]:
    """Hold the network that the settings describe against the header of the weights' file; returns its shapes.

    Neither takes memory: the header alone is read (safetensors has checked it against the size of the file), and the
    network is built on torch's device ``meta``, of shapes without numbers. The counts that make loops are held against
    the number of tensors first: a layer has one at least.
    """
    with safetensors.safe_open(path, framework="pt") as tensors:
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
    """Leaves out the arithmetic with which a network draws its first weights: on ``meta`` it changes no shape.

    Torch would import its compiler for it there, which takes seconds.
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
    return "absent" if shape is None else "×".join(map(str, shape)) or "one number"


def _check_finite(state: Mapping[str, Tensor], path: Path) -> None:
    for name, each in state.items():
        if each.is_floating_point() and not torch.isfinite(each).all():
            what = f"'{name}' holds numbers that are not finite"
            raise DataError(what, path, "train the model again, or copy its folder again")
        if name.endswith("running_var") and (each < 0).any():
            what = f"'{name}' holds variances below 0"
            raise DataError(what, path, "train the model again, or copy its folder again")


def pack(state: Mapping[str, Tensor], grids: Mapping[str, Grid]) -> dict[str, Tensor]:
    """The tensors of a weights file: those matrices that have grids as whole numbers, pruned ones without their zeros,
    all else as it is."""
    packed = {name: each.detach().cpu().contiguous() for name, each in state.items()}
    for name, grid in grids.items():
        packed |= {name: grid.rounded(packed[name]), name + SCALES: grid.scales}
    return thinned(packed, {name for name, grid in grids.items() if grid.kind == INT4})


def unpack(packed: Mapping[str, Tensor], shapes: Mapping[str, Shape]) -> tuple[dict[str, Tensor], dict[str, Grid]]:
    """The inverse, from the shapes of all weights: these in float32, and the grids by name.

    Raises KeyError where scales are missing, ValueError where they are not one float32 number for each row, or where
    a pruned matrix has more or fewer numbers than it says.
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
