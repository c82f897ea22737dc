"""A certificate authority of the tests, a server's certificate for this machine and a client's, valid until 2126."""

from __future__ import annotations

import ssl
from pathlib import Path

_FOLDER = Path(__file__).with_name("tls")
CA = _FOLDER / "ca.pem"
SERVER = _FOLDER / "server.pem"
"""With its key, for ``localhost`` and ``127.0.0.1``."""
CLIENT, CLIENT_KEY = _FOLDER / "client.pem", _FOLDER / "client.key"
ENCRYPTED_KEY = _FOLDER / "client-encrypted.key"


def server_tls(*, ask_client: bool = False) -> ssl.SSLContext:
    """What a server needs; with `ask_client` it takes nobody without a certificate of the same authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SERVER)
    if ask_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(CA)
    return context
