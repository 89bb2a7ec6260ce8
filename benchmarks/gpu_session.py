"""All that a GPU is needed for, in one go: correctness first, each part in a process with its own time limit.

    python benchmarks/gpu_session.py --out FOLDER                    every part (under 8 minutes)
    python benchmarks/gpu_session.py --out FOLDER tests agreement    some

Each part leaves NAME.json and NAME.log in the folder; session.json has all of them, how they ended and on which device.
A part that fails or runs out of time takes nothing from the others.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
KERNELS = "tests/network/test_kernels_triton.py tests/network/test_kernels_cuda.py".split()
STEPS = "tests/training/test_step_graphs.py tests/training/test_device_reads.py".split()
SANITIZER = "compute-sanitizer --tool memcheck --report-api-errors no --error-exitcode 9".split()
SANITIZED_TESTS = "TestOnAGpu and exact and (v2 or RLIF or RadLIF) and not 130 and not 550"
FAST = "improved_v2,improved_v1,lif,adaptive_lif,adlif,rlif,radlif,spiking_lstm,ligru"


def parts(folder: Path) -> dict[str, tuple[int, list[str]]]:
    """Seconds allowed and command of each part, in the order in which they run."""
    python, narrow = sys.executable, ("--precision", "bfloat16")

    def step(name: str, *options: str) -> list[str]:
        return [python, str(HERE / "gpu_train_step.py"), "--json", str(folder / f"{name}.json"), *options]

    def train(name: str, *options: str) -> list[str]:
        return [python, str(HERE / "gpu_training.py"), "--json", str(folder / f"{name}.json"), *options]

    def pytest(*options: str) -> list[str]:
        return [python, "-m", "pytest", "-q", "--maxfail=40", "-p", "no:cacheprovider", "-m", "gpu", *options]

    return {
        "tests": (80, pytest("-n", "6", "--tb=short", *KERNELS, *STEPS)),
        "agreement": (60, [python, str(HERE / "gpu_agreement.py"), "--json", str(folder / "agreement.json")]),
        "float32": (50, step("float32", "--sizes", "2x550", "--encoders", FAST, "--profile")),
        "bfloat16": (45, step("bfloat16", "--sizes", "2x550", *narrow, "--encoders", FAST, "--profile")),
        "large": (40, step("large", "--sizes", "4x1024", *narrow, "--encoders", "improved_v2")),
        "large_float32": (40, step("large_float32", "--sizes", "4x1024", "--encoders", "improved_v2", "--rounds", "3")),
        "an4": (100, train("an4", "--parts", "an4")),
        "librispeech": (100, train("librispeech", "--parts", "librispeech")),
        "jobs": (150, train("jobs", "--parts", "jobs", "--jobs", "15")),
        "triton": (60, step("triton", "--sizes", "2x550", "--backends", "triton", "--encoders", FAST)),
        "sanitizer": (60, [*SANITIZER, *pytest(*KERNELS, "-k", SANITIZED_TESTS)]),
    }


def run(name: str, seconds: int, command: list[str], folder: Path) -> dict[str, object]:
    """One part: how it ended, how long it took, and what it wrote."""
    start, log = time.monotonic(), folder / f"{name}.log"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])}
    with log.open("w") as output:
        try:
            code = subprocess.run(
                command, stdout=output, stderr=subprocess.STDOUT, timeout=seconds, env=environment, cwd=HERE.parent
            ).returncode
        except subprocess.TimeoutExpired:
            code = "out of time"
        except OSError as error:
            code = str(error)
    written = folder / f"{name}.json"
    found = json.loads(written.read_text()) if written.exists() else None
    tail = log.read_text(errors="replace").splitlines()[-40:]
    return {"ended": code, "seconds": round(time.monotonic() - start, 1), "found": found, "tail": tail}


def checked_out() -> str:
    """The commit of this checkout, "unknown" where it is none."""
    command = ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--commit", help="what is measured, where this is no checkout")
    parser.add_argument("parts", nargs="*", help="names (all)")
    given = parser.parse_args()
    if shutil.which("nvidia-smi") is None:
        parser.error("there is no nvidia-smi on PATH: an NVIDIA GPU and its driver are needed")
    given.out.mkdir(parents=True, exist_ok=True)
    device = subprocess.run(
        ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], capture_output=True, text=True
    ).stdout.strip()
    session: dict[str, object] = {"device": device, "commit": given.commit or checked_out()}
    for name, (seconds, command) in parts(given.out).items():
        if given.parts and name not in given.parts:
            continue
        result = run(name, seconds, command, given.out)
        session[name] = result
        (given.out / "session.json").write_text(json.dumps(session, indent=1) + "\n", encoding="utf-8")
        print(f"== {name}: {result['ended']} after {result['seconds']} s", *result["tail"], sep="\n", flush=True)


if __name__ == "__main__":
    main()
