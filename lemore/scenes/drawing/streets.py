"""A street seen from a car or from its pavement: houses, gardens, traffic, people."""

import numpy as np

from lemore.scenes.drawing import outdoors, textures
from lemore.scenes.drawing.bodies import Scale, choose_paint, place
from lemore.scenes.drawing.canvas import Canvas
from lemore.scenes.drawing.textures import Rng, Size

FAR = 130.0  # metres; where the road ends
SIGNS = ("sign:warning", "sign:no entry", "sign:direction", "traffic light", "bench")
VEHICLES = ("car", "car", "car", "bus", "truck", "motorcycle", "train")


def draw_street(size: Size, rng: Rng, hood: bool) -> Canvas:
    """hood: seen from a car."""
    street = Street(outdoors.open_canvas(size, rng))
    street.draw_ground()
    street.draw_marks()
    for side in (-1, 1):
        street.draw_roadside(side)
        street.draw_pavement(side)
        street.draw_traffic(side)
    street.draw_people()
    if hood:
        street.draw_hood()
    return street.canvas


class Street:
    """Half widths of the road and of a pavement, and x of the road's middle, in metres."""

    def __init__(self, canvas: Canvas):
        self.canvas, self.rng = canvas, (rng := canvas.rng)
        self.middle, self.road = rng.uniform(-1.5, 2.5), rng.uniform(3.2, 6.5)
        self.pavement = rng.uniform(1.8, 4.0)

    def put(self, body: str, x: float, z: float, turns: float = 0.0, size: Scale = 1.0) -> None:
        """Places a body `x` metres from the middle of the road."""
        place(self.canvas, body, (self.middle + x, 0.0, z), turns, size)

    def lay(self, x: tuple, z: tuple, paint: np.ndarray, word: str) -> None:
        outdoors.lay(self.canvas, (self.middle + x[0], self.middle + x[1]), z, paint, word)

    def draw_ground(self) -> None:
        rng, road, outer = self.rng, self.road, self.road + self.pavement
        palette, word = [("soil", "grass"), ("paved", "sidewalk")][rng.integers(2)]
        outdoors.lay_ground(self.canvas, palette, word)
        paving = textures.make_blocks(rng, (640, 40), textures.choose(rng, "paved"), (10, 10), 0.75)
        asphalt = textures.make_plain(rng, (512, 64), textures.choose(rng, "asphalt"), 0.05)
        for side in (-1, 1):
            self.lay((side * outer, side * road), (0.6, FAR), paving, "sidewalk")
        self.lay((-road, road), (0.6, FAR), asphalt, "road")

    def draw_marks(self) -> None:
        """Draws lines, now and then a zebra crossing, and the shadows of houses on the road."""
        rng, road, sun = self.rng, self.road, self.canvas.sun
        marks = [(0.0, 0.08, z, z + 3) for z in np.arange(rng.uniform(0.5, 4), 90, 6)]
        if rng.random() < 0.6:
            marks += [(side * (road - 0.4), 0.06, 0.5, 100.0) for side in (-1, 1)]
        if rng.random() < 0.35:
            z = rng.uniform(7, 16)
            marks += [(x, 0.25, z, z + 3) for x in np.arange(0.5 - road, road, 1)]
        for x, half, start, end in marks:
            self.lay((x - half, x + half), (start, end), np.array((222, 222, 214)), "road")
        side = road if sun[0] > 0 else -road
        for z in np.arange(1, 80, rng.uniform(8, 16)) if self.canvas.ambient < 0.8 else ():
            x0, x1 = self.middle + side, self.middle + side * rng.uniform(-0.8, 0.6)
            corners = [(x0, 0, z + 8), (x1, 0, z + 8), (x1, 0, z), (x0, 0, z)]
            self.canvas.shade(np.array(corners), 0.38, 1.5)

    def draw_roadside(self, side: int) -> None:
        """Draws houses, or gardens with trees behind fences, walls and hedges, from near to far."""
        rng, z = self.rng, self.rng.uniform(1.5, 6)
        built = 0.35 if rng.random() < 0.35 else 0.85
        while z < 80:
            length, edge = rng.uniform(8, 20), self.road + self.pavement + rng.uniform(0, 1.5)
            x = self.middle + side * edge
            if rng.random() < built:
                outdoors.draw_house(self.canvas, x, side, z, length)
            else:
                for _ in range(int(rng.integers(1, 4))):
                    at = side * (edge + rng.uniform(1.5, 7))
                    self.put("tree", at, z + rng.uniform(0, length), 0, rng.uniform(4, 9))
                self.enclose(x, z, min(length, 60 - z))
            z += length

    def enclose(self, x: float, z: float, length: float) -> None:
        """Draws a brick wall, a fence or a hedge along a garden."""
        rng, tall, kind = self.rng, self.rng.uniform(0.9, 1.8), int(self.rng.integers(3))
        colors = {name: choose_paint(rng, name) for name in ("fence", "bricks")}
        body, turns, width = [("wall", -1, 3.0), ("fence", -1, 3.0), ("bush", 0, 2.4)][kind]
        for at in np.arange(z, z + length, 3.0):
            size = (width, tall, 1.0)
            place(self.canvas, body, (x, 0.001, at), turns, size, **colors)

    def draw_pavement(self, side: int) -> None:
        """Draws trees in a row, street lights, signs, traffic lights and benches."""
        rng, x = self.rng, side * (self.road + 0.5)
        if rng.random() < 0.45:
            for z in np.arange(rng.uniform(5, 14), 50, rng.uniform(8, 14)):
                self.put("tree", x, z, 0, rng.uniform(4.5, 8))
        for z in np.arange(rng.uniform(8, 22), 55, 22):
            self.put("streetlight", x, z, 0, (-side, 1, 1))
        for _ in range(3):
            body, z = str(rng.choice(SIGNS)), rng.uniform(5, 28)
            inner, turns = (self.pavement - 1, side) if body == "bench" else (0.0, 0)
            self.put(body, x + side * inner, z, turns)

    def draw_traffic(self, side: int) -> None:
        """Draws parked cars, and moving ones: away on the right, towards us on the left."""
        rng, turns, lane = self.rng, 1 - side, side * self.road * 0.4
        if rng.random() < 0.6 and self.road > 3.8:
            for z in np.arange(rng.uniform(4.5, 10), 45, rng.uniform(5.2, 8)):
                if rng.random() < 0.75:
                    self.put("car", side * (self.road - 1.05), z, turns)
        for z in np.arange(rng.uniform(7, 26), 60, rng.uniform(11, 30)):
            body = str(rng.choice(VEHICLES))
            if body == "motorcycle":
                self.ride(body, lane, z)
            elif body == "car" or z > 13:  # a near bus would fill the picture
                self.put(body, lane, z, turns + rng.uniform(-0.03, 0.03))
        if side > 0 and rng.random() < 0.25:
            self.put("car", rng.uniform(-3, 3), rng.uniform(11, 24), int(rng.choice([-1, 1])))

    def ride(self, body: str, x: float, z: float) -> None:
        """Draws a two-wheeler from the side, mostly with its rider."""
        mirror, ridden = int(self.rng.choice([-1, 1])), self.rng.random() < 0.65
        for part in (body, "rider") if ridden else (body,):
            self.put(part, x, z - 0.02 * (part == "rider"), 0, (mirror, 1, 1))

    def draw_people(self) -> None:
        rng = self.rng
        for _ in range(int(rng.integers(2, 9))):
            x, tall = self.road + rng.uniform(0.4, self.pavement), rng.uniform(0.88, 1.08)
            x = rng.uniform(0, 0.8) * self.road if rng.random() < 0.15 else x
            mirror, side = (int(sign) for sign in rng.choice([-1, 1], 2))
            self.put("person", side * x, rng.uniform(4.5, 30), 0, (mirror * tall, tall, 1))
        for _ in range(int(rng.integers(0, 3))):
            self.ride("bicycle", rng.choice([-0.8, 0.8]) * self.road, rng.uniform(5, 20))

    def draw_hood(self) -> None:
        """Draws the front of the car that carries the camera, at the lower edge."""
        rng, canvas = self.rng, self.canvas
        x = np.linspace(-1, 1, 20) * canvas.width / canvas.focal
        low = canvas.eye[1] - (canvas.height - canvas.horizon) / canvas.focal
        y = low + rng.uniform(0.03, 0.06) - 0.02 * x**2
        points = np.stack([[*x, x[-1], x[0]], [*y, low - 0.1, low - 0.1], np.ones(22)], 1)
        canvas.fill(points, textures.choose(rng, "black"), "ego vehicle")
