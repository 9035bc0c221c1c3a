import json

import pytest
from support.programs import run_apart


def test_the_parts_of_a_step(tmp_path):
    arguments = ["step", "schedules", "--data", "digits", "--rounds", "1", "--epochs", "2"]
    done = run_apart("scripts/benchmark.py", *arguments, "--output", tmp_path / "found", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found/benchmark.json").read_text())
    step = found["step"]
    assert set(step["parts_ms"]) == {"data", "forward", "backward", "optimizer"}
    assert all(value > 0 for value in [*step["parts_ms"].values(), *step["profiled_us"].values()])
    # The parts are all that a bare loop does; on a busy machine each is measured in another minute.
    bare = step["ms"] * (1 - step["framework_share"])
    assert 0.2 < sum(step["parts_ms"].values()) / bare < 5
    assert step["framework_share"] < 1
    assert found["schedules"]["Cosine"]["set_at_a_step_us"] > 0
    assert found["machine"]["threads"] == 1
    assert "the framework's own" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "nonsense: must be one of training, step, "),
        (["--rounds", "0"], "--rounds=0: must be at least 1"),
        (["step"], "error: --data=mnist: "),
    ],
)
def test_what_it_cannot_do(tmp_path, arguments, message):
    done = run_apart("scripts/benchmark.py", *arguments, cwd=tmp_path, LRDECAY_DATA="nowhere")
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
