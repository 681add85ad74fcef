# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Reads include/tarn.h as a guide: its essay, its sections, and in each what comments are about which declarations."""
import re

GUARDS = ("#ifndef TARN_H", "#define TARN_H", "#include", "#ifdef", "#endif", 'extern "C"')
RULE = re.compile(r"^/\* ---- (.*?) -+ \*/$")


class Item:
    """A comment and the declarations that follow it without a blank line; either may be empty."""

    def __init__(self, comment, code):
        self.comment, self.code = comment, code

    def functions(self):
        return [match[1] for match in re.finditer(r"^[a-z].*?\b(tarn_\w+)\([^;{]*\);", self.code, re.M | re.S)]

    def prototypes(self):
        return [match[0] for match in re.finditer(r"^[a-z][^;{}]*\);", self.code, re.M)]

    def types(self):
        return re.findall(r"^(?:typedef struct|enum) (\w+) \{", self.code, re.M)


class Section:
    def __init__(self, title):
        self.title, self.items = title, []

    def functions(self):
        return [name for item in self.items for name in item.functions()]

    def types(self):
        return [name for item in self.items for name in item.types()]


def full_names(text):
    """_CLOSED stands for TARN_ERROR_CLOSED wherever errors are listed."""
    return re.sub(r"(?<![\w.])_([A-Z][A-Z_]+)\b", r"TARN_ERROR_\1", text)


def paragraphs(comment):
    """What a call returns is a paragraph of its own."""
    return re.split(r"\n\n|(?<=[.)])\s(?=Returns? )", full_names(comment))


def strip_comment(lines):
    text = "\n".join(lines)
    text = re.sub(r"^/\*+ ?", "", text)
    text = re.sub(r"\s*\*/$", "", text)
    return "\n".join(re.sub(r"^ \* ?", "", line) for line in text.split("\n")).strip("\n")


def blocks_of(lines):
    """Runs of lines without a blank one between; those of a struct's body stay together."""
    block, depth = [], 0
    for line in lines:
        if not line.strip() and depth == 0:
            if block:
                yield block
            block = []
            continue
        code = re.sub(r"/\*.*?\*/", "", line)
        if not line.lstrip().startswith(("*", "/*")):
            depth += code.count("{") - code.count("}")
        block.append(line)
    if block:
        yield block


def split_block(block):
    """Comments at the start of a line, and what follows each."""
    comment, code, inside = [], [], False
    for line in block:
        if not inside and line.startswith("/*"):
            if code:
                yield Item(strip_comment(comment) if comment else "", "\n".join(code))
                comment, code = [], []
            inside = True
        if inside:
            comment.append(line)
            inside = not line.rstrip().endswith("*/")
        else:
            code.append(line)
    yield Item(strip_comment(comment) if comment else "", "\n".join(code))


def read(path):
    """Returns the essay at the top, and the sections; the first one, without a title, is what comes before any rule."""
    lines = open(path, encoding="utf-8").read().split("\n")
    end = next(i for i, line in enumerate(lines) if line.startswith("#ifndef TARN_H"))
    essay = strip_comment(lines[1:end])
    sections = [Section("")]
    run = []

    def flush():
        for block in blocks_of(run):
            sections[-1].items += list(split_block(block))
        run.clear()

    for line in lines[end:]:
        match = RULE.match(line)
        if match:
            flush()
            sections.append(Section(match[1]))
        elif not line.startswith(GUARDS) and line != "}":
            run.append(line)
    flush()
    return essay, sections
