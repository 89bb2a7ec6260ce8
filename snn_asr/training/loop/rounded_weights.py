"""Training weights that will be rounded to int8 or int4: the network computes with rounded weights.

    forward and backward with    Q(w) = scale · clamp(round(w / scale))
    the step changes             w, by the gradient at Q(w)

as if Q had the slope 1 (the straight-through estimator; Jacob et al. 2018, arXiv 1712.05877, do so for whole networks).
So w accumulates small changes until it is rounded to another value. The grids are those of ``quantize``
(network/integers.py). In training they are computed anew every REFRESH_STEPS steps, and in evaluation from the weights
that are evaluated. The rounded weights of an epoch are kept with their grids, and the model folder holds them exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from snn_asr.events.quantization import grids_of
from snn_asr.network.integers import Grid
from snn_asr.network.model import AcousticModel

REFRESH_STEPS = 16


class RoundedWeights:
    """Rounds the matrices of ``model`` while it computes; with ``precision`` none it changes nothing."""

    def __init__(self, model: AcousticModel, precision: str) -> None:
        self.model, self.precision = model, precision
        self._grids: dict[str, Grid] = {}
        self._own: dict[str, Tensor] = {}
        self._parameters = dict(model.named_parameters())

    @contextmanager
    def of_step(self, step: int) -> Iterator[None]:
        """A block for the gradient of training step ``step``, in which the weights are rounded."""
        if not self._grids or step % REFRESH_STEPS == 0:
            self._grids = self._drawn()
        self._swap_in(self._grids)
        try:
            yield
        finally:
            self.swap_out()

    def swap_in(self) -> dict[str, Grid]:
        """Round the present weights by grids computed from them, until ``swap_out``. Returns the grids."""
        grids = self._drawn()
        self._swap_in(grids)
        return grids

    @torch.no_grad()
    def swap_out(self) -> None:
        """Give the model its own weights back."""
        for name, own in self._own.items():
            self._parameters[name].copy_(own)
        self._own = {}

    def _drawn(self) -> dict[str, Grid]:
        with torch.no_grad():
            return grids_of(self.model, self.precision)

    @torch.no_grad()
    def _swap_in(self, grids: Mapping[str, Grid]) -> None:
        self._own = {name: self._parameters[name].detach().clone() for name in grids}
        for name, grid in grids.items():
            self._parameters[name].copy_(grid.nearest(self._parameters[name]))

    def state_dict(self) -> dict[str, list]:
        """The grids in force, for a checkpoint."""
        return packed(self._grids)

    def load_state_dict(self, state: Mapping[str, Iterable]) -> None:
        self._grids = unpacked(state, self.model.head.weight.device)


def packed(grids: Mapping[str, Grid]) -> dict[str, list]:
    """Grids in types that a checkpoint may hold."""
    return {name: [grid.kind, grid.scales.cpu()] for name, grid in grids.items()}


def unpacked(state: Mapping[str, Iterable], device: torch.device | str = "cpu") -> dict[str, Grid]:
    """The inverse, on a device."""
    return {name: Grid(kind, scales.to(device)) for name, (kind, scales) in state.items()}
