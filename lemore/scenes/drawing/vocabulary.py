"""The words scenes are drawn with, and what each dataset calls them.

A word that a dataset does not know is None there: drawn all the same, labelled with the value that
the dataset ignores (ADE20K 0, Cityscapes 4 'static', ...).
"""

STREET_WORDS = (
    *("void", "sky", "road", "sidewalk", "building", "wall", "fence", "pole", "streetlight"),
    *("traffic light", "sign", "tree", "bush", "grass", "mountain", "person", "rider", "car"),
    *("truck", "bus", "train", "motorcycle", "bicycle", "bench", "bin", "ego vehicle"),
)
ROOM_WORDS = (
    *("room wall", "floor", "ceiling", "window", "door", "curtain", "bed", "pillow", "cabinet"),
    *("table", "chair", "sofa", "cushion", "lamp", "ceiling lamp", "picture", "mirror", "rug"),
    *("shelf", "book", "plant", "tv", "bottle", "dog"),
)
WORDS = STREET_WORDS + ROOM_WORDS

# Word -> class name where the two differ; a word that is not listed is looked up as it is.
_SAME_IN_ALL: dict[str, str | None] = {"void": None, "ego vehicle": None}
ADE20K: dict[str, str | None] = {
    "sign": "signboard",
    "bush": "plant",
    "rider": "person",
    "train": None,
    "motorcycle": "minibike",
    "bin": "ashcan",
    "room wall": "wall",
    "window": "windowpane",
    "ceiling lamp": "lamp",
    "picture": "painting",
    "tv": "television receiver",
    "dog": "animal",
}
CITYSCAPES: dict[str, str | None] = {
    **dict.fromkeys(ROOM_WORDS),
    "streetlight": "pole",
    "sign": "traffic sign",
    "tree": "vegetation",
    "bush": "vegetation",
    "grass": "terrain",
    "mountain": None,
    "bench": "static",
    "bin": "static",
    "ego vehicle": "ego vehicle",
    "void": "unlabeled",
}
PASCAL_CONTEXT: dict[str, str | None] = {
    "pole": None,
    "streetlight": "light",
    "traffic light": "light",
    "bush": "tree",
    "rider": "person",
    "motorcycle": "motorbike",
    "bin": None,
    "room wall": "wall",
    "pillow": "bedclothes",
    "cushion": "cloth",
    "lamp": "light",
    "ceiling lamp": "light",
    "picture": None,
    "mirror": None,
    "rug": "cloth",
    "shelf": "shelves",
    "plant": "pottedplant",
    "tv": "tvmonitor",
}
COCO_STUFF: dict[str, str | None] = {
    "sky": "sky-other",
    "sidewalk": "pavement",
    "building": "building-other",
    "wall": "wall-brick",
    "pole": "metal",
    "streetlight": "light",
    "sign": "stop sign",
    "rider": "person",
    "bin": None,
    "room wall": "wall-concrete",
    "floor": "floor-wood",
    "ceiling": "ceiling-other",
    "window": "window-other",
    "door": "door-stuff",
    "table": "dining table",
    "sofa": "couch",
    "cushion": "pillow",
    "lamp": "light",
    "ceiling lamp": "light",
    "picture": None,
    "mirror": "mirror-stuff",
    "plant": "potted plant",
}
CODINGS = {
    "ade20k": ADE20K,
    "cityscapes": CITYSCAPES,
    "pascal_context": PASCAL_CONTEXT,
    "coco_stuff_10k": COCO_STUFF,
}


def class_name(coding: str, word: str) -> str | None:
    """What the dataset of `coding` calls `word`; None if it has no name for it."""
    assert word in WORDS
    own = {**_SAME_IN_ALL, **CODINGS[coding]}
    return own.get(word, word)
