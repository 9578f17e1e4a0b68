"""torchvision's ImageNet weights for the encoders that are built from its models."""

import torch
from torch import Tensor

from lemore.models.key_map import KeyMap

CLASSIFIER = (r"classifier\.", r"fc\.")
# by module in lemore/models/backbones; tensors that only a classifier uses are left out
KEY_MAPS = {
    "mobilenet_v2": KeyMap((), (*CLASSIFIER, r"features\.18\.")),
    "mobilenet_v3": KeyMap((), CLASSIFIER),
    "mobilenet_v3_os32": KeyMap((), (*CLASSIFIER, r"features\.16\.")),
    "efficientnet": KeyMap((), (*CLASSIFIER, r"features\.8\.")),
    "shufflenet_v2": KeyMap((), (*CLASSIFIER, r"conv5\.")),
}


def find_key_map(backbone: str) -> KeyMap:
    """Raises ValueError if the backbone is none of torchvision's."""
    if backbone not in KEY_MAPS:
        raise ValueError(
            f"backbone {backbone} has no torchvision weights, only {', '.join(KEY_MAPS)} have"
        )
    return KEY_MAPS[backbone]


def download(name: str) -> dict[str, Tensor]:
    """Loads e.g. `MobileNet_V2_Weights.IMAGENET1K_V2` from torch's cache or the network.

    The file's hash is checked; nothing in it is executed. ValueError for an unknown name.
    """
    from torchvision.models import get_weight  # takes seconds

    try:
        weights = get_weight(name)
    except (KeyError, ValueError, AttributeError) as error:
        raise ValueError(f"torchvision has no weights '{name}' ({error})") from None
    return torch.hub.load_state_dict_from_url(
        weights.url, map_location="cpu", check_hash=True, weights_only=True
    )
