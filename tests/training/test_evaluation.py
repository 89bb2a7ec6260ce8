"""Scoring a model on a data set: TIMIT's phones are folded to 39 on both sides, whatever the model was trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from snn_asr.data.batches import Batch
from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.manifest import Utterance
from snn_asr.data.normalization import Normalization
from snn_asr.data.tokens import build_tokens
from snn_asr.decoding.greedy import Emission
from snn_asr.network.model import AcousticModel, ModelSettings
from snn_asr.training import evaluation

SPOKEN = ["h#", "q", "ix", "bcl", "b", "pau"]


@pytest.mark.parametrize("phone_set", [61, 39])
def test_phones_are_scored_on_39(phone_set, monkeypatch):
    phones = tuple((label, 0.1 * (index + 1)) for index, label in enumerate(SPOKEN))
    utterance = Utterance("u", Path("u.wav"), 0.6, "s", "", phones)
    tokens = build_tokens("phones", [], phone_set=phone_set)
    heard = tokens.encode("h# ih bcl b" if phone_set == 61 else "sil ih sil b")
    emissions = [Emission(token, 0, 1, 1.0) for token in heard]
    monkeypatch.setattr(evaluation, "decode", lambda *_: [emissions])
    settings = ModelSettings(FeatureSettings(mels=8, stack=1), "gru", 4, 1, {})
    model = AcousticModel(settings, Normalization(torch.zeros(8), torch.ones(8)), tokens.size)
    frames, lengths = torch.zeros(1, 6, 8), torch.tensor([6])
    batch = Batch([utterance], frames, lengths, torch.zeros(1, 1, dtype=torch.long), torch.tensor([1]))
    report = evaluation.evaluate(model, tokens, [batch], "cpu")
    assert report.references == {"u": "sil ih sil b sil"}
    assert report.hypotheses == {"u": "sil ih sil b"}
    total = report.score.total
    assert (total.insertions, total.deletions, total.substitutions, report.score.unit) == (0, 1, 0, "phone")


def test_labels_of_a_corpus_are_scored_as_they_are():
    assert build_tokens("phones", ["q a", "b"], phone_set="corpus").scored_phones is None
