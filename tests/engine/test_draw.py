"""A request's sampling: defaults, the GGUF's own recommendation, and what is refused."""

from __future__ import annotations

import pytest

from backends.backend import Sampling
from backends.engine.draw import Draw, model_defaults, resolve
from backends.errors import BackendError, Code


def test_what_a_request_leaves_open_comes_from_the_defaults() -> None:
    draw = resolve(Sampling(top_k=7, seed=3), Draw(temperature=0.3, top_p=0.5))
    assert draw == Draw(temperature=0.3, top_k=7, top_p=0.5, min_p=0.05, seed=3)
    assert not draw.greedy
    assert resolve(Sampling(temperature=0), Draw()).greedy


def test_without_a_seed_every_request_draws_its_own() -> None:
    seeds = {resolve(Sampling(), Draw()).seed for _ in range(8)}
    assert len(seeds) > 1


@pytest.mark.parametrize("seed", [-1, 2**32 - 1, 2**63, 0])
def test_any_seed_fits_llama_cpp_and_never_means_random(seed: int) -> None:
    assert 0 <= resolve(Sampling(seed=seed), Draw()).seed < 0xFFFFFFFF


def test_the_model_recommends() -> None:
    metadata = {"general.sampling.temp": "0.250000", "general.sampling.top_k": "20", "general.sampling.top_p": "0.9"}
    assert model_defaults(metadata) == Draw(temperature=0.25, top_k=20, top_p=0.9)


def test_a_recommendation_without_sense_is_ignored() -> None:
    assert model_defaults({"general.sampling.temp": "warm", "general.sampling.top_p": "7"}) == Draw()


@pytest.mark.parametrize(
    "bad",
    [
        Sampling(temperature=-0.1),
        Sampling(temperature=float("nan")),
        Sampling(temperature=float("inf")),
        Sampling(top_k=-1),
        Sampling(top_p=0.0),
        Sampling(top_p=1.5),
        Sampling(min_p=-0.5),
    ],
)
def test_bad_sampling_is_refused_by_name(bad: Sampling) -> None:
    with pytest.raises(BackendError) as caught:
        resolve(bad, Draw())
    assert caught.value.code == Code.BAD_REQUEST
    given = next(name for name in ("temperature", "top_k", "top_p", "min_p") if getattr(bad, name) is not None)
    assert given in caught.value.message
