"""The `llmchat` command: which command is meant, and where every failure becomes one line and an exit code.

What a command needs is imported when it is called: `llmchat --version` imports nothing but argparse.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from tui import arguments, garbage
from tui.exit_codes import ExitCode, of_error

if TYPE_CHECKING:
    from tui.target import Target


def main() -> None:
    """The console script."""
    match sys.argv[1:]:
        case ["bench", "engine", *rest]:
            _exit(_bench_engine, arguments.bench_engine(rest))
        case [name, *rest] if name in COMMANDS:
            parse, command = COMMANDS[name]
            _exit(command, parse(rest))
        case given:
            _exit(_chat, arguments.chat(given))


def _chat(given: Namespace) -> ExitCode:
    garbage.put_off()
    from tui.commands import chat

    return chat.run(_target(given), given.resume)


def _ask(given: Namespace) -> ExitCode:
    from tui.commands.ask import Question, run
    from tui.commands.ask_sampling import read_sampling

    sampling = read_sampling(
        given.temperature, given.seed, given.top_p, given.stop or (), given.json_schema, given.grammar
    )
    question = Question(
        given.words,
        given.system,
        given.max_tokens,
        sampling,
        given.reasoning,
        given.json,
        given.stats,
        given.sources,
    )
    return run(_target(given), question)


def _serve(given: Namespace) -> ExitCode:
    from tui.commands import serve

    return serve.run(_target(given), given.host, given.port, given.uds, given.token_env, given.resume_grace)


def _backends(given: Namespace) -> ExitCode:
    from tui.commands import backends

    return backends.run(_target(given), given.models)


def _doctor(given: Namespace) -> ExitCode:
    from tui.commands import doctor

    return doctor.run(_target(given), given.json)


def _bench_load(given: Namespace) -> ExitCode:
    from tui.commands import bench

    asked = {name: value for name, value in vars(given).items() if name in bench.LoadRequest.__struct_fields__}
    return bench.load(_target(given), bench.LoadRequest(**asked))


def _bench_engine(given: Namespace) -> ExitCode:
    from tui.commands import bench

    return bench.engine(bench.EngineRequest(**vars(given)))


def _target(given: Namespace) -> Target:
    """The options that choose a backend, of a command that may not have all of them."""
    from tui.target import Target

    return Target(**{name: value for name, value in vars(given).items() if name in Target.__struct_fields__})


COMMANDS: dict[str, tuple[Callable[[list[str]], Namespace], Callable[[Namespace], ExitCode]]] = {
    "ask": (arguments.ask, _ask),
    "serve": (arguments.serve, _serve),
    "backends": (arguments.backends, _backends),
    "doctor": (arguments.doctor, _doctor),
    "bench": (arguments.bench_load, _bench_load),
}


def _exit(command: Callable[[Namespace], ExitCode], given: Namespace) -> NoReturn:
    """Run `command` and leave with its exit code. The one place that catches everything: nobody sees a traceback."""
    try:
        code = command(given)
    except KeyboardInterrupt:
        code = ExitCode.CANCELLED
    except Exception as error:  # noqa: BLE001
        code = _reported(error)
    sys.exit(code)


def _reported(error: Exception) -> ExitCode:
    """Tell what went wrong in one line on stderr. Called while `error` is being handled."""
    from backends.errors import BackendError

    if isinstance(error, BackendError):
        print(f"llmchat: {error.message}", file=sys.stderr)
        return of_error(error.code)
    from tui import log_file

    print(f"llmchat: {type(error).__name__}: {' '.join(str(error).split())}; {log_file.defect()}", file=sys.stderr)
    return ExitCode.DEFECT
