"""The configuration: what is found, what is refused, and how."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends import config
from backends.config import ConfigFile
from backends.errors import ConfigError


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, Path("c.toml"))
    return caught.value.message


def test_without_a_file_the_demo_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(config.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr(config, "default_path", lambda: tmp_path / "none.toml")
    file = config.load()
    assert file.config.backend == "demo"
    assert file.config.backends["demo"]["type"] == "local"
    assert file.path is None


def test_flag_then_environment_then_platform_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("flag.toml", "environment.toml", "platform.toml")]
    for path in paths:
        path.write_text("")
    monkeypatch.setattr(config, "default_path", lambda: paths[2])
    monkeypatch.setenv(config.ENVIRONMENT_VARIABLE, str(paths[1]))
    assert config.find(paths[0]) == paths[0]
    assert config.find() == paths[1]
    monkeypatch.delenv(config.ENVIRONMENT_VARIABLE)
    assert config.find() == paths[2]
    paths[2].unlink()
    assert config.find() is None


def test_a_named_file_must_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: no such file \(named by --config\)"):
        config.find(tmp_path / "nowhere.toml")
    monkeypatch.setenv(config.ENVIRONMENT_VARIABLE, str(tmp_path / "gone.toml"))
    with pytest.raises(ConfigError, match="named by LLMCHAT_CONFIG"):
        config.find()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[ui]\npanell = "full"\n', "c.toml, line 2: unknown key 'panell'; did you mean 'panel'?"),
        ('\nbakend = "demo"\n', "c.toml, line 2: unknown key 'bakend'; did you mean 'backend'?"),
        ('[ui]\ntheme = "x"\n\nfps = "fast"\n', "c.toml, line 4: ui.fps: expected `int`, got `str`"),
        ('[ui]\npanel = "big"\n', "c.toml, line 2: ui.panel = 'big'; known: full, line, off"),
        ('backend = "deom"\n', "c.toml, line 1: backend = 'deom' names no [backends.…] table; did you mean 'demo'?"),
        ("[budgets.chat]\nttft_ms = 3\n", "c.toml, line 1: the key 'total_ms' is missing here"),
        ("[budgets.chatt]\nttft_ms = 3\n", "c.toml, line 1: unknown key 'chatt'; did you mean 'chat'?"),
        ('[backends.x]\nurl = "u"\n', "c.toml, line 1: backend 'x' needs type = \"...\" (a provider's name)"),
    ],
)
def test_a_mistake_is_named_by_line_and_nearest_name(text: str, message: str) -> None:
    assert refused(text) == message


def test_broken_toml_names_the_line() -> None:
    assert "line 2" in refused("[ui]\ntheme = \n")


def test_an_unreadable_file_is_a_config_error(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(path)


def test_budgets_override_one_feature_and_keep_the_others() -> None:
    file = config.parse("[budgets.chat]\nttft_ms = 1\ntotal_ms = 2\n")
    assert file.config.budget("chat").ttft_ms == 1
    assert file.config.budget("batch").ttft_ms == 10_000


@pytest.mark.parametrize(
    ("text", "at", "line"),
    [
        ("a = 1\n[x]\nb = 2\n", ("x", "b"), 3),
        ("a = 1\n[x.y]\nb = 2\n", ("x", "y", "c"), 2),
        ('x.y."z w" = 1\n', ("x", "y", "z w"), 1),
        ("[x]\n[x.y]\n# b = 1\nb = 2\n", ("x", "y", "b"), 4),
        ("x = {y = 1}\n", ("x", "y"), 1),
        ("a = 1\n", ("q",), None),
    ],
)
def test_locate_finds_the_line_of_a_key(text: str, at: tuple[str, ...], line: int | None) -> None:
    assert config.locate(text, at) == line


def test_a_mistake_without_a_file_has_no_line() -> None:
    assert ConfigFile(config.Config()).mistake("odd", "backend").message == "configuration: odd"


def test_the_price_of_an_answer_is_that_of_the_backend_inside() -> None:
    file = config.parse(
        """
        [backends.paid]
        type = "openai"
        url = "http://there/v1"
        price_output = 15.0
        [backends.mine]
        type = "rag"
        inner = "paid"
        documents = "docs"
        """
    )
    assert [file.config.output_price(name) for name in ("paid", "mine", "demo")] == [15.0, 15.0, 0.0]


def test_frames_a_second_are_at_least_one() -> None:
    assert "line 2: ui.fps: expected `int` >= 1" in refused("[ui]\nfps = 0\n")
