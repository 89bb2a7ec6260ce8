"""Pruned matrices on disk: written without their zeros, restored bit for bit, held against the settings."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.torch
import torch
from event_cases import CLASSES, FEATURES, trained
from hypothesis import given
from hypothesis import strategies as st
from marks import graded

from snn_asr.data.tokens import WordTokens
from snn_asr.efficiency.footprint import footprint
from snn_asr.errors import DataError
from snn_asr.events.engine import event_network
from snn_asr.events.quantization import quantize_folder
from snn_asr.files import sha256, write_json
from snn_asr.network import model_folder as models
from snn_asr.network.encoders import ENCODERS
from snn_asr.network.model import AcousticModel
from snn_asr.network.sparse_weights import KEPT, VALUES, fitting, is_compact, is_thinned, thinned, whole
from snn_asr.training.loop.pruning import keep_largest, matrices

TOKENS = WordTokens([f"w{index}" for index in range(CLASSES - 1)])
NAME = "encoder.layers.1.input_weight"
NAME_OF_VALUES = "w" + VALUES


@torch.no_grad()
def pruned(case: str, share: float = 0.9, **options) -> AcousticModel:
    model = trained(case, size=40, **options)
    for weight in matrices(model.encoder).values():
        weight.mul_(keep_largest(weight, share))
    return model


def saved(folder, model: AcousticModel):
    models.save_model(folder, model, TOKENS, {}, "# a recipe\n")
    return folder


def size(folder) -> int:
    return (folder / models.WEIGHTS).stat().st_size


@given(
    rows=st.integers(0, 40), columns=st.integers(0, 9), share=st.floats(0, 1), block=st.sampled_from([1, 8, 16]),
    kind=st.sampled_from(["float32", "int8", "int4"]),
)
def test_what_is_thinned_comes_back_whole(rows, columns, share, block, kind):
    narrow = {"w"} if kind == "int4" else set()
    numbers = np.random.default_rng(rows).integers(1, 8 if narrow else 127, (rows, columns))
    weight = torch.from_numpy(numbers.astype("int8" if narrow else kind))
    dead = torch.rand(-(-rows // block), columns) < share
    weight[dead.repeat_interleave(block, dim=0)[:rows]] = 0
    tensors = {"w": weight, "w.scales": torch.ones(rows), "b": torch.zeros(rows), "n": torch.tensor(0)}
    thin, shapes = thinned(tensors, narrow), {name: tuple(each.shape) for name, each in tensors.items()}
    again, found = whole(thin, shapes)
    in_blocks = NAME_OF_VALUES in thin and thin[NAME_OF_VALUES].dim() == 2
    assert found == narrow and is_compact(thin) == bool(narrow or in_blocks)
    assert again.keys() == tensors.keys()
    assert all(torch.equal(each, tensors[name]) and each.dtype == tensors[name].dtype for name, each in again.items())
    assert is_thinned(thin) == (2 * int((weight != 0).sum()) <= weight.numel())
    if is_thinned(thin) and kind == "float32" and block > 1 and (rows, columns) == (40, 9) and 0.5 < share < 0.9:
        assert thin[NAME_OF_VALUES].shape[1:] == (block,)
    kinds = {name: "U8" if each.dtype == torch.uint8 else "F32" for name, each in thin.items()}
    fitted, types = fitting({name: tuple(each.shape) for name, each in thin.items()}, kinds, shapes)
    assert fitted == shapes and types["w"] == ("U4" if narrow else "F32")


@pytest.mark.parametrize("encoder", graded(sorted(ENCODERS), fast=["improved_v2", "gru"]))
def test_a_pruned_model_is_small_on_disk_and_the_same_when_loaded(encoder, tmp_path):
    """Also in int8, whose zeros are the same ones; a folder of the first format says what it always has."""
    model = pruned(encoder)
    folder, dense = saved(tmp_path / "pruned", model), saved(tmp_path / "dense", trained(encoder, size=40))
    loaded = models.load(folder).model
    state = loaded.state_dict()
    assert all(torch.equal(each, state[name]) for name, each in model.state_dict().items())
    assert size(folder) < 0.6 * size(dense)
    assert footprint(model).stored_bytes == pytest.approx(size(folder), abs=8000)  # besides the header
    formats = [json.loads((each / models.CONFIG).read_text())["format"] for each in (folder, dense)]
    assert formats == [3, 1]
    models.save_model(tmp_path / "again", loaded, TOKENS, {}, "# a recipe\n")
    assert models.load(tmp_path / "again").fingerprint == models.load(folder).fingerprint
    x = np.random.default_rng(0).standard_normal((9, FEATURES)).astype(np.float32)
    for kind, larger in (("int8", folder), ("int4", tmp_path / "int8")):
        quantize_folder(folder, tmp_path / kind, kind)
        small = models.load(tmp_path / kind).model
        for name, weight in matrices(model.encoder).items():
            assert not small.encoder.state_dict()[name][weight == 0].any(), name
        assert size(tmp_path / kind) < size(larger)
        results = []
        for each in (model, small):
            network = event_network(each, kind)
            results.append(network.run(x, network.initial_state()))
        assert np.array_equal(*results)


def test_what_was_pruned_in_blocks_lies_in_blocks_and_is_the_same_when_loaded(tmp_path):
    model = trained("improved_v2", size=48)
    with torch.no_grad():
        for weight in matrices(model.encoder).values():
            weight.mul_(keep_largest(weight, 0.9, 16))
    folder = saved(tmp_path / "blocks", model)
    tensors = safetensors.torch.load_file(folder / models.WEIGHTS)
    assert tensors[NAME + VALUES].shape[1] == 16 and tensors[NAME + KEPT].shape == (96 // 16 * 48 // 8,)
    assert json.loads((folder / models.CONFIG).read_text())["format"] == 4
    state = models.load(folder).model.state_dict()
    assert all(torch.equal(each, state[name]) for name, each in model.state_dict().items())
    quantize_folder(folder, tmp_path / "small", "int4")
    tensors = safetensors.torch.load_file(tmp_path / "small" / models.WEIGHTS)
    assert tensors[NAME + VALUES].dtype == torch.uint8 and tensors[NAME + VALUES].shape[1] == 8


@pytest.mark.parametrize("harm", ["bits missing", "bits too long", "bits of another type", "a value too few", "both"])
def test_what_does_not_fit_is_one_line(harm, tmp_path):
    folder = saved(tmp_path / "model", pruned("improved_v2"))
    tensors = safetensors.torch.load_file(folder / models.WEIGHTS)
    bits, values = tensors[NAME + KEPT], tensors[NAME + VALUES]
    changed = {
        "bits missing": {NAME + KEPT: None}, "bits too long": {NAME + KEPT: torch.cat([bits, bits])},
        "bits of another type": {NAME + KEPT: bits.float()}, "a value too few": {NAME + VALUES: values[1:].clone()},
        "both": {NAME: torch.zeros(80, 40)},
    }[harm]
    tensors = {name: each for name, each in {**tensors, **changed}.items() if each is not None}
    safetensors.torch.save_file(tensors, folder / models.WEIGHTS)
    write_json(folder / models.CHECKSUMS, {name: sha256(folder / name) for name in models.CHECKED})
    with pytest.raises(DataError, match=NAME) as caught:
        models.load(folder)
    assert "\n" not in str(caught.value)
