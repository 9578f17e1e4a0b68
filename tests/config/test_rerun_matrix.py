"""A table of edits and what each reruns by `snakemake -n`, since the code is an input.

No job runs here: the outputs are made by hand and recorded with `snakemake --touch`.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ("Snakefile", "pyproject.toml", "config", "lemore", "workflow")
CONFIG = """
run: matrix
recipes: config/recipes/scenes
recipe_changes: {}
archives_dir: resources/archives
data_dir: resources/datasets
seeds: [0, 1]
pretrain: imagenet_1k_scenes
init: {mobilenet_v2_os8: "file:first.pt", shufflenet_v2_x1_0: none}
trainings:
  ade20k_scenes: [lemore, topformer_t]
  cityscapes_scenes: [lemore, topformer_t]
  coco_scenes: [retinanet_shufflenet_v2]
  ponds: [fcn_mobilenet_v2]
profiles: {lemore: [ade20k], topformer_t: [ade20k]}
latency_seconds: 1.0
deployments: {lemore@ade20k_scenes: [onnx]}
paper_tables: true
comparisons: {ade20k_scenes: {images: [ADE_val_00000001], models: [lemore]}}
ray: {mode: none, workers: 1, gpus: 0}
log_model: false
"""
DATASET = """
title: Ponds
task: segmentation
num_classes: 2
licence: own
recipe: ade20k_scenes
folder: photos
files: {images: "{split}/{name}.jpg", masks: "{split}/{name}.png", mask: index}
classes: [{name: water}, {name: reed}]
splits: {train: null, val: null}
"""
REPORTING = {
    "audit", "count", "significance", "table", "figure", "result_figures", "detector_figures",
    "diagram", "report", "summary", "all",
}  # fmt: skip
# an edit that changes what code does, and one that does not
CHANGE = "\n_CHANGED = 1\n"
COMMENT = "\n# A comment.\n"

ADE, CITY, PONDS = "ade20k_scenes", "cityscapes_scenes", "ponds"


class Checkout:
    """A copy of the project in which everything is up to date."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in CODE:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        (folder / "matrix.yaml").write_text(CONFIG)
        (folder / "config/datasets/ponds.yaml").write_text(DATASET)
        (folder / "first.pt").write_text("weights")
        for name in ("train/a.jpg", "train/a.png", "val/b.jpg", "val/b.png"):
            (folder / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "photos" / name).write_text(name)
        rows = self.snakemake("--summary").split("\n")
        for row in rows:
            name = row.split("\t")[0]
            if name.startswith(("results/", "resources/")):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(name)
        self.lemore(
            *("fetch", "--dataset-config", "config/datasets/ponds.yaml"),
            *("--archives-dir", "resources/archives", "--output", "resources/fetched/ponds.json"),
        )
        self.snakemake("--touch", "--forceall", "--cores", "1")

    def snakemake(self, *options: str) -> str:
        command = [Path(sys.executable).with_name("snakemake"), "--configfile", "matrix.yaml"]
        return self.run([*map(str, command), *options])

    def lemore(self, *command: str) -> str:
        return self.run([sys.executable, "-m", "lemore.cli", *command])

    def run(self, command: list[str]) -> str:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("LEMORE_")}
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=kept | {"PYTHONPATH": str(self.folder)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def plan(self) -> tuple[set[str], str]:
        """Jobs of a dry run as "rule value value", reporting left out, and the whole text."""
        text = self.snakemake("-n")
        jobs = set()
        for block in re.split(r"\n(?=(?:local)?rule )", text)[1:]:
            rule = re.match(r"(?:local)?rule (\w+):", block)
            wildcards = re.search(r"^    wildcards: (.*)$", block, re.M)
            values = re.findall(r"=([^,]+)", wildcards[1]) if wildcards else []
            assert rule is not None
            jobs.add(" ".join([rule[1], *values]))
        return jobs, text


def test_several_results_can_be_asked_for_in_a_new_clone(tmp_path):
    for name in CODE:
        (tmp_path / name).symlink_to(ROOT / name)
    wanted = ["evaluate/ade20k_scenes/lemore/0.json", "profile/lemore.json", "tables/imagenet.csv"]
    done = subprocess.run(
        [
            Path(sys.executable).with_name("snakemake"),
            "-n",
            *(f"results/scenes/{w}" for w in wanted),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    made = Checkout(tmp_path_factory.mktemp("checkout"))
    jobs, text = made.plan()
    assert not jobs and "Nothing to be done" in text, text
    return made


DEPLOYMENT = {"deploy ade20k_scenes lemore"}


def trained(*pairs: tuple[str, str]) -> set[str]:
    rules = ("finetune", "evaluate")
    jobs = {f"{rule} {d} {m} {seed}" for d, m in pairs for rule in rules for seed in (0, 1)}
    return jobs | (DEPLOYMENT if (ADE, "lemore") in pairs else set())


OWN = (PONDS, "fcn_mobilenet_v2")
BOXES = ("coco_scenes", "retinanet_shufflenet_v2")
ALL = [*((d, m) for d in (ADE, CITY) for m in ("lemore", "topformer_t")), BOXES, OWN]
LEMORE = [(d, "lemore") for d in (ADE, CITY)]
EVALUATIONS = {job for job in trained(*ALL) if not job.startswith("finetune")}
PROFILES = {"profile lemore", "profile topformer_t"}
PRETRAININGS = {"pretrain lemore", "pretrain topformer_t"}

MATRIX = [
    ("lemore/models/decode_heads/lemore.py", trained(*LEMORE) | {"profile lemore"}),
    ("config/models/lemore.yaml", trained(*LEMORE) | {"profile lemore"}),
    (
        "lemore/models/backbones/lemore.py",
        trained(*LEMORE) | {"profile lemore", "pretrain lemore"},
    ),
    ("config/backbones/lemore.yaml", trained(*LEMORE) | {"profile lemore", "pretrain lemore"}),
    (
        "lemore/data/readers/cityscapes.py",
        {f"prepare {CITY}"} | trained((CITY, "lemore"), (CITY, "topformer_t")),
    ),
    (
        "config/recipes/scenes/cityscapes_scenes.yaml",
        trained((CITY, "lemore"), (CITY, "topformer_t")),
    ),
    ("override", trained((CITY, "topformer_t"))),
    ("keep", trained((CITY, "lemore"), (CITY, "topformer_t"))),
    ("keep at its default", None),
    ("lemore/data/augment/segmentation.py", PRETRAININGS | trained(*ALL)),
    ("lemore/training/loop.py", PRETRAININGS | trained(*ALL)),
    ("lemore/training/losses.py", PRETRAININGS | trained(*ALL)),
    ("lemore/training/optim.py", PRETRAININGS | trained(*ALL)),
    ("lemore/evaluation/metrics.py", EVALUATIONS),
    ("lemore/evaluation/inference.py", EVALUATIONS),
    ("lemore/evaluation/cells.py", EVALUATIONS),
    ("lemore/evaluation/statistics.py", set()),
    ("lemore/trained/checkpoint.py", EVALUATIONS),
    ("lemore/trained/exported.py", DEPLOYMENT),
    ("lemore/trained/predict/files.py", None),
    ("lemore/models/detection_heads/retinanet.py", trained(BOXES)),
    ("lemore/models/detector.py", trained(BOXES)),
    ("lemore/data/readers/coco_detection.py", {"prepare coco_scenes"} | trained(BOXES)),
    ("lemore/data/detection_batches.py", trained(BOXES)),
    ("lemore/stages/workers/detection.py", trained(BOXES)),
    ("lemore/evaluation/boxes.py", {job for job in trained(BOXES) if job.startswith("evaluate")}),
    ("lemore/profiling/counts.py", PROFILES),
    ("lemore/profiling/export.py", PROFILES | DEPLOYMENT),
    ("lemore/reporting/tables/build.py", set()),
    ("lemore/reporting/paper.csv", set()),
    ("lemore/reporting/figures/confusion.py", set()),
    ("lemore/reporting/figures/diagram.py", set()),
    ("video", set()),
    ("lemore/reporting/pages/audit.py", set()),
    ("lemore/reporting/pages/report.js", set()),
    ("lemore/reporting/pages/viewer.py", set()),
    ("lemore/runtime/tracking/models.py", None),
    ("lemore/runtime/tracking/tracked_run.py", None),
    ("lemore/runtime/ray/execute.py", None),
    ("lemore/cli.py", None),
    ("lemore/config/read.py", None),
    ("lemore/data/fetch/obtain.py", None),
    ("lemore/data/readers/folders.py", {"prepare ponds"} | trained(OWN)),
]

# Edits that are called by what they change, not by their file
FILES = {
    "override": "config/recipes/scenes/cityscapes_scenes.yaml",
    "keep": "config/recipes/scenes/cityscapes_scenes.yaml",
    "keep at its default": "config/recipes/scenes/cityscapes_scenes.yaml",
    "video": "config/datasets/cityscapes_scenes.yaml",
}
# Values of a configuration change by themselves, not by a line added at the end of the file.
YAML_EDITS = {
    "config/models/lemore.yaml": ("encoder: Ours", "encoder: Theirs"),
    "config/backbones/lemore.yaml": ("views: tfl", "views: tf"),
    "config/recipes/scenes/cityscapes_scenes.yaml": (
        "crop_size: [128, 256]",
        "crop_size: [128, 192]",
    ),
    "keep": ("iterations: 70\n", "iterations: 70\n  keep: best\n  patience: 1\n"),
    "keep at its default": ("iterations: 70\n", "iterations: 70\n  keep: last\n  patience: 0\n"),
    "video": (
        "splits: {",
        "video: {sequence: '[^_]+', block: 10}\nsplits: {",
    ),
    "override": (
        "topformer_t: {train: {decode_head",
        "topformer_t: {train: {lr: 1.0e-3, decode_head",
    ),
}


def edit(path: Path, name: str) -> None:
    text = path.read_text()
    if name in YAML_EDITS:
        old, new = YAML_EDITS[name]
        assert old in text, f"{path} has no '{old}'"
        path.write_text(text.replace(old, new))
    elif path.suffix == ".csv":
        path.write_text(text.replace("\n", " \n", 1))
    else:
        path.write_text(text + CHANGE)


def case(name: str, expected: set[str] | None):
    """Of those that rerun reporting alone one is quick."""
    slow = expected == set() and name != "lemore/reporting/tables/build.py"
    return pytest.param(name, expected, id=name, marks=pytest.mark.slow if slow else ())


@pytest.mark.parametrize(("name", "expected"), [case(*edit) for edit in MATRIX])
def test_an_edit_reruns_what_follows_from_it(checkout, name, expected):
    file = FILES.get(name, name)
    path = checkout.folder / file
    before = path.read_text()
    try:
        edit(path, name)
        jobs, text = checkout.plan()
    finally:
        path.write_text(before)
    reporting = {job for job in jobs if job.split()[0] in REPORTING}
    assert jobs - reporting == (expected or set())
    assert bool(reporting) == (expected is not None)
    if expected and file.startswith("lemore/"):
        mark = file.removeprefix("lemore/").removesuffix(".py")
        assert f"Updated input files: resources/code/{mark}.fingerprint" in text


def test_of_a_detector_the_curves_are_drawn_and_no_figure_of_labels(checkout):
    files = (checkout.folder / "results/matrix/figures").glob("*.png")
    kinds = {name.removesuffix(f"_{BOXES[0]}") for name in (file.stem for file in files)}
    assert "curves" in kinds and not kinds & {"classes", "confusion"}


def test_edits_that_were_taken_back_leave_nothing_to_do(checkout):
    assert not checkout.plan()[0]


def test_the_switch_of_system_metrics_reaches_the_jobs_and_reruns_nothing(checkout):
    told = "print('switch', os.environ.get('MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING'))\n"
    files = {"matrix.yaml": "system_metrics: true\n", "Snakefile": told}
    before = {name: (checkout.folder / name).read_text() for name in files}
    for name, text in files.items():
        (checkout.folder / name).write_text(before[name] + text)
    try:
        jobs, text = checkout.plan()
    finally:
        for name in files:
            (checkout.folder / name).write_text(before[name])
    assert not jobs and "switch true" in text


def test_titles_reach_the_commands_as_they_are(checkout):
    title = """John's "Ponds" $1"""
    path = checkout.folder / f"config/datasets/{ADE}.yaml"
    before = path.read_text()
    path.write_text(re.sub("title: .*", f"title: {json.dumps(title)}", before, count=1))
    try:
        text = checkout.snakemake("-n", "-p", "--forcerun", "table", "report")
    finally:
        path.write_text(before)
    found = re.findall(r"lemore ((?:table|report) .*)", text)
    commands = {tuple(words[:2]): words for words in map(shlex.split, found)}
    assert f"--dataset-title={title}" in commands["table", ADE]
    assert "--dataset-title=" in commands["table", "ade20k"]
    assert f"{ADE}={title}" in commands["report", "--run"]


def test_a_comment_anywhere_reruns_nothing(checkout):
    for path in (checkout.folder / "lemore").rglob("*.py"):
        path.write_text(path.read_text() + COMMENT)
    for path in (checkout.folder / "config").rglob("*.yaml"):
        path.write_text(path.read_text() + COMMENT)
    assert not checkout.plan()[0]


def restore(checkout: Checkout) -> None:
    for top in ("lemore", "config"):
        shutil.rmtree(checkout.folder / top)
        shutil.copytree(ROOT / top, checkout.folder / top)
    (checkout.folder / "config/datasets/ponds.yaml").write_text(DATASET)


@pytest.mark.parametrize("room", ["commands", "runtime", "config", "data/fetch"])
def test_code_that_decides_no_result_reruns_nothing(checkout, room):
    files = list((checkout.folder / "lemore" / room).rglob("*.py"))
    assert files
    for path in files:
        path.write_text(path.read_text() + CHANGE)
    try:
        assert not checkout.plan()[0]
    finally:
        restore(checkout)


def test_other_words_rerun_nothing(checkout):
    """The text of every error and log line, and of every help."""
    changed = 0
    for path in (checkout.folder / "lemore").rglob("*.py"):
        before = path.read_text()
        words = r'(raise \w+\(\s*f?"|log\.\w+\(\s*f?"|help=f?")(?!")'
        text, count = re.subn(words, r"\1Now: ", before)
        path.write_text(text)
        changed += count
    try:
        assert changed > 300
        assert not checkout.plan()[0]
    finally:
        restore(checkout)


SCHEMAS = {
    "recipe.py": ("Train", "Test", "Pretrain"),
    "model.py": ("BackboneConfig", "ModelConfig"),
    "dataset.py": ("DatasetConfig",),
    "run.py": ("RunConfig",),
    "jobs.py": (
        "PretrainJob",
        "FinetuneJob",
        "EvaluateJob",
        "ProfileCell",
        "ProfileJob",
        "DeployJob",
        "DiagramJob",
    ),
}


def test_a_new_key_with_a_default_reruns_nothing(checkout):
    """In every schema at once, as the last field of each."""
    for file, classes in SCHEMAS.items():
        path = checkout.folder / "lemore/config" / file
        text = path.read_text()
        for name in classes:
            fields = re.compile(rf"^class {name}\b.*?((?:^    \w+: [^\n]*\n)+)", re.M | re.S)
            found = fields.search(text)
            assert found, f"{file} has no {name}"
            text = text[: found.end()] + "    brand_new: int = 0\n" + text[found.end() :]
        path.write_text(text)
    try:
        assert not checkout.plan()[0]
    finally:
        restore(checkout)


def test_a_default_that_is_changed_reruns_those_who_use_it(checkout):
    path = checkout.folder / "lemore/config/recipe.py"
    text = path.read_text()
    assert "clip_norm: NotNegative = 0.0" in text
    path.write_text(text.replace("clip_norm: NotNegative = 0.0", "clip_norm: NotNegative = 0.5"))
    try:
        jobs, _ = checkout.plan()
    finally:
        restore(checkout)
    users = [pair for pair in ALL if pair != BOXES]  # the recipe of boxes says its own clip_norm
    assert {job for job in jobs if job.split()[0] not in REPORTING} == PRETRAININGS | trained(
        *users
    )


def test_another_layout_is_the_reason_that_is_shown(checkout):
    path = checkout.folder / "lemore/config/code.py"
    text = path.read_text()
    path.write_text(re.sub(r"^LAYOUT = \d+$", "LAYOUT = 99", text, flags=re.M))
    try:
        jobs, text = checkout.plan()
    finally:
        restore(checkout)
    assert trained(*ALL) | PRETRAININGS | PROFILES <= jobs
    assert "resources/code/layout_99" in text


def test_touching_everything_reruns_nothing(checkout):
    (checkout.folder / "first.pt").touch()
    for top in ("lemore", "config", "workflow", "results", "resources", "photos"):
        for path in (checkout.folder / top).rglob("*"):
            if path.is_file():
                path.touch()
    assert not checkout.plan()[0]


FETCHED = {"fetch ponds", "prepare ponds"} | trained(OWN)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("first.pt", "WEIGHTS", trained(OWN)),
        ("photos/train/c.jpg", "added", FETCHED),
        pytest.param("photos/val/b.png", "VAL/b.png", FETCHED, marks=pytest.mark.slow),
        pytest.param("photos/val/b.png", None, FETCHED, marks=pytest.mark.slow),
    ],
)
def test_other_content_reruns_what_was_made_of_it(checkout, name, content, expected):
    """Of the same size too; None: the file is removed."""
    path = checkout.folder / name
    before = path.read_text() if path.exists() else None
    path.write_text(content) if content else path.unlink()
    try:
        jobs, _ = checkout.plan()
    finally:
        path.write_text(before) if before else path.unlink()
    assert {job for job in jobs if job.split()[0] not in REPORTING} == expected
    assert not checkout.plan()[0], "taking the change back must leave nothing to do"


def test_a_missing_file_of_weights_is_told_before_the_first_job(checkout):
    path = checkout.folder / "first.pt"
    path.rename(checkout.folder / "second.pt")
    try:
        with pytest.raises(
            AssertionError, match=r"init\.mobilenet_v2_os8 .* there is no file .*first"
        ):
            checkout.plan()
    finally:
        (checkout.folder / "second.pt").rename(path)


def test_lost_metadata_does_not_make_stale_results_fresh(checkout):
    path = checkout.folder / "lemore/models/decode_heads/topformer.py"
    before = path.read_text()
    shutil.move(checkout.folder / ".snakemake", checkout.folder / "kept")
    try:
        path.write_text(before + CHANGE)
        jobs, _ = checkout.plan()
    finally:
        path.write_text(before)
        shutil.rmtree(checkout.folder / ".snakemake", ignore_errors=True)
        shutil.move(checkout.folder / "kept", checkout.folder / ".snakemake")
    assert trained((ADE, "topformer_t"), (CITY, "topformer_t")) <= jobs


def test_a_mistake_is_told_before_the_first_job(checkout):
    text = CONFIG.replace("[lemore, topformer_t]", "[lemore, topfromer_t]", 1)
    (checkout.folder / "matrix.yaml").write_text(text)
    try:
        with pytest.raises(AssertionError, match=r"topfromer_t\.yaml: no such file; did you mean"):
            checkout.plan()
    finally:
        (checkout.folder / "matrix.yaml").write_text(CONFIG)
