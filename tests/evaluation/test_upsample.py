"""Logits to label maps: the shortcut by cells, chunks of classes and the mean softmax, each against
F.interpolate and argmax in one piece."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lemore.evaluation import cells, upsample
from lemore.evaluation.upsample import (
    Pass,
    Window,
    label_by_classes,
    label_by_softmax,
    label_passes,
)

TIE = 1e-5  # relative difference of the two best logits below which rounding may decide


def bilinear(values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(values, size=size, mode="bilinear", align_corners=False)


def reference(logits: torch.Tensor, via, size) -> torch.Tensor:
    """Logits K h w at `size`, K H W: in one step, or in two by way of `via`."""
    values = bilinear(logits[None], via) if via else logits[None]
    return bilinear(values, size)[0]


def smooth(classes: int, size: tuple[int, int], seed: int, noise: float) -> torch.Tensor:
    """Logits K h w as a trained model has them: regions with smooth edges, and some noise."""
    generator = torch.manual_seed(seed)
    coarse = 4 * torch.randn(1, classes, 4, 5, generator=generator)
    fine = noise * torch.randn(1, classes, *size, generator=generator)
    return (F.interpolate(coarse, size, mode="bicubic") + fine)[0]


def one_pass(logits: torch.Tensor, size: tuple[int, int], via=None) -> Pass:
    """A whole image of `size` with these logits K h w."""
    return Pass([Window(0, 0, size, logits[None])], via)


def ties(labels: np.ndarray, values: torch.Tensor, scale: float) -> int:
    """Pixels where `labels` is not argmax of `values` K H W; each must be a tie of its two best."""
    differ = torch.from_numpy(labels) != values.argmax(0)
    if differ.any():
        best = values.topk(2, dim=0).values[:, differ]
        assert (best[0] - best[1]).max() < TIE * scale, f"{int(differ.sum())} pixels differ"
    return int(differ.sum())


def by_cells(logits: torch.Tensor, via, size) -> np.ndarray:
    labels = cells.label_by_cells(logits, via, size)
    assert labels is not None and labels.dtype == np.uint8 and labels.shape == size
    return labels


@contextmanager
def whatever_the_logits() -> Iterator[None]:
    """Cells serve all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "MAX_CONTESTED", 2.0)
        patch.setattr(cells, "MIN_PIXELS", 0)
        yield


# --- cells


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize(
    ("low", "via", "size"),
    [
        ((64, 86), (512, 683), (512, 683)),  # ADE20K: the image is the network's input
        ((53, 70), (420, 560), (360, 480)),  # CamVid, enlarged for the network
        ((32, 64), (256, 512), (512, 1024)),  # Cityscapes, by half
        ((64, 64), (512, 512), (512, 683)),  # square
        ((16, 22), (512, 683), (375, 500)),  # logits at 1/32
    ],
)
def test_sizes_of_the_datasets(low, via, size, steps):
    logits, between = smooth(19, low, 0, 0.3), via if steps == 2 else None
    found = by_cells(logits, between, size)
    assert ties(found, reference(logits, between, size), float(logits.abs().max())) < 10


SIDE = st.integers(1, 40)


@settings(max_examples=200, deadline=None)
@given(
    low=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    via=st.none() | st.tuples(SIDE, SIDE),
    size=st.tuples(SIDE, SIDE),
    classes=st.integers(1, 9),
    seed=st.integers(0, 2**31),
    noise=st.sampled_from([0.0, 0.3, 3.0, 30.0]),
    whole=st.booleans(),
)
def test_any_size_up_and_down(low, via, size, classes, seed, noise, whole):
    """Also single rows and columns, one class, ratios that are no integers, and whole numbers as
    logits, which make many ties."""
    logits = smooth(classes, low, seed, noise)
    logits = logits.round() if whole else logits
    with whatever_the_logits():
        found = by_cells(logits, via, size)
    ties(found, reference(logits, via, size), max(float(logits.abs().max()), 1.0))


def test_layout_of_the_logits_does_not_matter():
    logits = smooth(11, (45, 60), 1, 0.3)
    other = logits[None].contiguous(memory_format=torch.channels_last)[0]
    labels = by_cells(other, None, (360, 480))
    np.testing.assert_array_equal(labels, by_cells(logits, None, (360, 480)))


def test_bands_and_blocks_change_nothing(monkeypatch):
    logits = smooth(11, (45, 60), 1, 1.0)
    with whatever_the_logits():
        whole = by_cells(logits, (300, 400), (360, 480))
        monkeypatch.setattr(cells, "BAND_VALUES", 1)
        monkeypatch.setattr(cells, "BLOCK_CELLS", 7)
        np.testing.assert_array_equal(by_cells(logits, (300, 400), (360, 480)), whole)


def test_first_of_equal_classes_wins():
    same = smooth(1, (8, 9), 0, 1.0).expand(6, 8, 9)
    with whatever_the_logits():
        assert not by_cells(same, None, (64, 72)).any()
    for chunk in (1, 2, 6):
        assert not label_by_classes(one_pass(same, (64, 72)), (64, 72), chunk).any()


def test_winners_are_among_few_candidates():
    logits = smooth(19, (32, 43), 3, 0.3)
    found = cells.find_candidates(logits, 2, 2)
    cell = np.repeat(np.arange(31 * 42), found.counts).tolist()
    pairs = set(zip(cell, found.classes.tolist(), strict=True))
    winners = reference(logits, None, (256, 344)).argmax(0)[4:252, 4:340]
    y, x = np.indices(winners.shape) // 8
    assert set(zip((y * 42 + x).ravel().tolist(), winners.ravel().tolist(), strict=True)) <= pairs
    assert found.counts.min() >= 1 and found.counts.mean() < 3
    exact = found.counts[found.counts > 1].sum() / (found.counts.size * 19)
    assert abs(cells.estimate_contested(logits, 2, 2) - exact) < 0.1


@pytest.mark.parametrize(
    "logits",
    [
        torch.randn(11, 45, 60, generator=torch.manual_seed(0)),
        smooth(11, (240, 320), 0, 0.0),
        torch.full((11, 45, 60), torch.nan),
        torch.cat([smooth(10, (45, 60), 0, 0.0), torch.full((1, 45, 60), -torch.inf)]),
    ],
    ids=["noise", "large", "nan", "infinite"],
)
def test_what_is_not_for_cells_is_left_to_all_classes(logits):
    assert cells.label_by_cells(logits, None, (360, 480)) is None
    only = one_pass(logits, (360, 480))
    expected = label_by_classes(only, (360, 480), None)
    np.testing.assert_array_equal(label_passes([only], (360, 480)), expected)


def test_other_devices_are_left_to_all_classes():
    assert cells.label_by_cells(torch.empty(3, 8, 8, device="meta"), None, (64, 64)) is None


def test_label_passes_takes_cells_where_they_serve():
    logits = smooth(11, (45, 60), 0, 0.1)
    only = one_pass(logits, (360, 480), via=(360, 480))
    expected = by_cells(logits, (360, 480), (300, 400))
    np.testing.assert_array_equal(label_passes([only], (300, 400)), expected)


# --- all classes


@pytest.mark.parametrize("via", [(96, 128), None])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("chunk", [None, 1, 3, 4, 11, 50])
def test_chunks_of_classes_change_nothing(chunk, layout, via):
    logits = torch.randn(11, 12, 16, generator=torch.manual_seed(0))
    only = one_pass(logits[None].contiguous(memory_format=layout)[0], (96, 128), via)
    expected = reference(logits, via, (75, 101)).argmax(0)
    np.testing.assert_array_equal(label_by_classes(only, (75, 101), chunk), expected)


@pytest.mark.parametrize("chunk", [None, 1, 4])
@pytest.mark.parametrize("steps", [1, 2])
def test_mean_softmax(chunk, steps, monkeypatch):
    """Three sizes, against softmax and mean of whole tensors."""
    monkeypatch.setattr(upsample, "CHUNK_VALUES", 60_000)  # one to four classes at these sizes
    passes, mean = [], torch.zeros(11, 75, 101)
    for seed, size in enumerate([(48, 64), (96, 128), (144, 192)]):
        logits = smooth(11, (size[0] // 8, size[1] // 8), seed, 1.0)
        via = size if steps == 2 else None
        passes.append(one_pass(logits, size, via))
        mean += reference(logits, via, (75, 101)).softmax(0) / 3
    labels = label_by_softmax(passes, (75, 101), chunk).numpy()
    assert ties(labels, mean, 1.0) < 5
    np.testing.assert_array_equal(label_passes(passes, (75, 101)), labels)


def test_mean_softmax_is_not_the_mean_of_logits():
    votes = [(9.0, 0.0), (0.0, 4.0), (0.0, 4.0)]  # logits would say 9 against 8
    passes = [one_pass(torch.tensor(vote).view(2, 1, 1).expand(2, 2, 2), (8, 8)) for vote in votes]
    assert label_passes(passes, (8, 8)).min() == 1
