"""SeaFormer's published weights (its fork of MMSegmentation)."""

import re

from lemore.models.import_maps._mit import count_from_zero
from lemore.models.import_maps._mobile import HEAD, LAYERS, rename_inner
from lemore.models.key_map import KeyMap

STAGES = {"2": "stage8", "3": "stage16", "4": "stage32", "5": "stage64"}


def _rename_residual(match: re.Match[str]) -> str:
    """Renames a residual: the first part is the stem, the last two hold one residual each."""
    part, number = match[1], int(match[2])
    if part == "1":
        return f"backbone.stem.{number}."
    single = part in ("4", "5")
    return f"backbone.{STAGES[part]}." + ("" if single else f"{number - 1}.")


KEY_MAPS = {
    "mmseg": KeyMap(
        (
            (r"^backbone\.smb1\.stem_block\.", "backbone.stem."),
            (r"^backbone\.smb(\d)\.layer(\d+)\.", _rename_residual),
            (r"(?<=[\d]\.)conv\.(\d)\.(?=c\.|bn\.)", rename_inner),
            (r"^backbone\.trans1\.transformer_blocks\.", "backbone.blocks32."),
            (r"^backbone\.trans2\.transformer_blocks\.", "backbone.blocks64."),
            (r"\.attn\.dwconv\.", ".attention.detail.0."),
            (r"\.attn\.pwconv\.", ".attention.detail.1."),
            (r"\.attn\.proj\.1\.", ".attention.gate."),
            (r"\.attn\.proj_encode_(row|column)\.1\.", r".attention.\1s.output."),
            (r"\.attn\.pos_emb_(row|column)q\.pos_embed", r".attention.\1s.query_position"),
            (r"\.attn\.pos_emb_(row|column)k\.pos_embed", r".attention.\1s.key_position"),
            *LAYERS,
            count_from_zero(r"^decode_head\.fuse(\d)\.", "decode_head.fusions.{}."),
            (r"\.local_embedding\.", ".local."),
            (r"\.global_act\.", ".gate."),
            *HEAD,
        )
    )
}
