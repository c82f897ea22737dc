"""Training text, generated: contexts of retrieved passages with questions on them and the answers to give.

Every text is laid out by `backends.rag.prompt`, as the product lays it out, and everything follows from one seed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from backends.demo.handbook import Fact, Section, World, choose, fill, handbook, has_held_out
from backends.demo.patterns import (
    DETAIL_SUFFIX,
    DETAILS,
    OTHER_SYSTEMS,
    STEP_SUFFIX,
    STEPS,
    absent,
    alike,
    section_of,
    sections,
    small_talk,
    tempting,
)
from backends.demo.register import register
from backends.demo.trees import Branch, Passage, Tree, joined, listing
from backends.demo.typing_errors import careless
from backends.rag.prompt import SYSTEM, render_source, render_user_turn

REFUSAL = "The sources do not say."
NO_SOURCES = "I have no sources to answer that from."
LEAD_YES = "Yes. "
SAMPLE_SHARE = 0.25
LONGEST = 3
"""Passages of an answer in detail: the one that was asked about first, then others in the order of the sources."""
FIRST_SHARE = 3.0
"""How much likelier the answer stands in the first source than in any other: retrieval puts the best one first."""
_NAMED_PLAN = re.compile(r"(?:[Tt]he |[Aa] )?<P>(?: plan| tier| subscription| limits)?")


def sample_passage(section: Section) -> Passage:
    """`section` as the sample documents state it."""
    world = World.sample()
    facts = tuple((fact, fill(choose(fact.statements[0], None), world, None, fact.plan)) for fact in section.facts)
    title, heading = section.document.titles[0], section.headings[0]
    return Passage(section.key, title, heading, f"{title} > {heading}", tuple((f, _capital(s)) for f, s in facts))


def _of_plans(section: Section) -> bool:
    """Whether `section` states something of each plan."""
    return any(fact.plan is not None for fact in section.facts)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


class Corpus:
    """Draws trees. `held_out` draws the question wordings that training never sees; `sample_share` of the handbook
    text is on the sample documents themselves, values and all."""

    def __init__(self, seed: int | str, *, held_out: bool = False, sample_share: float = SAMPLE_SHARE) -> None:
        self.rng = Random(seed)
        self.held_out = held_out
        self.sample_share = sample_share

    def _choose(self, pattern: str) -> str:
        return choose(pattern, self.rng, held_out=self.held_out)

    def _open(self, patterns: Sequence[str]) -> Sequence[str]:
        """Those of `patterns` that may be asked with: in an evaluation, the ones that have unseen wordings, if any."""
        return [p for p in patterns if has_held_out(p)] or patterns if self.held_out else patterns

    # --- passages -------------------------------------------------------------------------------------------------

    def passage(self, section: Section, world: World, *, drop: float = 0.2) -> Passage:
        """`section` with drawn statements and values; each fact is left out with probability `drop`.

        Titles are in the style of `world`, at times with nothing but the heading.
        """
        rng = self.rng
        facts = [fact for fact in section.facts if rng.random() >= drop]
        if not any(fact.questions for fact in facts):
            facts.append(rng.choice([fact for fact in section.facts if fact.questions]))
        if rng.random() < 0.3:
            rng.shuffle(facts)
        stated = []
        for fact in facts:
            pattern = fact.statements[0] if rng.random() < 0.5 else rng.choice(fact.statements)
            stated.append((fact, _capital(fill(choose(pattern, rng), world, rng, fact.plan))))
        titles, headings = section.document.titles, section.headings
        title, heading = titles[world.style % len(titles)], headings[world.style % len(headings)]
        full = f"{title} > {heading}" if world.titled else heading
        return Passage(section.key, title, heading, full, tuple(stated))

    def context(self, count: int, target: Section) -> tuple[list[Passage], World]:
        """`count` passages of one company, `target` among them, the others mostly much like it, as retrieval finds."""
        rng = self.rng
        related = [s for s in target.document.sections if s is not target]
        chosen = [target]
        if count > 1 and _of_plans(target) and rng.random() < 0.5:
            chosen.append(rng.choice([s for s in related if _of_plans(s)]))
        while len(chosen) < count:
            chance = rng.random()
            pool = alike()[target.key] if chance < 0.45 else related if chance < 0.8 and related else sections()
            section = rng.choice(pool)
            if section not in chosen:
                chosen.append(section)
        rng.shuffle(chosen)
        if rng.random() < self.sample_share:
            return [sample_passage(section) for section in chosen], World.sample()
        world = World.draw(rng)
        return [self.passage(section, world) for section in chosen], world

    # --- branches -------------------------------------------------------------------------------------------------

    def _asked(self, text: str, world: World, plan: int | None) -> str:
        return careless(fill(text, world, self.rng, plan), self.rng)

    def fact_branch(self, passages: Sequence[Passage], world: World, index: int | None = None) -> Branch:
        """A question for one stated fact."""
        rng = self.rng
        if index is None:
            places = [i for i, passage in enumerate(passages) if passage.askable]
            index = rng.choices(places, [FIRST_SHARE if i == 0 else 1.0 for i in places])[0]
        fact, sentence = rng.choice(passages[index].askable)
        return self._answer(fact, sentence, index, world)

    def _answer(self, fact: Fact, sentence: str, index: int, world: World) -> Branch:
        yes = bool(fact.yes_questions) and self.rng.random() < 0.5
        pattern = self.rng.choice(self._open(fact.yes_questions if yes else fact.questions))
        question = self._asked(self._choose(pattern), world, fact.plan)
        answer = f"{LEAD_YES if yes else ''}{sentence} [S{index + 1}]"
        return Branch("fact", question, answer, (sentence,), (index + 1,))

    def sample_question(self) -> tuple[Passage, Branch]:
        """A question for one fact of the sample documents, and the passage that states it."""
        passage = sample_passage(self.rng.choice([s for s in sections() if any(f.questions for f in s.facts)]))
        return passage, self.fact_branch([passage], World.sample(), 0)

    def follow_up_branch(
        self, passages: Sequence[Passage], world: World, last: Passage, before: Fact | None = None
    ) -> Branch | None:
        """An elliptical question after a turn about `last`: on another fact of it or, in words that can tell, on
        another section of its document; None where no fact has one. What was said of one plan (`before`) is mostly
        asked of another one next."""
        asked = [
            (i, fact, sentence, pattern)
            for i, passage in enumerate(passages)
            for fact, sentence in passage.facts
            for pattern in self._open(_after(fact, passage, last))
        ]
        if not asked:
            return None
        if before is not None and before.plan is not None and self.rng.random() < 0.5:
            of_others = [entry for entry in asked if entry[1].plan not in (None, before.plan)]
            asked = [entry for entry in of_others if entry[1].key[:-1] == before.key[:-1]] or asked
        index, fact, sentence, pattern = self.rng.choice(asked)
        question = self._asked(self._choose(pattern), world, fact.plan)
        return Branch("follow-up", question, f"{sentence} [S{index + 1}]", (sentence,), (index + 1,))

    def two_branch(self, passages: Sequence[Passage], world: World) -> Branch:
        """Two questions in one, the second at times only intelligible after the first; the answer has both sentences,
        each with its source."""
        rng = self.rng
        first = self.fact_branch(passages, world)
        index = first.cites[0] - 1
        chance = rng.random()
        second = self._of_the_same_plan(passages, world, first)
        if second is None and chance < 0.35:
            second = self.follow_up_branch(passages, world, passages[index])
        elif second is None and chance < 0.6:
            second = self.fact_branch(passages, world, index)
        second = second or self.fact_branch(passages, world)
        if first.sentences == second.sentences:
            return first
        answer = f"{first.answer} {second.answer.removeprefix(LEAD_YES)}"
        question = joined(first.question, second.question, rng)
        return Branch("two", question, answer, first.sentences + second.sentences, first.cites + second.cites)

    def _of_the_same_plan(self, passages: Sequence[Passage], world: World, first: Branch) -> Branch | None:
        """Mostly, where `first` asked about one plan: a question for something else about it, which says "it"."""
        rng = self.rng
        stated = [(i, fact, said) for i, passage in enumerate(passages) for fact, said in passage.askable]
        asked = next((fact for _, fact, said in stated if said == first.sentences[0]), None)
        if asked is None or asked.plan is None or rng.random() < 0.25:
            return None
        others = [entry for entry in stated if entry[1].plan == asked.plan and entry[1] is not asked]
        if not others:
            return None
        index, fact, sentence = rng.choice(others)
        pattern = self._choose(rng.choice(self._open(fact.questions + fact.later)))
        if rng.random() < 0.75 and not pattern.startswith("<P>"):
            pattern = _NAMED_PLAN.sub(rng.choice(("it", "it", "that", "that plan")), pattern)
        question = self._asked(pattern, world, fact.plan)
        return Branch("fact", question, f"{sentence} [S{index + 1}]", (sentence,), (index + 1,))

    def long_branch(self, passages: Sequence[Passage], world: World) -> Branch:
        """Steps: the facts of one passage as a list. Details: those of up to two more passages after it."""
        rng = self.rng
        index = rng.choices(range(len(passages)), [FIRST_SHARE, *[1.0] * (len(passages) - 1)])[0]
        target = passages[index]
        shown = [index]
        topic = rng.choice(section_of(target.section).topics)
        if rng.random() < 0.5:
            if rng.random() < 0.3:
                question = self.fact_branch(passages, world, index).question + " " + self._choose(STEP_SUFFIX)
            else:
                question = self._topic(STEPS, topic)
        else:
            if rng.random() < 0.3:
                question = self.fact_branch(passages, world, index).question + " " + self._choose(DETAIL_SUFFIX)
            else:
                question = self._topic(DETAILS, topic)
            shown += [i for i in range(len(passages)) if i != index][: LONGEST - 1]
        answer = "\n\n".join(listing(passages[i], i + 1) for i in shown)
        sentences = tuple(sentence for i in shown for _, sentence in passages[i].facts)
        return Branch("long", question, answer, sentences, tuple(i + 1 for i in shown))

    def _topic(self, patterns: Sequence[str], topic: str) -> str:
        return careless(_capital(self._choose(self.rng.choice(patterns).replace("{T}", topic))), self.rng)

    def refusal_branch(self, passages: Sequence[Passage], world: World, target: Section) -> Branch:
        """A question that `passages` do not answer: about a fact they leave out, or about something else entirely."""
        rng = self.rng
        chance = rng.random()
        if chance < 0.27:
            return Branch("refusal", careless(self._choose(rng.choice(self._open(absent()))), rng), REFUSAL)
        if chance < 0.55:
            near = rng.choice([p.section for p in passages] or [target.key])
            question = self._asked(self._choose(rng.choice(self._open(tempting()[near]))), world, rng.randrange(3))
            return Branch("refusal", question, REFUSAL)
        if chance < 0.61:
            here = {passage.section for passage in passages}
            away = [s for d in handbook() if here.isdisjoint(s.key for s in d.sections) for s in d.sections]
            question = self._topic(rng.choice((STEPS, DETAILS)), rng.choice(rng.choice(away).topics))
            return Branch("refusal", question, REFUSAL)
        stated = {fact.key for passage in passages for fact, _ in passage.facts}
        beside = [f for s in target.document.sections for f in s.facts if f.questions and f.key not in stated]
        far = [f for s in sections() for f in s.facts if f.questions and f.key not in stated]
        fact = rng.choice(beside if beside and rng.random() < 0.6 else far)
        question = self._asked(
            self._choose(rng.choice(self._open(fact.questions + fact.yes_questions))), world, fact.plan
        )
        return Branch("refusal", question, REFUSAL)

    def small_talk_branch(self) -> Branch:
        patterns, answer = self.rng.choice(small_talk())
        return Branch("small talk", careless(self._choose(self.rng.choice(patterns)), self.rng), answer)

    # --- trees ----------------------------------------------------------------------------------------------------

    def _system(self) -> str | None:
        """Mostly the product's own; at times a person's own before it, or alone, or none."""
        chance = self.rng.random()
        if chance < 0.75:
            return SYSTEM
        own = self.rng.choice(OTHER_SYSTEMS)
        return f"{own}\n\n{SYSTEM}" if chance < 0.85 else None if chance < 0.93 else own

    def handbook_tree(self, branches: int, count: int | None = None, *, history: bool | None = None) -> Tree:
        """`count` passages (1-5, mostly 3) of one company, and `branches` questions of every kind."""
        rng = self.rng
        target = rng.choice(sections())
        passages, world = self.context(count or rng.choice((1, 2, 3, 3, 3, 3, 4, 4, 5)), target)
        tree = Tree(self._system(), passages=passages)
        last: tuple[Passage, Fact] | None = None
        if history if history is not None else rng.random() < 0.28:
            last = self._add_history(tree, target, world)
        for _ in range(branches):
            chance = rng.random()
            branch = self.follow_up_branch(passages, world, *last) if last and chance < 0.5 else None
            if branch is None:
                chance = rng.random()
                if chance < 0.45:
                    branch = self.fact_branch(passages, world)
                elif chance < 0.59:
                    branch = self.two_branch(passages, world)
                elif chance < 0.76:
                    branch = self.long_branch(passages, world)
                elif chance < 0.96:
                    branch = self.refusal_branch(passages, world, target)
                else:
                    branch = self.small_talk_branch()
            tree.branches.append(branch)
        return tree

    def _add_history(self, tree: Tree, target: Section, world: World) -> tuple[Passage, Fact] | None:
        """Put one or two earlier turns before the newest; return what passage and fact the last was about."""
        rng = self.rng
        last: tuple[Passage, Fact] | None = None
        for _ in range(1 if rng.random() < 0.75 else 2):
            if rng.random() < 0.15:
                branch = self.small_talk_branch()
                tree.history.append((branch.question, branch.answer))
                continue
            section = target if rng.random() < 0.8 else rng.choice(sections())
            same = next((p for p in tree.passages if p.section == section.key), None)
            earlier = [same or self.passage(section, world)]
            others = [s for s in target.document.sections if s is not section]
            for extra in rng.sample(others, min(len(others), rng.choice((0, 0, 1, 1, 2)))):
                kept = next((p for p in tree.passages if p.section == extra.key), None)
                earlier.append(kept or self.passage(extra, world))
            rng.shuffle(earlier)
            index = next(i for i, p in enumerate(earlier) if p.section == section.key)
            branch = self.fact_branch(earlier, world, index)
            sources = [render_source(f"S{i}", p.title, p.text) for i, p in enumerate(earlier, 1)]
            tree.history.append((render_user_turn(sources, branch.question), branch.answer))
            last = earlier[index], next(f for f, said in earlier[index].facts if said == branch.sentences[0])
        return last

    def plain_tree(self, branches: int) -> Tree:
        """No sources in the newest turn: small talk, and questions for which nothing was retrieved."""
        rng = self.rng
        tree = Tree(self._system())
        world = World.draw(rng)
        target = rng.choice(sections())
        if rng.random() < 0.4:
            self._add_history(tree, target, world)
        sources_expected = bool(tree.history) or (tree.system or "").endswith(SYSTEM)
        for _ in range(branches):
            if rng.random() < 0.55:
                tree.branches.append(self.small_talk_branch())
            elif sources_expected:
                tree.branches.append(replace(self.refusal_branch([], world, target), kind="no sources"))
            else:
                tree.branches.append(
                    replace(self.refusal_branch([], world, target), kind="no sources", answer=NO_SOURCES)
                )
        return tree

    def register_tree(self, branches: int) -> Tree:
        """Invented things with invented attributes: nothing to know, everything to find and to copy."""
        passages, missing = register(self.rng)
        tree = Tree(self._system(), passages=[Passage(*passage) for passage in passages])
        world = World.draw(self.rng)
        for _ in range(branches):
            if self.rng.random() < 0.15:
                question = self._asked(self._choose(self.rng.choice(missing)), world, None)
                tree.branches.append(Branch("refusal", question, REFUSAL))
            else:
                tree.branches.append(replace(self.fact_branch(tree.passages, world), kind="register"))
        return tree

    def tree(self, branches: int) -> Tree:
        """Any kind of tree, in the proportions of the training text."""
        chance = self.rng.random()
        if chance < 0.76:
            return self.handbook_tree(branches)
        return self.register_tree(branches) if chance < 0.96 else self.plain_tree(branches)


def _after(fact: Fact, passage: Passage, last: Passage) -> tuple[str, ...]:
    """The patterns that ask for `fact` of `passage` after a turn about `last`."""
    if passage.section == last.section:
        return fact.follow_ups
    return fact.later if passage.document == last.document else ()
