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


# A program that gets a signal while a module that it loads later calls Python back from C, as libraries do at their
# start: an exception there is lost, or ends the process by SIGABRT.
CALLED_BACK = """
import os, sys

class Told:
    def find_spec(self, name, path=None, target=None):
        if name == "MODULE":
            sorted([2, 1], key=self.told)
            os._exit(99)

    def told(self, item):
        try:
            os.kill(os.getpid(), NUMBER)
        except KeyboardInterrupt:
            os.abort()

sys.meta_path.insert(0, Told())
from snn_asr.cli.start import main
main()
"""


@pytest.mark.parametrize("module", ["torch", "snn_asr.decoding.live.terminal"])
def test_no_exception_is_raised_in_the_start_of_a_library(module):
    program = CALLED_BACK.replace("MODULE", module).replace("NUMBER", str(int(signal.SIGINT)))
    words = [sys.executable, "-c", program, "stream", "an4-letters", "none.wav"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "snn-asr: interrupted\n")


def test_the_program_can_be_told_to_end_before_it_loads_what_takes_a_moment():
    program = "import sys; before = set(sys.modules); import snn_asr.cli.start; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    assert "snn_asr.interruption" in loaded and not loaded & {"dataclasses", "inspect", "torch", "typer"}
