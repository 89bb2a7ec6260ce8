"""Segments of a recording, with the times of their tokens in seconds, from what was decoded frame by frame.

Live streams make theirs token by token (live/stream.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from snn_asr.data.tokens import Tokens
from snn_asr.decoding.beam import BeamDecoder
from snn_asr.decoding.forced_alignment import align
from snn_asr.decoding.greedy import Emission
from snn_asr.decoding.hypothesis import Alternative, Segment
from snn_asr.decoding.segments.segmenter import Found
from snn_asr.decoding.segments.spans import Spans


def timed_segment(
    tokens: Tokens, emissions: Sequence[Emission], step_seconds: float, alternatives: tuple[Alternative, ...] = ()
) -> Segment:
    """The segment of some tokens; ``step_seconds`` is the time from one frame to the next."""
    timed = tuple(each.timed(tokens.labels, step_seconds) for each in emissions)
    return Segment(tokens.decode(each.token for each in emissions), timed, alternatives)


def aligned_segment(
    tokens: Tokens, emissions: Sequence[Emission], segment: Found, step_seconds: float,
    alternatives: tuple[Alternative, ...] = (),
) -> Segment:
    """The segment of tokens that were aligned with all of its frames, each with the time of its sound (spans.py).

    ``segment`` tells where it begins and which of its frames are loud.
    """
    spans = Spans(tokens.kind, tokens.labels, step_seconds)
    spans.restart(segment.first_frame)
    spanned = spans.accept(emissions, segment.loud, segment.first_frame)
    return timed_segment(tokens, spanned, step_seconds, alternatives)


def searched_segment(
    tokens: Tokens, beam: BeamDecoder, logits: Tensor, segment: Found, step_seconds: float
) -> Segment:
    """The best result of a beam search over the logits (t, N) of one segment, with the other texts that were found.

    Of several token sequences for one text the best counts.
    """
    log_posteriors = logits.log_softmax(dim=-1).numpy()
    candidates = beam(log_posteriors)
    texts: dict[str, Alternative] = {}
    for each in candidates:
        text = tokens.decode(each.tokens)
        texts.setdefault(text, Alternative(text, each.score, each.acoustic))
    alternatives = tuple(texts.values())[: beam.settings.alternatives]
    aligned = [each.later(segment.first_frame) for each in align(log_posteriors, candidates[0].tokens)]
    return aligned_segment(tokens, aligned, segment, step_seconds, alternatives)
