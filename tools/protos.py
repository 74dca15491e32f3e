"""From proto/ to Python: code generation (on build, and by hand while developing), lint, compatibility.

    python -m tools.protos generate     write ftc_grpc/_gen
    python -m tools.protos lint         buf's rules (buf.yaml) and buf's format
    python -m tools.protos breaking     what callers of the published surface would miss
    python -m tools.protos publish      make the present surface the published one: with a release, no sooner

The build calls `generate` through setup.py. All need only packages: protoc comes with grpcio-tools, the
google/api imports with googleapis-common-protos, buf with buf-bin; no schema registry is asked.
"""

from __future__ import annotations

import argparse
import importlib.resources
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from grpc_tools import protoc  # type: ignore[import-untyped]

__all__ = ["breaking", "generate", "lint", "main", "publish"]

ROOT = Path(__file__).resolve().parent.parent
PROTO_ROOT = ROOT / "proto"
PUBLISHED = PROTO_ROOT / "published.json"
"""The surface that callers were promised: the descriptors of our own files, as JSON that buf reads."""
CONFIG = ROOT / "buf.yaml"
OUTPUT = ROOT / "ftc_grpc" / "_gen"
OUTPUT_PACKAGE = "ftc_grpc._gen"

# protoc derives Python imports from proto paths and would emit `from ftc.v1 import …`, a top-level package
# that does not exist. The proto paths stay as they are (they are the file names that reflection shows, and
# what other people's generated code registers in the same descriptor pool): only the imports are moved.
_OWN_IMPORT = re.compile(r"^from (ftc\.v\d+) import ", re.MULTILINE)


def generate(output: Path = OUTPUT) -> None:
    """Write messages, service stubs and their types under `output`, replacing what stands there.

    Raises RuntimeError if protoc refuses a file; its reasons are on standard error.
    """
    with tempfile.TemporaryDirectory() as directory:
        fresh = Path(directory) / "gen"
        fresh.mkdir()
        _protoc(f"--python_out={fresh}", f"--mypy_out=quiet:{fresh}", files=_files("*.proto"))
        services = _files("*_service.proto")
        _protoc(f"--grpc_python_out={fresh}", f"--mypy_grpc_out=quiet:{fresh}", files=services)
        for source in [*fresh.rglob("*.py"), *fresh.rglob("*.pyi")]:
            source.write_text(_OWN_IMPORT.sub(rf"from {OUTPUT_PACKAGE}.\1 import ", source.read_text()))
        for package in [fresh, *(path for path in fresh.rglob("*") if path.is_dir())]:
            package.joinpath("__init__.py").write_text('"""Generated from proto/ by tools/protos.py."""\n')
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(fresh, output)


def lint() -> int:
    """Check proto/ against buf.yaml and buf's format; gives the first bad exit status, else 0."""
    with tempfile.TemporaryDirectory() as directory:
        image = _image(Path(directory), "--include_source_info")
        own = [f"--path={name}" for name in _files("*.proto")]
        linted = _run(_program("buf"), "lint", str(image), f"--config={CONFIG}", *own)
    formatted = _run(_program("buf"), "format", str(PROTO_ROOT), "--diff", "--exit-code")
    return linted or formatted


def breaking(proto_root: Path = PROTO_ROOT, published: Path = PUBLISHED) -> int:
    """Check that the protos under `proto_root` break nobody who uses the `published` ones.

    Gives buf's exit status. Additions pass; what is removed, renumbered or of another type is named.
    """
    with tempfile.TemporaryDirectory() as directory:
        image = _image(Path(directory), "--include_source_info", proto_root=proto_root)
        # buf takes whole images only. What Google publishes is the same before and after.
        promised = [*_described(image, own=False), *json.loads(published.read_text())["file"]]
        against = Path(directory) / "against.json"
        against.write_text(json.dumps({"file": promised}))
        configs = ("--config", str(CONFIG), "--against-config", str(CONFIG))
        return _run(_program("buf"), "breaking", str(image), "--against", str(against), *configs)


def publish(published: Path = PUBLISHED) -> None:
    """Write the present surface to `published`. Raises RuntimeError if buf refuses it."""
    with tempfile.TemporaryDirectory() as directory:
        surface = {"file": _described(_image(Path(directory)), own=True)}
        published.write_text(json.dumps(surface, indent=1, sort_keys=True) + "\n")


def _described(image: Path, *, own: bool) -> list[Any]:
    """The descriptors of our own files in `image`, or of those that they import."""
    text = image.with_suffix(".json")
    if _run(_program("buf"), "build", str(image), "--exclude-source-info", "-o", str(text)) != 0:
        raise RuntimeError("buf refused the image: its reasons are above")
    files = json.loads(text.read_text())["file"]
    return [file for file in files if file["package"].startswith("ftc.") is own]


def _image(directory: Path, *options: str, proto_root: Path = PROTO_ROOT) -> Path:
    """Our protos with their imports, built by protoc: buf would fetch google/api from its registry."""
    image = directory / "image.binpb"
    _protoc("--include_imports", *options, f"-o{image}", files=_files("*.proto", proto_root), root=proto_root)
    return image


def _files(pattern: str, root: Path = PROTO_ROOT) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob(pattern))


def _protoc(*options: str, files: list[str], root: Path = PROTO_ROOT) -> None:
    google_api = importlib.resources.files("google.api") / "annotations.proto"
    operations = importlib.resources.files("google.longrunning") / "operations_proto.proto"
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    with (
        importlib.resources.as_file(google_api) as annotations,
        tempfile.TemporaryDirectory() as renamed,
    ):
        # The package ships this file under another name than the one that it is imported and registered by.
        longrunning = Path(renamed) / "google" / "longrunning"
        longrunning.mkdir(parents=True)
        longrunning.joinpath("operations.proto").write_bytes(operations.read_bytes())
        arguments = [
            "protoc",
            f"--plugin=protoc-gen-mypy={_program('protoc-gen-mypy')}",
            f"--plugin=protoc-gen-mypy_grpc={_program('protoc-gen-mypy_grpc')}",
            f"-I{root}",
            f"-I{annotations.parents[2]}",
            f"-I{renamed}",
            f"-I{well_known}",
            *options,
            *files,
        ]
        if protoc.main(arguments) != 0:
            raise RuntimeError("protoc refused proto/: its reasons are above")


def _run(*command: str) -> int:
    return subprocess.run(command, check=False).returncode  # noqa: S603 - fixed programs, our own files


def _program(name: str) -> str:
    """The program that belongs to this interpreter's environment, whether or not that is activated."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    found = shutil.which(name, path=path)
    if found is None:
        raise RuntimeError(f"{name} is not installed: pip install -e '.[dev]'")
    return found


def main() -> int:
    """Run one of the commands of the module's docstring; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.protos")
    parser.add_argument("command", choices=["generate", "lint", "breaking", "publish"])
    match parser.parse_args().command:
        case "lint":
            return lint()
        case "breaking":
            return breaking()
        case "publish":
            publish()
        case _:
            generate()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
