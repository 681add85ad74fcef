/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See where.h. Numbers are long doubles, which hold each 64-bit integer as it is. */
#include "cli/where.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

_Static_assert(LDBL_MANT_DIG >= 64, "a long double holds each 64-bit integer");

#define SPACES " \t"
#define PATH_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.[]"

static bool refuse(const struct where *where, const char *why) {
    say("--where '%s': %s", where->text, why);
    return false;
}

/* ---- as text -------------------------------------------------------------------------------------------------- */

static const char *parse_operator(const char *text, enum where_operator *ret) {
    static const struct {
        const char *text;
        enum where_operator how;
    } operators[] = {{"==", WHERE_EQUAL}, {"!=", WHERE_UNEQUAL}, {"<=", WHERE_AT_MOST}, {">=", WHERE_AT_LEAST},
                     {"=", WHERE_EQUAL},  {"<", WHERE_LESS},     {">", WHERE_GREATER}};
    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
        if (strncmp(text, operators[i].text, strlen(operators[i].text)) == 0) {
            *ret = operators[i].how;
            return text + strlen(operators[i].text);
        }
    }
    return NULL;
}

bool where_parse(struct where *ret, const char *text) {
    *ret = (struct where){.text = text};
    text += strspn(text, SPACES);
    size_t length = strspn(text, PATH_CHARACTERS);
    if (length == 0 || length >= sizeof(ret->path))
        return refuse(ret, "it starts with no field, such as id, xyz[2], pose.x or bytes");
    memcpy(ret->path, text, length);
    text += length;
    text = parse_operator(text + strspn(text, SPACES), &ret->how);
    if (!text)
        return refuse(ret, "behind the field there is none of = != < <= > >=");
    ret->value = text + strspn(text, SPACES);
    ret->value_bytes = strlen(ret->value);
    while (ret->value_bytes && strchr(SPACES, ret->value[ret->value_bytes - 1]))
        ret->value_bytes--;
    if (ret->value_bytes == 0)
        return refuse(ret, "a value is missing; \"\" is an empty text");
    if (ret->value_bytes >= 2 && *ret->value == '"' && ret->value[ret->value_bytes - 1] == '"') {
        ret->value++;
        ret->value_bytes -= 2;
    }
    return true;
}

/* ---- the field ------------------------------------------------------------------------------------------------ */

static bool is_text(const struct where *where) {
    return where->part == WHERE_RECORD && where->place.field->kind == RECORD_CHAR;
}

static bool find_part(struct where *where) {
    static const char *const names[] = {
        [WHERE_BYTES] = "bytes", [WHERE_SEQUENCE] = "sequence", [WHERE_PUBLISHER] = "publisher", [WHERE_LOST] = "lost"};
    for (size_t i = WHERE_BYTES; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(where->path, names[i]) == 0) {
            where->part = (enum where_part)i;
            return true;
        }
    }
    return false;
}

static bool find_field(struct where *where, const struct record *record) {
    char error[512];
    if (record && record_find(record, where->path, &where->place, error, sizeof(error))) {
        where->part = WHERE_RECORD;
        return true;
    }
    if (find_part(where))
        return true;
    return refuse(where, record
                             ? error
                             : "the messages' struct is not known: give --struct, or use bytes, sequence, publisher, "
                               "lost");
}

static bool parse_publisher(struct where *where) {
    char *end;
    if (where->how != WHERE_EQUAL && where->how != WHERE_UNEQUAL)
        return refuse(where, "publishers are equal or not, nothing else");
    where->number = strtoull(where->value, &end, 16);
    return end == where->value + where->value_bytes ||
           refuse(where, "a publisher is 16 hexadecimal digits, as --meta has it");
}

static bool parse_number(struct where *where) {
    static const char *const words[] = {"false", "true"};
    const struct record_field *field = where->part == WHERE_RECORD ? where->place.field : NULL;
    char *end;
    for (int i = 0; i < 2 && field && field->kind == RECORD_BOOL; i++) {
        if (strlen(words[i]) == where->value_bytes && strncmp(where->value, words[i], where->value_bytes) == 0) {
            where->number = i;
            return true;
        }
    }
    where->number = strtold(where->value, &end);
    if (end != where->value + where->value_bytes)
        return refuse(where, "the field is a number, the value is none");
    if (isnan(where->number))
        return refuse(where, "nothing is less than, equal to or more than nan");
    if (field && field->kind == RECORD_REAL)
        where->number = field->bytes == sizeof(float) ? (float)where->number : (double)where->number;
    return true;
}

bool where_resolve(struct where *where, const struct record *record) {
    if (!find_field(where, record))
        return false;
    return is_text(where) || (where->part == WHERE_PUBLISHER ? parse_publisher(where) : parse_number(where));
}

/* ---- a message ------------------------------------------------------------------------------------------------ */

static long double number_of(const struct where *where, const tarn_message *message) {
    const struct record_field *field = where->place.field;
    const char *place = (const char *)message->data + where->place.offset;
    switch (where->part) {
    case WHERE_BYTES:
        return message->bytes;
    case WHERE_SEQUENCE:
        return message->sequence;
    case WHERE_PUBLISHER:
        return message->publisher;
    case WHERE_LOST:
        return message->lost;
    case WHERE_RECORD:
        break;
    }
    return field->kind == RECORD_REAL     ? (long double)record_real(field, place)
           : field->kind == RECORD_SIGNED ? (long double)record_signed(field, place)
           : field->kind == RECORD_BOOL   ? (long double)(record_unsigned(field, place) != 0)
                                          : (long double)record_unsigned(field, place);
}

/* Below 0, 0 or above 0, as the field's text is before, at or behind the value. */
static int compare_text(const struct where *where, const tarn_message *message) {
    const char *place = (const char *)message->data + where->place.offset;
    size_t bytes = record_text_bytes(place, where->place.is_text ? where->place.text_bytes : 1);
    int order = memcmp(place, where->value, bytes < where->value_bytes ? bytes : where->value_bytes);
    return order ? order : (bytes > where->value_bytes) - (bytes < where->value_bytes);
}

bool where_holds(const struct where *where, const tarn_message *message) {
    long double a = is_text(where) ? compare_text(where, message) : number_of(where, message);
    long double b = is_text(where) ? 0 : where->number;
    switch (where->how) {
    case WHERE_EQUAL:
        return a == b;
    case WHERE_UNEQUAL:
        return a != b;
    case WHERE_LESS:
        return a < b;
    case WHERE_AT_MOST:
        return a <= b;
    case WHERE_GREATER:
        return a > b;
    case WHERE_AT_LEAST:
        break;
    }
    return a >= b;
}
