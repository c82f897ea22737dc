"""Only the user who runs the server may speak on its Unix socket: the peer's uid is checked where the system tells."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import Any

_UCRED = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED


def peer_uid(connection: socket.socket) -> int | None:
    """The uid at the other end of a Unix socket; None where the system does not tell (then file modes guard)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    return int(_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _UCRED.size))[1])


def same_user_only(protocol: type[asyncio.Protocol]) -> type[asyncio.Protocol]:
    """`protocol` that drops a connection of another user at once."""

    class SameUser(protocol):  # type: ignore[misc,valid-type]
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            uid = peer_uid(transport.get_extra_info("socket"))
            if uid is not None and uid != os.getuid():
                transport.abort()

    return SameUser
