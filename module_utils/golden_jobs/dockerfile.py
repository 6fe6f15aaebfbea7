"""What has to be known of a Dockerfile without building it: its instructions and its base images."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::([-+])([^}]*))?\}|(\w+))")

_HERE_DOCUMENT = re.compile(r"(?<!<)<<-?['\"]?([A-Za-z_]\w*)['\"]?")


@dataclass(frozen=True)
class Instruction:
    """One instruction: `line` is the 1-based line where it starts, `text` the joined text after the keyword."""

    line: int
    keyword: str
    text: str


def parse(content: str) -> list[Instruction]:
    """The instructions of a Dockerfile, continuation lines joined by one blank, comments and the text of here-documents dropped."""
    instructions: list[Instruction] = []
    pending, start = "", 0
    lines = content.splitlines()
    inside: list[str] = []  # the ends of here-documents whose text is being passed over
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if inside:
            if line == inside[0]:
                inside.pop(0)
            continue
        if not line or line.startswith("#"):
            continue  # also inside a continued instruction, as Docker does it
        if not pending:
            start = number
        if line.endswith("\\"):
            pending += line[:-1].rstrip() + " "
            continue
        keyword, _blank, text = (pending + line).partition(" ")
        instructions.append(Instruction(start, keyword.upper(), text.strip()))
        inside = [end for end in here_documents(instructions[-1]) if end in (later.strip() for later in lines[number:])]
        pending = ""
    if pending:
        keyword, _blank, text = pending.partition(" ")
        instructions.append(Instruction(start, keyword.upper(), text.strip()))
    return instructions


def here_documents(instruction: Instruction) -> list[str]:
    """The words that end the here-documents of an instruction, in order."""
    return _HERE_DOCUMENT.findall(instruction.text) if instruction.keyword in ("RUN", "COPY", "ADD") else []


def base_images(content: str, build_args: Mapping[str, str] | None = None) -> list[str]:
    """The images that a build starts from or copies from, in order of appearance, without the build's own stages.

    Build arguments declared before the first FROM are filled in, with `build_args` before their defaults.
    """
    arguments: dict[str, str] = {}
    stages: set[str] = {"scratch"}
    images: list[str] = []

    def add(reference: str) -> None:
        if reference.lower() not in stages and not reference.isdigit() and reference not in images:
            images.append(reference)

    seen_from = False
    for instruction in parse(content):
        if instruction.keyword == "ARG" and not seen_from:
            for word in shlex.split(instruction.text):
                name, _equals, default = word.partition("=")
                arguments[name] = (build_args or {}).get(name, _substitute(default, arguments))
        elif instruction.keyword == "FROM":
            seen_from = True
            words = [word for word in instruction.text.split() if not word.startswith("--")]
            if not words:
                continue
            add(_substitute(words[0], arguments))
            if len(words) == 3 and words[1].upper() == "AS":
                stages.add(words[2].lower())
        elif instruction.keyword == "COPY":
            source = re.search(r"--from=(\S+)", instruction.text)
            if source:
                add(_substitute(source.group(1), arguments))
    return images


def locate(content: str, step: str) -> Instruction | None:
    """The instruction that a builder's step text (`RUN pip install …`) stands for, or None."""
    wanted = " ".join(step.split())
    for instruction in parse(content):
        if " ".join(f"{instruction.keyword} {instruction.text}".split()) == wanted:
            return instruction
    return None


def _substitute(text: str, arguments: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        found = arguments.get(match.group(1) or match.group(4), "")
        if match.group(2) == "-":
            return found or match.group(3)
        if match.group(2) == "+":
            return match.group(3) if found else ""
        return found

    return _VARIABLE.sub(value, text)
