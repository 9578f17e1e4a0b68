"""A run's configuration, expanded: every YAML of config/ is valid, mistakes are refused by key."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lemore.cli import main
from lemore.config import reported
from lemore.config.experiment import Experiment
from lemore.config.job_files import write_prepare_job
from lemore.config.recipe_files import merge

ROOT = Path(__file__).parents[2]


def values(name: str) -> dict:
    return yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())


@pytest.mark.parametrize("name", sorted(path.stem for path in ROOT.glob("config/*.yaml")))
def test_every_configuration_of_the_project_holds(name):
    own = values(name)
    whole = own if "recipes" in own else merge(values("paper"), own)  # laid on another
    experiment = Experiment(whole, ROOT)
    assert experiment.pairs or experiment.config.profiles


def test_models_may_have_seeds_of_their_own():
    experiment = Experiment(values("camvid") | {"seeds_of": {"lemore": [0, 1, 2]}}, ROOT)
    assert experiment.seeds("lemore") == (0, 1, 2)
    assert experiment.seeds("topformer_t") == (0,)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": []}, ["configuration: seeds is []", "each once"]),
        ({"seeds_of": {"lemore": [1, 1]}}, ["seeds_of.lemore is [1, 1]", "each once"]),
        ({"seeds_of": {"lemroe": [1]}}, ["seeds_of.lemroe is not trained", "mean 'lemore'"]),
        (
            {"ray": {"mode": "local", "workers": 2, "gpus": 0.5}},
            ["configuration: ray.gpus is 0.5", "or set workers to 1"],
        ),
        (
            {"ray": {"mode": "none", "workers": 2, "gpus": 0}},
            ["configuration: ray.workers is 2, expected 1 (ray.mode is none)"],
        ),
        (
            {"ray": {"mode": "local", "workers": 0, "gpus": 0}},
            ["configuration: ray.workers is 0, expected a whole number from 1 on"],
        ),
        (
            {"ray": {"mode": "local", "workers": 3, "gpus": 1}},
            ["configuration: ray.workers is 3, which does not divide the batch_size 8 of lemore"],
        ),
        (
            {"trainings": {"camvid": ["retinanet_lemore"]}, "seeds_of": {}, "comparisons": {}},
            ["trainings.camvid pairs 'retinanet_lemore', a model for detection, with 'camvid'"],
        ),
        (
            {"deployments": {"lemroe": ["onnx"]}},
            ["deployments.lemroe is not trained; did you mean 'lemore'?"],
        ),
        (
            {"deployments": {"lemore@camvdi": ["onnx"]}},
            ["deployments.lemore@camvdi is not trained on camvdi; did you mean 'camvid'?"],
        ),
        (
            {"deployments": {"lemore": ["onxx"]}},
            ["deployments.lemore[0] is 'onxx', expected one of onnx, onnx_fp16, onnx_int8, openv"],
        ),
        (
            {"profiles": {"retinanet_lemore": ["ade20k"]}},
            ["profiles.retinanet_lemore pairs", "with 'ade20k', a dataset of segmentation"],
        ),
    ],
)
def test_mistakes_are_named(change, words):
    with pytest.raises(ValueError) as error:
        Experiment(values("camvid") | change, ROOT)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"losses": {"dice": {"weight": 0.5}, "cross_entropy": None}},
            ["recipe_changes.train.losses is {'dice': {'weight': 0.5}}", "cross_entropy alone"],
        ),
        (
            {"class_weight": {"sky": 2.0}},
            ["recipe_changes.train.class_weight is {'sky': 2.0}", "expected none or auto"],
        ),
        ({"freeze": "backbone"}, ["recipe_changes.train.freeze is backbone", "random weights"]),
    ],
)
def test_what_a_model_cannot_use_is_refused_before_the_first_job(change, words):
    pem = {
        "trainings": {"camvid": ["pem_stdc1"]},
        "init": {"stdc1": "none"},
        "profiles": {},
        "comparisons": {},
    }
    Experiment(values("camvid") | pem, ROOT)  # its common recipe has class_weight: auto
    with pytest.raises(ValueError) as error:
        Experiment(values("camvid") | pem | {"recipe_changes": {"train": change}}, ROOT)
    own_loss = [] if "freeze" in change else ["pem, the decode head of pem_stdc1, has a loss"]
    assert all(word in str(error.value) for word in words + own_loss), error.value


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        (
            "train",
            {"keep": "best"},
            ["recipe_changes.train.keep is best", "expected keep_by: AP or AP50"],
        ),
        ("train", {"dropout": 0.1}, ["recipe_changes.train.dropout is 0.1", "expected 0.0"]),
        ("test", {"flip": True}, ["recipe_changes.test.flip is True", "expected False"]),
    ],
)
def test_keys_that_detection_does_not_have_are_refused(part, change, words):
    own = values("config") | {
        "trainings": {"coco_scenes": ["retinanet_lemore"]}, "comparisons": {}, "profiles": {},
        "deployments": {},
    }  # fmt: skip
    assert Experiment(own, ROOT).counted["retinanet_lemore"] == ("coco",)
    with pytest.raises(ValueError) as error:
        Experiment(own | {"recipe_changes": {part: change}}, ROOT)
    assert all(word in str(error.value) for word in words), error.value


def test_a_model_that_segments_takes_no_arguments_of_a_detection_head():
    change = {"recipe_changes": {"train": {"detection_head": {"smallest_anchor": 16}}}}
    words = (
        r"recipe_changes\.train\.detection_head is \{'smallest_anchor': 16\}, which segmentation "
        r"does not have"
    )
    with pytest.raises(ValueError, match=words):
        Experiment(values("camvid") | change, ROOT)


def test_a_backbone_without_weights_of_torchvision_is_refused_before_the_first_job():
    init = {"lemore": "torchvision:MobileNet_V2_Weights.IMAGENET1K_V2"}
    with pytest.raises(ValueError, match=r"init\.lemore is .*torchvision has no weights"):
        Experiment(values("camvid") | {"init": values("camvid")["init"] | init}, ROOT)


@pytest.mark.parametrize("stage", ["pretrain", "finetune", "search"])
def test_commands_refuse_shares_that_cannot_work(stage, tiny, tmp_path, capsys):
    config = tiny.pretrain_job() if stage == "pretrain" else tiny.finetune_job()
    command = [stage, "--config", config, "--data", tiny.data, "--output", tmp_path / "out"]
    if stage != "search":
        command += ["--checkpoints", tmp_path / "checkpoints"]
    assert main([*map(str, command), "--gpus", "1.5"]) == 2
    assert "command line: --gpus is 1.5, expected 0" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_pipeline_on_a_machine_with_too_few_gpus_is_refused_before_its_first_job(tmp_path):
    for name in ("Snakefile", "config", "lemore", "workflow"):
        (tmp_path / name).symlink_to(ROOT / name)
    own = values("camvid") | {"ray": {"mode": "local", "workers": 1, "gpus": 1}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LEMORE_", "RAY_"))}
    snakemake = str(Path(sys.executable).with_name("snakemake"))
    done = subprocess.run(
        [snakemake, "--cores", "1", "--configfile", "own.yaml"],
        cwd=tmp_path,
        env=clean | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    text = "own.yaml: ray.gpus is 1 for 1 worker(s), but there are 0 GPUs; lower it"
    assert text in done.stderr and "rule fetch" not in done.stderr, done.stderr


def resources_of(profile: str) -> dict[tuple[str, str], str]:
    """{(rule, resource): value} that a profile of the workflow sets, for rules that exist."""
    made = yaml.safe_load((ROOT / f"profiles/{profile}/config.yaml").read_text())
    code = "".join("\n" + path.read_text() for path in ROOT.glob("workflow/rules/*.smk"))
    pairs = [text.split("=", 1) for text in made["set-resources"]]
    found = {(name.split(":")[0], name.split(":")[1]): value for name, value in pairs}
    assert all(f"\nrule {rule}:\n" in code for rule, _ in found)
    return found | {
        ("", text.split("=")[0]): text.split("=")[1] for text in made.get("resources", ())
    }


def test_on_a_ray_cluster_nothing_trains_while_a_profile_measures_time():
    drivers = {
        rule: value for (rule, name), value in resources_of("ray").items() if name == "drivers"
    }
    assert drivers.pop("profile") == drivers.pop("deploy") == drivers.pop("") == "32"
    assert set(drivers) == {"pretrain", "finetune", "evaluate", "search_recipe"}
    assert set(drivers.values()) == {"1"}


def test_slurm_gives_downloads_and_evaluations_their_time():
    minutes = {
        rule: int(v) for (rule, name), v in resources_of("slurm").items() if name == "runtime"
    }
    assert minutes["fetch"] == 2 * 24 * 60 and minutes["evaluate"] == 8 * 60


def test_what_can_be_reported_follows_from_the_configuration():
    plain = Experiment(values("config"), ROOT)
    assert reported.list_tested(plain) == []  # one seed each
    assert reported.map_ablations(plain) == {"ade20k_scenes": "ablation"}
    assert reported.list_costed(plain) == reported.list_segmented(plain)
    assert set(plain.config.trainings) - set(reported.list_segmented(plain)) == {"coco_scenes"}
    assert reported.list_detected(plain) == ["coco_scenes"]
    assert reported.find_diagrammed(plain) == "lemore"
    light = Experiment(values("camvid_lightweight"), ROOT)
    assert reported.list_tested(light) == ["camvid"] and reported.map_ablations(light) == {}
    uneven = {"seeds_of": {"lemore": [0, 1, 2], "topformer_t": [0, 1]}}
    assert reported.list_tested(Experiment(values("camvid_lightweight") | uneven, ROOT)) == []
    rivals = {"trainings": {"camvid": ["topformer_t"]}, "profiles": {}, "comparisons": {}}
    without = Experiment(values("camvid") | rivals, ROOT)
    assert reported.list_costed(without) == [] and reported.find_diagrammed(without) is None
    every = Experiment(values("efficiency"), ROOT)  # every file of config/models
    assert reported.find_diagrammed(every) in every.profiles


def test_frames_of_films_change_nothing_that_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment = Experiment(values("camvid"), ROOT)
    assert experiment.dataset("camvid").video is not None
    assert "video: null" in Path(write_prepare_job(experiment, "camvid")).read_text()
