"""Names of MSCAN in the layout of SegNeXt's published code."""

from lemore.models.import_maps._mit import FEED_FORWARD, count_from_zero

ENCODER = (
    (r"^backbone\.patch_embed1\.proj\.", "backbone.stages.0.embedding."),
    count_from_zero(r"^backbone\.patch_embed(\d)\.proj\.", "backbone.stages.{}.embedding.0."),
    count_from_zero(r"^backbone\.patch_embed(\d)\.norm\.", "backbone.stages.{}.embedding.1."),
    count_from_zero(r"^backbone\.norm(\d)\.", "backbone.stages.{}.norm."),
    (r"^(backbone\.block\d\.\d+)\.norm(\d)\.", r"\1.bn\2."),
    count_from_zero(r"^backbone\.block(\d)\.", "backbone.stages.{}.blocks."),
    (r"\.layer_scale_(\d)$", r".scale\1"),
    (r"\.attn\.proj_1\.", ".attention.enter."),
    (r"\.attn\.proj_2\.", ".attention.leave."),
    (r"\.attn\.spatial_gating_unit\.conv0\.", ".attention.attention.local."),
    (r"\.attn\.spatial_gating_unit\.conv3\.", ".attention.attention.mix."),
    (
        r"\.attn\.spatial_gating_unit\.conv(\d)_(\d)\.",
        lambda match: f".attention.attention.strips.{match[1]}.{int(match[2]) - 1}.",
    ),
    *FEED_FORWARD,
)
