"""The convolutional front end against its definition in loops; padding, company, chunks, the future change nothing."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.efficiency.operation_count import INPUT, OperationCount, Products
from snn_asr.efficiency.operations import count_batch, record_layers
from snn_asr.errors import UsageError
from snn_asr.files import read_json, write_text
from snn_asr.network import front_end as front_ends
from snn_asr.network.encoders import build
from snn_asr.network.front_end import PRESETS, FrontEnd, FrontEndSettings, named

FEATURES = FeatureSettings(mels=7, deltas=True, stack=6)
SETTINGS = FrontEndSettings((4, 5, 3), (2, 1, 3), (1, 2, 2))
SMALL = FrontEndSettings((2, 3), (1, 2), (2, 1))
SMALL_FEATURES = FeatureSettings(mels=4, stack=2)


@cache
def trained(chosen: FrontEndSettings = SETTINGS, features: FeatureSettings = FEATURES) -> FrontEnd:
    """In evaluation mode, with the statistics of two batches; tests must not change it."""
    torch.manual_seed(2)
    front_end = FrontEnd(chosen, features)
    for layer in front_end.layers:
        torch.nn.init.normal_(layer.normalization.weight)
        torch.nn.init.normal_(layer.normalization.bias)
    for _ in range(2):
        front_end(torch.randn(3, 30, features.size), torch.tensor([30, 24, 13]))
    return front_end.eval()


def frames_of(count: int, seed: int = 0, size: int = FEATURES.size) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def outputs(utterances: list[torch.Tensor]) -> list[torch.Tensor]:
    """What each gives in a batch of all, padded with what must not matter."""
    lengths = torch.tensor([len(each) for each in utterances])
    padded = pad_sequence(utterances, batch_first=True, padding_value=1e3)
    results, _ = trained()(padded, lengths)
    return [result[: length // 6] for result, length in zip(results, lengths.tolist(), strict=True)]


def patch(x: list, t: int, f: int, layer) -> list:
    """What output t of band f sees of x[time][band][channel], (channels, k, k) in order; nothing is zero."""
    first, lowest = (t + 1) * layer.time_stride - layer.kernel, f * layer.frequency_stride - layer.kernel // 2
    offsets = range(layer.kernel)
    near = [(first + later, lowest + higher) for later in offsets for higher in offsets]
    channels = range(len(x[0][0]))
    return [
        x[time][band][channel] if time >= 0 and 0 <= band < len(x[0]) else 0.0
        for channel in channels for time, band in near
    ]


def convolved(x: list, layer) -> list:
    """y[time][band][channel] of x by the definition, on Python's numbers."""
    norm = layer.normalization
    weights = [row.flatten().tolist() for row in layer.convolution.weight]
    mean, variance, gain, shift = (
        each.tolist() for each in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    bands = math.ceil(len(x[0]) / layer.frequency_stride)
    y = []
    for t in range(len(x) // layer.time_stride):
        y.append([])
        for f in range(bands):
            seen = patch(x, t, f, layer)
            sums = [sum(a * b for a, b in zip(row, seen, strict=True)) for row in weights]
            y[-1].append([
                max(0.0, (total - mean[c]) / math.sqrt(variance[c] + norm.eps) * gain[c] + shift[c])
                for c, total in enumerate(sums)
            ])
    return y


def test_outputs_are_those_of_the_definition():
    frames = frames_of(14)
    x = [[[row[7 * order + band] for order in range(3)] for band in range(7)] for row in frames.tolist()]
    for layer in trained().layers:
        x = convolved(x, layer)
    expected = [[frame[band][channel] for channel in range(3) for band in range(2)] for frame in x[:2]]
    torch.testing.assert_close(outputs([frames])[0], torch.tensor(expected), rtol=1e-4, atol=1e-5)
    with_gradient, _ = trained()(frames.unsqueeze(0), torch.tensor([14]))
    torch.testing.assert_close(with_gradient[0].detach(), torch.tensor(expected), rtol=1e-4, atol=1e-5)
    assert (torch.tensor(expected) > 0).any() and (torch.tensor(expected) == 0).any()


@settings(max_examples=30)
@given(counts=st.lists(st.integers(0, 40), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_alone_or_in_any_company_the_outputs_are_the_same_bits(counts, seed):
    utterances = [frames_of(count, seed + row) for row, count in enumerate(counts)]
    for utterance, result in zip(utterances, outputs(utterances), strict=True):
        assert result.shape == (len(utterance) // 6, 6)
        assert torch.equal(outputs([utterance])[0], result)


@settings(max_examples=30)
@given(cuts=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=5))
@torch.no_grad()
def test_two_utterances_in_chunks_of_their_own_lengths_give_the_whole(cuts):
    """Each pair is the steps that the two rows get in a chunk; what stands beyond a row's own is not taken."""
    totals = [6 * sum(each) for each in zip(*cuts, strict=True)]
    utterances, taken, state = [frames_of(total, row) for row, total in enumerate(totals)], [0, 0], None
    pieces: list[list[torch.Tensor]] = [[], []]
    for cut in cuts:
        ends = [start + 6 * steps for start, steps in zip(taken, cut, strict=True)]
        parts = [each[start:end] for each, start, end in zip(utterances, taken, ends, strict=True)]
        padded = pad_sequence(parts, batch_first=True, padding_value=1e3)
        results, state = trained()(padded, torch.tensor([6 * steps for steps in cut]), state)
        for row, steps in enumerate(cut):
            pieces[row].append(results[row, :steps])
        taken = ends
    for piece, utterance in zip(pieces, utterances, strict=True):
        assert torch.equal(torch.cat(piece), outputs([utterance])[0])


def test_no_output_depends_on_frames_to_come():
    frames = frames_of(36)
    before = outputs([frames])[0]
    for changed in range(36):
        other = frames.clone()
        other[changed] += 3
        differs = (outputs([other])[0] != before).any(dim=1).nonzero().flatten().tolist()
        assert differs and differs[0] == changed // 6


def test_patches_by_the_piece_give_the_same_bits(monkeypatch):
    whole = outputs([frames_of(31), frames_of(12, 1)])
    monkeypatch.setattr(front_ends, "PATCH_VALUES", 1)
    assert all(map(torch.equal, outputs([frames_of(31), frames_of(12, 1)]), whole))


def test_training_normalises_over_valid_frames_only():
    """The first layer's statistics, by hand: those of its convolution over both rows' own frames."""
    frames, lengths = frames_of(24).reshape(2, 12, 21), torch.tensor([12, 7])  # 6 and 3 outputs; the 7th is dropped
    results = []
    for padding in (0.0, 1e3):
        torch.manual_seed(4)
        front_end = FrontEnd(SETTINGS, FEATURES)
        frames[1, 6:] = padding
        results.append(front_end(frames, lengths)[0])
        results[-1].sum().backward()
        assert all(each.grad is not None and each.grad.isfinite().all() for each in front_end.parameters())
    assert torch.equal(*results) and not results[0][1, 1:].any()
    norm, weight = front_end.layers[0].normalization, front_end.layers[0].convolution.weight
    bands = frames.unflatten(2, (3, 7)).transpose(1, 2)  # (B, 3, T, 7)
    raw = torch.nn.functional.conv2d(torch.nn.functional.pad(bands, (1, 1, 1, 0)), weight, stride=(2, 1))
    valid = torch.cat([raw[0], raw[1, :, :3]], dim=1).flatten(1)
    torch.testing.assert_close(norm.running_mean, 0.1 * valid.mean(1))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * valid.var(1))


@pytest.mark.parametrize(
    ("name", "stack", "size", "parameters"),
    [
        ("crdnn", 2, 256 * 10, 9 * (128 + 128 * 128 + 128 * 256 + 256 * 256) + 2 * 768),
        ("subsample4", 4, 64 * 10, 9 * (64 + 64 * 64) + 2 * 128),
    ],
)
def test_named_front_ends_on_40_bands(name, stack, size, parameters):
    features = FeatureSettings(stack=stack)
    front_end = FrontEnd(named(name), features)
    named(name).check(features)
    assert PRESETS[name].output_size(features) == front_end.output_size == size
    assert sum(each.numel() for each in front_end.parameters()) == parameters
    y, _ = front_end.eval()(torch.randn(1, 9, 40), torch.tensor([9]))
    assert y.shape == (1, 9 // stack, size)


def test_without_a_front_end_the_input_is_stacked_frames():
    named("none").check(FeatureSettings(kind="mfcc", stack=5))
    assert named("none").output_size(FEATURES) == 6 * 21
    assert named(SETTINGS) is SETTINGS


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: named("crdn"), "did you mean 'crdnn'"),
        (lambda: named(None), "did you mean 'none'"),
        (lambda: named(["crdnn"]), "unknown front_end"),
        (lambda: FrontEndSettings((4,), (1, 1), (1,)), r"time_strides: \(1, 1\); must be 1 numbers"),
        (lambda: FrontEndSettings((4,), (4,), (1,)), r"time_strides: \(4,\); must be .* from 1 to 3"),
        (lambda: FrontEndSettings((4,), (1,), (0,)), "frequency_strides"),
        (lambda: FrontEndSettings((0.5,), (1,), (1,)), "channels"),
        (lambda: FrontEndSettings(4, (1,), (1,)), "channels: 4"),
        (lambda: FrontEndSettings((4,), (1,), (1,), 4), "kernel: 4; must be an odd number"),
        (lambda: FrontEndSettings.from_dict({"chanels": [4]}), "did you mean 'channels'"),
        (lambda: named("crdnn").check(FeatureSettings(stack=3)), "2 frames a step, but stack is 3; give stack=2"),
        (lambda: named("crdnn").check(FeatureSettings(kind="mfcc", stack=2)), "use features=fbank, or front_end=none"),
    ],
)
def test_what_cannot_work_is_one_line(make, words):
    with pytest.raises(UsageError, match=words) as caught:
        make()
    assert "front_end" in str(caught.value) and "\n" not in str(caught.value)


def walked(front_end: FrontEnd, frames: torch.Tensor) -> Products:
    """Products of one utterance, one multiplication at a time."""
    counted, x = Products(), [[[value] for value in row] for row in frames[: len(frames) // 2 * 2].tolist()]
    for layer in front_end.layers:
        for t in range(len(x) // layer.time_stride):
            for f in range(math.ceil(len(x[0]) / layer.frequency_stride)):
                for row in layer.convolution.weight.flatten(1).tolist():
                    pairs = list(zip(row, patch(x, t, f, layer), strict=True))
                    counted.dense += len(pairs)
                    counted.macs += sum(weight != 0 and value != 0 for weight, value in pairs)
        x = convolved(x, layer)
    return counted


@torch.no_grad()
def test_multiplications_are_those_of_walking_every_patch():
    front_end = FrontEnd(SMALL, SMALL_FEATURES).eval()
    front_end.load_state_dict(trained(SMALL, SMALL_FEATURES).state_dict())
    front_end.layers[0].convolution.weight[0, 0, 1] = 0  # pruned weights cost nothing
    encoder = build("improved_v2", front_end.output_size, 4, 1).eval()
    utterances = [frames_of(count, count, 4).relu() for count in (7, 4, 1, 0)]
    padded, lengths = pad_sequence(utterances, batch_first=True, padding_value=5.0), torch.tensor([7, 4, 1, 0])
    total, without = OperationCount(), OperationCount()
    for _ in range(2):  # the records are of the last forward alone
        with record_layers(encoder, front_end) as records, record_layers(encoder) as of_encoder:
            x, _ = front_end(padded, lengths)
            encoder(x, lengths // 2)
            front_end(padded, lengths)
            encoder(x, lengths // 2)
    count_batch(records, torch.ones(3, 4), total)
    count_batch(of_encoder, torch.ones(3, 4), without)
    walks = [walked(front_end, each) for each in utterances[:2]]  # the others are too short for a step: nothing
    got, rest = total.products[INPUT], without.products[INPUT]
    assert got.dense - rest.dense == sum(each.dense for each in walks) > 0
    assert 0 < got.macs - rest.macs == sum(each.macs for each in walks) < sum(each.dense for each in walks)
    assert (got.acs, total.frames) == (rest.acs, 5)


@pytest.mark.parametrize(("name", "preset", "stack"), [("TIMIT", "strong", 2), ("LibriSpeech", "large", 4)])
def test_presets_have_a_front_end_that_takes_their_frames(name, preset, stack):
    from snn_asr.training.recipes import recipe

    chosen = recipe.load(name, {"preset": preset})
    assert chosen.model.front_end.time_stride == chosen.features.stack == stack
    with pytest.raises(UsageError, match=f"give stack={stack}"):
        recipe.load(name, {"preset": preset, "stack": 1})


@pytest.mark.thorough
def test_a_recipe_with_a_front_end_trains_and_decodes(tones, tone_recipe, tmp_path):
    from snn_asr import load_model
    from snn_asr.efficiency.profile import profile
    from snn_asr.training.run import train

    front_end = "front_end: !new:snn_asr.network.front_end.FrontEndSettings\n"
    front_end += "    channels: [4]\n    time_strides: [3]\n    frequency_strides: [2]\n"
    path = tone_recipe.parent.parent / "Convolved" / "train.yaml"
    write_text(path, tone_recipe.read_text() + front_end)
    run = train(path, tones, tmp_path / "run", device="cpu", overrides={"epochs": 2})
    model = load_model(run)
    assert model.model.settings.front_end == FrontEndSettings((4,), (3,), (2,))
    assert model.model.encoder.layers[0].input_weight.shape[1] == 4 * 5
    audio = sorted((tones / "audio" / "test").iterdir())
    expected = {name: entry["hypothesis"] for name, entry in read_json(run / "test.json").items()}
    assert {each.stem: model.transcribe(each).text for each in audio} == expected
    result = profile(model, audio)
    of_layer = 2 * 32 * 20  # of the encoder's first layer, a frame
    assert result.rates.products["input"].dense == result.rates.frames * (of_layer + 5 * 4 * 9)
