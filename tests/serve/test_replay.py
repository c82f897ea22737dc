"""The frames that are kept."""

from __future__ import annotations

import pytest

from backends.serve.replay import Gone, Replay


def test_what_follows_a_frame() -> None:
    replay = Replay()
    for frame in (b"a", b"b", b"c"):
        replay.append(frame)

    assert replay.after(0) == [b"a", b"b", b"c"]
    assert replay.after(2) == [b"c"]
    assert replay.after(3) == []


def test_read_frames_are_dropped_beyond_the_limit_and_unread_ones_are_not() -> None:
    replay = Replay(limit=10)
    for _ in range(4):
        replay.append(b"xxxx")
    assert (replay.kept, replay.unread) == (16, 16)

    replay.read(4)
    replay.append(b"yyyy")

    assert (replay.kept, replay.unread) == (8, 4)
    assert replay.after(3) == [b"xxxx", b"yyyy"]
    with pytest.raises(Gone):
        replay.after(2)


def test_a_reader_who_comes_back_has_more_to_read() -> None:
    replay = Replay()
    replay.append(b"aa")
    replay.append(b"bbb")
    replay.read(2)
    assert replay.unread == 0
    replay.read(1)
    assert replay.unread == 3
