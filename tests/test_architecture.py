"""The rules of docs/design.md on who may import whom, and the code that a job declares."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from lemore.config import code

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
    "mlflow": tuple(
        f"lemore/runtime/tracking/{name}.py" for name in ("mlflow", "models", "logged_models")
    ),
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
            wrong = [m for m in code.read_module(module).imports if not may_import(module, m)]
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
    graph = {m: code.read_module(m).imports - {"lemore"} - {m} for m in modules()}
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


def test_what_is_left_out_exists():
    for name in (*code.NEVER, *code.EXCEPTIONS, *(m for s in code.FOR_STAGES.values() for m in s)):
        assert code.path_of(name), f"{name} does not exist"


def test_a_fingerprint_sees_code_and_not_words(tmp_path):
    path = tmp_path / "x.py"

    def mark(text: str) -> str:
        path.write_text(text)
        return code.read_file(path, hash(text)).fingerprint

    plain = mark("def f(x):\n    return x + 1\n")
    assert mark('"""New."""\n# why\ndef f(x):\n    """Adds."""\n    return x + 1  # one\n') == plain
    assert mark("def f(x):\n\n    return (x + 1)\n") == plain
    assert mark("def f(x):\n    return x + 2\n") != plain


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ('log.info("a %s", g(x))', 'log.warning("b %s", g(x))', False),  # another method
        ('log.info("a %s", g(x))', 'log.info("b %s", g(x))', True),
        ('log.info("a %s", g(x))', 'log.info("a %s", h(x))', False),
        ('log.info(f"a {x}")', 'log.info(f"of {x} b")', True),
        ('raise ValueError("a")', 'raise ValueError("b")', True),
        ('raise ValueError(f"a {g(x)}")', 'raise ValueError(f"b {g(x)}")', True),
        ('raise ValueError(f"a {g(x)}")', 'raise ValueError(f"a {h(x)}")', False),
        ('raise ValueError("a")', 'raise OSError("a")', False),
        ('print("a")', 'print("b")', False),
        ('x = "a"', 'x = "b"', False),
    ],
)
def test_words_of_logs_and_errors_do_not_count_but_their_code_does(tmp_path, before, after, same):
    marks = []
    for number, text in enumerate((before, after)):
        path = tmp_path / f"{number}.py"
        path.write_text(f"def f(x):\n    {text}\n")
        marks.append(code.read_file(path, 0).fingerprint)
    assert (marks[0] == marks[1]) == same


def test_a_fingerprint_is_the_same_in_every_version_of_python(tmp_path):
    """The hash was made with 3.11; the text has what 3.12 and 3.13 dump in other words."""
    path = tmp_path / "x.py"
    path.write_text(
        "class A:\n    pass\n\ndef f(x, width):\n    log.info(f'a {x:>{width}}')\n"
        "    return f'{x:<{width}} b {x!r:>{width}.2f}' + f''\n"
    )
    assert code.read_file(path, 0).fingerprint == (
        "3721fbcb6e9952ac9caf6f745d1e11a9c3a9e34bdf05539787b70081981d4c68"
    )


def test_what_ray_is_told_by_name_counts():
    assert "lemore.stages.workers.finetune" in code.declare_code("finetune")


def test_a_model_does_not_drag_the_others_along():
    found = code.declare_code("finetune", ["lemore.models.backbones.lemore"])
    assert "lemore.models.backbones.lemore" in found
    choices = ("lemore.models.backbones.", "lemore.models.decode")
    others = [m for m in found if m.startswith(choices)]
    assert set(others) <= {"lemore.models.backbones.lemore", "lemore.models.decode_heads"}
    assert not [m for m in found if m.startswith(("lemore.reporting", "lemore.evaluation"))]


def test_modules_may_be_imported_meanwhile():
    """As tracking's thread does, while a stage notes what it has loaded."""

    class Growing(dict):
        def __iter__(self):
            self["lemore.data.store"] = None
            return super().__iter__()

    assert code.list_loaded("finetune", Growing()) == ["lemore.data.store"]
