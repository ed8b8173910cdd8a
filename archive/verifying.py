"""Verifies the archive: each file against the ledger, each chain, each manifest; and names what no ledger knows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from archive import datasets, parquet_files
from archive.manifests import MANIFEST, NOTES
from archive.models import ArchiveFile, FileState
from archive.targets import ArchivePlace, TargetFailed


@dataclass(frozen=True, slots=True)
class ArchiveFault:
    """A path, and what is wrong with it."""

    path: str
    words: str


def verify(target: ArchivePlace, now: datetime) -> Iterator[ArchiveFile | ArchiveFault]:
    """Yields each file that was read and is as the ledger says, and each fault. Raises TargetFailed for the place."""
    there = {each.path: each.bytes for each in target.names()}
    expected: set[str] = set()
    for file in ArchiveFile.objects.filter(state=FileState.STORED).order_by("id").iterator(chunk_size=500):
        place = datasets.folder(file.kind, file.exchange, file.day)
        expected |= {file.path, f"{place}/{MANIFEST}", f"{place}/{NOTES}"}
        words = "it is not there" if file.path not in there else _fault_of(file, target)
        ArchiveFile.objects.filter(pk=file.pk).update(fault=words, **({} if words else {"verified_at": now}))
        yield ArchiveFault(file.path, words) if words else file
    yield from _chains()
    yield from _manifests(target, there)
    for path in sorted(there.keys() - expected):
        yield ArchiveFault(path, "no ledger knows it: left by a writer that was stopped, or put there by somebody")


def _fault_of(file: ArchiveFile, target: ArchivePlace) -> str:
    """Returns what is wrong with a file; empty where nothing is."""
    try:
        sha256, length = target.digest(file.path)
        if (sha256, length) != (file.sha256, file.bytes):
            return f"it is not what was written: {length} bytes of {sha256[:12]}"
        if (rows := parquet_files.count_of(target, file.path)) != file.rows:
            return f"it has {rows} rows, the ledger says {file.rows}"
        if parquet_files.told_of(target, file.path).get("previous_sha256") != file.previous_sha256:
            return "it names another file as the one before it"
    except TargetFailed as error:
        return f"it cannot be read: {error}"
    return ""


def _chains() -> Iterator[ArchiveFault]:
    """Yields files that do not follow the one before them."""
    tips: dict[tuple[str, str], str] = {}
    chained = ArchiveFile.objects.exclude(state=FileState.LOST).order_by("id")
    for file in chained.iterator(chunk_size=5000):
        if file.previous_sha256 != tips.get((file.kind, file.exchange), ""):
            yield ArchiveFault(file.path, "the ledger lacks the file before it")
        tips[file.kind, file.exchange] = file.sha256


def _manifests(target: ArchivePlace, there: dict[str, int]) -> Iterator[ArchiveFault]:
    stored: dict[str, list[str]] = {}
    for file in ArchiveFile.objects.filter(state=FileState.STORED).order_by("id"):
        stored.setdefault(datasets.folder(file.kind, file.exchange, file.day), []).append(file.sha256)
    for place, hashes in stored.items():
        path = f"{place}/{MANIFEST}"
        words = "it is not there" if path not in there else _fault_of_manifest(target, place, hashes, there)
        if words:
            yield ArchiveFault(path, words)


def _fault_of_manifest(target: ArchivePlace, place: str, hashes: list[str], there: dict[str, int]) -> str:
    try:
        told = json.loads(target.read(f"{place}/{MANIFEST}"))
        if [each["sha256"] for each in told["files"]] != hashes:
            return "it does not name the files of the ledger"
        if (gaps := told["gaps"]) is not None:
            path = f"{place}/{gaps['name']}"
            if path not in there or hashlib.sha256(target.read(path)).hexdigest() != gaps["sha256"]:
                return f"{gaps['name']} is not what it says"
    except (TargetFailed, ValueError, KeyError, TypeError) as error:
        return f"it cannot be read: {error}"
    return ""
