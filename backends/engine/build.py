"""Build and install llama-cpp-python, trimmed to what llmchat uses, and show how far it is.

    python backends/engine/build.py [pip options]        from a checkout (what `make run` does)
    python -m backends.engine.build [pip options]        from an installed llmchat

Needs pip, a C++ compiler and nothing else of llmchat. `CMAKE_ARGS` of the environment is kept and wins, so a GPU build
is `CMAKE_ARGS="-DGGML_CUDA=on" make run`. pip keeps the wheel it built: a second environment takes seconds.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections import deque
from importlib.util import find_spec
from pathlib import Path

REQUIREMENT = "llama-cpp-python>=0.3.36,<0.4"
STEP = re.compile(r"\[(\d+)/(\d+)\] ")
ADVICE = """\
llama-cpp-python could not be built (last lines above).
  - It needs a C++ compiler: Debian `apt install g++`, Fedora `dnf install gcc-c++`, macOS `xcode-select --install`.
  - Without it llmchat still talks to remote servers: `make run ENGINE=no`, `llmchat --url URL --model NAME`."""


def cmake_args() -> str:
    """The trimming flags (sources: llama.cpp's CMake options), then whatever the user's environment adds."""
    trim = Path(__file__).with_name("trim.cmake").resolve()
    flags = ["-DLLAVA_BUILD=OFF", f"-DCMAKE_PROJECT_llama_cpp_INCLUDE={trim}"]
    return " ".join([*map(shlex.quote, flags), os.environ.get("CMAKE_ARGS", "")]).strip()


def main(options: list[str]) -> int:
    """Install, unless it is there. Returns the exit code for the shell."""
    if find_spec("llama_cpp") is not None:
        return 0
    print("Building llama.cpp, the engine of the local model: once, some 2 to 5 minutes on 2 cores.", flush=True)
    started = time.monotonic()
    tail: deque[str] = deque(maxlen=25)
    command = [sys.executable, "-m", "pip", "install", "-v", *options, REQUIREMENT]
    environment = os.environ | {"CMAKE_ARGS": cmake_args()}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:
        assert pip.stdout is not None
        progress = Progress(started)
        for line in pip.stdout:
            tail.append(line.rstrip())
            progress.show(line)
    progress.close()
    seconds = time.monotonic() - started
    if pip.returncode:
        print("\n".join(tail), ADVICE, sep="\n", file=sys.stderr)
        return pip.returncode
    print(f"llama.cpp is ready after {seconds:.0f} s.", flush=True)
    return 0


class Progress:
    """One line on a terminal, redrawn; elsewhere (a CI log) a line every 20 seconds."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.terminal = sys.stdout.isatty()
        self.next = started

    def show(self, line: str) -> None:
        """Take in one line of pip's output, and draw when it is time."""
        step = STEP.search(line)
        now = time.monotonic()
        if step is None or now < self.next:
            return
        self.next = now + (0.2 if self.terminal else 20)
        text = f"  step {step[1]} of {step[2]}, {now - self.started:.0f} s"
        print(f"\r{text}   " if self.terminal else text, end="" if self.terminal else "\n", flush=True)

    def close(self) -> None:
        """Leave the redrawn line."""
        if self.terminal:
            print("\r" + " " * 40 + "\r", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
