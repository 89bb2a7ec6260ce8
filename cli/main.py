"""The ``snn-asr`` program: its commands, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.main import get_command

import snn_asr
from snn_asr.errors import DataError, UsageError, as_user_error
from snn_asr.interruption import INTERRUPTED, interrupt_when_told_to_end, was_told_to_end
from snn_asr.logs import log_to_stderr

from .streams import flush_output, prepare_streams

# In the order of work, as --help lists them. Each is a function or an app in cli/<name>.py, with the same name.
COMMANDS = (
    "models", "recipes", "prepare", "train", "quantize", "export", "lm", "tune", "decode", "stream", "align", "score",
    "compare", "profile", "analyze", "doctor",
)
_MAY_BE_EMPTY = ("--manifests",)  # options
_GIVE_NAME = "give it a value; is a variable of the shell without one?"
_COMPLETING = "_SNN_ASR_COMPLETE"  # the variable of the scripts that --install-completion installs
_THREADS = "NUMBA_NUM_THREADS"
# Variables whose values keep a library from being loaded, and words of its error.
_REFUSED_BY_LIBRARIES = {
    "TORCH_LOGS": "Invalid log settings", "SB_LOG_LEVEL": "Unknown level",
}
# Variables that torch reads while it is loaded, in words like "a:1,b:[2:3,>:4]"; it aborts at others.
_ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
_SETTING = r"\s*\w+\s*:\s*(\[[^\[\]]+\]|[^,:\[\]\s]+)\s*"
_SETTINGS = re.compile(rf"\s*({_SETTING}(,{_SETTING})*,?)?\s*")
BROKEN_PIPE = 141  # 128 + SIGPIPE, what the shell reports for any filter whose reader went away


def main() -> None:
    """Run the program on the words of its command line; start.py is the entry point, which imports this module.

    The process exits at once, without an orderly shutdown. A shutdown would cost a second and a fifth more memory in
    torch's libraries, and everything that has to be written is written by then.
    """
    prepare_streams()
    interrupt_when_told_to_end()
    let_idle_threads_sleep()
    code = run(sys.argv[1:])
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)


def let_idle_threads_sleep() -> None:
    """Make the OpenMP threads, on which torch computes, sleep while idle. Must be called before torch is loaded.

    By default they spin for some ten milliseconds waiting for more work, and take the cores from the compiled loops
    that run between torch's products: a training step on two cores needed four tenths more processor time. The
    environment can choose otherwise.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. An error is printed as one line on stderr."""
    words, debug = _take_debug(arguments)
    log_to_stderr(logging.DEBUG if debug else logging.INFO)
    error: BaseException | None = None
    code = 0
    try:
        _check_working_folder()
        _check_threads()
        _check_allocator()
        code = _invoke(words or ["--help"])
    except (Exception, KeyboardInterrupt) as raised:
        error = raised
    unwritten = flush_output()
    if isinstance(unwritten or error, BrokenPipeError):
        return BROKEN_PIPE
    error = error or unwritten
    if error is None:
        return code
    if debug:
        traceback.print_exception(error)
    message, code = _explain(error)
    print(f"snn-asr: {message}", file=sys.stderr)
    return code


def build_command() -> Any:
    """Return the command ``snn-asr`` with all its commands. This is cheap: each imports what it needs when it runs."""
    app = typer.Typer(rich_markup_mode=None, callback=_options, help=snn_asr.__doc__)
    for name in COMMANDS:
        command = getattr(importlib.import_module(f"snn_asr.cli.{name}"), name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    group: Any = get_command(app)
    group.commands = {name: group.commands[name] for name in COMMANDS}  # Typer puts apps last
    return group


def _check_working_folder() -> None:
    """Raise DataError if the working folder is gone, because torch's libraries would then exit without explanation."""
    try:
        os.getcwd()
    except OSError as error:
        raise DataError("the working folder is gone, or may not be entered", todo="change to another (cd)") from error


def _check_threads() -> None:
    """Raise UsageError for a number of threads with which numba, and all that it compiles, cannot be loaded."""
    try:
        wrong = int(os.environ.get(_THREADS, "1")) < 1
    except ValueError:
        return  # numba warns, and uses as many as there are processors
    if wrong:
        raise UsageError("must be 1 or more", f"{_THREADS}={os.environ[_THREADS]}", "unset it")


def _check_allocator() -> None:
    """Raise UsageError for settings of torch's allocators at which torch ends the process while it is loaded."""
    for name in _ALLOCATOR:
        if not _SETTINGS.fullmatch(os.environ.get(name, "")):
            todo = "write for example expandable_segments:True, or unset it"
            raise UsageError("is not what torch takes", f"{name}={os.environ[name]}", todo)


def _refuse_empty(words: Sequence[str]) -> None:
    """Raise UsageError for an empty word, which usually is a shell variable without a value.

    Python would take an empty path for the working folder.
    """
    before = ""
    for word in words:
        name, equals, value = word.partition("=")
        if word == "" and before not in _MAY_BE_EMPTY:
            raise UsageError("is empty", before if before.startswith("--") else "a name", _GIVE_NAME)
        if word.startswith("--") and equals and not value and name not in _MAY_BE_EMPTY:
            raise UsageError("is empty", name, _GIVE_NAME)
        before = word


def _invoke(words: list[str]) -> int:
    """Parse and run without Typer's own handling of errors, so that ``run`` handles them all."""
    command = build_command()
    try:
        if _COMPLETING in os.environ:  # a shell asks for completions and passes the words in variables
            command.main(prog_name="snn-asr")
        _refuse_empty(words)
        with command.make_context("snn-asr", words) as context:
            command.invoke(context)
    except typer.Exit as leave:
        return leave.exit_code
    except SystemExit as leave:  # completion and its installation end this way
        return int(leave.code or 0)
    return 0


def _take_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Return the arguments without ``--debug``, which may stand anywhere before ``--``, and whether it was there."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options, rest = list(arguments[:end]), list(arguments[end:])
    return [word for word in options if word != "--debug"] + rest, "--debug" in options


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"snn-asr {snn_asr.__version__}")
        raise typer.Exit()


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Declare the options for the help; --debug itself is taken out before parsing, since parsing may fail too."""


def _explain(error: BaseException) -> tuple[str, int]:
    """Return the line for the user (without the program's name) and the exit code."""
    described = as_user_error(error) or _refused_variable(error)
    if described is not None:
        return _one_line(str(described)), described.exit_code
    if isinstance(error, (KeyboardInterrupt, typer.Abort)) or was_told_to_end():
        return "interrupted", INTERRUPTED
    if hasattr(error, "format_message"):  # Click's errors: their base class moved into Typer with its version 0.26
        context = getattr(error, "ctx", None)
        hint = f"; see '{context.command_path} --help'" if context else ""
        return _one_line(error.format_message()).rstrip(".") + hint, int(getattr(error, "exit_code", 2))
    kind = type(error).__name__
    return _one_line(f"unexpected error: {kind}: {error}; run again with --debug for the traceback"), 1


def _refused_variable(error: BaseException) -> UsageError | None:
    """The error for the user if a library could not be loaded because of a variable of the environment, which most
    libraries name."""
    named = set(re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", str(error)))
    for name, value in os.environ.items():
        if name in named or (name in _REFUSED_BY_LIBRARIES and _REFUSED_BY_LIBRARIES[name] in str(error)):
            return UsageError("is not what the library takes", f"{name}={value}", "unset it, or correct it")
    return None


def _one_line(text: str) -> str:
    return " ".join(text.split())
