"""M' = U M D against PyTorch's own resizing, and the cache that holds it."""

import pytest
import torch
import torch.nn.functional as F

from lemore.models.axis_mixing import (
    CACHED_LENGTHS,
    AxisMixing,
    make_resize_operator,
    resample_matrix,
)


def resized(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """One axis at a time, by PyTorch's own kernels."""
    for axis in (2, 3):
        to = [x.shape[2], x.shape[3]]
        to[axis - 2] = size[axis - 2]
        if to[axis - 2] < x.shape[axis]:
            x = F.interpolate(x, tuple(to), mode="area")
        else:
            x = F.interpolate(x, tuple(to), mode="bilinear", align_corners=False)
    return x


@pytest.mark.parametrize("axis", ["width", "height"])
@pytest.mark.parametrize("length", [16, 9, 13, 21, 40])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_mixing_at_any_length_equals_resize_mix_resize(axis, length, layout):
    torch.manual_seed(0)
    mixing = AxisMixing(16, axis).eval()
    torch.nn.init.normal_(mixing.weight)
    width = axis == "width"
    size, trained = ((11, length), (11, 16)) if width else ((length, 11), (16, 11))
    x = torch.randn(2, 5, *size)
    small = resized(x, trained)
    rule = "ij,bchj->bchi" if width else "ij,bcjw->bciw"
    expected = resized(torch.einsum(rule, mixing.weight, small), size)
    y = mixing(x.to(memory_format=layout))
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    assert y.is_contiguous(memory_format=layout)


def test_resize_operators_keep_constants():
    for to in (1, 3, 7, 8, 16):
        for length in (1, 5, 8, 16):
            assert make_resize_operator(to, length).sum(1) == pytest.approx(1.0)


def test_native_length_uses_the_matrix_itself():
    mixing = AxisMixing(8, "width")
    assert mixing.get_matrix(8) is mixing.weight
    assert mixing.eval().get_matrix(8) is mixing.weight


def test_gradients_reach_the_matrix_at_any_length():
    for mode in (True, False):
        mixing = AxisMixing(8, "height").train(mode)
        mixing(torch.randn(1, 2, 12, 3)).square().sum().backward()  # zero matrix: no gradient yet
        torch.nn.init.normal_(mixing.weight)
        mixing(torch.randn(1, 2, 12, 3)).square().sum().backward()
        assert mixing.weight.grad.abs().min() > 0


@torch.no_grad()
def test_cache_is_used_bounded_and_never_stale():
    mixing = AxisMixing(8, "width").eval()
    torch.nn.init.normal_(mixing.weight)
    assert mixing.get_matrix(5) is mixing.get_matrix(5)
    for length in range(9, 9 + 2 * CACHED_LENGTHS):
        mixing.get_matrix(length)
    assert len(mixing.cache) == CACHED_LENGTHS

    def fresh() -> bool:
        return torch.equal(mixing.get_matrix(5), resample_matrix(mixing.weight, 5))

    mixing.get_matrix(5)
    mixing.weight.mul_(2.0)
    assert fresh()
    mixing.load_state_dict({"weight": torch.randn(8, 8)})
    assert fresh()
    for _ in range(2):  # new tensors, whose version counters are equal
        mixing.load_state_dict({"weight": torch.randn(8, 8)}, assign=True)
        assert fresh()
    mixing.weight.data.mul_(2.0)  # not seen by the version counter
    mixing.train().eval()
    assert fresh()
    assert mixing.double().get_matrix(5).dtype == torch.float64


def test_cache_made_in_inference_mode_does_not_break_training():
    mixing = AxisMixing(8, "width").eval()
    with torch.inference_mode():
        mixing(torch.randn(1, 2, 3, 5))
    mixing(torch.randn(1, 2, 3, 5)).sum().backward()
    assert mixing.weight.grad is not None
