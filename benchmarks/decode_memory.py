"""Peak memory and time of decoding what is long, much or of an odd rate, each in a process of its own.

    python benchmarks/decode_memory.py runs/improved_v2 --speech test-folder --json memory.json

Three hours of speech through the batch engine, the event engine and a stream; ten thousand files, most of 1 to 5 s,
some of 30 s to 10 minutes; a minute of sound at 16001 and at 44101 Hz. The sounds are made of the recordings of a
folder, with half a second of faint noise between them, in a temporary folder that needs some 3 GB.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from snn_asr.data.audio import read_audio

RATE_HZ = 16000
LONG_HOURS, FILES = 3.0, 10_000
PROGRAM = Path(sys.executable).with_name("snn-asr")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--speech", required=True, type=Path, help="a folder of recordings")
    parser.add_argument("--hours", type=float, default=LONG_HOURS)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    model, rows = str(given.model.resolve()), []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        talk = speech(given.speech)
        write(folder / "long.wav", talk, given.hours * 3600)
        many(folder / "many", talk, given.files)
        minute = folder / "odd"
        for rate in (16001, 44101):
            write(minute / f"{rate}.wav", talk, 60.0, rate)
        cases = {
            f"{given.hours:g} hours, batch": ["decode", model, folder / "long.wav", "--output-folder", folder / "a"],
            f"{given.hours:g} hours, event": [
                "decode", model, folder / "long.wav", "--engine", "event", "--output-folder", folder / "b",
            ],
            f"{given.hours:g} hours, stream": ["stream", model, folder / "long.wav"],
            f"{given.files} files": ["decode", model, folder / "many", "--output-folder", folder / "c"],
            "a minute at 16001 Hz": ["decode", model, minute / "16001.wav", "--output-folder", folder / "d"],
            "a minute at 44101 Hz": ["decode", model, minute / "44101.wav", "--output-folder", folder / "e"],
            "a minute at 44101 Hz, stream": ["stream", model, minute / "44101.wav"],
        }
        for name, words in cases.items():
            rows.append({"case": name, **run([str(each) for each in words])})
            print("{case:32} {seconds:8.1f} s {mebibytes:8.0f} MiB  exit {exit}".format(**rows[-1]), flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=1))


def run(words: list[str]) -> dict[str, float | int]:
    """One command line in a process of its own: its time, its peak memory and its exit code."""
    started, peak = time.monotonic(), 0
    with subprocess.Popen([PROGRAM, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, resident_peak(process.pid))
            time.sleep(0.02)
    return {"seconds": time.monotonic() - started, "mebibytes": peak / 1024, "exit": process.returncode}


def resident_peak(process: int) -> int:
    """KiB that a running process has held at most since its program began; 0 where the system does not tell."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def speech(folder: Path) -> np.ndarray:
    """Half an hour of recordings with pauses, 16-bit samples at 16 kHz."""
    draw, pieces, samples = np.random.default_rng(0), [], 0
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    while samples < 1800 * RATE_HZ:
        path = paths[len(pieces) // 2 % len(paths)]
        pieces += [read_audio(path, RATE_HZ).numpy(), 1e-3 * draw.standard_normal(RATE_HZ // 2, np.float32)]
        samples += sum(map(len, pieces[-2:]))
    return np.clip(np.concatenate(pieces) * 32768, -32768, 32767).astype(np.int16)


def write(path: Path, talk: np.ndarray, seconds: float, rate: int = RATE_HZ, start: int = 0) -> None:
    """So many seconds of the talk, from a place on and over again, as a WAV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    left = int(seconds * rate)
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as file:
        while left:
            piece = talk[start : start + left]
            file.write(piece)
            left, start = left - len(piece), 0


def many(folder: Path, talk: np.ndarray, count: int) -> None:
    """Most files of 1 to 5 s, one in a hundred of 30 to 60 s, one in five hundred of up to 10 minutes."""
    draw = random.Random(0)
    for index in range(count):
        seconds = draw.uniform(1, 5)
        if index % 500 == 0:
            seconds = draw.uniform(120, 600)
        elif index % 100 == 0:
            seconds = draw.uniform(30, 60)
        start = draw.randrange(len(talk) - 60 * RATE_HZ)
        write(folder / f"{index % 100:02}" / f"{index:05}.wav", talk, seconds, start=start)


if __name__ == "__main__":
    main()
