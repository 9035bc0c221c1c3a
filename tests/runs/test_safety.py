"""A stranger's folder is read without executing anything that is in it."""

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from support import programs
from support.records import edit
from support.runs import SMALL, StoppedAt, the_run

WITNESS = Path("executed")


class Malicious:
    """Executes a command where it is unpickled."""

    def __reduce__(self):
        return os.system, (f"touch {WITNESS}",)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted")
    assert (
        programs.run("train.py", *SMALL, "schedule=cosine", cwd=folder, prepare=StoppedAt(25)).process.exitcode == 143
    )
    return the_run(folder)


@pytest.fixture
def run(interrupted, tmp_path):
    return Path(shutil.copytree(interrupted, tmp_path / "run"))


def commands(run: Path) -> dict[str, list]:
    return {
        "resume": ["train.py", f"resume={run}"],
        "weights": ["train.py", f"resume={run}", "resume_mode=weights"],
        "extend": ["train.py", f"resume={run}", "resume_mode=extend", "trainer.max_epochs=4"],
        "evaluate": ["scripts/evaluate.py", run],
    }


def refused(run: Path, *which: str) -> list[str]:
    """What the commands say, none of which may execute anything."""
    texts = []
    for name in which or commands(run):
        done = programs.run(*commands(run)[name], cwd=run.parent)
        assert done.process.exitcode == 1, done.text
        assert "Traceback" not in done.text
        assert done.text.count("error: ") == 1
        assert not (run.parent / WITNESS).exists(), name
        texts.append(done.text)
    return texts


@pytest.mark.parametrize("kind", ["in torch's zip", "as a plain pickle", "in torch's old format"])
def test_a_malicious_checkpoint(kind, run):
    path = run / "checkpoints/last.ckpt"
    checkpoint = torch.load(path, weights_only=True) | {"more": Malicious()}
    if kind == "as a plain pickle":
        path.write_bytes(pickle.dumps(Malicious()))
    else:
        torch.save(checkpoint, path, _use_new_zipfile_serialization="zip" in kind)
    for text in refused(run):
        assert "last.ckpt: damaged, or not a checkpoint of this package; nothing in it was executed" in text


CONFIGURATIONS = {
    "a target": {"model": {"_target_": "os.system", "command": f"touch {WITNESS}"}},
    "a target within": {"schedule": {"scheduler": {"_target_": "os.system", "command": f"touch {WITNESS}"}}},
    "a target in a list": {"trainer": {"plugins": [{"_target_": "os.system", "command": f"touch {WITNESS}"}]}},
    "a callback": {"callbacks": {"more": {"_target_": "os.system", "command": f"touch {WITNESS}"}}},
    "a torch name that is no class": {"optimizer": {"_target_": "torch.optim.lr_scheduler.sys.exit"}},
    "an interpolation": {"optimizer": {"lr": "${claim:executed}"}},
    "a folder to write to": {"logger": {"csv": {"save_dir": "/etc"}}},
    "a name that leads out of the folder": {"logger": {"csv": {"name": "../../x"}}},
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_malicious_configuration(name, run):
    own = json.loads((run / "record.json").read_text())["composed"]
    for group, values in CONFIGURATIONS[name].items():
        own[group] |= values
    edit(run / "record.json", composed=own)
    for text in refused(run):
        assert " is not this project's own; to be trusted only if you know where the run comes from" in text


def test_trusted_it_is_built(run):
    """What is refused above would have been executed."""
    values = json.loads((run / "record.json").read_text())
    for config in (values["config"], values["composed"]):
        # Hydra itself refuses os.system.
        config["callbacks"]["more"] = {"_target_": "numpy.savetxt", "fname": str(WITNESS), "X": [1]}
    edit(run / "record.json", config=values["config"], composed=values["composed"])
    programs.run("train.py", f"resume={run}", "trust=true", cwd=run.parent)
    assert (run.parent / WITNESS).exists()


def test_a_malicious_record(run):
    """Only compared; its strings are shown as they are, whatever rich, matplotlib or a terminal make of them."""
    file = run / "record.json"
    values = json.loads(file.read_text())
    del values["digest"]
    rows = values["epochs"] or [{"epoch": 0, "step": 17, "lr": 0.1, "val/acc": 0.5, "val/loss": 1.0}]
    name = "[red]a[/nonsense] $\\frac{1$ \u001b[2J\u009b2J\r {0} %s"
    values |= {"status": "completed", "error": name, "data": "digits", "epochs": rows, "final": {"val/acc": 0.5}}
    values["config"] |= {"_target_": "os.system", "command": f"touch {WITNESS}"}
    for number, schedule in enumerate((name, "cosine")):
        folder = run.parent / "both" / f"run {number} [/]"
        folder.mkdir(parents=True)
        values["choices"]["schedule"], values["config"]["schedule"]["name"] = schedule, schedule
        shutil.copy(file, folder)
        edit(folder / "record.json", **values)
    done = programs.run("scripts/compare.py", run.parent / "both", cwd=run.parent)
    assert done.process.exitcode == 0, done.text
    assert "[red]a[/nonsense]" in done.text
    assert not set("\u001b\u009b\r") & set(done.text)
    assert not (run.parent / WITNESS).exists()
