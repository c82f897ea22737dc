"""What a streamed body is written in."""

from __future__ import annotations

from typing import Literal

Format = Literal["text/event-stream", "application/x-ndjson"]
"""Server-sent events, or a JSON object a line (github.com/ndjson/ndjson-spec)."""
