"""Verdicts in a file beside the findings, so that others can be added to them without the runs of all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from lrdecay.analysis.claim import Statement
from lrdecay.analysis.judgement import Verdict
from lrdecay.config.claims import claim_names, read_claim
from lrdecay.errors import ConfigError
from lrdecay.files import write_atomically
from lrdecay.records.validation import mismatch


def write_verdicts(verdicts: Sequence[Verdict], path: Path) -> None:
    """Writes them as YAML, which has a word for infinity."""
    plain = msgspec.to_builtins(verdicts, enc_hook=str)
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)
    write_atomically(path, text.encode())


def read_verdicts(path: Path) -> list[Verdict]:
    """Those of a file; none where there is no file.

    Raises:
        ConfigError: it holds something else.
    """
    if not path.exists():
        return []
    try:
        return msgspec.convert(yaml.safe_load(path.read_bytes()), list[Verdict], dec_hook=_path)
    except (yaml.YAMLError, UnicodeDecodeError, msgspec.ValidationError) as error:
        what = mismatch(error) if isinstance(error, msgspec.ValidationError) else "it is not YAML"
        raise ConfigError(f"{path}: must hold verdicts as they were written, or not be there: {what}") from error


def _path(wanted: type, value: Any) -> Path:
    if wanted is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(wanted)


def merged(fresh: Sequence[Verdict], earlier: Sequence[Verdict], conf: Path) -> tuple[list[Verdict], list[str]]:
    """The fresh verdicts and, of the earlier ones, those on other claims; in the order of the claims.

    Returns:
        The verdicts, and the names of claims that are not what they were when they were judged, so that their earlier
        verdicts are left out.
    """
    names = claim_names(conf)
    changed = []
    found = {(verdict.claim.name, *verdict.claim.overrides): verdict for verdict in fresh}
    for verdict in earlier:
        name, overrides = verdict.claim.name, verdict.claim.overrides
        if (name, *overrides) in found:
            continue
        if name in names and _statement(read_claim(conf, name, overrides)) == _statement(verdict.claim):
            found[name, *overrides] = verdict
        else:
            changed.append(name)
    return sorted(found.values(), key=lambda v: (names.index(v.claim.name), v.claim.overrides)), changed


def _statement(claim: Statement) -> dict[str, Any]:
    return {field: getattr(claim, field) for field in Statement.__struct_fields__}
