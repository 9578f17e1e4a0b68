"""The search: what it trains on, what it recommends, and that a killed one goes on."""

import argparse
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from lemore.commands import search
from lemore.config.read import build
from lemore.config.recipe import Train
from lemore.data.part import Part
from lemore.data.store import Store
from lemore.runtime.files import read_json, write_json
from lemore.runtime.lock import LockHeld, hold_lock
from lemore.stages import trial as _search

OWN = {"lr": 1e-3, "schedule": "mmcv0", "poly_power": 1.0}
BEST = {"lr": 4e-3, "schedule": "mmseg1", "poly_power": 1.0}


def results(own: list, best: list) -> list:
    pairs = [(OWN, own), (BEST, best)]
    return [
        (point | {"seed": seed}, {"miou": value, "seconds": 1.0})
        for point, values in pairs
        for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("own", "best", "recommended"),
    [
        ([0.30, 0.31, 0.29], [0.40, 0.41, 0.39], True),
        ([0.30, 0.36, 0.24], [0.33, 0.39, 0.27], False),  # seeds differ by more
        ([0.30, 0.31, 0.29], [0.45, None, 0.44], False),  # one of three diverged
        ([None, None, None], [0.40, 0.41, 0.39], True),
    ],
)
def test_only_what_seeds_do_not_explain_is_recommended(own, best, recommended):
    verdict = search._verdict(OWN, BEST | {"seed": 0}, results(own, best))
    assert verdict["recommended"] == (BEST if recommended else None)
    means = [sum(v or 0 for v in values) / 3 for values in (own, best)]
    assert f"{100 * means[0]:.2f} % mIoU with the recipe" in verdict["text"]


def test_the_recipe_itself_may_be_the_best():
    verdict = search._verdict(OWN, OWN | {"seed": 0}, results([0.3, 0.3, 0.3], []))
    assert verdict["recommended"] is None and "the recipe was the best" in verdict["text"]


def test_a_shorter_recipe_keeps_its_shape():
    train = {"iterations": 1000, "warmup_iterations": 100, "checkpoint_every": 500, "lr": 1.0}
    short = search._shortened(train, 0.25)
    assert short == {
        "iterations": 250,
        "warmup_iterations": 25,
        "checkpoint_every": 125,
        "validate_every": 0,
        "lr": 1.0,
    }
    assert _search.changed({"train": train}, BEST | {"seed": 3})["train"]["lr"] == 4e-3


def test_what_is_held_out_is_not_trained_on(tiny):
    store = Store(tiny.data, "train")
    trained, held = (Part(store, held_out) for held_out in (False, True))
    names = [[part.name(i) for i in range(len(part))] for part in (trained, held)]
    assert not set(names[0]) & set(names[1])
    assert sorted(names[0] + names[1]) == sorted(store.name(i) for i in range(len(store)))
    assert (held.read(0)[0] == store.read(store.find(held.name(0)))[0]).all()


def test_trials_of_other_code_data_or_weights_are_not_taken(tiny, tmp_path, monkeypatch):
    path = tiny.finetune_slice()
    args = argparse.Namespace(config=path, data=tiny.data, test_split="val")
    config = yaml.safe_load(path.read_text())
    keys = [search._state_key(args, config, {}), search._state_key(args, config, {"init": "x"})]
    args.data = tmp_path
    write_json(tmp_path / "digest.json", read_json(tiny.data / "digest.json") | {"sha256": "1"})
    keys.append(search._state_key(args, config, {}))
    monkeypatch.setattr(search.sources, "code_version", lambda task, named: f"{task} {named}")
    keys.append(search._state_key(args, config, {}))
    assert len(set(keys)) == 4


def arguments(tiny, output: Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    search.add_arguments(parser)
    command = ["--config", tiny.finetune_slice(), "--data", tiny.data, "--output", output]
    return parser.parse_args([*map(str, command), "--test-split", "val"])


def test_the_second_of_two_searches_is_refused(tiny, tmp_path):
    with hold_lock(tmp_path / "x.trials"), pytest.raises(LockHeld, match=r"x\.trials: process"):
        search.run(arguments(tiny, tmp_path / "x.json"))


def test_a_trial_at_which_a_killed_search_still_is_is_not_run_over_it(tmp_path, monkeypatch):
    monkeypatch.setattr(_search, "DYING_SECONDS", 0.0)
    monkeypatch.setattr(_search._finetune, "train", lambda payload: None)
    monkeypatch.setattr(_search, "_miou", lambda payload, weights: 0.5)
    payload = {"config": {"train": {}}, "point": OWN | {"seed": 0}, "folder": str(tmp_path)}
    assert _search.trial(payload)["miou"] == 0.5
    (folder,) = tmp_path.iterdir()
    (folder / "result.json").unlink()
    with hold_lock(folder), pytest.raises(LockHeld):
        _search.trial(payload)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("best", [OWN, BEST])
def test_no_trial_is_asked_for_twice_at_once(tiny, tmp_path, monkeypatch, best):
    asked = []

    def tried(function, payload, space, points, *rest):
        asked.append(points)
        found = points[0] if best is OWN else BEST | {"seed": 0}
        return [(found, {"miou": 0.9, "seconds": 1.0}), (points[0], {"miou": 0.1, "seconds": 1.0})]

    monkeypatch.setattr(search, "search", tried)
    args = arguments(tiny, tmp_path / "x.json")
    config = yaml.safe_load(args.config.read_text())
    recipe = build(Train, config["train"], "test", "train.")
    search._searched(args, config, recipe, tmp_path)
    for points in asked:
        assert len({repr(sorted(point.items())) for point in points}) == len(points)
    assert len(asked[1]) == (2 if best is OWN else 4)


@pytest.mark.slow
def test_a_search_is_killed_and_goes_on(tiny):
    output = tiny.folder / "search/tiny/lemore.json"
    config = tiny.finetune_slice(iterations=32, checkpoint_every=8, threads=1, loader_workers=0)
    command = ["search", "--config", config, "--data", tiny.data, "--output", output]
    command += ["--trials", "3", "--share", "0.5", "--test-split", "val"]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LEMORE_", "RAY_"))}
    clean |= {"MLFLOW_TRACKING_URI": f"sqlite:///{tiny.folder / 'mlflow.db'}"}
    process = subprocess.Popen(
        [sys.executable, "-m", "lemore.cli", *map(str, command)],
        cwd=tiny.folder,
        env=clean | {"PYTHONPATH": str(ROOT)},
    )
    done: list[Path] = []
    while not done:
        assert process.poll() is None
        done = list(output.parent.glob("lemore.trials/[!t]*/*/result.json"))
        time.sleep(0.2)
    kept = {path: path.read_bytes() for path in done}
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(5)  # Ray's workers notice
    tiny.lemore(*command)
    record = read_json(output)
    assert len(record["trials"]) == 3 and record["iterations"] == 16
    assert record["judged_by"] == "a tenth of the training images"
    first = {**record["trials"][0]}
    assert first["lr"] == read_lr(config) and first["seed"] == 0
    assert any(trial["seconds"] in seconds(kept) for trial in record["trials"])
    rates = [trial["lr"] / first["lr"] for trial in record["trials"]]
    assert all(1 / 8 <= rate <= 8 for rate in rates) and len(set(rates)) == 3
    change = yaml.safe_load(output.with_suffix(".yaml").read_text())
    assert bool(change) == (record["recommended"] is not None)
    assert not list(output.parent.glob("*.trials*")) and not list(output.parent.glob(".*"))
    assert math.isfinite(record["spread"])


def read_lr(config: Path) -> float:
    return yaml.safe_load(config.read_text())["train"]["lr"]


def seconds(files: dict[Path, bytes]) -> set[float]:
    import json

    return {json.loads(data)["seconds"] for data in files.values()}
