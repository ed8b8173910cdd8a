"""Looking at processes from outside."""

from pathlib import Path


def is_gone(pid: int) -> bool:
    """A zombie counts: it has ended, and only its parent has not noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
