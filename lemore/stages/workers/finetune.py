"""The work of a fine-tuning, called where it runs."""

import logging
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lemore.config.code import OF_DETECTION
from lemore.config.jobs import FinetuneJob
from lemore.config.losses import CROSS_ENTROPY
from lemore.config.model import get_start
from lemore.config.read import did_you_mean
from lemore.config.recipe import Train
from lemore.config.unread import MEASURES
from lemore.data.augment import photometric_batch
from lemore.data.augment.segmentation import TrainTransform
from lemore.data.normalize import normalize
from lemore.data.store import Store
from lemore.models import torchvision_weights
from lemore.models.key_map import convert
from lemore.models.network import Network, make_network
from lemore.runtime import checkpoint
from lemore.runtime.worker import Worker
from lemore.stages.workers import shared
from lemore.stages.workers.start import load_start
from lemore.stages.workers.teacher import load_teacher
from lemore.training import losses, optim
from lemore.training.best import Best
from lemore.training.distillation import compute_distillation_loss
from lemore.training.further_losses import compute_weighted_sum
from lemore.training.loop import TrainingLoop
from lemore.training.quantization import round_layers

log = logging.getLogger(__name__)
BACKBONE = "backbone."
# The modules of each task's batches, loss and validation, by name: jobs that segment do not depend
# on what detects.
PARTS = {"segmentation": __name__, "detection": OF_DETECTION["finetune"]}


def train(job: FinetuneJob, worker: Worker) -> dict[str, Any]:
    """Trains from the newest checkpoint and leaves weights.pt in the worker's folder (rank 0).

    Returns what run.json records of the training.
    """
    recipe = job.train
    device = shared.set_up(worker, recipe.threads)
    model = make_network(job)
    started = load_first_weights(model, job, worker)
    batches = find_parts(job).make_batches(job, worker, model)
    teacher = None
    if recipe.teacher is not None:
        teacher, started["teacher"] = load_teacher(job, worker)
    loop = make_loop(job, worker, device, model, batches, teacher)
    trained = shared.run(loop)
    chosen: dict[str, Any] = {}
    if loop.best is not None:
        loop.best.restore(loop.kept)
        best = loop.best.describe()
        log.info("%s", best["text"])
        chosen = {"chosen": best, "iterations": best["trained"]}  # patience may have ended it
    licences = started["start"]["licences"] if "start" in started else []
    return shared.finish(job, worker, loop.kept, trained, licences) | started | chosen


def find_parts(job: FinetuneJob) -> Any:
    """Returns the module of the task, with its make_batches, make_loss and make_validation."""
    return import_module(PARTS[job.model.task])


def load_first_weights(model: Network, job: FinetuneJob, worker: Worker) -> dict[str, Any]:
    """Loads what the training starts from; returns what run.json records of a whole model."""
    if get_start(worker.init):
        return {"start": load_start(model, worker)}
    load_initial(model, job.backbone.module, worker.init, worker.init_sha256)
    return {}


def make_loop(
    job: FinetuneJob,
    worker: Worker,
    device: torch.device,
    model: Network,
    batches: shared.Batches,
    teacher: nn.Module | None = None,
) -> TrainingLoop:
    """Makes the training loop; needs no data but for class weights and validation."""
    recipe = job.train
    shared.check_smallest_part(model, recipe, worker.world_size)
    if recipe.freeze == "backbone":
        model.freeze_backbone()
    if recipe.fake_quantize == "int8":
        round_layers(model)
    for network in (model, *([teacher] if teacher else [])):
        shared.place(network, recipe, device)
    parts = find_parts(job)
    loss = parts.make_loss(job, worker, model, device, teacher)
    groups = group_parameters(model, recipe)
    log.info("%s", optim.describe_groups(groups))
    best = Best(f"val/{recipe.keep_by}", recipe.patience) if recipe.keep == "best" else None
    return shared.make_loop(
        worker,
        recipe,
        name=f"{job.model_name} on {job.dataset}",
        model=model,
        optimizer=make_optimizer(recipe, groups),
        batches=batches,
        loss=loss,
        validate=parts.make_validation(job, worker, device),
        best=best,
    )


def group_parameters(model: Network, recipe: Train) -> list[dict[str, Any]]:
    """Returns the optimiser's groups by the recipe's patterns.

    A decode head's tensors that are not among its `head_parameters`, if it lists them, are seen as
    the backbone's: the lineage's rules for "head" do not mean them.
    """
    own = getattr(getattr(model, "decode_head", None), "head_parameters", None)

    def see(name: str) -> str:
        part, _, rest = name.partition(".")
        elsewhere = part == "decode_head" and own is not None and rest not in own
        return f"backbone.{rest}" if elsewhere else name

    decay, factor = recipe.weight_decay, recipe.backbone_lr_mult
    return optim.group_parameters(model, decay, recipe.groups, see, factor)


def make_optimizer(recipe: Train, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return optim.make_sgd(groups, recipe.momentum)
    return optim.make_adamw(groups, recipe.betas)


def load_initial(model: Network, module: str, init: str, digest: str) -> None:
    """Loads the backbone's weights: `none`, `file:<weights.pt>` or `torchvision:<weights>`.

    ValueError if a `digest` is given and the file holds other weights, or a tensor does not fit.
    """
    kind, _, name = init.partition(":")
    if kind == "none":
        return
    if kind == "torchvision":
        state = torchvision_weights.download(name)
        key_map = torchvision_weights.find_key_map(module)
        backbone = convert(state, key_map, model.backbone.state_dict(), name)
    else:
        backbone = read_backbone(Path(name), digest)
    model.backbone.load_state_dict(backbone)  # a model may adapt tensors to its size
    log.info("backbone loaded from %s", name)


def read_backbone(path: Path, digest: str) -> dict[str, Tensor]:
    """Reads the backbone in a checkpoint of ours; ValueError if its tensors' digest differs."""
    state = checkpoint.load_tensors(path)
    if digest and checkpoint.hash_tensors(state) != digest:
        raise ValueError(
            f"{path}: not the weights that run.json beside it records, or replaced since this "
            "training began; pretrain again, or start anew"
        )
    backbone = {k.removeprefix(BACKBONE): v for k, v in state.items() if k.startswith(BACKBONE)}
    if not backbone:
        raise ValueError(
            f"{path}: holds no tensor named {BACKBONE}*, is it a backbone's checkpoint?"
        )
    return backbone


def make_batches(job: FinetuneJob, worker: Worker, model: Network) -> shared.Batches:
    recipe = job.train
    share = recipe.rare_class_share
    return shared.Batches(worker, recipe, make_transform(recipe), rare_class_share=share)


def make_transform(recipe: Train) -> TrainTransform:
    """Makes the transform, whose settings have the same names in the recipe."""
    return TrainTransform(**{f.name: getattr(recipe, f.name) for f in fields(TrainTransform)})


def make_class_weight(recipe: Train, data: Path, device: torch.device) -> Tensor | None:
    """Returns K weights on the device, None if all classes have the same; ValueError for a class
    that the data do not have."""
    named = recipe.class_weight
    if named == "none":
        return None
    store = Store(data, "train")
    if named == "auto":
        return losses.compute_class_weight(store.class_frequencies).to(device)
    for name in named:
        if name not in store.classes:
            near = did_you_mean(name, store.classes)
            raise ValueError(f"train.class_weight.{name} is no class of {store.dataset}{near}")
    return torch.tensor([named.get(name, 1.0) for name in store.classes], device=device)


class Loss:
    """The loss of a batch from the loader: the scalar that training minimises.

    teacher: the network whose logits are learnt too, in eval mode and placed as the model is.
    """

    def __init__(
        self,
        job: FinetuneJob,
        decode_head: nn.Module,
        device: torch.device,
        class_weight: Tensor | None,
        teacher: nn.Module | None = None,
    ) -> None:
        self.recipe, self.device, self.class_weight = job.train, device, class_weight
        self.teacher = teacher
        self.of_head = getattr(decode_head, "loss", self.sum_losses)
        if hasattr(decode_head, "loss") and self.recipe.losses != CROSS_ENTROPY:
            raise ValueError(
                f"train.losses: {job.model_name} has a loss of its own; leave the key out for it, "
                "by an override of the recipe"
            )
        auxiliary = job.model.auxiliary_head
        self.auxiliary_weight = auxiliary.weight if auxiliary else 0.0

    def __call__(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        label = batch["label"].to(self.device, non_blocking=True)
        images = self.images(batch)
        with shared.autocast(self.recipe, self.device):
            taught = self.ask_teacher(images)
            outputs, auxiliary = model(images, for_loss=True)
        loss = self.of_head(outputs, label)
        if taught is not None:
            loss = loss + self.compare_with(taught, outputs, label)
        if auxiliary is None:
            return loss
        return loss + self.auxiliary_weight * self.sum_losses(auxiliary, label)

    def images(self, batch: dict[str, Tensor]) -> Tensor:
        """B 3 H W, normalised, on the device."""
        images = batch["image"].to(self.device, non_blocking=True)
        if "distortion" in batch:
            images = photometric_batch.distort(images, batch["distortion"])
        images = normalize(images, batch["valid"].to(self.device, non_blocking=True))
        return images.contiguous(memory_format=shared.memory_format(self.recipe.channels_last))

    @torch.no_grad()
    def ask_teacher(self, images: Tensor) -> Tensor | None:
        return None if self.teacher is None else self.teacher(images)

    def compare_with(self, taught: Tensor, logits: Tensor, label: Tensor) -> Tensor:
        teacher = self.recipe.teacher
        assert teacher is not None
        place = (logits.float(), taught.float(), label, teacher.temperature)
        return teacher.weight * compute_distillation_loss(*place, self.recipe.loss_average)

    def sum_losses(self, logits: Tensor, label: Tensor) -> Tensor:
        recipe = self.recipe
        place = (recipe.losses, logits, label, self.cross_entropy)
        return compute_weighted_sum(*place, recipe.loss_average, self.class_weight)

    def cross_entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        average, fused = self.recipe.loss_average, self.recipe.fused_loss
        return losses.compute_segmentation_loss(
            logits.float(), label, average, self.class_weight, fused
        )


def make_loss(
    job: FinetuneJob,
    worker: Worker,
    model: Any,
    device: torch.device,
    teacher: nn.Module | None,
) -> Loss:
    class_weight = make_class_weight(job.train, worker.data, device)
    return Loss(job, model.decode_head, device, class_weight, teacher)


def make_validation(
    job: FinetuneJob, worker: Worker, device: torch.device
) -> Callable[[nn.Module], dict[str, float]] | None:
    """Makes a function that measures on `val`, for the curves and for `keep: best`; None if not
    wanted."""
    if not job.train.validate_every or worker.rank:
        return None

    def validate(model: nn.Module) -> dict[str, float]:
        from lemore.evaluation import segmentation

        data, test = Store(worker.data, "val"), segmentation.make_plain_test(job.train.img_scale)
        title = f"validate {job.model_name} on {job.dataset}"
        results = segmentation.evaluate(model, data, device, test, (), title=title).results
        return {f"val/{name}": results[name.lower()] for name in MEASURES["segmentation"]}

    return validate
