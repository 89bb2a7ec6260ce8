"""Recurrent networks that take one frame at a time: torch's, ONNX Runtime's, and the event engine's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.normalization import Normalization
from snn_asr.errors import UsageError
from snn_asr.events.engine import EventNetwork, event_network
from snn_asr.network.model import AcousticModel, ModelSettings
from snn_asr.training.loop.pruning import keep_largest, matrices

Step = Callable[[np.ndarray], np.ndarray]  # a frame (1, D) to the outputs of the last layer or the logits
# ONNX has the gates of torch in another order: update, reset, new; input, output, forget, cell.
GATE_ORDER = {"GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}


def torch_step(network: nn.RNNBase) -> Step:
    """torch.nn.GRU or LSTM, state carried on; ``network`` may be one that torch has quantised."""
    state = None

    def step(frame: np.ndarray) -> np.ndarray:
        nonlocal state
        with torch.inference_mode():
            output, state = network(torch.from_numpy(frame).unsqueeze(0), state)
        return output.numpy()

    return step


def network_of(model: AcousticModel, frames: np.ndarray) -> nn.RNNBase:
    """torch's GRU or LSTM with the weights of a trained one; that it is the model's encoder is tried on frames (T, D).

    Raises UsageError for a model that has more than these layers.
    """
    layers, settings = model.encoder.layers, model.settings
    if model.encoder.smoothed or model.encoder.input_coder is not None:
        raise UsageError("integrators and coded features are not in torch's layers", "encoder", "leave this model out")
    kind = type(layers[0].recurrence)
    network = kind(frames.shape[1], settings.hidden_size, settings.num_layers, batch_first=True).eval()
    names = [name for name, _ in layers[0].recurrence.named_parameters()]
    state = {
        name.replace("_l0", f"_l{index}"): getattr(layer.recurrence, name)
        for index, layer in enumerate(layers) for name in names
    }
    network.load_state_dict(state)
    given = torch.from_numpy(frames).unsqueeze(0)
    with torch.no_grad():
        torch.testing.assert_close(network(given)[0], model.encoder(given, torch.tensor([len(frames)]))[0])
    return network


def torch_quantized(network: nn.RNNBase) -> nn.Module:
    """Dynamically: int8 weights, activations quantised as they come."""
    holder = nn.Sequential(network)
    return torch.ao.quantization.quantize_dynamic(holder, {type(network)}, dtype=torch.qint8)[0]


def onnx_step(network: nn.RNNBase, quantize: bool = False) -> Step:
    """The same network in ONNX Runtime on one thread; ``quantize`` dynamically: it has an int8 LSTM of its own; a GRU
    is spelled out in products and gates, and it fuses the products with their quantisation."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(_serialized(network, quantize), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()][1:]
    state = {name: np.zeros((1, 1, network.hidden_size), np.float32) for name in names}
    last = (len(names) // network.num_layers) * (network.num_layers - 1)

    def step(frame: np.ndarray) -> np.ndarray:
        results = session.run(None, {"x": frame[None], **state})
        state.update(zip(names, results, strict=True))
        return results[last]

    return step


def _serialized(network: nn.RNNBase, quantize: bool) -> bytes:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = _spelled_out(network) if quantize and network.mode == "GRU" else _graph(network)
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    if not quantize:
        return made.SerializeToString()
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("whole.onnx", "quantized.onnx")]
        onnx.save(made, paths[0])
        quantize_dynamic(paths[0], paths[1], weight_type=QuantType.QInt8)
        return paths[1].read_bytes()


def _graph(network: nn.RNNBase):
    from onnx import TensorProto, helper, numpy_helper

    size, kind = network.hidden_size, network.mode
    fields = ("h", "c") if kind == "LSTM" else ("h",)
    nodes, constants, source = [], [], "x"
    inputs, outputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, network.input_size])], []
    for layer in range(network.num_layers):
        names = [f"{each}{layer}" for each in ("W", "R", "B")]
        constants += [numpy_helper.from_array(*each) for each in zip(_weights(network, layer), names, strict=True)]
        before, after = ([f"{field}{layer}{when}" for field in fields] for when in ("", "_after"))
        inputs += [helper.make_tensor_value_info(each, TensorProto.FLOAT, [1, 1, size]) for each in before]
        outputs += [helper.make_tensor_value_info(each, TensorProto.FLOAT, [1, 1, size]) for each in after]
        extra = {"linear_before_reset": 1} if kind == "GRU" else {}
        nodes.append(helper.make_node(kind, [source, *names, "", *before], ["", *after], hidden_size=size, **extra))
        source = after[0]
    return helper.make_graph(nodes, kind, inputs, outputs, constants)


def _spelled_out(network: nn.GRU):
    """A GRU in single operations, gates in torch's order: reset, update, new."""
    from onnx import TensorProto, helper, numpy_helper

    size, nodes, constants, source = network.hidden_size, [], [], "x"
    inputs, outputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, network.input_size])], []

    def operation(kind: str, name: str, *given: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, list(given), [name], **attributes))
        return name

    for layer in range(network.num_layers):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            values = getattr(network, f"{name}_l{layer}").detach().numpy().T
            constants.append(numpy_helper.from_array(np.ascontiguousarray(values), f"{name}{layer}"))
        before, after = f"h{layer}", f"h{layer}_after"
        gates = []
        for kind, given in (("ih", source), ("hh", before)):
            product = operation("MatMul", f"{kind}p{layer}", given, f"weight_{kind}{layer}")
            whole = operation("Add", f"{kind}s{layer}", product, f"bias_{kind}{layer}")
            gates.append([f"{kind}{gate}{layer}" for gate in "rzn"])
            nodes.append(helper.make_node("Split", [whole], gates[-1], axis=-1, num_outputs=3))
        (reset, update, new), (own_reset, own_update, own_new) = gates
        reset = operation("Sigmoid", f"r{layer}", operation("Add", f"rs{layer}", reset, own_reset))
        update = operation("Sigmoid", f"z{layer}", operation("Add", f"zs{layer}", update, own_update))
        back = operation("Mul", f"rn{layer}", reset, own_new)
        new = operation("Tanh", f"n{layer}", operation("Add", f"ns{layer}", new, back))
        kept = operation("Mul", f"k{layer}", update, operation("Sub", f"d{layer}", before, new))
        source = operation("Add", after, new, kept)
        inputs.append(helper.make_tensor_value_info(before, TensorProto.FLOAT, [1, 1, size]))
        outputs.append(helper.make_tensor_value_info(after, TensorProto.FLOAT, [1, 1, size]))
    return helper.make_graph(nodes, "GRU", inputs, outputs, constants)


def _weights(network: nn.RNNBase, layer: int) -> list[np.ndarray]:
    """W, R and both biases of a layer, each (1, ...)."""
    def ordered(name: str) -> np.ndarray:
        chunks = getattr(network, f"{name}_l{layer}").detach().chunk(len(GATE_ORDER[network.mode]))
        return torch.cat([chunks[gate] for gate in GATE_ORDER[network.mode]]).numpy()

    biases = np.concatenate([ordered("bias_ih"), ordered("bias_hh")])
    return [ordered("weight_ih")[None], ordered("weight_hh")[None], biases[None]]


def event_step(network: EventNetwork) -> Step:
    state = network.initial_state()
    return lambda frame: network.run(frame, state)


def spiking_model(
    layers: int, units: int, density: float, frames: np.ndarray, classes: int = 30, pruning: float = 0, block: int = 1
) -> AcousticModel:
    """An untrained improved_v2, pruned, that sends about this share of its values on these frames (T, D): the offset of
    its candidates is moved until it does."""
    torch.manual_seed(0)
    features = FeatureSettings(mels=frames.shape[1], stack=1)
    options = {"range": "fixed", "candidate": "clamp", "smoothing": 0.6}
    settings = ModelSettings(features, "improved_v2", units, layers, options)
    normalization = Normalization(torch.zeros(frames.shape[1]), torch.ones(frames.shape[1]))
    model = AcousticModel(settings, normalization, classes).eval()
    for weight in matrices(model.encoder).values():
        weight.data.mul_(keep_largest(weight.data, pruning, block))
    for layer in model.encoder.layers:
        low, high = -4.0, 4.0
        for _ in range(12):
            offset = (low + high) / 2
            nn.init.constant_(layer.normalization.bias.data[units:], offset)
            sent = densities(event_network(model), frames)[list(model.encoder.layers).index(layer) + 1]
            low, high = (offset, high) if sent < density else (low, offset)
    return model


def densities(network: EventNetwork, frames: np.ndarray) -> list[float]:
    """Share of non-zero values of the features and of each layer over frames (T, D)."""
    state = network.initial_state()
    network.run(frames, state)
    return [sent / (source.units * len(frames)) for sent, source in zip(state.sent, network.sources, strict=True)]
