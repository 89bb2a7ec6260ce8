"""The noise gate: it keeps silence, hum and steady noise from the network; sound that moves, as speech does, passes.

A network answers for the sounds of its training. Minutes of digital silence or of a fan are none of them: whatever it
makes of them is no word that somebody said. So the network is given only what rises above the noise floor:

    energies    natural logarithms in four groups of mel bands, averaged over SMOOTHING_SECONDS where frames are short,
                nothing below the noise of 16-bit samples counting
    floor       of each group, the lowest in the last FLOOR_SECONDS: it follows a noise that begins or ends
    rise        ONSET_SECONDS on end, MARGIN above the floor in some group
    rest        no rise for as long as the silence that ends a segment

The gate opens with a rise, for the frames of LEAD_SECONDS before it too, and closes with rest: what opens and what
closes it differ (hysteresis), so that the pauses between the words of a sentence pass. Frames that come more than
HANG_SECONDS after a rise are kept until there is another, which lets them pass, or rest, which does not. A recording
begins undecided: its first frames are kept until there is a rise, which lets all of them pass, or rest.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from torch import Tensor

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.spectra import mel_energies

GROUPS = 4
# Noise itself does not rise by so much for so long in ten minutes; a vowel does, 0 dB above the noise.
MARGIN = 8 * math.log(10) / 10
ONSET_SECONDS = 0.09
SMOOTHING_SECONDS = 0.03  # three frames of 10 ms, which the recipes stack: noise alone is too restless in one
LOWEST = -14.0  # 8 dB above the floor that spectra.py gives to silence
FLOOR_SECONDS = 1.5
LEAD_SECONDS = 0.3
HANG_SECONDS = 0.5


class Gate:
    """``step`` takes the energies of one frame of the encoder's input and tells whether the gate moves there;
    ``above`` is whether that frame rises above the noise.

    Counts of such frames: ``rest``, ``onset``, ``lead`` and ``hang`` are the times above; so many energies are
    ``averaged``, and so many averages ``remembered``.
    """

    def __init__(self, step_seconds: float, rest_seconds: float) -> None:
        self.rest = max(1, round(rest_seconds / step_seconds))
        self.onset = math.ceil(round(ONSET_SECONDS / step_seconds, 3))
        self.averaged = math.ceil(round(SMOOTHING_SECONDS / step_seconds, 3))
        self.lead = max(1, round(LEAD_SECONDS / step_seconds)) + self.onset
        self.hang = min(self.rest, round(HANG_SECONDS / step_seconds))
        self.remembered = max(self.rest, round(FLOOR_SECONDS / step_seconds))
        self._recent: deque[np.ndarray] = deque(maxlen=self.averaged)
        self._energies: deque[np.ndarray] = deque(maxlen=self.remembered)
        self.open, self.decided, self.above = False, False, False
        self._rise = 0  # frames on end above the floor
        self._still = 0  # frames since the last rise

    def step(self, energies: np.ndarray) -> bool:
        """Take the energies (GROUPS,) of the next frame; True where the gate has opened or closed with it."""
        self._recent.append(energies)
        energies = np.maximum(np.log(np.add.reduce(self._recent) / len(self._recent)), LOWEST)
        self._energies.append(energies)
        self.above = bool((energies > np.minimum.reduce(self._energies) + MARGIN).any())
        self._rise = self._rise + 1 if self.above else 0
        risen = self._rise >= self.onset or (not self.decided and self._fell(energies))
        self._still = 0 if risen else self._still + 1
        if self.open:
            self.open = self._still < self.rest
            return not self.open
        if risen:
            self.open = self.decided = True
        elif self._still >= self.rest:
            self.decided = True
        return self.open

    @property
    def doubtful(self) -> int:
        """How many of the last frames of an open gate have come too long after a rise to pass by themselves."""
        return max(0, self._still - self.hang)

    def _fell(self, energies: np.ndarray) -> bool:
        """Whether the recording began with sound, and has come down from it to these energies."""
        above = (np.array(self._energies) > energies + MARGIN).any(axis=1)
        return int(above.sum()) >= self.onset


def group_energies(frames: Tensor, settings: FeatureSettings) -> np.ndarray:
    """(t, stack, F) plain features, stacked, to (t, GROUPS): the mean energies in each, above 0."""
    mels = mel_energies(frames.numpy()[..., : settings.base_size], settings)
    groups = np.array_split(np.exp(mels), min(GROUPS, mels.shape[-1]), axis=-1)
    return np.stack([each.mean(axis=(1, 2)) for each in groups], axis=-1)
