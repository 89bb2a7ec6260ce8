"""Faults of model folders: what they claim, what is damaged, whose files they would overwrite."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from faults.table import fault
from faults.world import Outcome, World, flip_bit

CLAIMS = "memory and hangs: a header's claims"
DAMAGED = "silently wrong: damaged files"
LOST = "data lost"
NO_NUMBERS = "silently wrong: a model of no numbers"


def _claim(key: str, value: object) -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        model = world.model_run() / "model"
        world.edit_json(model / "config.json", lambda config: config["model"].__setitem__(key, value))
        world.rechecksum(model)
        return world.run("decode", model, world.recording())

    return does


for _key, _value in (
    ("num_layers", 10**9), ("hidden_size", 10**9), ("hidden_size", "8"), ("num_layers", -1), ("num_layers", 1.5),
    ("features", {"sample_rate": 10**12, "mels": 10}), ("encoder_options", None), ("encoder", "transformer"),
):
    fault(CLAIMS, f"config.json says {_key} {_value}", codes=4, says="run/model")(_claim(_key, _value))


@fault(DAMAGED, "compare where a digit of the model's metrics has changed", codes=4, says=r"metrics\.json: not")
def _other_metrics(world: World) -> Outcome:
    run = world.model_run()
    metrics = run / "model" / "metrics.json"
    metrics.write_text(metrics.read_text().replace('"parameters": ', '"parameters": 1'))
    return world.run("compare", run)


@fault(DAMAGED, "lm with a model one of whose tokens has changed", codes=4, says=r"tokens\.json: not as training")
def _other_tokens(world: World) -> Outcome:
    run = world.model_run()
    tokens = run / "model" / "tokens.json"
    tokens.write_text(tokens.read_text().replace('"low"', '"law"'))
    (world.folder / "t.txt").write_text("low high\n")
    return world.run("lm", world.folder / "t.txt", "--model", run, "--output", world.folder / "lm.arpa")


@fault("comparison", "runs whose references of the same utterances are others", codes=4, says="not tested on the same")
def _other_references(world: World) -> Outcome:
    first, second = world.model_run(), world.model_run("other")
    world.edit_json(second / "run.json", lambda run: run["overrides"].update(patience=3) or run.pop("settings", None))

    content = (second / "test.json").read_text()
    (second / "test.json").write_text(content.replace('"reference": "high', '"reference": "deep'))
    return world.run("compare", first, second)


@fault(CLAIMS, "config.json says that levels lie within an infinite range", codes=4, says="fixed_range")
def _(world: World) -> Outcome:
    model = world.model_run() / "model"
    options = {"range": "fixed", "fixed_range": math.inf}
    world.edit_json(model / "config.json", lambda config: config["model"]["encoder_options"].update(options))
    world.rechecksum(model)
    return world.run("stream", model, world.recording())


def _damaged(name: str, how: str) -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        model = world.model_run() / "model"
        if how == "flipped":
            flip_bit(model / name)
        elif how == "missing":
            (model / name).unlink()
        elif how == "a folder":
            (model / name).unlink()
            (model / name).mkdir()
        else:
            (model / name).write_bytes(b"")
        return world.run("decode", world.folder / "run", world.recording())

    return does


for _name in ("config.json", "weights.safetensors", "normalization.json", "tokens.json", "metrics.json"):
    for _how in ("flipped", "missing", "a folder", "empty"):
        fault(DAMAGED, f"model's {_name} is {_how}", codes=4, says=_name)(_damaged(_name, _how))


def _not_finite(tensor: str, value: float, *words: str) -> Callable[[World], Outcome]:
    return _changed(tensor, lambda each: each.fill_(value), *words)


def _changed(tensor: str, change: Callable[[Tensor], Tensor], *words: str) -> Callable[[World], Outcome]:
    """``decode`` with the tensors changed whose names end so, and the checksums those of the changed file."""
    return lambda world: world.run("decode", _with_changed(world, tensor, change), world.recording(), *words)


def _with_changed(world: World, tensor: str, change: Callable[[Tensor], Tensor]) -> Path:
    model = world.model_run() / "model"
    tensors = safetensors.torch.load_file(model / "weights.safetensors")
    tensors |= {name: change(each).contiguous() for name, each in tensors.items() if name.endswith(tensor)}
    safetensors.torch.save_file(tensors, model / "weights.safetensors")
    world.rechecksum(model)
    return model


for _value in (math.nan, math.inf):
    for _words in ((), ("--engine", "event")):
        _name = f"weights are {_value} {' '.join(_words)}"
        fault(NO_NUMBERS, _name, codes=4, says="finite")(_not_finite("head.weight", _value, *_words))


for _type in (torch.int32, torch.bool, torch.complex64, torch.uint8):
    fault(NO_NUMBERS, f"weights of type {_type}", codes=4, says="type|finite")(
        _changed("head.weight", lambda each, kind=_type: each.to(kind))
    )
fault(NO_NUMBERS, "variances below 0", codes=4, says="running_var' holds variances below 0")(
    _changed("running_var", lambda each: -each)
)
fault(NO_NUMBERS, "weights of float64 beyond what float32 holds", codes=4, says="finite")(
    _changed("head.weight", lambda each: each.double() * 1e300)
)
for _words, _code in (((), 3), (("--engine", "event"), 3), (("--beam", "2"), 3)):
    fault(NO_NUMBERS, f"weights so large that outputs overflow {' '.join(_words)}", codes=_code, says="no numbers")(
        _changed("head.weight", lambda each: each.sign() * 3e38, *_words)
    )


@fault(NO_NUMBERS, "tune with weights so large that outputs overflow", codes=4, says="no numbers")
def _tuned(world: World) -> Outcome:
    model, lm = _with_changed(world, "head.weight", lambda each: each.sign() * 3e38), world.folder / "lm.arpa"
    assert world.run("lm", world.folder / "data", "--output", lm).code == 0
    return world.run("tune", model, "--data-folder", world.folder / "data", "--lm", lm, "--weights", "1")


for _type in (torch.float64, torch.float16):
    fault(NO_NUMBERS, f"weights of type {_type} are numbers", codes=0)(
        _changed(".weight", lambda each, kind=_type: each.to(kind))
    )


@fault(LOST, "quantize into a folder with the user's own config.json", codes=4, says="config.json: is not of a model")
def _(world: World) -> Outcome:
    mine = world.folder / "mine"
    mine.mkdir()
    (mine / "config.json").write_text('{"my": "own"}')
    world.keep(mine / "config.json")
    return world.run("quantize", world.model_run(), mine)


@fault("unexpected error: outputs", "quantize into a folder below a file", codes=4, says="file/q")
def _(world: World) -> Outcome:
    (world.folder / "file").write_text("mine")
    world.keep(world.folder / "file")
    return world.run("quantize", world.model_run(), world.folder / "file" / "q")


@fault("unexpected error: disk", "quantize onto a full disk", codes=4, says="q/checksums.json: .*space")
def _(world: World) -> Outcome:
    run = world.model_run()
    with world.refusing(world.folder / "q"):
        return world.run("quantize", run, world.folder / "q")
