"""Launches scans: kernels whose programs walk all frames of one row and UNITS units, with the state in registers.

No program needs anything from another one, so that memory is what limits the speed. Therefore a group of frames is
loaded at a time (tiles.frames_ahead), and rows stop at their lengths. The kernels name their own arguments; ``numbers``
are scalars in the type of the state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import triton
from torch import Tensor

from snn_asr.network.cells import CellState
from snn_asr.network.kernels.triton.walking import KINDS, Launch, send_numbers

UNITS = 32  # of a program, one a thread: 128 bytes of float32 a frame
GROUP = 8  # frames whose loads are under way at a time


def scan(
    kernel: triton.runtime.JITFunction, size: int, frames: int, lengths: Tensor, tensors: Mapping[str, Tensor | None],
    numbers: Sequence[float] = (0.0,), **flags: object,
) -> None:
    """Run ``kernel`` over ``frames`` of H = ``size`` units, for rows of these lengths (B,).

    ``tensors`` are contiguous and of the type of the state, by their names in the kernel. None stands for one that is
    never read.
    """
    like = next(each for each in tensors.values() if each is not None)
    if not (len(lengths) and frames and size):
        return
    options = {"SIZE": size, "UNITS": UNITS, "GROUP": GROUP, "STATE": KINDS[like.dtype], "num_warps": 1, **flags}
    given: dict[str, object] = {name: like if each is None else each for name, each in tensors.items()}
    given |= {"lengths": on_device(lengths, like), "numbers": send_numbers(numbers, like), "frames": frames}
    Launch(kernel, (-(-size // UNITS), len(lengths)), tuple(options.items()))(given)


def on_device(lengths: Tensor, like: Tensor) -> Tensor:
    """Lengths as 64-bit integers beside ``like``, without waiting for them."""
    return lengths.to(like.device, torch.int64, non_blocking=True).contiguous()


def starts(state: CellState, like: Tensor) -> dict[str, Tensor]:
    """The fields of a state as a kernel takes them: ``current0`` and so on."""
    return {f"{name}0": each.detach().to(like.dtype).contiguous() for name, each in state._asdict().items()}
