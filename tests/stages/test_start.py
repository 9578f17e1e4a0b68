"""A fine-tuning that starts from a whole model keeps all that fits, to the bit."""

import csv
import re
import shutil
from dataclasses import replace
from pathlib import Path

import formula_weights
import pytest
import torch
import torch.nn.functional as F
from mlflow import MlflowClient
from PIL import Image

import lemore
from lemore.cli import main
from lemore.config.experiment import Experiment
from lemore.config.job_files import write_finetune_job, write_init
from lemore.config.jobs import FinetuneJob, read_job
from lemore.config.read import read_yaml
from lemore.models.key_map import convert, find_key_map
from lemore.models.segmentor import make_model
from lemore.runtime import checkpoint
from lemore.runtime.files import read_json
from lemore.stages.finetune import find_initial_weights
from lemore.stages.workers.finetune import group_parameters
from lemore.stages.workers.start import check_start, fit_start, match_classes
from lemore.trained.find import read_trained
from tests.networks import CONFIG, SEGMENTORS, on_meta
from tests.trained_models import make_job, make_settings, write_checkpoint

ROOT = Path(__file__).parents[2]
SMALL = "lraspp_mobilenet_v3_small"
SHORT = {"iterations": 3, "checkpoint_every": 2, "validate_every": 0, "threads": 1}
OURS = ("lichen", "sky", "quartz", "Tree", "wall")  # ADE20K has sky, tree and wall


def fresh(job: FinetuneJob):
    torch.manual_seed(3)
    return make_model(job)


def test_a_published_segformer_keeps_every_tensor_and_the_rows_of_shared_classes(tmp_path):
    published = formula_weights.make_full_size(150)
    torch.save(published, tmp_path / "b0.pth")
    output = tmp_path / "b0.pt"
    options = ("--from", "mmseg", "--model", "segformer_b0", "--output", str(output))
    assert main(["import-weights", *options, str(tmp_path / "b0.pth")]) == 0
    job = make_job("segformer_b0", "ponds", len(OURS))
    model, before = fresh(job), fresh(job).state_dict()
    record = fit_start(model, read_trained(output), OURS)
    after = model.state_dict()
    renamed = convert(
        published,
        find_key_map("segformer", "mmseg"),
        on_meta("segformer_b0", (512, 512), 150).state_dict(),
        "b0.pth",
    )
    assert after.keys() == renamed.keys()
    for name in renamed.keys() - {"decode_head.classifier.weight", "decode_head.classifier.bias"}:
        assert torch.equal(after[name], renamed[name]), name
    with open(CONFIG / "labels/ade20k.csv") as file:
        rows = {row["name"]: int(row["train_id"]) for row in csv.DictReader(file)}
    for part in ("weight", "bias"):
        ours = after[f"decode_head.classifier.{part}"]
        theirs = published[f"decode_head.linear_pred.{part}"]
        for i, name in enumerate(OURS):
            kept = rows.get(name.lower())
            expected = before[f"decode_head.classifier.{part}"][i] if kept is None else theirs[kept]
            assert torch.equal(ours[i], expected), (part, name)
    assert record["classes_kept"] == ["sky", "Tree", "wall"]
    assert record["classes_new"] == ["lichen", "quartz"]
    assert record["kept"] == record["of"] == len(renamed) and not record["anew"]
    assert "rows of the classifier kept for sky, Tree, wall; new for lichen" in record["text"]
    none_shared = fit_start(fresh(job), read_trained(output), ("a", "b", "c", "d", "e"))
    assert none_shared["kept"] == len(renamed) - 2
    assert set(none_shared["anew"]) == {
        "decode_head.classifier.weight", "decode_head.classifier.bias",
    }  # fmt: skip


def test_mixing_matrices_are_carried_to_the_new_size(tmp_path):
    trained = read_trained(write_checkpoint(tmp_path / "w.pt", make_settings("lemore")))
    for name in trained.state_dict:
        if name.endswith(("frontal.weight", "lateral.weight")):
            trained.state_dict[name].normal_()
    job = make_job("lemore")
    job = replace(job, train=replace(job.train, crop_size=(96, 128)))
    model = fresh(job)
    record = fit_start(model, trained, ["sky", "moss"])
    state = model.state_dict()
    shapes = {name: state[name].shape[0] for name in record["carried"]}
    assert len(shapes) == 8 and set(shapes.values()) == {24, 12, 6, 3, 32, 16, 8, 4}
    for name, to in shapes.items():
        matrix = trained.state_dict[name].double()
        grow, shrink = ({"mode": "linear", "align_corners": False}, {"mode": "area"})
        up = F.interpolate(torch.eye(len(matrix)).double()[None], to, **grow)[0].T
        down = F.interpolate(torch.eye(to).double()[None], len(matrix), **shrink)[0].T
        torch.testing.assert_close(state[name].double(), up @ matrix @ down, rtol=0, atol=1e-5)


def test_what_follows_the_classes_is_kept_too():
    """PEM's last row is "no object"."""
    source, job = make_job("pem_stdc1", classes=11), make_job("pem_stdc1", "ponds", 3)
    rows = fresh(source).state_dict()["decode_head.classifier.weight"]
    trained = type("T", (), {})()
    trained.job, trained.source, trained.classes = source, "x", None
    trained.state_dict = fresh(source).state_dict()
    torch.manual_seed(9)
    model = make_model(job)
    before = model.state_dict()["decode_head.classifier.weight"].clone()
    record = fit_start(model, trained, ["a", "b", "c"])
    after = model.state_dict()["decode_head.classifier.weight"]
    assert torch.equal(after[3], rows[11]) and torch.equal(after[:3], before[:3])
    assert "the checkpoint holds no names of classes" in record["text"]


@pytest.mark.parametrize("name", SEGMENTORS)
def test_the_classifiers_tensors_alone_depend_on_the_classes(name):
    few, more = (on_meta(name, (128, 128), count).state_dict() for count in (7, 9))
    differ = {key for key in few if few[key].shape != more[key].shape}
    assert differ == {key for key in few if "classifier." in key}
    assert all(len(more[key]) - len(few[key]) == 2 for key in differ)


def test_names_are_matched_exactly_first_then_without_case():
    assert match_classes(("Sky", "sky", "road"), ("SKY", "sky", "Sky", "rail")) == {
        0: 0,
        1: 1,
        2: 0,
    }


def test_another_networks_weights_are_refused(tmp_path):
    path = write_checkpoint(tmp_path / "w.pt", make_settings("lemore_t"))
    for model, words in ((SMALL, "whose backbone is lemore, but"), ("lemore", "")):
        job = replace(make_job(model), init=f"checkpoint:{path}")
        if words:
            with pytest.raises(ValueError, match=rf"w\.pt: holds lemore_t, {words}"):
                find_initial_weights(job, None)
        else:  # another view of the same network fits in part
            source, _, inputs = find_initial_weights(job, None)
            assert source == f"checkpoint:{path}" and inputs.keys() == {"init", "init_classes"}
            record = fit_start(fresh(job), read_trained(path), ["sky"])
            assert all(why == "the checkpoint has none" for why in record["anew"].values())
    job = make_job("segformer_b0")
    with pytest.raises(ValueError, match="start from a checkpoint of segformer_b0"):
        check_start(job, read_trained(path))


def test_weights_of_which_nothing_fits_are_refused(tmp_path):
    trained = read_trained(write_checkpoint(tmp_path / "w.pt", make_settings("lemore_t")))
    trained.state_dict.clear()
    with pytest.raises(ValueError, match=r"w\.pt: no tensor of it fits"):
        fit_start(fresh(make_job()), trained, ["sky"])


def test_a_frozen_backbone_stays_as_it_was_and_the_start_is_recorded(tiny):
    first = tiny.finetune(tiny.finetune_job(SMALL, **SHORT), "first")
    config = tiny.finetune_job(SMALL, f"checkpoint:{first}", freeze="backbone", **SHORT)
    second = tiny.finetune(config, "second")
    before, after = (checkpoint.load(f / "weights.pt")["state_dict"] for f in (first, second))
    for name in before:
        assert torch.equal(before[name], after[name]) == name.startswith("backbone."), name
    record, begun = read_json(second / "run.json"), read_json(first / "run.json")
    assert record["start"]["classes_kept"] == [f"class {k}" for k in range(4)]
    assert record["start"]["kept"] == record["start"]["of"] == len(after)
    assert record["inputs"]["init"] == record["start"]["tensors_sha256"]
    assert record["parents"] == {"start": begun["mlflow_run_id"]}
    client = MlflowClient(f"sqlite:///{tiny.folder / 'mlflow.db'}")
    tags = client.get_run(record["mlflow_run_id"]).data.tags
    assert tags["start_run_id"] == begun["mlflow_run_id"]
    assert tags["start"] == record["start"]["text"]


def test_the_licence_of_a_start_and_its_run_go_with_the_weights(tiny, monkeypatch, caplog):
    """Of one that comes with the package: MLflow has its author's run only if it is found there."""
    monkeypatch.chdir(tiny.folder)
    config = tiny.finetune_job("lemore", "checkpoint:lemore-camvid", **SHORT)
    first = tiny.finetune(config, "of_published")
    record, published = read_json(first / "run.json"), read_trained("lemore-camvid")
    client = MlflowClient(f"sqlite:///{tiny.folder / 'mlflow.db'}")
    run = client.get_run(record["mlflow_run_id"]).data
    assert published.licence == "CC BY-NC 4.0" and "start_run_id" not in run.tags
    assert published.record.mlflow_run_id not in str(run.tags | record["parents"])
    shutil.copy(first / "weights.pt", "alone.pt")  # without its run.json
    caplog.set_level("INFO")
    Image.new("RGB", (96, 96)).save("x.png")
    assert main(["predict", "--checkpoint", "alone.pt", "--output", "seen", "x.png"]) == 0
    assert "alone.pt: made from weights under: CC BY-NC 4.0" in caplog.text
    assert main(["share", "--checkpoint", str(first), "--output", "shared"]) == 0
    assert "made from weights whose terms hold for it too: CC BY-NC 4.0" in caplog.text
    terms = "which hold for these too: CC BY-NC 4.0"
    assert terms in Path("shared/README.md").read_text()
    options = ("--checkpoint", "shared", "--licence", "MIT", "--output", "again")
    assert main(["share", *options]) == 0 and terms in Path("again/README.md").read_text()
    assert read_trained("again").licences == ("MIT", "CC BY-NC 4.0")
    second = tiny.finetune(tiny.finetune_job("lemore", "checkpoint:again", **SHORT), "of_shared")
    assert lemore.load(second).start_licences == ("MIT", "CC BY-NC 4.0")
    tags = client.get_run(read_json(second / "run.json")["mlflow_run_id"]).data.tags
    assert tags["start_run_id"] == record["mlflow_run_id"]  # by its weights


def test_the_start_is_found_by_model_and_is_an_input_by_content(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = read_yaml(ROOT / "config/camvid_long.yaml") | {"run": "mine"}
    values |= {"trainings": {"camvid": ["lemore", "lemore_t"]}, "profiles": {}, "comparisons": {}}
    values["init"] = {"lemore": "checkpoint:other/lemore", "lemore_t": "none"}
    with pytest.raises(ValueError, match=r"init\.lemore is 'checkpoint:other/lemore': .*no such"):
        Experiment(values, ROOT)
    path = Path("results/other/finetune/camvid/lemore/0/weights.pt")
    write_checkpoint(path, make_settings("lemore"))
    experiment = Experiment(values, ROOT)
    assert experiment.init("lemore") == "checkpoint:other/lemore"
    assert experiment.init("lemore_t") == "none" and not experiment.pretrained
    (file,) = write_init(experiment, "lemore")
    before = Path(file).read_text()
    assert re.fullmatch(rf"[0-9a-f]{{64}}  {path}\n", before)
    job = read_job(FinetuneJob, Path(write_finetune_job(experiment, "camvid", "lemore")))
    assert job.init == "checkpoint:other/lemore" and write_init(experiment, "lemore_t") == []
    write_checkpoint(path, make_settings("lemore") | {"run": "again"})
    assert Path(*write_init(Experiment(values, ROOT), "lemore")).read_text() != before
    with pytest.raises(ValueError, match="which this run makes itself"):
        Experiment(values | {"run": "other"}, ROOT)
    frozen = {"recipe_changes": {"train": {"freeze": "backbone"}}}
    with pytest.raises(ValueError, match="lemore_t starts from random weights"):
        Experiment(values | frozen, ROOT)
    weighted = {"recipe_changes": {"train": {"class_weight": {"sky": 0.5, "rode": 2.0}}}}
    with pytest.raises(ValueError, match=r"rode is no class of camvid; did you mean 'road'"):
        Experiment(values | weighted, ROOT)


def test_the_backbones_rate_has_a_factor_of_its_own():
    job = make_job("lemore")
    plainly, slower = (
        {
            name: group["lr_mult"]
            for group in group_parameters(model, replace(job.train, backbone_lr_mult=factor))
            for name in group["names"]
        }
        for model, factor in ((fresh(job), 1.0), (fresh(job), 0.1))
    )
    for name, factor in plainly.items():
        assert slower[name] == factor * (0.1 if name.startswith("backbone.") else 1.0), name


def test_what_would_be_kept_is_told_before_the_first_job(tiny, capsys):
    path = write_checkpoint(tiny.folder / "first.pt", make_settings(SMALL, "tiny", 4))
    evaluation = str(tiny.evaluate_job())
    config = str(tiny.finetune_job(SMALL, f"checkpoint:{path}"))
    assert main(["start", "--config", config, "--evaluation", evaluation]) == 0
    told = capsys.readouterr().out
    assert f"lraspp_mobilenet_v3_small on tiny ({path})" in told and "new for class 0" in told
    config = str(tiny.finetune_job("lemore_t", f"checkpoint:{path}"))
    assert main(["start", "--config", config, "--evaluation", evaluation]) == 2
    assert "start from a checkpoint of lemore_t" in capsys.readouterr().err
