"""What a training begins with is an input by content, and recorded."""

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from lemore.config.code import LAYOUT
from lemore.config.experiment import Experiment
from lemore.config.jobs import FinetuneJob, read_job
from lemore.config.read import read_yaml
from lemore.runtime import checkpoint
from lemore.runtime.files import read_json, write_json
from lemore.stages.finetune import find_initial_weights
from lemore.stages.training import IDENTITY, read_data
from lemore.stages.workers.finetune import load_initial, read_backbone
from tests.trained_models import make_content, make_job, make_settings, write_checkpoint

ROOT = Path(__file__).parents[2]
MODEL = "lraspp_mobilenet_v3_small"
SHORT = {"iterations": 2, "checkpoint_every": 1, "validate_every": 0, "threads": 1}


def starting(init: str) -> FinetuneJob:
    return replace(make_job(), init=init)


def replace_tensors(path) -> None:
    content = checkpoint.load(path)
    state = {k: t * 1.1 if t.is_floating_point() else t for k, t in content["state_dict"].items()}
    checkpoint.save(path, content | {"state_dict": state})


def test_a_file_of_weights_is_identified_by_its_content(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_checkpoint(tmp_path / "first.pt")
    source, parents, inputs = find_initial_weights(starting("file:first.pt"), None)
    assert (source, parents) == (f"file:{path}", {})
    assert inputs == {"init": read_digest(path)}
    replace_tensors(path)
    assert find_initial_weights(starting("file:first.pt"), None)[2] != inputs
    with pytest.raises(ValueError, match=r"first\.pt: not the weights .*start anew"):
        read_backbone(path, inputs["init"])
    with pytest.raises(ValueError, match=r"second\.pt: no such"):
        find_initial_weights(starting("file:second.pt"), None)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"list\.pt: holds no 'state_dict'"):
        find_initial_weights(starting("file:list.pt"), None)


def read_digest(path) -> str:
    return checkpoint.hash_tensors(checkpoint.load(path)["state_dict"])


def test_a_training_records_what_it_began_with_and_says_what_it_does_not_continue(tiny):
    first = write_checkpoint(tiny.folder / "first.pt", make_settings(MODEL, "tiny", 4))
    config = tiny.finetune_job(MODEL, init=f"file:{first}", **SHORT)
    output = tiny.folder / "out"
    left = tiny.folder / "out_checkpoints/0123"
    place = {"stage": "finetune", "run": "test", "dataset": "tiny", "model": MODEL, "seed": "0"}
    left.mkdir(parents=True)
    done = tiny.lemore(*tiny.finetune_command(config, output))
    assert "starts anew" not in done.stderr
    before = read_json(output / "run.json")
    assert before["inputs"] == {"data": "0" * 64, "init": read_digest(first)}
    assert before["versions"]["torch"] == version("torch")
    replace_tensors(first)
    write_json(left / IDENTITY, place | {"layout": LAYOUT})
    done = tiny.lemore(*tiny.finetune_command(config, output))
    after = read_json(output / "run.json")
    assert f"{left}: unfinished" in done.stderr and "starts anew" in done.stderr
    assert not left.exists(), "what is superseded is removed once the training is done"
    assert after["key"] != before["key"] and after["inputs"]["init"] == read_digest(first)


def test_a_training_refuses_another_dataset(tiny, tmp_path):
    job = read_job(FinetuneJob, tiny.finetune_job(MODEL))
    assert read_data(job, tiny.data)["dataset"] == "tiny"
    for change, words in (({"dataset": "ponds"}, "ponds"), ({"num_classes": 3}, "3 classes")):
        write_json(tmp_path / "digest.json", read_json(tiny.data / "digest.json") | change)
        with pytest.raises(ValueError, match=words):
            read_data(job, tmp_path)


def test_a_missing_file_of_weights_is_told_before_the_first_job():
    values = read_yaml(ROOT / "config/config.yaml")
    values["init"] |= {"lemore": "file:no/such.pt"}
    with pytest.raises(
        ValueError, match=r"init\.lemore is 'file:no/such\.pt', but there is no file"
    ):
        Experiment(values, ROOT)


def test_weights_without_a_backbone_are_refused(tmp_path):
    content = make_content()
    content["state_dict"] = {"x": torch.zeros(1)}
    checkpoint.save(tmp_path / "x.pt", content)
    with pytest.raises(ValueError, match="holds no tensor named backbone"):
        load_initial(None, "lemore", f"file:{tmp_path / 'x.pt'}", "")  # pyright: ignore
