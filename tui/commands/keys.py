"""`llmchat keys`: the API keys of `llmchat serve`."""

from __future__ import annotations

import sys
from pathlib import Path

from backends import config
from backends.serve import keys
from tui.exit_codes import ExitCode


def path_of(named: Path | None, config_file: Path | None) -> Path:
    """The key file: the one that is named, the configuration's, or the platform's. Raises ConfigError."""
    if named is not None:
        return named.expanduser()
    file = config.load(config_file)
    if not file.config.serve.keys:
        return keys.default_path()
    return (file.path.parent if file.path else Path()) / Path(file.config.serve.keys).expanduser()


def add(path: Path, name: str, requests_per_minute: int, concurrency: int) -> ExitCode:
    """Make a key and show it, this once. Raises ConfigError."""
    key, secret = keys.add(path, name, requests_per_minute, concurrency)
    print(secret)
    _say(f"This is the key of {key.name} ({key.id}). It is shown only now: {path} has its hash.")
    return ExitCode.COMPLETE


def show(path: Path) -> ExitCode:
    """List the keys. Raises ConfigError."""
    found = keys.read(path)
    if not found:
        _say(f"{path}: no keys; llmchat keys add NAME makes one")
    for key in found:
        limits = [
            *([f"{key.requests_per_minute} requests a minute"] if key.requests_per_minute else []),
            *([f"{key.concurrency} at a time"] if key.concurrency else []),
        ]
        print(f"{key.id}  {key.created}  {key.name}" + (f"  ({', '.join(limits)})" if limits else ""))
    return ExitCode.COMPLETE


def revoke(path: Path, name: str) -> ExitCode:
    """Take a key away; a server that runs refuses it from now on. Raises ConfigError."""
    key = keys.revoke(path, name)
    _say(f"{key.name} ({key.id}) is revoked.")
    return ExitCode.COMPLETE


def _say(text: str) -> None:
    print(text, file=sys.stderr)
