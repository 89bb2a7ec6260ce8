"""The errors that a user can act on: what is wrong, where, what to do about it, and the exit code.

Every error that the user can fix is raised as one of ``kinds.py``; the command line prints it as one line and exits
with its ``exit_code``. Faults of the machine or of one input that a library raises become one of them too: in a block
of ``describing``, which knows the file, or at the latest in the command line, by ``as_user_error`` (``faults.py``). Any
other error is a defect of this program (exit code 1).

Nearly every module needs some of these names, so all of them can be imported from here.
"""

from snn_asr.errors.faults import as_user_error, blames_the_disk, describing, of_one_shape
from snn_asr.errors.kinds import (
    DataError,
    DivergenceError,
    InterruptedRun,
    PartialFailure,
    SnnAsrError,
    UsageError,
    unknown_name,
)
from snn_asr.errors.several_items import of_every, together_or_alone, unusable
from snn_asr.errors.wording import listed, on_one_line, readable_name, shortened

__all__ = [
    "DataError", "DivergenceError", "InterruptedRun", "PartialFailure", "SnnAsrError", "UsageError", "as_user_error",
    "blames_the_disk", "describing", "listed", "of_every", "of_one_shape", "on_one_line", "readable_name", "shortened",
    "together_or_alone", "unknown_name", "unusable",
]
