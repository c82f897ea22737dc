"""Build and measure on a GPU machine without network, in pieces that fit a time limit.

    python -m tests.bench.gpu.pack --tools pack.tar.xz                  # here, with network
    python3 tests/bench/gpu/__main__.py --pack pack.tar.xz --for 540    # there, again until it says that all is done

Each call goes on where the last one stopped: unpacks, builds llama.cpp with CUDA for this card and llama-server in the
background (one build: the Python bindings load the libraries that llama-server was linked to), makes the models, and
measures; samples are in --json. `--cpu --tiny` tries all of it out on any machine; `--built FOLDER` takes a build.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILD_OPTIONS = ("-DGGML_CUDA=ON", "-DGGML_CUDA_FA=ON")


def main() -> int:
    """Do what there is time for. 0: all is done; 3: call again; others: it failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pack", type=Path, help="what pack.py made; without it the installed packages are used")
    parser.add_argument("--work", type=Path, default=Path("gpu-bench"), help="build, models, logs")
    parser.add_argument("--json", type=Path, default=Path("gpu-bench.json"))
    parser.add_argument("--built", type=Path, help="a folder with llama-server and its libraries, instead of building")
    parser.add_argument("--for", dest="seconds", type=float, default=540.0, help="seconds this call may take")
    parser.add_argument("--cpu", action="store_true", help="without CUDA")
    parser.add_argument("--tiny", action="store_true", help="small models and few repetitions")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    deadline = time.monotonic() + asked.seconds
    work = asked.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    site = unpack(asked.pack, work) if asked.pack else None
    if asked.built is None and not build(work, asked.cpu, asked.jobs, deadline):
        print(f"the build goes on ({work / 'build.log'}); call again")
        return 3
    binaries = (asked.built or work / "build" / "bin").resolve()
    return measure(binaries, site, work, asked, deadline)


def unpack(archive: Path, work: Path) -> Path:
    """The Python packages of the pack, which is unpacked once. Raises OSError, tarfile.TarError."""
    if not (work / "pack").exists():
        with tarfile.open(archive) as packed:
            packed.extractall(work / "unpacking", filter="data")
        (work / "unpacking" / "pack").rename(work / "pack")
    return work / "pack" / "site"


def build(work: Path, cpu: bool, jobs: int, deadline: float) -> bool:
    """Build in the background, wait for it until `deadline`; True when it is done. Raises SystemExit when it failed."""
    done, failed, running = work / "build.done", work / "build.failed", work / "build.pid"
    if not done.exists() and not failed.exists() and not _alive(running):
        child = subprocess.Popen(
            ["bash", "-c", _build_script(work, cpu, jobs)], start_new_session=True, stdin=subprocess.DEVNULL
        )
        running.write_text(str(child.pid))
    while not done.exists() and not failed.exists() and time.monotonic() < deadline - 5:
        time.sleep(1)
    if failed.exists():
        failed.unlink()
        raise SystemExit(f"the build failed; its last lines:\n{(work / 'build.log').read_text()[-3000:]}")
    return done.exists()


def _build_script(work: Path, cpu: bool, jobs: int) -> str:
    """Configure and build; `build.done` or `build.failed` tells how it ended."""
    sys.path.insert(0, str(ROOT))
    from tests.bench.engine.llama_server import OPTIONS

    flags = [f"-D{name}={value}" for name, value in OPTIONS.items()]
    if not cpu:
        flags += [*BUILD_OPTIONS, f"-DCMAKE_CUDA_ARCHITECTURES={compute_capability()}"]
    folder, log = work / "build", work / "build.log"
    sources = work / "pack" / "sources" / "vendor" / "llama.cpp"
    tools = f"export PATH='{work}/pack/site/bin':$PATH:/usr/local/cuda/bin PYTHONPATH='{work}/pack/site'"
    chosen = "-G Ninja" if shutil.which("ninja") or (work / "pack" / "site" / "bin" / "ninja").exists() else ""
    steps = (
        f"cmake -S '{sources}' -B '{folder}' {chosen} {' '.join(flags)} && "
        f"cmake --build '{folder}' --target llama-server -j {jobs}"
    )
    own = f"[ ! -d '{work}/pack/site/bin' ] || chmod -R u+x '{work}/pack/site/bin'"
    ending = f"&& touch '{work}/build.done' || touch '{work}/build.failed'"
    return f"{tools}; {own}; ({steps}) >'{log}' 2>&1 {ending}"


def compute_capability() -> str:
    """The first card's architecture as CMake writes it: ``90``. Raises CalledProcessError, OSError."""
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    said = subprocess.run(query, check=True, capture_output=True, text=True).stdout
    return said.splitlines()[0].strip().replace(".", "")


def _alive(pid_file: Path) -> bool:
    try:
        os.kill(int(pid_file.read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def measure(binaries: Path, site: Path | None, work: Path, asked: argparse.Namespace, deadline: float) -> int:
    """Run measure.py on the libraries that were built, with the packages that were carried."""
    paths = [str(ROOT), *([str(site)] if site else [])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "LLAMA_CPP_LIB_PATH": str(binaries)}
    environment["LD_LIBRARY_PATH"] = os.pathsep.join([str(binaries), os.environ.get("LD_LIBRARY_PATH", "")])
    left = max(1.0, deadline - time.monotonic())
    command = [sys.executable, "-m", "tests.bench.gpu.measure", str(binaries / "llama-server"), str(work / "models")]
    command += ["--json", str(asked.json.resolve()), "--for", str(left)]
    command += [*(["--cpu"] if asked.cpu else []), *(["--tiny"] if asked.tiny else [])]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
