"""TIMIT's protocol on generated trees, of full shape and small, and on the real sample."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
from pathlib import Path

import numpy
import pytest
import torch

from snn_asr import corpora
from snn_asr.cli.options import parse_overrides
from snn_asr.corpora.prepared_folder import LOCK
from snn_asr.corpora.timit import prepare, standard_speakers
from snn_asr.data.audio import read_audio, write_audio
from snn_asr.data.manifest import check_disjoint, find_manifests, read_manifest
from snn_asr.data.tokens import build_tokens
from snn_asr.errors import DataError, UsageError
from snn_asr.sharding import Shard

SENTENCES = ("SA1", "SA2", "SI501", "SI1131", "SI1761", "SX51", "SX141", "SX231", "SX321", "SX411")
MARKS = {
    "PHN": "0 40 h#\n40 90 sh\n90 130 q\n130 160 ix\n",
    "WRD": "40 90 she\n90 160 had\n",
    "TXT": "0 160 She had.\n",
}
LEVELS = numpy.arange(-80, 80, dtype="<i2") * 400

# By region, two men and a woman each, as the corpus' documentation prints them.
CORE_TEST = """MDAB0 MWBT0 FELC0  MTAS1 MWEW0 FPAS0  MJMP0 MLNT0 FPKT0  MLLL0 MTLS0 FJLM0
    MBPM0 MKLT0 FNLP0  MCMJ0 MJDH0 FMGD0  MGRT0 MNJM0 FDHC0  MJLN0 MPAM0 FMLD0"""
DEVELOPMENT = """faks0 fdac1 fjem0 mgwt0 mjar0 mmdb1 mmdm2 mpdf0 fcmh0 fkms0 mbdg0 mbwm0 mcsh0 fadg0 fdms0 fedw0 mgjf0
    mglb0 mrtk0 mtaa0 mtdt0 mthc0 mwjg0 fnmr0 frew0 fsem0 mbns0 mmjr0 mdls0 mdlf0 mdvc0 mers0 fmah0 fdrw0 mrcs0 mrjm4
    fcal1 mmwh0 fjsj0 majc0 mjsw0 mreb0 fgjd0 fjmg0 mroa0 mteb0 mjfc0 mrjr0 fmml0 mrws1"""
FEW = {"TRAIN": ("FAEM0", "MARC0", "MABC0"), "TEST": ("FELC0", "FAKS0", "MABW0")}  # FELC0 core, FAKS0 development


def write_nist(path: Path, levels: numpy.ndarray) -> None:
    """NIST SPHERE 1.0 as on TIMIT's disc: a header of 1,024 bytes, then 16-bit samples, low byte first."""
    fields = [
        "database_id -s5 TIMIT", f"sample_count -i {len(levels)}", "sample_n_bytes -i 2", "channel_count -i 1",
        "sample_byte_format -s2 01", "sample_rate -i 16000", "sample_coding -s3 pcm", "sample_sig_bits -i 16",
        "end_head",
    ]
    header = "NIST_1A\n   1024\n" + "\n".join(fields) + "\n"
    path.write_bytes(header.encode("ascii").ljust(1024) + levels.astype("<i2").tobytes())


def write_riff(path: Path, levels: numpy.ndarray) -> None:
    write_audio(path.with_suffix(".wav"), torch.from_numpy(levels / 32768), 16000)
    path.with_suffix(".wav").rename(path)


def write_tree(
    folder: Path, speakers: dict[str, tuple[str, ...]], write=write_nist, case=str.upper, sentences=SENTENCES
) -> Path:
    """Every speaker reads all ``sentences``; every file is a link to one of its kind."""
    originals = folder / "originals"
    originals.mkdir(parents=True)
    for kind, text in MARKS.items():
        (originals / kind).write_text(text)
    write(originals / "WAV", LEVELS)
    for part, names in speakers.items():
        for number, speaker in enumerate(names):
            home = folder.joinpath(*map(case, ("TIMIT", part, f"DR{1 + number % 8}", speaker)))
            home.mkdir(parents=True)
            for sentence in sentences:
                for kind in ("WAV", *MARKS):
                    os.link(originals / kind, home / case(f"{sentence}.{kind}"))
    return folder


def splits(folder: Path) -> dict[str, dict]:
    return {split: read_manifest(path) for split, path in find_manifests(folder).items()}


def speakers_of(utterances: dict) -> set[str]:
    return {each.speaker for each in utterances.values()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> Path:
    return write_tree(tmp_path_factory.mktemp("few"), FEW)


def everybody() -> dict[str, tuple[str, ...]]:
    sets = standard_speakers()
    return {"TRAIN": tuple(sets["train"]), "TEST": (*sets["development"], *sets["core"], *sets["other"])}


def assert_customary(sets: dict[str, dict], sentences: int) -> None:
    counts = {split: len(each) for split, each in sets.items()}
    assert counts == {"train": 462 * sentences, "dev": 50 * sentences, "test": 24 * sentences}
    assert speakers_of(sets["dev"]) == set(DEVELOPMENT.upper().split())
    assert speakers_of(sets["test"]) == set(CORE_TEST.split())
    assert all("TRAIN" in each.wav.parts for each in sets["train"].values())
    assert not any("_SA" in name for each in sets.values() for name in each)
    check_disjoint(sets)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """All 630 speakers, 6,300 utterances."""
    return write_tree(tmp_path_factory.mktemp("whole"), everybody())


def test_all_speakers_with_one_sentence_give_the_customary_sets(tmp_path):
    corpus = write_tree(tmp_path / "corpus", everybody(), sentences=("SA1", "SX51"))
    prepare(corpus, tmp_path / "out", partial=True)
    assert_customary(splits(tmp_path / "out"), 1)


@pytest.mark.slow
def test_the_whole_corpus_gives_the_customary_sets(whole, tmp_path):
    summary = prepare(whole, tmp_path)
    assert {split: (each["utterances"], each["speakers"]) for split, each in summary.items()} == {
        "train": (3696, 462), "dev": (400, 50), "test": (192, 24),
    }
    assert_customary(splits(tmp_path), 8)


@pytest.mark.slow
def test_the_full_test_set_leaves_development_to_speakers_of_train(whole, tmp_path):
    summary = prepare(whole, tmp_path, test_set="full")
    counts = {split: (each["utterances"], each["speakers"]) for split, each in summary.items()}
    assert counts == {"train": (3512, 439), "dev": (184, 23), "test": (1344, 168)}
    sets = splits(tmp_path)
    assert speakers_of(sets["test"]) >= set(DEVELOPMENT.upper().split()) | set(CORE_TEST.split())
    assert all("TRAIN" in each.wav.parts for each in (*sets["train"].values(), *sets["dev"].values()))
    check_disjoint(sets)


def test_the_speakers_are_as_many_as_published():
    sets = standard_speakers()
    assert {name: len(each) for name, each in sets.items()} == {
        "train": 462, "development": 50, "core": 24, "other": 94,
    }
    speakers = {speaker for each in sets.values() for speaker in each}
    assert len(speakers) == 630 and sum(speaker[0] == "F" for speaker in speakers) == 192  # and 438 men
    assert all(re.fullmatch(r"[FM][A-Z]{3}\d", speaker) for speaker in speakers)


@pytest.mark.slow
def test_missing_speakers_and_sentences_are_listed_in_one_error_and_partial_accepts_them(whole, tmp_path, caplog):
    corpus = tmp_path / "corpus"
    for part in ("TRAIN", "TEST"):
        for folder in (whole / "TIMIT" / part).glob("*/*"):
            name = {"MZMB0": "FXYZ9"}.get(folder.name, folder.name)  # one speaker under a name that TIMIT has not
            if name not in ("FAEM0", "MRWS1"):
                (corpus / part / folder.parent.name).mkdir(parents=True, exist_ok=True)
                (corpus / part / folder.parent.name / name).symlink_to(folder)
    fewer = next(corpus.glob("TEST/*/FELC0"))
    sentences = list(fewer.resolve().glob("S[IX]*"))
    fewer.unlink()
    fewer.mkdir()
    for path in sentences:
        if path.stem != "SX51":
            (fewer / path.name).symlink_to(path)
    with pytest.raises(DataError) as caught:
        prepare(corpus, tmp_path / "out")
    assert str(caught.value) == (
        f"{corpus}: not as published: 3 of 630 speakers are missing: TEST/MRWS1, TRAIN/FAEM0, TRAIN/MZMB0; "
        "1 speakers have not 8 sentences SI and SX: TEST/FELC0 7; 1 speakers are not TIMIT's: TRAIN/FXYZ9; "
        "restore the corpus, or take it as it is with 'snn-asr prepare --partial'"
    )
    assert not (tmp_path / "out").exists()
    summary = prepare(corpus, tmp_path / "out", partial=True)
    assert {split: each["utterances"] for split, each in summary.items()} == {"train": 3688, "dev": 392, "test": 191}
    assert "3 of 630 speakers are missing: TEST/MRWS1, TRAIN/FAEM0, TRAIN/MZMB0" in caplog.text


def test_a_small_tree_is_incomplete_and_one_error_lists_who_is_missing(few, tmp_path):
    with pytest.raises(DataError) as caught:
        prepare(few, tmp_path / "out")
    first = "TEST/FADG0, TEST/FASW0, TEST/FAWF0, TEST/FCAL1"
    assert str(caught.value).startswith(f"{few}: not as published: 624 of 630 speakers are missing: {first}, ")
    assert re.search(r"(\bTEST/\w+, ){19}TEST/\w+ and 604 more; restore the corpus, .* --partial'$", str(caught.value))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", [str.upper, str.lower, str.title])
@pytest.mark.parametrize("write", [write_nist, write_riff])
def test_letter_cases_and_audio_formats_make_no_difference(case, write, few, tmp_path):
    corpus = write_tree(tmp_path / "corpus", FEW, write, case)
    prepare(corpus, tmp_path / "out", partial=True)
    utterances = splits(tmp_path / "out")
    assert {split: speakers_of(each) for split, each in utterances.items()} == {
        "train": set(FEW["TRAIN"]), "dev": {"FAKS0"}, "test": {"FELC0"},
    }
    assert list(utterances["dev"]) == [f"FAKS0_{each}" for each in sorted(SENTENCES) if each not in ("SA1", "SA2")]
    for utterance in utterances["test"].values():
        assert torch.equal(read_audio(utterance.wav), torch.from_numpy(LEVELS / 32768).float())
        assert (utterance.duration, utterance.text) == (0.01, "she had")
        assert utterance.phones == (("h#", 0.0025), ("sh", 0.005625), ("q", 0.008125), ("ix", 0.01))


def test_speakers_may_be_named_as_on_the_command_line(few, tmp_path):
    words = ["partial=true", "development_speakers=marc0,MABC0", "test_speakers=[mabw0]"]
    corpora.prepare("timit", few / "TIMIT", tmp_path, **parse_overrides(words))
    named = {split: speakers_of(each) for split, each in splits(tmp_path).items()}
    assert named == {"train": {"FAEM0"}, "dev": {"MARC0", "MABC0"}, "test": {"MABW0"}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partial": "yes"}, "partial=yes; must be true or false"),
        ({"test_set": "cor"}, "unknown test_set 'cor'; did you mean 'core'"),
        ({"development_speakers": "MARCO"}, "unknown speaker 'MARCO'; did you mean 'MARC0'"),
        ({"test_speakers": ""}, "must be ids apart by commas"),
        ({"test_speakers": 7}, "must be ids apart by commas"),
        ({"development_speakers": "FELC0"}, "both of development and of the test: FELC0"),
        ({"test_speakers": "FELC0", "test_set": "full"}, "give one of the two"),
        ({"test_speakers": "FAEM0,MARC0,MABC0"}, "no recordings for train; choose development_speakers"),
    ],
)
def test_options_that_cannot_work_are_named(options, message, few, tmp_path):
    with pytest.raises(UsageError) as caught:
        prepare(few, tmp_path / "out", **{"partial": True, **options})
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("WAV", "noise", "not readable as audio"),
        ("PHN", "0 40 h#\n40 90 shh\n", "'shh' is none of TIMIT's 61 phones"),
        ("PHN", "0 40 h#\n40 40 sh\n", "phone 'sh' ends at sample 40, not after 40"),
        ("PHN", "", "no marks"),
        ("WRD", "40 90\n", "not lines of first sample, end sample, label"),
        ("WRD", "40 end she\n", "not lines of first sample, end sample, label"),
        ("WRD", None, "no .PHN or .WRD beside 1 recordings"),
    ],
)
def test_damaged_marks_are_named_with_their_file(kind, text, message, tmp_path):
    corpus = write_tree(tmp_path / "corpus", FEW)
    path = corpus / "TIMIT" / "TRAIN" / "DR1" / "FAEM0" / f"SX51.{kind}"
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError) as caught:
        prepare(corpus, tmp_path / "out", partial=True)
    assert message in str(caught.value) and "FAEM0/SX51" in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_the_corpus(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DataError, match="no TRAIN or TEST with DR<n>/<speaker>/<sentence>.WAV"):
            prepare(folder, tmp_path / "out")
    with pytest.raises(UsageError, match="--data-folder"):
        prepare(None, tmp_path / "out")


def test_same_options_do_nothing_and_other_options_or_files_prepare_anew(tmp_path):
    def times() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in out.iterdir()}

    corpus, out = write_tree(tmp_path / "corpus", FEW), tmp_path / "out"
    summary = prepare(corpus, out, partial=True)
    before = times()
    assert prepare(corpus, out, partial=True) == summary and times() == before
    again = prepare(corpus, out, partial=True, test_speakers="MABW0,FELC0")
    assert again["test"] == {"utterances": 16, "hours": 0.0, "speakers": 2} and times() != before
    before = times()
    assert prepare(corpus, out, partial=True, test_speakers=["felc0", "mabw0"]) == again and times() == before
    words = corpus / "TIMIT" / "TEST" / "DR1" / "FELC0" / "SX51.WRD"
    words.unlink()
    words.write_text("40 160 corrected\n")
    prepare(corpus, out, partial=True, test_speakers="MABW0,FELC0")
    assert splits(out)["test"]["FELC0_SX51"].text == "corrected"


def test_in_six_folds_everybody_is_tested_once_and_nobody_is_in_two_sets(shared_data, tmp_path):
    tested, developed = [], []
    for number in range(1, 7):
        out = tmp_path / str(number)
        prepare(shared_data / "timit_sample", out, partial=True, fold=f"{number}/6")
        sets = splits(out)
        speakers = {name: speakers_of(each) for name, each in sets.items()}
        assert [len(speakers[name]) for name in ("train", "dev", "test")] == [8, 2, 2]
        assert len(set().union(*speakers.values())) == 12
        assert {each[0] for each in speakers["test"]} == {"F", "M"}
        tested += sorted(speakers["test"])
        developed += sorted(speakers["dev"])
    assert len(set(tested)) == len(tested) == 12 and sorted(developed) == sorted(tested)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fold": "7/6"}, "such as 2/6"), ({"fold": "1/2"}, "three folds or more"), ({"fold": "one"}, "such as 2/6"),
        ({"fold": "1/99"}, "the speakers there"), ({"fold": "1/3", "test_speakers": "MABW0"}, "give the fold alone"),
    ],
)
def test_folds_that_cannot_be_are_named(options, said, few, tmp_path):
    with pytest.raises(UsageError, match=said):
        prepare(few, tmp_path / "out", **{"partial": True, **options})


def test_shards_write_the_bytes_of_an_undivided_run(few, tmp_path):
    prepare(few, tmp_path / "out", partial=True)
    for number in (1, 2):
        prepare(few, tmp_path / "shards", partial=True, shard=Shard(number, 2))
    assert contents(tmp_path / "shards") == contents(tmp_path / "out")


def test_killed_in_mid_preparation_and_run_again_gives_the_right_result(few, tmp_path):
    other = {"partial": True, "test_speakers": "MABW0"}
    prepare(few, tmp_path / "right", **other)
    prepare(few, tmp_path / "out", partial=True)

    def prepare_until_killed() -> None:
        replace = os.replace

        def replace_or_die(source: Path, target: Path) -> None:
            if Path(target) == tmp_path / "out" / "test.json":
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)

        os.replace = replace_or_die
        prepare(few, tmp_path / "out", **other)

    process = multiprocessing.get_context("fork").Process(target=prepare_until_killed)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    lock, temporary, *written = sorted(contents(tmp_path / "out"))
    assert lock == LOCK and temporary.startswith(".test-") and written == ["dev.json", "prepared.json", "train.json"]
    prepare(few, tmp_path / "out", **other)
    assert contents(tmp_path / "out") == contents(tmp_path / "right")


@pytest.fixture(scope="module")
def sample(shared_data, tmp_path_factory) -> tuple[Path, dict]:
    """The real sample's folder, and its utterances by split."""
    folder, out = shared_data / "timit_sample", tmp_path_factory.mktemp("sample")
    prepare(folder, out, partial=True, development_speakers="FALR0,MARC0", test_speakers="FVMH0,MADD0,FBCG1")
    return folder, splits(out)


def test_the_real_sample_is_what_an_independent_reading_of_its_files_gives(sample):
    folder, sets = sample
    assert {split: len(each) for split, each in sets.items()} == {"train": 56, "dev": 16, "test": 24}
    utterances = {name: each for part in sets.values() for name, each in part.items()}
    files = [path for path in folder.glob("TRAIN/DR?/*/*.PHN") if not path.name.startswith("SA")]
    assert len(files) == len(utterances) == 96
    for path in files:
        utterance = utterances[f"{path.parent.name}_{path.stem}"]
        ends, labels = zip(*re.findall(rb"^\d+ (\d+) (\S+)\s*$", path.read_bytes(), re.MULTILINE), strict=True)
        assert len(ends) == path.read_bytes().count(b"\n")
        assert [label for label, _ in utterance.phones] == [label.decode() for label in labels]
        assert [round(end * 16000) for _, end in utterance.phones] == [int(end) for end in ends]
        sentence = path.with_suffix(".TXT").read_text().split(None, 2)[2].lower()
        assert utterance.text.split() == re.findall(r"[a-z']+", sentence)
        assert utterance.wav == path.with_suffix(".WAV")
        assert abs(utterance.duration - utterance.phones[-1][1]) < 0.5


def test_the_sample_without_options_asks_for_speakers(shared_data, tmp_path):
    with pytest.raises(DataError, match="618 of 630 speakers are missing: TEST/FADG0, .* and 598 more"):
        prepare(shared_data / "timit_sample", tmp_path)
    with pytest.raises(UsageError, match="no recordings for dev, test; choose .* from FALK0, .* or give fold=1/6"):
        prepare(shared_data / "timit_sample", tmp_path, partial=True)


def test_one_preparation_trains_on_61_48_or_39_phones_or_on_words(sample):
    utterance = sample[1]["test"]["MADD0_SX268"]
    folded = (
        "sil dh ih sil jh ao aa sil p er r ey sil s sil b ay y uw z iy ng ae n sil t ae sil ih n ih s sil t ih sil "
        "m ah s l z sil"
    ).replace("ao", "aa")
    sizes = {}
    for phone_set in (61, 48, 39):
        tokens = build_tokens("phones", [], phone_set=phone_set)
        assert tokens.decode(tokens.encode(tokens.transcript(utterance))) == tokens.transcript(utterance)
        sizes[phone_set] = tokens.size
        assert build_tokens("phones", []).normalize(tokens.transcript(utterance)) == folded
    assert sizes == {61: 62, 48: 49, 39: 40}  # and the blank
    characters = build_tokens("characters", [each.text for each in sample[1]["train"].values()])
    assert characters.transcript(utterance) == "the jaw operates by using antagonistic muscles"
    assert characters.encode(utterance.text)


def test_a_pipe_in_the_place_of_marks_is_named_and_not_waited_for(tmp_path):
    path = write_tree(tmp_path / "corpus", FEW) / "TIMIT" / "TRAIN" / "DR1" / "FAEM0" / "SX51.PHN"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="SX51.PHN: no regular file"):
        prepare(tmp_path / "corpus", tmp_path / "out", partial=True)
