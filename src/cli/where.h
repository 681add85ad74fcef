/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Conditions on messages: "FIELD OP VALUE". A field is one of the payload's struct (record.h), or what each message
 * has: bytes, sequence, publisher, lost. Numbers are compared exactly; a value is rounded first to what the field can
 * have.
 */
#ifndef TARN_CLI_WHERE_H
#define TARN_CLI_WHERE_H

#include "cli/record.h"
#include "tarn.h"

enum where_operator { WHERE_EQUAL, WHERE_UNEQUAL, WHERE_LESS, WHERE_AT_MOST, WHERE_GREATER, WHERE_AT_LEAST };
enum where_part { WHERE_RECORD, WHERE_BYTES, WHERE_SEQUENCE, WHERE_PUBLISHER, WHERE_LOST };

struct where {
    const char *text; /* as given */
    char path[RECORD_PATH_BYTES];
    enum where_operator how;
    const char *value;
    size_t value_bytes;
    enum where_part part;
    struct record_place place; /* WHERE_RECORD */
    long double number;
};

/* Says what is wrong, and returns false. text must stay. */
bool where_parse(struct where *ret, const char *text);
/* Looks the field up; record NULL: no struct is known. Says what is wrong, and returns false. */
bool where_resolve(struct where *where, const struct record *record);
/* The message is at least as long as the record. */
bool where_holds(const struct where *where, const tarn_message *message);

#endif
