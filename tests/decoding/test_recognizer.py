"""Files and waveforms to transcripts with the trained model of the tones."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from tones import RATE_HZ, speak

import snn_asr
import snn_asr.encoders
from snn_asr.data.audio import read_audio, write_audio
from snn_asr.data.resampling import resample
from snn_asr.errors import DataError, UsageError
from snn_asr.files import read_json


def test_files_are_recognised_as_in_the_test_of_the_training(recognizer, tones, tone_run):
    expected = {name: entry["hypothesis"] for name, entry in read_json(tone_run / "test.json").items()}
    got = {path.stem: recognizer.transcribe(path).text for path in (tones / "audio" / "test").iterdir()}
    assert got == expected
    assert any(got.values())


def test_a_waveform_a_file_and_its_name_as_text_are_the_same(recognizer, tones):
    path = tones / "audio" / "test" / "test-02.wav"
    from_file, from_name = recognizer.transcribe(path), recognizer.transcribe(str(path))
    from_samples = recognizer.transcribe(read_audio(path, RATE_HZ))
    assert from_file == from_name
    assert (from_file.id, from_samples.id) == ("test-02", "waveform")
    assert (from_file.text, from_file.tokens) == (from_samples.text, from_samples.tokens)
    assert from_file.duration_seconds == pytest.approx(len(read_audio(path, RATE_HZ)) / RATE_HZ)


def test_together_each_result_is_what_it_is_alone(recognizer):
    """To the last bit of a confidence: the layers and the head of a spiking model promise it."""
    waveforms = [(f"w{index}", speak(["low", "high", "mid"][: index % 4], index)) for index in range(8)]
    waveforms += [("silence", torch.zeros(9000)), ("short", torch.zeros(50)), ("nothing", torch.zeros(0))]
    together = recognizer.transcribe_batch(waveforms)
    assert together == [recognizer.transcribe_batch([each])[0] for each in waveforms]
    assert sum(len(each.tokens) for each in together) > 8


def test_tokens_are_the_text_with_times_on_the_models_grid(recognizer):
    samples = speak(["high", "low", "mid"], 3)
    hypothesis = recognizer.transcribe(samples)
    assert " ".join(each.label for each in hypothesis.tokens) == hypothesis.text != ""
    end = 0.0
    for token in hypothesis.tokens:
        assert end <= token.start_seconds < token.end_seconds <= len(samples) / RATE_HZ
        assert token.start_seconds / 0.03 == pytest.approx(round(token.start_seconds / 0.03))  # 3 frames of 10 ms
        assert 1 / 4 < token.confidence <= 1  # the best of four classes
        end = token.end_seconds


@pytest.mark.parametrize("samples", [0, 1, 199, 200, 300, 20000])
def test_silence_and_too_little_audio_give_an_empty_text(samples, recognizer, tmp_path):
    write_audio(tmp_path / "quiet.wav", torch.zeros(samples), RATE_HZ)
    hypothesis = recognizer.transcribe(tmp_path / "quiet.wav")
    assert (hypothesis.text, hypothesis.tokens) == ("", ())
    assert hypothesis.duration_seconds == samples / RATE_HZ


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_waveform_that_is_not_finite_is_refused(bad, recognizer):
    samples = torch.zeros(4000)
    samples[123] = bad
    with pytest.raises(DataError, match="sample 123 .*not a finite number"):
        recognizer.transcribe(samples)


def test_two_channels_are_averaged(recognizer):
    samples = speak(["low", "high"], 1)
    both = torch.stack((2 * samples, torch.zeros(len(samples))))
    assert recognizer.transcribe(both) == recognizer.transcribe(both.T.numpy()) == recognizer.transcribe(samples)


def test_a_file_of_another_rate_is_resampled(recognizer, tmp_path):
    samples = speak(["low", "high"], 1)
    write_audio(tmp_path / "fast.wav", resample(samples, RATE_HZ, 44100), 44100)
    assert recognizer.transcribe(tmp_path / "fast.wav").text == recognizer.transcribe(samples).text != ""


def test_what_is_no_audio_or_no_model_is_one_line(recognizer, tmp_path):
    (tmp_path / "notes.wav").write_text("no audio")
    for source in (tmp_path / "notes.wav", tmp_path / "absent.wav"):
        with pytest.raises(DataError) as caught:
            recognizer.transcribe(source)
        assert str(source) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no finished model"):
        snn_asr.load_model(tmp_path)


def test_recognition_changes_nothing_in_the_model(recognizer, tones):
    before = {name: each.clone() for name, each in recognizer.model.state_dict().items()}
    path = next(Path(tones / "audio" / "dev").iterdir())
    first = recognizer.transcribe(path)
    assert recognizer.transcribe(path) == first
    assert all(torch.equal(each, before[name]) for name, each in recognizer.model.state_dict().items())


def test_samples_of_every_kind_are_the_same_sound(recognizer):
    levels = (speak(["low", "high"], 1) * 32768).round().clamp(-32768, 32767).short()
    samples = levels.float() / 32768
    expected = recognizer.transcribe(samples)
    for each in (levels, levels.numpy(), samples.numpy(), samples.double(), samples.numpy().astype("float64")):
        assert recognizer.transcribe(each) == expected
    assert recognizer.transcribe(resample(samples, RATE_HZ, 16000), sample_rate=16000).text == expected.text != ""


def test_a_list_gives_a_list(recognizer, tones):
    path, samples = tones / "audio" / "test" / "test-02.wav", speak(["mid"], 2)
    assert recognizer.transcribe([path, samples]) == [recognizer.transcribe(path), recognizer.transcribe(samples)]
    assert recognizer.transcribe([]) == []


def test_words_have_times_and_confidences(recognizer):
    hypothesis = recognizer.transcribe(speak(["high", "low"], 3))
    assert isinstance(hypothesis, snn_asr.Hypothesis) and isinstance(recognizer, snn_asr.Recognizer)
    found = [(each.text, each.start, each.end, each.confidence) for each in hypothesis.words]
    assert found == [(each.label, each.start_seconds, each.end_seconds, each.confidence) for each in hypothesis.tokens]


def test_devices_have_names_or_are_torchs(tone_run):
    assert snn_asr.load_model(tone_run, device=torch.device("cpu")).device == "cpu"
    assert snn_asr.load_model(tone_run, device=torch.device("cpu", 0)).device == "cpu"
    assert snn_asr.load_model(tone_run).device in ("cpu", "cuda")
    absent = "cuda:99" if torch.cuda.is_available() else "cuda"
    for device, problem in (("cupid", "unknown device 'cupid'"), (absent, "torch sees"), ("cpu:x", "unknown device")):
        with pytest.raises(UsageError, match=problem):
            snn_asr.load_model(tone_run, device)


def test_encoders_have_a_public_door():
    encoder = snn_asr.encoders.build("improved_v2", input_size=6, hidden_size=4, num_layers=1).eval()
    y, _ = encoder(torch.zeros(1, 5, 6), torch.tensor([5]))
    assert y.shape == (1, 5, 4)


def test_whatever_type_of_numbers_torch_makes_the_result_is_the_same(recognizer, tone_run):
    """Tensors without values of their own have torch's default type, which joined others as double precision."""
    samples = speak(["high", "low", "mid"], 3)
    expected = recognizer.transcribe(samples)
    torch.set_default_dtype(torch.float64)
    try:
        assert snn_asr.load_model(tone_run, device="cpu").transcribe(samples) == expected
        assert recognizer.transcribe(samples) == expected != ""
        assert streamed(recognizer.stream(), samples) == expected.text
        assert recognizer.align(samples, expected.text).text == expected.text
    finally:
        torch.set_default_dtype(torch.float32)


def streamed(stream, samples) -> str:
    return " ".join(each.text for each in [*stream.accept(samples), *stream.finish()] if each.kind == "segment")


def test_a_copy_and_what_another_process_gets_recognise_the_same(recognizer):
    samples = speak(["high", "low", "mid"], 3)
    expected = recognizer.transcribe(samples)
    for other in (copy.deepcopy(recognizer), pickle.loads(pickle.dumps(recognizer))):
        assert other.transcribe(samples) == expected
        assert streamed(other.stream(), samples) == expected.text


def test_endpointing_that_is_a_number_is_refused(recognizer):
    with pytest.raises(UsageError, match="endpointing: settings of type float; give EndpointSettings"):
        recognizer.stream(endpointing=1.0)


@pytest.mark.parametrize("seconds", [0.5, 1.5])
def test_channels_in_opposite_phase_in_a_stream_are_no_silence(recognizer, seconds):
    samples = speak(["high", "low", "mid", "high"], 3)[: int(seconds * RATE_HZ)]
    stream = recognizer.stream()
    with pytest.raises(DataError, match="opposite phase"):
        for block in torch.stack([samples, -0.95 * samples], 1).split(500):
            stream.accept(block)
        stream.finish()
    stream = recognizer.stream()
    alone = streamed(stream, samples)
    assert streamed(stream, torch.stack([samples, samples], 1)) == alone
