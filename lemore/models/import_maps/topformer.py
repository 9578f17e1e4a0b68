"""TopFormer's published weights (its fork of MMSegmentation)."""

import re

from lemore.models.import_maps._mit import count_from_zero
from lemore.models.import_maps._mobile import HEAD, LAYERS, rename_inner
from lemore.models.key_map import KeyMap

LAST_STAGE = 3


def _rename_residual(match: re.Match[str]) -> str:
    """Renames a residual: layer1 is in the stem, then two in each stage, the rest in the last."""
    number = int(match[1])
    if number == 1:
        return "backbone.stem.1."
    stage = min((number - 2) // 2, LAST_STAGE)
    return f"backbone.stages.{stage}.{number - 2 - 2 * stage}."


KEY_MAPS = {
    "mmseg": KeyMap(
        (
            (r"^backbone\.tpm\.stem\.", "backbone.stem."),
            (r"^backbone\.tpm\.layer(\d+)\.", _rename_residual),
            (r"(?<=\d\.)conv\.(\d)\.(?=c\.|bn\.)", rename_inner),
            (r"^backbone\.trans\.transformer_blocks\.", "backbone.blocks."),
            (r"\.attn\.proj\.1\.", ".attention.output."),
            *LAYERS,
            count_from_zero(r"^backbone\.SIM\.(\d)\.", "decode_head.injections.{}."),
            (r"\.local_embedding\.", ".local."),
            (r"\.global_embedding\.", ".embedding."),
            (r"\.global_act\.", ".gate."),
            *HEAD,
        )
    )
}
