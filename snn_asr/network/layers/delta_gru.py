"""The layer of gated recurrent units that send only changes (cells/delta_gru.py)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from snn_asr.network.cells import CellState, delta_gru
from snn_asr.network.changes import changes, check_threshold
from snn_asr.network.layers.base import LayerParts
from snn_asr.network.layers.driven import DrivenLayer, drop_units, mean_outputs
from snn_asr.network.lengths import Lengths


class DeltaGruLayer(DrivenLayer):
    """A GRU whose units send their changes above ``delta_threshold``; 0 sends every change.

    The output (B, T, H) is the value that each unit holds; only its changes cost products. U starts uniformly within
    ±1/√H, as in torch's GRU. ``normalize`` is batch normalisation of W x, which is folded away in evaluation. Without
    it, as in the paper, W and the bias start as U does, and few units change by more than the threshold. Dropout is one
    mask for a sequence, on the outputs to the next layer and not on the recurrent ones.
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, delta_threshold: float = 0.1, normalize: bool = True,
        dropout: float = 0.2, backend: str = "auto",
    ) -> None:
        check_threshold(delta_threshold, "delta_threshold")
        super().__init__(delta_gru, input_size, hidden_size, dropout=dropout, backend=backend, normalize=normalize)
        self.threshold = delta_threshold
        self.recurrent_weight = nn.Parameter(torch.empty(delta_gru.GATES * hidden_size, hidden_size))
        for each in [self.recurrent_weight, *([] if self.bias is None else [self.input_weight, self.bias])]:
            nn.init.uniform_(each, -(hidden_size**-0.5), hidden_size**-0.5)

    @property
    def binary(self) -> bool:
        return False

    @property
    def sends_changes(self) -> bool:
        return True

    @property
    def unit_products(self) -> int:
        """r·M and z·(h - c). Finding a change takes no product."""
        return 2

    def activity(self, outputs: Tensor, lengths: Tensor | Lengths) -> Tensor:
        """The mean magnitude of the changes over valid frames, a scalar with gradient, which the paper penalises."""
        lengths = Lengths.of(lengths, outputs)
        return mean_outputs(lengths.without_padding(changes(outputs)).abs(), lengths).mean()

    def cell_parameters(self) -> delta_gru.Parameters:
        assert self.recurrent_weight is not None
        return delta_gru.Parameters(self.recurrent_weight, self.threshold)

    def parts(self) -> LayerParts:
        return replace(super().parts(), threshold=self.threshold, change=self.threshold)

    def forward(
        self, x: Tensor, lengths: Tensor | Lengths, state: CellState | None = None
    ) -> tuple[Tensor, CellState]:
        lengths = Lengths.of(lengths, x)
        outputs, state, _ = self.run(self.drive(x, lengths), lengths, state, self.cell_parameters())
        return drop_units(outputs, self.dropout, self.training), state
