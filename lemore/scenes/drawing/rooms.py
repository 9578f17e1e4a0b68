"""A furnished room seen from its open side."""

import numpy as np

from lemore.scenes.drawing import textures
from lemore.scenes.drawing.bodies import Scale, place
from lemore.scenes.drawing.canvas import Canvas
from lemore.scenes.drawing.textures import Rng, Size

# Body and height.
HUNG = (("window", 0.9), ("window", 0.9), ("picture", 1.4), ("picture", 1.4), ("door", 0.001))
# Body; x in metres from the middle, or wN: N metres from the right wall; metres from the back
# wall; height; quarter turns; chance; width, height and depth as factors.
GROUPS = {
    "bedroom": """
        bed          0     1.1  0    0  1   1,1,1
        cabinet      1.25  .32  0    0  .8  .5,.55,.7
        lamp:table   1.25  .32  .55  0  .7  1,1,1
        cabinet      -1.25 .32  0    0  .8  .5,.55,.7""",
    "living room": """
        sofa         0     .5   0    0  1   1.05,1,1
        table        0     1.6  0    0  .8  .65,.5,.7
        bottle       -.2   1.6  .375 0  .5  1,1,1""",
    "television": """
        sofa         w.55  1.7  0    1  1   .95,1,1
        cabinet      -.3   .3   0    0  1   1.6,.5,.8
        tv           -.3   .3   .5   0  1   1.2,1.2,1
        table        .2    1.7  0    1  .7  .6,.5,.7""",
    "dining room": """
        table        0     1.8  0    0  1   1,1,1
        chair        .4    1.25 0    0  .9  1,1,1
        chair        -.4   2.45 0    2  .7  1,1,1
        chair        1.1   1.8  0    1  .7  1,1,1
        chair        -1.1  1.8  0    -1 .7  1,1,1
        bottle       -.2   1.8  .75  0  .8  1,1,1
        cabinet      1.2   .3   0    0  .5  1.2,.9,1""",
    "study": """
        table        0     .5   0    0  1   .95,1,.85
        tv           -.2   .45  .75  0  1   .62,.75,1
        lamp:table   .5    .45  .75  0  .8  .9,.9,1
        chair        -.1   1.15 0    2  .9  1,1,1
        shelf        1.5   .2   0    0  .9  1,1.1,1""",
}


def draw_room(size: Size, rng: Rng) -> Canvas:
    warm = rng.uniform(0.92, 1.06)
    room = Room(Canvas(size, rng, rng.uniform(0.45, 0.65), (warm, 1.0, 2 - warm)))
    room.draw_shell()
    for wall in (0, -1, 1):
        room.decorate(wall)
    room.furnish(str(rng.choice(list(GROUPS))))
    room.draw_extras()
    return room.canvas


class Room:
    """A box open towards the camera, which stands at its front; sizes in metres.

    Walls are numbered by the quarter turns of what hangs on them: -1 left, 0 back, 1 right.
    """

    def __init__(self, canvas: Canvas):
        self.canvas, self.rng = canvas, (rng := canvas.rng)
        self.half, self.high = rng.uniform(1.8, 2.8), rng.uniform(2.4, 3.0)
        self.deep, self.shift = rng.uniform(3.4, 5.4), rng.uniform(-0.35, 0.35) * self.half

    def draw_shell(self) -> None:
        rng, canvas = self.rng, self.canvas
        x, z = self.shift + np.array([-1, 1, 1, -1]) * self.half, (self.deep, self.deep, 0.5, 0.5)
        ground = np.stack([x, np.zeros(4), z], 1)
        top = ground + np.array((0, self.high, 0))
        block = (30, 30) if rng.random() < 0.3 else (int(rng.integers(80, 200)), 16)
        floor = textures.make_blocks(rng, (320, 240), textures.choose(rng, "board"), block, 0.7)
        canvas.fill(ground, floor, "floor")
        canvas.fill(top, textures.choose(rng, "white", 0.05) * 0.95, "ceiling")
        paper = textures.make_wallpaper(rng, (160, 260))
        for ends, normal in (((0, 1), (0, 0, -1)), ((1, 2), (-1, 0, 0)), ((3, 0), (1, 0, 0))):
            wall = np.concatenate([top[list(ends)], ground[list(ends[::-1])]])
            gain = float(canvas.measure_light(np.array(normal))) * rng.uniform(0.94, 1.06)
            canvas.fill(wall, paper, "room wall", gain)

    def put(self, body: str, at: tuple, turns: float, size: Scale = 1.0) -> None:
        """Places a body; `at` is metres right of the middle, metres before the back, height."""
        place(self.canvas, body, (self.shift + at[0], at[2], self.deep - at[1]), turns, size)

    def decorate(self, wall: int) -> None:
        """Hangs windows with curtains, doors and pictures in a row."""
        rng = self.rng
        for at in (0.9, 2.3) if wall else (-0.55 * self.half, 0.55 * self.half):
            x, back = (wall * self.half, at) if wall else (at, 0.0)
            body, y = HUNG[rng.integers(len(HUNG))]
            self.put(body, (x, back, y), wall)
            if body == "window" and rng.random() < 0.6:
                self.put("curtain", (x, back, y), wall)

    def furnish(self, group: str) -> None:
        rng, mirror = self.rng, int(self.rng.choice([-1, 1]))
        middle = rng.uniform(-0.2, 0.2) * self.half
        if rng.random() < 0.5:
            x, z = rng.uniform(0.45, 0.75) * self.half, self.deep - rng.uniform(0.9, 1.3)
            corners = [(-x, 0, z), (x, 0, z), (x, 0, z - 1.6), (-x, 0, z - 1.6)]
            inside, edge = textures.choose(rng, "cloth"), textures.choose(rng, "cloth")
            rug = textures.make_framed((60, 90), inside, edge, 9)
            self.canvas.fill(np.array(corners) + np.array((self.shift, 0, 0)), rug, "rug")
        for line in GROUPS[group].strip().splitlines():
            body, x, *rest, size = line.split()
            back, y, turns, chance = (float(cell) for cell in rest)
            if rng.random() < chance:
                across = self.half - float(x[1:]) if x[0] == "w" else float(x) + middle
                factors = tuple(map(float, size.split(",")))
                self.put(body, (mirror * across, back, y), mirror * turns, factors)

    def draw_extras(self) -> None:
        """Tall furniture at the sides, a plant, a lamp, now and then a person or a dog."""
        rng, side = self.rng, int(self.rng.choice([-1, 1]))
        for wall in (-1, 1):
            body, tall = [("shelf", 1.0), ("cabinet", 1.8)][rng.integers(2)]
            if rng.random() < 0.5:
                size = (rng.uniform(0.8, 1.4), tall * rng.uniform(0.7, 1.1), 1.0)
                self.put(body, (wall * (self.half - 0.25), rng.uniform(0.7, 1.8), 0.0), wall, size)
        for body, x, back, y, chance in (
            ("plant", side * (self.half - 0.4), 0.4, 0.0, 0.5),
            ("lamp:ceiling", rng.uniform(-0.3, 0.3), rng.uniform(1.0, 2.0), self.high, 0.6),
            ("person", rng.uniform(-0.6, 0.6) * self.half, rng.uniform(1, 2), 0.0, 0.25),
            ("dog", rng.uniform(-0.5, 0.5) * self.half, rng.uniform(1.2, 2.4), 0.0, 0.2),
        ):
            if rng.random() < chance:
                self.put(body, (x, back, y), 0, (side, 1, 1))
