"""Boxes over a photo, with the names of their classes and their scores."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lemore.reporting.overlay import Color

LINES = 200  # widths of a line in the photo's shorter side
LETTERS = 30  # heights of a letter in it
SMALLEST = 10  # pixels of a letter
BRIGHT = 140  # of 255: colours above it carry black letters, others white ones


def draw_boxes(
    image: np.ndarray, boxes: np.ndarray, texts: Sequence[str], colors: Sequence[Color]
) -> np.ndarray:
    """Returns a copy of a photo H W 3 uint8 RGB with boxes N 4 (x1 y1 x2 y2 in pixels), each in
    its colour and with its text at the upper left; the first lies above the others."""
    picture = Image.fromarray(image)
    draw, short = ImageDraw.Draw(picture), min(picture.size)
    line = max(1, round(short / LINES))
    font = _load_font(max(SMALLEST, round(short / LETTERS)))
    rows = list(zip(boxes.round().astype(int).tolist(), texts, colors, strict=True))
    for (left, top, right, bottom), text, color in reversed(rows):
        draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=color, width=line)
        wide, high = draw.textbbox((0, 0), text, font)[2:]
        x = min(max(left, 0), max(picture.width - int(wide), 0))
        y = top - int(high) if top >= high else top
        draw.rectangle((x, y, x + wide, y + high), fill=color)
        draw.text((x, y), text, choose_ink(color), font)
    return np.asarray(picture)


def choose_ink(color: Color) -> Color:
    """Returns black or white, whichever can be read on a colour."""
    red, green, blue = color
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > BRIGHT
    return (0, 0, 0) if bright else (255, 255, 255)


@cache
def _load_font(size: int) -> ImageFont.FreeTypeFont:
    """Loads matplotlib's font, which has the letters of most alphabets."""
    return ImageFont.truetype(
        str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), size
    )
