"""Findings grow: what one command has found is kept when another adds to it."""

import math
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from support.programs import ROOT
from support.records import a_run

from lrdecay.analysis.judgement import Verdict, judge
from lrdecay.config.claims import Claims
from lrdecay.errors import ConfigError
from lrdecay.reports.verdicts import merged, read_verdicts, write_verdicts

CONF = ROOT / "conf"


def verdict(name: str, *overrides: str, seeds=range(1, 3)) -> Verdict:
    claim = Claims(CONF).read(name, overrides)
    runs = [
        a_run("linear", seed, 0.9 + 0.01 * seed * (final == 0), "mnist1d", final=final)
        for final in (0, 0.1)
        for seed in seeds
    ]
    return judge(claim, runs)


FINAL = "mnist1d/decays_to_zero"


def test_are_read_as_they_were_written(tmp_path):
    found = verdict(FINAL)
    (finding,) = found.findings
    claim = msgspec.structs.replace(found.claim, config_dir=Path("conf"))
    of_all = replace(found, claim=claim, seeds=math.inf, findings=[replace(finding, seeds=math.inf)])
    write_verdicts([of_all], tmp_path / "findings.yaml")
    assert read_verdicts(tmp_path / "findings.yaml") == [of_all]
    assert read_verdicts(tmp_path / "none.yaml") == []


def test_unknown_numbers_are_kept_so(tmp_path):
    found = verdict(FINAL, seeds=[1])
    write_verdicts([found], tmp_path / "findings.yaml")
    (again,) = read_verdicts(tmp_path / "findings.yaml")
    assert math.isnan(again.findings[0].found.low)
    assert again.findings[0].seeds is None


@pytest.mark.parametrize("text", ["a: [", "verdicts", "- claim: 3", "\xff"])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "findings.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"findings\.yaml: not a valid file of verdicts"):
        read_verdicts(path)


def test_those_of_other_claims_are_kept():
    earlier = [verdict(FINAL), verdict(FINAL, "name=other")]
    fresh = verdict(FINAL, seeds=range(1, 5))
    verdicts, changed = merged([fresh], earlier, Claims(CONF))
    assert [id(one) for one in verdicts] == [id(fresh), id(earlier[1])]
    assert changed == []


def test_the_verdict_on_a_claim_that_has_changed_is_not():
    found = verdict(FINAL)
    stricter = msgspec.structs.replace(found.claim, says="Something else.")
    of_old = msgspec.structs.replace(found.claim, overrides=["model=gone"], own=Path("old"))
    earlier = [replace(found, claim=claim) for claim in (stricter, of_old)]
    assert merged([], earlier, Claims(CONF)) == ([], [FINAL, f"{FINAL}-old"])


def test_the_verdict_on_a_claim_of_another_folder_of_configuration_is_kept():
    fresh = verdict(FINAL)
    elsewhere = replace(fresh, claim=msgspec.structs.replace(fresh.claim, name="my_warmup", own=Path("mine")))
    verdicts, changed = merged([fresh], [elsewhere], Claims(CONF))
    assert [one.claim.name for one in verdicts] == [FINAL, "my_warmup"]
    assert changed == []
