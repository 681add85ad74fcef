#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""
manual.py TARN HEADER OUT: writes man pages to OUT, by scdoc: tarn.1 and a page for each verb from what `tarn help`
prints, and for the C API pages of section 3 from the comments of tarn.h. These two are the only sources.
"""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import header  # noqa: E402

tarn, header_path, out = sys.argv[1:4]
COMPILE = "cc program.c $(pkg-config --cflags --libs tarn)"
ENTRY = re.compile(r"^( {2,6}\S.*?) {2,}(\S.*)$")


def say(*arguments):
    return subprocess.run([tarn, *arguments], check=True, stdout=subprocess.PIPE).stdout.decode()


version = say("version").split()[1]


def escape(text):
    return re.sub(r"([\\*_`#\[~<.+-])", r"\\\1", text)


def literal(lines):
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return "```\n" + "\n".join(line[indent:] for line in lines) + "\n```\n"


def write(name, section, text):
    source = '%s(%d) "tarn %s" "tarn manual"\n\n%s' % (name, section, version, text)
    page = subprocess.run(["scdoc"], input=source.encode(), stdout=subprocess.PIPE, check=False)
    if page.returncode:
        open("%s/%s.scd" % (out, name), "w", encoding="utf-8").write(source)
        sys.exit("manual: scdoc does not take %s/%s.scd" % (out, name))
    open("%s/%s.%d" % (out, name, section), "w", encoding="utf-8").write(tidy(page.stdout.decode()))


def tidy(roff):
    """No paragraphs where there is nothing to part, as mandoc wants it; no hyphens in names, which .TH allows."""
    roff = re.sub(r"(?m)^(\.TH .*)$", r"\1\n.nh\n.ad l", roff)
    before = None
    while before != roff:
        before = roff
        roff = re.sub(r"(?m)^(\.(?:SH|SS|TH|ad|P|RS)\b.*\n)\.P\n", r"\1", roff)
        roff = re.sub(r"(?m)^\.P\n(?=\.(?:SH|SS|P)\b)", "", roff)
        roff = re.sub(r"(?m)^\.P\n((?:\.fi\n)?\.RE\n)", r"\1.P\n", roff)
    return re.sub(r"\n(?:\.P\n)+$", "\n", roff)


def link(name, page):
    os.symlink("%s.3" % page, "%s/%s.3" % (out, name))


# ---- section 1: from the help pages ----------------------------------------------------------------------------------


def entry_name(name):
    option = re.match(r"(--\S+) (.*)$", name)
    return "*%s* _%s_" % (escape(option[1]), escape(option[2])) if option else "*%s*" % escape(name)


def entries(lines):
    """Lines of a section of a help page: names with what is said of them, and sentences."""
    text, literals = "", []

    def flush():
        nonlocal text, literals
        if literals:
            indented = literal(literals).rstrip("\n").split("\n")
            text += "\n" + "\n".join("\t" + line for line in indented) + "\n"
        literals = []

    column = 0
    for line in lines:
        indent = len(line) - len(line.lstrip())
        match = ENTRY.match(line) if indent < 7 else None
        if match:
            flush()
            column = line.index(match[2], len(match[1]))
            text += "\n%s\n\t%s\n" % (entry_name(match[1].strip()), escape(match[2]))
        elif indent >= 7 and (indent > column or literals):
            literals.append(line)
        elif indent >= 7:
            text += "\t%s\n" % escape(line.strip())
        else:
            flush()
            text += ("\n" if column else "") + escape(line.strip()) + "\n"
            column = 0
    flush()
    return text.lstrip("\n") + "\n"


def is_section(block):
    return len(block) > 1 and not block[0].startswith(" ") and all(line.startswith("  ") for line in block[1:])


def blocks(page):
    return [block.split("\n") for block in page.strip("\n").split("\n\n")]


def body(page_blocks):
    """Sections in their order; paragraphs behind sections are the notes."""
    text, notes, seen_section = "# DESCRIPTION\n\n", "", False
    for block in page_blocks:
        if is_section(block):
            seen_section = True
            title = {"exit codes": "EXIT STATUS"}.get(block[0], block[0].upper())
            lines = block[1:]
            text += "# %s\n\n%s\n" % (escape(title), literal(lines) if title == "EXAMPLES" else entries(lines))
        elif all(line.startswith("  ") for line in block):
            text += literal(block) + "\n"
        elif seen_section:
            notes += escape("\n".join(block)) + "\n\n"
        else:
            text += escape("\n".join(block)) + "\n\n"
    return text + ("# NOTES\n\n" + notes if notes else "")


def see_also(names):
    return "# SEE ALSO\n\n" + ", ".join("*%s*(%s)" % (escape(name), section) for name, section in names) + "\n"


def verb_page(verb, summary, verbs):
    page = say("help", verb)
    all_blocks = blocks(page)
    usage = re.match(r"usage: tarn (\S+) ?(.*)", all_blocks[0][0])
    mentioned = [v for v in verbs if v != verb and re.search(r"\btarn (help )?%s\b" % v, page)]
    text = "# NAME\n\ntarn-%s - %s\n\n# SYNOPSIS\n\n*tarn %s* %s\n\n" % (verb, escape(summary), verb, escape(usage[2]))
    text += body(all_blocks[1:])
    write("tarn-" + verb, 1, text + see_also([("tarn", 1)] + [("tarn-" + v, 1) for v in mentioned]))


def overview_page(verbs):
    all_blocks = blocks(say("help"))
    text = "# NAME\n\ntarn - %s\n\n# SYNOPSIS\n\n" % escape(all_blocks[0][0].split(": ", 1)[1])
    usage = next(block for block in all_blocks if block[0].startswith("usage: "))
    text += "*tarn* %s\n\n" % escape(usage[0].removeprefix("usage: tarn "))
    rest = [b for b in all_blocks[1:] if b is not usage and not b[0].startswith(("  tarn ", "'tarn help"))]
    commands = "# COMMANDS\n\n" + "\n".join("*tarn-%s*(1)\n\t%s\n" % (v, escape(s)) for v, s in verbs.items())
    parts = re.split(r"(?m)^(?=# ENVIRONMENT)", body(rest))
    write("tarn", 1, text + parts[0] + commands + "\n" + "".join(parts[1:]) + see_also([("tarn", 3)]))


# ---- section 3: from the header --------------------------------------------------------------------------------------


def list_line(line):
    mark = "- " if re.match(r" *- ", line) else "  "
    return mark + escape(re.sub(r"^ *(- )?", "", line))


def prose(comment):
    """Paragraphs flow; what is indented, or drawn with columns, stays as it is."""
    text = ""
    for paragraph in header.paragraphs(comment):
        lines = paragraph.split("\n")
        if all(line.startswith("   ") for line in lines):
            text += literal(lines) + "\n"
        elif any(re.match(r" *- ", line) for line in lines):
            text += "\n".join(list_line(line) for line in lines) + "\n\n"
        else:
            text += escape("\n".join(line.strip() for line in lines)) + "\n\n"
    return text


def page_name(section):
    opens = [name for name in section.functions() if name.endswith("_open")]
    return opens[0].removesuffix("_open") if opens else (section.functions() or section.types())[0]


def api_page(section, all_pages):
    name = page_name(section)
    functions = section.functions()
    listed = list(dict.fromkeys([name] + functions))
    prototypes = [p for item in section.items for p in item.prototypes()]
    text = "# NAME\n\n%s - %s\n\n" % (", ".join(escape(n) for n in listed), escape(section.title))
    text += "# SYNOPSIS\n\n" + literal(["#include <tarn.h>"] + ([""] + prototypes if prototypes else [])) + "\n"
    first = section.items[0]
    if first.comment and first.code.startswith("#define"):  # it opens the section, and the line only lies behind it
        section.items[:1] = [header.Item(first.comment, ""), header.Item("", first.code)]
    about = "".join(prose(item.comment) for item in section.items if item.comment and not item.code)
    text += "# DESCRIPTION\n\n" + (about or "See *tarn*(3) for results, threads, fork and memory.\n\n")
    for item in section.items:
        if item.functions():
            names = escape(", ".join(item.functions()))
            text += "## %s\n\n%s\n%s" % (names, literal(item.prototypes()), prose(item.comment))
    kinds = [item for item in section.items if item.types() or re.search(r"^#define", item.code, re.M)]
    if kinds:
        text += "# TYPES\n\n"
        for item in kinds:
            text += (prose(item.comment) if item.comment else "") + literal(item.code.split("\n")) + "\n"
    others = [("tarn", 3)] + [(other, 3) for other in all_pages if other != name]
    write(name, 3, text + see_also(others))
    for other in functions + section.types():
        if other != name:
            link(other, name)


def guide_part(part):
    """A part of the header's essay: a heading in capitals, and a list, or paragraphs and a table."""
    head, rest = part.split("\n", 1)
    text = "# %s\n\n" % escape(re.sub(r" \(.*", "", head))
    if re.match(r" *- ", rest):
        return text + prose(rest)
    for paragraph in rest.strip("\n").split("\n\n"):
        is_table = re.match(r" {2,}\S+ .*  ", paragraph)
        text += literal(paragraph.split("\n")) + "\n" if is_table else prose(paragraph)
    return text


def guide_page(essay, first, pages):
    parts = re.split(r"\n\n(?=[A-Z][A-Z ]{5,})", essay)
    title, picture = parts[0].split("\n\n", 1)
    text = "# NAME\n\ntarn - %s\n\n" % escape(title.split(": ", 1)[1].rstrip("."))
    text += "# SYNOPSIS\n\n" + literal(["#include <tarn.h>", "", COMPILE]) + "\n"
    text += "# DESCRIPTION\n\n" + literal(picture.split("\n")) + "\n"
    text += "".join(map(guide_part, parts[1:])) + "# STATUS CODES AND CONSTANTS\n\n"
    for item in first.items:
        text += prose(item.comment) if item.comment else ""
        text += literal(item.code.split("\n")) + "\n" if item.code.strip() else ""
    write("tarn", 3, text + see_also([("tarn", 1)] + [(name, 3) for name in pages]))
    for name in first.types():
        link(name, "tarn")


def main():
    os.makedirs(out, exist_ok=True)
    for old in os.listdir(out):
        os.unlink(os.path.join(out, old))
    verbs = dict(re.findall(r"^  tarn (\S+) {2,}(.*)$", say("help"), re.M))
    for verb, summary in verbs.items():
        verb_page(verb, summary, verbs)
    overview_page(verbs)
    essay, sections = header.read(header_path)
    pages = [page_name(section) for section in sections[1:]]
    guide_page(essay, sections[0], pages)
    for section in sections[1:]:
        api_page(section, pages)


main()
