"""Exported C beside live streams on real recordings: how many transcripts are equal, and why the others are not.

    python benchmarks/exported_c.py MODEL MANIFEST [--precision float32|int8|int4]

Both hear the same 16-bit samples. The C is built three times: with features in single precision, as on a device, in
double precision, as snn-asr computes them, and in fixed point. What differs in the first two differs by the order of
sums in the network. The features of fixed point are also held against those of snn-asr: the largest difference, and the
deviation, in logarithms of energies.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch

from snn_asr.data.audio import read_audio
from snn_asr.data.features import FeatureExtractor
from snn_asr.data.manifest import read_manifest
from snn_asr.decoding.live.stream import WORD
from snn_asr.decoding.recognizer import Recognizer
from snn_asr.decoding.segments.endpointing import DEFAULT
from snn_asr.devices import use_one_core
from snn_asr.export.c.export_c import export_c
from snn_asr.network.model_folder import load

BUILDS = {"single": [], "double": ["-DRECOGNIZER_DOUBLE"], "fixed": []}
PROBE = Path(__file__).parent / "boards" / "features.c"
Word = tuple[str, str, str]  # start, end, text


def build(model: str, folder: Path, precision: str) -> tuple[dict[str, Path], Path]:
    """The example program of an exported model with features of each kind, and the probe of those in fixed point."""
    programs = {}
    for name, options in BUILDS.items():
        made = export_c(load(model), folder / name, precision, DEFAULT, "fixed" if name == "fixed" else "float")
        programs[name] = _compiled(folder / name, "main.c", ["recognizer.c", *options])
        print(f"{name}: {made.describe()}")
    (folder / "fixed" / "probe.c").write_text(PROBE.read_text())
    return programs, _compiled(folder / "fixed", "probe.c", ["-Wno-unused-function"])


def _compiled(folder: Path, source: str, options: list[str]) -> Path:
    program = folder / source.removesuffix(".c")
    subprocess.run(["gcc", "-std=c99", "-O3", "-o", program, source, *options, "-lm"], cwd=folder, check=True)
    return program


def differences(probe: Path, extractor: FeatureExtractor, samples: np.ndarray) -> np.ndarray:
    """Of the features in fixed point from those that snn-asr computes, without deltas."""
    told = subprocess.run([probe], input=samples.tobytes(), capture_output=True, check=True).stdout
    expected = extractor.base_frames(torch.from_numpy(samples.astype(np.float32) / 32768)).numpy()
    size = extractor.settings.base_size
    return np.frombuffer(told, np.float32).reshape(-1, size)[: len(expected)] - expected[:, :size]


def heard_by(program: Path, samples: np.ndarray) -> list[Word]:
    lines = subprocess.run([program], input=samples.tobytes(), capture_output=True, check=True).stdout.decode("utf-8")
    rows = [line.split(" ", 3) for line in lines.splitlines()]
    return [(start, end, text) for start, end, _, text in rows]


def streamed(recognizer: Recognizer, samples: np.ndarray, precision: str) -> list[Word]:
    stream = recognizer.stream(DEFAULT, precision)
    events = [*stream.accept(samples), *stream.finish()]
    return [(f"{e.start_seconds:.2f}", f"{e.end_seconds:.2f}", e.text) for e in events if e.kind == WORD]


def texts(words: list[Word]) -> list[str]:
    return [text for _, _, text in words]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("manifest")
    parser.add_argument("--precision", default="float32")
    arguments = parser.parse_args()
    use_one_core()
    recognizer = Recognizer(arguments.model, "cpu")
    rate = recognizer.extractor.settings.sample_rate
    utterances = list(read_manifest(arguments.manifest).values())
    same = dict.fromkeys([(name, what) for name in BUILDS for what in ("texts", "times")], 0)
    words, apart = 0, []
    with tempfile.TemporaryDirectory() as name:
        programs, probe = build(arguments.model, Path(name), arguments.precision)
        for each in utterances:
            samples = np.clip(np.rint(read_audio(each.wav, rate).numpy() * 32768), -32768, 32767).astype("<i2")
            expected = streamed(recognizer, samples, arguments.precision)
            apart.append(differences(probe, recognizer.extractor, samples).ravel())
            words += len(expected)
            for build_name, program in programs.items():
                found = heard_by(program, samples)
                same[build_name, "texts"] += texts(found) == texts(expected)
                same[build_name, "times"] += found == expected
                if found != expected:
                    differing = [pair for pair in zip(found, expected, strict=False) if pair[0] != pair[1]]
                    print(f"{each.id}, {build_name}: {differing[:2] or (len(found), len(expected))}")
    every = np.concatenate(apart)
    largest, usual = np.abs(every).max(), np.sqrt(np.square(every).mean())
    print(f"features in fixed point: {len(every)} numbers, {largest:.5f} at most apart, {usual:.6f} rms")
    for build_name in BUILDS:
        equal, timed = f"{same[build_name, 'texts']} of {len(utterances)}", same[build_name, "times"]
        print(f"features: {build_name}: {equal} transcripts equal, {timed} with all times")
    print(f"{words} words")


if __name__ == "__main__":
    main()
