"""Reads the frames of videos as RGB, and writes frames as MP4, one at a time."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet, as in photos.py

import cv2
import numpy as np

from lemore.data.archives.images import MAX_PIXELS
from lemore.trained.predict.photos import read_regular

SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
PICTURES = (b"heic", b"heix", b"mif1", b"avif")  # which share the container
MATROSKA = b"\x1a\x45\xdf\xa3"
MAX_BYTES = 1 << 40
FALLBACK_RATE = 25.0
FOURCC = "mp4v"  # MPEG-4: written by every build of OpenCV, at the speed of the decoder


def is_video(path: Path) -> bool:
    """Returns whether a file is an MP4, QuickTime, Matroska, WebM or AVI, by its first bytes.

    Its name is not enough: decoders would follow playlists to other files and to the network.
    ValueError if it is no regular file, or only its name is a video's.
    """
    start = read_regular(path, MAX_BYTES, 16)
    found = (
        (start[4:8] in MP4_BOXES and start[8:12] not in PICTURES)
        or start.startswith(MATROSKA)
        or (start[:4] == b"RIFF" and start[8:12] == b"AVI ")
    )
    if not found and path.suffix.lower() in SUFFIXES:
        raise ValueError("is no MP4, MOV, MKV, WebM or AVI, whatever its name says")
    return found


class VideoReader:
    """The frames of a video, H W 3 uint8 RGB, upright. Iterable once.

    claimed: frames by its header, 0 if it does not say. rate: frames a second. ValueError if it
    cannot be decoded at all.
    """

    def __init__(self, path: Path):
        # An absolute path is never taken for a network address or a pattern of file names.
        self._capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
        width = self._number(cv2.CAP_PROP_FRAME_WIDTH)
        height = self._number(cv2.CAP_PROP_FRAME_HEIGHT)
        if not self._capture.isOpened() or width * height == 0:
            raise ValueError("cannot be decoded as a video")
        if width * height > MAX_PIXELS:
            raise ValueError(f"claims frames of {height:.0f} x {width:.0f} pixels")
        self.claimed = int(self._number(cv2.CAP_PROP_FRAME_COUNT))
        self.rate = self._number(cv2.CAP_PROP_FPS) or FALLBACK_RATE

    def _number(self, key: int) -> float:
        """Returns a property of the video, 0 if it is unknown."""
        value = self._capture.get(key)
        return value if math.isfinite(value) and 0 < value < 1e9 else 0.0

    def __iter__(self) -> Iterator[np.ndarray]:
        try:
            while True:
                found, frame = self._capture.read()
                if not found:
                    return
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        finally:
            self._capture.release()


class VideoWriter:
    """Writes RGB frames of one size to an MP4, which appears when all are (context manager).

    An odd last row or column is left out, since the format requires even sizes.
    """

    def __init__(self, path: Path, rate: float):
        self.path, self.rate = path, rate
        self._temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp.mp4")
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: np.ndarray) -> None:
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._open(frame)
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def _open(self, frame: np.ndarray) -> cv2.VideoWriter:
        size = frame.shape[1], frame.shape[0]
        fourcc = cv2.VideoWriter.fourcc(*FOURCC)
        writer = cv2.VideoWriter(str(self._temporary), cv2.CAP_FFMPEG, fourcc, self.rate, size)
        if not writer.isOpened():
            raise OSError(f"{self.path}: OpenCV cannot write an MP4 here")
        return writer

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self._writer is not None:
            self._writer.release()
            if kind is None:
                os.replace(self._temporary, self.path)
        self._temporary.unlink(missing_ok=True)
