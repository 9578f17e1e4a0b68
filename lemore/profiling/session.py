"""An exported file that its runtime has opened, the same for all of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Session(NamedTuple):
    """run: from float32 B 3 H W to the file's outputs. ports: NumPy's name of the type, and the
    shape, of each input and then of each output."""

    run: Callable[[np.ndarray], list[np.ndarray]]
    ports: list[tuple[str, list[Any]]]
