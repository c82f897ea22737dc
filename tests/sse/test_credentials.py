"""Keys come from the environment or from a private file, and stand in no message."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.errors import ConfigError
from backends.sse.credentials import read_key


def read(env: str = "", file: str = "") -> str | None:
    return read_key("mine", env, file, Path)


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
