"""The demo grammar: connected digits, spelled words and codes, short commands: about a hundred words.

No two words sound alike (no "to", "for", "oh" beside digits and letters), and sentences are drawn so that every word
is heard often: of several candidates the one whose words were rarest so far is taken.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

DIGITS = "zero one two three four five six seven eight nine".split()
# Names are spelled with letters that are told apart easily: of b, c, d, e, g, p, t, v, z only e, of m and n only n.
NAMES = """alex alan ella elena erik felix fiona frank hans helen ian irina iris jane jason karl laura lena lisa louis
nina noah nora olaf oskar rene rosa ryan sarah sean susan wayne xenia yuri yana quinn hanna julia""".split()
LETTERS = sorted(set("".join(NAMES)))

# A template is a row of slots; "a|b" leaves a choice, "*" before the choices makes the slot optional.
_COMMANDS = [
    "*please kitchen|bedroom|bathroom|garden light|fan|heater|radio|camera on|off *now",
    "*please open|close|lock the front|back|left|right door|window *now",
    "*please play the next|last song|message *now",
    "*please stop|pause|start the song|radio|timer|camera *now",
    "*please make it louder|quieter|warmer *now",
    "*please set the timer|alarm at {digit} minutes|seconds *now",
    "*please wake me at {digit} thirty *today|tomorrow",
    "*please move forward|back|left|right {digit} steps *now",
    "what is the time|weather|news *now|today|tomorrow",
    "*please show me the weather|news|message *now|today|tomorrow",
]
KINDS = ("digits", "spelling", "command")
TRAIN, DEVELOPMENT, TEST = "train", "dev", "test"  # splits
_KIND_WEIGHTS = (30, 15, 55)
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


def draw(generator: random.Random, count: int, split: str) -> list[Sentence]:
    """Draw ``count`` sentences of a split (train, dev or test): splits share words, never sentences."""
    sentences: list[Sentence] = []
    drawn: set[Any] = set()
    uses: Counter[str] = Counter()
    while len(sentences) < count:
        kind = generator.choices(KINDS, _KIND_WEIGHTS)[0]
        candidates = [Sentence(kind, tuple(_draw_words(generator, kind))) for _ in range(_CANDIDATES)]
        allowed = [sentence for sentence in candidates if split_of(sentence) == split]
        if allowed:
            # In development and test a new sentence before a repeated one; then the one with the rarest words.
            repeated = drawn if split != TRAIN else frozenset()
            chosen = min(allowed, key=lambda each: (each in repeated, sorted(uses[word] for word in each.words)))
            drawn.add(chosen)
            uses.update(chosen.words)
            sentences.append(chosen)
    return sentences


def split_of(sentence: Sentence) -> str:
    """The split that a sentence belongs to, by a checksum of its text: one in five is held out from training, and of
    these three in five are for the test and two for development."""
    first, second, *_ = hashlib.sha256(sentence.text.encode()).digest()
    if first % 5:
        return TRAIN
    return TEST if second % 5 < 3 else DEVELOPMENT


def _draw_words(generator: random.Random, kind: str) -> list[str]:
    if kind == "digits":
        digits = [generator.choice(DIGITS) for _ in range(generator.randint(2, 4))]
        return generator.choice([[], ["call"], ["dial"]]) + digits
    if kind == "spelling":
        if generator.random() < 0.5:
            return [generator.choice(["spell", "name"]), *generator.choice(NAMES)]
        return ["code", *(generator.choice(LETTERS + DIGITS) for _ in range(generator.randint(2, 3)))]
    words = []
    for slot in generator.choice(_COMMANDS).split():
        if slot.startswith("*") and generator.random() < 0.8:
            continue
        word = generator.choice(slot.lstrip("*").split("|"))
        words.append(generator.choice(DIGITS) if word == "{digit}" else word)
    return words
