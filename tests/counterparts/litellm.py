"""A real litellm proxy between a client and a server: ``pip install 'litellm[proxy]'``, best in an environment of its
own, whose ``litellm`` the variable LLMCHAT_LITELLM names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.counterparts.process import child, free_port

MODEL = "through-litellm"

_VARIABLES = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # nothing is fetched
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # it listens on this machine only
}

_CONFIGURATION = """
model_list:
  - model_name: {model}
    litellm_params:
      model: openai/llmchat
      api_base: {upstream}/v1
      api_key: none
"""


def installed() -> str | None:
    """The command; None where there is none."""
    return os.environ.get("LLMCHAT_LITELLM") or shutil.which("litellm")


@contextmanager
def litellm(upstream: str, folder: Path) -> Iterator[str]:
    """The URL of a litellm proxy whose only model, `MODEL`, is that of the OpenAI-compatible server `upstream`."""
    command, port = installed(), free_port()
    assert command is not None
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "litellm.yaml"
    configuration.write_text(_CONFIGURATION.format(model=MODEL, upstream=upstream))
    url = f"http://127.0.0.1:{port}"
    start = [command, "--config", str(configuration), "--host", "127.0.0.1", "--port", str(port)]
    with child(start, folder / "log", f"{url}/health/liveliness", **_VARIABLES):
        yield url
