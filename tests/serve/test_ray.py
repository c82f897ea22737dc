"""The service on a real Ray cluster of this machine, with two replicas. Needs Ray (``pip install 'llmchat[ray]'``)."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from backends import config
from backends.config import ConfigFile
from backends.errors import BackendError
from backends.events import Token
from backends.serve.guard import Access
from backends.serve.models import Models
from tests.fakes.gguf_model import write_model
from tests.fakes.scripted import Hold, Scripted
from tests.journey.scripted_server import serving

pytest.importorskip("ray.serve")
ray_app = pytest.importorskip("backends.serve.ray_app")
pytestmark = [
    pytest.mark.filterwarnings("default"),  # Ray's own
]

PATIENCE = 60.0
TURN = {"messages": [{"role": "user", "content": "one two three"}]}


@contextmanager
def service(file: ConfigFile, replicas: int = 2) -> Iterator[httpx.Client]:
    """A client for the service of `file`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    plan = ray_app.Plan(file, file.config.serve, Access(), Models("there"), replicas, port=port)
    with (
        ray_app.deployed(plan) as address,
        httpx.Client(base_url=address, timeout=PATIENCE, trust_env=False) as client,
    ):
        yield client


def ask(client: httpx.Client, messages: list[dict[str, str]], max_tokens: int = 8) -> dict[str, Any]:
    """The answer's `text`, the `route` to it, its `cachedTokens`, and its `end`."""
    found: dict[str, Any] = {"text": ""}
    with client.stream("POST", "/v1/chat", json={"messages": messages, "max_tokens": max_tokens}) as response:
        for name, data in events_of(response):
            found["text"] += data["text"] if name == "token" else ""
            found |= {key: data[key] for key in ("route", "cachedTokens") if key in data}
            found["end"] = name
    return found


def events_of(response: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """The names and data of an event stream."""
    name = ""
    for line in response.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def text_of(several: list[tuple[str, dict[str, Any]]]) -> str:
    """All text, from its tokens."""
    return "".join(data["text"] for name, data in several if name == "token")


def configured(path: Path, text: str) -> ConfigFile:
    """The configuration `text`."""
    path.write_text(text)
    return config.load(path)


def test_a_conversation_stays_with_its_engine_until_that_is_gone(tmp_path: Path) -> None:
    model = write_model(tmp_path / "tiny.gguf", context=65536)
    one_at_a_time = f'backend = "tiny"\n[backends.tiny]\ntype = "local"\nmodel = "{model}"\nmax_streams = 1\n'
    one_at_a_time += (
        'kv_residency = "device"\n'  # a prefix is kept for sure, however quickly it could be computed again
    )
    with service(configured(tmp_path / "llmchat.toml", one_at_a_time)) as client:
        asked = [[{"role": "user", "content": f"question {number} " + "plan " * 40}] for number in range(16)]
        homes: list[str] = []
        for messages in asked:
            first = ask(client, messages)
            assert first["end"] == "done", first
            messages += [{"role": "assistant", "content": first["text"]}, {"role": "user", "content": "more"}]
            homes.append(first["route"])
        assert len(set(homes)) == 2
        seconds = [ask(client, messages) for messages in asked]
        assert [second["route"] for second in seconds] == homes
        assert min(second["cachedTokens"] for second in seconds) > 40

        elsewhere_while_busy(client, asked[0], homes[0])
        end(homes[0].removeprefix("replica "))
        lost, kept = homes.index(homes[0]), next(place for place, home in enumerate(homes) if home != homes[0])
        assert ask(client, asked[lost])["end"] == "done"
        assert ask(client, asked[kept])["route"] == homes[kept]


def elsewhere_while_busy(client: httpx.Client, messages: list[dict[str, str]], home: str) -> None:
    """Who finds its replica full is answered by the other; who goes makes room at once."""
    long = {"messages": messages, "max_tokens": 60000}
    with client.stream("POST", "/v1/chat", json=long) as response:
        several = events_of(response)
        assert next(data["route"] for _, data in several if "route" in data) == home
        assert ask(client, messages)["route"] != home


def end(replica: str) -> None:
    """Kill the process of `replica`, as a machine that fails does."""
    import ray

    ray.kill(ray.get_actor(f"SERVE_REPLICA::llmchat#engine#{replica}", namespace="serve"), no_restart=True)


@pytest.mark.parametrize(("dialect", "path"), [("native", ""), ("openai", "/v1")])
def test_tokens_come_at_once_and_who_goes_ends_the_work(dialect: str, path: str) -> None:
    held = Scripted(Token("first"), Hold())
    with serving(held) as upstream:
        options = {"type": dialect, "url": upstream.address + path}
        there = ConfigFile(config.Config(backend="there", backends={"there": options}))
        with service(there) as client:
            with client.stream("POST", "/v1/chat", json=TURN) as response:
                several = events_of(response)
                assert next(data["text"] for name, data in several if name == "token") == "first"
                assert held.streaming == 1
            upstream.wait_until(lambda: held.cut == 1)

            body = {"model": "there", "stream": True, **TURN}
            with client.stream("POST", "/v1/chat/completions", json=body) as response:
                lines = response.iter_lines()
                assert any('"first"' in line for line in lines)
                assert held.streaming == 1
            upstream.wait_until(lambda: held.cut == 2)

            with client.stream("POST", "/v1/chat", json=TURN) as response:
                several = events_of(response)
                next(data for name, data in several if name == "token")
                assert client.delete(f"/v1/chat/{response.headers['x-llmchat-id']}").status_code == 204
                assert [data["finishReason"] for name, data in several if name == "done"] == ["cancelled"]
            upstream.wait_until(lambda: held.cut == 3)


def test_a_dropped_client_resumes_where_it_was(tmp_path: Path) -> None:
    model = write_model(tmp_path / "tiny.gguf", context=4096)
    # One place a replica, which the answer that stands still has: it is told to go on all the same.
    text = f'backend = "tiny"\n[backends.tiny]\ntype = "local"\nmodel = "{model}"\nmax_streams = 1\n'
    body = TURN | {"max_tokens": 2000, "sampling": {"temperature": 1.0, "seed": 7}}
    with service(configured(tmp_path / "llmchat.toml", text)) as client:
        with client.stream("POST", "/v1/chat", json=body) as response:
            unbroken = list(events_of(response))
        took = unbroken[-1][1]["latency"]

        asked = time.monotonic()
        with client.stream("POST", "/v1/chat", json=body) as response:
            name, last, read = response.headers["x-llmchat-id"], 0, ""
            for line in response.iter_lines():
                field, _, value = line.partition(": ")
                last = int(value) if field == "id" else last
                if field == "data" and "text" in (data := json.loads(value)):
                    read += data["text"]
                    break
        time.sleep(2 * took / 1000)  # who went on would have ended by then
        away = (time.monotonic() - asked) * 1000
        with client.stream("GET", f"/v1/chat/{name}/events", headers={"Last-Event-ID": str(last)}) as response:
            got = list(events_of(response))
        assert (got[-1][0], got[-1][1]["latency"] > away) == ("done", True)
        # Only so far: much later, the roundings of steps of other sizes lead elsewhere.
        assert (read + text_of(got))[:500] == text_of(unbroken)[:500]
        assert got[-1][1]["totalTokens"] == unbroken[-1][1]["totalTokens"] == 2000


def test_a_port_that_is_taken_is_not_shared() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        file = ConfigFile(config.Config())
        plan = ray_app.Plan(file, file.config.serve, Access(), Models("demo"), 1, port=taken.getsockname()[1])
        with pytest.raises(BackendError, match="another program uses it"), ray_app.deployed(plan):
            pass
