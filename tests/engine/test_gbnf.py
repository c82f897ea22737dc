"""Grammars looked over: what is good passes, a mistake is named with its place, and nothing ends the process."""

from __future__ import annotations

import pytest

from backends.engine import gbnf
from backends.errors import BackendError, Code

GOOD = r"""
# a comment with "quotes" and (
root  ::= (expr "=" ws term "\n")+ | [^"\\\x00-\x1F]{2,5} "a\"b" .  # and another
expr  ::= term ([-+*/] term)*
term  ::= [a-z] [a-z0-9]{0,} | "(" ws expr ")" ws
   | "\\" ident-2?
ident-2 ::= "\u00e9"{3}
ws    ::= [ \t\n\]]*
"""


def test_a_good_grammar_passes() -> None:
    gbnf.check(GOOD)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "no rule 'root'"),
        ('start ::= "x"', "no rule 'root'"),
        ('root ::= "x" other', "line 1, column 14: there is no rule 'other'"),
        ('root ::= "x"\nother ::= ("y"', "line 2, column 11: this parenthesis is never closed"),
        ('root ::= ("x"\nother ::= "y"', "line 1, column 10: this parenthesis is never closed"),
        ('root ::= "x")', "line 1, column 13: this parenthesis was never opened"),
        ('root ::= "x', "line 1, column 10"),
        ("root ::= [a-z", "line 1, column 10"),
        ("root ::= * x", "line 1, column 10: nothing stands before '*'"),
        ('root ::= (+ "x")', "nothing stands before '+'"),
        ('"x"', "begins with a rule"),
        ("root ::= @", "'@' is not understood"),
        ("root ::= " + "(" * 100_000, "characters, at most"),
        ("root ::= " + "(" * 1_000 + '"x"' + ")" * 1_000, "deeper than"),
        ('root ::= "\0"', "NUL"),
    ],
)
def test_a_mistake_is_named_with_its_place(source: str, said: str) -> None:
    with pytest.raises(BackendError) as caught:
        gbnf.check(source)
    assert caught.value.code == Code.BAD_REQUEST
    assert said in caught.value.message
