"""Preparation in shards: the manifests of an undivided run, whoever ends last and whoever is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from snn_asr.corpora import preparation, prepare, prepared_folder
from snn_asr.corpora.preparation import Preparation
from snn_asr.corpora.prepared_folder import MARK, SHARDS
from snn_asr.data.audio import write_audio
from snn_asr.data.manifest import Utterance
from snn_asr.errors import DataError, UsageError
from snn_asr.files import read_json, write_bytes, write_json
from snn_asr.files.journals import append_json_line
from snn_asr.sharding import Shard

SIZES = {"train": 11, "dev": 1, "test": 3}
ITEMS = [(name, index) for name, size in SIZES.items() for index in range(size)]
PHONES = (("sh", 1 / 3), ("iy", 0.7))


class Corpus:
    """Some audio written here, some that lies elsewhere; remembers what it made."""

    def __init__(self, output_folder: Path, seed: int = 0) -> None:
        self.output_folder, self.made = output_folder, []
        items = {name: [item for item in ITEMS if item[0] == name] for name in SIZES}
        options = {"corpus": "toy", "seed": seed}
        self.preparation = Preparation(options, tuple(SIZES), lambda: items, self.make, "Making")

    def make(self, item: tuple[str, int]) -> Utterance:
        self.made.append(item)
        name = "-".join(map(str, item))
        path = self.output_folder / "audio" / f"{name}.flac"
        if item[1] % 2:
            path = self.output_folder.parent / f"{name}.flac"
        write_audio(path, torch.full((10 + item[1],), 0.1), 1000)
        return Utterance(name, path, (10 + item[1]) / 1000 / 3, "ann", f"é {name}", PHONES if item[1] % 3 else None)

    def run(self, shard: str | None = None) -> dict:
        return self.preparation.run(self.output_folder, Shard.parse(shard) if shard else None)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def whole(tmp_path) -> tuple[dict, dict[str, bytes]]:
    """Summary and files of an undivided run."""
    corpus = Corpus(tmp_path / "whole")
    return corpus.run(), contents(tmp_path / "whole")


@pytest.mark.parametrize(
    "order", [["1/3", "2/3", "3/3"], ["3/3", "1/3", "2/3"], ["1/1"], [f"{number}/20" for number in (18, *range(1, 16))]]
)
def test_shards_write_the_same_bytes_as_an_undivided_run(tmp_path, whole, order):
    made, out = [], tmp_path / "out"
    for shard in order[:-1]:
        corpus = Corpus(out)
        summary = corpus.run(shard)
        made += corpus.made
        assert summary == {"shard": shard, "missing_utterances": 15 - len(made)}
        assert not list(out.glob("*.json"))
    last = Corpus(out)
    assert last.run(order[-1]) == whole[0] and contents(out) == whole[1]
    assert sorted(made + last.made) == sorted(ITEMS)
    again = Corpus(out)
    assert again.run("2/3") == again.run() == whole[0] and again.made == [] and contents(out) == whole[1]


def test_shards_at_the_same_time(tmp_path, whole):
    context, shards = multiprocessing.get_context("fork"), [f"{number}/4" for number in range(1, 5)]
    processes = [context.Process(target=Corpus(tmp_path / "out").run, args=(shard,)) for shard in shards]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert contents(tmp_path / "out") == whole[1]


def test_a_killed_shard_goes_on_where_it_was(tmp_path, whole):
    def run_until_killed() -> None:
        def append_or_die(path: Path, row: dict) -> None:
            append_json_line(path, row)
            if row["rank"] == 4:
                os.kill(os.getpid(), signal.SIGKILL)

        preparation.append_json_line = append_or_die
        Corpus(out).run("1/2")

    out = tmp_path / "out"
    Corpus(out).run("2/2")
    process = multiprocessing.get_context("fork").Process(target=run_until_killed)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    journal = next((out / SHARDS).rglob("*-1-of-2.jsonl"))
    journal.write_bytes(journal.read_bytes() + b'{"rank": 6, "id"')
    (out / "audio" / ".train-0-12345678.part.flac").touch()
    (out / "audio" / "train-2.flac").unlink()  # made again, although it had been done
    corpus = Corpus(out)
    assert corpus.run("1/2") == whole[0] and contents(out) == whole[1]
    assert [index for _, index in corpus.made] == [2, 6, 8, 10, 0, 2]


def test_killed_while_it_wrote_the_manifests(tmp_path, whole, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    out = tmp_path / "out"
    Corpus(out).run("1/2")
    with monkeypatch.context() as patch:
        patch.setattr(prepared_folder, "write_bytes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Corpus(out).run("2/2")
    assert Corpus(out).run("1/2") == {"shard": "1/2", "missing_utterances": 0}  # it may be still at it
    corpus = Corpus(out)
    assert corpus.run("2/2") == whole[0] and corpus.made == [] and contents(out) == whole[1]


def test_another_number_of_shards_and_none_at_all_take_over_what_was_made(tmp_path, whole):
    out = tmp_path / "out"
    Corpus(out).run("1/3")
    other = Corpus(out)
    other.run("1/2")
    assert [rank for rank, item in enumerate(ITEMS) if item in other.made] == [2, 4, 8, 10, 14]
    rest = Corpus(out)
    assert rest.run() == whole[0] and contents(out) == whole[1]
    assert [rank for rank, item in enumerate(ITEMS) if item in rest.made] == [1, 5, 7, 11, 13]


def test_shards_refuse_a_folder_of_another_preparation_and_an_undivided_run_clears_it(tmp_path, whole):
    out = tmp_path / "out"
    Corpus(out, seed=1).run("1/2")
    with pytest.raises(UsageError, match="unfinished shards with other options or data; give all shards the same"):
        Corpus(out).run("1/2")
    assert Corpus(out).run() == whole[0] and contents(out) == whole[1]
    with pytest.raises(UsageError, match="another preparation is here"):
        Corpus(out, seed=1).run("2/2")
    assert contents(out) == whole[1]


def test_two_that_end_at_the_same_moment_write_the_manifests_once(tmp_path, whole, monkeypatch):
    """While the second writes them, the third finds everything made; then it ends before the second looks."""
    out, summaries, append = tmp_path / "out", [], append_json_line

    def write_while_another_ends(path, content):
        if not summaries:
            summaries.append(Corpus(out).run("3/3"))
        write_bytes(path, content)

    Corpus(out).run("1/3")
    Corpus(out).run("3/3")
    with monkeypatch.context() as patch:
        patch.setattr(prepared_folder, "write_bytes", write_while_another_ends)
        assert Corpus(out).run("2/3") == whole[0] and contents(out) == whole[1]
    assert summaries == [{"shard": "3/3", "missing_utterances": 0}]

    def append_while_another_ends(path, row):
        append(path, row)
        if row["rank"] == 13:
            monkeypatch.undo()
            summaries.append(Corpus(tmp_path / "again").run("3/3"))

    Corpus(tmp_path / "again").run("1/3")
    monkeypatch.setattr(preparation, "append_json_line", append_while_another_ends)
    assert Corpus(tmp_path / "again").run("2/3") == summaries[-1] == whole[0]
    assert contents(tmp_path / "again") == whole[1]


@pytest.mark.parametrize("shard", [None, "1/1"])
@pytest.mark.parametrize("name", ["train.json", "dev.json", "test.json", "prepared.json", "audio/own.wav"])
def test_files_of_others_are_refused_before_anything_is_written(name, shard, tmp_path):
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text('{"u1": "mine"}')
    before = contents(tmp_path)
    with pytest.raises(UsageError, match=f"{name}: is there already, and not as prepare wrote it; choose another"):
        Corpus(out).run(shard)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("seed", [0, 1])
def test_a_manifest_that_was_changed_by_hand_is_kept(seed, tmp_path):
    out = tmp_path / "out"
    Corpus(out).run()
    text = (out / "dev.json").read_text()
    (out / "dev.json").write_text(text.replace("ann", "bob"))
    before = contents(tmp_path)
    with pytest.raises(UsageError, match="dev.json: is there already"):
        Corpus(out, seed=seed).run()
    assert contents(tmp_path) == before
    (out / "dev.json").unlink()
    assert Corpus(out, seed=seed).run()["dev"]["utterances"] == 1


def test_files_that_others_put_beside_stay_whatever_is_prepared(tmp_path):
    out = tmp_path / "out"
    own = {name: b"mine" for name in ("notes.json", "audio/mine.wav", "audio/deep/mine.flac", ".own-settings.json")}
    Corpus(out).run()
    for name, content in own.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(content)
    for seed in (1, 2, 0):
        Corpus(out, seed=seed).run()
        assert own.items() <= contents(out).items()


@pytest.mark.parametrize("call", ["unlink", "write_json", "write_bytes"])
@pytest.mark.parametrize("after", range(3))
def test_a_preparation_ended_at_any_moment_knows_its_files_the_next_time(call, after, tmp_path, monkeypatch):
    """Those of the earlier one, which it was removing, and those that it had written itself."""
    out, left = tmp_path / "out", [after]
    Corpus(out, seed=1).run()
    owner = Path if call == "unlink" else prepared_folder
    does = getattr(owner, call)

    def interrupted(*arguments, **options):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return does(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, call, interrupted)
        with pytest.raises(KeyboardInterrupt):
            Corpus(out).run()
            Corpus(out, seed=2).run()
            Corpus(out, seed=3).run()
    assert Corpus(out).run()["test"]["utterances"] == 3
    assert set(contents(out)) == {"train.json", "dev.json", "test.json", MARK, *(
        f"audio/{name}-{index}.flac" for name, index in ITEMS if not index % 2
    )}


def test_the_mark_of_an_earlier_version_which_knows_sizes_alone_is_understood(tmp_path):
    out = tmp_path / "out"
    Corpus(out).run()
    mark = read_json(out / MARK)
    del mark["manifests"]
    write_json(out / MARK, mark)
    again = Corpus(out)
    assert again.run()["dev"]["utterances"] == 1 and again.made == []
    Corpus(out, seed=1).run()


@pytest.mark.parametrize(
    ("corpus", "options"),
    [
        ("demo", {"train": "abc"}), ("demo", {"train": 1.5}), ("demo", {"seed": 1e9}), ("demo", {"dev": True}),
        ("demo", {"test": None}), ("an4", {"partial": "yes"}), ("librispeech", {"base_url": 3}),
        ("timit", {"test_set": ["core"]}), ("timit", {"development_speakers": 7}),
    ],
)
def test_options_have_the_types_that_they_are_declared_with(corpus, options, tmp_path):
    with pytest.raises(UsageError, match=f"corpus {corpus}: {next(iter(options))}=.*; must be "):
        prepare(corpus, None, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("first", "second"), [(None, None), (None, "1/2"), ("1/2", None), ("1/2", "1/2")])
def test_a_preparation_is_alone_in_its_folder_apart_from_other_shards(first, second, tmp_path, monkeypatch):
    out = tmp_path / "out"
    corpus, other = Corpus(out), Corpus(out, seed=1 if second is None else 0)
    make, refused = corpus.preparation.make, []

    def make_while_another_begins(item):
        with pytest.raises(UsageError, match=rf"another preparation is at work here .process {os.getpid()} on"):
            other.run(second)
        refused.append(item)
        return make(item)

    corpus.preparation = replace(corpus.preparation, make=make_while_another_begins)
    corpus.run(first)
    assert refused and not other.made and not list(out.glob(".*.lock"))


def test_the_lock_of_a_killed_shard_holds_nobody_up(tmp_path, whole):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".prepare-1-of-2.lock").write_text("process 1 on another")
    assert Corpus(tmp_path / "out").run() == whole[0] and contents(tmp_path / "out") == whole[1]


def test_a_claim_whose_shard_was_killed_before_it_had_a_name_is_given_up(tmp_path, whole):
    out = tmp_path / "out"
    Corpus(out).run("1/2")
    (next((out / SHARDS).iterdir()) / preparation._CLAIM).touch()
    assert Corpus(out).run("2/2") == whole[0] and contents(out) == whole[1]


@pytest.mark.parametrize("error", [DataError("damaged", "a.wav"), KeyboardInterrupt(), OSError(28, "no space left")])
def test_an_earlier_preparation_stays_where_the_one_that_is_to_replace_it_fails(error, tmp_path, whole):
    """Nothing else stays of the other one, and what the user has put beside stays."""
    out = tmp_path / "whole"
    (out / "audio" / "mine.flac").write_bytes(b"mine")
    whole[1]["audio/mine.flac"] = whole[1]["audio/put-there-meanwhile.wav"] = b"mine"
    other = Corpus(out, seed=1)
    make = other.preparation.make

    def fail_at_the_last(item):
        if item == ITEMS[-1]:
            raise error
        made = make(item)
        if made.wav.is_relative_to(out):
            made.wav.with_stem(f"other-{made.wav.stem}").write_bytes(made.wav.read_bytes())
            (out / "audio" / "put-there-meanwhile.wav").write_bytes(b"mine")
        return made

    other.preparation = replace(other.preparation, make=fail_at_the_last)
    with pytest.raises(type(error)):
        other.run()
    assert contents(out) == whole[1] and Corpus(out).run() == whole[0] and not (out / SHARDS).exists()


def test_an_earlier_preparation_that_a_killed_one_was_to_replace_can_be_had_again(tmp_path, whole, monkeypatch):
    out = tmp_path / "whole"
    monkeypatch.setattr(prepared_folder.PreparedFolder, "bring_back", lambda self: None)  # as if it was killed
    other = Corpus(out, seed=1)
    other.preparation = replace(other.preparation, make=lambda item: os.fspath(item))
    with pytest.raises(TypeError):
        other.run()
    monkeypatch.undo()
    assert not (out / "train.json").exists()
    again = Corpus(out)
    assert again.run() == whole[0] and not again.made and contents(out) == whole[1]
    Corpus(out, seed=1).run()
    assert read_json(out / MARK)["options"]["seed"] == 1 and not list(out.glob(".*"))
