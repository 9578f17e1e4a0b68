"""Says, before anything is prepared or trained, what a fine-tuning would keep of its start, and
which model would teach it."""

from collections.abc import Sequence
from pathlib import Path

from lemore.config.jobs import EvaluateJob, FinetuneJob, read_job
from lemore.config.model import get_start
from lemore.models.network import make_network
from lemore.stages.workers.start import check_start, fit_start
from lemore.stages.workers.teacher import check_teacher, describe_teacher
from lemore.trained.find import read_trained


def preview_start(config: Path, evaluation: Path) -> str:
    """Returns a line on what fits and who teaches; ValueError for a checkpoint that is missing,
    broken, another network's, or of which nothing fits, and for a teacher that does not fit.

    evaluation: its job names the dataset's classes, but those of own boxes, which their JSON has.
    """
    job = read_job(FinetuneJob, config)
    classes = read_job(EvaluateJob, evaluation).classes
    name, teacher, texts = get_start(job.init), job.train.teacher, []
    if name is not None:
        texts.append(describe_fit(job, name, classes))
    if teacher is not None:
        trained = read_trained(teacher.name)
        check_teacher(job, trained, classes, str(config))
        texts.append(describe_teacher(job, trained))
    if not texts:
        raise ValueError(
            f"{config}: init is '{job.init}' and train.teacher is none, expected checkpoint:<name> "
            "or a teacher"
        )
    return "; ".join(texts)


def describe_fit(job: FinetuneJob, name: str, classes: Sequence[str]) -> str:
    """Returns a line on what a fine-tuning would keep of a checkpoint; ValueError as above.

    classes: those of the dataset, () if they are not known yet.
    """
    trained = read_trained(name)
    check_start(job, trained)
    fitted = fit_start(make_network(job), trained, classes)["text"]
    unknown = f"starts from {trained.source}; the prepared data will say with which classes"
    text = fitted if classes else unknown
    terms = " and ".join(trained.licences)
    return f"{text}; its terms hold for the new weights too: {terms}" if terms else text
