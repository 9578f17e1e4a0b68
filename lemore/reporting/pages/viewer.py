"""The chosen images of a dataset as layers to switch between: photograph, ground truth, models.

Label maps are palette PNGs that lie over the photograph, so that one page can hold many models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lemore.reporting.figures.comparison import Example, describe_miou
from lemore.reporting.overlay import Color
from lemore.reporting.pages.page import encode_image

LONGEST_SIDE = 1024  # pixels of a picture on the page
CLEAR = 255  # palette index that shows the photograph
UNKNOWN = (0, 0, 0)  # colour of pixels predicted outside the classes


@dataclass(frozen=True)
class MapLayer:
    """A label map of one image. `wrong` has only the pixels that differ from the ground truth."""

    uri: str
    wrong: str
    alt: str
    remark: str


@dataclass(frozen=True)
class ImageView:
    """One image with its layers: the ground truth, then one for each model."""

    name: str
    photo: str
    width: int
    height: int
    layers: tuple[MapLayer, ...]


@dataclass(frozen=True)
class Viewer:
    """The chosen images of a dataset. layers: printed names, the same for every view.

    legend: (class, CSS colour) of the classes in any of the label maps.
    """

    dataset: str
    title: str
    scenes: bool
    layers: tuple[str, ...]
    views: tuple[ImageView, ...]
    legend: tuple[tuple[str, str], ...]


def lay_out(
    dataset: str,
    title: str,
    examples: Sequence[Example],
    models: Sequence[str],
    classes: Sequence[str],
    colors: Sequence[Color],
    scenes: bool,
) -> Viewer:
    """Lays out a viewer. models: names, one for each prediction. classes, colors: by train id."""
    maps = [m for example in examples for m in (example.label, *example.predictions)]
    present = sorted({int(k) for m in maps for k in np.unique(m)})
    return Viewer(
        dataset=dataset,
        title=title or dataset,
        scenes=scenes,
        layers=("Ground truth", *models),
        views=tuple(_make_view(example, models, colors) for example in examples),
        legend=tuple(
            (classes[k], "#{:02x}{:02x}{:02x}".format(*colors[k]))
            for k in present
            if k < len(classes)
        ),
    )


def _make_view(example: Example, models: Sequence[str], colors: Sequence[Color]) -> ImageView:
    height, width = example.image.shape[:2]
    factor = min(1.0, LONGEST_SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    photo = Image.fromarray(example.image).resize(size, Image.Resampling.LANCZOS)
    truth = _encode_map(example.label, size, colors)
    predicted = zip(models, example.predictions, strict=True)
    return ImageView(
        name=example.name,
        photo=encode_image(photo, "jpeg", quality=85, optimize=True),
        width=size[0],
        height=size[1],
        layers=(
            MapLayer(truth, "", f"Ground truth of {example.name}", ""),
            *(
                _make_layer(example, prediction, model, size, colors)
                for model, prediction in predicted
            ),
        ),
    )


def _make_layer(
    example: Example,
    prediction: np.ndarray,
    model: str,
    size: tuple[int, int],
    colors: Sequence[Color],
) -> MapLayer:
    right = (prediction == example.label) | (example.label >= len(colors))
    return MapLayer(
        uri=_encode_map(prediction, size, colors),
        wrong=_encode_map(np.where(right, CLEAR, prediction), size, colors),
        alt=f"Prediction of {model} for {example.name}",
        remark=describe_miou(prediction, example.label, len(colors)),
    )


def _encode_map(label: np.ndarray, size: tuple[int, int], colors: Sequence[Color]) -> str:
    """Encodes class colours as a palette PNG; ignored pixels are transparent."""
    picture = Image.fromarray(label.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    palette = [*colors, *[UNKNOWN] * (256 - len(colors))]
    picture.putpalette([channel for color in palette for channel in color])
    return encode_image(picture, "png", optimize=True, transparency=CLEAR)
