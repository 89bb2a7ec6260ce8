"""Many files: mirrored outputs, errors collected, what is done is skipped by content."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from tones import RATE_HZ, speak

import snn_asr
from snn_asr.data.audio import write_audio
from snn_asr.data.transcripts import read_transcripts
from snn_asr.decoding.files import output_folder
from snn_asr.decoding.files.decode_files import Outcome, decode_files
from snn_asr.decoding.files.named_files import find_files
from snn_asr.decoding.files.output_folder import ERRORS, JOURNAL, of_other_settings
from snn_asr.decoding.files.writers import FORMATS, render
from snn_asr.errors import DataError
from snn_asr.files import read_json
from snn_asr.sharding import Shard, shard_files


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """Four good files in nested folders, a silent and a very short one."""
    folder = tmp_path / "audio"
    for index, name in enumerate(("one.wav", "two.flac", "sub/three.wav", "sub/deeper/four.wav")):
        write_audio(folder / name, speak(["low", "mid", "high"][: 1 + index % 3], index), RATE_HZ)
    write_audio(folder / "silent.wav", torch.zeros(8000), RATE_HZ)
    write_audio(folder / "short.wav", torch.zeros(10), RATE_HZ)
    return folder


def decode(
    recognizer, audio: Path, output: Path | None, formats=("txt",), shard: str | None = None
) -> tuple[Outcome, list, list[str]]:
    """The outcome, what was shown and the messages of failures."""
    shown, failures = [], []
    inputs, part = find_files([str(audio)]), Shard.parse(shard) if shard else None
    outcome = decode_files(
        recognizer, inputs, formats, output, shown.append, failures.append, part
    )
    return outcome, shown, failures


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_tree_is_mirrored_in_every_format(recognizer, audio, tmp_path):
    output = tmp_path / "out"
    outcome, shown, failures = decode(recognizer, audio, output, tuple(FORMATS))
    names = ["one", "two", "sub/three", "sub/deeper/four", "silent", "short"]
    expected = {f"{name}{suffix}" for name in names for suffix in FORMATS.values()}
    assert files_in(output) == expected | {JOURNAL, ERRORS}
    assert (outcome.decoded, outcome.skipped, outcome.errors, shown, failures) == (6, 0, {}, [], [])
    assert read_json(output / ERRORS) == {}
    for path, name in ((audio / "two.flac", "two"), (audio / "sub" / "deeper" / "four.wav", "sub/deeper/four")):
        hypothesis = recognizer.transcribe_batch([(name, recognizer.samples(path))])[0]
        for kind, suffix in FORMATS.items():
            assert (output / f"{name}{suffix}").read_text() == render(hypothesis, kind)
    assert (output / "silent.txt").read_text() == (output / "short.txt").read_text() == "\n"
    assert read_json(output / "silent.json")["text"] == ""


def test_without_a_folder_each_is_shown_in_order_and_nothing_written(recognizer, audio, tmp_path):
    before = files_in(tmp_path)
    outcome, shown, _ = decode(recognizer, audio, None)
    assert [each.id for each in shown] == [each.name for each in find_files([str(audio)]).files]
    assert outcome.decoded == 6 and files_in(tmp_path) == before
    assert outcome.audio_seconds == pytest.approx(sum(each.duration_seconds for each in shown))


def test_more_files_than_a_batch_are_all_decoded(recognizer, audio):
    for index in range(recognizer.batch_files + 3):
        write_audio(audio / f"more-{index:02}.wav", torch.zeros(100 * index), RATE_HZ)
    outcome, shown, _ = decode(recognizer, audio, None)
    assert outcome.decoded == len(shown) == recognizer.batch_files + 9


def test_failures_are_collected_and_the_rest_is_written(recognizer, audio, tmp_path):
    (audio / "broken.wav").write_text("no audio")
    (audio / "sub" / "cut.flac").write_bytes((audio / "two.flac").read_bytes()[:300])
    outcome, _, failures = decode(recognizer, audio, tmp_path / "out")
    broken = {str(audio / "broken.wav"), str(audio / "sub" / "cut.flac")}
    assert outcome.errors.keys() == broken == read_json(tmp_path / "out" / ERRORS).keys()
    assert outcome.decoded == 6 and len(failures) == 2
    assert all("\n" not in line and any(path in line for path in broken) for line in failures)
    assert not (tmp_path / "out" / "broken.txt").exists()
    assert outcome.line().startswith("6 transcribed, 2 failed, ")
    write_audio(audio / "broken.wav", torch.zeros(800), RATE_HZ)  # mended: the next call decodes it and it alone
    outcome, _, _ = decode(recognizer, audio, tmp_path / "out")
    assert (outcome.decoded, outcome.skipped, len(outcome.errors)) == (1, 6, 1)
    assert read_json(tmp_path / "out" / ERRORS).keys() == {str(audio / "sub" / "cut.flac")}


def test_only_failures_are_no_crash(recognizer, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "broken.wav").write_text("no audio")
    outcome, shown, _ = decode(recognizer, tmp_path / "in", None)
    assert (outcome.decoded, len(outcome.errors), shown) == (0, 1, [])
    assert outcome.line() == "0 transcribed, 1 failed"


def test_what_is_done_is_skipped_until_its_content_changes(recognizer, audio, tmp_path, monkeypatch):
    output = tmp_path / "out"
    assert decode(recognizer, audio, output)[0].decoded == 6
    text = (output / "one.txt").read_text()
    outcome = decode(recognizer, audio, output)[0]
    assert (outcome.decoded, outcome.skipped) == (0, 6)
    assert outcome.line() == "0 transcribed, 6 already done, 0 failed"
    os.utime(audio / "one.wav")  # a new time is no new content
    assert decode(recognizer, audio, output)[0].decoded == 0
    write_audio(audio / "one.wav", speak(["high", "mid", "high"], 9), RATE_HZ)
    assert decode(recognizer, audio, output)[0].decoded == 1
    assert (output / "one.txt").read_text() != text
    (output / "sub" / "three.txt").unlink()
    assert decode(recognizer, audio, output)[0].decoded == 1
    assert decode(recognizer, audio, output, ("txt", "json"))[0].decoded == 6  # json was never written
    assert decode(recognizer, audio, output, ("json", "txt"))[0].decoded == 0


def test_another_model_decodes_again(recognizer, gru_run, audio, tmp_path):
    assert decode(recognizer, audio, tmp_path / "out")[0].decoded == 6
    other = snn_asr.load_model(gru_run)
    assert decode(other, audio, tmp_path / "out")[0].decoded == 6
    assert decode(other, audio, tmp_path / "out")[0].skipped == 6


@pytest.mark.parametrize(
    ("number", "said"), [(errno.EACCES, "permission denied.; change"), (errno.EROFS, "read-only file system.; ")]
)
def test_a_folder_that_may_not_be_written_is_refused_at_once(number, said, recognizer, audio, tmp_path, monkeypatch):
    def refused(dir: Path) -> None:  # root may write nearly everywhere
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(output_folder, "TemporaryFile", refused)
    monkeypatch.setattr(recognizer, "recognize", lambda files: pytest.fail("recognised for nothing"))
    with pytest.raises(DataError, match=f"(?i){tmp_path}: cannot write .{said}"):
        decode(recognizer, audio, tmp_path)
    assert not (tmp_path / JOURNAL).exists() and not (tmp_path / ERRORS).exists()


def test_transcripts_of_another_model_are_known_by_the_journal(recognizer, gru_run, audio, tmp_path):
    output = tmp_path / "out"
    decode(recognizer, audio, output)
    decode(recognizer, audio, output, ("json",))
    assert of_other_settings(output) == of_other_settings(tmp_path) == of_other_settings(audio / "one.wav") == []
    decode(snn_asr.load_model(gru_run), audio / "sub", output / "sub")
    decode(snn_asr.load_model(gru_run), audio / "one.wav", output)
    assert set(of_other_settings(output)) == {"two", "sub/three", "sub/deeper/four", "silent", "short"}
    for name in ("two.txt", "two.json", "short.txt"):
        (output / name).unlink()
    assert set(of_other_settings(output)) == {"sub/three", "sub/deeper/four", "silent"}, "of short, only json is left"
    for path in (output / "one.txt", *(output / "sub").rglob("*.txt")):
        path.unlink()
    assert set(of_other_settings(output)) == set(), "what is left is of one model, though the newest was of another"
    (output / JOURNAL).write_text("notes of mine\n")
    assert of_other_settings(output) == []


def test_an_interrupted_call_goes_on_where_it_was(recognizer, audio, tmp_path, monkeypatch):
    append, calls = output_folder.append_json_line, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        append(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(output_folder, "append_json_line", interrupted)
        with pytest.raises(KeyboardInterrupt):
            decode(recognizer, audio, tmp_path / "out")
    journal = tmp_path / "out" / JOURNAL
    journal.write_bytes(journal.read_bytes() + '{"name": "sub/é'.encode()[:-1])  # cut short, within a letter
    outcome = decode(recognizer, audio, tmp_path / "out")[0]
    assert (outcome.decoded, outcome.skipped) == (3, 3)
    assert decode(recognizer, audio, tmp_path / "out")[0].skipped == 6
    names = [json.loads(line)["name"] for line in journal.read_text().splitlines()]
    assert sorted(names) == sorted(each.name for each in find_files([str(audio)]).files)


@pytest.mark.parametrize("line", ["{", "[]", "{}"])
def test_a_journal_that_is_none_is_one_line(line, recognizer, audio, tmp_path):
    (tmp_path / JOURNAL).write_text(f"{line}\n")
    with pytest.raises(DataError, match="damaged; remove it") as caught:
        decode(recognizer, audio, tmp_path)
    assert str(tmp_path / JOURNAL) in str(caught.value)


def without_journals(folder: Path) -> dict[str, bytes]:
    own = (JOURNAL, *(path.name for name in (JOURNAL, ERRORS) for path in shard_files(folder, name)))
    return {name: (folder / name).read_bytes() for name in files_in(folder) if name not in own}


def test_three_shards_write_what_an_undivided_run_writes(recognizer, audio, tmp_path):
    (audio / "broken.wav").write_text("no audio")
    (audio / "sub" / "broken.wav").write_text("no audio")
    whole, out = tmp_path / "whole", tmp_path / "out"
    decode(recognizer, audio, whole, tuple(FORMATS))
    outcomes = []
    for shard in ("2/3", "1/3", "3/3"):
        assert not (out / ERRORS).exists()  # not before all have ended
        outcomes.append(decode(recognizer, audio, out, tuple(FORMATS), shard)[0])
    assert sum(each.decoded for each in outcomes) == 6 and sum(len(each.errors) for each in outcomes) == 2
    assert [each.inputs for each in outcomes] == [3, 3, 2]
    assert without_journals(out).keys() == without_journals(whole).keys()
    assert read_json(out / ERRORS) == read_json(whole / ERRORS) != {}
    changed = [name for name, content in without_journals(whole).items() if without_journals(out)[name] != content]
    assert changed in ([], [ERRORS])  # whose order is another
    assert {path.name for path in out.glob("decoded*")} == {f"decoded-{number}-of-3.jsonl" for number in (1, 2, 3)}


def test_shards_of_any_number_and_an_undivided_run_skip_what_is_done(recognizer, gru_run, audio, tmp_path):
    out = tmp_path / "out"
    assert decode(recognizer, audio, out, shard="1/3")[0].decoded == 2
    assert decode(recognizer, audio, out, shard="1/2")[0].decoded + decode(recognizer, audio, out)[0].decoded == 4
    assert decode(recognizer, audio, out, shard="2/4")[0].skipped == 2
    other = snn_asr.load_model(gru_run)
    for shard, formats in (("1/2", ("txt",)), (None, ("txt",))):
        assert decode(other, audio, out, formats, shard)[0].decoded == 3
    assert decode(recognizer, audio, out, shard="1/3")[0].decoded == 2  # the other model's are there by now
    assert decode(other, audio, out)[0].decoded == 2


def test_one_shard_again_and_an_undivided_run_keep_the_list_of_errors_right(recognizer, audio, tmp_path):
    out, broken = tmp_path / "out", [audio / "broken.wav", audio / "sub" / "broken.wav"]
    for path in broken:
        path.write_text("no audio")
    for shard in ("1/2", "2/2"):
        decode(recognizer, audio, out, shard=shard)
    assert read_json(out / ERRORS).keys() == set(map(str, broken))
    names = sorted(each.name for each in find_files([str(audio)]).files)
    write_audio(broken[0], torch.zeros(800), RATE_HZ)
    assert decode(recognizer, audio, out, shard=f"{1 + names.index('broken') % 2}/2")[0].decoded == 1
    assert read_json(out / ERRORS).keys() == {str(broken[1])}
    assert decode(recognizer, audio, out)[0].skipped == 7
    assert read_json(out / ERRORS).keys() == {str(broken[1])} and shard_files(out, ERRORS) == []


def test_the_line_another_shard_is_writing_is_left_alone(recognizer, audio, tmp_path):
    decode(recognizer, audio, tmp_path, shard="1/2")
    journal = tmp_path / "decoded-1-of-2.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"name"')
    before = journal.read_bytes()
    assert decode(recognizer, audio, tmp_path, shard="2/2")[0].decoded == 3
    assert journal.read_bytes() == before
    assert decode(recognizer, audio, tmp_path, shard="1/2")[0].skipped == 3
    assert journal.read_bytes() + b'{"name"' == before


def test_errors_of_a_shard_that_ends_meanwhile_are_not_lost(recognizer, audio, tmp_path, monkeypatch):
    """The second shard ends after the first has read the lists of both and before it writes what they hold."""
    (audio / "broken.wav").write_text("no audio")  # the second of seven names: shard 1/2 has "broken" and three more
    write, ended = output_folder.write_json, []
    for shard in ("1/2", "2/2"):
        decode(recognizer, audio, tmp_path, shard=shard)
    (audio / "one.wav").write_text("no audio")
    names = sorted(each.name for each in find_files([str(audio)]).files)
    first, second = (f"{1 + names.index(name) % 2}/2" for name in ("broken", "one"))
    assert first != second

    def write_late(path, value):
        if path.name == ERRORS and not ended:
            ended.append(second)
            decode(recognizer, audio, tmp_path, shard=second)
        write(path, value)

    monkeypatch.setattr(output_folder, "write_json", write_late)
    decode(recognizer, audio, tmp_path, shard=first)
    assert ended and read_json(tmp_path / ERRORS).keys() == {str(audio / "broken.wav"), str(audio / "one.wav")}


def test_what_an_earlier_call_wrote_of_a_file_that_fails_now_is_named(recognizer, audio, tmp_path):
    out = tmp_path / "out"
    decode(recognizer, audio, out)
    path, written = audio / "one.wav", out / "one.txt"
    path.write_bytes(b"damaged since")
    outcome, _, failures = decode(recognizer, audio, out)
    assert written.is_file() and f"({written}: as an earlier call wrote it)" in failures[-1]
    assert str(written) in outcome.errors[str(path)]
    (note,) = read_transcripts(out).notes
    assert note.endswith("1 inputs that failed; of 1 a transcript is counted, as an earlier call wrote it")
    written.write_text("corrected by hand")
    _, _, failures = decode(recognizer, audio, out)
    assert "one.wav" in failures[-1] and "earlier call" not in failures[-1]
