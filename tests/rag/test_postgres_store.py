"""The index in a real PostgreSQL, started for these tests on a Unix socket; skipped where there is none."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.errors import BackendError
from backends.rag.index import Changes, Index
from backends.rag.postgres_store import PostgresStore
from backends.rag.query import build_query
from backends.rag.retrieve import search
from backends.rag.words import key

pytest.importorskip("psycopg")


def _programs() -> Path | None:
    found = [Path(found).resolve().parent] if (found := shutil.which("initdb")) else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "initdb").exists()), None)


PROGRAMS = _programs()
pytestmark = pytest.mark.skipif(PROGRAMS is None, reason="PostgreSQL's server is not installed")


class Server:
    """A cluster of its own, in a folder of its own; as user postgres where we are root, which it refuses to run as."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user = "postgres" if os.getuid() == 0 else None
        if self.user:
            shutil.chown(folder, self.user)
        self.run(
            "initdb", "-A", "trust", "-U", "llmchat", "-E", "UTF8", "--locale=C", "--no-sync", "-D", folder / "data"
        )
        self.url = f"postgresql://llmchat@/postgres?host={folder}"

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        self.run("pg_ctl", "-D", self.folder / "data", "-w", "-l", self.folder / "log", "-o", options, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", self.folder / "data", "-w", "-m", "immediate", "stop")

    def run(self, program: str, *arguments: object) -> None:
        assert PROGRAMS is not None
        command = [str(PROGRAMS / program), *map(str, arguments)]
        done = subprocess.run(
            command, user=self.user, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
        )
        assert done.returncode == 0, command


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if os.getuid() == 0 and "postgres" not in {user.pw_name for user in pwd.getpwall()}:
        pytest.skip("root cannot run PostgreSQL, and there is no user postgres")
    folder = Path(tempfile.mkdtemp(prefix="llmchat-pg-"))  # short enough for a socket, and open to that user
    server = Server(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


Open = Callable[[], Index]


@pytest.fixture
def open_index(server: Server, folder: Path) -> Iterator[Open]:
    """Opens the index of `folder` as one of many processes would."""
    opened: list[Index] = []

    def open_one() -> Index:
        opened.append(Index([folder], PostgresStore(server.url, str(folder))))
        return opened[-1]

    yield open_one
    for index in opened:
        index.close()


def titles(index: Index, *words: str) -> list[str]:
    return [hit.title for hit in index.search([key(word.casefold()) for word in words], 10)]


def test_it_finds_and_keeps_up_like_any_index(open_index: Open, folder: Path) -> None:
    index = open_index()
    assert index.refresh() == Changes(added=3)
    assert index.refresh() == Changes()
    assert titles(index, "pausing", "subscriptions") == ["Plans > Pausing a subscription"]
    (hit,) = index.search([key("refunded")], 10)
    assert (hit.source, hit.title, hit.locator) == ("refunds.md", "Refunds > How long it takes", "How long it takes")
    assert hit.bm25 > 0
    assert index.frequencies(["refund", "plan", "zebra", "'"]) == (4, [1, 2, 0, 0])
    assert index.similar("subscripton") == ["subscription"]
    (folder / "notes.txt").unlink()
    (folder / "tax.md").write_text("# Tax\n\nVAT numbers go into the profile.")
    (folder / "refunds.md").write_text("# Refunds\n\nNow in seven days.")
    assert index.refresh() == Changes(added=1, changed=1, removed=1)
    assert titles(index, "seven") == ["Refunds"]
    assert titles(index, "card", "invoices") == []
    assert [hit.source for hit in index.hits([hit.number for hit in index.search(["vat"], 5)])] == ["tax.md"]


def test_a_title_weighs_more_than_the_text(open_index: Open, folder: Path) -> None:
    (folder / "a.md").write_text("# Other\n\nZebras are in the text.")
    (folder / "z.md").write_text("# Zebras\n\nThey are in the title.")
    index = open_index()
    index.refresh()
    assert titles(index, "zebras") == ["Zebras", "Other"]


def test_questions_find_their_passages(open_index: Open) -> None:
    index = open_index()
    index.refresh()
    found = search(index, build_query(["When are invocies sent?"]), 5)
    assert [hit.source for hit in found.hits] == ["notes.txt"]
    assert key("invoices") in found.terms[0]


def test_all_who_answer_from_it_share_it(open_index: Open, folder: Path) -> None:
    one, other = open_index(), open_index()
    assert one.refresh() == Changes(added=3)
    assert other.refresh() == Changes()
    (folder / "tax.md").write_text("# Tax\n\nVAT is added.")
    assert other.refresh() == Changes(added=1)
    assert titles(one, "VAT") == ["Tax"]
    assert one.similar("addde") == ["added"]  # what one keeps in memory is renewed


def test_other_documents_are_apart(server: Server, open_index: Open, tmp_path: Path) -> None:
    open_index().refresh()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.md").write_text("Seats are blue.")
    other = Index([tmp_path / "other"], PostgresStore(server.url, "other"))
    other.refresh()
    assert titles(other, "seats") == ["A"]
    other.close()


def test_vectors_are_kept_with_their_passages(server: Server, open_index: Open, folder: Path) -> None:
    open_index().refresh()
    store = PostgresStore(server.url, str(folder))
    waiting = store.without_vector("m")
    assert len(waiting) == 4
    version = store.version()
    store.put_vectors("m", [(number, b"\1\0") for number, _ in waiting[:3]] + [(10**9, b"gone")])
    assert store.version() != version
    assert store.vectors("m") == [(number, b"\1\0") for number, _ in waiting[:3]]
    assert [number for number, _ in store.without_vector("m")] == [waiting[3][0]]
    store.remove(list(store.known()))
    assert store.vectors("m") == []
    store.close()


_KILLED = """
import os, signal, sys
from pathlib import Path
from backends.rag import index, postgres_store

real, count = postgres_store.forms, 0

def forms(passages):
    global count
    count += 1
    if count == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(passages)

postgres_store.forms = forms
index.Index([Path(sys.argv[1])], postgres_store.PostgresStore(sys.argv[2], sys.argv[1])).refresh()
"""


def test_a_process_killed_while_it_writes_leaves_whole_documents(
    server: Server, open_index: Open, folder: Path
) -> None:
    command = [sys.executable, "-c", _KILLED, str(folder), server.url]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    index = open_index()
    assert {hit.source for hit in index.search([key("invoices"), "plan", "refund"], 9)} == {"notes.txt"}
    assert index.refresh().added == 2
    assert len(titles(index, "invoices", "plan", "refund")) == 4


def test_a_server_that_was_restarted_is_found_again(server: Server, open_index: Open) -> None:
    index = open_index()
    index.refresh()
    server.stop()
    with pytest.raises(BackendError, match="see to the server") as raised:
        titles(index, "seats")
    assert raised.value.retryable
    server.start()
    assert titles(index, "seats") == ["Plans > Team plans"]


def test_after_closing_nothing_is_opened_again(open_index: Open) -> None:
    index = open_index()
    index.refresh()
    index.close()
    with pytest.raises(BackendError) as raised:
        titles(index, "seats")
    assert raised.value.code == "SHUTDOWN"


hostile = st.text() | st.sampled_from(["'", "' | 'x", "a & b", "!a", "a:*", "(", "\\", "\0refund", "<->", "%s", "$1"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(st.lists(hostile, max_size=4))
def test_no_word_is_a_syntax_error(open_index: Open, words: list[str]) -> None:
    index = open_index()
    index.search(words, 3)
    index.frequencies(words)
    index.close()


def test_without_its_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(BackendError, match=r"pip install 'llmchat\[postgres\]'"):
        PostgresStore("postgresql:///nowhere", "x").known()
