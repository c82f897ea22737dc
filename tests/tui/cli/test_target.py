"""Which backend the command line asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends import config
from backends.config import ConfigFile
from backends.errors import ConfigError
from tui.target import Target, chosen

CONFIG = """
backend = "gpu"
[backends.gpu]
type = "openai"
url = "http://gpu:8000/v1"
model = "big"
[backends.books]
type = "rag"
inner = "gpu"
documents = "/books"
"""


@pytest.fixture
def file() -> ConfigFile:
    return config.parse(CONFIG)


def default(file: ConfigFile) -> dict[str, object]:
    """The table of the default backend."""
    return file.config.backends[file.config.backend]


def test_nothing_asked_for_changes_nothing(file: ConfigFile) -> None:
    assert chosen(file, Target()).config == file.config


def test_a_configured_backend_by_name(file: ConfigFile) -> None:
    assert chosen(file, Target(backend="books")).config.backend == "books"
    with pytest.raises(ConfigError, match="did you mean 'books'"):
        chosen(file, Target(backend="boks"))


def test_a_url_is_a_backend_of_its_own(file: ConfigFile) -> None:
    result = chosen(file, Target(url="http://host/v1", model="m", api_key_env="KEY"))
    assert default(result) == {"type": "auto", "url": "http://host/v1", "model": "m", "api_key_env": "KEY"}
    assert result.config.backends.keys() > file.config.backends.keys(), "the configured ones stay to switch to"
    assert default(chosen(file, Target(url="http://host/v1"))) == {"type": "auto", "url": "http://host/v1"}


def test_a_gguf_file_is_run_here(file: ConfigFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.GGUF").touch()
    monkeypatch.chdir(tmp_path)
    assert default(chosen(file, Target(model="x.GGUF"))) == {"type": "local", "model": str(tmp_path / "x.GGUF")}
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default(chosen(file, Target(model="~/x.GGUF")))["model"] == str(tmp_path / "x.GGUF")


def test_a_model_of_a_configured_backend(file: ConfigFile) -> None:
    assert default(chosen(file, Target(model="org/small"))) == default(file) | {"model": "org/small"}


def test_the_local_engine_takes_no_servers_model() -> None:
    with pytest.raises(ConfigError, match=r"--model gpt: .*FILE\.gguf.*--url"):
        chosen(config.parse(""), Target(model="gpt"))


def test_documents_around_a_server(file: ConfigFile, tmp_path: Path) -> None:
    result = chosen(file, Target(url="http://host", docs=tmp_path))
    outer = default(result)
    assert outer == {"type": "rag", "inner": "url", "documents": str(tmp_path)}
    assert result.config.backends["url"]["url"] == "http://host"


def test_documents_of_the_local_engine_and_of_a_rag_backend(file: ConfigFile, tmp_path: Path) -> None:
    model = tmp_path / "x.gguf"
    model.touch()
    local = default(chosen(file, Target(model=str(model), docs=tmp_path)))
    assert local == {"type": "local", "model": str(model), "documents": str(tmp_path)}
    books = default(chosen(file, Target(backend="books", docs=tmp_path)))
    assert books == {"type": "rag", "inner": "gpu", "documents": str(tmp_path)}


def test_the_outermost_backend_is_recorded(file: ConfigFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = chosen(file, Target(docs=tmp_path, record=Path("tapes")))
    assert default(result)["record"] == str(tmp_path / "tapes")
    assert "record" not in result.config.backends["gpu"]


def test_the_users_configuration_is_not_changed(file: ConfigFile, tmp_path: Path) -> None:
    before = config.parse(CONFIG)
    chosen(file, Target(model="other", docs=tmp_path, record=tmp_path))
    assert file.config == before.config
