import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from lemore.experiment import Experiment
from lemore.training.process import OWNER, own_id

# Jobs find `lemore` beside this Python, know whose pipeline they belong to, and share one store.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ.setdefault(OWNER, own_id())
os.environ.setdefault(
    "MLFLOW_TRACKING_URI", f"sqlite:///{Path('mlflow.db').absolute()}"
)
if not os.environ.get("RAY_ADDRESS"):
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", os.urandom(16).hex())

try:
    experiment = Experiment(config)
except ValueError as mistake:
    raise WorkflowError(str(mistake)) from None

RESULTS = str(experiment.results)
DATA = experiment.config.data_dir
ARCHIVES = experiment.config.archives_dir


def any_of(names):
    return "|".join(sorted(names)) or "none"


wildcard_constraints:
    dataset=any_of(experiment.datasets),
    model=any_of({m for _, m in experiment.pairs} | set(experiment.config.profiles)),
    backbone=any_of(experiment.pretrained),
    seed=r"\d+",
    table=any_of(experiment.tables),
    kind="cost|classes|comparison",


def threads_of(wildcards):
    """CPU cores of a training: its recipe's threads for each worker, one where GPUs do the work."""
    if experiment.config.ray.gpus:
        return 1
    train, _ = experiment.recipe(wildcards.dataset, wildcards.model)
    return train.threads * experiment.config.ray.workers


def evaluations(dataset=None, models=None):
    return [
        f"{RESULTS}/evaluate/{d}/{m}/{seed}.json"
        for d, m in experiment.pairs
        for seed in experiment.config.seeds
        if dataset in (None, d) and (models is None or m in models)
    ]


def profiles():
    return [f"{RESULTS}/profile/{m}.json" for m in experiment.config.profiles]


def pretrainings():
    return [f"{RESULTS}/pretrain/{b}/run.json" for b in experiment.pretrained]


def tables(suffix="csv"):
    return [f"{RESULTS}/tables/{table}.{suffix}" for table in experiment.tables]


def figures():
    names = [f"classes_{d}" for d in experiment.config.trainings]
    names += [f"comparison_{d}" for d in experiment.config.comparisons]
    names += [f"cost_{d}" for d in experiment.config.trainings]
    return [f"{RESULTS}/figures/{name}.png" for name in names]
