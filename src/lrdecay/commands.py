"""The commands, and how each is called: ``lrdecay compare``, or ``python scripts/compare.py`` in a checkout.

Imported at every start, so nothing heavy is imported here.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

COMMANDS = {
    "train": "train a run, or with -m a sweep",
    "preview": "draw learning rates over a run, without training",
    "find-lr": "find a learning rate by a short training",
    "compare": "compare runs: a table with verdicts, figures, a page",
    "predict": "predict the loss of schedules that were never trained",
    "refine": "refine a schedule by the gradient norms of its runs",
    "evaluate": "test the saved weights of runs",
    "claims": "test claims about schedules",
}
"""What each is for."""


CHECKOUT = Path(__file__).parent.parent.parent
"""The folder of ``train.py``, where the package lies in one."""


def by_command() -> bool:
    """Whether this process was started by the command ``lrdecay``, and not by a file of a checkout."""
    program = Path(sys.argv[0])
    return program.stem == "lrdecay" or program.parts[-2:] == ("lrdecay", "__main__.py")


def in_checkout() -> bool:
    """Whether commands are called as files of a checkout: not by the command, nor where the package lies elsewhere."""
    return not by_command() and (CHECKOUT / "train.py").is_file()


def as_called(text: str) -> str:
    """A text that names commands as ``lrdecay compare`` does, with each as it is called here."""
    if not in_checkout():
        return text
    return re.sub(rf"\blrdecay ({'|'.join(COMMANDS)})\b", lambda found: " ".join(_script(found[1])), text)


def _script(command: str) -> list[str]:
    return ["python", "train.py" if command == "train" else f"scripts/{command.replace('-', '_')}.py"]


def training_argv(words: Sequence[str]) -> list[str]:
    """``sys.argv`` with which another process would train as these words say; in this one's the command is missing."""
    return [sys.argv[0], *(["train"] if by_command() else []), *words]
