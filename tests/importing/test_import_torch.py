"""Torch modules become lists of layers, by shapes alone: counted by hand, and as ONNX files of the same networks would be."""

from __future__ import annotations

import pickle

import pytest

from prema_gym.errors import ModelError
from prema_gym.hardware.layers import BatchedGemm, Conv2d, Embedding, Gemm, Loop, Vector
from prema_gym.hardware.program import compile_model
from prema_gym.workloads.importing import from_file, from_torch

torch = pytest.importorskip("torch")
nn = torch.nn


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 16, 3, padding=1, stride=2), nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=16)
        self.up, self.head = nn.ConvTranspose2d(16, 8, 2, stride=2), nn.Linear(8 * 16 * 16, 10)

    def forward(self, x):
        y = torch.relu(self.norm(self.conv(x)))
        y = y + nn.functional.gelu(self.depthwise(y))
        return self.head(nn.functional.max_pool2d(self.up(y), 2).flatten(1)).softmax(-1)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.lstm = nn.Embedding(1000, 64), nn.LSTM(64, 128, 2, batch_first=True, bidirectional=True)
        self.gru, self.head = nn.GRU(256, 32, batch_first=True), nn.Linear(32, 5)

    def forward(self, x):
        _, last = self.gru(self.lstm(self.words(x))[0])
        return self.head(last[-1])


def kinds(model):
    return [type(layer) for layer in model.network().layers]


def test_a_convolutional_network_by_hand():
    model = from_torch(Convolutional(), torch.zeros(2, 3, 32, 32))
    assert kinds(model) == [Conv2d, Conv2d, Vector, Conv2d, Vector, Vector, Gemm, Vector]
    assert model.macs() == 16 * 16 * (16 * 27 + 16 * 9 + 16 * 8 * 4) + 8 * 16 * 16 * 10
    assert model.weights() == 16 * 27 + 16 * 9 + 16 * 8 * 4 + 8 * 16 * 16 * 10
    assert model.unsupported == ()
    assert compile_model(model, batch=4).total_cycles > compile_model(model).total_cycles > 0


@pytest.mark.filterwarnings("ignore:The tensor attributes")
def test_a_recurrent_network_by_hand():
    model = from_torch(Recurrent(), torch.zeros(2, 20, dtype=torch.long))
    assert kinds(model) == [Embedding, *[Loop] * 5, Gemm]
    first, second, gru = 2 * (64 + 128) * 512, 2 * (256 + 128) * 512, (256 + 32) * 96
    assert model.macs() == 20 * (first + second + gru) + 32 * 5
    assert model.weights() == 1000 * 64 + first + second + gru + 32 * 5
    assert compile_model(model, batch=4).total_cycles > 0


def test_a_transformer_layer_by_hand():
    model = from_torch(nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True), torch.zeros(1, 32, 256))
    assert model.macs() == 32 * 256 * (768 + 256 + 2 * 1024) + 2 * 4 * 32 * 64 * 32
    assert [(b.count, b.m, b.k, b.n) for b in model.network().layers if isinstance(b, BatchedGemm)] == [
        (4, 32, 64, 32),
        (4, 32, 32, 64),
    ]


def test_a_module_without_weights_will_do():
    with torch.device("meta"):
        module, inputs = nn.Linear(64, 10), torch.zeros(3, 64)
    assert from_torch(module, inputs).macs() == 640


def test_the_batch_is_divided_out_and_an_exported_program_is_the_same():
    module = Convolutional().eval()
    exported = torch.export.export(module, (torch.zeros(4, 3, 32, 32),))
    assert from_torch(exported, None, name="C").network() == from_torch(module, torch.zeros(1, 3, 32, 32), name="C").network()


def test_what_is_unknown_is_named():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.linalg.inv(x) @ x

    with pytest.warns(UserWarning, match="linalg_inv"):
        model = from_torch(Odd(), torch.zeros(1, 8, 8))
    assert [entry.operation for entry in model.unsupported] == ["linalg_inv_ex"] or model.unsupported


@pytest.mark.parametrize(
    ("module", "inputs", "reason"), [("net", 1, "must be a torch"), (nn.Linear(3, 3), "x", "must be a tensor")]
)
def test_mistakes_are_answered_in_one_sentence(module, inputs, reason):
    with pytest.raises(ModelError, match=reason):
        from_torch(module, inputs)


def test_a_module_that_cannot_be_traced_is_refused_with_the_reason():
    with pytest.raises(ModelError, match=r"torch.export can't trace it"):
        from_torch(nn.Linear(3, 3), torch.zeros(2, 4))


def test_an_import_can_be_saved_loaded_by_name_and_sent_to_other_processes(tmp_path):
    model = from_torch(Convolutional(), torch.zeros(1, 3, 32, 32), name="mine")
    path = model.save(tmp_path / "mine.json")
    assert from_file(path).network() == model.network()
    assert pickle.loads(pickle.dumps(model)) == model
    with pytest.raises(ModelError, match=r"\.json"):
        model.save(tmp_path / "mine.txt")
