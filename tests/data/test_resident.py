"""Frames that stay on the device: the batches are those that the host would have padded."""

from __future__ import annotations

import torch
from utterance_sets import silent_set, tone_set

from snn_asr.data import resident
from snn_asr.data.batches import ResidentBatches, collate


def test_batches_put_together_on_the_device_are_those_of_the_host(tones):
    data = tone_set(tones, speeds=[0.9, 1.0, 1.1])
    made = ResidentBatches(data, "cpu")
    for epoch, indices in enumerate([(2, 0, 4), (7,), (1, 5, 3, 6)]):
        data.set_epoch(epoch)
        batch, wanted = made.collate(list(indices)), collate([data[index] for index in indices])
        assert batch.utterances == wanted.utterances
        for name in ("frames", "lengths", "targets", "target_lengths"):
            assert torch.equal(getattr(batch, name), getattr(wanted, name)), name


def test_a_process_without_a_share_of_a_batch_gets_a_row_of_no_frames(tones):
    batch = ResidentBatches(tone_set(tones), "cpu").collate([])
    assert batch.utterances == [] and batch.lengths.tolist() == [0]


def test_only_a_small_corpus_fits(monkeypatch):
    data = silent_set([100] * 20, speeds=[0.5, 1.0, 1.0])  # the slow ones are twice as long
    frames = sum(data.frame_counts(0.5)) + sum(data.frame_counts(1.0))
    monkeypatch.setattr(resident, "MOST_BYTES", frames * data.extractor.settings.size * 4)
    assert resident.fits(data)
    monkeypatch.setattr(resident, "MOST_BYTES", resident.MOST_BYTES - 1)
    assert not resident.fits(data)
