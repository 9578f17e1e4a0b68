"""The types of configuration keys, with bounds that `read.convert` checks.

A schema writes `lr: Annotated[float, Gt(0)]`, or one of the types below. `doc` says in words what
is expected, where the bounds alone do not.
"""

import functools
import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_args

from annotated_types import (
    DocInfo,
    Ge,
    GroupedMetadata,
    Gt,
    Interval,
    Le,
    Lt,
    MaxLen,
    MinLen,
    Predicate,
    doc,
)

MAX_NAME = 100  # in characters
MAX_NOTE = 1000
MIN_SIDE = 64  # pixels of a crop and of what is profiled: below, the 1/64 tokens vanish
MAX_SIDE = 8192  # pixels of a crop or a test image
MAX_ARGUMENT = 2048  # channels, blocks: no model here has more
MAX_ITEMS = 100  # of a list of arguments
NAME = r"\w(?:[\w .+-]*[\w.+-])?"
# of each bound its attribute, whether a value keeps to it, and its words
BOUNDS: dict[type, tuple[str, Callable[[Any, Any], bool], str]] = {
    Gt: ("gt", operator.gt, "above {}"),
    Ge: ("ge", operator.ge, "from {} on"),
    Lt: ("lt", operator.lt, "below {}"),
    Le: ("le", operator.le, "up to {}"),
    MinLen: ("min_length", lambda value, least: len(value) >= least, "at least {}"),
    MaxLen: ("max_length", lambda value, most: len(value) <= most, "at most {}"),
}
NOUNS = {int: "a whole number", float: "a number"}


@functools.cache
def take_apart(hint: Any) -> tuple[Any, list[Any]]:
    """Returns the type in an annotation, and its single constraints: an interval is two."""
    kind, *metadata = get_args(hint)
    groups = (part if isinstance(part, GroupedMetadata) else (part,) for part in metadata)
    return kind, [constraint for group in groups for constraint in group]


def holds(constraint: Any, value: Any) -> bool:
    """Returns whether a value of the right type keeps to a constraint."""
    match constraint:
        case Predicate(function):
            return function(value)
        case DocInfo():
            return True
    name, keeps, _ = BOUNDS[type(constraint)]
    return keeps(value, getattr(constraint, name))


def describe(kind: Any, constraints: Sequence[Any]) -> str:
    """Says what is expected: the words of `doc`, else what the bounds say."""
    for constraint in constraints:
        if isinstance(constraint, DocInfo):
            return constraint.documentation
    bounds = [(BOUNDS[type(constraint)], constraint) for constraint in constraints]
    words = " and ".join(text.format(getattr(c, name)) for (name, _, text), c in bounds)
    return f"{NOUNS.get(kind, '')} {words}".replace(" on and up to ", " to ").strip()


def are_distinct(items: Sequence[Any]) -> bool:
    return len(set(items)) == len(items)


def is_name(text: str) -> bool:
    """Names of runs, datasets, models and splits stand in paths, commands and links."""
    return re.fullmatch(NAME, text) is not None and len(text) <= MAX_NAME


def is_line(text: str) -> bool:
    return bool(text.strip()) and text.isprintable()


def is_class_name(text: str) -> bool:
    return is_line(text) and len(text) <= MAX_NAME


def is_path(text: str) -> bool:
    """Returns whether Snakemake and a command take the text as a path.

    Snakemake replaces what is in brackets, and a command takes a leading dash as an option.
    """
    return is_line(text) and not text.startswith("-") and not set("{}<>") & set(text)


def is_below(text: str) -> bool:
    """A path below a folder."""
    return is_line(text) and not text.startswith("/") and ".." not in text.split("/")


def is_file_name(text: str) -> bool:
    return is_line(text) and "/" not in text and not text.startswith(".")


def is_backbone_init(text: str) -> bool:
    return re.fullmatch(r"pretrain|none|file:\S.*|torchvision:\w+_Weights\.\w+", text) is not None


def is_init(text: str) -> bool:
    return is_backbone_init(text) or re.fullmatch(r"checkpoint:\S.*", text) is not None


def is_pattern(text: str) -> bool:
    try:
        return is_line(text) and re.compile(text) is not None
    except re.error:
        return False


def are_arguments(value: Any, levels: int = 3) -> bool:
    """Returns whether all numbers, down to the last list, are in the range that models here use.

    YAML and pickle can refer to one list many times, so depth and length are bounded.
    """
    if isinstance(value, (dict, list, tuple)):
        items = list(value.values()) if isinstance(value, dict) else value
        small = levels > 0 and len(items) <= MAX_ITEMS
        return small and all(are_arguments(item, levels - 1) for item in items)
    if isinstance(value, (int, float)):
        return math.isfinite(value) and 0 <= value <= MAX_ARGUMENT
    return value is None or isinstance(value, str)


Share = Annotated[float, Interval(ge=0, le=1)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
BelowOne = Annotated[float, Interval(ge=0, lt=1)]
SomeShare = Annotated[float, Interval(gt=0, le=1)]
Number = Annotated[int, Ge(0)]
Count = Annotated[int, Ge(1)]
Trials = Annotated[int, Ge(2)]  # of a search: the recipe is one
Side = Annotated[int, Interval(ge=1, le=MAX_SIDE)]  # pixels
Byte = Annotated[int, Interval(ge=0, le=255)]
Seed = Annotated[int, Interval(ge=0, le=2**32 - 1)]
Rgb = tuple[Byte, Byte, Byte]
Line = Annotated[str, Predicate(is_line), doc("text in one line")]
Note = Annotated[
    str,
    Predicate(lambda text: text.isprintable() and len(text) <= MAX_NOTE),
    doc(f"text in one line of at most {MAX_NOTE} characters"),
]
Text = Annotated[str, Predicate(lambda text: bool(text.strip())), doc("text")]
Name = Annotated[
    str,
    Predicate(is_name),
    doc(f"a name of letters, digits, spaces and . _ + -, at most {MAX_NAME} characters"),
]
FolderPath = Annotated[str, Predicate(is_path), doc("a path without { } < > and a leading dash")]
PathBelow = Annotated[str, Predicate(is_below), doc("a path below the folder, without ..")]
FileName = Annotated[str, Predicate(is_file_name), doc("a plain file name")]
Pattern = Annotated[str, Predicate(is_pattern), doc("a regular expression")]
BackboneInit = Annotated[
    str,
    Predicate(is_backbone_init),
    doc("pretrain, none, torchvision:<Model>_Weights.<NAME> or file:<path>"),
]
Init = Annotated[
    str,
    Predicate(is_init),
    doc("pretrain, none, torchvision:<Model>_Weights.<NAME>, file:<path> or checkpoint:<name>"),
]
Arguments = Annotated[
    dict[str, Any],
    Predicate(are_arguments),
    doc(f"numbers from 0 to {MAX_ARGUMENT}, texts, true or false, and lists of them"),
]
Seeds = Annotated[
    tuple[Seed, ...], MinLen(1), Predicate(are_distinct), doc("at least one seed, each once")
]
Names = Annotated[
    tuple[Name, ...], MinLen(1), Predicate(are_distinct), doc("at least one name, each once")
]
