"""The prediction of a detector for one image: boxes with classes and scores."""

import base64
import html
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from lemore.evaluation.detection import make_results
from lemore.reporting.boxes import draw_boxes
from lemore.reporting.overlay import Color
from lemore.reporting.prediction import encode_picture
from lemore.runtime.files import write_atomic

BoxKind = Literal["overlay", "boxes"]
MENTIONED = 4  # classes in the short description


@dataclass(frozen=True, eq=False, repr=False)
class BoxPrediction:
    """The objects that a detector finds in one image, the surest first.

    image: H W 3 uint8 RGB, upright. boxes: float32 N 4, x1 y1 x2 y2 in its pixels. labels: int64 N,
    positions in `classes`. scores: float32 N, 0 to 1. colors: (R, G, B) of each class, for display.
    category_ids: of each class in COCO's JSON.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    classes: tuple[str, ...]
    colors: tuple[Color, ...]
    category_ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def names(self) -> list[str]:
        """The class of each box."""
        return [self.classes[k] for k in self.labels.tolist()]

    @property
    def facts(self) -> dict[str, Any]:
        """The values that `lemore predict --json` prints beside the image's size."""
        rows = [{"class": name, **row} for name, row in zip(self.names, self.rows(0), strict=True)]
        return {"boxes": [{k: v for k, v in row.items() if k != "image_id"} for row in rows]}

    def rows(self, image_id: int | str) -> list[dict[str, Any]]:
        """Returns the boxes in the form of COCO's results: bbox is [x, y, width, height]."""
        rows = make_results(0, self.boxes, self.labels, self.scores, self.category_ids)
        return [{**row, "image_id": image_id} for row in rows]

    def overlay(self) -> Image.Image:
        """The image with its boxes, the names of their classes and their scores."""
        pairs = zip(self.names, self.scores.tolist(), strict=True)
        texts = [f"{name} {score:.2f}" for name, score in pairs]
        colors = [self.colors[k] for k in self.labels.tolist()]
        return Image.fromarray(draw_boxes(self.image, self.boxes, texts, colors))

    def picture(self, kind: Literal["overlay"]) -> Image.Image:
        """Draws the picture of a kind; ValueError if there is none."""
        if kind != "overlay":
            raise ValueError(f"kind is '{kind}', expected overlay")
        return self.overlay()

    def save(self, path: Path | str, kind: BoxKind = "overlay") -> None:
        """Writes the picture in the format of the path's suffix, or `boxes`, a JSON in the form of
        COCO's results.

        The image_id in it is the number that the file is named by, such as 139 for
        000000000139.json, else the name.
        """
        path = Path(path)
        if kind == "boxes":
            number = int(path.stem) if path.stem.isdecimal() else path.stem
            write_atomic(path, json.dumps(self.rows(number)))
        else:
            write_atomic(path, encode_picture(self.picture(kind), path.suffix))

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        found = [f"{count} {name}" for name, count in Counter(self.names).most_common()]
        more = ", ..." if len(found) > MENTIONED else ""
        listed = ", ".join(found[:MENTIONED]) or "nothing found"
        return f"BoxPrediction({height} x {width}: {listed}{more})"

    def _repr_html_(self) -> str:
        """Returns the overlay, for notebooks."""
        data = base64.b64encode(encode_picture(self.overlay(), ".jpg")).decode()
        return f'<img src="data:image/jpeg;base64,{data}" alt="{html.escape(repr(self))}">'
