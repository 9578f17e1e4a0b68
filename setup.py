"""Puts configurations, workflow and published weights into a wheel, as lemore/shipped."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("Snakefile", "config", "profiles", "workflow", "weights")


class BuildWithShipped(build_py):
    """Adds the files of the top-level folders; an editable installation finds the originals."""

    def run(self) -> None:
        super().run()
        for name in SHIPPED if not self.editable_mode else ():
            paths = [Path(name)] if Path(name).is_file() else sorted(Path(name).rglob("*"))
            for path in (path for path in paths if path.is_file()):
                target = Path(self.build_lib, "lemore/shipped", path)
                self.mkpath(str(target.parent))
                self.copy_file(str(path), str(target))


setup(cmdclass={"build_py": BuildWithShipped})
