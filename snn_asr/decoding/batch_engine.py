"""The batch engine: several recordings at once, block by block, so that memory does not grow with their length.

Each round takes the next frames of every recording, at most BLOCK_SECONDS, and runs the network over them in padded
batches of similar length (data/batches.py). States are carried from round to round. A recording that has ended leaves,
so that a long one among short ones costs what it costs alone. If a segment ends within a block, the frames after its
end are computed again from the zero state, in a shorter block, which doubles from round to round.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from snn_asr.data.batches import padded_groups
from snn_asr.decoding.greedy import Emission
from snn_asr.decoding.segments.segmenter import Found, Segmenter
from snn_asr.network.model import AcousticModel
from snn_asr.network.states import join_rows, keep_rows, restart_rows

BLOCK_SECONDS = 20.0
BATCH_BLOCKS = 8  # in one batch at most, padding included


class BatchRecording:
    """One recording of a batch: blocks of samples go in, and the tokens of its segments come out.

    ``segments`` has the tokens of each segment. With ``with_logits``, ``ends`` has what the segmenter found at the end
    of each segment, and ``segment_logits`` its logits (t, N). ``error`` is an error in reading the samples: the
    recording then ends there, and the others go on.
    """

    def __init__(
        self, blocks: Iterable[Tensor], segmenter: Segmenter, block_frames: int, with_logits: bool = False
    ) -> None:
        self._blocks, self._segmenter = iter(blocks), segmenter
        self._longest = self._limit = block_frames
        self._ended, self._with_logits = False, with_logits
        self._open: list[Emission] = []
        self._logits: list[Tensor] = []
        self.samples = 0
        self.error: Exception | None = None
        self.segments: list[list[Emission]] = []
        self.segment_logits: list[Tensor] = []
        self.ends: list[Found] = []

    @property
    def anew(self) -> bool:
        """Whether the next frames begin a segment."""
        return self._segmenter.anew

    def frames(self) -> Tensor:
        """The next frames (t, D), or none at the end of the recording."""
        while True:
            frames = self._segmenter.waiting(self._limit)
            self._collect()
            enough = len(frames) >= self._limit or self._segmenter.whole_segment
            if self.error is not None or self._ended or (len(frames) and enough):
                return frames
            self._read()

    def hear(self, logits: Tensor) -> None:
        """Take the logits (t, N) of the frames that ``frames`` returned."""
        heard = self._segmenter.hear(logits)
        if self._with_logits:
            self._logits.append(logits[:heard].clone())
        self._collect()
        self._limit = self._segmenter.room if self.anew else 2 * self._limit
        self._limit = min(self._limit, self._longest)

    def _read(self) -> None:
        try:
            samples = next(self._blocks, None)
            if samples is None:
                self._segmenter.finish()
                self._ended = True
            else:
                self.samples += len(samples)
                self._segmenter.accept(samples)
        except Exception as error:  # one bad file, whatever is wrong with it, ends no other
            self.error = error

    def _collect(self) -> None:
        for found in self._segmenter.results():
            self._open += found.emissions
            if not found.ended:
                continue
            if self._open:
                self.segments.append(self._open)
                if self._with_logits:
                    self.ends.append(found)
                    self.segment_logits.append(torch.cat(self._logits))
            self._open, self._logits = [], []


@torch.no_grad()
def recognize(model: AcousticModel, recordings: Sequence[BatchRecording], block_frames: int, device: str) -> None:
    """Run the network over the recordings to their ends, in blocks of at most ``block_frames`` frames."""
    alive, state = list(recordings), None
    bidirectional = model.settings.bidirectional
    while True:
        chunks = [each.frames() for each in alive]
        going = [row for row, frames in enumerate(chunks) if len(frames) and alive[row].error is None]
        if not going:
            return
        state = keep_rows(state, going, len(alive))
        alive, chunks = [alive[row] for row in going], [chunks[row] for row in going]
        state = restart_rows(state, [row for row, each in enumerate(alive) if each.anew], len(alive))
        order, after = [], []
        for rows, frames, lengths in padded_groups(chunks, BATCH_BLOCKS * block_frames):
            before = None if bidirectional else keep_rows(state, rows, len(alive))
            logits, states = model.encode(frames.to(device), lengths, before)
            for row, of_frames, length in zip(rows, logits.cpu(), lengths.tolist(), strict=True):
                alive[row].hear(of_frames[:length])
            order += rows
            after.append(states)
        alive, state = [alive[row] for row in order], None if bidirectional else join_rows(after)
