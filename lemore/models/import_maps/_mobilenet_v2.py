"""Names of MobileNetV2 in MMSegmentation; here they are torchvision's."""

import re

FIRST_BLOCKS = (1, 2, 4, 7, 11, 14, 17)  # of each layer there, in torchvision's one sequence


def _rename_block(match: re.Match[str]) -> str:
    """Renames a convolution or norm; torchvision does not group the last two of a block."""
    layer, block, conv = (int(number) for number in match.groups()[:3])
    part = ("conv", "bn").index(match[4])
    last = conv == (1 if layer == 1 else 2)  # the first block has no expansion
    place = f"{conv + part}" if last else f"{conv}.{part}"
    return f"backbone.features.{FIRST_BLOCKS[layer - 1] + block}.conv.{place}."


MOBILENET_V2 = (
    (r"^backbone\.conv1\.conv\.", "backbone.features.0.0."),
    (r"^backbone\.conv1\.bn\.", "backbone.features.0.1."),
    (r"^backbone\.layer([1-7])\.(\d)\.conv\.(\d)\.(conv|bn)\.", _rename_block),
)
AUXILIARY = (r"auxiliary_head\.",)  # only training needs it
