"""PSPNet's published weights (MMSegmentation), with MobileNetV2."""

from lemore.models.import_maps._mit import CLASSIFIER
from lemore.models.import_maps._mobilenet_v2 import AUXILIARY, MOBILENET_V2
from lemore.models.key_map import KeyMap

KEY_MAPS = {
    "mmseg": KeyMap(
        (
            *MOBILENET_V2,
            (r"^decode_head\.psp_modules\.(\d)\.1\.", r"decode_head.pyramid.\1.conv."),
            CLASSIFIER,
        ),
        AUXILIARY,
    )
}
