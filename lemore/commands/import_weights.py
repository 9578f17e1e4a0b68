"""Turn published weights of a model into a checkpoint that lemore evaluates.

Reads .safetensors, .pth and .bin files. Nothing in a file is executed: its tensors are taken, logs
and settings that a training stored beside them as Python objects are left out. Every tensor must
find its place: unknown, missing and misshapen ones are listed and refused.

  --from mmseg       SegFormer, TopFormer, SeaFormer, SegNeXt, MetaSeg, FeedFormer, U-MixFormer and
                     ConvMLP-S as their authors published them, with MMSegmentation or a fork of it;
                     MMSegmentation's own FCN and PSPNet with MobileNetV2, HRNet-W18-Small and
                     SegNeXt-T; not its SegFormer, which is another network
  --from hf          SegFormer: model.safetensors or pytorch_model.bin of a model on the Hub
  --from detectron2  PEM

docs/parity.md compares each model with its original, docs/start.md says where the files lie. Most
were tested on images resized to multiples of 32, which `lemore evaluate --test align=32` repeats;
FCN, PSPNet, HRNet and ConvMLP-S were not.

Example:
  lemore import-weights --from mmseg --model topformer_t --dataset ade20k \\
    TopFormer-T_512x512_2x8_160k.pth --output topformer_t.pt
"""

import argparse
from pathlib import Path

from lemore.trained.published import import_weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="published weights")
    layouts = ("mmseg", "hf", "detectron2")
    parser.add_argument("--from", dest="layout", required=True, choices=layouts)
    parser.add_argument("--model", required=True, help="name of a file in config/models")
    parser.add_argument("--dataset", default="ade20k", help="what it was trained on")
    parser.add_argument("--output", type=Path, required=True, help="checkpoint to write")


def run(args: argparse.Namespace) -> int:
    import_weights(**vars(args))
    return 0
