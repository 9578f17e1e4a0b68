"""Surfaces: noise, masonry, wood, cloth. Textures are h x w x 3 float32, 0..255, RGB."""

import functools

import cv2
import numpy as np

FACADES = 40
Color = tuple[float, float, float]


def noise(rng: np.random.Generator, shape: tuple[int, int], sizes: tuple[int, ...]) -> np.ndarray:
    """Smooth noise about 0 with spots of the given sizes in pixels, h x w float32."""
    total = np.zeros(shape, np.float32)
    for size in sizes:
        coarse = (max(2, shape[1] // size + 1), max(2, shape[0] // size + 1))
        grid = rng.standard_normal((coarse[1], coarse[0])).astype(np.float32)
        total += cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return total / np.float32(np.sqrt(len(sizes)))


def clouds(rng: np.random.Generator, shape: tuple[int, int], cover: float) -> np.ndarray:
    """Opacity 0..1 of clouds over about the share `cover` of the area."""
    width = shape[1]
    sizes = tuple(max(2, width // part) for part in (3, 6, 12, 24, 48))
    field = np.zeros(shape, np.float32)
    for octave, size in enumerate(sizes):
        stretched = (max(2, 2 * shape[0] // size + 1), shape[1] // size + 1)
        grid = rng.standard_normal((stretched[0], max(2, stretched[1]))).astype(np.float32)
        field += cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC) * 0.62**octave
    edge = 1.2 - 2.4 * cover
    return np.clip((field - edge) / 1.2, 0, 1) * min(1.0, 0.5 + cover)


def plain(
    rng: np.random.Generator, shape: tuple[int, int], color: Color, roughness: float
) -> np.ndarray:
    """One colour with fine and coarse spots."""
    field = noise(rng, shape, (1, 4, 16))
    return np.array(color, np.float32) * (1 + roughness * field)[..., None]


def jitter(rng: np.random.Generator, color: Color, amount: float) -> Color:
    """The colour, a little lighter or darker and a little off in hue."""
    gain = 1 + rng.uniform(-amount, amount)
    r, g, b = (float(np.clip(c * gain + rng.uniform(-30, 30) * amount, 0, 255)) for c in color)
    return (r, g, b)


def pick(rng: np.random.Generator, colors: list[Color]) -> Color:
    return colors[int(rng.integers(len(colors)))]


def bricks(rng: np.random.Generator, shape: tuple[int, int], color: Color) -> np.ndarray:
    """Rows of bricks with lighter joints; 5 pixels high, 12 long, shifted by half every row."""
    rows, columns = shape[0] // 5 + 1, shape[1] // 6 + 2
    stone = np.repeat(rng.uniform(0.9, 1.1, (rows, columns // 2 + 2)), 2, axis=1)
    stone[1::2] = np.roll(stone[1::2], 1, axis=1)
    factor = np.repeat(np.repeat(stone, 5, axis=0), 6, axis=1).astype(np.float32)
    factor = np.ascontiguousarray(factor[: shape[0], : shape[1]])
    factor[::5] *= 1.18
    return plain(rng, shape, color, 0.07) * factor[..., None]


def planks(rng: np.random.Generator, shape: tuple[int, int], color: Color, wide: int) -> np.ndarray:
    """Boards along the first axis with seams, ends and grain."""
    rows, columns = shape
    texture = plain(rng, shape, color, 0.03)
    fibre = rng.standard_normal((max(2, rows // 24), columns)).astype(np.float32)
    texture *= 1 + 0.06 * cv2.resize(fibre, (columns, rows))[..., None]
    for left in range(0, columns, wide):
        texture[:, left : left + wide] *= 1 + rng.uniform(-0.13, 0.13)
        texture[:, left : left + 1] *= 0.6
        for end in rng.integers(0, rows, 2):
            texture[end : end + 2, left : left + wide] *= 0.7
    return texture


def tiles(rng: np.random.Generator, shape: tuple[int, int], color: Color, side: int) -> np.ndarray:
    """Square tiles with joints; now and then a chequerboard."""
    texture = plain(rng, shape, color, 0.03)
    contrast = 0.75 if rng.random() < 0.4 else 1.0
    for top in range(0, shape[0], side):
        for left in range(0, shape[1], side):
            factor = contrast if (top // side + left // side) % 2 else 1.0
            texture[top : top + side, left : left + side] *= factor * (1 + rng.uniform(-0.05, 0.05))
    texture[::side] *= 0.72
    texture[:, ::side] *= 0.72
    return texture


def wallpaper(rng: np.random.Generator, shape: tuple[int, int], color: Color) -> np.ndarray:
    """Plain, striped, dotted or two-tone wall, darker towards the floor and the corners."""
    texture = plain(rng, shape, color, 0.02)
    kind = rng.choice(["plain", "plain", "stripes", "dots", "dado", "bricks"])
    if kind == "bricks":
        texture = bricks(rng, shape, color)
    elif kind == "stripes":
        step = int(rng.integers(8, 24))
        band = (np.arange(shape[1]) // step) % 2 == 0
        texture[:, band] *= rng.uniform(0.85, 0.95)
    elif kind == "dots":
        for y in range(8, shape[0], 16):
            for x in range(8 + (y // 16 % 2) * 8, shape[1], 16):
                cv2.circle(texture, (x, y), 2, tuple(0.75 * c for c in color), -1)
    elif kind == "dado":
        texture[int(shape[0] * 0.62) :] *= rng.uniform(0.6, 0.85)
        texture[int(shape[0] * 0.62) : int(shape[0] * 0.62) + 3] = 235
    rows = np.linspace(1.05, 0.86, shape[0], dtype=np.float32)[:, None, None]
    columns = 1 - 0.14 * np.abs(np.linspace(-1, 1, shape[1], dtype=np.float32))[None, :, None] ** 4
    texture *= rows * columns
    texture[-5:] = np.array(color, np.float32) * 0.35 + 120  # skirting board
    return texture


def facade(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A pale house front, 12 pixels to the metre, at most h x w: to be tinted (160 = as given)."""
    master = _master_facade(int(rng.integers(FACADES)))
    rows, columns = min(shape[0], master.shape[0]), min(shape[1], master.shape[1])
    return master[-rows:, :columns]


@functools.cache
def _master_facade(number: int) -> np.ndarray:
    """Floors of windows in frames, some lit or with blinds, shops or doors at the bottom."""
    rng = np.random.Generator(np.random.Philox(key=[0x5EED, number]))
    shape, color = (270, 270), (160.0, 160.0, 160.0)
    rows, columns = shape
    brick = rng.random() < 0.45
    texture = bricks(rng, shape, color) if brick else plain(rng, shape, color, 0.04)
    storey, step = int(rng.integers(32, 42)), int(rng.integers(22, 40))
    high, wide = int(storey * rng.uniform(0.45, 0.65)), int(step * rng.uniform(0.4, 0.68))
    glass: Color = pick(rng, [(60, 75, 95), (85, 105, 125), (45, 52, 60), (110, 130, 150)])
    frame: Color = pick(rng, [(235, 235, 228), (90, 70, 55), (200, 195, 180), (60, 60, 64)])
    for bottom in range(rows - storey - 8, storey // 2, -storey):
        cv2.rectangle(
            texture, (0, bottom + 8), (columns, bottom + 9), tuple(0.8 * c for c in color), -1
        )
        for left in range((step - wide) // 2, columns - wide, step):
            _window(rng, texture, (left, bottom - high), (wide, high), glass, frame)
    _ground_floor(rng, texture, rows - storey + 4)
    return texture


def _window(
    rng: np.random.Generator,
    texture: np.ndarray,
    corner: tuple[int, int],
    size: tuple[int, int],
    glass: Color,
    frame: Color,
) -> None:
    (left, top), (wide, high) = corner, size
    pane: Color = (245, 215, 140) if rng.random() < 0.08 else jitter(rng, glass, 0.3)
    cv2.rectangle(texture, (left - 2, top - 2), (left + wide + 1, top + high + 1), frame, -1)
    cv2.rectangle(texture, (left, top), (left + wide - 1, top + high - 1), pane, -1)
    if rng.random() < 0.3:
        blind = top + int(high * rng.uniform(0.2, 0.8))
        cv2.rectangle(texture, (left, top), (left + wide - 1, blind), (215, 210, 195), -1)
    texture[top : top + high // 3, left : left + wide] *= 1.25  # the sky in the glass
    cv2.line(texture, (left + wide // 2, top), (left + wide // 2, top + high - 1), frame, 1)
    sill = tuple(0.75 * c for c in frame)
    cv2.rectangle(texture, (left - 3, top + high), (left + wide + 2, top + high + 2), sill, -1)


def _ground_floor(rng: np.random.Generator, texture: np.ndarray, top: int) -> None:
    rows, columns = texture.shape[:2]
    if top < 10:
        return
    if rng.random() < 0.5:  # shops
        for left in range(4, columns - 36, 48):
            awning = tuple(float(c) for c in rng.uniform(60, 220, 3))
            cv2.rectangle(texture, (left, top + 6), (left + 40, rows - 4), (52, 60, 70), -1)
            texture[top + 10 : top + 18, left + 3 : left + 37] *= 1.6
            cv2.rectangle(texture, (left - 2, top), (left + 42, top + 7), awning, -1)
        return
    for left in range(10, columns - 16, 64):
        door = tuple(float(c) for c in rng.uniform(40, 130, 3))
        cv2.rectangle(texture, (left - 2, top + 4), (left + 14, rows), (205, 200, 190), -1)
        cv2.rectangle(texture, (left, top + 6), (left + 12, rows), door, -1)
