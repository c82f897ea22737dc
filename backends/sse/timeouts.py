"""How long a client waits for a server, in seconds; light enough to stand in a provider's `Options`."""

from __future__ import annotations

from typing import Annotated

import msgspec

Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Timeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of one request; each breaks with its own error code, ``TIMEOUT_<NAME>``. None: no limit.

    `connect`: name look-up, TCP and TLS. `first_token`: from the call to the first token. `idle`: silence on the
    connection after the response began; keep-alive comments count as life. `total`: from the call to the end.
    """

    connect: Seconds | None = 10.0
    first_token: Seconds | None = 120.0
    idle: Seconds | None = 60.0
    total: Seconds | None = None
