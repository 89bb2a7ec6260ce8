"""What all spiking layers share: an input product for all frames at once, its normalisation, and a cell's sequence."""

from __future__ import annotations

import importlib
from abc import abstractmethod
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from snn_asr import processes
from snn_asr.errors import UsageError
from snn_asr.network.batch_norm import BatchNorm, folded
from snn_asr.network.cells import CellParameters, CellState
from snn_asr.network.kernels import backend_of, choose_backend, load, run_sequence
from snn_asr.network.layers.base import Layer, LayerParts
from snn_asr.network.lengths import Lengths


def check_dropout(dropout: float) -> None:
    """Raise UsageError for a share that is not in [0, 1)."""
    if not 0 <= dropout < 1:
        raise UsageError(f"dropout={dropout} must lie in [0, 1)", "dropout")


def sequence_mask(batch: int, size: int, dropout: float, training: bool, like: Tensor) -> Tensor | None:
    """A dropout mask (B, H) for all frames, scaled to keep the mean; None if nothing is dropped."""
    if not training or dropout == 0:
        return None
    return torch.bernoulli(like.new_full((batch, size), 1 - dropout)) / (1 - dropout)


def mean_outputs(outputs: Tensor, lengths: Tensor | Lengths) -> Tensor:
    """The mean (H,) over the valid frames of all processes of ``outputs`` (B, T, H), which are zero in the padding."""
    frames = processes.total(Lengths.of(lengths, outputs).tensor.sum()).clamp(min=1)
    return processes.differentiable_total(outputs.sum((0, 1))) / frames


def drop_units(outputs: Tensor, dropout: float, training: bool) -> Tensor:
    """The outputs (B, T, H) multiplied by a new ``sequence_mask``."""
    mask = sequence_mask(len(outputs), outputs.shape[-1], dropout, training, outputs)
    return outputs if mask is None else outputs * mask.unsqueeze(1)


class DrivenLayer(Layer):
    """The base of the spiking layers: W x of all frames, normalised or with a bias, drives the units of ``cell``.

    ``cell`` is a module of cells/. W starts Kaiming-uniform with gain 1 (Ponghiran & Roy). A layer with recurrent
    weights sets ``recurrent_weight``.
    """

    def __init__(
        self, cell: ModuleType, input_size: int, hidden_size: int, *, dropout: float, backend: str,
        normalize: bool = True,
    ) -> None:
        super().__init__(hidden_size, backend)
        check_dropout(dropout)
        self.cell, self.dropout = cell, dropout
        rows = cell.GATES * hidden_size
        self.input_weight = nn.Parameter(torch.empty(rows, input_size))
        self.normalization = BatchNorm(rows) if normalize else None
        self.bias = None if normalize else nn.Parameter(torch.zeros(rows))
        self.recurrent_weight: nn.Parameter | None = None
        nn.init.kaiming_uniform_(self.input_weight, nonlinearity="linear")

    def __getstate__(self) -> dict[str, Any]:
        """The state of a copy, which has the name of the cell: modules cannot be copied."""
        return {**self.__dict__, "cell": self.cell.__name__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "cell": importlib.import_module(state["cell"])})

    def core_weights(self) -> list[Tensor]:
        weights = [self.input_weight, self.recurrent_weight]
        return [each for each in weights if each is not None]

    @property
    def sends_events(self) -> bool:
        return True

    @abstractmethod
    def cell_parameters(self) -> CellParameters:
        """The Parameters of the cell with the values learned so far. What a batch brings along, a dropout mask or a
        coder, is None."""

    def parts(self) -> LayerParts:
        """W, U, and the normalisation or the bias of W x. The layer of a cell adds what that cell has besides."""
        if self.normalization is not None:
            scale, offset = folded(self.normalization)
        else:
            assert self.bias is not None
            scale, offset = torch.ones_like(self.bias), self.bias
        name = self.cell.__name__.rpartition(".")[2]
        return LayerParts(name, self.input_weight, self.recurrent_weight, scale, offset)

    def mask(self, like: Tensor) -> Tensor | None:
        """The dropout mask of a batch whose drives are ``like`` (B, T, ...)."""
        return sequence_mask(len(like), self.output_size, self.dropout, self.training, like)

    def drive(self, x: Tensor, lengths: Tensor | Lengths) -> Tensor:
        """BN(W x), or W x + b, as (B, T, gates · H); product and statistics take valid frames only."""
        lengths = Lengths.of(lengths, x)
        packed = lengths.pack(x)
        if torch.is_grad_enabled() and x.device.type == "cpu":
            product = nn.functional.linear(packed, self.input_weight).to(self.input_weight.dtype)  # mixed precision
        else:
            product = load(choose_backend(self.backend, x.device)).linear(packed, self.input_weight)
        if self.normalization is None:
            assert self.bias is not None
            product = product + self.bias
        else:
            product = self.normalization(product, lengths)
        return lengths.unpack(product)

    def run(
        self, drive: Tensor, lengths: Lengths, state: CellState | None, parameters: CellParameters,
        frame_by_frame: bool = False,
    ) -> tuple[Tensor, CellState, CellState]:
        """Run the cell over all frames, as ``kernels.run_sequence`` does; a missing state is zero."""
        if state is None:
            state = self.cell.initial_state(len(drive), self.output_size, parameters, drive)
        backend = choose_backend(self.backend, drive.device, frame_by_frame)
        kind, recurrent = drive.device.type, getattr(parameters, "recurrent", None)
        on_gpu = backend_of(backend, self.cell, parameters) in ("triton", "cuda")
        if recurrent is not None and on_gpu and torch.is_autocast_enabled(kind):
            parameters = parameters._replace(recurrent=recurrent.to(torch.get_autocast_dtype(kind)))
        with torch.autocast(kind, enabled=False):  # mixed precision is for products; the states stay as they are
            return run_sequence(self.cell, drive, lengths, state, parameters, backend)
