"""How people type: with a sentence of their own before it, another word for the same thing, politeness, lower case,
missing words and punctuation, swapped and lost letters."""

from __future__ import annotations

from random import Random

_BEFORE = (
    "Hi, ",
    "Hello, ",
    "Please tell me: ",
    "Quick question: ",
    "Sorry, ",
    "Hey, ",
    "One question: ",
    "ok, ",
    "So ",
)
_AFTER = (" Thanks!", " Thank you.", " please", " Please help.", " Thanks", " ??")


_STORIES = (
    "We are a small team.",
    "I run a small shop.",
    "I signed up last week.",
    "We have been customers for years.",
    "My boss wants to know this.",
    "I could not find this on your site.",
    "We are thinking about your product.",
    "I am new here.",
    "Our team has {n} people.",
    "I work in accounting.",
    "Sorry to bother you.",
    "I looked everywhere.",
    "My colleague could not tell me.",
    "I have a question about my account.",
    "This is about billing.",
    "I need to know this today.",
)
_SAME = (
    ("invoice", "bill"),
    ("invoices", "bills"),
    ("plan", "subscription"),
    ("refund", "reimbursement", "repayment"),
    ("cancel", "end", "terminate", "close"),
    ("pause", "interrupt", "halt", "suspend"),
    ("cost", "come to"),
    ("price", "cost", "charge", "fee"),
    ("cheaper", "less expensive", "lower"),
    ("change", "modify", "replace", "swap", "edit"),
    ("see", "view", "read", "look at", "check"),
    ("get", "obtain", "receive", "have"),
    ("find", "locate", "look up"),
    ("download", "save", "fetch"),
    ("add", "enter", "put in", "register"),
    ("remove", "delete", "drop", "take out"),
    ("discount", "reduction", "rebate", "price cut"),
    ("annual", "yearly", "twelve-month"),
    ("monthly", "month-to-month"),
    ("company", "firm", "business", "organisation"),
    ("colleague", "coworker", "team mate", "employee"),
    ("expire", "run out", "end", "become invalid"),
    ("extend", "lengthen", "prolong"),
    ("payment", "transfer", "charge"),
    ("failed", "bounced", "did not work", "was refused"),
    ("card", "credit card", "bank card"),
    ("data", "files", "content"),
    ("fast", "quickly", "soon"),
    ("contact", "get in touch with", "talk to"),
    ("happens", "takes place", "comes"),
    ("need", "require", "want"),
    ("start", "begin"),
    ("storage", "disk space", "room for files"),
    ("people", "persons", "users"),
    ("money", "cash", "amount"),
    ("taxes", "tax", "VAT"),
    ("offer", "give", "have"),
    ("possible", "allowed", "permitted"),
    ("late", "overdue"),
    ("trial", "test phase", "trial time"),
    ("coupon", "voucher", "code"),
    ("transfer", "hand over"),
    ("charged", "billed", "debited"),
)
_SMALL = frozenset(("a", "an", "the", "my", "our", "do", "does", "is", "are", "to", "of", "for", "can", "will"))


def reworded(text: str, rng: Random) -> str:
    """`text` with some words exchanged for others of the same meaning, and some small words lost."""
    words = text.split(" ")
    for i, word in enumerate(words):
        core = word.rstrip("?.!,")
        group = next((group for group in _SAME if core in group), None)
        if group and rng.random() < 0.4:
            words[i] = rng.choice(group) + word[len(core) :]
        elif core in _SMALL and i and rng.random() < 0.08:
            words[i] = word[len(core) :]
    return " ".join(word for word in words if word)


def careless(text: str, rng: Random) -> str:
    """`text` as a person in a hurry may type it; one time in three it stays as it is."""
    if rng.random() < 0.35:
        return text
    if rng.random() < 0.35:
        text = reworded(text, rng)
    if rng.random() < 0.12:
        text = rng.choice(_STORIES).format(n=rng.randint(2, 90)) + " " + text
    if rng.random() < 0.1:
        text = rng.choice(_BEFORE) + text[:1].lower() + text[1:]
    if rng.random() < 0.08:
        text += rng.choice(_AFTER)
    if rng.random() < 0.35:
        text = text.rstrip("?.!")
    if rng.random() < 0.35:
        text = text.lower()
    if rng.random() < 0.3:
        for _ in range(rng.choice((1, 1, 2))):
            text = _slip(text, rng)
    return text


def _slip(text: str, rng: Random) -> str:
    """One swapped, lost, doubled or wrong letter in a word of four letters or more."""
    words = text.split(" ")
    long = [i for i, word in enumerate(words) if len(word) > 3 and word.isalpha() and word.islower()]
    if not long:
        return text
    index = rng.choice(long)
    word = words[index]
    at = rng.randrange(1, len(word) - 1)
    how = rng.randrange(4)
    if how == 0:
        word = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    elif how == 1:
        word = word[:at] + word[at + 1 :]
    elif how == 2:
        word = word[:at] + word[at] + word[at:]
    else:
        word = word[:at] + rng.choice("aeiourstln") + word[at + 1 :]
    words[index] = word
    return " ".join(words)
