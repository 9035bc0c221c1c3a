"""Verdicts in a file beside the findings, so that others can be added to them without the runs of all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from lrdecay.analysis.claim import Claim, Statement
from lrdecay.analysis.judgement import Verdict
from lrdecay.config.claims import Claims
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
        what = mismatch(error).removeprefix(": ") if isinstance(error, msgspec.ValidationError) else "it is not YAML"
        raise ConfigError(f"{path}: not a valid file of verdicts ({what}); restore or delete it") from error


def _path(wanted: type, value: Any) -> Path:
    if wanted is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(wanted)


def merged(fresh: Sequence[Verdict], earlier: Sequence[Verdict], known: Claims) -> tuple[list[Verdict], list[str]]:
    """The fresh verdicts and, of the earlier ones, those on other claims; in the order of the claims.

    Of a claim that is not known here, but under another ``--config-dir`` perhaps, nobody can tell whether it has
    changed: what was found of it is kept, at the end.

    Returns:
        The verdicts, and the names of claims that are not what they were when they were judged, so that their earlier
        verdicts are left out.
    """
    place = {name: index for index, name in enumerate(known.names())}
    found = {verdict.claim.identity: verdict for verdict in fresh}
    others = [verdict for verdict in earlier if verdict.claim.identity not in found]
    kept = [one for one in others if one.claim.name not in place or _says_the_same(one.claim, known)]
    changed = [one.claim.identity for one in others if one not in kept]
    verdicts = [*found.values(), *kept]
    return sorted(verdicts, key=lambda one: (place.get(one.claim.name, len(place)), one.claim.identity)), changed


def _says_the_same(claim: Claim, known: Claims) -> bool:
    """Whether its file still has what it had."""
    try:
        now = known.read(claim.name, claim.overrides)
    except (ConfigError, HydraException, OmegaConfBaseException):  # what its overrides name is gone
        return False
    return all(getattr(now, field) == getattr(claim, field) for field in Statement.__struct_fields__)
