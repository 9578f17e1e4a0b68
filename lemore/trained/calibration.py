"""The images that an exported network is calibrated on and compared with."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from lemore.data.store import Store
from lemore.trained.predict import photos

Size = tuple[int, int]


def random_images(size: Size, count: int) -> list[Tensor]:
    """uint8 1 3 H W, always the same."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, 3, *size)
    return [
        torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8) for _ in range(count)
    ]


def read_images(paths: list[Path], size: Size, count: int) -> list[Tensor]:
    """At most `count` images, evenly spread over those of `paths`, as uint8 1 3 H W of `size`.

    paths: image files, folders of them, or one prepared dataset, whose training split is read.
    ValueError names what is no image.
    """
    return [_resized(image, size) for image in _spread(paths, count)]


def _resized(image: np.ndarray, size: Size) -> Tensor:
    resized = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(np.ascontiguousarray(resized.transpose(2, 0, 1)))[None]


def _spread(paths: list[Path], count: int) -> Iterator[np.ndarray]:
    """H W 3, uint8 RGB."""
    if len(paths) == 1 and (paths[0] / "digest.json").exists():
        store = Store(paths[0], "train")
        yield from (store.image(index) for index in _every(len(store), count))
        return
    files = [file for path in paths for file in _files(path)]
    for index in _every(len(files), count):
        try:
            yield photos.read_photo(files[index])
        except ValueError as error:
            raise ValueError(f"{files[index]}: {error}") from None


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in photos.SUFFIXES)
    if not found:
        raise ValueError(f"--calibration: {path} holds no image and is no prepared dataset")
    return found


def _every(total: int, count: int) -> list[int]:
    return np.linspace(0, total - 1, min(total, count)).round().astype(int).tolist()
