"""ONNX graphs become lists of layers: real graphs against published counts, small ones against arithmetic, damaged ones refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from prema_gym.errors import ModelError
from prema_gym.hardware.layers import BatchedGemm, Conv2d, Embedding, Gemm, Loop, Vector
from prema_gym.hardware.program import compile_model
from prema_gym.workloads.importing import from_onnx
from prema_gym.workloads.models import MODELS

onnx = pytest.importorskip("onnx")
helper, TensorProto = onnx.helper, onnx.TensorProto
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
PUBLISHED_GMACS = {
    "light_bvlc_alexnet": 0.655,
    "light_densenet121": 2.834,  # commonly given as 2.8 to 2.9
    "light_inception_v1": 1.432,
    "light_inception_v2": 2.019,  # Ioffe & Szegedy: about 2 billion
    "light_resnet50": 4.089,
    "light_shufflenet": 0.125,  # ShuffleNet 1x, 3 groups: 137 million with its own counting of channels; the graph's own sum
    "light_squeezenet": 0.349,  # version 1.1
    "light_vgg19": 19.63,
    "light_zfnet512": 1.482,
}


def save(tmp_path, nodes, inputs, outputs, weights=(), opset=17):
    """Write a graph; ``inputs`` are (name, shape, type?), ``weights`` (name, shape)."""
    given = [helper.make_tensor_value_info(name, kind[0] if kind else TensorProto.FLOAT, shape) for name, shape, *kind in inputs]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    kept = [onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights]
    graph = helper.make_graph(nodes, "g", given, made, kept)
    path = tmp_path / "graph.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), path)
    return path


def layers(model, kind):
    return [layer for layer in model.network().layers if isinstance(layer, kind)]


@pytest.mark.parametrize("name", PUBLISHED_GMACS)
def test_real_graphs_have_their_published_macs_and_nothing_is_left_out(name):
    model = from_onnx(LIGHT / f"{name}.onnx")
    assert model.unsupported == ()
    assert model.macs() / 1e9 == pytest.approx(PUBLISHED_GMACS[name], rel=0.01)


@pytest.mark.parametrize(("graph", "ours"), [("light_bvlc_alexnet", "CNN-AN"), ("light_resnet50", "ResNet-50")])
def test_an_import_costs_what_the_same_network_of_the_library_costs(graph, ours):
    theirs, library = (compile_model(model, batch=4) for model in (from_onnx(LIGHT / f"{graph}.onnx"), MODELS[ours]))
    assert theirs.total_cycles == pytest.approx(library.total_cycles, rel=0.01)


def test_activations_norms_and_biases_are_fused_and_a_residual_sum_is_not(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Sigmoid", ["r"], ["s"]),
        helper.make_node("Mul", ["r", "s"], ["m"]),  # of one layer's output alone: SiLU
        helper.make_node("Add", ["m", "x"], ["y"]),
    ]
    model = from_onnx(save(tmp_path, nodes, [("x", [1, 8, 6, 6])], ["y"], [("w", (8, 8, 3, 3))]))
    assert [type(layer).__name__ for layer in model.network().layers] == ["Conv2d", "Vector"]
    assert model.macs() == 6 * 6 * 8 * 8 * 9


def test_a_transposed_convolution_by_hand(tmp_path):
    nodes = [helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])]
    model = from_onnx(save(tmp_path, nodes, [("x", [1, 4, 5, 5])], ["y"], [("w", (4, 3, 2, 2))]))
    assert model.macs() == 5 * 5 * 4 * 3 * 4
    assert layers(model, Vector)[0].outputs == 3 * 10 * 10


@pytest.mark.parametrize("attributes", [{"dilations": [2, 2]}, {"dilations": [2, 2], "pads": [2, 2, 2, 2]}, {"group": 4}])
def test_dilated_and_grouped_convolutions_count_their_taps_only(tmp_path, attributes):
    channels = 8 // attributes.get("group", 1)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], **attributes)]
    path = save(tmp_path, nodes, [("x", [1, 8, 9, 9])], ["y"], [("w", (8, channels, 3, 3))])
    (conv,) = layers(from_onnx(path), Conv2d)
    size = {"group": 7, "dilations": 5}.get(next(iter(attributes)), 0) if "pads" not in attributes else 9
    assert (conv.out_height, conv.out_width) == (size, size)
    assert from_onnx(path).macs() == size * size * 8 * channels * 9


def test_attention_as_exporters_write_it(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "wq"], ["q"]),
        helper.make_node("MatMul", ["x", "wk"], ["k"]),
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"]),
        helper.make_node("MatMul", ["p", "x"], ["y"]),
    ]
    path = save(tmp_path, nodes, [("x", ["batch", 10, 16])], ["y"], [("wq", (16, 16)), ("wk", (16, 16))])
    model = from_onnx(path)
    assert [(g.m, g.k, g.n) for g in layers(model, Gemm)] == [(10, 16, 16)] * 2
    assert [(b.count, b.m, b.k, b.n) for b in layers(model, BatchedGemm)] == [(1, 10, 16, 10), (1, 10, 10, 16)]
    assert compile_model(model, batch=3).total_cycles > 0


@pytest.mark.parametrize(("operation", "gates"), [("LSTM", 4), ("GRU", 3)])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_recurrent_layers_are_loops(tmp_path, operation, gates, direction):
    ways = 2 if direction == "bidirectional" else 1
    nodes = [
        helper.make_node(operation, ["x", "w", "r"], ["y", "h"], hidden_size=32, direction=direction),
        helper.make_node("Reshape", ["h", "shape"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["z"]),
    ]
    weights = [("w", (ways, gates * 32, 20)), ("r", (ways, gates * 32, 32)), ("v", (ways * 32, 5))]
    path = save(tmp_path, nodes, [("x", [7, 1, 20])], ["z"], weights)
    proto = onnx.load(path)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, ways * 32]), "shape"))
    onnx.save(proto, path)
    model = from_onnx(path, batch_axis=1)
    assert [loop.steps for loop in layers(model, Loop)] == [7] * ways
    assert model.macs() == ways * 7 * (20 + 32) * gates * 32 + ways * 32 * 5
    assert compile_model(model, batch=2).total_cycles > 0


def test_a_table_look_up_counts_its_table_and_no_macs(tmp_path):
    nodes = [helper.make_node("Gather", ["table", "x"], ["e"]), helper.make_node("MatMul", ["e", "w"], ["y"])]
    path = save(tmp_path, nodes, [("x", ["n", 12], TensorProto.INT64)], ["y"], [("table", (1000, 16)), ("w", (16, 4))])
    model = from_onnx(path)
    assert [(layer.vectors, layer.dim) for layer in layers(model, Embedding)] == [(12, 16)]
    assert (model.macs(), model.weights()) == (12 * 16 * 4, 1000 * 16 + 16 * 4)


def test_the_batch_of_the_graph_is_divided_out(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    one, eight = (from_onnx(save(tmp_path, nodes, [("x", [n, 6, 16])], ["y"], [("w", (16, 4))])) for n in (1, 8))
    assert one.network() == eight.network()


def test_a_free_dimension_is_asked_for_by_name_and_the_batch_is_not(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    path = save(tmp_path, nodes, [("x", ["batch", "words", 16])], ["y"], [("w", (16, 4))])
    with pytest.raises(ModelError, match=r"words.*dimensions="):
        from_onnx(path)
    assert from_onnx(path, dimensions={"words": 30}).macs() == 30 * 16 * 4
    with pytest.raises(ModelError, match="at least 1"):
        from_onnx(path, dimensions={"words": 0})


def test_what_cannot_be_lowered_is_named_with_its_share_of_macs(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="volume"),
        helper.make_node("Reshape", ["c", "s"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["y"]),
    ]
    path = save(tmp_path, nodes, [("x", [1, 2, 3, 4, 4])], ["y"], [("w", (4, 2, 1, 2, 2)), ("v", (108, 8))])
    proto = onnx.load(path)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 108]), "s"))
    onnx.save(proto, path)
    with pytest.warns(UserWarning, match="volume"):
        model = from_onnx(path)
    (left_out,) = model.unsupported
    assert (left_out.node, left_out.operation, left_out.macs) == ("volume", "Conv", 3 * 3 * 3 * 4 * 8)
    assert model.unsupported_share == pytest.approx(864 / (864 + 864))


# --- Damaged files ------------------------------------------------------------------------------------------------------------


def relu(tmp_path, **changes):
    return save(tmp_path, [helper.make_node("Relu", ["x"], ["y"])], [("x", [1, 4])], ["y"], **changes)


def test_files_that_are_none_or_damaged_are_refused_in_one_sentence(tmp_path):
    whole = (LIGHT / "light_squeezenet.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "noise.onnx").write_bytes(bytes(range(256)) * 50)
    (tmp_path / "empty.onnx").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.onnx")
    for name in ("cut", "noise", "empty", "pipe", "missing"):
        with pytest.raises(ModelError, match=f"{name}.onnx"):
            from_onnx(tmp_path / f"{name}.onnx")
    with pytest.raises(ModelError, match="is no file"):
        from_onnx(tmp_path)


def test_a_file_that_claims_gigabytes_is_refused_unread(tmp_path):
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(4 << 30)  # sparse
    with pytest.raises(ModelError, match="more than an ONNX file can"):
        from_onnx(path)


def test_a_weight_that_claims_an_absurd_shape_is_refused(tmp_path):
    path = relu(tmp_path, weights=[("w", (2, 2))])
    proto = onnx.load(path)
    proto.graph.initializer[0].dims[:] = [1 << 40, 1 << 20]
    onnx.save(proto, path)
    with pytest.raises(ModelError, match=r"2\^40|fit together"):
        from_onnx(path)


def test_a_cyclic_graph_is_refused(tmp_path):
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    with pytest.raises(ModelError, match=r"cyclic|fit together|not known"):
        from_onnx(save(tmp_path, nodes, [("x", [1, 4])], ["b"]))


def test_an_unknown_opset_is_refused(tmp_path):
    path = relu(tmp_path)
    proto = onnx.load(path)
    proto.opset_import[0].version = 999
    onnx.save(proto, path)
    with pytest.raises(ModelError, match="opset 999"):
        from_onnx(path)


def test_a_graph_without_work_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no operation"):
        from_onnx(save(tmp_path, [helper.make_node("Identity", ["x"], ["y"])], [("x", [1, 4])], ["y"]))
