"""Streams: the same in any chunks as whole and as in a batch, stable words, endpoints, threads, constant size."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, product
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import graded
from tones import RATE_HZ, speak

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.normalization import Normalization
from snn_asr.data.tokens import CharacterTokens, SentencePieceTokens, WordTokens
from snn_asr.decoding.encoder_inputs import EncoderInputs
from snn_asr.decoding.greedy import ClassStream, Emission, GreedyStream, classify, greedy
from snn_asr.decoding.hypothesis import words
from snn_asr.decoding.live.stream import PARTIAL, SEGMENT, WORD, WordStream
from snn_asr.decoding.recognizer import Recognizer
from snn_asr.decoding.segments.endpointing import Endpointer, EndpointSettings
from snn_asr.errors import DataError, UsageError
from snn_asr.network.front_end import PRESETS
from snn_asr.network.input_coding import CODINGS
from snn_asr.network.model import AcousticModel, ModelSettings
from snn_asr.network.model_folder import save_model
from snn_asr.network.tasks import BLANK

LONGEST_CHUNK = 10 * RATE_HZ
SPOKEN = ["low", "high", "mid", "low"]


def heard(stream, samples, cuts=()) -> list:
    """All events of samples that were cut at these places."""
    bounds = [0, *sorted(cuts), len(samples)]
    pieces = [samples[start:end] for start, end in zip(bounds[:-1], bounds[1:], strict=True)]
    return [event for piece in pieces for event in stream.accept(piece)] + stream.finish()


def final(events: list) -> list:
    """What does not depend on when it was asked for."""
    return [each for each in events if each.kind != PARTIAL]


def spoken(token) -> tuple[str, float, float]:
    return token.label, token.start_seconds, token.end_seconds


def assert_as_in_a_batch(recognizer, samples, cuts=()) -> int:
    """What a stream of samples cut at these places finds is what the batch engine finds: tokens, words, text, and of
    unfinished words beginnings. Returns the number of tokens."""
    whole = copy.copy(recognizer)
    whole.endpointing = None
    expected, unfinished = whole.transcribe(samples), []
    events = heard(recognizer.stream(endpointing=None), samples, cuts)
    segments = [each for each in events if each.kind == SEGMENT]
    assert [each.text for each in segments] == ([expected.text] if expected.tokens else [])
    found = segments[0].tokens if segments else ()
    assert [spoken(each) for each in found] == [spoken(each) for each in expected.tokens]
    assert [each.confidence for each in found] == pytest.approx([each.confidence for each in expected.tokens], abs=1e-3)
    finished = [(each.text, each.start_seconds, each.end_seconds) for each in events if each.kind == WORD]
    assert finished == [(each.text, each.start, each.end) for each in expected.words]
    for each in events:
        if each.kind == PARTIAL:
            unfinished.append(each.text)
        elif each.kind == WORD:
            assert all(each.text.startswith(begun) for begun in unfinished)
            unfinished = []
    assert unfinished == []
    return len(found)


def long_recording() -> torch.Tensor:
    """Ten seconds with pauses of up to 1.5 s."""
    pieces = [speak(SPOKEN[: 1 + seed % 4], seed) for seed in range(6)]
    pieces = [torch.cat([piece, torch.zeros(seed * RATE_HZ // 3)]) for seed, piece in enumerate(pieces)]
    return torch.cat(pieces)


@st.composite
def recordings_in_chunks(draw) -> tuple[torch.Tensor, list[int]]:
    """Samples, and where they are cut into chunks of one sample to ten seconds: some 800 at most of one length.

    One of few recordings, so that what a test finds on one machine it finds on all.
    """
    longest, samples = draw(st.sampled_from([1, 10, 300, 8000, LONGEST_CHUNK])), long_recording()
    start = draw(st.integers(0, 3)) * RATE_HZ if longest < 300 else 0
    samples, random, cuts = samples[start : start + 800 * longest], Random(draw(st.integers(0, 1000))), [0]
    while cuts[-1] < len(samples):
        cuts.append(cuts[-1] + random.randint(1, longest))
    return samples, cuts[1:-1]


@settings(max_examples=12)
@given(
    recording=recordings_in_chunks(), precision=st.sampled_from(["float32", "int8"]), pause=st.sampled_from([0.0, 0.5])
)
def test_any_chunks_give_what_the_whole_gives(recognizer, recording, precision, pause):
    samples, cuts = recording
    endpointing = EndpointSettings(pause) if pause else None
    whole = final(heard(recognizer.stream(endpointing, precision), samples))
    assert final(heard(recognizer.stream(endpointing, precision), samples, cuts)) == whole


@pytest.mark.thorough
@settings(max_examples=12)
@given(recording=recordings_in_chunks(), spelt=st.booleans())
def test_any_chunks_give_what_the_batch_engine_gives(recognizer, speller, recording, spelt):
    assert_as_in_a_batch(speller if spelt else recognizer, *recording)


@pytest.mark.parametrize("samples", [*(speak(SPOKEN[:count], count) for count in range(5)), torch.zeros(100)])
def test_one_segment_is_what_the_batch_engine_recognises(samples, recognizer):
    assert_as_in_a_batch(recognizer, samples, [500, 900])


def babbler(folder, front_end: str, **options) -> Recognizer:
    """Spells what comes to it: statistics and ranges from three batches, weights as they were drawn."""
    torch.manual_seed(9)
    chosen = PRESETS[front_end]
    features = FeatureSettings(sample_rate=RATE_HZ, mels=10, high_hz=3800, stack=chosen.time_stride)
    settings = ModelSettings(features, "improved_v2", 16, 2, {"smoothing": 0.3, **options}, "output", front_end=chosen)
    tokens = CharacterTokens([" ", "a", "b", "c"])
    model = AcousticModel(settings, Normalization(torch.full((10,), -11.0), torch.full((10,), 3.0)), tokens.size)
    for _ in range(3):
        model(torch.randn(4, 24, 10), torch.tensor([24, 24, 14, 8]), normalized=True)
    save_model(folder, model.eval(), tokens, {}, "")
    return Recognizer(folder, "cpu")


@pytest.fixture(scope="module")
def speller(tmp_path_factory):
    """Words of characters, which grow."""
    return babbler(tmp_path_factory.mktemp("speller"), "subsample4")


@pytest.mark.parametrize(
    ("input_coding", "front_end"),
    graded(
        [*product(CODINGS, ["none"]), *product(["none"], [*PRESETS][1:]), ("coder", "subsample4")],
        fast=[("coder", "subsample4")],
    ),
)
def test_what_stands_before_the_encoder_streams_too(input_coding, front_end, tmp_path):
    """Its state goes from chunk to chunk, and starts anew with another waveform."""
    recognizer, samples = babbler(tmp_path, front_end, input_coding=input_coding), speak(SPOKEN, 7)
    for cuts in ([], range(100, 8000, 100), [*range(2001, 2033), 3500]):
        assert assert_as_in_a_batch(recognizer, samples, cuts) > 3
    stream = recognizer.stream(endpointing=None)
    assert heard(stream, samples, [1700]) == heard(stream, samples, [1700])


def test_a_gru_streams_too(gru_run):
    from snn_asr import load_model

    trained = load_model(gru_run)
    samples = speak(SPOKEN, 2)
    logits, _ = trained.logits([samples])
    source, network = EncoderInputs(trained.model, trained.extractor), trained.network("float32")
    with torch.no_grad():
        inputs = torch.cat([source.accept(samples)[0], source.finish()[0]])
    found = torch.from_numpy(network.run(inputs.contiguous().numpy(), network.initial_state()))
    torch.testing.assert_close(found, logits[0].detach(), rtol=1e-3, atol=1e-4)
    assert_as_in_a_batch(trained, samples, [1700])


def test_partial_words_grow_and_are_never_taken_back(recognizer):
    samples, shown = long_recording(), ""
    count = {PARTIAL: 0, WORD: 0}
    stream = recognizer.stream()
    for piece in samples.split(200):
        for event in stream.accept(piece):
            if event.kind == SEGMENT:
                assert shown == ""
                continue
            assert event.text.startswith(shown)
            shown = event.text if event.kind == PARTIAL else ""
            count[event.kind] += 1
    assert count[PARTIAL] >= count[WORD] - 1 > 5


def test_silence_ends_a_segment_and_the_next_one_is_as_fresh(recognizer):
    first, second = speak(["low", "high"], 1), speak(["mid"], 2)
    silence = torch.zeros(2 * RATE_HZ)
    events = heard(recognizer.stream(EndpointSettings(0.6)), torch.cat([first, silence, second, silence]), [4000])
    segments = [each for each in events if each.kind == SEGMENT]
    assert [each.text for each in segments] == [recognizer.transcribe(each).text for each in (first, second)]
    assert segments[0].end_seconds < len(first) / RATE_HZ < 2 < segments[1].start_seconds
    assert segments[1].start_seconds > (len(first) + len(silence)) / RATE_HZ
    assert [each.text for each in events if each.kind == WORD] == " ".join(each.text for each in segments).split()


def test_a_segment_ends_while_the_stream_goes_on(recognizer):
    stream = recognizer.stream(EndpointSettings(0.5))
    assert WORD in {each.kind for each in stream.accept(speak(SPOKEN, 1))} <= {WORD, PARTIAL}
    assert [each.kind for each in stream.accept(torch.zeros(RATE_HZ))][-1] == SEGMENT


def test_a_repeated_recording_is_recognised_the_same_each_time_in_the_same_memory(recognizer):
    samples = torch.cat([speak(SPOKEN, 3), torch.zeros(RATE_HZ)])
    block = 3 * 80  # a stack of frames: then every repetition has the same frames
    samples = torch.cat([samples, torch.zeros(-len(samples) % block)])
    stream = recognizer.stream(EndpointSettings(0.5))
    size, texts = stream.nbytes, []
    for _ in range(20):
        texts.append([each.text for each in stream.accept(samples) if each.kind == SEGMENT])
    assert texts == [[recognizer.transcribe(samples).text]] * 20
    assert stream.nbytes == size < 10_000
    assert len(stream._words._segment) == 0


def test_streams_are_independent_also_in_threads(recognizer):
    recordings = [speak(SPOKEN[: 1 + index % 4], index) for index in range(12)]
    alone = [final(heard(recognizer.stream(), each)) for each in recordings]
    streams = [recognizer.stream() for _ in recordings]
    events: list[list] = [[] for _ in recordings]
    for start in range(0, max(map(len, recordings)), 777):
        for stream, samples, found in zip(streams, recordings, events, strict=True):
            found += stream.accept(samples[start : start + 777])
    assert [final([*found, *stream.finish()]) for found, stream in zip(events, streams, strict=True)] == alone
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda each: final(heard(recognizer.stream(), each, [333])), recordings)) == alone
    assert recognizer.network() is recognizer.network()


def test_a_finished_stream_is_ready_for_another_waveform(recognizer):
    stream, samples = recognizer.stream(), speak(["mid", "low"], 5)
    assert heard(stream, samples) == heard(stream, samples)


def test_16_bit_samples_are_samples(recognizer):
    levels = (speak(SPOKEN, 4) * 32768).round().clamp(-32768, 32767).short()
    assert heard(recognizer.stream(), levels.numpy()) == heard(recognizer.stream(), levels.float() / 32768)


@pytest.mark.parametrize(
    "samples", [torch.tensor([0.0, float("nan")]), torch.zeros(2, 2, 50), torch.zeros(5, dtype=torch.int64)]
)
def test_what_is_no_sound_is_refused(samples, recognizer):
    with pytest.raises(DataError, match="not a finite number|samples must be"):
        recognizer.stream().accept(samples)


def test_what_needs_whole_utterances_is_one_line(recognizer, monkeypatch):
    with pytest.raises(UsageError, match="did you mean 'int8'"):
        recognizer.stream(precision="int9")
    with pytest.raises(UsageError, match="silence"):
        EndpointSettings(0)
    monkeypatch.setattr(recognizer, "device", "cuda")
    with pytest.raises(UsageError, match="runs on the CPU, not on cuda"):
        recognizer.use_engine("event")


@given(classes=st.lists(st.integers(0, 3), max_size=40), cuts=st.lists(st.integers(0, 40), max_size=5))
def test_greedy_tokens_of_chunks_are_runs_of_the_best_class(classes, cuts):
    logits = 9.0 * torch.nn.functional.one_hot(torch.tensor(classes, dtype=torch.int64), 4).float()
    stream, bounds, found = GreedyStream(), sorted(cuts), []
    for piece in torch.tensor_split(logits, bounds):
        found += stream.accept(piece)
    last = stream.open
    found += stream.finish()
    assert last == (found[-1] if classes and classes[-1] != BLANK else None)
    position, expected = 0, []
    for token, run in groupby(classes):
        length = len(list(run))
        if token != BLANK:
            expected.append((token, position, position + length))
        position += length
    assert [(each.token, each.start_frame, each.end_frame) for each in found] == expected
    assert found == greedy(logits.unsqueeze(0), torch.tensor([len(classes)]))[0]


@given(frames=st.integers(0, 9), cuts=st.lists(st.integers(0, 9), max_size=3))
def test_the_class_of_chunks_is_that_of_the_whole(frames, cuts):
    logits = torch.randn(frames, 4)
    stream = ClassStream()
    for piece in torch.tensor_split(logits, sorted(cuts)):
        if len(piece):
            assert stream.accept(piece) == []
    assert stream.finish() == classify(logits.unsqueeze(0), torch.tensor([frames]))[0]


@given(
    blanks=st.lists(st.booleans(), max_size=60), chunks=st.lists(st.integers(1, 9), min_size=1),
    silence=st.integers(1, 9), longest=st.integers(9, 20),
)
def test_endpoints_do_not_depend_on_chunks_that_keep_within_the_room(blanks, chunks, silence, longest):
    def ends(length_of) -> list[int]:
        endpointer, place, since, found = Endpointer(EndpointSettings(silence, longest, silence), 1.0), 0, 0, []
        while place < len(blanks):
            length = min(length_of(endpointer), endpointer.room, len(blanks) - place)
            for blank in blanks[place : place + length]:
                since = since + 1 if blank else 0
            place += length
            if endpointer.accept(length, since):
                found.append(place)
                since = 0
        return found

    sizes = iter(chunks * 60)
    one_by_one = ends(lambda _: 1)
    assert ends(lambda endpointer: endpointer.room) == one_by_one == ends(lambda _: next(sizes))
    if len(blanks) < longest:
        position, expected = 0, []
        for blank, run in groupby(blanks):
            length = len(list(run))
            expected += [position + end for end in range(silence, length + 1, silence) if blank]
            position += length
        assert one_by_one == expected


def test_a_long_segment_ends_at_a_short_pause():
    endpointer = Endpointer(EndpointSettings(8, 20, 8), 1.0)
    assert [endpointer.accept(1, blanks) for blanks in [*[0, 1, 2] * 6, 0, 1, 2, 0]] == [False] * 20 + [True, False]


def spell(tokens, texts: list[str]) -> tuple[list, list]:
    """Events of tokens, two frames each with a blank between, that are given one by one; and the same at once."""
    stream, indices = WordStream(tokens, 0.1), [tokens.labels.index(each) for each in texts]
    emissions = [Emission(index, 3 * place, 3 * place + 2, 0.9) for place, index in enumerate(indices)]
    events = [event for each in emissions for event in [*stream.grown(each), *stream.accept([each])]]
    return [*events, *stream.finish()], emissions


@pytest.mark.parametrize(
    ("tokens", "texts", "spelt"),
    [
        (WordTokens(["six", "two"]), ["six", "two", "two"], ["six", "two", "two"]),
        (CharacterTokens([" ", "a", "b"]), [*"ab b "], ["ab", "b"]),
        (CharacterTokens([" ", "a", "b"]), [*" a"], ["a"]),
        (SentencePieceTokens.build(["ab abb bab"] * 20, 6), None, ["abb", "ab"]),
    ],
)
def test_words_are_final_when_the_next_begins(tokens, texts, spelt):
    if texts is None:
        texts = [tokens.labels[index] for index in tokens.encode("abb ab")]
    events, emissions = spell(tokens, texts)
    found = [each for each in events if each.kind == WORD]
    assert [each.text for each in found] == spelt
    segment = events[-1]
    assert (segment.kind, segment.text.split()) == (SEGMENT, spelt)
    assert len(segment.tokens) == len(emissions)
    expected = words(segment.tokens, tokens.kind)
    assert [(each.text, each.start_seconds, each.end_seconds) for each in found] == [
        (each.text, each.start, each.end) for each in expected
    ]
