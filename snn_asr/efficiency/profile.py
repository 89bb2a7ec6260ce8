"""What a model costs on given audio: operations, sparsity, size, and time on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snn_asr.decoding.recognizer import Recognizer
from snn_asr.efficiency.footprint import footprint
from snn_asr.efficiency.operation_count import OperationCount
from snn_asr.efficiency.operations import count_batch, record_layers
from snn_asr.errors import DataError, SnnAsrError, as_user_error
from snn_asr.network.encoders import directions
from snn_asr.network.layers.gated import GatedLayer
from snn_asr.network.model import AcousticModel


def readable(recognizer: Recognizer, paths: Sequence[Path]) -> tuple[list[Path], dict[Path, SnnAsrError]]:
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


def profile(recognizer: Recognizer, paths: Sequence[Path]) -> dict[str, Any]:
    """Return the costs of recognising ``paths`` as JSON values.

    The files are recognised one by one, as on a device, after one warm-up. ``real_time_factor`` is the processing time
    divided by the duration; it includes computing the features but not reading the files. Raises DataError if there are
    no files or one cannot be read.
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
    found = {
        "encoder": model.settings.encoder,
        "files": len(paths),
        **operations.per_second(seconds),
        **footprint(model),
        "activation_sparsity": 1 - sum(operations.nonzero) / max(sum(operations.outputs), 1),
        "real_time_factor": wall_seconds / seconds if seconds else None,
        "device": recognizer.device,
    }
    return found | {"authors_macs_per_second": authors_macs_per_second(model, found)}


def authors_macs_per_second(model: AcousticModel, profile: Mapping[str, Any]) -> float | None:
    """Return multiplications a second as counted by Ponghiran & Roy's own code for improved_v2, or None for other
    encoders.

    Their counter charges the input of every layer twice, no recurrent product, and 8 H for each layer and frame. The
    number should only be compared with those of their paper. ``profile`` is what the function of that name has found so
    far. The result is also None for a model with a front end and if there was no frame.
    """
    layers = [directions(each) for each in model.encoder.layers]
    v2 = (
        isinstance(each, GatedLayer) and each.recurrent_weight is not None and each.tracker is not None
        for of_one in layers for each in of_one
    )
    if model.front_end is not None or not profile["frames"] or not all(v2):
        return None
    frames, sizes = profile["frames"], [sum(each.output_size for each in of_one) for of_one in layers]
    sent = [round(share * size * frames) for share, size in zip(profile["density"], sizes, strict=True)]
    received = [profile["nonzero_inputs"], *sent[:-1]]
    units = sum(4 * size * (count + 2 * frames) for size, count in zip(sizes, received, strict=True))
    return float(units + model.head.out_features * sent[-1]) / max(profile["seconds"], 1e-9)


def describe(result: dict[str, Any]) -> str:
    """Return the result of ``profile`` as text, one line for each figure."""
    factor, authors = result["real_time_factor"], result["authors_macs_per_second"]
    density = ", ".join(f"{each:.3f}" for each in result["density"])
    lines = [
        f"encoder              {result['encoder']}, {result['parameters']:,} parameters "
        f"({result['core_parameters']:,} in the core), {result['footprint_bytes'] / 1e6:.2f} MB, "
        f"{result['stored_bytes'] / 1e6:.2f} MB on disk",
        f"audio                {result['files']} files, {result['seconds']:.1f} s, {result['frames']} frames",
        f"MACs a second        {result['macs_per_second'] / 1e6:.2f} million "
        f"(dense {result['dense_macs_per_second'] / 1e6:.2f} million)",
        f"  in the core        {result['core_macs_per_second'] / 1e6:.2f} million",
        f"ACs a second         {result['acs_per_second'] / 1e6:.2f} million",
        f"a frame              {result['macs_per_frame']:,.0f} MACs, {result['acs_per_frame']:,.0f} ACs; an utterance "
        f"{result['macs_per_utterance']:,.0f} MACs, {result['acs_per_utterance']:,.0f} ACs",
        f"element-wise         {result['element_wise_per_second'] / 1e6:.2f} million multiplications a second",
        f"density by layer     {density} (activation sparsity {result['activation_sparsity']:.3f})",
        *(
            f"  over time, layer {layer} {' '.join(f'{each:.2f}' for each in tenths)} (tenths of the utterance)"
            for layer, tenths in enumerate(result["density_over_time"], start=1)
        ),
        f"connection sparsity  {result['connection_sparsity']:.3f}",
        f"real-time factor     {factor:.4f} on {result['device']}" if factor else "real-time factor     no audio",
    ]
    if authors is not None:
        lines.insert(4, f"  authors' counter   {authors / 1e6:.2f} million (Ponghiran & Roy's, to compare with theirs)")
    return "\n".join(lines)
