"""The command ``lrdecay``: what ``train.py`` and ``scripts/`` of a checkout do, under the package's configuration."""

import importlib
import importlib.resources
import os
import sys
from pathlib import Path

from lrdecay.commands import COMMANDS

HELP = (
    "usage: lrdecay COMMAND ...\n\nHow should the learning rate decay?\n\n{}\n\n"
    "lrdecay COMMAND --help says more about each. Completion in bash and zsh, for\n"
    "this shell or in its startup file:\n\n"
    '  eval "$(register-python-argcomplete lrdecay)"\n'
)


def main() -> None:
    """Calls what the first word names with the words behind it."""
    if "_ARGCOMPLETE" in os.environ:
        sys.argv[1:] = _being_completed()
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if command in ("-h", "--help"):
        print(HELP.format("\n".join(f"  {name:<10} {what}" for name, what in COMMANDS.items())), end="")
        return
    if command == "--version":
        from lrdecay import __version__

        print(__version__)
        return
    if command not in COMMANDS:
        sys.exit(f"error: lrdecay {command}: must be one of {', '.join(COMMANDS)}")
    del sys.argv[1]
    sys.path.insert(0, str(Path.cwd()))  # as for `python train.py`: one's own models and data lie where one works
    try:
        conf = Path(str(importlib.resources.files("lrdecay.conf")))
    except ModuleNotFoundError:  # a checkout on the path, or one that was installed before it had a command
        sys.exit("error: lrdecay.conf is not installed: pip install --editable, with the folder of the checkout")
    run(command, conf)


def run(command: str, conf: Path) -> None:
    """Runs a command under the configuration in that folder; what is wrong is said in one line."""
    try:
        from lrdecay.cli.errors import one_line_errors

        module = importlib.import_module(f"lrdecay.cli.{command.replace('-', '_')}")
    except ModuleNotFoundError as error:
        if (error.name or "lrdecay").split(".")[0] == "lrdecay":
            raise
        sys.exit(f"error: lrdecay {command} needs {error.name}, which is not installed: pip install lrdecay")
    with one_line_errors():
        module.main(conf)


def _being_completed() -> list[str]:
    """The command whose words a shell asks for, or none, and its parser is to answer; for the command itself, here."""
    words = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])].split(" ")
    *before, _ = [word for word in words[:-1] if word] + words[-1:]
    start = int(os.environ["_ARGCOMPLETE"])  # so many words are the program
    if len(before) > start:
        if before[start] not in COMMANDS:
            sys.exit(1)
        os.environ["_ARGCOMPLETE"] = str(start + 1)
        return before[start : start + 1]
    import argparse

    import argcomplete

    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=COMMANDS)
    argcomplete.autocomplete(parser, always_complete_options=False)
    return []
