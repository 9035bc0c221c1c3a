"""The hash of the code: of what a result depends on, and of nothing else."""

import ast
import io
import tokenize

import pytest

from lrdecay.records.provenance import PACKAGE, _statements, code

SOURCE = '''"""What it is."""

import math

LIMIT = 3  # steps
"""In words."""


class Rate:
    """A class with a "quoted" word, and a # in its docstring."""

    def at(self, step):
        """The rate."""
        # why it is so
        return f"{step}#{LIMIT}" + \'"\' + """kept # text"""
'''


@pytest.fixture
def package(tmp_path):
    for name in ("training", "reports"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "it.py").write_text(SOURCE)
    return tmp_path


def changed(package, old: str, new: str, part: str = "training") -> bool:
    """Whether the hash is another one when the source is."""
    code.cache_clear()
    before = code(package)
    file = package / part / "it.py"
    assert old in SOURCE
    file.write_text(SOURCE.replace(old, new, 1))
    code.cache_clear()
    return code(package) != before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("What it is.", "What\nit was."),
        ("# steps", '# of the run, which isn\'t "long"'),
        ("# why it is so", "#"),
        ("        # why it is so\n", ""),
        ('        """The rate."""\n', ""),
        ("In words.", "In other words: LIMIT = 4"),
        ("import math\n", "import math\n\n\n"),
        ('a "quoted" word', 'an "odd number of quotes'),
    ],
)
def test_what_is_only_read_by_people_leaves_it_alone(package, old, new):
    assert not changed(package, old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("}#{", "}/{"),
        ("kept # text", "kept # other"),
        ("def at", "def of"),
        ("        return", "    return"),
        ("import math", "import cmath"),
    ],
)
def test_what_is_executed_does_not(package, old, new):
    assert changed(package, old, new)


def test_a_package_that_only_shows_leaves_it_alone(package):
    assert not changed(package, "LIMIT = 3", "LIMIT = 4", part="reports")


LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def tokens(source: str, without: frozenset[int] = frozenset()) -> list[str]:
    """What Python reads of a source, but for layout, comments, and texts that begin in these lines."""
    found = tokenize.generate_tokens(io.StringIO(source).readline)
    return [
        t.string for t in found if t.type not in LAYOUT and not (t.type == tokenize.STRING and t.start[0] in without)
    ]


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: file.stem)
def test_what_is_hashed_is_what_python_reads(file):
    """On every file of the package itself, whatever quotes and number signs it holds."""
    source = file.read_text()
    alone = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr)]
    docstrings = {node.lineno for node in alone if isinstance(getattr(node.value, "value", None), str)}
    assert tokens(_statements(source)) == tokens(source, frozenset(docstrings))
