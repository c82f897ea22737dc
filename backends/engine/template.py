"""Chat templates: from messages to pieces of text, of which only the template's own may hold special tokens.

A GGUF carries its chat template as Jinja source. It is rendered in Jinja's immutable sandbox with unguessable sentinels
in place of the message contents; the result is split at the sentinels, so that every piece is either the template's
text, in which control tokens are meant, or somebody's text, in which they are only letters. Joined, the pieces are what
the template would have rendered; tokenized apart, they differ from the whole at most where a merge would have reached
over the border between template and content. Vocabularies merge a space with the word behind it, so spaces at the end
of the template's text go to the content that follows; what remains are contents that begin with white space.

What a template does to a content beyond `trim` (cutting it at ``</think>``, say) is not applied: it sees the sentinel.
The sentinel is framed by a white space of its own, which tells whether the template trimmed that side.
"""

from __future__ import annotations

import datetime
import json
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import msgspec
from jinja2.sandbox import ImmutableSandboxedEnvironment

from backends.backend import Message
from backends.engine.reasoning import answer_head
from backends.errors import BackendError, Code

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""Used for models that carry no template."""

MAX_SOURCE = 1 << 20
MAX_RENDERED = 1 << 22
MAX_RANGE = 100_000
"""Characters of a template's source, characters that it may render besides the contents, and the turns of all its
loops over numbers together."""

_CONTEXT = {"tools": None, "documents": None}
"""What Hugging Face's ``apply_chat_template`` always passes."""

_NO_REASONING = {"enable_thinking": False, "thinking": False, "thinking_budget": 0}
"""How templates are told not to think (Qwen, GLM, Gemma 4; DeepSeek, Granite; Seed-OSS). Otherwise they hear nothing,
which each takes as its author meant it."""

_FRAME = "\x1c"  # counts as white space for str.strip, and nobody types it
_SENTINEL = re.compile(rf"({_FRAME}?)([0-9a-f]{{32}})\.(\d+)\.({_FRAME}?)")


class Piece(msgspec.Struct, frozen=True):
    """A stretch of the prompt. `special`: written by the template, so special tokens in it are parsed."""

    text: str
    special: bool


class TemplateRefusal(Exception):
    """The template called `raise_exception`: it does not take these messages."""


class ChatTemplate:
    """One model's chat template."""

    def __init__(self, source: str, bos: str = "", eos: str = "") -> None:
        """`bos`, `eos`: the texts of those tokens, which templates write. Raises BackendError (MODEL_LOAD)."""
        if len(source) > MAX_SOURCE:
            raise BackendError(Code.MODEL_LOAD, f"the model's chat template is {len(source):,} characters long")
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as error:
            raise BackendError(Code.MODEL_LOAD, f"the model's chat template is not valid Jinja: {error}") from None
        self._tokens = {"bos_token": bos, "eos_token": eos}

    def render(self, messages: Sequence[Message], continue_from: str = "", *, reasoning: bool = True) -> list[Piece]:
        """The prompt for the assistant's next turn, or for what follows `continue_from` in it.

        Not `reasoning`: the template is told so, and a block of thinking that it opens all the same is closed at once.
        The one before `continue_from` is, too.
        Raises BackendError (BAD_REQUEST) when the template cannot take the messages. A template that refuses system
        messages gets the system text at the head of the first user turn, as their authors recommend.
        """
        contents = _Contents()
        turns = [{"role": message.role, "content": contents.hide(message.content)} for message in messages]
        try:
            text = self._render(turns, reasoning)
        except TemplateRefusal as refusal:
            if len(turns) < 2 or [turn["role"] for turn in turns[:2]] != ["system", "user"]:
                raise _refused(str(refusal)) from None
            turns[1]["content"] = turns[0]["content"] + "\n\n" + turns[1]["content"]
            try:
                text = self._render(turns[1:], reasoning)
            except TemplateRefusal as again:
                raise _refused(str(again)) from None
        pieces = contents.reveal(text)
        if (continue_from or not reasoning) and (head := answer_head(pieces[-1].text)):
            pieces[-1] = Piece(pieces[-1].text.rstrip() + head, True)
        return _lend_spaces([*pieces, Piece(continue_from, False)])

    def _render(self, turns: list[dict[str, str]], reasoning: bool) -> str:
        parts, length = [], 0
        variables: dict[str, Any] = {"messages": turns, "add_generation_prompt": True, "range": _BoundedRange()}
        variables |= self._tokens | _CONTEXT | ({} if reasoning else _NO_REASONING)
        try:
            for part in self._template.generate(variables):
                parts.append(part)
                length += len(part)
                if length > MAX_RENDERED:
                    raise _refused(f"it writes more than {MAX_RENDERED:,} characters")
        except (
            jinja2.TemplateError,
            ArithmeticError,
            LookupError,
            AttributeError,
            TypeError,
            ValueError,
            RecursionError,
        ) as error:
            raise _refused(str(error)) from None
        return "".join(parts)


class _Contents:
    """Hides contents behind sentinels, and puts them back into rendered text."""

    def __init__(self) -> None:
        self._nonce = secrets.token_hex(16)
        self._texts: list[str] = []

    def hide(self, text: str) -> str:
        """The sentinel that stands for `text`; an empty text stands for itself, as templates ask for emptiness."""
        if not text:
            return ""
        self._texts.append(text)
        return f"{_FRAME}{self._nonce}.{len(self._texts) - 1}.{_FRAME}"

    def reveal(self, rendered: str) -> list[Piece]:
        """The pieces of `rendered`, contents in place."""
        pieces, at = [], 0
        for match in _SENTINEL.finditer(rendered):
            if match[2] != self._nonce:
                continue
            content = self._texts[int(match[3])]
            content = content if match[1] else content.lstrip()
            content = content if match[4] else content.rstrip()
            pieces += [Piece(rendered[at : match.start()], True), Piece(content, False)]
            at = match.end()
        return [*pieces, Piece(rendered[at:], True)]


def _lend_spaces(pieces: Sequence[Piece]) -> list[Piece]:
    """Move spaces at the end of the template's pieces to the contents behind them; leave empty pieces out."""
    moved: list[Piece] = []
    for piece in pieces:
        if not piece.text:
            continue
        if moved and moved[-1].special and not piece.special:
            before = moved.pop().text
            kept = before.rstrip(" ")
            if kept:
                moved.append(Piece(kept, True))
            piece = Piece(before[len(kept) :] + piece.text, False)
        moved.append(piece)
    return moved


class _BoundedRange:
    """Python's `range` for one rendering, which can be used up."""

    def __init__(self) -> None:
        self._left = MAX_RANGE

    def __call__(self, *arguments: int) -> range:
        numbers = range(*arguments)
        self._left -= len(numbers) + 1
        if self._left < 0:
            raise OverflowError(f"it loops over more than {MAX_RANGE:,} numbers")
        return numbers


def tokenize(
    pieces: Sequence[Piece], tokenize_text: Callable[[str, bool, bool], list[int]], bos: int | None
) -> list[int]:
    """The prompt's token ids. `bos`: the token to begin with, if there has to be one.

    `tokenize_text(text, parse_special, inner)`; `inner`: the text goes on after other text.
    """
    tokens: list[int] = []
    for index, piece in enumerate(pieces):
        tokens += tokenize_text(piece.text, piece.special, index > 0)
    return tokens if bos is None or tokens[:1] == [bos] else [bos, *tokens]


def _refused(reason: str) -> BackendError:
    return BackendError(Code.BAD_REQUEST, f"the model's chat template cannot take these messages: {reason}")


class _Generation(jinja2.ext.Extension):
    """``{% generation %}...{% endgeneration %}`` marks the assistant's text for training; here it is just its body."""

    tags = {"generation"}  # noqa: RUF012  as the base class declares it

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    """The environment that chat templates are written for, that of Hugging Face's ``apply_chat_template``."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, _Generation], autoescape=False
    )
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    environment.filters["tojson"] = _to_json
    return environment


def _raise_exception(message: str) -> None:
    raise TemplateRefusal(message)


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
