"""A certificate authority of our own, and a server on loopback that it vouches for."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


def authority(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """What a server on ``localhost`` and ``127.0.0.1`` shows, and the file that a client has to trust."""
    ours = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    place = folder / "authority.pem"
    ours.cert_pem.write_to_path(str(place))
    return context, place
