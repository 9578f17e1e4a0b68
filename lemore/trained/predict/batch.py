"""Predicts images in batches and videos frame by frame, and reports what fails."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lemore.runtime.progress import show_progress
from lemore.trained.detector import DetectionModel
from lemore.trained.model import Geometry, Model
from lemore.trained.predict.outputs import AddShares, open_video_outputs
from lemore.trained.predict.photos import read_photo
from lemore.trained.predict.video import VideoReader

PENDING_PIXELS = 1 << 24  # most pixels of images that wait for their batch
WHOLE_VIDEO = 0.98  # share of the frames in a video's header, which may be an estimate


@dataclass(frozen=True)
class FileTask:
    """One input and its outputs by kind."""

    path: Path
    video: bool
    files: dict[str, Path]


class Reporter:
    """Reports each input: failures on stderr and, with `as_json`, every input on stdout."""

    def __init__(self, as_json: bool):
        self.as_json, self.done, self.failed = as_json, 0, 0

    def report_failure(self, file: object, problem: object) -> None:
        self.failed += 1
        text = escape_unprintable(" ".join(f"{file}: {problem}".split()))
        tqdm.write(f"lemore predict: error: {text}", file=sys.stderr)
        self._print({"file": str(file), "error": str(problem)})

    def report_success(self, task: FileTask, **facts: Any) -> None:
        self.done += 1
        files = {kind: str(path) for kind, path in task.files.items()}
        self._print({"file": str(task.path), **facts, "outputs": files})

    def _print(self, values: dict[str, Any]) -> None:
        if self.as_json:
            print(json.dumps(values), flush=True)


def escape_unprintable(text: str) -> str:
    """Text in which characters that a terminal cannot show, or would obey, are escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def describe_error(error: ValueError | OSError) -> str:
    """Describes an error without the path, with which the report begins."""
    return str(error.strerror if isinstance(error, OSError) and error.strerror else error)


@dataclass(frozen=True)
class Predictor:
    """Predicts files and writes their outputs."""

    model: Model | DetectionModel
    geometry: Geometry
    batch_size: int
    add_shares: AddShares
    reporter: Reporter

    def predict_images(self, tasks: list[FileTask]) -> None:
        for batch in self._make_batches(show_progress(tasks, "predict", unit="image")):
            try:
                predictions = self._predict_batch([image for _, image in batch])
            except ValueError as error:
                for task, _ in batch:
                    self.reporter.report_failure(task.path, error)
                continue
            for (task, _), prediction in zip(batch, predictions, strict=True):
                for kind, path in task.files.items():
                    prediction.save(path, kind)
                self.add_shares(str(task.path), None, prediction)
                size = list(prediction.image.shape[:2])
                self.reporter.report_success(task, size=size, **prediction.facts)

    def _make_batches(
        self, tasks: Iterable[FileTask]
    ) -> Iterator[list[tuple[FileTask, np.ndarray]]]:
        """The images in order; neighbours of one size at the network make a batch."""
        batch: list[tuple[FileTask, np.ndarray]] = []
        before, pixels = (0, 0), 0
        for task in tasks:
            try:
                image = read_photo(task.path)
                size = self.model.fit_image((image.shape[0], image.shape[1]), self.geometry)
            except (ValueError, OSError) as error:
                self.reporter.report_failure(
                    task.path, f"{describe_error(error)}; replace it or leave it out"
                )
                continue
            if batch and size != before:
                yield batch
                batch, pixels = [], 0
            batch.append((task, image))
            before, pixels = size, pixels + image.size // 3
            if len(batch) == self.batch_size or pixels > PENDING_PIXELS:
                yield batch
                batch, pixels = [], 0
            del image  # a large one should not wait for the next to be read
        if batch:
            yield batch

    def _predict_batch(self, images: list[np.ndarray]) -> list[Any]:
        try:
            return self.model.predict_batch(images, self.geometry, self.batch_size)
        except RuntimeError as error:
            if "allocate" not in str(error):
                raise
            raise ValueError(
                "the memory does not hold it; try a smaller --size, --tile or --batch-size"
            ) from None

    def predict_videos(self, tasks: list[FileTask]) -> None:
        for task in tasks:
            try:
                frames = self._predict_video(task)
            except ValueError as error:
                self.reporter.report_failure(task.path, f"{error}; replace it or leave it out")
            else:
                self.reporter.report_success(task, frames=frames)

    def _predict_video(self, task: FileTask) -> int:
        """Returns the number of frames; ValueError if it cannot be decoded, or not to its end."""
        reader = VideoReader(task.path)
        name = escape_unprintable(task.path.name)
        frames = iter(show_progress(reader, name, reader.claimed or None, "frame"))
        batch = list(islice(frames, self.batch_size))
        if not batch:
            raise ValueError("has no frame that can be decoded")
        count, size = 0, batch[0].shape
        with open_video_outputs(task.files, reader.rate, size[:2]) as write:
            while batch:
                if any(frame.shape != size for frame in batch):
                    raise ValueError(f"its frames change their size near frame {count}")
                for prediction in self._predict_batch(batch):
                    write(count, prediction)
                    self.add_shares(str(task.path), count, prediction)
                    count += 1
                batch = list(islice(frames, self.batch_size))
        if count < WHOLE_VIDEO * reader.claimed:
            raise ValueError(
                f"ends after {count} of {reader.claimed} frames, which are in the outputs"
            )
        return count
