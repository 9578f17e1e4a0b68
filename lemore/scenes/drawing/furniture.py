"""Furniture as bodies of boxes, in metres; the front faces -z, the back stands against +z.

Each function returns parts in the order in which they are drawn: what lies further back first.
"""

import numpy as np

from lemore.scenes.drawing.solids import box, quad
from lemore.scenes.drawing.space import Color, Face, scaled
from lemore.scenes.drawing.textures import jitter, pick, planks

Part = list[Face]
WOODS: list[Color] = [(150, 104, 66), (196, 156, 108), (96, 62, 42), (225, 220, 210), (70, 66, 64)]
CLOTHS: list[Color] = [
    *((120, 60, 60), (70, 90, 120), (190, 180, 160), (90, 120, 90), (60, 60, 66)),
    *((200, 140, 70), (150, 120, 150), (225, 222, 216), (180, 70, 60), (60, 120, 130)),
]


def bed(rng: np.random.Generator) -> list[Part]:
    """2 m long, head at +z."""
    half = float(rng.uniform(0.7, 0.95))
    wood, sheet = jitter(rng, pick(rng, WOODS), 0.1), jitter(rng, (232, 230, 226), 0.05)
    cover = jitter(rng, pick(rng, CLOTHS), 0.15)
    parts = [box((-half, 0, 0.95), (half, float(rng.uniform(0.85, 1.2)), 1.05), wood, "bed")]
    parts.append(box((-half, 0.08, -1.0), (half, 0.3, 0.95), wood, "bed"))
    parts.append(box((-half, 0.3, -1.0), (half, 0.52, 0.95), sheet, "bed"))
    for x in (-half / 2, half / 2):
        cushion = jitter(rng, (240, 238, 232), 0.06) if rng.random() < 0.7 else cover
        parts.append(box((x - 0.3, 0.52, 0.5), (x + 0.3, 0.66, 0.88), cushion, "pillow"))
    parts.append(box((-half - 0.03, 0.28, -1.03), (half + 0.03, 0.57, 0.35), cover, "bed", 0.1))
    fold = quad(
        (-half, 0.575, 0.35), (half, 0.575, 0.35), (half, 0.575, 0.12), (-half, 0.575, 0.12)
    )
    parts[-1][4].decals.append((fold, sheet, "bed"))
    return parts


def table(rng: np.random.Generator, wide: float, deep: float, high: float) -> list[Part]:
    wood = jitter(rng, pick(rng, WOODS), 0.12)
    legs: list[Part] = []
    for z in (deep - 0.07, -deep):
        for x in (-wide, wide - 0.07):
            legs.append(
                box((x, 0, z), (x + 0.07, high - 0.05, z + 0.07), scaled(wood, 0.85), "table")
            )
    return [*legs, box((-wide, high - 0.05, -deep), (wide, high, deep), wood, "table", 0.08)]


def on_table(rng: np.random.Generator, wide: float, high: float) -> list[Part]:
    """Books, a bottle or a vase on a table top."""
    parts: list[Part] = []
    for x in np.arange(-wide + 0.2, wide - 0.2, 0.4):
        color, choice = jitter(rng, pick(rng, CLOTHS), 0.3), rng.random()
        at = float(x)
        if choice < 0.3:
            parts.append(box((at - 0.14, high, -0.1), (at + 0.14, high + 0.07, 0.1), color, "book"))
        elif choice < 0.55:
            green: Color = jitter(rng, (60, 110, 70), 0.4)
            parts.append(
                box((at - 0.05, high, -0.05), (at + 0.05, high + 0.24, 0.05), green, "bottle")
            )
            parts.append(
                box(
                    (at - 0.02, high + 0.24, -0.02), (at + 0.02, high + 0.34, 0.02), green, "bottle"
                )
            )
    return parts


def chair(rng: np.random.Generator, wood: Color) -> list[Part]:
    """Seat towards -z, back at +z."""
    seat = jitter(rng, wood, 0.15)
    parts = [
        box((x, 0, z), (x + 0.05, 0.44, z + 0.05), scaled(wood, 0.8), "chair")
        for z in (0.17, -0.22)
        for x in (-0.22, 0.17)
    ]
    back = box((-0.22, 0.62, 0.17), (0.22, 0.98, 0.22), wood, "chair")
    posts = [box((x, 0.44, 0.17), (x + 0.05, 0.98, 0.22), wood, "chair") for x in (-0.22, 0.17)]
    return [
        *parts[:2],
        *posts,
        back,
        *parts[2:],
        box((-0.24, 0.43, -0.24), (0.24, 0.49, 0.22), seat, "chair", 0.09),
    ]


def sofa(rng: np.random.Generator, wide: float) -> list[Part]:
    cloth = jitter(rng, pick(rng, CLOTHS), 0.15)
    parts = [box((-wide, 0.1, 0.3), (wide, 0.88, 0.48), cloth, "sofa", 0.09)]
    parts.append(box((-wide, 0.08, -0.42), (wide, 0.3, 0.3), scaled(cloth, 0.9), "sofa", 0.09))
    count = 2 if wide < 0.9 else 3
    step = (2 * wide - 0.36) / count
    for i in range(count):
        x = -wide + 0.18 + i * step
        parts.append(
            box((x, 0.3, -0.4), (x + step - 0.03, 0.46, 0.3), jitter(rng, cloth, 0.06), "sofa", 0.1)
        )
        if rng.random() < 0.6:
            color = jitter(rng, pick(rng, CLOTHS), 0.2)
            parts.append(box((x + 0.05, 0.46, 0.1), (x + 0.45, 0.8, 0.26), color, "cushion", 0.12))
    for x in (-wide, wide - 0.18):
        parts.append(
            box((x, 0.08, -0.44), (x + 0.18, 0.62, 0.34), scaled(cloth, 1.05), "sofa", 0.09)
        )
    return parts


def cabinet(rng: np.random.Generator, wide: float, high: float) -> list[Part]:
    """A wardrobe, chest or sideboard with doors and handles."""
    wood = jitter(rng, pick(rng, WOODS), 0.12)
    body = box((-wide, 0.05, -0.28), (wide, high, 0.28), wood, "cabinet", 0.07)
    count = max(1, round(2 * wide / 0.5))
    rows = 1 if high > 1.2 else 3
    for i in range(count):
        for row in range(rows):
            left = -wide + 2 * wide * i / count
            right, z = left + 2 * wide / count, -0.285
            low = 0.1 + (high - 0.15) * row / rows
            top = 0.1 + (high - 0.15) * (row + 1) / rows
            rim = quad(
                (left + 0.03, top - 0.03, z),
                (right - 0.03, top - 0.03, z),
                (right - 0.03, low + 0.03, z),
                (left + 0.03, low + 0.03, z),
            )
            body[0].decals.append((rim, scaled(wood, 0.9 + 0.15 * float(rng.random())), "cabinet"))
            x, y = (right - 0.1, (low + top) / 2) if rows == 1 else ((left + right) / 2, top - 0.1)
            knob = quad(
                (x - 0.04, y + 0.025, z),
                (x + 0.04, y + 0.025, z),
                (x + 0.04, y - 0.025, z),
                (x - 0.04, y - 0.025, z),
            )
            body[0].decals.append((knob, (60, 55, 50), "cabinet"))
    return [body]


def shelf(rng: np.random.Generator, wide: float, high: float) -> list[Part]:
    """A bookcase: rows of books between boards."""
    wood = jitter(rng, pick(rng, WOODS), 0.12)
    body = box((-wide, 0, -0.17), (wide, high, 0.17), wood, "shelf", 0.07)
    z = -0.18
    for low in np.arange(0.08, high - 0.3, 0.36):
        top = float(low) + 0.31
        gap = quad(
            (-wide + 0.04, top, z),
            (wide - 0.04, top, z),
            (wide - 0.04, float(low), z),
            (-wide + 0.04, float(low), z),
        )
        body[0].decals.append((gap, scaled(wood, 0.4), "shelf"))
        x = -wide + 0.05
        while x < wide - 0.12:
            thick, tall = float(rng.uniform(0.03, 0.08)), float(rng.uniform(0.18, 0.29))
            if rng.random() < 0.88:
                spine = quad(
                    (x, low + tall, z), (x + thick, low + tall, z), (x + thick, low, z), (x, low, z)
                )
                body[0].decals.append((spine, jitter(rng, pick(rng, CLOTHS), 0.35), "book"))
            x += thick + 0.006
    return [body]


def tv(rng: np.random.Generator, wide: float) -> list[Part]:
    """A screen on a stand, standing on whatever is below it."""
    body = box((-wide, 0.08, -0.04), (wide, 0.08 + wide * 1.15, 0.04), (22, 22, 24), "tv")
    picture: Color = jitter(
        rng, pick(rng, [(30, 34, 42), (70, 110, 170), (150, 110, 80), (60, 120, 90)]), 0.3
    )
    z, top = -0.045, wide * 1.15 + 0.04
    screen = quad(
        (-wide + 0.04, top, z),
        (wide - 0.04, top, z),
        (wide - 0.04, 0.13, z),
        (-wide + 0.04, 0.13, z),
    )
    glare = quad(
        (-wide + 0.04, top, z),
        (-wide * 0.2, top, z),
        (-wide * 0.6, 0.13, z),
        (-wide + 0.04, 0.13, z),
    )
    body[0].decals += [(screen, picture, "tv"), (glare, scaled(picture, 1.3), "tv")]
    return [box((-0.15, 0, -0.06), (0.15, 0.08, 0.06), (30, 30, 32), "tv"), body]


def door_panel(rng: np.random.Generator) -> np.ndarray:
    """h x w x 3 texture of a panelled door in its frame."""
    color = jitter(rng, pick(rng, WOODS), 0.15)
    texture = planks(rng, (210, 96), color, 96)
    frame: Color = jitter(rng, (232, 228, 218), 0.08) if rng.random() < 0.6 else scaled(color, 0.7)
    texture[:7], texture[:, :7], texture[:, -7:] = frame, frame, frame
    for top, bottom in ((20, 90), (104, 196)):
        texture[top:bottom, 20:44] *= 0.85
        texture[top:bottom, 52:76] *= 0.85
        texture[top : top + 2, 20:76] *= 0.7
    texture[100:106, 80:88] = (200, 180, 110)
    return texture


def window_view(rng: np.random.Generator, wide: int, high: int) -> np.ndarray:
    """h x w x 3 texture of a window: sky, far greenery or houses, frame and bars."""
    night = rng.random() < 0.12
    top, low = ((20, 26, 46), (40, 44, 66)) if night else ((150, 195, 240), (228, 238, 245))
    part = np.linspace(0, 1, high, dtype=np.float32)[:, None, None]
    view = np.array(top, np.float32) * (1 - part) + np.array(low, np.float32) * part
    texture = np.ascontiguousarray(np.broadcast_to(view, (high, wide, 3)))
    ground = int(high * rng.uniform(0.6, 0.85))
    far = (30, 36, 34) if night else pick(rng, [(110, 140, 90), (150, 150, 156), (120, 130, 100)])
    x = 0
    while x < wide:
        step = int(rng.integers(6, 22))
        texture[ground - int(rng.integers(0, high // 5)) :, x : x + step] = jitter(rng, far, 0.15)
        x += step
    frame: Color = (238, 236, 230) if rng.random() < 0.75 else (92, 66, 46)
    texture[:5], texture[-6:], texture[:, :5], texture[:, -5:] = frame, frame, frame, frame
    for x in (wide // 2,) if wide < 100 else (wide // 3, 2 * wide // 3):
        texture[:, x - 2 : x + 2] = frame
    if rng.random() < 0.5:
        texture[high // 2 - 2 : high // 2 + 2] = frame
    return texture


def painting(rng: np.random.Generator) -> np.ndarray:
    """h x w x 3 texture of a framed picture: a landscape, shapes or a portrait."""
    high, wide = (60, 80) if rng.random() < 0.6 else (80, 60)
    sky, land = (np.array(jitter(rng, pick(rng, CLOTHS), 0.4), np.float32) for _ in range(2))
    part = np.linspace(0, 1, high, dtype=np.float32)[:, None, None]
    texture = np.ascontiguousarray(np.broadcast_to(sky * (1 - part) + 200 * part, (high, wide, 3)))
    line = high * 0.6 + 6 * np.sin(np.linspace(0, 6, wide) + rng.uniform(0, 6))
    texture[np.arange(high)[:, None] > line[None]] = land
    for _ in range(int(rng.integers(1, 5))):
        y, x = int(rng.integers(8, high - 20)), int(rng.integers(8, wide - 20))
        texture[y : y + int(rng.integers(5, 18)), x : x + int(rng.integers(5, 18))] = jitter(
            rng, pick(rng, CLOTHS), 0.4
        )
    if rng.random() < 0.5:
        texture[:9], texture[-9:], texture[:, :9], texture[:, -9:] = 236, 236, 236, 236
    frame = pick(rng, [(40, 34, 30), (190, 150, 80), (120, 80, 50), (225, 225, 222)])
    texture[:5], texture[-5:], texture[:, :5], texture[:, -5:] = frame, frame, frame, frame
    return texture
