"""The body of a fine-tuning, called where the training runs."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lemore.config import build
from lemore.data import photometric_batch
from lemore.data.loader import normalize
from lemore.data.store import Store
from lemore.data.transforms import TrainTransform
from lemore.models.schema import BackboneConfig, ModelConfig
from lemore.models.segmentor import Segmentor, build_segmentor
from lemore.tasks import _worker
from lemore.training import checkpoint, loop, losses, optim
from lemore.training.recipe import Train

log = logging.getLogger(__name__)


def train(payload: dict[str, Any]) -> dict[str, Any]:
    """Trains from the newest checkpoint, leaves weights.pt in the folder (rank 0)."""
    config = payload["config"]
    recipe = build(Train, config["train"], "config", "train.")
    device = _worker.set_up(payload, recipe.threads)
    model = make_model(config, recipe)
    load_initial(model, payload["init"], payload["init_sha256"])
    model.to(device)
    model.to(memory_format=_worker.memory_format(recipe.channels_last))
    fast: Any = model.decode_head.head_parameters
    class_weight = make_class_weight(recipe, payload["data"], device)
    groups = optim.parameter_groups(
        model,
        head_parameters=[f"decode_head.{name}" for name in fast],
        head_lr_mult=recipe.head_lr_mult,
        weight_decay=recipe.weight_decay,
        decay_norm=recipe.decay_norm,
    )
    log.info("%s", optim.describe(groups))
    job = _worker.job(
        payload,
        recipe,
        name=f"{config['model_name']} on {config['dataset']}",
        model=model,
        optimizer=optim.adamw(groups, recipe.betas),
        batches=_worker.Batches(payload, recipe, make_transform(recipe)),
        loss=lambda network, batch: segmentation_loss(network, batch, recipe, device, class_weight),
        validate=_validation(payload, recipe, device),
    )
    start = loop.train(job)
    return _worker.finish(payload, "finetune", model, start, recipe.iterations)


def make_model(config: dict[str, Any], recipe: Train) -> Segmentor:
    """The model of a fine-tuning slice, at the recipe's crop size, with fresh weights."""
    return build_segmentor(
        build(ModelConfig, config["model"], "config", "model."),
        build(BackboneConfig, config["backbone"], "config", "backbone."),
        num_classes=config["num_classes"],
        input_size=recipe.crop_size,
        drop_path=recipe.drop_path,
        overrides={"dropout": recipe.dropout, **recipe.decode_head},
    )


def load_initial(model: Segmentor, init: str, digest: str) -> None:
    """Loads the backbone's weights from `none` or `file:<weights.pt>`.

    ValueError if a `digest` is given and the file holds other weights.
    """
    if init == "none":
        return
    kind, _, path = init.partition(":")
    if kind != "file":
        raise ValueError(f"init is '{init}': this backbone has no torchvision weights")
    state = checkpoint.load(Path(path))["state_dict"]
    if digest and checkpoint.tensor_digest(state) != digest:
        raise ValueError(f"{path}: not the weights that run.json beside it records; pretrain again")
    prefix = "backbone."
    backbone = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    if not backbone:
        raise ValueError(f"{path}: holds no tensor named {prefix}*, is it a backbone's checkpoint?")
    model.backbone.load_state_dict(backbone)
    log.info("backbone loaded from %s", path)


def make_transform(recipe: Train) -> TrainTransform:
    return TrainTransform(
        img_scale=recipe.img_scale,
        scale_range=recipe.scale_range,
        crop_size=recipe.crop_size,
        cat_max_ratio=recipe.cat_max_ratio,
        flip_probability=recipe.flip_probability,
        photometric_distortion=recipe.photometric_distortion,
    )


def make_class_weight(recipe: Train, data: str, device: torch.device) -> Tensor | None:
    """K weights on the device, None where all classes count the same."""
    if recipe.class_weight == "none":
        return None
    return losses.class_weight(Store(Path(data), "train").class_frequencies).to(device)


def segmentation_loss(
    model: nn.Module,
    batch: dict[str, Tensor],
    recipe: Train,
    device: torch.device,
    class_weight: Tensor | None,
) -> Tensor:
    images = batch["image"].to(device)
    if "distortion" in batch:
        images = photometric_batch.distort(images, batch["distortion"])
    images = normalize(images, batch["valid"].to(device))
    images = images.contiguous(memory_format=_worker.memory_format(recipe.channels_last))
    logits = model(images)
    return losses.segmentation_loss(
        logits, batch["label"].to(device), recipe.loss_average, class_weight
    )


def _validation(payload: dict[str, Any], recipe: Train, device: torch.device) -> Any:
    """mIoU on the split `val`, for the curves only; None if it is not wanted."""
    if not recipe.validate_every or payload["rank"]:
        return None

    def validate(model: nn.Module) -> dict[str, float]:
        from lemore.tasks import _segmentation

        data = Store(Path(payload["data"]), "val")
        results = _segmentation.evaluate(
            model, data, device, _segmentation.whole(recipe.img_scale), keep=()
        ).results
        return {"val/mIoU": results["miou"], "val/aAcc": results["aacc"]}

    return validate
