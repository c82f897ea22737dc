"""`make screenshots` draws what it says; the picture of the error needs no model."""

from __future__ import annotations

import html

from backends import config
from tui.screenshots import SCENES, svg
from tui.target import chosen


async def test_the_picture_of_a_server_that_is_not_there() -> None:
    scene, target, size = SCENES["error"]
    picture = await svg(scene, chosen(config.parse(""), target), size)
    text = html.unescape(picture).replace("\xa0", " ")
    assert "cannot reach http://127.0.0.1:9" in text
    assert "Can I pause my annual subscription?" in text
    assert "url(http" not in picture
    assert 'url("http' not in picture
