"""Evaluate a fine-tuned checkpoint at the labels' original size.

Example:
  lemore evaluate --checkpoint results/scenes/finetune/ade20k_scenes/lemore/0/weights.pt \\
    --dataset ade20k_scenes --data-dir resources/datasets --json /tmp/lemore.json
  lemore evaluate ... --test mode=slide stride=[64,64]             # another geometry
  lemore evaluate ... --test ratios=[0.5,0.75,1,1.25,1.5,1.75] flip=true
"""

import argparse
from pathlib import Path

from lemore.config.read import positive
from lemore.runtime.process import count_cores
from lemore.stages.evaluate import EvaluateOptions, evaluate
from lemore.trained.find import DATA_DIR, HELP_EXPORTED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", required=True, help=HELP_EXPORTED)
    parser.add_argument("--dataset", required=True, help="name of a prepared dataset")
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR, help="prepared datasets")
    parser.add_argument("--config", type=Path, help="resolved evaluation settings (YAML)")
    parser.add_argument(
        "--test",
        nargs="+",
        metavar="KEY=VALUE",
        default=[],
        help="changes to the test settings, values in YAML: those under `test:` of a recipe",
    )
    parser.add_argument("--ray", choices=("local", "none"), default="none", help="where to run")
    parser.add_argument("--gpus", type=float, default=0.0, help="GPUs that it takes, 0: the CPU")
    threads = "CPU threads (default: all cores)"
    parser.add_argument("--threads", type=positive, default=count_cores(), help=threads)
    parser.add_argument("--json", type=Path, required=True, help="file for the results")


def run(args: argparse.Namespace) -> int:
    record = evaluate(EvaluateOptions(**vars(args)))
    names = {"miou": "mIoU", "aacc": "aAcc", "ap": "AP", "ap50": "AP50"}
    found = [f"{name} {100 * record[k]:.2f} %" for k, name in names.items() if k in record]
    print(f"{', '.join(found)} ({args.json})")
    return 0
