"""Shared by pretraining and fine-tuning where they run: device, batches, loop, weights.pt."""

import copy
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from lemore.config.code import list_loaded
from lemore.config.jobs import FinetuneJob, PretrainJob
from lemore.config.read import plain
from lemore.config.recipe import Options, Pretrain, Train
from lemore.data.loader import CropBatches, TrainBatches, Transform, name_dead_worker
from lemore.data.rare_classes import find_rare_classes
from lemore.data.store import Part, Store, take_part
from lemore.models.layers import choose_kernel
from lemore.runtime import checkpoint
from lemore.runtime.process import explain_no_compiler
from lemore.runtime.tracking.metrics_file import MetricsFile
from lemore.runtime.worker import Worker
from lemore.training import optim, sync_batch_norm
from lemore.training.best import Best
from lemore.training.loop import Outcome, TrainingLoop
from lemore.training.step import Average, spare_dilated

log = logging.getLogger(__name__)


def set_up(worker: Worker, threads: int) -> torch.device:
    """Sets this process's threads and seed; returns its device."""
    torch.set_num_threads(threads)
    torch.manual_seed(worker.seed)
    if worker.gpus and not torch.cuda.is_available():
        raise ValueError("a GPU is asked for (ray.gpus), but torch sees none on this machine")
    torch.backends.cudnn.benchmark = True
    return torch.device("cuda" if worker.gpus else "cpu")


def memory_format(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format


def place(model: nn.Module, recipe: Train | Pretrain, device: torch.device) -> None:
    """Puts the network on its device, in its layout, with kernels that compute correctly."""
    model.to(device)
    model.to(memory_format=memory_format(recipe.channels_last))
    if device.type == "cpu":
        if recipe.precision == "bf16":
            spare_dilated(model)
        return
    if device.type == "cuda":
        check_bfloat16(recipe)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            choose_kernel(module, device.type)


def check_bfloat16(recipe: Options) -> None:
    """Raises ValueError if the recipe's precision is bf16 and this GPU only emulates it."""
    if recipe.precision != "bf16" or torch.cuda.is_bf16_supported(including_emulation=False):
        return
    raise ValueError(
        f"precision is bf16, which {torch.cuda.get_device_name()} does not compute; set precision "
        "to fp16 or fp32 under recipe_changes, or use a GPU of compute capability 8.0 or newer"
    )


def autocast(recipe: Options, device: torch.device) -> torch.autocast:
    """Returns the context of the network's forward pass; a loss belongs outside, in fp32."""
    dtype = torch.float16 if recipe.precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=recipe.precision != "fp32")


def check_smallest_part(model: nn.Module, recipe: Options, workers: int) -> None:
    """Raises ValueError if the batch leaves a part of one image, and the network's BatchNorm cannot
    compute the variance of one value. Several workers share their statistics."""
    share = recipe.batch_size // workers
    most = min(recipe.micro_batch or share, share)
    if workers > 1 or (share % most or most) > 1:
        return
    outline = copy.deepcopy(model).to("meta").train()
    try:
        outline(torch.empty(1, 3, *recipe.crop_size, device="meta"))
    except ValueError:
        raise ValueError(
            f"batch_size is {recipe.batch_size} and micro_batch {recipe.micro_batch}, which leaves "
            "a part of one image, and BatchNorm nothing to average over where a map has one "
            "position; choose a batch_size of at least 2, and a micro_batch that leaves no single "
            "image"
        ) from None


class Batches:
    """The training batches from an iteration on, this rank's share of the global batch.

    kind: their form (`TrainBatches`). store: the photos, if not all of the split `train`.
    """

    def __init__(
        self,
        worker: Worker,
        recipe: Train | Pretrain,
        transform: Transform,
        repeats: int = 1,
        rare_class_share: float = 0.0,
        kind: type[CropBatches] | None = None,
        store: Part | None = None,
    ) -> None:
        self.worker, self.recipe, self.transform = worker, recipe, transform
        self.repeats, self.kind = repeats, kind
        whole = Store(worker.data, "train")
        self.store = store or (take_part(whole, held_out=False) if worker.held_out else whole)
        self.rare = find_rare_classes(self.store, rare_class_share)

    def names(self, iteration: int) -> list[str]:
        """Returns the names of the images in an iteration's global batch."""
        return self(iteration).list_names(iteration)

    def __call__(self, start: int) -> TrainBatches:
        return TrainBatches(
            self.store,
            self.transform,
            seed=self.worker.seed,
            batch_size=self.recipe.batch_size,
            start=start,
            stop=self.recipe.iterations,
            rank=self.worker.rank,
            world_size=self.worker.world_size,
            workers=self.recipe.loader_workers,
            pin_memory=self.worker.gpus > 0,
            repeats=self.repeats,
            rare=self.rare,
            kind=self.kind,
        )


def make_loop(
    worker: Worker,
    recipe: Train | Pretrain,
    *,
    name: str,
    model: nn.Module,
    optimizer: Any,
    batches: Batches,
    loss: Callable[[nn.Module, dict[str, Tensor]], Tensor],
    validate: Callable[[nn.Module], dict[str, float]] | None,
    best: Best | None = None,
) -> TrainingLoop:
    """Makes a worker's training loop, with metrics on disk and the model wrapped for workers."""
    device = next(model.parameters()).device
    about = {"torch": str(torch.__version__), "workers": worker.world_size}
    about[checkpoint.GLOBAL_BATCH] = recipe.batch_size
    checkpoints = checkpoint.Checkpoints(worker.folder, about=about)
    metrics_file = MetricsFile(worker.folder / "metrics.jsonl")
    if worker.rank == 0:
        checkpoints.remove_remains()
        newest = checkpoints.load_newest()
        metrics_file.rewind(newest["iteration"] if newest else 0)
    return TrainingLoop(
        name=name,
        model=model,
        wrapped=_wrap(model, worker, recipe),
        micro_batch=recipe.micro_batch,
        scaler=GradScaler(device.type, enabled=recipe.precision == "fp16"),
        average=Average(model, recipe.ema) if recipe.ema else None,
        clip_norm=recipe.clip_norm,
        optimizer=optimizer,
        learning_rate=optim.make_schedule(recipe),
        batches=batches,
        loss=loss,
        iterations=recipe.iterations,
        seed=worker.seed,
        checkpoints=checkpoints,
        checkpoint_every=recipe.checkpoint_every,
        record=metrics_file.append if worker.rank == 0 else lambda iteration, metrics: None,
        stop=_make_stop(worker),
        validate=validate,
        validate_every=recipe.validate_every,
        best=best,
        rank=worker.rank,
        samples=batches.names,
    )


def _make_stop(worker: Worker) -> Callable[[], bool]:
    """Makes the check for a request to stop: a file or, in-process, the driver's signal.

    The first of several workers decides, since all must end with the same step: the others get no
    answer from it then and are ended with it.
    """
    if worker.rank:
        return lambda: False
    signalled = worker.stop or (lambda: 0)
    stop_file = worker.folder / "stop"
    return lambda: bool(signalled()) or stop_file.exists()


def _wrap(model: nn.Module, worker: Worker, recipe: Train | Pretrain) -> nn.Module | None:
    """Wraps the model for training (gradients averaged, compiled); None if nothing is needed."""
    workers = worker.world_size
    share = recipe.batch_size // workers
    seen = workers * min(share, recipe.micro_batch or share)
    if seen < recipe.batch_size:
        log.info("BatchNorm sees %d images at once, of %d in a step", seen, recipe.batch_size)
    wrapped: Any = model
    if workers > 1:
        log.info("BatchNorm is synchronised over %d workers", workers)
        on_cpu, on_gpu = sync_batch_norm.convert, nn.SyncBatchNorm.convert_sync_batchnorm
        wrapped = (on_gpu if worker.gpus else on_cpu)(model)
        wrapped = nn.parallel.DistributedDataParallel(wrapped, forward_sync_buffers=False)
    if recipe.compile:
        if missing := explain_no_compiler(worker.gpus > 0):
            raise ValueError(f"compile: true {missing}, or set compile: false")
        wrapped = torch.compile(wrapped)
    return wrapped if wrapped is not model else None


def run(job: TrainingLoop) -> Outcome:
    with name_dead_worker():
        return job.train()


def finish(
    job: FinetuneJob | PretrainJob,
    worker: Worker,
    model: nn.Module,
    trained: Outcome,
    start_licences: Sequence[str] = (),
) -> dict[str, Any]:
    """Writes weights.pt (rank 0) and returns what run.json records of the training.

    weights.pt holds the tensors, the job and, of a fine-tuning, the names and colours (R, G, B) of
    the classes, and a detector's category ids, so that predictions are named wherever it goes; and
    the licences of the model that it started from, since they hold for it too.
    """
    finetuned = isinstance(job, FinetuneJob)
    recipe = job.train if finetuned else job.recipe
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    if worker.rank == 0:
        content = {"state_dict": state, "config": plain(job)}
        if start_licences:
            content["start_licences"] = list(start_licences)
        if finetuned:
            store = Store(worker.data, "train")
            colors = plain(store.read_colors())
            content["classes"] = {"names": list(store.classes), "colors": colors}
            if store.category_ids:
                content["classes"]["category_ids"] = store.category_ids
        checkpoint.save(worker.folder / "weights.pt", content)
        detects = finetuned and job.model.task == "detection"
        if worker.model_run_id and not detects:  # MLflow's models give one tensor
            from lemore.runtime.tracking.models import log_model

            image = torch.zeros(1, 3, *recipe.crop_size)
            log_model(worker.model_run_id, copy.deepcopy(model).cpu().eval(), image)
    return {
        "weights_sha256": checkpoint.hash_tensors(state),
        "iterations": recipe.iterations,
        **trained._asdict(),
        "modules": list_loaded("finetune" if finetuned else "pretrain", sys.modules),
        "device": str(next(model.parameters()).device),
        "torch": str(torch.__version__),
    }
