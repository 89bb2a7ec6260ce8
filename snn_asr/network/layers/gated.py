"""The layer of gated spiking neurons, and of the Li-GRU (cells/gated.py)."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import nn

from snn_asr.errors import UsageError, unknown_name
from snn_asr.network.cells import gated
from snn_asr.network.coder_settings import POWERS_OF_TWO, CoderSettings
from snn_asr.network.integrator import multiplies
from snn_asr.network.layers.base import LayerParts
from snn_asr.network.layers.coded import CodedLayer

RECURRENT_INITS = ("gates", "stacked")


class GatedLayer(CodedLayer):
    """Neurons of cells/gated.py: v2, or v1 without ``recurrent`` weights, or a Li-GRU with ``coder=False``.

    ``recurrent_gain`` scales the orthogonal matrices that the recurrent weights start from: one for each gate
    (``recurrent_init="gates"``), or one for both gates together ("stacked"; the authors' code does so with a gain of
    √2). ``forget_bias`` and ``candidate_bias`` are where the biases of the two normalised drives start (0 in the
    paper): below 0 the candidates start sparse, above 0 the forget signals start with a longer memory.
    ``recurrent_smoothing`` is the coefficient of a leaky integrator on the recurrent product (0, as in the paper, is
    none); without recurrent weights it asks nothing. With ``gate_levels="powers_of_two"`` 1 - F is a power of two, so
    that the current moves by a shift.
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, recurrent: bool = True, coder: bool = True, bits: int = 6,
        threshold: int = 3, range: str = "moving_average", fixed_range: float = 1.0, momentum: float = 0.1,
        levels: str = "linear", candidate: str = "relu", recurrent_init: str = "gates", recurrent_gain: float = 0.5,
        recurrent_smoothing: float = 0.0, forget_bias: float = 0.0, candidate_bias: float = 0.0,
        gate_levels: str = "smooth", dropout: float = 0.2, backend: str = "auto",
    ) -> None:
        if candidate not in gated.CANDIDATES:
            raise unknown_name("candidate", candidate, gated.CANDIDATES)
        if recurrent_init not in RECURRENT_INITS:
            raise unknown_name("recurrent_init", recurrent_init, RECURRENT_INITS)
        if not 0 <= recurrent_smoothing < 1:
            raise UsageError(f"recurrent_smoothing={recurrent_smoothing} must lie in [0, 1)", "recurrent_smoothing")
        if gate_levels not in gated.GATE_LEVELS:
            raise unknown_name("gate_levels", gate_levels, gated.GATE_LEVELS)
        settings = CoderSettings(bits, threshold, range, fixed_range, momentum, levels)
        super().__init__(
            gated, input_size, hidden_size, coder=coder, settings=settings, dropout=dropout, backend=backend
        )
        self.candidate = candidate
        self.recurrent_smoothing = recurrent_smoothing if recurrent else 0.0
        self.shifting = gate_levels == POWERS_OF_TWO
        assert self.normalization is not None
        nn.init.constant_(self.normalization.bias.data[:hidden_size], forget_bias)
        nn.init.constant_(self.normalization.bias.data[hidden_size:], candidate_bias)
        if recurrent:
            self.recurrent_weight = nn.Parameter(torch.empty(gated.GATES * hidden_size, hidden_size))
            for part in self.recurrent_weight.data.chunk(gated.GATES if recurrent_init == "gates" else 1):
                nn.init.orthogonal_(part, recurrent_gain)

    @property
    def unit_products(self) -> int:
        """(1 - F)·(C - I) unless the gate is a shift, and one for each smoothed product; the weights have the scale of
        a coder."""
        return (0 if self.shifting else 1) + (gated.GATES if multiplies(self.recurrent_smoothing) else 0)

    def cell_parameters(self) -> gated.Parameters:
        return gated.Parameters(
            self.recurrent_weight, None, None, self.candidate, self.recurrent_smoothing, self.shifting
        )

    def parts(self) -> LayerParts:
        return replace(
            super().parts(), smoothing=self.recurrent_smoothing, highest=1.0 if self.candidate == "clamp" else math.inf,
            shifting=self.shifting,
        )
