"""A model folder's claims are checked before they are believed: sizes, shapes, numbers, and whose files they are."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.normalization import Normalization
from snn_asr.data.tokens import WordTokens
from snn_asr.errors import DataError
from snn_asr.files import sha256, write_json
from snn_asr.network import encoders, model_folder
from snn_asr.network.model import AcousticModel, ModelSettings
from snn_asr.network.model_folder import CHECKSUMS, damage, load, save_model
from snn_asr.network.weights_file import CONFIG, WEIGHTS

FEATURES = FeatureSettings(sample_rate=8000, mels=12, stack=3)
LABELS = WordTokens(["one", "two"])


@pytest.fixture
def folder(tmp_path) -> Path:
    settings = ModelSettings(FEATURES, "improved_v2", 8, 2, {})
    model = AcousticModel(settings, Normalization(torch.zeros(12), torch.ones(12)), LABELS.size)
    save_model(tmp_path / "model", model, LABELS, {}, "# a recipe\n")
    return tmp_path / "model"


def resign(folder: Path) -> None:
    """Write checksums that fit whatever the files now hold: as if somebody had made this model so."""
    write_json(folder / CHECKSUMS, {name: sha256(folder / name) for name in model_folder.CHECKED})


def refused(folder: Path, words: str) -> None:
    started = time.process_time()
    with pytest.raises(DataError, match=words) as caught:
        load(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("num_layers", 10**9, "num_layers 1000000000 cannot be, with"),
        ("num_layers", 3, "size mismatch: .* is absent in the file"),
        ("num_layers", 1, "size mismatch: .* absent by config.json"),
        ("num_layers", 1.5, "num_layers 1.5 is not a whole number"),
        ("num_layers", -1, "num_layers=-1 must be a whole number from 1"),
        ("hidden_size", 10**9, "size mismatch"),
        ("hidden_size", 10**19, "cannot be loaded|size mismatch"),
        ("hidden_size", "8", "hidden_size '8' is not a whole number"),
        ("encoder", ["gru"], "cannot be loaded"),
        ("encoder_options", 3, "cannot be loaded"),
        ("encoder_options", {"bits": 10**9}, "cannot be loaded"),
        ("features", [], "cannot be loaded"),
        ("features", {"sample_rate": 10**15, "mels": 12}, "sample_rate"),
        ("front_end", {"channels": [4096] * 3, "time_strides": [3, 1, 1], "frequency_strides": [1] * 3}, "mismatch"),
    ],
)
def test_sizes_that_the_weights_do_not_have_are_refused_before_memory_is_taken(key, value, words, folder):
    config = json.loads((folder / CONFIG).read_text())
    config["model"][key] = value
    write_json(folder / CONFIG, config)
    resign(folder)
    refused(folder, words)


@pytest.mark.parametrize("name", ["config.json", "tokens.json", "normalization.json", "metrics.json"])
@pytest.mark.parametrize("content", ["null", "[1]", "3", '"text"', "[" * 100_000, "{}"])
def test_json_of_another_shape_is_refused(name, content, folder):
    if (name, content) == ("metrics.json", "{}"):
        return  # what it says may be little
    (folder / name).write_text(content)
    resign(folder)
    refused(folder, "expected a JSON object|not valid JSON|cannot be loaded|format None|unknown kind|needs lists")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["head.weight", "head.bias", "encoder.layers.1.input_weight"])
def test_weights_that_are_no_numbers_are_refused_and_named(name, value, folder):
    tensors = safetensors.torch.load_file(folder / WEIGHTS)
    tensors[name].view(-1)[-1] = value
    safetensors.torch.save_file(tensors, folder / WEIGHTS)
    resign(folder)
    refused(folder, f"'{name}' holds numbers that are not finite")


@pytest.mark.thorough
def test_no_model_is_slow_to_load_for_the_check_of_its_sizes(folder):
    """Torch imports its compiler, hundreds of modules, for some operations on its device of shapes alone."""
    loaded, folders = load(folder), []
    for encoder in encoders.ENCODERS:
        settings = ModelSettings(FEATURES, encoder, 8, 2, {"bidirectional": True})
        folders.append(str(folder.with_name(encoder)))
        save_model(folders[-1], AcousticModel(settings, loaded.model.normalization, LABELS.size), LABELS, {}, "")
    program = (
        "import sys\nfrom snn_asr.network.model_folder import load\n"
        f"for folder in {folders}: load(folder); assert 'sympy' not in sys.modules, folder"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)


def test_scales_that_are_not_of_their_matrix_are_refused(folder):
    tensors = safetensors.torch.load_file(folder / WEIGHTS)
    weight = tensors["head.weight"]
    for scales in (torch.ones(1), torch.ones(weight.shape[0] + 1), torch.full(weight.shape[:1], math.nan), None):
        tensors["head.weight"] = torch.ones(weight.shape, dtype=torch.int8)
        tensors.pop("head.weight.scales", None)
        if scales is not None:
            tensors["head.weight.scales"] = scales
        safetensors.torch.save_file(tensors, folder / WEIGHTS)
        resign(folder)
        refused(folder, "scale|not finite")


def test_a_model_in_a_folder_whose_name_is_no_utf_8_is_loaded(folder, tmp_path):
    named = folder.rename(tmp_path / os.fsdecode(b"\xe9"))
    assert load(named).metrics == json.loads((named / "metrics.json").read_text())


def test_damage_is_told_without_loading(folder):
    assert damage(folder) is None
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    assert "weights.safetensors: not as training wrote it" in str(damage(folder))
    (folder / WEIGHTS).unlink()
    assert "weights.safetensors: no such file" in str(damage(folder))


@pytest.mark.parametrize("name", ["config.json", "tokens.json", "recipe.yaml", "checksums.json"])
def test_files_of_another_kind_under_a_models_names_stay(name, folder, tmp_path):
    loaded = load(folder)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / name).write_text('{"my": "own"}')
    with pytest.raises(DataError, match=f"{name}: is not of a model, and would be overwritten"):
        save_model(mine, loaded.model, loaded.tokens, {}, "")
    assert [each.name for each in mine.iterdir()] == [name] and (mine / name).read_text() == '{"my": "own"}'


def test_a_model_that_a_killed_process_began_is_written_anew(folder):
    loaded = load(folder)
    (folder / CHECKSUMS).unlink()
    (folder / "tokens.json").unlink()
    save_model(folder, loaded.model, loaded.tokens, {}, "")
    assert damage(folder) is None


def test_a_model_that_does_not_fit_on_the_disk_leaves_the_earlier_one(folder, monkeypatch):
    loaded, before = load(folder), {each.name: each.read_bytes() for each in folder.iterdir()}
    fsync = os.fsync

    def full(descriptor):
        if os.fstat(descriptor).st_size == len(before[WEIGHTS]):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="weights.safetensors: cannot write .no space"):
        save_model(folder, loaded.model, loaded.tokens, {"another": 1}, "")
    monkeypatch.undo()
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == before
