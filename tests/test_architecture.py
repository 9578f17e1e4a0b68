"""Who may import whom (the house rules), and what a job declares as its code."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from lemore.config import code as sources

ROOT = Path(__file__).parents[1]
# Each room may import the rooms on later lines, but for those beside it.
FLOORS = (
    ("commands",),
    ("stages",),
    ("trained",),
    ("models", "data", "training", "evaluation", "profiling", "reporting", "scenes"),
    ("config",),
    ("runtime",),
)
BESIDE = {("evaluation", "data"), ("scenes", "data")}
RANK = {room: rank for rank, rooms in enumerate(FLOORS) for room in rooms}
# Nothing that decides a result may lie in a command, since commands do not count as code.
OF_COMMANDS = {"commands", "stages", "trained", "config", "runtime"}
JOB_ROOMS = ("lemore.runtime.ray", "lemore.runtime.tracking")
ONLY_HERE = {
    "ray": ("lemore/runtime/ray/",),
    "mlflow": ("lemore/runtime/tracking/mlflow.py", "lemore/runtime/tracking/models.py"),
    "pandas": ("lemore/reporting/",),
    "matplotlib": ("lemore/reporting/",),
}


def modules() -> list[str]:
    files = sorted((ROOT / "lemore").rglob("*.py"))
    names = [".".join(f.relative_to(ROOT).with_suffix("").parts) for f in files]
    return [name.removesuffix(".__init__") for name in names]


def room(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


def may_import(module: str, other: str) -> bool:
    one, two = room(module), room(other)
    if one == two or not two:
        return True
    if other.startswith(JOB_ROOMS) and one not in ("commands", "stages"):
        return False
    return RANK[one] < RANK[two] or (one, two) in BESIDE


def test_every_module_is_in_a_room():
    assert {room(m) for m in modules()} - {"", "cli"} == set(RANK)


@pytest.mark.parametrize("name", RANK)
def test_rooms_import_downwards(name):
    for module in modules():
        if room(module) == name:
            wrong = [m for m in sources.imports(module) if not may_import(module, m)]
            assert not wrong, f"{module} imports {sorted(wrong)}"


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
        "import sys, lemore.config.jobs, lemore.runtime.process; heavy = 'torch numpy cv2 ray"
        " mlflow pandas'; print([m for m in heavy.split() if m in sys.modules])"
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
    modules = {"lemore.config.read": None, "lemore.runtime.files": None}

    def left_out(name: str, task: str) -> bool:
        modules[f"imported.beside.{name}"] = None
        return False

    monkeypatch.setattr(sources, "_left_out", left_out)
    assert sources.loaded("finetune", modules) == ["lemore.config.read", "lemore.runtime.files"]
