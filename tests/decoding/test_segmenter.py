"""Pauses: what nobody said is not recognised, speech behind a pause is; both engines and streams divide alike."""

from __future__ import annotations

import pytest
import torch
from babbler import FEATURES, babbler
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import graded
from soundscapes import SOUNDSCAPES, recording
from tones import RATE_HZ, speak

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.features import FeatureExtractor
from snn_asr.decoding.live.stream import SEGMENT
from snn_asr.decoding.recognizer import BATCH, EVENT, Recognizer
from snn_asr.decoding.segments.noise_gate import Gate, group_energies
from snn_asr.network.encoders import ENCODERS
from snn_asr.network.states import join_rows, keep_rows, restart_rows

STEADY = [name for name in SOUNDSCAPES if not name.startswith("music")]


def openings(samples: torch.Tensor, features: FeatureSettings) -> int:
    """How often the gate opens."""
    frames = FeatureExtractor(features)(samples)
    stacked = frames[: len(frames) - len(frames) % features.stack].unflatten(0, (-1, features.stack))
    gate = Gate(features.stacked_seconds, 1.0)
    return sum(gate.step(each) and gate.open for each in group_energies(stacked, features))


@pytest.mark.parametrize("name", graded(STEADY, fast=["silence", "white -30"]))
@pytest.mark.parametrize(
    "features", [FEATURES, FeatureSettings(kind="mfcc", deltas=True, stack=1), FeatureSettings(stack=4)],
    ids=["fbank", "mfcc", "stack4"],
)
def test_the_gate_stays_closed_to_silence_and_steady_noise(name, features):
    sound = recording(name, 30, features.sample_rate)
    assert openings(sound, features) <= (4 if name == "fan" else 0)  # that of a fan being switched on


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["fbank", "mfcc"])
@pytest.mark.parametrize(("hop", "stack"), [(10, 1), (5, 2), (10, 2)])
def test_short_frames_are_as_smooth_to_the_gate_as_stacked_ones(kind, hop, stack):
    features = FeatureSettings(kind=kind, stack=stack, hop_milliseconds=hop)
    noise = recording("white -30", 600, features.sample_rate, seed=5)
    for second in (0, 344):  # by themselves, frames of 10 and 20 ms open the gate there
        piece = noise[second * features.sample_rate :][: 3 * features.sample_rate]
        assert openings(piece, features) == 0
        vowel = torch.sin(torch.arange(features.sample_rate // 5) * 0.2) * 0.05  # 4 dB above the noise, 200 ms long
        piece[features.sample_rate * 2 :][: len(vowel)] += vowel
        assert openings(piece, features) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", STEADY)
def test_the_gate_stays_closed_for_ten_minutes(name):
    mfcc = FeatureSettings(kind="mfcc", stack=1)
    for features in (FEATURES, FeatureSettings(), FeatureSettings(stack=1), FeatureSettings(stack=2), mfcc):
        assert openings(recording(name, 600, features.sample_rate, seed=5), features) <= (90 if name == "fan" else 0)


@pytest.mark.parametrize("decibels", [-60, -40, -10])
def test_the_gate_opens_to_speech_however_loud_and_begins_with_the_recording(decibels):
    samples = speak(["low", "high"], 2)
    samples = samples * 10 ** (decibels / 20) / samples.abs().max()
    for lead in (0.0, 0.7, 5.0):
        assert openings(torch.cat([torch.zeros(int(lead * RATE_HZ)), samples]), FEATURES) == 1
    assert openings(torch.cat([samples[samples.nonzero()[0] :][: RATE_HZ // 5], torch.zeros(RATE_HZ)]), FEATURES) == 1


@pytest.mark.parametrize("encoder", graded(ENCODERS, fast=["improved_v2", "gru"]))
def test_no_encoder_hears_words_in_what_is_silence_or_steady(encoder, tmp_path):
    recognizer = babbler(tmp_path, encoder)
    assert len(recognizer.transcribe(speak(["low", "high", "mid"], 1)).words) > 0
    sounds = [(name, recording(name, 12, RATE_HZ)) for name in STEADY if name != "fan"]
    for engine in (BATCH, EVENT):
        recognizer.use_engine(engine)
        assert {each.id: each.text for each in recognizer.transcribe_batch(sounds)} == {name: "" for name, _ in sounds}


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("seconds", [10, 60, 600])
def test_ten_minutes_of_what_nobody_said_give_at_most_one_word(seconds, encoder, tmp_path):
    recognizer = babbler(tmp_path, encoder)
    recognizer.use_engine(EVENT)
    words = {}
    for name in STEADY:
        found = recognizer.transcribe(recording(name, seconds, RATE_HZ, seed=2)).words
        words[name] = len(found)
    most = {"fan": 3 * seconds}  # a network that has learnt nothing hears it being switched on
    assert {name: count for name, count in words.items() if count > most.get(name, 1)} == {}


def test_a_bidirectional_encoder_hears_no_words_there_either(tmp_path):
    recognizer = babbler(tmp_path, "gru", bidirectional=True)
    speech, sound = speak(["low", "high", "mid"], 1), recording("white -50", 10, RATE_HZ)
    assert recognizer.transcribe(sound).text == ""
    found = recognizer.transcribe(torch.cat([speech, torch.zeros(10 * RATE_HZ), speech]))
    assert len(found.segments) == 2
    assert all(each.text for each in found.segments)


@pytest.mark.parametrize("engine", [BATCH, EVENT])
@pytest.mark.parametrize("name", ["silence", "last bit", "white -70"])
def test_speech_behind_a_pause_is_recognised_as_if_it_stood_alone(engine, name, tone_run):
    recognizer = Recognizer(tone_run, "cpu")
    recognizer.use_engine(engine)
    first, second = speak(["low", "high"], 1), speak(["mid", "low", "high"], 2)
    found = recognizer.transcribe(torch.cat([first, recording(name, 20, RATE_HZ), second]))
    alone = [recognizer.transcribe(each).text for each in (first, second)]
    assert [each.text for each in found.segments if each.text] == alone
    assert found.segments[1].start_seconds > len(first) / RATE_HZ + 20


def talk(seed: int = 0) -> torch.Tensor:
    """Half a minute of speech with pauses of digital silence and noise, 0.1 to 4 s long."""
    pieces = []
    for turn in range(6):
        pieces.append(speak(["low", "high", "mid", "low"][: 1 + (turn + seed) % 4], 10 * seed + turn))
        sound = ("silence", "white -50", "last bit")[(turn + seed) % 3]
        pieces.append(recording(sound, (0.1, 4.0, 0.8, 1.5)[(turn + seed) % 4], RATE_HZ, turn))
    return torch.cat(pieces)


def segments(hypothesis) -> list[tuple[str, float, float]]:
    return [(each.text, each.start_seconds, each.end_seconds) for each in hypothesis.segments]


def streamed(recognizer, samples: torch.Tensor, chunk: int) -> list[tuple[str, float, float]]:
    stream = recognizer.stream()
    events = [event for piece in samples.split(chunk) for event in stream.accept(piece)] + stream.finish()
    return [(each.text, each.start_seconds, each.end_seconds) for each in events if each.kind == SEGMENT]


def test_batch_event_and_stream_give_the_same_segments(tone_run):
    batch, event = Recognizer(tone_run, "cpu"), Recognizer(tone_run, "cpu")
    event.use_engine(EVENT)
    talks = [(str(seed), talk(seed)) for seed in range(5)] + [("short", speak(["mid"], 1)), ("none", torch.zeros(0))]
    together = batch.transcribe_batch(talks)
    assert sum(len(each.segments) for each in together) > 15
    for (name, samples), found in zip(talks, together, strict=True):
        assert found == batch.transcribe_batch([(name, samples)])[0]
        assert segments(found) == segments(event.transcribe(samples)) == streamed(batch, samples, 1234)


@pytest.mark.thorough
@settings(max_examples=8)
@given(chunk=st.integers(50, 9000), seed=st.integers(0, 3))
def test_segments_do_not_depend_on_chunks(recognizer, chunk, seed):
    samples = talk(seed)
    assert streamed(recognizer, samples, chunk) == streamed(recognizer, samples, len(samples))


def test_blocks_do_not_change_what_is_recognised(recognizer, monkeypatch):
    expected = recognizer.transcribe(talk(2))
    for seconds in (0.3, 1.0, 7.0):
        monkeypatch.setattr("snn_asr.decoding.recognizer.BLOCK_SECONDS", seconds)
        assert recognizer.transcribe(talk(2)) == expected


@pytest.mark.parametrize("encoder", graded(ENCODERS, fast=["improved_v2", "gru"]))
def test_the_batches_of_a_round_do_not_change_what_is_recognised(encoder, tmp_path, monkeypatch):
    recognizer = babbler(tmp_path, encoder)
    talks = [(str(seed), talk(seed)[: (4 + 3 * seed) * RATE_HZ]) for seed in (3, 0, 2, 1)]
    alone = [recognizer.transcribe_batch([each])[0].text for each in talks]
    monkeypatch.setattr("snn_asr.decoding.recognizer.BLOCK_SECONDS", 1.0)
    monkeypatch.setattr("snn_asr.decoding.batch_engine.BATCH_BLOCKS", 2)  # pairs that change from round to round
    assert [each.text for each in recognizer.transcribe_batch(talks)] == alone
    assert all(alone)


def test_without_endpointing_a_recording_is_one_segment(tone_run):
    recognizer = Recognizer(tone_run, "cpu")
    recognizer.endpointing = None
    assert len(recognizer.transcribe(talk(1)).segments) == 1


def test_what_is_remembered_of_an_endless_segment_stays_small_and_moves_no_word(recognizer):
    def told(keeping_all: bool):
        stream, most = recognizer.stream(endpointing=None), 0
        stream._segmenter._with_loud = keeping_all
        events = []
        for piece in torch.cat([talk(1), talk(2)]).split(2000):
            events += stream.accept(piece)
            most = max(most, len(stream._segmenter._loud))
        return events + stream.finish(), most

    (expected, all_frames), (events, most) = told(True), told(False)
    assert events == expected and events
    assert most < all_frames / 3 and all_frames > 300


def test_one_recording_that_breaks_off_leaves_the_others_as_they_are(recognizer):
    def breaking():
        yield speak(["low"], 1)
        raise MemoryError

    good = speak(["mid", "high"], 3)
    broken, found = recognizer.recognize([("broken", breaking()), ("good", good)])
    assert isinstance(broken, MemoryError)
    assert found.text == recognizer.transcribe(good).text != ""


def test_rows_of_a_state_are_kept_begin_anew_and_are_joined_wherever_they_stand():
    state = [torch.arange(3.0)[:, None], None, (torch.arange(3.0)[:, None, None], [torch.arange(3)])]

    def rows(changed):
        first, nothing, (second, (third,)) = changed
        assert nothing is None
        assert first.flatten().tolist() == second.flatten().tolist() == third.tolist()
        return third.tolist()

    assert rows(keep_rows(state, [2, 0], 3)) == [2, 0]
    assert rows(keep_rows(state, [2, 0, 1], 3)) == [2, 0, 1]
    assert rows(restart_rows(state, [2], 3)) == [0, 1, 0]
    assert restart_rows(state, [0, 1, 2], 3) is None
    assert rows(join_rows([keep_rows(state, each, 3) for each in ([1], [2, 0])])) == [1, 2, 0]
    assert rows(state) == [0, 1, 2]
