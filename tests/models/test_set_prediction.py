"""The loss of mask classification against its formula, an image and a query at a time."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from counting import Counting
from scipy.optimize import linear_sum_assignment

from lemore.models import set_prediction
from lemore.models.set_prediction import Masks, compute_set_loss

LAYERS, BATCH, QUERIES, CLASSES, SIDE = 3, 4, 9, 6, 16
draw = torch.rand


@pytest.fixture(autouse=True)
def few_points(monkeypatch, one_thread):
    monkeypatch.setattr(set_prediction, "POINTS", 64)


def make_outputs() -> list[Masks]:
    torch.manual_seed(1)
    shapes = (BATCH, QUERIES, CLASSES + 1), (BATCH, QUERIES, SIDE, SIDE)
    drawn = [[3 * torch.randn(shape) for shape in shapes] for _ in range(LAYERS)]
    return [Masks(*(values.requires_grad_() for values in one)) for one in drawn]


def make_label() -> torch.Tensor:
    """The third image has no class at all, the last has one."""
    blocks = torch.randint(0, CLASSES, (BATCH, 4, 4), generator=torch.Generator().manual_seed(2))
    blocks[:, 0] = 255
    blocks[2], blocks[3] = 255, 5
    return blocks.to(torch.uint8).repeat_interleave(16, 1).repeat_interleave(16, 2)


def draw_alike(*size: int, device: torch.device) -> torch.Tensor:
    """The same points for every mask, so that the order of the draws has no effect."""
    return draw(1, *size[1:], generator=torch.Generator().manual_seed(size[1])).expand(*size)


def read(plane: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    grid = 2 * points[None, None] - 1
    return F.grid_sample(plane[None, None], grid, align_corners=False).flatten()


def compare(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """5 cross-entropy + 5 dice of one mask at its points."""
    p = logits.sigmoid()
    dice = 1 - (2 * (p * wanted).sum() + 1) / (p.sum() + wanted.sum() + 1)
    return 5 * F.binary_cross_entropy_with_logits(logits, wanted) + 5 * dice


def compute_by_formula(output: Masks, label: torch.Tensor) -> torch.Tensor:
    points = set_prediction.POINTS
    total = sum(len(set(image.unique().tolist()) - {255}) for image in label)
    wanted = torch.full((BATCH, QUERIES), CLASSES)
    loss = torch.zeros(())
    for i, image in enumerate(label):
        present = [k for k in image.unique().tolist() if k != 255]
        masks = [(image == k).float() for k in present]
        at = draw_alike(1, points, 2, device=label.device)[0]
        share = output.classes[i].softmax(-1)
        cost = [
            [
                (compare(read(mask, at), read(m, at)) - 2 * share[q, k]).item()
                for k, m in zip(present, masks, strict=True)
            ]
            for q, mask in enumerate(output.masks[i])
        ]
        costs = np.array(cost).reshape(QUERIES, len(present))
        for q, t in zip(*linear_sum_assignment(costs), strict=True):
            wanted[i, q] = present[t]
            mask = output.masks[i, q]
            many = draw_alike(1, 3 * points, 2, device=label.device)[0]
            unsure = many[read(mask, many).abs().argsort()[: points * 3 // 4]]
            others = draw_alike(1, points - points * 3 // 4, 2, device=label.device)[0]
            chosen = torch.cat([unsure, others]).detach()
            loss = loss + compare(read(mask, chosen), read(masks[t], chosen)) / total
    weight = torch.tensor([1.0] * CLASSES + [0.1])
    return loss + 2 * F.cross_entropy(output.classes.transpose(1, 2), wanted, weight)


def test_the_loss_is_its_formula(monkeypatch):
    monkeypatch.setattr(torch, "rand", draw_alike)
    outputs, label = make_outputs(), make_label()
    leaves = [values for output in outputs for values in output]
    expected = sum((compute_by_formula(o, label) for o in outputs), torch.zeros(()))
    slopes = torch.autograd.grad(expected, leaves)
    found = compute_set_loss(outputs, label)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    for slope, ours in zip(slopes, torch.autograd.grad(found, leaves), strict=True):
        torch.testing.assert_close(ours, slope, rtol=1e-4, atol=1e-6)


def test_images_without_a_class_teach_none():
    label = torch.full((BATCH, 64, 64), 255, dtype=torch.uint8)
    outputs = make_outputs()
    expected = sum(-2 * o.classes.log_softmax(-1)[..., -1].mean().item() for o in outputs)
    assert compute_set_loss(outputs, label).item() == pytest.approx(expected, rel=1e-6)


def test_operations_do_not_grow_with_the_batch():
    """A hundred a prediction, forward and backward."""
    outputs, label = make_outputs(), make_label()
    with Counting() as counted:
        compute_set_loss(outputs, label).backward()
    assert counted.count <= 120 * LAYERS and not counted.waits
