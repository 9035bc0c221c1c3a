"""Sweeps over shapes of one's own: which jobs are new, and what their groups are called."""

import pandas as pd
from support import programs

SMALL = ["data=digits", "model=mlp", "model.hidden=[8]", "trainer.max_epochs=1", "seed=1,2"]


def sweep(folder, *arguments) -> str:
    done = programs.run("train.py", "-m", "name=it", *SMALL, *arguments, cwd=folder)
    assert done.process.exitcode == 0, done.text
    return done.text


def groups(folder) -> list[str]:
    return pd.read_csv(folder / "outputs/sweeps/it/comparison.csv")["group"].unique().tolist()


def test_a_table_whose_file_has_changed_is_another_schedule(tmp_path):
    for name, height in (("a", 0.9), ("b", 0.1)):
        (tmp_path / f"{name}.csv").write_text(f"p,factor\n0,1\n0.5,{height}\n1,0\n")
    arguments = ["schedule=table", "schedule.csv=a.csv,b.csv"]
    sweep(tmp_path, *arguments)
    assert groups(tmp_path) == ["csv=a.csv", "csv=b.csv"]
    assert sweep(tmp_path, *arguments).count("already complete") == 4
    (tmp_path / "b.csv").write_text("p,factor\n0,1\n0.5,0.2\n1,0\n")
    text = sweep(tmp_path, *arguments)
    assert text.count("already complete") == 2
    assert "schedule.points=[[0.0, 1.0], [0.5, 0.2], [1.0, 0.0]], which was [[0.0, 1.0], [0.5, 0.1]" in text


def test_the_parts_of_a_join_name_its_groups(tmp_path):
    sweep(tmp_path, "schedule=join", "schedule@schedule.second=cosine,rex", "schedule.at=30%,50%")
    assert groups(tmp_path) == [f"second={name} at={at}" for name in ("cosine", "rex") for at in ("30%", "50%")]
