"""Furnishing a room: a bedroom, living room, dining room or study, and what stands about."""

import numpy as np

from lemore.scenes.drawing import accessories, figures, furniture
from lemore.scenes.drawing.figures import Board
from lemore.scenes.drawing.room_plan import Room
from lemore.scenes.drawing.textures import jitter, pick


def furnish(room: Room, free: list[str]) -> None:
    """One main group (bedroom, living room, dining room, study), then what stands about."""
    rng = room.rng
    if rng.random() < 0.5:
        accessories.rug(room)
    group = [_bedroom, _living_room, _dining_room, _study][int(rng.integers(4))]
    group(room)
    for wall in free:
        if wall != "back" and rng.random() < 0.75:
            _tall_piece(room, wall)
    if rng.random() < 0.6:
        accessories.ceiling_lamp(room)
    side = int(rng.choice([-1, 1]))
    corner = room.shift + side * (room.half - 0.35)
    if rng.random() < 0.55:
        room.items.append(
            (room.deep - 0.4, lambda: accessories.plant(room, corner, room.deep - 0.4))
        )
    elif rng.random() < 0.6:
        room.items.append(
            (room.deep - 0.4, lambda: accessories.floor_lamp(room, corner, room.deep - 0.4))
        )
    if rng.random() < 0.25:
        x, z = (
            room.shift + float(rng.uniform(-0.6, 0.6)) * room.half,
            float(rng.uniform(2.4, room.deep - 0.8)),
        )
        room.items.append(
            (z - 0.3, lambda: figures.person(Board(room.canvas, x, z), rng, shade=0.9))
        )
    if rng.random() < 0.15:
        x, z = (
            room.shift + float(rng.uniform(-0.5, 0.5)) * room.half,
            float(rng.uniform(2.0, room.deep - 1)),
        )
        room.items.append(
            (z - 0.2, lambda: figures.dog(Board(room.canvas, x, z, flip=rng.random() < 0.5), rng))
        )


def _bedroom(room: Room) -> None:
    rng = room.rng
    side = int(rng.choice([-1, 0, 1]))
    if side == 0:
        x, z, yaw = room.shift + float(rng.uniform(-0.3, 0.3)) * room.half, room.deep - 1.1, 0.0
    else:
        x, z, yaw = (
            room.shift + side * (room.half - 1.05),
            float(rng.uniform(2.4, room.deep - 1.0)),
            side * np.pi / 2,
        )
    room.add(furniture.bed(rng), x, z, yaw, 1.0)
    if side == 0:
        for sign in (-1, 1):
            stand = x + sign * 1.3
            if abs(stand - room.shift) < room.half - 0.3 and rng.random() < 0.8:
                room.add(furniture.cabinet(rng, 0.24, 0.55), stand, room.deep - 0.32, 0.0, 0.3)
                room.items.append(
                    (
                        room.deep - 0.33,
                        lambda stand=stand: accessories.table_lamp(
                            room, stand, room.deep - 0.32, 0.55
                        ),
                    )
                )


def _living_room(room: Room) -> None:
    rng = room.rng
    side, wide = int(rng.choice([-1, 0, 1])), float(rng.uniform(0.8, 1.15))
    if side == 0:
        room.add(furniture.sofa(rng, wide), room.shift, room.deep - 0.5, 0.0, wide)
    else:
        z = float(rng.uniform(2.1, room.deep - 1.2))
        room.add(
            furniture.sofa(rng, wide),
            room.shift + side * (room.half - 0.5),
            z,
            side * np.pi / 2,
            0.5,
        )
        room.add(furniture.cabinet(rng, 0.8, 0.5), room.shift, room.deep - 0.3, 0.0, 0.8)
        screen = furniture.tv(rng, float(rng.uniform(0.4, 0.6)))
        room.items.append(
            (room.deep - 0.31, lambda: room.place(screen, room.shift, room.deep - 0.3, 0.0, 0.5))
        )
    z = room.deep - float(rng.uniform(1.5, 1.9))
    room.add(
        furniture.table(rng, 0.5, 0.3, 0.4) + furniture.on_table(rng, 0.5, 0.4),
        room.shift,
        z,
        0.0,
        0.5,
    )


def _dining_room(room: Room) -> None:
    rng = room.rng
    z, x = (
        float(rng.uniform(2.5, max(2.6, room.deep - 1.2))),
        room.shift + float(rng.uniform(-0.3, 0.3)),
    )
    wood = jitter(rng, pick(rng, furniture.WOODS), 0.15)
    for dx in (-0.45, 0.45):
        room.add(furniture.chair(rng, wood), x + dx, z + 0.7, 0.0, 0.25)
        if rng.random() < 0.7:
            room.add(furniture.chair(rng, wood), x + dx, z - 0.7, np.pi, 0.25)
    for side in (-1, 1):
        if rng.random() < 0.6:
            room.add(furniture.chair(rng, wood), x + side * 1.15, z + 0.02, side * np.pi / 2, 0.25)
    room.add(
        furniture.table(rng, 0.85, 0.45, 0.75) + furniture.on_table(rng, 0.8, 0.75), x, z, 0.0, 0.85
    )


def _study(room: Room) -> None:
    rng = room.rng
    x = room.shift + float(rng.uniform(-0.4, 0.4)) * room.half
    room.add(furniture.table(rng, 0.7, 0.33, 0.74), x, room.deep - 0.4, 0.0, 0.7)
    screen = furniture.tv(rng, 0.3)
    room.items.append(
        (room.deep - 0.41, lambda: room.place(screen, x - 0.2, room.deep - 0.35, 0.0, 0.74))
    )
    room.items.append(
        (room.deep - 0.42, lambda: accessories.table_lamp(room, x + 0.45, room.deep - 0.35, 0.74))
    )
    wood = jitter(rng, pick(rng, furniture.WOODS), 0.15)
    room.add(
        furniture.chair(rng, wood), x, room.deep - 1.1, np.pi + float(rng.uniform(-0.5, 0.5)), 0.25
    )
    room.add(
        furniture.shelf(rng, 0.5, float(rng.uniform(1.2, 2.0))),
        x + (1.4 if x < room.shift else -1.4),
        room.deep - 0.2,
        0.0,
        0.5,
    )


def _tall_piece(room: Room, wall: str) -> None:
    rng, side = room.rng, -1 if wall == "left" else 1
    x, z = room.shift + side * (room.half - 0.3), float(rng.uniform(2.0, room.deep - 0.6))
    yaw = side * np.pi / 2
    if rng.random() < 0.5:
        room.add(
            furniture.shelf(rng, float(rng.uniform(0.4, 0.7)), float(rng.uniform(1.2, 2.1))),
            x,
            z,
            yaw,
            0.3,
        )
    else:
        high = float(rng.uniform(0.8, 2.1))
        room.add(furniture.cabinet(rng, float(rng.uniform(0.4, 0.8)), high), x, z, yaw, 0.3)
