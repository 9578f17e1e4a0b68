"""lemore: LeMoRe and its rivals in lightweight semantic segmentation, as one pipeline.

`lemore.load(path_or_name)` gives a trained model, with `model.predict(image)`.
`lemore.train(images=..., masks=...)` trains one on your own photos and returns its weights' path.
`lemore.create_model(name, num_classes=..., size=...)` gives an untrained torch module.
"""

from typing import Any

__version__ = "0.1.0"
PUBLIC = {
    "load": "lemore.trained.load",
    "create_model": "lemore.trained.load",
    "train": "lemore.stages.own.run",
}


def __getattr__(name: str) -> Any:
    """A public function, whose module may need torch, is imported when it is first asked for."""
    if name in PUBLIC:
        import importlib

        return getattr(importlib.import_module(PUBLIC[name]), name)
    raise AttributeError(f"module 'lemore' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*globals(), *PUBLIC]
