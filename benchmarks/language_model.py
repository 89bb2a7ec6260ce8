"""Word and character error rates of finished runs with an n-gram language model of their training transcripts.

    python benchmarks/language_model.py PREPARED RUN... --output language_model.json [--closed-vocabulary]

The trigram is estimated from the training transcripts, its weight and the insertion bonus are tuned on development data
with the first run of every encoder, and each run's test set is decoded with them (beam 10, recordings whole). What the
output holds already is not decoded again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from snn_asr import load_model
from snn_asr.data.manifest import Utterance, read_manifest
from snn_asr.decoding import tuning
from snn_asr.decoding.beam import BeamSettings
from snn_asr.decoding.language_models.arpa import write_arpa
from snn_asr.decoding.language_models.ngram_estimation import estimate
from snn_asr.decoding.recognizer import Recognizer
from snn_asr.files import read_json_object, write_json
from snn_asr.reports.comparison import read_run
from snn_asr.scoring.error_rates import score

WIDTH = 10
ORDER = 3


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path, help="the folder of manifests")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--closed-vocabulary", action="store_true", help="no words but those of training")
    arguments = parser.parse_args(words)
    sets = {split: read_manifest(arguments.prepared / f"{split}.json") for split in ("train", "dev", "test")}
    arpa = arguments.output.with_suffix(".arpa")
    write_arpa(arpa, estimate([each.text.split() for each in sets["train"].values()], ORDER))
    found = read_json_object(arguments.output) if arguments.output.is_file() else {}
    settings: dict[str, BeamSettings] = {}
    for folder in arguments.runs:
        if folder.name in found:
            continue
        run, recognizer = read_run(folder), load_model(folder, device="cpu")
        if run.encoder not in settings:
            closed = arguments.closed_vocabulary
            best = tuning.tune(recognizer, sets["dev"], arpa, WIDTH, closed_vocabulary=closed).best
            settings[run.encoder] = BeamSettings(
                WIDTH, best.language_weight, best.insertion_bonus, closed_vocabulary=closed
            )
        found[folder.name] = error_rates(recognizer, sets["test"], arpa, settings[run.encoder])
        write_json(arguments.output, found)
        print(folder.name, found[folder.name], flush=True)


def error_rates(
    recognizer: Recognizer, utterances: dict[str, Utterance], arpa: Path, settings: BeamSettings
) -> dict[str, float | None]:
    """Of the utterances, decoded whole with the language model."""
    recognizer.endpointing = None
    recognizer.use_beam(settings, arpa)
    texts = {name: recognizer.transcribe(str(each.wav)).text for name, each in utterances.items()}
    references = {name: recognizer.tokens.transcript(each) for name, each in utterances.items()}
    rates = {unit: score(references, texts, unit, resamples=1).total.error_rate for unit in ("word", "character")}
    return {"trigram_error_rate": rates["word"], "trigram_character_error_rate": rates["character"]}


if __name__ == "__main__":
    main()
