"""A picture and its label map, drawn together: polygons in space, seen by a camera, with shading.

Everything is drawn larger than the final picture and reduced at the end, the picture with
antialiasing, the labels by their nearest pixel.
"""

import cv2
import numpy as np

from lemore.scenes.drawing.space import NEAR, Camera, Color, Face, Light, clip_near, scaled
from lemore.scenes.drawing.textures import clouds, noise
from lemore.scenes.drawing.vocabulary import WORDS

INDEX = {word: i for i, word in enumerate(WORDS)}


class Canvas:
    """`image` float32 RGB 0..255, `label` positions in WORDS, `depth` in metres for the haze."""

    def __init__(self, size: tuple[int, int], scale: int, camera: Camera, light: Light):
        self.size, self.scale = size, scale
        self.height, self.width = size[0] * scale, size[1] * scale
        self.camera, self.light = camera, light
        self.image = np.zeros((self.height, self.width, 3), np.float32)
        self.label = np.zeros((self.height, self.width), np.uint8)
        self.grain = np.zeros((self.height, self.width), np.float32)
        rows = np.arange(self.height, dtype=np.float32)[:, None] - camera.horizon
        ground = camera.focal * camera.height / np.maximum(rows, 1e-3)
        self.depth = np.repeat(np.minimum(ground, 400.0), self.width, axis=1)

    def polygon(
        self,
        points: np.ndarray,
        color: Color,
        word: str | None,
        grain: float = 0.04,
        depth: float | None = None,
    ) -> None:
        """Fills an N x 2 pixel polygon; without a word it leaves the labels alone."""
        corners = [np.round(np.clip(points, -20000, 20000)).astype(np.int32)]
        cv2.fillPoly(self.image, corners, color)
        cv2.fillPoly(self.grain, corners, (grain,))
        if word is not None:
            cv2.fillPoly(self.label, corners, (INDEX[word],))
        if depth is not None:
            cv2.fillPoly(self.depth, corners, (depth,))

    def oval(
        self,
        middle: tuple[float, float],
        radii: tuple[float, float],
        color: Color,
        word: str,
        grain: float,
        depth: float,
    ) -> None:
        """Fills an upright ellipse; `middle` and `radii` in pixels."""
        if not (-radii[0] < middle[0] < self.width + radii[0] and radii[0] < 4 * self.width):
            return
        center = (round(middle[0]), round(np.clip(middle[1], -9999, 9999)))
        axes = (max(0, round(radii[0])), max(0, round(radii[1])))
        cv2.ellipse(self.image, center, axes, 0, 0, 360, color, -1)
        cv2.ellipse(self.grain, center, axes, 0, 0, 360, (grain,), -1)
        cv2.ellipse(self.label, center, axes, 0, 0, 360, (INDEX[word],), -1)
        cv2.ellipse(self.depth, center, axes, 0, 0, 360, (depth,), -1)

    def surface(
        self, points: np.ndarray, color: Color, word: str | None, grain: float = 0.04
    ) -> None:
        """Fills an N x 3 polygon in space, cut at the near plane; depth as on the ground."""
        visible = clip_near(points)
        if len(visible) >= 3:
            self.polygon(self.camera.project(visible), color, word, grain)

    def textured(
        self,
        quad: np.ndarray,
        texture: np.ndarray,
        word: str,
        grain: float,
        depth: float | None,
        gain: Color = (1.0, 1.0, 1.0),
    ) -> None:
        """Maps an h x w x 3 texture, times `gain`, onto a 4 x 3 quadrilateral in space."""
        corners = self.camera.project(quad).astype(np.float32)
        low = np.maximum(np.floor(corners.min(0)), 0).astype(int)
        high = np.minimum(np.ceil(corners.max(0)) + 1, [self.width, self.height]).astype(int)
        if (high <= low).any():
            return
        area = (slice(low[1], high[1]), slice(low[0], high[0]))
        shift = corners - low.astype(np.float32)
        mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        cv2.fillPoly(mask, [np.round(np.clip(shift, -20000, 20000)).astype(np.int32)], (1,))
        texture = _reduced(texture, mask) * np.array(gain, np.float32)
        rows, columns = texture.shape[:2]
        source = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32)
        matrix = cv2.getPerspectiveTransform(source, shift)
        warped = cv2.warpPerspective(
            texture,
            matrix,
            mask.shape[::-1],
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        inside = mask.astype(bool)
        cv2.copyTo(warped, mask, self.image[area])
        self.label[area][inside] = INDEX[word]
        self.grain[area][inside] = grain
        if depth is not None:
            self.depth[area][inside] = depth

    def solid(self, faces: list[Face], place: tuple[float, float, float], yaw: float = 0.0) -> None:
        """Draws a body made of faces, turned by `yaw` radians about y and moved to `place`."""
        turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        offset = np.array(place)
        eye = np.array([0.0, self.camera.height, 0.0])
        seen = []
        for face in faces:
            points = face.points @ turn.T + offset
            normal = turn @ face.normal
            middle = points.mean(0)
            if normal @ (eye - middle) > 0 and points[:, 2].max() > NEAR:
                seen.append((float(np.linalg.norm(middle - eye)), points, normal, face))
        for distance, points, normal, face in sorted(seen, key=lambda item: -item[0]):
            decals = [(shape @ turn.T + offset, color, word) for shape, color, word in face.decals]
            self._face(face, points, self.shade(normal), decals, distance)

    def _face(
        self, face: Face, points: np.ndarray, shade: float, decals: list, depth: float
    ) -> None:
        if face.texture is not None:
            gain = scaled(face.tint, shade)
            self.textured(points, face.texture, face.word, face.grain, depth, gain)
        else:
            self._flat(points, face.color, face.word, face.grain, shade, depth)
        for shape, color, word in decals:
            self._flat(shape, color, word, 0.03, shade, depth)

    def _flat(
        self, points: np.ndarray, color: Color, word: str, grain: float, shade: float, depth: float
    ) -> None:
        visible = clip_near(points)
        if len(visible) >= 3:
            self.polygon(self.camera.project(visible), scaled(color, shade), word, grain, depth)

    def shade(self, normal: np.ndarray) -> float:
        """Lambert's cosine above the ambient part, softened: light also comes round corners."""
        cosine = max(0.0, 0.3 + 0.7 * float(normal @ self.light.direction))
        return self.light.ambient + (1.05 - self.light.ambient) * cosine

    def shadow(self, points: np.ndarray, strength: float, softness: float) -> None:
        """Darkens an N x 3 polygon in space softly; `softness` in drawn pixels; labels stay.

        A negative strength brightens: a patch of sunlight.
        """
        visible = clip_near(points)
        if len(visible) < 3:
            return
        corners = np.clip(self.camera.project(visible), -4000, 4000)
        margin = int(3 * softness) + 1
        low = np.maximum(np.floor(corners.min(0)) - margin, 0).astype(int)
        high = np.minimum(corners.max(0) + margin, [self.width, self.height]).astype(int)
        if (high <= low).any():
            return
        mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.float32)
        cv2.fillPoly(mask, [np.round(corners - low).astype(np.int32)], (1.0,))
        mask = cv2.GaussianBlur(mask, (0, 0), max(softness, 0.5))
        self.image[low[1] : high[1], low[0] : high[0]] *= 1 - strength * mask[..., None]

    def sky(self, top: Color, bottom: Color, cover: float, rng: np.random.Generator) -> None:
        """A gradient down to the horizon with clouds over the share `cover` of it."""
        rows = int(np.clip(self.camera.horizon + 2, 1, self.height))
        part = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None] ** 0.7
        color = np.array(top, np.float32) * (1 - part) + np.array(bottom, np.float32) * part
        veil = clouds(rng, (rows, self.width), cover)[..., None]
        self.image[:rows] = color * (1 - veil) + (np.array(bottom, np.float32) * 0.3 + 175) * veil
        self.label[:rows] = INDEX["sky"]
        self.depth[:rows] = 0.0

    def finish(
        self, rng: np.random.Generator, haze: float, haze_color: Color
    ) -> tuple[np.ndarray, np.ndarray]:
        """Haze, grain, tint, uneven light, blur and sensor noise; (image uint8, label uint8)."""
        size = self.size[::-1]
        image, depth, grain = (
            cv2.resize(layer, size, interpolation=cv2.INTER_AREA)
            for layer in (self.image, self.depth, self.grain)
        )
        far = (1 - np.exp(-depth * haze))[..., None].astype(np.float32)
        image = image * (1 - far) + np.array(haze_color, np.float32) * far
        image *= 1 + (grain * noise(rng, self.size, (1, 2, 8)))[..., None]
        image *= 1 + 0.1 * noise(rng, self.size, (self.size[0] // 2,))[..., None]
        image *= np.array(self.light.tint, np.float32)
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 0.6)))
        image *= vignette(self.size, float(rng.uniform(0.0, 0.25)))
        image += rng.normal(0, rng.uniform(1.0, 4.0), image.shape).astype(np.float32)
        middle = self.scale // 2
        label = np.ascontiguousarray(self.label[middle :: self.scale, middle :: self.scale])
        return np.clip(np.round(image), 0, 255).astype(np.uint8), label


def vignette(size: tuple[int, int], strength: float) -> np.ndarray:
    rows = np.linspace(-1, 1, size[0], dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, size[1], dtype=np.float32)[None]
    return (1 - strength * (rows**2 + columns**2) / 2)[..., None]


def _reduced(texture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The texture made smaller where it covers few pixels: no glitter in the distance."""
    factor = 1.5 * np.sqrt(max(int(mask.sum()), 1) / (texture.shape[0] * texture.shape[1]))
    if factor >= 0.8:
        return np.ascontiguousarray(texture, np.float32)
    size = (max(2, int(texture.shape[1] * factor)), max(2, int(texture.shape[0] * factor)))
    return cv2.resize(texture.astype(np.float32), size, interpolation=cv2.INTER_AREA)
