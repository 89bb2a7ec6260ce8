"""The base of layers whose neurons integrate without a leak and send spikes of several levels (network/coder.py)."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

from torch import Tensor

from snn_asr.network.cells import CellState
from snn_asr.network.coder import Coder, FrameCoder
from snn_asr.network.coder_settings import CoderSettings
from snn_asr.network.layers.base import LayerParts
from snn_asr.network.layers.driven import DrivenLayer, mean_outputs
from snn_asr.network.lengths import Lengths
from snn_asr.network.ranges import RangeTracker


class CodedLayer(DrivenLayer):
    """A layer whose coder turns membranes into spikes; with ``coder=False`` it sends the currents themselves."""

    def __init__(
        self, cell: ModuleType, input_size: int, hidden_size: int, *, coder: bool, settings: CoderSettings,
        dropout: float, backend: str,
    ) -> None:
        super().__init__(cell, input_size, hidden_size, dropout=dropout, backend=backend)
        self.tracker = RangeTracker(settings) if coder else None

    @property
    def binary(self) -> bool:
        return self.tracker is not None and self.tracker.settings.bits == 2 and not self.tracker.settings.powers

    @property
    def additive(self) -> bool:
        return self.tracker is not None and self.tracker.settings.additive

    def activity(self, outputs: Tensor, lengths: Tensor | Lengths) -> Tensor:
        """Mean magnitude of the outputs over valid frames, as a share of the range (a scalar with gradient)."""
        scale = self.tracker.value() if self.tracker is not None else 1.0
        return mean_outputs(outputs.abs(), lengths).mean() / scale

    @property
    def sends_events(self) -> bool:
        return self.tracker is not None

    def parts(self) -> LayerParts:
        shared = super().parts()
        if self.tracker is None:
            return shared
        coder = Coder.at(self.tracker.settings, self.tracker.value())
        return replace(shared, coder=coder, unit=coder.unit)

    def forward(
        self, x: Tensor, lengths: Tensor | Lengths, state: CellState | None = None
    ) -> tuple[Tensor, CellState]:
        lengths = Lengths.of(lengths, x)
        drive = self.drive(x, lengths)
        parameters = self.cell_parameters()._replace(mask=self.mask(drive))
        if self.tracker is None:
            return self.run(drive, lengths, state, parameters)[:2]
        if self.training and self.tracker.settings.follows_every_frame:
            parameters = parameters._replace(coder=FrameCoder(self.tracker, lengths))
            return self.run(drive, lengths, state, parameters, frame_by_frame=True)[:2]
        if self.training and not self.tracker.calibrated:
            # Without a coder V = I, so that a run without one gives the first batch a range to start from.
            self.tracker.observe(lengths.pack(self.run(drive, lengths, state, parameters)[2].membrane))
        parameters = parameters._replace(coder=Coder.at(self.tracker.settings, self.tracker.value()))
        outputs, state, states = self.run(drive, lengths, state, parameters)
        if self.training and self.tracker.settings.follows_membranes:
            self.tracker.observe(lengths.pack(states.membrane))
        return outputs, state
