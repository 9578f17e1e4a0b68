"""Search learning rate and schedule of a fine-tuning, judged by images that no table reports.

Each trial trains a part of the recipe's iterations. The best is then compared with the recipe as it
is, with other seeds; it is recommended only if the difference is larger than what seeds make.

Example:
  lemore search --config results/mine/config/finetune/mine/lemore.yaml \\
    --data resources/datasets/mine --output results/mine/search/mine/lemore.json
"""

import argparse
import hashlib
import logging
import math
import shutil
import statistics
from pathlib import Path
from typing import Any

from lemore.commands.finetune import initial_weights, named_modules
from lemore.config import code as sources
from lemore.config.read import build, check_gpus, dump
from lemore.config.recipe import Train
from lemore.runtime.files import read_json, write_atomic, write_json
from lemore.runtime.lock import hold_lock
from lemore.runtime.process import leave_with_owner
from lemore.runtime.ray.cluster import Resources
from lemore.runtime.ray.tune import Space, search
from lemore.runtime.tracking import run as tracking
from lemore.stages import training

log = logging.getLogger(__name__)
TIMES = 8.0  # that the learning rate may be larger or smaller than the recipe's
SCHEDULES = ("mmcv0", "mmseg1")
POWERS = (0.9, 1.0, 2.0)
CONFIRMATIONS = 2  # further seeds of the best point and of the recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, help="a fine-tuning's configuration")
    parser.add_argument("--data", type=Path, required=True, help="prepared dataset (folder)")
    parser.add_argument("--pretrained", type=Path, help="run.json of the backbone's pretraining")
    parser.add_argument("--test-split", default="test", help="split that the tables report")
    parser.add_argument("--trials", type=int, default=12, help="points tried, the recipe included")
    parser.add_argument("--share", type=float, default=0.25, help="of the recipe's iterations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gpus", type=float, default=0.0, help="GPUs of each trial")
    parser.add_argument("--output", type=Path, required=True, help="file of the result (JSON)")


def run(args: argparse.Namespace) -> int:
    if args.trials < 2 or not 0 < args.share <= 1:
        raise ValueError("--trials is at least 2 (the recipe is one), --share in (0, 1]")
    check_gpus(args.gpus, 1, "command line", "--gpus")
    leave_with_owner()
    config = training.load_slice(args.config, "train")
    recipe = build(Train, config["train"], str(args.config), "train.")
    folder = (args.output.parent / f"{args.output.stem}.trials").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with hold_lock(folder):
        record = _searched(args, config, recipe, folder)
        _track(record)
        write_atomic(args.output.with_suffix(".yaml"), _as_yaml(record))
        write_json(args.output, record)
        shutil.rmtree(folder)
    print(f"{record['text']} ({args.output})")
    return 0


def _searched(
    args: argparse.Namespace, config: dict[str, Any], recipe: Train, folder: Path
) -> dict[str, Any]:
    init, _, inputs = initial_weights(config["init"], args.pretrained)
    held_out = _holds_out(args)
    payload = {
        "config": config | {"train": _shortened(config["train"], args.share)},
        "data": str(args.data.absolute()),
        "folder": str(folder / _state_key(args, config, inputs)),
        "gpus": args.gpus,
        "held_out": held_out,
        "init": init,
        "init_sha256": inputs.get("init", ""),
        "rank": 0,
        "world_size": 1,
        "model_run_id": "",
    }
    own = {"lr": recipe.lr, "schedule": recipe.schedule, "poly_power": recipe.poly_power}
    space = Space(
        {"lr": (recipe.lr / TIMES, recipe.lr * TIMES)},
        {"schedule": SCHEDULES, "poly_power": POWERS, "seed": (args.seed,)},
    )
    place = ("lemore.commands.search:trial", payload, space)
    resources = Resources("local", 1, recipe.threads, args.gpus)
    first = [own | {"seed": args.seed}]
    tried = search(*place, first, args.trials, args.seed, resources, folder)
    best = max(tried, key=lambda t: -1.0 if t[1]["miou"] is None else t[1]["miou"])[0]
    seeds = range(args.seed + 1, args.seed + 1 + CONFIRMATIONS)
    compared = [own] if best.items() >= own.items() else [own, best]
    points = [point | {"seed": seed} for seed in seeds for point in compared]
    again = search(*place, points, len(points), args.seed, resources, folder)
    return {
        "stage": "search",
        "run": config["run"],
        "dataset": config["dataset"],
        "model": config["model_name"],
        "judged_by": "a tenth of the training images" if held_out else "split val",
        "iterations": payload["config"]["train"]["iterations"],
        "command": training.command(),
        "code": training.git_version(),
        "trials": [point | result for point, result in tried],
        **_verdict(own, best, [*tried, *again]),
    }


def _state_key(args: argparse.Namespace, config: dict[str, Any], inputs: dict[str, str]) -> str:
    """Hash of what trials depend on beside their point; a search goes on from no others' trials."""
    code = sources.code_version("search", named_modules(config, str(args.config)))
    data = read_json(args.data / "digest.json")["sha256"]
    parts = [code, data, args.config.read_text(), repr(inputs), str(_holds_out(args))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _holds_out(args: argparse.Namespace) -> bool:
    """Whether images must be held out, since the split val is the one that tables report."""
    return args.test_split == "val" or "val" not in read_json(args.data / "digest.json")["splits"]


def _shortened(train: dict[str, Any], share: float) -> dict[str, Any]:
    """The recipe over a share of its iterations, without validation on the way."""
    iterations = max(1, round(train["iterations"] * share))
    warmup = math.ceil(train["warmup_iterations"] * share)
    every = max(1, math.ceil(train["checkpoint_every"] * share))
    shorter = {"iterations": iterations, "warmup_iterations": warmup, "checkpoint_every": every}
    return train | shorter | {"validate_every": 0}


def _verdict(
    own: dict[str, Any], best: dict[str, Any], results: list[tuple[dict[str, Any], dict[str, Any]]]
) -> dict[str, Any]:
    """Means over the same seeds of the recipe and of the best point, and what follows."""
    best = {name: value for name, value in best.items() if name != "seed"}

    def values(settings: dict[str, Any]) -> list[float]:
        same = [r["miou"] for p, r in results if settings.items() <= p.items()]
        return [0.0 if value is None else value for value in same]

    a, b = values(own), values(best)
    gain = statistics.fmean(b) - statistics.fmean(a)
    spread = math.sqrt(statistics.variance(a) + statistics.variance(b)) if len(a) > 1 else math.inf
    better = best != own and gain > spread
    numbers = f"{100 * statistics.fmean(a):.2f} % mIoU with the recipe"
    if best != own:
        numbers += f", {100 * statistics.fmean(b):.2f} % with {best}"
    text = "recommended" if better else "no change recommended: seeds differ by as much"
    if best == own:
        text = "no change recommended: the recipe was the best"
    return {
        "recipe": own | {"miou": a},
        "best": best | {"miou": b},
        "spread": spread if math.isfinite(spread) else None,
        "recommended": best if better else None,
        "text": f"{numbers}; {text}",
    }


def _as_yaml(record: dict[str, Any]) -> str:
    """What to put into the dataset's recipe."""
    settings = record["recommended"]
    change = {"overrides": {record["model"]: {"train": settings}}} if settings else {}
    head = f"# {record['text']}\n# over {record['iterations']} iterations, {record['judged_by']}\n"
    return head + (dump(change) if change else "{}\n")


def _track(record: dict[str, Any]) -> None:
    """One run for each trial, to be compared by their parameters."""
    for number, trial in enumerate(record["trials"]):
        identity = {name: record[name] for name in ("stage", "run", "dataset", "model")}
        stage = tracking.Stage(
            experiment=f"{record['run']}/{record['dataset']}",
            name=f"search {record['model']} on {record['dataset']}, trial {number}",
            identity=identity | {"trial": str(number)},
            key=_key(record, trial),
            params={"search": {k: v for k, v in trial.items() if k not in ("miou", "seconds")}},
            note=record["text"],
            code=record["code"],
        )
        with tracking.track(stage) as run:
            if trial["miou"] is not None:
                run.metrics({"search/mIoU": trial["miou"], "search/seconds": trial["seconds"]})


def _key(record: dict[str, Any], trial: dict[str, Any]) -> str:
    return hashlib.sha256(repr([record["command"], record["code"], trial]).encode()).hexdigest()


def trial(payload: dict[str, Any]) -> dict[str, Any]:
    """A trial itself, wherever it runs."""
    from lemore.stages import trial as _search

    return _search.trial(payload)
