"""Single objects for classification: ten ImageNet classes, each in a setting of its own kind."""

from collections.abc import Callable

import numpy as np

from lemore.scenes.drawing import made_objects, natural_objects
from lemore.scenes.drawing.canvas import Canvas
from lemore.scenes.drawing.space import Camera, Light

CLASSES: dict[str, Callable[[Canvas, np.random.Generator], None]] = {
    "n01443537": natural_objects.goldfish,
    "n02281406": natural_objects.butterfly,
    "n02782093": made_objects.balloon,
    "n03028079": made_objects.church,
    "n03376595": made_objects.folding_chair,
    "n03792782": made_objects.mountain_bike,
    "n04146614": made_objects.school_bus,
    "n04285008": made_objects.sports_car,
    "n04380533": made_objects.table_lamp,
    "n09472597": natural_objects.volcano,
}
NAMES = {
    "n01443537": "goldfish, Carassius auratus",
    "n02281406": "sulphur butterfly, sulfur butterfly",
    "n02782093": "balloon",
    "n03028079": "church, church building",
    "n03376595": "folding chair",
    "n03792782": "mountain bike, all-terrain bike, off-roader",
    "n04146614": "school bus",
    "n04285008": "sports car, sport car",
    "n04380533": "table lamp",
    "n09472597": "volcano",
}


def draw(wnid: str, size: tuple[int, int], scale: int, rng: np.random.Generator) -> np.ndarray:
    """A picture of the class, H x W x 3 uint8 RGB; the key of `CLASSES` says what it shows."""
    height, width = size[0] * scale, size[1] * scale
    horizon = height * float(rng.uniform(0.35, 0.55))
    camera = Camera(width * 1.1, width * float(rng.uniform(0.42, 0.58)), horizon, 1.4)
    sun = np.array([rng.uniform(-0.9, 0.9), 1.0, rng.uniform(-0.9, -0.2)])
    light = Light(sun / np.linalg.norm(sun), float(rng.uniform(0.45, 0.65)))
    canvas = Canvas(size, scale, camera, light)
    canvas.depth[:] = 5.0
    CLASSES[wnid](canvas, rng)
    image, _ = canvas.finish(rng, 0.0, (0, 0, 0))
    return image
