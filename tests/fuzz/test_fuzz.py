"""Damaged files of every kind: only errors for the user come out of a loader, soon, and without much memory.

FUZZ_SECONDS is the time for each loader (``make fuzz``: 60); without it each gets a fraction of a second. What was
found once lies, made small, in ``found/``, named after its loader, and is tried every time.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fuzz.loaders import Loader, loaders
from snn_asr.errors import SnnAsrError

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0.3"))
LONGEST_SECONDS = 20  # for one file, on a machine that has other work
MOST_MEMORY_KB = 1 << 20
FOUND = Path(__file__).parent / "found"
EXAMPLES = 50  # of Hypothesis, between two looks at the clock
# What readers trip over: bounds of integers, nesting, marks of formats, halves of characters.
TOKENS = (
    b"", b"\0", b"\n", b"\r\n", b" ", b"\t", b'"', b"{", b"}", b"[", b"]", b"[" * 5000, b"{" * 60, b"/", b"@", b",",
    b":", b"-", b"-1", b"0", b"1e999", b"NaN", b"nan", b"inf", b"9" * 30, b"9" * 5000, b"\xff",
    b"\xef\xbb\xbf", b"\xff\xfe",
    b"\\ud800", b"null", b"true", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", b";;",
    b"-->", b"<unk>", b"\\data\\", b"ngram 9=9\n", b"!new:os.system", b"&a [*a]", b"? ", b"- ",
)
Change = tuple[int, int, bytes]
CHANGES = st.lists(
    st.tuples(st.integers(0, 1 << 20), st.integers(0, 40), st.sampled_from(TOKENS) | st.binary(max_size=8)), max_size=6
)


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Loader]:
    return {each.name: each for each in loaders(tmp_path_factory.mktemp("fuzz"))}


NAMES = (
    *(f"transcripts.{each}" for each in ("trn", "ctm", "stm", "srt", "vtt", "csv", "tsv", "json", "jsonl", "txt")),
    "manifest.json", "utt2spk", "lm.arpa", "any.json", "decoded.jsonl", "train.yaml",
    *(f"sound.{each}" for each in ("wav", "flac", "ogg", "au", "aiff", "sph", "w64", "mp3")),
    *(f"model-{each}" for each in ("config.json", "weights.safetensors", "tokens.json", "normalization.json")),
    "model-metrics.json", "model-checksums.json", "int4-config.json", "int4-weights.safetensors",
)


def test_every_loader_is_named(every: dict[str, Loader]) -> None:
    assert set(every) - {"model-recipe.yaml"} == set(NAMES)


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_errors_for_the_user(name: str, every: dict[str, Loader], tmp_path: Path) -> None:
    loader = every[name]
    path = tmp_path / name.removeprefix("model-").removeprefix("int4-")
    for content in loader.seeds:
        path.write_bytes(content)
        loader.load(path)
    end, number = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        _some_examples(loader, path, end, number)
        number += 1


def _some_examples(loader: Loader, path: Path, end: float, number: int) -> None:
    health = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    phases = [Phase.generate, Phase.shrink]

    @seed(number)
    @settings(max_examples=EXAMPLES, database=None, phases=phases, suppress_health_check=health)
    @given(st.sampled_from(loader.seeds), CHANGES)
    def attempt(content: bytes, changes: list[Change]) -> None:
        if time.monotonic() < end:
            _load(loader.load, path, damaged(content, changes))

    attempt()


@pytest.mark.parametrize("path", sorted(FOUND.glob("*")), ids=lambda path: path.name)
def test_what_was_found_once_is_an_error_for_the_user(path: Path, every: dict[str, Loader], tmp_path: Path) -> None:
    name = path.name.partition("@")[2]
    _load(every[name].load, tmp_path / name.removeprefix("model-").removeprefix("int4-"), path.read_bytes())


def damaged(content: bytes, changes: list[Change]) -> bytes:
    """``content`` after changes: at a place (modulo the length) so many bytes are replaced by others."""
    for place, length, other in changes:
        start = place % (len(content) + 1)
        content = content[:start] + other + content[start + length :]
    return content


def _load(load: Callable[[Path], object], path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with _limited():
        try:
            load(path)
        except SnnAsrError as error:
            assert len(str(error)) < 20_000


@contextmanager
def _limited() -> Iterator[None]:
    """The block must end within LONGEST_SECONDS, and the process stay below MOST_MEMORY_KB more than it had."""

    def late(_signal: int, _frame: object) -> None:
        raise AssertionError(f"no end within {LONGEST_SECONDS} s")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    handler = signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY_KB
