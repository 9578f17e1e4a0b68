"""The objects of photos, from the store and back."""

import numpy as np

from lemore.data import objects
from lemore.data.objects import Objects
from lemore.data.store import PackWriter, Store
from lemore.runtime.files import write_json

EMPTY = Objects(*(np.zeros(shape) for shape in ((0, 4), 0, 0, 0)))
SOME = Objects(
    np.array([[0.25, 1.5, 30.125, 20], [-3, -2, 70, 50]], np.float32),
    np.array([79, 300]),
    np.array([False, True]),
    np.array([41.5, 2.25], np.float32),
)
FACTS = {"dataset": "d", "task": "detection", "num_classes": 2, "classes": ["a", "b"]}


def test_objects_and_image_ids_come_back(tmp_path):
    writer = PackWriter(tmp_path, "train", "detection")
    for number, found in enumerate((EMPTY, SOME, EMPTY, SOME)):
        writer.add(f"n{number}", (40, 56), b"x", 0, objects.pack(found, 10**12 + number))
    writer.close()
    digest = FACTS | {"splits": {"train": {}}, "class_frequencies": [], "category_ids": [4, 90]}
    write_json(tmp_path / "digest.json", digest)
    store = Store(tmp_path, "train")
    assert store.category_ids == [4, 90]
    assert store.count_objects().tolist() == [0, 2, 0, 2]
    assert store.list_sizes().tolist() == [[40, 56]] * 4
    for number, expected in enumerate((EMPTY, SOME, EMPTY, SOME)):
        assert store.read_image_id(number) == 10**12 + number
        found = store.read_label(number)
        assert len(found) == len(expected)
        for key in ("boxes", "classes", "crowd", "areas"):
            assert (getattr(found, key) == getattr(expected, key)).all()
        types = [a.dtype for a in (found.boxes, found.classes, found.crowd, found.areas)]
        assert types == [np.float32, np.int64, np.bool_, np.float32]


def test_boxes_are_cut_to_the_photo():
    cut = SOME.clip((40, 56))
    assert cut.boxes.tolist() == [[0.25, 1.5, 30.125, 20], [0, 0, 56, 40]]
    assert cut.sizes.tolist() == [[29.875, 18.5], [56, 40]]
