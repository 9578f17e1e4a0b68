"""The network that a fine-tuning's configuration describes.

Apart from the fine-tuning itself, so that evaluation does not depend on how networks are trained.
"""

from typing import Any

from lemore.config.model import BackboneConfig, ModelConfig
from lemore.config.read import build
from lemore.config.recipe import Train
from lemore.models.segmentor import Segmentor, build_segmentor


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
