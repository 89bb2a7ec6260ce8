"""A program that is told to end while its modules are loaded."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# A program that gets a signal when it is about to load MODULE; where that is torch, the interruption becomes another
# error, as it does in libraries that are partly written in C.
PROGRAM = """
import os, sys, time

class Told:
    def find_spec(self, name, path=None, target=None):
        if name == "MODULE":
            try:
                os.kill(os.getpid(), NUMBER)
                time.sleep(10)
            except KeyboardInterrupt:
                if name == "torch":
                    raise ImportError("cannot load module more than once per process")
                raise

sys.meta_path.insert(0, Told())
from snn_asr.cli.start import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("module", ["snn_asr.cli.main", "snn_asr.cli.streams", "torch"])
def test_a_program_that_is_told_to_end_while_it_is_loaded_says_so(number, module):
    program = PROGRAM.replace("MODULE", module).replace("NUMBER", str(int(number)))
    done = subprocess.run([sys.executable, "-c", program, "stream", "none"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "snn-asr: interrupted\n")
