"""LibriSpeech: generated trees of the corpus' shape against the published numbers, the real sample, a local server."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import signal
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy
import pytest
import soundfile

from snn_asr import corpora, files
from snn_asr.cli.options import parse_overrides
from snn_asr.corpora import _download, librispeech
from snn_asr.corpora.librispeech import Published, clean, plan, prepare
from snn_asr.errors import DataError, UsageError
from snn_asr.manifest import find_manifests, read_manifest

SHAPES = {"train-clean-100": (23, 4), "dev-clean": (5, 2), "test-clean": (4, 2), "test-other": (3, 1)}
MINUTES = 2.0


def flac(samples: int) -> bytes:
    """A FLAC file whose header says so many samples at 16 kHz; it holds 160."""
    buffer = io.BytesIO()
    soundfile.write(buffer, numpy.zeros(160, dtype=numpy.int16), 16000, format="FLAC", subtype="PCM_16")
    content = bytearray(buffer.getvalue())
    fields = int.from_bytes(content[18:26], "big")  # the last 36 bits are the number of samples
    content[18:26] = (fields >> 36 << 36 | samples).to_bytes(8, "big")
    return bytes(content)


def write_split(folder: Path, utterances: int, speakers: int, minutes: float) -> None:
    """A split of so many utterances by so many speakers: chapters of up to 50, lengths that vary and add up."""
    mean = round(minutes * 60 * 16000 / utterances)
    long, short = flac(mean + mean // 2), flac(mean - mean // 2)
    for speaker in range(speakers):
        own = range(speaker, utterances, speakers)
        for chapter in range(0, len(own), 50):
            place = folder / str(100 + speaker) / str(7000 + chapter)
            place.mkdir(parents=True)
            lines = []
            for number, index in enumerate(own[chapter : chapter + 50]):
                name = f"{100 + speaker}-{7000 + chapter}-{number:04d}"
                pair_left_over = index == utterances - 1 and utterances % 2
                content = flac(mean) if pair_left_over else (long, short)[index % 2]
                (place / f"{name}.flac").write_bytes(content)
                lines.append(f"{name} IT'S NUMBER {name.replace('-', ' ')}\n")
            (place / f"{100 + speaker}-{7000 + chapter}.trans.txt").write_text("".join(lines))


@pytest.fixture
def small(monkeypatch, tmp_path) -> Path:
    """A tree that is complete by published numbers as small as itself."""
    table = {split: Published(*shape, MINUTES, "0" * 64) for split, shape in SHAPES.items()}
    monkeypatch.setattr(librispeech, "PUBLISHED", table)
    for split, shape in SHAPES.items():
        write_split(tmp_path / "LibriSpeech" / split, *shape, MINUTES)
    return tmp_path / "LibriSpeech"


def test_the_published_numbers_are_those_of_the_corpus_itself(shared_data):
    readers: dict[str, list[float]] = {}
    for line in (shared_data / "LibriSpeech" / "SPEAKERS.TXT").read_text().splitlines():
        if not line.startswith(";"):
            _, _, split, minutes, *_ = line.split("|")
            readers.setdefault(split.strip(), []).append(float(minutes))
    assert readers.keys() == librispeech.PUBLISHED.keys()
    for split, minutes in readers.items():
        published = librispeech.PUBLISHED[split]
        assert (published.speakers, published.minutes) == (len(minutes), pytest.approx(sum(minutes), rel=1e-5))
    assert round(librispeech.PUBLISHED["train-clean-100"].minutes / 60, 1) == 100.6


def test_manifests_point_at_every_recording_with_its_text(small, tmp_path):
    summary = prepare(small.parent, tmp_path / "out")
    assert summary["train"] == {"utterances": 23, "hours": round(2 / 60, 3), "speakers": 4}
    manifests = {split: read_manifest(path) for split, path in find_manifests(tmp_path / "out").items()}
    assert {split: len(each) for split, each in manifests.items()} == {"train": 23, "dev": 5, "test": 4}
    for split, folder in (("train", "train-clean-100"), ("dev", "dev-clean"), ("test", "test-clean")):
        assert {each.wav for each in manifests[split].values()} == set((small / folder).rglob("*.flac"))
    utterance = manifests["train"]["101-7000-0002"]
    assert utterance.wav == small / "train-clean-100" / "101" / "7000" / "101-7000-0002.flac"
    assert (utterance.speaker, utterance.text) == ("101", "it's number 101 7000 0002")
    mean = round(MINUTES * 60 * 16000 / 23)
    assert utterance.duration == (mean - mean // 2) / 16000  # the ninth of four speakers' turns: an odd index


def test_more_splits_and_joined_ones(small, tmp_path):
    splits = ["train-clean-100", "dev-clean", "test-clean", "test-other"]
    assert list(prepare(small, tmp_path / "list", splits=splits)) == ["train", "dev", "test", "test_other"]
    assert read_manifest(tmp_path / "list" / "test_other.json").keys() == {f"100-7000-000{each}" for each in range(3)}
    for path in (small / "test-other").rglob("100*"):
        path.rename(path.with_name(path.name.replace("100", "900", 1)))
    transcript = next((small / "test-other").rglob("*.trans.txt"))
    transcript.write_text(transcript.read_text().replace("100-", "900-"))
    joined = prepare(small, tmp_path / "joined", splits={"dev": ["dev-clean", "test-other"]})
    assert joined == {"dev": {"utterances": 8, "hours": round(4 / 60, 3), "speakers": 3}}


@pytest.mark.parametrize(
    ("splits", "manifests"),
    [
        (librispeech.DEFAULT_SPLITS, {"train": ["train-clean-100"], "dev": ["dev-clean"], "test": ["test-clean"]}),
        ("test-other", {"test": ["test-other"]}),
        ("train-clean-100, train-other-500,dev-other",
         {"train": ["train-clean-100", "train-other-500"], "dev": ["dev-other"]}),
        (["dev-clean", "dev-other", "test-clean", "test-other", "heldout-dev"],
         {"dev": ["dev-clean"], "dev_other": ["dev-other"], "test": ["test-clean"], "test_other": ["test-other"],
          "heldout_dev": ["heldout-dev"]}),
        ({"train": "a", "dev": ["b", "c"]}, {"train": ["a"], "dev": ["b", "c"]}),
    ],
)  # fmt: skip
def test_which_split_goes_where(splits, manifests):
    assert plan(splits) == manifests


@pytest.mark.parametrize(
    "splits",
    [
        [], None, 3, "", ["../a"], {}, {"train": []}, {"train": [3]}, {"train": 3}, {"train": "../a"},
        {"prepared": "a"}, {"../a": "a"}, {3: "a"},
    ],
)
def test_splits_that_cannot_be_are_a_usage_error(splits):
    with pytest.raises(UsageError, match="corpus librispeech: splits=.*write for example"):
        plan(splits)


def test_a_split_is_taken_once():
    with pytest.raises(UsageError, match="split 'a' is given twice"):
        plan({"train": ["a", "b"], "dev": "a"})


def test_the_rule_for_transcripts(shared_data):
    assert clean("  MR. O'NEILL\u2019S Caf\u00e9-owner,  SAID: ' -- \n") == "mr o'neill's cafe owner said"
    assert clean("'TIS 42!") == "'tis 42"
    assert clean(" -- ") == ""
    lines = [line for path in (shared_data / "LibriSpeech").rglob("*.trans.txt") for line in path.open()]
    texts = [line.split(" ", 1)[1].strip() for line in lines]
    assert len(texts) == 257 and all(clean(text) == text.lower() for text in texts)


def test_what_is_not_as_published_is_one_error_and_partial_takes_it(small, tmp_path, caplog):
    chapter = small / "train-clean-100" / "100" / "7000"
    (chapter / "100-7000-0001.flac").unlink()
    (chapter / "100-7000-9999.flac").write_bytes(flac(16000))
    (small / "dev-clean" / "101" / "7000" / "101-7000.trans.txt").unlink()
    with pytest.raises(DataError) as caught:
        prepare(small, tmp_path / "out")
    assert str(caught.value) == (
        f"{small}: not as published: train-clean-100: 1 recordings without transcript (100-7000-9999); "
        "train-clean-100: 1 transcripts without recording (100-7000-0001); "
        "train-clean-100: 22 utterances of 4 speakers, published are 23 of 4; "
        "dev-clean: 2 recordings without transcript (101-7000-0000, 101-7000-0001); "
        "dev-clean: 3 utterances of 1 speakers, published are 5 of 2; "
        "restore the corpus, or take it as it is with partial=true"
    )
    assert not (tmp_path / "out").exists()
    assert prepare(small, tmp_path / "out", partial=True)["train"]["utterances"] == 22
    assert "22 utterances of 4 speakers" in caplog.text
    assert not {"100-7000-0001", "100-7000-9999"} & read_manifest(tmp_path / "out" / "train.json").keys()


def test_wrong_durations_are_one_error(small, tmp_path):
    path = small / "dev-clean" / "100" / "7000" / "100-7000-0000.flac"
    path.write_bytes(flac(16000 * 60))
    with pytest.raises(DataError, match=r"not as published: dev-clean: 2\.\d\d minutes, published are 2\.00; restore"):
        prepare(small, tmp_path / "out")
    path.write_bytes(b"fLaC and no more")
    with pytest.raises(DataError, match="100-7000-0000.flac: not readable as audio"):
        prepare(small, tmp_path / "out")
    path.write_bytes(flac(0))
    with pytest.raises(DataError, match="100-7000-0000.flac: its header does not say how long"):
        prepare(small, tmp_path / "out")
    assert not (tmp_path / "out" / "prepared.json").exists()


def test_options_and_folders_that_cannot_work(small, tmp_path):
    cases = [
        ({"splits": "train-clean-10"}, UsageError, r"partial=true takes any folder.*did you mean 'train-clean-100'"),
        ({"splits": "mine", "download": True, "partial": True}, UsageError, "unknown split 'mine'"),
        ({"partial": "yes"}, UsageError, "partial=yes"),
        ({"download": 1}, UsageError, "download=1"),
        ({"splits": "train-clean-360", "partial": True}, DataError, "no folder train-clean-360; .*download=true"),
    ]
    for options, kind, message in cases:
        with pytest.raises(kind, match=message):
            prepare(small, tmp_path / "out", **options)
    with pytest.raises(UsageError, match="--data-folder"):
        prepare(None, tmp_path / "out")
    (small / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no recording"):
        prepare(small, tmp_path / "out", splits="empty", partial=True)


def test_again_does_nothing_and_other_options_or_texts_prepare_anew(small, tmp_path):
    out = tmp_path / "out"
    first = prepare(small, out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert prepare(small, out) == first
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    transcript = small / "dev-clean" / "100" / "7000" / "100-7000.trans.txt"
    transcript.write_text(transcript.read_text().replace("IT'S", "IT WAS"))
    prepare(small, out)
    assert read_manifest(out / "dev.json")["100-7000-0000"].text == "it was number 100 7000 0000"
    prepare(small, out, splits="dev-clean")
    assert {path.name for path in out.iterdir()} == {"dev.json", "prepared.json"}


def killed_at(replacement: int, small: Path, out: Path) -> None:
    """Prepare, and be killed where the n-th file is about to get its name."""
    replace, calls = os.replace, []

    def replace_or_die(*paths):
        calls.append(paths)
        if len(calls) == replacement:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*paths)

    files.os.replace = replace_or_die
    prepare(small, out)


@pytest.mark.parametrize("replacement", [1, 2, 4])
def test_killed_and_run_again_gives_the_right_result(small, tmp_path, replacement):
    whole, out = tmp_path / "whole", tmp_path / "out"
    prepare(small, whole)
    child = multiprocessing.get_context("fork").Process(target=killed_at, args=(replacement, small, out))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert not (out / "prepared.json").exists()
    assert any(path.name.startswith(".") for path in out.iterdir())  # half a file was left
    prepare(small, out)
    expected = {path.name: path.read_bytes() for path in whole.glob("*.json")}
    found = {name: path.read_bytes() for name, path in find_manifests(out).items()}
    assert found == {Path(name).stem: content for name, content in expected.items() if name != "prepared.json"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_for_terminals_only(small, tmp_path, monkeypatch, capsys):
    prepare(small, tmp_path / "a")
    assert capsys.readouterr().err == ""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    prepare(small, tmp_path / "b")
    assert "Reading the headers of 32 recordings" in terminal.getvalue()


@pytest.mark.slow
def test_the_whole_100_hours_are_prepared_in_time(tmp_path, monkeypatch):
    root, terminal = tmp_path / "LibriSpeech", Terminal()
    for split in librispeech.DEFAULT_SPLITS:
        published = librispeech.PUBLISHED[split]
        write_split(root / split, published.utterances, published.speakers, published.minutes)
    monkeypatch.setattr(sys, "stderr", terminal)
    started = time.monotonic()
    summary = prepare(root, tmp_path / "out")
    assert time.monotonic() - started < 180
    assert summary["train"] == {"utterances": 28539, "hours": pytest.approx(100.59, abs=0.01), "speakers": 251}
    assert (summary["dev"]["utterances"], summary["test"]["utterances"]) == (2703, 2620)
    assert len(read_manifest(tmp_path / "out" / "train.json")) == 28539
    assert "100%" in terminal.getvalue()
    next((root / "train-clean-100").rglob("*.flac")).unlink()
    with pytest.raises(DataError, match="28538 utterances of 251 speakers, published are 28539 of 251"):
        prepare(root, tmp_path / "other")


def test_the_real_sample_is_prepared(shared_data, tmp_path):
    words = ["splits={train: train-clean-5, dev: heldout-dev, test: dev-clean}", "partial=true"]
    summary = corpora.prepare("LibriSpeech", shared_data, tmp_path, **parse_overrides(words))
    assert {name: (each["utterances"], each["speakers"]) for name, each in summary.items()} == {
        "train": (231, 28), "dev": (18, 2), "test": (8, 3)
    }  # fmt: skip
    utterance = read_manifest(tmp_path / "test.json")["84-121550-0000"]
    line = next((shared_data / "LibriSpeech" / "dev-clean" / "84").rglob("*.trans.txt")).read_text().splitlines()[0]
    assert line == f"84-121550-0000 {utterance.text.upper()}"
    assert utterance.duration == len(soundfile.read(utterance.wav)[0]) / 16000


class Server(ThreadingHTTPServer):
    """Serves ``contents``; every answer stops after ``most`` bytes. ``asked`` holds paths and the ranges wanted."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.most, self.ranges = 1 << 30, True
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.server.asked.append((self.path, wanted))
        content = self.server.contents.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : start + self.server.most])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(_download, "_PAUSES_SECONDS", (0, 0))
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def served(small, server, monkeypatch) -> Path:
    """The small tree as archives on the server, with their checksums published, and not here; returns a new folder."""
    table = dict(librispeech.PUBLISHED)
    for split in SHAPES:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            tar.add(small / split, f"LibriSpeech/{split}")
        server.contents[f"/12/{split}.tar.gz"] = buffer.getvalue()
        checksum = hashlib.sha256(buffer.getvalue()).hexdigest()
        table[split] = Published(*SHAPES[split], MINUTES, checksum)
    monkeypatch.setattr(librispeech, "PUBLISHED", table)
    folder = small.parent / "fetched"
    folder.mkdir()
    return folder


def test_download_fetches_what_is_missing_once(small, served, server, tmp_path):
    options = {"download": True, "base_url": f"{server.address}/12/"}
    (served / ".train-clean-100.tar.gz.unpacked" / "LibriSpeech" / "train-clean-100").mkdir(parents=True)  # was killed
    assert prepare(served, tmp_path / "out", **options) == prepare(small, tmp_path / "same")
    assert [path for path, _ in server.asked] == [f"/12/{split}.tar.gz" for split in librispeech.DEFAULT_SPLITS]
    archives = {f"{split}.tar.gz" for split in librispeech.DEFAULT_SPLITS}
    assert {path.name for path in served.iterdir()} == {*librispeech.DEFAULT_SPLITS, *archives}
    assert prepare(served, tmp_path / "again", **options, splits="test-other") == prepare(
        small, tmp_path / "other", splits="test-other"
    )
    assert len(server.asked) == 4


def test_download_is_off_by_default(served, server, tmp_path):
    with pytest.raises(DataError, match="no folder train-clean-100, dev-clean, test-clean; .*download=true"):
        prepare(served, tmp_path / "out", base_url=server.address)
    assert server.asked == []


def content_and_sum(server: Server, size: int = 5000) -> tuple[bytes, str]:
    content = numpy.random.default_rng(0).bytes(size)
    server.contents["/file"] = content
    return content, hashlib.sha256(content).hexdigest()


def test_a_broken_download_is_continued_where_it_stopped(server, tmp_path):
    content, checksum = content_and_sum(server)
    (tmp_path / "file.part").write_bytes(content[:700])  # of an earlier run
    server.most = 2000
    _download.fetch(f"{server.address}/file", tmp_path / "file", checksum)
    assert [wanted for _, wanted in server.asked] == ["bytes=700-", "bytes=2700-", "bytes=4700-"]
    assert (tmp_path / "file").read_bytes() == content and not (tmp_path / "file.part").exists()
    _download.fetch(f"{server.address}/file", tmp_path / "file", checksum)
    assert len(server.asked) == 3


def test_a_download_that_was_killed_before_its_last_step(server, tmp_path):
    content, checksum = content_and_sum(server)
    (tmp_path / "file.part").write_bytes(content)
    _download.fetch(f"{server.address}/file", tmp_path / "file", checksum)
    assert (tmp_path / "file").read_bytes() == content


def test_a_server_that_knows_no_ranges_starts_from_the_beginning(server, tmp_path):
    content, checksum = content_and_sum(server)
    server.ranges = False
    (tmp_path / "file.part").write_bytes(b"x" * 100)
    _download.fetch(f"{server.address}/file", tmp_path / "file", checksum)
    assert (tmp_path / "file").read_bytes() == content


def test_downloads_that_fail_say_so(server, tmp_path):
    _, checksum = content_and_sum(server)
    with pytest.raises(DataError, match="not the published 0000.*thrown away"):
        _download.fetch(f"{server.address}/file", tmp_path / "file", "0" * 64)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="status 404"):
        _download.fetch(f"{server.address}/absent", tmp_path / "file", checksum)
    server.most = 0
    with pytest.raises(DataError, match="the connection broke.*continues where it stopped"):
        _download.fetch(f"{server.address}/file", tmp_path / "file", checksum)
    with pytest.raises(UsageError, match="not the address of a web server"):
        _download.fetch("file:///etc/hosts", tmp_path / "file", checksum)
    (tmp_path / "own").write_bytes(b"not it")
    with pytest.raises(DataError, match="own: its SHA-256 is .*remove it"):
        _download.fetch(f"{server.address}/file", tmp_path / "own", checksum)
    assert (tmp_path / "own").read_bytes() == b"not it"


def test_a_damaged_archive_leaves_nothing_behind(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(__file__, "LibriSpeech/split/file")
    for content in (b"not an archive", buffer.getvalue()[:-100]):
        (tmp_path / "a.tar.gz").write_bytes(content)
        with pytest.raises(DataError, match="a.tar.gz: cannot be unpacked"):
            _download.unpack(tmp_path / "a.tar.gz", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]
