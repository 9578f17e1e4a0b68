"""Colours and surfaces: masonry, wood, cloth, leaves, pictures on walls.

Textures are h x w x 3 float32, 0..255, RGB, those with gaps h x w x 4 with opacity 0..1.
"""

import functools

import cv2
import numpy as np

Rng = np.random.Generator
Size = tuple[int, int]  # height, width
VARIANTS = 40  # of each texture that is made once and used again
PALETTES = """
    wood 966842 c49c6c 603e2a e1dcd2 46423f a87c54, board a07046 785034 be9668 8c8882 645c58
    cloth 783c3c 465a78 beb4a0 5a785a 3c3c42 c88c46 967896 e1ded8 b4463c 3c7882
    dress 28325a aa282d 3c3c3e e1dcd2 3c6e50 c8a03c 6e4b83 1e1e22 78a0be be6e78
    paint be191e 1e3c8c e1e1e4 191a1e 82878c 466e50 d7b43c 5f232d 3c82aa b47846
    front ac967e 965c4a c4bcac 787674 cdb482 8c786e b4a0a0 a0aab2 7e483c d6cebe
    paper e2dcce c4d0d4 d4bea0 b2c4aa e4e2e0 aa968c 96aabe cda08c 6e7a7e e8d6aa
    leaf 46692d 5f7832 32552d 46692d 5f7832 787d37 966e32, soil 607c3e 607c3e 547042 8c8254
    skin ecc4a8 cd9b78 966446 5f3e2d, hair 231914 5a3c23 bea064 787878, fur 785434 3c342e cdbea5
    roof 803c30 6e4a3e 5a5a60 8c5a40, rail 967450 d7d4cc 464a4c, stone 9e765f b48c78 969088
    bus c82823 f0c83c 3c6eaa, tram 287850 aa283c 325096, load e1e1dc b4bec8 5a785a c8965a
    screen 1e222a 466eaa 966e50 3c785a, paved 96908a a09890, asphalt 5c5c60 505054 68686c
    path a89678 b4a078, lake 608aaa 507896, hill 64766c 708088, glass 4a5a6c, sky 8496a6
    steel 6a6e70, silver a0a0a5, white ebe9e4, black 202024, red c8191e, amber f5c83c, blue 1e50a0
    green 46783e, cream fae8be, brass c8aa64, trunk 584634, pot aa6042, schoolbus f5b41e
"""
COLORS = {
    name: [np.array(list(bytes.fromhex(code)), np.float32) for code in codes]
    for name, *codes in map(str.split, PALETTES.strip().replace("\n", ",").split(","))
}


def choose(rng: Rng, palette: str, amount: float = 0.15) -> np.ndarray:
    """Chooses a colour of a palette, varied a little in brightness and hue."""
    colors = COLORS[palette]
    return jitter(rng, colors[int(rng.integers(len(colors)))], amount)


def jitter(rng: Rng, color: np.ndarray | tuple, amount: float) -> np.ndarray:
    gain, shift = 1 + rng.uniform(-amount, amount), 30 * amount * rng.uniform(-1, 1, 3)
    return np.clip(np.asarray(color) * gain + shift, 0, 255).astype(np.float32)


def make_noise(rng: Rng, shape: Size, sizes: tuple[int, ...]) -> np.ndarray:
    """Smooth noise about 0 with spots of the given sizes in pixels, h x w float32."""
    total = np.zeros(shape, np.float32)
    for size in sizes:
        coarse = (max(2, shape[0] // size + 1), max(2, shape[1] // size + 1))
        total += cv2.resize(rng.standard_normal(coarse, np.float32), shape[::-1])
    return total / np.float32(np.sqrt(len(sizes)))


def make_clouds(rng: Rng, shape: Size, cover: float) -> np.ndarray:
    """Opacity 0..1 of clouds over about the share `cover` of the area."""
    flat = (2 * shape[0], shape[1])
    field = make_noise(rng, flat, tuple(shape[1] // part for part in (3, 6, 12, 24)))
    field = 1.4 * cv2.resize(field, shape[::-1])
    return np.clip((field - 1.2 + 2.4 * cover) / 1.2, 0, 1) * min(1.0, 0.5 + cover)


@functools.cache
def _make_grain(number: int) -> np.ndarray:
    return make_noise(np.random.Generator(np.random.Philox(number)), (640, 640), (1, 4, 16))


def make_plain(rng: Rng, shape: Size, color: np.ndarray, roughness: float) -> np.ndarray:
    """One colour with fine and coarse spots; at most 640 x 640."""
    grain, y, x = _make_grain(int(rng.integers(4))), *rng.integers(0, np.subtract(641, shape))
    return color * (1 + roughness * grain[y : y + shape[0], x : x + shape[1], None])


def make_blocks(
    rng: Rng, shape: Size, color: np.ndarray, block: Size, joint: float, shift: int = 0
) -> np.ndarray:
    """Bricks, tiles or planks of `block` pixels; every other row is shifted by `shift`.

    `joint` is the brightness of the joints between them.
    """
    (rows, columns), (high, wide) = shape, block
    y, x = np.arange(rows)[:, None], np.arange(columns)[None]
    x = x + shift * (y // high % 2)
    tone = rng.uniform(0.88, 1.12, (rows // high + 1, (columns + shift) // wide + 1))
    tone = tone.astype(np.float32)[y // high, x // wide]
    tone[(y % high == 0) | (x % wide == 0)] *= joint
    return make_plain(rng, shape, color, 0.05) * tone[..., None]


def make_wallpaper(rng: Rng, shape: Size) -> np.ndarray:
    """Plain, two-tone or brick wall, darker towards the floor, with a skirting board."""
    color, kind = choose(rng, "paper"), int(rng.integers(4))
    texture = make_plain(rng, shape, color, 0.02)
    if kind == 0:
        texture = make_blocks(rng, shape, color, (5, 12), 1.15, 6)
    elif kind == 1:
        texture[int(shape[0] * 0.62) :] *= rng.uniform(0.6, 0.85)
    texture *= np.linspace(1.05, 0.86, shape[0], dtype=np.float32)[:, None, None]
    texture[-5:] = color * 0.35 + 120
    return texture


def make_framed(shape: Size, inside: np.ndarray, frame: np.ndarray, wide: int) -> np.ndarray:
    """A colour within a frame `wide` pixels thick."""
    texture = np.empty((*shape, 3), np.float32)
    texture[:] = frame
    texture[wide:-wide, wide:-wide] = inside
    return texture


def make_view(rng: Rng, bars: bool) -> np.ndarray:
    """Makes a framed picture of a landscape, or a window with bars and the view through it."""
    texture = make_framed((90, 110), choose(rng, "white"), choose(rng, "wood"), 5)
    frame, far = texture[0, 0].copy(), choose(rng, rng.choice(["leaf", "front"]), 0.3)
    top, low = ((150, 195, 240), (228, 238, 245)) if bars else (choose(rng, "cloth"), frame)
    texture[5:-5, 5:-5] = np.linspace(top, low, 80)[:, None]
    for x in range(5, 105, 10):
        texture[int(rng.integers(50, 75)) : -5, x : x + 10] = jitter(rng, far, 0.15)
    if bars:
        texture[43:47], texture[:, 53:57] = frame, frame
    return texture


def make_books(rng: Rng) -> np.ndarray:
    """A row of spines of different heights, with gaps above them."""
    texture = np.zeros((30, 120, 4), np.float32)
    for left in np.arange(0, 118, 6) + rng.integers(0, 3, 20):
        part = texture[int(rng.integers(0, 11)) :, left : left + 6]
        part[..., :3], part[..., 3] = choose(rng, "cloth", 0.35), rng.random() < 0.9
        part[:, -1:, :3] *= 0.6
    return texture


def make_fence(rng: Rng) -> np.ndarray:
    """Twelve pickets on two rails, with gaps."""
    texture = np.zeros((40, 120, 4), np.float32)
    texture[..., :3] = choose(rng, "rail")
    texture[:, np.arange(120) % 10 < 6, 3] = 1
    texture[[8, 9, 10, 28, 29, 30], :, 3] = 1
    return texture


@functools.cache
def make_crown(number: int) -> np.ndarray:
    """Leaves of a tree, lit from above, with gaps; every fourth one is a conifer."""
    rng = np.random.Generator(np.random.Philox(key=[1, number]))
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    spots = make_noise(rng, (64, 64), (4, 9))
    inside = 0.8 - np.hypot(x, y) + 0.16 * spots
    if number % 4 == 0:
        width = (0.12 + 0.36 * (y + 1)) * (0.65 + 0.35 * ((y + 1) * 3 % 1))
        inside = width - np.abs(x) + 0.04 * spots
    light = 0.95 - 0.35 * y + 0.22 * spots + 0.2 * rng.standard_normal((64, 64))
    leaves = choose(rng, "leaf", 0.2) * np.clip(light, 0.25, 1.6)[..., None]
    return np.concatenate([leaves, (inside > 0)[..., None]], 2).astype(np.float32)


@functools.cache
def make_facade(number: int) -> np.ndarray:
    """A house front, 270 pixels square, 12 to the metre, to be multiplied by a colour."""
    rng = np.random.Generator(np.random.Philox(key=[2, number]))
    gray, joint = np.full(3, 160, np.float32), float(rng.choice([1, 1.18]))
    texture = make_blocks(rng, (270, 270), gray, (5, 12), joint, 6)
    storey, step = int(rng.integers(32, 42)), int(rng.integers(22, 40))
    high, wide = int(storey * rng.uniform(0.45, 0.65)), int(step * rng.uniform(0.4, 0.68))
    glass, frame = choose(rng, "glass", 0.4), choose(rng, "wood")
    for bottom in range(262 - storey, high, -storey):
        texture[bottom + 8 : bottom + 10] *= 0.8
        for left in range((step - wide) // 2, 270 - wide, step):
            pane = choose(rng, "cream") if rng.random() < 0.08 else jitter(rng, glass, 0.3)
            window = make_framed((high, wide), pane, frame, 2)
            window[2 : 2 + high // 3, 2:-2] *= 1.25  # the sky in the glass
            if rng.random() < 0.3:
                window[2 : int(high * rng.uniform(0.2, 0.8)), 2:-2] = (215, 210, 195)
            texture[bottom - high : bottom, left : left + wide] = window
            texture[bottom : bottom + 2, left : left + wide] *= 0.7
    top, wide = 274 - storey, int(rng.choice([14, 40]))  # doors or shops
    for left in range(6, 226, wide + 12):
        texture[top + 6 : -4, left : left + wide] = glass if wide > 20 else frame
        texture[top : top + 7, left - 2 : left + wide + 2] = choose(rng, "cloth")
    return texture / 160


TEXTURES = {
    "books": make_books,
    "bricks": lambda rng: make_blocks(rng, (30, 90), choose(rng, "stone"), (5, 12), 1.15, 6),
    "crown": lambda rng: make_crown(int(rng.integers(VARIANTS))),
    "curtain": lambda rng: make_blocks(rng, (120, 40), choose(rng, "cloth"), (120, 5), 0.8),
    "door": lambda rng: make_framed((21, 10), choose(rng, "wood"), choose(rng, "white"), 1),
    "fence": make_fence,
    "painting": lambda rng: make_view(rng, bars=False),
    "window": lambda rng: make_view(rng, bars=True),
}
