"""Fine-tunes a model: from a job's file to published weights. The training runs elsewhere."""

from dataclasses import replace
from pathlib import Path

from lemore.config.code import VALIDATION
from lemore.config.jobs import EvaluateJob, FinetuneJob, read_job
from lemore.config.model import find_init_file, get_start
from lemore.runtime.files import key_of, read_json
from lemore.runtime.tracking.pending_run import name_parent
from lemore.stages.check import check_evaluation, check_training
from lemore.stages.training import Placement, Training, make_worker, run_training


def finetune(placement: Placement, pretrained: Path | None, evaluation: Path | None) -> int:
    """Returns the training's exit code. pretrained: run.json of the backbone's pretraining.
    evaluation: the YAML of the job that will evaluate it, whose needs are checked first."""
    job = read_job(FinetuneJob, placement.config)
    check_training(job.train, placement.data)
    if evaluation is not None:
        check_evaluation(read_job(EvaluateJob, evaluation), placement.data)
    init, parents, inputs = find_initial_weights(job, pretrained)
    worker = make_worker(placement)
    return run_training(
        Training(
            stage="finetune",
            job=job,
            function="lemore.stages.workers.finetune:train",
            named_modules=list_named_modules(job),
            trained={"model": job.model_name},
            worker=replace(worker, init=init, init_sha256=inputs.get("init", "")),
            parents=parents,
            inputs=inputs,
        ),
        placement,
    )


def list_named_modules(job: FinetuneJob) -> tuple[str, ...]:
    """Lists the model's modules, which are found by name, and validation if it chooses weights."""
    heads = (f"lemore.models.decode_heads.{head}" for head in job.model.decode_heads)
    chooses = (VALIDATION,) if job.train.keep == "best" else ()
    return (f"lemore.models.backbones.{job.backbone.module}", *heads, *chooses)


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
    from lemore.runtime import checkpoint
    from lemore.stages.workers.start import check_start
    from lemore.trained.find import find_checkpoint, read_trained

    path = find_checkpoint(name).absolute()
    trained = read_trained(path)
    check_start(job, trained)
    parents = {"start": name_parent(vars(trained.record))} if trained.record.mlflow_run_id else {}
    inputs = {"init": checkpoint.hash_tensors(trained.state_dict)}
    if trained.classes is not None:
        inputs["init_classes"] = key_of(trained.classes.names)
    return f"checkpoint:{path}", parents, inputs
