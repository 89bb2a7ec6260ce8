"""What a model costs on given audio: operations, sparsity, size, and time on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from snn_asr.decoding.recognizer import Recognizer
from snn_asr.efficiency.footprint import Footprint, footprint
from snn_asr.efficiency.operation_count import OperationCount, Rates
from snn_asr.efficiency.operations import count_batch, record_layers
from snn_asr.errors import DataError, SnnAsrError, as_user_error
from snn_asr.network.encoders import directions
from snn_asr.network.layers.gated import GatedLayer
from snn_asr.network.model import AcousticModel


@dataclass(frozen=True)
class Profile:
    """The costs of recognising some files.

    ``activation_sparsity`` is the share of all outputs of layers that are zero. ``real_time_factor`` is the processing
    time divided by the duration of the audio; it includes computing the features but not reading the files, and is None
    without audio. ``authors_macs_per_second`` is what the function of that name returns.
    """

    encoder: str
    files: int
    rates: Rates
    footprint: Footprint
    activation_sparsity: float
    real_time_factor: float | None
    device: str
    authors_macs_per_second: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the values as ``profile --json`` prints them: those of ``rates`` and ``footprint`` among the others.
        """
        return {
            "encoder": self.encoder, "files": self.files, **asdict(self.rates), **asdict(self.footprint),
            "activation_sparsity": self.activation_sparsity, "real_time_factor": self.real_time_factor,
            "device": self.device, "authors_macs_per_second": self.authors_macs_per_second,
        }


def readable_files(recognizer: Recognizer, paths: Sequence[Path]) -> tuple[list[Path], dict[Path, SnnAsrError]]:
    """Return the files that can be read, and an error for each of the others."""
    good, errors = [], {}
    for path in paths:
        try:
            recognizer.samples(path)
            good.append(path)
        except Exception as error:
            described = as_user_error(error, path)
            if described is None:
                raise
            errors[path] = described
    return good, errors


def profile(recognizer: Recognizer, paths: Sequence[Path]) -> Profile:
    """Return the costs of recognising ``paths``.

    The files are recognised one by one, as on a device, after one warm-up. Raises DataError if there are no files or
    one cannot be read.
    """
    if not paths:
        raise DataError("no audio to profile with", todo="name at least one file")
    model, operations = recognizer.model, OperationCount()
    waveforms = [recognizer.samples(path) for path in paths]
    seconds = sum(map(len, waveforms)) / model.settings.features.sample_rate
    recognizer.logits(waveforms[:1])
    started = time.perf_counter()
    for samples in waveforms:
        recognizer.logits([samples])
    wall_seconds = time.perf_counter() - started
    with record_layers(model.encoder, model.front_end) as records:
        for samples in waveforms:
            recognizer.logits([samples])
            count_batch(records, model.head.weight, operations)
    rates = operations.rates(seconds)
    return Profile(
        encoder=model.settings.encoder,
        files=len(paths),
        rates=rates,
        footprint=footprint(model),
        activation_sparsity=1 - sum(operations.nonzero) / max(sum(operations.outputs), 1),
        real_time_factor=wall_seconds / seconds if seconds else None,
        device=recognizer.device,
        authors_macs_per_second=authors_macs_per_second(model, rates),
    )


def authors_macs_per_second(model: AcousticModel, rates: Rates) -> float | None:
    """Return multiplications a second as counted by Ponghiran & Roy's own code for improved_v2, or None for other
    encoders.

    Their counter charges the input of every layer twice, no recurrent product, and 8 H for each layer and frame. The
    number should only be compared with those of their paper. It is also None for a model with a front end and if there
    was no frame.
    """
    layers = [directions(each) for each in model.encoder.layers]
    v2 = (
        isinstance(each, GatedLayer) and each.recurrent_weight is not None and each.tracker is not None
        for of_one in layers for each in of_one
    )
    if model.front_end is not None or not rates.frames or not all(v2):
        return None
    frames, sizes = rates.frames, [sum(each.output_size for each in of_one) for of_one in layers]
    sent = [round(share * size * frames) for share, size in zip(rates.density, sizes, strict=True)]
    received = [rates.nonzero_inputs, *sent[:-1]]
    units = sum(4 * size * (count + 2 * frames) for size, count in zip(sizes, received, strict=True))
    return float(units + model.head.out_features * sent[-1]) / max(rates.seconds, 1e-9)


def describe(result: Profile) -> str:
    """Return the result of ``profile`` as text, one line for each figure."""
    rates, size = result.rates, result.footprint
    factor, authors = result.real_time_factor, result.authors_macs_per_second
    density = ", ".join(f"{each:.3f}" for each in rates.density)
    lines = [
        f"encoder              {result.encoder}, {size.parameters:,} parameters "
        f"({size.core_parameters:,} in the core), {size.footprint_bytes / 1e6:.2f} MB, "
        f"{size.stored_bytes / 1e6:.2f} MB on disk",
        f"audio                {result.files} files, {rates.seconds:.1f} s, {rates.frames} frames",
        f"MACs a second        {rates.macs_per_second / 1e6:.2f} million "
        f"(dense {rates.dense_macs_per_second / 1e6:.2f} million)",
        f"  in the core        {rates.core_macs_per_second / 1e6:.2f} million",
        f"ACs a second         {rates.acs_per_second / 1e6:.2f} million",
        f"a frame              {rates.macs_per_frame:,.0f} MACs, {rates.acs_per_frame:,.0f} ACs; an utterance "
        f"{rates.macs_per_utterance:,.0f} MACs, {rates.acs_per_utterance:,.0f} ACs",
        f"element-wise         {rates.element_wise_per_second / 1e6:.2f} million multiplications a second",
        f"density by layer     {density} (activation sparsity {result.activation_sparsity:.3f})",
        *(
            f"  over time, layer {layer} {' '.join(f'{each:.2f}' for each in tenths)} (tenths of the utterance)"
            for layer, tenths in enumerate(rates.density_over_time, start=1)
        ),
        f"connection sparsity  {size.connection_sparsity:.3f}",
        f"real-time factor     {factor:.4f} on {result.device}" if factor else "real-time factor     no audio",
    ]
    if authors is not None:
        lines.insert(4, f"  authors' counter   {authors / 1e6:.2f} million (Ponghiran & Roy's, to compare with theirs)")
    return "\n".join(lines)
