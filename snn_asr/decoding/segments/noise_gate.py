"""The noise gate, which keeps silence, hum and steady noise from the network and lets varying sound, as of speech,
pass.

A network can be trusted only with sounds like those of its training. Minutes of digital silence or of a fan are not
among them, and whatever it recognises there is not a word. So it is given only sound that rises above the noise floor:

    energies    natural logarithms in four groups of mel bands, averaged over SMOOTHING_SECONDS where frames are short,
                nothing below the noise of 16-bit samples counting
    floor       of each group, the lowest in the last FLOOR_SECONDS: it follows a noise that begins or ends
    rise        energies MARGIN above the floor in some group, for ONSET_SECONDS without a break
    rest        no rise for as long as the silence that ends a segment

The gate opens with a rise, also for the LEAD_SECONDS of frames before it, and closes with rest. Opening and closing
have different conditions (hysteresis), so that the pauses between the words of a sentence pass. Frames that come more
than HANG_SECONDS after a rise are held until another rise, which lets them pass, or rest, which drops them. A recording
begins undecided: its first frames are held until a rise, which lets all of them pass, or rest. If it ends before that,
they pass unless all of them are digital silence.
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
    """The gate of one recording: ``step`` takes the energies of each frame of the encoder's input.

    ``open`` says whether frames pass, and ``above`` whether the last frame rises above the noise. In numbers of frames,
    ``rest``, ``onset``, ``lead`` and ``hang`` are the times of the module; ``averaged`` energies make an average, and
    ``remembered`` averages give the floor.
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
        self._silent = True  # no energy yet above that of silence
        self._rise = 0  # frames on end above the floor
        self._still = 0  # frames since the last rise

    def step(self, energies: np.ndarray) -> bool:
        """Take the energies (GROUPS,) of the next frame. Returns whether the gate has opened or closed with it."""
        self._recent.append(energies)
        energies = np.maximum(np.log(np.add.reduce(self._recent) / len(self._recent)), LOWEST)
        self._energies.append(energies)
        self._silent = self._silent and not (energies > LOWEST).any()
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
    def passes_at_the_end(self) -> bool:
        """Whether the frames that are held pass if the recording ends here."""
        return self.open or not (self.decided or self._silent)

    @property
    def doubtful(self) -> int:
        """The number of last frames that an open gate holds, because they came too long after a rise."""
        return max(0, self._still - self.hang)

    def _fell(self, energies: np.ndarray) -> bool:
        """Whether the recording began with sound, and has fallen from it to these energies."""
        above = (np.array(self._energies) > energies + MARGIN).any(axis=1)
        return int(above.sum()) >= self.onset


def group_energies(frames: Tensor, settings: FeatureSettings) -> np.ndarray:
    """The mean energies (t, GROUPS), all above 0, of features (t, stack, F) that are not normalised."""
    mels = mel_energies(frames.numpy()[..., : settings.base_size], settings)
    groups = np.array_split(np.exp(mels), min(GROUPS, mels.shape[-1]), axis=-1)
    return np.stack([each.mean(axis=(1, 2)) for each in groups], axis=-1)
