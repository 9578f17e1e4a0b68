"""What the bodies of pretrain and finetune share where the training runs."""

import copy
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from lemore.config import code
from lemore.config.recipe import Options, Pretrain, Train
from lemore.data.loader import TrainBatches, Transform, deaths_told
from lemore.data.part import Part
from lemore.data.store import Store
from lemore.runtime import checkpoint
from lemore.runtime.tracking.metrics_file import Spool
from lemore.training import loop, optim, sync_batch_norm
from lemore.training.average import Average
from lemore.training.precision import spare_dilated

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


def place(model: nn.Module, recipe: Train | Pretrain, device: torch.device) -> None:
    """The network where and as it is trained: device, layout, and kernels that compute rightly."""
    model.to(device)
    model.to(memory_format=memory_format(recipe.channels_last))
    if device.type == "cpu" and recipe.precision == "bf16":
        spare_dilated(model)


def autocast(recipe: Options, device: torch.device) -> torch.autocast:
    """The context of the network's forward pass; a loss belongs outside, in fp32."""
    dtype = torch.float16 if recipe.precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=recipe.precision != "fp32")


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
            pin_memory=bool(self.payload["gpus"]),
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
    device = next(model.parameters()).device
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
        wrapped=_wrapped(model, payload, recipe),
        micro_batch=recipe.micro_batch,
        scaler=GradScaler(device.type, enabled=recipe.precision == "fp16"),
        average=Average(model, recipe.ema) if recipe.ema else None,
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


def _wrapped(
    model: nn.Module, payload: dict[str, Any], recipe: Train | Pretrain
) -> nn.Module | None:
    """The model as training calls it (gradients averaged, compiled), None if as it is."""
    workers = payload["world_size"]
    share = recipe.batch_size // workers
    seen = workers * min(share, recipe.micro_batch or share)
    if seen < recipe.batch_size:
        log.info("BatchNorm sees %d images at once, of %d in a step", seen, recipe.batch_size)
    wrapped: Any = model
    if workers > 1:
        log.info("BatchNorm is synchronised over %d workers", workers)
        on_cpu, on_gpu = sync_batch_norm.convert, nn.SyncBatchNorm.convert_sync_batchnorm
        wrapped = (on_gpu if payload["gpus"] else on_cpu)(model)
        wrapped = nn.parallel.DistributedDataParallel(wrapped, forward_sync_buffers=False)
    if recipe.compile:
        if not payload["gpus"] and not shutil.which("g++"):
            raise ValueError("compile: true needs a C++ compiler on the CPU; install g++")
        wrapped = torch.compile(wrapped)
    return wrapped if wrapped is not model else None


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
        "weights_sha256": checkpoint.hash_tensors(state),
        "iterations": iterations,
        **trained._asdict(),
        "modules": code.loaded(task, sys.modules),
        "device": str(next(model.parameters()).device),
        "torch": str(torch.__version__),
    }


def _log_model(payload: dict[str, Any], model: nn.Module) -> None:
    from lemore.runtime.tracking.run import log_model

    recipe = payload["config"].get("train") or payload["config"]["recipe"]
    height, width = recipe["crop_size"]
    copied = copy.deepcopy(model).cpu().eval()
    log_model(payload["model_run_id"], copied, torch.zeros(1, 3, height, width))
