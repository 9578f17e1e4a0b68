"""FCN's published weights (MMSegmentation), with MobileNetV2 or HRNet."""

from lemore.models.import_maps._hrnet import HRNET
from lemore.models.import_maps._mit import CLASSIFIER
from lemore.models.import_maps._mobilenet_v2 import AUXILIARY, MOBILENET_V2
from lemore.models.key_map import KeyMap

# HRNet's names first: its last lines would take MobileNetV2's new names for its own
KEY_MAPS = {
    "mmseg": KeyMap(
        (*HRNET, *MOBILENET_V2, (r"^decode_head\.conv_cat\.", "decode_head.concat."), CLASSIFIER),
        AUXILIARY,
    )
}
