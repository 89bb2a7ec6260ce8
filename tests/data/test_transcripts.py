"""Every format gives the same transcripts; malformed files are named with their line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_asr.data.transcripts import by_file_name, read_transcripts
from snn_asr.decoding.files.writers import record, render
from snn_asr.decoding.hypothesis import Hypothesis, Token
from snn_asr.errors import DataError

EXPECTED = {"spk/a-1": "hello big world", "b": "", "c": "naïve (so to say) words"}
MANIFEST = {identifier: {"wav": "x.wav", "duration": 1.0, "text": text} for identifier, text in EXPECTED.items()}
RECORDS = [{"id": identifier, "text": text} for identifier, text in EXPECTED.items()]
FILES = {
    "manifest.json": json.dumps(MANIFEST, indent=2),
    "compact.json": json.dumps(MANIFEST),
    "list.json": json.dumps(RECORDS),
    "lines.json": "".join(json.dumps(entry) + "\n" for entry in RECORDS),
    "lines.jsonl": "\n\n".join(json.dumps(entry) for entry in RECORDS),
    "hypotheses.trn": ";; a comment\nhello big world (spk/a-1)\n(b)\nnaïve (so to say) words   (c)\n\n",
    "trn_by_content": "hello big world (spk/a-1)\n (b)\nnaïve (so to say) words (c)",
    "text": "spk/a-1 hello big world\nb\nc  naïve (so to say) words \n",
    "hypotheses.txt": "\ufeffspk/a-1\thello big world\r\nb \r\nc naïve (so to say) words\r\n",
    "hypotheses.ctm": (
        ";; a comment\nspk/a-1 1 0.50 0.20 big 0.9\nspk/a-1 1 0.10 0.30 hello 0.8\nspk/a-1 1 0.70 .2 world\n"
        "c A 0 0.1 naïve 1.0 lex\nc A 1e-1 0.1 (so\nc A 0.2 0.1 to\nc A 0.2 0.1 say)\nc A 0.9 0.1 words 0.5\n"
    ),
    "spk.trans.txt": "spk/a-1 hello big world\nb\nc naïve (so to say) words\n",
}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("utf-8"))
    return path


@pytest.mark.parametrize("name", FILES)
def test_formats(tmp_path, name):
    transcripts = read_transcripts(write(tmp_path / name, FILES[name]))
    expected = {identifier: text for identifier, text in EXPECTED.items() if text or not name.endswith(".ctm")}
    assert transcripts == expected, "and silence has no line in a ctm"
    assert list(transcripts) == list(expected)


def test_folder_of_texts(tmp_path):
    write(tmp_path / "spk" / "a-1.txt", "hello\nbig  world\n")
    write(tmp_path / "b.txt", "")
    write(tmp_path / "b.json", "ignored beside .txt")
    write(tmp_path / "x" / "x.trans.txt", "c naïve (so to say) words\n")
    assert read_transcripts(tmp_path) == EXPECTED


@pytest.mark.parametrize("name", ["ctm", "best.ctm"])
def test_ctm_files(tmp_path, name):
    path = write(tmp_path / name, "u1 1 0.00 0.24 no 0.99\nu1 1 0.24 0.5 yes\n")
    assert read_transcripts(path) == {"u1": "no yes"}


def test_paths_lose_their_folders_where_that_gives_known_ids():
    mirrored = {"84/121/84-121-0": "one", "84/121/84-121-1": "two"}
    assert by_file_name(mirrored, {"84-121-0", "84-121-1", "84-121-2"}) == {"84-121-0": "one", "84-121-1": "two"}
    for known in ({"84-121-0"}, {"84/121/84-121-0", "84-121-0", "84-121-1"}, set()):
        assert by_file_name(mirrored, known) == mirrored
    assert by_file_name({"a/x": "one", "b/x": "two"}, {"x"}) == {"a/x": "one", "b/x": "two"}


def test_sides_of_a_decoded_test_set(tmp_path):
    content = {"a": {"speaker": "x", "reference": "one two", "hypothesis": "one"}}
    path = write(tmp_path / "test.json", json.dumps(content))
    assert read_transcripts(path) == {"a": "one two"}
    assert read_transcripts(path, side="hypothesis") == {"a": "one"}


@pytest.mark.parametrize("format", ["txt", "trn", "json", "ctm", "srt", "vtt"])
def test_folder_of_decoded_files(tmp_path, format):
    for identifier, text in EXPECTED.items():
        tokens = tuple(Token(word, index, index + 1, 0.5) for index, word in enumerate(text.split()))
        write(tmp_path / f"{identifier}.{format}", render(Hypothesis(identifier, text, tokens, 9.0), format))
    assert read_transcripts(tmp_path) == EXPECTED


def test_phones_of_a_manifest(tmp_path):
    manifest = {
        "a": {"text": "he", "phones": [["hh", 0.1], ["iy", 0.3]]},
        "b": {"text": "sh iy", "phones": None},
        "c": {"text": "aa"},
    }
    path = write(tmp_path / "test.json", json.dumps(manifest))
    assert read_transcripts(path, "phone") == {"a": "hh iy", "b": "sh iy", "c": "aa"}
    assert read_transcripts(path)["a"] == "he"


IDS = st.text("abcxyz019-_/.", min_size=1, max_size=8)
TEXTS = st.lists(st.text("abc'()é☃", min_size=1, max_size=6), max_size=5).map(" ".join)


@settings(max_examples=40)
@given(st.dictionaries(IDS, TEXTS, min_size=1, max_size=6))
def test_written_ctm_reads_back(tmp_path_factory, transcripts):
    content = ""
    for identifier, text in transcripts.items():
        tokens = tuple(Token(word, 0.3 * i, 0.3 * i + 0.1, 0.5) for i, word in enumerate(text.split()))
        content += render(Hypothesis(identifier, text, tokens, 9.0), "ctm")
    path = write(tmp_path_factory.mktemp("round") / "all.ctm", content)
    spoken = {identifier: text for identifier, text in transcripts.items() if text}
    if spoken:
        assert read_transcripts(path) == spoken
    else:
        with pytest.raises(DataError, match="no transcripts"):
            read_transcripts(path)


@settings(max_examples=40)
@given(st.dictionaries(IDS, TEXTS, min_size=1, max_size=6))
def test_written_files_read_back(tmp_path_factory, transcripts):
    folder = tmp_path_factory.mktemp("round")
    hypotheses = [Hypothesis(identifier, text, (), 1.0) for identifier, text in transcripts.items()]
    trn = write(folder / "all.trn", "".join(render(hypothesis, "trn") for hypothesis in hypotheses))
    lines = write(folder / "all.jsonl", "".join(json.dumps(record(hypothesis)) + "\n" for hypothesis in hypotheses))
    assert read_transcripts(trn) == transcripts
    assert read_transcripts(lines) == transcripts


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.trn", "one (a)\ntwo\n", r"a\.trn:2: not of the form 'text \(id\)'"),
        ("a.trn", "one (a)\n\ntwo (a)\n", r"a\.trn:3: utterance 'a' is there twice"),
        ("a.trn", "one (a b)\n", r"a\.trn:1: not of the form"),
        ("text", "a one\nb two\na three\n", r"text:3: utterance 'a' is there twice"),
        ("text", "\n\n", "text: no transcripts"),
        ("a.jsonl", '{"id": "a", "text": "x"}\n{"id": "b"\n', r"a\.jsonl:2: not valid JSON"),
        ("a.json", '{"id": "a", "text": "x"}\n{"id": "b"}\n', r"a\.json:2: no 'text'"),
        ("a.json", '[{"id": "a", "text": "x"}, 3]', r"a\.json: record 2: not an object"),
        ("a.json", '{"a": {"wav": "a.wav"}}', r"a\.json: entry 'a': no 'text'"),
        ("a.json", '{"a": {"text": "x"},\n', r"a\.json: not valid JSON .*line 2"),
        ("a.json", "3", r"a\.json: record 1: not an object"),
        ("a.json", '{"a": 3}', r"a\.json: entry 'a': not an object"),
        ("a.json", '[{"text": "x"}]', r"a\.json: record 1: not an object with an 'id'"),
        ("a.ctm", "a 1 0.1 0.2 one\na 1 0.1 0.2\n", r"a\.ctm:2: not of the form 'id channel start duration word'"),
        ("a.ctm", "a 1 * * <ALT_BEGIN>\n", r"a\.ctm:1: not of the form .*without alternatives"),
        ("a.ctm", "a 1 nan 0.1 one\n", r"a\.ctm:1: not of the form"),
        ("a.ctm", "a A 0 1 one\n;; x\na B 1 1 two\n", r"a\.ctm:3: utterance 'a' has channels A and B"),
        ("a.json", "{}", r"a\.json: no transcripts"),
    ],
)
def test_malformed_files(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message):
        read_transcripts(write(tmp_path / name, content))


def test_malformed_phones(tmp_path):
    path = write(tmp_path / "a.json", '{"a": {"text": "x", "phones": ["hh", "i"]}}')
    with pytest.raises(DataError, match="entry 'a': 'phones' are not pairs"):
        read_transcripts(path, "phone")


def test_unreadable(tmp_path):
    with pytest.raises(DataError, match="no such file or directory"):
        read_transcripts(tmp_path / "absent.trn")
    with pytest.raises(DataError, match="no such file"):
        read_transcripts(tmp_path / "absent.json")
    with pytest.raises(DataError, match="no transcripts"):
        read_transcripts(tmp_path)
    (tmp_path / "text").write_bytes(b"a caf\xe9\n")
    with pytest.raises(DataError, match=r"not UTF-8 text \(byte 5\)"):
        read_transcripts(tmp_path / "text")


def test_librispeech_folder(shared_data):
    folder = shared_data / "LibriSpeech" / "dev-clean"
    transcripts = read_transcripts(folder)
    recordings = {path.stem for path in folder.rglob("*.flac")}
    assert recordings and recordings <= transcripts.keys()
    assert all(text and text == text.upper() for text in transcripts.values())


def test_a_list_of_failures_in_a_folder_is_no_transcript_and_is_named(tmp_path):
    write(tmp_path / "a.json", '{"id": "a", "text": "one"}')
    write(tmp_path / "errors.json", '{"in/bad.wav": "not readable as audio", "in/worse.wav": "no such file"}')
    transcripts = read_transcripts(tmp_path)
    assert transcripts == {"a": "one"}
    assert transcripts.notes == [f"{tmp_path / 'errors.json'}: no transcript, but a list of 2 inputs that failed"]
    write(tmp_path / "errors.json", "{}")
    assert read_transcripts(tmp_path).notes == []
    write(tmp_path / "errors.json", '{"id": "errors", "text": "two"}')
    assert read_transcripts(tmp_path) == {"a": "one", "errors": "two"}


def test_what_a_folder_holds_beside_is_counted_and_named(tmp_path):
    write(tmp_path / "a.txt", "one")
    write(tmp_path / "a.srt", "1\n00:00:00,000 --> 00:00:01,000\none\n")
    assert read_transcripts(tmp_path).notes == []
    write(tmp_path / "sub" / "b.trn", "two (b)")
    assert read_transcripts(tmp_path).notes == [f"{tmp_path}: only its .txt files are read, not 1 others (sub/b.trn)"]


OTHER_FORMATS = {
    "a.stm": ";; LABEL\nu1 A s 2.00 3.00 <o,f0> big world\nu1 A s 0.0 2.0 <o> hello\nu2 A s 0.00 1.00\n",
    "a.csv": 'ID,duration,wav,spk_id,wrd\nu1,1.0,x.wav,s,"hello big  world"\nu2,1.0,y.wav,s,\n',
    "a.tsv": "client_id\tpath\tsentence\ns\tclips/u1.mp3\thello big world\ns\tclips/u2.mp3\t\n",
    "decoded": "u1\thello big world\nu2\t\n".replace("u2\t", "u2"),
}


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_other_formats(tmp_path, name):
    assert read_transcripts(write(tmp_path / name, OTHER_FORMATS[name])) == {"u1": "hello big world", "u2": ""}


def test_subtitles(tmp_path):
    srt = "1\n00:00:00,500 --> 00:00:02,000\n<i>hello</i> big\nworld\n\n2\n00:00:03,000 --> 00:00:04,000\nagain\n"
    assert read_transcripts(write(tmp_path / "talk.srt", srt)) == {"talk": "hello big world again"}
    vtt = "WEBVTT\n\nNOTE by hand\n\nfirst\n00:01.000 --> 00:02.000 align:left\n<v Ann>a &amp; b\n"
    assert read_transcripts(write(tmp_path / "talk.vtt", vtt)) == {"talk": "a & b"}


def test_ids_with_spaces_stand_before_a_tab(tmp_path):
    path = write(tmp_path / "decoded", "my file\tone two\nother file\tthree\n")
    assert read_transcripts(path) == {"my file": "one two", "other file": "three"}


@pytest.mark.parametrize("lines", [["u1 one two (noise)", "u2 three (laugh)"], ["u1 one (noise)", "u2 two (noise)"]])
def test_kaldi_texts_that_end_in_parentheses_are_no_trn(tmp_path, lines):
    assert list(read_transcripts(write(tmp_path / "hyp", "\n".join(lines)))) == ["u1", "u2"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("hyp.txt", "u1 one (s1-1)\nu2 two (s1-2)\n", "may be 'text \\(id\\)' as well as 'id text'"),
        ("hyp.txt", "a 1 0.0 0.5 one\nb 1 0.6 0.5 two\n", "looks like ctm"),
        ("ref.txt", "a 1 s1 0.00 2.00 <o> one two\n", "looks like stm"),
        ("ref.txt", "ID,duration,wav,wrd\na,1.0,a.wav,one two\n", "looks like csv"),
        ("ref.txt", "1\n00:00:00,000 --> 00:00:01,000\none\n", "looks like srt"),
        ("ref.mlf", '#!MLF!#\n"*/a.lab"\none\n.\n', "no format of transcripts"),
        ("a.csv", "a,b\nc,d\n", "a.csv:1: has no column of ids"),
        ("a.csv", "id,b\nc,d\n", "a.csv:1: has no column of texts"),
        ("a.csv", "id,text\nc,d,e\n", "a.csv:2: 3 fields, not 2"),
        ("a.stm", "a 1 s 0.0 2.0 ignore_time_segment_in_scoring\n", "a.stm:1: a segment of IGNORE"),
        ("a.stm", "a 1 s x 2.0 one\n", "a.stm:1: not of the form"),
        ("a.srt", "one two\n", "no times"),
        ("a.json", '{"u1": {"text": "a"}, "u1": {"text": "b"}}', "'u1' is there twice"),
    ],
)
def test_what_is_not_read_is_refused_in_a_line(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message):
        read_transcripts(write(tmp_path / name, content))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["manifest.json", "lines.jsonl", "text", "hypotheses.trn", "hypotheses.ctm"])
def test_marks_of_byte_order_are_understood(tmp_path, name, encoding):
    plain = read_transcripts(write(tmp_path / name, FILES[name]))
    (tmp_path / name).write_bytes(FILES[name].encode(encoding))
    assert read_transcripts(tmp_path / name) == plain
