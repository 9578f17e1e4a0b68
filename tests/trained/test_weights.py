"""The weights that come with the package."""

import numpy as np
import pytest
from PIL import Image

import lemore
from lemore.config.checkpoints import list_published
from lemore.runtime import shipped
from lemore.trained.find import read_trained


@pytest.mark.parametrize("name", list_published())
def test_a_card_names_licence_and_digest_of_the_weights(name):
    trained = read_trained(name)  # refuses tensors of another digest
    card = (shipped.WEIGHTS / name / "README.md").read_text()
    assert trained.licence == "CC BY-NC 4.0" and f"Of the weights: {trained.licence}" in card
    assert trained.record.weights_sha256 in card


@pytest.mark.parametrize("name", list_published())
def test_the_models_see_streets(name, samples):
    """On every twentieth test frame; 85.6 and 85.7 % of all pixels are right."""
    model, right, known = lemore.load(name), 0, 0
    photos = sorted((samples / "camvid/images/test").iterdir())[::20]
    assert len(photos) == 12
    for photo in photos:
        label = np.asarray(Image.open(samples / f"camvid/annotations/test/{photo.stem}.png"))
        found = model.predict(photo).label_map
        right += int((found == label)[label < 11].sum())
        known += int((label < 11).sum())
    assert 0.8 < right / known < 0.92
