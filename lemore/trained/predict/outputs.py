"""The files that `lemore predict` writes: one folder per kind, one name per input."""

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from lemore.reporting.prediction import Kind, Prediction
from lemore.trained.predict.video import VideoWriter

SUFFIXES: dict[Kind, str] = {"overlay": ".jpg", "index": ".png", "color": ".png"}
# of a video's outputs; the index maps of its frames have a folder
VIDEO_SUFFIXES: dict[Kind, str] = {"overlay": ".mp4", "index": "", "color": ".mp4"}
FRAME = "{:06d}.png"
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


def write_legend(classes: Sequence[str], colors: Sequence[tuple[int, int, int]]) -> str:
    """Writes the meaning of the values and colours in the outputs, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["train_id", "name", "r", "g", "b"])
    writer.writerows([k, classes[k], *colors[k]] for k in range(len(classes)))
    return text.getvalue()


class VideoOutputs:
    """The outputs of one video, frame by frame (context manager)."""

    def __init__(self, files: dict[Kind, Path], rate: float):
        self.frames = files.get("index")
        self._stack = ExitStack()
        self._writers: dict[Kind, VideoWriter] = {
            kind: self._stack.enter_context(VideoWriter(path, rate))
            for kind, path in files.items()
            if kind != "index"
        }

    def write(self, number: int, prediction: Prediction) -> None:
        if self.frames is not None:
            if number == 0:
                self._drop_old_frames(self.frames)
            prediction.save(self.frames / FRAME.format(number), "index")
        for kind, writer in self._writers.items():
            writer.write(np.asarray(prediction.picture(kind)))

    def _drop_old_frames(self, folder: Path) -> None:
        """Removes frames of an earlier, longer video of this name, which would pass for its own."""
        for path in folder.glob("[0-9]" * 6 + ".png"):
            path.unlink()

    def __enter__(self) -> "VideoOutputs":
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)


class Shares:
    """Class shares of every image and frame as CSV or JSON, written one by one; the file appears
    when all are written (context manager)."""

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

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self._csv is None:
            self._file.write("\n]\n" if self._rows else "[]\n")
        self._file.close()
        if kind is None:
            os.replace(self._temporary, self.path)
        self._temporary.unlink(missing_ok=True)
