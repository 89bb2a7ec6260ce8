"""Launches the cluster kernels for a layer and a batch: whether they can run it, and the arguments that all cells
share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import torch
from torch import Tensor

from snn_asr.network.kernels.cuda import plan
from snn_asr.network.kernels.cuda.compiling import kernel, say_once
from snn_asr.network.kernels.triton.products import exact, product_over_rows, split, worth_splitting
from snn_asr.network.kernels.triton.walking import product_type

PARTS = {torch.float32: 2, torch.bfloat16: 1, torch.float16: 1}  # in which an operand passes the tensor cores
LARGEST_SCALED = 14  # exponent of two up to which weights are scaled before they become fp16
INDEXED = 2**31  # elements that the kernels can number


class Walk:
    """A compiled kernel of a layer, which walks all frames of a batch.

    It is called with the cell's own arguments, and then the lengths, rows, frames and numbers.
    """

    def __init__(self, run: Callable[..., None], rows: int, chosen: plan.Plan) -> None:
        self._run, self._clusters, self._chosen = run, -(-rows // plan.ROWS), chosen

    def __call__(self, tensors: Sequence[Tensor | None], lengths: Tensor, frames: int, *numbers: float) -> None:
        spill = lengths.new_empty(max(self._chosen.spilled // lengths.element_size(), 1))
        self._run(self._clusters, *tensors, spill, lengths, len(lengths), frames, *map(float, numbers))


def walk(
    way: str, source: str, drive: Tensor, size: int, gates: int, recurrent: Tensor, flags: Mapping[str, int]
) -> Walk | None:
    """The walk of ``source`` for a batch of drives or gradients (B, T, ·) and recurrent weights (gates · H, H).

    ``flags`` are the cell's own definitions. If no layout fits, that is logged once, and the result is None: the caller
    then takes Triton.
    """
    kind = product_type(drive, recurrent)
    rows, frames = drive.shape[:2]
    if kind not in PARTS or not rows * frames or rows * frames * gates * size >= INDEXED:
        return None
    device = drive.device.index or 0
    return _walk(way, source, size, gates, kind, rows, device, tuple(sorted(flags.items())))


@cache
def _walk(
    way: str, source: str, size: int, gates: int, kind: torch.dtype, rows: int, device: int,
    flags: tuple[tuple[str, int], ...],
) -> Walk | None:
    properties = torch.cuda.get_device_properties(device)
    chosen = plan.best(way, size, gates, PARTS[kind], rows, properties.multi_processor_count)
    if chosen is None:
        say_once(f"{size} units in {str(kind).removeprefix('torch.')} do not fit on the chip: the layer runs on triton")
        return None
    definitions: dict[str, object] = {**chosen.definitions, way.upper(): 1}
    definitions |= dict(flags)
    if way == "forward":
        definitions["HALF"] = int(kind != torch.bfloat16)
    try:
        run = kernel(source, definitions, device, 32 * chosen.warps, chosen.shared, chosen.cluster)
    except RuntimeError as error:
        say_once(f"the kernels of {source} cannot run here ({error}): the layer runs on triton")
        return None
    return Walk(run, rows, chosen)


def weights_and_scale(recurrent: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """The recurrent weights in float32, and a power of two by which the kernel multiplies them before they become fp16.

    Near the largest number of fp16 they lose the fewest digits. bfloat16 has the range of float32 and needs no factor.
    """
    weights = recurrent.detach().float().contiguous()
    if kind == torch.bfloat16:
        return weights, weights.new_ones(())
    largest = torch.linalg.vector_norm(weights, float("inf")).clamp(min=2.0**-60)
    return weights, torch.exp2(torch.floor(LARGEST_SCALED - torch.log2(largest)))


def forward_operands(drive: Tensor, output: Tensor, recurrent: Tensor) -> list[Tensor]:
    """The first arguments of every forward kernel: the drive in float32, the recurrent product of the first frame, and
    the weights with their scale.

    The product (B, gates · H) of the state's ``output`` (B, H) is computed here, because the values in a state need not
    be levels of this coder.
    """
    first = output.detach().float() @ recurrent.detach().float().T
    given = drive.detach().float().contiguous()
    return [given, first, *weights_and_scale(recurrent, product_type(drive, recurrent))]


def weight_gradient(gradient: Tensor, outputs: Tensor, first: Tensor, kind: torch.dtype, unit: float) -> Tensor:
    """The gradient (G, H) of recurrent weights, from the gradient (B, T, G) of their product with the outputs of the
    frame before, which are multiples of ``unit``; ``first`` (B, H) are the outputs before frame 0.

    It is one product over the sequences as they lie in memory, shifted by one frame, minus the part in which the last
    frame of a row meets the first of the next.
    """
    size, rows, inputs = (gradient.shape[-1], outputs.shape[-1]), gradient.flatten(0, 1), outputs.flatten(0, 1)
    if worth_splitting(len(rows), *size):
        found = product_over_rows(split(rows, kind), exact(inputs, kind, unit), size, shift=1)
    else:
        found = rows[1:].T @ inputs[:-1]
    return found + gradient[:, 0].T @ first.to(gradient) - gradient[1:, 0].T @ outputs[:-1, -1]
