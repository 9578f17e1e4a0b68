"""What stands along a street: houses, gardens with fences and walls, trees, lights, signs."""

from collections.abc import Callable

import numpy as np

from lemore.scenes.drawing import plants, signs
from lemore.scenes.drawing.canvas import Canvas
from lemore.scenes.drawing.figures import Board
from lemore.scenes.drawing.solids import box, quad
from lemore.scenes.drawing.space import Color, scaled
from lemore.scenes.drawing.textures import bricks, facade, jitter, pick, plain

FAR = 130.0  # metres; where the road ends
FRONTS: list[Color] = [
    *((172, 150, 126), (150, 92, 74), (196, 188, 172), (120, 118, 116), (205, 180, 130)),
    *((140, 120, 110), (180, 160, 160), (160, 170, 178), (126, 72, 60), (214, 206, 190)),
]


class Street:
    """The plan of one street: half width of road and pavement in metres, and what stands where."""

    def __init__(self, canvas: Canvas, rng: np.random.Generator, hood: bool):
        self.canvas, self.rng, self.hood = canvas, rng, hood
        self.offset = float(rng.uniform(-1.5, 2.5))  # of the road's middle from the camera
        self.road = float(rng.uniform(3.2, 6.5))
        self.pavement = float(rng.uniform(1.8, 4.0))
        self.items: list[tuple[float, Callable[[], None]]] = []

    def add(self, distance: float, draw: Callable[[], None]) -> None:
        self.items.append((distance, draw))

    def edge(self, side: int, beyond: float = 0.0) -> float:
        """x of the outer edge of the pavement on a side (-1 left, 1 right), plus metres beyond."""
        return self.offset + side * (self.road + self.pavement + beyond)

    def draw_items(self) -> None:
        for _, draw in sorted(self.items, key=lambda item: -item[0]):
            draw()


def roadside(street: Street, side: int) -> None:
    """From near to far: houses, or gardens with fences, walls, hedges and trees."""
    rng, z = street.rng, float(street.rng.uniform(1.5, 6))
    green = rng.random() < 0.35
    while z < 80:
        length = float(rng.uniform(8, 20))
        if rng.random() < (0.35 if green else 0.85):
            _house(street, side, z, length)
        else:
            _garden(street, side, z, length)
        z += length + (float(rng.uniform(0, 5)) if rng.random() < 0.4 else 0.0)


def _house(street: Street, side: int, z: float, length: float) -> None:
    rng = street.rng
    high = float(rng.uniform(5, 9) if rng.random() < 0.4 else rng.uniform(9, 22))
    deep, color = float(rng.uniform(8, 14)), jitter(rng, pick(rng, FRONTS), 0.12)
    x = street.edge(side, float(rng.uniform(0, 2.5)))
    outer = x + side * deep
    texture = facade(rng, (int(high * 12), int(length * 12)))
    gable = facade(rng, (int(high * 12), int(deep * 8)))
    low, top = (min(x, outer), 0, z), (max(x, outer), high, z + length)
    faces = box(low, top, color, "building", front=gable)
    street_side = faces[2 if side > 0 else 3]
    street_side.texture = texture if side > 0 else texture[:, ::-1]
    for face in (faces[0], street_side):
        face.tint = scaled(color, 1 / 160)
        edge = face.points.copy()
        edge[2:, 1] = high - 0.4
        face.decals.append((edge, scaled(color, 0.62), "building"))  # cornice
    roof = jitter(rng, pick(rng, [(120, 66, 52), (84, 84, 88), (96, 76, 62)]), 0.1)

    def paint() -> None:
        street.canvas.solid(faces, (0, 0, 0))
        if high < 10:
            _roof(street, (min(x, outer), max(x, outer)), (z, z + length), high, roof)

    street.add(z + length / 2, paint)


def _roof(
    street: Street,
    across: tuple[float, float],
    along: tuple[float, float],
    high: float,
    color: Color,
) -> None:
    (x0, x1), (z0, z1) = across, along
    middle, top = (x0 + x1) / 2, high + 2.6
    for x in (x0 - 0.3, x1 + 0.3):
        slope = quad((x, high - 0.1, z0), (middle, top, z0), (middle, top, z1), (x, high - 0.1, z1))
        street.canvas.surface(slope, color, "building", 0.12)
    gable = np.array([(x0, high, z0), (middle, top, z0), (x1, high, z0)])
    street.canvas.surface(gable, scaled(color, 0.8), "building", 0.08)


def _garden(street: Street, side: int, z: float, length: float) -> None:
    rng, canvas = street.rng, street.canvas
    x = street.edge(side, 0.2)
    for _ in range(int(rng.integers(1, 4))):
        at, deep = z + float(rng.uniform(0, length)), float(rng.uniform(1.5, 7))
        tall = float(rng.uniform(4, 9))
        board_x = x + side * deep
        street.add(
            at,
            lambda at=at, board_x=board_x, tall=tall: plants.tree(
                Board(canvas, board_x, at), rng, tall
            ),
        )
    if rng.random() < 0.75:
        wall, tall = rng.random() < 0.4, float(rng.uniform(0.9, 1.8))
        street.add(z + length / 2, lambda: _enclosure(street, x, (z, z + length), tall, wall))
    else:
        for at in np.arange(z, z + length, 1.2):
            street.add(
                float(at),
                lambda at=at: plants.bush(Board(canvas, x + side * 0.5, float(at)), rng, 1.1),
            )


def _enclosure(
    street: Street, x: float, along: tuple[float, float], tall: float, wall: bool
) -> None:
    """A wall of bricks, or a fence: pickets in front of a darker gap, labelled as one area."""
    canvas, rng = street.canvas, street.rng
    plane = quad((x, tall, along[1]), (x, tall, along[0]), (x, 0, along[0]), (x, 0, along[1]))
    length = along[1] - along[0]
    shape = (max(12, int(tall * 24)), int(length * 24))
    if wall:
        texture, word = bricks(rng, shape, jitter(rng, (158, 118, 96), 0.2)), "wall"
    else:
        texture, word = plain(rng, shape, jitter(rng, (66, 78, 52), 0.2), 0.1), "fence"
        board = jitter(rng, pick(rng, [(150, 116, 80), (215, 212, 204), (70, 74, 76)]), 0.15)
        picket = (np.arange(shape[1]) % 8) < 4
        texture[:, picket] = plain(rng, shape, board, 0.05)[:, picket]
        for row in (shape[0] // 5, shape[0] * 3 // 4):
            texture[row : row + 3] = board
    texture *= np.float32(canvas.shade(np.array([-np.sign(x), 0.0, 0.0])))
    canvas.textured(plane, texture, word, 0.06, sum(along) / 2)


def street_furniture(street: Street) -> None:
    """Trees in a row, street lights, signs, traffic lights, bins and benches on the pavement."""
    rng, canvas = street.rng, street.canvas
    for side in (-1, 1):
        x = street.offset + side * (street.road + 0.5)
        if rng.random() < 0.45:
            tall, step = float(rng.uniform(4.5, 8)), float(rng.uniform(8, 14))
            for z in np.arange(float(rng.uniform(5, 14)), 60, step):
                at = float(z + rng.uniform(-1, 1))
                street.add(
                    at, lambda at=at, x=x, tall=tall: plants.tree(Board(canvas, x, at), rng, tall)
                )
        for z in np.arange(float(rng.uniform(8, 22)), 65, 22):
            board = Board(canvas, x, float(z), flip=side > 0)
            street.add(float(z), lambda board=board: signs.streetlight(board, rng))
        for _ in range(int(rng.integers(1, 4))):
            z, kind = float(rng.uniform(5, 28)), rng.random()
            board = Board(canvas, x + side * 0.3, z)
            if kind < 0.4:
                street.add(z, lambda board=board: signs.sign(board, rng))
            elif kind < 0.7:
                street.add(z, lambda board=board: signs.traffic_light(board, rng))
            else:
                _low_furniture(street, side, z)


def _low_furniture(street: Street, side: int, z: float) -> None:
    rng, canvas = street.rng, street.canvas
    x = street.edge(side, -0.6)
    if rng.random() < 0.5:
        color = jitter(rng, (60, 84, 66), 0.3)
        faces = box((-0.25, 0, -0.25), (0.25, 0.95, 0.25), color, "bin")
    else:
        wood: Color = jitter(rng, (140, 98, 60), 0.2)
        faces = box((-0.25, 0.42, -0.8), (0.25, 0.5, 0.8), wood, "bench")
        faces += box((-0.2, 0, -0.7), (0.2, 0.42, -0.6), (60, 60, 62), "bench")
        faces += box((-0.2, 0, 0.6), (0.2, 0.42, 0.7), (60, 60, 62), "bench")
        back = side * 0.25
        faces += box(
            (min(back, back + 0.06), 0.5, -0.8), (max(back, back + 0.06), 0.95, 0.8), wood, "bench"
        )
    street.add(z, lambda: canvas.solid(faces, (x, 0, z)))
