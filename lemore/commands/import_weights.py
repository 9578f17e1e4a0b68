"""Turn published weights of a model into a checkpoint that lemore evaluates.

Reads .safetensors, .pth and .bin files. Nothing in a file is executed: its tensors are taken, logs
and settings that a training stored beside them as Python objects are left out. Every tensor must
find its place: unknown, missing and misshapen ones are listed and refused.

  --from mmseg       SegFormer, TopFormer, SeaFormer, MetaSeg, FeedFormer and U-MixFormer as their
                     authors published them, in forks of MMSegmentation; not MMSegmentation's own
                     SegFormer, which is another network
  --from hf          SegFormer: model.safetensors or pytorch_model.bin of a model on the Hub
  --from detectron2  PEM

docs/parity.md compares each model with its original. Most of these were tested on images resized to
multiples of 32, which `lemore evaluate --test align=32` repeats.

Example:
  lemore import-weights --from mmseg --model topformer_t --dataset ade20k \\
    TopFormer-T_512x512_2x8_160k.pth --output topformer_t.pt
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from lemore.config import labels
from lemore.config.dataset import DatasetConfig
from lemore.config.jobs import make_finetune_job
from lemore.config.read import CONFIG, load, plain
from lemore.config.recipe import load_recipe
from lemore.models.key_map import convert, find
from lemore.models.segmentor import make_model
from lemore.runtime import checkpoint
from lemore.trained import published


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="published weights")
    parser.add_argument(
        "--from",
        dest="layout",
        required=True,
        choices=("mmseg", "hf", "detectron2"),
        help="library whose names the file's tensors have",
    )
    parser.add_argument("--model", required=True, help="name of a file in config/models")
    parser.add_argument(
        "--dataset", default="ade20k", help="what it was trained on (classes, crop, test size)"
    )
    parser.add_argument("--output", type=Path, required=True, help="checkpoint to write")


def run(args: argparse.Namespace) -> int:
    dataset = load(DatasetConfig, CONFIG / "datasets" / f"{args.dataset}.yaml")
    if dataset.task != "segmentation":
        raise ValueError(f"--dataset: {args.dataset} is not one of segmentation")
    recipe, _ = load_recipe(CONFIG / "recipes/paper", args.dataset, args.model, {})
    source = f"file:{args.file.name}"
    job = make_finetune_job(
        "imported", args.dataset, dataset.num_classes, args.model, recipe, source
    )
    with torch.device("meta"):
        target = make_model(job).state_dict()
    key_map = find(job.model.decode_head, args.layout)
    source = f"{args.file} as {args.model} with the {job.num_classes} classes of {args.dataset}"
    state = convert(published.read(args.file), key_map, without_auxiliary(target), source)
    table = labels.of(dataset)
    classes = {"names": list(table.names), "colors": plain(table.colors)}
    content = {"state_dict": state, "config": plain(job), "classes": classes}
    checkpoint.save(args.output, content)
    count = sum(tensor.numel() for tensor in state.values())
    print(
        f"{args.output}: {len(state)} tensors, {count} numbers, as {args.model} on {args.dataset}"
    )
    return 0


def without_auxiliary(target: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in target.items() if not k.startswith("auxiliary_head.")}
