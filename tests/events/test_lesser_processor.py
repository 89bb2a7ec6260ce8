"""The compiled loops on a processor without AVX-512, which most of the machines that we develop on have."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
RUN = ("events/test_delivery.py", "events/test_storage.py", "events/test_engine.py", "network/test_tiles.py")


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="another make of processor has neither")
def test_engine_and_products_work_with_avx2_alone(tmp_path):
    environment = os.environ | {
        "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(TESTS),
    }
    environment.pop("PYTEST_XDIST_WORKER", None)
    words = ["-q", "-x", "-m", "not slow and not gpu"]
    words += [word for name in ("lesser_processor", "no:xdist", "no:cacheprovider") for word in ("-p", name)]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *(str(TESTS / each) for each in RUN)],
        cwd=TESTS.parent, env=environment, capture_output=True, text=True,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
