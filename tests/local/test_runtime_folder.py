"""The runtime folder: private or refused, short enough for sockets, and never somebody else's."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from backends.errors import BackendError
from backends.local.launcher import Settings
from backends.local.runtime_folder import SOCKET_PATH_BYTES, RuntimeFolder, private, shortened
from backends.local.spec import Endpoint

KEY = "0123456789abcdef"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_it_is_made_private(tmp_path: Path) -> None:
    assert mode(private(tmp_path / "run")) == 0o700
    assert private(tmp_path / "run") == tmp_path / "run"  # and again


@pytest.mark.parametrize("bits", [0o755, 0o770, 0o701])
def test_one_open_to_others_is_refused(tmp_path: Path, bits: int) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(bits)
    with pytest.raises(BackendError, match=f"mode {bits:o}.*chmod 700"):
        private(folder)


def test_a_link_or_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch(mode=0o600)
    for name in ("link", "file"):
        with pytest.raises(BackendError, match="not a folder of yours"):
            private(tmp_path / name)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_somebody_elses_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    os.chown(tmp_path / "run", 12345, 12345)
    with pytest.raises(BackendError, match="not a folder of yours"):
        private(tmp_path / "run")


def test_one_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="No such file or directory"):
        private(tmp_path / "absent" / "run")


def test_the_users_one_is_in_the_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = Path(tempfile.mkdtemp(prefix="llmchat-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    try:
        assert RuntimeFolder.default().path == base / "llmchat"
        assert mode(base / "llmchat") == 0o700
    finally:
        (base / "llmchat").rmdir()
        base.rmdir()


@pytest.mark.parametrize("base", ["", "relative", "/nowhere/to/be/found"])
def test_without_one_it_is_under_the_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", base)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = RuntimeFolder.default().path
    assert folder == tmp_path / f"llmchat-{os.getuid()}"
    assert mode(folder) == 0o700


def test_a_long_path_is_replaced_by_a_short_one() -> None:
    long = Path("/", *["folder-with-a-long-name"] * 5)
    short = shortened(long)
    assert short != long
    assert short == shortened(long)
    assert short != shortened(long / "other")
    assert len(os.fsencode(RuntimeFolder(short).new_socket(KEY))) <= SOCKET_PATH_BYTES


def test_a_path_that_fits_stays() -> None:
    name = "n" * (SOCKET_PATH_BYTES - len("/x/") - len(f"/{KEY}-01234567.sock"))
    assert shortened(Path("/x") / name) == Path("/x") / name
    assert len(os.fsencode(RuntimeFolder(Path("/x") / name).new_socket(KEY))) == SOCKET_PATH_BYTES
    assert shortened(Path("/x") / (name + "n")) != Path("/x") / (name + "n")


def test_an_endpoint_is_published_for_its_owner_only(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    endpoint = Endpoint(1, "http://localhost", str(folder.new_socket(KEY)), "secret")
    Path(endpoint.uds).touch()
    folder.publish(KEY, endpoint)
    assert folder.find(KEY) == endpoint
    assert mode(tmp_path / f"{KEY}.json") == 0o600
    folder.hide(KEY, endpoint)
    assert folder.find(KEY) is None
    assert Path(endpoint.uds).exists()
    folder.forget(KEY, endpoint)
    assert list(tmp_path.iterdir()) == []


def test_a_dead_childs_traces_go_and_its_successors_stay(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    dead, alive = (Endpoint(pid, "http://localhost", str(folder.new_socket(KEY)), "") for pid in (1, 2))
    Path(dead.uds).touch()
    Path(alive.uds).touch()
    folder.publish(KEY, alive)
    folder.forget(KEY, dead)
    assert folder.find(KEY) == alive
    assert not Path(dead.uds).exists()
    assert Path(alive.uds).exists()


def test_what_killed_children_left_is_swept(tmp_path: Path) -> None:
    folder = RuntimeFolder(Path(tempfile.mkdtemp(prefix="llmchat-")))
    alive, dead = (Endpoint(1, "http://localhost", str(folder.new_socket(key)), "") for key in ("alive", "dead"))
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(alive.uds)
        unix.listen()
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(dead.uds)
        listening = Endpoint(1, f"http://127.0.0.1:{tcp.getsockname()[1]}", "", "")
        everybody = {"alive": alive, "dead": dead, "tcp": listening, "shut": Endpoint(1, "http://127.0.0.1:1", "", "")}
        for name, endpoint in everybody.items():
            folder.publish(name, endpoint)
        folder.sweep()
        left = {path.name for path in folder.path.iterdir()}
    shutil.rmtree(folder.path)
    assert left == {"alive.json", Path(alive.uds).name, "tcp.json"}


def test_a_published_path_elsewhere_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "precious").touch()
    RuntimeFolder(tmp_path / "run").forget(KEY, Endpoint(1, "http://localhost", str(tmp_path / "precious"), ""))
    assert (tmp_path / "precious").exists()


def test_a_damaged_endpoint_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / f"{KEY}.json").write_text("{")
    assert RuntimeFolder(tmp_path).find(KEY) is None


def test_real_children_keep_to_the_modes(settings: Settings) -> None:
    assert settings.folder is not None
    assert mode(settings.folder) == 0o700
