"""What the bodies of pretrain and finetune share where the training runs."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lemore import sources
from lemore.data.loader import TrainBatches, Transform, deaths_told
from lemore.data.part import Part
from lemore.data.store import Store
from lemore.training import checkpoint, loop, optim
from lemore.training.recipe import Pretrain, Train
from lemore.training.spool import Spool

log = logging.getLogger(__name__)


def set_up(payload: dict[str, Any], threads: int) -> torch.device:
    """Threads, seed and device of this worker."""
    torch.set_num_threads(threads)
    torch.manual_seed(payload["seed"])
    if payload["gpus"] and not torch.cuda.is_available():
        raise ValueError("a GPU is asked for (ray.gpus), but torch sees none on this machine")
    torch.backends.cudnn.benchmark = True
    return torch.device("cuda" if payload["gpus"] else "cpu")


def memory_format(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format


class Batches:
    """The training batches from an iteration on, this rank's share of the global batch."""

    def __init__(self, payload: dict[str, Any], recipe: Train | Pretrain, transform: Transform):
        self.payload, self.recipe, self.transform = payload, recipe, transform
        store = Store(Path(payload["data"]), "train")
        self.store = Part(store, held_out=False) if payload.get("held_out") else store

    def names(self, iteration: int) -> list[str]:
        """The images of an iteration's global batch."""
        return self(iteration).names(iteration)

    def __call__(self, start: int) -> TrainBatches:
        return TrainBatches(
            self.store,
            self.transform,
            seed=self.payload["seed"],
            batch_size=self.recipe.batch_size,
            start=start,
            stop=self.recipe.iterations,
            rank=self.payload["rank"],
            world_size=self.payload["world_size"],
            workers=self.recipe.loader_workers,
        )


def job(
    payload: dict[str, Any],
    recipe: Train | Pretrain,
    *,
    name: str,
    model: nn.Module,
    optimizer: Any,
    batches: Batches,
    loss: Callable[[nn.Module, dict[str, Tensor]], Tensor],
    validate: Callable[[nn.Module], dict[str, float]] | None,
) -> loop.Job:
    """The loop's job of a payload, with metrics on disk and the model wrapped for its workers."""
    folder = Path(payload["folder"])
    checkpoints = checkpoint.Checkpoints(folder, about=_about(payload, recipe))
    spool = Spool(folder / "metrics.jsonl")
    rank = payload["rank"]
    if rank == 0:
        checkpoints.remove_remains()
        newest = checkpoints.load_newest()
        spool.rewind(newest["iteration"] if newest else 0)
    return loop.Job(
        name=name,
        model=model,
        wrapped=_wrapped(model, payload),
        optimizer=optimizer,
        learning_rate=optim.schedule(recipe),
        batches=batches,
        loss=loss,
        iterations=recipe.iterations,
        seed=payload["seed"],
        checkpoints=checkpoints,
        checkpoint_every=recipe.checkpoint_every,
        record=spool.record if rank == 0 else lambda iteration, metrics: None,
        stop=_should_stop(payload),
        validate=validate,
        validate_every=recipe.validate_every,
        rank=rank,
        samples=batches.names,
    )


def _about(payload: dict[str, Any], recipe: Train | Pretrain) -> dict[str, Any]:
    """What a checkpoint says of the training that wrote it."""
    return {
        "torch": str(torch.__version__),
        "workers": payload["world_size"],
        checkpoint.GLOBAL_BATCH: recipe.batch_size,
    }


def _should_stop(payload: dict[str, Any]) -> Callable[[], bool]:
    """A training learns that it is to stop by a file, or in-process by the driver's signal.

    Of several workers the first decides, since all must end with the same step: the others get no
    answer from it then and are ended with it.
    """
    if payload["rank"]:
        return lambda: False
    signalled = payload.get("stop") or (lambda: 0)
    stop_file = Path(payload["folder"]) / "stop"
    return lambda: bool(signalled()) or stop_file.exists()


def _wrapped(model: nn.Module, payload: dict[str, Any]) -> nn.Module | None:
    """The model for several workers: gradients are averaged; BatchNorm is synchronised on GPUs."""
    if payload["world_size"] == 1:
        return None
    if payload["gpus"]:
        log.info("BatchNorm is synchronised over %d workers", payload["world_size"])
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    else:
        log.info("BatchNorm sees each worker's share of the batch (no synchronisation on CPUs)")
    return nn.parallel.DistributedDataParallel(model)


def run(job: loop.Job) -> loop.Trained:
    with deaths_told():
        return loop.train(job)


def finish(
    payload: dict[str, Any], task: str, model: nn.Module, trained: loop.Trained, iterations: int
) -> dict[str, Any]:
    """Writes weights.pt (rank 0) and returns what run.json records of the training."""
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    if payload["rank"] == 0:
        content = {"state_dict": state, "config": payload["config"]}
        checkpoint.save(Path(payload["folder"]) / "weights.pt", content)
        if payload["model_run_id"]:
            _log_model(payload, model)
    return {
        "weights_sha256": checkpoint.tensor_digest(state),
        "iterations": iterations,
        **trained._asdict(),
        "modules": sources.loaded(task, sys.modules),
        "device": str(next(model.parameters()).device),
        "torch": str(torch.__version__),
    }


def _log_model(payload: dict[str, Any], model: nn.Module) -> None:
    from lemore.training.tracking import log_model

    recipe = payload["config"].get("train") or payload["config"]["recipe"]
    height, width = recipe["crop_size"]
    log_model(payload["model_run_id"], model.cpu().eval(), torch.zeros(1, 3, height, width))
