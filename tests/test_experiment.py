"""A run's configuration, expanded: every YAML of config/ holds, and mistakes are refused by key."""

from pathlib import Path

import pytest
import yaml

from lemore import reported, slices
from lemore.experiment import Experiment
from lemore.training.recipe import merge

ROOT = Path(__file__).parents[1]


def values(name: str) -> dict:
    return yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())


@pytest.mark.parametrize("name", sorted(path.stem for path in ROOT.glob("config/*.yaml")))
def test_every_configuration_of_the_project_holds(name):
    own = values(name)
    whole = own if "recipes" in own else merge(values("paper"), own)  # laid on another
    experiment = Experiment(whole, ROOT)
    assert experiment.pairs or experiment.config.profiles


def test_models_may_have_seeds_of_their_own():
    experiment = Experiment(values("camvid") | {"seeds_of": {"lemore": [0, 1, 2]}}, ROOT)
    assert experiment.seeds("lemore") == (0, 1, 2)
    assert experiment.seeds("topformer_t") == (0,)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": []}, ["seeds is []", "distinct seeds"]),
        ({"seeds_of": {"lemore": [1, 1]}}, ["lemore is [1, 1]", "distinct seeds"]),
        ({"seeds_of": {"lemroe": [1]}}, ["seeds_of.lemroe is not trained", "mean 'lemore'"]),
    ],
)
def test_mistakes_are_named(change, words):
    with pytest.raises(ValueError) as error:
        Experiment(values("camvid") | change, ROOT)
    assert all(word in str(error.value) for word in words), error.value


def test_what_can_be_reported_follows_from_the_configuration():
    plain = Experiment(values("config"), ROOT)
    assert reported.tested(plain) == []  # one seed each
    assert reported.ablations(plain) == {"ade20k_scenes": "ablation"}
    assert reported.costed(plain) == list(plain.config.trainings)
    assert reported.diagrammed(plain) == "lemore"
    light = Experiment(values("camvid_lightweight"), ROOT)
    assert reported.tested(light) == ["camvid"] and reported.ablations(light) == {}
    uneven = {"seeds_of": {"lemore": [0, 1, 2], "topformer_t": [0, 1]}}
    assert reported.tested(Experiment(values("camvid_lightweight") | uneven, ROOT)) == []
    rivals = {"trainings": {"camvid": ["topformer_t"]}, "profiles": {}, "comparisons": {}}
    without = Experiment(values("camvid") | rivals, ROOT)
    assert reported.costed(without) == [] and reported.diagrammed(without) is None
    every = Experiment(values("efficiency"), ROOT)  # every file of config/models
    assert reported.diagrammed(every) in every.profiles


def test_frames_of_films_change_nothing_that_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment = Experiment(values("camvid"), ROOT)
    assert experiment.dataset("camvid").video is not None
    assert "video" not in Path(slices.prepare(experiment, "camvid")).read_text()
