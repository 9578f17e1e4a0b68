"""Draw a contact sheet of a prepared dataset, or of the crops that training makes of it.

Examples:
  lemore browse --data resources/datasets/camvid --split val --output val.png
  lemore browse --data resources/datasets/camvid --output crops.png \\
    --config results/camvid/config/finetune/camvid/lemore.yaml
"""

import argparse
from pathlib import Path

import numpy as np

from lemore.config.jobs import FinetuneJob, PretrainJob, read_job
from lemore.config.read import positive
from lemore.data.loader import TrainBatches
from lemore.data.store import Store
from lemore.reporting.figures import contact_sheet
from lemore.reporting.figures.comparison import Example
from lemore.reporting.figures.style import save
from lemore.runtime.files import read_json
from lemore.stages.workers import finetune, pretrain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of a prepared dataset")
    parser.add_argument("--split", default="train", help="for samples; crops come from train")
    parser.add_argument("--number", type=positive, default=24, help="pictures on the sheet")
    parser.add_argument(
        "--config", type=Path, help="resolved configuration of a training: draw its crops"
    )
    parser.add_argument("--seed", type=int, default=0, help="the training's; for crops")
    parser.add_argument("--output", type=Path, required=True, help="PNG; a PDF comes with it")


def run(args: argparse.Namespace) -> int:
    if args.number < 1 or args.output.suffix != ".png":
        raise ValueError("--number must be at least 1, and --output end in .png")
    store = Store(args.data, "train" if args.config else args.split)
    examples = _crops(store, args) if args.config else _samples(store, args.number)
    scenes = read_json(args.data / "digest.json")["source"] == "scenes"
    what = f"crops of a training, seed {args.seed}" if args.config else f"split {args.split}"
    title = f"{store.dataset}, {what}"
    if store.task == "classification":
        pictures = [
            (image, f"{store.classes[int(label)]} {name}") for name, image, label in examples
        ]
        figure = contact_sheet.draw_classified(pictures, title, scenes)
    else:
        shown = [Example(name, image, label, ()) for name, image, label in examples]
        figure = contact_sheet.draw(shown, store.classes, store.colors(), title, scenes)
    save(figure, str(args.output.with_suffix("")), title, f"{len(examples)} pictures of {title}")
    print(args.output)
    return 0


def _samples(store: Store, number: int) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(name, image, label) of samples spread evenly over the split."""
    chosen = np.unique(np.linspace(0, len(store) - 1, min(number, len(store))).astype(int))
    return [(store.name(int(i)), *store.read(int(i))) for i in chosen]


def _crops(store: Store, args: argparse.Namespace) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(draw number, image, label) of the first crops of a training, as its loader gives them."""
    if store.task == "classification":
        transform = pretrain.make_transform(read_job(PretrainJob, args.config).recipe)
    else:
        transform = finetune.make_transform(read_job(FinetuneJob, args.config).train)
    batches = TrainBatches(
        store, transform, seed=args.seed, batch_size=args.number, start=0, stop=1
    )
    batch = next(iter(batches))
    images = batch["image"].permute(0, 2, 3, 1).numpy()
    return [(f"draw {i}", images[i], batch["label"][i].numpy()) for i in range(args.number)]
