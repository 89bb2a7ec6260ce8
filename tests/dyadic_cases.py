"""Problems whose sums are exact in any order, on which every backend gives the reference's bits; and comparisons of a
backend with the reference.

All numbers are small multiples of a power of two. A case is ``draw(batch, size) -> parameters``, beside its cell.
"""

from __future__ import annotations

from functools import partial

import torch
from kernel_cases import Problem, run
from torch import Tensor

from snn_asr.network.cells import conventional, gated, spiking_lstm
from snn_asr.network.cells import leaky_integrate_and_fire as leaky
from snn_asr.network.coder import Coder
from snn_asr.network.surrogates import choose

# A power of two as unit keeps what is sent on the grid.
CODER = Coder(range=4.0, scale=8.0, unit=0.125, threshold=3)


def grid(*shape: int, low: int, high: int, step: float) -> Tensor:
    return torch.randint(low, high + 1, shape) * step


def dyadic_improved(batch, size, coder=CODER, candidate="relu", recurrent=True, masked=True, smoothing=0.0):
    """Recurrent weights of the forget gate are 0: with the drives of ``dyadic`` it is exactly 0, 1/2 or 1."""
    weights = None
    if recurrent:
        weights = torch.cat([torch.zeros(size, size), grid(size, size, low=-1, high=1, step=1.0)])
    mask = grid(batch, size, low=0, high=1, step=2.0) if masked else None
    return gated.Parameters(weights, mask, coder, candidate, smoothing)


def dyadic_lif(batch, size, coder=CODER, masked=True):
    mask = grid(batch, size, low=0, high=1, step=2.0) if masked else None
    return conventional.Parameters(grid(size, low=1, high=4, step=0.25), mask, coder)


def dyadic_adaptive(batch, size, adaptive, recurrent):
    adaptation = (grid(size, low=1, high=3, step=0.25) for _ in range(3)) if adaptive else (None, None, None)
    weights = grid(size, size, low=-8, high=8, step=0.125) if recurrent else None
    return leaky.Parameters(grid(size, low=1, high=3, step=0.25), *adaptation, weights, choose("atan", 0.5))


def dyadic_lstm(batch, size, cell):
    weights, slopes = grid(4 * size, size, low=-8, high=8, step=0.125), [choose("gaussian", w) for w in (4.0, 0.3, 1.5)]
    return spiking_lstm.Parameters(weights, 0.1, cell, "straight", *slopes)


DYADIC = {
    "v2": (gated, dyadic_improved),
    "v2 clamp unmasked": (gated, partial(dyadic_improved, candidate="clamp", masked=False)),
    "v2 smoothed": (gated, partial(dyadic_improved, smoothing=0.5)),
    "v2 off": (gated, partial(dyadic_improved, coder=None)),
    "v1": (gated, partial(dyadic_improved, recurrent=False)),
    "v1 off clamp": (gated, partial(dyadic_improved, recurrent=False, coder=None, candidate="clamp")),
    "lif": (conventional, dyadic_lif),
    "lif off unmasked": (conventional, partial(dyadic_lif, coder=None, masked=False)),
    "LIF": (leaky, partial(dyadic_adaptive, adaptive=False, recurrent=False)),
    "adLIF": (leaky, partial(dyadic_adaptive, adaptive=True, recurrent=False)),
    "RLIF": (leaky, partial(dyadic_adaptive, adaptive=False, recurrent=True)),
    "RadLIF": (leaky, partial(dyadic_adaptive, adaptive=True, recurrent=True)),
    "spiking_lstm": (spiking_lstm, partial(dyadic_lstm, cell="thresholded")),
    "spiking_lstm kept": (spiking_lstm, partial(dyadic_lstm, cell="kept")),
}


# Beyond these frames float32 cannot hold all bits of what the recurrent weights or the smoothing make.
MOST_FRAMES = {"v2 off": 3, "v2 smoothed": 8}


def dyadic(name: str, batch: int, frames: int, size: int, seed: int) -> Problem:
    """A problem in float32 with every sum of a recurrent product exact in any order, a state that is not zero, and
    ragged lengths: a full row, then one of no frames."""
    torch.manual_seed(seed)
    cell, draw = DYADIC[name]
    frames = min(frames, MOST_FRAMES.get(name, frames))
    parameters = draw(batch, size)
    drive = grid(batch, frames, cell.GATES * size, low=-16, high=16, step=0.125)
    if cell is gated:
        drive[..., :size] = grid(batch, frames, size, low=-1, high=1, step=256.0)
    lengths = torch.randint(1, frames + 1, (batch,))
    lengths[0], lengths[1:2] = frames, 0
    zero = cell.initial_state(batch, size, parameters, drive)
    state = type(zero)(*(grid(*each.shape, low=0, high=8, step=0.125) for each in zero))
    if cell is gated:
        state.feedback[:, :size] = 0  # of the forget gate: see its weights
    for each in (drive, *(getattr(parameters, field) for field in cell.TRAINED)):
        if each is not None:
            each.requires_grad_()
    return Problem(cell, drive, lengths, state, parameters)


def on(given: Problem, device: str) -> Problem:
    """The problem on another device, its leaves new ones."""
    def move(each):
        return each.detach().to(device).requires_grad_(each.requires_grad) if isinstance(each, Tensor) else each

    cell, drive, lengths, state, parameters = given
    moved = (type(each)(*map(move, each)) for each in (state, parameters))
    return Problem(cell, move(drive), move(lengths), *moved)


def assert_same(given: Problem, other: Problem, backend: str = "triton") -> None:
    """Outputs and states bit for bit, gradients to 1e-5 of their largest."""
    (outputs, final, _), (found, found_final, _) = run(given, "reference"), run(other, backend)
    assert torch.equal(found.cpu(), outputs), (found.cpu() - outputs).abs().max()
    assert all(torch.equal(got.cpu(), wanted) for got, wanted in zip(found_final, final, strict=True))
    weight = torch.randn_like(outputs)
    wanted = torch.autograd.grad((outputs * weight).sum(), given.trained)
    gradients = torch.autograd.grad((found * weight.to(found)).sum(), other.trained)
    for got, each in zip(gradients, wanted, strict=True):
        assert (got.cpu() - each).abs().max() <= 1e-5 * each.abs().max()


def narrow(given: Problem, narrowed: str, kind: torch.dtype) -> Problem:
    """The problem with its drive or its recurrent weights in a narrow type."""
    if narrowed == "drive":
        return given._replace(drive=given.drive.detach().to(kind).requires_grad_())
    weights = given.parameters.recurrent.detach().to(kind).requires_grad_()
    return given._replace(parameters=given.parameters._replace(recurrent=weights))


def assert_narrow_does_as_well(given: Problem, other: Problem) -> None:
    """Where narrow numbers hold all operands exactly: outputs as in float32, gradients in the operands' own types."""
    outputs = run(other, "triton")[0]
    assert outputs.dtype == torch.float32
    assert torch.equal(outputs.cpu(), run(given, "reference")[0])
    outputs.sum().backward()
    assert all(each.grad.dtype == each.dtype for each in other.trained)


def differing_spikes(given: Problem, device: str, backend: str = "triton") -> list[float]:
    """Every frame as a row of its own, from the reference's state before it: where outputs differ, how far the
    reference's membrane lies from a level, in levels."""
    _, _, states = run(given, "reference")
    before = type(states)(*(
        torch.cat([first.unsqueeze(1), each[:, :-1]], dim=1).detach().flatten(0, 1)
        for first, each in zip(given.state, states, strict=True)
    ))
    rows, mask = given.drive.flatten(0, 1).unsqueeze(1), given.parameters.mask
    steps = Problem(
        given.cell, rows, torch.ones(len(rows), dtype=torch.int64), before,
        given.parameters._replace(mask=mask.repeat_interleave(given.drive.shape[1], 0)),
    )
    wanted, _, after = run(steps, "reference")
    scaled = after.membrane[run(on(steps, device), backend)[0].cpu() != wanted].double() * given.parameters.coder.scale
    return (scaled - scaled.round()).abs().tolist()
