"""Turn published weights of a model into a checkpoint that lemore evaluates and predicts with.

Reads .safetensors, and .pth or .bin files of plain tensors; nothing in a file is executed. Every
tensor must find its place: unknown, missing and misshapen ones are listed and refused.

Example:
  lemore import-weights --from mmseg --model topformer_t --dataset ade20k \\
    TopFormer-T_512x512_2x8_160k.pth --output topformer_t.pt
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lemore.config import CONFIG, load, plain
from lemore.data.schema import DatasetConfig
from lemore.models.key_map import convert, find
from lemore.models.schema import BackboneConfig, ModelConfig
from lemore.tasks._finetune import make_model
from lemore.training import checkpoint
from lemore.training.recipe import load_recipe

WRAPPERS = ("state_dict", "model", "state_dict_ema")  # where files keep the tensors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="published weights")
    parser.add_argument(
        "--from",
        dest="layout",
        required=True,
        choices=("mmseg", "hf", "detectron2"),
        help="library whose layout the file has (mmseg: also forks of it and the original code)",
    )
    parser.add_argument("--model", required=True, help="name of a file in config/models")
    parser.add_argument(
        "--dataset", default="ade20k", help="what it was trained on (classes, crop, test size)"
    )
    parser.add_argument("--output", type=Path, required=True, help="checkpoint to write")


def run(args: argparse.Namespace) -> int:
    config = describe(args)
    recipe, _ = load_recipe(CONFIG / "recipes/paper", args.dataset, args.model, {})
    with torch.device("meta"):
        target = make_model(config, recipe).state_dict()
    key_map = find(config["model"]["decode_head"], args.layout)
    state = convert(read(args.file), key_map, without_auxiliary(target), str(args.file))
    checkpoint.save(args.output, {"state_dict": state, "config": config})
    count = sum(tensor.numel() for tensor in state.values())
    print(
        f"{args.output}: {len(state)} tensors, {count} numbers, as {args.model} on {args.dataset}"
    )
    return 0


def describe(args: argparse.Namespace) -> dict[str, Any]:
    """What a checkpoint says of itself, by the paper's recipe for the dataset."""
    model = load(ModelConfig, CONFIG / "models" / f"{args.model}.yaml")
    dataset = load(DatasetConfig, CONFIG / "datasets" / f"{args.dataset}.yaml")
    if dataset.task != "segmentation":
        raise ValueError(f"--dataset: {args.dataset} is not one of segmentation")
    recipe, _ = load_recipe(CONFIG / "recipes/paper", args.dataset, args.model, {})
    return plain(
        {
            "run": "imported",
            "dataset": args.dataset,
            "num_classes": dataset.num_classes,
            "model_name": args.model,
            "model": model,
            "backbone": load(BackboneConfig, CONFIG / "backbones" / f"{model.backbone}.yaml"),
            "init": f"file:{args.file.name}",
            "train": recipe,
        }
    )


def without_auxiliary(target: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in target.items() if not k.startswith("auxiliary_head.")}


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name; ValueError if it holds anything else."""
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except FileNotFoundError:
            raise ValueError(f"{path}: no such file") from None
        except SafetensorError as error:
            raise ValueError(f"{path}: not a safetensors file ({error})") from None
    content = checkpoint.load(path)
    for name in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path}: holds no tensors by name")
    odd = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if odd:
        raise ValueError(f"{path}: {odd[0]!r} is no tensor, so this is not a model's weights")
    return content
