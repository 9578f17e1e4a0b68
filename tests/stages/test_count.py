"""Every model that is published and implemented is counted for the paper's tables."""

from dataclasses import replace

import pytest

from lemore.cli import main
from lemore.config.experiment import Experiment
from lemore.config.job_files import write_count_job
from lemore.config.jobs import CountJob, read_job, write_job
from lemore.config.read import read_yaml
from lemore.reporting.tables import paper
from lemore.runtime.files import read_json
from lemore.runtime.shipped import CONFIG


@pytest.fixture
def experiment(tmp_path, monkeypatch) -> Experiment:
    """The embedded default, which writes its jobs below a folder of the test."""
    monkeypatch.chdir(tmp_path)
    return Experiment(read_yaml(CONFIG / "config.yaml"), CONFIG.parent)


def test_every_implemented_row_of_the_papers_tables_is_counted_or_profiled(experiment):
    places = [experiment.profiles, experiment.counted]
    covered = {
        (model, place.partition("@")[0])
        for models in places
        for model, names in models.items()
        for place in names
    }
    rows = [row for table in "123456" for row in paper.list_rows(table)]
    lacking = {row.model for row in rows if (row.model, row.dataset) not in covered}
    assert lacking == {"hr_nas_a", "hr_nas_b"}
    both = set(experiment.profiles) & set(experiment.counted)
    for model in both:
        counted = {place.partition("@")[0] for place in experiment.counted[model]}
        assert not counted & {place.partition("@")[0] for place in experiment.profiles[model]}


def test_counts_are_those_of_a_profile(experiment, tmp_path):
    path = tmp_path / write_count_job(experiment)
    job = read_job(CountJob, path)
    write_job(path, replace(job, models=[m for m in job.models if m.model_name == "lemore_448"]))
    output = tmp_path / "counts.json"
    assert main(["count", "--config", str(path), "--json", str(output)]) == 0
    (model,) = read_json(output)["models"]
    (cell,) = model["cells"]
    assert (model["model"], cell["size"], cell["dataset"]) == ("lemore_448", [448, 448], "ade20k")
    row = paper.find_row("lemore_448", "ade20k")
    assert row is not None
    assert round(cell["macs"] / 1e9, 1) == float(row.gflops)
    assert round(cell["params"] / 1e6, 1) == float(row.params_m)
    assert cell["latency"] is None


def test_a_config_without_a_file_for_the_counts_is_refused(tmp_path):
    assert main(["count", "--config", str(tmp_path / "count.yaml")]) == 2
