"""The files that `lemore predict` writes: one folder per kind, one name per input."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from lemore.reporting.prediction import Kind, Prediction
from lemore.runtime.files import open_temporary
from lemore.trained.predict.video import open_video

AddShares = Callable[[str, int | None, Prediction], None]  # input, frame of a video, prediction

SUFFIXES: dict[Kind, str] = {"overlay": ".jpg", "index": ".png", "color": ".png"}
# The index maps of a video's frames have a folder.
VIDEO_SUFFIXES: dict[Kind, str] = {"overlay": ".mp4", "index": "", "color": ".mp4"}
LEGEND = "classes.csv"


@dataclass(frozen=True)
class OutputPlan:
    """The places of the outputs. shares: csv, json or None."""

    folder: Path
    kinds: tuple[Kind, ...]
    shares: str | None

    def name_files(self, name: str, video: bool) -> dict[Kind, Path]:
        """Returns the file of each kind; for a video's index maps the folder of its frames."""
        suffixes = VIDEO_SUFFIXES if video else SUFFIXES
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


def format_legend(classes: Sequence[str], colors: Sequence[tuple[int, int, int]]) -> str:
    """The meaning of the values and colours in the outputs, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["train_id", "name", "r", "g", "b"])
    writer.writerows([k, classes[k], *colors[k]] for k in range(len(classes)))
    return text.getvalue()


@contextmanager
def open_video_outputs(
    files: dict[Kind, Path], rate: float, size: tuple[int, int]
) -> Iterator[Callable[[int, Prediction], None]]:
    """Yields a function that adds a prediction, by frame number, to the outputs of one video."""
    frames = files.get("index")
    with ExitStack() as stack:
        videos: dict[Kind, Callable[[np.ndarray], object]] = {
            kind: stack.enter_context(open_video(path, rate, size))
            for kind, path in files.items()
            if kind != "index"
        }

        def write(number: int, prediction: Prediction) -> None:
            if frames is not None:
                if number == 0:  # frames of an earlier, longer video would look like this one's
                    for path in frames.glob("[0-9]" * 6 + ".png"):
                        path.unlink()
                prediction.save(frames / f"{number:06d}.png", "index")
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
