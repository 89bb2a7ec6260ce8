"""The evaluation of a model on a data set: transcripts, error rate with its interval, and operations."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader

from snn_asr.data.manifest import Utterance
from snn_asr.data.tokens import Tokens
from snn_asr.decoding.greedy import decode
from snn_asr.efficiency.operation_count import OperationCount
from snn_asr.efficiency.operations import count_batch, record_layers
from snn_asr.network.model import AcousticModel
from snn_asr.scoring.error_rates import Score, fold_phones, score


@dataclass(frozen=True)
class Evaluation:
    """The results of a model on a data set; ``references`` and ``hypotheses`` are texts by utterance id."""

    utterances: dict[str, Utterance]
    references: dict[str, str]
    hypotheses: dict[str, str]
    score: Score
    operations: OperationCount

    def summary(self) -> dict[str, Any]:
        """JSON values: error counts, interval, operations for each second of speech."""
        total = self.score.total
        seconds = sum(each.duration for each in self.utterances.values())
        return {
            "error_rate": total.error_rate, "interval": self.score.interval, "insertions": total.insertions,
            "deletions": total.deletions, "substitutions": total.substitutions,
            "reference_length": total.reference_length, "utterances": len(self.references),
            "operations": asdict(self.operations.rates(seconds)),
        }

    def transcripts(self) -> dict[str, dict[str, str]]:
        """JSON values: by utterance id its speaker, reference and hypothesis."""
        return {
            name: {"speaker": self.utterances[name].speaker, "reference": text, "hypothesis": self.hypotheses[name]}
            for name, text in self.references.items()
        }

    def line(self) -> str:
        """One line for people."""
        total, interval = self.score.total, self.score.interval
        bounds = f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
        return (
            f"test {self.score.unit} error {total.error_rate:.2f} %{bounds} ({total.insertions} insertions, "
            f"{total.deletions} deletions, {total.substitutions} substitutions in {total.reference_length})"
        )


@torch.no_grad()
def evaluate(model: AcousticModel, tokens: Tokens, loader: DataLoader, device: str) -> Evaluation:
    """Decode everything in ``loader`` with ``model`` in evaluation mode, and score it (TIMIT's phones on 39)."""
    model.eval()
    utterances, hypotheses, operations = {}, {}, OperationCount()
    for batch in loader:
        batch = batch.to(device)
        with record_layers(model.encoder, model.front_end) as records:
            logits, lengths, _ = model(batch.frames, batch.lengths)
        count_batch(records, model.head.weight, operations)
        decoded = decode(model.settings.task, logits, lengths)
        for utterance, emissions in zip(batch.utterances, decoded, strict=True):
            utterances[utterance.id] = utterance
            hypotheses[utterance.id] = tokens.decode(each.token for each in emissions)
    # In the order of the ids, as compare reads them: the bootstrap draws by position.
    references = {name: tokens.transcript(utterances[name]) for name in sorted(utterances)}
    references, hypotheses = (fold_phones(each, tokens.scored_phones) for each in (references, hypotheses))
    return Evaluation(utterances, references, hypotheses, score(references, hypotheses, tokens.unit), operations)
