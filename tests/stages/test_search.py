"""The search: what it trains on, what it recommends, and that a killed one resumes."""

import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from lemore.config.jobs import FinetuneJob, read_job
from lemore.data.store import Store, take_part
from lemore.runtime.files import read_json, write_json
from lemore.runtime.lock import LockHeld, hold_lock
from lemore.runtime.worker import Worker
from lemore.stages import search
from lemore.stages.workers import trial
from tests.trained_models import make_job

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
    verdict = search.judge(OWN, BEST | {"seed": 0}, results(own, best))
    assert verdict["recommended"] == (BEST if recommended else None)
    means = [sum(v or 0 for v in values) / 3 for values in (own, best)]
    assert f"{100 * means[0]:.2f} % mIoU with the recipe" in verdict["text"]


def test_the_recipe_itself_may_be_the_best():
    verdict = search.judge(OWN, OWN | {"seed": 0}, results([0.3, 0.3, 0.3], []))
    assert verdict["recommended"] is None and "the recipe was the best" in verdict["text"]


def test_a_shorter_recipe_keeps_its_shape():
    train = replace(make_job().train, iterations=1000, warmup_iterations=100, checkpoint_every=500)
    short = search.shorten(train, 0.25)
    assert short == replace(
        train, iterations=250, warmup_iterations=25, checkpoint_every=125, validate_every=0
    )


def test_what_is_held_out_is_not_trained_on(tiny):
    store = Store(tiny.data, "train")
    trained, held = (take_part(store, held_out) for held_out in (False, True))
    names = [[part.name(i) for i in range(len(part))] for part in (trained, held)]
    assert not set(names[0]) & set(names[1])
    assert sorted(names[0] + names[1]) == sorted(store.name(i) for i in range(len(store)))
    assert (held.read(0)[0] == store.read(store.find(held.name(0)))[0]).all()


def test_trials_of_other_code_data_or_weights_are_not_taken(tiny, tmp_path, monkeypatch):
    options = make_options(tiny, tmp_path / "x.json")
    job = read_job(FinetuneJob, options.config)
    keys = [search.make_state_key(options, job, inputs) for inputs in ({}, {"init": "x"})]
    options = replace(options, data=tmp_path)
    write_json(tmp_path / "digest.json", read_json(tiny.data / "digest.json") | {"sha256": "1"})
    keys.append(search.make_state_key(options, job, {}))
    monkeypatch.setattr(search, "code_version", lambda stage, named: f"{stage} {named}")
    keys.append(search.make_state_key(options, job, {}))
    assert len(set(keys)) == 4


def make_options(tiny, output: Path) -> search.SearchOptions:
    return search.SearchOptions(
        config=tiny.finetune_job(),
        data=tiny.data,
        pretrained=None,
        test_split="val",
        trials=12,
        share=0.25,
        seed=0,
        gpus=0.0,
        output=output,
    )


def test_the_second_of_two_searches_is_refused(tiny, tmp_path):
    with hold_lock(tmp_path / "x.trials", 0), pytest.raises(LockHeld, match=r"x\.trials: process"):
        search.search(make_options(tiny, tmp_path / "x.json"))


def test_a_trial_at_which_a_killed_search_still_is_is_not_run_over_it(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "DYING_SECONDS", 0.0)
    monkeypatch.setattr(trial, "train_and_judge", lambda job, worker: {"miou": 0.5})
    worker, point = Worker(data=tmp_path, folder=tmp_path, seed=0), OWN | {"seed": 0}
    assert trial.run_trial(make_job(), worker, point)["miou"] == 0.5
    (folder,) = tmp_path.iterdir()
    (folder / "result.json").unlink()
    with hold_lock(folder, 0), pytest.raises(LockHeld):
        trial.run_trial(make_job(), worker, point)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("best", [OWN, BEST])
def test_no_trial_is_asked_for_twice_at_once(tiny, tmp_path, monkeypatch, best):
    asked = []

    def tried(function, job, worker, space, points, *rest):
        asked.append(points)
        found = points[0] if best is OWN else BEST | {"seed": 0}
        return [(found, {"miou": 0.9, "seconds": 1.0}), (points[0], {"miou": 0.1, "seconds": 1.0})]

    monkeypatch.setattr(search, "try_points", tried)
    search.search(make_options(tiny, tmp_path / "x.json"))
    for points in asked:
        assert len({repr(sorted(point.items())) for point in points}) == len(points)
    assert len(asked[1]) == (2 if best is OWN else 4)


@pytest.mark.slow
def test_a_search_is_killed_and_goes_on(tiny):
    output = tiny.folder / "search/tiny/lemore.json"
    config = tiny.finetune_job(iterations=32, checkpoint_every=8, threads=1, loader_workers=0)
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
