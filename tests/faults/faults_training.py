"""Faults of a training: what is in its folder already, what breaks while it writes, who ends it, what is damaged."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import torch

from faults.table import fault
from faults.world import Outcome, World, digest, flip_bit, halves
from snn_asr.data.audio import write_audio

LOST, DEAD, RESIDUE = "data lost", "dead end after damage", "residue"
DAMAGED, DISK = "silently wrong: damaged files", "unexpected error: disk"
OUTPUTS, ENVIRONMENT = "unexpected error: outputs", "unexpected error: environment"
INTERRUPTED = "interrupted"


@fault(LOST, "train into the data folder", codes=(2, 4), says="data")
def _(world: World) -> Outcome:
    data = world.data()
    world.keep(*data.glob("*.json"))
    return world.train(data)


@fault(LOST, "train into the data folder by a link", codes=(2, 4), says="link")
def _(world: World) -> Outcome:
    data = world.data()
    (world.folder / "link").symlink_to(data)
    world.keep(*data.glob("*.json"))
    return world.train("link", "--no-resume")


def _own_file(name: str, *words: str) -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        path = world.folder / "mine" / name
        path.parent.mkdir(parents=True)
        path.write_text('{"my": "own"}')
        world.data()
        world.keep(path)
        return world.train("mine", *words)

    return does


for _name in ("test.json", "log.jsonl", "run.json", "checkpoint.pt", "checkpoint-previous.pt", "model/config.json"):
    for _words in ((), ("--no-resume",)):
        fault(LOST, f"train beside the user's own {_name} {' '.join(_words)}", codes=(2, 4), says="mine")(
            _own_file(_name, *_words)
        )


def _prepare_over(name: str, edit: bool = False) -> Callable[[World], Outcome]:
    """``prepare`` meets a file of the user's or, with ``edit``, a manifest of its own that the user has changed."""

    def does(world: World) -> Outcome:
        out = world.folder / "out"
        for number in (0, 5, 10):
            write_audio(world.folder / "clips" / f"1_ann_{number}.wav", torch.full((400,), 0.1), 8000)
        words = ["prepare", "fsdd", "--data-folder", world.folder / "clips", "--output-folder", out]
        words += ["train=2", "dev=1", "test=1"]
        if edit:
            assert world.run(*words).code == 0
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text('{"mine": 1}')
        world.keep(out / name)
        return world.run(*words, "seed=1")

    return does


for _name in ("train.json", "isolated_test.json", "prepared.json"):
    for _edit in (False, True):
        _what = "an edited" if _edit else "the user's own"
        fault(LOST, f"prepare over {_what} {_name}", codes=(2, 4), says=_name)(_prepare_over(_name, _edit))


def _begin_anew(*words: str, break_data: str = "") -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        run = world.model_run()
        world.keep(*(run / name for name in digest(run)))
        if break_data == "recording":
            next((world.folder / "data" / "audio" / "dev").glob("*.wav")).unlink()
            shutil.rmtree(world.folder / "data" / "features", ignore_errors=True)
        elif break_data:
            (world.folder / "data" / break_data).write_text("{")
        return world.train("run", "--no-resume", *words)

    return does


for _words in (("accumulation=100000",), ("epochs=0",), ("hiden_size=3",), ("encoder=gro",), ("encoder=lif", "bits=1")):
    fault(LOST, f"begin anew over a finished run with {' '.join(_words)}", codes=(2, 4))(_begin_anew(*_words))
for _what in ("recording", "train.json", "dev.json", "test.json"):
    fault(LOST, f"begin anew over a finished run with a broken {_what}", codes=4)(_begin_anew(break_data=_what))


@fault(LOST, "begin anew on a disk that is full at the first checkpoint", codes=4, says="checkpoint.pt: .*space")
def _(world: World) -> Outcome:
    run = world.model_run()
    world.keep(*(run / name for name in digest(run)))
    with world.refusing(run):
        return world.train("run", "--no-resume", "seed=2")


@fault(LOST, "other options into the folder of a finished run", codes=2, says="--no-resume")
def _(world: World) -> Outcome:
    run = world.model_run()
    world.keep(*(run / name for name in digest(run)))
    return world.train("run", "seed=2")


for _content in (b"mine", b"process", bytes(30) + b"mine"):

    @fault(LOST, f"the user's own .lock in a run folder: {_content!r}", codes=4, says=r"\.lock: is not a lock")
    def _own_lock(world: World, content: bytes = _content) -> Outcome:
        run = world.unfinish(world.model_run())
        (run / ".lock").write_bytes(content)
        world.keep(run / ".lock")
        return world.train("run")


for _content in (b"", bytes(40), b"process 1 on another"):

    @fault(DEAD, f"the lock of a dead process in a run folder: {_content!r}", codes=0)
    def _dead_lock(world: World, content: bytes = _content) -> Outcome:
        run = world.unfinish(world.model_run())
        (run / ".lock").write_bytes(content)
        outcome = world.train("run")
        assert not (run / ".lock").exists()
        return outcome


@fault(LOST, "a second training in one folder", codes=(2, 4), says="another training")
def _(world: World) -> Outcome:
    from snn_asr.training.run_folder.folder import RunFolder

    data = world.data()
    with RunFolder(world.folder / "run").held(data):
        return world.train("run")


def _checkpoint(damage: Callable[[Path], object]) -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        run = world.unfinish(world.model_run())
        damage(run / "checkpoint.pt")
        return world.train("run")

    return does


def _without(path: Path, key: str) -> None:
    state = torch.load(path, weights_only=True)
    state.pop(key)
    torch.save(state, path)


def _to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _payload(path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return os.mkdir, (str(path.parent / "ran"),)

    torch.save({"optimizer": Payload()}, path)


for _damage, _does in {
    "empty": lambda path: os.truncate(path, 0),
    "cut": lambda path: os.truncate(path, 5000),
    "text": lambda path: path.write_text("hello"),
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "a folder": _to_folder,
    "a pickle with a payload": _payload,
    "without its optimizer": lambda path: _without(path, "optimizer"),
    "without its checksum": lambda path: _without(path, "checksum"),
    "with a turned bit": flip_bit,
    "with a turned bit near its end": lambda path: flip_bit(path, path.stat().st_size * 3 // 4),
    "a list": lambda path: torch.save([1], path),
}.items():
    fault(DEAD, f"the only checkpoint is {_damage}", codes=4, says="checkpoint.pt: .*no-resume")(_checkpoint(_does))


@fault(DEAD, "a checkpoint of another run", codes=4, says="checkpoint.pt: a checkpoint of another run", thorough=True)
def _(world: World) -> Outcome:
    run = world.unfinish(world.model_run())
    world.train("larger", "epochs=1", "hidden_size=12")
    shutil.copyfile(world.folder / "larger" / "checkpoint.pt", run / "checkpoint.pt")
    return world.train("run")


def _log(content: bytes) -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        run = world.unfinish(world.model_run())
        (run / "log.jsonl").write_bytes(content)
        outcome = world.train("run")
        assert [json.loads(line)["epoch"] for line in (run / "log.jsonl").read_text().splitlines()] == [1, 2]
        return outcome

    return does


_CONTENTS = {"binary": b"\xff\xfe\x00", "empty": b"", "twice": b'{"epoch": 1}\n' * 2, "half": b'{"ep'}
for _what, _content in _CONTENTS.items():
    fault(DEAD, f"log.jsonl is {_what}", codes=0)(_log(_content))


def _model_of_finished(name: str, how: str) -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        run = world.model_run()
        whole = digest(run / "model")
        if how == "missing":
            (run / "model" / name).unlink()
        else:
            flip_bit(run / "model" / name)
        outcome = world.train("run")
        again = digest(run / "model")
        timed = {"metrics.json": "", "checksums.json": ""}  # the time that the test set took, say
        assert {**again, **timed} == {**whole, **timed}
        return outcome

    return does


for _name in ("weights.safetensors", "config.json", "tokens.json", "checksums.json"):
    for _how in ("missing", "damaged"):
        fault(DAMAGED, f"of a finished run {_name} is {_how}", codes=0, says="written anew|test")(
            _model_of_finished(_name, _how)
        )


@fault(DAMAGED, "bits of the kept frames have turned", codes=0, says="damaged .*computed anew", thorough=True)
def _(world: World) -> Outcome:
    world.data()
    world.train("run")
    run = world.folder / "run"
    world.keep(run / "model" / "weights.safetensors")
    for path in (world.folder / "data" / "features").rglob("*.safetensors"):
        flip_bit(path, path.stat().st_size - 101)
    outcome = world.train("again")
    assert (world.folder / "again" / "model" / "weights.safetensors").read_bytes() == (
        run / "model" / "weights.safetensors"
    ).read_bytes()
    return outcome


for _code, _says in ((errno.ENOSPC, "space"), (errno.EIO, "input/output"), (errno.EDQUOT, "quota")):
    for _after, _what in ((0, "run.json"), (1, "checkpoint.pt"), (2, "checkpoint.pt")):

        def _full(world: World, code: int = _code, after: int = _after) -> Outcome:
            world.data()
            with world.refusing(world.folder / "run", code, after):
                outcome = world.train("run")
            assert world.train("run").code == 0, "the run does not go on when the disk is whole again"
            assert not halves(world.folder / "run")
            return outcome

        _which = f"the disk says {errno.errorcode[_code]} to write {_after + 1}"
        fault(DISK, _which, codes=4, says=f"run/.*: .*{_says}", thorough=(_code, _after) != (errno.ENOSPC, 1))(_full)


@fault(DISK, "the disk of the kept frames is full", codes=0, says="features are not kept there", thorough=True)
def _(world: World) -> Outcome:
    data = world.data()
    shutil.rmtree(data / "features", ignore_errors=True)
    with world.refusing(data / "features"):
        return world.train("run")


for _where in ("file", "file/run"):

    def _in_the_way(world: World, where: str = _where) -> Outcome:
        world.data()
        (world.folder / "file").write_text("mine")
        world.keep(world.folder / "file")
        return world.train(where)

    fault(OUTPUTS, f"train into {_where}, which is a file", codes=(2, 4), says="file")(_in_the_way)


for _variables in (
    {"RANK": "0", "LOCAL_RANK": "0"},
    {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"},
    {"RANK": "x", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29511"},
    {"RANK": "2", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29511"},
    {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "port"},
):

    def _ranked(world: World, variables: dict[str, str] = _variables) -> Outcome:
        world.data()
        for name, value in variables.items():
            world.monkeypatch.setenv(name, value)
        return world.train("run")

    _named = " ".join(f"{name}={value}" for name, value in _variables.items())
    fault(ENVIRONMENT, f"the environment says {_named}", codes=2, says="torchrun")(_ranked)


def _killed(kill: str, code: int) -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        run = world.model_run("whole")
        ended = world.process(*world.training("run"), kill=kill)
        assert ended.code == code, f"exit {ended.code}: {ended.last_line}"
        outcome = world.train("run")
        same = ("model/weights.safetensors", "test.json")
        assert all((world.folder / "run" / each).read_bytes() == (run / each).read_bytes() for each in same)
        assert not halves(world.folder / "run")
        return outcome

    return does


for _number in (1, 2, 3, 5, 8):
    for _signal, _code in ((signal.SIGKILL, -9), (signal.SIGTERM, 130), (signal.SIGINT, 130), (signal.SIGHUP, 130)):
        _slow = (_number, _signal) != (3, signal.SIGTERM)
        fault(
            INTERRUPTED, f"{_signal.name} before rename {_number} of a training, and again", codes=0, thorough=True,
            slow=_slow,
        )(_killed(f"replace:{_number}:{int(_signal)}", _code))


@fault(ENVIRONMENT, "compiled kernels can be kept nowhere", codes=0, says="kept in .*snn-asr-kernels", slow=True)
def _(world: World) -> Outcome:
    run, recording = world.model_run(), world.recording()
    program = (
        "from snn_asr import kernel_cache\n"
        "writable = kernel_cache.is_writable\n"
        "kernel_cache.is_writable = lambda folder: 'snn-asr-kernels' in str(folder) and writable(folder)\n"
        "from snn_asr.cli.main import main; main()"
    )
    return world.process("decode", run, recording, program=program, environment={"NUMBA_CACHE_DIR": ""})
