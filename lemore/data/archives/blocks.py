"""JPEG photos of which a part can be decoded alone.

Every block of 16 x 16 pixels ends with a restart marker, so that it depends on no other block. The
blocks that a part needs are put together as a smaller JPEG. Its pixels equal those of the whole
photo to the bit, and any decoder reads the whole photo.
"""

import cv2
import numpy as np

from lemore.data.archives.images import decode_rgb

SIDE = 16  # of a block, since colour has half the resolution
QUALITY = 90
HEADER = 2048  # bytes, more than the header of such a photo has
Box = tuple[int, int, int, int]  # top, left, height, width in pixels

OPTIONS = {
    cv2.IMWRITE_JPEG_QUALITY: QUALITY,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    cv2.IMWRITE_JPEG_RST_INTERVAL: 1,
    cv2.IMWRITE_JPEG_OPTIMIZE: 1,
}


def encode_blocks(pixels: np.ndarray) -> bytes:
    """Encodes H x W x 3 uint8 RGB as JPEG of quality `QUALITY`."""
    flat = [number for option in OPTIONS.items() for number in option]
    return cv2.imencode(".jpg", pixels[..., ::-1], flat)[1].tobytes()


def read_size(data: np.ndarray) -> tuple[int, int]:
    """Returns (H, W) of a photo of `encode_blocks`, given its bytes."""
    place = _find_size(data[:HEADER].tobytes())
    height, width = data[place : place + 4].view(">u2")
    return int(height), int(width)


def decode_blocks(data: np.ndarray, box: Box) -> np.ndarray:
    """Decodes a part of a photo of `encode_blocks`: uint8 RGB, height x width x 3."""
    starts, ends = [], []
    for begin, length, side in zip(box[:2], box[2:], read_size(data), strict=True):
        # A pixel's colour also depends on the colour of its neighbours.
        starts.append(max(begin - 1, 0) // SIDE)
        ends.append(-(-min(begin + length + 1, side) // SIDE))
    top, left = (begin - start * SIDE for begin, start in zip(box[:2], starts, strict=True))
    part = decode_rgb(_cut(data, starts, ends))
    return part[top : top + box[2], left : left + box[3]]


def _cut(data: np.ndarray, starts: list[int], ends: list[int]) -> np.ndarray:
    """Makes a JPEG of the blocks from `starts` to `ends` (row and column, the last excluded)."""
    size, header = read_size(data), data[:HEADER].tobytes()
    scan = header.find(b"\xff\xda")
    scan += 2 + int.from_bytes(header[scan + 2 : scan + 4])
    head, body = data[:scan].copy(), data[scan:].copy()
    # Where each block ends: before the restart marker 0xFFD0 to 0xFFD7, the last before 0xFFD9.
    marks = np.flatnonzero(body[:-1] == 0xFF)
    marks = marks[body[marks + 1] & 0xF8 == 0xD0]
    grid = np.append(marks, len(body) - 2).reshape(-1, -(-size[1] // SIDE))
    chosen = grid[starts[0] : ends[0], starts[1] : ends[1]]
    body[chosen + 1] = 0xD0 + np.arange(chosen.size).reshape(chosen.shape) % 8
    before = np.append(-2, grid.ravel()[:-1]).reshape(grid.shape)
    firsts, lasts = before[starts[0] : ends[0], starts[1]] + 2, chosen[:, -1] + 2
    rows = [body[first:last] for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)]
    rows[-1][-1] = 0xD9  # end of image
    sides = [min(ends[axis] * SIDE, size[axis]) - starts[axis] * SIDE for axis in (0, 1)]
    place = _find_size(header)
    head[place : place + 4] = np.array(sides, ">u2").view(np.uint8)
    return np.concatenate([head, *rows])


def _find_size(header: bytes) -> int:
    """Returns where the header holds height and width, two bytes each."""
    return header.find(b"\xff\xc0") + 5
