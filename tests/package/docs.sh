#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# script/docs makes HTML of the documents and the header without a warning, in which each function is described and each
# link leads somewhere.
. "${0%/*}/common.sh"
need doxygen python3
TARN_DOCS=$scratch/docs "$TARN_SOURCE/script/docs" >"$scratch/log" 2>&1 || {
    cat "$scratch/log"
    die "script/docs failed"
}
declared_functions >"$scratch/declared"
python3 - "$scratch/docs/html" "$scratch/declared" "$TARN_SOURCE/docs" <<'END'
import glob, os, re, sys
html, declared, docs = sys.argv[1:]
os.chdir(html)
pages = {name: open(name, encoding="utf-8").read() for name in glob.glob("*.html")}
anchors = {name: set(re.findall(r'(?:id|name)="([^"]+)"', text)) for name, text in pages.items()}
parts = [part for name, text in pages.items() if name.startswith("group__") for part in text.split('<h2 class="memtitle">')]
for function in open(declared).read().split():
    described = [part for part in parts if "</span>%s()</h2>" % function in part and re.search(r'class="memdoc">\s*<p>', part)]
    assert described, "%s is in no group, or not described" % function
for document in os.listdir(docs):
    stem = document.removesuffix(".md")
    assert stem == document or stem == "README" or "md_docs_%s.html" % stem in pages, "%s has no page" % document
for name, text in pages.items():
    for target in re.findall(r'(?:href|src)="([^"]+)"', text):
        file, _, anchor = target.partition("#")
        if re.match(r"\w+:", target):
            continue
        assert os.path.exists(file or name), "%s: no %s" % (name, target)
        assert not anchor or (file or name) not in pages or anchor in anchors[file or name], "%s: no %s" % (name, target)
END
