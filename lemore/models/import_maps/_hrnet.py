"""Names of HRNet in MMSegmentation."""

from lemore.models.import_maps._mit import count_from_zero

HRNET = (
    (  # conv1.weight -> 0.conv.weight
        r"(?<=\.)(conv|bn)(\d)\.(?=\w+$)",
        lambda match: f"{int(match[2]) - 1}.{match[1]}.",
    ),
    (r"^backbone\.(\d)\.", r"backbone.stem.\1."),
    (r"^backbone\.layer1\.0\.downsample\.", "backbone.stem.2.shortcut."),
    count_from_zero(r"^backbone\.layer1\.(\d)\.(?=\d)", "backbone.stem.{}.layers.", first=-2),
    (r"^backbone\.transition1\.0\.", "backbone.first."),
    count_from_zero(r"^backbone\.transition(\d)\.\d\.0\.", "backbone.new_branches.{}."),
    count_from_zero(r"^backbone\.stage(\d)\.", "backbone.stages.{}.exchanges.", first=2),
    (r"\.branches\.(\d)\.(\d)\.", r".branches.\1.\2.layers."),
    (r"\.fuse_layers\.(\d)\.", r".paths.\1.paths."),
    (r"^(backbone\..*)\.0\.(\w+)$", r"\1.conv.\2"),
    (r"^(backbone\..*)\.1\.(\w+)$", r"\1.bn.\2"),
)
