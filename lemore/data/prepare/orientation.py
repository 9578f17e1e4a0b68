"""Checks by sizes and EXIF that a photo and its annotation lie on one another."""

from typing import Any

import numpy as np

from lemore.config.own_files import POLYGONS, Files
from lemore.data.archives.images import read_orientation
from lemore.data.archives.members import Member


def require_said(files: Files | None, turned: int) -> None:
    """Raises ValueError if points lie on a turned photo, and nobody has said on which side up.

    turned: the photo's EXIF orientation, 1 to 8.
    """
    if files is not None and files.mask in POLYGONS and files.exif is None and turned != 1:
        raise ValueError(
            f"the image has the EXIF orientation {turned}: say `files.exif: shown` if polygons or "
            "boxes were drawn on it as viewers show it, `stored` if on its pixels as they are "
            "stored (lemore train: --exif)"
        )


def require_alignment(
    files: Files | None, turned: int, annotation: Any, photo: np.ndarray, label: np.ndarray
) -> None:
    """Raises ValueError unless the label map lies on the photo.

    turned: the photo's EXIF orientation. photo, label: what was read of photo and annotation,
    H x W (x 3).
    """
    unsaid = files is not None and files.exif is None and files.mask not in POLYGONS
    in_file = unsaid and isinstance(annotation, Member)
    own = read_orientation(annotation.read()) if in_file else 1
    one_lies = (turned >= 5) != (own >= 5)  # one is turned by a quarter, the other is not
    if label.shape != photo.shape[:2]:
        exif = f" (EXIF orientation {turned})" if turned != 1 else ""
        remedy = ""
        if unsaid and one_lies and label.shape == photo.shape[1::-1]:
            remedy = "; if they belong together as they are stored, say `files.exif: stored`"
        text = f"label is {label.shape}, image {photo.shape[:2]} (H, W){exif}{remedy}"
        raise ValueError(text)
    if unsaid and own != turned and not (one_lies and label.shape[0] != label.shape[1]):
        raise ValueError(
            f"the image has the EXIF orientation {turned}, the annotation {own}, and sizes do not "
            "tell which of them is turned: say `files.exif: shown` if they belong "
            "together as viewers show them, `stored` if as they are stored (lemore train: --exif)"
        )
