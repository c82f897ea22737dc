"""Pack what a CUDA machine without network needs to build and measure: one archive, far below 64 MiB.

    python -m tests.bench.gpu.pack [--sources FOLDER] [--tools] ARCHIVE.tar.xz

In it: of llama-cpp-python's source package what llama-server and the Python bindings are made of (no vocabularies of
models, documents, other GPUs' backends, other tools), and the Python packages that the bench needs, for the Python and
system that it is packed on. `--tools` adds CMake and Ninja.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.bench.engine.llama_server import unpacked

LIMIT = 64 << 20
PACKAGES = (
    *("msgspec", "numpy", "starlette", "uvicorn", "httptools", "httpx", "httpx-sse", "jinja2", "platformdirs"),
    *("diskcache", "typing-extensions"),  # the bindings' own
)
TOOLS = ("cmake", "ninja")
KEPT = ("CMakeLists.txt", "LICENSE", "AUTHORS", "cmake", "common", "include", "src", "vendor", "licenses", "scripts")
KEPT_TOOLS = ("mtmd", "server")
KEPT_UI = ("CMakeLists.txt", "sources.cmake", "ui.cpp.in", "ui.h.in")  # an empty one is built from these
OTHER_BACKENDS = (
    *("blas", "cann", "et", "hexagon", "hip", "kompute", "metal", "musa", "opencl", "openvino", "rpc", "sycl"),
    *("virtgpu", "vulkan", "webgpu", "zdnn", "zendnn"),
)
TOOLS_LIST = "find_package(Threads REQUIRED)\nllama_add_compile_flags()\n" + "".join(
    f"add_subdirectory({tool})\n" for tool in (*KEPT_TOOLS, "ui")
)


def pack(sources: Path, archive: Path, tools: bool) -> None:
    """Write `archive`. Raises CalledProcessError, OSError, and ValueError when it is too large."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "pack"
        strip(sources, folder / "sources")
        packages = [*PACKAGES, *(TOOLS if tools else ())]
        into = ["--target", str(folder / "site"), "--no-compile", "--quiet"]
        subprocess.run([sys.executable, "-m", "pip", "install", *into, *packages], check=True)
        shutil.copytree(sources / "llama_cpp", folder / "site" / "llama_cpp")
        for folder_of_tests in sorted((folder / "site").rglob("tests")):
            shutil.rmtree(folder_of_tests, ignore_errors=True)
        with tarfile.open(archive, "w:xz", preset=3) as packed:
            packed.add(folder, "pack")
    if archive.stat().st_size > LIMIT:
        raise ValueError(f"{archive} is {archive.stat().st_size / 2**20:.0f} MiB, more than can be carried")


def strip(sources: Path, target: Path) -> None:
    """Copy of `sources`, an unpacked source package, what llama-server is built from."""
    vendored, into = sources / "vendor" / "llama.cpp", target / "vendor" / "llama.cpp"
    for name in KEPT:
        _copy(vendored / name, into / name)
    for name in KEPT_TOOLS:
        _copy(vendored / "tools" / name, into / "tools" / name)
    for name in KEPT_UI:
        _copy(vendored / "tools" / "ui" / name, into / "tools" / "ui" / name)
    (into / "tools" / "CMakeLists.txt").write_text(TOOLS_LIST)
    for name in ("CMakeLists.txt", "LICENSE", "cmake", "include", "src"):
        _copy(vendored / "ggml" / name, into / "ggml" / name)
    for name in OTHER_BACKENDS:
        shutil.rmtree(into / "ggml" / "src" / f"ggml-{name}", ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    elif source.exists():
        shutil.copy2(source, target)


def main() -> int:
    """Pack, and print how large it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--sources", type=Path, help="an unpacked llama-cpp-python source package")
    parser.add_argument("--tools", action="store_true", help="with CMake and Ninja")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        pack(asked.sources or unpacked(Path(scratch)), asked.archive, asked.tools)
    print(f"{asked.archive}: {asked.archive.stat().st_size / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
