"""A training step as CUDA graphs: the same bits as the same work without them, whatever the batch holds."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.normalization import Normalization
from snn_asr.efficiency.operations import record_layers
from snn_asr.network.lengths import Lengths
from snn_asr.network.model import AcousticModel, ModelSettings
from snn_asr.training.step_graphs import ROWS, STEPS, StepGraphs, filled_up, step_graphs

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
    tensors = [(a, b) for a, b in ((one[0], other[0]), (one[1], other[1])) if a is not None]
    tensors += [(one[2][name], other[2][name]) for name in one[2]]
    return all(torch.equal(a, b) for a, b in tensors)


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


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
class TestOnAGpu:
    @pytest.mark.parametrize("encoder", CAPTURED)
    def test_replays_give_the_bits_of_the_step_itself(self, encoder):
        """Each batch of a shape is compared with the first of another object, which has no graphs yet."""
        model = model_of(encoder, "cuda", **CAPTURED[encoder])
        start = {name: each.clone() for name, each in model.state_dict().items()}
        graphs = step_graphs(model, partial(network, model), "cuda")
        assert isinstance(graphs, StepGraphs)
        torch.manual_seed(5)
        for number, counts in enumerate([(30, 9, 21), (31, 31), (25, 1, 2, 17, 32), (12,)]):
            given = batch("cuda", *counts)
            model.load_state_dict(start)
            replayed = step(graphs, model, *given)
            after = {name: each.clone() for name, each in model.state_dict().items()}
            model.load_state_dict(start)
            wanted = step(StepGraphs(model, partial(network, model)), model, *given)
            assert equal(replayed, wanted), number
            assert all(torch.equal(each, after[name]) for name, each in model.state_dict().items())
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
