"""Build llama-server from the sources inside llama-cpp-python's source package: the anchor of `llmchat bench engine`.

    python tests/bench/engine/llama_server.py [--folder FOLDER] [--sources FOLDER] [--jobs N] [-- CMAKE OPTIONS]

It is the version that llama-cpp-python binds, built with the same default flags, so both compute with the same
kernels; `llmchat bench engine` even runs it on llama-cpp-python's own libraries. The source package comes through pip;
`--sources` takes an unpacked one instead, for machines without network. Needs CMake, Ninja and a C++ compiler; 10 to
20 minutes on two cores. What is there already is not built again.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "ON",  # as llama-cpp-python builds it
    "CMAKE_BUILD_RPATH_USE_ORIGIN": "ON",  # the folder of the binaries can be moved
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",  # it would be fetched
    "LLAMA_OPENSSL": "OFF",
}


def build(folder: Path, sources: Path | None, jobs: int, options: list[str]) -> Path:
    """The binary in `folder`, built unless it is there. An interrupted build goes on where it was.

    Raises CalledProcessError, OSError.
    """
    binary = folder / "bin" / "llama-server"
    if binary.exists():
        return binary
    building = folder / "building"
    building.mkdir(parents=True, exist_ok=True)
    vendored = (sources or unpacked(building)) / "vendor" / "llama.cpp"
    flags = [f"-D{name}={value}" for name, value in OPTIONS.items()]
    configure = ["cmake", "-S", str(vendored), "-B", str(building / "build"), "-G", "Ninja", *flags, *options]
    subprocess.run(configure, check=True)
    target = ["--target", "llama-server", "-j", str(jobs)]
    subprocess.run(["cmake", "--build", str(building / "build"), *target], check=True)
    (building / "build" / "bin").rename(binary.parent)
    shutil.rmtree(building)
    return binary


def unpacked(folder: Path) -> Path:
    """The source package of the installed llama-cpp-python, in `folder`. Raises CalledProcessError, OSError."""
    found = version("llama-cpp-python")
    sources = folder / f"llama_cpp_python-{found}"
    if not sources.exists():
        options = ["--no-deps", "--no-binary", "llama-cpp-python", "--dest", str(folder)]
        subprocess.run([sys.executable, "-m", "pip", "download", *options, f"llama-cpp-python=={found}"], check=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            with tarfile.open(folder / f"{sources.name}.tar.gz") as archive:
                archive.extractall(scratch, filter="data")
            (Path(scratch) / sources.name).rename(sources)
    return sources


def main() -> int:
    """Build, and print where it is."""
    from tui.commands.bench import default_folder

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=default_folder() / "llama-server", help="build there")
    parser.add_argument("--sources", type=Path, help="an unpacked llama-cpp-python source package")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("options", nargs="*", metavar="-- OPTIONS", help="for CMake, as -DGGML_CUDA=ON")
    asked = parser.parse_args()
    print(build(asked.folder, asked.sources, asked.jobs, asked.options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
