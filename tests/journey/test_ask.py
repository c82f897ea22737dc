"""`llmchat ask` as a person and a script use it, against real servers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from backends.backend import Sampling
from backends.events import Citation, Done, Error, Status, Token
from tests.fakes.scripted import Hold, Scripted, answer
from tests.journey.scripted_server import serving
from tests.journey.terminal import CTRL_C, Terminal
from tui.exit_codes import ExitCode

Start = Callable[..., "subprocess.Popen[bytes]"]

PATIENCE = 60


def finished(process: subprocess.Popen[bytes], stdin: bytes | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `process` at its end."""
    out, err = process.communicate(stdin, timeout=PATIENCE)
    return process.returncode, out.decode(), err.decode()


def test_an_answer_and_what_was_asked(start: Start, tmp_path: Path) -> None:
    with serving(Scripted(*answer("Hel", "lo."))) as server:
        config = server.configuration(tmp_path)
        (tmp_path / "schema.json").write_text('{"type": "integer"}')
        options = ["-s", "Be brief.", "--max-tokens", 9, "-t", 0, "--seed", 5, "--stop", "a", "--stop", "b"]
        options += ["--json-schema", tmp_path / "schema.json", "--no-reasoning"]
        result = finished(start("ask", "--config", config, "What", "is it?", *options))
        (request,) = server.backend.requests
    assert result == (ExitCode.COMPLETE, "Hello.\n", "")
    assert [(m.role, m.content) for m in request.messages] == [("system", "Be brief."), ("user", "What is it?")]
    assert (request.max_tokens, request.reasoning) == (9, "off")
    assert request.sampling == Sampling(temperature=0.0, seed=5, stop=("a", "b"), json_schema={"type": "integer"})


@pytest.mark.parametrize(
    ("arguments", "piped", "asked"),
    [
        (["Sum it up"], "line 1\nline 2\n", "line 1\nline 2\n\nSum it up"),
        ([], "only piped\n", "only piped"),
        (["-"], "the question ü\n", "the question ü\n"),
        (["q"], "", "q"),
    ],
)
def test_what_is_piped_in(start: Start, tmp_path: Path, arguments: list[str], piped: str, asked: str) -> None:
    with serving(Scripted(*answer("ok"))) as server:
        process = start("ask", "--config", server.configuration(tmp_path), *arguments, stdin=subprocess.PIPE)
        assert finished(process, piped.encode())[0] == ExitCode.COMPLETE
        assert server.backend.requests[0].messages[-1].content == asked


def test_an_idle_terminal_on_stdin_is_not_waited_for(start: Start, tmp_path: Path) -> None:
    master, slave = os.openpty()
    try:
        with serving(Scripted(*answer("ok"))) as server:
            process = start("ask", "--config", server.configuration(tmp_path), "q", stdin=slave)
            assert finished(process)[:2] == (ExitCode.COMPLETE, "ok\n")
    finally:
        os.close(master)
        os.close(slave)


def test_text_comes_while_it_is_made(start: Start, tmp_path: Path) -> None:
    hold = Hold()
    with serving(Scripted(Token("first "), hold, *answer("second"))) as server:
        process = start("ask", "--config", server.configuration(tmp_path), "q")
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 100) == b"first "
        server.release(hold)
        assert finished(process)[:2] == (ExitCode.COMPLETE, "second\n")


def test_json(start: Start, tmp_path: Path) -> None:
    faq = Citation(source="faq.md", id="S1")
    with serving(Scripted(Status("retrieving", 1, 2), Token("Yes [S1]."), faq, Done(3, 5.0, "length"))) as server:
        code, out, err = finished(start("ask", "--json", "--config", server.configuration(tmp_path), "q"))
    lines = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (ExitCode.TRUNCATED, "")
    assert {"event": "token", "text": "Yes [S1]."} in lines
    assert {"event": "citation", "source": "faq.md", "id": "S1"} in lines
    assert lines[-1]["event"] == "done"
    assert lines[-1]["finishReason"] == "length"
    assert sum(line["event"] in ("done", "error") for line in lines) == 1


def test_statistics_go_to_stderr(start: Start, tmp_path: Path) -> None:
    with serving(Scripted(*answer("a", "b", "c"))) as server:
        code, out, err = finished(start("ask", "--stats", "--config", server.configuration(tmp_path), "q"))
    assert (code, out) == (ExitCode.COMPLETE, "abc\n")
    assert err.startswith("TTFT ")
    assert "unattributed" in err
    assert "3 tokens" in err


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (Done(1, 1.0, "length"), ExitCode.TRUNCATED),
        (Done(1, 1.0, "cancelled"), ExitCode.CANCELLED),
        (Error("OVERLOADED", "the queue is full"), ExitCode.UNAVAILABLE),
        (Error("CONTEXT_FULL", "too long"), ExitCode.FAILED),
    ],
)
def test_endings(start: Start, tmp_path: Path, event: Done | Error, code: ExitCode) -> None:
    with serving(Scripted(Token("partly"), event)) as server:
        result = finished(start("ask", "--config", server.configuration(tmp_path), "q"))
    assert result[:2] == (code, "partly\n")


def test_a_stream_that_just_stops_is_interrupted(start: Start, tmp_path: Path) -> None:
    """A server that dies in mid-answer, at the level of its socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        path = tmp_path / "dying.toml"
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        path.write_text(f'backend = "x"\n[backends.x]\ntype = "native"\nurl = "{url}"\n')
        process = start("ask", "--json", "--config", path, "q")
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
            connection.sendall(head + b'event: token\ndata: {"text": "half"}\n\n')
        code, out, _ = finished(process)
    assert code == ExitCode.INTERRUPTED
    assert {"event": "token", "text": "half"} in [json.loads(line) for line in out.splitlines()]


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_nobody_there(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "nobody.toml"
    path.write_text(f'backend = "x"\n[backends.x]\ntype = "native"\nurl = "http://127.0.0.1:{unused_port()}"\n')
    code, out, err = finished(start("ask", "--config", path, "q"))
    assert (code, out) == (ExitCode.UNAVAILABLE, "")
    assert err.count("\n") == 1
    assert "cannot reach http://127.0.0.1" in err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.CANCELLED), (signal.SIGTERM, ExitCode.TERMINATED)]
)
def test_a_signal_cancels_all_the_way_down(start: Start, tmp_path: Path, number: int, code: ExitCode) -> None:
    with serving(Scripted(Token("partly"), Hold())) as server:
        process = start("ask", "--config", server.configuration(tmp_path), "q")
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 100) == b"partly"
        process.send_signal(number)
        server.wait_until(lambda: server.backend.cut == 1)
        assert finished(process) == (code, "\n", "")


def test_json_tells_the_cancel(start: Start, tmp_path: Path) -> None:
    with serving(Scripted(Token("partly"), Hold())) as server:
        process = start("ask", "--json", "--config", server.configuration(tmp_path), "q")
        assert process.stdout is not None
        while b"partly" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        code, out, _ = finished(process)
    assert code == ExitCode.CANCELLED
    last = json.loads(out.splitlines()[-1])
    assert (last["event"], last["finishReason"], last["totalTokens"]) == ("done", "cancelled", 1)


def test_nobody_reads_the_output_any_more(start: Start, tmp_path: Path) -> None:
    hold = Hold()
    with serving(Scripted(Token("first"), hold, *[Token("more ")] * 100, Hold())) as server:
        process = start("ask", "--config", server.configuration(tmp_path), "q")
        assert process.stdout is not None
        assert process.stderr is not None
        assert os.read(process.stdout.fileno(), 100) == b"first"
        process.stdout.close()
        server.release(hold)
        server.wait_until(lambda: server.backend.cut == 1)
        assert process.wait(PATIENCE) == ExitCode.BROKEN_PIPE
        assert process.stderr.read() == b""
        process.stderr.close()


def test_in_a_terminal(open_terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    waiting, streaming = Hold(), Hold()
    faq = Citation(source="faq.md", id="S1", locator="Pausing")
    script = (Status("reranking", 2, 3), waiting, Token("You can \x1b[31m[S1]"), faq, streaming)
    with (
        serving(Scripted(*script)) as server,
        open_terminal("ask", "--config", server.configuration(tmp_path), "q") as terminal,
    ):
        terminal.wait_for("Step 2 of 3: reranking")
        server.release(waiting)
        terminal.wait_for("You can ␛[31m[S1]", lambda text: "Step" not in text)
        terminal.send(CTRL_C)
        server.wait_until(lambda: server.backend.cut == 1)
        assert terminal.ended() == ExitCode.CANCELLED
        assert "[S1] faq.md, Pausing" in terminal.text
        assert "Traceback" not in terminal.text


def test_the_local_engine(start: Start, tiny_model: Path) -> None:
    code, out, err = finished(start("ask", "--model", tiny_model, "--max-tokens", 12, "--json", "hello"))
    lines = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (ExitCode.TRUNCATED, ""), lines
    assert lines[-1]["totalTokens"] == 12
    assert "".join(line["text"] for line in lines if line["event"] == "token")


def test_a_corrupt_model(start: Start, tmp_path: Path) -> None:
    model = tmp_path / "corrupt.gguf"
    model.write_bytes(b"GGUF" + os.urandom(5000))
    code, out, err = finished(start("ask", "--model", model, "hello"))
    assert (code, out) == (ExitCode.UNAVAILABLE, "")
    assert err.count("\n") == 1
    assert "corrupt.gguf" in err
