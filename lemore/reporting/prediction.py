"""What a model sees in one image: label map, shares of the classes, pictures of both."""

import base64
import html
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image

from lemore.reporting.overlay import Color, colored, overlay
from lemore.runtime.files import write_atomic

Kind = Literal["overlay", "index", "color"]
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

    def overlay(self) -> Image.Image:
        """Class colours over the image in grey."""
        return Image.fromarray(overlay(self.image, self.label_map, self.colors))

    def colored(self) -> Image.Image:
        """Class colours alone."""
        return Image.fromarray(colored(self.label_map, self.colors))

    def save(self, path: Path | str, kind: Kind = "overlay") -> None:
        """Writes a picture in the format of the path's suffix.

        kind: `overlay`, `color` (class colours alone) or `index` (the label map itself as a gray
        PNG, value = position of the class). ValueError if `index` is not to be a PNG.
        """
        path = Path(path)
        if kind == "index" and path.suffix.lower() != ".png":
            raise ValueError(f"{path}: a label map is saved as .png, which changes no value")
        write_atomic(path, encoded(self.picture(kind), path.suffix))

    def picture(self, kind: Kind) -> Image.Image:
        """The picture of a kind; ValueError if there is none of this name."""
        if kind not in get_args(Kind):
            raise ValueError(f"kind is '{kind}', expected one of {', '.join(get_args(Kind))}")
        if kind == "index":
            return Image.fromarray(self.label_map)
        return self.overlay() if kind == "overlay" else self.colored()

    def _seen(self) -> list[tuple[str, float]]:
        """(class, share) of those that occur, the largest first."""
        found = [(name, share) for name, share in self.shares.items() if share > 0]
        return sorted(found, key=lambda item: -item[1])

    def __repr__(self) -> str:
        seen = [f"{name} {100 * share:.0f} %" for name, share in self._seen()]
        height, width = self.label_map.shape
        more = ", ..." if len(seen) > MENTIONED else ""
        return f"Prediction({height} x {width}: {', '.join(seen[:MENTIONED])}{more})"

    def _repr_html_(self) -> str:
        """The overlay with its legend, where a notebook shows this object."""
        data = base64.b64encode(encoded(self.overlay(), ".jpg")).decode()
        colors = dict(zip(self.classes, self.colors, strict=True))
        legend = " ".join(
            f'<span style="border-left: 1em solid rgb{colors[name]}; padding: 0 .6em 0 .3em">'
            f"{html.escape(name)} {100 * share:.1f} %</span>"
            for name, share in self._seen()
        )
        alternative = html.escape(repr(self))
        return f'<img src="data:image/jpeg;base64,{data}" alt="{alternative}"><div>{legend}</div>'


def encoded(picture: Image.Image, suffix: str) -> bytes:
    """A picture in the format of a file name's suffix; ValueError if it is none that is known."""
    kinds = Image.registered_extensions()
    if suffix.lower() not in kinds:
        raise ValueError(f"'{suffix}' is no picture's suffix; write .png or .jpg")
    content = io.BytesIO()
    kind = kinds[suffix.lower()]
    picture.save(content, kind, **(JPEG if kind == "JPEG" else {}))
    return content.getvalue()
