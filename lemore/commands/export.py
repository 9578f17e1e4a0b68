"""Turn a trained checkpoint into a file that runs without this project, and check that it does.

onnx runs in ONNX Runtime and elsewhere (examples/deploy/ has programs that need neither torch nor
lemore); openvino is an .xml and a .bin for OpenVINO, executorch a program for ExecuTorch and
XNNPACK, litert a .tflite for LiteRT, torch_export a program for torch.export.load. The input is
float32 B 3 H W, RGB, normalised as the file's metadata says, at one fixed H and W; the output is
logits B K h w at native stride, and boxes, classes and scores of a detector. The file is compared
with PyTorch on images, by its mIoU too with --evaluate.

Examples:
  lemore export --checkpoint weights.pt --format onnx --output lemore.onnx --size 512 512
  lemore export --checkpoint weights.pt --format onnx --output int8.onnx --int8 \\
    --calibration resources/datasets/camvid --evaluate camvid
"""

import argparse
from pathlib import Path

from lemore.config.read import option, positive
from lemore.config.values import Positive
from lemore.stages.export import ENDS, ExportOptions, export_model
from lemore.trained.find import DATA_DIR, HELP


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", required=True, help=HELP)
    parser.add_argument("--format", choices=ENDS, required=True)
    ends = f"file to write ({', '.join(ENDS.values())})"
    parser.add_argument("--output", type=Path, required=True, help=ends)
    size = "of the images (default: train crop)"
    parser.add_argument("--size", type=positive, nargs=2, metavar=("H", "W"), help=size)
    parser.add_argument("--dynamic-batch", action="store_true", help="any number of images at once")
    parser.add_argument(
        "--with-normalization", action="store_true", help="the input is RGB 0..255, still float32"
    )
    parser.add_argument(
        "--labels",
        choices=("native", "image"),
        help="output uint8 train ids: B h w at the network's stride, or B H W at the image's size",
    )
    half = "float16 within the file (onnx, openvino)"
    parser.add_argument("--half", action="store_true", help=half)
    parser.add_argument("--int8", action="store_true", help="quantise (needs --calibration)")
    parser.add_argument(
        "--calibration",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="images, folders of images or one prepared dataset: what INT8 is calibrated on, and"
        " what the file is compared on (default: random images)",
    )
    parser.add_argument("--images", type=positive, default=64, help="how many of them at most")
    parser.add_argument("--evaluate", metavar="DATASET", help="prepared dataset for the mIoU")
    parser.add_argument("--split", default="val", help="of that dataset")
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR, help="prepared datasets")
    parser.add_argument("--threads", type=positive, default=1, help="CPU threads")
    parser.add_argument(
        "--seconds", type=option(Positive), default=3.0, help="longest latency measurement"
    )
    parser.add_argument("--json", type=Path, help="file for what was found")


def run(args: argparse.Namespace) -> int:
    return export_model(ExportOptions(**vars(args)))
