"""API keys: made, kept as hashes, checked, taken away; and what one key may see of another's."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import httpx
import pytest

from backends.errors import ConfigError
from backends.serve import keys
from backends.serve.guard import Access
from backends.serve.keys import KeyRing
from tests.fakes.scripted import Hold, Scripted, answer
from tests.serve.conftest import CHAT, PATIENCE, Start, eventually


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the keys are."""
    return tmp_path / "private" / "keys.json"


def bearer(secret: str) -> dict[str, str]:
    """The header that brings it."""
    return {"authorization": f"Bearer {secret}"}


class TestTheFile:
    def test_a_key_is_kept_as_its_hash_for_its_owner_only(self, path: Path) -> None:
        key, secret = keys.add(path, "ann", 60, 2)

        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert secret not in path.read_text()
        assert keys.read(path) == (key,)
        assert (key.name, key.requests_per_minute, key.concurrency) == ("ann", 60, 2)
        assert [each.name for each in path.parent.iterdir()] == ["keys.json"]

    def test_names_are_taken_once(self, path: Path) -> None:
        keys.add(path, "ann")
        with pytest.raises(ConfigError, match="a key named 'ann' already"):
            keys.add(path, "ann")

    @pytest.mark.parametrize("by", ["name", "id"])
    def test_revoked_by_name_or_id(self, path: Path, by: str) -> None:
        key, _ = keys.add(path, "ann")
        other, _ = keys.add(path, "bob")
        assert keys.revoke(path, getattr(key, by)) == key
        assert keys.read(path) == (other,)
        with pytest.raises(ConfigError, match="no key 'ann'"):
            keys.revoke(path, "ann")

    def test_others_must_not_read_it(self, path: Path) -> None:
        keys.add(path, "ann")
        path.chmod(0o644)
        with pytest.raises(ConfigError, match="chmod 600"):
            keys.read(path)

    def test_a_damaged_one(self, path: Path) -> None:
        keys.add(path, "ann")
        path.write_text("[{")
        with pytest.raises(ConfigError, match="not a key file"):
            KeyRing(path)


class TestTheRing:
    def test_whose_key_it_is(self, path: Path) -> None:
        ann, secret = keys.add(path, "ann")
        bob, other = keys.add(path, "bob")
        ring = KeyRing(path)
        assert (ring.find(secret), ring.find(other), ring.find("llmchat-guess"), ring.find("")) == (
            ann,
            bob,
            None,
            None,
        )

    def test_it_notices_changes(self, path: Path) -> None:
        ring = KeyRing(path)
        key, secret = keys.add(path, "ann")
        assert ring.find(secret) == key
        keys.revoke(path, "ann")
        assert ring.find(secret) is None

    def test_a_file_that_cannot_be_read_any_more_lets_nobody_in(self, path: Path) -> None:
        _, secret = keys.add(path, "ann")
        ring = KeyRing(path)
        path.write_text("[{")
        assert ring.find(secret) is None


class TestOnTheWire:
    async def test_who_has_a_key_gets_in(self, start: Start, path: Path) -> None:
        key, secret = keys.add(path, "ann")
        backend = Scripted(*answer("a"))
        service = await start(backend, access=Access(keys=KeyRing(path)))

        assert (await service.http.post("/v1/chat", json=CHAT)).status_code == 401
        assert (await service.http.post("/v1/chat", json=CHAT, headers=bearer("llmchat-no"))).status_code == 401
        asked = CHAT | {"partition": "somebody else's"}
        assert (await service.http.post("/v1/chat", json=asked, headers=bearer(secret))).status_code == 200
        await service.http.post("/v1/warm", json=asked, headers=bearer(secret))
        assert [request.partition for request in (*backend.requests, *backend.warmed)] == [key.id, key.id]
        keys.revoke(path, "ann")
        assert (await service.http.post("/v1/chat", json=CHAT, headers=bearer(secret))).status_code == 401
        assert (await service.http.get("/healthz")).status_code == 200

    async def test_each_has_its_own_limits(self, start: Start, path: Path) -> None:
        _, often = keys.add(path, "ann", requests_per_minute=1)
        _, alone = keys.add(path, "bob", concurrency=1)
        hold = Hold()
        service = await start(Scripted(hold, *answer("a")), access=Access(keys=KeyRing(path)))

        async def ask(secret: str) -> httpx.Response:
            return await service.http.post("/v1/chat", json=CHAT, headers=bearer(secret))

        running = [asyncio.create_task(ask(secret)) for secret in (often, alone)]
        await eventually(lambda: len(service.streams) == 2)
        for secret, says in ((often, "1 times a minute"), (alone, "1 answers running")):
            refused = await ask(secret)
            assert refused.status_code == 429
            assert says in refused.json()["error"]["message"]
            assert int(refused.headers["retry-after"]) >= 1
        hold.release()
        async with asyncio.timeout(PATIENCE):
            assert [(await each).status_code for each in running] == [200, 200]
        assert (await ask(alone)).status_code == 200

    async def test_one_key_does_not_reach_anothers_stream(self, start: Start, path: Path) -> None:
        _, ann = keys.add(path, "ann")
        _, bob = keys.add(path, "bob")
        hold = Hold()
        service = await start(Scripted(hold, *answer("a")), access=Access(keys=KeyRing(path)))

        async with service.http.stream("POST", "/v1/chat", json=CHAT, headers=bearer(ann)) as response:
            stream = f"/v1/chat/{response.headers['x-llmchat-id']}"
            assert (await service.http.delete(stream, headers=bearer(bob))).status_code == 404
            assert (await service.http.get(f"{stream}/events", headers=bearer(bob))).status_code == 404
            hold.release()
            assert "event: done" in (await response.aread()).decode()

    async def test_it_is_the_same_key_however_it_is_brought(self, start: Start, path: Path) -> None:
        _, secret = keys.add(path, "ann")
        service = await start(Scripted(*answer("a")), access=Access(keys=KeyRing(path)))
        asked = await service.http.post("/v1/chat", json=CHAT, headers=bearer(secret))
        again = {"authorization": f"bearer  {secret}"}
        events = await service.http.get(f"/v1/chat/{asked.headers['x-llmchat-id']}/events", headers=again)
        assert events.text == asked.text
