"""What a search finds in drawn messages, and that keeping it up to date finds the same as searching anew."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.style import Style

from tui.transcript.chat_palette import ChatPalette
from tui.transcript.finder import Finder
from tui.transcript.message_stack import MessageStack
from tui.transcript.message_view import MessageView

LOOK = ChatPalette(**dict.fromkeys(ChatPalette.roles(), Style.null()))


def stack_of(*texts: str, width: int = 30) -> MessageStack:
    stack = MessageStack()
    for number, text in enumerate(texts):
        view = MessageView(str(number), "assistant")
        view.append(text)
        stack.add(view)
    stack.draw(width, LOOK)
    return stack


def marked(stack: MessageStack, finder: Finder) -> list[str]:
    """The text of each part of each match."""
    found = []
    for line in range(stack.height):
        view, row = stack.find(line) or (None, 0)
        assert view is not None
        found += [view.text_line(row).between(start, end) or "" for start, end, _ in finder.on(view, row)]
    return found


def test_case_matters_once_an_upper_case_letter_is_typed() -> None:
    stack = stack_of("Yes and yes", "YES")
    assert marked(stack, Finder(stack, "yes")) == ["Yes", "yes", "YES"]
    assert marked(stack, Finder(stack, "Yes")) == ["Yes"]
    assert Finder(stack, "").count == 0
    assert Finder(stack, ".").count == 0


def test_matches_go_on_over_wraps_but_not_over_lines() -> None:
    stack = stack_of("words that are wrapped after some cells\nnew line", width=24)
    finder = Finder(stack, "are wrapped")
    assert finder.count == 1
    assert marked(stack, finder) == ["are", "wrapped"]
    assert Finder(stack, "cellsnew").count == Finder(stack, "cells new").count == 0


def test_wide_characters_are_marked_where_they_stand() -> None:
    stack = stack_of("你好世界 and 世")
    assert marked(stack, Finder(stack, "世")) == ["世", "世"]


def test_walking_goes_around() -> None:
    stack = stack_of("a b a", "c", "a")
    finder = Finder(stack, "a")
    assert (finder.number, finder.count) == (0, 3)
    numbers = []
    for by in (1, 1, 1, 1, -1, -1):
        assert finder.step(by)
        numbers.append(finder.number)
    assert numbers == [1, 2, 3, 1, 3, 2]
    assert finder.lines == (0, 0)
    assert finder.choose_from(1)
    assert (finder.number, finder.lines) == (3, (stack.height - 1, stack.height - 1))
    assert finder.choose_from(stack.height)
    assert finder.number == 3
    assert not Finder(stack, "x").step(1)


PIECES = st.sampled_from(["ab ", "ba", " ", "\n", "\n\n", "- a", "```\n", "**b", "你ab", "| a | b |\n", "a" * 20, "# "])


@settings(deadline=None)
@given(st.lists(PIECES, max_size=40), st.integers(1, 5), st.sampled_from(["a", "ab", "b a", "a a"]))
def test_changes_are_searched_as_everything_would_be(pieces: list[str], size: int, query: str) -> None:
    stack = stack_of("ab", "", "b a")
    finder = Finder(stack, query)
    stack.watch = finder.redrawn
    view = stack["1"]
    view.streaming = True
    for at in range(0, len(pieces), size):
        view.append("".join(pieces[at : at + size]))
        stack.change(view)
        stack.draw(30, LOOK)
        anew = Finder(stack, query)
        assert finder._found == anew._found
    view.finish("complete")
    stack.change(view)
    stack.draw(30, LOOK)
    assert finder._found == Finder(stack, query)._found
