"""Reranking: what puts one passage before another."""

from __future__ import annotations

from backends.rag.rerank import rerank
from backends.rag.store import Hit
from backends.rag.words import key


def hit(text: str, title: str = "", bm25: float = 1.0) -> Hit:
    return Hit("a.md", 0, title, text, "", bm25)


def order(hits: list[Hit], *terms: dict[str, float]) -> list[str]:
    return [ranked.hit.text for ranked in rerank(hits, terms)]


REFUND, ANNUAL, PLAN, CARD = ({key(word): 1.0} for word in ("refund", "annual", "plan", "card"))


def test_covering_more_of_the_query_comes_first() -> None:
    some = hit("refund refund refund")
    more = hit("a refund for an annual plan")
    assert order([some, more], REFUND, ANNUAL, PLAN) == [more.text, some.text]


def test_rare_words_count_for_more() -> None:
    common, rare = hit("about the plan"), hit("about vouchers")
    assert order([common, rare], {"plan": 0.5}, {key("voucher"): 2.0}) == [rare.text, common.text]


def test_a_match_in_the_heading_counts() -> None:
    inside, titled = hit("one refund is here"), hit("one refund is there", "Money > Refunds")
    assert order([inside, titled], REFUND) == [titled.text, inside.text]


def test_what_only_the_documents_title_has_counts_less() -> None:
    document, heading = hit("this", "Refunds > Window"), hit("that", "Window > Refunds")
    assert [(each.hit.text, each.coverage) for each in rerank([document, heading], [REFUND])] == [
        ("that", 1.0),
        ("this", 0.5),
    ]


def test_words_that_stand_together_count() -> None:
    apart = hit("refund " + "filler " * 30 + "card")
    together = hit("filler " * 30 + "refund to the card")
    assert order([apart, together], REFUND, CARD) == [together.text, apart.text]


def test_a_term_counts_once_by_the_best_of_its_words() -> None:
    term = {key("pause"): 1.0, key("freeze"): 0.6}
    typed, other, both = hit("a pause"), hit("a freeze"), hit("a pause, a freeze")
    assert [(each.hit.text, each.coverage) for each in rerank([other, typed, both], [term])] == [
        ("a pause", 1.0),
        ("a pause, a freeze", 1.0),
        ("a freeze", 0.6),
    ]


def test_bm25_decides_between_equals_and_then_the_given_order() -> None:
    low, high, also_low = hit("refund a", bm25=1), hit("refund b", bm25=2), hit("refund c", bm25=1)
    assert order([low, high, also_low], REFUND) == ["refund b", "refund a", "refund c"]


def test_what_covers_next_to_nothing_is_left_out() -> None:
    assert order([hit("the plan")], {"plan": 0.1}, {"xylophon": 2.0}) == []
    assert order([hit("the plan")]) == []
    assert order([], PLAN) == []


def test_coverage_is_a_share() -> None:
    (ranked,) = rerank([hit("refunds", "Plan")], [REFUND, PLAN, {"tax": 2.0}])
    assert ranked.coverage == 0.5
