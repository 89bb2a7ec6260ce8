"""Signals within calls of libraries that would lose them."""

from __future__ import annotations

import io
import os
import signal
import threading

import pytest
import torch

from snn_asr.data.audio import audio_bytes, read_audio
from snn_asr.errors import DataError
from snn_asr.interruption import uninterrupted


def _tell(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


def test_a_signal_waits_for_the_end_of_the_block() -> None:
    reached = False
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        _tell()
        reached = True
    assert reached and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        _tell()


def test_a_signal_goes_before_an_error_and_what_is_ignored_stays_ignored() -> None:
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        _tell()
        raise DataError("what the interrupted call makes of it")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with uninterrupted():
            _tell(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_go_on() -> None:
    done: list[bool] = []

    def work() -> None:
        with uninterrupted():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


class _Interrupting(io.BytesIO):
    """A file in whose nth reading Ctrl-C is pressed."""

    left = 0

    def read(self, size: int | None = -1) -> bytes:
        self.left -= 1
        if self.left == 0:
            _tell()
        return super().read(size)


@pytest.mark.parametrize("file_format", ["WAV", "FLAC"])
def test_ctrl_c_while_a_file_is_read_is_no_damaged_file(file_format: str, capfd) -> None:
    """libsndfile calls Python back for every piece of the file."""
    content = audio_bytes(torch.randn(400_000) / 10, 16000, file_format)
    counted = _Interrupting(content)
    read_audio(counted)
    readings = -counted.left
    assert readings > 5
    for nth in range(1, readings + 1):
        source = _Interrupting(content)
        source.left = nth
        with pytest.raises(KeyboardInterrupt):
            read_audio(source)
    assert capfd.readouterr().err == ""
