"""A server's TLS certificate, which can be exchanged while it listens."""

from __future__ import annotations

import ssl

from backends.errors import BackendError, Code

Tls = tuple[str, str]
"""Files (PEM) of a certificate and of its key; "" where the first has both."""


class Certificate:
    """The certificate that new connections get. `context` is what a server listens with."""

    def __init__(self, tls: Tls) -> None:
        """Raises BackendError (TLS) where the files cannot be used."""
        self._shown = load(tls)
        # A listening socket keeps its context. So everybody meets this one first, at whose beginning OpenSSL asks, by
        # name or without one, whether another is to go on; one of another kind of key may.
        self.context = load(tls)
        self.context.sni_callback = self._hand_over

    def use(self, context: ssl.SSLContext) -> None:
        """Show that of `context` (of `load`) from now on; connections that there are stay as they are."""
        self._shown = context

    def _hand_over(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._shown


def load(tls: Tls) -> ssl.SSLContext:
    """A context with that certificate and key. Raises BackendError (TLS)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate, key = tls
    try:
        context.load_cert_chain(certificate, key or None)
    except OSError as error:  # ssl.SSLError is one
        raise BackendError(Code.TLS, f"{certificate}: the certificate and its key cannot be used: {error}") from None
    return context
