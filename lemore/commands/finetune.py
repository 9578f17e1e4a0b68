"""Fine-tune a segmentation model on a prepared dataset.

Example:
  lemore finetune --config results/scenes/config/finetune/ade20k_scenes/lemore.yaml \\
    --data resources/datasets/ade20k_scenes --seed 0 --output /tmp/lemore \\
    --checkpoints /tmp/lemore/checkpoints
"""

import argparse
from pathlib import Path
from typing import Any

from lemore.config.model import BackboneConfig, ModelConfig
from lemore.config.read import build
from lemore.config.recipe import Train
from lemore.runtime.files import read_json
from lemore.runtime.tracking.outbox import parent
from lemore.stages import training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    training.add_training_arguments(parser)
    parser.add_argument("--pretrained", type=Path, help="run.json of the backbone's pretraining")


def run(args: argparse.Namespace) -> int:
    config = training.load_slice(args.config, "train")
    train_recipe = build(Train, config["train"], str(args.config), "train.")
    init, parents, inputs = initial_weights(config["init"], args.pretrained)
    name = f"{config['model_name']} on {config['dataset']}, seed {args.seed}"
    return training.run_training(
        training.Training(
            stage="finetune",
            function="lemore.commands.finetune:train",
            args=args,
            config=config,
            named_modules=named_modules(config, str(args.config)),
            name=f"finetune {name}",
            identity={
                "stage": "finetune",
                "run": config["run"],
                "dataset": config["dataset"],
                "model": config["model_name"],
                "seed": str(args.seed),
            },
            experiment=f"{config['run']}/{config['dataset']}",
            threads=train_recipe.threads,
            parents=parents,
            inputs=inputs,
            payload={"init": init, "init_sha256": inputs.get("init", "")},
        )
    )


def named_modules(config: dict[str, Any], source: str) -> tuple[str, ...]:
    """The model's modules, which are found by name. `source` (a path) is for errors."""
    backbone = build(BackboneConfig, config["backbone"], source, "backbone.")
    model = build(ModelConfig, config["model"], source, "model.")
    heads = (f"lemore.models.decode_heads.{head}" for head in model.decode_heads)
    return (f"lemore.models.backbones.{backbone.module}", *heads)


def initial_weights(init: str, run_json: Path | None) -> tuple[str, dict[str, str], dict[str, str]]:
    """(what to load, parent runs, digests) of `init`; ValueError if the pretraining is missing."""
    if init != "pretrain":
        return init, {}, {}
    if run_json is None:
        raise ValueError("--pretrained: this backbone's init is 'pretrain'; give its run.json")
    record = read_json(run_json)
    path = (run_json.parent / "weights.pt").absolute()
    return f"file:{path}", {"pretrain": parent(record)}, {"init": record["weights_sha256"]}


def train(payload: dict[str, Any]) -> dict[str, Any]:
    """The training itself, wherever it runs. Returns what run.json records of it."""
    from lemore.stages import finetune

    return finetune.train(payload)
