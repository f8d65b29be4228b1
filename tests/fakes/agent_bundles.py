"""Bundles for tests of the agent, packed as the server packs them; the model file tells the fake worker what to do."""

from dataclasses import dataclass

from edge_agent.contract import codec
from edge_agent.contract.artifacts import PackedFile, Parcel, compress, cut, sha256
from edge_agent.contract.manifest import (
    MANIFEST_NAME,
    Cost,
    Feature,
    FileSpec,
    Golden,
    InputSpec,
    Manifest,
    OutputSpec,
    Parity,
    Precision,
    Requirements,
    Runtime,
    ScoreKind,
    Task,
    parse_manifest,
)
from edge_agent.contract.messages import DesiredBundle
from tests.fakes.worker import MODEL_FILE, Behaviour

COHORT = "generic"


@dataclass(frozen=True)
class FakeBundle:
    """A bundle as the server publishes it: what the document says of it, and its chunks by digest."""

    desired: DesiredBundle
    chunks: dict[str, bytes]
    files: dict[str, bytes]


def make_bundle(
    model: str = "digits",
    version: int = 1,
    behaviour: Behaviour | None = None,
    *,
    padding: bytes = b"",
    chunk_bytes: int = 1024,
    threshold: float | None = None,
    memory_mb: float = 16.0,
) -> FakeBundle:
    """Return a bundle whose model behaves as told; `padding` (best random) makes it large."""
    model_bytes = (behaviour or Behaviour()).encode()
    contents = {MODEL_FILE: model_bytes, "golden.npz": b"golden" + padding, "baseline.json": b"{}"}
    specs = tuple(FileSpec(name, sha256(data), len(data)) for name, data in contents.items())
    manifest = Manifest(
        model=model,
        variant="onnx-fp32",
        task=Task.REGRESSION,
        runtime=Runtime.ONNX,
        precision=Precision.FP32,
        input=InputSpec("x", (Feature("a", 0, 1),)),
        output=OutputSpec("scores", ScoreKind.VALUE, 1),
        model_file=MODEL_FILE,
        baseline_file="baseline.json",
        golden=Golden("golden.npz", 8, 1e-5, 1e-5),
        files=specs,
        requires=Requirements(memory_mb, 1),
        parity=Parity(10, 1.0, 0.0, 0.0, "r2", 1.0, 1.0, "1"),
        cost=Cost(1, 1, 1.0, 1.0, 1.0),
    )
    files = {MANIFEST_NAME: codec.encode(manifest)} | contents
    return pack(files, version, chunk_bytes=chunk_bytes, threshold=threshold)


def pack(
    files: dict[str, bytes], version: int, *, chunk_bytes: int = 1024, threshold: float | None = None
) -> FakeBundle:
    """Cut a bundle's files (manifest first) in chunks, and describe it as the server would."""
    manifest = parse_manifest(files[MANIFEST_NAME])
    chunks: dict[str, bytes] = {}
    packed = []
    for name, data in files.items():
        parts = cut(compress(data), chunk_bytes)
        chunks |= {sha256(part): part for part in parts}
        names = tuple(sha256(part) for part in parts)
        packed.append(PackedFile(name, sha256(data), len(data), sum(map(len, parts)), names))
    digest = sha256(files[MANIFEST_NAME])
    parcel = codec.encode(Parcel(digest, chunk_bytes, tuple(packed)))
    chunks[sha256(parcel)] = parcel
    desired = DesiredBundle(
        model=manifest.model,
        version=version,
        variant=manifest.variant,
        digest=digest,
        parcel=sha256(parcel),
        cohort=COHORT,
        size=sum(map(len, files.values())),
        runtime=manifest.runtime,
        memory_mb=manifest.requires.memory_mb,
        threshold=threshold,
    )
    return FakeBundle(desired, chunks, files)
