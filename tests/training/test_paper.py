"""``preset=paper`` and ``preset=bittar_garner`` against what the papers' code does, point by point."""

from __future__ import annotations

import json
import math

import pytest
import torch
from marks import graded
from torch.nn import functional

from snn_asr.data.batches import BucketedBatches, training_loader
from snn_asr.data.dataset import SpeechDataset
from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.features import FeatureExtractor
from snn_asr.data.manifest import Utterance, read_manifest
from snn_asr.data.normalization import Normalization
from snn_asr.data.tokens import PhoneTokens, WordTokens
from snn_asr.network.encoders import ENCODERS
from snn_asr.network.model import AcousticModel, ModelSettings
from snn_asr.training.loop.schedules import SCHEDULES
from snn_asr.training.recipes import recipe
from snn_asr.training.run import train

PONGHIRAN = {
    "hidden_size": 550, "num_layers": 2, "bidirectional": False, "dropout": 0.2, "head_normalization": "output",
    "head_initialization": "small", "head_bias": False, "learning_rate": 1e-3, "optimizer": "adam", "weight_decay": 0.0,
    "max_grad_norm": 0.0, "batch_utterances": 64, "epochs": 24, "schedule": "halving", "halving_factor": 0.5,
    "lowest_learning_rate": 1.25e-4, "length_curriculum": ((100, 4), (200, 4), (400, 4), (800, 4), (1000, 8)),
    "longer_utterances": "cut", "stack": 1, "mels": 40, "normalization": "speaker", "activity_penalty": 0.0,
    "pruning": 0.0, "pauses": 0.0,
}
FEATURES = FeatureSettings(sample_rate=8000, mels=10, high_hz=3800, stack=1)


@pytest.mark.parametrize("corpus", graded(["TIMIT", "LibriSpeech", "AN4", "FSDD"], fast=["TIMIT"]))
@pytest.mark.parametrize("encoder", ["improved_v2", "improved_v1", "lif", "bn_gru", "bn_lstm"])
def test_the_settings_are_those_of_ponghiran_and_roy(corpus, encoder):
    config = recipe.load(corpus, {"preset": "paper", "encoder": encoder})
    values = config.values()
    assert {key: values[key] for key in PONGHIRAN} == PONGHIRAN
    options = config.model.encoder_options
    spiking = {"bits": 6, "threshold": 3, "range": "moving_average_per_frame", "momentum": 0.1, "input_coding": "coder"}
    recurrent = {"recurrent_init": "stacked", "recurrent_gain": math.sqrt(2), "candidate": "relu"}
    expected = {
        "improved_v2": spiking | recurrent, "improved_v1": spiking | {"candidate": "relu"},
        "lif": spiking | {"decay": 1.0},
    }.get(encoder, {"recurrent_gain": 1.0, "input_coding": "none"})
    assert {key: options[key] for key in expected} == pytest.approx(expected)
    assert options["smoothing"] == 0.0


@pytest.mark.parametrize("encoder", graded(sorted(ENCODERS), fast=["improved_v2", "lif", "gru"]))
@pytest.mark.parametrize("preset", ["paper", "bittar_garner"])
def test_presets_speak_to_every_encoder(encoder, preset):
    recipe.load("TIMIT", {"preset": preset, "encoder": encoder})


@pytest.mark.parametrize("encoder", ["adaptive_lif", "adlif", "rlif", "radlif"])
@pytest.mark.parametrize("size", [128, 512])
def test_the_penalty_of_firing_rates_is_bittar_and_garners_sum_over_neurons(encoder, size):
    config = recipe.load("AN4", {"preset": "bittar_garner", "encoder": encoder, "hidden_size": size})
    layer = ENCODERS[encoder](3, size)
    outputs = (torch.rand(2, 30, size) < torch.rand(size).pow(4)).float()
    rates = outputs.mean((0, 1))
    expected = 0.5 * (functional.relu(0.01 - rates) + functional.relu(rates - 0.5)).sum()
    penalty = config.training.activity_penalty * layer.activity(outputs, torch.tensor([30, 30]))
    torch.testing.assert_close(penalty, expected)
    assert expected > 0


def test_one_orthogonal_matrix_for_both_gates():
    torch.manual_seed(0)
    model = acoustic_model("improved_v2", recurrent_init="stacked", recurrent_gain=math.sqrt(2))
    both = model.encoder.layers[0].recurrent_weight.detach()
    torch.testing.assert_close(both.T @ both, 2 * torch.eye(32), atol=1e-5, rtol=0)
    gate = torch.linalg.svdvals(both[:32])
    assert gate.max() < math.sqrt(2) + 1e-5 and gate.min() < 0.3  # no gate is orthogonal on its own
    alone = acoustic_model("improved_v2", recurrent_gain=math.sqrt(2)).encoder.layers[0].recurrent_weight.detach()
    torch.testing.assert_close(torch.linalg.svdvals(alone[:32]), torch.full((32,), math.sqrt(2)), atol=1e-5, rtol=0)


def acoustic_model(encoder: str, classes: int = 5, head_bias: bool = True, task="transcription", **options):
    settings = ModelSettings(FEATURES, encoder, 32, 2, options, "none", task, head_bias=head_bias)
    return AcousticModel(settings, Normalization(torch.zeros(10), torch.ones(10)), classes)


def test_the_head_begins_small_and_has_no_bias():
    torch.manual_seed(0)
    model = acoustic_model("improved_v2", classes=40, head_bias=False)
    model.initialize_head("small")
    bound = math.sqrt(0.01 / (32 + 40))
    weight = model.head.weight.detach()
    assert 0.95 * bound < weight.abs().max() <= bound and weight.mean().abs() < bound / 20
    assert not model.head.bias.any() and not model.head.bias.requires_grad
    assert acoustic_model("improved_v2", classes=40).parameter_count() == model.parameter_count() + 40


def test_the_spiking_lstms_head_begins_normal():
    torch.manual_seed(0)
    model = acoustic_model("spiking_lstm", classes=400, normalize=False)
    model.initialize_head("normal")
    assert model.head.weight.std().item() == pytest.approx(math.sqrt(2 / 32), rel=0.02) and not model.head.bias.any()
    for layer, inputs in zip(model.encoder.layers, (10, 32), strict=True):
        for weight in layer.core_weights():
            assert weight.std().item() == pytest.approx(math.sqrt(2 / (inputs + 32)), rel=0.06)
        assert not layer.bias.any()


def dataset_of(folder) -> SpeechDataset:
    utterances = list(read_manifest(folder / "train.json").values())
    return SpeechDataset(utterances, WordTokens(["low", "mid", "high"]), FeatureExtractor(FEATURES))


def test_long_utterances_are_cut_and_keep_the_words_that_have_passed(tones):
    dataset = dataset_of(tones)
    counts = dataset.frame_counts()
    limit = sorted(counts)[len(counts) // 2]
    batches = BucketedBatches(dataset, 10**6, 1, 8, [(limit, 1)], longer="cut")
    assert sum(map(len, batches)) == len(dataset)  # none is left out
    taken = {each.id: (int(length), target.tolist()) for batch in training_loader(dataset, batches, 0, "cpu")
             for each, length, target in examples(batch)}
    cut = 0
    for index, (utterance, frames) in enumerate(zip(dataset.utterances, counts, strict=True)):
        length, target = taken[utterance.id]
        whole = dataset.targets[index].tolist()
        assert length == min(frames, limit)
        share = min(1.0, limit * 0.01 / utterance.duration)
        assert target == whole[: int(len(whole) * share)]
        cut += target != whole
    assert cut
    batches.set_epoch(2)
    assert dataset.most_frames is None  # behind the curriculum all are whole
    batches.set_epoch(1)
    of_whole_utterances = BucketedBatches(dataset, 10**6, 1, 8, [(limit, 1)])
    of_whole_utterances.set_epoch(1)
    assert list(of_whole_utterances) != list(batches)


def examples(batch):
    for row, utterance in enumerate(batch.utterances):
        yield utterance, batch.lengths[row], batch.targets[row, : batch.target_lengths[row]]


def test_phones_are_cut_where_they_end(tmp_path):
    phones = (("h#", 0.1), ("b", 0.2), ("aa", 0.5), ("d", 0.6), ("h#", 1.0))
    utterance = Utterance("u", tmp_path / "u.wav", 1.0, "s", "bad", phones)
    dataset = SpeechDataset([utterance], PhoneTokens.build([]), FeatureExtractor(FEATURES))
    for frames, expected in ((100, "sil b aa d sil"), (60, "sil b aa d"), (59, "sil b aa"), (5, "")):
        dataset.most_frames = frames
        assert dataset.tokens.decode(dataset.target(0).tolist()) == expected


def test_the_last_error_at_every_step_reaches_the_encoder_alone():
    torch.manual_seed(0)
    options = {"task": "classification", "normalize": False, "dropout": 0.0}
    plain, everywhere = (acoustic_model("spiking_lstm", **options) for _ in range(2))
    everywhere.load_state_dict(plain.state_dict())
    everywhere.error_at_every_step = True
    x, lengths, classes = torch.randn(6, 8, 10), torch.tensor([8, 8, 5, 8, 3, 8]), torch.tensor([0, 1, 2, 3, 0, 1])
    last = torch.arange(6), lengths - 1

    def loss_of(model):
        return functional.cross_entropy(model.encode(x, lengths)[0][last][:, 1:], classes)

    loss_of(plain).backward()
    loss_of(everywhere).backward()
    torch.testing.assert_close(everywhere.head.weight.grad, plain.head.weight.grad)
    # The same by hand: each valid step's output times the error that the last step's has.
    by_hand = acoustic_model("spiking_lstm", **options)
    by_hand.load_state_dict(plain.state_dict())
    outputs, _ = by_hand.encoder(x, lengths)
    at_last = outputs[last].detach().requires_grad_()
    functional.cross_entropy(by_hand.head(at_last)[:, 1:], classes).backward()
    (outputs * at_last.grad.unsqueeze(1)).sum().backward()
    for name, each in by_hand.encoder.named_parameters():
        got = everywhere.encoder.get_parameter(name).grad
        torch.testing.assert_close(got, each.grad, atol=1e-6, rtol=1e-4)
        assert not torch.allclose(got, plain.encoder.get_parameter(name).grad, atol=1e-4)


def test_the_spiking_lstms_training_is_full_batches_of_the_scripts_settings(tones):
    config = recipe.load("FSDDIsolated", {"preset": "paper"})
    training, options = config.training, config.model.encoder_options
    assert (training.epochs, training.learning_rate, training.optimizer, training.class_error) == (2000, 0.01, "adam",
                                                                                                "every")
    assert config.model.head_initialization == "normal" and options["normalize"] is False
    assert (options["surrogates"], options["cell_gradient"], options["threshold"]) == ("speech", "speech", 0.1)
    assert (config.model.hidden_size, config.model.num_layers, options["input_coding"]) == (200, 1, "noise")
    dataset = dataset_of(tones)
    segments = FeatureExtractor(FeatureSettings(sample_rate=8000, mels=10, high_hz=3800, stack=1, segments=8))
    clips = SpeechDataset(dataset.utterances, dataset.tokens, segments)
    batches = BucketedBatches(clips, config.batches.batch_frames, 1, config.batches.batch_utterances)
    assert batches.steps(2000) == [1] * 2000 and len(next(iter(batches))) == len(clips)
    schedule = SCHEDULES[training.schedule](training, batches.steps(2000))
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    rates = []
    for step in range(1, 2001):
        schedule.on_batch(optimizer, step)
        rates.append(optimizer.param_groups[0]["lr"])
    assert set(rates[:-1]) == {0.01}


@pytest.mark.thorough
@pytest.mark.parametrize("encoder", ["improved_v2", "bn_lstm"])
def test_it_trains(encoder, tones, tmp_path):
    options = {"preset": "paper", "encoder": encoder, "hidden_size": 8, "epochs": 3, "mels": 10,
               "length_curriculum": [[60, 2], [90, 1]], "batch_utterances": 8, "sample_rate": 8000}
    train("FSDD", tones, tmp_path / "run", device="cpu", overrides=options)
    metrics = json.loads((tmp_path / "run" / "model" / "metrics.json").read_text())
    assert math.isfinite(metrics["dev_error_rate"]) and metrics["epochs"] == 3
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["model"]["head_bias"] is False if "model" in config else config["head_bias"] is False
