"""Claims × problems."""

from dataclasses import replace
from pathlib import Path

import msgspec
from support.programs import ROOT
from support.records import a_run

from lrdecay.analysis.claim import Claim, Part
from lrdecay.analysis.judgement import judge
from lrdecay.reports.findings import MATRIX, markdown
from lrdecay.reports.matrix import cells, markdown_matrix, matrix_figure, problems
from lrdecay.reports.verdicts import read_verdicts


def verdict(name: str, effect: float, data: str, *measures: str):
    own = {"name": name, "source": "somebody", "supported": "so", "refuted": "not so", "baseline": "constant"}
    part = Part(["cosine"], ["test/acc", *measures], "better")
    says = f"Of {name.rpartition('/')[2]}."
    claim = Claim(own=Path("o"), folders=[Path("o")], says=says, parts=[part], **own)
    noise = [0.001, -0.001, 0.0005, -0.0004, 0.0009]
    runs = [
        a_run(s, seed, 0.9 + (effect + noise[seed]) * (s == "cosine"), data)
        for s in ("constant", "cosine")
        for seed in range(5)
    ]
    return judge(claim, runs)


VERDICTS = [
    verdict("helps", 0.02, "mnist"),
    verdict("mnist1d/helps", 0.0001, "mnist1d"),
    verdict("other", -0.02, "mnist"),
    verdict("half", 0.02, "mnist", "val/loss"),
]


def test_a_row_for_each_claim_and_a_column_for_each_problem():
    matrix = cells(VERDICTS)
    assert problems(matrix) == ["mnist", "mnist1d"]
    text = markdown(VERDICTS, "python scripts/claims.py", {MATRIX: "images/claims/matrix.png"})
    assert "| claim | mnist | mnist1d |" in text
    needed = VERDICTS[1].seeds
    assert f"| Of helps. | **supported** | **inconclusive**: {needed:,} seeds |" in text
    assert "| Of other. | **refuted** |  |" in text
    assert "| Of half. | **inconclusive**: 1 of 2 hold, no difference in any of 5 pairs |  |" in text
    assert "![Claims and problems](images/claims/matrix.png)" in text
    assert "| claim | mnist |" not in markdown(VERDICTS[:1], "python scripts/claims.py")


def test_the_source_of_most_claims_comes_first():
    alone = replace(VERDICTS[2], claim=msgspec.structs.replace(VERDICTS[2].claim, source="somebody else"))
    assert list(cells([alone, VERDICTS[0], VERDICTS[3]])) == ["Of helps.", "Of half.", "Of other."]


def test_claims_that_say_the_same_on_a_problem_have_rows_of_their_own():
    again = replace(VERDICTS[2], claim=msgspec.structs.replace(VERDICTS[2].claim, says="Of helps."))
    matrix = cells([*VERDICTS[:2], again])
    words = {says: {problem: found.word for problem, found in row.items()} for says, row in matrix.items()}
    assert words == {
        "Of helps.": {"mnist": "supported", "mnist1d": "inconclusive"},
        "Of helps. (other)": {"mnist": "refuted"},
    }


def test_what_a_claim_says_does_not_break_its_tables():
    claim = msgspec.structs.replace(VERDICTS[0].claim, says="|gain| is small.", source="a | b")
    text = markdown([replace(VERDICTS[0], claim=claim), *VERDICTS[1:]], "python scripts/claims.py")
    assert r"| \|gain\| is small. | **supported** |  |" in text
    assert r"| \|gain\| is small. | mnist | a \| b | **supported** | 1 supported |" in text


def test_readme_has_that_of_the_findings():
    matrix = cells(read_verdicts(ROOT / "docs/findings.yaml"))
    assert "\n".join(markdown_matrix(matrix)) in (ROOT / "README.md").read_text()


def test_what_was_found_under_overrides_is_not_in_it():
    other = verdict("helps", -0.02, "mnist")
    under = replace(other, claim=msgspec.structs.replace(other.claim, overrides=["name=x"], own=Path("x")))
    assert cells([VERDICTS[0], under]) == cells(VERDICTS[:1])


def test_is_drawn(tmp_path):
    assert matrix_figure(cells(VERDICTS)).startswith(b"\x89PNG")
