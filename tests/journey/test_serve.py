"""`llmchat serve` as a person starts it, with `llmchat ask` as its client."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.scripted import Scripted, answer
from tests.journey.scripted_server import ScriptedServer, serving
from tests.journey.test_ask import finished
from tests.local.conftest import wait_until
from tui.exit_codes import ExitCode

Start = Callable[..., "subprocess.Popen[bytes]"]


def address_of(process: subprocess.Popen[bytes]) -> str:
    """Where a started `llmchat serve` listens."""
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    found = re.fullmatch(r"Serving there on (\S+) \(Ctrl-C stops\)\n", line)
    assert found is not None, line
    return found[1]


def client(folder: Path, address: str, more: str = "") -> Path:
    """A configuration for the service at `address`."""
    path = folder / "client.toml"
    path.write_text(f'backend = "service"\n[backends.service]\ntype = "native"\nurl = "{address}"\n{more}\n')
    return path


@pytest.mark.parametrize("where", [["--port", "0"], ["--uds", "service.sock"]])
def test_serve_and_ask(start: Start, tmp_path: Path, where: list[str]) -> None:
    with serving(Scripted(*answer("through ", "two services"))) as server:
        service = start("serve", "--config", server.configuration(tmp_path), *where)
        address = address_of(service)
        if address.startswith("unix:"):
            address = f"unix:{tmp_path / 'service.sock'}"
        assert finished(start("ask", "--config", client(tmp_path, address), "q")) == (
            ExitCode.COMPLETE,
            "through two services\n",
            "",
        )
        service.send_signal(signal.SIGINT)
        assert finished(service) == (ExitCode.COMPLETE, "", "")


def refused(result: tuple[int, str, str], *words: str) -> None:
    code, out, err = result
    assert (code, out) == (ExitCode.USAGE, "")
    assert err.count("\n") == 1
    for word in words:
        assert word in err


@pytest.fixture
def there(tmp_path: Path):
    with serving(Scripted(*answer("ok"))) as server:
        yield server


def test_a_port_in_use(start: Start, tmp_path: Path, there: ScriptedServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        result = finished(start("serve", "--config", there.configuration(tmp_path), "--port", port))
    refused(result, f"127.0.0.1:{port}", "another program uses it")


def test_others_need_a_token(start: Start, tmp_path: Path, there: ScriptedServer) -> None:
    config = there.configuration(tmp_path)
    refused(finished(start("serve", "--config", config, "--host", "0.0.0.0")), "0.0.0.0", "--token-env")
    refused(finished(start("serve", "--config", config, "--token-env", "NOT_SET")), "NOT_SET", "--token-env")


def test_a_token(start: Start, tmp_path: Path, there: ScriptedServer, home: dict[str, str]) -> None:
    home["SERVICE_TOKEN"] = "sesame"
    service = start("serve", "--config", there.configuration(tmp_path), "--port", 0, "--token-env", "SERVICE_TOKEN")
    address = address_of(service)
    code, out, err = finished(start("ask", "--config", client(tmp_path, address), "q"))
    assert (code, out) == (ExitCode.FAILED, "")
    assert "key" in err
    config = client(tmp_path, address, 'api_key_env = "SERVICE_TOKEN"')
    assert finished(start("ask", "--config", config, "q"))[:2] == (ExitCode.COMPLETE, "ok\n")
    service.terminate()
    assert finished(service)[0] == ExitCode.COMPLETE


def test_keys(start: Start, tmp_path: Path, there: ScriptedServer, home: dict[str, str]) -> None:
    """Made, listed, needed, taken away while the server runs."""
    config, keys = there.configuration(tmp_path), ("--keys", tmp_path / "keys.json")
    code, secret, _ = finished(start("keys", "add", "ann", *keys, "--rpm", 60))
    assert code == ExitCode.COMPLETE
    assert finished(start("keys", "list", *keys))[1].strip().endswith("ann  (60 requests a minute)")
    service = start("serve", "--config", config, "--host", "0.0.0.0", "--port", 0, *keys)
    address = address_of(service).replace("0.0.0.0", "127.0.0.1")
    home["ANN"] = secret.strip()
    mine = client(tmp_path, address, 'api_key_env = "ANN"')
    assert finished(start("ask", "--config", mine, "q"))[:2] == (ExitCode.COMPLETE, "ok\n")
    assert finished(start("keys", "revoke", "ann", *keys))[0] == ExitCode.COMPLETE
    code, _, err = finished(start("ask", "--config", mine, "q"))
    assert code == ExitCode.FAILED
    assert "key" in err
    service.terminate()
    assert finished(service)[0] == ExitCode.COMPLETE


def test_budgets_that_have_changed_take_a_restart(
    start: Start, tmp_path: Path, there: ScriptedServer, home: dict[str, str]
) -> None:
    config = there.configuration(tmp_path)
    service = start("serve", "--config", config, "--port", 0)
    address_of(service)
    with config.open("a") as file:
        file.write("[budgets.chat]\nttft_ms = 5\ntotal_ms = 6\n")
    service.send_signal(signal.SIGHUP)
    logs = Path(home["HOME"]).rglob
    wait_until(lambda: any("budgets have changed" in log.read_text() for log in logs("llmchat.log")), "the log")
    service.terminate()
    assert finished(service)[0] == ExitCode.COMPLETE


def test_ray_has_neither_sockets_nor_a_log(start: Start, tmp_path: Path) -> None:
    refused(finished(start("serve", "--ray", 2, "--uds", "service.sock")), "--ray", "Unix socket")
    logging = tmp_path / "logging.toml"
    logging.write_text('[serve]\nlog = "-"\n')
    refused(finished(start("serve", "--ray", 2, "--config", logging)), "serve.log")
