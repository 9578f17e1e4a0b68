"""Weights and images by formula: the same everywhere, from a tensor's name and shape alone."""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch

PARITY = Path(__file__).parent / "trained/parity"


def uniform(name: str, count: int) -> np.ndarray:
    """`count` float64 numbers in [0, 1): splitmix64 of the index, seeded by the name's CRC-32."""
    with np.errstate(over="ignore"):
        z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64(zlib.crc32(name.encode())) << np.uint64(20)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) / 2**53


def tensor(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Scaled by what the name says it is: a norm's statistics or weights, a bias, a kernel."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    u = torch.from_numpy(uniform(name, math.prod(shape)).reshape(shape))
    if name.endswith("running_var"):
        return 0.5 + u
    if name.endswith(("running_mean", "bias")):
        return (u - 0.5) / 5
    if len(shape) < 2:
        return 0.8 + 0.4 * u
    return (2 * u - 1) * math.sqrt(3 / math.prod(shape[1:]))


def state(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    return {name: tensor(name, shape) for name, shape in shapes.items()}


def image(size: tuple[int, int]) -> torch.Tensor:
    """1 3 H W float64 in [-2, 2)."""
    return 4 * torch.from_numpy(uniform("image", 3 * size[0] * size[1])).view(1, 3, *size) - 2


def read_original(name: str) -> tuple[dict[str, torch.Tensor], dict[str, np.ndarray]]:
    """Formula-filled tensors of the original layout, and the reference outputs."""
    data = np.load(PARITY / f"{name}.npz")
    shapes = {key: tuple(shape) for key, shape in json.loads(str(data["shapes"])).items()}
    return state(shapes), {k: data[k] for k in data.files if k != "shapes"}


def make_full_size(classes: int, name: str = "segformer_b0") -> dict[str, torch.Tensor]:
    """As `read_original`, in float32 and with another number of classes."""
    state = read_original(name)[0]
    for key in (f"decode_head.{name}" for name in ("conv_seg", "linear_pred", "classifier")):
        if f"{key}.weight" not in state:
            continue
        width = state[f"{key}.weight"].shape[1]
        state[f"{key}.weight"] = tensor(f"{key}.weight", (classes, width, 1, 1))
        state[f"{key}.bias"] = tensor(f"{key}.bias", (classes,))
    return {
        key: value.float() if value.is_floating_point() else value for key, value in state.items()
    }
