"""Other words for the same thing, for the talk of accounts and billing: customers say "freeze", the page says "pause".

A line is a group of equals. They widen what is looked for at a lower weight, and never change what the model reads.
Irregular forms stand here too, since a stemmer does not know them.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache

from backends.rag.words import key

_GROUPS = """
pause freeze suspend hold
cancel stop quit terminate end
annual yearly year
monthly month
subscription plan
bill invoice
pay paid
price cost fee pay expensive
cheap cheaper discount reduction save
tax vat
seat user member
guest client visitor
voucher coupon code
trial test try
support contact reach hotline
reply respond answer
email mail
phone call
refund money back
twice double duplicate
transfer wire
card visa mastercard amex
decline reject fail failed
reopen reactivate restore undo
delete remove erase
keep kept store stored
download export copy
upgrade switch change
downgrade switch change
school student teacher university education
charity nonprofit
refer recommend referral
reward credit
buy bought purchase
send sent
deadline due late
include contain
accountant bookkeeper accounting
limit maximum
start begin began
safe secure security
"""


def synonyms(word_key: str) -> tuple[str, ...]:
    """The keys of other words for the word of that key."""
    return _table().get(word_key, ())


@cache
def _table() -> dict[str, tuple[str, ...]]:
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for group in _GROUPS.split("\n"):
        for word in group.split():
            found[key(word)].update(dict.fromkeys(key(other) for other in group.split() if key(other) != key(word)))
    return {word: tuple(others) for word, others in found.items()}
