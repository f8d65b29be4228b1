"""The report of a version folder: written anew by `trainer report`, from manifests that nobody altered."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.contract import codec
from edge_agent.contract.manifest import MANIFEST_NAME, Manifest, bundle_digest
from tests.fakes.trainer_versions import manifests, record
from trainer.cli import main
from trainer.errors import UsageError
from trainer.stages.page import page, read_manifests


def write_folder(folder: Path) -> Mapping[str, Manifest]:
    """A version folder without models: the record and the manifests that it names."""
    version = record()
    items = manifests(version)
    entries = []
    for entry in version.variants:
        if entry.variant in items:
            data = codec.encode(items[entry.variant])
            (folder / "variants" / entry.variant).mkdir(parents=True)
            (folder / "variants" / entry.variant / MANIFEST_NAME).write_bytes(data)
            entries.append(replace(entry, digest=bundle_digest(data)))
        else:
            entries.append(entry)
    (folder / "version.json").write_bytes(codec.encode(replace(version, variants=tuple(entries))))
    return items


def test_the_page_is_written_anew_from_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = write_folder(tmp_path)
    assert main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'report.html'}\n"
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page(record(), items)
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "other.html")]) == 0
    assert (tmp_path / "other.html").read_bytes() == (tmp_path / "report.html").read_bytes()


def test_a_report_says_what_it_cannot_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path)
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "no" / "x.html")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    manifest = tmp_path / "variants" / "onnx-fp32" / MANIFEST_NAME
    manifest.write_bytes(manifest.read_bytes().replace(b'"score":0.97', b'"score":0.99'))
    assert main(["report", str(tmp_path)]) == 2
    assert "was altered" in capsys.readouterr().err
    manifest.unlink()
    assert main(["report", str(tmp_path)]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_a_folder_without_a_built_variant_has_no_report(tmp_path: Path) -> None:
    unbuilt = tuple(entry for entry in record().variants if entry.digest is None)
    with pytest.raises(UsageError, match="no variant that was built"):
        read_manifests(tmp_path, replace(record(), variants=unbuilt))
