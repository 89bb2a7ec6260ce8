"""Random problems for the kernels: for each case a cell, and how to draw its state and parameters.

A case is ``draw(batch, size, dtype) -> (state, parameters)``; those of one cell share its module. Tests take all of
them by parametrisation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from snn_asr.network.cells import conventional, delta_gru, gated, leaky_integrate_and_fire, spiking_lstm
from snn_asr.network.coder import Coder
from snn_asr.network.coder_settings import CoderSettings
from snn_asr.network.kernels import run_sequence
from snn_asr.network.surrogates import SURROGATES, choose

CODERS = {
    "off": None,
    "6 bits": Coder.at(CoderSettings(6, 3), range=0.7),
    "4 bits": Coder.at(CoderSettings(4, 1), range=2.5),
    "powers of two": Coder.at(CoderSettings(6, 3, levels="powers_of_two"), range=0.7),
    "binary": Coder.at(CoderSettings(2, 0), range=1.0),
}


class Case(NamedTuple):
    cell: ModuleType
    draw: Callable


class Problem(NamedTuple):
    cell: ModuleType
    drive: Tensor
    lengths: Tensor
    state: NamedTuple
    parameters: NamedTuple

    @property
    def trained(self) -> list[Tensor]:
        """What gradients are taken for: the drive and the trained parameters that are there."""
        found = (getattr(self.parameters, name) for name in self.cell.TRAINED)
        return [self.drive, *(each for each in found if each is not None)]


def dropout_mask(batch: int, size: int, dtype: torch.dtype) -> Tensor:
    return torch.bernoulli(torch.full((batch, size), 0.7, dtype=dtype)) / 0.7


def draw_state(cell: ModuleType, batch: int, size: int, parameters: NamedTuple, dtype: torch.dtype) -> NamedTuple:
    """A state that is not zero, with the widths of the cell's initial one."""
    zero = cell.initial_state(batch, size, parameters, torch.zeros((), dtype=dtype))
    return type(zero)(*(torch.rand_like(each) for each in zero))


def draw_improved(
    batch, size, dtype, coder, candidate="relu", recurrent=True, masked=True, smoothing=0.0, shifting=False
):
    weights = (torch.randn(2 * size, size, dtype=dtype) / size**0.5).requires_grad_() if recurrent else None
    mask = dropout_mask(batch, size, dtype) if masked else None
    parameters = gated.Parameters(weights, mask, CODERS[coder], candidate, smoothing, shifting)
    return draw_state(gated, batch, size, parameters, dtype), parameters


def draw_lif(batch, size, dtype, coder, masked=True):
    decay = (0.5 + 0.7 * torch.rand(size, dtype=dtype)).requires_grad_()
    parameters = conventional.Parameters(decay, dropout_mask(batch, size, dtype) if masked else None, CODERS[coder])
    return draw_state(conventional, batch, size, parameters, dtype), parameters


def draw_spiking_lstm(batch, size, dtype, cell, cell_gradient="straight"):
    """Three derivatives that differ, each with its own width."""
    weights = (torch.randn(4 * size, size, dtype=dtype) / size**0.5).requires_grad_()
    slopes = (choose("gaussian", width) for width in (4.0, 0.3, 1.5))
    parameters = spiking_lstm.Parameters(weights, 0.1, cell, cell_gradient, *slopes)
    return draw_state(spiking_lstm, batch, size, parameters, dtype), parameters


def draw_delta_gru(batch, size, dtype, threshold):
    weights = (torch.randn(3 * size, size, dtype=dtype) / size**0.5).requires_grad_()
    parameters = delta_gru.Parameters(weights, threshold)
    return draw_state(delta_gru, batch, size, parameters, dtype), parameters


def draw_adaptive_lif(batch, size, dtype, adaptive, recurrent, surrogate="boxcar"):
    """Decays below the layer's intervals: at random drives, a tenth of the outputs are spikes."""
    ranges = ((0.0, 0.5), (0.5, 0.4), (-0.1, 0.4), (0, 1))
    draws = [lowest + width * torch.rand(size, dtype=dtype) for lowest, width in ranges]
    decay, *adaptation = (each.requires_grad_() for each in draws)
    weights = (torch.randn(size, size, dtype=dtype) / size**0.5).requires_grad_() if recurrent else None
    adaptation = adaptation if adaptive else (None, None, None)
    parameters = leaky_integrate_and_fire.Parameters(decay, *adaptation, weights, choose(surrogate, 0.5))
    return draw_state(leaky_integrate_and_fire, batch, size, parameters, dtype), parameters


def _cases() -> dict[str, Case]:
    cases = {}
    for coder in CODERS:
        for candidate in gated.CANDIDATES:
            drawn = partial(draw_improved, coder=coder, candidate=candidate)
            cases[f"v2 {coder} {candidate}"] = Case(gated, drawn)
            cases[f"v1 {coder} {candidate}"] = Case(gated, partial(drawn, recurrent=False))
        cases[f"v2 {coder} unmasked"] = Case(gated, partial(draw_improved, coder=coder, masked=False))
        cases[f"v2 {coder} smoothed"] = Case(gated, partial(draw_improved, coder=coder, smoothing=0.6))
        shifted = partial(draw_improved, coder=coder, candidate="clamp", shifting=True)
        cases[f"v2 {coder} shifting gates"] = Case(gated, shifted)
        cases[f"lif {coder}"] = Case(conventional, partial(draw_lif, coder=coder))
        cases[f"lif {coder} unmasked"] = Case(conventional, partial(draw_lif, coder=coder, masked=False))
    for gradient in spiking_lstm.CELL_GRADIENTS:
        drawn = partial(draw_spiking_lstm, cell="thresholded", cell_gradient=gradient)
        cases[f"spiking_lstm {gradient}"] = Case(spiking_lstm, drawn)
    cases["spiking_lstm kept"] = Case(spiking_lstm, partial(draw_spiking_lstm, cell="kept"))
    for threshold in (0.0, 0.2):
        cases[f"delta_gru {threshold}"] = Case(delta_gru, partial(draw_delta_gru, threshold=threshold))
    for name, (adaptive, recurrent) in {"LIF": (0, 0), "adLIF": (1, 0), "RLIF": (0, 1), "RadLIF": (1, 1)}.items():
        for surrogate in SURROGATES if name == "RadLIF" else ["boxcar"]:
            drawn = partial(draw_adaptive_lif, adaptive=adaptive, recurrent=recurrent, surrogate=surrogate)
            cases[f"{name} {surrogate}"] = Case(leaky_integrate_and_fire, drawn)
    return cases


CASES = _cases()


def problem(case: str, batch: int, frames: int, size: int, seed: int, dtype=torch.float64) -> Problem:
    """Drive, ragged lengths (the first row is full), state and parameters of a case."""
    torch.manual_seed(seed)
    cell, draw = CASES[case]
    drive = torch.randn(batch, frames, cell.GATES * size, dtype=dtype, requires_grad=True)
    lengths = torch.randint(0, frames + 1, (batch,))
    lengths[0] = frames
    return Problem(cell, drive, lengths, *draw(batch, size, dtype))


def run(given: Problem, backend: str) -> tuple[Tensor, NamedTuple, NamedTuple]:
    """``run_sequence`` of a problem: outputs, last states, all states."""
    return run_sequence(given.cell, given.drive, given.lengths, given.state, given.parameters, backend)
