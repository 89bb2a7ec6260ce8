"""Exported recognisers on Cortex-M processors, in QEMU: words, instructions, flash, state and stack.

    python benchmarks/cortex_m.py RECORDING MODEL [MODEL ...] [--precision float32|int8|int4]
        [--features float|fixed]

Needs Debian's gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm. The recording is heard 10 ms at a time;
what is told is checked against a live stream. Instructions are QEMU's (-icount shift=0), not cycles: a processor takes
one to two cycles for each. Code for the M0+, which has no floating-point unit, runs on the M3, which knows all of it.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snn_asr.data.audio import read_audio
from snn_asr.decoding.live.stream import WORD
from snn_asr.decoding.recognizer import Recognizer
from snn_asr.decoding.segments.endpointing import DEFAULT
from snn_asr.devices import use_one_core
from snn_asr.export.c.export_c import export_c
from snn_asr.network.model_folder import load

HERE = Path(__file__).parent / "boards"
# Name: QEMU's board, and how code is made for the processor.
TARGETS = {
    "M4F": ("mps2-an386", ["-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]),
    "M7": ("mps2-an500", ["-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"]),
    "M0+": ("mps2-an385", ["-mcpu=cortex-m0plus", "-mfloat-abi=soft"]),
}
NUMBERS = ("kiloinstructions", "longest_kiloinstructions", "state", "stack")


@dataclass(frozen=True)
class Run:
    """What a board told: words with their first frames, and the numbers of NUMBERS; ``flash`` is code and constants in
    bytes, without the recording."""

    words: list[tuple[str, int]]
    numbers: dict[str, int]
    flash: int


def samples_of(recording: str | Path, rate: int) -> np.ndarray:
    return np.clip(np.rint(read_audio(recording, rate).numpy() * 32768), -32768, 32767).astype("<i2")


def run(folder: Path, target: str, samples: np.ndarray) -> Run:
    """Build the exported recogniser in ``folder`` for a target, and let it hear the samples."""
    board, options = TARGETS[target]
    numbers = ",".join(map(str, samples.tolist())) or "0"
    told = f"const int16_t recording[] = {{{numbers}}};\nconst uint32_t recording_length = {len(samples)};\n"
    (folder / "recording.c").write_text(f"#include <stdint.h>\n{told}")
    gcc = ["arm-none-eabi-gcc", "-std=gnu99", "-O2", "-mthumb", *options, "-ffunction-sections", "-I", str(folder)]
    sources = [HERE / "board.c", folder / "recognizer.c", folder / "recording.c"]
    link = ["-T", str(HERE / "mps2.ld"), "-nostartfiles", "-Wl,--gc-sections", "--specs=nosys.specs", "-lm"]
    program = folder / f"{target}.elf"
    subprocess.run([*gcc, "-o", str(program), *map(str, sources), *link], check=True, capture_output=True)
    size = subprocess.run(["arm-none-eabi-size", program], check=True, capture_output=True, text=True).stdout
    flash = int(size.splitlines()[1].split()[0]) - 2 * len(samples)
    qemu = ["qemu-system-arm", "-M", board, "-nographic", "-monitor", "none", "-serial", "none", "-icount", "shift=0"]
    qemu += ["-semihosting-config", "enable=on,target=native", "-kernel", str(program)]
    result = subprocess.run(qemu, check=True, capture_output=True, text=True, timeout=300)
    words, found = [], {}
    for line in (result.stdout + result.stderr).splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "word":
            text, _, frame = rest.rpartition(" ")
            words.append((text, int(frame)))
        elif kind in NUMBERS:
            found[kind] = int(rest)
    return Run(words, found, flash)


def expected_words(recognizer: Recognizer, samples: np.ndarray, precision: str) -> list[tuple[str, int]]:
    stream, step = recognizer.stream(DEFAULT, precision), recognizer.extractor.settings.stacked_seconds
    events = [*stream.accept(samples), *stream.finish()]
    return [(each.text, round(each.start_seconds / step)) for each in events if each.kind == WORD]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording")
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--features", default="float")
    arguments = parser.parse_args()
    use_one_core()
    print("encoder      target  kB flash  kB state  B stack  thousand instructions   words")
    print("                                                  in 10 ms    at most")
    for name in arguments.models:
        recognizer = Recognizer(name, "cpu")
        settings = recognizer.model.settings
        samples = samples_of(arguments.recording, settings.features.sample_rate)
        expected = expected_words(recognizer, samples, arguments.precision)
        with tempfile.TemporaryDirectory() as folder:
            export_c(load(name), folder, arguments.precision, DEFAULT, arguments.features)
            for target in TARGETS:
                found = run(Path(folder), target, samples)
                frames = 100 * len(samples) / settings.features.sample_rate
                same = "as streamed" if found.words == expected else f"{found.words}, not {expected}"
                print(
                    f"{settings.encoder:12} {target:6} {found.flash / 1000:9.1f} {found.numbers['state'] / 1000:9.1f} "
                    f"{found.numbers['stack']:8} {found.numbers['kiloinstructions'] / frames:9.1f} "
                    f"{found.numbers['longest_kiloinstructions']:10}   {same}"
                )


if __name__ == "__main__":
    main()
