"""Trained models with weights in float32, int8 and int4: errors, bytes, operations, and time a frame on one core.

    python benchmarks/few_bits.py MANIFEST MODEL ... [--precisions float32,int8,int4] [--rounds 40]

A float32 model is rounded as ``snn-asr quantize`` does; a folder that is quantised is measured as it is. Errors (with
the interval of 95 %) and operations are those of the batch engine, with the numbers that the whole ones stand for.
Bytes are those of the weights in the model folder, and of all constants of the exported C. Times are those of the event
engine on frames of the manifest's first recordings, one frame a call: all models in turns, the least of the rounds.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from _frame_by_frame import event_step  # noqa: E402
from _timing import in_turns  # noqa: E402

from snn_asr.data.batches import evaluation_loader  # noqa: E402
from snn_asr.data.dataset import SpeechDataset  # noqa: E402
from snn_asr.data.features import FeatureExtractor  # noqa: E402
from snn_asr.data.manifest import Utterance, read_manifest  # noqa: E402
from snn_asr.decoding.encoder_inputs import EncoderInputs  # noqa: E402
from snn_asr.decoding.recognizer import Recognizer  # noqa: E402
from snn_asr.decoding.segments.endpointing import DEFAULT  # noqa: E402
from snn_asr.efficiency.footprint import footprint  # noqa: E402
from snn_asr.events.engine import event_network  # noqa: E402
from snn_asr.events.quantization import quantized  # noqa: E402
from snn_asr.export.c.template_values import template_values  # noqa: E402
from snn_asr.network.integers import FLOAT32, WEIGHT_PRECISIONS  # noqa: E402
from snn_asr.network.model_folder import LoadedModel, load  # noqa: E402
from snn_asr.training.evaluation import evaluate  # noqa: E402

FRAMES = 300  # of a turn


@dataclass(frozen=True)
class Case:
    """A model in one precision, with frames (T, D) of speech."""

    name: str
    loaded: LoadedModel
    frames: np.ndarray


def cases_of(folder: str, precisions: list[str], utterances: list[Utterance]) -> list[Case]:
    """A model in each precision, or as it is where it is quantised."""
    recognizer, loaded = Recognizer(folder, "cpu"), load(folder)
    frames, model = speech(recognizer, utterances), loaded.model
    if model.grids:
        return [Case(f"{folder} {model.precision}", loaded, frames)]
    models = {each: model if each == FLOAT32 else quantized(model, each) for each in precisions}
    return [
        Case(f"{folder} {name}", LoadedModel(each, loaded.tokens, loaded.metrics, loaded.fingerprint), frames)
        for name, each in models.items()
    ]


def speech(recognizer: Recognizer, utterances: list[Utterance]) -> np.ndarray:
    """Encoder inputs of recordings, FRAMES of them."""
    source = EncoderInputs(recognizer.model, recognizer.extractor)
    with torch.no_grad():
        inputs = torch.cat([source.accept(recognizer.samples(each.wav))[0] for each in utterances[:20]])
    return inputs[:FRAMES].contiguous().numpy()


def line_of(case: Case, utterances: list[Utterance], seconds: float) -> str:
    model = case.loaded.model
    extractor = FeatureExtractor(model.settings.features)
    dataset = SpeechDataset(utterances, tokens=case.loaded.tokens, extractor=extractor)
    found = evaluate(model, case.loaded.tokens, evaluation_loader(dataset, 6000), "cpu").summary()
    low, high = found["interval"] or (float("nan"), float("nan"))
    constants = template_values(case.loaded, model.precision, DEFAULT).constant_bytes
    macs, acs = (found["operations"][each] / 1e6 for each in ("macs_per_second", "acs_per_second"))
    return (
        f"{found['error_rate']:6.2f} [{low:.2f}, {high:.2f}]  {footprint(model).stored_bytes / 1000:8.1f} "
        f"{constants / 1000:8.1f} {macs:8.2f} {acs:8.2f} {1e6 * seconds / len(case.frames):8.2f}  {case.name}"
    )


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest")
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--precisions", default=",".join(WEIGHT_PRECISIONS))
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args(words)
    torch.set_num_threads(1)
    utterances, precisions = list(read_manifest(arguments.manifest).values()), arguments.precisions.split(",")
    cases = [each for folder in arguments.models for each in cases_of(folder, precisions, utterances)]
    steps = {}
    for case in cases:
        step = event_step(event_network(case.loaded.model, case.loaded.model.precision))
        steps[case.name] = lambda step=step, frames=case.frames: [step(frames[n : n + 1]) for n in range(len(frames))]
    seconds = in_turns(steps, arguments.rounds, time.process_time)
    print("error, interval        kB stored    kB C  M MACs/s  M ACs/s  µs/frame  model")
    for case in cases:
        print(line_of(case, utterances, min(seconds[case.name])), flush=True)


if __name__ == "__main__":
    main()
