"""Export of a model as one C99 file: features, noise gate, encoder, head and greedy CTC, for samples as they arrive.

templates/ has the arithmetic of the event engine (events/kernels) and of live streams (decoding/live/stream.py) in
pieces: values that are not zero add rows of weights, pruned weights are left out, and segments begin and end as in a
stream. Only the order of sums differs, and features are computed in single precision unless the C is compiled with
-DRECOGNIZER_DOUBLE.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from snn_asr import __version__
from snn_asr.decoding.segments.endpointing import EndpointSettings
from snn_asr.errors import unknown_name
from snn_asr.export.c.pieces import piece
from snn_asr.export.c.state import WORD_BYTES
from snn_asr.export.c.template_values import TemplateValues, template_values
from snn_asr.export.origin import MARK, exporting, sealed
from snn_asr.files import write_text, write_together
from snn_asr.network.model_folder import LoadedModel

SOURCE, HEADER, EXAMPLE, MAKEFILE = "recognizer.c", "recognizer.h", "main.c", "Makefile"
ARITHMETICS = FLOAT, FIXED = "float", "fixed"
PARTS = (
    "arithmetic.c", "fourier.c", "{spectrum}.c", "features.c", "events.c", "cells/{cell}.c", "network.c", "words.c",
    "noise.c", "gate.c", "stream.c",
)


@dataclass(frozen=True)
class ExportedC:
    """The bytes of constants and of the state on a 32-bit device, and the share of weights that are left out."""

    constants: int
    state: int
    pruned: float

    def describe(self) -> str:
        """One line for the user."""
        left_out = f", {self.pruned:.0%} of the weights left out" if self.pruned else ""
        return (
            f"{SOURCE}: {self.constants} bytes of constants in flash{left_out}, {self.state} bytes of state in RAM; "
            f"'make size' in the folder tells code and stack"
        )


def export_c(
    loaded: LoadedModel, folder: str | Path, precision: str | None, endpointing: EndpointSettings | None,
    features: str = FLOAT,
) -> ExportedC:
    """Write recognizer.c and recognizer.h to ``folder``, and main.c and Makefile if they are not there yet.

    ``precision`` is float32, int8 or int4, by default that of the model. ``features`` are computed in float or fixed
    arithmetic. Raises UsageError for a model that cannot be exported or an unknown name, and DataError if the folder
    cannot be written or has a recognizer.c that was not exported, or was edited since.
    """
    folder = Path(folder)
    if features not in ARITHMETICS:
        raise unknown_name("features", features, ARITHMETICS)
    fixed = features == FIXED
    made = template_values(loaded, precision or loaded.model.precision, endpointing, fixed)
    settings, of_features = loaded.model.settings, loaded.model.settings.features
    state = made.declared_state().rstrip("\n")
    title = (
        f"{MARK} {__version__} from model {loaded.fingerprint[:12]}: {settings.encoder}, "
        f"{settings.num_layers} x {settings.hidden_size}, {made.precision}."
    )
    values = {
        "title": title, "rate": of_features.sample_rate, "step": f"{of_features.stacked_seconds:.9g}",
        "ram": made.state_bytes, "word_bytes": WORD_BYTES, "state": state,
    }
    contents = {HEADER: sealed(piece(HEADER, values=values)), SOURCE: sealed(_source(made, title))}
    with exporting(folder, contents, within=1000):
        write_together(folder, contents)
        for example in (EXAMPLE, MAKEFILE):
            if not (folder / example).exists():
                write_text(folder / example, piece(example, values=values))
    return ExportedC(made.constant_bytes, made.state_bytes, made.pruned)


def _source(made: TemplateValues, title: str) -> str:
    begin = f'/* {title} */\n#include <math.h>\n#include <string.h>\n\n#include "{HEADER}"\n\n'
    left_out = {"noise.c": not made.flags["TIMED"], "gate.c": not made.flags["GATE"]}
    parts = (name for name in PARTS if not left_out.get(name))
    spectrum = "spectrum_fixed" if made.flags["FIXED"] else "spectrum"
    code = [piece(name.format(cell=made.piece, spectrum=spectrum), made.flags) for name in parts]
    tables = [each.text for each in made.tables]
    return "".join([begin, made.defined(), piece("types.c", made.flags), *tables, "\n", *code])
