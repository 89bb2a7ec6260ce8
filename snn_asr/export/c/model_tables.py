"""The tables of an exported recogniser: features, labels, and the network without its weights (see rows.py)."""

from __future__ import annotations

import numpy as np

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.spectra import Spectra
from snn_asr.data.tokens import Tokens
from snn_asr.decoding.hypothesis import WORD_START
from snn_asr.decoding.segments.noise_gate import GROUPS
from snn_asr.export.c import fixed_point
from snn_asr.export.c.tables import Table, number, string, table, wrapped
from snn_asr.export.network import input_coder_of
from snn_asr.network.coder import Coder
from snn_asr.network.layers.base import LayerParts
from snn_asr.network.model import AcousticModel

_HIGHEST = np.float32(3e38)  # C99 has no literal for infinity


def feature_tables(features: FeatureSettings, flags: dict[str, bool]) -> list[Table]:
    """Return window, spectrum, mel filters and cepstra, and with the flag TIMED what the noise gate needs."""
    spectra = Spectra(features)
    first, end = spectra.reach.astype(np.int64).T
    weights = np.concatenate([row[a:b] for row, a, b in zip(spectra.filters, first, end, strict=True)])
    turn = np.cos(2 * np.pi * np.arange(spectra.fft_size // 2 + 1) / spectra.fft_size)
    reals = [
        ("window", spectra.window, "Povey's window"), ("cosine", turn, "of 2 pi k / FFT_SIZE"),
        ("mel_weights", weights, "of all filters"),
    ]
    tables = [
        *(fixed_point.tables(reals) if flags["FIXED"] else [table("real", *each) for each in reals]),
        table("uint16_t", "mel_first", first, "the first frequency of each mel filter"),
        table("uint16_t", "mel_end", end, "and the one behind its last"),
    ]
    if spectra.cosines is not None:
        tables.append(table("real", "cepstral", spectra.cosines, "energies to cepstral coefficients"))
    if flags["TIMED"]:
        bands = np.array_split(np.arange(features.mels), min(GROUPS, features.mels))
        ends = np.array([each[-1] + 1 for each in bands])
        tables.append(table("uint16_t", "group_ends", ends, "the mel filters of the gate's groups"))
        if spectra.cosines is not None:
            smooth = np.linalg.pinv(spectra.cosines).astype(np.float32)
            tables.append(table("float", "smooth_mels", smooth, "cepstral coefficients back to energies"))
    return tables


def normalization_tables(model: AcousticModel) -> list[Table]:
    """Return mean and deviation of the features."""
    given = model.normalization
    return [
        table("float", "mean", given.mean.numpy(), "of the features in training"),
        table("float", "deviation", given.deviation.numpy(), "and their deviation"),
    ]


def word_tables(tokens: Tokens) -> list[Table]:
    """Return the labels as they are written in words, and their roles there."""
    labels, roles = [], []
    for label in tokens.labels:
        labels.append(string(label.replace(WORD_START, "")))
        if tokens.kind in ("words", "phones"):
            roles.append("WHOLE_WORD")
        elif tokens.kind == "characters":
            roles.append("SEPARATOR" if label.isspace() else "WITHIN_WORD")
        else:
            roles.append("STARTS_WORD" if label.startswith(WORD_START) else "WITHIN_WORD")
    size = sum(len(label.encode("utf-8")) + 1 + 4 for label in tokens.labels)
    return [
        Table(f"static const char *const labels[CLASSES] = {{\n{wrapped(labels)}}};\n", size),
        Table(f"static const uint8_t roles[CLASSES] = {{\n{wrapped(roles)}}};\n", len(roles)),
    ]


def network_tables(model: AcousticModel, parts: list[LayerParts], flags: dict[str, bool]) -> list[Table]:
    """Return the values of single units, and those that all units of a layer share."""
    tables = []
    if parts[0].neurons:
        values = np.stack([np.stack([each.numpy() for each in part.neurons.values()]) for part in parts])
        tables.append(table("float", "neurons", values, "layer, quantity, unit"))
    if parts[0].threshold is not None:
        tables.append(table("float", "thresholds", np.array([each.threshold for each in parts], np.float32)))
    if parts[0].cell == "gated":
        highest = np.array([min(each.highest, _HIGHEST) for each in parts], np.float32)
        tables.append(table("float", "highest_candidate", highest))
    coders, size = [each.coder for each in parts if each.coder is not None], 12 if flags["POWERS"] else 8
    if coders:
        lines = "".join(f"    {_coder(each, flags['POWERS'])},\n" for each in coders)
        tables.append(Table(f"static const coder coders[LAYERS] = {{\n{lines}}};\n", size * len(parts)))
    given = input_coder_of(model)
    if given is not None:
        text = _coder(given, flags["POWERS"])
        tables.append(Table(f"static const coder input_coder = {text};\n", size))
    if model.encoder.smoothed:
        kept = np.array([float(each.coefficient) for each in model.encoder.integrators], np.float32)
        tables.append(table("float", "smoothing", kept, "of what layers feed"))
    if parts[0].smoothing:
        kept = np.array([each.smoothing for each in parts], np.float32)
        tables.append(table("float", "recurrent_smoothing", kept))
    return tables


def _coder(given: Coder, with_powers: bool) -> str:
    numbers = given.range * given.scale, given.threshold
    fields = [number("float", float(np.float32(each))) for each in numbers]
    return f"{{{', '.join([*fields, *([str(int(given.powers))] if with_powers else [])])}}}"
