"""The layer of leaky integrate-and-fire neurons, with or without adaptation and recurrence."""

from __future__ import annotations

from dataclasses import replace
from math import exp

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from snn_asr.errors import UsageError
from snn_asr.network import surrogates
from snn_asr.network.cells import CellState, leaky_integrate_and_fire
from snn_asr.network.cells.leaky_integrate_and_fire import Parameters
from snn_asr.network.layers.base import LayerParts
from snn_asr.network.layers.driven import DrivenLayer, drop_units, mean_outputs
from snn_asr.network.lengths import Lengths

# The intervals of the paper.
DECAYS = (exp(-1 / 5), exp(-1 / 25))  # α: time constants of 5 to 25 frames
ADAPTATION_DECAYS = (exp(-1 / 30), exp(-1 / 120))  # β: of 30 to 120 frames
COUPLINGS = (-1.0, 1.0)  # a
JUMPS = (0.0, 2.0)  # b
RATES = (0.01, 0.5)  # spikes a frame that a neuron may send unpenalised


class LeakyIntegrateAndFireLayer(DrivenLayer):
    """LIF neurons, with ``adaptive`` adLIF, with ``recurrent`` RLIF, with both RadLIF (cells has the equations).

    α, β, a and b start uniformly within their intervals and are clamped to them in every forward pass; outside they get
    no gradient. V starts orthogonal. Its diagonal is stored and counted as parameters, but is always zero. Dropout is
    one mask for a sequence, on the outputs to the next layer and not on the recurrent ones, which stay 0 or 1.

    ``surrogate`` and ``surrogate_width`` choose the derivative of the spike (surrogates.py). Two defaults differ from
    the paper. ``stable`` raises the lower bound of a from -1 to -(1 - β): below it the potential of a neuron grows
    exponentially (see the cell), so that the neuron is silent or fires at every frame from then on, and overflows after
    some hundred frames. ``drive_gain`` is where the scale of the normalised drives starts: with the paper's 1 the
    network hardly spikes, because it starts in the zero state where the authors' starts in a random one.
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, adaptive: bool = False, recurrent: bool = False,
        surrogate: str = "boxcar", surrogate_width: float = 0.5, drive_gain: float = 4.0, stable: bool = True,
        dropout: float = 0.2, backend: str = "auto",
    ) -> None:
        if not drive_gain > 0:
            raise UsageError(f"drive_gain={drive_gain} must be positive", "drive_gain", "1 is the paper's")
        super().__init__(leaky_integrate_and_fire, input_size, hidden_size, dropout=dropout, backend=backend)
        self.derivative, self.stable = surrogates.choose(surrogate, surrogate_width), stable
        assert self.normalization is not None
        nn.init.constant_(self.normalization.weight, drive_gain)
        self.decay = _uniform(hidden_size, *DECAYS)
        self.adaptation_decay = _uniform(hidden_size, *ADAPTATION_DECAYS) if adaptive else None
        self.coupling = _uniform(hidden_size, self._lowest_coupling(), COUPLINGS[1]) if adaptive else None
        self.jump = _uniform(hidden_size, *JUMPS) if adaptive else None
        if recurrent:
            self.recurrent_weight = nn.Parameter(torch.empty(hidden_size, hidden_size))
            nn.init.orthogonal_(self.recurrent_weight).data.fill_diagonal_(0)

    @property
    def binary(self) -> bool:
        return True

    @property
    def unit_products(self) -> int:
        """α·(u - s) and (1 - α)·(…); with adaptation β·w and a·u too. b·s adds b, for s is 0 or 1."""
        return 2 if self.coupling is None else 4

    def activity(self, outputs: Tensor, lengths: Tensor | Lengths) -> Tensor:
        """The paper's regulariser of firing rates, 0.5 (relu(0.01 - rate) + relu(rate - 0.5)), as a mean over neurons
        (the authors' classifiers take the sum).

        The rate is the mean output of a neuron over valid frames; dropout does not change its expectation. Unlike the
        activity of other layers, this also penalises neurons that fall silent.
        """
        rates = mean_outputs(outputs, lengths)
        return 0.5 * (relu(RATES[0] - rates) + relu(rates - RATES[1])).mean()

    def cell_parameters(self) -> Parameters:
        """The Parameters of the cell, clamped to their intervals, with a zero diagonal of V."""
        adaptation_decay = coupling = jump = recurrent = None
        if self.coupling is not None:
            assert self.adaptation_decay is not None and self.jump is not None
            adaptation_decay, jump = self.adaptation_decay.clamp(*ADAPTATION_DECAYS), self.jump.clamp(*JUMPS)
            coupling = self.coupling.clamp(min=self._lowest_coupling()).clamp(max=COUPLINGS[1])
        if self.recurrent_weight is not None:
            diagonal = torch.eye(self.output_size, dtype=torch.bool, device=self.recurrent_weight.device)
            recurrent = self.recurrent_weight.masked_fill(diagonal, 0)
        return Parameters(self.decay.clamp(*DECAYS), adaptation_decay, coupling, jump, recurrent, self.derivative)

    def _lowest_coupling(self) -> Tensor:
        """The lower bound of a for each neuron (H,), without gradient."""
        assert self.adaptation_decay is not None
        if self.stable:
            return self.adaptation_decay.detach().clamp(*ADAPTATION_DECAYS) - 1
        return torch.full_like(self.adaptation_decay.detach(), COUPLINGS[0])

    def parts(self) -> LayerParts:
        given = self.cell_parameters()
        adaptive = given.coupling is not None
        names = ("decay", "adaptation_decay", "coupling", "jump") if adaptive else ("decay",)
        return replace(
            super().parts(), recurrent=given.recurrent, adaptive=adaptive, unit=1.0,
            neurons={each: getattr(given, each) for each in names},
        )

    def forward(
        self, x: Tensor, lengths: Tensor | Lengths, state: CellState | None = None
    ) -> tuple[Tensor, CellState]:
        lengths = Lengths.of(lengths, x)
        outputs, state, _ = self.run(self.drive(x, lengths), lengths, state, self.cell_parameters())
        return drop_units(outputs, self.dropout, self.training), state


def _uniform(size: int, low: float | Tensor, high: float) -> nn.Parameter:
    """A parameter (H,), each value drawn uniformly between its bounds."""
    return nn.Parameter(low + (high - low) * torch.rand(size))
