"""What a run's code was: enough to find it again, and to see that it has changed."""

import ast
import functools
import hashlib
import subprocess
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent.parent
SHOWS_ONLY = ("analysis", "cli", "reports", "sweeps")
"""Packages that no result depends on."""


@functools.cache
def provenance() -> dict[str, Any]:
    """``commit`` and ``dirty`` of the repository, both ``None`` outside of one, and ``code``, see `code`."""
    status = _git("status", "--porcelain")
    return {"commit": _git("rev-parse", "HEAD"), "dirty": None if status is None else status != "", "code": code()}


@functools.cache
def code(package: Path = PACKAGE) -> str:
    """A hash of what the package does to a result: its statements, without comments and docstrings."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        place = file.relative_to(package)
        if place.parts[0] not in SHOWS_ONLY:
            digest.update(place.as_posix().encode() + b"\0" + _statements(file.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()[:16]


def _statements(source: str) -> str:
    """The source without comments and bare strings, in one form of its many."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            if isinstance(block := getattr(node, name, None), list):
                setattr(node, name, [statement for statement in block if not _is_text(statement)] or [ast.Pass()])
    return ast.unparse(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
