"""Keys come from the environment or from a private file, and stand in no message."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import keyring
import keyring.backend
import pytest

from backends.backend import ChatRequest
from backends.errors import ConfigError
from backends.providers import Site
from backends.providers.openai import OpenAI, Options
from backends.sse import credentials
from backends.sse.credentials import Key, find_key
from tests.fakes.echo import Echo
from tests.fakes.openai_server import openai_server


def read(env: str = "", file: str = "") -> Key | None:
    return find_key("mine", Path, env, file)


def test_none_is_named() -> None:
    assert read() is None


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", " sk-1\n")

    assert read(env="MY_KEY") == "sk-1"


def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)

    with pytest.raises(ConfigError, match=r"'mine'.*MY_KEY"):
        read(env="MY_KEY")


def test_from_a_private_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-2\n")
    file.chmod(0o600)

    assert read(file=str(file)) == "sk-2"


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-2\n")
    file.chmod(0o644)

    with pytest.raises(ConfigError, match="chmod 600"):
        read(file=str(file))


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"two words", b"\xff\xfe", "schlüssel".encode(), b"a\x1bb"], ids=range(6)
)
def test_no_key_in_the_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    file.chmod(0o600)

    with pytest.raises(ConfigError) as caught:
        read(file=str(file))

    assert "words" not in caught.value.message
    assert "schl" not in caught.value.message


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read(file=str(tmp_path / "none"))


def of_command(*command: str) -> Any:
    """The key that a command prints."""
    key = find_key("mine", Path, command=command)
    assert callable(key)
    return key()


def python(code: str) -> tuple[str, ...]:
    """A command that runs `code`."""
    return (sys.executable, "-S", "-c", code)


async def test_from_a_command_without_a_shell(tmp_path: Path) -> None:
    trap = tmp_path / "trap"

    key = await of_command(*python("import sys; print(sys.argv[1]); print('second line')"), f"$(touch${{IFS}}{trap})")

    assert key == f"$(touch${{IFS}}{trap})"
    assert not trap.exists()


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import sys; sys.exit('no such \\x1b[31mentry')", "failed with status 1: no such entry"),
        ("pass", "printed no key"),
        ("print('two words')", "no usable key"),
        ("import sys; sys.exit(0 if sys.stdin.read() else 'no terminal')", "failed with status 1: no terminal"),
    ],
)
async def test_a_command_that_gives_no_key(code: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        await of_command(*python(code))

    assert caught.value.message.startswith("what" if "usable" in says else "backend 'mine': api_key_command")
    assert "two words" not in caught.value.message


async def test_a_command_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="llmchat-no-such-command cannot be run: No such file"):
        await of_command("llmchat-no-such-command")


async def test_a_command_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(credentials, "COMMAND_WITHIN", 0.5)

    with pytest.raises(ConfigError, match=r"gave no key within 0\.5 s"):
        await of_command(*python("import time; time.sleep(600)"))


async def test_a_command_is_run_once_and_only_when_a_connection_is_wanted(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = python(f"open({str(runs)!r}, 'a').write('x'); print('sk-3')")
    async with openai_server() as server:
        options = Options(url=server.url, api_key_command=command)
        backend = OpenAI(options, token=options.key(Site("mine", lambda _: Echo())))
        assert not runs.exists()
        await asyncio.gather(*(backend.warm(ChatRequest(())) for _ in range(3)))
        await backend.aclose()

    assert runs.read_text() == "x"
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer sk-3"}


async def test_from_the_keyring() -> None:
    class Memory(keyring.backend.KeyringBackend):
        priority = 1  # type: ignore[assignment]

        def get_password(self, service: str, username: str) -> str | None:
            return {("https://api.example", "me"): "sk-4"}.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            raise NotImplementedError

    before = keyring.get_keyring()
    keyring.set_keyring(Memory())
    try:
        found = find_key("mine", Path, keyring="https://api.example/me")
        missing = find_key("mine", Path, keyring="other/me")
        assert callable(found)
        assert callable(missing)
        assert await found() == "sk-4"
        with pytest.raises(ConfigError, match="keyring set other me"):
            await missing()
    finally:
        keyring.set_keyring(before)


async def test_without_the_keyring_package_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    key = find_key("mine", Path, keyring="s/u")
    assert callable(key)

    with pytest.raises(ConfigError, match=r"pip install 'llmchat\[keyring\]'"):
        await key()
