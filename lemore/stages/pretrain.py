"""Pretrains a backbone: from a job's file to published weights. The training runs elsewhere."""

from lemore.config.jobs import PretrainJob, read_job
from lemore.stages.check import check_pretraining
from lemore.stages.training import Placement, Training, make_worker, run_training


def pretrain(placement: Placement) -> int:
    """Returns the exit code of the training."""
    job = read_job(PretrainJob, placement.config)
    check_pretraining(job.recipe, placement.data)
    return run_training(
        Training(
            stage="pretrain",
            job=job,
            function="lemore.stages.workers.pretrain:train",
            named_modules=(f"lemore.models.backbones.{job.backbone.module}",),
            trained={"backbone": job.backbone_name},
            worker=make_worker(placement),
            parents={},
            inputs={},
            note="Recipe reconstructed: neither the paper nor its supplement gives one.",
        ),
        placement,
    )
