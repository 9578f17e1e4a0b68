"""Measures store and transform beside the plain order of augmentation on the same files."""

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import plain_classification
import plain_order
import psutil
from PIL import Image

from lemore.cli import run_command
from lemore.config.dataset import DatasetConfig
from lemore.config.read import load, positive
from lemore.config.recipe import Pretrain, Train
from lemore.config.recipe_files import load_pretrain, load_recipe
from lemore.data.archives.members import list_members
from lemore.data.archives.source import Source, open_source
from lemore.data.augment.classification import ClassificationTransform
from lemore.data.loader import TrainBatches
from lemore.data.prepare.samples import find_reader
from lemore.data.store import Store
from lemore.runtime.files import write_json
from lemore.runtime.shipped import CONFIG
from lemore.stages.workers import finetune, pretrain

MEMORY_BATCH = 64  # largest batch for the figure of memory
BLOCK = 20  # samples measured at a time, way by way


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of a prepared dataset")
    parser.add_argument(
        "--small", type=Path, help="folder of the same dataset prepared with `short_side`"
    )
    parser.add_argument("--fetched", type=Path, required=True, help="JSON of fetch or scenes")
    parser.add_argument("--dataset-config", type=Path, required=True, help="config/datasets/*.yaml")
    parser.add_argument("--recipes", type=Path, default=CONFIG / "recipes/paper")
    parser.add_argument("--dataset", help="whose recipe; default: the prepared dataset's own")
    parser.add_argument("--samples", type=positive, default=200, help="samples measured, each way")
    parser.add_argument(
        "--workers", type=positive, nargs="+", default=[1, 8], help="for the memory"
    )
    parser.add_argument("--json", type=Path, help="also write the numbers here")


def run(args: argparse.Namespace) -> int:
    cv2.setNumThreads(1)
    store = Store(args.data, "train")
    small = Store(args.small, "train") if args.small else None
    recipe, transform = load_transform(args, store)
    with tempfile.TemporaryDirectory(dir=args.data) as folder:
        chosen = np.random.default_rng(0).choice(len(store), min(args.samples, len(store)), False)
        originals = Originals(Path(folder), args, store, small, [int(i) for i in chosen])
        rates = {
            cache: measure_rates(
                make_ways(originals, transform), originals.indices, args.samples, drop
            )
            for cache, drop in (("warm", None), ("cold", originals.drop_cache))
        }
    source = open_source(args.dataset_config.stem, args.fetched)
    record = {
        "dataset": store.dataset,
        "crop_size": recipe.crop_size,
        "samples_per_s": rates,
        "bytes": measure_sizes([args.data, args.small], source),
        "resident_mib": {n: measure_resident(store, transform, recipe, n) for n in args.workers},
    }
    print_record(record)
    if args.json:
        write_json(args.json, record)
    return 0


def load_transform(args: argparse.Namespace, store: Store) -> tuple[Train | Pretrain, Any]:
    """Loads the dataset's recipe and its transform."""
    name = args.dataset or store.dataset
    if store.task == "classification":
        recipe = load_pretrain(args.recipes, name, "lemore")
        return recipe, pretrain.make_transform(recipe)
    train, _ = load_recipe(args.recipes, name, "lemore", {})
    return train, finetune.make_transform(train)


class Originals:
    """The photos as they were fetched and PNGs of train ids, as single files."""

    def __init__(
        self,
        folder: Path,
        args: argparse.Namespace,
        store: Store,
        small: Store | None,
        indices: list[int],
    ):
        self.folder, self.store, self.small, self.indices = folder, store, small, indices
        reader = find_reader(load(DatasetConfig, args.dataset_config))
        source = open_source(args.dataset_config.stem, args.fetched)
        photos = {sample.name: sample.image for sample in reader.list_samples(source, "train")}
        for i in indices:
            photo = photos[store.name(i)]
            assert photo is not None
            (folder / f"{i}.photo").write_bytes(photo.read())
            if store.task == "segmentation":
                mask = cv2.imencode(".png", store.read_label(i))[1]
                (folder / f"{i}.png").write_bytes(mask.tobytes())

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        photo, mask = (self.folder / f"{i}.{kind}" for kind in ("photo", "png"))
        return plain_order.decode(photo.read_bytes(), mask.read_bytes())

    def drop_cache(self) -> None:
        """Removes all measured files from the system's page cache."""
        stores = [self.store, *([self.small] if self.small else [])]
        for store in stores:
            store.close()
        packs = [path for store in stores for path in store.folder.glob("train.*")]
        for path in (*self.folder.iterdir(), *packs):
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


Ways = dict[str, Callable[[int, np.random.Generator], Any]]


def make_ways(originals: Originals, transform: Any) -> Ways:
    store = originals.store
    if store.task == "classification":
        return make_ways_of_classification(originals, transform)
    here = replace(transform, photometric_distortion="cpu")
    elsewhere = replace(transform, photometric_distortion="device")
    return {
        "plain order": lambda i, rng: plain_order.transform(*originals.read(i), here, rng),
        "lemore": lambda i, rng: here(*store.read(i), rng),
        "lemore, photometric elsewhere": lambda i, rng: elsewhere(*store.read(i), rng),
    }


def make_ways_of_classification(originals: Originals, transform: ClassificationTransform) -> Ways:
    """Makes the ways; the plain order is Pillow's, step by step."""

    def by_pillow(i: int, rng: np.random.Generator) -> np.ndarray:
        with Image.open(originals.folder / f"{i}.photo") as photo:
            return plain_classification.transform(photo.convert("RGB"), transform, rng)

    store, small = originals.store, originals.small
    basic = replace(transform, rand_augment=None, random_erasing=0.0)
    ways: Ways = {
        "plain order": by_pillow,
        "lemore": lambda i, rng: transform(*store.open(i), rng),
        "lemore, crop and flip alone": lambda i, rng: basic(*store.open(i), rng),
    }
    if small is not None:
        places = {i: small.find(store.name(i)) for i in originals.indices}
        ways["small photos"] = lambda i, rng: transform(*small.open(places[i]), rng)
        ways["small photos, crop and flip alone"] = lambda i, rng: basic(
            *small.open(places[i]), rng
        )
    return ways


def measure_rates(
    ways: Ways, indices: list[int], number: int, drop_cache: Callable[[], None] | None
) -> dict[str, float]:
    """Measures samples per second of one thread, each way: the median of alternating blocks."""
    blocks: dict[str, list[float]] = {name: [] for name in ways}
    for start in range(0, number, BLOCK):
        for name, make in ways.items():
            if drop_cache:
                drop_cache()
            begin = time.perf_counter()
            for draw in range(start, start + BLOCK):
                rng = np.random.Generator(np.random.Philox(key=[0, draw]))
                make(indices[draw % len(indices)], rng)
            blocks[name].append(BLOCK / (time.perf_counter() - begin))
    return {name: statistics.median(values) for name, values in blocks.items()}


def measure_sizes(folders_of_stores: list[Path | None], source: Source) -> dict[str, int]:
    """Measures bytes of the packs of both stores and of the fetched files."""
    whole = [path.stat().st_size for path in source.paths if path.is_file()]
    folders = [path for path in source.paths if path.is_dir()]
    unpacked = [member.size for folder in folders for member in list_members(folder)]
    archive = sum(whole) + sum(unpacked)
    kinds = ("images", "labels", "names", "npy")
    sizes = {
        name: sum(path.stat().st_size for kind in kinds for path in data.glob(f"*.{kind}"))
        for name, data in zip(("store", "small"), folders_of_stores, strict=True)
        if data
    }
    return sizes | {"archive": archive}


def measure_resident(store: Store, transform: Any, recipe: Train | Pretrain, workers: int) -> float:
    """Measures MiB of the loader's processes together (shared pages once) while they work."""
    size, stop = min(recipe.batch_size, MEMORY_BATCH), 3 * workers
    batches = TrainBatches(
        store, transform, seed=0, batch_size=size, start=0, stop=stop, workers=workers
    )
    with warnings.catch_warnings(action="ignore"):  # torch's, on more processes than cores
        iterator = iter(batches)
    for _ in range(workers):
        next(iterator)
    children = psutil.Process().children(recursive=True)
    total = sum(child.memory_full_info().pss for child in children)
    for _ in iterator:
        pass
    return total / 2**20


def print_record(record: dict[str, Any]) -> None:
    rates = record["samples_per_s"]
    print(f"{record['dataset']}, crop {record['crop_size']}, samples/s of one core\n")
    print("| | warm cache | ratio | cold cache | ratio |\n|---|---:|---:|---:|---:|")
    for name in rates["warm"]:
        cells = [
            f"{rates[cache][name]:.1f} | {rates[cache][name] / rates[cache]['plain order']:.2f}"
            for cache in ("warm", "cold")
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    size = record["bytes"]
    print()
    for store in (name for name in size if name != "archive"):
        growth = size[store] / size["archive"]
        print(f"{store}: {size[store]:,} bytes, {growth:.2f} of the archives'")
    for workers, resident in record["resident_mib"].items():
        print(f"{workers} loader processes: {resident:.0f} MiB resident")


if __name__ == "__main__":
    sys.exit(run_command("python benchmarks/loader.py", sys.modules[__name__], sys.argv[1:]))
