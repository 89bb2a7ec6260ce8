"""The demo grammar: connected digits, spelled words and codes, short commands: about a hundred words.

No two words sound alike (no "to", "for", "oh" beside digits and letters), and sentences are drawn so that every word
is heard often: of several candidates the one whose words were rarest so far is taken.
"""

from __future__ import annotations

import random
import zlib
from collections import Counter
from dataclasses import dataclass

DIGITS = "zero one two three four five six seven eight nine".split()
LETTERS = list("abcdefghijklmnopqrstuvwxyz")
NAMES = """adam alice anna boris carl clara david diego edith elena emma felix fiona flora frank greta hugo igor irene
jacob james julia karl kevin laura linus lucy marta max mia nina noah nora olga oscar otto paula peter quinn rosa ruby
sarah simon sofia tanya tom ulla uwe vera victor wanda wendy xavier xenia yara yusuf zac zoe""".split()

# A template is a row of slots; "a|b" leaves a choice, "*" before the choices makes the slot optional.
_COMMANDS = [
    "*please turn on|off the kitchen|bedroom|bathroom|garden light|fan|heater|radio|camera *now",
    "*please open|close|lock the front|back|left|right door|window *now",
    "*please play the next|last song|message",
    "*please stop|pause|start the song|radio|timer|message *now",
    "*please make the kitchen|bedroom|bathroom|garden louder|quieter",
    "*please set the timer|alarm at {digit} minutes|seconds",
    "wake me at {digit} thirty *today|tomorrow",
    "move forward|back|left|right {digit} steps",
    "what is the time|weather|news *now|today|tomorrow",
    "*please show me the weather|news|message|time *now|today|tomorrow",
]
KINDS = ("digits", "spelling", "command")
_KIND_WEIGHTS = (12, 26, 62)
_CANDIDATES = 20


@dataclass(frozen=True)
class Sentence:
    """One sentence: its kind (of KINDS) and its words, lower-case."""

    kind: str
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.words)


def vocabulary() -> frozenset[str]:
    """Every word the grammar can produce."""
    words = {"call", "dial", "spell", "name", "code", *DIGITS, *LETTERS}
    for template in _COMMANDS:
        for slot in template.replace("{digit}", "").split():
            words.update(slot.lstrip("*").split("|"))
    return frozenset(words)


def draw(generator: random.Random, count: int, held_out: bool) -> list[Sentence]:
    """Draw ``count`` sentences, all of them held out from training or none: splits share words, never sentences."""
    sentences, drawn, uses = [], set(), Counter()
    while len(sentences) < count:
        kind = generator.choices(KINDS, _KIND_WEIGHTS)[0]
        candidates = [Sentence(kind, tuple(_draw_words(generator, kind))) for _ in range(_CANDIDATES)]
        allowed = [sentence for sentence in candidates if is_held_out(sentence) == held_out]
        if allowed:
            # A new sentence before a repeated one; then the one whose rarest word is the rarest.
            chosen = min(allowed, key=lambda each: (each in drawn, sorted(uses[word] for word in each.words)))
            drawn.add(chosen)
            uses.update(chosen.words)
            sentences.append(chosen)
    return sentences


def is_held_out(sentence: Sentence) -> bool:
    """Whether a sentence belongs to development and test: one in five, by a checksum of its text."""
    return zlib.crc32(sentence.text.encode()) % 5 == 0


def _draw_words(generator: random.Random, kind: str) -> list[str]:
    if kind == "digits":
        digits = [generator.choice(DIGITS) for _ in range(generator.randint(2, 6))]
        return generator.choice([[], ["call"], ["dial"]]) + digits
    if kind == "spelling":
        if generator.random() < 0.5:
            return [generator.choice(["spell", "name"]), *generator.choice(NAMES)]
        return ["code", *(generator.choice(LETTERS + DIGITS) for _ in range(generator.randint(2, 5)))]
    words = []
    for slot in generator.choice(_COMMANDS).split():
        if slot.startswith("*") and generator.random() < 0.65:
            continue
        word = generator.choice(slot.lstrip("*").split("|"))
        words.append(generator.choice(DIGITS) if word == "{digit}" else word)
    return words
