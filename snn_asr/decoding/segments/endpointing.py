"""Where a segment of speech ends: after a rest, which the noise gate finds, or after a long time without tokens.

A rest is silence, hum or steady noise (noise_gate.py). Sound that goes on may be speech that the network did not
understand. So blanks, the frames on which no token is best, end a segment only after much longer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from snn_asr.errors import UsageError

LONGEST_SILENCE_SECONDS = 60.0  # the gate, also that of an exported recogniser, holds the frames of this time


@dataclass(frozen=True)
class EndpointSettings:
    """When a segment ends. Raises UsageError for values that cannot work.

    It ends after ``silence_seconds`` of rest, after ``wordless_seconds`` of sound without a token, and after
    ``longest_seconds`` at the first pause between tokens that is a quarter of ``silence_seconds`` long.
    """

    silence_seconds: float = 1.0
    longest_seconds: float = 60.0
    wordless_seconds: float = 5.0

    def __post_init__(self) -> None:
        if self.silence_seconds > LONGEST_SILENCE_SECONDS:
            todo = f"give at most {LONGEST_SILENCE_SECONDS:g}, or 0: a recording is then one segment"
            raise UsageError(f"{self.silence_seconds:g} s of silence", "endpointing", todo)
        if not 0 < self.silence_seconds <= self.wordless_seconds <= self.longest_seconds < math.inf:
            what = (
                f"{self.silence_seconds:g} s of silence, {self.wordless_seconds:g} s without a word, "
                f"at most {self.longest_seconds:g} s of speech"
            )
            raise UsageError(what, "endpointing", "give a positive silence that is shorter than the longest segment")

    @classmethod
    def of_silence(cls, seconds: float) -> EndpointSettings | None:
        """The default settings with a rest of ``seconds``, and no other limit below that; None, which leaves a
        recording whole, for 0 seconds."""
        if seconds == 0:
            return None
        return cls(seconds, max(DEFAULT.longest_seconds, seconds), max(DEFAULT.wordless_seconds, seconds))


DEFAULT = EndpointSettings()


def require_settings(endpointing: object) -> None:
    """Raise UsageError for what is neither settings nor None, such as a bare number of seconds."""
    if endpointing is not None and not isinstance(endpointing, EndpointSettings):
        todo = "give EndpointSettings(silence_seconds=1.0), or None: a recording is then one segment"
        raise UsageError(f"settings of type {type(endpointing).__name__}", "endpointing", todo)


class Endpointer:
    """Counts frames and blanks. Frames have to come in chunks of at most ``room``, so that a segment ends with a
    chunk."""

    def __init__(self, settings: EndpointSettings, step_seconds: float) -> None:
        self.wordless = max(1, round(settings.wordless_seconds / step_seconds))
        self.pause = max(1, round(settings.silence_seconds / step_seconds) // 4)
        self.longest = max(1, round(settings.longest_seconds / step_seconds))
        self._frames = self._blanks = 0

    @property
    def room(self) -> int:
        """A number of frames, at least 1, in which a segment cannot end before the last of them."""
        in_pause = max(self.pause - self._blanks, self.longest - self._frames, 1)
        return min(self.wordless - self._blanks, in_pause)

    def accept(self, frames: int, trailing_blanks: int) -> bool:
        """Count ``frames`` more, and return True at an end. ``trailing_blanks`` are those since the last token or
        end."""
        self._frames += frames
        self._blanks = trailing_blanks
        long = self._frames >= self.longest and self._blanks >= self.pause
        if not long and self._blanks < self.wordless:
            return False
        self._frames = self._blanks = 0
        return True
