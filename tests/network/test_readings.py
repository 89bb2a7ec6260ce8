"""The layers against a second reading of their equations (readings/): outputs, spikes, gradients, what they remember.

Below them, what must hold of the coder whatever the numbers: what came in is what was sent and what is left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from readings.coder import Coder, Range
from readings.comparison import Size, compare_in_turn, draw_batch, same_parameters
from readings.exact import exact, total_conventional, total_gated
from readings.twins import (
    AdaptiveLifTwin,
    ConventionalTwin,
    FeatureCoderTwin,
    GatedTwin,
    LiGruTwin,
    SpikingLstmTwin,
    Twin,
)
from torch import Tensor, nn

from snn_asr.network import coder, encoders
from snn_asr.network.cells import conventional, gated
from snn_asr.network.kernels import run_sequence
from snn_asr.network.layers.conventional import ConventionalLayer
from snn_asr.network.layers.leaky_integrate_and_fire import LeakyIntegrateAndFireLayer
from snn_asr.network.layers.spiking_lstm import SpikingLstmLayer

BACKENDS = ("reference", "cpu")
CODERS = ((6, 3), (2, 0), (32, 0), (4, 1))
RANGES = ("moving_average", "moving_average_per_frame", "fixed")
WATCHES = {"moving_average": "batch", "moving_average_per_frame": "frame", "fixed": "never"}
FIXED_RANGE = 0.8
MIDDLE, ODD, SMALL, SMALLEST = (2, 5, 3, 4), (3, 7, 2, 5), (1, 2, 1, 1), (1, 1, 1, 1)


def held_against(twin: Twin, make: Callable[..., nn.Module], size: Size, backends=BACKENDS, train=2) -> Tensor:
    """Build ``make(features, units, backend)`` on every backend, compare all with the twin; the outputs."""
    torch.manual_seed(sum(size))
    layers = same_parameters([make(size[2], size[3], dropout=0.0, backend=each).double() for each in backends])
    outputs = compare_in_turn({"": twin}, layers, [draw_batch(size) for _ in range(train + 1)])
    for layer in layers:
        assert_same_memory(twin, layer)
    return outputs


def assert_same_memory(twin: Twin, layer: nn.Module) -> None:
    """Compare the range of the coder and the running statistics of the normalisation, where there are such."""
    if twin.coder is not None:
        assert layer.tracker.value() == pytest.approx(twin.coder.range.value(), rel=1e-12)
    blocks = [twin.normalisations[block] for block in sorted(twin.normalisations)]
    if blocks:
        means = torch.tensor([each for block in blocks for each in block.running_mean], dtype=torch.float64)
        variances = torch.tensor([each for block in blocks for each in block.running_variance], dtype=torch.float64)
        torch.testing.assert_close(layer.normalization.running_mean, means, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(layer.normalization.running_var, variances, rtol=1e-12, atol=1e-14)


def coder_twin(bits: int, threshold: int, moving: str) -> Coder:
    return Coder(bits, threshold, Range(FIXED_RANGE if moving == "fixed" else None), WATCHES[moving])


class Coded(NamedTuple):
    """A layer with a coder, or with ``levels`` None without one."""

    name: str
    candidate: str | None
    levels: tuple[int, int] | None
    moving: str = "moving_average"

    def make(self, features: int, units: int, **options) -> nn.Module:
        if self.candidate is not None:
            options["candidate"] = self.candidate
        if self.levels is None:
            options["coder"] = False
        else:
            options |= {"bits": self.levels[0], "threshold": self.levels[1], "range": self.moving}
            options["fixed_range"] = FIXED_RANGE if self.moving == "fixed" else 1.0
        return encoders.find(self.name)(features, units, **options)

    def twin(self, units: int) -> Twin:
        coder = coder_twin(*self.levels, self.moving) if self.levels is not None else None
        return ConventionalTwin(units, coder) if self.name == "lif" else GatedTwin(units, coder, shape=self.candidate)

    def check(self, size: Size, train: int = 2) -> Tensor:
        """Compare; where the range moves at every frame the reference alone can train."""
        moves = self.levels is not None and self.moving == "moving_average_per_frame"
        return held_against(self.twin(size[3]), self.make, size, ("reference",) if moves else BACKENDS, train)


NETWORKS = [("lif", None), *((f"improved_{v}", shape) for v in ("v1", "v2") for shape in ("relu", "clamp"))]
CODED = [Coded(*network, levels, moving) for network in NETWORKS for levels in CODERS for moving in RANGES]
CODED += [Coded(*network, None) for network in NETWORKS]
HEADLINE = [each for each in CODED if each.levels in ((6, 3), None)]
TELLING = [each for each in CODED if each in HEADLINE or each[:2] == ("improved_v2", "relu")]


@pytest.mark.parametrize("case", TELLING, ids=str)
def test_coded_layer_equals_its_reading(case):
    assert case.check(MIDDLE).any()


@pytest.mark.slow
@pytest.mark.parametrize("size", [MIDDLE, ODD, SMALL], ids=str)
@pytest.mark.parametrize("case", CODED, ids=str)
def test_coded_layer_equals_its_reading_over_odd_sizes(case, size):
    case.check(size)


@pytest.mark.parametrize("case", [each for each in HEADLINE if each.candidate != "clamp"], ids=str)
def test_coded_layer_equals_its_reading_where_there_is_next_to_nothing(case):
    case.check(SMALL)
    case.check(SMALLEST, train=0)


@pytest.mark.parametrize("size", [pytest.param(MIDDLE, marks=pytest.mark.slow), ODD], ids=str)
@pytest.mark.parametrize("name, options", [("ligru", {}), ("improved_v2", {"coder": False})], ids=str)
def test_v2_without_its_coder_is_a_li_gru(name, options, size):
    def make(features: int, units: int, **others) -> nn.Module:
        return encoders.find(name)(features, units, **options, **others)

    assert held_against(LiGruTwin(size[3]), make, size).any()


class Adaptive(NamedTuple):
    adaptive: bool
    recurrent: bool
    stable: bool = False

    def make(self, features: int, units: int, **options) -> nn.Module:
        """Drives of some 20, or nothing would fire within a few frames."""
        return LeakyIntegrateAndFireLayer(features, units, drive_gain=20.0, **self._asdict(), **options)


ADAPTIVE = [Adaptive(a, r) for a in (False, True) for r in (False, True)] + [Adaptive(True, True, stable=True)]


@pytest.mark.parametrize("size", [pytest.param(MIDDLE, marks=pytest.mark.slow), ODD], ids=str)
@pytest.mark.parametrize("case", ADAPTIVE, ids=str)
def test_adaptive_lif_equals_its_reading(case, size):
    assert 0 < held_against(AdaptiveLifTwin(size[3], stable=case.stable), case.make, size).mean() < 1


@pytest.mark.parametrize("case", ADAPTIVE, ids=str)
def test_adaptive_lif_equals_its_reading_where_there_is_next_to_nothing(case):
    held_against(AdaptiveLifTwin(1, stable=case.stable), case.make, SMALL)
    held_against(AdaptiveLifTwin(1, stable=case.stable), case.make, SMALLEST, train=0)


class Lstm(NamedTuple):
    """``backward`` None is the cell that keeps its sum."""

    slopes: str
    backward: str | None
    normalize: bool

    def make(self, features: int, units: int, **options) -> nn.Module:
        cell = {"cell": "kept"} if self.backward is None else {"cell_gradient": self.backward}
        return SpikingLstmLayer(features, units, surrogates=self.slopes, normalize=self.normalize, **cell, **options)


LSTMS = [
    Lstm(slopes, backward, normalize)
    for slopes in ("speech", "characters", "images")
    for backward in ("straight", "surrogate", "speech", None)
    for normalize in (False, True)
]


@pytest.mark.parametrize("case", [each for each in LSTMS if each.normalize == (each.slopes == "speech")], ids=str)
def test_spiking_lstm_equals_its_reading(case):
    assert held_against(SpikingLstmTwin(4, slopes=case.slopes, backward=case.backward), case.make, MIDDLE).any()


@pytest.mark.slow
@pytest.mark.parametrize("size", [pytest.param(MIDDLE, marks=pytest.mark.slow), ODD], ids=str)
@pytest.mark.parametrize("case", LSTMS, ids=str)
def test_spiking_lstm_equals_its_reading_over_odd_sizes(case, size):
    held_against(SpikingLstmTwin(size[3], slopes=case.slopes, backward=case.backward), case.make, size)


@pytest.mark.parametrize("case", [each for each in LSTMS if each.slopes == "speech"], ids=str)
def test_spiking_lstm_equals_its_reading_where_there_is_next_to_nothing(case):
    held_against(SpikingLstmTwin(1, backward=case.backward), case.make, SMALL)
    held_against(SpikingLstmTwin(1, backward=case.backward), case.make, SMALLEST, train=0 if case.normalize else 2)


@pytest.mark.thorough
@pytest.mark.parametrize("name, shape", NETWORKS, ids=str)
def test_stack_of_two_layers_equals_two_chained_readings(name, shape):
    moving = "fixed" if shape == "clamp" else "moving_average"
    case = Coded(name, shape, (6, 3), moving)
    options = {"range": moving, "fixed_range": FIXED_RANGE} | ({} if shape is None else {"candidate": shape})
    twins = {f"layers.{index}.": case.twin(4) for index in range(2)}
    torch.manual_seed(2)
    built = [
        encoders.build(name, 3, 4, 2, smoothing=0.0, dropout=0.0, backend=each, **options).double() for each in BACKENDS
    ]
    assert compare_in_turn(twins, same_parameters(built), [draw_batch(MIDDLE) for _ in range(3)]).any()


@pytest.mark.thorough
@pytest.mark.parametrize("moving", ["moving_average", "moving_average_per_frame"])
@pytest.mark.parametrize("levels", CODERS, ids=str)
def test_coded_features_into_a_layer_equal_two_chained_readings(levels, moving):
    coding = {"input_coding": "coder", "input_bits": levels[0], "input_threshold": levels[1], "input_range": moving}
    twins = {"input_coder.": FeatureCoderTwin(3, coder_twin(*levels, moving)), "layers.0.": LiGruTwin(4)}
    torch.manual_seed(3)
    built = [encoders.build("ligru", 3, 4, 1, dropout=0.0, backend=each, **coding).double() for each in BACKENDS]
    compare_in_turn(twins, same_parameters(built), [draw_batch(MIDDLE) for _ in range(3)])


def coder_with_unit(bits: int, threshold: int, unit: float) -> coder.Coder:
    """A coder whose levels lie at whole multiples of ``unit``, a power of two: s = 1/unit without any rounding."""
    made = coder.Coder.at(coder.CoderSettings(bits, threshold), range=2 ** (bits - 1) * (1 - 1e-4) * unit)
    assert (made.scale, made.unit) == (1 / unit, unit)
    return made


# V[n] = V[n-1] - Y[n-1] + I[n] from zero: I[1] + ... + I[N] = Y[1] + ... + Y[N-1] + V[N]. What is left over at the
# end is therefore V[N] - Y[N], the residue behind the last event, and nothing is lost before it. All numbers here are
# multiples of small powers of two, so that no operation rounds, and the equality is one of numbers, not of roundings.
UNITS = {(6, 3): 0.125, (2, 0): 0.5, (4, 1): 0.25, (32, 0): 2.0**-20}
DYADIC = st.integers(-64, 64).map(lambda sixteenths: sixteenths / 16)


def assert_conserved(came_in: Fraction, sent: Tensor, membrane: Tensor, last: Tensor) -> None:
    assert sum(exact(sent)) + exact(membrane)[0] - exact(last)[0] == came_in


def draw_numbers(data: st.DataObject, *shape: int) -> Tensor:
    count = math.prod(shape)
    return torch.tensor(data.draw(st.lists(DYADIC, min_size=count, max_size=count)), dtype=torch.float64).view(shape)


@settings(max_examples=40)
@given(data=st.data(), levels=st.sampled_from(CODERS), backend=st.sampled_from(BACKENDS))
def test_conventional_neuron_sends_all_that_came_in_but_its_residue(data, levels, backend):
    frames = data.draw(st.integers(1, 8))
    drive = draw_numbers(data, 2, frames, 1).to(data.draw(st.sampled_from([torch.float32, torch.float64])))
    lengths = torch.tensor([frames, data.draw(st.integers(0, frames))])
    decay = data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    parameters = conventional.Parameters(drive.new_tensor([decay]), None, coder_with_unit(*levels, UNITS[levels]))
    before = conventional.initial_state(2, 1, parameters, drive)
    outputs, state, _ = run_sequence(conventional, drive, lengths, before, parameters, backend)
    for row, length in enumerate(lengths.tolist()):
        came_in = total_conventional(exact(drive[row, :length]), Fraction(decay))
        assert_conserved(came_in, outputs[row], state.membrane[row], state.output[row])


@settings(max_examples=40)
@given(data=st.data(), levels=st.sampled_from(CODERS), recurrent=st.booleans(), backend=st.sampled_from(BACKENDS))
def test_gated_neurons_send_all_that_came_in_but_their_residue(data, levels, recurrent, backend):
    """Two neurons. Far from zero, and at it, the forget signal is exactly 0, 1 or 1/2; U leaves it alone."""
    frames = data.draw(st.integers(1, 6))
    kept = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2 * frames, max_size=2 * frames))
    kept = torch.tensor(kept, dtype=torch.float64).view(frames, 2)
    drive = torch.cat([2000 * (kept - 0.5), draw_numbers(data, frames, 2)], dim=1).unsqueeze(0)
    weights = torch.cat([torch.zeros(2, 2, dtype=torch.float64), draw_numbers(data, 2, 2) * recurrent])
    coder = coder_with_unit(*levels, UNITS[levels])
    parameters = gated.Parameters(weights if recurrent else None, None, coder, "relu")
    before = gated.initial_state(1, 2, parameters, drive)
    outputs, state, _ = run_sequence(gated, drive, torch.tensor([frames]), before, parameters, backend)
    sent = [exact(each) for each in outputs[0]]
    for k in range(2):
        came_in = total_gated(exact(kept[:, k]), exact(drive[0, :, 2 + k]), sent, exact(weights[2 + k]))
        assert_conserved(came_in, outputs[0, :, k], state.membrane[0, k], state.output[0, k])


@settings(max_examples=20)
@given(data=st.data(), levels=st.sampled_from(CODERS), backend=st.sampled_from(BACKENDS))
def test_whole_layer_sends_all_that_came_in_but_its_residue(data, levels, backend):
    """With a running variance of 1 less epsilon the normalisation is exactly the identity."""
    frames = data.draw(st.integers(1, 8))
    options = {"bits": levels[0], "threshold": levels[1], "range": "fixed"}
    fixed = coder_with_unit(*levels, UNITS[levels]).range
    layer = ConventionalLayer(2, 3, **options, fixed_range=fixed, decay=1.0, dropout=0.0, backend=backend)
    layer = layer.double().eval()
    layer.input_weight.data = draw_numbers(data, 3, 2)
    layer.normalization.running_var.fill_(1.0).sub_(layer.normalization.eps)
    x = draw_numbers(data, 1, frames, 2)
    outputs, state = layer(x, torch.tensor([frames]))
    for k, row in enumerate(layer.input_weight):
        drives = [sum(w * i for w, i in zip(exact(row), exact(each), strict=True)) for each in x[0]]
        came_in = total_conventional(drives, Fraction(1))
        assert_conserved(came_in, outputs[0, :, k], state.membrane[0, k], state.output[0, k])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["improved_v1", "improved_v2"])
@pytest.mark.parametrize("levels, sent", [((6, 3), {0, *range(4, 32)}), ((2, 0), {0, 1})], ids=str)
@torch.no_grad()
def test_levels_that_gated_layers_send(name, levels, sent, backend):
    torch.manual_seed(4)
    layer = encoders.find(name)(
        4, 16, bits=levels[0], threshold=levels[1], range="fixed", fixed_range=1.0, dropout=0.0, backend=backend
    ).double()
    outputs, _ = layer(2 * torch.randn(8, 60, 4, dtype=torch.float64), torch.full((8,), 60))
    found = outputs * 2 ** (levels[0] - 1) * (1 - 1e-4)
    torch.testing.assert_close(found, found.round(), rtol=0, atol=1e-12)
    assert set(found.round().flatten().int().tolist()) == sent


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("levels", CODERS, ids=str)
@torch.no_grad()
def test_what_is_sent_sums_to_what_would_be_sent_without_a_coder(levels, backend):
    """V[n] - Y[n] is what the sum of Y lags behind that of I: within the range never a full step past the threshold."""
    torch.manual_seed(5)
    sizes = {"input_size": 3, "hidden_size": 8, "dropout": 0.0, "backend": backend}
    plain = encoders.find("improved_v1")(**sizes, coder=False).double()
    x, lengths = torch.randn(2, 200, 3, dtype=torch.float64), torch.tensor([200, 200])
    currents, _ = plain(x, lengths)
    bits, threshold = levels
    wide = 4.0 * float(currents.max())  # holds I and a residue: no membrane leaves it
    coded = encoders.find("improved_v1")(**sizes, bits=bits, threshold=threshold, range="fixed", fixed_range=wide)
    coded.double().load_state_dict(plain.state_dict(), strict=False)
    lag = (currents - coded(x, lengths)[0]).cumsum(1)
    step = wide / (2 ** (bits - 1) * (1 - 1e-4))
    assert lag.min() >= -1e-9
    assert lag.max() < (threshold + 1) * step + 1e-9
    assert lag.max() > 0.5 * (threshold + 1) * step  # the bound is met: nothing finer was sent


@torch.no_grad()
def test_coder_of_32_bits_is_next_to_none_in_v2_too():
    """Its events come back through U, so the currents differ as well: by steps of 1e-9 of the range."""
    torch.manual_seed(6)
    plain = encoders.find("improved_v2")(3, 8, coder=False, dropout=0.0).double()
    coded = encoders.find("improved_v2")(3, 8, bits=32, threshold=0, range="fixed", fixed_range=16.0, dropout=0.0)
    coded.double().load_state_dict(plain.state_dict(), strict=False)
    x, lengths = torch.randn(2, 100, 3, dtype=torch.float64), torch.tensor([100, 100])
    wanted, found = plain(x, lengths)[0], coded(x, lengths)[0]
    assert 0 < wanted.max() < 16
    assert 0 < (found - wanted).abs().max() < 1e-6
    assert (found - wanted).sum(1).abs().max() < 1e-6  # nor do the differences add up


def two_neurons(moving: str) -> tuple[ConventionalLayer, Tensor]:
    """One row of two frames, whose drives are 1, -1 for the first neuron and -2, 2 for the second; binary events.

    The inputs 1 and -1 have the mean 0 and the variance 1. With decays of 1/2 the currents are 1, -1/2 and -2, 1.
    """
    layer = ConventionalLayer(1, 2, bits=2, threshold=0, range=moving, decay=0.5, dropout=0.0).double()
    layer.input_weight.data.fill_(1.0)
    layer.normalization.weight.data = torch.tensor([1.0, -2.0], dtype=torch.float64) * (1 + 1e-5) ** 0.5
    return layer, torch.tensor([[[1.0], [-1.0]]], dtype=torch.float64)


@torch.no_grad()
def test_range_at_every_frame_worked_by_hand():
    layer, x = two_neurons("moving_average_per_frame")
    outputs, _ = layer(x, torch.tensor([2]))
    # Frame 1: V = (1, -2). Averages, corrected: -2 and 1, A = 2, s = 2 * 0.9999 / 2 = 0.9999, levels (0, -1).
    first = 1 / 0.9999
    # Frame 2: V = (1 - 0 - 0.5, -2 + first + 1) = (0.5, 0.0001000100...)
    # averages: (0.9 * -0.2 + 0.1 * 0.00010001) / 0.19 = -0.9473157..., (0.9 * 0.1 + 0.1 * 0.5) / 0.19 = 0.7368...
    # A = 0.9473157..., s = 2.1110..., levels (trunc(1.0555...), trunc(0.0002...)) = (1, 0), sent (1/s, 0)
    largest = (0.18 - 0.1 * (first - 1)) / 0.19
    assert largest == pytest.approx(0.94731578)
    assert layer.tracker.value() == pytest.approx(largest, rel=1e-12)
    wanted = torch.tensor([[[0.0, -first], [largest / 1.9998, 0.0]]], dtype=torch.float64)
    torch.testing.assert_close(outputs, wanted, rtol=0, atol=1e-12)
    layer.eval()(7 * x, torch.tensor([2]))
    assert layer.tracker.value() == pytest.approx(largest, rel=1e-12)  # frozen


@torch.no_grad()
def test_range_of_every_batch_worked_by_hand():
    layer, x = two_neurons("moving_average")
    outputs, _ = layer(x, torch.tensor([2]))
    # Nothing seen yet, so the currents are looked at: -2 and 1, A = 2, s = 0.9999. Frame 1: levels (0, -1);
    # frame 2: V = (0.5, 0.0001), levels (0, 0). Observed: -2 and 1 again, A = 2.
    wanted = torch.tensor([[[0.0, -1 / 0.9999], [0.0, 0.0]]], dtype=torch.float64)
    torch.testing.assert_close(outputs, wanted, rtol=0, atol=1e-12)
    assert layer.tracker.value() == pytest.approx(2.0, rel=1e-12)
    layer.normalization.weight.data *= 3
    layer(x, torch.tensor([2]))
    # Frame 1: V = (3, -6), clamped at A = 2: levels (1, -1). Frame 2: V = (3 - 1.0001 - 1.5, -6 + 1.0001 + 3).
    # Observed -6 and 3; the average of -2, -2, -6 is (0.081 * 2 + 0.09 * 2 + 0.1 * 6) / 0.271 = 3.476..., that of
    # 1, 1, 3 is (0.081 + 0.09 + 0.3) / 0.271 = 1.738...
    assert layer.tracker.value() == pytest.approx(0.942 / 0.271, rel=1e-12)
    layer.eval()(7 * x, torch.tensor([2]))
    assert layer.tracker.value() == pytest.approx(0.942 / 0.271, rel=1e-12)  # frozen
