"""`llmchat`: the chat on the screen."""

from __future__ import annotations

import os

from backends import providers
from backends.errors import BackendError, Code
from tui import garbage, log_file
from tui.exit_codes import ExitCode
from tui.target import Target


def run(target: Target, resume: bool) -> ExitCode:
    """Chat until the person quits. `resume`: go on with the newest conversation. Raises BackendError."""
    garbage.put_off()
    if not all(os.isatty(descriptor) for descriptor in (0, 1, 2)):
        raise BackendError(Code.CONFIG, 'the chat needs a terminal; without one there is llmchat ask "..."')
    if os.environ.get("TERM") == "dumb":
        raise BackendError(Code.CONFIG, 'the chat needs a terminal that can draw (TERM=dumb); else: llmchat ask "..."')
    file = target.load()
    providers.check(file)
    log_file.start()

    from tui.defect_app import DefectApp
    from tui.history.history import History, path_of

    history = History(path_of(file))
    try:
        chat = DefectApp(
            config=file.config,
            open_backend=lambda name: providers.open_backend(file, name),
            backend_name=file.config.backend,
            history=history,
            conversation=history.latest_conversation() if resume else None,
            config_path=file.path,
            list_models=lambda name: providers.list_models(file, name),
        )
        return ExitCode(chat.run_to_end())
    finally:
        history.close()
