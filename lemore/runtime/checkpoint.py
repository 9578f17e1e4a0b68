"""Checkpoints that survive a kill: written whole, checked by hash, the previous one kept.

A checkpoint holds tensors and primitives only and is read with weights_only=True.
"""

import hashlib
import io
import logging
import socket
import warnings
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lemore.runtime.files import hash_file, read_json, remove_temporaries, write_atomic, write_json

log = logging.getLogger(__name__)
GLOBAL_BATCH = "global batch"


def hash_tensors(state: dict[str, Tensor]) -> str:
    """Returns the SHA-256 over names, dtypes, shapes and bytes of a state dict, in name order."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save(path: Path, content: dict[str, Any]) -> None:
    """Writes plain tensors and primitives by torch.save, atomically."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomic(path, buffer.getvalue())


def load(path: Path) -> dict[str, Any]:
    """Reads plain tensors by torch.load; ValueError naming the file if it cannot be read."""
    try:
        refuse_compressed(path)
        with warnings.catch_warnings(action="ignore"):  # a foreign file gets one error, no warnings
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such checkpoint") from None
    except Exception as error:  # torch raises several kinds for a broken or foreign file
        message = (str(error) or type(error).__name__).rpartition("WeightsUnpickler error: ")[2]
        # Without torch's advice to load the refused file all the same.
        message = message.strip().partition("\n")[0].partition(". Please use")[0]
        raise ValueError(
            f"{path}: not a readable checkpoint of plain tensors ({message})"
        ) from None


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a weights.pt; ValueError naming the file if it is none."""
    content = load(path)
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ValueError(
            f"{path}: holds no 'state_dict' of tensors; expected weights.pt of a training or of "
            "`lemore import-weights`"
        )
    return state


def refuse_compressed(path: Path) -> None:
    """Refuses a compressed archive, which torch never writes: it may unpack to any size."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"its part {entry.filename} is compressed")


class Checkpoints:
    """The checkpoints of one training in one folder: iteration_<n>.pt and its hash beside it.

    `about` (say, {"torch": "2.14", "workers": 2}) is kept with them: a training that resumes under
    other conditions logs what differs, and refuses another "global batch".
    """

    def __init__(self, folder: Path, keep: int = 2, about: dict[str, Any] | None = None):
        self.folder, self.keep, self.about = folder, keep, about or {}
        self.thread: ThreadPoolExecutor | None = None
        self.pending: Future[None] | None = None

    def save(self, iteration: int, content: dict[str, Any]) -> None:
        """Writes the state after `iteration` steps and drops all but the newest `keep`."""
        if self.thread is None:
            return self._write(iteration, content)
        self._wait()
        self.pending = self.thread.submit(self._write, iteration, _copy_to_cpu(content))

    @contextmanager
    def write_in_background(self) -> Iterator[None]:
        """Makes `save` copy the state and return at once; one thread writes it.

        At most one write is under way: the next `save` waits for it, and so does leaving the
        `with`. A failed write is raised by whichever of them comes first. A kill meanwhile leaves
        the checkpoint before.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="checkpoint") as self.thread:
            try:
                yield
            finally:
                self.thread = None
                self._wait()

    def _wait(self) -> None:
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.result()

    def _write(self, iteration: int, content: dict[str, Any]) -> None:
        path = self.folder / f"iteration_{iteration:08d}.pt"
        save(path, {"iteration": iteration, "about": self.about, **content})
        write_json(path.with_suffix(".json"), {"iteration": iteration, "sha256": hash_file(path)})
        self._drop_old()

    def _drop_old(self) -> None:
        for old in self.list_paths()[self.keep :]:
            old.with_suffix(".json").unlink(missing_ok=True)
            old.unlink()

    def list_paths(self) -> list[Path]:
        """Returns the complete checkpoints, newest first; one without its hash is not complete."""
        found = sorted(self.folder.glob("iteration_*.pt"), reverse=True)
        return [path for path in found if path.with_suffix(".json").exists()]

    def remove_remains(self) -> None:
        """Removes what a kill during a save has left; nobody else may be writing."""
        remove_temporaries(self.folder)
        self._drop_old()
        for path in set(self.folder.glob("iteration_*.pt")) - set(self.list_paths()):
            path.unlink()

    def load_newest(self) -> dict[str, Any] | None:
        """Returns the newest intact checkpoint, or None if there is none at all.

        A damaged one is reported and passed over. ValueError if all are damaged, since a silent
        restart would throw away work, or if it was written with another global batch.
        """
        paths = self.list_paths()
        for path in paths:
            if _is_intact(path):
                state = load(path)
                self._compare(path, state.get("about", {}))
                return state
            log.error("%s: checksum differs, falling back to the one before", path)
        if paths:
            raise ValueError(f"{self.folder}: every checkpoint is damaged; remove it to start anew")
        return None

    def _compare(self, path: Path, about: dict[str, Any]) -> None:
        for name in sorted(about.keys() & self.about.keys()):
            then, now = about[name], self.about[name]
            if then == now:
                continue
            if name == GLOBAL_BATCH:
                raise ValueError(
                    f"{path}: written with a {name} of {then}, now {now}: that would be another "
                    "training; set it back, or remove the folder to start anew"
                )
            log.warning("%s: written with %s %s, goes on with %s", path, name, then, now)


def check_alike(folder: Path, iteration: int, state: dict[str, Tensor]) -> None:
    """Raises ValueError on every worker of a group if they do not start from the same iteration and
    weights: they would train on as if they did."""
    if not dist.is_initialized():
        return
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, (socket.gethostname(), iteration, hash_tensors(state)))
    host, first, _ = found[0]
    for rank, (other, own, digest) in enumerate(found):
        if (own, digest) != found[0][1:]:
            raise ValueError(
                f"{folder}: worker 0 on {host} would go on from iteration {first}, worker {rank} "
                f"on {other} from {own} with other weights; results must lie on a file system that "
                "every node of the cluster shares"
            )


def _is_intact(path: Path) -> bool:
    try:
        return hash_file(path) == read_json(path.with_suffix(".json"))["sha256"]
    except (ValueError, TypeError, KeyError):
        return False


def _copy_to_cpu(value: Any) -> Any:
    """Returns a copy of nested mappings and lists, with their tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy_to_cpu(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy_to_cpu(item) for item in value]
    return value
