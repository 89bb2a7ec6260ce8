"""A training step as CUDA graphs: the same bits as the same work without them, whatever the batch holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from marks import graded
from short_runs import BATCHES, assert_same_run, finished_epochs, interrupt_at
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.normalization import Normalization
from snn_asr.efficiency.operations import record_layers
from snn_asr.errors import InterruptedRun
from snn_asr.network.lengths import Lengths
from snn_asr.network.model import AcousticModel, ModelSettings
from snn_asr.training.loop.step_graphs import ROWS, STEPS, StepGraphs, filled_up, step_graphs

FEATURES = FeatureSettings(mels=6, stack=2)
CAPTURED = {
    "improved_v2": {"range": "fixed", "smoothing": 0.5, "learn_smoothing": True},
    "improved_v1": {"range": "fixed", "smoothing": 0.5},
    "lif": {"range": "fixed"},
    "radlif": {"learn_smoothing": True, "smoothing": 0.5},
    "adlif": {},
    "gru": {},
    "lstm": {},
}


def model_of(encoder: str, device: str, **options: object) -> AcousticModel:
    torch.manual_seed(3)
    settings = ModelSettings(FEATURES, encoder, 16, 2, options, "input")
    normalization = Normalization(torch.zeros(FEATURES.size), torch.ones(FEATURES.size))
    return AcousticModel(settings, normalization, 5).to(device).train()


def network(model: AcousticModel, frames: Tensor, lengths: Lengths) -> tuple[Tensor, Tensor | None]:
    with record_layers(model.encoder) as records:
        logits, _, _ = model(frames, lengths, normalized=True)
    found = [each.layer.activity(each.y, each.lengths) for each in records]
    return logits, None if None in found else sum(found)


def batch(device: str, *counts: int) -> tuple[Tensor, Lengths]:
    frames = torch.randn(len(counts), max(counts), FEATURES.size, device=device)
    return frames, Lengths.of(torch.tensor(counts), frames)


def step(run, model: AcousticModel, frames: Tensor, lengths: Lengths) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Logits, activity and gradients of one step that draws its dropout from a generator of its own."""
    model.zero_grad()
    torch.manual_seed(7)
    logits, activity = run(frames, lengths)
    weights = torch.linspace(-1, 1, logits.numel(), device=logits.device).view_as(logits)
    mask = lengths.divided(FEATURES.stack).mask.unsqueeze(-1)
    ((logits * weights * mask).sum() + (0 if activity is None else 3 * activity)).backward()
    activity = None if activity is None else activity.detach()
    return logits.detach(), activity, {name: each.grad for name, each in model.named_parameters()}


def equal(one, other) -> bool:
    pairs = [(one[0], other[0]), (one[1], other[1]), *((one[2][name], other[2][name]) for name in one[2])]
    return all(a is b if a is None else torch.equal(a, b) for a, b in pairs)


def require_the_step_itself(
    graphs: StepGraphs, model: AcousticModel, frames: Tensor, lengths: Lengths
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """A step by graphs, whose bits and what it leaves in the model are those of a first step, which has no graphs."""
    start = {name: each.clone() for name, each in model.state_dict().items()}
    found = step(graphs, model, frames, lengths)
    after = {name: each.clone() for name, each in model.state_dict().items()}
    model.load_state_dict(start)
    wanted = step(StepGraphs(model, partial(network, model)), model, frames, lengths)
    assert equal(found, wanted), lengths.counts
    assert all(torch.equal(each, after[name]) for name, each in model.state_dict().items())
    return found


@pytest.mark.parametrize("encoder", CAPTURED)
def test_there_are_none_without_a_gpu(encoder):
    model = model_of(encoder, "cpu", **CAPTURED[encoder])
    assert step_graphs(model, partial(network, model), "cpu") is None


def test_batches_are_filled_up_to_few_sizes():
    sizes = {count: filled_up(count, STEPS) for count in range(1, 2000)}
    assert all(count <= size and size % STEPS == 0 for count, size in sizes.items())
    assert all(size <= 1.25 * count + STEPS for count, size in sizes.items())
    assert len(set(sizes.values())) < 30
    assert [filled_up(count, ROWS) for count in (1, 8, 9, 31, 32, 33, 65)] == [8, 8, 16, 32, 32, 40, 80]


class Recorded:
    """Stands for a CUDA graph on a CPU: torch's operations, done again on the tensors that they were done on.

    Unlike a GPU it does them while they are recorded, too; ``recording`` puts back what that changed.
    """

    def __init__(self) -> None:
        self.operations: list[tuple] = []

    def replay(self) -> None:
        with torch.no_grad():
            for function, arguments, options, results in self.operations:
                again = function(*arguments, **options)
                for old, new in zip(tree_leaves(results), tree_leaves(again), strict=True):
                    if isinstance(old, Tensor) and old is not new:
                        old.copy_(new)


class Recorder(TorchDispatchMode):
    def __init__(self, graph: Recorded) -> None:
        super().__init__()
        self.graph = graph

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        results = function(*arguments, **(options or {}))
        self.graph.operations.append((function, arguments, options or {}, results))
        return results


@pytest.fixture
def emulated(monkeypatch):
    """``StepGraphs`` of a model and its network on a CPU."""

    def graphs(model: AcousticModel, of: Callable) -> StepGraphs:
        @contextmanager
        def recording(graph: Recorded, **_: object) -> Iterator[None]:
            before, drawn = {name: each.clone() for name, each in model.named_buffers()}, torch.get_rng_state()
            with Recorder(graph):
                yield
            torch.set_rng_state(drawn)
            for name, each in model.named_buffers():
                each.data.copy_(before[name])

        monkeypatch.setattr(torch.cuda, "graph", recording)
        return StepGraphs(model, of)

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Recorded)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    return graphs


OF_SEVERAL_OPERATIONS = [each for each in CAPTURED if each not in ("gru", "lstm")]


@pytest.mark.parametrize("encoder", graded(OF_SEVERAL_OPERATIONS, fast=["improved_v2"]))
def test_whatever_is_replayed_is_the_step_itself(encoder, emulated):
    """Two shapes in turns, whose graphs leave gradients in the same place, and an input weight that nothing uses."""
    model = model_of(encoder, "cpu", **CAPTURED[encoder])
    model.use_backend("reference")
    model.unused = torch.nn.Parameter(torch.ones(3))
    graphs = emulated(model, partial(network, model))
    for counts in [(30, 9, 21), (40,), (31, 31), (39, 2), (25, 1, 2), (38, 33)]:
        found = require_the_step_itself(graphs, model, *batch("cpu", *counts))
    assert len(graphs._graphs) == 2 and not graphs._off
    assert found[2]["unused"] is None


def test_gradients_of_several_batches_add_up(emulated):
    model = model_of("improved_v2", "cpu", dropout=0.0, **CAPTURED["improved_v2"])
    model.use_backend("reference")
    for each in model.modules():
        if isinstance(each, torch.nn.BatchNorm1d):
            each.eval()
    graphs, batches = emulated(model, partial(network, model)), [batch("cpu", 20, 11) for _ in range(3)]
    wanted = {name: torch.zeros_like(each) for name, each in model.named_parameters()}
    for given in batches:
        for name, gradient in step(graphs, model, *given)[2].items():
            wanted[name] += gradient
    model.zero_grad()
    for frames, lengths in batches:
        logits, activity = graphs(frames, lengths)
        weights = torch.linspace(-1, 1, logits.numel()).view_as(logits)
        mask = lengths.divided(FEATURES.stack).mask.unsqueeze(-1)
        ((logits * weights * mask).sum() + 3 * activity).backward()
    for name, each in model.named_parameters():
        torch.testing.assert_close(each.grad, wanted[name], msg=name)


@pytest.mark.thorough
def test_a_training_that_is_replayed_goes_on_bit_for_bit(emulated, short_train, tmp_path, monkeypatch):
    """Where it goes on, the first batches run without graphs again."""
    from snn_asr.training.loop import brain

    made: list[StepGraphs] = []

    def graphs(model: AcousticModel, of: Callable, _: object) -> StepGraphs:
        model.use_backend("reference")
        made.append(emulated(model, of))
        return made[-1]

    monkeypatch.setattr(brain, "step_graphs", graphs)
    options = {"encoder": "improved_v2", "range": "fixed", "backend": "reference", "batch_norm_epochs": 1, "epochs": 2}
    whole = short_train(tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        interrupt_at(patch, "RecognizerBrain", "fit_batch", BATCHES + 6)
        with pytest.raises(InterruptedRun):
            short_train(tmp_path / "run", **options)
    assert finished_epochs(tmp_path / "run") == 1
    assert_same_run(short_train(tmp_path / "run", **options), whole)
    assert all(each._graphs for each in made)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
class TestOnAGpu:
    @pytest.mark.parametrize("encoder", CAPTURED)
    def test_replays_give_the_bits_of_the_step_itself(self, encoder):
        """Each batch of a shape is compared with the first of another object, which has no graphs yet."""
        model = model_of(encoder, "cuda", **CAPTURED[encoder])
        graphs = step_graphs(model, partial(network, model), "cuda")
        assert isinstance(graphs, StepGraphs)
        torch.manual_seed(5)
        for counts in [(30, 9, 21), (31, 31), (25, 1, 2, 17, 32), (12,)]:
            require_the_step_itself(graphs, model, *batch("cuda", *counts))
        assert not graphs._off and len(graphs._graphs) == 1

    @pytest.mark.parametrize("encoder", CAPTURED)
    def test_a_filled_batch_gives_what_the_plain_one_gives(self, encoder):
        model = model_of(encoder, "cuda", dropout=0.0, **CAPTURED[encoder])
        start = {name: each.clone() for name, each in model.state_dict().items()}
        graphs, given = StepGraphs(model, partial(network, model)), batch("cuda", 30, 9, 21)
        wanted = step(partial(network, model), model, *given)
        model.load_state_dict(start)
        found = step(graphs, model, *given)
        mask = given[1].divided(FEATURES.stack).mask.unsqueeze(-1)
        torch.testing.assert_close(found[0] * mask, wanted[0] * mask, rtol=1e-4, atol=1e-4)
        for name, gradient in wanted[2].items():
            torch.testing.assert_close(found[2][name], gradient, rtol=1e-3, atol=1e-3, msg=name)

    def test_other_shapes_and_modes_have_graphs_of_their_own(self):
        model = model_of("improved_v2", "cuda", **CAPTURED["improved_v2"])
        graphs = StepGraphs(model, partial(network, model))
        for _ in range(2):
            step(graphs, model, *batch("cuda", 20))
            step(graphs, model, *batch("cuda", *[20] * (ROWS + 1)))
            step(graphs, model, *batch("cuda", FEATURES.stack * STEPS + 1))
        assert len(graphs._graphs) == 3
        for each in model.modules():
            if isinstance(each, torch.nn.BatchNorm1d):
                each.eval()
        for _ in range(3):
            frozen = step(graphs, model, *batch("cuda", 20))
        assert len(graphs._graphs) == 4 and frozen[0].isfinite().all()

    @pytest.mark.parametrize(("encoder", "options"), [
        ("improved_v2", {}), ("improved_v2", {"range": "fixed", "levels": "powers_of_two"}), ("ligru", {}),
        ("spiking_lstm", {}), ("delta_gru", {}), ("improved_v2", {"range": "fixed", "input_coding": "delta"}),
    ])
    def test_what_cannot_be_captured_runs_as_before(self, encoder, options):
        model = model_of(encoder, "cuda", **options)
        assert step_graphs(model, partial(network, model), "cuda") is None

    def test_a_capture_that_fails_is_said_and_the_steps_go_on(self, caplog):
        model = model_of("improved_v2", "cuda", **CAPTURED["improved_v2"])
        model.use_backend("triton")  # whose walk by frames is a graph of its own
        graphs, given = StepGraphs(model, partial(network, model)), batch("cuda", 30, 9, 21)
        with caplog.at_level("INFO"):
            steps = [step(graphs, model, *given) for _ in range(3)]
        assert graphs._off and "without CUDA graphs" in caplog.text
        assert all(each.isfinite().all() for found in steps for each in found[2].values())

    def test_so_are_those_that_cuda_itself_refuses(self, caplog):
        """The random numbers go on as if nothing had been tried."""
        model = model_of("improved_v2", "cuda", **CAPTURED["improved_v2"])

        def reading(frames: Tensor, lengths: Lengths) -> tuple[Tensor, Tensor | None]:
            float(frames.sum())  # waits for the device
            return network(model, frames, lengths)

        graphs, given = StepGraphs(model, reading), batch("cuda", 30, 9, 21)
        with caplog.at_level("INFO"):
            steps = [step(graphs, model, *given) for _ in range(3)]
        assert graphs._off and not graphs._graphs and "without CUDA graphs" in caplog.text
        for name, gradient in steps[1][2].items():
            assert torch.equal(gradient, steps[2][2][name]), name
