"""What is known of a backend: how long its answers take to begin, and whether it fails. Pure; times are seconds on any
one clock, durations milliseconds.

Waiting in a queue and computing a prompt are measured apart, since they age differently: a queue says something about
the next seconds only, the speed of a machine about the next minutes. Failures are kept track of as a circuit breaker
does (M. Nygard, "Release It!"): after one the backend is avoided for a while, then one request may try it (half-open),
and how that ends decides; each further failure doubles the while.
"""

from __future__ import annotations

import msgspec

QUEUE_WEIGHT, SERVICE_WEIGHT = 0.6, 0.3
"""How much the newest measurement counts; the rest is what was known before."""

QUEUE_HALF_LIFE = 15.0
"""Seconds in which half of a queue is taken to have gone."""

STALE_AFTER = 300.0
"""Seconds after which what was measured says nothing any more."""

LONGEST_AVOIDED = 300.0


class Measured(msgspec.Struct, frozen=True):
    """One backend. `service_ms`: time to the first token without the queue; None: not measured yet.

    `running`: requests that it has of us now. `failures` in a row; until `avoid_until` it is not asked while another
    can be.
    """

    service_ms: float | None = None
    queue_ms: float = 0.0
    at: float = 0.0
    running: int = 0
    failures: int = 0
    avoid_until: float = 0.0

    def expected_ms(self, now: float) -> float | None:
        """The time to the first token that the next request has to expect; None where nothing is known."""
        if self.service_ms is None or now - self.at > STALE_AFTER:
            return None
        gone: float = 0.5 ** (max(0.0, now - self.at) / QUEUE_HALF_LIFE)
        return self.service_ms + self.queue_ms * gone

    def is_avoided(self, now: float) -> bool:
        """Failed lately, or failed before and just being tried by another request."""
        return self.failures > 0 and (now < self.avoid_until or self.running > 0)

    def begun(self) -> Measured:
        """A request was given to it."""
        return msgspec.structs.replace(self, running=self.running + 1)

    def ended(self) -> Measured:
        """A request is over, in whichever way."""
        return msgspec.structs.replace(self, running=self.running - 1)

    def answered(self, ttft_ms: float, queue_ms: float, now: float) -> Measured:
        """An answer began `ttft_ms` after it was asked for, `queue_ms` of which it had waited in line."""
        queue_ms = min(queue_ms, ttft_ms)
        service_ms = ttft_ms - queue_ms
        if self.service_ms is not None and now - self.at <= STALE_AFTER:
            service_ms = SERVICE_WEIGHT * service_ms + (1 - SERVICE_WEIGHT) * self.service_ms
            queue_ms = QUEUE_WEIGHT * queue_ms + (1 - QUEUE_WEIGHT) * self.queue_ms
        return msgspec.structs.replace(
            self, service_ms=service_ms, queue_ms=queue_ms, at=now, failures=0, avoid_until=0.0
        )

    def worked(self) -> Measured:
        """It did what was asked, though nothing could be measured."""
        return msgspec.structs.replace(self, failures=0, avoid_until=0.0)

    def failed(self, now: float, avoid: float, retry_after: float | None = None) -> Measured:
        """It failed, or was too slow. `avoid`: seconds that it is avoided the first time."""
        failures = self.failures + 1
        seconds = min(LONGEST_AVOIDED, avoid * 2 ** min(failures - 1, 16))
        return msgspec.structs.replace(self, failures=failures, avoid_until=now + max(seconds, retry_after or 0.0))
