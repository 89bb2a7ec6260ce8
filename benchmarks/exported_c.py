"""Exported C beside live streams on real recordings: how many transcripts are equal, and why the others are not.

    python benchmarks/exported_c.py MODEL MANIFEST [--precision float32|int8|int4]

Both hear the same 16-bit samples. The C is built twice: with features in single precision, as on a device, and in
double precision, as snn-asr computes them. What differs in both builds differs by the order of sums in the network.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from snn_asr.data.audio import read_audio
from snn_asr.data.manifest import read_manifest
from snn_asr.decoding.endpointing import DEFAULT
from snn_asr.decoding.recognizer import Recognizer
from snn_asr.decoding.stream import WORD, use_one_core
from snn_asr.export.c import export_c
from snn_asr.network.model_folder import load

BUILDS = {"single": [], "double": ["-DRECOGNIZER_DOUBLE"]}
Word = tuple[str, str, str]  # start, end, text


def build(folder: Path) -> dict[str, Path]:
    """The example program of an exported folder with features in either precision."""
    for name, options in BUILDS.items():
        command = ["gcc", "-std=c99", "-O3", *options, "-o", name, "main.c", "recognizer.c", "-lm"]
        subprocess.run(command, cwd=folder, check=True)
    return {name: folder / name for name in BUILDS}


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
    recognizer = Recognizer(arguments.model)
    rate = recognizer.extractor.settings.sample_rate
    utterances = list(read_manifest(arguments.manifest).values())
    same = dict.fromkeys([(name, what) for name in BUILDS for what in ("texts", "times")], 0)
    words = 0
    with tempfile.TemporaryDirectory() as name:
        print(export_c(load(arguments.model), name, arguments.precision, DEFAULT).describe())
        programs = build(Path(name))
        for each in utterances:
            samples = np.clip(np.rint(read_audio(each.wav, rate).numpy() * 32768), -32768, 32767).astype("<i2")
            expected = streamed(recognizer, samples, arguments.precision)
            words += len(expected)
            for build_name, program in programs.items():
                found = heard_by(program, samples)
                same[build_name, "texts"] += texts(found) == texts(expected)
                same[build_name, "times"] += found == expected
                if found != expected:
                    differing = [pair for pair in zip(found, expected, strict=False) if pair[0] != pair[1]]
                    print(f"{each.id}, {build_name}: {differing[:2] or (len(found), len(expected))}")
    for build_name in BUILDS:
        equal, timed = f"{same[build_name, 'texts']} of {len(utterances)}", same[build_name, "times"]
        print(f"features in {build_name} precision: {equal} transcripts equal, {timed} with all times")
    print(f"{words} words")


if __name__ == "__main__":
    main()
