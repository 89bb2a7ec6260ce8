"""Speech with phoneme times: the same every time, words told apart, failures in one line."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy
import pytest

from snn_asr.corpora.demo import espeak
from snn_asr.errors import DataError, UsageError

needs_espeak = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None, reason="the extra 'demo' is not installed"
)


def speak(text: str, voice: str = "en-us+f1", **settings: int) -> espeak.Speech:
    return espeak.synthesise(text.split(), voice, **{"rate": 180, "pitch": 50, "pitch_range": 50, **settings})


@needs_espeak
def test_repeats_itself_whatever_was_spoken_before() -> None:
    first = speak("call five five")
    speak("turn the light on", "en-us+m8")
    again = speak("call five five")
    assert numpy.array_equal(first.samples, again.samples)
    assert first.phonemes == again.phonemes


@needs_espeak
def test_every_phoneme_belongs_to_its_word() -> None:
    speech = speak("turn on the light")  # espeak-ng's dictionary holds "on the" as one word
    names = [[phoneme.name for phoneme in speech.phonemes if phoneme.word == word] for word in range(4)]
    assert names == [["t", "3:", "n"], ["O2", "n"], ["D", "@2"], ["l", "aI", "t"]]
    starts = [phoneme.start for phoneme in speech.phonemes]
    assert starts == sorted(set(starts)) and starts[-1] < speech.end <= len(speech.samples)
    assert not speech.samples[: starts[0]].any() and not speech.samples[speech.end :].any()


@needs_espeak
def test_rate_and_pitch_are_obeyed() -> None:
    assert speak("nine nine", rate=150).end > 1.2 * speak("nine nine", rate=220).end
    assert _pitch_hz(speak("nine", pitch=80)) > 1.2 * _pitch_hz(speak("nine", pitch=20))


def _pitch_hz(speech: espeak.Speech) -> float:
    """By the strongest autocorrelation of the middle of the diphthong, between 60 and 500 Hz."""
    vowel = next(phoneme.start for phoneme in speech.phonemes if phoneme.name == "aI")
    piece = speech.samples[vowel + 800 : vowel + 2800].astype(float)
    correlation = numpy.correlate(piece, piece, "full")[len(piece) - 1 :]
    shortest = speech.sample_rate // 500
    return speech.sample_rate / (shortest + correlation[shortest : speech.sample_rate // 60].argmax())


@needs_espeak
@pytest.mark.parametrize("voice, message", [("en-us+nobody", "no voice variant 'nobody'"), ("xx", "no voice 'xx'")])
def test_unknown_voice_is_one_line(voice: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        speak("one", voice)
    assert "\n" not in str(caught.value)


@needs_espeak
def test_broken_installation_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = espeak.installation()
    broken = espeak.Installation(tmp_path / "libespeak-ng.so", found.data)
    monkeypatch.setattr(espeak, "installation", lambda: broken)
    with pytest.raises(DataError, match="espeak-ng failed.*reinstall espeakng-loader") as caught:
        speak("one")
    assert "\n" not in str(caught.value)


def test_missing_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)  # makes the import fail
    with pytest.raises(UsageError, match=r"pip install 'snn-asr\[demo\]'"):
        speak("one")


def test_words_run_together_are_refused() -> None:
    events = [["word", 1, 0, ""], ["phoneme", 1, 0, "O2"], ["phoneme", 1, 900, "D"], ["phoneme", 6, 2000, "_:"]]
    with pytest.raises(DataError, match="did not speak every word"):
        espeak.phonemes_of(["on", "the"], events)
