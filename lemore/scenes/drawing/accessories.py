"""Rugs, lamps and plants in a room."""

import numpy as np

from lemore.scenes.drawing import furniture
from lemore.scenes.drawing.figures import Board
from lemore.scenes.drawing.room_plan import Room
from lemore.scenes.drawing.solids import quad
from lemore.scenes.drawing.space import Color, scaled
from lemore.scenes.drawing.textures import jitter, pick, plain


def rug(room: Room) -> None:
    rng = room.rng
    wide, z = float(rng.uniform(0.5, 0.8)) * room.half, float(rng.uniform(1.7, 2.4))
    color = jitter(rng, pick(rng, furniture.CLOTHS), 0.2)
    texture = plain(rng, (60, 90), color, 0.08)
    texture[6:-6, 6:-6] *= 0.75
    texture[11:-11, 11:-11] = plain(
        rng, (38, 68), jitter(rng, pick(rng, furniture.CLOTHS), 0.2), 0.08
    )
    x0, x1 = room.shift - wide, room.shift + wide
    corners = quad((x0, 0.01, z + 1.7), (x1, 0.01, z + 1.7), (x1, 0.01, z), (x0, 0.01, z))
    room.canvas.textured(corners, texture, "rug", 0.15, None)


def ceiling_lamp(room: Room) -> None:
    rng = room.rng
    x, z, y = (
        room.shift + float(rng.uniform(-0.3, 0.3)),
        float(rng.uniform(2.2, room.deep - 0.8)),
        room.high,
    )
    board = Board(room.canvas, x, z)
    drop, color = (
        float(rng.uniform(0.3, 0.7)),
        jitter(rng, pick(rng, [(245, 236, 205), (200, 90, 60), (60, 62, 66)]), 0.1),
    )

    def paint() -> None:
        board.line([(0, y), (0, y - drop)], 0.02, (60, 60, 60), "ceiling lamp")
        board.shape(
            [
                (-0.08, y - drop),
                (0.08, y - drop),
                (0.24, y - drop - 0.24),
                (-0.24, y - drop - 0.24),
            ],
            color,
            "ceiling lamp",
        )
        board.oval((0, y - drop - 0.24), (0.23, 0.05), (255, 250, 225), "ceiling lamp")

    room.items.append((z, paint))


def table_lamp(room: Room, x: float, z: float, base: float) -> None:
    rng = room.rng
    board = Board(room.canvas, x, z, base)
    color = jitter(rng, pick(rng, furniture.CLOTHS), 0.2)
    board.shape([(-0.06, 0), (0.06, 0), (0.03, 0.25), (-0.03, 0.25)], scaled(color, 0.7), "lamp")
    board.shape(
        [(-0.17, 0.22), (0.17, 0.22), (0.1, 0.46), (-0.1, 0.46)],
        jitter(rng, (250, 234, 190), 0.08),
        "lamp",
    )


def floor_lamp(room: Room, x: float, z: float) -> None:
    board = Board(room.canvas, x, z)
    board.ground_shadow(0.2)
    board.oval((0, 0.03), (0.16, 0.04), (50, 50, 52), "lamp")
    board.shape([(-0.02, 0.03), (0.02, 0.03), (0.02, 1.4), (-0.02, 1.4)], (60, 60, 62), "lamp")
    board.shape(
        [(-0.24, 1.35), (0.24, 1.35), (0.15, 1.7), (-0.15, 1.7)],
        jitter(room.rng, (250, 232, 190), 0.1),
        "lamp",
    )


def plant(room: Room, x: float, z: float) -> None:
    rng = room.rng
    board = Board(room.canvas, x, z)
    board.ground_shadow(0.25)
    board.shape(
        [(-0.14, 0), (0.14, 0), (0.19, 0.32), (-0.19, 0.32)],
        jitter(rng, (170, 96, 66), 0.25),
        "plant",
    )
    leaf: Color = jitter(rng, (66, 120, 62), 0.2)
    for angle in rng.uniform(-1.1, 1.1, 16):
        tall, bend = float(rng.uniform(0.5, 1.1)), float(angle)
        tip = (0.55 * np.sin(bend), 0.3 + tall * float(np.cos(bend)))
        side = (0.07 * float(np.cos(bend)), -0.07 * float(np.sin(bend)))
        middle = (0.35 * tip[0], 0.3 + 0.55 * (tip[1] - 0.3))
        points = [
            (0.0, 0.3),
            (middle[0] - side[0], middle[1] - side[1]),
            tip,
            (middle[0] + side[0], middle[1] + side[1]),
        ]
        board.shape(points, scaled(leaf, float(rng.uniform(0.7, 1.2))), "plant")
