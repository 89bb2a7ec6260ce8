"""The long short-term memory whose gates spike (Lotfi Rezaabad & Vishwanath, ICONS 2020, arXiv 2007.04779).

    f, i, o, g = 1[D[n] + U h[n-1] > θ]       forget, input and output gate, and candidate: they all spike
    a[n] = f ⊙ c[n-1] + i ⊙ g
    c[n] = 1[a[n] > θ]  or  a[n]              cell: ``thresholded`` (the authors' code) or ``kept`` (their equations)
    h[n] = o ⊙ c[n]                           output

D = W x + b, or BN(W x), is the drive, which is computed for all frames at once. The neuron has no leak, no membrane and
no reset; its memory is the cell c. All gates are 0 or 1, so that a product with a gate only selects values.

From the zero state a thresholded cell is always 0 or 1. A kept cell is a count. Within two frames it is 0, 1 or 2,
which are the values that the paper names. While f stays open, however, it goes on counting the frames at which i and g
fire, without bound, until f closes for a frame.

**Backward pass.** The step function 1[u > 0] has no derivative, so that Gaussians take its place
(network/surrogates.py): G_s(D + U h - θ) for the three gates, G_g(D + U h - θ) for the candidate, and G = G_c(a - θ)
for the threshold of the cell. Let dx be the gradient of the loss with respect to x, "+" the next frame and "-" the one
before:

    dc = e ⊙ o ⊙ dh + m+ ⊙ f+ ⊙ dc+           what comes back from the output and from the next frame's cell
    da = G ⊙ dc,   df = da ⊙ c-,   di = da ⊙ g,   dg = da ⊙ i,   do = c ⊙ dh

The option ``cell_gradient`` chooses the factors e and m:

    straight     e = 1,  m = 1      the authors' image and character scripts: no factor along the memory
    surrogate    e = 1,  m = G      the plain chain rule: G on every path from a to c
    speech       e = G,  m = 1      the authors' speech script: G once more on what comes from the output

For the usual widths G < 1, so that ``surrogate`` forgets within a few frames. A kept cell has no threshold: G = 1.
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
    """``cell`` c and ``output`` h, each (B, H) and zero at the start."""

    cell: Tensor
    output: Tensor


class Parameters(NamedTuple):
    """``recurrent`` (4H, H) is U and ``threshold`` is θ. ``cell`` is one of CELLS and ``cell_gradient`` one of
    CELL_GRADIENTS. ``gate_slope``, ``candidate_slope`` and ``cell_slope`` are the surrogate derivatives G_s, G_g and
    G_c."""

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
    """The output (B, H) and the new state of one frame, from its drive (B, 4H). Differentiable.

    All kernels of this cell are checked against this function.
    """
    return fire(drive + state.output @ parameters.recurrent.T, state, parameters)


def fire(sums: Tensor, state: State, parameters: Parameters) -> tuple[Tensor, State]:
    """The rest of ``step``, after the sums D + U h (B, 4H), which the gates compare with the threshold."""
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
    """The ``value`` with its own gradient and, besides, the gradient of ``other``."""
    return value + (other - other.detach())
