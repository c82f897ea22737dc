"""Whom an encrypted connection trusts, and the certificate that it shows."""

from __future__ import annotations

import ssl

import httpx

from backends.errors import ConfigError
from backends.sse.network import Network


def tls_context(network: Network) -> ssl.SSLContext:
    """The usual certificates (those of ``SSL_CERT_FILE``, else certifi's), and what `network` adds.

    Raises ConfigError for files that cannot be used.
    """
    context = httpx.create_ssl_context()
    if network.ca_file is not None:
        try:
            context.load_verify_locations(network.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"ca_file {network.ca_file}: no certificates in PEM form: {_reason(error)}") from None
    if network.client_cert is not None:
        try:
            context.load_cert_chain(network.client_cert, network.client_key, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            shown = " with client_key ".join(str(path) for path in (network.client_cert, network.client_key) if path)
            message = f"client_cert {shown}: not a certificate in PEM form with its own, unencrypted key"
            raise ConfigError(f"{message}: {_reason(error)}") from None
    return context


def _no_password() -> str:
    """OpenSSL would ask at the terminal."""
    return ""


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "not readable"
    return error.strerror or "not readable" if isinstance(error, OSError) else str(error)
