"""A teacher: its loss by formula, its place beside a training, and what it may be."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from lemore.cli import main
from lemore.config.code import declare_code, list_by_recipe
from lemore.config.experiment import Experiment
from lemore.config.job_files import write_finetune_job, write_teacher
from lemore.config.jobs import FinetuneJob, read_job
from lemore.config.read import build, read_yaml
from lemore.config.recipe import Teacher, Train
from lemore.models.segmentor import make_model
from lemore.runtime import checkpoint
from lemore.runtime.files import read_json
from lemore.runtime.process import Stopped
from lemore.runtime.worker import Worker
from lemore.stages.finetune import find_teacher
from lemore.stages.workers import finetune
from lemore.stages.workers.teacher import build_teacher, check_teacher, load_teacher
from lemore.trained.find import read_trained
from lemore.trained.load import load
from lemore.training.distillation import compute_distillation_loss
from tests.trained_models import make_job, make_settings, write_checkpoint

ROOT = Path(__file__).parents[2]
SMALL = "lraspp_mobilenet_v3_small"
CPU = torch.device("cpu")
SHORT = {"iterations": 4, "checkpoint_every": 2, "validate_every": 0, "threads": 1}
NAMES = tuple(f"class {k}" for k in range(4))


def draw(*shape: int) -> torch.Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def taught(job: FinetuneJob, path: Path | str, **keys: float) -> FinetuneJob:
    return replace(job, train=replace(job.train, teacher=Teacher(str(path), **keys)))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_loss_is_its_formula(temperature):
    logits, target = draw(2, 3, 4, 5), draw(3, 2, 4, 5).transpose(0, 1).contiguous()
    label = torch.zeros(2, 8, 10, dtype=torch.uint8)
    label[0, :4], label[1, 0, 0] = 255, 255  # a corner pixel is no position's centre
    losses = []
    for b in range(2):
        for y in range(4):
            for x in range(5):
                if label[b, 2 * y + 1, 2 * x + 1] != 255:
                    own, wanted = (t[b, :, y, x].tolist() for t in (logits, target))
                    p, q = ([math.exp(v / temperature) for v in values] for values in (wanted, own))
                    p, q = ([v / sum(values) for v in values] for values in (p, q))
                    losses.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
    assert len(losses) == 30
    place = (logits, target, label, temperature)
    found = float(compute_distillation_loss(*place, "valid_pixels"))
    assert found == pytest.approx(temperature**2 * sum(losses) / 30, rel=1e-12)
    found = float(compute_distillation_loss(*place, "all_pixels"))
    assert found == pytest.approx(temperature**2 * sum(losses) / 40, rel=1e-12)
    rows = [t.permute(0, 2, 3, 1).reshape(-1, 3) / temperature for t in (logits, target)]
    torchs = F.kl_div(rows[0].log_softmax(1), rows[1].softmax(1), reduction="batchmean")
    known = label.new_zeros(label.shape)
    found = compute_distillation_loss(logits, target, known, temperature, "valid_pixels")
    torch.testing.assert_close(found, temperature**2 * torchs, rtol=1e-12, atol=0)


def test_the_gradient_is_right_and_ignored_positions_get_none():
    logits, target = draw(1, 3, 3, 4).requires_grad_(), draw(1, 3, 6, 8)
    label = torch.zeros(1, 6, 8, dtype=torch.uint8)
    label[:, :2] = 255

    def loss(x: torch.Tensor) -> torch.Tensor:
        return compute_distillation_loss(x, target, label, 2.0, "all_pixels")

    assert torch.autograd.gradcheck(loss, (logits,))
    (gradient,) = torch.autograd.grad(loss(logits), logits)
    assert not gradient[:, :, 0].any() and gradient[:, :, 1:].all()
    small = F.interpolate(target, (3, 4), mode="bilinear", align_corners=False)
    assert float(compute_distillation_loss(small, target, label, 2.0, "all_pixels")) == 0
    nothing = torch.full_like(label, 255)
    place = (logits.detach(), target, nothing, 2.0)
    assert float(compute_distillation_loss(*place, "valid_pixels")) == 0


def make_batch(job: FinetuneJob, count: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    size = job.train.crop_size
    images = torch.randint(0, 256, (count, 3, *size), generator=generator, dtype=torch.uint8)
    label = torch.randint(0, 4, (count, *size), generator=generator, dtype=torch.uint8)
    label[0, :40] = 255
    return {"image": images, "label": label, "valid": torch.tensor([size] * count)}


def test_a_teacher_with_the_students_weights_adds_nothing_and_workers_add_up(tmp_path):
    trained = read_trained(write_checkpoint(tmp_path / "a.pt", make_settings(SMALL, "ponds", 4)))
    job = taught(make_job(SMALL, "ponds", 4), trained.source, weight=2.0)
    student = make_model(job).eval()
    student.load_state_dict(trained.state_dict, strict=False)
    batch, head = make_batch(job), student.decode_head
    alone = finetune.Loss(job, head, CPU, None)(student, batch)
    same = finetune.Loss(job, head, CPU, None, build_teacher(job, trained))
    assert float((same(student, batch) - alone).detach()) == pytest.approx(0, abs=1e-9)
    with torch.no_grad():
        student.decode_head.classifier.weight.mul_(-1)
    whole = same(student, batch)
    halves = [same(student, {k: v[s] for k, v in batch.items()}) for s in (slice(2), slice(2, 4))]
    alone = finetune.Loss(job, head, CPU, None)(student, batch)
    assert float((whole - alone).detach()) > 0.1 and job.train.loss_average == "all_pixels"
    torch.testing.assert_close(whole, sum(halves) / 2)
    assert not any(p.requires_grad for p in same.teacher.parameters())


def test_a_teacher_of_another_size_computes_what_it_predicts_with(tmp_path):
    trained = read_trained(write_checkpoint(tmp_path / "w.pt", make_settings("lemore")))
    for name in trained.state_dict:
        if name.endswith(("frontal.weight", "lateral.weight")):
            trained.state_dict[name].normal_()
    content = {"state_dict": trained.state_dict, "config": make_settings("lemore")}
    checkpoint.save(tmp_path / "w.pt", content)
    job = make_job()
    job = replace(job, train=replace(job.train, crop_size=(96, 128)))
    image = draw(1, 3, 96, 128).float()
    with torch.no_grad():
        expected = load(tmp_path / "w.pt")(image)
        found = build_teacher(job, read_trained(tmp_path / "w.pt"))(image)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def train(job: FinetuneJob, data: Path, folder: Path, **keys) -> str:
    folder.mkdir(exist_ok=True)
    teacher = job.train.teacher.checkpoint if job.train.teacher else ""
    worker = Worker(data=data, folder=folder, seed=0, teacher=teacher, **keys)
    return finetune.train(job, worker)["weights_sha256"]


def test_weight_0_changes_no_bit_and_a_stopped_training_goes_on_bit_equal(tiny, tmp_path):
    path = write_checkpoint(tmp_path / "a.pt", make_settings("lemore_t", "tiny", 4), NAMES)
    job = read_job(FinetuneJob, tiny.finetune_job(SMALL, **SHORT))
    alone = train(job, tiny.data, tmp_path / "alone")
    assert train(taught(job, path, weight=0.0), tiny.data, tmp_path / "zero") == alone
    whole = train(taught(job, path), tiny.data, tmp_path / "whole")
    assert whole != alone
    steps = iter(range(10))
    with pytest.raises(Stopped):
        train(taught(job, path), tiny.data, tmp_path / "cut", stop=lambda: next(steps) == 2)
    saved = checkpoint.load(max((tmp_path / "cut").glob("iteration_*.pt")))
    assert saved["model"].keys() == make_model(job).state_dict().keys()
    assert train(taught(job, path), tiny.data, tmp_path / "cut") == whole


def test_classes_in_another_order_are_matched_by_name(tiny, tmp_path, caplog):
    settings = make_settings(SMALL, "tiny", 4)
    other = ("class 2", "class 0", "class 3", "class 1")
    paths = [
        write_checkpoint(tmp_path / f"{k}.pt", settings, n) for k, n in enumerate((NAMES, other))
    ]
    job = make_job(SMALL, "tiny", 4)
    plain, ordered = (
        load_teacher(taught(job, p), Worker(tiny.data, tmp_path, 0, teacher=str(p)))[0]
        for p in paths
    )
    image = draw(1, 3, 64, 64).float()
    assert torch.equal(ordered(image), plain(image)[:, [1, 3, 0, 2]])
    assert "they are matched by name" in caplog.text
    with pytest.raises(ValueError, match=r"0\.pt: replaced since this training began"):
        worker = Worker(tiny.data, tmp_path, 0, teacher=str(paths[0]), teacher_sha256="x")
        load_teacher(taught(job, paths[0]), worker)


def test_a_teacher_that_does_not_fit_is_refused_before_the_first_job(tiny, tmp_path, capsys):
    good = write_checkpoint(tmp_path / "good.pt", make_settings("lemore_t", "tiny", 4), NAMES)
    others = ("water", *NAMES[1:])
    bad = write_checkpoint(tmp_path / "bad.pt", make_settings("lemore_t", "tiny", 4), others)
    evaluation = str(tiny.evaluate_job())
    config = str(tiny.finetune_job(SMALL, teacher={"checkpoint": str(good), "weight": 0.5}))
    assert main(["start", "--config", config, "--evaluation", evaluation]) == 0
    told = capsys.readouterr().out
    assert f"learns from lemore_t on tiny ({good}), weight 0.5, temperature 4\n" in told
    config = str(tiny.finetune_job(SMALL, teacher={"checkpoint": str(bad)}))
    assert main(["start", "--config", config, "--evaluation", evaluation]) == 2
    told = capsys.readouterr().err
    for part in (f"{config}: train.teacher.checkpoint is '{bad}': ", "water", "class 0, class 1"):
        assert part in told
    with pytest.raises(ValueError, match=r"x\.yaml: .*bad\.pt.*trained with classes water"):
        find_teacher(taught(make_job(SMALL, "tiny", 4), bad), tiny.data, "x.yaml")


def test_networks_without_logits_neither_learn_nor_teach(tmp_path):
    trained = read_trained(write_checkpoint(tmp_path / "t.pt"))
    pem = make_job("pem_stdc1")
    with pytest.raises(ValueError, match=r"x\.yaml: .*t\.pt': pem_stdc1 has a loss of its own"):
        check_teacher(taught(pem, trained.source), trained, [], "x.yaml")
    with pytest.raises(ValueError, match="pem_stdc1 has a loss of its own"):
        check_teacher(taught(make_job(), "t.pt"), replace_job(trained, pem), [], "x.yaml")


def replace_job(trained, job):
    return type("T", (), {"job": job, "source": trained.source, "classes": trained.classes})()


def test_the_teacher_is_an_input_by_content(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = read_yaml(ROOT / "config/camvid_long.yaml") | {"run": "mine"}
    values |= {"trainings": {"camvid": ["lemore"]}, "profiles": {}, "comparisons": {}}
    assert write_teacher(Experiment(values, ROOT), "camvid", "lemore") == []
    values["recipe_changes"] = {"train": {"teacher": {"checkpoint": "other/lemore_t"}}}
    key = r"recipe_changes\.train\.teacher\.checkpoint is 'other/lemore_t'"
    with pytest.raises(ValueError, match=rf"configuration: {key}: .*no such"):
        Experiment(values, ROOT)
    path = Path("results/other/finetune/camvid/lemore_t/0/weights.pt")
    write_checkpoint(path)
    with pytest.raises(ValueError, match=rf"{key}, which this run makes itself"):
        Experiment(values | {"run": "other"}, ROOT)
    experiment = Experiment(values, ROOT)
    (file,) = write_teacher(experiment, "camvid", "lemore")
    before = Path(file).read_text()
    assert re.fullmatch(rf"[0-9a-f]{{64}}  {path}\n", before)
    job = read_job(FinetuneJob, Path(write_finetune_job(experiment, "camvid", "lemore")))
    assert job.train.teacher == Teacher("other/lemore_t", 1.0, 4.0)
    write_checkpoint(path, make_settings() | {"run": "again"})
    assert Path(*write_teacher(Experiment(values, ROOT), "camvid", "lemore")).read_text() != before


def test_the_code_of_every_network_counts_for_who_learns_from_one():
    recipe = make_job().train
    heads = {"lemore.models.decode_heads.segformer", "lemore.models.backbones.mit"}
    named = list_by_recipe(replace(recipe, teacher=Teacher("a")), "segmentation")
    assert not list_by_recipe(recipe, "segmentation") and heads <= set(named)
    assert heads <= set(declare_code("finetune", named))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"weight": 1.0}, r"missing key 'train\.teacher\.checkpoint'"),
        ({"checkpoint": "a", "temperature": 0}, r"train\.teacher\.temperature is 0, expected"),
        ({"checkpoint": "a", "weight": -1}, r"train\.teacher\.weight is -1, expected"),
        ({"checkpoint": "a", "wieght": 1}, r"'train\.teacher\.wieght'; did you mean 'weight'"),
    ],
)
def test_what_a_recipe_may_not_say_of_a_teacher(values, words):
    with pytest.raises(ValueError, match=words):
        build(Train, {"teacher": values}, "r.yaml", "train.")


def test_a_taught_training_records_its_teacher(tiny):
    path = write_checkpoint(tiny.folder / "teacher.pt", make_settings(SMALL, "tiny", 4), NAMES)
    config = tiny.finetune_job(SMALL, **SHORT, teacher={"checkpoint": "teacher.pt"})
    record = read_json(tiny.finetune(config, "taught") / "run.json")
    source, _, inputs = find_teacher(taught(make_job(SMALL, "tiny", 4), path), tiny.data, "x")
    assert inputs.items() <= record["inputs"].items() and record["teacher"]["source"] == source
    assert record["teacher"]["tensors_sha256"] == inputs["teacher"]
    assert f"learns from {SMALL} on tiny" in record["teacher"]["text"]
    content = checkpoint.load(path)
    content["state_dict"]["decode_head.classifier.bias"] += 1
    checkpoint.save(path, content)
    other = find_teacher(taught(make_job(SMALL, "tiny", 4), path), tiny.data, "x")[2]
    assert other["teacher"] != inputs["teacher"]
    assert other["teacher_classes"] == inputs["teacher_classes"]
