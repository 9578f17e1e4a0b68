import gc
import json
import os
import re
import shlex
import subprocess
import sys
from collections import deque
from pathlib import Path

from snakemake.exceptions import WorkflowError

from lemore.config import reported
from lemore.config.read import check_gpus, read_yaml
from lemore.config.experiment import Experiment
from lemore.config.job_files import (
    write_count_job,
    write_deploy_job,
    write_diagram_job,
    write_evaluate_job,
    write_finetune_job,
    write_init,
    write_labels,
    write_placed,
    write_prepare_job,
    write_pretrain_job,
    write_profile_job,
    write_teacher,
)
from lemore.config.model import get_start
from lemore.runtime.process import count_cores
from lemore.runtime.process import lead_pipeline
from lemore.runtime.slots import count_gpus, count_slots, share_cores
from lemore.runtime.shipped import PACKAGE

lead_pipeline()
# By default an eighth of a dry run goes into looking for garbage.
gc.set_threshold(50_000)

# Snakemake has read the files already, but its reader takes the last of a key given twice.
try:
    for file in workflow.configfiles:
        read_yaml(file)
    experiment = Experiment(
        config, source=" + ".join(map(os.path.relpath, workflow.configfiles))
    )
except ValueError as mistake:
    raise WorkflowError(str(mistake)) from None

# By MLflow's own variable, for the commands that train; their text, which would rerun them, stays.
if experiment.config.system_metrics:
    os.environ.update(MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING="true")

RESULTS = str(experiment.results)
DATA = experiment.data_dir
ARCHIVES = experiment.archives_dir
DIAGRAMMED = reported.find_diagrammed(experiment)


def gpus_here():
    """Returns the number of GPUs that torch sees on this machine, None without torch."""
    code = "import torch; print(torch.cuda.device_count())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return int(done.stdout.split()[-1]) if done.returncode == 0 else None


# A slot is what one worker of a training takes of the GPUs. A training holds its workers' slots, an
# evaluation one, a profile all of them. Their number comes from `--resources gpu_slots=...`, from
# this machine or, when jobs start, from the cluster at RAY_ADDRESS; jobs of a batch system have
# nodes of their own.
RAY = experiment.config.ray
CORES = workflow.global_resources["_cores"].value or count_cores()
SLOTS_GIVEN = workflow.global_resources.get("gpu_slots").value  # None: not given
if not RAY.gpus:
    SLOTS = 0
elif SLOTS_GIVEN is not None:
    SLOTS = SLOTS_GIVEN
else:
    SLOTS = max(count_slots([count_gpus()], RAY.gpus), RAY.workers)
    workflow.register_resource("gpu_slots", SLOTS)


def slots_elsewhere():
    """Returns the slots of the cluster at RAY_ADDRESS, or more than there are jobs."""
    if not workflow.local_exec:
        return sys.maxsize
    code = (
        "import os; from lemore.runtime.ray import cluster; cluster.join(1);"
        "nodes = cluster.list_nodes(int(os.environ.get('LEMORE_NODES', 1)));"
        "print([node.get('GPU', 0) for node in nodes])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise WorkflowError(done.stderr.strip().split("\n")[-1])
    gpus = json.loads(done.stdout.strip().split("\n")[-1])
    return max(count_slots(gpus, RAY.gpus), RAY.workers)


def preview_starts(pairs):
    """Prints what fine-tunings would keep of the models that they start from, and who teaches."""
    for dataset, model in sorted(pairs):
        config = write_finetune_job(experiment, dataset, model)
        evaluation = write_evaluate_job(experiment, dataset, model)
        command = [*("start", "--config", config), *("--evaluation", evaluation)]
        done = subprocess.run(
            [sys.executable, "-m", "lemore.cli", *command],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise WorkflowError(done.stderr.strip())
        print(f"{model} on {dataset} {done.stdout}", end="")


# The models that trainings start or learn from are checked, and GPUs checked and counted, before
# the first job, not after hours of preparation.
onstart:
    here = workflow.local_exec and not os.environ.get("RAY_ADDRESS")
    jobs = list(workflow.dag.needrun_jobs())
    due = {job.rule.name for job in jobs}
    pairs = {
        (job.wildcards.dataset, job.wildcards.model)
        for job in jobs
        if job.rule.name in ("finetune", "search_recipe")
    }
    started = {
        pair
        for pair in pairs
        if get_start(experiment.init(pair[1]))
        or experiment.recipe(*pair)[0].teacher
    }
    if not workflow.touch:
        preview_starts(started)
    trains = not workflow.touch and due & {
        "pretrain",
        "finetune",
        "evaluate",
        "search_recipe",
    }
    if RAY.gpus and trains and here:
        try:
            check_gpus(
                RAY.gpus, RAY.workers, experiment.source, "ray.gpus", gpus_here()
            )
        except ValueError as mistake:
            raise WorkflowError(str(mistake)) from None
    elif RAY.gpus and trains and SLOTS_GIVEN is None:
        workflow.register_resource("gpu_slots", slots_elsewhere())


# The end of each failed job's log, which Snakemake itself shows only without `--quiet rules`.
onerror:
    for job in workflow.scheduler.failed:
        for file in filter(os.path.exists, job.log):
            with open(file, encoding="utf-8", errors="replace") as lines:
                end = "".join(deque(lines, maxlen=20))
            print(f"\n{file} ends:\n{end}", file=sys.stderr)


def packaged(file):
    """Returns a file of the package, by its path from here in a clone."""
    path = PACKAGE / file
    return str(
        path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    )


def code_of(stage, **names):
    """Returns the files that stand for a stage's code.

    Input functions write files while jobs are listed, and Snakemake's inventory of folders, taken
    before, would miss them where several targets are given: it gets no time.
    """
    workflow.iocache.remaining_wait_time = 0
    return experiment.code(stage, **names)


def any_of(names):
    return "|".join(map(re.escape, sorted(names))) or "none"


wildcard_constraints:
    dataset=any_of(experiment.datasets),
    model=any_of({m for _, m in experiment.pairs} | set(experiment.profiles)),
    backbone=any_of(experiment.pretrained),
    seed=r"\d+",
    table=any_of(experiment.tables),
    kind="cost|ablation|comparison|deploy",


def count_threads(recipe):
    """CPU cores of a training: where its workers compute, and of the processes that load."""
    wanted = (recipe.count_computing(RAY.gpus) + recipe.loader_workers) * RAY.workers
    return share_cores(wanted, CORES, SLOTS // RAY.workers)


def finetune_threads(wildcards):
    train, _ = experiment.recipe(wildcards.dataset, wildcards.model)
    return count_threads(train)


def evaluate_threads(wildcards):
    """An evaluation on a GPU reads and measures on some cores, one on a CPU has one in all."""
    return share_cores(4 if RAY.gpus else 1, CORES, SLOTS)


def evaluations(dataset=None, models=None):
    return [
        f"{RESULTS}/evaluate/{d}/{m}/{seed}.json"
        for d, m in experiment.pairs
        for seed in experiment.seeds(m)
        if dataset in (None, d) and (models is None or m in models)
    ]


def profiles():
    return [f"{RESULTS}/profile/{m}.json" for m in experiment.profiles]


def deployments():
    return [f"{RESULTS}/deploy/{d}/{m}.json" for d, m in experiment.deployments]


def first_training(wildcards, file):
    """Returns a file of the training with the first seed."""
    seed = experiment.seeds(wildcards.model)[0]
    return f"{RESULTS}/finetune/{wildcards.dataset}/{wildcards.model}/{seed}/{file}"


def counts():
    return [f"{RESULTS}/counts.json"] if experiment.counted else []


def count_code():
    """The code of all models that are counted."""
    code = [code_of("count", model=model) for model in experiment.counted]
    return sorted({path for paths in code for path in paths})


def trainings(dataset):
    return [
        f"{RESULTS}/finetune/{d}/{m}/{seed}/run.json"
        for d, m in experiment.pairs
        for seed in experiment.seeds(m)
        if d == dataset
    ]


def pretrainings():
    return [f"{RESULTS}/pretrain/{b}/run.json" for b in experiment.pretrained]


def tables(suffix="csv"):
    return [f"{RESULTS}/tables/{table}.{suffix}" for table in experiment.tables]


def significance():
    return [
        f"{RESULTS}/tables/{d}_significance.csv"
        for d in reported.list_tested(experiment)
    ]


def video_options(wildcards):
    """Returns how a dataset's images are grouped for tests: frames of a film in blocks."""
    video = experiment.dataset(wildcards.dataset).video
    return (
        f"--sequence {shlex.quote(video.sequence)} --block {video.block}"
        if video
        else ""
    )


# These need label maps; there are curves of every training.
LABEL_FIGURES = ("classes", "confusion")
REPORT_PARTS = (
    "page.css.j2",
    "report.css",
    "report.html.j2",
    "report.js",
    "table.html.j2",
    "viewer.html.j2",
)


def figures():
    names = [
        f"{kind}_{d}"
        for kind in LABEL_FIGURES
        for d in reported.list_segmented(experiment)
    ]
    names += [f"curves_{d}" for d in experiment.config.trainings]
    names += [f"comparison_{d}" for d in experiment.config.comparisons]
    names += [f"cost_{d}" for d in reported.list_costed(experiment)]
    names += [f"ablation_{d}" for d in reported.map_ablations(experiment)]
    names += [
        f"deploy_{d}" for d in dict.fromkeys(d for d, _ in experiment.deployments)
    ]
    names += ["feed_forward"] if DIAGRAMMED else []
    return [f"{RESULTS}/figures/{name}.png" for name in names]


def archives_source(wildcards):
    """Returns digest.json of a drawn dataset, from whose folder it is fetched."""
    if experiment.dataset(wildcards.dataset).scenes:
        return f"resources/scenes/{wildcards.dataset}/digest.json"
    return []


def placed_files(wildcards):
    """Returns what stands for a dataset's own files, whose change makes fetch look again."""
    if experiment.dataset(wildcards.dataset).scenes:
        return []
    return write_placed(experiment, wildcards.dataset)


def mirror_option(wildcards):
    if experiment.dataset(wildcards.dataset).scenes:
        return shlex.join(["--mirror", f"resources/scenes/{wildcards.dataset}"])
    return ""


def pretraining_of(wildcards):
    """run.json of the backbone's pretraining, if it starts from one."""
    backbone = experiment.model(wildcards.model).backbone
    if experiment.init(wildcards.model) == "pretrain":
        return f"{RESULTS}/pretrain/{backbone}/run.json"
    return []


def weights_of_pretraining(wildcards):
    """Returns weights that must exist; run.json has the checksum that identifies them."""
    return [
        ancient(str(Path(p).with_name("weights.pt")))
        for p in [pretraining_of(wildcards)]
        if p
    ]


def pretrained_option(wildcards, input):
    return shlex.join(["--pretrained", input.pretrained]) if input.pretrained else ""


def log_model_option(wildcards):
    return "--log-model" if experiment.config.log_model else ""


def audits():
    return [f"{RESULTS}/audit/{dataset}.html" for dataset in experiment.datasets]


def figure_input(wildcards):
    """Returns the inputs of a figure: a table, or a dataset's evaluations."""
    dataset = wildcards.dataset
    if wildcards.kind == "ablation":
        return {
            "table": f"{RESULTS}/tables/{reported.map_ablations(experiment)[dataset]}.csv"
        }
    if wildcards.kind == "deploy":
        return {"deployments": deployments()}
    if wildcards.kind == "cost":
        return {
            "table": f"{RESULTS}/tables/{dataset}.csv",
            "evaluations": evaluations(dataset),
            "paper": packaged("reporting/paper.csv"),
        }
    models = experiment.config.comparisons[dataset].models
    return {
        "evaluations": evaluations(dataset, models),
        "data": f"{DATA}/{dataset}/digest.json",
        "colors": f"{DATA}/{dataset}/colors.json",
    }


def figure_options(wildcards, input):
    if wildcards.kind == "cost":
        return shlex.join(
            ["--tables", input.table, "--evaluations", *input.evaluations]
        )
    if wildcards.kind == "ablation":
        return shlex.join(["--tables", input.table])
    if wildcards.kind == "deploy":
        return shlex.join(
            ["--dataset", wildcards.dataset, "--deployments", *input.deployments]
        )
    dataset = wildcards.dataset
    chosen = experiment.config.comparisons[dataset]
    images = [
        f"--images={name}" for name in chosen.images
    ]  # a name may begin with a dash
    data = ["--data", f"{DATA}/{dataset}", "--split", experiment.test_split(dataset)]
    models = ["--models", *chosen.models, "--evaluations", *input.evaluations]
    return shlex.join([*data, *images, *models])
