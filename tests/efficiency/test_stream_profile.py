"""What a live stream costs: the form of the result. Its numbers are checked in tests/cli/test_cli_stream.py."""

from __future__ import annotations

import json

import pytest
import torch

from snn_asr.decoding.recognizer import Recognizer
from snn_asr.efficiency.stream_profile import Spread, describe_stream, profile_stream
from snn_asr.network.model_folder import load, save_model
from snn_asr.training.loop.pruning import keep_largest, matrices


def test_the_json_has_all_values_in_one_order(recognizer, tones):
    result = profile_stream(recognizer, [tones / "audio" / "test" / "test-02.wav"]).to_json()
    assert json.loads(json.dumps(result)) == result
    assert list(result) == [
        "encoder", "engine", "files", "seconds", "frames", "layers", "weights_bytes", "state_bytes",
        "network_microseconds_per_frame", "real_time_factor", "algorithmic_latency_seconds", "processing_seconds",
        "word_latency_seconds", "energy",
    ]
    assert list(result["layers"][0]) == [
        "source", "units", "events_per_second", "density", "operation", "done_per_second", "avoided_per_second",
    ]
    assert list(result["processing_seconds"]) == list(result["word_latency_seconds"]) == ["median", "95 %", "largest"]
    energy = result["energy"]
    assert list(energy) == [
        "precision", "events", "every_product", "microjoules_without_events", "density", "dense_precision",
        "microjoules_dense", "break_even_density", "features",
    ]
    places = ["sram", "one_by_one", "dram"]
    for each in ("microjoules_without_events", "microjoules_dense", "break_even_density"):
        assert list(energy[each]) == places
    for each in (energy["events"], energy["every_product"]):
        assert list(each) == ["weights_memory_bytes", "state_memory_bytes", "lines", "microjoules"]
        assert list(each["microjoules"]) == places and len(each["microjoules"]["dram"]) == 2
        assert len(each["lines"]) == 9
        assert {tuple(line) for line in each["lines"].values()} == {("per_second", "microjoules")}
    assert list(energy["features"]) == ["multiplications", "additions", "microjoules"]


def test_an_event_of_a_pruned_network_selects_the_weights_that_are_left(tone_run, tones, tmp_path):
    loaded = load(tone_run)
    with torch.no_grad():
        for place, weight in enumerate(matrices(loaded.model.encoder).values()):
            weight.mul_(keep_largest(weight, 0.5 + 0.1 * place))
    save_model(tmp_path / "pruned", loaded.model, loaded.tokens, {}, "")
    result = profile_stream(Recognizer(tmp_path / "pruned", "cpu"), [tones / "audio" / "test" / "test-02.wav"])
    onward = [each.core_weights()[0] for each in loaded.model.encoder.layers] + [loaded.model.head.weight]
    around = [None, *(each.core_weights()[1] for each in loaded.model.encoder.layers)]
    for source, forth, back in zip(result.layers, onward, around, strict=True):
        left = sum(int((each != 0).sum()) for each in (forth, back) if each is not None) / source.units
        assert source.events_per_second > 0
        assert source.done_per_second == pytest.approx(source.events_per_second * left), source.source


def test_the_text_says_which_words_the_latency_leaves_out(recognizer, tones):
    text = describe_stream(profile_stream(recognizer, [tones / "audio" / "test" / "test-02.wav"]))
    (line,) = (each for each in text.splitlines() if each.startswith("latency, word"))
    assert "without those that only the end of a file makes final" in line


def test_the_spread_of_times():
    assert Spread.of([]) is None
    spread = Spread.of([float(each) for each in range(101)])
    assert spread is not None and spread.by_name() == {"median": 50.0, "95 %": 95.0, "largest": 100.0}
