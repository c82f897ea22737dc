"""Server-sent events: frames out (`encode`), frames in over HTTP (`client`), times across the wire (`placement`)."""
