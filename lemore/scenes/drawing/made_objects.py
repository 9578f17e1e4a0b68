"""A balloon, a church, a folding chair, a bicycle, a bus, a sports car, a table lamp."""

import numpy as np

from lemore.scenes.drawing import figures, furniture, vehicles
from lemore.scenes.drawing.canvas import Canvas
from lemore.scenes.drawing.figures import Board
from lemore.scenes.drawing.settings import indoors, look, outdoors
from lemore.scenes.drawing.solids import box, quad
from lemore.scenes.drawing.space import scaled
from lemore.scenes.drawing.textures import facade, jitter, pick


def balloon(canvas: Canvas, rng: np.random.Generator) -> None:
    look(canvas, float(rng.uniform(0.72, 0.9)), 1.5)
    outdoors(canvas, rng)
    board = Board(canvas, float(rng.uniform(-1.5, 1.5)), 26.0, float(rng.uniform(4, 7)))
    colors = [jitter(rng, pick(rng, furniture.CLOTHS), 0.5) for _ in range(3)]
    radius = float(rng.uniform(4.5, 6))
    angles = np.linspace(np.pi / 2, -np.pi / 2, 22)
    for i, edge in enumerate(np.linspace(1, -0.85, 9)):  # gores, from the right edge to the left
        right = [(float(edge * radius * _girth(a)), float(6 + radius * np.sin(a))) for a in angles]
        left = [(-radius * _girth(a), float(6 + radius * np.sin(a))) for a in angles]
        light = 0.75 + 0.35 * float(np.sin((i + 1) / 10 * np.pi))
        board.shape([*right, *reversed(left)], scaled(colors[i % 3], light), "plant")
    low = 6 - radius
    for x in (-0.5, 0.5):
        board.line([(x * 1.6, low), (x, low - 1.4)], 0.06, (60, 50, 40), "plant")
    board.shape(
        [(-0.7, low - 1.3), (0.7, low - 1.3), (0.6, low - 2.4), (-0.6, low - 2.4)],
        (140, 96, 56),
        "plant",
        0.15,
    )


def _girth(angle: float) -> float:
    """Half width of the envelope at a height, narrowing towards the basket."""
    return float(np.cos(angle)) * (1.0 if angle > 0 else 1 - 0.1 * angle**2) + 0.1 * (angle < 0)


def church(canvas: Canvas, rng: np.random.Generator) -> None:
    look(canvas, float(rng.uniform(0.64, 0.78)), 1.5)
    outdoors(canvas, rng)
    stone = jitter(rng, pick(rng, [(206, 196, 178), (170, 120, 96), (228, 226, 220)]), 0.1)
    x, z, yaw = float(rng.uniform(-2, 2)), float(rng.uniform(28, 36)), float(rng.uniform(-0.5, 0.5))
    side = 1 if rng.random() < 0.5 else -1
    roof = jitter(rng, (110, 74, 62), 0.2)
    nave = box((-5, 0, -4), (5, 6, 5), stone, "building", front=facade(rng, (110, 100)))
    nave[0].tint = scaled(stone, 1 / 160)
    canvas.solid(nave, (x, 0, z), yaw)
    peak = np.array([(x - 5.4, 5.8, z - 4), (x, 9.5, z - 4), (x + 5.4, 5.8, z - 4)])
    canvas.surface(peak, roof, "building", 0.1)
    tower_x = x + side * 4.2
    tower = box((-1.6, 0, -1.6), (1.6, 11, 1.6), scaled(stone, 0.95), "building")
    canvas.solid(tower, (tower_x, 0, z - 4.5), yaw)
    base = z - 6
    spire = np.array(
        [
            (tower_x - 1.9, 11, base),
            (tower_x, float(rng.uniform(15, 18)), base),
            (tower_x + 1.9, 11, base),
        ]
    )
    canvas.surface(spire, scaled(roof, 0.9), "building", 0.08)
    board = Board(canvas, tower_x, base)
    top = float(spire[1, 1])
    board.line([(0, top), (0, top + 1.5)], 0.2, (70, 62, 40), "building")
    board.line([(-0.5, top + 1), (0.5, top + 1)], 0.2, (70, 62, 40), "building")
    for y in (7.5, 9.2):
        board.shape(
            [(-0.4, y), (0.4, y), (0.4, y + 0.9), (0, y + 1.3), (-0.4, y + 0.9)],
            (50, 50, 60),
            "building",
        )
    door = Board(canvas, x, z - 4.4)
    door.shape([(-0.8, 0), (0.8, 0), (0.8, 2.2), (0, 3), (-0.8, 2.2)], (84, 58, 40), "building")


def folding_chair(canvas: Canvas, rng: np.random.Generator) -> None:
    look(canvas, float(rng.uniform(0.34, 0.44)), 0.9)
    (outdoors if rng.random() < 0.4 else lambda c, r: indoors(c, r, 4.0))(canvas, rng)
    z, x = float(rng.uniform(1.7, 2.2)), float(rng.uniform(-0.25, 0.25))
    board = Board(canvas, x, z, flip=rng.random() < 0.5)
    board.ground_shadow(0.4)
    metal, cloth = jitter(rng, (150, 150, 155), 0.3), jitter(rng, pick(rng, furniture.CLOTHS), 0.3)
    for shift in (0.1, 0.0):  # the far side first
        dim = 0.7 if shift else 1.0
        board.line(
            [(-0.35 + shift, shift / 2), (0.28 + shift, 1.0 + shift / 2)],
            0.045,
            scaled(metal, dim),
            "chair",
        )
        board.line(
            [(0.3 + shift, shift / 2), (-0.28 + shift, 0.55 + shift / 2)],
            0.045,
            scaled(metal, dim),
            "chair",
        )
    board.shape([(-0.36, 0.5), (0.06, 0.5), (0.18, 0.58), (-0.26, 0.58)], cloth, "chair", 0.1)
    board.shape(
        [(0.12, 0.68), (0.27, 0.98), (0.38, 1.04), (0.24, 0.72)], scaled(cloth, 0.85), "chair", 0.1
    )


def mountain_bike(canvas: Canvas, rng: np.random.Generator) -> None:
    look(canvas, float(rng.uniform(0.3, 0.42)), 0.95)
    outdoors(canvas, rng)
    z = float(rng.uniform(2.1, 2.9))
    board = Board(canvas, float(rng.uniform(-0.2, 0.2)), z, flip=rng.random() < 0.5)
    figures.two_wheeler(board, rng, "bicycle", rng.random() < 0.25)


def school_bus(canvas: Canvas, rng: np.random.Generator) -> None:
    outdoors(canvas, rng)
    faces = vehicles.bus(rng, jitter(rng, (245, 180, 30), 0.06))
    yaw = float(rng.choice([-1, 1])) * float(rng.uniform(0.6, 2.6))
    _stand(canvas, faces, float(rng.uniform(-0.5, 0.5)), float(rng.uniform(11, 15)), yaw, 3.6)


def sports_car(canvas: Canvas, rng: np.random.Generator) -> None:
    outdoors(canvas, rng)
    faces = vehicles.car(rng, sport=True)
    yaw = float(rng.choice([-1, 1])) * float(rng.uniform(0.5, 2.6))
    _stand(canvas, faces, float(rng.uniform(-0.3, 0.3)), float(rng.uniform(4.8, 6.5)), yaw, 1.9)


def _stand(canvas: Canvas, faces: list, x: float, z: float, yaw: float, half: float) -> None:
    ground = quad(
        (x - half, 0, z - 1), (x + half, 0, z - 1), (x + half, 0, z + 1), (x - half, 0, z + 1)
    )
    canvas.shadow(ground, 0.55, 4.0)
    canvas.solid(faces, (x, 0, z), yaw)


def table_lamp(canvas: Canvas, rng: np.random.Generator) -> None:
    indoors(canvas, rng, 2.6)
    wood = jitter(rng, pick(rng, furniture.WOODS), 0.15)
    canvas.solid(box((-1.4, 0.0, 1.5), (1.4, 0.78, 2.3), wood, "table", 0.08), (0, 0, 0))
    board = Board(canvas, float(rng.uniform(-0.25, 0.25)), 1.7, 0.78)
    body, tall = jitter(rng, pick(rng, furniture.CLOTHS), 0.3), float(rng.uniform(0.32, 0.5))
    shade = jitter(rng, pick(rng, [(252, 236, 196), (240, 200, 150), (230, 230, 225)]), 0.08)
    board.oval((0, 0.02), (0.15, 0.035), scaled(body, 0.7), "lamp")
    board.oval((0, tall * 0.5), (float(rng.uniform(0.04, 0.13)), tall * 0.5), body, "lamp")
    low, high = float(rng.uniform(0.24, 0.34)), float(rng.uniform(0.1, 0.2))
    top = tall + float(rng.uniform(0.24, 0.34))
    board.shape([(-low, tall), (low, tall), (high, top), (-high, top)], shade, "lamp")
    board.shape(
        [(-low * 0.3, tall), (low * 0.3, tall), (high * 0.3, top), (-high * 0.3, top)],
        scaled(shade, 1.08),
        "lamp",
    )
