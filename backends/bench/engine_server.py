"""The engine behind our HTTP, to be measured: ``python -m backends.bench.engine_server OPTIONS PORT`` (JSON)."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing

import msgspec

from backends.engine import Engine, EngineOptions
from backends.serve.app import create_app
from backends.serve.server import run


async def _serve(options: EngineOptions, port: int) -> None:
    engine = Engine(options)
    async with aclosing(engine):
        await engine.ready()
        await run(create_app(engine, ready=lambda: engine.state == "ready"), port=port, grace=0.1)


if __name__ == "__main__":
    asyncio.run(_serve(msgspec.json.decode(sys.argv[1], type=EngineOptions), int(sys.argv[2])))
