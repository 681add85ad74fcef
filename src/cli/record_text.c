/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Records as text, JSON and CSV: see record.h. Floating-point numbers are as short as they can be read back exactly. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/record.h"

/* ---- one value ------------------------------------------------------------------------------------------------ */

static void print_real(const struct record_field *field, const void *place) {
    bool is_narrow = field->bytes == sizeof(float);
    double value = record_real(field, place);
    char text[40];
    for (int digits = is_narrow ? 6 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (is_narrow ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)
            break;
    }
    output_print("%s", text);
}

static void print_number(const struct record_field *field, const void *place) {
    if (field->kind == RECORD_REAL && isfinite(record_real(field, place)))
        print_real(field, place);
    else if (field->kind == RECORD_REAL)
        output_print("%s", isnan(record_real(field, place)) ? "nan" : record_real(field, place) < 0 ? "-inf" : "inf");
    else if (field->kind == RECORD_BOOL)
        output_print(record_unsigned(field, place) ? "true" : "false");
    else if (field->kind == RECORD_SIGNED)
        output_print("%" PRId64, record_signed(field, place));
    else
        output_print("%" PRIu64, record_unsigned(field, place));
}

/* ---- text and JSON -------------------------------------------------------------------------------------------- */

static void print_members(const struct record *record, const unsigned char *data, bool json);

static void print_string(const unsigned char *text, uint64_t count, bool json) {
    size_t bytes = record_text_bytes(text, count);
    if (json) {
        format_json_text(text, bytes);
        return;
    }
    output_bytes("\"", 1);
    format_text(text, bytes);
    output_bytes("\"", 1);
}

/* An element, or with elements left a whole array of them; arrays of char are strings. */
static void print_value(const struct record_field *field, unsigned dimension, const unsigned char *place, bool json) {
    unsigned left = field->dimensions - dimension;
    if (field->kind == RECORD_CHAR && left <= 1) {
        print_string(place, left ? field->counts[dimension] : 1, json);
    } else if (left) {
        uint64_t stride = field->bytes * (left == 2 ? field->counts[1] : 1);
        output_bytes("[", 1);
        for (uint64_t i = 0; i < field->counts[dimension] && output_status() == EXIT_OK; i++) {
            output_print("%s", i ? ", " : "");
            print_value(field, dimension + 1, place + i * stride, json);
        }
        output_bytes("]", 1);
    } else if (field->kind == RECORD_STRUCT) {
        output_bytes("{", 1);
        print_members(field->record, place, json);
        output_bytes("}", 1);
    } else if (json && field->kind == RECORD_REAL && !isfinite(record_real(field, place))) {
        output_print("null");
    } else {
        print_number(field, place);
    }
}

static void print_members(const struct record *record, const unsigned char *data, bool json) {
    for (size_t i = 0; i < record->count; i++) {
        const struct record_field *field = &record->fields[i];
        output_print(json ? "%s\"%s\": " : "%s%s: ", i ? ", " : "", field->name);
        print_value(field, 0, data + field->offset, json);
    }
}

void record_print_text(const struct record *record, const void *data) {
    print_members(record, data, false);
}

void record_print_json(const struct record *record, const void *data) {
    output_bytes("{", 1);
    print_members(record, data, true);
    output_bytes("}", 1);
}

/* ---- CSV ------------------------------------------------------------------------------------------------------ */

void csv_text(const void *text, size_t count, bool is_terminal) {
    const char *bytes = text;
    bool is_quoted = count > 0 && (bytes[0] == ' ' || bytes[count - 1] == ' ');
    for (size_t i = 0; i < count; i++)
        is_quoted |= bytes[i] == '"' || bytes[i] == ',' || bytes[i] == '\n' || bytes[i] == '\r';
    output_print("%s", is_quoted ? "\"" : "");
    for (size_t i = 0, length; i < count; i += length) {
        const char *quote = memchr(bytes + i, '"', count - i);
        length = quote ? (size_t)(quote - (bytes + i)) + 1 : count - i;
        if (is_terminal)
            format_text(bytes + i, length);
        else
            output_bytes(bytes + i, length);
        if (quote)
            output_bytes("\"", 1);
    }
    output_print("%s", is_quoted ? "\"" : "");
}

/* A walk over what a row has: columns are named by their path, or filled from data. */
struct row {
    const unsigned char *data; /* NULL: names are printed */
    bool is_terminal, is_first;
    char path[RECORD_PATH_BYTES];
};

static void print_cell(struct row *row, const struct record_field *field, unsigned left, uint64_t offset) {
    if (!row->is_first)
        output_bytes(",", 1);
    row->is_first = false;
    if (!row->data)
        output_print("%s", row->path);
    else if (field->kind != RECORD_CHAR)
        print_number(field, row->data + offset);
    else
        csv_text(row->data + offset,
                 record_text_bytes(row->data + offset, left ? field->counts[field->dimensions - 1] : 1),
                 row->is_terminal);
}

static void print_columns(struct row *row, const struct record *record, size_t path_bytes, uint64_t offset);

static void print_elements(struct row *row, const struct record_field *field, unsigned dimension, size_t path_bytes,
                           uint64_t offset) {
    unsigned left = field->dimensions - dimension;
    if (left > (field->kind == RECORD_CHAR)) {
        uint64_t stride = field->bytes * (left == 2 ? field->counts[1] : 1);
        for (uint64_t i = 0; i < field->counts[dimension] && output_status() == EXIT_OK; i++) {
            int more = snprintf(row->path + path_bytes, sizeof(row->path) - path_bytes, "[%" PRIu64 "]", i);
            print_elements(row, field, dimension + 1, path_bytes + (size_t)more, offset + i * stride);
        }
    } else if (field->kind == RECORD_STRUCT) {
        row->path[path_bytes] = '.';
        print_columns(row, field->record, path_bytes + 1, offset);
    } else {
        print_cell(row, field, left, offset);
    }
}

/* Paths fit: RECORD_DEPTH_MAX names of RECORD_NAME_BYTES with two indexes each. */
static void print_columns(struct row *row, const struct record *record, size_t path_bytes, uint64_t offset) {
    for (size_t i = 0; i < record->count; i++) {
        const struct record_field *field = &record->fields[i];
        strcpy(row->path + path_bytes, field->name);
        print_elements(row, field, 0, path_bytes + strlen(field->name), offset + field->offset);
    }
}

void record_print_csv_header(const struct record *record) {
    struct row row = {.is_first = true};
    print_columns(&row, record, 0, 0);
}

void record_print_csv(const struct record *record, const void *data, bool is_terminal) {
    struct row row = {.data = data, .is_terminal = is_terminal, .is_first = true};
    print_columns(&row, record, 0, 0);
}
