"""The objects of one photo for detection, and their form in a store."""

from dataclasses import dataclass

import numpy as np

IMAGE_ID = np.dtype("<i8")  # stands before the objects
OBJECT = np.dtype([("box", "<f4", 4), ("area", "<f4"), ("class", "<i4"), ("crowd", "?")])


@dataclass(frozen=True, eq=False)
class Objects:
    """The N objects of a photo.

    boxes: float32 N 4, x1 y1 x2 y2 in pixels of the photo, from its left and upper border on.
    classes: int64 N train ids. crowd: bool N, whether a box holds several objects together. areas:
    float32 N, pixels of the object itself as its annotation says, which is less than its box.
    """

    boxes: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def sizes(self) -> np.ndarray:
        """N 2, width and height of the boxes."""
        return self.boxes[:, 2:] - self.boxes[:, :2]

    def clip(self, size: tuple[int, int]) -> "Objects":
        """Cuts the boxes to a photo of `size` (H, W)."""
        limit = np.array([size[1], size[0]] * 2, np.float32)
        return Objects(self.boxes.clip(0, limit), self.classes, self.crowd, self.areas)


def pack(objects: Objects, image_id: int) -> bytes:
    records = np.empty(len(objects), OBJECT)
    records["box"], records["area"] = objects.boxes, objects.areas
    records["class"], records["crowd"] = objects.classes, objects.crowd
    return np.array(image_id, IMAGE_ID).tobytes() + records.tobytes()


def unpack(data: np.ndarray) -> Objects:
    """Reads uint8 of `pack`."""
    records = data[IMAGE_ID.itemsize :].view(OBJECT)
    classes, crowd = records["class"].astype(np.int64), records["crowd"].copy()
    return Objects(records["box"].copy(), classes, crowd, records["area"].copy())


def read_image_id(data: np.ndarray) -> int:
    return int(data[: IMAGE_ID.itemsize].view(IMAGE_ID)[0])


def count(sizes: np.ndarray) -> np.ndarray:
    """Returns the number of objects in what `pack` has packed, by its bytes."""
    return (sizes - IMAGE_ID.itemsize) // OBJECT.itemsize
