"""A small trained network and photos, for tests that write exported files and run them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lemore.cli import main
from tests.trained_models import make_photo, make_settings, save, write_checkpoint

SIZE = (64, 96)
NAMES = tuple(f"class {k}" for k in range(4))


def write_network(folder: Path, model: str = "lraspp_mobilenet_v3_small") -> Path:
    """Writes weights.pt and three photos to a folder, and returns it."""
    torch.set_num_threads(1)
    settings = make_settings(model, "tiny", len(NAMES))
    write_checkpoint(folder / "weights.pt", settings, NAMES)
    for k in range(3):
        save(folder / f"photos/{k}.png", make_photo(k))
    return folder


def run_export(folder: Path, format: str, name: str, *options: object) -> int:
    paths = ["--checkpoint", folder / "weights.pt", "--output", folder / name]
    command = ["export", "--format", format, "--size", *SIZE, "--seconds", 0.01, *paths]
    return main(list(map(str, [*command, *options])))


def change_tflite(content: bytes, change: Callable[[Any], None]) -> bytes:
    """Returns a LiteRT file whose model, an object of LiteRT's schema, is changed."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content)
    change(model)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def make_images(count: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(3))
