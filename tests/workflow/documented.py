"""Finds every command that the project's texts name, and the list of those that cannot be run as
they stand.
"""

import ast
import functools
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("documented.yaml")
#: How a command begins. `make` is a word of ordinary sentences, too: there only a target of the
#: Makefile counts.
TARGETS = "report|test|mutants|lint|restore|clean|lock|release|site"
PROGRAM = (
    r"(?:python (?:-m|tools/)|snakemake(?: |$)|dvc [a-z]|"
    rf"make (?:{TARGETS})\b|pytest |git [a-z]|source |podman (?:build|run) )"
)
STARTS = re.compile(rf"(?:[A-Z_]+=\S+ +)*{PROGRAM}")
#: A command in the middle of a sentence without quotes: these words are nothing else. It ends where
#: that goes on.
UNQUOTED = re.compile(
    rf"(?:python -m replicate [a-z]|snakemake -|make (?:{TARGETS})\b)"
    r"[^`'\"\n;,()]*?(?=[.;,:]?(?:\s*$|[`'\"\n;,()]|[.:] ))"
)
#: What stands for a value that is only known when a text is printed.
UNKNOWN = "{…}"
#: A block of a Markdown file: its language and its lines.
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Found:
    """Commands that belong together: the lines of a block, or one alone.

    Attributes:
        where: the file that names them.
        lines: what a shell is given, without comments; continued lines are joined.
    """

    where: str
    lines: tuple[str, ...]


def plain(line: str) -> str:
    """A line without prompt, comment, and what stands in the column beside it."""
    text = line.strip().removeprefix("$ ")
    quoted = re.split(r"(\"[^\"]*\"|'[^']*')", text)
    kept = ""
    for part in quoted:
        if part[:1] in ("'", '"') and len(part) > 1:
            kept += part
            continue
        cut = re.split(r"\s+#|\s{2,}(?!-)", part, maxsplit=1)
        kept += cut[0]
        if len(cut) > 1:
            break
    return " ".join(kept.split()) if "'" not in kept else kept.strip()


def joined(text: str) -> list[str]:
    """The lines of a text, continued ones in one."""
    return re.sub(r"\s*\\\n\s*", " ", text).splitlines()


def of_block(where: str, language: str, body: str) -> Iterator[Found]:
    """A block of shell is a script; of any other, which may show output, the lines that are
    commands.
    """
    if language == "sh":
        lines = [plain(line) for line in joined(body)]
        yield Found(where, tuple(line for line in lines if line and not line.startswith("#")))
        return
    console = [plain(line) for line in joined(body) if line.startswith("$ ")]
    if console:
        yield Found(where, tuple(console))
    for line in joined(body):
        if STARTS.match(line.strip()):
            yield Found(where, (plain(line),))


def quoted(where: str, text: str) -> Iterator[Found]:
    """Commands between backticks; a line break there is a space."""
    for code in re.findall(r"`([^`]+)`", text):
        one_line = " ".join(code.split())
        if STARTS.match(one_line):
            yield Found(where, (one_line,))


def of_markdown(path: Path) -> Iterator[Found]:
    where, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    for language, body in FENCE.findall(text):
        yield from of_block(where, language, body)
    yield from quoted(where, FENCE.sub("", text))


def of_template(path: Path) -> Iterator[Found]:
    where, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    for code in re.findall(r"<code>(.*?)</code>", text, re.DOTALL):
        one_line = " ".join(re.sub(r"{{.*?}}", UNKNOWN, code).split())
        if STARTS.match(one_line):
            yield Found(where, (one_line,))


def of_comments(path: Path) -> Iterator[Found]:
    """Commands between backticks in the comments of a file, as if each comment were one text."""
    text = path.read_text(encoding="utf-8")
    comments = "\n".join(
        line.strip().lstrip("#") for line in text.splitlines() if line.strip().startswith("#")
    )
    yield from quoted(path.relative_to(ROOT).as_posix(), comments)


def strings(tree: ast.AST) -> Iterator[str]:
    """Every text in a module, with a sign for each value that is filled in."""
    nodes = deque([tree])
    while nodes:
        node = nodes.popleft()
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(v.value) if isinstance(v, ast.Constant) else UNKNOWN for v in node.values
            )
            # Its pieces are no texts of their own, but one that is filled in may be.
            nodes.extend(part.value for part in node.values if isinstance(part, ast.FormattedValue))
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                yield node.value
        else:
            nodes.extend(ast.iter_child_nodes(node))


def of_module(path: Path) -> Iterator[Found]:
    """Commands in docstrings, help and messages: lines of their own, between backticks, or in a
    sentence.
    """
    where = path.relative_to(ROOT).as_posix()
    for text in strings(ast.parse(path.read_text(encoding="utf-8"))):
        lines = joined(text)
        for line in lines:
            if STARTS.match(line.strip()):
                yield Found(where, (plain(line),))
        rest = "\n".join(line for line in lines if not STARTS.match(line.strip()))
        yield from quoted(where, rest)
        for code in UNQUOTED.findall(re.sub(r"`[^`]*`", "``", rest)):
            yield Found(where, (" ".join(code.split()),))


@functools.cache
def collected() -> tuple[Found, ...]:
    """All commands of all texts, each the first time that it is named."""
    found: dict[tuple[str, ...], Found] = {}
    texts = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "config/README.md",
        *sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.md")),
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "results").glob("*/README.md")),
    ]
    every = [command for path in texts for command in of_markdown(path)]
    for path in sorted((ROOT / "report/templates").glob("*.j2")):
        every += of_template(path)
    for path in [
        *sorted((ROOT / "replicate").rglob("*.py")),
        *sorted((ROOT / "tools").glob("*.py")),
    ]:
        every += of_module(path)
    for path in [
        ROOT / "Snakefile",
        ROOT / "workflow/Snakefile",
        ROOT / "dvc.yaml",
        ROOT / "params.yaml",
        *sorted((ROOT / "presets").glob("*.yaml")),
    ]:
        every += of_comments(path)
    for command in every:
        found.setdefault(command.lines, command)
    return tuple(found.values())


@dataclass(frozen=True)
class Entry:
    """A command that is not run as it stands.

    Attributes:
        instead: what is run in its place; None where that is another test's.
        reason: why it cannot be run as it stands, and what shows that it works.
        status: the exit status that it is to have.
    """

    instead: str | None
    reason: str
    status: int = 0


@functools.cache
def listed() -> dict[str, Entry]:
    """Command -> what becomes of it."""
    entries: list[dict[str, Any]] = yaml.safe_load(LIST.read_text(encoding="utf-8"))["instead"]
    return {
        one["command"]: Entry(one.get("instead"), one["reason"], one.get("exit", 0))
        for one in entries
    }


@functools.cache
def examples() -> dict[str, str]:
    """Name of a file that a text takes for granted -> what of a finished run of smoke lies
    there.
    """
    found: dict[str, str] = yaml.safe_load(LIST.read_text(encoding="utf-8"))["files"]
    return found
