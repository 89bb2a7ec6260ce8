"""The layer of conventional spiking neurons, which have neither gates nor recurrent weights (cells/conventional.py)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from snn_asr.network.cells import conventional
from snn_asr.network.coder_settings import CoderSettings
from snn_asr.network.layers.base import LayerParts
from snn_asr.network.layers.coded import CodedLayer


class ConventionalLayer(CodedLayer):
    """Neurons of cells/conventional.py. ``decay`` is where their learned decays start (1 in the paper)."""

    def __init__(
        self, input_size: int, hidden_size: int, *, coder: bool = True, bits: int = 6, threshold: int = 3,
        range: str = "moving_average", fixed_range: float = 1.0, momentum: float = 0.1, levels: str = "linear",
        decay: float = 1.0, dropout: float = 0.2, backend: str = "auto",
    ) -> None:
        settings = CoderSettings(bits, threshold, range, fixed_range, momentum, levels)
        super().__init__(
            conventional, input_size, hidden_size, coder=coder, settings=settings, dropout=dropout, backend=backend
        )
        self.decay = nn.Parameter(torch.full((hidden_size,), float(decay)))

    @property
    def unit_products(self) -> int:
        """τ·I; the weights have the scale of a coder."""
        return 1

    def cell_parameters(self) -> conventional.Parameters:
        return conventional.Parameters(self.decay, None, None)

    def parts(self) -> LayerParts:
        return replace(super().parts(), neurons={"decay": self.decay})
