"""What must never be shown, though a server may repeat it: key, proxy password, and headers that carry one."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping

from backends.sse.network import Proxy

_TELLING = re.compile(r"(?i)auth|key|token|secret|password|cookie|credential")
_KNOWN: set[str] = set()
"""The secrets of this process, for its log: an exception may carry anything."""
_SHORTEST = 4
"""Letters: what is shorter would be cut out of ordinary words."""


def secrets_in(headers: Mapping[str, str], token: str | None, proxy: Proxy | None) -> tuple[str, ...]:
    """Every form in which a secret goes out, the longest first."""
    found = {token or ""}
    for name, value in headers.items():
        if _TELLING.search(name):
            found |= {value, *value.split()}  # "Bearer", and what it bears
    if proxy is not None and proxy.auth:
        found |= {proxy.password, base64.b64encode(":".join(proxy.auth).encode()).decode()}
    schemes = {"bearer", "basic", "digest", "token", "apikey"}
    kept = {secret for secret in found if len(secret) >= _SHORTEST and secret.lower() not in schemes}
    _KNOWN.update(kept)
    return tuple(sorted(kept | ({token} if token else set()), key=len, reverse=True))


def redacted(text: str) -> str:
    """`text` without any secret that this process has used."""
    for secret in sorted(_KNOWN, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
