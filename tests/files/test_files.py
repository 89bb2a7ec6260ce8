"""Files are whole or absent, whatever the machine refuses; halves of killed writers are swept, of living ones not."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from snn_asr.errors import DataError, UsageError
from snn_asr.files import atomic_path, read_json, sha256, write_json, write_text, write_together, writing
from snn_asr.files.journals import append_json_line
from snn_asr.files.locks import alone, holder, locked, refuse_held


@pytest.fixture(autouse=True)
def as_in_a_new_process():
    writing.remove_dead_halves.cache_clear()


def hidden(folder) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "before")
    with pytest.raises(DataError, match=r"a\.txt: cannot write \(no space left on device\); free"):
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_text() == "before" and not hidden(tmp_path)


def test_an_error_of_another_file_is_not_said_to_be_of_the_one_written(tmp_path):
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        with atomic_path(tmp_path / "a.txt"):
            open(tmp_path / "elsewhere")


@pytest.mark.parametrize("name", ["file/a.txt", "folder"])
def test_what_is_in_the_way_is_named_and_stays(name, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=f"{name}: cannot write"):
        write_text(tmp_path / name, "x")
    assert (tmp_path / "file").read_text() == "mine" and (tmp_path / "folder").is_dir() and not hidden(tmp_path)


def test_halves_of_killed_writers_are_swept_and_those_of_living_ones_are_not(tmp_path):
    dead, own = tmp_path / ".a-x1y2z3w4.part.txt", tmp_path / ".a-holidays.txt"
    for each in (dead, own):
        each.write_text("half")
    with atomic_path(tmp_path / "b.txt") as living:
        assert not dead.exists() and own.exists()
        writing.remove_dead_halves.cache_clear()
        write_text(tmp_path / "c.txt", "another process")
        assert living.exists()
    assert hidden(tmp_path) == [own.name]


def test_a_name_as_long_as_a_name_may_be_can_be_written(tmp_path):
    path = tmp_path / ("é" * 125 + ".txt")
    write_text(path, "x")
    assert path.read_text() == "x" and not hidden(tmp_path)


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_text(path, "through")
    assert os.read(reader, 100) == b"through" and stat.S_ISFIFO(path.stat().st_mode)
    os.close(reader)


def test_a_pipe_whose_reader_has_ended_is_no_full_disk():
    """The program ends as it does where the reader of its standard output has: ``lm --output /dev/stdout | head``."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with pytest.raises(BrokenPipeError):
            write_text(f"/dev/fd/{writer}", "nobody reads this")
    finally:
        os.close(writer)


def test_a_line_that_does_not_fit_on_the_disk_is_taken_back(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    append_json_line(path, {"epoch": 1})
    opened = open

    class Full:
        """A file on a disk that takes five more bytes."""

        def __init__(self, *arguments, **options):
            self.file = opened(*arguments, **options)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, content: bytes) -> int:
            return self.file.write(content[:5])

        def __getattr__(self, name):
            return getattr(self.file, name)

    monkeypatch.setattr("builtins.open", Full)
    with pytest.raises(DataError, match=r"log\.jsonl: cannot write \(no space"):
        append_json_line(path, {"epoch": 2})
    monkeypatch.undo()
    assert path.read_text() == '{"epoch": 1}\n'


def test_names_that_are_not_text_are_written_and_read_again(tmp_path):
    name = os.fsdecode(b"caf\xe9.wav")
    write_json(tmp_path / "errors.json", {name: "damaged"})
    append_json_line(tmp_path / "journal.jsonl", {"name": name})
    assert read_json(tmp_path / "errors.json", file_names=True) == {name: "damaged"}
    assert read_json(tmp_path / "journal.jsonl", file_names=True) == {"name": name}


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for read in (sha256, read_json):
        with pytest.raises(DataError, match="absent: no such file"):
            read(tmp_path / "absent")
        with pytest.raises(DataError, match=r"is a directory"):
            read(tmp_path)


def test_a_lock_is_held_by_one_and_freed_at_the_end(tmp_path):
    path = tmp_path / ".lock"
    path.write_text("process 1 on another-host")  # left by one that was killed
    with locked(path) as mine:
        assert mine and str(os.getpid()) in holder(path)
        with locked(path) as other:
            assert not other
    assert not path.exists()


def test_a_lock_that_its_holder_removes_while_it_is_looked_at_is_taken(tmp_path, monkeypatch):
    path = tmp_path / ".lock"
    write_text(path, "process 1 on another\n")

    def removed_meanwhile(looked_at):
        path.unlink()
        raise FileNotFoundError(looked_at)

    monkeypatch.setattr("snn_asr.files.locks.require_regular", removed_meanwhile)
    with locked(path) as mine:
        assert mine


def test_files_that_belong_together_stay_as_they_were_where_one_does_not_fit(tmp_path, monkeypatch):
    before = {"a.json": b"1", "b.bin": b"2", "last": b"3"}
    write_together(tmp_path, before)
    written = []

    def full(descriptor):
        written.append(descriptor)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writing.os, "fsync", full)
    with pytest.raises(DataError, match=r"a\.json: cannot write \(no space"):
        write_together(tmp_path, {name: b"new" for name in before})
    monkeypatch.undo()
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_of_files_that_belong_together_the_last_one_is_gone_until_all_others_are_there(tmp_path, monkeypatch):
    write_together(tmp_path, {"a": b"1", "b": b"2", "last": b"3"})
    seen, replace = [], os.replace

    def watched(source, target):
        seen.append(sorted(each.name for each in tmp_path.iterdir() if each.read_bytes() == b"3"))
        replace(source, target)

    monkeypatch.setattr(writing.os, "replace", watched)
    write_together(tmp_path, {"a": b"4", "b": b"5", "last": b"6"})
    assert seen == [[], [], []] and (tmp_path / "last").read_bytes() == b"6" and not hidden(tmp_path)


def test_what_is_done_alone_is_refused_to_others_and_looking_at_the_lock_leaves_it(tmp_path):
    path = tmp_path / ".lock"
    refuse_held(path, "work", "choose another")
    with alone(path, "work", "choose another"):
        with pytest.raises(UsageError, match=rf"another work is at work here \(process {os.getpid()} on .*choose"):
            refuse_held(path, "work", "choose another")
        with pytest.raises(UsageError, match="another work is at work here"):
            with alone(path, "work", "choose another"):
                pass
        assert path.exists()
    refuse_held(path, "work", "choose another")
    assert not path.exists()
