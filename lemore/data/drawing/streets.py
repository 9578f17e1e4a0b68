"""A street seen from a car or the pavement: sky, houses, trees, traffic, people."""

from collections.abc import Callable

import numpy as np

from lemore.data.drawing import figures, vehicles
from lemore.data.drawing.canvas import Camera, Canvas, Color, Light
from lemore.data.drawing.figures import Board
from lemore.data.drawing.solids import box, quad
from lemore.data.drawing.textures import bricks, facade, jitter, pick, plain, tiles

Item = tuple[float, Callable[[], None]]  # distance, what draws it
FAR = 130.0
SKIES: list[tuple[Color, Color, float, Color]] = [  # top, horizon, ambient share, tint
    ((70, 125, 200), (190, 212, 232), 0.50, (1.04, 1.0, 0.95)),
    ((110, 155, 205), (205, 218, 228), 0.60, (1.0, 1.0, 1.0)),
    ((150, 158, 168), (196, 200, 204), 0.85, (0.95, 0.98, 1.02)),
    ((85, 95, 140), (240, 185, 140), 0.60, (1.06, 0.95, 0.86)),
]
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
        self.items: list[Item] = []

    def add(self, distance: float, draw: Callable[[], None]) -> None:
        self.items.append((distance, draw))

    def edge(self, side: int, beyond: float = 0.0) -> float:
        """x of the outer edge of the pavement on a side (-1 left, 1 right), plus metres beyond."""
        return self.offset + side * (self.road + self.pavement + beyond)

    def draw_items(self) -> None:
        for _, draw in sorted(self.items, key=lambda item: -item[0]):
            draw()


def draw(
    size: tuple[int, int], scale: int, rng: np.random.Generator, hood: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(image H x W x 3 uint8 RGB, label H x W uint8 positions in WORDS); `hood`: from a car."""
    height, width = size[0] * scale, size[1] * scale
    focal = width * float(rng.uniform(0.62, 0.95))
    horizon = height * float(rng.uniform(0.36, 0.52))
    camera = Camera(focal, width * float(rng.uniform(0.38, 0.62)), horizon, float(rng.uniform(1.3, 2.0)))
    top, bottom, ambient, tint = SKIES[int(rng.integers(len(SKIES)))]
    sun = np.array([rng.uniform(-1, 1), rng.uniform(0.6, 1.4), rng.uniform(-1.0, 0.3)])
    light = Light(sun / np.linalg.norm(sun), ambient, tint)
    canvas = Canvas(size, scale, camera, light)
    canvas.sky(jitter(rng, top, 0.1), jitter(rng, bottom, 0.06), float(rng.uniform(0.0, 0.75)), rng)
    street = Street(canvas, rng, hood)
    _backdrop(street)
    _ground(street)
    for side in (-1, 1):
        _roadside(street, side)
    _street_furniture(street)
    _traffic(street)
    _people(street)
    street.draw_items()
    if hood:
        _hood(canvas, rng)
    return canvas.finish(rng, float(rng.uniform(0.001, 0.006)), bottom)


def _backdrop(street: Street) -> None:
    """Hills or a skyline on the horizon."""
    canvas, rng = street.canvas, street.rng
    kind = rng.random()
    steps = np.linspace(0, canvas.width, 24 if kind < 0.4 else 18)
    base = np.array([[canvas.width, canvas.camera.horizon + 2], [0, canvas.camera.horizon + 2]])
    if kind < 0.4:
        phase, high = rng.uniform(0, 6.3, 3), canvas.height * rng.uniform(0.06, 0.2)
        waves = sum(np.sin(steps / canvas.width * f + p) / f for f, p in zip((3, 7, 16), phase, strict=True))
        ridge = np.stack([steps, canvas.camera.horizon - high * (0.8 + 1.6 * waves)], 1)
        color = jitter(rng, (108, 122, 118), 0.15)
        canvas.polygon(np.vstack([ridge, base]), color, "mountain", 0.12, 60.0)
    elif kind < 0.75:
        tops = canvas.camera.horizon - canvas.height * rng.uniform(0.03, 0.14, len(steps))
        ridge = np.repeat(np.stack([steps, tops], 1), 2, axis=0)
        ridge[1:, 1] = ridge[:-1, 1]
        canvas.polygon(np.vstack([ridge, base]), jitter(rng, (128, 128, 132), 0.1), "building", 0.1, 90.0)


def _ground(street: Street) -> None:
    """Grass or paving at the sides, pavements with kerbs, the road with its marks and shadows."""
    canvas, rng = street.canvas, street.rng
    grass = rng.random() < 0.6
    verge: Color = jitter(rng, (96, 116, 62), 0.15) if grass else jitter(rng, (150, 144, 136), 0.1)
    word = "grass" if grass else "sidewalk"
    side = quad((-400, 0, 0.5), (400, 0, 0.5), (400, 0, 400), (-400, 0, 400))
    canvas.surface(side, verge, word, 0.2 if grass else 0.06)
    paving = tiles(rng, (640, 40), jitter(rng, (158, 152, 146), 0.12), 10)
    for sign in (-1, 1):
        inner, outer = street.offset + sign * street.road, street.edge(sign)
        strip = quad((inner, 0.02, FAR), (outer, 0.02, FAR), (outer, 0.02, 1.0), (inner, 0.02, 1.0))
        canvas.textured(strip, paving, "sidewalk", 0.05, None)
        kerb = inner + sign * 0.18
        edge = quad((inner, 0.03, FAR), (kerb, 0.03, FAR), (kerb, 0.03, 0.5), (inner, 0.03, 0.5))
        canvas.surface(edge, (184, 182, 176), "sidewalk")
    left, right = street.offset - street.road, street.offset + street.road
    asphalt = plain(rng, (512, 64), jitter(rng, (92, 92, 96), 0.16), 0.05)
    asphalt[:, 14:18] *= 0.93
    asphalt[:, 44:48] *= 0.93  # wheel tracks
    road = quad((left, 0, FAR), (right, 0, FAR), (right, 0, 0.6), (left, 0, 0.6))
    canvas.textured(road, asphalt, "road", 0.07, None)
    _marks(street)
    _cast_shadow(street)


def _marks(street: Street) -> None:
    canvas, rng = street.canvas, street.rng
    white: Color = (222, 222, 214)
    for z in np.arange(float(rng.uniform(0.5, 4)), 90, 6.0):
        x = street.offset
        dash = quad((x - 0.08, 0, z), (x + 0.08, 0, z), (x + 0.08, 0, z + 3), (x - 0.08, 0, z + 3))
        canvas.surface(dash, white, "road")
    if rng.random() < 0.6:
        for sign in (-1, 1):
            x = street.offset + sign * (street.road - 0.4)
            line = quad((x - 0.06, 0, 0.5), (x + 0.06, 0, 0.5), (x + 0.06, 0, 100), (x - 0.06, 0, 100))
            canvas.surface(line, white, "road")
    if rng.random() < 0.35:  # a zebra crossing
        z = float(rng.uniform(7, 16))
        for x in np.arange(street.offset - street.road + 0.3, street.offset + street.road - 0.5, 1.0):
            stripe = quad((x, 0, z), (x + 0.5, 0, z), (x + 0.5, 0, z + 3), (x, 0, z + 3))
            canvas.surface(stripe, white, "road")


def _cast_shadow(street: Street) -> None:
    """The shade of the houses on the sunless side, ragged where houses end."""
    canvas, rng = street.canvas, street.rng
    if canvas.light.ambient > 0.8:
        return
    side = -1 if canvas.light.direction[0] < 0 else 1
    edge, z = street.edge(side, 3.0), 1.0
    while z < 80:
        length, reach = float(rng.uniform(6, 16)), float(rng.uniform(0.2, 0.9)) * 2 * street.road
        inner = edge - side * (street.pavement + reach)
        area = quad((edge, 0, z), (inner, 0, z), (inner, 0, z + length), (edge, 0, z + length))
        canvas.shadow(area, 0.38, 1.5)
        z += length + (float(rng.uniform(1, 4)) if rng.random() < 0.3 else 0.0)


def _roadside(street: Street, side: int) -> None:
    """From near to far: houses, or gardens with fences, walls, hedges and trees."""
    rng, z = street.rng, float(street.rng.uniform(1.5, 6))
    green = rng.random() < 0.35
    while z < 100:
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
    texture = facade(rng, (int(high * 12), int(length * 12)), color)
    gable = facade(rng, (int(high * 12), int(deep * 8)), tuple(0.92 * c for c in color))  # type: ignore[arg-type]
    faces = box((min(x, outer), 0, z), (max(x, outer), high, z + length), color, "building", front=gable)
    faces[2 if side > 0 else 3].texture = texture if side > 0 else texture[:, ::-1]
    roof = jitter(rng, pick(rng, [(120, 66, 52), (84, 84, 88), (96, 76, 62)]), 0.1)

    def paint() -> None:
        street.canvas.solid(faces, (0, 0, 0))
        if high < 10:
            _roof(street, (min(x, outer), max(x, outer)), (z, z + length), high, roof)

    street.add(z + length / 2, paint)


def _roof(
    street: Street, across: tuple[float, float], along: tuple[float, float], high: float, color: Color
) -> None:
    (x0, x1), (z0, z1) = across, along
    middle, top = (x0 + x1) / 2, high + 2.6
    for x in (x0 - 0.3, x1 + 0.3):
        slope = quad((x, high - 0.1, z0), (middle, top, z0), (middle, top, z1), (x, high - 0.1, z1))
        street.canvas.surface(slope, color, "building", 0.12)
    gable = np.array([(x0, high, z0), (middle, top, z0), (x1, high, z0)])
    street.canvas.surface(gable, tuple(0.8 * c for c in color), "building", 0.08)  # type: ignore[arg-type]


def _garden(street: Street, side: int, z: float, length: float) -> None:
    rng, canvas = street.rng, street.canvas
    x = street.edge(side, 0.2)
    for _ in range(int(rng.integers(1, 4))):
        at, deep = z + float(rng.uniform(0, length)), float(rng.uniform(1.5, 7))
        tall = float(rng.uniform(4, 9))
        board_x = x + side * deep
        street.add(at, lambda at=at, board_x=board_x, tall=tall: figures.tree(Board(canvas, board_x, at), rng, tall))
    if rng.random() < 0.75:
        wall, tall = rng.random() < 0.4, float(rng.uniform(0.9, 1.8))
        street.add(z + length / 2, lambda: _enclosure(street, x, (z, z + length), tall, wall))
    else:
        for at in np.arange(z, z + length, 1.2):
            street.add(float(at), lambda at=at: figures.bush(Board(canvas, x + side * 0.5, float(at)), rng, 1.1))


def _enclosure(street: Street, x: float, along: tuple[float, float], tall: float, wall: bool) -> None:
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


def _street_furniture(street: Street) -> None:
    """Trees in a row, street lights, signs, traffic lights, bins and benches on the pavement."""
    rng, canvas = street.rng, street.canvas
    for side in (-1, 1):
        x = street.offset + side * (street.road + 0.5)
        if rng.random() < 0.45:
            tall, step = float(rng.uniform(4.5, 8)), float(rng.uniform(8, 14))
            for z in np.arange(float(rng.uniform(5, 14)), 90, step):
                at = float(z + rng.uniform(-1, 1))
                street.add(at, lambda at=at, x=x, tall=tall: figures.tree(Board(canvas, x, at), rng, tall))
        for z in np.arange(float(rng.uniform(8, 22)), 90, 22):
            board = Board(canvas, x, float(z), flip=side > 0)
            street.add(float(z), lambda board=board: figures.streetlight(board, rng))
        for _ in range(int(rng.integers(1, 4))):
            z, kind = float(rng.uniform(5, 28)), rng.random()
            board = Board(canvas, x + side * 0.3, z)
            if kind < 0.4:
                street.add(z, lambda board=board: figures.sign(board, rng))
            elif kind < 0.7:
                street.add(z, lambda board=board: figures.traffic_light(board, rng))
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
        faces += box((min(back, back + 0.06), 0.5, -0.8), (max(back, back + 0.06), 0.95, 0.8), wood, "bench")
    street.add(z, lambda: canvas.solid(faces, (x, 0, z)))


def _traffic(street: Street) -> None:
    """Parked cars at both kerbs, vehicles on both lanes, now and then one across."""
    rng = street.rng
    for side in (-1, 1):
        if rng.random() < 0.6 and street.road > 3.8:
            z = float(rng.uniform(4, 10))
            while z < 70:
                if rng.random() < 0.75:
                    _vehicle(street, "car", street.offset + side * (street.road - 1.05), z, side)
                z += float(rng.uniform(5.2, 8))
        z = float(rng.uniform(7, 26))
        while z < 90 and rng.random() < 0.8:
            kind = str(rng.choice(["car", "car", "car", "bus", "truck", "motorcycle", "train"]))
            lane = 0.34 if street.road > 4.4 else 0.48
            _vehicle(street, kind, street.offset + side * street.road * lane, z, side)
            z += float(rng.uniform(11, 30))
    if rng.random() < 0.25:
        z = float(rng.uniform(11, 24))
        _vehicle(street, "car", street.offset + float(rng.uniform(-3, 3)), z, 0)


def _vehicle(street: Street, kind: str, x: float, z: float, side: int) -> None:
    """side 1 drives away, -1 comes closer, 0 crosses."""
    rng, canvas = street.rng, street.canvas
    if kind == "motorcycle":
        rider = rng.random() < 0.6
        street.add(z, lambda: figures.two_wheeler(Board(canvas, x, z), rng, "motorcycle", rider))
        return
    builders = {"car": vehicles.car, "truck": vehicles.truck}
    faces = builders[kind](rng) if kind in builders else vehicles.bus(rng, kind)
    yaw = {1: 0.0, -1: np.pi, 0: np.pi / 2}[side] + float(rng.uniform(-0.05, 0.05))
    half = 2.2 if kind == "car" else 5.0
    wide, deep = (half, 1.1) if side == 0 else (1.1, half)
    ground = quad((x - wide, 0, z - deep), (x + wide, 0, z - deep), (x + wide, 0, z + deep), (x - wide, 0, z + deep))

    def paint() -> None:
        canvas.shadow(ground, 0.55, max(1.0, 0.12 * canvas.camera.focal / z))
        canvas.solid(faces, (x, 0, z), yaw)

    if z - half > 1.5:
        street.add(z, paint)


def _people(street: Street) -> None:
    rng, canvas = street.rng, street.canvas
    for _ in range(int(rng.integers(1, 8))):
        z, side = float(rng.uniform(4.5, 30)), int(rng.choice([-1, 1]))
        x = street.offset + side * (street.road + float(rng.uniform(0.4, street.pavement)))
        if rng.random() < 0.15:
            x = street.offset + float(rng.uniform(-0.8, 0.8)) * street.road
        board = Board(canvas, x, z, flip=rng.random() < 0.5)
        street.add(z, lambda board=board: figures.person(board, rng))
    for _ in range(int(rng.integers(0, 3))):
        z, riding = float(rng.uniform(5, 20)), rng.random() < 0.65
        spread = street.road * 0.8 if riding else street.road + 1.0
        board = Board(canvas, street.offset + float(rng.choice([-1, 1])) * spread, z, flip=rng.random() < 0.5)
        street.add(z, lambda board=board, riding=riding: figures.two_wheeler(board, rng, "bicycle", riding))


def _hood(canvas: Canvas, rng: np.random.Generator) -> None:
    """The front of the car that carries the camera, at the lower edge."""
    width, height = canvas.width, canvas.height
    top = height * float(rng.uniform(0.92, 0.97))
    steps = np.linspace(0, width, 20)
    curve = top + (height * 0.05) * ((steps / width - 0.5) * 2) ** 2
    shape = np.vstack([np.stack([steps, curve], 1), [[width, height], [0, height]]])
    canvas.polygon(shape, jitter(rng, (40, 42, 46), 0.3), "ego vehicle", 0.05, 1.0)
