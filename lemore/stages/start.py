"""Says, before anything is prepared or trained, what a fine-tuning would keep of its start."""

from pathlib import Path

from lemore.config.jobs import EvaluateJob, FinetuneJob, read_job
from lemore.config.model import get_start
from lemore.models.segmentor import make_model
from lemore.stages.workers.start import check_start, fit_start
from lemore.trained.find import read_trained


def preview_start(config: Path, evaluation: Path) -> str:
    """Returns a line on what fits; ValueError for a checkpoint that is missing, broken, another
    network's, or of which nothing fits. evaluation: its job names the dataset's classes."""
    job = read_job(FinetuneJob, config)
    name = get_start(job.init)
    if name is None:
        raise ValueError(f"{config}: init is '{job.init}', expected checkpoint:<name>")
    trained = read_trained(name)
    check_start(job, trained)
    return fit_start(make_model(job), trained, read_job(EvaluateJob, evaluation).classes)["text"]
