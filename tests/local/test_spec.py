"""What makes two clients want the same child, and the options it comes from."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from backends import config, demo, providers
from backends.backend import Backend
from backends.engine.options import EngineOptions
from backends.errors import BackendError, Code, ConfigError
from backends.local.spec import Spec, key
from backends.providers import Site
from backends.providers.local import Local, LocalOptions, Options, connect, spec_of


def no_other(name: str) -> Backend:
    raise AssertionError(name)


def options(**keys: object) -> LocalOptions:
    return msgspec.convert(keys, Options)


def test_the_key_is_the_same_for_the_same(model: Path) -> None:
    one, two = (Spec(EngineOptions(model=str(model), n_ctx=512), "/documents") for _ in range(2))
    assert key(one) == key(two)
    assert len(key(one)) == 16


def test_every_setting_is_in_the_key(model: Path) -> None:
    spec = Spec(EngineOptions(model=str(model)))
    others = [
        msgspec.structs.replace(spec, engine=msgspec.structs.replace(spec.engine, n_ctx=512)),
        msgspec.structs.replace(spec, documents="/documents"),
        msgspec.structs.replace(spec, top_k=4),
        msgspec.structs.replace(spec, token_budget=99),
    ]
    assert len({key(each) for each in [spec, *others]}) == 5


def test_a_replaced_model_is_another(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(model.read_bytes())
    spec = Spec(EngineOptions(model=str(copy)))
    before = key(spec)
    os.utime(copy, (1, 1))
    touched = key(spec)
    copy.write_bytes(model.read_bytes() + b"\0")
    os.utime(copy, (1, 1))
    assert len({before, touched, key(spec)}) == 3


def test_a_missing_model_has_no_key(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="absent") as caught:
        key(Spec(EngineOptions(model=str(tmp_path / "absent"))))
    assert caught.value.code == Code.MODEL_LOAD


def test_the_built_in_backend_is_the_demo_model_with_the_sample_documents() -> None:
    backend = providers.open_backend(config.parse(""))
    assert isinstance(backend, Local)
    assert backend.spec.engine == EngineOptions(model=str(demo.MODEL), draft_model=str(demo.DRAFT))
    assert backend.spec.documents == str(demo.DOCUMENTS)


@pytest.mark.parametrize("name", ["", "demo"])
def test_names_of_the_demo(name: str) -> None:
    spec = spec_of(options(model=name), Site("x", no_other))
    assert spec.engine.model == str(demo.MODEL)
    assert spec.documents == ""


def test_paths_are_relative_to_the_configuration(tmp_path: Path) -> None:
    spec = spec_of(options(model="m.gguf", documents="docs"), Site("x", no_other, tmp_path))
    assert spec.engine.model == str(tmp_path / "m.gguf")
    assert spec.documents == str(tmp_path / "docs")


def test_every_engine_setting_can_be_given(tmp_path: Path) -> None:
    given = {"n_ctx": 512, "max_streams": 2, "n_gpu_layers": 0, "kv_type": "q8_0", "flash_attention": "on"}
    spec = spec_of(options(model="m.gguf", **given), Site("x", no_other, tmp_path))
    assert spec.engine == EngineOptions(model=str(tmp_path / "m.gguf"), **given)
    assert {*EngineOptions.__struct_fields__} <= {*Options.__struct_fields__}


@pytest.mark.parametrize(
    ("given", "budget"), [({"n_ctx": 1200}, 400), ({}, 3000), ({"n_ctx": 1200, "token_budget": 900}, 900)]
)
def test_sources_leave_room_in_the_context(given: dict[str, int], budget: int) -> None:
    assert spec_of(options(model="m.gguf", **given), Site("x", no_other)).token_budget == budget


def test_a_wrong_key_is_refused_with_its_line() -> None:
    text = '[backends.mine]\ntype = "local"\nn_ctxx = 4096\n'
    with pytest.raises(ConfigError, match="line 3: unknown key 'n_ctxx'; did you mean 'n_ctx'"):
        providers.check(config.parse(text))


def test_a_wrong_value_is_refused_with_its_line() -> None:
    text = '[backends.mine]\ntype = "local"\nmodel = "x.gguf"\nmax_streams = 0\n'
    with pytest.raises(ConfigError, match=r"line 4: .*max_streams"):
        providers.check(config.parse(text))


def test_connecting_starts_nothing(tmp_path: Path) -> None:
    backend = connect(options(model=str(tmp_path / "absent.gguf")), Site("x", no_other))
    assert isinstance(backend, Local)
