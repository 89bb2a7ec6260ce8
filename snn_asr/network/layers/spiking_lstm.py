"""The layer of the spiking LSTM (cells/spiking_lstm.py, Lotfi Rezaabad & Vishwanath 2020)."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from snn_asr import processes
from snn_asr.errors import UsageError, unknown_name
from snn_asr.network.cells import CellState, spiking_lstm
from snn_asr.network.kernels import choose_backend, load
from snn_asr.network.layers.base import LayerParts
from snn_asr.network.layers.driven import DrivenLayer, drop_units, mean_outputs
from snn_asr.network.layers.folding import fold
from snn_asr.network.lengths import Lengths
from snn_asr.network.surrogates import choose

# The Gaussians of the authors' scripts: widths for the gates, the candidate and the threshold of the cell.
_WIDE, _NARROW, _FLAT = {"width": 4.0}, {"width": 0.3}, {"width": 1.0, "area_width": 0.3}
PRESETS = {
    "speech": (_WIDE, _NARROW, _WIDE),
    "characters": (_WIDE, _NARROW, _WIDE),
    "images": (_NARROW, _FLAT, _FLAT),
}


class SpikingLstmLayer(DrivenLayer):
    """Cells of cells/spiking_lstm.py, which explains ``cell`` and ``cell_gradient``; ``surrogates`` is one of PRESETS.

    ``normalize`` is batch normalisation of W x instead of a bias; the authors have a bias. W starts at N(0, 2/(D + H)),
    by the fan-in of a gate, U ``recurrent_gain`` times as wide, and biases at 0. Dropout is one mask for a sequence, on
    the outputs to the next layer and not on the recurrent ones, which stay 0 or 1.
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, cell: str = "thresholded", cell_gradient: str = "straight",
        surrogates: str = "speech", threshold: float = 0.1, normalize: bool = True, recurrent_gain: float = 1.0,
        dropout: float = 0.2, backend: str = "auto",
    ) -> None:
        _check(cell, cell_gradient, surrogates, threshold, recurrent_gain)
        super().__init__(
            spiking_lstm, input_size, hidden_size, dropout=dropout, backend=backend, normalize=normalize
        )
        self.cell_kind, self.cell_gradient, self.threshold = cell, cell_gradient, float(threshold)
        self.slopes = tuple(choose("gaussian", **options) for options in PRESETS[surrogates])
        self.recurrent_weight = nn.Parameter(torch.empty(spiking_lstm.GATES * hidden_size, hidden_size))
        deviation = math.sqrt(2 / (input_size + hidden_size))
        nn.init.normal_(self.input_weight, std=deviation)
        nn.init.normal_(self.recurrent_weight, std=recurrent_gain * deviation)

    @property
    def kept(self) -> bool:
        """Whether cells count, and are not thresholded."""
        return self.cell_kind == "kept"

    @property
    def binary(self) -> bool:
        return not self.kept

    @property
    def unit_products(self) -> int:
        """None: f ⊙ c, i ⊙ g and o ⊙ c select by gates that are 0 or 1, and a kept cell adds."""
        return 0

    def activity(self, outputs: Tensor, lengths: Tensor | Lengths) -> Tensor:
        """The mean output over valid frames, a scalar with gradient: the share of spikes, or the mean count of kept
        cells. Dropout does not change its expectation."""
        return mean_outputs(outputs, lengths).mean()

    def cell_parameters(self) -> spiking_lstm.Parameters:
        assert self.recurrent_weight is not None
        return spiking_lstm.Parameters(
            self.recurrent_weight, self.threshold, self.cell_kind, self.cell_gradient, *self.slopes
        )

    def parts(self) -> LayerParts:
        return replace(super().parts(), threshold=self.threshold, kept=self.kept, unit=1.0)

    def forward(
        self, x: Tensor, lengths: Tensor | Lengths, state: CellState | None = None
    ) -> tuple[Tensor, CellState]:
        lengths = Lengths.of(lengths, x)
        parameters = self.cell_parameters()
        if self.training and torch.is_grad_enabled() and self._fusible(x):
            outputs, state = self._train(x, lengths, state, parameters)
        else:
            outputs, state, _ = self.run(self.drive(x, lengths), lengths, state, parameters)
        return drop_units(outputs, self.dropout, self.training), state

    def _fusible(self, x: Tensor) -> bool:
        """Whether ``_train`` can take the batch: on the CPU, as a whole in this process, in a single precision, and
        normalised by its own statistics."""
        if choose_backend(self.backend, x.device) != "cpu" or torch.compiler.is_compiling():
            return False
        own_statistics = self.normalization is None or self.normalization.training
        return own_statistics and processes.world() == 1 and not torch.is_autocast_enabled(x.device.type)

    def _train(
        self, x: Tensor, lengths: Lengths, state: spiking_lstm.State | None, parameters: spiking_lstm.Parameters
    ) -> tuple[Tensor, spiking_lstm.State]:
        """``drive`` and ``run`` in one kernel, which takes less memory and time."""
        if state is None:
            state = spiking_lstm.initial_state(len(x), self.output_size, parameters, x)
        weight: Tensor = self.input_weight
        bias: Tensor | None = self.bias
        if self.normalization is not None:
            weight, bias = fold(x, lengths, weight, self.normalization)
        return load("cpu", spiking_lstm).driven_sequence(x, weight, bias, lengths.tensor, state, parameters)


def _check(cell: str, cell_gradient: str, surrogates: str, threshold: float, recurrent_gain: float) -> None:
    """Raise UsageError for an unknown option or a value that cannot work."""
    chosen = (
        ("cell", cell, spiking_lstm.CELLS), ("cell_gradient", cell_gradient, spiking_lstm.CELL_GRADIENTS),
        ("surrogates", surrogates, PRESETS),
    )
    for label, name, names in chosen:
        if name not in names:
            raise unknown_name(label, str(name), names)
    if cell == "kept" and cell_gradient != "straight":
        raise UsageError(
            f"cell_gradient={cell_gradient} needs a threshold of the cell, and a kept cell has none",
            "cell_gradient", "choose straight, or cell=thresholded",
        )
    if not 0 <= threshold < 1:
        raise UsageError(f"threshold={threshold} must lie in [0, 1), or no cell of 0 or 1 can keep", "threshold")
    if not recurrent_gain >= 0:
        raise UsageError(f"recurrent_gain={recurrent_gain} must not be negative", "recurrent_gain")
