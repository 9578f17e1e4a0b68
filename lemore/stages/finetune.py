"""Fine-tunes a model: from a job's file to published weights. The training runs elsewhere."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lemore.config.code import list_by_model, list_by_recipe
from lemore.config.jobs import EvaluateJob, FinetuneJob, read_job
from lemore.config.model import find_init_file, get_start
from lemore.data.store import Store
from lemore.runtime.files import key_of, read_json
from lemore.runtime.tracking.pending_run import name_parent
from lemore.stages.check import check_evaluation, check_training
from lemore.stages.training import Placement, Training, make_worker, run_training

if TYPE_CHECKING:
    from lemore.trained.checkpoint import Trained


def finetune(placement: Placement, pretrained: Path | None, evaluation: Path | None) -> int:
    """Returns the training's exit code. pretrained: run.json of the backbone's pretraining.
    evaluation: the YAML of the job that will evaluate it, whose needs are checked first."""
    job = read_job(FinetuneJob, placement.config)
    check_training(job.train, placement.data)
    if evaluation is not None:
        check_evaluation(read_job(EvaluateJob, evaluation), placement.data)
    init, parents, inputs = find_initial_weights(job, pretrained)
    teacher, taught_by, digests = find_teacher(job, placement.data, str(placement.config))
    parents, inputs = parents | taught_by, inputs | digests
    worker = replace(
        make_worker(placement),
        init=init,
        init_sha256=inputs.get("init", ""),
        teacher=teacher,
        teacher_sha256=inputs.get("teacher", ""),
    )
    return run_training(
        Training(
            stage="finetune",
            job=job,
            function="lemore.stages.workers.finetune:train",
            named_modules=list_named_modules(job),
            trained={"model": job.model_name},
            worker=worker,
            parents=parents,
            inputs=inputs,
        ),
        placement,
    )


def list_named_modules(job: FinetuneJob) -> tuple[str, ...]:
    """Lists the modules of the model, and those of its recipe, which are found by name."""
    by_model = list_by_model(job.model, "finetune")
    by_recipe = list_by_recipe(job.train, job.model.task)
    return (f"lemore.models.backbones.{job.backbone.module}", *by_model, *by_recipe)


def find_initial_weights(
    job: FinetuneJob, run_json: Path | None
) -> tuple[str, dict[str, str], dict[str, str]]:
    """Returns the initial weights' (source, parent runs, digests); ValueError if they are missing
    or another network's.

    The digests are part of a training's key, so that other weights behind the same name start anew.
    """
    init = job.init
    if name := get_start(init):
        return _find_start(job, name)
    if file := find_init_file(init):
        from lemore.runtime import checkpoint  # loads torch, which other trainings' drivers spare

        digest = checkpoint.hash_tensors(checkpoint.load_tensors(file))
        return f"file:{file}", {}, {"init": digest}
    if init != "pretrain":
        return init, {}, {}
    if run_json is None:
        raise ValueError("--pretrained: this backbone's init is 'pretrain'; give its run.json")
    record = read_json(run_json)
    path = (run_json.parent / "weights.pt").absolute()
    return f"file:{path}", {"pretrain": name_parent(record)}, {"init": record["weights_sha256"]}


def _find_start(job: FinetuneJob, name: str) -> tuple[str, dict[str, str], dict[str, str]]:
    """Reads the whole model that a job starts from. Names of classes decide which rows are kept."""
    from lemore.stages.workers.start import check_start

    path, trained = _read_model(name)
    check_start(job, trained)
    return f"checkpoint:{path}", *_identify(trained, "start", "init")


def find_teacher(
    job: FinetuneJob, data: Path, file: str
) -> tuple[str, dict[str, str], dict[str, str]]:
    """Returns the teacher's (path, parent runs, digests), all empty if the recipe names none.

    ValueError if it is missing or does not fit. file: of the job, for messages.
    """
    if job.train.teacher is None:
        return "", {}, {}
    from lemore.stages.workers.teacher import check_teacher

    path, trained = _read_model(job.train.teacher.name)
    check_teacher(job, trained, Store(data, "train").classes, file)
    return str(path), *_identify(trained, "teacher", "teacher")


def _read_model(name: str) -> "tuple[Path, Trained]":
    from lemore.trained.find import find_checkpoint, read_trained

    path = find_checkpoint(name).absolute()
    return path, read_trained(path)


def _identify(trained: "Trained", parent: str, key: str) -> tuple[dict[str, str], dict[str, str]]:
    """Returns a model's run as a parent, and the digests of its tensors and names of classes.

    The run of a shared folder lies in the store of whoever trained it, so that it is named by its
    weights, by which a store finds it that has it.
    """
    from lemore.runtime import checkpoint

    record = trained.record
    shared = {"mlflow_run_id": ""} if Path(trained.source).is_dir() else {}
    parents = {parent: name_parent(vars(record) | shared)} if record.mlflow_run_id else {}
    inputs = {key: checkpoint.hash_tensors(trained.state_dict)}
    if trained.classes is not None:
        inputs[f"{key}_classes"] = key_of(trained.classes.names)
    return parents, inputs
