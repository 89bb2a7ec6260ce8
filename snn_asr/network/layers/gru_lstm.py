"""The layers of torch's own GRU and LSTM, with which the spiking encoders are compared."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from snn_asr.network.cells import CellState
from snn_asr.network.layers.base import Layer, LayerParts
from snn_asr.network.layers.driven import check_dropout, drop_units
from snn_asr.network.lengths import Lengths
from snn_asr.network.states import change_tensors

GRU, LSTM = "gru", "lstm"  # names of the cells in ``parts``


class GruLstmLayer(Layer):
    """One layer of torch.nn.GRU or LSTM, with one dropout mask for a sequence on its outputs.

    The state is torch's without the dimension of layers: (B, H), or a pair of these for the LSTM. In training from the
    zero state no state is returned (None): padding comes after a row's frames and cannot change their outputs, and
    torch is two to three times as fast on a plain batch as on a packed one, which the state would need.
    """

    recurrence: nn.GRU | nn.LSTM

    def __init__(
        self, module: type[nn.GRU] | type[nn.LSTM], input_size: int, hidden_size: int, *, dropout: float = 0.2
    ) -> None:
        super().__init__(hidden_size)
        check_dropout(dropout)
        self.dropout = dropout
        self.recurrence = module(input_size, hidden_size, batch_first=True)

    @property
    def binary(self) -> bool:
        return False

    @property
    def unit_products(self) -> int:
        """GRU: r·h and z·(h - n); LSTM: f·c, i·g and o·tanh(c)."""
        return 3 if isinstance(self.recurrence, nn.LSTM) else 2

    def core_weights(self) -> list[Tensor]:
        return list(self._own_tensors()[:2])

    def _own_tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """W, U, and the biases of both."""
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        weight, back, bias, back_bias = (self.recurrence.get_parameter(each) for each in names)
        return weight, back, bias, back_bias

    def parts(self) -> LayerParts:
        """Both biases are in the offset, except the recurrent one of the GRU's new gate: the reset gate multiplies
        it."""
        weight, back, bias, back_bias = self._own_tensors()
        ones = torch.ones_like(bias)
        if isinstance(self.recurrence, nn.LSTM):
            return LayerParts(LSTM, weight, back, ones, bias + back_bias)
        inside = back_bias[-self.output_size :]
        outside = torch.cat([back_bias[: -self.output_size], torch.zeros_like(inside)])
        return LayerParts(GRU, weight, back, ones, bias + outside, neurons={"bias": inside})

    def forward(self, x: Tensor, lengths: Tensor | Lengths, state: CellState | None = None) -> tuple[Tensor, CellState]:
        lengths = Lengths.of(lengths, x)
        after: CellState = None
        if self.training and state is None:
            y = lengths.without_padding(self.recurrence(x)[0])
        else:
            y, after = self._packed(x, lengths, state)
        y = y.to(self.core_weights()[0].dtype)  # in mixed precision torch's LSTM sends what it multiplies
        return drop_units(y, self.dropout, self.training), after

    def _packed(self, x: Tensor, lengths: Lengths, state: CellState) -> tuple[Tensor, CellState]:
        # A packed sequence cannot have empty rows: these are computed over one frame and reset afterwards.
        counts = [max(each, 1) for each in lengths.counts]
        packed = pack_padded_sequence(x, counts, batch_first=True, enforce_sorted=False)
        y, after = self.recurrence(packed, change_tensors(state, lambda each: each.unsqueeze(0)))
        y, _ = pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
        after = change_tensors(after, lambda each: each.squeeze(0))
        if not all(lengths.counts):
            empty = lengths.tensor == 0
            y = y * ~empty[:, None, None]
            after = _keep(after, state, empty)
        return y, after


def _keep(after: CellState, before: CellState, rows: Tensor) -> CellState:
    """States (B, H), or a tuple of them, in which ``rows`` are as they were before (None: zero)."""
    if isinstance(after, tuple):
        befores = before if before is not None else [None] * len(after)
        return tuple(_keep(*pair, rows) for pair in zip(after, befores, strict=True))
    old = torch.zeros_like(after) if before is None else before
    return torch.where(rows[:, None], old, after)
