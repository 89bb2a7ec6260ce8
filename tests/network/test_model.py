"""The model folder, and the whole model from waveform to logits: padding, company, order and chunks change nothing."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence
from trained_encoders import assert_same

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.features import FeatureExtractor, FeatureStream
from snn_asr.data.normalization import Normalization
from snn_asr.data.tokens import WordTokens
from snn_asr.errors import DataError, UsageError
from snn_asr.events.engine import event_network
from snn_asr.files import sha256, write_json
from snn_asr.network import encoders
from snn_asr.network import model_folder as models
from snn_asr.network.front_end import NONE, FrontEndSettings
from snn_asr.network.lengths import Lengths
from snn_asr.network.model import AcousticModel, ModelSettings

# Encoders; two with integrators and a normalised head; two with a front end before that.
NAMES = [
    *sorted(encoders.ENCODERS), "improved_v2 input", "improved_v2 output", "improved_v2 input convolved",
    "radlif output convolved",
]
FEATURES = FeatureSettings(sample_rate=8000, mels=12, stack=3)
CONVOLVED = FrontEndSettings((6, 4), (1, 3), (2, 2))
EXTRACTOR = FeatureExtractor(FEATURES)
TOKENS = WordTokens([f"w{index}" for index in range(30)])
METRICS = {"encoder": "improved_v2", "test": {"error_rate": 12.5}}


@cache
def trained(name: str) -> AcousticModel:
    """A model in evaluation mode, with statistics and ranges from two training batches; tests must not change it."""
    torch.manual_seed(5)
    normalization = Normalization(torch.randn(12) - 8, torch.rand(12) + 2)
    encoder, *extra = name.split()
    model_settings = ModelSettings(
        FEATURES, encoder, 40, 2, {"smoothing": 0.5 if extra else 0.0}, *extra[:1],
        front_end=CONVOLVED if extra[1:] else NONE,
    )
    model = AcousticModel(model_settings, normalization, TOKENS.size)
    for _ in range(2):
        model(torch.randn(4, 30, 12) * 3 - 8, torch.tensor([30, 30, 17, 9]))
    return model.eval()


@torch.no_grad()
def logits(name: str, waveforms: list[torch.Tensor]) -> list[torch.Tensor]:
    """Waveforms in, logits (frames, classes) out, all in one batch."""
    frames = [EXTRACTOR(each) for each in waveforms]
    padded = pad_sequence(frames, batch_first=True, padding_value=1e3)  # what stands in the padding must not matter
    results, lengths, _ = trained(name)(padded, torch.tensor([len(each) for each in frames]))
    return [result[:length] for result, length in zip(results, lengths.tolist(), strict=True)]


def noise(samples: int, seed: int) -> torch.Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=20)
@given(
    sizes=st.lists(st.integers(0, 6000), min_size=1, max_size=5), name=st.sampled_from(NAMES), seed=st.integers(0, 99)
)
def test_alone_or_in_any_company_the_logits_are_the_same(sizes, name, seed):
    waveforms = [noise(size, seed + row) for row, size in enumerate(sizes)]
    together = logits(name, waveforms)
    for waveform, result in zip(waveforms, together, strict=True):
        assert len(result) == EXTRACTOR.frame_count(len(waveform)) // FEATURES.stack
        assert_same(name, logits(name, [waveform])[0], result, atol=1e-5)
    for result, again in zip(together, reversed(logits(name, waveforms[::-1])), strict=True):
        assert_same(name, again, result, atol=1e-5)


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(0, 8000), max_size=8), name=st.sampled_from(NAMES))
@torch.no_grad()
def test_a_waveform_in_chunks_gives_the_logits_of_the_whole(cuts, name):
    model, waveform, stream, state, pieces = trained(name), noise(8000, 1), FeatureStream(EXTRACTOR), None, []
    waiting = torch.empty(0, FEATURES.size)
    ends = [*sorted(cuts), len(waveform)]
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        waiting = torch.cat([waiting, stream.accept(waveform[start:end])])
        ready = len(waiting) - len(waiting) % FEATURES.stack
        piece, _, state = model(waiting[None, :ready], torch.tensor([ready]), state)
        pieces.append(piece[0])
        waiting = waiting[ready:]
    assert_same(name, torch.cat(pieces), logits(name, [waveform])[0], atol=1e-5)


def save(folder: Path, name: str = "improved_v2") -> Path:
    models.save_model(folder, trained(name), TOKENS, METRICS, "# a recipe\n")
    return folder


def resign(folder: Path) -> None:
    """Write checksums that fit whatever the files now hold."""
    write_json(folder / models.CHECKSUMS, {name: sha256(folder / name) for name in models.CHECKED})


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_saved_model_loads_to_the_same_logits(name, tmp_path):
    loaded = models.load(save(tmp_path / "run" / "model", name).parent)  # the run folder will do
    assert loaded.model.settings == trained(name).settings
    assert (loaded.tokens.labels, loaded.metrics) == (TOKENS.labels, METRICS)
    assert not loaded.model.training
    frames = torch.randn(2, 20, 12) * 3 - 8
    lengths = torch.tensor([20, 13])
    assert torch.equal(loaded.model(frames, lengths)[0], trained(name)(frames, lengths)[0])


def test_the_fingerprint_tells_models_apart(tmp_path):
    first, again, other = (models.load(save(tmp_path / each)).fingerprint for each in ("a", "b", "c"))
    assert first == again == other
    assert models.load(save(tmp_path / "c", "gru")).fingerprint != first


@pytest.mark.parametrize("name", models.CHECKED)
@pytest.mark.parametrize("harm", ["missing", "changed", "cut short"])
def test_a_damaged_file_is_one_line_that_names_it(name, harm, tmp_path):
    path = save(tmp_path) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(content if harm == "changed" else content[: len(content) // 2])
    with pytest.raises(DataError) as caught:
        models.load(tmp_path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", '{"config.json": 3}', "\xff"])
def test_damaged_checksums(content, tmp_path):
    (save(tmp_path) / models.CHECKSUMS).write_text(content, encoding="latin-1")
    with pytest.raises(DataError) as caught:
        models.load(tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_an_unfinished_or_absent_model_says_what_to_give(tmp_path):
    (save(tmp_path / "model") / models.CHECKSUMS).unlink()
    for folder in (tmp_path, tmp_path / "model", tmp_path / "nowhere"):
        with pytest.raises(DataError, match="no finished model here; give the output folder"):
            models.load(folder)


def config_with(folder: Path, **changes) -> None:
    config = json.loads((folder / models.CONFIG).read_text())
    for key, value in changes.items():
        (config if key == "format" else config["model"])[key] = value
    write_json(folder / models.CONFIG, config)
    resign(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 99}, "format 99 is not 1"),
        ({"encoder": "transformer"}, "unknown encoder 'transformer'"),
        ({"hidden_size": 41}, "size mismatch|Error"),
        ({"encoder_options": {"bitz": 4}}, "did you mean 'bits'"),
        ({"attention": True}, "attention"),
        ({"features": {"mels": 12, "flour": 3}}, "flour"),
        ({"front_end": {"channels": [4], "time_strides": [2], "frequency_strides": [1]}}, "give stack=2"),
        ({"front_end": {"chanels": [4]}}, "did you mean 'channels'"),
        ({"front_end": 3}, "cannot be loaded"),
        ({"head_epsilon": "much"}, "head_epsilon='much'"),
        ({"head_epsilon": 0.0}, "head_epsilon=0.0"),
    ],
)
def test_files_that_do_not_fit_together_are_one_line(changes, words, tmp_path):
    config_with(save(tmp_path), **changes)
    with pytest.raises(DataError, match=words) as caught:
        models.load(tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_normalisation_of_another_size_is_refused(tmp_path):
    write_json(save(tmp_path) / "normalization.json", {"mean": [0.0], "deviation": [1.0]})
    resign(tmp_path)
    with pytest.raises(DataError, match="normali"):
        models.load(tmp_path)


def test_loading_runs_no_yaml_and_no_pickle(tmp_path, monkeypatch):
    import pickle
    import sys

    (save(tmp_path) / "recipe.yaml").write_text(f'!!python/object/apply:os.mkdir ["{tmp_path}/ran"]\n')
    resign(tmp_path)

    def refuse(*_, **__):
        raise AssertionError("a model folder must not be unpickled")

    for module, function in ((torch, "load"), (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, function, refuse)
    for name in ("yaml", "ruamel.yaml", "hyperpyyaml"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails from now on
    assert models.load(tmp_path).metrics == METRICS
    assert not (tmp_path / "ran").exists()


@torch.no_grad()
def test_a_unit_that_was_silent_for_long_is_made_no_larger_than_the_epsilon_says(tmp_path):
    normalization = Normalization(torch.randn(12) - 8, torch.rand(12) + 2)
    frames, lengths, greatest = torch.randn(2, 60, 12) * 3 - 8, torch.tensor([60, 45]), []
    for epsilon in (1e-5, 1e-3):
        torch.manual_seed(5)
        settings = ModelSettings(FEATURES, "improved_v2", 40, 2, {}, "input", head_epsilon=epsilon)
        model = AcousticModel(settings, normalization, TOKENS.size).eval()
        model.head_normalization.running_var.zero_()
        expected, _, _ = model(frames, lengths)
        greatest.append(float((expected - model.head.bias).abs().max()))
        models.save_model(tmp_path / str(epsilon), model, TOKENS, METRICS, "# a recipe\n")
        assert torch.equal(models.load(tmp_path / str(epsilon)).model(frames, lengths)[0], expected)
        inputs, _, _ = model.encoder_input(normalization.apply(frames[:1]), Lengths.of(lengths[:1], frames[:1]), None)
        engine = event_network(model)
        by_events = torch.from_numpy(engine.run(inputs[0].numpy(), engine.initial_state()))
        assert torch.allclose(by_events, expected[0], rtol=1e-4, atol=1e-3)
    assert greatest[0] == pytest.approx(10 * greatest[1], rel=1e-3)


@pytest.mark.parametrize("place", ["none", "input", "output"])
def test_a_preferred_blank_is_likelier_by_its_bias_and_nothing_else_changes(place):
    settings = ModelSettings(FEATURES, "improved_v2", 16, 1, {}, place)
    model = AcousticModel(settings, Normalization(torch.zeros(12), torch.ones(12)), 5).eval()
    frames, lengths = torch.randn(3, 30, 12), torch.tensor([30, 21, 9])
    before = model(frames, lengths)[0].detach()
    model.prefer_blank(2.5)
    after = model(frames, lengths)[0].detach()
    valid = torch.arange(10) < (lengths // 3).unsqueeze(1)
    assert torch.equal(after[valid][:, 1:], before[valid][:, 1:])
    assert torch.allclose(after[valid][:, 0], before[valid][:, 0] + 2.5, atol=1e-5)


@pytest.mark.parametrize("place", ["none", "input", "output"])
def test_training_sees_a_preferred_blank_wherever_the_normalisation_stands(place):
    settings = ModelSettings(FEATURES, "gru", 16, 1, {"dropout": 0.0}, place)
    model = AcousticModel(settings, Normalization(torch.zeros(12), torch.ones(12)), 5).train()
    frames, lengths = torch.randn(3, 30, 12), torch.tensor([30, 30, 30])
    before = model(frames, lengths)[0].detach()
    model.prefer_blank(2.5)
    after = model(frames, lengths)[0].detach()
    torch.testing.assert_close(after[..., 0], before[..., 0] + 2.5)


def test_unknown_choices_are_refused():
    with pytest.raises(UsageError, match="did you mean 'input'"):
        ModelSettings(FEATURES, "gru", 40, 2, {}, "inputs")
    with pytest.raises(UsageError, match="did you mean 'classification'"):
        ModelSettings(FEATURES, "gru", 40, 2, {}, task="classifications")


def test_a_folder_from_before_tasks_segments_and_front_ends_transcribes(tmp_path):
    config = json.loads((save(tmp_path) / models.CONFIG).read_text())
    del config["model"]["task"], config["model"]["features"]["segments"], config["model"]["front_end"]
    write_json(tmp_path / models.CONFIG, config)
    resign(tmp_path)
    loaded = models.load(tmp_path).model.settings
    assert loaded == trained("improved_v2").settings
    assert (loaded.task, loaded.features.segments, loaded.front_end) == ("transcription", 0, NONE)
