"""Options that several commands have."""

import argparse
from pathlib import Path
from typing import get_args

from lemore.config.read import option, positive
from lemore.config.values import Seed
from lemore.runtime.device import DeviceName


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, help="resolved configuration (YAML)")
    parser.add_argument("--data", type=Path, required=True, help="prepared dataset (folder)")
    parser.add_argument("--seed", type=option(Seed), default=0)
    parser.add_argument("--output", type=Path, required=True, help="folder of run.json, weights.pt")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder kept across reruns")
    parser.add_argument("--ray", choices=("local", "none"), default="none", help="where to run")
    parser.add_argument("--workers", type=positive, default=1, help="data-parallel workers")
    parser.add_argument("--gpus", type=float, default=0.0, help="GPUs of each worker")
    parser.add_argument("--log-model", action="store_true", help="put the model into MLflow too")


def add_device(parser: argparse._ActionsContainer, auto: str) -> None:
    """Adds --device. auto: what that value means, for the help."""
    parser.add_argument(
        "--device", choices=get_args(DeviceName), default="auto", help=f"auto: {auto}"
    )
