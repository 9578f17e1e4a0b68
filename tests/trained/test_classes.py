"""The names of the classes travel with the weights: the same pixels keep the same names when a
dataset is prepared with its classes in another order."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from lemore.cli import main
from lemore.data.photo import PIXELS
from lemore.data.store import PackWriter, Store, pack_label
from lemore.evaluation import segmentation
from lemore.runtime.files import read_json, write_json
from lemore.stages.examples import read_examples
from lemore.trained.classes import fit_classes
from lemore.trained.find import read_trained
from tests.trained_models import make_photo, make_settings, save, write_checkpoint

NAMES = ("water", "reed", "bank", "sky")
ORDER = ("sky", "water", "bank", "reed")
SIZE = (80, 112)


def prepare(folder: Path, names: tuple[str, ...]) -> Store:
    """A prepared dataset whose pixels have the same names whatever the order of `names`."""
    folder.mkdir(parents=True)
    writer, lut = PackWriter(folder, "val", "segmentation"), np.full(256, 255, np.uint8)
    for k, name in enumerate(NAMES):
        lut[k] = names.index(name) if name in names else 255
    for i in range(3):
        rng = np.random.default_rng(i)
        label = cv2.resize(rng.integers(0, 4, (5, 7), dtype=np.uint8), SIZE[::-1], interpolation=0)
        label[:2] = 255
        photo = make_photo(i)
        writer.add(f"photo {i}", SIZE, photo.tobytes(), PIXELS, pack_label(lut[label]))
    writer.close()
    digest = {
        "dataset": folder.name, "task": "segmentation", "num_classes": len(names),
        "classes": list(names), "class_frequencies": [1 / len(names)] * len(names),
        "splits": {"val": {"count": 3, "sha256": ""}}, "source": "archives", "sha256": names[0],
    }  # fmt: skip
    write_json(folder / "digest.json", digest)
    write_json(folder / "colors.json", [[9 * k, 0, 0] for k in range(len(names))])
    return Store(folder, "val")


@pytest.fixture
def weights(tmp_path) -> Path:
    config = make_settings(dataset="ponds", classes=4)
    return write_checkpoint(tmp_path / "weights.pt", config, NAMES)


def measure(weights: Path, store: Store) -> np.ndarray:
    trained, test = read_trained(weights), segmentation.make_plain_test((112, 80))
    network = fit_classes(trained.network(), trained, store)
    results = segmentation.evaluate(network, store, torch.device("cpu"), test, ()).results
    return np.array(results["confusion"])


def test_another_order_permutes_the_confusion_and_nothing_else(weights, tmp_path, caplog):
    before = measure(weights, prepare(tmp_path / "a/ponds", NAMES))
    assert not caplog.text and (before > 0).sum() > 8
    after = measure(weights, prepare(tmp_path / "b/ponds", ORDER))
    place = [NAMES.index(name) for name in ORDER]
    assert (after == before[np.ix_(place, [*place, 4])]).all()
    assert "water, reed, bank, sky" in caplog.text and "sky, water, bank, reed" in caplog.text


@pytest.mark.parametrize("names", [("reed", "water", "pond"), ("water", "reed", "bank", "ski")])
def test_other_names_are_refused_with_both_lists(weights, tmp_path, names):
    trained, store = read_trained(weights), prepare(tmp_path / "ponds", names)
    with pytest.raises(ValueError) as caught:
        fit_classes(nn.Identity(), trained, store)
    assert "\n" not in str(caught.value)
    for part in (str(weights), ", ".join(NAMES), ", ".join(names)):
        assert part in str(caught.value)


def test_long_lists_are_told_by_their_difference(tmp_path):
    many = tuple(f"name {k}" for k in range(30))
    config = make_settings(dataset="ponds", classes=30)
    trained = read_trained(write_checkpoint(tmp_path / "weights.pt", config, many))
    store = prepare(tmp_path / "ponds", (*many[:-1], "other"))
    with pytest.raises(ValueError, match=r"classes name 29, .*30 in all.* has other, .*30 in all"):
        fit_classes(nn.Identity(), trained, store)


def test_weights_without_names_are_taken_with_a_warning(tmp_path, caplog):
    config = make_settings(dataset="ponds", classes=4)
    trained = read_trained(write_checkpoint(tmp_path / "weights.pt", config))
    network = nn.Identity()
    assert fit_classes(network, trained, prepare(tmp_path / "ponds", ORDER)) is network
    assert "holds no names of classes" in caplog.text


def test_every_command_calls_the_pixels_by_the_same_names(weights, tmp_path, monkeypatch, caplog):
    """predict and share keep the numbers of the weights and say so; evaluate scores by name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    photo, scores, shares = save(tmp_path / "x.png", make_photo(0)), [], []
    for place, names in (("a", NAMES), ("b", ORDER)):
        prepare(tmp_path / place / "ponds", names)
        data = ["--data-dir", place]
        caplog.clear()
        options = ["--checkpoint", "weights.pt", *data]
        assert (
            main(["predict", *options, "--output", f"{place}/out", "--shares", "csv", str(photo)])
            == 0
        )
        shares.append(Path(place, "out/shares.csv").read_text())
        assert main(["evaluate", *options, "--dataset", "ponds", "--json", f"{place}/e.json"]) == 0
        record = read_json(f"{place}/e.json")
        scores.append(dict(zip(record["classes"], record["iou"], strict=True)))
        assert record["classes"] == list(names) and record["data_sha256"] == names[0]
        options += ["--evaluation", f"{place}/e.json", "--output", f"{place}/model"]
        options += ["--licence", "MIT"]
        assert main(["share", *options]) == 0
        warned = any(record.levelname == "WARNING" for record in caplog.records)
        assert warned == (place == "b")
    assert shares[0] == shares[1] and scores[0] == scores[1]
    rows = [Path(place, "model/README.md").read_text().partition("## Classes")[2] for place in "ab"]
    assert rows[0].split("\n## ")[0] == rows[1].split("\n## ")[0]


def test_pictures_of_an_evaluation_before_the_classes_changed_are_refused(tmp_path):
    store = prepare(tmp_path / "ponds", ORDER)
    result = {"file": "e.json", "classes": list(NAMES), "predictions": {}}
    with pytest.raises(ValueError, match=r"e\.json: .*evaluate again"):
        read_examples(store, ["photo 0"], [result])


def test_an_evaluation_of_other_classes_is_not_put_on_the_card(
    weights, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    digest = read_trained(weights).record.weights_sha256
    values = {"stage": "evaluate", "dataset": "ponds", "classes": ["pond", *NAMES[1:]]}
    values |= {"iou": [0.5] * 4, "weights_sha256": digest, "finetune_run_id": ""}
    Path("e.json").write_text(json.dumps(values))
    options = ["--checkpoint", "weights.pt", "--evaluation", "e.json", "--output", "model"]
    assert main(["share", *options]) == 2
    assert "pond, reed, bank, sky" in capsys.readouterr().err and not Path("model").exists()
