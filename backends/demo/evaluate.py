"""Score the shipped model files: ``python -m backends.demo.evaluate [--json FILE]``; llama.cpp only.

Two sets: prompts of the generator with wordings and values that training never saw, judged by comparing strings; and
the hand-written questions on the sample documents, printed with their answers to read. Then how often the draft would
have chosen the target's token.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backends.demo import DOCUMENTS, DRAFT, MODEL
from backends.demo.corpus import NO_SOURCES, REFUSAL, Corpus
from backends.demo.handbook import HERE
from backends.demo.player import Player, drafted, quiet
from backends.demo.trees import Branch, Tree
from backends.events import Citation
from backends.providers.rag import sample_model
from backends.rag.assemble import assemble, user_turn
from backends.rag.index import Index
from backends.rag.options import Options
from backends.rag.prompt import SYSTEM
from backends.rag.query import build_query
from backends.rag.rerank import rerank
from backends.rag.retrieve import search

SEED = 424_242
_MARKER = re.compile(r"\[S(\d+)\]")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_VALUE = re.compile(
    r"\d+(?:\.\d+)?|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|once|cannot|not|no)\b|[A-Z]\w+"
)


@dataclass(frozen=True)
class Judgement:
    """What one answer got right; None where the question does not ask for it."""

    kind: str
    sources: int
    ended: bool
    exact: bool
    sentence: bool | None
    values: bool | None
    citation: bool | None
    refusal: bool | None
    refused: bool
    invented: bool
    loop: bool


def judge(branch: Branch, tree: Tree, answer: str, ended: bool) -> Judgement:
    """Compare `answer` with the one that `branch` wants."""
    shown = " ".join([*tree.sources(), branch.question, *(user for user, _ in tree.history)])
    known = set(_NUMBER.findall(shown)) | {str(i) for i in range(1, 10)}
    plain = _MARKER.sub("", answer)
    asked = bool(branch.sentences)
    wanted = [value for sentence in branch.sentences for value in _VALUE.findall(sentence)]
    lines = [line for line in re.split(r"(?<=[.\]])\s+", plain) if len(line) > 20]
    return Judgement(
        kind=branch.kind,
        sources=len(tree.passages),
        ended=ended,
        exact=answer == branch.answer,
        sentence=all(sentence in answer for sentence in branch.sentences) if asked else None,
        values=all(value in plain for value in wanted) if asked else None,
        citation={int(x) for x in _MARKER.findall(answer)} == set(branch.cites) if asked else None,
        refusal=answer == REFUSAL if branch.kind == "refusal" else None,
        refused=answer in (REFUSAL, NO_SOURCES) and branch.kind not in ("refusal", "no sources"),
        invented=any(number not in known for number in _NUMBER.findall(plain)),
        loop=not ended or any(lines.count(line) > 1 for line in lines),
    )


def share(values: Iterable[bool | None]) -> float | None:
    """The share of true ones among those that are not None."""
    counted = [value for value in values if value is not None]
    return round(sum(counted) / len(counted), 3) if counted else None


def generated(player: Player, prompts: int) -> tuple[list[Judgement], list[tuple[list[int], list[int]]], list[str]]:
    """Judge `prompts` held-out prompts; also return (prompt, answer) ids and, to read, what differs."""
    corpus = Corpus(SEED, held_out=True)
    judged: list[Judgement] = []
    played: list[tuple[list[int], list[int]]] = []
    wrong: list[str] = []
    while len(judged) < prompts:
        tree = corpus.tree(1)
        branch = tree.branches[0]
        prompt = player.prompt(tree.messages(branch))
        ids, ended = player.answer(prompt)
        answer = player.decode(ids)
        judged.append(judge(branch, tree, answer, ended))
        played.append((prompt, ids))
        if answer != branch.answer:
            wrong.append(f"[{branch.kind}] {branch.question}\n    wanted {branch.answer!r}\n    got    {answer!r}")
    return judged, played, wrong


def by_group(judged: list[Judgement]) -> dict[str, Any]:
    """Every score over all prompts, by kind of question, and citations by number of sources."""
    names = ("exact", "sentence", "values", "citation", "refusal", "refused", "invented", "loop", "ended")

    def scores(group: list[Judgement]) -> dict[str, Any]:
        found = {name: share(getattr(j, name) for j in group) for name in names}
        return {"count": len(group)} | {name: value for name, value in found.items() if value is not None}

    kinds: dict[str, list[Judgement]] = defaultdict(list)
    counts: dict[int, list[bool | None]] = defaultdict(list)
    for j in judged:
        kinds[j.kind].append(j)
        counts[j.sources].append(j.citation)
    return {
        "all": scores(judged),
        "kinds": {kind: scores(group) for kind, group in sorted(kinds.items())},
        "citation by number of sources": {n: share(values) for n, values in sorted(counts.items()) if n},
    }


def retrieved(player: Player, prompts: int, options: Options) -> dict[str, float | None]:
    """Held-out wordings, each for one fact of the sample documents, with the product's own retrieval in front."""
    index = Index([DOCUMENTS], model=sample_model())
    index.refresh()
    corpus = Corpus(SEED + 1, held_out=True)
    rows: list[tuple[bool, bool, bool, bool]] = []
    for _ in range(prompts):
        passage, branch = corpus.sample_question()
        found = retrieve(index, [branch.question], options)
        turn = {"role": "user", "content": user_turn(found, branch.question)}
        ids, _ = player.answer(player.prompt([{"role": "system", "content": SYSTEM}, turn]))
        answer = player.decode(ids)
        source = next((source.id for source in found if source.title == passage.title), None)
        fact = all(value in answer for sentence in branch.sentences for value in _VALUE.findall(sentence))
        rows.append((source is not None, fact, f"[{source}]" in answer, answer == REFUSAL))
    index.close()
    among = [row for row in rows if row[0]]
    return {
        "section retrieved": share(row[0] for row in rows),
        "fact": share(row[1] for row in rows),
        "fact where retrieved": share(row[1] for row in among),
        "citation where retrieved": share(row[2] for row in among),
        "refused where retrieved": share(row[3] for row in among),
        "refused where not": share(row[3] for row in rows if not row[0]),
    }


def retrieve(index: Index, questions: list[str], options: Options) -> tuple[Citation, ...]:
    """The sources that the product would put before the last of `questions`."""
    found = search(index, build_query(questions), options.candidates)
    hits = (ranked.hit for ranked in rerank(found.hits, found.terms))
    return assemble(hits, options.top_k, options.token_budget)


def hand_written(player: Player, path: Path, options: Options) -> list[dict[str, Any]]:
    """Ask the questions of `path` over the sample documents, each conversation with the model's own answers."""
    index = Index([DOCUMENTS], model=sample_model())
    index.refresh()
    results: list[dict[str, Any]] = []
    history: list[dict[str, str]] = []
    questions: list[str] = []
    for entry in json.loads(path.read_text("utf-8")):
        question: str = entry["question"]
        if not entry.get("follows"):
            history, questions = [], []
        questions.append(question)
        found = retrieve(index, questions, options)
        history.append({"role": "user", "content": user_turn(found, question)})
        ids, ended = player.answer(player.prompt([{"role": "system", "content": SYSTEM}, *history]))
        answer = player.decode(ids)
        history.append({"role": "assistant", "content": answer})
        section = entry["section"]
        ids_of = {source.title: source.id for source in found}
        results.append(
            entry
            | {
                "answer": answer,
                "sources": list(ids_of),
                "retrieved": section is None or section in ids_of,
                "fact": all(text in answer for text in entry["expect"]),
                "citation": None if section is None else f"[{ids_of.get(section)}]" in answer,
                "ended": ended,
            }
        )
    index.close()
    return results


def hand_written_scores(asked: list[dict[str, Any]]) -> dict[str, str]:
    """How many facts were right, by kind of question and in all, and how many citations and retrievals."""
    kinds = dict.fromkeys(e["kind"] for e in asked)
    return {
        kind: f"{sum(e['fact'] for e in asked if e['kind'] == kind)} of {sum(e['kind'] == kind for e in asked)}"
        for kind in kinds
    } | {
        "fact": f"{sum(e['fact'] for e in asked)} of {len(asked)}",
        "citation": f"{sum(bool(e['citation']) for e in asked)} of {sum(e['citation'] is not None for e in asked)}",
        "section retrieved": f"{sum(e['retrieved'] for e in asked)} of {len(asked)}",
    }


def to_read(number: int, entry: dict[str, Any]) -> str:
    """A hand-written question with its answer, and what is wrong with it."""
    marks = "fact" if entry["fact"] else "NO FACT"
    if entry["citation"] is False:
        marks += ", WRONG CITATION"
    if not entry["retrieved"]:
        marks += ", section not retrieved"
    return f"\n{number}. ({entry['kind']}) {entry['question']}\n   {entry['answer']}\n   -> {marks}"


def draft_agreement(played: list[tuple[list[int], list[int]]], path: Path) -> dict[str, float]:
    """How often the draft's best token is the target's, and what five drafted tokens a pass would give."""
    draft = Player(path)
    same = total = accepted = proposed = passes = 0
    for prompt, ids in played:
        answer = [*ids, draft.end]
        best = draft.logits([*prompt, *ids], len(prompt) - 1).argmax(-1)
        agree = [bool(a == b) for a, b in zip(best, answer, strict=True)]
        same, total = same + sum(agree), total + len(agree)
        a, p, n = drafted(agree)
        accepted, proposed, passes = accepted + a, proposed + p, passes + n
    draft.close()
    return {
        "agreement": round(same / total, 3),
        "accepted of 5 drafted": round(accepted / proposed, 3),
        "tokens per target pass": round(total / passes, 2),
    }


def speed(player: Player, played: list[tuple[list[int], list[int]]]) -> dict[str, float]:
    """Tokens per second of one stream, one `llama_decode` a token from Python: a floor, not the engine's speed."""
    prompt = max((prompt for prompt, _ in played), key=len)
    player.forget()
    began = time.perf_counter()
    player.feed(prompt, 0)
    prefill = time.perf_counter() - began
    began = time.perf_counter()
    for i in range(200):
        player.feed(prompt[-1:], len(prompt) + i)
    decode = time.perf_counter() - began
    return {"prefill tok/s": round(len(prompt) / prefill), "decode tok/s": round(200 / decode)}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--draft", type=Path, default=DRAFT)
    parser.add_argument("--questions", type=Path, default=HERE / "questions.json", help="the hand-written questions")
    parser.add_argument("--retrieved", type=int, default=200, help="questions on the sample documents by retrieval")
    parser.add_argument("--top-k", type=int, default=Options().top_k, help="sources that retrieval puts before them")
    parser.add_argument("--json", type=Path, help="write the scores and the answers to this file")
    parser.add_argument("--wrong", type=int, default=12, help="print this many answers that differ from the wanted one")
    args = parser.parse_args()
    quiet()
    player = Player(args.model)
    judged, played, wrong = generated(player, args.prompts)
    report: dict[str, Any] = {"generated": by_group(judged), "judgements": [asdict(j) for j in judged]}
    print(json.dumps(report["generated"], indent=1))
    print("\n".join(wrong[: args.wrong]))
    options = Options(top_k=args.top_k)
    if args.retrieved:
        report["retrieved"] = retrieved(player, args.retrieved, options)
    asked = hand_written(player, args.questions, options)
    report["hand-written"] = asked
    print("\n".join(to_read(number, entry) for number, entry in enumerate(asked, 1)))
    report["hand-written scores"] = hand_written_scores(asked)
    if args.draft.exists():
        report["draft"] = draft_agreement(played, args.draft)
    report["speed"] = speed(player, played)
    player.close()
    for key in ("retrieved", "hand-written scores", "draft", "speed"):
        print(key, report.get(key))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
