"""Single objects for classification: ten ImageNet classes, in a landscape or a room."""

import numpy as np

from lemore.scenes.drawing import outdoors, textures
from lemore.scenes.drawing.bodies import place
from lemore.scenes.drawing.canvas import Canvas
from lemore.scenes.drawing.textures import Rng, Size

# WordNet's number: name, body, metres from the camera, indoors, flat (mirrored, not turned).
OBJECTS = {
    "n02099601": ("golden retriever", "dog", 2.2, False, True),
    "n02871439": ("bookcase", "shelf", 2.9, True, False),
    "n03785016": ("moped", "motorcycle", 2.8, False, True),
    "n03792782": ("mountain bike, all-terrain bike, off-roader", "bicycle", 2.6, False, True),
    "n03891251": ("park bench", "bench", 2.8, False, False),
    "n04146614": ("school bus", "bus", 11.0, False, False),
    "n04285008": ("sports car, sport car", "car", 5.4, False, False),
    "n04344873": ("studio couch, day bed", "sofa", 2.8, True, False),
    "n04380533": ("table lamp", "lamp:table", 1.2, True, True),
    "n06874185": ("traffic light, traffic signal, stoplight", "traffic light", 4.8, False, True),
}


def draw_single(wnid: str, size: Size, rng: Rng) -> np.ndarray:
    """Draws a picture of the class, H x W x 3 uint8 RGB."""
    _, body, distance, indoors, flat = OBJECTS[wnid]
    z, y, turns = distance * rng.uniform(0.85, 1.2), 0.0, rng.uniform(-2, 2)
    canvas = (_open_room if indoors else outdoors.open_landscape)(size, rng)
    if indoors or flat:
        turns = 0.0 if flat else rng.uniform(-0.4, 0.4)
    if body == "lamp:table":
        y = 0.75
        place(canvas, "table", (0.0, 0.0, z + 0.1))
    tall = 0.8 if body == "car" else 1.0
    colors = {"bus": textures.choose(rng, "schoolbus")} if body == "bus" else {}
    at, factor = (rng.uniform(-0.12, 0.12) * z, y, z), (int(rng.choice([-1, 1])), tall, 1)
    place(canvas, body, at, turns, factor, **colors)
    return canvas.finish()[0]


def _open_room(size: Size, rng: Rng) -> Canvas:
    """Draws a wall and a floor."""
    canvas = Canvas(size, rng, rng.uniform(0.5, 0.65))
    color, far = textures.choose(rng, "board"), 4.6
    boards = textures.make_blocks(rng, (200, 160), color, (100, 14), 0.7)
    outdoors.lay(canvas, (-5, 5), (0.5, far), boards, "floor")
    wall = np.array([(-5, 8, far), (5, 8, far), (5, 0, far), (-5, 0, far)])
    canvas.fill(wall, textures.make_wallpaper(rng, (120, 160)), "room wall")
    return canvas
