"""The state of the exported recogniser: the members of its struct, and the memory that they take."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Bytes on a device of 32 bits, where a real is a float.
_BYTES = {
    "float": 4, "recognizer_real": 4, "int32_t": 4, "uint32_t": 4, "int16_t": 2, "char": 1, "uint8_t": 1, "void *": 4,
    "recognizer_listener": 4, "int": 4,
}
WORD_BYTES = 63  # of the longest word that is told whole


@dataclass(frozen=True)
class Member:
    """``kind name[shape];`` with its meaning."""

    kind: str
    name: str
    meaning: str
    shape: tuple[int, ...] = ()

    @property
    def nbytes(self) -> int:
        """With what it is filled up by, to whole words."""
        return -(-_BYTES[self.kind] * math.prod(self.shape) // 4) * 4

    def declared(self, indent: str) -> str:
        space = "" if self.kind.endswith("*") else " "
        declared = f"{indent}{self.kind}{space}{self.name}{''.join(f'[{size}]' for size in self.shape)};"
        return f"{declared:<40} /* {self.meaning} */\n"


@dataclass(frozen=True)
class Scratch:
    """What features and network need for a moment each; they share the memory."""

    spectrum: tuple[Member, ...]
    network: tuple[Member, ...]

    @property
    def nbytes(self) -> int:
        return max(sum(each.nbytes for each in part) for part in (self.spectrum, self.network))

    def declared(self) -> str:
        lines = "    union {\n"
        for name, part in (("spectrum", self.spectrum), ("network", self.network)):
            lines += f"        struct {{\n{''.join(each.declared(' ' * 12) for each in part)}        }} {name};\n"
        return f"{lines}    }} scratch; /* of the moment: nothing in it is remembered */\n"


def members(sizes: dict[str, int], flags: dict[str, bool]) -> list[Member]:
    """All that is remembered, for the constants and flags of the pieces in templates/."""
    s = sizes
    kept = [
        Member("recognizer_listener", "listener", "called with every event"),
        Member("void *", "context_of_listener", "given to it"),
        Member("int16_t", "samples", "of the next window", (s["WINDOW"],)),
        Member("uint32_t", "sample_count", "so many are there"),
        Member("float", "input", "of the encoder: frames side by side", (s["STACK"] * s["SIZE"],)),
        Member("uint32_t", "stacked", "so many frames are there"),
    ]
    if flags["DELTAS"]:
        kept += [
            Member("float", "context", "frames whose slopes are worked out", (s["CONTEXT"], s["BASE"])),
            Member("uint32_t", "base_count", "frames so far"),
        ]
    kept += _network(s, flags)
    kept += _noise(s) if flags["TIMED"] else []
    kept += _gate(s) if flags["GATE"] else []
    return kept + _words(s, flags)


def scratch(sizes: dict[str, int], flags: dict[str, bool], longest_row: int, longest_drive: int) -> Scratch:
    kind = "int32_t" if flags["FIXED"] else "recognizer_real"
    spectrum = [Member(kind, "samples", "of one window", (sizes["FFT_SIZE"],))]
    if not flags["FIXED"]:  # whole numbers have their powers in the samples' place
        spectrum.append(Member("recognizer_real", "power", "of each frequency", (sizes["FFT_SIZE"] // 2,)))
    network = [
        Member("float", "product", "of a source's values and weights", (longest_row,)),
        Member("float", "drive", "of a layer", (longest_drive,)),
        Member("float", "logits", "of the head", (sizes["CLASSES"],)),
    ]
    if flags["INTEGERS"]:
        network.append(Member("int32_t", "sums", "of products, in whole numbers", (longest_row,)))
    if flags["CHANGES"]:
        network.append(Member("float", "changes", "of a source", (max(sizes["INPUT"], sizes["HIDDEN"]),)))
    return Scratch(tuple(spectrum), tuple(network))


def _network(s: dict[str, int], flags: dict[str, bool]) -> list[Member]:
    kept = [Member("float", "units", "layer, quantity of the cell, unit", (s["LAYERS"], s["STATES"], s["HIDDEN"]))]
    if flags["INPUT_CODER"]:
        kept.append(Member("float", "coded", "what was sent of the input, and its membranes", (2, s["INPUT"])))
    if flags["INPUT_HELD"]:
        kept.append(Member("float", "held_input", "the input as it was when it last had changed", (s["INPUT"],)))
    if flags["CHANGES"]:
        kept += [
            Member("float", "known", "what was told of the values of sources that send changes", (s["KNOWN"],)),
            Member("float", "told", "the sums of the products of all that was told", (s["TOLD"],)),
        ]
    if flags["WAITING"]:
        kept.append(Member("float", "waiting", "recurrent products for the next frame", (s["LAYERS"], s["BACK"])))
    if flags["RECURRENT_SMOOTHING"]:
        kept.append(Member("float", "fed_back", "their running means", (s["LAYERS"], s["BACK"])))
    if flags["SMOOTHING"]:
        shape = (s["LAYERS"], s["LONGEST_FED"])
        kept.append(Member("float", "integrated", "running means of what layers feed", shape))
    return kept


def _noise(s: dict[str, int]) -> list[Member]:
    return [
        Member("float", "group_energies", "of the next input and the last, summed", (s["AVERAGED"], s["GROUPS"])),
        Member("float", "energies", "of the last inputs", (s["ENERGIES"], s["GROUPS"])),
        Member("uint32_t", "energy_next", "where the next ones go"),
        Member("uint32_t", "energy_count", "so many are there"),
        Member("uint8_t", "loud", "which of the last inputs rise above the noise", (s["REACH"],)),
        Member("uint32_t", "first_frame", "where the segment begins"),
        Member("uint32_t", "previous_end", "where the last token ended, or the segment began"),
    ]


def _gate(s: dict[str, int]) -> list[Member]:
    return [
        Member("float", "held", "inputs of which it is not known yet whether they pass", (s["HELD"], s["INPUT"])),
        Member("uint8_t", "held_loud", "which of them rise above the noise", (s["HELD"],)),
        Member("uint32_t", "held_first", "place of the oldest"),
        Member("uint32_t", "held_count", "so many are there"),
        Member("uint32_t", "rise", "inputs on end above the noise"),
        Member("uint32_t", "still", "inputs since the last rise"),
        Member("int", "gate_open", "the sound passes"),
        Member("int", "gate_decided", "it is known whether the sound began with speech"),
        Member("int", "gate_heard", "some sound was more than digital silence"),
        Member("uint32_t", "segment_frames", "inputs heard in this segment"),
    ]


def _words(s: dict[str, int], flags: dict[str, bool]) -> list[Member]:
    kept = [Member("uint32_t", "frames", "inputs so far, those that did not pass too")]
    if flags["CLASSIFICATION"]:
        kept.append(Member("float", "last_logits", "of the last frame", (s["CLASSES"],)))
    else:
        kept += [
            Member("int", "token", "of the last frame"),
            Member("uint32_t", "token_start", "frame where its sound began"),
            Member("uint32_t", "token_frames", "it was best on so many"),
            Member("float", "posteriors", "their sum"),
            Member("uint32_t", "blanks", "frames since the last token or segment"),
        ]
    return kept + [
        Member("char", "word", "as far as it has come", (WORD_BYTES + 1,)),
        Member("uint32_t", "word_length", "in bytes; where no more letters fit, the most"),
        Member("uint32_t", "word_start", "frame of its first token"),
        Member("uint32_t", "word_end", "frame behind its last token"),
        Member("int", "word_begun", "a token belongs to it"),
        Member("float", "word_confidence", "of its least certain token"),
        Member("int", "segment_begun", "a token belongs to the segment"),
        Member("uint32_t", "segment_start", "frame of its first token"),
        Member("uint32_t", "segment_end", "frame behind its last token"),
        Member("float", "segment_confidence", "of its least certain token"),
    ]
