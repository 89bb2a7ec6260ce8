"""Layers of the neurons that integrate without a leak and send what the multi-level coder makes of the membrane."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from snn_asr.errors import UsageError, unknown_name
from snn_asr.network.cells import conventional, gated
from snn_asr.network.coder import AnyCoder, Coder, CoderSettings, FrameCoder, RangeTracker
from snn_asr.network.layers.driven import DrivenLayer, mean_outputs
from snn_asr.network.masks import valid_frames


class CodedLayer(DrivenLayer, ABC):
    """A layer with a coder behind its membranes; ``coder=False`` sends the currents themselves."""

    def __init__(
        self, cell: ModuleType, input_size: int, hidden_size: int, *, coder: bool, settings: CoderSettings,
        dropout: float, backend: str,
    ) -> None:
        super().__init__(cell, input_size, hidden_size, dropout=dropout, backend=backend)
        self.tracker = RangeTracker(settings) if coder else None

    @property
    def binary(self) -> bool:
        return self.tracker is not None and self.tracker.settings.bits == 2

    def activity(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """Mean magnitude of the outputs over valid frames, as a share of the range (a scalar with gradient)."""
        scale = self.tracker.value() if self.tracker is not None else 1.0
        return mean_outputs(outputs.abs(), lengths).mean() / scale

    @abstractmethod
    def parameters_for(self, mask: Tensor | None, coder: AnyCoder | None) -> NamedTuple:
        """The cell's Parameters with this dropout mask and coder."""

    def forward(self, x: Tensor, lengths: Tensor, state: NamedTuple | None = None) -> tuple[Tensor, NamedTuple]:
        drive = self.drive(x, lengths)
        parameters = self.parameters_for(self.mask(drive), None)
        if self.tracker is None:
            return self.run(drive, lengths, state, parameters)[:2]
        valid = valid_frames(lengths, x.shape[1])
        if self.training and self.tracker.settings.range == "moving_average_per_frame":
            parameters = parameters._replace(coder=FrameCoder(self.tracker, valid))
            return self.run(drive, lengths, state, parameters, frame_by_frame=True)[:2]
        if self.training and not self.tracker.calibrated:
            # Without a coder V = I: one look at the currents gives the first batch a range to start from.
            self.tracker.observe(self.run(drive, lengths, state, parameters)[2].membrane[valid])
        parameters = parameters._replace(coder=Coder.at(self.tracker.settings, self.tracker.value()))
        outputs, state, states = self.run(drive, lengths, state, parameters)
        if self.training and self.tracker.settings.range != "fixed":
            self.tracker.observe(states.membrane[valid])
        return outputs, state


class GatedLayer(CodedLayer):
    """Gated layer of cells/gated.py: v2, without ``recurrent`` weights v1, with ``coder=False`` a Li-GRU.

    ``recurrent_gain`` scales the orthogonal initialisation of each gate's recurrent weights; ``forget_bias`` and
    ``candidate_bias`` are where the normalised drives of the two gates start (0 in the paper): a candidate below 0
    begins sparse, a forget signal above 0 with a longer memory. ``recurrent_smoothing`` is the coefficient of a
    leaky integrator on the recurrent product (0: none, as in the paper).
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, recurrent: bool = True, coder: bool = True, bits: int = 6,
        threshold: int = 3, range: str = "moving_average", fixed_range: float = 1.0, momentum: float = 0.1,
        candidate: str = "relu", recurrent_gain: float = 0.5, recurrent_smoothing: float = 0.0,
        forget_bias: float = 0.0, candidate_bias: float = 0.0, dropout: float = 0.2, backend: str = "auto",
    ) -> None:
        if candidate not in gated.CANDIDATES:
            raise unknown_name("candidate", candidate, gated.CANDIDATES)
        if not 0 <= recurrent_smoothing < 1:
            raise UsageError(f"recurrent_smoothing={recurrent_smoothing} must lie in [0, 1)", "recurrent_smoothing")
        settings = CoderSettings(bits, threshold, range, fixed_range, momentum)
        super().__init__(
            gated, input_size, hidden_size, coder=coder, settings=settings, dropout=dropout, backend=backend
        )
        self.candidate, self.recurrent_smoothing = candidate, recurrent_smoothing
        nn.init.constant_(self.normalization.bias.data[:hidden_size], forget_bias)
        nn.init.constant_(self.normalization.bias.data[hidden_size:], candidate_bias)
        if recurrent:
            self.recurrent_weight = nn.Parameter(torch.empty(gated.GATES * hidden_size, hidden_size))
            for gate in self.recurrent_weight.data.chunk(gated.GATES):
                nn.init.orthogonal_(gate, recurrent_gain)

    @property
    def counted_by_authors(self) -> bool:
        """True for v2, the layer that the authors' own counter of multiplications is for (operations.py)."""
        return self.recurrent_weight is not None and self.tracker is not None

    @property
    def unit_products(self) -> int:
        """F·I and (1 - F)·C; with a coder also scaling the membrane to levels and back; 2 for a smoothed product."""
        return 2 + (2 if self.tracker is not None else 0) + (gated.GATES if self.recurrent_smoothing else 0)

    def parameters_for(self, mask: Tensor | None, coder: AnyCoder | None) -> gated.Parameters:
        return gated.Parameters(self.recurrent_weight, mask, coder, self.candidate, self.recurrent_smoothing)


class ConventionalLayer(CodedLayer):
    """Conventional spiking layer of cells/conventional.py: one decay a neuron, no gates, no recurrent weights.

    ``decay`` is where the learned decays start (1 in the paper).
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, coder: bool = True, bits: int = 6, threshold: int = 3,
        range: str = "moving_average", fixed_range: float = 1.0, momentum: float = 0.1, decay: float = 1.0,
        dropout: float = 0.2, backend: str = "auto",
    ) -> None:
        settings = CoderSettings(bits, threshold, range, fixed_range, momentum)
        super().__init__(
            conventional, input_size, hidden_size, coder=coder, settings=settings, dropout=dropout, backend=backend
        )
        self.decay = nn.Parameter(torch.full((hidden_size,), float(decay)))

    @property
    def unit_products(self) -> int:
        """τ·I; with a coder also scaling the membrane to levels and back."""
        return 1 if self.tracker is None else 3

    def parameters_for(self, mask: Tensor | None, coder: AnyCoder | None) -> conventional.Parameters:
        return conventional.Parameters(self.decay, mask, coder)
