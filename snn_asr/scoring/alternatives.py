"""References with alternatives, as in NIST's sclite: the reading with the fewest errors counts.

    i saw { an / the } owl      one of the alternatives, apart by "/"; they may hold several words, or further braces
    { @ / uh } well             "@" is no word
    (uh) well                   a word alone in parentheses may be left out

The readings of a reference are the paths through a graph whose edges are words (or nothing). The path that counts comes
from Levenshtein's recurrence over the nodes of the graph instead of the words of one text:

    cost[node][h] = min over edges (before, word) to node of
                        cost[before][h] + 1, cost[before][h - 1] + (word != hypothesis[h]), and cost[node][h - 1] + 1
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from snn_asr.errors import DataError

NO_WORD = "@"
_DEEPEST = 50  # braces within braces
_LARGEST_TABLE = 1 << 25  # costs of readings, of eight bytes each
_OPTIONAL = re.compile(r"\(([^()\s]+)\)")
_MARKS = re.compile(r"[{}]|(?:^|\s)\([^()\s]+\)(?=\s|$)")


@dataclass
class Graph:
    """All readings of a text. ``edges[node]`` has the edges (node before, word or None) that lead to a node.

    Node 0 is the beginning and the last node the end. Every edge comes from a node with a smaller number.
    """

    edges: list[list[tuple[int, str | None]]] = field(default_factory=lambda: [[]])

    def add_node(self, *edges: tuple[int, str | None]) -> int:
        """Add a node with the edges that lead to it, and return its number."""
        self.edges.append(list(edges))
        return len(self.edges) - 1


def is_marked(text: str) -> bool:
    """Whether a text holds braces, or a word alone in parentheses."""
    return _MARKS.search(text) is not None


def parse(text: str, where: object) -> Graph:
    """The readings of a text. Raises DataError about ``where`` for braces that do not match."""
    graph = Graph()
    words = _tokens(text)
    position, _ = _sequence(graph, words, 0, 0, depth=0, where=where)
    if position < len(words):
        raise DataError("'}' without a '{' before it", where, "correct the reference")
    return graph


def _tokens(text: str) -> list[str]:
    """Words and braces; within braces a "/" is a token of its own, with or without spaces around it."""
    tokens: list[str] = []
    depth = 0
    for part in re.split(r"([{}])", text):
        depth += {"{": 1, "}": -1}.get(part, 0)
        tokens += (part.replace("/", " / ") if depth > 0 else part).split()
    return tokens


def _sequence(
    graph: Graph, words: Sequence[str], position: int, node: int, depth: int, where: object
) -> tuple[int, int]:
    """Add the words from ``node`` on, to the end or, within braces, to "/" or "}". Returns the position and the
    node."""
    if depth > _DEEPEST:
        raise DataError(f"alternatives within more than {_DEEPEST} others", where, "correct the reference")
    while position < len(words):
        word = words[position]
        if word == "}" or (word == "/" and depth):
            break
        position += 1
        if word == "{":
            position, node = _alternatives(graph, words, position, node, depth + 1, where)
        elif word == NO_WORD:
            continue
        elif optional := _OPTIONAL.fullmatch(word):
            node = graph.add_node((node, optional[1]), (node, None))
        else:
            node = graph.add_node((node, word))
    return position, node


def _alternatives(
    graph: Graph, words: Sequence[str], position: int, node: int, depth: int, where: object
) -> tuple[int, int]:
    """Add alternatives, all from ``node``, up to their closing brace. Returns the position after it, and where they
    meet."""
    ends = []
    while True:
        position, end = _sequence(graph, words, position, node, depth, where)
        ends.append(end)
        if position == len(words):
            raise DataError("'{' without a '}' behind it", where, "correct the reference")
        position += 1
        if words[position - 1] == "}":
            return position, graph.add_node(*((end, None) for end in ends))


def first_reading(graph: Graph) -> list[str]:
    """The words of the first alternatives, with every word that may be left out."""
    return list(_backwards(graph, [0] * len(graph.edges)))


def best_reading(graph: Graph, hypothesis: Sequence[str]) -> list[str]:
    """The words of the reading with the fewest edits to a hypothesis; among equals the first alternative."""
    codes = {word: code for code, word in enumerate(dict.fromkeys(hypothesis))}
    heard = np.array([codes[word] for word in hypothesis], dtype=np.int64)
    columns = np.arange(len(hypothesis) + 1)
    costs = [columns]
    for edges in graph.edges[1:]:
        cost = np.full(len(columns), np.iinfo(np.int64).max)
        for before, word in edges:
            np.minimum(cost, _step(costs[before], word, codes, heard), out=cost)
        costs.append(np.minimum.accumulate(cost - columns) + columns)
    chosen, column = [0] * len(graph.edges), len(hypothesis)
    node = len(graph.edges) - 1
    while node:
        steps = [_step(costs[before], word, codes, heard)[column] for before, word in graph.edges[node]]
        if costs[node][column] not in steps:  # an inserted word
            column -= 1
            continue
        chosen[node] = steps.index(costs[node][column])
        before, word = graph.edges[node][chosen[node]]
        deleted = word is None or costs[before][column] + 1 == costs[node][column]
        node, column = before, column if deleted else column - 1
    return list(_backwards(graph, chosen))


def _step(before: np.ndarray, word: str | None, codes: Mapping[str, int], heard: np.ndarray) -> np.ndarray:
    """The costs after an edge, without insertions after its word."""
    if word is None:
        return before
    cost = before + 1
    np.minimum(cost[1:], before[:-1] + (heard != codes.get(word, -1)), out=cost[1:])
    return cost


def _backwards(graph: Graph, chosen: Sequence[int]) -> Iterator[str]:
    """The words of the path that takes the chosen edge to every node, from the first to the last."""
    node, words = len(graph.edges) - 1, []
    while node:
        node, word = graph.edges[node][chosen[node]]
        words += [word] if word is not None else []
    return reversed(words)


def choose_readings(
    references: Mapping[str, str], hypotheses: Mapping[str, str], marked: tuple[bool, bool] = (True, True)
) -> tuple[dict[str, str], dict[str, str]]:
    """Both sides as plain texts; ``marked`` tells which side's texts may hold marks.

    Of a reference the best reading for its hypothesis is taken, and of a hypothesis the first alternatives. Words are
    compared, whatever unit is scored. Raises DataError for a reference whose braces do not match; in such a hypothesis
    they are plain words.
    """
    plain = dict(hypotheses)
    for identifier, text in hypotheses.items():
        if marked[1] and is_marked(text):
            try:
                plain[identifier] = " ".join(first_reading(parse(text, identifier)))
            except DataError:
                plain[identifier] = text
    chosen = dict(references)
    for identifier, text in references.items():
        if marked[0] and is_marked(text):
            where = f"reference '{identifier}'"
            graph, heard = parse(text, where), plain.get(identifier, "").split()
            if len(graph.edges) * len(heard) > _LARGEST_TABLE:
                what = f"alternatives in a text of {len(graph.edges)} words are too many to choose from"
                raise DataError(what, where, "score it in shorter utterances")
            chosen[identifier] = " ".join(best_reading(graph, heard))
    return chosen, plain
