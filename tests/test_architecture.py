"""Who may import whom (the house rules), and what a job declares as its code."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from lemore import sources

ROOT = Path(__file__).parents[1]
LEAVES = {
    "lemore",
    "lemore.config",
    "lemore.files",
    "lemore.lock",
    "lemore.machine",
    "lemore.progress",
}
ROOMS = ("models", "data", "training", "evaluation", "profiling", "reporting")
ONLY_HERE = {
    "ray": ("lemore/training/distributed/",),
    "mlflow": ("lemore/training/mlflow_runs.py", "lemore/training/registry.py"),
    "pandas": ("lemore/reporting/",),
    "matplotlib": ("lemore/reporting/",),
}


def modules() -> list[str]:
    files = sorted((ROOT / "lemore").rglob("*.py"))
    names = [".".join(f.relative_to(ROOT).with_suffix("").parts) for f in files]
    return [name.removesuffix(".__init__") for name in names]


def room(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


@pytest.mark.parametrize("module", [m for m in modules() if room(m) in ROOMS])
def test_rooms_know_only_themselves_and_the_leaves(module):
    own = f"lemore.{room(module)}"
    strangers = {m for m in sources.imports(module) if m != own and not m.startswith(own + ".")}
    assert strangers <= LEAVES, f"{module} imports {sorted(strangers - LEAVES)}"


@pytest.mark.parametrize("module", ["lemore.config", "lemore.files", "lemore.progress"])
def test_leaves_know_nobody(module):
    assert sources.imports(module) <= {"lemore"}


def test_nothing_but_tasks_and_cli_imports_tasks():
    for module in modules():
        if room(module) != "tasks":
            found = {m for m in sources.imports(module) if m.startswith("lemore.tasks.")}
            assert not found, f"{module} imports {found}"


def test_only_tasks_call_distributed_and_tracking():
    guarded = ("lemore.training.distributed", "lemore.training.tracking")
    for module in modules():
        if room(module) != "tasks" and not module.startswith(guarded):
            found = {m for m in sources.imports(module) if m.startswith(guarded)}
            assert not found, f"{module} imports {found}"


def test_only_tracking_knows_the_store():
    users = {m for m in modules() if "lemore.training.mlflow_runs" in sources.imports(m)}
    expected = {"lemore.training.tracking", "lemore.training.registry", "lemore.tasks.doctor"}
    assert users == expected


def test_only_tracking_knows_the_registry():
    users = {m for m in modules() if "lemore.training.registry" in sources.imports(m)}
    assert users == {"lemore.training.tracking"}


def test_heavy_packages_stay_where_they_belong():
    for path in (ROOT / "lemore").rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            found = []
            if isinstance(node, ast.Import):
                found = [alias.name.split(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found = [node.module.split(".")[0]]
            for package in set(found) & set(ONLY_HERE):
                assert name.startswith(ONLY_HERE[package]), f"{name} imports {package}"


def test_no_circles():
    graph = {m: sources.imports(m) - {"lemore"} - {m} for m in modules()}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"circle: {' -> '.join([*path, module])}"
        if module not in done:
            for other in graph[module]:
                if not module.startswith(other + "."):  # a package on the way to its member
                    visit(other, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_packages_import_no_member():
    for path in (ROOT / "lemore").rglob("__init__.py"):
        if path.parent.name not in ("lemore", "models"):
            assert not path.read_text().strip(), f"{path} is not empty"


def test_the_snakefile_needs_no_heavy_import():
    code = (
        "import sys, lemore.slices, lemore.training.process; heavy = 'torch numpy cv2 ray mlflow"
        " pandas'; print([m for m in heavy.split() if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert found.stdout.strip() == "[]", found.stdout + found.stderr


def test_plumbing_names_real_modules():
    assert all(sources.path_of(module) for module in sources.PLUMBING)


def test_a_fingerprint_sees_code_and_not_words(tmp_path):
    path = tmp_path / "x.py"

    def mark(text: str) -> str:
        path.write_text(text)
        return sources.read_file(path, hash(text)).fingerprint

    plain = mark("def f(x):\n    return x + 1\n")
    assert mark('"""New."""\n# why\ndef f(x):\n    """Adds."""\n    return x + 1  # one\n') == plain
    assert mark("def f(x):\n\n    return (x + 1)\n") == plain
    assert mark("def f(x):\n    return x + 2\n") != plain


def test_a_model_does_not_drag_the_others_along():
    code = sources.declared("finetune", ["lemore.models.backbones.lemore"])
    assert "lemore.models.backbones.lemore" in code
    others = [m for m in code if m.startswith(("lemore.models.backbones.", "lemore.models.decode"))]
    assert set(others) <= {"lemore.models.backbones.lemore", "lemore.models.decode_heads"}
    assert not [m for m in code if m.startswith(("lemore.reporting", "lemore.evaluation"))]


def test_modules_may_be_imported_meanwhile(monkeypatch):
    """As tracking's thread does, while a stage notes what it has loaded."""
    modules = {"lemore.config": None, "lemore.files": None}

    def left_out(name: str, task: str) -> bool:
        modules[f"imported.beside.{name}"] = None
        return False

    monkeypatch.setattr(sources, "_left_out", left_out)
    assert sources.loaded("finetune", modules) == ["lemore.config", "lemore.files"]
