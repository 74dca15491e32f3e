"""The one build step that pyproject.toml cannot express: each build generates Python code from proto/."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parent))  # build front ends do not put the source tree on the path

GENERATED_PACKAGES = ("ftc_grpc._gen", "ftc_grpc._gen.ftc", "ftc_grpc._gen.ftc.v1")


class BuildWithProtos(build_py):
    """build_py, with ftc_grpc/_gen written first (wheels and editable installs both come through here)."""

    def run(self) -> None:
        """Generate, then build."""
        from tools.protos import generate  # a bare `setup.py --help` lacks what it needs

        generate()
        # Packages were listed before the generated ones existed.
        self.packages = sorted({*self.packages, *GENERATED_PACKAGES})
        super().run()


setup(cmdclass={"build_py": BuildWithProtos})
