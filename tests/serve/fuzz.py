"""The service against its own OpenAPI description: schemathesis asks what it allows, and what it does not.

``make fuzz``. What has to come out: no 500, no status, header or body that the description does not tell, nothing taken
that it forbids. What it allows may still be refused, in words: tools, several answers, a model that is not there.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

from backends.events import Citation, Meta, Status
from tests.fakes.scripted import Scripted, answer
from tests.journey.scripted_server import serving

SCRIPT = (Status("retrieving"), Meta("m", 1.0, prompt_tokens=3), Citation("faq.md", "S1"), *answer("Yes ", "[S1]"))


def main() -> int:
    """Run it; arguments go to schemathesis. Returns its exit code."""
    with serving(Scripted(*SCRIPT)) as server, tempfile.TemporaryDirectory() as folder:  # it keeps what it finds
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.address}/openapi.json"]
        checks = ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]
        return subprocess.run(
            [*command, *checks, "--max-examples", "25", *sys.argv[1:]], cwd=folder, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
