"""Model folders with int8 weights: what they hold, and that every engine computes with it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.torch
import torch
from event_cases import CLASSES, DENSE, FEATURES, SPIKING, trained
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from marks import graded

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.normalization import Normalization
from snn_asr.data.tokens import WordTokens
from snn_asr.decoding.recognizer import Recognizer
from snn_asr.errors import DataError, UsageError
from snn_asr.events.engine import event_network
from snn_asr.events.kernels.delivery import FIRST
from snn_asr.events.quantization import quantize_folder, quantized
from snn_asr.files import sha256, write_json
from snn_asr.network import model_folder as models
from snn_asr.network.front_end import FrontEndSettings
from snn_asr.network.integers import Grid
from snn_asr.network.model import AcousticModel, ModelSettings
from snn_asr.network.weights_file import pack, unpack

TOKENS = WordTokens([f"w{index}" for index in range(CLASSES - 1)])
METRICS = {"encoder": "any", "test": {"error_rate": 12.5}}


def save(folder, model: AcousticModel):
    models.save_model(folder, model, TOKENS, METRICS, "# a recipe\n")
    return folder


def logits(model: AcousticModel, precision: str, x: torch.Tensor) -> np.ndarray:
    network = event_network(model, precision)
    return network.run(x.numpy(), network.initial_state())


@given(arrays(np.float32, (3, 4), elements=st.floats(-1e3, 1e3, width=32, allow_subnormal=False)))
def test_what_is_restored_rounds_to_the_same_whole_numbers(values):
    weight = torch.from_numpy(values)
    for kind in ("int8", "int4"):
        grid = Grid.of(weight, kind)
        integers = grid.rounded(weight)
        again = grid.restored(integers)
        assert integers.dtype == torch.int8 and torch.equal(grid.rounded(again), integers)
        assert torch.equal(grid.nearest(weight), again)
        if kind == "int8":
            assert (integers.int().abs().amax(1) == torch.where(weight.abs().amax(1) > 0, 127, 0)).all()
            assert ((again - weight).abs() <= 0.5001 * grid.scales[:, None]).all()
        packed = pack({"w": again, "b": torch.ones(2)}, {"w": grid})
        state, found = unpack(packed, {"w": (3, 4), "b": (2,)})
        assert state.keys() == {"w", "b"} and torch.equal(state["w"], again)
        assert torch.equal(found["w"].scales, grid.scales) and found["w"].kind == kind


@pytest.mark.parametrize("kind", ["int8", "int4"])
@pytest.mark.parametrize("head", graded(["none", "input", "output"], fast=["input"]))
@pytest.mark.parametrize("case", [*SPIKING, *DENSE, "delta_gru"])
def test_a_quantised_model_is_to_the_event_engine_what_it_makes_of_the_whole(case, head, kind):
    model, x = trained(case, head=head, smoothing=0.3), torch.randn(20, FEATURES)
    small = quantized(model, kind)
    assert (model.precision, small.precision) == ("float32", kind)
    whole, again = event_network(model, kind), event_network(small, kind)
    for name in ("table", "weights", "places", "constants"):
        assert np.array_equal(getattr(again, name), getattr(whole, name)), name
    assert again.weights.dtype == np.int8 and np.abs(again.weights).max() == 127  # of the head, in int4, too
    layers = again.weights[: int(again.table[1, FIRST])]  # the first source's
    assert np.abs(layers).max() <= {"int8": 127, "int4": 7}[kind]
    assert np.array_equal(logits(small, kind, x), logits(model, kind, x))


@pytest.mark.parametrize("kind", ["int8", "int4"])
@pytest.mark.parametrize(
    ("case", "head"), [("improved_v2", "input"), ("radlif", "output"), ("gru", "none"), ("bn_gru", "none")]
)
@torch.no_grad()
def test_a_folder_gives_the_logits_of_its_kind_bit_for_bit_and_of_its_numbers_to_the_batch_engine(
    case, head, kind, tmp_path
):
    model, x = trained(case, head=head), torch.randn(20, FEATURES)
    quantize_folder(save(tmp_path / "whole", model), tmp_path / "small", kind)
    loaded = models.load(tmp_path / "small").model
    assert loaded.precision == kind
    expected = logits(model, kind, x)
    assert np.array_equal(logits(loaded, kind, x), expected)
    for layer, small in zip(model.encoder.layers, loaded.encoder.layers, strict=True):
        for weight, near in zip(layer.core_weights(), small.core_weights(), strict=True):
            assert not torch.equal(weight, near)
            used = near != 0  # of its diagonal radlif has none
            step = weight.abs().amax(1, keepdim=True) / {"int8": 127, "int4": 7}[kind]
            cut = near.abs() == near.abs().amax(1, keepdim=True)  # the largest of four bits may lie beyond their grid
            assert ((weight - near).abs() <= 0.501 * step)[used & ~cut].all()
    batch = loaded(x.unsqueeze(0), torch.tensor([len(x)]), normalized=True)[0][0]
    np.testing.assert_allclose(logits(loaded, "float32", x), batch, rtol=1e-3, atol=1e-3)


def test_a_folder_keeps_the_contract(tmp_path):
    """A copy of a copy is the same, no pickle, tokens and recipe as they were, the metrics say what they are of."""
    source = save(tmp_path / "run" / "model", trained("improved_v2", head="input", size=64))
    before, after = quantize_folder(tmp_path / "run", tmp_path / "small")
    files = {path.name: path for path in (tmp_path / "small").iterdir()}
    assert files.keys() == {*models.CHECKED, models.CHECKSUMS}
    assert (before, after) == ((source / models.WEIGHTS).stat().st_size, files[models.WEIGHTS].stat().st_size)
    assert after < 0.4 * before
    tensors = safetensors.torch.load_file(files[models.WEIGHTS])
    whole = {name for name, each in tensors.items() if each.dtype == torch.int8}
    layers = {f"encoder.layers.{index}.{kind}_weight" for index in (0, 1) for kind in ("input", "recurrent")}
    assert whole == {*layers, "head.weight"}
    assert all(tensors[f"{name}.scales"].shape == (len(tensors[name]),) for name in whole)
    loaded, first = models.load(tmp_path / "small"), models.load(source)
    assert loaded.metrics == {**METRICS, "quantized_from": first.fingerprint}
    assert loaded.tokens.labels == TOKENS.labels and files["recipe.yaml"].read_text() == "# a recipe\n"
    models.save_model(tmp_path / "again", loaded.model, loaded.tokens, loaded.metrics, "# a recipe\n")
    assert models.load(tmp_path / "again").fingerprint == loaded.fingerprint


def test_engines_take_the_precision_of_the_folder(tmp_path):
    """Unless another one is asked for."""
    quantize_folder(save(tmp_path / "whole", trained("improved_v2")), tmp_path / "small")
    whole, small = Recognizer(tmp_path / "whole", "cpu"), Recognizer(tmp_path / "small", "cpu")
    assert (whole.network().precision, small.network().precision) == ("float32", "int8")
    assert small.network("float32").precision == "float32"
    assert np.array_equal(small.network().weights, whole.network("int8").weights)
    assert np.array_equal(small.network().constants, whole.network("int8").constants)
    assert not np.array_equal(small.network("float32").weights, whole.network().weights)
    small.use_engine("event")
    whole.use_engine("event", "int8")
    assert small.settings_of("")["engine"] == whole.settings_of("")["engine"] == "event int8"


def test_a_front_end_stays_float32(tmp_path):
    features = FeatureSettings(mels=FEATURES, stack=2)
    settings = ModelSettings(features, "improved_v2", 12, 1, {}, front_end=FrontEndSettings((3,), (2,), (2,)))
    model = AcousticModel(settings, Normalization(torch.zeros(FEATURES), torch.ones(FEATURES)), CLASSES).eval()
    quantize_folder(save(tmp_path / "whole", model), tmp_path / "small")
    loaded, frames = models.load(tmp_path / "small").model, torch.randn(1, 10, FEATURES)
    with torch.no_grad():
        expected = model.encoder_input(frames, torch.tensor([10]))[0]
        assert torch.equal(loaded.encoder_input(frames, torch.tensor([10]))[0], expected)


def refused(folder, output) -> str:
    with pytest.raises(UsageError) as caught:
        quantize_folder(folder, output)
    assert "\n" not in str(caught.value) and not output.exists()
    return str(caught.value)


def test_what_the_int8_engine_cannot_run_is_refused(tmp_path):
    both = save(tmp_path / "both", trained("improved_v2", bidirectional=True))
    assert "no int8 engine (a bidirectional encoder needs whole utterances)" in refused(both, tmp_path / "out")
    normalization = Normalization(torch.zeros(FEATURES), torch.ones(FEATURES))
    for name, value in (("segments", 4), ("normalization", "utterance")):
        settings = ModelSettings(FeatureSettings(mels=FEATURES, stack=1, **{name: value}), "lif", 12, 1, {})
        folder = save(tmp_path / name, AcousticModel(settings, normalization, CLASSES))
        assert f"no int8 engine ({name}: {value}" in refused(folder, tmp_path / "out")


def test_a_model_is_neither_quantised_twice_nor_replaced(tmp_path):
    source = save(tmp_path / "run" / "model", trained("lif"))
    quantize_folder(source, tmp_path / "small")
    assert "int8 already" in refused(tmp_path / "small", tmp_path / "smaller")
    with pytest.raises(UsageError, match="quantise the float32 model"):
        quantize_folder(tmp_path / "small", tmp_path / "smaller", "int4")
    with pytest.raises(UsageError, match="its weights are int8 already"):
        event_network(models.load(tmp_path / "small").model, "int4")
    with pytest.raises(UsageError, match="unknown precision 'int5'"):
        quantize_folder(source, tmp_path / "smaller", "int5")
    for output in (source, tmp_path / "run", tmp_path / "small"):
        before = sha256(models.find_model(output) / models.CHECKSUMS)
        with pytest.raises(UsageError, match="has a model already"):
            quantize_folder(source, output)
        assert sha256(models.find_model(output) / models.CHECKSUMS) == before
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="choose a writable folder"):
        quantize_folder(source, tmp_path / "file")


def test_a_killed_one_is_no_model_and_can_be_written_again(tmp_path):
    source = save(tmp_path / "whole", trained("lif"))
    quantize_folder(source, tmp_path / "small")
    (tmp_path / "small" / models.CHECKSUMS).unlink()
    with pytest.raises(DataError, match="no finished model"):
        models.load(tmp_path / "small")
    quantize_folder(source, tmp_path / "small")
    assert models.load(tmp_path / "small").model.precision == "int8"


def test_formats_are_told_apart_and_missing_scales_are_one_line(tmp_path):
    """A program that knows format 1 alone refuses int8 folders; folders of format 1 are what they were."""
    source = save(tmp_path / "whole", trained("lif"))
    quantize_folder(source, tmp_path / "small")
    quantize_folder(source, tmp_path / "least", "int4")
    folders = (source, tmp_path / "small", tmp_path / "least")
    assert [json.loads((each / models.CONFIG).read_text())["format"] for each in folders] == [1, 2, 4]
    path = tmp_path / "small" / models.WEIGHTS
    tensors = safetensors.torch.load_file(path)
    del tensors["head.weight.scales"]
    safetensors.torch.save_file(tensors, path)
    checked = {name: sha256(path.parent / name) for name in models.CHECKED}
    write_json(path.parent / models.CHECKSUMS, checked)
    with pytest.raises(DataError, match="head.weight.scales") as caught:
        models.load(path.parent)
    assert "\n" not in str(caught.value)


def test_a_model_in_memory_is_left_alone():
    model = trained("radlif", head="input")
    before = {name: each.clone() for name, each in model.state_dict().items()}
    small = quantized(model)
    assert small.settings.head_normalization == "none" and model.settings.head_normalization == "input"
    assert not model.grids and all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


NAME = "encoder.layers.1.recurrent_weight"
HARMS = {  # what is done to the bytes of a matrix of four bits and its scales, and what is said of it
    "a byte too few": (lambda packed, scales: (packed[:, 1:].clone(), scales), "is of type U8"),
    "numbers below -7": (lambda packed, scales: (packed | 8, scales), "numbers of four bits below -7"),
    "no scales": (lambda packed, scales: (packed, None), NAME),
    "scales of each weight": (lambda packed, scales: (packed, torch.ones(24, 12)), "is not a scale for each row"),
    "scales that are not finite": (lambda packed, scales: (packed, scales * torch.inf), "not finite"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_folder_of_four_bits_is_one_line(harm, tmp_path):
    quantize_folder(save(tmp_path / "whole", trained("improved_v2")), tmp_path / "small", "int4")
    path, (change, said) = tmp_path / "small" / models.WEIGHTS, HARMS[harm]
    tensors = safetensors.torch.load_file(path)
    assert tensors[NAME].dtype == torch.uint8 and tensors[NAME].shape == (24, 6)
    packed, scales = change((tensors[NAME] & 0x77), tensors.pop(f"{NAME}.scales"))
    tensors |= {NAME: packed} | ({} if scales is None else {f"{NAME}.scales": scales})
    safetensors.torch.save_file(tensors, path)
    write_json(path.parent / models.CHECKSUMS, {name: sha256(path.parent / name) for name in models.CHECKED})
    with pytest.raises(DataError, match=said) as caught:
        models.load(path.parent)
    assert "\n" not in str(caught.value)


def test_a_folder_of_four_bits_takes_an_eighth_and_is_what_it_was_when_saved_again(tmp_path):
    source = save(tmp_path / "whole", trained("improved_v2", head="input", size=96))
    before, after = quantize_folder(source, tmp_path / "small", "int4")
    assert after < 0.25 * before
    loaded = models.load(tmp_path / "small")
    models.save_model(tmp_path / "again", loaded.model, loaded.tokens, loaded.metrics, "# a recipe\n")
    assert models.load(tmp_path / "again").fingerprint == loaded.fingerprint
    assert {name: each.kind for name, each in loaded.model.grids.items() if each.kind == "int8"} == {
        "head.weight": "int8"
    }
