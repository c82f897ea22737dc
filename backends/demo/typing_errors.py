"""How people type: in other words and another kind of sentence, with a story before it, politeness, lower case, missing
words and punctuation, swapped and lost letters."""

from __future__ import annotations

from random import Random

from backends.demo.rephrasing import exchanged, keywords, recast

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
    "Good morning, ",
    "Dear team, ",
    "Just wondering, ",
    "Maybe you know: ",
    "Can somebody help? ",
    "hmm, ",
    "Out of curiosity: ",
    "Short one: ",
)
_AFTER = (
    " Thanks!",
    " Thank you.",
    " please",
    " Please help.",
    " Thanks",
    " ??",
    " Thx",
    " Any idea?",
    " Thank you in advance.",
    " asap",
    " Cheers",
)


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
    "I just joined the company.",
    "I am not good with computers.",
    "We are moving to another office.",
    "I am in a hurry.",
    "It was not my idea.",
    "I take care of the money here.",
    "I am comparing a few tools.",
    "Long time user here.",
    "We only use this for one project.",
    "I read your page twice.",
    "Our budget is tight.",
    "My manager is asking.",
    "I am on holiday soon.",
    "I am writing a report.",
)
_SOUNDS = {
    said: tuple(others.split())
    for said, others in (
        ("does", "dose doe dos duz"),
        ("do", "doo od"),
        ("where", "were wher whre"),
        ("which", "wich whitch wihch"),
        ("what", "wat waht wot"),
        ("when", "wen wehn"),
        ("how", "hwo hou"),
        ("who", "hoo woh"),
        ("why", "wy"),
        ("my", "mi ym"),
        ("the", "teh th hte"),
        ("and", "adn an nad"),
        ("for", "fro four fo"),
        ("from", "form fron"),
        ("with", "wiht wit whit"),
        ("to", "too ot"),
        ("is", "iz si"),
        ("are", "r ar aer"),
        ("you", "u yuo yo"),
        ("your", "ur yuor you're"),
        ("much", "mutch muhc"),
        ("many", "meny mani"),
        ("long", "logn lng"),
        ("can", "cann cna"),
        ("could", "coud cuold"),
        ("have", "hav haev"),
        ("there", "their ther"),
        ("their", "there thier"),
        ("plan", "paln plann"),
        ("price", "prise prcie"),
        ("month", "mounth moth mnth"),
        ("monthly", "montly mothly"),
        ("annual", "anual annaul"),
        ("yearly", "yerly yealry"),
        ("invoice", "invoce invioce invoise"),
        ("invoices", "invoces invioces invoises"),
        ("receive", "recieve receve"),
        ("address", "adress adres"),
        ("refund", "refnd refudn re-fund"),
        ("refunds", "refnds refudns"),
        ("account", "acount acccount"),
        ("accounting", "acounting"),
        ("cancel", "cancle cansel"),
        ("cancelling", "canceling cancling"),
        ("subscription", "subscribtion subsciption subscripton"),
        ("payment", "paymnet payement"),
        ("transfer", "transfr tranfer"),
        ("card", "crad cadr"),
        ("discount", "discout diskount"),
        ("discounts", "discouts"),
        ("download", "downlod donwload"),
        ("storage", "storge stroage"),
        ("projects", "projets porjects"),
        ("charged", "chraged chargd"),
        ("charge", "chrage"),
        ("billed", "bileld bild"),
        ("bill", "bil"),
        ("change", "chnage chage"),
        ("trial", "trail tryal"),
        ("coupon", "cupon coupn"),
        ("guests", "gests geusts"),
        ("guest", "gest geust"),
        ("seat", "seet saet"),
        ("seats", "seets saets"),
        ("upgrade", "upgarde upgade"),
        ("downgrade", "downgarde dowgrade"),
        ("possible", "posible possibel"),
        ("until", "untill"),
        ("twice", "twise tiwce"),
        ("email", "emial e-mial"),
        ("number", "numbr nubmer"),
        ("company", "compny comapny"),
        ("money", "mony moeny"),
        ("customer", "custmer costumer"),
        ("owner", "oner onwer"),
        ("tax", "taxe tacks"),
        ("pause", "paus pase puase"),
        ("paused", "pausd puased"),
        ("expire", "expier exprie"),
        ("it", "ti"),
        ("enter", "entre etner"),
        ("people", "poeple peple"),
    )
}
_SMALL = frozenset(("a", "an", "the", "my", "our", "do", "does", "is", "are", "to", "of", "for", "can", "will"))


def _hurried(text: str, rng: Random) -> str:
    """`text` with some small words lost."""
    words = text.split(" ")
    return " ".join(w for i, w in enumerate(words) if not (i and w in _SMALL and rng.random() < 0.15))


def careless(text: str, rng: Random) -> str:
    """`text` as a person in a hurry may type it; one time in three it stays as it is."""
    if rng.random() < 0.35:
        return text
    if rng.random() < 0.3:
        text = recast(text, rng)
    if rng.random() < 0.5:
        text = exchanged(text, rng)
    if rng.random() < 0.15:
        text = _hurried(text, rng)
    elif rng.random() < 0.05:
        text = keywords(text, rng)
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
    chance = rng.random()
    if chance < 0.08:
        text = _sounded(text, rng)
    if chance < 0.3:
        for _ in range(rng.choice((1, 1, 2, 4) if chance < 0.15 else (1, 1, 2))):
            text = _slip(text, rng)
    return text


def _sounded(text: str, rng: Random) -> str:
    """`text` with some words as they sound, or mistaken for another that is really a word."""
    words = text.split(" ")
    return " ".join(rng.choice(_SOUNDS[w]) if w in _SOUNDS and rng.random() < 0.6 else w for w in words)


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
