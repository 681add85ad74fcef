/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Payload that is a C struct, by its description:
 *
 *     u32 id; f64 xyz[3]; char name[16]; struct { i16 x, y; } corners[4];
 *
 * Fields lie where the C compiler of this machine puts them. Types are u8 to u64, i8 to i64, f32, f64, char, bool, and
 * what C calls them: uint32_t, unsigned long, double and so on. Arrays have one dimension or two. A struct may be
 * named, and be in a "struct name { ... };" as a whole; comments are skipped. Before a list of fields, or before the
 * word struct:
 *
 *     packed         no padding in it, nor in what is in it, as with #pragma pack(1)
 *     big-endian     numbers in it, and in what is in it, have their most significant byte first
 *
 *   record.c         descriptions, and where a field lies
 *   record_text.c    records as text, JSON and CSV
 *
 * Descriptions come from topics, too, so from other processes: nothing in them is believed. Records are looked at only
 * as far as record->bytes, which the caller compares with the message.
 */
#ifndef TARN_CLI_RECORD_H
#define TARN_CLI_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RECORD_NAME_BYTES = 64, RECORD_DEPTH_MAX = 16, RECORD_PATH_BYTES = 2048 };

enum record_kind { RECORD_UNSIGNED, RECORD_SIGNED, RECORD_REAL, RECORD_BOOL, RECORD_CHAR, RECORD_STRUCT };

struct record_field {
    char name[RECORD_NAME_BYTES];
    enum record_kind kind;
    bool big_endian;
    uint64_t offset, bytes; /* in the struct it is in; bytes of one element */
    unsigned dimensions;    /* 0: no array */
    uint64_t counts[2];
    struct record *record; /* RECORD_STRUCT: what an element is; else NULL */
};

struct record {
    uint64_t bytes;
    uint64_t alignment;
    struct record_field *fields;
    size_t count;
    unsigned users; /* fields that have it as their record, or whoever parsed it */
};

struct record_error {
    size_t place; /* in the description */
    char text[200];
};

/* NULL: ret_error says where and why. Else record_free() it. */
struct record *record_parse(const char *text, size_t length, struct record_error *ret_error);
void record_free(struct record *record); /* NULL is allowed */

/* Says it with the line of the description and a mark below the place. what: whose description it is. */
void record_say_error(const char *what, const char *text, size_t length, const struct record_error *error);

/* One element, or one string, of a record. */
struct record_place {
    const struct record_field *field;
    uint64_t offset; /* from the record's start */
    bool is_text;    /* an array of char; text_bytes of them */
    uint64_t text_bytes;
};

/*
 * Finds a path such as id, xyz[2] or pose.q[1][0]. Returns false with why in ret_error: a sentence without a full stop.
 */
bool record_find(const struct record *record, const char *path, struct record_place *ret, char *ret_error, size_t size);

/* Numbers, from where their bytes lie. Characters are numbers from 0 to 255. */
uint64_t record_unsigned(const struct record_field *field, const void *place);
int64_t record_signed(const struct record_field *field, const void *place);
double record_real(const struct record_field *field, const void *place);

/* How much of an array of char is text: up to the first zero. */
size_t record_text_bytes(const void *place, uint64_t count);

/* ---- record_text.c -------------------------------------------------------------------------------------------- */

void record_print_text(const struct record *record, const void *data); /* id: 1, xyz: [1, 2.5, nan], name: "front" */
void record_print_json(const struct record *record, const void *data); /* NaN and infinity are null */
void record_print_csv_header(const struct record *record);
void record_print_csv(const struct record *record, const void *data, bool is_terminal);

/* A cell of CSV, quoted where need be; on a terminal, what would garble it is escaped. */
void csv_text(const void *text, size_t count, bool is_terminal);

#endif
