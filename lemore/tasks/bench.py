"""Measure one part beside the plain way of doing the same, side by side in one run.

Targets: loader (training data of a prepared dataset), upsample (logits to label maps), evaluate
(evaluation as a whole, and its counting), step (a training step), cluster (what Snakemake and Ray
cost, and what packing gains).

  lemore bench loader --data resources/datasets/ade20k --fetched resources/fetched/ade20k.json \\
    --dataset-config config/datasets/ade20k.yaml
  lemore bench upsample --checkpoint weights.pt --data resources/datasets/ade20k
  lemore bench evaluate --checkpoint weights.pt --data resources/datasets/ade20k --threads 2
  lemore bench step --models lemore --threads 2
"""

import argparse
import importlib

TARGETS = ("loader", "upsample", "evaluate", "step", "cluster")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    targets = parser.add_subparsers(dest="target", required=True, metavar="target")
    for name in TARGETS:
        module = importlib.import_module(f"lemore.tasks._bench_{name}")
        target = targets.add_parser(name, help=module.__doc__)
        module.add_arguments(target)
        target.set_defaults(measure=module.run)


def run(args: argparse.Namespace) -> int:
    return args.measure(args)
