"""How far gradients reach, how true they are, what fires: against closed forms; the figures; the command."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from torch import nn
from torch.nn import functional

from snn_asr.data.audio import write_audio
from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.normalization import Normalization
from snn_asr.data.tokens import WordTokens
from snn_asr.errors import DataError, UsageError
from snn_asr.files import read_json, write_text
from snn_asr.network import encoders
from snn_asr.network.model import AcousticModel, ModelSettings
from snn_asr.network.model_folder import save_model
from snn_asr.reports import activity, analysis, figures, gradients
from snn_asr.reports.activity import Activity
from snn_asr.reports.gradients import BITS, gradient_mismatch, gradient_reach

FEATURES = FeatureSettings(sample_rate=8000, mels=6, stack=2)
RATE_HZ = FEATURES.sample_rate
RECIPE = """\
# Small: encoders to look at
encoder: lif
hidden_size: 8
num_layers: 2
features: !new:snn_asr.data.features.FeatureSettings
    sample_rate: 8000
    mels: 6
    stack: 2
"""


def one_layer(name: str, inputs: int = 5, units: int = 7, **options) -> nn.Module:
    torch.manual_seed(3)
    return encoders.build(name, inputs, units, 1, **options).layers[0].eval()


def sequences(rows: int = 4, frames: int = 12, inputs: int = 5) -> torch.Tensor:
    return torch.randn(rows, frames, inputs, generator=torch.Generator().manual_seed(1))


# How far gradients reach


@pytest.mark.parametrize("decay", [1.0, 0.8])
def test_a_current_passes_its_decay_and_a_membrane_within_the_clamp_nothing(decay):
    layer = one_layer("lif", decay=decay, range="fixed", fixed_range=1000.0)
    reach = gradient_reach("lif", layer, sequences(), seed=0)
    assert reach.whole == pytest.approx([decay**k for k in range(12)], rel=1e-4)
    assert reach.without_current == [pytest.approx(1)] + [0] * 11


def test_an_open_gate_passes_its_forget_signal():
    layer = one_layer("improved_v1", forget_bias=2.0, candidate_bias=0.5, candidate="clamp", fixed_range=1000.0,
                      range="fixed")
    with torch.no_grad():
        layer.input_weight[:7] = 0  # the forget signal is its bias alone
        layer.input_weight[7:] *= 0.01  # and no candidate reaches the clamp's ends, where it passes nothing
    forget = 1 / (1 + torch.tensor(-2.0).exp().item())
    reach = gradient_reach("improved_v1", layer, sequences(), seed=0)
    assert reach.whole == pytest.approx([forget**k for k in range(12)], rel=1e-4)
    assert reach.without_current == [pytest.approx(1)] + [0] * 11


def test_a_membrane_outside_the_clamp_passes_everything_and_shuts_out_its_own_drive():
    layer = one_layer("lif", inputs=1, units=1, decay=0.0, range="fixed", fixed_range=1.0)
    with torch.no_grad():
        layer.input_weight.fill_(1)
    x = torch.tensor([[[0.0], [0.0], [1.5], [0.25]]] * 2)
    reach = gradient_reach("lif", layer, x, seed=0)
    assert reach.whole == pytest.approx([1, 1, 0, 0], abs=1e-3)  # 1.5 sends 1: the rest is still in V
    assert reach.without_current == reach.whole
    assert gradient_reach("lif", layer, x[:, :3], seed=0).whole is None


def test_recurrent_weights_pass_a_gradient_without_the_current():
    reach = gradient_reach("improved_v2", one_layer("improved_v2", candidate_bias=0.5), sequences(), seed=0)
    assert 0 < reach.without_current[3] < reach.whole[3]


def test_an_lstm_passes_what_differences_say():
    layer, x = one_layer("lstm").double(), sequences().double()
    step, last = 1e-6, 11
    rows = torch.zeros(4, 12)
    projection = torch.randn(4, 7, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for frame in range(12):
            for index in range(5):
                ahead, behind = x.clone(), x.clone()
                ahead[:, frame, index] += step
                behind[:, frame, index] -= step
                difference = [layer(each, torch.full((4,), 12))[0][:, last] * projection for each in (ahead, behind)]
                rows[:, frame] += ((difference[0] - difference[1]).sum(1) / (2 * step)).float() ** 2
    norms = rows.sqrt().mean(0).flip(0)
    reach = gradient_reach("lstm", layer, x, seed=0)
    assert reach.whole == pytest.approx((norms / norms[0]).tolist(), rel=1e-4)
    assert reach.without_current is None


@pytest.mark.parametrize("name", sorted(encoders.ENCODERS))
def test_every_encoder_can_be_looked_at(name):
    x = sequences(rows=16, frames=20)
    encoder = analysis.untrained(name, x, 16, 2, {}, seed=0)
    assert not encoder.training
    record = analysis.layer_inputs(encoder, x)[0]
    assert torch.equal(record.x, x)
    reach = gradient_reach(name, record.layer, record.x, seed=0)
    assert reach.whole[0] == 1 and len(reach.whole) == 20 and min(reach.whole) >= 0
    again = analysis.untrained(name, x, 16, 2, {}, seed=0)
    assert gradient_reach(name, again.layers[0], x, seed=0) == reach


def test_one_row_is_averaged_over_ends_in_its_last_third():
    layer, x = one_layer("lif", decay=0.9, range="fixed", fixed_range=1000.0), sequences(rows=1, frames=30)
    reach = gradient_reach("lif", layer, x, seed=0)
    assert reach.whole == pytest.approx([0.9**k for k in range(20)], rel=1e-4)


def test_deeper_layers_get_what_comes_from_below_and_of_two_directions_the_forward_one():
    x = sequences()
    encoder = analysis.untrained("improved_v2", x, 16, 2, {"bidirectional": True, "smoothing": 0.5}, seed=0)
    first, second = analysis.layer_inputs(encoder, x)
    assert first.layer is encoder.layers[0].directions[0] and second.layer is encoder.layers[1].directions[0]
    assert second.x.shape == (4, 12, 32)


# How true they are


def test_the_gradient_without_rounding_is_the_one_of_differences():
    options = {"candidate_bias": 0.5, "range": "fixed", "fixed_range": 10.0, "backend": "reference"}
    layer, x = one_layer("improved_v2", inputs=3, units=4, **options).double(), sequences(inputs=3).double()
    head, classes = gradients.random_head(layer(x, torch.full((4,), 12))[0].detach(), seed=0)
    step, expected = 1e-4, []  # far above the last levels of 32 bits
    with gradients.coder_of(layer, 32, 0):
        found = gradients.weight_gradient(layer, x, head, classes)
        for weight in layer.core_weights():
            for value in weight.data.view(-1).split(1):
                losses = []
                for direction in (step, -2 * step, step):
                    value += direction
                    with torch.no_grad():
                        y = layer(x, torch.full((4,), 12))[0]
                    losses.append(functional.cross_entropy((y @ head.T).flatten(0, 1), classes.flatten()))
                expected.append((losses[0] - losses[1]) / (2 * step))
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-3, atol=1e-5)


def test_more_bits_give_a_truer_gradient_and_a_threshold_keeps_its_price():
    x = analysis.noise(5, seed=2)
    layer = analysis.untrained("improved_v2", x, 16, 1, {"bits": 5, "threshold": 2}, seed=0).layers[0]
    own = layer.tracker
    mismatch = gradient_mismatch("improved_v2", layer, x, seed=0)
    assert layer.tracker is own and all(each.grad is None for each in layer.parameters())
    plain, scaled = (dict(zip(BITS, each, strict=True)) for each in (mismatch.no_threshold, mismatch.scaled_threshold))
    assert plain[2] < plain[4] < plain[7] < plain[10] <= 1 and plain[10] > 0.999
    assert mismatch.dead_zone == 3 / 16  # the first level that is sent is the third of sixteen
    assert plain[3] == scaled[3] and plain[4] != scaled[4]  # ceil(12/16) - 1 = 0, ceil(24/16) - 1 = 1
    assert scaled[10] < plain[10] - 1e-3


def test_levels_that_are_powers_of_two_are_rounded_to_however_many_bits_there_are():
    x, found = analysis.noise(5, seed=2), {}
    for levels in ("linear", "powers_of_two"):
        layer = analysis.untrained("improved_v2", x, 16, 1, {"levels": levels}, seed=0).layers[0]
        found[levels] = gradient_mismatch(levels, layer, x, seed=0).no_threshold
    assert found["linear"][-1] > 0.999 and found["powers_of_two"][-1] < found["linear"][-1] - 1e-3
    assert found["powers_of_two"][2] < found["powers_of_two"][-1]


def test_a_layer_that_sends_its_highest_level_alone_can_be_analysed():
    layer = analysis.untrained("improved_v2", sequences(), 4, 1, {"bits": 6, "threshold": 30}, seed=0).layers[0]
    assert gradient_mismatch("improved_v2", layer, sequences(), seed=0).dead_zone == 31 / 32


def test_a_silent_layer_has_no_cosine():
    layer = one_layer("improved_v1", candidate_bias=-50.0, range="fixed")
    assert gradient_mismatch("improved_v1", layer, sequences(), seed=0).no_threshold == [None] * len(BITS)
    assert gradient_reach("improved_v1", layer, sequences(), seed=0).whole is None


# What fires, and the parameters


def test_rates_count_events_whatever_their_level():
    found = Activity("layer 1", torch.tensor([[0.0, 0.5, -1], [0, 0, 1], [0, 0, 0.25], [0, 0, 1]]), 0.02)
    assert found.rates_hz.tolist() == pytest.approx([0, 12.5, 50])
    assert (found.units, found.silent_units) == (3, 1)
    assert found.densities.tolist() == pytest.approx([2 / 3, 1 / 3, 1 / 3, 1 / 3])
    assert found.density == pytest.approx(5 / 12)


@pytest.mark.parametrize("name", ["improved_v2", "radlif", "spiking_lstm"])
def test_both_directions_are_shown_in_the_order_of_time(name):
    x = sequences()
    encoder = analysis.untrained(name, x, 16, 1, {"bidirectional": True}, seed=0)
    (shown,) = activity.activity(encoder, x[:1], 0.02)
    assert torch.equal(shown.events, encoder(x[:1], torch.tensor([12]))[0][0])


@pytest.mark.parametrize("name", ["gru", "ligru"])
def test_layers_without_events_are_left_out(name):
    x = sequences()
    assert activity.activity(analysis.untrained(name, x, 8, 1, {}, seed=0), x[:1], 0.02) == []


def test_parameters_of_both_directions_stand_together():
    layer = encoders.build("improved_v2", 5, 7, 1, bidirectional=True, forget_bias=1.0).layers[0]
    values = analysis.parameters(layer)
    assert {name: len(each) for name, each in values.items()} == {
        "input_weight": 2 * 14 * 5, "recurrent_weight": 2 * 14 * 7, "resting decay": 2 * 7
    }
    assert values["resting decay"].tolist() == pytest.approx([1 / (1 + torch.tensor(-1.0).exp().item())] * 14)
    assert torch.equal(values["input_weight"][70:], layer.directions[1].input_weight.flatten())


def test_a_distribution_is_its_quantiles():
    found = vars(analysis.distribution(torch.tensor([4.0, 0, 1, 2, 3])))
    assert list(found) == ["count", "mean", "deviation", "minimum", "quarter", "median", "three_quarters", "maximum"]
    assert list(found.values()) == [5, 2, pytest.approx(2**0.5), 0, 1, 2, 3, 4]


# The command


@pytest.fixture
def run(run):
    """Without the line that tells the backend, once a process."""

    def run_command(*words: object) -> tuple[int, str, list[str]]:
        code, out, errors = run(*words)
        return code, out, [line for line in errors if "backend" not in line]

    return run_command


@pytest.fixture
def small_recipe(tmp_path) -> Path:
    for name in ("lif", "improved_v2", "lstm"):
        write_text(tmp_path / "recipes" / "encoders" / f"{name}.yaml", "encoder_options:\n    dropout: 0.1\n")
    write_text(tmp_path / "recipes" / "Small" / "train.yaml", RECIPE)
    return tmp_path / "recipes" / "Small" / "train.yaml"


def save(folder: Path, encoder: str, layers: int = 1) -> Path:
    torch.manual_seed(0)
    settings = ModelSettings(FEATURES, encoder, 16, layers, {})
    tokens = WordTokens(["yes", "no"])
    model = AcousticModel(settings, Normalization(torch.full((6,), -8.0), torch.full((6,), 3.0)), tokens.size)
    model(torch.randn(4, 60, 6) * 3 - 8, torch.tensor([60] * 4))
    save_model(folder / "model", model, tokens, {}, "")
    return folder


@pytest.fixture
def audio(tmp_path) -> Path:
    write_audio(tmp_path / "noise.wav", 0.1 * torch.randn(RATE_HZ, generator=torch.Generator().manual_seed(0)), RATE_HZ)
    return tmp_path / "noise.wav"


@pytest.mark.thorough
def test_a_recipe_is_looked_at_with_the_encoders_it_has(run, small_recipe, tmp_path):
    out_folder = tmp_path / "out"
    code, out, errors = run("analyze", small_recipe, "--output-folder", out_folder, "--seed", 3)
    lines = out.splitlines()
    names = ("vanishing-gradient.png", "gradient-mismatch.png", "analysis.json")
    assert (code, errors, lines[-3:]) == (0, [], [str(out_folder / name) for name in names])
    assert lines[1] == "lif: gradient, relative to the last frame's: 1 at k = 1, 1 at k = 10, 1 at k = 30"
    numbers = read_json(out_folder / "analysis.json")
    assert [each["name"] for each in numbers["vanishing_gradient"]] == ["lif", "improved_v2", "lstm"]
    assert [each["name"] for each in numbers["gradient_mismatch"]] == ["lif", "improved_v2"]
    width, height = struct.unpack(">II", (out_folder / names[0]).read_bytes()[16:24])
    assert width > 1000 and height > 500


@pytest.mark.thorough
def test_a_model_is_looked_at_on_an_utterance(run, tmp_path, audio):
    folder = save(tmp_path / "run", "improved_v2")
    out_folder = tmp_path / "out"
    code, out, errors = run("analyze", folder, "--input", audio, "--output-folder", out_folder, "--format", "svg",
                            "--json")
    assert (code, errors) == (0, [])
    numbers = json.loads(out)
    assert numbers == read_json(out_folder / "analysis.json") and numbers["features"] == str(audio)
    for path in numbers["figures"].values():
        text = "".join(ElementTree.parse(path).getroot().itertext())
        assert "layer 1" in text
    assert set(numbers["figures"]) == {
        "vanishing-gradient", "gradient-mismatch", "raster", "firing-rates", "parameters"
    }
    (activity,) = numbers["activity"]
    assert (activity["units"], activity["frames"]) == (16, 49)  # 98 frames in a second, by two
    assert activity["rates_hz"]["mean"] == pytest.approx(activity["density"] / 0.02) and activity["density"] > 0
    assert numbers["parameters"]["layer 1"]["recurrent_weight"]["count"] == 2 * 16 * 16


def test_a_model_without_events_says_so(run, tmp_path, audio, monkeypatch):
    monkeypatch.setattr(figures, "draw", lambda *_: {})
    folder = save(tmp_path / "run", "gru", layers=2)
    code, out, errors = run("analyze", folder, "--input", audio, "--output-folder", tmp_path / "out")
    assert (code, errors) == (0, [f"{folder}: its layers send no events, so none are shown"])
    numbers = read_json(tmp_path / "out" / "analysis.json")
    assert "cosine" not in out and numbers["activity"] == numbers["gradient_mismatch"] == []
    assert [each["name"] for each in numbers["vanishing_gradient"]] == ["layer 1", "layer 2"]
    assert numbers["parameters"]["layer 2"]["recurrence.weight_hh_l0"]["count"] == 3 * 16 * 16


def test_the_same_numbers_give_the_same_file(tmp_path):
    reach = gradients.Reach("lstm", [1.0, 0.5, 0.0], None)
    found = analysis.Analysis("lstm", "standard-normal features", 0, [reach], [], [], {})
    first, second = (figures.draw(found, tmp_path / name, "svg") for name in "ab")
    assert list(first) == ["vanishing-gradient"]
    assert first["vanishing-gradient"].read_bytes() == second["vanishing-gradient"].read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (("FSSD",), 2, "did you mean 'FSDD'?"),
        (("{here}",), 2, "neither a finished model nor a recipe; give the output folder"),
        (("{recipe}", "--input", "x.wav"), 2, "--input: a recipe's encoders are untrained"),
        (("{recipe}", "--encoders", "lif,lstn"), 2, "did you mean 'lstm'?"),
        (("{recipe}", "--encoders", ","), 2, "--encoders: names no encoder"),
        (("{recipe}", "--format", "pgn"), 2, "did you mean 'png'?"),
        (("{model}", "--encoders", "lif"), 2, "--encoders: a model has one encoder"),
        (("{model}", "--input", "absent.wav"), 4, "absent.wav: no such audio file"),
        (("{model}", "--input", "{short}"), 4, "too short to analyse"),
    ],
)
def test_a_mistake_is_one_line_and_its_code(words, code, problem, run, small_recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_audio(tmp_path / "short.wav", torch.zeros(400), RATE_HZ)
    places = {
        "here": tmp_path, "recipe": small_recipe, "short": tmp_path / "short.wav",
        "model": save(tmp_path / "run", "lif") if "{model}" in words else "",
    }
    got, out, errors = run("analyze", *(word.format(**places) for word in words))
    assert (got, out) == (code, "")
    assert len(errors) == 1 and errors[0].startswith("snn-asr: ") and problem in errors[0]
    assert not (tmp_path / "analysis").exists()


def test_a_recipe_needs_sizes(run, small_recipe):
    recipe = small_recipe
    write_text(recipe, RECIPE.replace("hidden_size: 8", "hidden_size: many"))
    code, _, errors = run("analyze", recipe)
    assert (code, errors) == (2, [f"snn-asr: {recipe}: hidden_size: 'many'; must be a whole number from 1 to 65536"])


def test_without_matplotlib_one_line_says_how_to_get_it(run, small_recipe, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, errors = run("analyze", small_recipe)
    assert (code, out) == (2, "")
    assert errors == [
        "snn-asr: figures are drawn by matplotlib, which is not installed; "
        "install the extra: pip install 'snn-asr[figures]'"
    ]


def test_what_falls_below_the_axis_touches_its_floor_once():
    values, marks = figures.above_floor([1.0, 1e-3, 1e-10, 0.0, 1e-2, 0.0])
    assert [each for each in values if each == each] == [1.0, 1e-3, 1e-9, 1e-2, 1e-9]
    assert values[3] != values[3] and {2, 5} <= set(marks)


def test_less_than_two_frames_is_an_error(tmp_path):
    write_audio(tmp_path / "short.wav", torch.zeros(400), RATE_HZ)
    with pytest.raises(DataError, match="too short"):
        analysis.of_model(save(tmp_path / "run", "gru"), 0, tmp_path / "short.wav")
    with pytest.raises(UsageError, match="unknown format"):
        figures.check("bmp")


def test_an_analysis_that_was_stopped_among_its_figures_is_made_again(run, small_recipe, tmp_path, monkeypatch):
    draw, out = figures.draw, tmp_path / "out"

    def stopped(found, folder, file_format):
        paths = draw(found, folder, file_format)
        raise DataError("no space left on device", next(iter(paths.values())))

    words = ("analyze", small_recipe, "--encoders", "lif", "--output-folder", out)
    monkeypatch.setattr(figures, "draw", stopped)
    assert run(*words)[0] == 4 and list(out.glob("*.png"))
    monkeypatch.undo()
    assert run(*words)[0] == 0 and read_json(out / "analysis.json")["vanishing_gradient"]
