"""Exported C against streams: the same words at the same frames, whatever the cell, the features and the tokens."""

from __future__ import annotations

import errno
import os
import subprocess

import numpy as np
import pytest
import torch
from event_cases import DENSE, SPIKING
from exported import built, export, recording, save_speller, streamed, told
from marks import graded
from tones import RATE_HZ

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.tokens import CharacterTokens, SentencePieceTokens, WordTokens
from snn_asr.decoding.live.stream import SEGMENT, WORD
from snn_asr.errors import DataError, UsageError
from snn_asr.files.locks import only_writer
from snn_asr.network.front_end import PRESETS
from snn_asr.network.model_folder import load, save_model
from snn_asr.training.loop.pruning import keep_largest, matrices

CELLS = [*SPIKING, *DENSE, "delta_gru"]
# C and the stream add products in different orders. With other weights of these networks a membrane comes so close to a
# level that rounding decides, and other words follow.
SEEDS = {"improved_v2": 1}


def assert_same(model, folder, precision=None, silence_seconds=1.0, options=(), step=256) -> int:
    """Export, build, run; the number of words that program and stream agree on."""
    samples = recording()
    export(model, folder, precision, silence_seconds)
    found, confidences, _ = told(built(folder, *options), samples, step)
    expected, sure = streamed(model, samples, precision, silence_seconds)
    assert found == expected
    # A level that lies within rounding of the next moves a posterior a little, if it moves no word.
    assert np.median(np.abs(np.subtract(confidences, sure))) < 1e-4
    return sum(kind == WORD for kind, *_ in found)


@pytest.fixture(scope="module")
def tone_program(tone_run, tmp_path_factory):
    """The program of the trained tones, and what was said of it."""
    folder = tmp_path_factory.mktemp("c")
    made = export(tone_run / "model", folder)
    return built(folder), made


@pytest.mark.parametrize(
    ("precision", "silence_seconds"),
    [
        *graded([("float32", 0.5), ("int8", 1.0), ("int4", 1.0)], fast=[("int8", 1.0)]),
        pytest.param("float32", 0.0, marks=pytest.mark.slow),
    ],
)
def test_a_trained_model_tells_the_words_of_a_stream(tone_run, tmp_path, precision, silence_seconds):
    assert assert_same(tone_run / "model", tmp_path, precision, silence_seconds) > 8


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "int8", "int4"])
@pytest.mark.parametrize("case", CELLS)
def test_every_cell(case, precision, tmp_path):
    model = save_speller(tmp_path / "model", case, seed=SEEDS.get(case, 3))
    assert assert_same(model, tmp_path / "c", precision, options=["-DRECOGNIZER_DOUBLE"]) > 3


@pytest.mark.thorough
@pytest.mark.parametrize("case", ["improved_v2", pytest.param("gru", marks=pytest.mark.slow)])
def test_integrators_and_coded_input(case, tmp_path):
    model = save_speller(tmp_path / "model", case, smoothing=0.4, input_coding="coder")
    assert assert_same(model, tmp_path / "c", options=["-DRECOGNIZER_DOUBLE"]) > 3


@pytest.mark.thorough
@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("case", ["delta_gru", pytest.param("improved_v2", marks=pytest.mark.slow)])
def test_changes_of_features(case, precision, tmp_path):
    options = {"input_coding": "delta", "smoothing": 0.4, "input_delta_threshold": 0.3}
    model = save_speller(tmp_path / "model", case, seed=SEEDS.get(case, 3), **options)
    assert assert_same(model, tmp_path / "c", precision, options=["-DRECOGNIZER_DOUBLE"]) > 3


@pytest.mark.thorough
@pytest.mark.parametrize("features", [{"kind": "mfcc", "deltas": True, "coefficients": 6}, {"stack": 1}])
def test_features(features, tmp_path):
    settings = FeatureSettings(**{"sample_rate": RATE_HZ, "mels": 10, "high_hz": 3800, "stack": 3} | features)
    model = save_speller(tmp_path / "model", "improved_v1", settings)
    assert assert_same(model, tmp_path / "c", options=["-DRECOGNIZER_DOUBLE"]) > 3


TOKENS = {
    "words": WordTokens(['quo"te\\', "zwölf", "?"]),
    "characters": CharacterTokens([" ", "ß", "x"]),
    "sentencepiece": SentencePieceTokens.build(["a low tone", "low and high", "mid or low", "a high one"] * 5, 21),
}


@pytest.mark.parametrize("kind", graded(TOKENS, fast=["characters"]))
def test_tokens(kind, tmp_path):
    model = save_speller(tmp_path / "model", "improved_v2", tokens=TOKENS[kind])
    assert assert_same(model, tmp_path / "c", "int8", options=["-DRECOGNIZER_DOUBLE"]) > 2


# Spells a word by its tokens, given as numbers, and tells it.
SPELLING = r"""
#include <stdio.h>
#include <stdlib.h>
#include "recognizer.c"

static void print_text(void *context, const recognizer_event *event)
{
    fprintf(context, "%s\n", event->text);
}

int main(void)
{
    static recognizer state;
    int token;

    recognizer_init(&state, print_text, stdout);
    while (scanf("%d", &token) == 1)
        take_token(&state, token, 0, 1, 1.0f);
    end_word(&state);
    return 0;
}
"""


@pytest.mark.thorough
def test_a_word_that_is_too_long_is_cut_behind_a_whole_character_and_has_no_hole(tmp_path):
    model = save_speller(tmp_path / "model", "lif", tokens=CharacterTokens([" ", "x", "ß", "y"]))
    export(model, tmp_path)
    program = built(tmp_path, source=SPELLING)
    for spelled, expected in [
        ("x" * 62 + "ßy", "x" * 62), ("x" * 61 + "ßy", "x" * 61 + "ß"), ("ß" * 40 + "y", "ß" * 31), ("xß", "xß"),
        ("x" * 62 + "ßy yx", "x" * 62 + "\nyx"),
    ]:
        numbers = " ".join(str(" xßy".index(letter) + 1) for letter in spelled)
        found = subprocess.run([program], input=numbers.encode(), capture_output=True, check=True)
        assert found.stdout.decode() == expected + "\n"


@pytest.mark.thorough
def test_a_label_that_is_too_long_is_told_as_far_as_it_fits(tmp_path):
    model = save_speller(tmp_path / "model", "lif", tokens=WordTokens(["a" * 70, "b"]))
    export(model, tmp_path)
    found = subprocess.run([built(tmp_path, source=SPELLING)], input=b"1 2", capture_output=True, check=True)
    assert found.stdout.decode() == "a" * 63 + "\nb\n"


@pytest.mark.thorough
def test_a_model_that_classifies_answers_once(tmp_path):
    model, samples = save_speller(tmp_path / "model", "improved_v2", task="classification"), recording()
    export(model, tmp_path)
    (word, segment), *_ = told(built(tmp_path, "-DRECOGNIZER_DOUBLE"), samples)
    assert [word, segment] == streamed(model, samples)[0] and word[3] in "abcd" and segment[0] == SEGMENT


def pruned_copy(model, folder, share: float, block: int = 1):
    """The model with so many of the smallest weights of its layers set to zero, in blocks of so many rows."""
    loaded = load(model)
    with torch.no_grad():
        for weight in matrices(loaded.model.encoder).values():
            weight.mul_(keep_largest(weight, share, block))
    save_model(folder, loaded.model, loaded.tokens, {}, "")
    return folder


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("precision", "block", "share"),
    [
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [(None, 1, 0.8), (None, 8, 0.5), ("int4", 1, 0.8)]),
        ("int8", 1, 0.8), ("int4", 8, 0.5),
    ],
)
def test_pruned_weights_are_left_out(tone_run, tmp_path, precision, block, share):
    model = pruned_copy(tone_run / "model", tmp_path / "model", share, block)
    dense = export(tone_run / "model", tmp_path / "dense", precision)
    made = export(model, tmp_path / "c", precision)
    assert dense.pruned < 0.1 and 0.8 * share < made.pruned < 1.2 * share
    assert made.constants < dense.constants
    assert_same(model, tmp_path / "c", precision)


def test_samples_may_come_one_by_one_and_states_have_the_size_that_is_told(tone_program):
    (program, made), samples = tone_program, recording()[: 2 * RATE_HZ]
    one, *_, size = told(program, samples, 1)
    assert one == told(program, samples, len(samples))[0] and one
    assert made.state <= size <= made.state + 16  # two addresses of 8 bytes, not 4


def test_silence_is_no_word_and_sounds_that_clip_do_no_harm(tone_program, tone_run):
    program, _ = tone_program
    for count in (0, 100, RATE_HZ // 3, 3 * RATE_HZ):
        assert told(program, np.zeros(count, "<i2"))[0] == []
    loud = np.where(np.random.default_rng(0).random(4 * RATE_HZ) < 0.5, -32768, 32767).astype("<i2")
    assert told(program, loud)[0] == streamed(tone_run / "model", loud)[0]


REFUSED = {
    "bidirectional": ({"bidirectional": True}, "a bidirectional encoder needs whole utterances"),
    "random coding": ({"input_coding": "noise"}, "C export has no input coding noise"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_exported_says_why(case, tmp_path):
    options, reason = REFUSED[case]
    model = save_speller(tmp_path / "model", "improved_v2", **options)
    with pytest.raises(UsageError) as found:
        export(model, tmp_path / "c")
    assert reason in str(found.value) and not (tmp_path / "c").exists()


@pytest.mark.parametrize("features", [{"segments": 4, "stack": 1}, {"normalization": "utterance"}])
def test_features_of_whole_utterances_say_why(features, tmp_path):
    settings = FeatureSettings(sample_rate=RATE_HZ, mels=10, **features)
    model = save_speller(tmp_path / "model", "gru", settings)
    with pytest.raises(UsageError, match="whole utterance"):
        export(model, tmp_path / "c")


def test_a_front_end_says_why(tmp_path):
    from snn_asr.data.normalization import Normalization
    from snn_asr.network.model import AcousticModel, ModelSettings

    features = FeatureSettings(mels=10, stack=PRESETS["subsample4"].time_stride)
    settings = ModelSettings(features, "improved_v2", 8, 1, {}, front_end=PRESETS["subsample4"])
    model = AcousticModel(settings, Normalization(torch.zeros(10), torch.ones(10)), 3).eval()
    save_model(tmp_path / "model", model, WordTokens(["a", "b"]), {}, "")
    with pytest.raises(UsageError, match="no convolutional front end"):
        export(tmp_path / "model", tmp_path / "c")


def test_the_command_tells_sizes_and_leaves_the_users_files_alone(run, tone_run, tmp_path):
    words = ("export", tone_run, "--format", "c", "--output-folder", tmp_path / "c")
    code, out, errors = run(*words)
    assert (code, errors) == (0, []) and "bytes of constants in flash" in out and "bytes of state in RAM" in out
    (tmp_path / "c" / "main.c").write_text("int main(void) { return 7; }\n")
    assert run(*words, "--precision", "int8")[0] == 0
    assert (tmp_path / "c" / "main.c").read_text() == "int main(void) { return 7; }\n"
    (tmp_path / "c" / "recognizer.h").write_text("/* mine */\n")
    code, out, (line,) = run(*words)
    assert (code, out) == (4, "") and "was not exported" in line
    assert (tmp_path / "c" / "recognizer.h").read_text() == "/* mine */\n"


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (("--format", "tflite"), 2, "unknown format 'tflite'"),
        (("--precision", "int3"), 2, "unknown precision 'int3'"),
    ],
)
def test_a_mistake_is_one_line_and_its_code(words, code, problem, run, tone_run, tmp_path):
    found, out, errors = run("export", tone_run, "--output-folder", tmp_path / "c", *words)
    assert (found, out, len(errors)) == (code, "", 1) and problem in errors[0]
    assert not (tmp_path / "c").exists()


def test_nothing_is_exported_over_a_file_of_another(tone_run, tmp_path):
    (tmp_path / "recognizer.c").write_text("int x;\n" * 200 + "/* written after what was Exported by snn-asr */\n")
    with pytest.raises(DataError, match="was not exported"):
        export(tone_run / "model", tmp_path)


@pytest.mark.parametrize("name", ["recognizer.c", "recognizer.h"])
@pytest.mark.parametrize("where", ["above", "below"])
def test_what_was_edited_since_it_was_exported_stays(name, where, tone_run, tmp_path):
    export(tone_run / "model", tmp_path)
    export(tone_run / "model", tmp_path, "int8")  # over its own
    written = (tmp_path / name).read_text()
    above = written.replace("#include <", "/* my own */\n#include <", 1)
    (tmp_path / name).write_text(above if where == "above" else written + "int mine;\n")
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    with pytest.raises(DataError, match=f"{name}: was edited"):
        export(tone_run / "model", tmp_path)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before
    (tmp_path / name).write_text(written.rpartition("/* SHA-256")[0])  # as an earlier version wrote it
    export(tone_run / "model", tmp_path)


def test_two_do_not_export_to_one_folder_at_a_time(run, tone_run, tmp_path):
    with only_writer(tmp_path, "export"):
        code, out, (line,) = run("export", tone_run, "--output-folder", tmp_path)
        assert (code, out) == (2, "") and "another export is at work here" in line
    assert not list(tmp_path.iterdir())


def test_an_export_that_does_not_fit_on_the_disk_leaves_the_earlier_pair(tone_run, tmp_path, monkeypatch):
    export(tone_run / "model", tmp_path)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    fsync, written = os.fsync, []

    def full(descriptor):
        written.append(descriptor)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="cannot write .no space left"):
        export(tone_run / "model", tmp_path, "int8")
    monkeypatch.undo()
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before
