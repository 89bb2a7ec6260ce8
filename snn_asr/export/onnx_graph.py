"""Building a graph of ONNX operators: constants, states, and the operators that several cells share."""

from __future__ import annotations

from typing import Any

import numpy as np

from snn_asr.network.coder import Coder

Node = tuple[str, list[str], str, dict[str, Any]]  # operator, inputs, output, attributes


class Graph:
    """A graph whose values are names. ``input`` (B, size) is given at each step; ``output`` is its result's name and
    size."""

    def __init__(self, name: str, size: int) -> None:
        self.input, self.size = name, size
        self.output = "", 0
        self._nodes: list[Node] = []
        self._constants: dict[str, np.ndarray] = {}
        self._states: dict[str, int] = {}

    def constant(self, values: np.ndarray | float) -> str:
        """A constant of float32 numbers."""
        name = f"constant{len(self._constants)}"
        self._constants[name] = np.asarray(values, np.float32)
        return name

    def op(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add an operator with one output, and return its name, which is ``name`` or a new one."""
        name = name or f"{kind.lower()}{len(self._nodes)}"
        self._nodes.append((kind, list(inputs), name, attributes))
        return name

    def state(self, name: str, size: int) -> str:
        """A state (B, size), which is zero before the first step. It may be declared several times."""
        self._states[name] = size
        return name

    def keep(self, state: str, value: str) -> str:
        """Make ``value`` the state after this step."""
        return self.op("Identity", value, name=f"{state}.next")

    def product(self, x: str, weight: np.ndarray) -> str:
        """x Wᵀ"""
        return self.op("MatMul", x, self.constant(np.ascontiguousarray(weight.T)))

    def affine(self, x: str, weight: np.ndarray, bias: np.ndarray) -> str:
        """x Wᵀ + b"""
        return self.op("Gemm", x, self.constant(weight), self.constant(bias), transB=1)

    def blend(self, kept: str, given: str, coefficient: float) -> str:
        """given + a (kept - given): a leaky integrator."""
        apart = self.op("Sub", kept, given)
        return self.op("Add", given, self.op("Mul", apart, self.constant(coefficient)))

    def gate(self, drive: str, place: int, size: int) -> str:
        """Block ``place`` of a drive (B, gates · size)."""
        bounds = (np.array([each], np.int64) for each in (place * size, (place + 1) * size, 1))
        start, end, axis = (self._integers(each) for each in bounds)
        return self.op("Slice", drive, start, end, axis)

    def above(self, value: str, threshold: float) -> str:
        """1 where the value is above the threshold, else 0."""
        return self.op("Cast", self.op("Greater", value, self.constant(threshold)), to=1)

    def hold(self, held: str, value: str, threshold: float) -> str:
        """The state ``held``, replaced by ``value`` where that differs by more than the threshold
        (network/changes.py)."""
        apart = self.op("Abs", self.op("Sub", value, held))
        changed = self.op("Greater", apart, self.constant(threshold))
        return self.keep(held, self.op("Where", changed, value, held))

    def send(self, name: str, current: str, coder: Coder, size: int) -> str:
        """The multi-level coder (network/coder.py): V = V - Y + I, Y = Q(V)."""
        membrane, output = self.state(f"{name}.membrane", size), self.state(f"{name}.output", size)
        membrane = self.keep(membrane, self.op("Add", self.op("Sub", membrane, output), current))
        clamped = self.op("Clip", membrane, self.constant(-coder.range), self.constant(coder.range))
        scaled = self.op("Mul", clamped, self.constant(coder.scale))
        whole = self.op("Floor", self.op("Abs", scaled))  # with its sign: cut to a whole number
        level = self.op("Mul", self.op("Mul", whole, self.op("Sign", scaled)), self.above(whole, coder.threshold))
        return self.keep(output, self.op("Mul", level, self.constant(coder.unit)))

    def whole(self, helper: Any) -> Any:
        """The onnx.GraphProto of one step."""
        name, size = self.output
        shapes = {self.input: ["batch", self.size], **self._state_shapes()}
        after = {name: ["batch", size], **{f"{state}.next": shape for state, shape in self._state_shapes().items()}}
        return helper.make_graph(
            self._made(helper), "step", _values(helper, shapes), _values(helper, after), self._initializers()
        )

    def scanned(self, helper: Any) -> Any:
        """The onnx.GraphProto of a sequence."""
        name, size = self.output
        states = self._state_shapes()
        after = {f"{state}.next": shape for state, shape in states.items()}
        body = helper.make_graph(
            self._made(helper), "body", _values(helper, {**states, self.input: ["batch", self.size]}),
            _values(helper, {**after, name: ["batch", size]}), self._initializers(),
        )
        outer = {state: f"{state}.first" for state in states}
        scan = helper.make_node(
            "Scan", [*outer.values(), "frames"], [*after, name], name="frames", body=body, num_scan_inputs=1
        )
        inputs = {"frames": ["time", "batch", self.size], **{outer[state]: shape for state, shape in states.items()}}
        outputs = {name: ["time", "batch", size], **after}
        return helper.make_graph([scan], "sequence", _values(helper, inputs), _values(helper, outputs))

    def _integers(self, values: np.ndarray) -> str:
        name = f"constant{len(self._constants)}"
        self._constants[name] = values
        return name

    def _state_shapes(self) -> dict[str, list[str | int]]:
        return {name: ["batch", size] for name, size in self._states.items()}

    def _made(self, helper: Any) -> list[Any]:
        return [
            helper.make_node(kind, inputs, [name], name=f"to_{name}", **attributes)
            for kind, inputs, name, attributes in self._nodes
        ]

    def _initializers(self) -> list[Any]:
        from onnx import numpy_helper

        return [numpy_helper.from_array(each, name) for name, each in self._constants.items()]


def _values(helper: Any, shapes: dict[str, Any]) -> list[Any]:
    return [helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()]  # 1: float32
