"""The frame of the command line: options, errors and exit codes. The commands' own tests are elsewhere."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

import snn_asr
from snn_asr import corpora
from snn_asr.cli import main as program
from snn_asr.cli.options import parse_overrides
from snn_asr.errors import DataError, DivergenceError, InterruptedRun, PartialFailure, UsageError

HEAVY = ("torch", "numpy", "speechbrain", "numba", "hyperpyyaml", "soundfile")
PROGRAM = (sys.executable, "-c", "from snn_asr.cli.main import main; main()")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """Make ``snn-asr prepare`` raise what the test says."""

    def fail_with(error: BaseException) -> None:
        def prepare(*arguments: object, **options: object) -> None:
            raise error

        monkeypatch.setattr(corpora, "prepare", prepare)

    return fail_with


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("TORCH_LOGS", "Invalid log settings: x, must be a comma separated list"),
        ("SB_LOG_LEVEL", "Unknown level: 'X'"),
        ("PYTORCH_JIT", "Unknown setting of PYTORCH_JIT. Try using 0 or 1."),
        ("TORCH_DISTRIBUTED_DEBUG", "The value of TORCH_DISTRIBUTED_DEBUG must be OFF, INFO, or DETAIL."),
    ],
)
def test_a_variable_that_a_library_refuses_is_named(failing, capsys, monkeypatch, name: str, message: str) -> None:
    failing(ValueError(message))
    monkeypatch.setenv(name, "x")
    assert program.run(PREPARE) == 2
    assert capsys.readouterr().err == f"snn-asr: {name}=x: is not what the library takes; unset it, or correct it\n"
    monkeypatch.delenv(name)
    assert program.run(PREPARE) == 1


@pytest.mark.parametrize("value", ["x", ":", "a:", ",", "a:[", "a:b,x", "max_split_size_mb"])
def test_settings_at_which_torch_aborts_are_refused(capsys, monkeypatch, value: str) -> None:
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", value)
    assert program.run(["models", "list"]) == 2
    assert capsys.readouterr().err.startswith(f"snn-asr: PYTORCH_CUDA_ALLOC_CONF={value}: is not what torch takes; ")


@pytest.mark.parametrize(
    "value", ["", "expandable_segments:True", "max_split_size_mb:64, roundup_power2_divisions:[256:1,>:8],", "new:1"]
)
def test_settings_of_torchs_allocators_pass(capsys, monkeypatch, value: str) -> None:
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", value)
    assert program.run(["models", "list"]) == 0


PREPARE = ["prepare", "demo", "--output-folder", "out"]


@pytest.mark.parametrize(("given", "kept"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_idle_threads_sleep_unless_the_environment_says_otherwise(monkeypatch, given, kept):
    """torch reads the variable as it is loaded, when a command needs it."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if given:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    monkeypatch.setattr(program, "run", lambda _: 0)
    monkeypatch.setattr(program, "prepare_streams", lambda: None)
    monkeypatch.setattr(program, "interrupt_when_told_to_end", lambda: None)
    monkeypatch.setattr(os, "_exit", lambda _: None)
    program.main()
    assert os.environ["OMP_WAIT_POLICY"] == kept


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("bad key", "recipe.yaml", "drop it"), 2),
        (PartialFailure("2 of 3 failed"), 3),
        (DataError("no such file", "x.wav"), 4),
        (DivergenceError("loss is nan"), 5),
        (InterruptedRun("stopped at epoch 3"), 130),
    ],
)
def test_an_error_for_the_user_is_one_line_and_its_code(failing, capsys, error: Exception, code: int) -> None:
    failing(error)
    assert program.run(PREPARE) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"snn-asr: {error}\n"


def test_an_unexpected_error_is_one_line_too(failing, capsys) -> None:
    failing(RuntimeError("first\nsecond"))
    assert program.run(PREPARE) == 1
    expected = "snn-asr: unexpected error: RuntimeError: first second; run again with --debug for the traceback\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("place", [0, 1, len(PREPARE)])
def test_debug_shows_the_traceback_wherever_it_stands(failing, capsys, place: int) -> None:
    failing(DataError("no such file", "x.wav"))
    assert program.run([*PREPARE[:place], "--debug", *PREPARE[place:]]) == 4
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "snn-asr: x.wav: no such file"


def test_debug_after_two_dashes_is_a_word_of_the_user(capsys) -> None:
    assert program.run([*PREPARE, "--", "--debug"]) == 2
    assert capsys.readouterr().err == "snn-asr: '--debug': not of the form key=value; write for example bits=4\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_an_interruption_is_a_line_and_130(failing, capsys, error: BaseException) -> None:
    failing(error)
    assert program.run(PREPARE) == 130
    assert capsys.readouterr().err == "snn-asr: interrupted\n"


def test_a_command_may_leave_with_a_code_of_its_own(failing, capsys) -> None:
    failing(typer.Exit(3))
    assert program.run(PREPARE) == 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prepaer"], ["prepaer", "'prepare'", "'snn-asr --help'"]),
        (["prepare", "--sed", "1"], ["--sed", "'snn-asr prepare --help'"]),
        (["prepare", "demo"], ["--output-folder", "'snn-asr prepare --help'"]),
        ([*PREPARE, "--seed", "x"], ["'--seed'", "'snn-asr prepare --help'"]),
        (["recipes"], ["'snn-asr recipes --help'"]),
        (["recipes", "shaw"], ["shaw", "'show'", "'snn-asr recipes --help'"]),
        ([*PREPARE, "seed"], ["'seed'", "key=value"]),
    ],
)
def test_a_usage_error_is_one_line_with_what_to_do(capsys, arguments: list[str], words: list[str]) -> None:
    assert program.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("snn-asr: ") and captured.err.count("\n") == 1
    for word in words:
        assert word in captured.err


def test_without_a_command_the_help_is_shown(capsys) -> None:
    assert program.run([]) == 0
    assert capsys.readouterr().out.startswith("Usage: snn-asr")


def test_the_version(capsys) -> None:
    assert program.run(["--version"]) == 0
    assert capsys.readouterr().out == f"snn-asr {snn_asr.__version__}\n"


def test_help_lists_every_command_in_the_order_of_work(capsys) -> None:
    assert program.run(["--help"]) == 0
    lines = capsys.readouterr().out.split("Commands:\n")[1].splitlines()
    modules = {path.stem for path in Path(program.__file__).parent.glob("*.py")}
    present = modules - {"__init__", "failures", "main", "options", "start", "streams"}
    assert [line.split()[0] for line in lines] == [name for name in program.COMMANDS if name in present]
    assert present <= set(program.COMMANDS)


@pytest.mark.parametrize("command", program.build_command().commands)
def test_every_command_explains_itself(capsys, command: str) -> None:
    assert program.run([command, "--help"]) == 0
    assert f"Usage: snn-asr {command}" in capsys.readouterr().out


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from snn_asr.cli.main import run; code = run(['--help']);"
        f"assert not {set(HEAVY)!r} & set(sys.modules), sorted({set(HEAVY)!r} & set(sys.modules)); sys.exit(code)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.7


def test_a_reader_that_goes_away_is_no_error_of_ours() -> None:
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run([*PROGRAM, "--help"], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert result.stderr == ""
    assert result.returncode == 141


def test_prepare_passes_its_options_and_prints_the_summary(monkeypatch, capsys) -> None:
    calls = []

    def prepare(*arguments: object, **options: object) -> dict:
        calls.append((arguments, options))
        return {"train": {"utterances": 3, "hours": 0.5}, "speakers": 2}

    monkeypatch.setattr(corpora, "prepare", prepare)
    arguments = ["prepare", "fsdd", "--data-folder", "d", "--output-folder", "m", "--seed", "7", "share=0.1"]
    assert program.run(arguments) == 0
    assert calls == [(("fsdd", Path("d"), Path("m"), None), {"seed": 7, "share": 0.1})]
    assert capsys.readouterr().out == "train: utterances 3, hours 0.5\nspeakers: 2\n"
    assert program.run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["train"]["hours"] == 0.5


def test_recipes_list_show_and_copy(tmp_path: Path, monkeypatch, capsys) -> None:
    from snn_asr.training.recipes import recipe_files

    files = {"Small/train.yaml": "# A small one\nencoder: lif\n", "encoders/lif.yaml": "bits: 2  # levels\n"}
    for name, content in files.items():
        path = tmp_path / "recipes" / name
        path.parent.mkdir(parents=True)
        path.write_text(content)
    monkeypatch.setattr(recipe_files, "recipes_folder", lambda: tmp_path / "recipes")
    assert program.run(["recipes", "list"]) == 0
    assert capsys.readouterr().out == "Small\tA small one\n"
    assert program.run(["recipes", "show", "small", "epochs=3"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "# A small one" and shown[-2:] == [
        "# Encoder lif", "bits: 2                     # levels [encoders/lif.yaml]"
    ]
    assert "epochs: 3                   # passes over the training data [key=value]" in shown
    assert program.run(["recipes", "show", "small", "--keys"]) == 0
    listed = capsys.readouterr().out
    assert re.search("^  patience +0 ", listed, re.MULTILINE) and listed.endswith("levels\n")
    assert program.run(["recipes", "copy", "Small", str(tmp_path / "mine")]) == 0
    assert (tmp_path / "mine" / "Small" / "train.yaml").is_file()
    assert capsys.readouterr().out == f"{tmp_path / 'mine' / 'Small' / 'train.yaml'}\n"


def test_overrides_have_the_types_of_yaml() -> None:
    words = ["bits=4", "rate=1e-3", "flag=true", "name=yes", "list=[1, a]", "path=/a=b", "none=", "text='4'"]
    assert parse_overrides(words) == {
        "bits": 4,
        "rate": 0.001,
        "flag": True,
        "name": "yes",
        "list": [1, "a"],
        "path": "/a=b",
        "none": None,
        "text": "4",
    }
    assert parse_overrides(None) == {}


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans())
def test_overrides_read_back_what_json_writes(value: object) -> None:
    assert parse_overrides([f"key={json.dumps(value)}"]) == {"key": value}


@pytest.mark.parametrize("words", [["bits"], ["=4"], ["a b=4"], ["bits=[4"], ["bits=4", "bits=5"], ["--bits=4"]])
def test_words_that_are_no_override(words: list[str]) -> None:
    with pytest.raises(UsageError, match=words[-1].replace("[", r"\[")):
        parse_overrides(words)
