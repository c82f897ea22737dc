"""Which files become documents, and what keeps a hostile folder out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backends.errors import BackendError
from backends.rag import formats
from backends.rag.load import File, digest, find, read
from backends.rag.sections import Unreadable


def file_at(path: Path) -> File:
    (found,) = find([path])
    return found


def names(*documents: Path) -> list[str]:
    return [file.name for file in find(documents)]


def test_a_folder_is_searched_for_documents(tmp_path: Path) -> None:
    (tmp_path / "guides").mkdir()
    for name in (
        "b.md",
        "a.txt",
        "guides/c.MARKDOWN",
        "d.PDF",
        "e.docx",
        "f.html",
        "picture.png",
        ".hidden.md",
        "noext",
    ):
        (tmp_path / name).write_text("x")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "d.md").write_text("x")
    assert names(tmp_path) == ["a.txt", "b.md", "d.PDF", "e.docx", "f.html", "guides/c.MARKDOWN"]


def test_single_files_are_taken_as_they_are_and_not_twice(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("x")
    (tmp_path / "LICENSE").write_text("x")
    assert names(tmp_path / "LICENSE", tmp_path, tmp_path / "a.md") == ["LICENSE", "a.md"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="nowhere does not exist") as raised:
        find([tmp_path / "nowhere"])
    assert raised.value.code == "NOT_FOUND"


def test_a_pipe_is_no_document(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    assert names(tmp_path) == []
    with pytest.raises(BackendError, match="regular"):
        find([tmp_path / "pipe.md"])


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text("secret")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "real.md").write_text("real")
    (inside / "link.md").symlink_to(outside / "secret.md")
    (inside / "folder").symlink_to(outside)
    (inside / "loop").symlink_to(inside)
    (inside / "dangling.md").symlink_to(inside / "gone.md")
    (inside / "self.md").symlink_to(inside / "self.md")
    assert names(inside) == ["real.md"]


def test_a_link_inside_the_folder_is_the_same_document(tmp_path: Path) -> None:
    (tmp_path / "real.md").write_text("real")
    (tmp_path / "alias.md").symlink_to(tmp_path / "real.md")
    assert len(find([tmp_path])) == 1


def test_a_file_replaced_by_a_link_after_the_search_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("fine")
    (tmp_path / "secret").write_text("secret")
    file = file_at(tmp_path / "a.md")
    file.path.unlink()
    file.path.symlink_to(tmp_path / "secret")
    with pytest.raises(Unreadable):
        read(file)
    file.path.unlink()
    os.mkfifo(file.path)
    with pytest.raises(Unreadable, match="regular"):
        read(file)


def test_the_size_limit_holds_for_a_file_that_grows_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(formats.MAX_BYTES, "markdown", 500)
    path = tmp_path / "big.md"
    path.write_text("x" * 100)
    small = file_at(path)
    assert read(small) == b"x" * 100
    path.write_text("x" * 1000)
    with pytest.raises(Unreadable, match="beyond 500"):
        read(small)
    with pytest.raises(Unreadable, match="1,000 bytes, the limit is 500"):
        read(file_at(path))


def test_the_number_of_files_is_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(5):
        (tmp_path / f"{i}.md").write_text("x")
    assert len(find([tmp_path], max_files=3)) == 3
    assert "more than 3 documents" in caplog.text


def test_digests_tell_files_apart() -> None:
    assert digest(b"a") == digest(b"a") != digest(b"b")
