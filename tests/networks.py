"""Networks of the configurations in config/models, for tests: built, filled, and checked."""

from pathlib import Path

import torch
import torch.nn.functional as F

from lemore.config.model import BackboneConfig, ModelConfig
from lemore.config.read import load
from lemore.models.segmentor import Segmentor, build_segmentor

CONFIG = Path(__file__).parents[1] / "config"
SIZE = (128, 96)


MODELS = {path.stem for path in (CONFIG / "models").glob("*.yaml")}


def configs(name: str) -> tuple[ModelConfig, BackboneConfig]:
    model = load(ModelConfig, CONFIG / "models" / f"{name}.yaml")
    return model, load(BackboneConfig, CONFIG / "backbones" / f"{model.backbone}.yaml")


SEGMENTORS = sorted(name for name in MODELS if configs(name)[0].task == "segmentation")
DETECTORS = sorted(MODELS - set(SEGMENTORS))


def segmentor(name: str, size=SIZE, classes: int = 7, drop_path: float = 0.1) -> Segmentor:
    model, backbone = configs(name)
    torch.manual_seed(0)
    return build_segmentor(
        model, backbone, num_classes=classes, input_size=size, drop_path=drop_path, overrides={}
    )


def on_meta(name: str, size, classes: int, auxiliary: bool = False, **overrides) -> Segmentor:
    """A network without memory for its weights. overrides: arguments of its decode head."""
    with torch.device("meta"):
        model, backbone = configs(name)
        return build_segmentor(
            model,
            backbone,
            num_classes=classes,
            input_size=size,
            drop_path=0.1,
            overrides=overrides,
            auxiliary=auxiliary,
        )


def awaken(model: torch.nn.Module) -> torch.nn.Module:
    """Random values where initialisation leaves zeros, so that no branch is silent."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.3, 0.8, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
        for name, parameter in model.named_parameters():
            if name.endswith(("frontal.weight", "lateral.weight")):
                parameter.normal_(0, 0.3 / parameter.shape[0] ** 0.5, generator=generator)
    return model


def images(batch: int, size: tuple[int, int]) -> torch.Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(2))


def conv_norm(x: torch.Tensor, layer, **options) -> torch.Tensor:
    """Convolution and batch norm (eval) by formula."""
    y = F.conv2d(x, layer.conv.weight, **options)
    bn = layer.bn
    shape = (1, -1, 1, 1)
    y = (y - bn.running_mean.view(shape)) / (bn.running_var.view(shape) + 1e-5).sqrt()
    return y * bn.weight.view(shape) + bn.bias.view(shape)
