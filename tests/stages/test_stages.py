"""Single stages run as commands: where a training runs, what it loads, what survives a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from lemore import cli
from lemore.config import code
from lemore.runtime.files import hash_file, read_json
from lemore.stages import evaluate

ROOT = Path(__file__).parents[2]
LEMORE = ("lemore.models.backbones.lemore", "lemore.models.decode_heads.lemore")
SEGMENTS = (*LEMORE, "lemore.models.segmentor")


@pytest.fixture(scope="module")
def plain(tiny):
    """A fine-tuning in this process, undisturbed."""
    return tiny.finetune(tiny.finetune_job(), "plain")


def weights(folder: Path) -> str:
    return read_json(folder / "run.json")["weights_sha256"]


@pytest.mark.slow
def test_a_training_under_ray_is_bit_equal_to_one_without(tiny, plain):
    under_ray = tiny.finetune(tiny.finetune_job(), "ray", "--ray", "local")
    assert weights(under_ray) == weights(plain)


def test_a_finetuning_has_loaded_what_it_declares(plain):
    assert read_json(plain / "run.json")["modules"] == code.declare_code("finetune", SEGMENTS)


def test_an_evaluation_has_loaded_what_it_declares(tiny, plain):
    path = tiny.folder / "evaluate.json"
    done = tiny.lemore(
        *("evaluate", "--checkpoint", plain / "weights.pt", "--dataset", "tiny"),
        *("--data-dir", tiny.folder / "data", "--json", path),
    )
    record = read_json(path)
    assert record["modules"] == code.declare_code("evaluate", SEGMENTS)
    assert record["init"] == "none"
    assert record["images"] == 4 and 0 <= record["miou"] <= 1
    assert f"mIoU {100 * record['miou']:.2f} %" in done.stdout
    assert record["finetune_run_id"] == read_json(plain / "run.json")["mlflow_run_id"] != ""
    counts = path.parent / record["per_image"]["file"]
    assert hash_file(counts) == record["per_image"]["sha256"]
    with np.load(counts, allow_pickle=False) as arrays:
        assert arrays["names"].tolist() == [f"val_{i}" for i in range(4)]
        labelled = arrays["labelled"].sum(axis=0)
        assert labelled.tolist() == np.sum(record["confusion"], axis=1).tolist()
        assert arrays["intersection"].shape == arrays["predicted"].shape == (4, 4)
    known = [value for value in record["boundary_iou"] if value is not None]
    assert record["mean_boundary_iou"] == pytest.approx(sum(known) / len(known))


def test_an_evaluation_with_other_settings(tiny, plain):
    path = tiny.folder / "other.json"
    command = ("evaluate", "--checkpoint", plain / "weights.pt", "--dataset", "tiny")
    command += ("--data-dir", tiny.folder / "data", "--json", path, "--test")
    tiny.lemore(*command, "mode=slide", "stride=[32, 32]", "ratios=[1, 0.75]", "flip=true")
    record = read_json(path)
    assert record["test_mode"] == "slide, ratios 1 0.75, flip"
    run = MlflowClient(f"sqlite:///{tiny.folder / 'mlflow.db'}").get_run(record["mlflow_run_id"])
    assert run.data.tags["lemore.test_mode"] == record["test_mode"]  # takes no other mode's place
    done = tiny.lemore(*command, "mod=square", check=False)
    assert done.returncode == 2
    assert "--test: unknown key 'test.mod'; did you mean 'mode'?" in done.stderr


@pytest.mark.slow
def test_an_evaluation_by_ray_gives_the_same_results(tiny, plain):
    """As a workflow evaluates on GPUs."""
    records = []
    for name in ("here", "ray"):
        path = tiny.folder / name / "evaluate.json"
        command = ["evaluate", "--checkpoint", plain / "weights.pt", "--dataset", "tiny"]
        command += ["--data-dir", tiny.folder / "data", "--json", path]
        tiny.lemore(*command, *(("--ray", "local") if name == "ray" else ()))
        records.append(read_json(path))
        assert not (path.with_suffix("") / "work").exists()
    here, ray = records
    assert here["confusion"] == ray["confusion"] and here["per_image"] == ray["per_image"]


@pytest.mark.parametrize("name", ["result", "folder.json", "taken.json"])
def test_a_json_that_cannot_be_written_is_refused_before_the_work(tmp_path, capsys, name):
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "taken").write_text("a file")
    command = ["evaluate", "--checkpoint", "nowhere.pt", "--dataset", "tiny"]
    assert cli.main([*command, "--json", str(tmp_path / name)]) == 2
    words = "is a file, and" if name == "taken.json" else f"{name} should be a file whose name ends"
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["mode"], "--test: 'mode' is not KEY=VALUE"),
        (["flip=true", "flip=false"], "--test: 'flip=false' is given twice"),
        (["stride=[1,"], r"--test: stride is '\[1,', not valid YAML"),
    ],
)
def test_changes_that_cannot_be_read(pairs, message):
    with pytest.raises(ValueError, match=message):
        evaluate.parse_changes(pairs)


def run_benchmark(name: str, *arguments: str) -> None:
    subprocess.run([sys.executable, ROOT / "benchmarks" / name, *arguments], check=True)


def test_benchmarks_of_evaluation(tiny, plain):
    path = tiny.folder / "bench.json"
    common = ["--checkpoint", f"{plain}/weights.pt", "--data", f"{tiny.data}", "--json", f"{path}"]
    run_benchmark("evaluate.py", *common, "--images", "2", "--rounds", "1")
    assert read_json(path)["images_per_s"].keys() == {"forward pass alone", "evaluation"}
    few = "--images 2 --size 80 112 --input-size 96 128 --classes 3 --repeats 1"
    run_benchmark("upsample.py", *common, *few.split())
    rows = read_json(path)
    assert len(rows) == 6 and not any(row["differing_beyond_ties"] for row in rows)


def test_a_pretraining_has_loaded_what_it_declares_and_hands_its_backbone_on(tiny):
    output = tiny.folder / "out/pretrain"
    tiny.lemore(
        *("pretrain", "--config", tiny.pretrain_job(), "--data", tiny.images),
        *("--output", output, "--checkpoints", tiny.folder / "out/pretrain_checkpoints"),
    )
    record = read_json(output / "run.json")
    assert record["modules"] == code.declare_code("pretrain", LEMORE[:1])
    assert 0 <= record["top1"] <= record["top5"] <= 1
    config = tiny.finetune_job(init="pretrain")
    tuned = tiny.finetune(config, "tuned", "--pretrained", output / "run.json")
    assert read_json(tuned / "run.json")["parents"] == {"pretrain": record["mlflow_run_id"]}
    (output / "weights.pt").write_bytes((tuned / "weights.pt").read_bytes())
    again = tiny.finetune_command(config, tiny.folder / "out/other")
    done = tiny.lemore(*again, "--pretrained", output / "run.json", check=False)
    assert done.returncode == 2 and "not the weights" in done.stderr


def test_a_profile_has_loaded_what_it_declares(tiny):
    path = tiny.folder / "profile.json"
    (tiny.folder / "config").symlink_to(ROOT / "config")
    tiny.lemore(*("profile", "--model", "lemore", "--seconds", "0.2", "--json", path))
    assert read_json(path)["modules"] == code.declare_code("profile", LEMORE)


@pytest.mark.parametrize(
    ("number", "ray"),
    [
        (signal.SIGKILL, "none"),
        pytest.param(signal.SIGTERM, "none", marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, "local", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "local", marks=pytest.mark.slow),
    ],
)
def test_a_killed_training_goes_on_bit_equal(tiny, plain, number, ray):
    config, output = tiny.finetune_job(), tiny.folder / f"out/killed_{number}_{ray}"
    command = [*tiny.finetune_command(config, output), "--ray", ray]
    process = subprocess.Popen(
        [sys.executable, "-m", "lemore.cli", *map(str, command)],
        cwd=tiny.folder,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith(("LEMORE_", "RAY_"))},
            "PYTHONPATH": str(ROOT),
            "MLFLOW_TRACKING_URI": f"sqlite:///{tiny.folder / 'mlflow.db'}",
        },
        stderr=subprocess.PIPE,
    )
    wait_for_checkpoint(output.with_name(output.name + "_checkpoints"), process)
    process.send_signal(number)
    expected = {signal.SIGKILL: -9, signal.SIGTERM: 143}[number]
    assert process.wait(timeout=60) == expected, process.stderr and process.stderr.read()
    assert not (output / "run.json").exists()
    wait_until_free(tiny, command)
    record = read_json(output / "run.json")
    assert record["resumed_at"] >= 4
    assert record["weights_sha256"] == weights(plain)


def wait_for_checkpoint(folder: Path, process: subprocess.Popen) -> None:
    for _ in range(4500):
        if list(folder.glob("*/iteration_*.json")):
            return
        assert process.poll() is None, "it ended before it wrote a checkpoint"
        time.sleep(0.02)
    raise AssertionError("no checkpoint within 90 seconds")


def wait_until_free(tiny, command: list[object]) -> None:
    """Runs the same command again; an orphan of the killed one may hold the folder a moment."""
    for _ in range(30):
        done = tiny.lemore(*command, check=False)
        if "is writing it; wait or end it" not in done.stderr:
            assert done.returncode == 0, done.stderr
            return
        time.sleep(1)
    raise AssertionError("the folder stayed in use")


@pytest.mark.slow
def test_changed_settings_never_continue_old_checkpoints(tiny):
    config, output = tiny.finetune_job(), tiny.folder / "out/changed"
    first = tiny.finetune(config, "changed")
    key = read_json(first / "run.json")["key"]
    second = tiny.finetune(tiny.finetune_job(lr=1e-3), "changed")
    record = read_json(second / "run.json")
    assert record["key"] != key and record["resumed_at"] == 0
    assert weights(output) == record["weights_sha256"]


def test_wrong_input_is_one_line_and_exit_2(tiny, plain):
    command = tiny.finetune_command(tiny.folder / "nowhere.yaml", tiny.folder / "out/none")
    done = tiny.lemore(*command, check=False)
    assert done.returncode == 2
    assert "nowhere.yaml: no such file" in done.stderr and "Traceback" not in done.stderr


def test_a_dead_ray_address_is_told_at_once(tiny):
    start = time.monotonic()
    done = tiny.lemore(
        *tiny.finetune_command(tiny.finetune_job(), tiny.folder / "out/dead"),
        *("--ray", "local"),
        check=False,
        RAY_ADDRESS="127.0.0.1:9",
    )
    assert done.returncode == 2 and "nothing answers there" in done.stderr
    assert time.monotonic() - start < 30


@pytest.mark.slow
def test_two_workers_share_one_global_batch(tiny):
    done = tiny.finetune(tiny.finetune_job(), "two", "--ray", "local", "--workers", "2")
    record = read_json(done / "run.json")
    assert record["iterations"] == 40 and not (done.parent / "two_checkpoints/ray").exists()
