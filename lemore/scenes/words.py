"""The words for the parts of scenes, and their classes in each dataset's coding.

`-` stands for no class: such parts are drawn, and labelled 0, which the readers ignore.
"""

import numpy as np

from lemore.config import labels

READERS = ("ade20k", "cityscapes", "pascal_context", "coco_stuff_10k")
# Columns as in READERS, parted by two spaces or more.
CLASSES = """
void           -                    unlabeled      -            -
sky            sky                  sky            sky          sky-other
road           road                 road           road         road
sidewalk       sidewalk             sidewalk       sidewalk     pavement
building       building             building       building     building-other
wall           wall                 wall           wall         wall-brick
fence          fence                fence          fence        fence
pole           pole                 pole           -            metal
streetlight    streetlight          pole           light        light
traffic light  traffic light        traffic light  light        traffic light
sign           signboard            traffic sign   sign         stop sign
tree           tree                 vegetation     tree         tree
bush           plant                vegetation     tree         bush
grass          grass                terrain        grass        grass
mountain       mountain             -              mountain     mountain
water          water                -              water        water-other
person         person               person         person       person
rider          person               rider          person       person
car            car                  car            car          car
truck          truck                truck          truck        truck
bus            bus                  bus            bus          bus
train          -                    train          train        train
motorcycle     minibike             motorcycle     motorbike    motorcycle
bicycle        bicycle              bicycle        bicycle      bicycle
bench          bench                static         bench        bench
ego vehicle    -                    ego vehicle    -            -
room wall      wall                 -              wall         wall-concrete
floor          floor                -              floor        floor-wood
ceiling        ceiling              -              ceiling      ceiling-other
window         windowpane           -              window       window-other
door           door                 -              door         door-stuff
curtain        curtain              -              curtain      curtain
bed            bed                  -              bed          bed
pillow         pillow               -              bedclothes   pillow
cabinet        cabinet              -              cabinet      cabinet
table          table                -              table        dining table
chair          chair                -              chair        chair
sofa           sofa                 -              sofa         couch
cushion        cushion              -              cloth        pillow
lamp           lamp                 -              light        light
picture        painting             -              -            -
rug            rug                  -              cloth        rug
shelf          shelf                -              shelves      shelf
book           book                 -              book         book
plant          plant                -              pottedplant  potted plant
tv             television receiver  -              tvmonitor    tv
bottle         bottle               -              bottle       bottle
dog            animal               -              dog          dog
"""
ROWS = [[cell.strip() for cell in line.split("  ") if cell] for line in CLASSES.split("\n") if line]
WORDS = tuple(row[0] for row in ROWS)
INDEX = {word: position for position, word in enumerate(WORDS)}


def read_raw_values(reader: str) -> np.ndarray:
    """Reads 256 uint8: position in WORDS -> raw value in the coding of `reader`, 0 for none."""
    values, column = np.zeros(256, np.uint8), 1 + READERS.index(reader)
    table = "pascal_context_60" if reader == "pascal_context" else reader  # names all raw values
    names = labels.load_raw_ids(table)
    values[: len(ROWS)] = [0 if row[column] == "-" else names[row[column]] for row in ROWS]
    return values
