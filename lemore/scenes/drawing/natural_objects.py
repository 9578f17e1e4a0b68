"""A goldfish, a butterfly, a volcano."""

import numpy as np

from lemore.scenes.drawing.canvas import Canvas
from lemore.scenes.drawing.figures import Board
from lemore.scenes.drawing.settings import close_up, look, turned
from lemore.scenes.drawing.solids import quad
from lemore.scenes.drawing.space import scaled
from lemore.scenes.drawing.textures import jitter, pick, plain


def goldfish(canvas: Canvas, rng: np.random.Generator) -> None:
    board = close_up(canvas, [(30, 90, 120), (50, 130, 140), (70, 110, 80), (20, 60, 90)], rng)
    for x in rng.uniform(-1.1, 1.1, 9):  # water plants
        sway = [(float(x + 0.05 * np.sin(3 * y)), float(y)) for y in np.linspace(-1.2, 0.3, 8)]
        board.line(sway, 0.05, jitter(rng, (50, 120, 60), 0.3), "plant")
    skin, tilt = jitter(rng, (238, 120, 30), 0.12), float(rng.uniform(-0.35, 0.35))
    tail = [(-0.5, 0.0), (-0.95, 0.38), (-0.85, 0.02), (-0.95, -0.36)]
    body = [
        (0.62 * float(np.cos(a)), 0.3 * float(np.sin(a))) for a in np.linspace(0, 2 * np.pi, 30)
    ]
    fin = [(-0.3, 0.22), (-0.2, 0.52), (0.25, 0.42), (0.3, 0.2)]
    belly = [
        (0.55 * float(np.cos(a)), -0.04 + 0.2 * float(np.sin(a)))
        for a in np.linspace(np.pi, 2 * np.pi, 20)
    ]
    for shape, factor in ((tail, 0.9), (fin, 0.85), (body, 1.0)):
        board.shape(turned(shape, tilt), scaled(skin, factor), "plant", 0.12)
    board.shape(turned(belly, tilt), (250, 200, 140), "plant", 0.1)
    board.shape(
        turned([(0.1, -0.05), (-0.15, -0.3), (0.2, -0.2)], tilt), scaled(skin, 0.8), "plant"
    )
    eye = turned([(0.42, 0.07)], tilt)[0]
    board.oval(eye, (0.06, 0.06), (245, 240, 220), "plant")
    board.oval(eye, (0.035, 0.035), (20, 20, 20), "plant")


def butterfly(canvas: Canvas, rng: np.random.Generator) -> None:
    board = close_up(canvas, [(80, 130, 60), (110, 150, 80), (60, 100, 60), (150, 110, 150)], rng)
    for _ in range(int(rng.integers(3, 8))):  # blossoms
        x, y = rng.uniform(-1, 1, 2)
        for angle in np.linspace(0, 2 * np.pi, 6)[:-1]:
            petal = (float(x + 0.1 * np.cos(angle)), float(y + 0.1 * np.sin(angle)))
            board.oval(petal, (0.08, 0.08), jitter(rng, (200, 120, 190), 0.2), "plant")
        board.oval((float(x), float(y)), (0.06, 0.06), (240, 220, 90), "plant")
    wing, tilt = jitter(rng, (238, 222, 90), 0.1), float(rng.uniform(-0.6, 0.6))
    fold = float(rng.uniform(0.55, 1.0))
    upper = [(0.0, 0.05), (0.2, 0.6), (0.72, 0.66), (0.8, 0.42), (0.5, 0.02)]
    lower = [(0.0, 0.05), (0.52, 0.02), (0.62, -0.3), (0.38, -0.55), (0.08, -0.35)]
    for side in (-1, 1):
        for shape, factor in ((lower, 0.9), (upper, 1.0)):
            mirrored = [(side * fold * x, y) for x, y in shape]
            board.shape(
                turned([(1.06 * x, 1.06 * y) for x, y in mirrored], tilt), (60, 52, 34), "plant"
            )
            board.shape(turned(mirrored, tilt), scaled(wing, factor), "plant", 0.1)
        spot = turned([(side * fold * 0.42, 0.36)], tilt)[0]
        board.oval(spot, (0.05, 0.05), (150, 90, 40), "plant")
        board.line(turned([(0, 0.4), (side * 0.16, 0.75)], tilt), 0.02, (50, 40, 30), "plant")
    board.shape(
        turned([(-0.05, -0.45), (0.05, -0.45), (0.05, 0.45), (-0.05, 0.45)], tilt),
        (60, 50, 36),
        "plant",
    )


def volcano(canvas: Canvas, rng: np.random.Generator) -> None:
    look(canvas, float(rng.uniform(0.68, 0.82)), 1.5)
    canvas.sky(
        jitter(rng, (90, 120, 170), 0.25),
        jitter(rng, (220, 190, 160), 0.15),
        float(rng.uniform(0, 0.6)),
        rng,
    )
    board = Board(canvas, float(rng.uniform(-4, 4)), 40.0)
    high, half = float(rng.uniform(11, 17)), float(rng.uniform(15, 24))
    rim, rock = float(rng.uniform(1.8, 3.2)), jitter(rng, (92, 80, 76), 0.2)
    for _ in range(26):  # the plume, drifting
        rise = float(rng.uniform(0, 14))
        at = (float(rng.normal(0.3 * rise, 0.8 + 0.15 * rise)), high + rise)
        board.oval(
            at,
            (1.2 + 0.16 * rise, 1.0 + 0.13 * rise),
            jitter(rng, (150, 146, 146), 0.15),
            "plant",
            0.1,
        )
    left = [(-half * (1 - t) ** 1.4 - rim, high * t) for t in np.linspace(0, 1, 12)]
    right = [(half * (1 - t) ** 1.4 + rim, high * t) for t in np.linspace(1, 0, 12)]
    board.shape([*left, *right], rock, "mountain", 0.2)
    board.shape([(rim * 0.2, high), *right], scaled(rock, 0.75), "mountain", 0.2)
    if rng.random() < 0.6:  # lava
        for x in rng.uniform(-rim, rim, 3):
            flow = [(float(x * (1 + 1.3 * t)), high * (1 - 0.55 * t)) for t in np.linspace(0, 1, 6)]
            board.line(flow, 0.4, (245, 110, 30), "mountain")
    board.oval(
        (0, high), (rim, 0.6), (240, 120, 40) if rng.random() < 0.6 else (60, 50, 48), "mountain"
    )
    ground = quad((-300, 0, 0.5), (300, 0, 0.5), (300, 0, 39), (-300, 0, 39))
    texture = plain(
        rng,
        (40, 40),
        jitter(rng, pick(rng, [(84, 104, 60), (110, 96, 80), (60, 90, 120)]), 0.15),
        0.1,
    )
    canvas.textured(ground[[3, 2, 1, 0]], texture, "grass", 0.15, None)
