"""Vehicles and people on a street."""

import numpy as np

from lemore.scenes.drawing import figures, vehicles
from lemore.scenes.drawing.figures import Board
from lemore.scenes.drawing.roadside import Street
from lemore.scenes.drawing.solids import quad


def traffic(street: Street) -> None:
    """Parked cars at both kerbs, vehicles on both lanes, now and then one across."""
    rng = street.rng
    for side in (-1, 1):
        if rng.random() < 0.6 and street.road > 3.8:
            z = float(rng.uniform(4, 10))
            while z < 50:
                if rng.random() < 0.75:
                    _vehicle(street, "car", street.offset + side * (street.road - 1.05), z, side)
                z += float(rng.uniform(5.2, 8))
        z = float(rng.uniform(7, 26))
        while z < 60 and rng.random() < 0.8:
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
    builders = {"truck": vehicles.truck, "bus": vehicles.bus, "train": vehicles.tram}
    faces = builders[kind](rng) if kind in builders else vehicles.car(rng)
    yaw = {1: 0.0, -1: np.pi, 0: np.pi / 2}[side] + float(rng.uniform(-0.05, 0.05))
    half = {"car": 2.2, "truck": 3.6, "bus": 5.0, "train": 8.0}[kind]
    wide, deep = (half, 1.1) if side == 0 else (1.1, half)
    ground = quad(
        (x - wide, 0, z - deep),
        (x + wide, 0, z - deep),
        (x + wide, 0, z + deep),
        (x - wide, 0, z + deep),
    )

    def paint() -> None:
        canvas.shadow(ground, 0.55, max(1.0, 0.12 * canvas.camera.focal / z))
        canvas.solid(faces, (x, 0, z), yaw)

    if z - half > (1.8 if kind == "car" else 6.0):  # a near one would fill the picture
        street.add(z, paint)


def people(street: Street) -> None:
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
        board = Board(
            canvas, street.offset + float(rng.choice([-1, 1])) * spread, z, flip=rng.random() < 0.5
        )
        street.add(
            z, lambda board=board, riding=riding: figures.two_wheeler(board, rng, "bicycle", riding)
        )
