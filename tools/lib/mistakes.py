# SPDX-License-Identifier: GPL-2.0
"""The mechanical mistakes that one can make in a C function, for tools/mutate.

No tool in Debian does this: mull takes only programs that clang has built for the host, and coccinelle changes all
places at once and has no rule for "every statement". For code in kernel style a tokenizer is enough."""

from __future__ import annotations

import re
from typing import Iterator, NamedTuple

from lib.base import Stop

# Words that are easily mixed up: each is replaced by each other one of its group.
ALIKE = (
    ("==", "!="), ("<=", "<"), (">", ">="), ("&&", "||"), ("&", "|"), ("0", "1"), ("continue", "break"),
    ("atomic64_inc_return", "atomic64_read"), ("d_is_negative", "d_really_is_negative", "d_unhashed"),
    ("d_really_is_positive", "d_is_positive", "d_unhashed"), ("d_mountpoint", "d_unhashed", "cant_mount"),
    ("simple_empty", "d_unhashed"), ("IS_ERR", "IS_ERR_OR_NULL", "!"), ("S_ISDIR", "S_ISREG"), ("dput", "end_removing"), ("clear_nlink", "drop_nlink"),
    ("d_move", "d_exchange"), ("RENAME_EXCHANGE", "RENAME_NOREPLACE"), ("inode_unlock", "inode_unlock_shared"),
    ("fuse_dir_changed", "fuse_invalidate_attr", "fuse_outdate_attr"))
DOUBLED = re.compile(r"[di]put|end_|\w*unlock")
JUMPS = ("return", "goto", "break", "continue")


class Part(NamedTuple):
    """A statement: what it is, where, and the condition and statements in it."""
    kind: str  # its first word, "{", "label:", "declaration" or "simple"
    start: int
    end: int
    condition: tuple[int, int] = (0, 0)
    parts: tuple[Part, ...] = ()

    def everything(self) -> list[Part]:
        return [self] + [below for part in self.parts for below in part.everything()]


class Parser:
    """Finds the statements of a function."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = [word for word in re.finditer(r"/\*.*?\*/|\w+|\S", text, re.S) if not word[0].startswith("/*")]
        self.at = next(i for i, word in enumerate(self.words) if word[0] == "{")
        self.body = self.statement()

    def skip(self, end: str) -> int:
        """Goes on behind the next word that is end, outside of parentheses; returns where that is."""
        depth = 0
        while depth or self.words[self.at][0] != end:
            depth += {"(": 1, ")": -1}.get(self.words[self.at][0], 0)
            self.at += 1
        self.at += 1
        return self.words[self.at - 1].start()

    def statement(self) -> Part:
        word, start, parts = self.words[self.at][0], self.words[self.at].start(), []
        if word == "{":
            self.at += 1
            while self.words[self.at][0] != "}":
                parts.append(self.statement())
            return Part(word, start, self.skip("}") + 1, parts=tuple(parts))
        if word in ("if", "while"):
            self.at += 2
            condition = self.words[self.at].start(), self.skip(")")
            parts.append(self.statement())
            if self.words[self.at][0] == "else":
                self.at += 1
                parts.append(self.statement())
            return Part(word, start, parts[-1].end, condition, tuple(parts))
        if word == "do":
            self.at += 1
            parts.append(self.statement())
            self.at += 2
            condition = self.words[self.at].start(), self.skip(")")
            return Part(word, start, self.skip(";") + 1, condition, tuple(parts))
        if word in ("for", "switch"):
            raise Stop(f"the fix has a '{word}': teach Parser.statement() in tools/lib/mistakes.py what that is")
        if self.words[self.at + 1][0] == ":":
            return Part("label:", start, self.skip(":") + 1)
        end = self.skip(";") + 1
        if word not in JUMPS:
            word = "declaration" if re.match(r"\w+[\s*]+\w", self.text[start:end]) else "simple"
        return Part(word, start, end)


def statements(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Mistakes with statements and conditions: which characters are replaced, by what, and a name if need be."""
    body = Parser(text).body
    parts = body.everything()
    returns = [text[part.start:part.end] for part in parts if part.kind == "return"]
    for part in parts:
        kind, start, end, condition, below = part
        words = text[start:end]
        if kind in (*JUMPS, "simple") and part != body.parts[-1]:
            yield start, end, ";", ""
        if kind in JUMPS:
            yield from ((start, end, new, "") for new in returns if new != words)
        if kind == "simple" and DOUBLED.match(words):
            yield start, end, words + " " + words, ""
        for one, two in zip(below, below[1:]) if kind == "{" else ():
            if {one.kind, two.kind} <= {"simple", "if", "while", "do"}:
                first, between, second = text[one.start:one.end], text[one.end:two.start], text[two.start:two.end]
                yield one.start, two.end, second + between + first, " <-> ".join(
                    swapped.split("\n")[0] for swapped in (first, second))
        if kind == "if" and len(below) == 2:  # no else
            yield below[0].end, below[1].start, " ", ""
        if kind in ("if", "while", "do"):
            start, end = condition
            yield from ((start, end, new, "") for new in (f"!({text[start:end]})", "1", "0"))
            operands = re.split(r"\s+(?:&&|[|]{2})\s+", text[start:end])
            for operand in operands if len(operands) > 1 else ():
                at = text.index(operand, start)
                yield start, end, operand, ""
                yield at, at + len(operand), f"!({operand})", ""


def words(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Mistakes in which one word is used in place of another."""
    parts = Parser(text).body.everything()
    spans = [part.condition for part in parts] + [
        (part.start, part.end) for part in parts if part.kind in (*JUMPS, "simple")]
    spans += [(text.index("=", part.start), part.end) for part in parts
              if part.kind == "declaration" and "=" in text[part.start:part.end]]
    alike = [("|=", "="), *((old, new) for group in ALIKE for old in group for new in group)]
    labels = [text[part.start:part.end - 1] for part in parts if part.kind == "label:"]
    alike += [(f"goto {old}", f"goto {new}") for old in labels for new in labels]
    # A variable for another one of its type, and an inode for another one.
    names: dict[str, list[str]] = {}
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    for kind, some in re.findall(r"\b(?!return|goto)(\w+) (\*?\w+(?:, \*\w+)*)(?=[,;)]| =)", code):
        names.setdefault(kind, []).extend(re.findall(r"\w+", some))
    names.setdefault("inode", []).extend(f"d_inode({entry})" for entry in names.get("dentry", ()))
    alike += [(old, new) for some in names.values() for old in some for new in some]
    for old, new in alike:
        before, behind = (r"(?<![\w>.])", r"(?!\w)") if old[0].isalnum() else ("(?<= )", r"(?=\s)")
        for span in spans if old != new else ():
            for match in re.compile(before + re.escape(old) + behind).finditer(text, *span):
                assigned = re.search(r"(\w+) = [^;]*$", text[:match.start()])
                if not (text.startswith(" = ", match.end()) and "(" in new or assigned and assigned[1] == new):
                    yield match.start(), match.end(), new, ""
    for match in re.finditer(r"/\*.*?\*/|(-E[A-Z]+\b)", text, re.S):
        yield from ((*match.span(), new, "") for new in ("0", "-EINVAL") if match[1])


def line(text: str, start: int, end: int) -> str:
    """The lines that characters are in, as one."""
    return " ".join(text[text.rfind("\n", 0, start) + 1:text.find("\n", end)].split())


def mistakes(text: str) -> Iterator[tuple[str, str]]:
    """Every mistake in a function: a name for it that does not depend on where it is, and the function with it."""
    seen, names = {"".join(text.split())}, dict[str, int]()
    for start, end, new, name in (*statements(text), *words(text)):
        mutated = text[:start] + new + text[end:]
        if (key := "".join(mutated.split())) not in seen:
            seen.add(key)
            name = name or f"{line(text, start, end)} -> {line(mutated, start, start + len(new))}"
            names[name] = names.get(name, 0) + 1
            yield name + (f" ({names[name]})" if names[name] > 1 else ""), mutated
