"""LibriSpeech's archives from a local server: fetched once, continued where a download broke, refused when damaged."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy
import pytest
from librispeech_tree import MINUTES, SHAPES, write_small

from snn_asr.corpora import download, librispeech
from snn_asr.corpora.librispeech import Published, prepare
from snn_asr.errors import DataError, UsageError


@pytest.fixture
def small(monkeypatch, tmp_path) -> Path:
    return write_small(tmp_path, monkeypatch)


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
    monkeypatch.setattr(download, "_PAUSES_SECONDS", (0, 0))
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
    with pytest.raises(DataError, match="no folder train-clean-100, dev-clean, test-clean; .*--download"):
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
    download.fetch(f"{server.address}/file", tmp_path / "file", checksum)
    assert [wanted for _, wanted in server.asked] == ["bytes=700-", "bytes=2700-", "bytes=4700-"]
    assert (tmp_path / "file").read_bytes() == content and not (tmp_path / "file.part").exists()
    download.fetch(f"{server.address}/file", tmp_path / "file", checksum)
    assert len(server.asked) == 3


def test_a_download_that_was_killed_before_its_last_step(server, tmp_path):
    content, checksum = content_and_sum(server)
    (tmp_path / "file.part").write_bytes(content)
    download.fetch(f"{server.address}/file", tmp_path / "file", checksum)
    assert (tmp_path / "file").read_bytes() == content


def test_a_server_that_knows_no_ranges_starts_from_the_beginning(server, tmp_path):
    content, checksum = content_and_sum(server)
    server.ranges = False
    (tmp_path / "file.part").write_bytes(b"x" * 100)
    download.fetch(f"{server.address}/file", tmp_path / "file", checksum)
    assert (tmp_path / "file").read_bytes() == content


def test_downloads_that_fail_say_so(server, tmp_path):
    _, checksum = content_and_sum(server)
    with pytest.raises(DataError, match="not the published 0000.*thrown away"):
        download.fetch(f"{server.address}/file", tmp_path / "file", "0" * 64)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="status 404"):
        download.fetch(f"{server.address}/absent", tmp_path / "file", checksum)
    server.most = 0
    with pytest.raises(DataError, match="the connection broke.*continues where it stopped"):
        download.fetch(f"{server.address}/file", tmp_path / "file", checksum)
    with pytest.raises(UsageError, match="not the address of a web server"):
        download.fetch("file:///etc/hosts", tmp_path / "file", checksum)
    (tmp_path / "own").write_bytes(b"not it")
    with pytest.raises(DataError, match="own: its SHA-256 is .*remove it"):
        download.fetch(f"{server.address}/file", tmp_path / "own", checksum)
    assert (tmp_path / "own").read_bytes() == b"not it"


def test_a_damaged_archive_leaves_nothing_behind(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(__file__, "LibriSpeech/split/file")
    for content in (b"not an archive", buffer.getvalue()[:-100]):
        (tmp_path / "a.tar.gz").write_bytes(content)
        with pytest.raises(DataError, match="a.tar.gz: cannot be unpacked"):
            download.unpack(tmp_path / "a.tar.gz", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]
