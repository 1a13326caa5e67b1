"""Random small NPUs and networks for the tests of the compiler."""

from __future__ import annotations

from prema_gym.config import NPUConfig
from prema_gym.hardware.layers import BatchedGemm, Conv2d, Embedding, Gemm, Vector


def random_npu(rng):
    size = rng.choice([2, 3, 4])
    return NPUConfig(
        array_rows=size,
        array_cols=rng.choice([2, 3, 4]),
        clock_hz=rng.choice([7, 10, 13]),
        dram_bytes_per_second=rng.choice([3, 10, 17, 64, 300]),
        dram_latency_cycles=rng.choice([0, 3, 10, 60]),
        ubuf_bytes=rng.choice([16, 40, 100, 400, 4000]),
        wbuf_bytes=rng.choice([32, 64, 256]) * 2,
        accumulator_rows=rng.choice([2, 5, 16]),
        vector_lanes=rng.choice([1, 4]),
        operand_bytes=rng.choice([1, 2]),
        accumulator_bytes=4,
        weight_loading=rng.choice(["exposed", "prefetched", "back_to_back", "back_to_back"]),
    )


def random_layers(rng):
    """A straight network with branches: each layer reads one or two of the tensors before it."""
    layers, sizes = [], {"input": 36}
    for i in range(rng.randint(1, 5)):
        names = rng.sample(sorted(sizes), min(len(sizes), rng.randint(1, 2)))
        if layers and rng.random() < 0.5:
            names[0] = layers[-1].name
        names = list(dict.fromkeys(names))
        total = sum(sizes[name] for name in names)
        kind = rng.choice(["gemm", "conv", "vector", "embedding", "batched"])
        given = {"name": f"l{i}", "inputs": tuple(names)}
        rows = rng.choice([d for d in (1, 2, 3, 4, 6) if total % d == 0])
        if kind == "conv" and total >= 9:
            channels = rng.choice([c for c in (1, 2, 3, 4) if total % c == 0])
            height = max(d for d in range(1, 5) if (total // channels) % d == 0)
            groups = rng.choice([1, channels])
            kernel = (rng.randint(1, height), rng.randint(1, 2))
            stride = (rng.randint(1, 3), rng.randint(1, 2))
            width = total // channels // height
            padding = tuple(rng.randint(0, 1) for _ in range(4))
            if width + padding[1] + padding[3] >= kernel[1]:
                layer = Conv2d(channels, channels * rng.randint(1, 2), height, width, kernel, stride, padding, groups, **given)
                layers.append(layer)
                sizes[layer.name] = layer.out_channels * layer.out_height * layer.out_width
                continue
        if kind == "vector":
            layers.append(Vector(rng.randint(1, 40), rng.randint(1, 5), **given))
            sizes[f"l{i}"] = layers[-1].outputs
        elif kind == "embedding":
            layers.append(Embedding(rng.randint(1, 12), vectors=rng.randint(1, 3), **given))
            sizes[f"l{i}"] = layers[-1].dim * layers[-1].vectors
        elif kind == "batched" and len(names) == 2 and min(sizes[name] for name in names) >= 2:
            layers.append(
                BatchedGemm(1, 2, sizes[names[0]] // 2, max(1, sizes[names[1]] // max(1, sizes[names[0]] // 2) or 1), **given)
            )
            if layers[-1].k * layers[-1].n > sizes[names[1]]:
                layers[-1] = BatchedGemm(2, 1, 1, 1, **given)
            sizes[f"l{i}"] = layers[-1].count * layers[-1].m * layers[-1].n
        else:
            layers.append(Gemm(rows, total // rows, rng.randint(1, 9), **given))
            sizes[f"l{i}"] = layers[-1].m * layers[-1].n
    return layers
