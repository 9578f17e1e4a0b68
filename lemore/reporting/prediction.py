"""The prediction of a model for one image: label map, shares of the classes, pictures of both."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from lemore.reporting.overlay import Color, color_labels, draw_overlay
from lemore.runtime.files import write_atomic

Kind = Literal["overlay", "index", "color"]
GAP = 8  # white pixels between the pictures of a panel
MENTIONED = 4  # classes in the short description
JPEG = {"quality": 92, "subsampling": 0}  # full colour resolution: classes have sharp borders


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """A prediction for one image.

    image: H W 3 uint8 RGB, upright. label_map: H W uint8, the class of each pixel as its position
    in `classes`. colors: (R, G, B) of each class, for display.
    """

    image: np.ndarray
    label_map: np.ndarray
    classes: tuple[str, ...]
    colors: tuple[Color, ...]

    @property
    def shares(self) -> dict[str, float]:
        """Share of the pixels by class name, 0 to 1; they add up to 1."""
        counts = np.zeros(len(self.classes), np.int64)
        for row in self.label_map:  # all at once would be copied as 8-byte integers
            counts += np.bincount(row, minlength=len(self.classes))
        return dict(zip(self.classes, (counts / self.label_map.size).tolist(), strict=True))

    @property
    def facts(self) -> dict[str, Any]:
        """The values that `lemore predict --json` prints beside the image's size."""
        return {"shares": self.shares}

    def overlay(self) -> Image.Image:
        """Class colours over the image in grey."""
        return Image.fromarray(draw_overlay(self.image, self.label_map, self.colors))

    def colored(self) -> Image.Image:
        """Class colours alone."""
        return Image.fromarray(color_labels(self.label_map, self.colors))

    def save(self, path: Path | str, kind: Kind = "overlay") -> None:
        """Writes a picture in the format of the path's suffix.

        kind: `overlay`, `color` (class colours alone) or `index` (the label map itself as a gray
        PNG, value = position of the class). ValueError if `index` is not to be a PNG.
        """
        path = Path(path)
        if kind == "index" and path.suffix.lower() != ".png":
            raise ValueError(f"{path}: a label map is saved as .png, which changes no value")
        write_atomic(path, encode_picture(self.picture(kind), path.suffix))

    def picture(self, kind: Kind) -> Image.Image:
        """Draws a picture of a kind; ValueError if there is no such kind."""
        if kind not in get_args(Kind):
            raise ValueError(f"kind is '{kind}', expected one of {', '.join(get_args(Kind))}")
        if kind == "index":
            return Image.fromarray(self.label_map)
        return self.overlay() if kind == "overlay" else self.colored()

    def _list_seen(self) -> list[tuple[str, float]]:
        """Lists (class, share) of the classes that occur, the largest first."""
        found = [(name, share) for name, share in self.shares.items() if share > 0]
        return sorted(found, key=lambda item: -item[1])

    def __repr__(self) -> str:
        seen = [f"{name} {100 * share:.0f} %" for name, share in self._list_seen()]
        height, width = self.label_map.shape
        more = ", ..." if len(seen) > MENTIONED else ""
        return f"Prediction({height} x {width}: {', '.join(seen[:MENTIONED])}{more})"

    def _repr_html_(self) -> str:
        """Returns the overlay with its legend, for notebooks."""
        data = base64.b64encode(encode_picture(self.overlay(), ".jpg")).decode()
        colors = dict(zip(self.classes, self.colors, strict=True))
        legend = " ".join(
            f'<span style="border-left: 1em solid rgb{colors[name]}; padding: 0 .6em 0 .3em">'
            f"{html.escape(name)} {100 * share:.1f} %</span>"
            for name, share in self._list_seen()
        )
        alternative = html.escape(repr(self))
        return f'<img src="data:image/jpeg;base64,{data}" alt="{alternative}"><div>{legend}</div>'


def encode_picture(picture: Image.Image, suffix: str) -> bytes:
    """Encodes a picture in the format of a file name's suffix; ValueError for unknown ones."""
    kinds = Image.registered_extensions()
    if suffix.lower() not in kinds:
        raise ValueError(f"'{suffix}' is no picture's suffix; write .png or .jpg")
    content = io.BytesIO()
    kind = kinds[suffix.lower()]
    picture.save(content, kind, **(JPEG if kind == "JPEG" else {}))
    return content.getvalue()


def draw_panel(image: np.ndarray, labels: Sequence[np.ndarray], colors: Sequence[Color]) -> bytes:
    """Returns a JPEG of `image` (H W 3 uint8 RGB) and, beside it, each label map (H W) over it."""
    gap = np.full((image.shape[0], GAP, 3), 255, np.uint8)
    pictures = [image]
    for label in labels:
        pictures += [gap, draw_overlay(image, label, colors)]
    return encode_picture(Image.fromarray(np.hstack(pictures)), ".jpg")
