"""The identity of a training run: everything that its result depends on, in values that can be compared.

Two runs are the same if all keys have the same values and the manifests the same content. The order of ``key=value``
words, the comments in a recipe and the names of its files do not count.
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
# Keys that earlier versions did not have, at the values that change nothing: their runs keep their identity. Where a
# key is listed here only later, so do the runs that have named it.
ASKING_NOTHING = {"initial_model": "", "quantize": "none", "blank_bias": 0.0, "head_epsilon": 1e-5}


@dataclass(frozen=True)
class Identity:
    """The identity of one run.

    ``settings`` are all keys of the recipe with JSON values, and ``data`` has the fingerprint of each split's manifest.
    ``recipe`` is the recipe's name, for people; its content is in the settings. ``initial_group`` is the group of the
    run that trained the initial model, or empty if there is none. The digest does not need it, because the content of
    that model is among the settings.
    """

    recipe: str
    settings: dict[str, Any]
    data: dict[str, str]
    device: str
    version: str = __version__
    initial_group: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON values for the run folder, with the digest."""
        return {**asdict(self), "identity": self.digest}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Identity | None:
        """The identity in a run folder's ``run.json``, without keys that ask nothing, or None if an earlier version
        wrote the file without one."""
        kinds = {"recipe": str, "settings": dict, "data": dict, "device": str, "version": str}
        if any(not isinstance(values.get(name), kind) for name, kind in kinds.items()):
            return None
        settings = values["settings"]
        settings = {key: value for key, value in settings.items() if (key, value) not in ASKING_NOTHING.items()}
        initial_group = str(values.get("initial_group", ""))
        return cls(**{name: values[name] for name in kinds} | {"settings": settings, "initial_group": initial_group})

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of everything that counts; equal for equal runs."""
        return json_fingerprint([self.version, self.settings, self.data, self.device])

    @property
    def group(self) -> str:
        """A digest of the recipe, the data, and all settings except the seed: runs that differ only in the seed share
        it.

        The name of the recipe counts too, because the objects that a recipe builds are known only by their text. The
        device and the version do not count: seeds of one row may come from several machines. In place of an initial
        model counts the group of its run, so that runs which go on with one seed each of a group are a group, too.
        """
        settings = {key: value for key, value in self.settings.items() if key != "seed"}
        if self.initial_group:
            settings["initial_model"] = self.initial_group
        return json_fingerprint([self.recipe, settings, self.data])

    def differences(self, new: Identity) -> str:
        """The differences of another run, such as ``dropout 0.1 → 0.2``, separated by commas."""
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


def json_fingerprint(value: object) -> str:
    """Hexadecimal SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
