"""Everything that fills the files in templates/ for a trained model: flags, sizes and numbers, and all tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.features import DELTA_LOOK_AHEAD_FRAMES
from snn_asr.data.spectra import ENERGY_FLOOR, PREEMPHASIS, Spectra
from snn_asr.data.tokens import Tokens
from snn_asr.decoding.segments.endpointing import DEFAULT, Endpointer, EndpointSettings
from snn_asr.decoding.segments.noise_gate import GROUPS, LOWEST, MARGIN, Gate
from snn_asr.decoding.segments.spans import Spans
from snn_asr.errors import unknown_name
from snn_asr.events.cells import CELLS
from snn_asr.events.levels import in_levels
from snn_asr.events.sources import Source, layers_of
from snn_asr.export.c import fixed_point, rows, state
from snn_asr.export.c.model_tables import feature_tables, network_tables, normalization_tables, word_tables
from snn_asr.export.c.pieces import CELL_PIECES, FUNCTIONS
from snn_asr.export.c.source_rows import SourceRows, rows_of
from snn_asr.export.c.tables import Table, number, wrapped
from snn_asr.export.network import exportable_sources, input_coder_of
from snn_asr.network.cells.gated import NEAREST
from snn_asr.network.integers import INT4, LARGEST, WEIGHT_PRECISIONS
from snn_asr.network.layers.base import LayerParts
from snn_asr.network.model import AcousticModel
from snn_asr.network.model_folder import LoadedModel
from snn_asr.network.tasks import BLANK, CLASSIFICATION


@dataclass(frozen=True)
class TemplateValues:
    """Everything that fills the files in templates/.

    ``piece`` is the file of the cell. ``sizes`` are whole numbers and ``numbers`` other ones, both by name. ``pruned``
    is the share of the weights that are left out.
    """

    piece: str
    precision: str
    flags: dict[str, bool]
    sizes: dict[str, int]
    numbers: dict[str, float]
    tables: list[Table]
    members: list[state.Member]
    scratch: state.Scratch
    pruned: float

    @property
    def constant_bytes(self) -> int:
        return sum(each.nbytes for each in self.tables)

    @property
    def state_bytes(self) -> int:
        return sum(each.nbytes for each in self.members) + self.scratch.nbytes

    def declared_state(self) -> str:
        return "".join(each.declared("    ") for each in self.members) + self.scratch.declared()

    def defined(self) -> str:
        """Sizes and numbers as constants in C."""
        sizes = wrapped([f"{name} = {value}" for name, value in self.sizes.items()])
        numbers = "".join(f"#define {name} {number('float', value)}\n" for name, value in self.numbers.items())
        return f"enum {{\n{sizes}}};\n{numbers}\n"


@torch.no_grad()
def template_values(
    loaded: LoadedModel, precision: str, endpointing: EndpointSettings | None, fixed: bool = False
) -> TemplateValues:
    """The values of a model; with ``fixed`` its features are computed in whole numbers.

    Raises UsageError for a model that cannot be exported, and for an unknown precision.
    """
    if precision not in WEIGHT_PRECISIONS:
        raise unknown_name("precision", precision, WEIGHT_PRECISIONS)
    model, settings = loaded.model, loaded.model.settings
    sources = in_levels(exportable_sources(model, frozenset(CELL_PIECES), "C", precision, powers=True))
    parts, source_rows = layers_of(sources), rows_of(sources)
    timed = settings.task != CLASSIFICATION
    gate = endpointing if timed else None
    layouts = [[rows.laid_out(each) for each in source.matrices] for source in source_rows]
    sparse = any(each.starts is not None for own in layouts for each in own)
    flags = _flags(model, sources, precision) | {
        "SPARSE": sparse, "LONG": rows.needs_long_starts(layouts), "TIMED": timed, "GATE": gate is not None,
        "FIXED": fixed,
    }
    sizes = _sizes(model, parts, source_rows)
    numbers = _numbers(model, sources)
    if fixed:
        sizes |= fixed_point.sizes(sizes["FFT_SIZE"])
        numbers |= {"LOGARITHM_UNIT": fixed_point.LOGARITHM_UNIT}
    else:
        numbers |= {"PREEMPHASIS": PREEMPHASIS, "ENERGY_FLOOR": ENERGY_FLOOR}
    if timed:
        sizes |= _noise(settings.features, loaded.tokens, endpointing or DEFAULT)
        numbers |= {"MARGIN": MARGIN, "LOWEST_ENERGY": LOWEST}
    if gate is not None:
        sizes |= _gate(gate, settings.features)
    tables = [
        *feature_tables(settings.features, flags), *normalization_tables(model), *word_tables(loaded.tokens),
        *network_tables(model, parts, flags), *rows.tables_of(source_rows, layouts),
    ]
    longest, driven = max(each.fed + each.back for each in source_rows), max(each.fed for each in source_rows)
    longest += max(rows.BLOCKS)  # the padding of a row's last block adds zeros after it
    left_out = sum(each.left_out for own in layouts for each in own)
    weights = sum(each.rows.size for source in source_rows for each in source.matrices)
    return TemplateValues(
        CELL_PIECES[parts[0].cell].name, precision, flags, sizes, numbers, tables, state.members(sizes, flags),
        state.scratch(sizes, flags, longest, driven), left_out / weights,
    )


def _flags(model: AcousticModel, sources: list[Source], precision: str) -> dict[str, bool]:
    features, first = sources[0].values, layers_of(sources)[0]
    cell = CELLS[first.cell]
    powers = first.powers or first.shifting or features.shifts
    smoothing, back_smoothing = model.encoder.smoothed, first.smoothing > 0
    coder, coded = first.coder is not None, input_coder_of(model) is not None
    held, holding = features.change is not None, first.change is not None
    recurrent, own = first.recurrent is not None, model.settings.features
    return {
        **{each: each in CELL_PIECES[first.cell].functions for each in FUNCTIONS}, "RESET_FIRST": cell.resets_first,
        "INTEGRATORS": smoothing or back_smoothing, "SMOOTHING": smoothing, "RECURRENT_SMOOTHING": back_smoothing,
        "BIASED": "bias" in first.neurons, "CODER": coder, "INPUT_CODER": coded, "LEVELS": coder or coded,
        "INPUT_HELD": held, "HOLDING": holding, "HOLD": held or holding, "CHANGES": held or holding,
        "RECURRENT": recurrent, "WAITING": recurrent and not holding,
        "ADDED_RECURRENCE": recurrent and not cell.takes_recurrent, "THRESHOLDED": not first.kept,
        "ADAPTIVE": first.adaptive, "HARD_RESET": first.cell == "hard_reset",
        "POWERS": powers, "SHIFTING": first.shifting, "MFCC": own.kind == "mfcc", "DELTAS": own.deltas,
        "INTEGERS": precision in LARGEST, "NARROW": precision == INT4,
        "CLASSIFICATION": model.settings.task == CLASSIFICATION,
    }


def _numbers(model: AcousticModel, sources: list[Source]) -> dict[str, float]:
    """The constants of the network."""
    numbers, threshold, first = {}, sources[0].values.change, layers_of(sources)[0]
    if first.shifting:
        numbers["NEAREST"] = NEAREST
    if threshold is not None:
        numbers["INPUT_THRESHOLD"] = threshold
    if (coder := input_coder_of(model)) is not None:
        numbers |= {"INPUT_SCALE": float(np.float32(coder.scale)), "INPUT_UNIT": float(np.float32(coder.unit))}
    return numbers


def _sizes(model: AcousticModel, parts: list[LayerParts], sources: list[SourceRows]) -> dict[str, int]:
    features, sources = model.settings.features, sources[: len(parts) + 1]
    changing = [each for each in sources if each.change is not None]
    gates = {name.upper(): place for place, name in enumerate(CELLS[parts[0].cell].gates)}
    return gates | {
        "WINDOW": features.window_samples, "HOP": features.hop_samples, "FFT_SIZE": Spectra(features).fft_size,
        "MELS": features.mels, "BASE": features.base_size, "SIZE": features.size, "STACK": features.stack,
        "CONTEXT": 2 * DELTA_LOOK_AHEAD_FRAMES + 1, "LOOK_AHEAD": DELTA_LOOK_AHEAD_FRAMES,
        "INPUT": features.stacked_size, "LAYERS": len(parts), "HIDDEN": model.settings.hidden_size,
        "STATES": CELL_PIECES[parts[0].cell].states, "BACK": sources[-1].back, "CLASSES": sources[-1].fed,
        "LONGEST_FED": max(each.fed for each in sources[1:]),
        "KNOWN": sum(each.units for each in changing), "TOLD": sum(each.fed + each.back for each in changing),
        "BLANK": BLANK, "WORD_BYTES": state.WORD_BYTES,
    }


def _noise(features: FeatureSettings, tokens: Tokens, endpointing: EndpointSettings) -> dict[str, int]:
    gate = Gate(features.stacked_seconds, endpointing.silence_seconds)
    spans = Spans(tokens.kind, tokens.labels, features.stacked_seconds)
    groups = min(GROUPS, features.mels)
    return {
        "GROUPS": groups, "AVERAGED": gate.averaged, "ENERGIES": gate.remembered, "REACH": spans.reach,
        "TAIL": spans.tail,
    }


def _gate(endpointing: EndpointSettings, features: FeatureSettings) -> dict[str, int]:
    gate = Gate(features.stacked_seconds, endpointing.silence_seconds)
    endpointer = Endpointer(endpointing, features.stacked_seconds)
    return {
        "REST": gate.rest, "ONSET": gate.onset, "HANG": gate.hang, "LEAD": gate.lead,
        "HELD": max(gate.rest, gate.lead) + 1, "WORDLESS": endpointer.wordless, "PAUSE": endpointer.pause,
        "LONGEST": endpointer.longest,
    }
