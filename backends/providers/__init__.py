"""Backends, found by name: one file in this folder is one provider.

A provider module has an `Options` struct (the keys of its ``[backends.NAME]`` table, `type` left out) and

    def connect(options: Options, site: Site) -> Backend

Importing the module is cheap: what is heavy (httpx, llama.cpp) is imported by `connect` or later.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec

from backends.backend import Backend, Sampling
from backends.config import ConfigFile, nearest
from backends.prices import Prices, WithPrices
from backends.sse.address import Address
from backends.sse.credentials import Key, find_key
from backends.sse.network import Network, read_network
from backends.sse.remote import Remote
from backends.sse.timeouts import Timeouts

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2: token

Price = Annotated[float, msgspec.Meta(ge=0)]
"""US dollars per million tokens."""


class ProviderOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every provider's `Options`. `sampling`: for requests that leave it open. `record`: a folder into which
    every stream is recorded for `replay`."""

    sampling: Sampling = Sampling()
    record: str = ""


class Site(msgspec.Struct, frozen=True):
    """What a provider may know of its surroundings: its own name, and how to open another backend by name."""

    name: str
    open: Callable[[str], Backend]
    folder: Path = Path()

    def path(self, text: str) -> Path:
        """A path of the configuration: ``~`` expanded, relative to the configuration file's folder."""
        return self.folder / Path(text).expanduser()


class ServerOptions(ProviderOptions, frozen=True, kw_only=True):
    """Base of the `Options` of everything that is a server. `url`: where it is. `model`: for requests that name none.

    `api_key_env` names an environment variable, `api_key_file` a file that only its owner can read, `api_key_command` a
    program and its arguments that print the key, `api_key_keyring` a ``SERVICE/USER`` of the keyring. `headers` are
    sent with every request. `retries`: how often a request is sent again that the server refused for the moment.
    `proxy`, `ca_file`, `client_cert` and `client_key`: see `Network`. `price_…`: US dollars per million tokens, for the
    cost of an answer whose server does not tell it; also of what the prompt cache held, and of what was put there (0:
    as `price_input`).
    """

    url: str
    model: str = ""
    api_key_env: str = ""
    api_key_file: str = ""
    api_key_command: tuple[str, ...] = ()
    api_key_keyring: str = ""
    timeouts: Timeouts = Timeouts()
    retries: Annotated[int, msgspec.Meta(ge=0, le=10)] = 2
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    proxy: str = ""
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    price_input: Price = 0.0
    price_output: Price = 0.0
    price_cached: Price = 0.0
    price_cache_write: Price = 0.0

    def __post_init__(self) -> None:
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"headers: {name!r} is no header's name: letters, digits and hyphens, without spaces")
            if not (value.isascii() and value.isprintable()):
                raise ValueError(f"headers: the value of {name} must be printable ASCII on one line")

    @property
    def prices(self) -> Prices:
        """What tokens cost there."""
        return Prices(self.price_input, self.price_output, self.price_cached, self.price_cache_write)

    def key(self, site: Site) -> Key | None:
        """The key that they name. Raises ConfigError."""
        sources = (self.api_key_env, self.api_key_file, self.api_key_command, self.api_key_keyring)
        return find_key(site.name, site.path, *sources)

    def network(self, site: Site) -> Network:
        """How the server is reached. Raises ConfigError."""
        return read_network(site.name, site.path, self.proxy, self.ca_file, self.client_cert, self.client_key)

    def remote(
        self, address: Address, token: Key | None, network: Network | None, key_header: str = "Authorization"
    ) -> Remote:
        """The server at `address`, no connection opened yet."""
        return Remote(
            address,
            token=token,
            headers=self.headers,
            timeouts=self.timeouts,
            key_header=key_header,
            network=network,
            retries=self.retries,
        )


class ForeignOptions(ServerOptions, frozen=True, kw_only=True):
    """Base of the `Options` for servers of other people's making. `model`: without it the first that the server lists.
    `extra_body` is merged into every request's JSON."""

    extra_body: dict[str, Any] = msgspec.field(default_factory=dict)


class Provider(Protocol):
    """What a module in this folder offers."""

    Options: type[ProviderOptions]

    def connect(self, options: Any, site: Site) -> Backend: ...


def types() -> list[str]:
    """The names of all providers."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def check(file: ConfigFile) -> dict[str, ProviderOptions]:
    """The options of every configured backend. Raises ConfigError naming the line of the first mistake."""
    return {name: _options(file, name) for name in file.config.backends}


def configured(file: ConfigFile, name: str) -> tuple[ProviderOptions, Site]:
    """The options of the backend `name`, and its surroundings. Raises ConfigError."""
    return _options(file, name), _site(file, name, ())


def open_backend(file: ConfigFile, name: str | None = None) -> Backend:
    """The configured backend `name` (default: the one that ``backend =`` names). Raises ConfigError."""
    return _open(file, name or file.config.backend, ())


def connect(type_name: str, options: ProviderOptions, site: Site) -> Backend:
    """A backend of provider `type_name`, with the sampling and prices of its options, recorded if they say so."""
    backend = _provider(type_name).connect(options, site)
    if isinstance(options, ServerOptions) and options.prices:
        backend = WithPrices(backend, options.prices)
    if options.sampling != Sampling():
        from backends.defaults import WithSampling

        backend = WithSampling(backend, options.sampling)
    if options.record:
        from backends.providers.replay import Recorder

        return Recorder(backend, site.path(options.record))
    return backend


def connect_as(type_name: str, options: ServerOptions, site: Site) -> Backend:
    """The server of `options` as provider `type_name` speaks to it. Raises ConfigError."""
    provider = _provider(type_name)
    return provider.connect(provider.Options(**msgspec.structs.asdict(options)), site)


async def list_models(file: ConfigFile, name: str) -> tuple[str, ...]:
    """The models that the backend `name`, or the one inside it, lists now; none where it lists none.

    Raises BackendError.
    """
    from backends.foreign.server import Catalogue

    options = _options(file, name)
    if isinstance(inner := getattr(options, "inner", None), str):
        return await list_models(file, inner)
    if not isinstance(options, ServerOptions):
        return ()
    backend = _provider(file.config.backends[name]["type"]).connect(options, _site(file, name, ()))
    try:
        return await backend.models() if isinstance(backend, Catalogue) else ()
    finally:
        await backend.aclose()


def _open(file: ConfigFile, name: str, outer: tuple[str, ...]) -> Backend:
    if name not in file.config.backends:
        hint = nearest(name, list(file.config.backends))
        raise file.mistake(f"there is no backend '{name}'{hint}", *(("backends", outer[-1]) if outer else ("backend",)))
    if name in outer:
        raise file.mistake(f"backend '{name}' contains itself: {' -> '.join((*outer, name))}", "backends", name)
    options = _options(file, name)
    if outer and file.config.backends[outer[-1]]["type"] == "route" and isinstance(options, ServerOptions):
        options = msgspec.structs.replace(options, retries=0)  # another backend is asked instead
    return connect(file.config.backends[name]["type"], options, _site(file, name, outer))


def _site(file: ConfigFile, name: str, outer: tuple[str, ...]) -> Site:
    folder = file.path.parent if file.path else Path()
    return Site(name, lambda inner: _open(file, inner, (*outer, name)), folder)


def _options(file: ConfigFile, name: str) -> ProviderOptions:
    table = dict(file.config.backends[name])
    type_name = table.pop("type")
    if type_name not in types():
        hint = nearest(type_name, types())
        raise file.mistake(f"backend '{name}': unknown type '{type_name}'{hint}", "backends", name, "type")
    return file.convert(table, _provider(type_name).Options, "backends", name)


def _provider(type_name: str) -> Provider:
    module: Any = importlib.import_module(f"{__name__}.{type_name}")
    return module  # type: ignore[no-any-return]
