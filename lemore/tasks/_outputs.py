"""The files that `lemore predict` writes: one folder per kind, one name per input."""

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np

from lemore.data.video import VideoWriter
from lemore.reporting.prediction import Prediction

SUFFIXES = {"overlay": ".jpg", "index": ".png", "color": ".png"}
VIDEO_SUFFIXES = {"overlay": ".mp4", "index": "", "color": ".mp4"}  # index: a folder of frames
FRAME = "{:06d}.png"
LEGEND = "classes.csv"


@dataclass(frozen=True)
class Plan:
    """Where outputs go. kinds: of `SUFFIXES`; shares: csv, json or "" for none."""

    folder: Path
    kinds: tuple[str, ...]
    shares: str

    def files(self, name: str, video: bool) -> dict[str, Path]:
        """File by kind; for the index maps of a video, the folder of its frames."""
        suffixes = VIDEO_SUFFIXES if video else SUFFIXES
        return {kind: self.folder / kind / f"{name}{suffixes[kind]}" for kind in self.kinds}

    @property
    def shares_file(self) -> Path:
        return self.folder / f"shares.{self.shares}"

    def check(
        self, files: Iterable[Path], inputs: Iterable[Path], legend: str, overwrite: bool
    ) -> None:
        """ValueError if a file to write is an input, exists (unless `overwrite`), or lies outside
        the folder by a link. A legend with the same content may exist."""
        files = [*files, *([self.shares_file] if self.shares else [])]
        path = self.folder / LEGEND
        if not path.is_file() or path.read_bytes() != legend.encode():
            files.append(path)
        origins = {os.path.realpath(path) for path in inputs}
        inside = os.path.realpath(self.folder)
        for path in files:
            if os.path.realpath(path) in origins:
                raise ValueError(f"{path}: is one of the inputs; choose another --output")
            if not Path(os.path.realpath(path.parent)).is_relative_to(inside):
                raise ValueError(f"{path}: a link leads outside of {self.folder}")
        existing = [path for path in files if path.exists()]
        if existing and not overwrite:
            raise ValueError(
                f"{existing[0]}: exists already, as do {len(existing) - 1} more of the "
                f"{len(files)} outputs; --overwrite replaces them"
            )


def legend(classes: Sequence[str], colors: Sequence[tuple[int, int, int]]) -> str:
    """What the values and colours in the outputs mean, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["train_id", "name", "r", "g", "b"])
    writer.writerows([k, classes[k], *colors[k]] for k in range(len(classes)))
    return text.getvalue()


def write_image(files: dict[str, Path], prediction: Prediction) -> None:
    for kind, path in files.items():
        prediction.save(path, kind)  # type: ignore[arg-type]


class VideoOutputs:
    """The outputs of one video, frame by frame (context manager)."""

    def __init__(self, files: dict[str, Path], rate: float):
        self.frames = files.get("index")
        self._stack = ExitStack()
        self._writers = {
            kind: self._stack.enter_context(VideoWriter(path, rate))
            for kind, path in files.items()
            if kind != "index"
        }

    def write(self, number: int, prediction: Prediction) -> None:
        if self.frames is not None:
            if number == 0:
                self._drop_old_frames(self.frames)
            prediction.save(self.frames / FRAME.format(number), "index")
        pictures = {"overlay": prediction.overlay, "color": prediction.colored}
        for kind, writer in self._writers.items():
            writer.write(np.asarray(pictures[kind]()))

    def _drop_old_frames(self, folder: Path) -> None:
        """Frames of an earlier, longer video of this name would look like this one's."""
        for path in folder.glob("[0-9]" * 6 + ".png"):
            path.unlink()

    def __enter__(self) -> "VideoOutputs":
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


class Shares:
    """Class shares of every image and frame as CSV or JSON, written as they come; the file is
    there once all are (context manager)."""

    def __init__(self, path: Path, classes: tuple[str, ...]):
        self.path, self.classes = path, classes
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Names that are not UTF-8 keep their bytes.
        self._file: TextIO = open(  # noqa: SIM115
            self._temporary, "w", encoding="utf-8", errors="surrogateescape", newline=""
        )
        self._rows = 0
        self._csv = csv.writer(self._file, lineterminator="\n") if path.suffix == ".csv" else None
        if self._csv:
            self._csv.writerow(["file", "frame", *classes])

    def add(self, file: str, frame: int | None, shares: dict[str, float]) -> None:
        self._rows += 1
        if self._csv:
            self._csv.writerow([file, "" if frame is None else frame, *shares.values()])
            return
        number: dict[str, Any] = {} if frame is None else {"frame": frame}
        row = json.dumps({"file": file, **number, "shares": shares})
        self._file.write(("[\n" if self._rows == 1 else ",\n") + row)

    def __enter__(self) -> "Shares":
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._csv is None:
            self._file.write("\n]\n" if self._rows else "[]\n")
        self._file.close()
        if error is None:
            os.replace(self._temporary, self.path)
        self._temporary.unlink(missing_ok=True)
