"""What is refused or made to wait: sizes, rates, a full line, stages that take too long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backends.backend import ChatRequest, Message
from backends.config import Serve, ServeTimeouts
from backends.errors import BackendError
from backends.events import Done, Error, Event, Meta, Status, Token
from backends.serve.caller import Caller
from backends.serve.limits import Line, Quotas, check_size
from backends.serve.replies import Refusal
from backends.serve.service import INSIDE
from backends.serve.watchdog import next_deadline
from backends.telemetry.timeline import Timeline
from tests.fakes.scripted import Hold, Scripted, answer
from tests.serve.conftest import CHAT, PATIENCE, Start, eventually
from tests.serve.test_chat import read


class TestSize:
    @pytest.mark.parametrize(
        ("limits", "request_", "says"),
        [
            (Serve(max_messages=1), ChatRequest((Message("user", "a"), Message("user", "b"))), "2 messages"),
            (Serve(max_tokens=5), ChatRequest((Message("user", "a"),), max_tokens=6), "max_tokens is 6"),
            (Serve(max_prompt_tokens=10), ChatRequest((Message("user", "word " * 50),)), "about"),
        ],
    )
    def test_what_is_too_large(self, limits: Serve, request_: ChatRequest, says: str) -> None:
        with pytest.raises(Refusal, match=says):
            check_size(request_, limits)
        check_size(request_, INSIDE)

    @pytest.mark.parametrize("path", ["/v1/chat", "/v1/warm"])
    async def test_on_the_wire(self, start: Start, path: str) -> None:
        backend = Scripted(*answer("a"))
        service = await start(backend, max_messages=1)
        messages = [{"role": "user", "content": "a"}] * 2

        response = await service.http.post(path, json={"messages": messages})

        assert (response.status_code, backend.requests, backend.warmed) == (413, [], [])


class TestQuotas:
    def test_a_bucket_fills_again(self) -> None:
        now = 0.0
        quotas = Quotas(lambda: now)
        caller = Caller(0.0, b"", "key", requests_per_minute=2)
        quotas.enter(caller)
        quotas.enter(caller)
        with pytest.raises(Refusal, match="2 times a minute") as caught:
            quotas.enter(caller)
        assert (caught.value.status, caught.value.retry_after) == (429, 30.0)
        quotas.enter(Caller(0.0, b"", "another", requests_per_minute=2))
        now = 30.0
        quotas.enter(caller)
        with pytest.raises(Refusal):
            quotas.enter(caller)

    def test_so_many_at_a_time(self) -> None:
        quotas = Quotas()
        caller = Caller(0.0, b"", "key", concurrency=1)
        quotas.enter(caller)
        with pytest.raises(Refusal, match="1 answers running"):
            quotas.enter(caller)
        quotas.leave(caller)
        quotas.enter(caller)

    def test_without_a_key_there_is_none(self) -> None:
        quotas = Quotas()
        for _ in range(3):
            quotas.enter(Caller(0.0, b"", concurrency=1))


class Away:
    """A holder whose reader may go away."""

    parked = False
    has_given_way = False

    def give_way(self) -> None:
        """See `Holder`."""
        self.has_given_way = True


class TestLine:
    async def test_first_come_first_served_and_everybody_knows_his_place(self) -> None:
        line = Line(1, 2)
        told: dict[int, list[int]] = {1: [], 2: []}
        order: list[int] = []

        async def wait(number: int, leave: asyncio.Event) -> None:
            async with line.place(told[number].append):
                order.append(number)
                await leave.wait()

        go = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            async with line.place(lambda _: None):
                for number in (1, 2):
                    group.create_task(wait(number, go))
                    await asyncio.sleep(0)
                with pytest.raises(BackendError, match="2 wait already"):
                    line.check()
                assert order == []
            go.set()
        assert order == [1, 2]
        assert told == {1: [1], 2: [2, 1]}

    async def test_who_goes_away_makes_room(self) -> None:
        line = Line(1, 2)
        places: list[int] = []

        async def wait(tell: Any) -> None:
            async with line.place(tell):
                pass

        async with line.place(lambda _: None):
            first = asyncio.create_task(wait(lambda _: None))
            await asyncio.sleep(0)
            second = asyncio.create_task(wait(places.append))
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.wait([first])
            assert places == [2, 1]
        await second
        async with line.place(lambda _: None):  # nobody's place was lost
            with pytest.raises(asyncio.CancelledError):
                await first

    async def test_who_stands_still_gives_way_to_who_waits(self) -> None:
        line = Line(1, 2)
        order: list[str] = []
        away = Away()

        async def wait(name: str, holder: Away | None = None) -> None:
            async with line.place(lambda _: None, holder):
                order.append(name)

        async with line.place(lambda _: None):
            behind = [asyncio.create_task(wait("away", away)), asyncio.create_task(wait("behind"))]
            await asyncio.sleep(0)
            away.parked = True
            line.call_next()
            assert not away.has_given_way  # it has no place yet
        assert away.has_given_way
        await asyncio.wait(behind)
        async with line.place(lambda _: None, away):
            line.check()  # there is room for one more, and he gets it at once
            async with asyncio.timeout(PATIENCE), line.place(lambda _: None):
                pass

    async def test_called_and_gone_in_the_same_moment(self) -> None:
        line = Line(1, 2)

        async def wait() -> None:
            async with line.place(lambda _: None):
                pass

        async with line.place(lambda _: None):
            waiting = asyncio.create_task(wait())
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        async with asyncio.timeout(PATIENCE), line.place(lambda _: None):
            pass

    async def test_on_the_wire(self, start: Start) -> None:
        hold = Hold()
        backend = Scripted(hold, *answer("a"))
        service = await start(backend, max_running=1, max_queue=1)
        running = asyncio.create_task(read(service))
        await asyncio.wait_for(hold.reached.wait(), PATIENCE)
        waiting = asyncio.create_task(read(service))
        await eventually(lambda: len(service.streams) == 2)

        refused = await service.http.post("/v1/chat", json=CHAT)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert len(backend.requests) == 1
        hold.release()

        assert isinstance((await running)[-1], Done)
        got = await waiting
        assert Status("queued", position=1) in got
        spans = [span for event in got if isinstance(event, Meta) for span in event.spans]
        assert [span.stage for span in spans] == ["provider_queue"]
        assert isinstance(got[-1], Done)


class TestTimeouts:
    @pytest.mark.parametrize(
        ("timeouts", "script", "code", "says"),
        [
            (ServeTimeouts(retrieval=0.05), (Status("retrieving"),), "TIMEOUT_STAGE", "the stage retrieval"),
            (ServeTimeouts(prefill=0.05), (Status("prefilling"),), "TIMEOUT_STAGE", "the stage prefill"),
            (ServeTimeouts(first_token=0.05), (Status("retrieving"),), "TIMEOUT_FIRST_TOKEN", "the first token"),
            (ServeTimeouts(idle=0.05), (Token("a"),), "TIMEOUT_IDLE", "a pause in the answer"),
            (ServeTimeouts(total=0.05), (Token("a"),), "TIMEOUT_TOTAL", "the answer"),
            (ServeTimeouts(total=0.05), (), "TIMEOUT_TOTAL", "the answer"),
        ],
    )
    async def test_each_says_which(
        self, start: Start, timeouts: ServeTimeouts, script: tuple[Event, ...], code: str, says: str
    ) -> None:
        backend = Scripted(*script, Hold())
        service = await start(backend, timeouts=timeouts)

        error = (await read(service))[-1]

        assert isinstance(error, Error)
        assert (error.code, error.retryable) == (code, True)
        assert says in error.message
        assert (backend.streaming, backend.cut) == (0, 1)

    async def test_what_stays_within_them_is_left_alone(self, start: Start) -> None:
        timeouts = ServeTimeouts(retrieval=PATIENCE, first_token=PATIENCE, idle=PATIENCE, total=PATIENCE)
        service = await start(Scripted(Status("retrieving"), *answer("a")), timeouts=timeouts)

        assert isinstance((await read(service))[-1], Done)

    async def test_no_timer_is_left(self, start: Start) -> None:
        service = await start(Scripted(*answer("a")), timeouts=ServeTimeouts(total=3600))
        await read(service)
        loop: Any = asyncio.get_running_loop()
        assert not [timer for timer in loop._scheduled if not timer.cancelled() and timer.when() > loop.time() + 1800]

    def test_nothing_but_the_total_while_the_reader_is_away(self) -> None:
        limits = ServeTimeouts(idle=1, total=100)
        timeline = Timeline()
        timeline.add(Token("a"), 10.0)
        assert next_deadline(limits, timeline, None) is not None
        due = next_deadline(limits, timeline, 10.0)
        assert due is not None
        assert due[0] == 1010.0
        away = next_deadline(limits, timeline, None)
        assert away is not None
        assert away[0] == 100_000.0

    def test_the_stage_that_stands_counts(self) -> None:
        limits = ServeTimeouts(retrieval=5, prefill=1, idle=0, total=0)
        timeline = Timeline()
        assert next_deadline(limits, timeline, 0.0) is None
        timeline.add(Status("retrieving"), 100.0)
        assert (next_deadline(limits, timeline, 100.0) or (0,))[0] == 5100.0
        timeline.add(Status("prefilling"), 200.0)
        timeline.add(Status("prefilling", done=5), 900.0)
        assert (next_deadline(limits, timeline, 900.0) or (0,))[0] == 1200.0
