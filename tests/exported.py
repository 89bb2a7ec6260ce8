"""Exported C, built and run: models to export, the compiler's flags, and what a program hears beside a stream."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from event_cases import SPIKING
from tones import RATE_HZ, speak

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.normalization import Normalization
from snn_asr.data.tokens import Tokens, WordTokens
from snn_asr.decoding.live.stream import SEGMENT, WORD
from snn_asr.decoding.recognizer import Recognizer
from snn_asr.decoding.segments.endpointing import EndpointSettings
from snn_asr.export.c.export_c import export_c
from snn_asr.network.model import AcousticModel, ModelSettings
from snn_asr.network.model_folder import load, save_model

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-fsanitize=address,undefined"]
STRICT += ["-fno-sanitize-recover=all"]
# Hears raw samples on its input, as many at a time as its argument says; writes every event, then the state's size.
LISTENER = r"""
#include <stdio.h>
#include <stdlib.h>
#include "recognizer.h"

static recognizer state;

static void print_event(void *context, const recognizer_event *event)
{
    fprintf(context, "%d %u %u %.6f %s\n", event->kind == RECOGNIZER_WORD, (unsigned)event->start_frame,
            (unsigned)event->end_frame, event->confidence, event->text);
}

int main(int count, char **words)
{
    static int16_t samples[1 << 20];
    size_t heard = fread(samples, 2, sizeof samples / 2, stdin), step = (size_t)atol(words[count - 1]), n;

    recognizer_init(&state, print_event, stdout);
    for (n = 0; n < heard; n += step)
        recognizer_accept(&state, samples + n, heard - n < step ? heard - n : step);
    recognizer_finish(&state);
    printf("%lu\n", (unsigned long)sizeof state);
    return 0;
}
"""
Event = tuple[str, int, int, str]  # kind, first frame, frame behind the last, text


def save_speller(
    folder: Path, case: str, features: FeatureSettings | None = None, tokens: Tokens | None = None, seed: int = 3,
    **options
) -> Path:
    """A model of a case of SPIKING, or of an encoder's name, that spells whatever it hears: statistics and ranges from
    three batches, weights as they were drawn with a ``seed``. Options of ``ModelSettings`` may be among those of the
    encoder."""
    torch.manual_seed(seed)
    features = features or FeatureSettings(sample_rate=RATE_HZ, mels=10, high_hz=3800, stack=2)
    tokens = tokens or WordTokens(["a", "b", "c", "d"])
    task, options = options.pop("task", "transcription"), SPIKING.get(case, {}) | options
    settings = ModelSettings(features, case.split()[0], 24, 2, options, "output", task)
    size = features.size
    model = AcousticModel(settings, Normalization(torch.full((size,), -8.0), torch.full((size,), 4.0)), tokens.size)
    for _ in range(3):
        model(torch.randn(4, 24, size), torch.tensor([24, 24, 14, 8]), normalized=True)
    save_model(folder, model.eval(), tokens, {}, "")
    return folder


def recording() -> np.ndarray:
    """Seven seconds of 16-bit samples, with pauses of up to 1.3 s."""
    pieces = [speak(["low", "high", "mid", "low"][: 1 + seed % 4], seed) for seed in range(4)]
    samples = torch.cat([torch.cat([each, torch.zeros(seed * RATE_HZ // 3)]) for seed, each in enumerate(pieces)])
    return np.rint(samples.numpy() * 32767).astype("<i2")


def export(
    model: Path, folder: Path, precision: str | None = None, silence_seconds: float = 1.0, features: str = "float"
):
    """What the command does."""
    return export_c(load(model), folder, precision, EndpointSettings.of_silence(silence_seconds), features)


def built(folder: Path, *options: str, source: str = LISTENER) -> Path:
    """A program around the recogniser of an exported folder, by the strictest rules; skips where there is no gcc."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    (folder / "program.c").write_text(source)
    own = [] if '"recognizer.c"' in source else ["recognizer.c"]
    command = ["gcc", *STRICT, *options, "-o", "program", "program.c", *own, "-lm"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return folder / "program"


def told(program: Path, samples: np.ndarray, step: int = 256) -> tuple[list[Event], list[float], int]:
    """Events of the program, their confidences, and the size of its state."""
    result = subprocess.run([program, str(step)], input=samples.tobytes(), capture_output=True)
    assert result.returncode == 0, result.stderr.decode()
    *lines, size = result.stdout.decode("utf-8").splitlines()
    rows = [line.split(" ", 4) for line in lines]
    events = [(WORD if kind == "1" else SEGMENT, int(start), int(end), text) for kind, start, end, _, text in rows]
    return events, [float(row[3]) for row in rows], int(size)


def streamed(
    model: Path, samples: np.ndarray, precision: str | None = None, silence_seconds: float = 1.0
) -> tuple[list[Event], list[float]]:
    """The same of a stream."""
    recognizer = Recognizer(model, "cpu")
    stream = recognizer.stream(EndpointSettings.of_silence(silence_seconds), precision)
    step = recognizer.extractor.settings.stacked_seconds
    events, confidences = [], []
    for each in [*stream.accept(samples.astype(np.int16)), *stream.finish()]:
        if each.kind in (WORD, SEGMENT):
            text = each.text if each.kind == WORD else ""
            events.append((each.kind, round(each.start_seconds / step), round(each.end_seconds / step), text))
            confidences.append(each.confidence)
    return events, confidences
