"""A picture and its label map, drawn together: flat polygons in space, seen by one camera.

Units are metres: x to the right, y up, z away from the camera, the ground at y = 0. With a depth
buffer the order of drawing matters only for polygons in the same plane, where the later one wins.
All is drawn SCALE times larger than the final picture and reduced at the end: the picture with
antialiasing, the labels by their nearest pixel.
"""

import cv2
import numpy as np

from lemore.scenes.drawing.textures import Rng, Size, make_clouds, make_noise, make_plain
from lemore.scenes.words import INDEX

SCALE = 2
NEAR = 0.4  # metres; nothing closer is drawn
SAME = 1.003  # how much further away a polygon may be and still count as in the same plane


class Canvas:
    """`image` float32 RGB 0..255; `label` positions in WORDS; `near` 1 / metres, 0 for the sky;
    `owner` the number of the body that is seen, 1 for the first of `bodies`, 0 for none.

    `focal`, `center` (x) and `horizon` (y) are in drawn pixels. `sun` is a unit vector towards
    the light, `ambient` the share of it in the shade, `tint` RGB gains, `haze` per metre.
    """

    def __init__(self, size: Size, rng: Rng, ambient: float, tint=(1.0, 1.0, 1.0)):
        self.size, self.rng, self.ambient, self.tint = size, rng, ambient, tint
        self.height, self.width = size[0] * SCALE, size[1] * SCALE
        self.image = np.zeros((self.height, self.width, 3), np.float32)
        self.label = np.zeros((self.height, self.width), np.uint8)
        self.near = np.zeros((self.height, self.width), np.float32)
        self.owner = np.zeros((self.height, self.width), np.uint16)
        self.bodies: list[str] = []  # names in the catalogue
        self.drawing = 0  # the number of the body that is being drawn
        self.focal, self.center = self.width * rng.uniform((0.6, 0.4), (0.9, 0.6))
        self.horizon = self.height * rng.uniform(0.37, 0.51)
        self.eye = np.array([0.0, rng.uniform(1.3, 1.8), 0.0])
        sun = rng.uniform((-0.9, 1.0, -1.0), (0.9, 1.0, 0.1))
        self.sun = sun / np.linalg.norm(sun)
        self.haze, self.haze_color = 0.0, np.zeros(3, np.float32)

    def fill(
        self, points: np.ndarray, paint: np.ndarray, word: str, gain: float | np.ndarray = 1.0
    ) -> None:
        """Draws a flat N x 3 polygon in a colour, or a quadrilateral in a texture.

        A texture is h x w x 3, or x 4 with opacity 0..1; the corners go top left, top right,
        bottom right, bottom left. `gain`, a number or a colour, multiplies the paint.
        """
        part = self._rasterize(points)
        if part is None:
            return
        area, mask, near, corners = part
        color = _warp(paint, mask, corners) if paint.ndim == 3 else paint
        if color.shape[-1] == 4:
            mask &= color[..., 3] > 0.5
            color = color[..., :3]
        inside = mask.view(bool)
        inside &= near * SAME > self.near[area]
        np.copyto(self.image[area], color * np.float32(gain), where=inside[..., None])
        np.copyto(self.near[area], near, where=inside)
        np.copyto(self.label[area], INDEX[word], where=inside)
        np.copyto(self.owner[area], self.drawing, where=inside)

    def shade(self, points: np.ndarray, strength: float, softness: float) -> None:
        """Darkens what lies in the plane of an N x 3 polygon, not what stands in front of it.

        `softness` is in drawn pixels; labels stay.
        """
        part = self._rasterize(points, int(3 * softness) + 1)
        if part is not None:
            area, mask, near, _ = part
            soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(softness, 0.5))
            soft *= np.abs(near - self.near[area]) <= 0.01 * near
            self.image[area] *= (1 - strength * soft)[..., None]

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x and y in drawn pixels of N x 3 points with z > 0."""
        factor = self.focal / points[:, 2]
        y = self.horizon - factor * (points[:, 1] - self.eye[1])
        return self.center + factor * points[:, 0], y

    def hides(self, x: np.ndarray, y: np.ndarray, near: float) -> bool:
        """Returns whether all pixels within bounds x, y are nearer than 1 / `near`, or outside."""
        left, top = max(int(x.min()), 0), max(int(y.min()), 0)
        drawn = self.near[top : max(int(y.max()) + 1, 0), left : max(int(x.max()) + 1, 0)]
        return drawn.size == 0 or float(drawn.min()) > near

    def _rasterize(self, points: np.ndarray, margin: int = 0) -> tuple | None:
        """(slices of the picture, mask uint8, 1 / depth, corners within them) of a polygon."""
        if points[:, 2].min() < NEAR:
            points = _clip_near(points)
            if len(points) < 3:
                return None
        x, y = self.project(points)
        left, top = max(int(x.min()) - margin, 0), max(int(y.min()) - margin, 0)
        right = min(int(x.max()) + 2 + margin, self.width)
        bottom = min(int(y.max()) + 2 + margin, self.height)
        if right <= left or bottom <= top:
            return None
        corners = np.stack([x - left, y - top], 1)
        mask = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillPoly(mask, [np.clip(corners + 0.5, -9999, 9999).astype(np.int32)], (1,))
        near = self._measure_nearness(points, (left, right), (top, bottom))
        return (slice(top, bottom), slice(left, right)), mask, near, corners

    def _measure_nearness(self, points: np.ndarray, x: tuple, y: tuple) -> np.ndarray:
        """1 / depth of the polygon's plane in the pixels of the ranges x and y."""
        step = len(points) // 3
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = points[: 3 * step : step].tolist()[:3]
        bx, by, bz, cx, cy, cz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
        nx, ny, nz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx  # the normal
        offset = (nx * ax + ny * (ay - self.eye[1]) + nz * az) or 1e-9
        nx, ny, nz = nx / offset / self.focal, -ny / offset / self.focal, nz / offset
        across = np.arange(x[0], x[1], dtype=np.float32) * nx
        down = np.arange(y[0], y[1], dtype=np.float32) * ny
        return across + (down + (nz - self.center * nx - self.horizon * ny))[:, None]

    def measure_light(self, normals: np.ndarray) -> np.ndarray:
        """Returns the brightness of F x 3 unit normals: soft Lambert cosine plus ambient light."""
        cosine = np.maximum(0.0, 0.3 + 0.7 * normals @ self.sun)
        return self.ambient + (1.05 - self.ambient) * cosine

    def paint_sky(self, top: np.ndarray, cover: float) -> None:
        """Paints the sky from `top` to the haze's colour, with clouds over the share `cover`."""
        low, rows = self.haze_color, int(self.horizon + 2)
        part = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None] ** 0.7
        veil = make_clouds(self.rng, (rows, self.width), cover)[..., None]
        self.image[:] = low
        sky = top * (1 - part) + low * part
        self.image[:rows] = sky * (1 - veil) + (low * 0.3 + 175) * veil
        self.label[:] = INDEX["sky"]

    def open_body(self, name: str) -> None:
        """Begins a further body, which owns all that is drawn until `close_body`."""
        self.bodies.append(name)
        self.drawing = len(self.bodies)

    def close_body(self) -> None:
        self.drawing = 0

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Adds haze, tint, uneven light, blur and noise; (image uint8, label uint8), both H x W."""
        size, rng = self.size[::-1], self.rng
        image = cv2.resize(self.image, size, interpolation=cv2.INTER_AREA)
        if self.haze:
            near = cv2.resize(self.near, size, interpolation=cv2.INTER_AREA)
            veil = np.where(near > 0, 1 - np.exp(-self.haze / np.maximum(near, 1e-4)), 0)[..., None]
            image = image * (1 - veil) + self.haze_color * veil
        image *= make_plain(rng, self.size, np.array(self.tint, np.float32), 0.04)
        image *= 1 + (0.08 * make_noise(rng, self.size, (self.size[0] // 2,)))[..., None]
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.6))
        image += rng.uniform(1.0, 4.0) * rng.standard_normal(image.shape, np.float32)
        return np.clip(np.round(image), 0, 255).astype(np.uint8), _reduce(self.label)

    def show_owners(self) -> np.ndarray:
        """H x W uint16 of the final picture: the numbers of the bodies that are seen."""
        return _reduce(self.owner)


def _reduce(drawn: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(drawn[SCALE // 2 :: SCALE, SCALE // 2 :: SCALE])


def _clip_near(points: np.ndarray) -> np.ndarray:
    """Returns the part of an N x 3 polygon with z >= NEAR."""
    inside, kept = points[:, 2] >= NEAR, []
    for i in range(len(points)):
        here, there = points[i - 1], points[i]
        if inside[i - 1] != inside[i]:
            kept.append(here + (there - here) * (NEAR - here[2]) / (there[2] - here[2]))
        if inside[i]:
            kept.append(there)
    return np.array(kept).reshape(-1, 3)


def _warp(texture: np.ndarray, mask: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Warps the texture into perspective, in the mask's size; shrinks it if it covers little."""
    factor = 1.5 * np.sqrt(max(int(mask.sum()), 1) / (texture.shape[0] * texture.shape[1]))
    if factor < 0.8:
        small = [max(2, int(side * factor)) for side in texture.shape[1::-1]]
        texture = cv2.resize(texture, small, interpolation=cv2.INTER_AREA)
    rows, columns = texture.shape[:2]
    source = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, corners.astype(np.float32))
    border = cv2.BORDER_REPLICATE
    return cv2.warpPerspective(texture, matrix, mask.shape[::-1], borderMode=border)
