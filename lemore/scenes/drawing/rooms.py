"""A room seen from its open side: walls, windows, doors and furniture along the walls."""

import numpy as np

from lemore.scenes.drawing import furniture
from lemore.scenes.drawing.canvas import Canvas
from lemore.scenes.drawing.interiors import furnish
from lemore.scenes.drawing.room_plan import Room
from lemore.scenes.drawing.solids import quad
from lemore.scenes.drawing.space import Camera, Color, Light
from lemore.scenes.drawing.textures import jitter, pick, plain, planks, tiles, wallpaper

PAPERS: list[Color] = [
    *((226, 220, 206), (196, 208, 212), (212, 190, 160), (178, 196, 170), (228, 226, 224)),
    *((170, 150, 140), (150, 170, 190), (205, 160, 140), (110, 120, 126), (232, 214, 170)),
]
FLOORS: list[Color] = [
    (160, 112, 70),
    (120, 80, 52),
    (190, 150, 104),
    (140, 136, 130),
    (100, 92, 88),
]


def draw(
    size: tuple[int, int], scale: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(image H x W x 3 uint8 RGB, label H x W uint8 positions in WORDS)."""
    height, width = size[0] * scale, size[1] * scale
    half, high, deep = (
        float(rng.uniform(1.7, 2.8)),
        float(rng.uniform(2.4, 3.0)),
        float(rng.uniform(3.4, 5.6)),
    )
    camera = Camera(
        width * float(rng.uniform(0.6, 0.85)),
        width * float(rng.uniform(0.42, 0.58)),
        height * float(rng.uniform(0.38, 0.5)),
        float(rng.uniform(1.25, 1.65)),
    )
    light = np.array([rng.uniform(-0.8, 0.8), 1.0, rng.uniform(-1.0, -0.2)])
    warm = float(rng.uniform(0.92, 1.06))
    tint = (warm, 1.0, 2 - warm)
    canvas = Canvas(
        size,
        scale,
        camera,
        Light(light / np.linalg.norm(light), float(rng.uniform(0.45, 0.65)), tint),
    )
    canvas.depth[:] = 3.0
    room = Room(canvas, rng, half, high, deep)
    _shell(room)
    free = _on_walls(room)
    furnish(room, free)
    for _, paint in sorted(room.items, key=lambda item: -item[0]):
        paint()
    gloom = float(rng.uniform(0.9, 1.2))
    canvas.image *= np.float32(gloom)
    return canvas.finish(rng, 0.0, (0, 0, 0))


def _shell(room: Room) -> None:
    rng, canvas = room.rng, room.canvas
    paper = jitter(rng, pick(rng, PAPERS), 0.1)
    shape = (160, 260)
    texture = wallpaper(rng, shape, paper)
    accent = (
        wallpaper(rng, shape, jitter(rng, pick(rng, PAPERS), 0.2))
        if rng.random() < 0.25
        else texture
    )
    for wall, picture in (("left", texture), ("right", texture), ("back", accent)):
        along = (room.left, room.right) if wall == "back" else (0.5, room.deep)
        corners = room.wall_quad(wall, along, (0, room.high))
        lit = picture * np.float32(canvas.shade(room.normal(wall)) * rng.uniform(0.94, 1.06))
        canvas.textured(corners, lit, "room wall", 0.03, None)
    color = jitter(rng, pick(rng, FLOORS), 0.15)
    kind = rng.random()
    if kind < 0.55:
        floor = planks(rng, (320, 240), color, int(rng.integers(10, 22)))
    elif kind < 0.8:
        floor = tiles(rng, (240, 240), jitter(rng, (190, 182, 170), 0.15), 30)
    else:
        floor = plain(rng, (160, 160), color, 0.12)
    ground = quad(
        (room.left, 0, room.deep),
        (room.right, 0, room.deep),
        (room.right, 0, 0.5),
        (room.left, 0, 0.5),
    )
    canvas.textured(ground, floor, "floor", 0.05, None)
    top = ground + np.array([0, room.high, 0])
    white = plain(rng, (60, 60), jitter(rng, (236, 233, 226), 0.05), 0.015)
    canvas.textured(top, white * np.float32(0.92), "ceiling", 0.02, None)
    _corners(room)


def _corners(room: Room) -> None:
    """Less light where surfaces meet."""
    z0, z1 = 0.5, room.deep
    for x in (room.left, room.right):
        for y in (0.0, room.high):
            strip = quad((x - 0.1, y, z0), (x + 0.1, y, z0), (x + 0.1, y, z1), (x - 0.1, y, z1))
            room.canvas.shadow(strip, 0.22, 4.0)
    for y in (0.0, room.high):
        strip = quad(
            (room.left, y, z1),
            (room.right, y, z1),
            (room.right, y + 0.08, z1),
            (room.left, y + 0.08, z1),
        )
        room.canvas.shadow(strip, 0.22, 4.0)


def _on_walls(room: Room) -> list[str]:
    """Windows, a door and pictures; returns the walls where tall furniture may stand."""
    rng, free = room.rng, ["back", "left", "right"]
    order = [str(wall) for wall in rng.permutation(free)]
    if rng.random() < 0.8:
        wall = order.pop()
        _window(room, wall)
        free.remove(wall)
    if rng.random() < 0.6:
        wall = order.pop()
        low, high = _extent(room, wall)
        start = float(rng.uniform(low + 0.1, max(low + 0.2, high - 1.1)))
        room.hang(wall, (start, start + 0.92), (0, 2.05), furniture.door_panel(rng), "door")
        free.remove(wall)
    for wall in order:
        _pictures(room, wall)
    return free


def _extent(room: Room, wall: str) -> tuple[float, float]:
    return (room.left, room.right) if wall == "back" else (1.6, room.deep)


def _window(room: Room, wall: str) -> None:
    rng = room.rng
    low, high = _extent(room, wall)
    wide = float(rng.uniform(0.9, min(2.0, high - low - 0.5)))
    start = float(rng.uniform(low + 0.2, high - wide - 0.2))
    bottom, top = float(rng.uniform(0.75, 1.05)), room.high - float(rng.uniform(0.3, 0.5))
    view = furniture.window_view(rng, int(wide * 70), int((top - bottom) * 70))
    room.hang(wall, (start, start + wide), (bottom, top), view, "window")
    if rng.random() < 0.6:
        cloth = jitter(rng, pick(rng, furniture.CLOTHS), 0.15)
        folds = 0.85 + 0.15 * np.sin(np.arange(40) * 0.9)[None, :, None]
        drape = plain(rng, (120, 40), cloth, 0.04) * folds.astype(np.float32)
        for a in (start - 0.2, start + wide - 0.2):
            room.hang(wall, (a, a + 0.4), (max(0.05, bottom - 0.7), top + 0.12), drape, "curtain")
    if wall != "back" and rng.random() < 0.7:  # its light on the floor
        side = room.left if wall == "left" else room.right
        reach = side + (1 if wall == "left" else -1) * np.array([0.5, 1.7])
        patch = [(reach[0], 0.01, start), (reach[1], 0.01, start - 0.4)]
        patch += [(reach[1], 0.01, start + wide - 0.4), (reach[0], 0.01, start + wide)]
        room.canvas.shadow(np.array(patch), -0.4, 2.0)


def _pictures(room: Room, wall: str) -> None:
    rng = room.rng
    low, high = _extent(room, wall)
    for start in np.arange(low + float(rng.uniform(0.3, 0.8)), high - 0.8, 1.3):
        choice = rng.random()
        if choice < 0.55:
            texture = furniture.painting(rng)
            wide = 0.008 * texture.shape[1] * float(rng.uniform(0.8, 1.3))
            tall, y = wide * texture.shape[0] / texture.shape[1], float(rng.uniform(1.35, 1.5))
            room.hang(wall, (float(start), float(start) + wide), (y, y + tall), texture, "picture")
        elif choice < 0.65:
            glass = plain(rng, (70, 50), (196, 208, 214), 0.03)
            glass[:4], glass[-4:], glass[:, :4], glass[:, -4:] = 70, 70, 70, 70
            room.hang(wall, (float(start), float(start) + 0.6), (1.0, 1.9), glass, "mirror")
