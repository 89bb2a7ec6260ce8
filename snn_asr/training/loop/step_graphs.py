"""The network's part of a training step on a GPU as two CUDA graphs, forward and backward.

A batch of 20 seconds of speech keeps a GPU busy for one or two milliseconds, but the host needs ten to send it some six
hundred kernels. Captured once and replayed, they are sent by two calls.

A graph does the same work in the same places in memory. Batches are therefore padded to one of a few shapes, with empty
rows and with frames beyond the lengths, and only the device knows the lengths (``LengthsOnDevice``). The first batch of
a shape runs without graphs, which compiles and loads what it needs; the second is captured, and replayed from then on.
Both ways do the same work on the same shapes, so that a training that was interrupted continues bit for bit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from snn_asr import devices, processes
from snn_asr.network.kernels import choose_backend
from snn_asr.network.layers.base import Layer
from snn_asr.network.layers.coded import CodedLayer
from snn_asr.network.layers.driven import DrivenLayer
from snn_asr.network.layers.gated import GatedLayer
from snn_asr.network.layers.gru_lstm import GruLstmLayer
from snn_asr.network.layers.leaky_integrate_and_fire import LeakyIntegrateAndFireLayer
from snn_asr.network.lengths import Lengths, LengthsOnDevice
from snn_asr.network.model import AcousticModel

ROWS, STEPS = 8, 16  # batches are padded to multiples of these at least
MOST_STEPS = 16_384  # of all rows together: a larger batch keeps a GPU busy while the host sends the next one
MOST_SHAPES = 256  # that are captured; further shapes run without graphs
Network = Callable[[Tensor, Lengths], tuple[Tensor, Tensor | None]]

log = logging.getLogger(__name__)


def step_graphs(model: AcousticModel, network: Network, device: torch.device | str) -> StepGraphs | None:
    """``network`` as graphs, or None if ``model`` cannot be captured on this device."""
    device = torch.device(device)
    if device.type != "cuda" or processes.world() > 1 or model.front_end is not None or model.error_at_every_step:
        return None
    encoder = model.encoder
    if encoder.input_coder is not None or not all(_can_be_captured(each, device) for each in encoder.one_way_layers):
        return None
    return StepGraphs(model, network)


def _can_be_captured(layer: Layer, device: torch.device) -> bool:
    """Whether a layer's forward and backward pass take nothing from the host that differs between batches, and run as
    kernels for whole sequences."""
    if isinstance(layer, GruLstmLayer):
        return True
    if not isinstance(layer, (CodedLayer, LeakyIntegrateAndFireLayer)):
        return False
    settings = None if layer.tracker is None else layer.tracker.settings
    if settings is not None and (settings.follows_membranes or settings.powers):
        return False
    if isinstance(layer, GatedLayer) and layer.shifting:
        return False
    return _in_whole_sequences(layer, choose_backend(layer.backend, device))


def _in_whole_sequences(layer: DrivenLayer, backend: str) -> bool:
    if layer.recurrent_weight is None:
        return backend in ("cuda", "triton")  # a scan
    if isinstance(layer, GatedLayer) and (layer.tracker is None or layer.recurrent_smoothing):
        return False
    return backend == "cuda"


class StepGraphs:
    """A replacement of ``network`` in training: from frames (B, T, F) and lengths to logits (B, T // stack, N) and a
    scalar or None.

    It is called like ``network``, and is differentiable in the model's parameters like it.
    """

    def __init__(self, model: AcousticModel, network: Network) -> None:
        self._network, self._stack = network, model.settings.features.stack
        self._parameters = [each for each in model.parameters() if each.requires_grad]
        self._normalizations = [each for each in model.modules() if isinstance(each, nn.BatchNorm1d)]
        self._seen: set[Hashable] = set()
        self._graphs: dict[Hashable, _Graphs] = {}
        self._gradients: list[Tensor] = []  # where the graphs of all shapes leave them, one for each parameter
        self._pool: Any = None
        self._off = False

    def __call__(self, frames: Tensor, lengths: Lengths) -> tuple[Tensor, Tensor | None]:
        rows, steps = filled_up(len(frames), ROWS), filled_up(-(-frames.shape[1] // self._stack), STEPS)
        if rows * steps > MOST_STEPS:
            return self._network(frames, lengths)
        filled, counts = self._filled(frames, lengths, rows, steps * self._stack)
        training = tuple(each.training for each in self._normalizations)
        key = (filled.shape, filled.dtype, training, torch.is_autocast_enabled("cuda"))
        wanted = key in self._seen and key not in self._graphs
        if wanted and not self._off and len(self._graphs) < MOST_SHAPES:
            self._capture(key, filled, counts)
        self._seen.add(key)
        if key in self._graphs:
            logits, activity = self._graphs[key](filled, counts, self._parameters)
        else:
            logits, activity = _without_cache(self._network, filled, LengthsOnDevice(counts, filled.shape[1]))
        return logits[: len(frames), : frames.shape[1] // self._stack], activity

    def _filled(self, frames: Tensor, lengths: Lengths, rows: int, count: int) -> tuple[Tensor, Tensor]:
        filled = frames.new_zeros(rows, count, frames.shape[2])
        filled[: len(frames), : frames.shape[1]] = frames
        counts = [*lengths.counts, *[0] * (rows - len(frames))]
        return filled, devices.send(torch.tensor(counts, dtype=torch.int64), frames.device)

    def _capture(self, key: Hashable, frames: Tensor, counts: Tensor) -> None:
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
            self._gradients = [torch.zeros_like(each) for each in self._parameters]
        try:
            self._graphs[key] = _Graphs(
                self._network, frames, counts, self._parameters, self._gradients, self._pool
            )
        except RuntimeError as error:
            self._off, self._graphs, self._gradients = True, {}, []
            torch.cuda.synchronize()
            generator = torch.cuda.default_generators[frames.get_device()]
            generator.graphsafe_set_state(generator.clone_state())  # a state that is not part of the failed capture
            log.info("training steps run without CUDA graphs (%s)", str(error).splitlines()[0])


class _Graphs:
    """Both graphs of one shape, and the places in memory that they read and write.

    Graphs of all shapes share the memory between forward and backward, because only one of them runs at a time.
    """

    def __init__(
        self, network: Network, frames: Tensor, counts: Tensor, parameters: list[nn.Parameter],
        gradients: list[Tensor], pool: Any,
    ) -> None:
        self.frames, self.counts = frames.clone(), counts.clone()
        self.forward, self.backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        lengths = LengthsOnDevice(self.counts, frames.shape[1])
        with torch.cuda.graph(self.forward, pool=pool, capture_error_mode="thread_local"):
            found = _without_cache(network, self.frames, lengths)
        outputs = [each for each in found if each is not None]
        self.to_outputs = [torch.zeros_like(each) for each in outputs]
        with torch.autocast("cuda", enabled=False), torch.cuda.graph(
            self.backward, pool=pool, capture_error_mode="thread_local"
        ):
            made = torch.autograd.grad(outputs, parameters, self.to_outputs, allow_unused=True)
            pairs = list(zip(gradients, made, strict=True))
            self.gradients = [None if each is None else place for place, each in pairs]
            used = [(place, each) for place, each in pairs if each is not None]
            torch._foreach_copy_([place for place, _ in used], [each for _, each in used])
        self.outputs = [each.detach() for each in outputs]

    def __call__(
        self, frames: Tensor, counts: Tensor, parameters: Iterable[nn.Parameter]
    ) -> tuple[Tensor, Tensor | None]:
        self.frames.copy_(frames)
        self.counts.copy_(counts)
        logits, *activity = _Replayed.apply(self, *parameters)
        return logits, activity[0] if activity else None


class _Replayed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, graphs: _Graphs, *_: Tensor) -> tuple[Tensor, ...]:
        ctx.graphs = graphs
        graphs.forward.replay()
        return tuple(each.clone() for each in graphs.outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        graphs: _Graphs = ctx.graphs
        for place, gradient in zip(graphs.to_outputs, gradients, strict=True):
            place.zero_() if gradient is None else place.copy_(gradient)
        graphs.backward.replay()
        # Copies, because the next replay writes to the same places while gradients of several batches are summed.
        copies = iter(torch._foreach_mul([each for each in graphs.gradients if each is not None], 1.0))
        return None, *(None if each is None else next(copies) for each in graphs.gradients)


def _without_cache(network: Network, frames: Tensor, lengths: Lengths) -> tuple[Tensor, Tensor | None]:
    """``network`` without autocast's cache of narrow weights, which would outlive the graph that it was captured in."""
    kind, enabled = torch.get_autocast_dtype("cuda"), torch.is_autocast_enabled("cuda")
    with torch.autocast("cuda", kind, enabled=enabled, cache_enabled=False):
        return network(frames, lengths)


def filled_up(count: int, each: int) -> int:
    """``count`` rounded up to a multiple of ``each`` or, if that is larger, of a quarter of the power of two below it.

    So there are only a few results, and a large count grows by a quarter at most.
    """
    each = max(each, 1 << max(count.bit_length() - 3, 0))
    return -(-count // each) * each
