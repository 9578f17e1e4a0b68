"""What a stage's code is: the modules its task reaches by imports, and their fingerprints.

Snakemake does not see changes in an imported package, so each rule takes the fingerprints of its
code as input files. A fingerprint is the hash of the syntax tree without docstrings and comments:
editing a comment reruns nothing, and nor does a fresh checkout.
"""

import ast
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lemore.runtime.files import write_atomic

PACKAGE = Path(__file__).parents[1]

# Code that decides where and how a job runs, not what it computes; a change here reruns nothing.
PLUMBING = {
    "lemore": "version number",
    "lemore.cli": "finds the task",
    "lemore.config.read": "reads YAML; the values themselves are inputs",
    "lemore.data.fetch.download": "how archives arrive; their hashes are inputs",
    "lemore.data.fetch.fetch": "how archives arrive; their hashes are inputs",
    "lemore.config.labels": "reads label tables; the tables themselves are inputs",
    "lemore.config.dataset": "schema of a configuration; the values themselves are inputs",
    "lemore.config.experiment": "expands the configuration; the values themselves are inputs",
    "lemore.runtime.files": "writes files whole",
    "lemore.runtime.lock": "one writer at a time",
    "lemore.models.key_map": "names of others' tensors; every one of them is checked",
    "lemore.models.torchvision_weights": "names of others' tensors; every one of them is checked",
    "lemore.config.model": "schema of a configuration; the values themselves are inputs",
    "lemore.config.profiling": "schema of a configuration; the values themselves are inputs",
    "lemore.runtime.progress": "progress lines",
    "lemore.config.reported": "which figures there are; the values themselves are inputs",
    "lemore.config.run": "schema of a configuration; the values themselves are inputs",
    "lemore.config.jobs": "expands the configuration; the values themselves are inputs",
    "lemore.config.code": "this file",
    "lemore.stages.training": "paths, locks, keys and tracking of a stage",
    "lemore.runtime.checkpoint": "how state is stored",
    "lemore.runtime.ray": "where a training runs",
    "lemore.runtime.ray.cluster": "where a training runs",
    "lemore.runtime.ray.execute": "where a training runs",
    "lemore.runtime.ray.memory": "words for a lack of memory",
    "lemore.runtime.ray.tune": "where a search runs",
    "lemore.runtime.tracking.mlflow": "metrics in MLflow",
    "lemore.runtime.tracking.outbox": "metrics in MLflow",
    "lemore.runtime.process": "life and death of processes",
    "lemore.config.recipe": "schema of a configuration; the values themselves are inputs",
    "lemore.runtime.tracking.models": "trained networks in MLflow",
    "lemore.runtime.tracking.metrics_file": "metrics on disk",
    "lemore.runtime.tracking.run": "metrics in MLflow",
    "lemore.runtime.watchdog": "ends what hangs",
}
# Validation while training shows progress; no table reads it, and it changes no weight.
TRAINING_TASKS = ("pretrain", "finetune")
VALIDATION = ("lemore.evaluation", "lemore.evaluation.segmentation")
# Pictures that an evaluation puts into MLflow; no number comes from them.
PICTURES = "lemore.reporting"


def path_of(module: str) -> Path | None:
    """File of a lemore module or package, None if there is no such module."""
    base = PACKAGE.parent.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@dataclass(frozen=True)
class Reading:
    """What counts of a file: the lemore modules it imports and the hash of its syntax tree."""

    imports: frozenset[str]
    fingerprint: str


def read(module: str) -> Reading:
    path = path_of(module)
    assert path is not None, f"no module {module}"
    return read_file(path, path.stat().st_mtime_ns)


@cache
def read_file(path: Path, _changed: int) -> Reading:
    """Reads a file once for each of its times of change; docstrings do not count."""
    tree = ast.parse(path.read_text(), str(path))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            documented = ast.get_docstring(node, clean=False) is not None
            node.body = node.body[1:] if documented else node.body
    own = {name for name in found if name.split(".")[0] == "lemore" and path_of(name)}
    imports = own | {parent for name in own for parent in _parents(name)}
    return Reading(frozenset(imports), hashlib.sha256(ast.dump(tree).encode()).hexdigest())


def imports(module: str) -> frozenset[str]:
    """lemore modules that `module` imports anywhere in its file, packages on the way included."""
    return read(module).imports


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def declared(task: str, named: Iterable[str] = ()) -> list[str]:
    """Modules whose code is an input of a job.

    `task` is a file of lemore/commands; `named` are modules that the job finds by name (a backbone,
    a decode head, a dataset reader), which a walk of the imports cannot see.
    """
    roots = [f"lemore.commands.{task}", *named]
    missing = [name for name in roots if path_of(name) is None]
    if missing:
        raise ValueError(f"there is no module {missing[0]}")
    seen: set[str] = set()
    waiting = [*roots, *(parent for root in roots for parent in _parents(root))]
    while waiting:
        module = waiting.pop()
        if module in seen or _left_out(module, task):
            continue
        seen.add(module)
        waiting += imports(module)
    return sorted(seen)


def _left_out(module: str, task: str) -> bool:
    validation = task in TRAINING_TASKS and module.startswith(VALIDATION)
    pictures = task == "evaluate" and module.startswith(PICTURES)
    return module in PLUMBING or validation or pictures


def loaded(task: str, modules: Iterable[str]) -> list[str]:
    """Of the names in sys.modules, those that count as a job's code; the test's other side."""
    modules = tuple(modules)  # at once: another thread may be importing
    own = (name for name in modules if name.split(".")[0] == "lemore")
    return sorted(name for name in own if not _left_out(name, task))


def fingerprint(module: str) -> str:
    """SHA-256 of a module's syntax tree without docstrings."""
    return read(module).fingerprint


def code_version(task: str, named: Iterable[str] = ()) -> str:
    """One hash over the code of a job."""
    lines = [f"{module} {fingerprint(module)}" for module in declared(task, named)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def fingerprint_files(task: str, named: Iterable[str], folder: Path) -> list[str]:
    """Writes the fingerprints of a job's modules below `folder`, touching only what changed.

    Returns their paths, for use as a rule's input.
    """
    paths = []
    for module in declared(task, named):
        path = folder / f"{module.removeprefix('lemore.').replace('.', '/')}.fingerprint"
        write_if_changed(path, fingerprint(module) + "\n")
        paths.append(str(path))
    return paths


def write_if_changed(path: Path, text: str) -> None:
    """Leaves a file with this text alone, so that its time of change tells something."""
    if not path.exists() or path.read_text() != text:
        write_atomic(path, text, durable=False)
