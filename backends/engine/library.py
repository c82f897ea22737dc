"""llama.cpp as a library: importing it, its log, and what has to be known about it. For load.py and runner.py."""

from __future__ import annotations

import ctypes
import logging
import os
import re
from collections import deque
from pathlib import Path
from typing import Any

from backends.errors import BackendError, Code

log = logging.getLogger("backends.engine.llama_cpp")

MISSING = (
    "the local model needs llama-cpp-python, which is not installed or does not load ({reason}). "
    "Install it with: pip install llama-cpp-python"
)
_ERROR = 4
# ggml_log_level of ggml.h. Errors come with a return code, which is what we report: an aborted decode is no news.
_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.INFO, _ERROR: logging.INFO}
_complaints: deque[str] = deque(maxlen=8)
_keep: list[Any] = []  # C callbacks that must live as long as the process


def load_library() -> Any:
    """The module ``llama_cpp.llama_cpp``, its log sent to Python's logging. Raises BackendError (ENGINE_MISSING)."""
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")  # a failed assert must not start a debugger
    try:
        import llama_cpp.llama_cpp as library
    except (ImportError, OSError, RuntimeError, FileNotFoundError) as error:
        raise BackendError(Code.ENGINE_MISSING, MISSING.format(reason=error)) from None
    if not _keep:
        _keep.append(library.llama_log_callback(_on_log))
        library.llama_log_set(_keep[0], None)
        library.llama_backend_init()
    return library


def complaint() -> str:
    """The cause of llama.cpp's last failure in its own words, empty if it gave none. Forgets it.

    It logs the cause first, then every caller's "failed to"; names of functions in front are left out.
    """
    cause = _complaints[0] if _complaints else ""
    _complaints.clear()
    return re.sub(r"^(\w+: )+(error loading model: )?", "", cause)


def _on_log(level: int, text: bytes, _data: Any) -> None:
    line = text.decode("utf-8", "replace").strip()
    if not line or level not in _LEVELS:
        return
    if level == _ERROR:
        _complaints.append(line)
    log.log(_LEVELS[level], "%s", line)


def abort_callback(library: Any) -> Any:
    """An abort callback that never needs Python's lock: C's ``strlen`` on the two bytes given as its data.

    It returns 0 while the first byte is 0, else 1: what llama.cpp takes as "stop".
    """
    address = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p).value
    return library.ggml_abort_callback(address)


MENDED = "amx_tiles.h"
"""What build.py leaves beside the libraries when it has mended the AMX kernels (trim.cmake)."""


def library_folder(library: Any) -> Path:
    """Where the libraries of llama.cpp lie."""
    return Path(os.environ.get("LLAMA_CPP_LIB_PATH") or Path(library.__file__).parent / "lib")


def crashes_repacked(library: Any) -> bool:
    """True where quantized weights must stay as they are in the file: with AMX kernels that nobody has mended.

    GCC passes their tile configuration half written, and the first use ends the process (SIGSEGV on ``ldtilecfg``).
    Which compiler it was cannot be asked; our own build leaves a sign that it is put right there.
    """
    has_amx = b"AMX_INT8 = 1" in library.llama_print_system_info()
    return has_amx and not (library_folder(library) / MENDED).exists()
