"""One layer of an encoder: input product, normalisation, and a recurrent sequence.

Every layer has ``output_size``, ``core_weights()`` (input, recurrent), ``binary``, ``unit_products`` (element-wise
multiplications a unit and frame) and ``forward(x (B, T, D), lengths (B,), state) -> (y, state)``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from snn_asr.cells.improved_v2 import CANDIDATES, GATES, Parameters, State, initial_state
from snn_asr.coders import Coder, CoderSettings, RangeTracker
from snn_asr.errors import UsageError, unknown_name
from snn_asr.kernels import choose_backend, gated_sequence, valid_frames


def sequence_mask(batch: int, size: int, dropout: float, training: bool, like: Tensor) -> Tensor | None:
    """Dropout mask (B, H), the same at all frames, scaled to keep the mean; None where nothing is dropped."""
    if not training or dropout == 0:
        return None
    return torch.bernoulli(like.new_full((batch, size), 1 - dropout)) / (1 - dropout)


class GatedLayer(nn.Module):
    """Gated recurrent layer of cells.improved_v2: spiking, or with ``coder=False`` a Li-GRU.

    ``recurrent_gain`` scales the orthogonal initialisation of each gate's recurrent weights; ``forget_bias`` and
    ``candidate_bias`` are where the normalised drives of the two gates start (0 in the paper): a candidate below 0
    begins sparse, a forget signal above 0 with a longer memory.
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, coder: bool = True, bits: int = 6, threshold: int = 3,
        range: str = "moving_average", fixed_range: float = 1.0, momentum: float = 0.1, candidate: str = "relu",
        recurrent_gain: float = 0.5, forget_bias: float = 0.0, candidate_bias: float = 0.0, dropout: float = 0.2,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if candidate not in CANDIDATES:
            raise unknown_name("candidate", candidate, CANDIDATES)
        check_dropout(dropout)
        self.output_size = hidden_size
        self.candidate, self.dropout, self.backend = candidate, dropout, backend
        self.input_weight = nn.Parameter(torch.empty(GATES * hidden_size, input_size))
        self.recurrent_weight = nn.Parameter(torch.empty(GATES * hidden_size, hidden_size))
        self.normalization = nn.BatchNorm1d(GATES * hidden_size)
        settings = CoderSettings(bits, threshold, range, fixed_range, momentum)
        self.tracker = RangeTracker(settings) if coder else None
        nn.init.kaiming_uniform_(self.input_weight, nonlinearity="linear")
        nn.init.constant_(self.normalization.bias.data[:hidden_size], forget_bias)
        nn.init.constant_(self.normalization.bias.data[hidden_size:], candidate_bias)
        for gate in self.recurrent_weight.data.chunk(GATES):
            nn.init.orthogonal_(gate, recurrent_gain)

    def core_weights(self) -> list[Tensor]:
        return [self.input_weight, self.recurrent_weight]

    @property
    def binary(self) -> bool:
        """True where outputs take one non-zero magnitude: their products are additions."""
        return self.tracker is not None and self.tracker.settings.bits == 2

    @property
    def unit_products(self) -> int:
        """F·I and (1 - F)·C; with a coder also scaling the membrane to levels and back."""
        return 2 if self.tracker is None else 4

    def activity(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """Mean magnitude of the outputs over valid frames, as a share of the range (a scalar with gradient)."""
        scale = self.tracker.value() if self.tracker is not None else 1.0
        return outputs.abs().sum() / (lengths.sum().clamp(min=1) * self.output_size * scale)

    def forward(self, x: Tensor, lengths: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        backend = choose_backend(self.backend, x.device)
        valid = valid_frames(lengths, x.shape[1])
        drive = self._drive(x, valid, backend)
        if state is None:
            state = initial_state(x.shape[0], self.output_size, drive)
        mask = sequence_mask(x.shape[0], self.output_size, self.dropout, self.training, drive)
        if self.tracker is not None and self.training and not self.tracker.calibrated:
            # Without a coder V = I: one look at the currents gives the first batch a range to start from.
            self._observe(self._run(drive, lengths, state, mask, None, backend)[2], valid)
        coder = None if self.tracker is None else Coder.at(self.tracker.settings, self.tracker.value())
        outputs, state, membranes = self._run(drive, lengths, state, mask, coder, backend)
        if self.training and coder is not None:
            self._observe(membranes, valid)
        return outputs, state

    def _drive(self, x: Tensor, valid: Tensor, backend) -> Tensor:
        """BN(W x) (B, T, 2H): product and statistics over valid frames only."""
        packed = x[valid]
        if self.training and len(packed) < 2:
            raise ValueError("batch normalisation needs at least two valid frames in a training batch")
        linear = nn.functional.linear if torch.is_grad_enabled() else backend.linear
        drive = self.normalization(linear(packed, self.input_weight))
        return drive.new_zeros(*x.shape[:2], drive.shape[-1]).index_put((valid,), drive)

    def _run(self, drive, lengths, state, mask, coder, backend) -> tuple[Tensor, State, Tensor]:
        parameters = Parameters(self.recurrent_weight, mask, coder, self.candidate)
        return gated_sequence(drive, lengths, state, parameters, backend)

    def _observe(self, membranes: Tensor, valid: Tensor) -> None:
        observed = membranes[valid]
        self.tracker.observe(observed.min(), observed.max())


class TorchLayer(nn.Module):
    """torch.nn.GRU or LSTM, one layer, with a sequence-wise dropout mask on its output.

    In training from the zero state the state after is not worked out (None): padding stands behind every row's frames
    and cannot reach them, and torch walks a plain batch two to three times as fast as a packed one.
    """

    binary = False
    unit_products = 3  # GRU: r·h, (1 - z)·n, z·h; LSTM: f·c, i·g, o·tanh(c)

    def __init__(self, module: type[nn.RNNBase], input_size: int, hidden_size: int, *, dropout: float = 0.2) -> None:
        super().__init__()
        check_dropout(dropout)
        self.output_size, self.dropout = hidden_size, dropout
        self.recurrence = module(input_size, hidden_size, batch_first=True)

    def core_weights(self) -> list[Tensor]:
        return [self.recurrence.weight_ih_l0, self.recurrence.weight_hh_l0]

    def forward(self, x: Tensor, lengths: Tensor, state=None):
        if self.training and state is None:
            y, after = self.recurrence(x)[0] * valid_frames(lengths, x.shape[1]).unsqueeze(-1), None
        else:
            y, after = self._packed(x, lengths, state)
        mask = sequence_mask(y.shape[0], self.output_size, self.dropout, self.training, y)
        return (y if mask is None else y * mask.unsqueeze(1)), after

    def _packed(self, x: Tensor, lengths: Tensor, state):
        # A packed sequence has no empty rows: those are computed over one frame and put back afterwards.
        empty = lengths == 0
        packed = pack_padded_sequence(x, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
        y, after = self.recurrence(packed, state)
        y, _ = pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
        if empty.any():
            y = y * ~empty[:, None, None]
            after = _keep(after, state, empty)
        return y, after


def _keep(after, before, rows: Tensor):
    """States (1, B, H), or a tuple of them, with ``rows`` as they were before (None: zero)."""
    if isinstance(after, tuple):
        befores = before if before is not None else [None] * len(after)
        return tuple(_keep(*pair, rows) for pair in zip(after, befores, strict=True))
    old = torch.zeros_like(after) if before is None else before
    return torch.where(rows[None, :, None], old, after)


def check_dropout(dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise UsageError(f"dropout={dropout} must lie in [0, 1)", "dropout")
