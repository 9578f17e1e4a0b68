"""Finds in a run's configuration what can be reported of it. Torch-free."""

from lemore.config.experiment import Experiment

ABLATION_DATASET = "ade20k"  # of the paper's Table 2


def list_segmented(experiment: Experiment) -> list[str]:
    """Datasets with label maps, by whose classes results can be drawn."""
    return _list_trained(experiment, "segmentation")


def list_detected(experiment: Experiment) -> list[str]:
    """Datasets with boxes, of which the curves of the trainings can be drawn."""
    return _list_trained(experiment, "detection")


def _list_trained(experiment: Experiment, task: str) -> list[str]:
    datasets = experiment.config.trainings
    return [name for name in datasets if experiment.dataset(name).task == task]


def list_tested(experiment: Experiment) -> list[str]:
    """Datasets with at least two models that have the same number of seeds, two or more."""
    found = []
    for dataset in list_segmented(experiment):
        models = experiment.config.trainings[dataset]
        numbers = [len(experiment.seeds(m)) for m in models if len(experiment.seeds(m)) > 1]
        found += [dataset] if len(set(numbers)) < len(numbers) else []
    return found


def map_ablations(experiment: Experiment) -> dict[str, str]:
    """Dataset -> the table for its ablation figure, where two variants are trained."""
    found = {}
    for dataset, models in experiment.config.trainings.items():
        stands_for = experiment.dataset(dataset).stands_for or dataset
        view = stands_for == ABLATION_DATASET and experiment.config.paper_tables
        if sum(m == "lemore" or m.startswith("lemore_t") for m in models) > 1:
            found[dataset] = "ablation" if view else dataset
    return found


def list_costed(experiment: Experiment) -> list[str]:
    """Datasets for which a figure of costs can be drawn, since a model is counted."""
    trainings, counted = experiment.config.trainings, set(experiment.profiles)
    return [d for d in list_segmented(experiment) if counted.intersection(trainings[d])]


def find_diagrammed(experiment: Experiment) -> str | None:
    """The first model with LeMoRe's backbone, whose feed-forward network is drawn."""
    for model in (*(m for _, m in experiment.pairs), *experiment.profiles):
        if experiment.backbone(experiment.model(model).backbone).module == "lemore":
            return model
    return None
