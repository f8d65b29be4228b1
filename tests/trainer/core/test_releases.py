"""A release is written as pip takes it, and brings a numpy that its wheels were built for."""

import pytest

from edge_agent.contract.manifest import Runtime
from trainer.core.releases import Release, parse_release
from trainer.errors import UsageError


@pytest.mark.parametrize(
    ("text", "runtime", "beside"),
    [
        ("onnxruntime==1.17.3", Runtime.ONNX, ("numpy<2",)),
        ("onnxruntime==1.19.0", Runtime.ONNX, ("numpy",)),
        ("onnxruntime==1.32.0", Runtime.ONNX, ("numpy",)),
        ("ai-edge-litert==2.3.0", Runtime.TFLITE, ("numpy",)),
        ("tflite-runtime==2.14.0", Runtime.TFLITE, ("numpy<2",)),
        ("numpy==1.26.4", Runtime.NUMPY, ()),
    ],
)
def test_a_release_names_what_stands_beside_it(text: str, runtime: Runtime, beside: tuple[str, ...]) -> None:
    release = parse_release(text)
    assert str(release) == text
    assert release.runtime is runtime
    assert release.requirements == (text, *beside)


@pytest.mark.parametrize(
    "text",
    ["onnxruntime", "onnxruntime>=1.20", "onnxruntime==1.20; os_name", "torch==2.0", "numpy==../x", "numpy==1", ""],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no release of a runtime"):
        parse_release(text)


def test_a_release_of_no_runtime_has_none() -> None:
    with pytest.raises(ValueError, match="torch is no library"):
        _ = Release("torch", "2.0").runtime
