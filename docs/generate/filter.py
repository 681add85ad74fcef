#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""
filter.py FILE: what doxygen gets to read in its place. tarn.h has plain comments, which become doxygen's, and its rules
become groups. In Markdown, links to files that are no pages become plain text.
"""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import header  # noqa: E402

root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# ---- the header ------------------------------------------------------------------------------------------------------


def escape(text):
    text = re.sub(r"([\\@<>#$%&\"])", r"\\\1", text)
    return re.sub(r"(?<=\w)_(?=\W|$)|(?<=\W)_(?=\w)|\*", lambda match: "\\" + match[0], text)


def is_drawn(lines):
    """Code, tables and pictures: what is indented, or has columns."""
    return all(line.startswith("   ") for line in lines) or any(re.match(r" {2,}\S.* {3,}\S", line) for line in lines)


def flowing(line):
    line = line.strip()
    return "- " + escape(line[2:]) if line.startswith("- ") else escape(line)


def documentation(comment):
    text = ""
    for paragraph in header.paragraphs(comment):
        lines = paragraph.split("\n")
        if re.match(r"[A-Z][A-Z ]{5,}", lines[0]):
            text += "@par %s\n" % escape(lines.pop(0).capitalize())
        if not lines:
            text += "\n"
        elif is_drawn(lines):
            text += "@verbatim\n%s\n@endverbatim\n\n" % paragraph
        else:
            prose = "\n".join(flowing(line) for line in lines)
            text += re.sub(r"^Returns? ", "@return ", prose) + "\n\n"
    return text.rstrip("\n")


def comment_of(text, command=""):
    return "/** %s%s */\n" % (command, text) if text or command else ""


def members(code):
    """A comment behind something is about that; one before it is about what follows. References are escaped."""

    def convert(match):
        text = escape(re.sub(r"\s*\n\s*", " ", match[2].strip()))
        return (match[1] + " /**< " if match[1].strip() else match[1] + "/** ") + text + " */"

    return re.sub(r"(?m)^(.*?) */\*(.*?)\*/", convert, code, flags=re.S | re.M) if "/*" in code else code


def declarations(item):
    """Each function of several that share a comment has it."""
    prototypes = item.prototypes()
    if len(prototypes) > 1:
        return "".join(comment_of(documentation(item.comment)) + prototype + "\n" for prototype in prototypes)
    return comment_of(documentation(item.comment)) + members(item.code) + "\n"


def group_name(title):
    return re.sub(r"\W+", "_", title).strip("_")


def filter_header(path):
    essay, sections = header.read(path)
    print(comment_of(documentation(essay), "@file\n"))
    print("#include <stddef.h>\n#include <stdint.h>\n")
    for section in sections:
        title = section.title or "constants, status codes and handles"
        about, items = [], list(section.items)
        if items and items[0].comment and items[0].code.startswith("#define") and section.title:
            about.append(items[0].comment)
            items[0] = header.Item("", items[0].code)
        about += [item.comment for item in items if item.comment and not item.code]
        name = group_name(title)
        heading = "@defgroup %s %s\n\n" % (name, title[0].upper() + title[1:])
        print(comment_of("\n\n".join(map(documentation, about)), heading))
        print("/** @addtogroup %s\n@{ */\n" % name)
        for item in items:
            if item.code.strip():
                print(declarations(item))
        print("/** @} */\n")


# ---- Markdown --------------------------------------------------------------------------------------------------------


def filter_markdown(path):
    here = os.path.dirname(os.path.abspath(path))

    def link(match):
        bang, text, target = match[1], match[2], match[3]
        if bang or re.match(r"\w+:|#", target):
            return match[0]
        file = os.path.relpath(os.path.join(here, target.split("#")[0]), root)
        if file == "include/tarn.h":
            return "[%s](tarn_8h.html)" % text
        if file == "README.md" or re.fullmatch(r"docs/(howto/)?[a-z0-9-]+\.md", file):
            return "[%s](%s)" % (text, target.split("#")[0])  # doxygen knows no place in another page
        shown = text.replace("`", "")
        names_itself = os.path.basename(file) in shown or file.rstrip("/") == shown.rstrip("/")
        return "`%s`" % shown if names_itself else "%s (`%s`)" % (text, file)

    text = open(path, encoding="utf-8").read()
    page = os.path.basename(path).removesuffix(".md").lower()
    linked = set(re.findall(r"\]\(#([\w-]+)\)", text))

    def heading(match):
        slug = re.sub(r"[^\w-]", "", match[2].lower().replace(" ", "-"))
        return "%s {#%s-%s}" % (match[0], page, slug) if slug in linked else match[0]

    text = re.sub(r"(?m)^(#+) (.*)$", heading, text)
    text = re.sub(r"\]\(#([\w-]+)\)", r"](#%s-\1)" % page, text)
    parts = re.split(r"(?ms)(^```.*?^```$)", text)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"(!?)\[([^\]\n]*(?:\n[^\]\n]*)?)\]\(([^)\s]+)\)", link, parts[i])
    sys.stdout.write("".join(parts))


filter_markdown(sys.argv[1]) if sys.argv[1].endswith(".md") else filter_header(sys.argv[1])
