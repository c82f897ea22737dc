"""A real nginx between a client and a server, as somebody sets it up who changes nothing: `proxy_pass` and no more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.counterparts.process import child, free_port

# Paths and the process model only: everything that concerns proxying is nginx's default.
_CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass {upstream}; }}
    }}
}}
"""


def installed() -> str | None:
    """The binary; None where there is none."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def nginx(upstream: str, folder: Path) -> Iterator[str]:
    """The URL of an nginx that passes everything on to `upstream`; `folder` is for its files."""
    binary, port = installed(), free_port()
    assert binary is not None
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, port=port, upstream=upstream))
    url = f"http://127.0.0.1:{port}"
    start = [binary, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(configuration)]
    with child(start, folder / "log", url):
        yield url
