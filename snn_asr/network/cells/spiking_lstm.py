"""The long short-term memory whose gates spike (Lotfi Rezaabad & Vishwanath, ICONS 2020, arXiv 2007.04779).

    f, i, o, g = 1[D[n] + U h[n-1] > θ]       forget, input and output gate, candidate: they all spike
    a[n] = f ⊙ c[n-1] + i ⊙ g
    c[n] = 1[a[n] > θ]  or  a[n]              cell: ``thresholded`` (the authors' code) or ``kept`` (their equations)
    h[n] = o ⊙ c[n]                           output

D = W x + b, or BN(W x), is the drive, all frames at once. No leak, no membrane, no reset: the memory is c. All gates
are 0 or 1, so every product with one is a selection. From the zero state a thresholded cell is 0 or 1. A kept cell is
a count: 0, 1 or 2 within two frames (the values that the paper names), but while f stays open it goes on counting the
frames at which i and g fire, without bound, until f closes for a frame.

Backward. 1[u > 0] has no derivative, so Gaussians stand in (surrogates.py): G_s(D + U h - θ) for the three gates, G_g
of the same for the candidate, and G = G_c(a - θ) for the threshold of the cell. With dx the gradient of the loss with
respect to x, "+" the next frame and "-" the one before,

    dc = e ⊙ o ⊙ dh + m+ ⊙ f+ ⊙ dc+           what the output and the next frame's memory send back
    da = G ⊙ dc,   df = da ⊙ c-,   di = da ⊙ g,   dg = da ⊙ i,   do = c ⊙ dh

and ``cell_gradient`` says where else G goes:

    straight     e = 1,  m = 1      the authors' image and character scripts: straight through along the memory
    surrogate    e = 1,  m = G      the plain chain rule: G on every path from a to c
    speech       e = G,  m = 1      the authors' speech script: G once more on what comes from the output

G < 1 for the usual widths, so ``surrogate`` forgets within a few frames. A kept cell has no threshold: G = 1.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from snn_asr.network.surrogates import Derivative, spike

GATES = 4  # blocks of H rows in W and U: forget, input, output, candidate
CELLS = ("thresholded", "kept")
CELL_GRADIENTS = ("straight", "surrogate", "speech")
TRAINED = ("recurrent",)  # the fields of Parameters that learn


class State(NamedTuple):
    """Each (B, H), zero at the start: c and h."""

    cell: Tensor
    output: Tensor


class Parameters(NamedTuple):
    """``recurrent`` (4H, H) is U, ``threshold`` θ; ``gate_slope``, ``candidate_slope`` and ``cell_slope`` are the
    derivatives G_s, G_g and G_c."""

    recurrent: Tensor
    threshold: float
    cell: str
    cell_gradient: str
    gate_slope: Derivative
    candidate_slope: Derivative
    cell_slope: Derivative


def initial_state(batch: int, size: int, parameters: Parameters, like: Tensor) -> State:
    return State(*(like.new_zeros(batch, size) for _ in State._fields))


def step(drive: Tensor, state: State, parameters: Parameters) -> tuple[Tensor, State]:
    """One frame: drive (B, 4H) to output (B, H). Differentiable; the specification of every kernel."""
    return fire(drive + state.output @ parameters.recurrent.T, state, parameters)


def fire(sums: Tensor, state: State, parameters: Parameters) -> tuple[Tensor, State]:
    """The rest of a step: from the sums D + U h (B, 4H) that the gates compare with the threshold."""
    *gates, candidate = (sums - parameters.threshold).chunk(GATES, dim=-1)
    forget, admit, emit = (spike(each, parameters.gate_slope) for each in gates)
    candidate = spike(candidate, parameters.candidate_slope)
    if parameters.cell == "kept":
        cell = sent = forget * state.cell + admit * candidate
    else:
        whole = parameters.cell_gradient == "surrogate"
        memory = state.cell if whole else state.cell.detach()
        above = forget * memory + admit * candidate - parameters.threshold
        cell = spike(above, parameters.cell_slope)
        if not whole:
            cell = _with_gradient_of(forget.detach() * state.cell, cell)
        sent = cell
        if parameters.cell_gradient == "speech":
            sent = _with_gradient_of(cell * parameters.cell_slope(above.detach()), cell.detach())
    output = emit * sent
    return output, State(cell, output)


def _with_gradient_of(other: Tensor, value: Tensor) -> Tensor:
    """``value``, and backwards the gradient that ``other`` passes on besides its own."""
    return value + (other - other.detach())
