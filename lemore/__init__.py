"""lemore: LeMoRe and its rivals in lightweight semantic segmentation, as one pipeline.

`lemore.load(path_or_name)` gives a trained model, with `model.predict(image)`.
"""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`load`, whose module needs torch, is imported when it is first asked for."""
    if name == "load":
        import importlib

        return importlib.import_module("lemore.trained.model").load
    raise AttributeError(f"module 'lemore' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*globals(), "load"]
