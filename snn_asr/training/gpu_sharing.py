"""Several trainings on one GPU at a time: NVIDIA's Multi-Process Service lets kernels of several processes run beside
each other, where they would otherwise take turns.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from snn_asr import processes

CONTROL = "nvidia-cuda-mps-control"
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
USUAL_PIPES = Path("/tmp/nvidia-mps")  # of a service that the machine's owner has started
SECONDS_TO_ANSWER = 20

log = logging.getLogger(__name__)


@contextmanager
def shared_gpu(device: str, jobs: int) -> Iterator[None]:
    """Processes that are started within the block share a GPU by a service of their own, which ends with the block.

    Nothing happens for one job, on a CPU, where the service is not installed, and where one runs already. One that
    does not start is said, and done without.
    """
    control = shutil.which(CONTROL)
    running = PIPES in os.environ or (USUAL_PIPES / "control").exists()
    if jobs < 2 or control is None or running or not processes.choose_device(device).startswith("cuda"):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="snn-asr-mps-", ignore_cleanup_errors=True) as folder:
        own = {PIPES: folder, LOGS: folder}
        try:
            subprocess.run(
                [control, "-d"], env={**os.environ, **own}, check=True, capture_output=True, timeout=SECONDS_TO_ANSWER
            )
        except (OSError, subprocess.SubprocessError) as error:
            log.warning("trainings take turns on the GPU: %s does not start (%s)", CONTROL, error)
            yield
            return
        os.environ.update(own)
        try:
            yield
        finally:
            _end(control)
            for name in own:
                del os.environ[name]


def _end(control: str) -> None:
    """End the service that the environment names."""
    try:
        subprocess.run([control], input=b"quit\n", capture_output=True, timeout=SECONDS_TO_ANSWER)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("%s does not end (%s)", CONTROL, error)
