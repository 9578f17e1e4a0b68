"""The files that `lemore predict` writes: one folder per kind, one name per input."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from lemore.reporting.prediction import Prediction
from lemore.runtime.files import open_temporary
from lemore.trained.predict.video import open_video

AddShares = Callable[[str, int | None, Prediction], None]  # input, frame of a video, prediction

# by kind of file; boxes are a detector's
SUFFIXES = {"overlay": ".jpg", "index": ".png", "color": ".png", "boxes": ".json"}
FRAMES = ("index", "boxes")  # of a video, they have a folder with a file for each frame
LEGEND = "classes.csv"


@dataclass(frozen=True)
class OutputPlan:
    """The places of the outputs. shares: csv, json or None."""

    folder: Path
    kinds: tuple[str, ...]
    shares: str | None

    def name_files(self, name: str, video: bool) -> dict[str, Path]:
        """Returns the file of each kind; for a video's index maps or boxes the folder of its
        frames."""
        films = {kind: "" if kind in FRAMES else ".mp4" for kind in self.kinds}
        suffixes = films if video else SUFFIXES
        return {kind: self.folder / kind / f"{name}{suffixes[kind]}" for kind in self.kinds}

    @property
    def shares_file(self) -> Path | None:
        return self.folder / f"shares.{self.shares}" if self.shares else None

    def check(
        self, files: Iterable[Path], inputs: Iterable[Path], legend: str, overwrite: bool
    ) -> None:
        """Raises ValueError if a file to write is an input, exists (unless `overwrite`), or lies
        outside the folder by a link. A legend with the same content may exist."""
        files = [*files, *([self.shares_file] if self.shares_file else [])]
        table = self.folder / LEGEND
        if not table.is_file() or table.read_bytes() != legend.encode():
            files.append(table)
        origins = {os.path.realpath(path) for path in inputs}
        inside = os.path.realpath(self.folder)
        for path in files:
            if os.path.realpath(path) in origins:
                raise ValueError(f"{path}: is one of the inputs; choose another --output")
            place = path if path.is_dir() else path.parent
            if not Path(os.path.realpath(place)).is_relative_to(inside):
                raise ValueError(f"{path}: a link leads outside of {self.folder}")
        existing = [path for path in files if path.exists()]
        if existing and not overwrite:
            raise ValueError(
                f"{existing[0]}: exists already ({len(existing)} of the {len(files)} outputs do); "
                "--overwrite replaces them"
            )


def format_legend(
    classes: Sequence[str],
    colors: Sequence[tuple[int, int, int]],
    category_ids: Sequence[int] = (),
) -> str:
    """The meaning of the values and colours in the outputs, as CSV. category_ids: a detector's."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["train_id", "name", "r", "g", "b", *["category_id"] * bool(category_ids)])
    for k, name in enumerate(classes):
        writer.writerow([k, name, *colors[k], *category_ids[k : k + 1]])
    return text.getvalue()


@contextmanager
def open_video_outputs(
    files: dict[str, Path], rate: float, size: tuple[int, int]
) -> Iterator[Callable[[int, Any], None]]:
    """Yields a function that adds a prediction, by frame number, to the outputs of one video."""
    frames = {kind: path for kind, path in files.items() if kind in FRAMES}
    with ExitStack() as stack:
        videos: dict[str, Callable[[np.ndarray], object]] = {
            kind: stack.enter_context(open_video(path, rate, size))
            for kind, path in files.items()
            if kind not in FRAMES
        }

        def write(number: int, prediction: Any) -> None:
            for kind, folder in frames.items():
                if number == 0:  # frames of an earlier, longer video would look like this one's
                    for path in folder.glob("[0-9]" * 6 + SUFFIXES[kind]):
                        path.unlink()
                prediction.save(folder / f"{number:06d}{SUFFIXES[kind]}", kind)
            for kind, add in videos.items():
                add(np.asarray(prediction.picture(kind)))

        yield write


@contextmanager
def open_shares(path: Path | None, classes: tuple[str, ...]) -> Iterator[AddShares]:
    """Yields a function that adds the class shares of an image or frame to a CSV or JSON file.

    They are written as they come, and the file is there once all are; None writes nothing.
    """
    if path is None:
        yield lambda file, frame, prediction: None
        return
    add = _add_csv if path.suffix == ".csv" else _add_json
    with (
        open_temporary(path) as temporary,
        # Names that are not UTF-8 keep their bytes.
        open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as target,
    ):
        yield from add(target, classes)


def _add_csv(target: TextIO, classes: tuple[str, ...]) -> Iterator[AddShares]:
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(["file", "frame", *classes])
    yield lambda file, frame, prediction: writer.writerow(
        [file, "" if frame is None else frame, *prediction.shares.values()]
    )


def _add_json(target: TextIO, _classes: tuple[str, ...]) -> Iterator[AddShares]:
    opening = "[\n"

    def add(file: str, frame: int | None, prediction: Prediction) -> None:
        nonlocal opening
        number = {} if frame is None else {"frame": frame}
        target.write(opening + json.dumps({"file": file, **number, "shares": prediction.shares}))
        opening = ",\n"

    yield add
    target.write("[]\n" if opening == "[\n" else "\n]\n")
