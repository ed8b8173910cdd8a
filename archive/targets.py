"""The places of files: a folder (`file://`) or a bucket (`s3://`). A name appears whole, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
from django.conf import settings
from pyarrow import fs

Checkpoint = Callable[[str], None]
CONNECT_SECONDS, REQUEST_SECONDS, TRIES = 5.0, 20.0, 3
CHUNK_BYTES = 1024 * 1024
DRAFT = ".draft-"


class TargetFailed(Exception):
    """The place of the archive did not do what it was asked for: nothing may be dropped, the next run tries again."""


class KeptFile(NamedTuple):
    path: str
    bytes: int


@dataclass(frozen=True, slots=True)
class ArchivePlace:
    """A place: `root` is a path of the file system `system`."""

    system: Any
    root: str
    is_local: bool

    def full(self, path: str) -> str:
        return f"{self.root}/{path}"

    @contextlib.contextmanager
    def draft(self, folder: str) -> Iterator[str]:
        """Gives the path of a local file to write, which is gone afterwards unless it was published."""
        place = Path(self.full(folder)) if self.is_local else Path(tempfile.gettempdir())
        with failing_as_target():
            place.mkdir(mode=0o750, parents=True, exist_ok=True)
            if self.is_local:  # one writer: what is here was left by one that was killed
                for left in place.glob(f"{DRAFT}*"):
                    left.unlink(missing_ok=True)
            number, name = tempfile.mkstemp(prefix=DRAFT, dir=place)
            os.close(number)
        try:
            yield name
        finally:
            Path(name).unlink(missing_ok=True)

    def publish(self, draft: str, path: str, at: Checkpoint) -> None:
        """Gives a finished draft its name. Raises TargetFailed."""
        with failing_as_target():
            if not self.is_local:
                at("before rename")
                fs.copy_files(
                    draft, self.full(path), source_filesystem=fs.LocalFileSystem(), destination_filesystem=self.system
                )
                return
            at("before fsync")
            _sync(draft)
            os.chmod(draft, 0o640)
            at("before rename")
            os.rename(draft, self.full(path))
            for folder in list(Path(self.full(path)).parents)[:4]:  # its own, and those that may be new
                _sync(folder)

    def replace(self, path: str, content: bytes) -> None:
        """Writes a small file that may be there already. Raises TargetFailed."""
        with self.draft(path.rpartition("/")[0]) as draft:
            Path(draft).write_bytes(content)
            self.publish(draft, path, lambda _: None)

    def read(self, path: str) -> bytes:
        """Raises TargetFailed."""
        with failing_as_target(), self.system.open_input_stream(self.full(path)) as stream:
            return bytes(stream.read())

    def digest(self, path: str) -> tuple[str, int]:
        """Reads a file to its end; returns its SHA-256 and its length. Raises TargetFailed."""
        found, length = hashlib.sha256(), 0
        with failing_as_target(), self.system.open_input_stream(self.full(path)) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                found.update(chunk)
                length += len(chunk)
        return found.hexdigest(), length

    def names(self) -> list[KeptFile]:
        """Returns all files there are, by their path below the root. Raises TargetFailed."""
        chosen = fs.FileSelector(self.root, allow_not_found=True, recursive=True)
        with failing_as_target():
            found = self.system.get_file_info(chosen)
        files = [each for each in found if each.type == fs.FileType.File]
        return sorted(KeptFile(each.path.removeprefix(f"{self.root}/"), each.size) for each in files)

    def remove(self, path: str) -> None:
        """Raises TargetFailed; a file that is not there is removed."""
        with failing_as_target(), contextlib.suppress(FileNotFoundError):
            self.system.delete_file(self.full(path))


@contextlib.contextmanager
def failing_as_target() -> Iterator[None]:
    try:
        yield
    except (OSError, pyarrow.ArrowException) as error:
        raise TargetFailed(str(error).strip().partition("\n")[0] or type(error).__name__) from error


def _sync(path: str | Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def configured() -> ArchivePlace:
    """Returns the place that ARCHIVE_URL names. Raises TargetFailed."""
    scheme, _, rest = settings.ARCHIVE_URL.partition("://")
    root = rest.rstrip("/")
    return (
        ArchivePlace(_s3(), root, is_local=False)
        if scheme == "s3"
        else ArchivePlace(fs.LocalFileSystem(), root, is_local=True)
    )


def _s3() -> Any:
    """Returns S3 by the settings; without keys of ours those of the machine are taken. Raises TargetFailed."""
    if bool(settings.ARCHIVE_S3_KEY) != bool(settings.ARCHIVE_S3_SECRET):
        raise TargetFailed("ARCHIVE_S3_KEY and ARCHIVE_S3_SECRET are set together, or neither is")
    given = {"access_key": settings.ARCHIVE_S3_KEY, "secret_key": settings.ARCHIVE_S3_SECRET,
             "endpoint_override": settings.ARCHIVE_S3_ENDPOINT, "region": settings.ARCHIVE_S3_REGION}  # fmt: skip
    return fs.S3FileSystem(
        **{name: value for name, value in given.items() if value},
        connect_timeout=CONNECT_SECONDS,
        request_timeout=REQUEST_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=TRIES),
    )
