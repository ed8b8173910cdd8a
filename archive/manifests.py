"""Writes beside each day's files what a stranger needs: a manifest with the hashes, and what is missing in it."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import datetime
from typing import Any

from pyarrow import parquet

from archive import copying, datasets, ledger
from archive.datasets import ArchiveSpan, Dataset
from archive.models import ArchiveFile
from archive.targets import ArchivePlace

MANIFEST, NOTES = "manifest.json", "gaps.parquet"


def describe(dataset: Dataset, span: ArchiveSpan, target: ArchivePlace, now: datetime) -> None:
    """Writes a day's manifest, and the gaps in it where the dataset tells of them. Raises TargetFailed."""
    files = ledger.files_of(dataset.kind, span)
    place = datasets.folder(dataset.kind, span.exchange, span.day)
    gaps = None
    if dataset.notes:
        content = _packed(copying.notes_of(dataset.notes, span))
        target.replace(f"{place}/{NOTES}", content)
        gaps = {"name": NOTES, "sha256": hashlib.sha256(content).hexdigest()}
    target.replace(f"{place}/{MANIFEST}", _manifest(dataset, span, files, gaps))
    ArchiveFile.objects.filter(pk__in=[each.pk for each in files]).update(described_at=now)


def _packed(table: Any) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _manifest(dataset: Dataset, span: ArchiveSpan, files: list[ArchiveFile], gaps: dict[str, str] | None) -> bytes:
    told = {
        "kind": dataset.kind,
        "exchange": span.exchange,
        "day": f"{span.day}",
        "key": dataset.key,
        "files": [_entry(each) for each in files],
        "gaps": gaps,
        "chain_sha256": files[-1].sha256 if files else "",
    }
    return json.dumps(told, indent=1).encode() + b"\n"


def _entry(file: ArchiveFile) -> dict[str, Any]:
    return {
        "name": file.path.rpartition("/")[2],
        "hour": file.hour,
        "rows": file.rows,
        "bytes": file.bytes,
        "min": file.min and file.min.isoformat(),
        "max": file.max and file.max.isoformat(),
        "sha256": file.sha256,
        "previous_sha256": file.previous_sha256,
        "known_until": file.known_until.isoformat(),
        "written_at": file.written_at.isoformat(),
    }
