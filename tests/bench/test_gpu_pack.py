"""What is carried to a GPU machine: the sources that are left after what it does not need."""

from __future__ import annotations

from pathlib import Path

from tests.bench.gpu.pack import KEPT, strip


def test_what_is_not_built_there_is_not_carried(tmp_path: Path) -> None:
    vendored = tmp_path / "sources" / "vendor" / "llama.cpp"
    carried = ("src/llama.cpp", "common/arg.cpp", "ggml/src/ggml-cuda/mmq.cu", "ggml/src/ggml-cpu/ops.cpp")
    carried += ("tools/server/main.cpp", "tools/mtmd/clip.cpp", "tools/ui/ui.cpp.in", "ggml/CMakeLists.txt")
    left = ("models/vocab.gguf", "docs/build.md", "ggml/src/ggml-vulkan/shader.comp", "tools/tts/tts.cpp")
    left += ("tools/ui/src/app.svelte", "examples/simple.cpp")
    for name in (*carried, *left):
        (vendored / name).parent.mkdir(parents=True, exist_ok=True)
        (vendored / name).write_text(name)
    strip(tmp_path / "sources", tmp_path / "pack")
    into = tmp_path / "pack" / "vendor" / "llama.cpp"
    assert all((into / name).read_text() == name for name in carried)
    assert not any((into / name).exists() for name in left)
    listed = (into / "tools" / "CMakeLists.txt").read_text()
    assert listed.count("add_subdirectory") == 3
    assert "models" not in KEPT
