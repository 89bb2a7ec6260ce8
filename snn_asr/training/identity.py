"""What decides the result of a training run, in values that can be compared: the same identity, the same result.

The order of ``key=value`` words, comments in a recipe and the names of its files do not count: two runs are one and the
same where all keys have the same values and the manifests the same content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from snn_asr import __version__
from snn_asr.errors import listed

SHOWN = 8  # differences that a message lists


@dataclass(frozen=True)
class Identity:
    """``settings`` are all keys of the recipe with JSON values, ``data`` the fingerprint of the manifest of each split.

    ``recipe`` is the recipe's name, for people: what it says is in the settings.
    """

    recipe: str
    settings: dict[str, Any]
    data: dict[str, str]
    device: str
    version: str = __version__

    def to_json(self) -> dict[str, Any]:
        """JSON values for the run folder, with the digest of what counts."""
        return {**asdict(self), "identity": self.digest}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Identity | None:
        """The identity in a run folder's ``run.json``, or None where an earlier program wrote it without."""
        kinds = {"recipe": str, "settings": dict, "data": dict, "device": str, "version": str}
        if any(not isinstance(values.get(name), kind) for name, kind in kinds.items()):
            return None
        return cls(**{name: values[name] for name in kinds})

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of everything that counts; equal for equal runs."""
        return fingerprint_of([self.version, self.settings, self.data, self.device])

    @property
    def group(self) -> str:
        """A digest of the recipe, the settings but the seed, and the data: runs that are seeds of one thing share it.

        The recipe counts by its name too, because the objects that it builds are known by what is written alone.
        """
        settings = {key: value for key, value in self.settings.items() if key != "seed"}
        return fingerprint_of([self.recipe, settings, self.data])

    def differences(self, new: Identity) -> str:
        """Which values another run has, as ``dropout 0.1 → 0.2``, a comma between them."""
        return listed(list(self._differences(new)), SHOWN)

    def _differences(self, new: Identity) -> Iterator[str]:
        for key in sorted(self.settings.keys() | new.settings.keys()):
            before, after = (each.settings.get(key, "none") for each in (self, new))
            if before != after:
                yield f"{key} {_shown(before)} → {_shown(after)}"
        for split in sorted(self.data.keys() | new.data.keys()):
            if self.data.get(split) != new.data.get(split):
                yield f"the content of {split}.json"
        for name in ("device", "version"):
            if getattr(self, name) != getattr(new, name):
                yield f"{name} {getattr(self, name)} → {getattr(new, name)}"


def fingerprint_of(value: object) -> str:
    """Hexadecimal SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
