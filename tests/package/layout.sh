#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The offsets in docs/layout.md are those that tests/unit/layout.c finds in the structs, and none of these is missing there.
. "${0%/*}/common.sh"
need python3
python3 - "$TARN_SOURCE/docs/layout.md" "$TARN_SOURCE/tests/unit/layout.c" <<'END'
import re, sys
document, test = (open(name, encoding="utf-8").read() for name in sys.argv[1:])
structs = {}
for struct, field, offset in re.findall(r"FIELD\((\w+), (\w+), (\d+)\)", test):
    structs.setdefault(struct, {})[field] = int(offset)
BEGINS_AT = {"queue_words": structs["publisher_slot"]["queue"]}  # its table counts from the slot's start
NOT_TOLD = {"reserved", "queue"}


def rows(table):
    """{field: offset}, and checks that no field reaches into the next"""
    fields, end = {}, 0
    for offsets, sizes, names in re.findall(r"^\| ([\d, ]+) \| ([\dx, ]+) \| ([\w, ]+) \|", table, re.MULTILINE):
        for offset, size, name in zip(offsets.split(", "), sizes.split(", "), names.split(", "), strict=True):
            count = re.fullmatch(r"(?:(\d+) x )?(\d+)", size)
            assert int(offset) >= end, f"{name} starts at {offset}, but what is before it ends at {end}"
            end = int(offset) + int(count[1] or 1) * int(count[2])
            fields[name] = int(offset)
    return fields


def differences(struct, fields):
    begin = BEGINS_AT.get(struct, 0)
    wanted = {name: begin + offset for name, offset in structs[struct].items()}
    wrong = [f"{name} at {offset}" for name, offset in fields.items() if wanted.get(name) != offset]
    return wrong + [f"{name} is missing" for name in wanted.keys() - fields.keys() - NOT_TOLD]


tables = re.findall(r"^\| offset \| size \| field \|.*\n\|[-|]+\n((?:\|.*\n)+)", document, re.MULTILINE)
told = set()
for table in tables:
    fields = rows(table)
    nearest = min(structs, key=lambda struct: (len(differences(struct, fields)), struct))
    wrong = differences(nearest, fields)
    assert fields and not wrong, f"docs/layout.md, nearest to struct {nearest}: " + ", ".join(wrong)
    told.add(nearest)
assert len(told) == len(tables) == 10, f"{len(tables)} tables, of {sorted(told)}"
print(f"{len(tables)} tables are right: " + ", ".join(sorted(told)))
END
