"""Reading references and hypotheses, as texts by utterance id, from any of the usual """

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path

from snn_asr.data.transcripts.format_detection import text_parser
from snn_asr.data.transcripts.json_formats import is_json, json_entries, transcript_of
from snn_asr.data.transcripts.line_formats import Parser, nist_id, parse_ctm, parse_kaldi, parse_stm, parse_trn
from snn_asr.data.transcripts.lines import Utterance, located_lines
from snn_asr.data.transcripts.recordings import by_ending
from snn_asr.data.transcripts.subtitles import subtitle_text
from snn_asr.data.transcripts.tables import parse_table
from snn_asr.errors import DataError, describing
from snn_asr.files import is_half, read_json, read_text, require_regular

FOLDER_SUFFIXES = (".txt", ".trn", ".json", ".ctm", ".stm", ".srt", ".vtt", ".csv", ".tsv")
MARKED_SUFFIXES = (".trn", ".stm")
_ERRORS = re.compile(r"errors.*\.json")  # in which decode lists the inputs that failed
EARLIER = "as an earlier call wrote it"  # in such a list, of a transcript that an input has which failed since
_SHOWN = 3
_TIMIT_TEXT = re.compile(r"0 \d{4,} [^\W\d]")  # as in "0 46797 She had your dark suit ..."


class Transcripts(dict[str, str]):
    """Texts by utterance id, in the order of the file. Both are in Unicode's composed form (NFC).

    ``marked`` says whether texts may hold NIST's marks: alternatives ``{ a / b }``, and words ``(uh)`` that may be left
    out. ``notes`` are lines about files that were found but not read.
    """

    def __init__(self, marked: bool = False) -> None:
        super().__init__()
        self.marked = marked
        self.notes: list[str] = []


def read_transcripts(path: str | Path, unit: str = "word", side: str = "reference") -> Transcripts:
    """The transcripts of a file or folder, whose name tells the format.

    - ``.json``, ``.jsonl``: a manifest (id to an object with ``text``), or one object, a list or lines of objects
      with ``id`` and ``text``; where ``unit`` is "phone" and the manifest has ``phones``, these instead of the text.
      Objects with ``reference`` and ``hypothesis`` instead, as in a run's test.json, give the one ``side`` names
    - ``.trn``: ``text (id)``, as NIST's sclite reads it
    - ``.ctm``, ``.stm``, or files named ctm and stm: NIST's lines of words, and of segments, put in the order of time
    - ``.srt``, ``.vtt``: subtitles of one utterance, whose id is the file's name without suffix
    - ``.csv``, ``.tsv``: tables with a line of column names, among them ``id`` and ``text`` or their usual likes
    - any other file: ``id text``, as Kaldi's ``text`` and LibriSpeech's ``.trans.txt``, or trn where only that fits
    - a folder, searched with all below it, for files of the first suffix of FOLDER_SUFFIXES that it has. ``.txt`` files
      are one utterance each (but ``.trans.txt`` files are as above); the id of a file that is one utterance is its path
      in the folder without the suffix. What decode writes is such a folder; its errors.json is no transcript

    Raises DataError, with the line where there is one, for what is missing, malformed, of a format that is not read, or
    there twice.
    """
    path = Path(path)
    if path.is_dir():
        transcripts = _read_folder(path, unit, side)
    else:
        utterances, marked = _read_file(path, unit, side)
        transcripts = Transcripts(marked)
        _add(transcripts, utterances)
    if not transcripts:
        raise DataError("no transcripts", path, "check that this is the file or folder you mean")
    return transcripts


def by_file_name(transcripts: dict[str, str], known: Container[str]) -> dict[str, str]:
    """The transcripts with ids without folders, if all ids are then ``known`` and different.

    So a folder that mirrors a corpus can be scored with the corpus' own ids. Otherwise nothing is changed.
    """
    if any(identifier in known for identifier in transcripts):
        return transcripts
    named = {identifier.rpartition("/")[2]: text for identifier, text in transcripts.items()}
    return named if len(named) == len(transcripts) and all(name in known for name in named) else transcripts


def by_recording(transcripts: dict[str, str], known: Container[str], recordings: Mapping[str, Path]) -> dict[str, str]:
    """The transcripts with the ids of the utterances whose recordings they are called by, if all are and none of their
    ids is ``known``.

    So what was decoded can be scored with a manifest in which files are not called by the ids.
    """
    ids = by_ending(transcripts, recordings)
    if len(set(ids.values())) < len(transcripts) or any(identifier in known for identifier in transcripts):
        return transcripts
    return {ids[name]: text for name, text in transcripts.items()}


def _add(transcripts: Transcripts, utterances: Iterable[Utterance]) -> None:
    for written, text, where in utterances:
        identifier = unicodedata.normalize("NFC", written)
        if identifier in transcripts:
            raise DataError(f"utterance '{identifier}' is there twice", where, "keep one of them")
        transcripts[identifier] = unicodedata.normalize("NFC", text)


def _read_folder(folder: Path, unit: str, side: str) -> Transcripts:
    found = sorted(_files(folder))
    failures = {path: errors for path in found if (errors := _failures(path)) is not None}
    files = [path for path in found if path not in failures]
    suffix = next((each for each in FOLDER_SUFFIXES if any(path.suffix.lower() == each for path in files)), None)
    transcripts = Transcripts(suffix in MARKED_SUFFIXES)
    for path, errors in failures.items():
        earlier = sum(EARLIER in each for each in errors)
        counted = f"; of {earlier} a transcript is counted, {EARLIER}" if earlier else ""
        if errors:
            transcripts.notes.append(f"{path}: no transcript, but a list of {len(errors)} inputs that failed{counted}")
    read = [path for path in files if path.suffix.lower() == suffix]
    for path in read:
        _add(transcripts, _read_one(path, folder, unit, side))
    whole = {path.with_suffix("") for path in read}
    others = [each for each in files if each.suffix.lower() in FOLDER_SUFFIXES and each.suffix.lower() != suffix]
    others = [each for each in others if each.with_suffix("") not in whole]
    if others:
        more = ", ..." if len(others) > _SHOWN else ""
        names = ", ".join(str(each.relative_to(folder)) for each in others[:_SHOWN]) + more
        transcripts.notes.append(f"{folder}: only its {suffix} files are read, not {len(others)} others ({names})")
    return transcripts


def _read_one(path: Path, folder: Path, unit: str, side: str) -> Iterator[Utterance]:
    """The utterances of a file in a folder. If the file is a single utterance, its path is the id."""
    with describing(path):
        require_regular(path)
    own = path.relative_to(folder).with_suffix("").as_posix()
    suffix = path.suffix.lower()
    if suffix == ".txt" and not path.name.endswith(".trans.txt"):
        text = " ".join(read_text(path).split())
        if _TIMIT_TEXT.match(text):
            raise DataError("begins with the samples that TIMIT's sentences last", path, "take the words alone")
        yield own, text, str(path)
        return
    utterances = list(_read_file(path, unit, side)[0])
    if suffix in (".srt", ".vtt") or (suffix == ".ctm" and not utterances):
        yield own, utterances[0][1] if utterances else "", str(path)
    elif len(utterances) == 1 and utterances[0][0] == nist_id(own):
        yield own, *utterances[0][1:]
    else:
        yield from utterances


def _read_file(path: Path, unit: str, side: str) -> tuple[Iterable[Utterance], bool]:
    """The utterances of a file, and whether their texts hold NIST's marks."""
    if is_json(path):
        entries = json_entries(path)
        return ((name, transcript_of(entry, unit, side, where), where) for name, entry, where in entries), False
    suffix = path.suffix.lower() or f".{path.name.lower()}"
    if suffix in (".csv", ".tsv"):
        return parse_table(path, unit), False
    if suffix in (".srt", ".vtt"):
        return [(path.stem, subtitle_text(path), str(path))], False
    lines = located_lines(path)
    parser: Parser
    parsers: dict[str, Parser]
    parsers = {".trn": parse_trn, ".ctm": parse_ctm, ".stm": parse_stm}
    if path.name == "text" or path.name.endswith(".trans.txt"):
        parser = parse_kaldi
    else:
        parser = parsers.get(suffix) or text_parser(path, lines)
    return parser(lines), parser in (parse_trn, parse_stm)


def _failures(path: Path) -> list[str] | None:
    """What went wrong with each input of a list that decode has written; None for any other file."""
    if not _ERRORS.fullmatch(path.name):
        return None
    value = read_json(path, file_names=True)
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        return None
    return None if value.keys() >= {"id", "text"} else list(value.values())


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder, through links, but for halves of files and what macOS leaves beside them ("._a.txt").

    Raises DataError for a folder that cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"cannot be read ({error.strerror})", error.filename, "change its permissions") from error

    seen = set()
    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        if os.path.realpath(parent) in seen:  # a link back
            folders.clear()
            continue
        seen.add(os.path.realpath(parent))
        yield from (Path(parent) / name for name in names if not (name.startswith("._") or is_half(name)))
