"""What can go wrong, named once. Foreign exceptions are mapped to `BackendError` at the boundary where they arise."""

from __future__ import annotations

from enum import StrEnum

from backends.events import Error


class Code(StrEnum):
    """The closed list of error codes on the wire, on the screen and behind `llmchat ask`'s exit codes (README, "How a
    run ends").

    HTTP errors of other people's servers are `HTTP_<status>` and not listed one by one.
    """

    BAD_REQUEST = "BAD_REQUEST"  # the request cannot be answered as it is
    BAD_RESPONSE = "BAD_RESPONSE"  # the server said something that is not its protocol
    CONFIG = "CONFIG"  # wrong usage, or the configuration is wrong
    CONNECT = "CONNECT"  # nobody listens there, or the name does not resolve
    CONTEXT_FULL = "CONTEXT_FULL"  # prompt and answer do not fit the model's context
    ENGINE_DIED = "ENGINE_DIED"  # the child process of the local model ended
    ENGINE_MISSING = "ENGINE_MISSING"  # llama-cpp-python is not installed
    INTERNAL = "INTERNAL"  # a defect of ours; the log has it
    INTERRUPTED = "INTERRUPTED"  # the connection was lost, or the stream ended without saying so
    MODEL_LOAD = "MODEL_LOAD"  # the weights cannot be read or do not fit
    NOT_FOUND = "NOT_FOUND"  # no such stream, model or document
    OVERLOADED = "OVERLOADED"  # the queue is full; retry_after says when to come back
    SHUTDOWN = "SHUTDOWN"  # the backend is closing
    TIMEOUT_CONNECT = "TIMEOUT_CONNECT"  # no connection within timeouts.connect
    TIMEOUT_FIRST_TOKEN = "TIMEOUT_FIRST_TOKEN"  # no token within timeouts.first_token
    TIMEOUT_IDLE = "TIMEOUT_IDLE"  # nothing more for timeouts.idle, in mid-answer
    TIMEOUT_STAGE = "TIMEOUT_STAGE"  # a stage took longer than the service allows; the message names it
    TIMEOUT_TOTAL = "TIMEOUT_TOTAL"  # not complete within timeouts.total
    TLS = "TLS"  # the certificate or the handshake


def http_code(status: int) -> str:
    """The error code for an HTTP status of a server: ``HTTP_429``."""
    return f"HTTP_{status}"


class BackendError(Exception):
    """An expected failure: what failed, where, and what to do, in `message`; one line, no secrets.

    `retryable`: asking again may help. `transient`: it may be over in a moment, and nobody was reached.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        retry_after: float | None = None,
        transient: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = str(code)
        self.message = message
        self.retryable = retryable
        self.retry_after = retry_after
        self.transient = transient

    @classmethod
    def of(cls, event: Error) -> BackendError:
        """The failure that `event` tells of."""
        return cls(event.code, event.message, retryable=event.retryable, retry_after=event.retry_after)

    def event(self) -> Error:
        """The terminal event of a stream that failed this way."""
        return Error(self.code, self.message, self.retryable, self.retry_after)


class ConfigError(BackendError):
    """The configuration is wrong: `message` names file, line, key, and the nearest right name."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.CONFIG, message)
