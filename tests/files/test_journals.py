"""Journals: what a killed process left of its last line is no line."""

from __future__ import annotations

import pytest

from snn_asr.errors import DataError
from snn_asr.files.journals import mend_journal, read_journal


def test_a_line_that_was_cut_short_is_not_read_and_is_taken_out_by_its_writer_alone(tmp_path):
    journal = tmp_path / "journal.jsonl"
    assert read_journal(journal) == []
    mend_journal(journal)
    assert not journal.exists()
    whole, cut = b'{"name": "a"}\n{"name": "b"}\n', '{"name": "é'.encode()[:-1]
    journal.write_bytes(whole + cut)
    assert read_journal(journal) == [{"name": "a"}, {"name": "b"}]
    assert journal.read_bytes() == whole + cut
    mend_journal(journal)
    assert journal.read_bytes() == whole
    journal.write_bytes(cut)
    mend_journal(journal)
    assert journal.read_bytes() == b""
    journal.write_bytes(cut + b"\n" + whole)
    with pytest.raises(DataError, match="journal.jsonl: damaged; remove it"):
        read_journal(journal)
