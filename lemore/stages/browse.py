"""Draws a contact sheet of a prepared dataset, or of the crops that a training makes of it."""

from pathlib import Path
from typing import Any

import numpy as np

from lemore.config.jobs import FinetuneJob, PretrainJob, read_job
from lemore.data.loader import TrainBatches
from lemore.data.prepare.thumbnails import draw_boxes
from lemore.data.store import Store
from lemore.reporting.figures import contact_sheet
from lemore.reporting.figures.comparison import Example
from lemore.reporting.figures.style import save_figure
from lemore.runtime.files import read_json
from lemore.stages.workers import finetune, pretrain

Picture = tuple[str, np.ndarray, Any]  # name, image, label


def draw_dataset(
    data: Path, split: str, number: int, config: Path | None, seed: int, output: Path
) -> None:
    """Writes `output` (PNG, a PDF beside it) with `number` pictures of the prepared dataset `data`.

    config: a training's resolved configuration; the pictures are then its first crops by `seed`,
    from the split `train`, else whole images of `split`.
    """
    if output.suffix != ".png":
        raise ValueError(f"--output: {output} should end in .png")
    store = Store(data, "train" if config else split)
    if store.task == "detection" and config:
        raise ValueError(
            f"--config: {data} is for detection, of which whole images are shown alone"
        )
    pictures = make_crops(store, config, seed, number) if config else read_spread(store, number)
    scenes = read_json(data / "digest.json")["source"] == "scenes"
    kind = f"crops of a training, seed {seed}" if config else f"split {split}"
    title = f"{store.dataset}, {kind}"
    if store.task == "classification":
        named = [(image, f"{store.classes[int(label)]} {name}") for name, image, label in pictures]
        figure = contact_sheet.draw_classified(named, title, scenes)
    elif store.task == "detection":
        colors = store.read_colors()
        boxed = [(draw_boxes(image, found, colors), name) for name, image, found in pictures]
        figure = contact_sheet.draw_classified(boxed, title, scenes)
    else:
        examples = [Example(name, image, label, ()) for name, image, label in pictures]
        figure = contact_sheet.draw(examples, store.classes, store.read_colors(), title, scenes)
    save_figure(figure, str(output.with_suffix("")), title, f"{len(pictures)} pictures of {title}")
    print(output)


def read_spread(store: Store, number: int) -> list[Picture]:
    """Samples spread evenly over the split."""
    indices = np.unique(np.linspace(0, len(store) - 1, min(number, len(store))).astype(int))
    return [(store.name(int(i)), *store.read(int(i))) for i in indices]


def make_crops(store: Store, config: Path, seed: int, number: int) -> list[Picture]:
    """Makes the first crops of a training, as its loader does, named by their draw."""
    if store.task == "classification":
        transform = pretrain.make_transform(read_job(PretrainJob, config).recipe)
    else:
        transform = finetune.make_transform(read_job(FinetuneJob, config).train)
    batches = TrainBatches(store, transform, seed=seed, batch_size=number, start=0, stop=1)
    batch = next(iter(batches))
    images = batch["image"].permute(0, 2, 3, 1).numpy()
    return [(f"draw {i}", images[i], batch["label"][i].numpy()) for i in range(number)]
