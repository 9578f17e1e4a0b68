"""MLflow keeps more than metrics: registered models, tables by class, panels.

Registered models are pt2 files with a signature, one version for each training, without pickle.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import lemore
from lemore.data.store import Store
from lemore.models.segmentor import make_model
from lemore.reporting.overlay import draw_overlay
from lemore.runtime.files import read_json
from lemore.runtime.tracking import models
from tests.trained_models import make_job

LOAD = """
import json, sys
import mlflow, numpy as np, torch
store, uri, images, output = sys.argv[1:]
mlflow.set_tracking_uri(store)
images = np.load(images, allow_pickle=False)
plain = mlflow.pytorch.load_model(uri)(torch.from_numpy(images)).detach().numpy()
function = mlflow.pyfunc.load_model(uri)
np.savez(output, plain=plain, function=function.predict(images))
signature = function.metadata.signature.to_dict()
example = function.input_example.shape
lemore = [name for name in sys.modules if name.split(".")[0] == "lemore"]
print(json.dumps({"signature": signature, "example": example, "lemore": lemore}))
"""
pytestmark = pytest.mark.slow
NO_PICKLE = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


@pytest.fixture(scope="module")
def trained(tiny):
    config = tiny.finetune_job("lemore_t", iterations=4, warmup_iterations=1, validate_every=4)
    return tiny.finetune(config, "registered", "--log-model")


@pytest.fixture(scope="module")
def client(tiny, trained):
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{tiny.folder / 'mlflow.db'}")


def loaded(tiny, uri: str, images: np.ndarray) -> tuple[dict, dict[str, np.ndarray]]:
    """What a fresh process that may not run pickles makes of a model, outside the project."""
    given, output = tiny.folder / "images.npy", tiny.folder / "logits.npz"
    np.save(given, images)
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOAD, f"sqlite:///{tiny.folder / 'mlflow.db'}", uri, given,
         output],
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | NO_PICKLE,
        cwd=tiny.folder,
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with np.load(output, allow_pickle=False) as arrays:
        return json.loads(done.stdout.splitlines()[-1]), dict(arrays)


def test_a_registered_model_computes_what_was_trained_without_pickle(tiny, trained, client):
    images = np.random.default_rng(0).standard_normal((3, 3, 64, 64)).astype(np.float32)
    about, logits = loaded(tiny, "models:/tiny-lemore_t@test-seed0", images)
    assert about["lemore"] == []  # the file holds the whole network
    with torch.inference_mode():
        own = lemore.load(str(trained / "weights.pt"))(torch.from_numpy(images)).numpy()
    for name in ("plain", "function"):
        np.testing.assert_allclose(logits[name], own, rtol=1e-3, atol=1e-4)
    inputs, outputs = (json.loads(about["signature"][key]) for key in ("inputs", "outputs"))
    assert inputs[0]["tensor-spec"] == {"dtype": "float32", "shape": [-1, 3, 64, 64]}
    assert outputs[0]["tensor-spec"]["shape"] == [-1, *own.shape[1:]]
    assert about["example"] == [2, 3, 64, 64]


def test_a_version_leads_to_its_training(trained, client):
    record = read_json(trained / "run.json")
    (version,) = client.search_model_versions("name = 'tiny-lemore_t'")
    assert version.run_id == record["mlflow_run_id"]
    expected = {"stage": "finetune", "run": "test", "dataset": "tiny", "model": "lemore_t"}
    expected |= {"seed": "0", "key": record["key"], "weights_sha256": record["weights_sha256"]}
    assert version.tags == expected
    outputs = client.get_run(version.run_id).outputs.model_outputs
    assert [f"models:/{output.model_id}" for output in outputs] == [version.source]
    assert [output.step for output in outputs] == [record["iterations"]]


def test_a_version_is_a_logged_model_with_its_measures(trained, client):
    (version,) = client.search_model_versions("name = 'tiny-lemore_t'")
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    assert model.source_run_id == version.run_id and model.tags["step"] == "4"
    assert model.tags["file"] == str(trained / "weights.pt")
    assert model.params["crop_size"] == "[64, 64]" and model.params["iterations"] == "4"
    assert "mlflow.model.isExternal" not in model.tags
    (named,) = json.loads(model.tags["mlflow.modelVersions"])
    assert (named["name"], str(named["version"])) == ("tiny-lemore_t", "1")
    measured = {(m.key, m.step): m.dataset_name for m in model.metrics}
    assert measured["train/loss", 4] == measured["val/mIoU", 4] == "tiny"


def test_a_training_repeated_adds_no_version(tiny, trained, client):
    before = read_json(trained / "run.json")
    (trained / "run.json").unlink()
    again = tiny.finetune(tiny.folder / "finetune_lemore_t_none.yaml", "registered", "--log-model")
    assert read_json(again / "run.json")["weights_sha256"] == before["weights_sha256"]
    assert len(client.search_model_versions("name = 'tiny-lemore_t'")) == 1
    assert len(client.get_run(before["mlflow_run_id"]).outputs.model_outputs) == 1


def test_without_the_option_nothing_is_registered(tiny, client):
    config = tiny.finetune_job("topformer_t", iterations=4, warmup_iterations=1)
    tiny.finetune(config, "unregistered")
    assert [model.name for model in client.search_registered_models()] == ["tiny-lemore_t"]


def test_a_network_that_takes_one_image_says_so(tmp_path, monkeypatch):
    """SegNeXt's decomposition reshapes by the number of images."""
    from mlflow import MlflowClient
    from mlflow.pyfunc import load_model

    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    client = MlflowClient(store)
    experiment = client.create_experiment("x", artifact_location=str(tmp_path / "files"))
    tags = {"dataset": "camvid", "model": "segnext_t", "run": "a.b", "seed": "0"}
    run = client.create_run(
        experiment, tags={f"lemore.{k}": v for k, v in tags.items()}
    ).info.run_id
    network = make_model(make_job("segnext_t")).eval()
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    models.log_model(run, network, image)
    model = load_model("models:/camvid-segnext_t@a_b-seed0")
    assert model.metadata.signature.inputs.inputs[0].shape == (1, 3, 64, 64)
    with torch.inference_mode():
        expected = network(image).numpy()
    np.testing.assert_allclose(model.predict(image.numpy()), expected, rtol=1e-3, atol=1e-4)


def test_an_evaluation_keeps_a_table_by_class_and_panels(tiny, trained, client):
    import mlflow

    tiny.lemore(*tiny.evaluate_command(trained, tiny.evaluate_job("val_1")))
    record = read_json(trained / "evaluate.json")
    mlflow.set_tracking_uri(f"sqlite:///{tiny.folder / 'mlflow.db'}")  # load_table goes by it
    run = record["mlflow_run_id"]
    experiment = client.get_run(run).info.experiment_id
    table = client.load_table(experiment, "per_class.json", run_ids=[run])
    assert table["class"].tolist() == [f"class {k}" for k in range(4)]
    for column, key in (("IoU", "iou"), ("boundary IoU", "boundary_iou"), ("accuracy", "acc")):
        found = [None if np.isnan(value) else value for value in table[column].astype(float)]
        assert found == pytest.approx(record[key])
    assert table["labelled pixels"].tolist() == [sum(row) for row in record["confusion"]]
    (panel,) = client.list_artifacts(run, "panels")
    with Image.open(client.download_artifacts(run, panel.path)) as picture:
        assert panel.path == "panels/val_1.jpg" and picture.format == "JPEG"
        assert picture.size == (3 * 112 + 2 * 8, 80)  # image, ground truth, prediction
        shown = np.asarray(picture).astype(int)
    image, label = Store(tiny.data, "val").read(1)
    colors = [(10 * k, 0, 0) for k in range(4)]
    predicted = np.asarray(Image.open(trained / record["predictions"]["val_1"]))
    maps = [draw_overlay(image, labels, colors) for labels in (label, predicted)]
    for left, expected in zip((0, 120, 240), (image, *maps), strict=True):
        found = blocks(shown[:, left : left + 112])
        np.testing.assert_allclose(found, blocks(expected), atol=6)


def blocks(picture: np.ndarray) -> np.ndarray:
    """Means of 8 x 8 pixels: JPEG keeps little more of noise."""
    return picture.reshape(10, 8, 14, 8, 3).mean(axis=(1, 3))


def test_the_variable_refuses_a_pickled_model(monkeypatch, tmp_path):
    from mlflow.exceptions import MlflowException
    from mlflow.pytorch import load_model, save_model

    save_model(torch.nn.Linear(2, 2), tmp_path / "m", serialization_format="pickle",
               pip_requirements=["torch"])  # fmt: skip
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    with pytest.raises(MlflowException, match="pickle is disallowed"):
        load_model(str(tmp_path / "m"))
