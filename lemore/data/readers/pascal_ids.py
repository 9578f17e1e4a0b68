"""The ids of PASCAL Context's 59 classes among its 459 original categories."""

import numpy as np

# Background (0) first, then in the order of train ids, which is that of the class names.
SPARSE_IDS = np.fromstring(
    "0 2 9 18 19 22 23 25 31 33 34 44 45 46 59 65 68 72 80 85 98 104 105 113 115 144 158 159 162 "
    "187 189 207 220 232 258 259 260 284 295 296 308 324 326 347 349 354 355 360 366 368 397 415 "
    "416 420 424 427 440 445 454 458",
    dtype=int,
    sep=" ",
)
