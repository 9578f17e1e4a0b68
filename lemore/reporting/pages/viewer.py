"""The chosen images of a dataset as layers to switch between: photograph, ground truth, models.

Label maps are palette PNGs that lie over the photograph, so that one page can hold many models.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lemore.reporting.figures.comparison import Example, measure_miou
from lemore.reporting.overlay import Color
from lemore.reporting.pages.page import encode_uri

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
    size = _fit_size(example.image.shape[:2])
    truth = MapLayer(
        _encode_map(example.label, size, colors), "", f"Ground truth of {example.name}", ""
    )
    return ImageView(
        name=example.name,
        photo=_encode_photo(example.image, size),
        width=size[0],
        height=size[1],
        layers=(
            truth,
            *(
                _make_layer(example, prediction, model, size, colors)
                for model, prediction in zip(models, example.predictions, strict=True)
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
    miou = measure_miou(prediction, example.label, len(colors))
    right = (prediction == example.label) | (example.label >= len(colors))
    return MapLayer(
        uri=_encode_map(prediction, size, colors),
        wrong=_encode_map(np.where(right, CLEAR, prediction), size, colors),
        alt=f"Prediction of {model} for {example.name}",
        remark="nothing labelled" if miou is None else f"mIoU of this image {100 * miou:.1f} %",
    )


def _fit_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Returns the (width, height) on the page of an image of (H, W)."""
    factor = min(1.0, LONGEST_SIDE / max(shape))
    return max(1, round(shape[1] * factor)), max(1, round(shape[0] * factor))


def _encode_photo(image: np.ndarray, size: tuple[int, int]) -> str:
    content = io.BytesIO()
    photo = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    photo.save(content, format="JPEG", quality=85, optimize=True)
    return encode_uri("image/jpeg", content.getvalue())


def _encode_map(label: np.ndarray, size: tuple[int, int], colors: Sequence[Color]) -> str:
    """Encodes class colours as a palette PNG; ignored pixels are transparent."""
    content = io.BytesIO()
    picture = Image.fromarray(label.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    palette = [*colors, *[UNKNOWN] * (256 - len(colors))]
    picture.putpalette([channel for color in palette for channel in color])
    picture.save(content, format="PNG", optimize=True, transparency=CLEAR)
    return encode_uri("image/png", content.getvalue())
