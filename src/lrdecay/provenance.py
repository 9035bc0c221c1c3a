"""What a run's code was: enough to find it again, and to see that it has changed."""

import functools
import hashlib
import subprocess
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent


@functools.cache
def provenance() -> dict[str, Any]:
    """``commit`` and ``dirty`` of the repository, both ``None`` outside of one, and ``code``, a hash of the package."""
    status = _git("status", "--porcelain")
    return {"commit": _git("rev-parse", "HEAD"), "dirty": None if status is None else status != "", "code": code()}


def code() -> str:
    """A hash of the package's source."""
    digest = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        digest.update(file.relative_to(PACKAGE).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
