"""Speak one utterance with libespeak-ng and leave: run as a script, in a process of its own.

espeak-ng carries state from one utterance to the next (phase, random breath and flutter, echo), so only a fresh
process gives the same samples every time. This file therefore imports the standard library alone, and is started by
its path: the start takes some 20 ms. A JSON request comes on standard input; on standard output go one line of
JSON ({"sample_rate", "events"}) and then the samples as 16-bit PCM of the machine's byte order.
Symbols and numbers below are those of espeak-ng's speak_lib.h.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any

_OUTPUT_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: AUDIO_OUTPUT_SYNCHRONOUS
_INITIALIZE_PHONEME_EVENTS, _INITIALIZE_DONT_EXIT = 0x0001, 0x8000
_CHARS_UTF8, _END_PAUSE = 1, 0x1000
_PARAMETERS = {"rate": 1, "pitch": 3, "range": 4}  # espeak_PARAMETER
_EVENT_END_OF_LIST, _EVENT_WORD, _EVENT_PHONEME = 0, 1, 7  # espeak_EVENT_TYPE
_EVENT_NAMES = {_EVENT_WORD: "word", _EVENT_PHONEME: "phoneme"}
_NAME_BYTES = 8


class _Identity(ctypes.Union):
    _fields_ = [
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * _NAME_BYTES),
    ]


class _Event(ctypes.Structure):
    """espeak_EVENT; ``text_position`` counts characters from 1, ``sample`` samples from the utterance's start."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("identity", _Identity),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))


def _collector(pcm: bytearray, events: list[list]) -> Any:
    """The callback espeak-ng calls with each stretch of samples and the events that fall in it."""

    @_Callback
    def collect(samples: int | None, count: int, event_list: ctypes.Array) -> int:
        if samples and count > 0:
            pcm.extend(ctypes.string_at(samples, 2 * count))
        index = 0
        while (event := event_list[index]).type != _EVENT_END_OF_LIST:
            if event.type in _EVENT_NAMES:
                name = event.identity.string.decode("ascii", "replace") if event.type == _EVENT_PHONEME else ""
                events.append([_EVENT_NAMES[event.type], event.text_position, event.sample, name])
            index += 1
        return 0

    return collect


def speak(request: dict) -> tuple[int, list[list], bytes]:
    """Synthesise ``request`` (library, data, voice, text, rate, pitch, range): sample rate, events, PCM.

    Exits with a message where the library, its data or the voice fails.
    """
    library = ctypes.CDLL(request["library"])
    options = _INITIALIZE_PHONEME_EVENTS | _INITIALIZE_DONT_EXIT
    sample_rate = library.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, os.fsencode(request["data"]), options)
    if sample_rate <= 0:
        sys.exit(f"espeak-ng cannot load its data from {request['data']}")
    if library.espeak_SetVoiceByName(request["voice"].encode()):
        sys.exit(f"espeak-ng has no voice '{request['voice']}'")
    for name, number in _PARAMETERS.items():
        library.espeak_SetParameter(number, request[name], 0)
    pcm = bytearray()
    events: list[list] = []
    collect = _collector(pcm, events)
    library.espeak_SetSynthCallback(collect)
    text = request["text"].encode()
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
        ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    if library.espeak_Synth(text, len(text) + 1, 0, 0, 0, _CHARS_UTF8 | _END_PAUSE, None, None):
        sys.exit(f"espeak-ng cannot speak '{request['text']}'")
    library.espeak_Synchronize()
    return sample_rate, events, bytes(pcm)


def main() -> None:
    sample_rate, events, pcm = speak(json.load(sys.stdin))
    header = json.dumps({"sample_rate": sample_rate, "events": events})
    sys.stdout.buffer.write(header.encode() + b"\n" + pcm)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
