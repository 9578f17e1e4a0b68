"""The code that decides a stage's result, with fingerprints by which Snakemake sees it change.

Snakemake does not see changes in an imported package, so each rule takes the fingerprints of the
modules that its stage reaches as input files. A fingerprint is the hash of a module's syntax tree
without what changes no result: comments, docstrings, and the words of log lines and errors.
"""

import ast
import hashlib
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lemore.config.model import ModelConfig
from lemore.config.recipe import Train
from lemore.runtime.files import key_of, write_atomic
from lemore.runtime.shipped import PACKAGE

# A new number makes every result count as made by other code; the file's name is the reason that
# Snakemake shows. 2: modules lie by rooms.
LAYOUT = 2

# These rooms decide where and how a job runs and which values it gets, not what it computes.
NEVER = ("lemore.cli", "lemore.commands", "lemore.runtime", "lemore.config", "lemore.data.fetch")
# Modules that do not count, in rooms that do.
EXCEPTIONS = {
    "lemore.models.import_maps": "names of others' tensors; every one of them is checked",
    "lemore.models.key_map": "names of others' tensors; every one of them is checked",
    "lemore.models.torchvision_weights": "names of others' tensors; every one of them is checked",
    "lemore.stages.check": "refuses before the work, and changes no result",
    "lemore.stages.training": "lock, key, tracking and publishing around a training",
}
START = "reads the models to start and to learn from; the digests of their tensors are inputs"
# Modules that do not count for some stages only.
FOR_STAGES = {
    "pretrain": {"lemore.evaluation": "validation shows progress and changes no weight"},
    "finetune": {
        "lemore.evaluation": "validation shows progress; it is named if it chooses weights",
        "lemore.trained": START,
    },
    "search": {"lemore.trained": START},
    "deploy": {"lemore.reporting": "draws label maps of predict, which no rule calls"},
    "evaluate": {
        "lemore.reporting": "pictures for MLflow; no number comes from them",
        "lemore.profiling": "opens exported files, which no rule evaluates",
    },
}
# What jobs of one task find by name, so that the other's do not depend on it.
NETWORKS = {"segmentation": "lemore.models.segmentor", "detection": "lemore.models.detector"}
OF_DETECTION = {
    "finetune": "lemore.stages.workers.detection",
    "evaluate": "lemore.evaluation.boxes",
}
VALIDATION = {
    "segmentation": "lemore.evaluation.segmentation",
    "detection": OF_DETECTION["evaluate"],
}
BY_NAME = re.compile(r"(lemore(?:\.\w+)+):\w+")  # "module:function", as Ray gets it


@cache
def path_of(module: str) -> Path | None:
    """File of a lemore module or package, None if there is no such module."""
    base = PACKAGE.parent.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@dataclass(frozen=True)
class Reading:
    """The part of a file that counts: the lemore modules it imports, its syntax tree's hash."""

    imports: frozenset[str]
    fingerprint: str


def read_module(module: str) -> Reading:
    path = path_of(module)
    assert path is not None, f"no module {module}"
    return read_file(path, path.stat().st_mtime_ns)


@cache
def read_file(path: Path, _changed: int) -> Reading:
    """Reads a file, once for each of its times of change."""
    tree = ast.parse(path.read_bytes(), str(path))
    found = _find_imports(tree)
    own = {name for name in found if name.split(".")[0] == "lemore" and path_of(name)}
    imports = own | {parent for name in own for parent in _parents(name)}
    text = _dump(_Wordless().visit(tree))
    return Reading(frozenset(imports), hashlib.sha256(text.encode()).hexdigest())


def _dump(tree: ast.AST) -> str:
    """Returns the text of a syntax tree, the same in every version of Python: 3.12 has added the
    parameters of types, and 3.13 leaves out what is empty unless it is asked for."""
    options: dict[str, Any] = {"show_empty": True} if sys.version_info >= (3, 13) else {}
    return ast.dump(tree, **options).replace(", type_params=[]", "")


def _find_imports(tree: ast.Module) -> set[str]:
    """Modules that a file imports anywhere, or names as "module:function"."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = BY_NAME.fullmatch(node.value)
            found |= {named[1]} if named else set()
    return found


class _Wordless(ast.NodeTransformer):
    """Removes docstrings, and string constants inside `log.*()` and `raise` but nothing else of
    them: a call inside counts."""

    def __init__(self) -> None:
        self.in_words = False

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            documented = ast.get_docstring(node, clean=False) is not None
            node.body = node.body[1:] if documented else node.body
        before = self.in_words
        self.in_words = before or isinstance(node, ast.Raise) or _is_log_call(node)
        if isinstance(node, ast.JoinedStr):
            node.values = [part for part in node.values if self._counts(part)]
        if self.in_words and isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
        self.generic_visit(node)
        self.in_words = before
        return node

    def _counts(self, part: ast.expr) -> bool:
        """Returns whether a part of an f-string counts; 3.12 adds empty ones."""
        if isinstance(part, ast.Constant):
            return part.value != "" and not self.in_words
        return True


def _is_log_call(node: ast.AST) -> bool:
    function = node.func if isinstance(node, ast.Call) else None
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id == "log"
    )


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def declare_code(stage: str, named: Iterable[str] = ()) -> list[str]:
    """Modules whose code is an input of a stage's job.

    `stage` is a file of lemore/stages; `named` are modules that the job finds by name (a backbone,
    a decode head, a dataset reader), which a walk of the imports cannot see. A named module in a
    room that does not count for the stage makes that room count.
    """
    named = tuple(named)
    roots = [f"lemore.stages.{stage}", *named]
    missing = [name for name in roots if path_of(name) is None]
    if missing:
        raise ValueError(f"there is no module {missing[0]}")
    seen: set[str] = set()
    waiting = [*roots, *(parent for root in roots for parent in _parents(root))]
    while waiting:
        module = waiting.pop()
        if module not in seen and counts(module, stage, named):
            seen.add(module)
            waiting += read_module(module).imports
    return sorted(seen)


def list_by_model(model: ModelConfig, stage: str) -> list[str]:
    """Lists the modules that a stage's job finds by its model: its heads, and what its task is."""
    found = [*(f"lemore.models.{head}" for head in model.heads), NETWORKS[model.task]]
    if model.task == "detection" and stage in OF_DETECTION:
        found.append(OF_DETECTION[stage])
    return found


def list_by_recipe(recipe: Train, task: str) -> list[str]:
    """Lists the modules that a fine-tuning finds by its recipe: validation if it chooses weights,
    and all networks' if one teaches, since only the teacher's file says which it is."""
    found = [VALIDATION[task]] if recipe.keep == "best" else []
    if recipe.teacher is not None:
        for room in ("backbones", "decode_heads"):
            files = sorted((PACKAGE / "models" / room).glob("[!_]*.py"))
            found += [f"lemore.models.{room}.{file.stem}" for file in files]
    return found


def counts(module: str, stage: str, named: Iterable[str] = ()) -> bool:
    """Returns whether a module's code is an input of a stage's jobs. named: see `declare_code`."""
    rooms = FOR_STAGES.get(stage, {})
    spared = [room for room in rooms if not any(name.startswith(f"{room}.") for name in named)]
    left_out = (*NEVER, *EXCEPTIONS, *spared)
    inside = any(module == name or module.startswith(f"{name}.") for name in left_out)
    return module != "lemore" and not inside


def list_loaded(stage: str, modules: Iterable[str]) -> list[str]:
    """Lists the names in sys.modules that count; a test compares them with `declare_code`."""
    modules = tuple(modules)  # at once: another thread may be importing
    own = (name for name in modules if name.split(".")[0] == "lemore")
    return sorted(name for name in own if counts(name, stage))


def code_version(stage: str, named: Iterable[str] = ()) -> str:
    """One hash over the code of a job."""
    return key_of({name: read_module(name).fingerprint for name in declare_code(stage, named)})


def write_fingerprints(stage: str, named: Iterable[str], folder: Path) -> list[str]:
    """Writes the fingerprints of a job's modules below `folder`, touching only what changed.

    Returns their paths, for use as a rule's input.
    """
    texts = {folder / f"layout_{LAYOUT}": f"results of another layout are made anew: {LAYOUT}\n"}
    for module in declare_code(stage, named):
        name = module.removeprefix("lemore.").replace(".", "/")
        texts[folder / f"{name}.fingerprint"] = read_module(module).fingerprint + "\n"
    for path, text in texts.items():
        if not path.exists() or path.read_text() != text:  # its time of change tells something
            write_atomic(path, text, durable=False)
    return list(map(str, texts))
