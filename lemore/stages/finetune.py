"""The body of a fine-tuning, called where the training runs."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lemore.config.model import ModelConfig
from lemore.config.read import build
from lemore.config.recipe import Train
from lemore.data.augment import photometric_batch
from lemore.data.augment.segmentation import TrainTransform
from lemore.data.loader import normalize
from lemore.data.store import Store
from lemore.models import torchvision_weights
from lemore.models.key_map import convert
from lemore.models.network import make_model
from lemore.models.segmentor import Segmentor
from lemore.runtime import checkpoint
from lemore.stages import worker
from lemore.training import losses, optim

log = logging.getLogger(__name__)
BACKBONE = "backbone."


def train(payload: dict[str, Any]) -> dict[str, Any]:
    """Trains from the newest checkpoint, leaves weights.pt in the folder (rank 0)."""
    config = payload["config"]
    recipe = build(Train, config["train"], "config", "train.")
    device = worker.set_up(payload, recipe.threads)
    model = make_model(config, recipe)
    load_initial(model, config, payload["init"], payload["init_sha256"])
    worker.place(model, recipe, device)
    class_weight = make_class_weight(recipe, payload["data"], device)
    groups = optim.parameter_groups(
        model,
        head_parameters=head_parameters(model),
        head_lr_mult=recipe.head_lr_mult,
        weight_decay=recipe.weight_decay,
        decay_norm=recipe.decay_norm,
    )
    log.info("%s", optim.describe(groups))
    job = worker.job(
        payload,
        recipe,
        name=f"{config['model_name']} on {config['dataset']}",
        model=model,
        optimizer=optim.adamw(groups, recipe.betas),
        batches=worker.Batches(payload, recipe, make_transform(recipe)),
        loss=Loss(config, recipe, model.decode_head, device, class_weight),
        validate=_validation(payload, recipe, device),
    )
    trained = worker.run(job)
    return worker.finish(payload, "finetune", job.kept, trained, recipe.iterations)


def head_parameters(model: Segmentor) -> list[str]:
    """Tensors that learn `head_lr_mult` times faster: the head's own list, else all of it."""
    own = getattr(model.decode_head, "head_parameters", None)
    if own is not None:
        return [f"decode_head.{name}" for name in own]
    heads = ("decode_head.", "auxiliary_head.")
    return [name for name, _ in model.named_parameters() if name.startswith(heads)]


def load_initial(model: Segmentor, config: dict[str, Any], init: str, digest: str) -> None:
    """Loads the backbone's weights: `none`, `file:<weights.pt>` or `torchvision:<weights>`.

    ValueError if a `digest` is given and the file holds other weights, or a tensor does not fit.
    """
    kind, _, name = init.partition(":")
    if kind == "none":
        return
    read = _torchvision_backbone if kind == "torchvision" else _own_backbone
    model.backbone.load_state_dict(read(model, config, name, digest))
    log.info("backbone loaded from %s", name)


def _own_backbone(
    model: Segmentor, config: dict[str, Any], path: str, digest: str
) -> dict[str, Tensor]:
    """The backbone of one of our checkpoints (a model may adapt tensors to its size on load)."""
    state = checkpoint.load(Path(path))["state_dict"]
    if digest and checkpoint.hash_tensors(state) != digest:
        raise ValueError(f"{path}: not the weights that run.json beside it records; pretrain again")
    backbone = {k.removeprefix(BACKBONE): v for k, v in state.items() if k.startswith(BACKBONE)}
    if not backbone:
        raise ValueError(
            f"{path}: holds no tensor named {BACKBONE}*, is it a backbone's checkpoint?"
        )
    return backbone


def _torchvision_backbone(
    model: Segmentor, config: dict[str, Any], name: str, digest: str
) -> dict[str, Tensor]:
    key_map = torchvision_weights.key_map(config["backbone"]["module"])
    state = torchvision_weights.download(name)
    return convert(state, key_map, model.backbone.state_dict(), name)


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


class Loss:
    """A batch as the loader gives it -> the scalar that training minimises."""

    def __init__(
        self,
        config: dict[str, Any],
        recipe: Train,
        decode_head: nn.Module,
        device: torch.device,
        class_weight: Tensor | None,
    ) -> None:
        self.recipe, self.device, self.class_weight = recipe, device, class_weight
        self.of_head = getattr(decode_head, "loss", self.cross_entropy)
        auxiliary = build(ModelConfig, config["model"], "config", "model.").auxiliary_head
        self.auxiliary_weight = auxiliary.weight if auxiliary else 0.0

    def __call__(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        label = batch["label"].to(self.device, non_blocking=True)
        images = self.images(batch)
        with worker.autocast(self.recipe, self.device):
            outputs, auxiliary = model(images, for_loss=True)
        loss = self.of_head(outputs, label)
        if auxiliary is None:
            return loss
        return loss + self.auxiliary_weight * self.cross_entropy(auxiliary, label)

    def images(self, batch: dict[str, Tensor]) -> Tensor:
        """B 3 H W, normalised, on the device."""
        images = batch["image"].to(self.device, non_blocking=True)
        if "distortion" in batch:
            images = photometric_batch.distort(images, batch["distortion"])
        images = normalize(images, batch["valid"].to(self.device, non_blocking=True))
        return images.contiguous(memory_format=worker.memory_format(self.recipe.channels_last))

    def cross_entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        average, fused = self.recipe.loss_average, self.recipe.fused_loss
        return losses.segmentation_loss(logits.float(), label, average, self.class_weight, fused)


def _validation(payload: dict[str, Any], recipe: Train, device: torch.device) -> Any:
    """mIoU on the split `val`, for the curves only; None if it is not wanted."""
    if not recipe.validate_every or payload["rank"]:
        return None

    def validate(model: nn.Module) -> dict[str, float]:
        from lemore.evaluation import segmentation

        data, test = Store(Path(payload["data"]), "val"), segmentation.whole(recipe.img_scale)
        title = f"validate {payload['config']['model_name']} on {payload['config']['dataset']}"
        results = segmentation.evaluate(model, data, device, test, (), title=title).results
        return {"val/mIoU": results["miou"], "val/aAcc": results["aacc"]}

    return validate
