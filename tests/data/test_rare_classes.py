"""Images that are drawn by a class: how often, and that a draw follows from its number alone."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import chisquare

from lemore.data.loader import TrainBatches
from lemore.data.rare_classes import find_rare_classes
from lemore.data.store import Store, take_part

HOLDS = [{0}, {0}, {0, 1}, {0}, {0, 1, 2}, set(), {0, 4}]  # classes by image; 3 is nowhere
DRAWS = 20_000


def make_labels(share: float):
    labels = [np.array([[*kinds, 255]], np.uint8) for kinds in HOLDS]
    names = SimpleNamespace(
        task="segmentation",
        num_classes=5,
        read_label=labels.__getitem__,
        name=str,
        __len__=lambda: len(labels),
    )
    store = type("S", (), {**vars(names), "__len__": lambda _: len(labels)})()
    return store, find_rare_classes(store, share)  # pyright: ignore


def make_batches(share: float, batch_size: int, **options) -> TrainBatches:
    store, rare = make_labels(share)
    return TrainBatches(
        store,
        SimpleNamespace(crop_size=(4, 4)),  # pyright: ignore
        seed=options.pop("seed", 3),
        batch_size=batch_size,
        start=0,
        stop=DRAWS // batch_size,
        rare=rare,
        **options,
    )


def count(batches: TrainBatches, batch_size: int) -> list[int]:
    found = Counter(n for i in range(DRAWS // batch_size) for n in batches.list_names(i))
    return [found[str(i)] for i in range(len(HOLDS))]


@pytest.mark.parametrize("share", [0.25, 0.8, 1.0])
def test_images_come_as_often_as_their_classes_ask(share):
    with_class = {k: sum(k in kinds for kinds in HOLDS) for k in set().union(*HOLDS)}
    expected = [
        DRAWS
        * (
            (1 - share) / len(HOLDS)
            + share / len(with_class) * sum(1 / with_class[k] for k in kinds)
        )
        for kinds in HOLDS
    ]
    found = count(make_batches(share, 8), 8)
    seen = [i for i, number in enumerate(expected) if number]
    assert sum(found) == DRAWS and all(found[i] == 0 for i in set(range(len(HOLDS))) - set(seen))
    assert chisquare([found[i] for i in seen], [expected[i] for i in seen]).pvalue > 0.01


def test_a_draw_follows_from_its_number_alone():
    names = [make_batches(0.5, size).list_names for size in (4, 10)]
    first = [n for i in range(100) for n in names[0](i)]
    assert first == [n for i in range(40) for n in names[1](i)]
    assert first != [n for i in range(100) for n in make_batches(0.5, 4, seed=4).list_names(i)]


def test_a_share_of_nothing_reads_no_label_and_changes_no_order():
    assert make_labels(0.0)[1] is None
    everyone = [make_batches(0.0, 7).list_names(i) for i in range(5)]
    assert all(sorted(names) == sorted(map(str, range(7))) for names in everyone)


def test_what_a_search_trains_on_is_drawn_too(tiny):
    store = Store(tiny.data, "train")
    part = take_part(store, held_out=False)
    rare = find_rare_classes(part, 1.0)
    assert rare is not None and len(rare.images) == 4
    for k, images in enumerate(rare.images):
        assert all((part.read(int(i))[1] == k).any() for i in images)
