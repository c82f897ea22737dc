"""What to talk to: the configuration, with what the command line adds to it or puts in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from backends import config
from backends.config import ConfigFile
from backends.errors import ConfigError

URL_BACKEND = "url"
FILE_BACKEND = "file"


class Target(msgspec.Struct, frozen=True):
    """The options that choose a backend. Relative paths count from the current folder, as a shell's do."""

    config: Path | None = None
    backend: str | None = None
    url: str | None = None
    model: str | None = None
    api_key_env: str | None = None
    docs: Path | None = None
    record: Path | None = None

    def load(self) -> ConfigFile:
        """The configuration whose default backend is the one asked for. Raises ConfigError."""
        return chosen(config.load(self.config), self)


def chosen(file: ConfigFile, target: Target) -> ConfigFile:
    """`file` with the backend that `target` asks for as its default. Raises ConfigError."""
    if target.url and target.backend:
        raise ConfigError("--url and --backend exclude each other: --url is a backend of its own")
    if target.api_key_env and not target.url:
        raise ConfigError("--api-key-env belongs to --url; a configured backend has the key api_key_env")
    name, table = _answering(file, target)
    if target.docs is not None:
        name, table, file = _with_documents(file, name, table, _existing(target.docs, "--docs"))
    if target.record is not None:
        table = table | {"record": str(target.record.expanduser().absolute())}
    return _with_default(file, name, table)


def _answering(file: ConfigFile, target: Target) -> tuple[str, dict[str, Any]]:
    """Name and table of the backend that answers, before documents are put around it."""
    if target.url:
        return URL_BACKEND, _url_table(target.url, target)
    if target.model and target.model.lower().endswith(".gguf"):
        if target.backend:
            raise ConfigError("--model FILE.gguf and --backend exclude each other: the file is a backend of its own")
        return FILE_BACKEND, {"type": "local", "model": str(_existing(Path(target.model), "--model"))}
    name = target.backend or file.config.backend
    if name not in file.config.backends:
        hint = config.nearest(name, list(file.config.backends))
        raise ConfigError(f"there is no backend '{name}'{hint}")
    table = file.config.backends[name]
    if not target.model:
        return name, table
    if table["type"] == "local":
        raise ConfigError(f"--model {target.model}: the backend '{name}' runs a file (FILE.gguf); a server needs --url")
    return name, table | {"model": target.model}


def _url_table(url: str, target: Target) -> dict[str, Any]:
    given = {"type": "auto", "url": url, "model": target.model, "api_key_env": target.api_key_env}
    return {key: value for key, value in given.items() if value is not None}


def _with_documents(
    file: ConfigFile, name: str, table: dict[str, Any], documents: Path
) -> tuple[str, dict[str, Any], ConfigFile]:
    """The backend answering from `documents`: the engine does that itself, others get a RAG backend around them."""
    if table["type"] in ("local", "rag"):
        return name, table | {"documents": str(documents)}, file
    outer = f"{name}+docs"
    return outer, {"type": "rag", "inner": name, "documents": str(documents)}, _with_default(file, name, table)


def _with_default(file: ConfigFile, name: str, table: dict[str, Any]) -> ConfigFile:
    changed = msgspec.structs.replace(file.config, backend=name, backends=file.config.backends | {name: table})
    return msgspec.structs.replace(file, config=changed)


def _existing(path: Path, option: str) -> Path:
    found = path.expanduser().absolute()
    if not found.exists():
        raise ConfigError(f"{path}: no such file or folder (named by {option})")
    return found
