"""The generator: the same seed gives the same text, and what it calls an answer can be found in its sources."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from backends.demo import DOCUMENTS
from backends.demo.corpus import LONGEST, REFUSAL, Corpus
from backends.demo.documents import file_name, render
from backends.demo.evaluate import judge
from backends.demo.handbook import HERE, World, choose, handbook, has_held_out, wordings
from backends.demo.player import drafted
from backends.demo.trees import Tree, choices
from backends.rag.prompt import SYSTEM


def trees(seed: int, count: int = 300, *, held_out: bool = False) -> list[Tree]:
    corpus = Corpus(seed, held_out=held_out)
    return [corpus.tree(4) for _ in range(count)]


def test_a_seed_gives_one_text() -> None:
    assert trees(3) == trees(3)
    assert trees(3) != trees(4)


def test_the_text_of_a_seed_does_not_depend_on_the_process() -> None:
    """Another hash seed would show an unordered set in the generator."""
    program = (
        "import hashlib; from backends.demo.corpus import Corpus; corpus = Corpus(5);"
        "print(hashlib.sha256(repr([corpus.tree(4) for _ in range(60)]).encode()).hexdigest())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(HERE.parents[1])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]


@pytest.mark.parametrize("held_out", [False, True])
def test_answers_stand_in_the_sources_they_cite(held_out: bool) -> None:
    for tree in trees(7, held_out=held_out):
        for branch in tree.branches:
            for sentence in branch.sentences:
                assert sentence in branch.answer
                assert any(sentence in tree.passages[i - 1].text for i in branch.cites)
            if branch.kind == "refusal":
                assert branch.answer == REFUSAL


def test_every_wording_is_trained_or_held_out() -> None:
    from random import Random

    pattern = "{How long|For how long} can I {pause|freeze|suspend} {my|an} {annual|yearly} {plan|subscription}?"
    trained = {choose(pattern, Random(i)) for i in range(2000)}
    held = {choose(pattern, Random(i), held_out=True) for i in range(2000)}
    assert held
    assert not trained & held
    assert trained | held == set(wordings(pattern))


def test_an_evaluation_asks_only_with_unseen_wordings() -> None:
    patterns = [
        "{Price|Cost} of <P>",
        "{How long|For how long} can I {pause|freeze|suspend} {my|an} {annual|yearly} plan?",
    ]
    assert [has_held_out(pattern) for pattern in patterns] == [False, True]
    for document in handbook():
        for section in document.sections:
            assert all(any(map(has_held_out, fact.questions)) for fact in section.facts if fact.questions)


def test_the_hand_written_questions_are_not_trained_on() -> None:
    asked = {entry["question"].lower() for entry in json.loads((HERE / "questions.json").read_text("utf-8"))}
    assert len(asked) == 40
    said = {branch.question.lower() for tree in trees(21, 5000) for branch in tree.branches}
    assert not asked & said


def test_answers_in_detail_begin_with_what_was_asked_and_repeat_nothing() -> None:
    lists = [branch for tree in trees(13, 400) for branch in tree.branches if branch.kind == "long"]
    assert {len(branch.cites) for branch in lists} == set(range(1, LONGEST + 1))
    for branch in lists:
        items = [line.partition(". ")[2] for line in branch.answer.splitlines() if line[:1].isdigit()]
        assert len(items) == len(set(items)) == len(branch.sentences)
        assert list(branch.cites[1:]) == sorted(set(branch.cites) - {branch.cites[0]})


def test_every_section_tempts_with_questions_that_it_does_not_answer() -> None:
    headings = [line[3:] for line in (HERE / "tempting.txt").read_text("utf-8").splitlines() if line[:3] == "## "]
    assert sorted(headings) == sorted(section.key for document in handbook() for section in document.sections)
    section = next(s for document in handbook() for s in document.sections if s.key == "Bank transfer")
    corpus = Corpus(17)
    passages = [corpus.passage(section, World.sample())]
    refused = [corpus.refusal_branch(passages, World.sample(), section) for _ in range(200)]
    assert {branch.answer for branch in refused} == {REFUSAL}
    assert any(code in branch.question for branch in refused for code in ("IBAN", "BIC", "sort code"))


def test_two_facts_in_one_question_are_often_of_one_plan() -> None:
    corpus = Corpus(4)
    plans = [section for document in handbook()[:1] for section in document.sections if section.facts[0].plan == 0]
    world = World.sample()
    passages = [corpus.passage(section, world, drop=0.0) for section in plans]
    pairs = [corpus.two_branch(passages, world) for _ in range(200)]
    same = [pair for pair in pairs if sum(pair.answer.count(plan) == 2 for plan in world.plans) == 1]
    assert len(same) > 50
    assert any(" it" in pair.question for pair in same)


def test_choices_are_where_sentences_begin_and_where_they_part() -> None:
    said = ("Solo costs 9 euros.", "Solo costs 12 euros.", "Crew costs 9 euros.")
    begins, forks = choices("Yes. Solo costs 9 euros. [S1] Crew costs 9 euros. [S1]", said)
    assert begins == {5, 30}
    assert forks == {5 + len("Solo costs ")}


def test_documents_are_the_handbook() -> None:
    written = {path.name: path.read_text("utf-8") for path in DOCUMENTS.glob("*.md")}
    assert written == {file_name(document): render(document) for document in handbook()}


def test_messages_end_with_the_question() -> None:
    for tree in trees(9, 50):
        for branch in tree.branches:
            messages = tree.messages(branch)
            assert messages[-1]["role"] == "user"
            assert messages[-1]["content"].endswith(branch.question)
            if tree.system:
                assert messages[0] == {"role": "system", "content": tree.system}
    assert any(tree.system == SYSTEM for tree in trees(9, 50))


def test_invented_values_have_parts_of_their_own() -> None:
    corpus = Corpus(2)
    text = " ".join(passage.text for _ in range(60) for passage in corpus.register_tree(1).passages)
    owners = re.findall(r"supplier(?: is|:|, \w+ has)? ([A-Z][a-z]+) ([A-Z][a-z]+)", text)
    assert owners
    assert any(first != second for first, second in owners)


def test_judging() -> None:
    corpus = Corpus(1)
    tree = corpus.handbook_tree(12, count=3, history=False)
    branch = next(branch for branch in tree.branches if branch.kind == "fact")
    right = judge(branch, tree, branch.answer, True)
    assert right.exact
    assert right.sentence
    assert right.citation
    assert not right.loop
    other = f"[S{branch.cites[0] % 3 + 1}]"
    wrong = judge(branch, tree, branch.answer.replace(f"[S{branch.cites[0]}]", other) + " 98765", True)
    assert not wrong.citation
    assert wrong.invented


def test_drafting_is_counted_by_passes() -> None:
    assert drafted([True] * 12, 5) == (10, 10, 2)
    assert drafted([False, False], 5) == (0, 10, 2)
    assert drafted([True, True, False, True], 5) == (3, 10, 2)
