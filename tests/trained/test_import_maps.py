"""Maps that serve two networks or two libraries tell them apart, or take both."""

import formula_weights
import pytest
import torch

from lemore.models.key_map import convert, find_key_map
from tests.networks import SIZE, configs, segmentor

PAIRS = ("fcn_mobilenet_v2", "hrnet_w18_small"), ("fcn_mobilenet_v2", "pspnet_mobilenet_v2")


@pytest.mark.parametrize(("file", "model"), [*PAIRS, *(pair[::-1] for pair in PAIRS)])
def test_a_network_that_shares_a_part_is_refused(file, model):
    """FCN's head stands on both encoders, PSPNet's and FCN's on the same one."""
    state, network = formula_weights.read_original(file)[0], segmentor(model, SIZE)
    network.auxiliary_head = None
    key_map = find_key_map(configs(model)[0].decode_head, "mmseg")
    with pytest.raises(ValueError, match=r"x\.pth: \d+ tensors unknown: .*; \d+ tensors missing: "):
        convert(state, key_map, network.state_dict(), "x.pth")


def test_segnext_has_the_names_of_mmsegmentation_too():
    """MMSegmentation converted the authors' files: the depthwise convolution lost a level."""
    state, target = formula_weights.read_original("segnext_t")[0], segmentor("segnext_t", SIZE)
    renamed = {name.replace(".dwconv.dwconv.", ".dwconv."): state[name] for name in state}
    assert set(renamed) != set(state)
    key_map, ours = find_key_map("segnext", "mmseg"), target.state_dict()
    both = [convert(names, key_map, ours, "x.pth") for names in (state, renamed)]
    assert all(torch.equal(both[0][name], both[1][name]) for name in ours)
