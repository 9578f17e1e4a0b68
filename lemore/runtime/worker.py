"""The settings of one process of a training, beside its job."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Worker:
    """One process of a training.

    data: folder of the prepared dataset. folder: the training's state, on a file system that all
    its workers share. gpus: of this worker, 0 for the CPU. init, init_sha256: the initial weights
    as `none`, `file:<path>`, `torchvision:<name>` or `checkpoint:<path>` of a whole model, and the
    digest of their tensors ("": any). teacher, teacher_sha256: the same of the model that teaches,
    a path.
    held_out: whether a tenth of the training images is kept to test on. model_run_id: the MLflow
    run that gets the trained network, "" for none. sample_every: seconds between samples of the
    machine's use, 0 for none. stop: in the job's own process, returns the signal that asks the
    training to stop, 0 for none.
    """

    data: Path
    folder: Path
    seed: int
    gpus: float = 0.0
    rank: int = 0
    world_size: int = 1
    init: str = "none"
    init_sha256: str = ""
    teacher: str = ""
    teacher_sha256: str = ""
    held_out: bool = False
    model_run_id: str = ""
    sample_every: float = 0.0
    stop: Callable[[], int] | None = None
