"""ConvMLP's published weights with Semantic FPN (MMSegmentation)."""

import re

from lemore.models.import_maps._mit import CLASSIFIER, count_from_zero
from lemore.models.key_map import KeyMap


def _rename_layer(match: re.Match[str]) -> str:
    """Renames a convolution or norm, numbered there with the activations."""
    layer, part = divmod(int(match[2]), 3)
    return f"{match[1]}.{layer}.{('conv', 'bn', 'activation')[part]}."


KEY_MAPS = {
    "mmseg": KeyMap(
        (
            (r"^backbone\.conv_stages\.downsample\.", "backbone.downsamples.0."),
            count_from_zero(
                r"^backbone\.stages\.(\d)\.downsample_mlp\.downsample\.",
                "backbone.downsamples.{}.",
                first=-1,
            ),
            (r"^backbone\.tokenizer\.block\.", "backbone.tokenizer."),
            (r"^backbone\.conv_stages\.conv_blocks\.(\d)\.", r"backbone.conv_blocks.\1.layers."),
            (r"^(backbone\.(?:tokenizer|conv_blocks\.\d\.layers))\.(\d)\.", _rename_layer),
            (r"^backbone\.stages\.(\d)\.blocks\.", r"backbone.stages.\1."),
            (r"\.connect_norm\.", ".norm_connect."),
            (r"\.channel_mlp(\d)\.fc1\.", r".mlp\1.expand."),
            (r"\.channel_mlp(\d)\.fc2\.", r".mlp\1.reduce."),
            (r"^neck\.lateral_convs\.(\d)\.conv\.", r"decode_head.laterals.\1."),
            (r"^neck\.fpn_convs\.(\d)\.conv\.", r"decode_head.smooth.\1."),
            (r"^decode_head\.scale_heads\.", "decode_head.scales."),
            CLASSIFIER,
        )
    )
}
