"""A real litellm proxy between a client and servers: ``pip install 'litellm[proxy]'`` in an environment of its own (the
versions that CI takes stand in ``litellm.txt``), whose ``litellm`` the variable LLMCHAT_LITELLM names.

As it comes, litellm passes on that its reader has gone only once the server has begun to answer (its headers, not its
first token): before, nobody looks. ``cancel_on_disconnect`` in its ``general_settings`` makes it look from the first
moment on (BerriAI/litellm#30223, for the issues #13774 and #22805).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.counterparts.process import child, free_port

_VARIABLES = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # nothing is fetched
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # it listens on this machine only
}


def installed() -> str | None:
    """The command; None where there is none."""
    return os.environ.get("LLMCHAT_LITELLM") or shutil.which("litellm")


@contextmanager
def litellm(upstreams: Mapping[str, str], folder: Path, *, cancels: bool) -> Iterator[str]:
    """The URL of a litellm proxy with a model for each OpenAI-compatible server: name -> URL.

    `cancels`: whether ``cancel_on_disconnect`` is set.
    """
    command, port = installed(), free_port()
    assert command is not None
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "litellm.yaml"
    models = [
        {"model_name": name, "litellm_params": {"model": "openai/llmchat", "api_base": f"{url}/v1", "api_key": "none"}}
        for name, url in upstreams.items()
    ]
    settings = {"model_list": models, "general_settings": {"cancel_on_disconnect": cancels}}
    configuration.write_text(json.dumps(settings))  # which is YAML too
    url = f"http://127.0.0.1:{port}"
    start = [command, "--config", str(configuration), "--host", "127.0.0.1", "--port", str(port)]
    with child(start, folder / "log", f"{url}/health/liveliness", **_VARIABLES):
        yield url
