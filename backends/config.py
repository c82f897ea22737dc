"""The configuration: one TOML file, every key known, mistakes named by line and nearest right name.

Only the general part is described here. A table ``[backends.NAME]`` belongs to the provider that its `type` names and
is checked by that provider's own `Options` (backends/providers/__init__.py).
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec

from backends.backend import Feature
from backends.errors import ConfigError

T = TypeVar("T")

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Seconds = Annotated[float, msgspec.Meta(ge=0)]

ENVIRONMENT_VARIABLE = "LLMCHAT_CONFIG"


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all tables."""


class Ui(_Table, frozen=True):
    """The screen. `panel`: how much of the latency panel is shown. `fps`: frames a second while streaming."""

    theme: str = "textual-dark"
    panel: Literal["full", "line", "off"] = "full"
    fps: Annotated[int, msgspec.Meta(ge=1)] = 24


class History(_Table, frozen=True):
    """Where conversations are kept: `path` of the SQLite file (default: the platform's data folder)."""

    path: str = ""


class Budget(_Table, frozen=True):
    """What an answer may take, in milliseconds: to the first token, and in total."""

    ttft_ms: float
    total_ms: float


class Budgets(_Table, frozen=True):
    """One budget per feature (DESIGN.md, "Stages and metrics")."""

    chat: Budget = Budget(500, 5_000)
    completion: Budget = Budget(200, 2_000)
    summarize: Budget = Budget(3_000, 15_000)
    batch: Budget = Budget(10_000, 60_000)


class ServeTimeouts(_Table, frozen=True):
    """What a request to `llmchat serve` may take, in seconds; 0: any time. By stage, while it stands in that stage:
    `first_token` counts from the request's arrival, `idle` is silence in mid-answer, `total` is all of it."""

    connect: _Seconds = 0.0
    model_load: _Seconds = 0.0
    provider_queue: _Seconds = 0.0
    retrieval: _Seconds = 30.0
    reranking: _Seconds = 30.0
    context_assembly: _Seconds = 30.0
    prefill: _Seconds = 0.0
    first_token: _Seconds = 0.0
    idle: _Seconds = 120.0
    total: _Seconds = 1800.0


class Serve(_Table, frozen=True):
    """What `llmchat serve` allows. 0 is no limit.

    - `keys`: file of the API keys (`llmchat keys`); "": in the platform's config folder. `requests_per_minute` and
      `concurrency` hold for each key that has none of its own.
    - `max_running`: answers made at the same time (the local engine has its own bound); `max_queue`: how many may wait
      for that.
    - `max_body`: bytes of a request. `max_messages` and `max_prompt_tokens` (estimated) in it, `max_tokens` asked for.
    - `ping_interval`: seconds of silence after which a comment goes out.
    - `retries`: how often a request is sent again whose backend was lost before its first token.
    - `hosts`: names that clients may use for this server, beside localhost, IP addresses and `--host`.
    - `cors_origins`: web pages of other origins that may use it.
    - `tls_cert`, `tls_key`: PEM files.
    - `log`: file of one JSON line a request, without prompts or keys; "": none, "-": standard error.
    - `otel_endpoint`: an OTLP/HTTP collector (http://localhost:4318) for traces and metrics; "": none.
    """

    keys: str = ""
    requests_per_minute: _Count = 0
    concurrency: _Count = 0
    max_running: _Count = 0
    max_queue: _Count = 64
    max_body: Annotated[int, msgspec.Meta(ge=1024)] = 8 * 1024 * 1024
    max_messages: Annotated[int, msgspec.Meta(ge=1)] = 2000
    max_prompt_tokens: _Count = 0
    max_tokens: _Count = 0
    ping_interval: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    retries: Annotated[int, msgspec.Meta(ge=0, le=10)] = 1
    hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    tls_cert: str = ""
    tls_key: str = ""
    log: str = ""
    otel_endpoint: str = ""
    timeouts: ServeTimeouts = ServeTimeouts()


DEFAULT_BACKEND = "demo"
_KEY = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
_BUILT_IN: dict[str, dict[str, Any]] = {DEFAULT_BACKEND: {"type": "local", "documents": "sample"}}


class Config(_Table, frozen=True):
    """Everything that the file may say. `backends` holds raw tables, keyed by the name that the user gave them."""

    backend: str = DEFAULT_BACKEND
    backends: dict[str, dict[str, Any]] = {}
    ui: Ui = Ui()
    history: History = History()
    budgets: Budgets = Budgets()
    serve: Serve = Serve()

    def budget(self, feature: Feature) -> Budget:
        """The budget for `feature`."""
        budget: Budget = getattr(self.budgets, feature)
        return budget

    def output_price(self, backend: str) -> float:
        """US dollars for a million tokens of `backend`, or of the one inside it; 0 where none is configured."""
        seen: set[str] = set()
        table = self.backends.get(backend, {})
        while isinstance(inner := table.get("inner"), str) and inner not in seen:
            seen.add(inner)
            table = self.backends.get(inner, {})
        price = table.get("price_output", 0.0)
        return float(price) if isinstance(price, int | float) else 0.0


class ConfigFile(msgspec.Struct, frozen=True):
    """A loaded configuration and where it came from; `path` is None when there is no file."""

    config: Config
    path: Path | None = None
    text: str = ""

    def convert(self, table: Any, kind: type[T], *at: str) -> T:
        """`table`, found at the key path `at`, as `kind`. Raises ConfigError that names line and key."""
        try:
            return msgspec.convert(table, kind)
        except msgspec.ValidationError as error:
            raise self._mistake(str(error), kind, at) from None

    def mistake(self, what: str, *at: str) -> ConfigError:
        """A ConfigError about the key at path `at`, with its file and line."""
        line = locate(self.text, at)
        where = f"{self.path or 'configuration'}" + (f", line {line}" if line else "")
        return ConfigError(f"{where}: {what}")

    def _mistake(self, message: str, kind: type, at: tuple[str, ...]) -> ConfigError:
        problem, _, pointer = message.partition(" - at ")
        inner = tuple(re.findall(r"[\w-]+", pointer.partition("`$")[2]))
        if unknown := re.search(r"unknown field `([^`]+)`", problem):
            key = unknown[1]
            names = _field_names(kind, inner)
            return self.mistake(f"unknown key '{key}'{nearest(key, names)}", *at, *inner, key)
        if missing := re.search(r"missing required field `([^`]+)`", problem):
            return self.mistake(f"the key '{missing[1]}' is missing here", *at, *inner)
        key = ".".join((*at, *inner)) or "the file"
        if wrong := re.fullmatch(r"Invalid enum value '(.*)'", problem):
            return self.mistake(f"{key} = '{wrong[1]}'{nearest(wrong[1], _choices(kind, inner))}", *at, *inner)
        return self.mistake(f"{key}: {problem[:1].lower()}{problem[1:]}", *at, *inner)


def nearest(word: str, names: tuple[str, ...] | list[str]) -> str:
    """A hint to put behind an unknown word: the nearest right name, or all of them."""
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(sorted(names))}" if names else ""


def default_path() -> Path:
    """The configuration file in the platform's config folder; it need not exist."""
    from platformdirs import user_config_path

    return user_config_path("llmchat") / "config.toml"


def find(explicit: Path | None = None) -> Path | None:
    """The file to read: `--config`, then ``LLMCHAT_CONFIG``, then the platform's folder; None when there is none.

    Raises ConfigError when a file was named and is not there.
    """
    named = explicit or (Path(os.environ[ENVIRONMENT_VARIABLE]) if os.environ.get(ENVIRONMENT_VARIABLE) else None)
    if named is not None:
        if not named.is_file():
            origin = "--config" if explicit else ENVIRONMENT_VARIABLE
            raise ConfigError(f"{named}: no such file (named by {origin}); see config.example.toml for a start")
        return named
    path = default_path()
    return path if path.is_file() else None


def load(explicit: Path | None = None) -> ConfigFile:
    """Read and check the general part of the configuration. Raises ConfigError."""
    path = find(explicit)
    if path is None:
        return ConfigFile(Config(backends=dict(_BUILT_IN)))
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    return parse(text, path)


def parse(text: str, path: Path | None = None) -> ConfigFile:
    """The configuration in `text`. Raises ConfigError. The built-in demo backend stays unless the file replaces it."""
    import tomllib  # most starts have no file to parse

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path or 'configuration'}: not valid TOML: {error}") from None
    raw = ConfigFile(Config(), path, text)
    config = raw.convert(table, Config)
    for name, backend in config.backends.items():
        if not isinstance(backend.get("type"), str):
            raise raw.mistake(f"backend '{name}' needs type = \"...\" (a provider's name)", "backends", name)
    config = msgspec.structs.replace(config, backends=_BUILT_IN | config.backends)
    if config.backend not in config.backends:
        hint = nearest(config.backend, list(config.backends))
        raise raw.mistake(f"backend = '{config.backend}' names no [backends.…] table{hint}", "backend")
    return ConfigFile(config, path, text)


def locate(text: str, at: tuple[str, ...]) -> int | None:
    """The line (from 1) of the key at path `at` in TOML `text`, or of the nearest table above it; None if neither.

    A scan for headers and keys at line starts, which is where people write them; inline tables point at their line.
    """
    best, depth = None, 0
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if header := re.match(r"\[\[?\s*([^\]]+?)\s*\]", stripped):
            table = _key_path(header[1])
            here = table
        elif key := re.match(
            r"((?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[\w-]+|\"[^\"]*\"|'[^']*'))*)\s*=", stripped
        ):
            here = table + _key_path(key[1])
        else:
            continue
        if here == at[: len(here)] and len(here) > depth:
            best, depth = number, len(here)
    return best


def _key_path(text: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_KEY, text))


def _field_names(kind: Any, inner: tuple[str, ...]) -> tuple[str, ...]:
    """The field names of the struct found by following the keys `inner` from the struct `kind`."""
    return tuple(field.encode_name for field in _fields(_type_at(kind, inner)))


def _choices(kind: Any, inner: tuple[str, ...]) -> tuple[str, ...]:
    """The words that the key at `inner` may have; none where it takes others, too."""
    return tuple(word for word in get_args(_type_at(kind, inner)) if isinstance(word, str))


def _type_at(kind: Any, inner: tuple[str, ...]) -> Any:
    """What is found by following the keys `inner` from the struct `kind`."""
    for key in inner:
        if key.isdigit():
            continue  # an item of a list: `_struct_in` looks into it
        kind = next((field.type for field in _fields(kind) if field.encode_name == key), None)
    return kind


def _fields(kind: Any) -> tuple[msgspec.structs.FieldInfo, ...]:
    struct = _struct_in(kind)
    return () if struct is None else msgspec.structs.fields(struct)


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:
    """`kind`, or the first struct in it: of a list's items, of a choice."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    return next((found for inner in get_args(kind) if (found := _struct_in(inner)) is not None), None)
