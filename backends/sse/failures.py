"""Foreign errors, mapped once: what httpx, ssl and a server's status mean in this project's words."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec

from backends.errors import BackendError, Code, http_code
from backends.sse.address import Address
from backends.sse.excerpt import clean, excerpt, is_context_full, is_out_of_credit

_RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
_HINTS = {
    401: "the key is missing or wrong; api_key_env names one",
    403: "the key may not do this",
    407: "the proxy wants a user and password",
    404: "nothing there under this URL, or no such model",
    413: "the request is too large",
    429: "too many requests",
    503: "the server is not ready or overloaded",
}


def from_transport(
    error: Exception,
    address: Address,
    *,
    answering: bool,
    seconds: float | None,
    proxy: str | None = None,
    secrets: Iterable[str] = (),
) -> BackendError:
    """An error of httpx on the way to `address`, through `proxy` if there is one. `answering`: the response had begun.
    `seconds`: connect timeout."""
    where = address.shown if proxy is None else f"{address.shown}, through the proxy {proxy}"
    if isinstance(error, httpx.ProxyError):
        return _from_proxy(error, address, proxy, secrets)
    if isinstance(error, httpx.ConnectTimeout):
        limit = f" within {seconds:g} s" if seconds is not None else ""
        return BackendError(Code.TIMEOUT_CONNECT, f"{where}: no connection{limit} (timeouts.connect)", retryable=True)
    causes = list(_chain(error))
    if tls := next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None):
        return BackendError(Code.TLS, f"{where}: {_tls_reason(tls)}")
    if isinstance(error, httpx.ConnectError):
        nearest = address.shown if proxy is None else f"the proxy {proxy}"
        message = f"cannot reach {nearest}: {_connect_reason(causes)}"
        return BackendError(Code.CONNECT, message, retryable=True, transient=not any(map(_is_lasting, causes)))
    if isinstance(error, httpx.DecodingError):
        return BackendError(Code.BAD_RESPONSE, f"{where}: the response's compression is damaged")
    if isinstance(error, httpx.RemoteProtocolError) and not _is_close(error):
        return BackendError(
            Code.BAD_RESPONSE, f"{where} does not speak HTTP as it should: {clean(str(error), secrets=secrets)}"
        )
    if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError):
        moment = "in the middle of the answer" if answering else "before answering"
        return BackendError(Code.INTERRUPTED, f"{where} closed the connection {moment}", retryable=True)
    return BackendError(
        Code.CONNECT, f"{where}: {clean(str(error), secrets=secrets) or type(error).__name__}", retryable=True
    )


def from_status(response: httpx.Response, body: bytes, address: Address, secrets: Iterable[str]) -> BackendError:
    """The error that a status other than 200 stands for, with the server's own words."""
    status = response.status_code
    if 300 <= status < 400:
        target = clean(response.headers.get("location", ""), 120, secrets) or "nowhere"
        return BackendError(
            http_code(status),
            f"{address.shown} redirects to {target}; keys are not sent on, so put the right address into url",
        )
    words = excerpt(body, secrets)
    hint = _HINTS.get(status, "")
    message = (
        f"{address.shown} answered HTTP {status}" + (f" ({hint})" if hint else "") + (f": {words}" if words else "")
    )
    error = _error_in(body)
    if is_context_full(error):
        return BackendError(Code.CONTEXT_FULL, message)
    retryable = status in _RETRYABLE and not is_out_of_credit(error)
    retry_after = seconds_of(response.headers, datetime.now(UTC))
    return BackendError(http_code(status), message, retryable=retryable, retry_after=retry_after)


def seconds_of(headers: Mapping[str, str], now: datetime) -> float | None:
    """`Retry-After` in seconds, whether given so or as a date (RFC 9110, 10.2.3); None when absent or malformed.

    A date is held against the server's own clock where it tells it (`Date`), else against `now`.
    """
    text = headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        until = _moment(text)
        if until is None:
            return None
        seconds = max(0.0, (until - (_moment(headers.get("date", "")) or now)).total_seconds())
    return seconds if 0 <= seconds < 86_400 else None


def _from_proxy(error: httpx.ProxyError, address: Address, proxy: str | None, secrets: Iterable[str]) -> BackendError:
    """A proxy that lets nobody through, or not to `address`: an HTTP proxy tells a status, a SOCKS proxy words."""
    words = clean(str(error), secrets=secrets) or "it gives no reason"
    if words.startswith("407") or "auth" in words.lower():
        words += "; put user and password into the variable HTTPS_PROXY: http://user:password@host:port"
    retryable = not words.startswith("4")
    return BackendError(Code.CONNECT, f"the proxy {proxy} does not open {address.shown}: {words}", retryable=retryable)


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _error_in(body: bytes) -> Any:
    """What stands under ``error`` in a JSON object; None where nothing does."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value.get("error") if isinstance(value, dict) else None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_close(error: Exception) -> bool:
    text = str(error)
    return "disconnected" in text or "closed connection" in text


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        words = clean(error.verify_message)
        return f"the certificate is not accepted: {words}; one that you have reason to trust goes into ca_file"
    if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
        return "it does not speak TLS; try http:// instead of https://"
    if "CERTIFICATE_REQUIRED" in str(error.reason) or "CERTIFICATE_UNKNOWN" in str(error.reason):
        return "the server wants a certificate of ours that it knows: client_cert"
    if error.reason and error.reason.endswith("ALERT_HANDSHAKE_FAILURE"):  # TLS 1.2 has no word of its own for it
        return "the server breaks the TLS handshake off; it may want a certificate of ours that it knows: client_cert"
    return f"the TLS handshake failed: {clean(str(error.reason or error))}"


def _is_lasting(cause: BaseException) -> bool:
    """Whether it will be the same in a moment."""
    if isinstance(cause, socket.gaierror):
        return cause.errno != socket.EAI_AGAIN
    return isinstance(cause, FileNotFoundError | ConnectionRefusedError | PermissionError)


def _connect_reason(causes: list[BaseException]) -> str:
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return "the host name does not resolve"
        if isinstance(cause, FileNotFoundError):
            return "there is no such socket; is the server running?"
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused; is the server running?"
        if isinstance(cause, PermissionError):
            return "permission denied"
    last = next((cause for cause in causes if isinstance(cause, OSError)), causes[0])
    return clean(last.strerror or "" if isinstance(last, OSError) else str(last)) or "no connection"
