"""What a live stream costs: operations by layer, time a frame, delay from sound to word, and estimated energy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.features import DELTA_LOOK_AHEAD_FRAMES
from snn_asr.decoding.encoder_inputs import EncoderInputs
from snn_asr.decoding.live.stream import WORD
from snn_asr.decoding.recognizer import Recognizer
from snn_asr.efficiency.energy import EnergyEstimate, energy_estimate
from snn_asr.errors import DataError
from snn_asr.events.engine import EventNetwork
from snn_asr.events.sources import shares_left


@dataclass
class Measurements:
    """What was measured over all files.

    ``chunk_seconds`` holds the wall time for each chunk, which is as many samples as one step of the network needs.
    ``word_seconds`` holds how long after its last frame each word became final, in time of the recording. Words that
    only the end of a file makes final are not among them. In live use the silence that ends a segment does so.
    ``network_seconds`` is the processor time of this thread for the network alone, run frame by frame, so other work on
    the machine does not matter.
    """

    frames: int = 0
    sent: np.ndarray | int = 0
    chunk_seconds: list[float] = field(default_factory=list)
    word_seconds: list[float] = field(default_factory=list)
    network_seconds: float = 0.0


@dataclass(frozen=True)
class SourceWork:
    """What a source of events, the features or a layer, costs for each second of speech.

    ``operation`` is "AC" if a product with one of its values is an addition, otherwise "MAC".
    """

    source: str
    units: int
    events_per_second: float
    density: float
    operation: str
    done_per_second: float
    avoided_per_second: float


@dataclass(frozen=True)
class Spread:
    """How far measured times, in seconds, lie apart; ``high`` is exceeded by one of twenty."""

    median: float
    high: float
    largest: float

    @classmethod
    def of(cls, values: list[float]) -> Spread | None:
        """Return the spread of some values, or None without any."""
        return cls(float(np.median(values)), float(np.quantile(values, 0.95)), max(values)) if values else None

    def by_name(self) -> dict[str, float]:
        """Return the values by the names that users see."""
        return {"median": self.median, "95 %": self.high, "largest": self.largest}


@dataclass(frozen=True)
class StreamProfile:
    """The costs of streaming some files.

    ``real_time_factor`` is the processing time divided by the duration of the audio, or None without audio.
    ``algorithmic_latency_seconds`` is what the function of that name returns, ``processing_seconds`` the time for one
    step of the network with its features, and ``word_latency_seconds`` how long after its last frame a word becomes
    final. ``energy`` is None if there is no estimate for this model.
    """

    encoder: str
    engine: str
    files: int
    seconds: float
    frames: int
    layers: list[SourceWork]
    weights_bytes: int
    state_bytes: int
    network_microseconds_per_frame: float
    real_time_factor: float | None
    algorithmic_latency_seconds: float
    processing_seconds: Spread | None
    word_latency_seconds: Spread | None
    energy: EnergyEstimate | None

    def to_json(self) -> dict[str, Any]:
        """Return the values as ``profile --engine event --json`` prints them."""
        spreads = {"processing_seconds": self.processing_seconds, "word_latency_seconds": self.word_latency_seconds}
        return asdict(self) | {name: each and each.by_name() for name, each in spreads.items()}


def profile_stream(recognizer: Recognizer, paths: Sequence[Path], precision: str | None = None) -> StreamProfile:
    """Return the costs of streaming ``paths``.

    The files are streamed one by one, one step of the network at a time, after one warm-up. ``precision`` is as for
    ``Recognizer.network``. Raises DataError if there are no files or one cannot be read.
    """
    if not paths:
        raise DataError("no audio to profile with", todo="name at least one file")
    settings, precision = recognizer.extractor.settings, precision or recognizer.model.precision
    network = recognizer.network(precision)
    waveforms = [recognizer.samples(path) for path in paths]
    seconds = sum(map(len, waveforms)) / settings.sample_rate
    _listen(recognizer, waveforms[0], precision, Measurements())
    heard = Measurements()
    for samples in waveforms:
        _listen(recognizer, samples, precision, heard)
    sent = [int(each) for each in np.broadcast_to(heard.sent, len(network.sources))]
    return StreamProfile(
        encoder=recognizer.model.settings.encoder,
        engine=f"event, {precision}",
        files=len(paths),
        seconds=seconds,
        frames=heard.frames,
        layers=_layers(recognizer, network, sent, heard.frames, seconds),
        weights_bytes=network.nbytes,
        state_bytes=network.initial_state().nbytes,
        network_microseconds_per_frame=heard.network_seconds / max(heard.frames, 1) * 1e6,
        real_time_factor=sum(heard.chunk_seconds) / seconds if seconds else None,
        algorithmic_latency_seconds=algorithmic_latency_seconds(settings),
        processing_seconds=Spread.of(heard.chunk_seconds),
        word_latency_seconds=Spread.of(heard.word_seconds),
        energy=energy_estimate(recognizer.model, precision, sent, heard.frames, seconds),
    )


def algorithmic_latency_seconds(settings: FeatureSettings) -> float:
    """Return the longest time that a sample waits for the step of the network that first sees it, on any machine."""
    frames = settings.stack - 1 + (DELTA_LOOK_AHEAD_FRAMES if settings.deltas else 0)
    return (frames * settings.hop_samples + settings.window_samples) / settings.sample_rate


@torch.no_grad()
def _listen(recognizer: Recognizer, samples: Tensor, precision: str, heard: Measurements) -> None:
    """Stream one waveform, then run the network alone over the same inputs."""
    settings, stream = recognizer.extractor.settings, recognizer.stream(None, precision)
    fed = 0
    for chunk in samples.split(settings.stack * settings.hop_samples):
        fed += len(chunk)
        started = time.perf_counter()
        events = stream.accept(chunk)
        heard.chunk_seconds.append(time.perf_counter() - started)
        ends = (each.end_seconds for each in events if each.kind == WORD)
        heard.word_seconds += [fed / settings.sample_rate - end for end in ends]
    stream.finish()
    heard.sent = heard.sent + stream.sent
    source = EncoderInputs(recognizer.model, recognizer.extractor)
    inputs = torch.cat([source.accept(samples)[0], source.finish()[0]])
    if recognizer.model.encoder.input_coder is not None and len(inputs):
        lengths = torch.tensor([len(inputs)])
        inputs = recognizer.model.encoder.input_coder(inputs.unsqueeze(0), lengths, None)[0].squeeze(0)
    network = recognizer.network(precision)
    frames, state = inputs.contiguous().numpy(), network.initial_state()
    started = time.thread_time()
    for n in range(len(frames)):
        network.run(frames[n : n + 1], state)
    heard.network_seconds += time.thread_time() - started
    heard.frames += len(frames)


def _layers(
    recognizer: Recognizer, network: EventNetwork, sent: Sequence[int], frames: int, seconds: float
) -> list[SourceWork]:
    """Return one entry for each source: the features, then the layers.

    The operations are products with the weights that an event selects; in a pruned network these are as many as a unit
    has left on average.
    """
    encoder = recognizer.model.encoder
    names = ["features", *(f"layer {index}" for index in range(1, len(encoder.layers) + 1))]
    coder = encoder.input_coder
    added = [coder is not None and coder.additive, *(each.additive for each in encoder.layers)]
    entries, shares = [], shares_left(recognizer.model)
    sources = zip(names, added, network.sources, shares, sent, strict=True)
    for name, additions, source, share, count in sources:
        possible = source.units * frames
        done = count * source.fan_out * share
        entries.append(SourceWork(
            source=name,
            units=source.units,
            events_per_second=count / max(seconds, 1e-9),
            density=count / max(possible, 1),
            operation="AC" if additions else "MAC",
            done_per_second=done / max(seconds, 1e-9),
            avoided_per_second=(possible * source.fan_out - done) / max(seconds, 1e-9),
        ))
    return entries


def describe_stream(result: StreamProfile) -> str:
    """Return the result of ``profile_stream`` as text."""
    factor = result.real_time_factor
    lines = [
        f"encoder              {result.encoder}, engine {result.engine}",
        f"memory               {result.weights_bytes / 1e6:.2f} MB of weights, shared; "
        f"{result.state_bytes / 1e3:.1f} kB a stream",
        f"audio                {result.files} files, {result.seconds:.1f} s, {result.frames} frames",
        "source       density    events/s   operations/s done   avoided (million)",
        *(
            f"  {each.source:<10} {each.density:>7.3f} {each.events_per_second:>11,.0f}   "
            f"{each.operation:>3} {each.done_per_second / 1e6:>14.2f} {each.avoided_per_second / 1e6:>9.2f}"
            for each in result.layers
        ),
        f"network              {result.network_microseconds_per_frame:.1f} µs a frame",
        f"real-time factor     {f'{factor:.4f} on one core, features included' if factor else 'no audio'}",
        f"latency, algorithmic {result.algorithmic_latency_seconds * 1e3:.0f} ms at most until a sample is seen",
        f"latency, processing  {_milliseconds(result.processing_seconds)} for a step",
        f"latency, word        {_milliseconds(result.word_latency_seconds)} from its last frame until it is final, "
        "without those that only the end of a file makes final (live, the silence that ends a segment)",
        f"energy, an estimate  {_energy(result.energy)}",
    ]
    return "\n".join(lines)


def _energy(energy: EnergyEstimate | None) -> str:
    if energy is None:
        return "none: it knows no convolutions"
    taken, every = energy.events.microjoules, energy.every_product.microjoules
    return (
        f"{taken.sram:.1f} µJ a second with weights in SRAM, {taken.dram[0]:.0f} or more in DRAM; every product "
        f"taken {every.sram:.1f} and {every.dram[0]:.0f} µJ ('--energy' shows of what)"
    )


def _milliseconds(spread: Spread | None) -> str:
    if spread is None:
        return "none"
    return ", ".join(f"{name} {value * 1e3:.2f} ms" for name, value in spread.by_name().items())
