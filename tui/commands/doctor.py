"""`llmchat doctor`: what is here, whether it is in order, and what of a model fits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from backends import config, providers
from backends.config import ConfigFile
from backends.engine.doctor import KV_TYPES, Fit, Measures, fits, measure
from backends.engine.gpu_memory import Gpu, gpus
from backends.engine.library import crashes_repacked, load_library
from backends.engine.machine import available_memory, physical_cores
from backends.errors import BackendError
from backends.providers.local import Local
from tui import log_file
from tui.exit_codes import ExitCode
from tui.target import Target

_PACKAGES = ("llmchat", "llama-cpp-python", "textual", "httpx", "numpy", "uvicorn", "starlette")
_GIB = 1 << 30


class Finding(msgspec.Struct, frozen=True):
    """One line: what was looked at, what is there, and whether that is in order."""

    what: str
    found: str
    ok: bool = True


class ModelFit(msgspec.Struct, frozen=True):
    """What of `model` fits into `memory` bytes; `where` is "GPU" or "main memory". Bytes a token by KV format."""

    model: Measures
    where: str
    memory: int
    token_bytes: dict[str, int]
    fits: list[Fit]


class Report(msgspec.Struct, frozen=True):
    """Everything `llmchat doctor` says."""

    findings: list[Finding]
    gpus: list[Gpu]
    model: ModelFit | None


def run(target: Target, json: bool) -> ExitCode:
    """Print the report; FAILED when something is not in order."""
    report = examine(target)
    if json:
        print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        print(text(report))
    return ExitCode.COMPLETE if all(finding.ok for finding in report.findings) else ExitCode.FAILED


def examine(target: Target) -> Report:
    """Look at everything; nothing that is wrong raises."""
    found_gpus = gpus()
    engine, uses_gpu = _engine()
    configuration, model_path = _configuration(target)
    findings = [*_versions(), *engine, *_machine(found_gpus), *configuration, *_folders(), *_terminal()]
    model = None
    if model_path is not None:
        try:
            model = _model(model_path, found_gpus if uses_gpu else [])
        except (BackendError, OSError) as error:
            findings.append(Finding("model", str(error), False))
    return Report(findings, found_gpus, model)


def _versions() -> list[Finding]:
    found = [Finding("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")]
    for name in _PACKAGES:
        try:
            found.append(Finding(name, version(name)))
        except PackageNotFoundError:
            found.append(Finding(name, "not installed", name == "llama-cpp-python"))  # remote servers need no engine
    return found


def _engine() -> tuple[list[Finding], bool]:
    """What llama.cpp was built with, and whether it computes on a GPU."""
    try:
        library = load_library()
    except BackendError as error:
        return [Finding("llama.cpp", f"{error.message} Remote servers work without.")], False
    info = library.llama_print_system_info().decode("utf-8", "replace")
    features = [name.strip().removesuffix(" = 1") for name in info.split("|") if name.strip().endswith(" = 1")]
    uses_gpu = bool(library.llama_supports_gpu_offload())
    found = [
        Finding("llama.cpp built with", ", ".join(features)),
        Finding("GPU support", "yes" if uses_gpu else "no: this build computes on the CPU only"),
    ]
    if crashes_repacked(library):
        slow = "its AMX kernels may crash as built by GCC, so weights stay unordered, 1.5 to 2 times slower"
        found.append(Finding("AMX", f"{slow}: build llama.cpp with backends/engine/build.py"))
    return found, uses_gpu


def _machine(found: list[Gpu]) -> list[Finding]:
    memory = available_memory()
    lines = [
        Finding("cores", f"{physical_cores()} that this process may use"),
        Finding("main memory", "not told" if memory is None else f"{memory / _GIB:.1f} GiB available"),
    ]
    for gpu in found:
        lines.append(Finding("GPU", f"{gpu.name}: {gpu.free / _GIB:.1f} of {gpu.total / _GIB:.1f} GiB free"))
    return lines


def _configuration(target: Target) -> tuple[list[Finding], Path | None]:
    """Whether the configuration is in order, and the model that it runs here, if any."""
    try:
        file = target.load()
        providers.check(file)
        name = file.config.backend
        model = asyncio.run(_model_of(file))
    except BackendError as error:
        return [Finding("configuration", error.message, False)], None
    where = f"{file.path} is in order" if file.path else f"none; it would be {config.default_path()}"
    lines = [Finding("configuration", where), Finding("backend", f"{name} ({file.config.backends[name]['type']})")]
    return lines, model


async def _model_of(file: ConfigFile) -> Path | None:
    """The file that the chosen backend runs here; None for a server's."""
    async with contextlib.aclosing(providers.open_backend(file)) as backend:
        return Path(backend.spec.engine.model) if isinstance(backend, Local) else None


def _folders() -> list[Finding]:
    from platformdirs import user_cache_path, user_data_path

    named = {"data": user_data_path("llmchat"), "cache": user_cache_path("llmchat"), "log": log_file.path().parent}
    return [_folder(f"{name} folder", path) for name, path in named.items()]


def _folder(what: str, path: Path) -> Finding:
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    writable = os.access(existing, os.W_OK | os.X_OK)
    state = "" if existing == path else " (made when needed)"
    return Finding(what, f"{path}{state}" if writable else f"{path}: {existing} cannot be written", writable)


def _terminal() -> list[Finding]:
    size = shutil.get_terminal_size()
    kind = os.environ.get("TERM", "")
    colours = os.environ.get("COLORTERM", "")
    usable = kind not in ("", "dumb")
    said = f"{kind or 'TERM is not set'}, {size.columns} x {size.lines}"
    return [
        Finding("terminal", said if usable else f"{said}: the chat needs a terminal; llmchat ask does not"),
        Finding("colours", "24 bit" if colours in ("truecolor", "24bit") else "those of TERM (COLORTERM is not set)"),
    ]


def _model(path: Path, found: list[Gpu]) -> ModelFit:
    model = measure(path)
    memory = max(gpu.free for gpu in found) if found else available_memory() or 0
    each: dict[str, int] = {kind: model.token_bytes(kind) for kind in KV_TYPES}
    return ModelFit(model, "GPU" if found else "main memory", memory, each, fits(model, memory))


def text(report: Report) -> str:
    """The report in plain text."""
    width = max(len(finding.what) for finding in report.findings)
    lines = [f"{' ' if it.ok else '!'} {it.what:{width}}  {it.found}" for it in report.findings]
    if report.model is not None:
        lines += ["", *_fit_lines(report.model)]
    return "\n".join(lines)


def _fit_lines(it: ModelFit) -> list[str]:
    model = it.model
    kv = sum(model.kv_heads) // max(1, model.layers)
    lines = [
        f"{model.name}: {model.size / _GIB:.2f} GiB of weights; {model.layers} layers, {model.heads} heads, "
        f"{kv} KV heads of {model.head_dim}",
        *(f"A token takes {size / 1024:,.1f} KiB of KV cache in {kind}." for kind, size in it.token_bytes.items()),
        f"Of {it.memory / _GIB:.1f} GiB free {it.where}, a tenth left over, so many streams have room:",
        "",
        f"{'tokens each':>12}" + "".join(f"{kind:>10}" for kind in it.token_bytes),
    ]
    for context in dict.fromkeys(fit.context for fit in it.fits):
        streams = [f"{fit.streams:>10,}" for fit in it.fits if fit.context == context]
        lines.append(f"{context:>12,}" + "".join(streams))
    return lines
