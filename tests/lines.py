"""Counts the code of a package: `python -m tests.lines [FOLDER]` prints files and lines of code by room.

A line of code is one that is neither docstring, comment nor blank.
"""

from __future__ import annotations

import ast
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(source: str) -> int:
    """Return the number of lines of a module that are neither docstring, comment nor blank."""
    tokens = tokenize.generate_tokens(iter(source.splitlines(keepends=True)).__next__)
    lines = {line for it in tokens if it.type not in NO_CODE for line in range(it.start[0], it.end[0] + 1)}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS)) and ast.get_docstring(node) is not None:
            lines -= {*range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)}
    return len(lines)


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Yield each function of a module with the number of lines of its body, without signature and docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, FUNCTIONS):
            body = node.body[ast.get_docstring(node) is not None :]
            yield node.name, (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def rooms(folder: Path) -> tuple[Counter[str], Counter[str]]:
    """Return the number of files and the lines of code of each folder of a package; those in its root are `(root)`."""
    files: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for path in sorted(folder.rglob("*.py")):
        inner = path.relative_to(folder).parts
        room = inner[0] if len(inner) > 1 else "(root)"
        files[room] += 1
        lines[room] += code_lines(path.read_text())
    return files, lines


if __name__ == "__main__":
    files, lines = rooms(Path(sys.argv[1] if len(sys.argv) > 1 else "selfdebias"))
    for room in files:
        print(f"{room:12} {files[room]:4} {lines[room]:6}")
    print(f"{'all':12} {files.total():4} {lines.total():6}")
