"""Several trainings on one GPU: NVIDIA's Multi-Process Service lets the kernels of several processes run side by side
instead of taking turns.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from snn_asr import devices

CONTROL = "nvidia-cuda-mps-control"
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
USUAL_PIPES = Path("/tmp/nvidia-mps")  # of a service that the machine's owner has started
SECONDS_TO_ANSWER = 20
# A program that asks the driver for a context, as torch does, and exits with its answer.
PROBE = """
import ctypes, sys
driver, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p()
sys.exit(driver.cuInit(0) or driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), int(sys.argv[1])))
"""

log = logging.getLogger(__name__)


@contextmanager
def shared_gpu(device: str, jobs: int) -> Iterator[None]:
    """A block in which the processes that it starts share a GPU by a service, which ends with the block.

    Nothing happens for one job, on a CPU, if the service is not installed, and if one is running already. If it does
    not start, or accepts no process (as in some containers), a warning says so, and the processes run without it.
    """
    control = shutil.which(CONTROL)
    running = PIPES in os.environ or (USUAL_PIPES / "control").exists()
    if jobs < 2 or control is None or running or not devices.choose_device(device).startswith("cuda"):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="snn-asr-mps-", ignore_cleanup_errors=True) as folder:
        own = {PIPES: folder, LOGS: folder}
        there = {**os.environ, **own}
        index = devices.choose_device(device).partition(":")[2] or "0"
        started = _answers([control, "-d"], there)
        serving = started and _answers([sys.executable, "-c", PROBE, index], there)
        if serving:
            os.environ.update(own)
        else:
            log.warning("trainings take turns on the GPU: %s does not start", CONTROL)
        try:
            yield
        finally:
            if started and not _answers([control], there, "quit\n"):
                log.warning("%s does not end", CONTROL)
            for name in own if serving else ():
                del os.environ[name]


def _answers(command: Sequence[str], environment: Mapping[str, str], said: str = "") -> bool:
    """Whether a program, given the text ``said``, exits with 0 within SECONDS_TO_ANSWER."""
    try:
        result = subprocess.run(
            command, env=environment, input=said.encode(), capture_output=True, timeout=SECONDS_TO_ANSWER
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.debug("%s", error)
        return False
    log.debug("%s: exit code %d, %r", command[0], result.returncode, result.stderr)
    return result.returncode == 0
