"""`.dockerignore`: which paths of a context are left out, decided as the engine decides it.

The rules are those of moby's patternmatcher and BuildKit's fsutil, which every current engine and CLI uses. Engines before
23.0 decide some cases with `!` and `**` differently; `written_out` says the same selection in a way that all of them agree on.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import GoldenJobsError

#: What Go's strings.TrimSpace removes.
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
#: Characters that make an exception's folder unknown before its files are looked at.
_GLOB = frozenset("*[]?^\\")
#: Escapes that are letters and that Python's `re` reads as Go's `regexp` does.
_LETTER_ESCAPES = frozenset("afnrtvdDsSwWbBA")
_NAMED_SETS = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
#: A pattern that every engine has always read alike: plain names, `*`, `?`, and `**` as a whole component.
_UNDISPUTED = re.compile(r"(?:(?:\*\*|(?:[\w.@%=,:~ -]|[*?](?!\*))+)(?:/|\Z))+", re.ASCII)
#: More lines than this would slow the engine's walk more than they are worth.
_MOST_LITERAL_LINES = 2000


@dataclass(frozen=True)
class Pattern:
    """One line: `text` is cleaned and has no `!`; `exception` is True where it had one; `regex` matches whole paths."""

    text: str
    exception: bool
    regex: re.Pattern[str]

    @property
    def folder(self) -> str:
        """The text without a trailing `/**` or `/*`."""
        text = self.text[:-3] if self.text.endswith("/**") else self.text
        return text[:-2] if text.endswith("/*") else text


class Ignore:
    """All patterns of a file, in order."""

    def __init__(self, patterns: Sequence[Pattern] = ()) -> None:
        self.patterns = tuple(patterns)
        # One look says of most paths that no pattern matches.
        self._any = re.compile("|".join(f"(?:{pattern.regex.pattern})" for pattern in patterns) or r"(?!)", re.ASCII)
        self._none = (False,) * len(patterns)

    def excludes(self, path: str, parent: Sequence[bool] | None) -> tuple[bool, Sequence[bool]]:
        """Whether the path is left out, and which patterns match it or a folder above it.

        `parent` is that second value for the path's folder, None at the top. The last pattern that matches wins.
        """
        if (parent is None or parent is self._none) and not self._any.fullmatch(path):
            return False, self._none
        excluded = False
        matched = [False] * len(self.patterns)
        for index, pattern in enumerate(self.patterns):
            match = parent is not None and parent[index]
            if not match:
                if pattern.exception != excluded:
                    continue  # it could not change anything
                match = pattern.regex.fullmatch(path) is not None
            if match:
                matched[index] = True
                excluded = not pattern.exception
        return excluded, matched

    def may_except_below(self, folder: str) -> bool:
        """Whether an exception can match something below an excluded folder; if not, it need not be walked."""
        exceptions = [pattern for pattern in self.patterns if pattern.exception]
        if any(_GLOB.intersection(pattern.folder) for pattern in exceptions):
            return True
        return any(f"{pattern.folder}/".startswith(f"{folder}/") for pattern in exceptions)


def read(context: str, dockerfile: str | None = None) -> Ignore:
    """The ignore file that counts: `<Dockerfile>.dockerignore` beside the Dockerfile, else `.dockerignore` of the context.

    The classic builder of the docker CLI knows only the second one; ours gets the same selection as BuildKit.
    """
    own = f"{dockerfile or os.path.join(context, 'Dockerfile')}.dockerignore"
    for path in (own, os.path.join(context, ".dockerignore")):
        try:
            with open(path, "rb") as handle:
                content = handle.read()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise GoldenJobsError(f"The ignore file {path} cannot be read: {error.strerror}.") from error
        return parse(content, path)
    return Ignore()


def parse(content: bytes, path: str = ".dockerignore") -> Ignore:
    """The patterns of an ignore file's content; `path` is for the error about a line that is no pattern."""
    patterns = []
    lines = content[3:] if content.startswith(b"\xef\xbb\xbf") else content
    for number, raw in enumerate(lines.split(b"\n"), 1):
        line = raw.decode("utf-8", "surrogateescape")
        if line.startswith("#"):
            continue
        line = line.strip(_SPACE)
        if not line:
            continue
        # The engine cleans a line twice: when it reads the file, and when it makes the pattern.
        mark, text = ("!", line[1:].strip(_SPACE)) if line.startswith("!") else ("", line)
        text = _clean(text) if text else ""
        if len(text) > 1 and text.startswith("/"):
            text = text[1:]
        text = _clean(f"{mark}{text}".strip(_SPACE))
        exception = text.startswith("!")
        text = text[1:] if exception else text
        if not text:
            raise GoldenJobsError(f"{path}, line {number}: '!' must be followed by the pattern of what is not to be ignored.")
        try:
            patterns.append(_compile(text, exception))
        except ValueError as error:
            raise GoldenJobsError(f"{path}, line {number}: {line!r} is not a valid pattern: {error}.") from error
    return Ignore(patterns)


def _clean(path: str) -> str:
    """Go's filepath.Clean: no double slashes, no `.`, `..` taken back where something stands before it."""
    rooted = path.startswith("/")
    parts: list[str] = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part != ".." or not rooted:
            parts.append(part)
    return ("/" if rooted else "") + "/".join(parts) or "."


def _compile(text: str, exception: bool) -> Pattern:
    """Translate as moby does, with its shortcuts, because they decide too: `**x` matches `ax`, `**x*` does not."""
    _check_syntax(text)
    # Go's scanner drops a byte order mark, a comparison of strings does not.
    kind, regex = _translate(text[1:] if text.startswith("\ufeff") else text)
    if kind == "exact":
        regex = re.escape(text)
    elif kind == "prefix":
        regex = rf"{re.escape(text[:-2])}(?s:.*)"
    elif kind == "suffix":
        regex = rf"(?s:(?:.*/)?){re.escape(text[3:])}" if text[2:3] == "/" else rf"(?s:.*){re.escape(text[2:])}"
    else:
        regex = _python_sets(regex)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # about sets that a later Python may read differently
            return Pattern(text, exception, re.compile(regex, re.ASCII))
    except re.error as error:
        raise ValueError(error.msg) from error


def _translate(text: str) -> tuple[str, str]:
    """How moby compares (`exact`, `prefix`, `suffix`, or `regex`), and its regular expression for the last one."""
    kind, regex = "exact", ""
    index = 0
    while index < len(text):
        char = text[index]
        if text.startswith("**", index):
            at_start = index == 0
            index += 3 if text.startswith("/", index + 2) else 2
            at_end = index >= len(text)
            kind = "prefix" if at_end and kind == "exact" else "regex"
            regex += ".*" if at_end else "(?:.*/)?"
            if at_start:
                kind = "suffix"
            continue
        index += 1
        if char in "*?":
            piece = "[^/]*" if char == "*" else "[^/]"
        elif char == "\\":
            piece = _escape(text[index])
            index += 1
        else:
            piece = f"\\{char}" if char in ".+()|{}$" else char
        regex += piece
        kind = "regex" if char in "*?[]\\" else kind
    return kind, regex


def _python_sets(regex: str) -> str:
    """Go's regular expressions know `[:alpha:]` in a set and take a second `[` as itself."""
    result = ""
    index, in_set = 0, False
    while index < len(regex):
        piece = regex[index : index + 2] if regex[index] == "\\" else regex[index]
        if in_set and piece == "[":
            named = re.match(r"\[:(\w+):\]", regex[index:])
            if named and named.group(1) not in _NAMED_SETS:
                raise ValueError(f"{named.group()} is not a set of characters")
            result += _NAMED_SETS[named.group(1)] if named else r"\["
            index += named.end() if named else 1
            continue
        in_set = piece == "[" or (in_set and piece != "]")
        result += piece
        index += len(piece)
    return result


def _escape(char: str) -> str:
    """A backslash and the next character: moby hands both to the regular expression, so letters keep their meaning there."""
    if char.isascii() and char.isalnum() and char not in _LETTER_ESCAPES:
        return r"\Z" if char == "z" else _refuse(f"a backslash before {char!r} stands for nothing here")
    return f"\\{char}"


def _refuse(reason: str) -> str:
    raise ValueError(reason)


def _check_syntax(text: str) -> None:
    """What Go's filepath.Match refuses: a backslash at the end, and sets that are empty, open, or have an open range."""
    index = 0
    while index < len(text):
        char = text[index]
        index += 1
        if char == "\\":
            if index == len(text):
                raise ValueError("it ends with a backslash")
            index += 1
        elif char == "[":
            index += text.startswith("^", index)
            first = True
            while first or not text.startswith("]", index):
                index = _set_member(text, index)
                if text.startswith("-", index):
                    index = _set_member(text, index + 1)
                first = False
            index += 1


def _set_member(text: str, index: int) -> int:
    """Index after one character of a set."""
    if index < len(text) and text[index] in "-]":
        raise ValueError("a set in brackets has no beginning or end of a range")
    index += 2 if text.startswith("\\", index) else 1
    if index >= len(text):
        raise ValueError("a bracket is not closed")
    return index


def written_out(ignore: Ignore, excluded: Sequence[str], special: Sequence[str] = ()) -> bytes:
    """An ignore file for this selection that engines of all versions read alike.

    `excluded` are the paths left out, a folder standing for all below it. They are written out literally, unless all
    versions read the patterns alike anyway, or there are too many. `special` are further paths to leave out.
    """
    alike = all(not pattern.exception and _UNDISPUTED.fullmatch(pattern.text) for pattern in ignore.patterns)
    alike = alike and not any("\n" in path for path in excluded)
    if alike or len(excluded) > _MOST_LITERAL_LINES:
        lines = [f"{'!' if pattern.exception else ''}{pattern.text}" for pattern in ignore.patterns]
    else:
        lines = [_literal(path) for path in excluded]
    return "".join(f"{line}\n" for line in [*lines, *map(_literal, special)]).encode("utf-8", "surrogateescape")


def _literal(path: str) -> str:
    """A pattern that matches just this path; engines before 23.0 need the backslash before `+(){}|`, too."""
    line = ""
    for char in path:
        if char in "*?[]\\^+(){}|":
            line += f"\\{char}"
        elif char == "\n" or "\udc80" <= char <= "\udcff":
            line += "?"  # cannot stand in an ignore file
        else:
            line += f"[{char}]" if char in _SPACE else char
    return f"\\{line}" if line[:1] in "#!" else line
