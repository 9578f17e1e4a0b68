"""Pretrain a backbone as an image classifier (recipe: reconstructed, the paper gives none).

Example:
  lemore pretrain --config results/scenes/config/pretrain/lemore.yaml \\
    --data resources/datasets/imagenet_1k_scenes --output /tmp/lemore \\
    --checkpoints /tmp/lemore/checkpoints
"""

import argparse
from typing import Any

from lemore.config.model import BackboneConfig
from lemore.config.read import build
from lemore.config.recipe import Pretrain
from lemore.stages import training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    training.add_training_arguments(parser)


def run(args: argparse.Namespace) -> int:
    config = training.load_slice(args.config, "recipe")
    recipe = build(Pretrain, config["recipe"], str(args.config), "recipe.")
    backbone = build(BackboneConfig, config["backbone"], str(args.config), "backbone.")
    return training.run_training(
        training.Training(
            stage="pretrain",
            function="lemore.commands.pretrain:train",
            args=args,
            config=config,
            named_modules=(f"lemore.models.backbones.{backbone.module}",),
            name=f"pretrain {config['backbone_name']} on {config['dataset']}, seed {args.seed}",
            identity={
                "stage": "pretrain",
                "run": config["run"],
                "dataset": config["dataset"],
                "backbone": config["backbone_name"],
                "seed": str(args.seed),
            },
            experiment=f"{config['run']}/{config['dataset']}",
            threads=recipe.threads,
            parents={},
            inputs={},
            payload={},
            note="Recipe reconstructed: neither the paper nor its supplement gives one.",
        )
    )


def train(payload: dict[str, Any]) -> dict[str, Any]:
    """The training itself, wherever it runs. Returns what run.json records of it."""
    from lemore.stages import pretrain

    return pretrain.train(payload)
