/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See record.h. A recursive descent over the text, with one character of look-ahead. */
#include "cli/record.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { FIELDS_MAX = 4096 };
#define RECORD_BYTES_MAX (UINT64_C(1) << 40)

struct parser {
    const char *text;
    size_t length, place;
    size_t word_place; /* where the last word began */
    char word[RECORD_NAME_BYTES];
    size_t fields; /* in all */
    struct record_error *error;
};

/* What holds for all that is in a struct. */
struct mode {
    bool packed, big_endian;
    unsigned depth;
};

/* Returns false, for the callers to return. */
static bool refuse(struct parser *parser, size_t place, const char *format, ...) __attribute__((format(printf, 3, 4)));
static bool refuse(struct parser *parser, size_t place, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(parser->error->text, sizeof(parser->error->text), format, arguments);
    va_end(arguments);
    parser->error->place = place;
    return false;
}

/* ---- characters and words ------------------------------------------------------------------------------------- */

static char at(const struct parser *parser, size_t place) {
    return place < parser->length ? parser->text[place] : '\0';
}

static bool begins(const struct parser *parser, const char *what) {
    size_t length = strlen(what);
    return parser->length - parser->place >= length && memcmp(parser->text + parser->place, what, length) == 0;
}

static void skip_until(struct parser *parser, const char *end) {
    while (parser->place < parser->length && !begins(parser, end))
        parser->place++;
    if (parser->place < parser->length)
        parser->place += strlen(end);
}

static void skip_space(struct parser *parser) {
    while (parser->place < parser->length) {
        if (begins(parser, "//"))
            skip_until(parser, "\n");
        else if (begins(parser, "/*"))
            skip_until(parser, "*/");
        else if (isspace((unsigned char)parser->text[parser->place]))
            parser->place++;
        else
            return;
    }
}

static char next(struct parser *parser) {
    skip_space(parser);
    return at(parser, parser->place);
}

static bool skip(struct parser *parser, char wanted) {
    if (parser->place >= parser->length || next(parser) != wanted)
        return false;
    parser->place++;
    return true;
}

static bool at_end(struct parser *parser) {
    skip_space(parser);
    return parser->place >= parser->length;
}

/* What stands there, for sentences. */
static const char *found(struct parser *parser) {
    static char text[8];
    if (at_end(parser))
        return "the end";
    unsigned char c = (unsigned char)next(parser);
    snprintf(text, sizeof(text), isprint(c) ? "'%c'" : "\\x%02x", c);
    return text;
}

static bool is_in_word(char c, bool first) {
    return c == '_' || (first ? isalpha((unsigned char)c) : isalnum((unsigned char)c));
}

/* The next word, if one is there. It is cut where it is too long, which no known word is and names may not be. */
static bool word(struct parser *parser) {
    if (!is_in_word(next(parser), true))
        return false;
    size_t length = 0;
    parser->word_place = parser->place;
    for (; is_in_word(at(parser, parser->place), false); parser->place++)
        if (length < sizeof(parser->word) - 1)
            parser->word[length++] = parser->text[parser->place];
    parser->word[length] = '\0';
    return true;
}

static bool skip_word(struct parser *parser, const char *wanted) {
    size_t place = parser->place;
    if (word(parser) && strcmp(parser->word, wanted) == 0)
        return true;
    parser->place = place;
    return false;
}

/* ---- types ---------------------------------------------------------------------------------------------------- */

struct scalar {
    const char *name;
    enum record_kind kind;
    uint64_t bytes, alignment;
};

/* As a member is aligned, which is less than _Alignof has it on some machines. */
#define ALIGNMENT(type)                                                                                                \
    offsetof(                                                                                                          \
        struct {                                                                                                       \
            char before;                                                                                               \
            type member;                                                                                               \
        },                                                                                                             \
        member)
#define SCALAR(name, kind, type)                                                                                       \
    { name, kind, sizeof(type), ALIGNMENT(type) }

static const struct scalar scalars[] = {
    SCALAR("u8", RECORD_UNSIGNED, uint8_t),      SCALAR("uint8_t", RECORD_UNSIGNED, uint8_t),
    SCALAR("u16", RECORD_UNSIGNED, uint16_t),    SCALAR("uint16_t", RECORD_UNSIGNED, uint16_t),
    SCALAR("u32", RECORD_UNSIGNED, uint32_t),    SCALAR("uint32_t", RECORD_UNSIGNED, uint32_t),
    SCALAR("u64", RECORD_UNSIGNED, uint64_t),    SCALAR("uint64_t", RECORD_UNSIGNED, uint64_t),
    SCALAR("i8", RECORD_SIGNED, int8_t),         SCALAR("int8_t", RECORD_SIGNED, int8_t),
    SCALAR("i16", RECORD_SIGNED, int16_t),       SCALAR("int16_t", RECORD_SIGNED, int16_t),
    SCALAR("i32", RECORD_SIGNED, int32_t),       SCALAR("int32_t", RECORD_SIGNED, int32_t),
    SCALAR("i64", RECORD_SIGNED, int64_t),       SCALAR("int64_t", RECORD_SIGNED, int64_t),
    SCALAR("f32", RECORD_REAL, float),           SCALAR("float", RECORD_REAL, float),
    SCALAR("f64", RECORD_REAL, double),          SCALAR("double", RECORD_REAL, double),
    SCALAR("bool", RECORD_BOOL, bool),           SCALAR("_Bool", RECORD_BOOL, bool),
    SCALAR("size_t", RECORD_UNSIGNED, size_t),   SCALAR("ssize_t", RECORD_SIGNED, size_t),
    SCALAR("intptr_t", RECORD_SIGNED, intptr_t), SCALAR("uintptr_t", RECORD_UNSIGNED, uintptr_t),
};

static const struct scalar integers[] = {
    SCALAR("char", RECORD_CHAR, char),
    SCALAR("short", RECORD_SIGNED, short),
    SCALAR("int", RECORD_SIGNED, int),
    SCALAR("long", RECORD_SIGNED, long),
    SCALAR("long long", RECORD_SIGNED, long long),
};

/* How often each of C's words for integers came. */
struct words {
    unsigned is_signed, is_unsigned, is_short, is_long, is_int, is_char;
};

static unsigned *count_of(struct words *words, const char *word) {
    return strcmp(word, "signed") == 0     ? &words->is_signed
           : strcmp(word, "unsigned") == 0 ? &words->is_unsigned
           : strcmp(word, "short") == 0    ? &words->is_short
           : strcmp(word, "long") == 0     ? &words->is_long
           : strcmp(word, "int") == 0      ? &words->is_int
           : strcmp(word, "char") == 0     ? &words->is_char
                                           : NULL;
}

/* "unsigned long long int" and so on, from its first word, which has been read. */
static bool parse_integer(struct parser *parser, struct scalar *ret) {
    struct words words = {0};
    size_t start = parser->word_place, end = start;
    for (unsigned *count; (count = count_of(&words, parser->word));) {
        ++*count;
        end = parser->place;
        if (!word(parser))
            break;
    }
    parser->place = end; /* the word behind them is the name */
    if (skip_word(parser, "double"))
        return refuse(parser, start, "'long double' is not supported: it differs between machines");
    bool is_wrong = words.is_signed + words.is_unsigned > 1 || words.is_short + words.is_char > 1 || words.is_int > 1 ||
                    words.is_long > 2 || (words.is_long && words.is_short + words.is_char) ||
                    (words.is_int && words.is_char);
    if (is_wrong)
        return refuse(parser, start, "these words make no type of C");
    *ret = integers[words.is_char ? 0 : words.is_short ? 1 : words.is_long + 2];
    if (words.is_unsigned)
        ret->kind = RECORD_UNSIGNED;
    else if (words.is_signed)
        ret->kind = RECORD_SIGNED;
    return true;
}

static bool parse_scalar(struct parser *parser, struct scalar *ret) {
    struct words words;
    if (count_of(&words, parser->word))
        return parse_integer(parser, ret);
    for (size_t i = 0; i < sizeof(scalars) / sizeof(scalars[0]); i++) {
        if (strcmp(parser->word, scalars[i].name) == 0) {
            *ret = scalars[i];
            return true;
        }
    }
    if (strcmp(parser->word, "union") == 0)
        return refuse(parser, parser->word_place, "unions are not supported: describe one of what it may be");
    if (strcmp(parser->word, "enum") == 0)
        return refuse(parser, parser->word_place, "enums are not supported: describe it as an int");
    if (strcmp(parser->word, "packed") == 0)
        return refuse(parser, parser->word_place, "'packed' stands before the word struct, or before all fields");
    return refuse(
        parser, parser->word_place,
        "'%s' is no type; types are such as u32, i64, f32, f64, char, bool, uint32_t, int, double, struct {...}",
        parser->word);
}

/* ---- fields --------------------------------------------------------------------------------------------------- */

static bool parse_count(struct parser *parser, uint64_t *ret) {
    size_t start;
    uint64_t value = 0;
    next(parser);
    for (start = parser->place; isdigit((unsigned char)at(parser, parser->place)); parser->place++) {
        value = value * 10 + (uint64_t)(at(parser, parser->place) - '0');
        if (value > RECORD_BYTES_MAX)
            return refuse(parser, start, "an array as large as that fits in no message");
    }
    if (parser->place == start)
        return refuse(parser, start, "here a number of elements is missing, not %s", found(parser));
    if (value == 0)
        return refuse(parser, start, "an array has at least one element");
    *ret = value;
    return true;
}

static bool parse_dimensions(struct parser *parser, struct record_field *field) {
    while (next(parser) == '[') {
        size_t start = parser->place++;
        if (field->dimensions == 2)
            return refuse(parser, start, "arrays have two dimensions at most");
        if (!parse_count(parser, &field->counts[field->dimensions++]))
            return false;
        if (!skip(parser, ']'))
            return refuse(parser, parser->place, "here a ']' is missing, not %s", found(parser));
    }
    return true;
}

static bool name_is_taken(const struct record *record, const char *name) {
    for (size_t i = 0; i < record->count; i++)
        if (strcmp(record->fields[i].name, name) == 0)
            return true;
    return false;
}

static bool parse_name(struct parser *parser, const struct record *record, char *ret) {
    if (next(parser) == '*')
        return refuse(parser, parser->place, "a pointer means nothing in another process");
    if (!word(parser))
        return refuse(parser, parser->place, "here the name of a field is missing, not %s", found(parser));
    if (strlen(parser->word) == sizeof(parser->word) - 1)
        return refuse(parser, parser->word_place, "a name has at most %d characters", RECORD_NAME_BYTES - 2);
    if (strcmp(parser->word, "__attribute__") == 0)
        return refuse(parser, parser->word_place, "attributes are not supported: write 'packed' before the struct");
    if (name_is_taken(record, parser->word))
        return refuse(parser, parser->word_place, "there is a field '%s' already", parser->word);
    strcpy(ret, parser->word);
    if (next(parser) == ':')
        return refuse(parser, parser->place, "bit fields are not supported: describe the integer that they are in");
    return true;
}

static uint64_t elements_of(const struct record_field *field) {
    return (field->dimensions > 0 ? field->counts[0] : 1) * (field->dimensions > 1 ? field->counts[1] : 1);
}

/* Puts the field behind what is there, as C does. */
static bool place_field(struct parser *parser, struct record *record, struct record_field *field, uint64_t alignment) {
    size_t start = parser->word_place;
    uint64_t most = RECORD_BYTES_MAX / field->bytes;
    if (field->dimensions && field->counts[0] > most / (field->dimensions > 1 ? field->counts[1] : 1))
        return refuse(parser, start, "a struct as large as that fits in no message");
    field->offset = (record->bytes + alignment - 1) / alignment * alignment;
    record->bytes = field->offset + field->bytes * elements_of(field);
    if (record->bytes > RECORD_BYTES_MAX)
        return refuse(parser, start, "a struct as large as that fits in no message");
    if (record->alignment < alignment)
        record->alignment = alignment;
    return true;
}

static struct record_field *add_field(struct parser *parser, struct record *record) {
    if (parser->fields++ == FIELDS_MAX) {
        refuse(parser, parser->place, "a struct has at most %d fields", FIELDS_MAX);
        return NULL;
    }
    if ((record->count & (record->count + 1)) == 0) {
        struct record_field *fields = realloc(record->fields, 2 * (record->count + 1) * sizeof(*fields));
        if (!fields) {
            refuse(parser, parser->place, "no memory for so many fields");
            return NULL;
        }
        record->fields = fields;
    }
    struct record_field *field = &record->fields[record->count++];
    memset(field, 0, sizeof(*field));
    return field;
}

/* ---- structs -------------------------------------------------------------------------------------------------- */

struct type {
    struct scalar scalar;
    struct record *record; /* RECORD_STRUCT; else NULL */
};

static struct record *parse_struct(struct parser *parser, struct mode mode);

static void parse_mode(struct parser *parser, struct mode *mode) {
    for (;;) {
        size_t place = parser->place;
        if (skip_word(parser, "packed")) {
            mode->packed = true;
        } else if (skip_word(parser, "big") && begins(parser, "-endian")) {
            parser->place += strlen("-endian");
            mode->big_endian = true;
        } else {
            parser->place = place;
            return;
        }
    }
}

static bool parse_type(struct parser *parser, struct mode mode, struct type *ret) {
    size_t start = parser->place;
    parse_mode(parser, &mode);
    if (skip_word(parser, "struct")) {
        ret->record = parse_struct(parser, mode);
        if (ret->record)
            ret->scalar = (struct scalar){"struct", RECORD_STRUCT, ret->record->bytes, ret->record->alignment};
        return ret->record;
    }
    parser->place = start;
    if (!word(parser))
        return refuse(parser, parser->place, "here a type is missing, not %s", found(parser));
    return parse_scalar(parser, &ret->scalar);
}

static bool parse_declarator(struct parser *parser, struct record *record, struct mode mode, const struct type *type) {
    char name[RECORD_NAME_BYTES];
    if (!parse_name(parser, record, name))
        return false;
    struct record_field *field = add_field(parser, record);
    if (!field)
        return false;
    strcpy(field->name, name);
    field->kind = type->scalar.kind;
    field->bytes = type->scalar.bytes;
    field->big_endian = mode.big_endian;
    field->record = type->record;
    if (field->record)
        field->record->users++;
    return parse_dimensions(parser, field) &&
           place_field(parser, record, field, mode.packed ? 1 : type->scalar.alignment);
}

/* "u32 a, b[2];" */
static bool parse_member(struct parser *parser, struct record *record, struct mode mode) {
    struct type type = {.record = NULL};
    if (!parse_type(parser, mode, &type))
        return false;
    bool is_fine;
    do
        is_fine = parse_declarator(parser, record, mode, &type);
    while (is_fine && skip(parser, ','));
    record_free(type.record);
    if (!is_fine)
        return false;
    return skip(parser, ';') || at_end(parser) || next(parser) == '}' ||
           refuse(parser, parser->place, "here a ';' is missing, not %s", found(parser));
}

static struct record *fail_fields(struct record *record) {
    record_free(record);
    return NULL;
}

/* Up to the end, or to the brace that closes them. */
static struct record *parse_fields(struct parser *parser, struct mode mode, bool in_braces) {
    struct record *record = calloc(1, sizeof(*record));
    if (!record) {
        refuse(parser, parser->place, "no memory for it");
        return NULL;
    }
    size_t start = parser->place;
    record->users = record->alignment = 1;
    while (in_braces ? next(parser) != '}' : !at_end(parser)) {
        if (in_braces && at_end(parser)) {
            refuse(parser, start - 1, "this '{' is not closed");
            return fail_fields(record);
        }
        if (!parse_member(parser, record, mode))
            return fail_fields(record);
    }
    if (record->count == 0) {
        refuse(parser, parser->place, "here a field is missing, such as u32 id;");
        return fail_fields(record);
    }
    record->bytes = (record->bytes + record->alignment - 1) / record->alignment * record->alignment;
    return record;
}

/* Behind the word struct: a name that nobody needs, and the fields. */
static struct record *parse_struct(struct parser *parser, struct mode mode) {
    size_t start = parser->word_place;
    if (++mode.depth > RECORD_DEPTH_MAX) {
        refuse(parser, start, "structs in structs go %d deep at most", RECORD_DEPTH_MAX);
        return NULL;
    }
    word(parser);
    if (!skip(parser, '{')) {
        refuse(parser, parser->place, "here the fields of the struct are missing, as in { i32 x; }, not %s",
               found(parser));
        return NULL;
    }
    struct record *record = parse_fields(parser, mode, true);
    if (record)
        skip(parser, '}');
    return record;
}

/* "struct name { ... };", if that is all. NULL without an error: something follows, so it is a field. */
static struct record *parse_whole(struct parser *parser, struct mode mode) {
    size_t start = parser->place;
    struct record *record = skip_word(parser, "struct") ? parse_struct(parser, mode) : NULL;
    if (record) {
        skip(parser, ';');
        if (at_end(parser))
            return record;
        record_free(record);
    }
    parser->place = start;
    parser->fields = 0;
    return NULL;
}

struct record *record_parse(const char *text, size_t length, struct record_error *ret_error) {
    struct parser parser = {.text = text, .length = length, .error = ret_error};
    struct mode mode = {.packed = false};
    *ret_error = (struct record_error){.place = 0};
    if (at_end(&parser)) {
        refuse(&parser, parser.place, "it is empty: a field is missing, such as u32 id;");
        return NULL;
    }
    parse_mode(&parser, &mode);
    struct record *record = parse_whole(&parser, mode);
    return record || ret_error->text[0] ? record : parse_fields(&parser, mode, false);
}

void record_free(struct record *record) {
    if (!record || --record->users > 0)
        return;
    for (size_t i = 0; i < record->count; i++)
        record_free(record->fields[i].record);
    free(record->fields);
    free(record);
}

void record_say_error(const char *what, const char *text, size_t length, const struct record_error *error) {
    size_t start = error->place < length ? error->place : length, end = start;
    while (start > 0 && text[start - 1] != '\n' && error->place - start < 60)
        start--;
    while (end < length && text[end] != '\n' && end - start < 100)
        end++;
    say("%s: %s", what, error->text);
    if (start == end)
        return;
    fprintf(stderr, "  ");
    for (size_t i = start; i < end; i++)
        fputc(isprint((unsigned char)text[i]) ? text[i] : ' ', stderr);
    fprintf(stderr, "\n  %*s^\n", (int)(error->place - start), "");
}

/* ---- where a field lies --------------------------------------------------------------------------------------- */

static const struct record_field *field_of(const struct record *record, const char *name, size_t length) {
    for (size_t i = 0; i < record->count; i++)
        if (strlen(record->fields[i].name) == length && memcmp(record->fields[i].name, name, length) == 0)
            return &record->fields[i];
    return NULL;
}

static bool say_no_field(const struct record *record, const char *name, size_t length, char *ret, size_t size) {
    int used = snprintf(ret, size, "there is no field '%.*s'; there are", (int)length, name);
    for (size_t i = 0; i < record->count && used > 0 && (size_t)used < size; i++)
        used += snprintf(ret + used, size - (size_t)used, "%s %s", i ? "," : "", record->fields[i].name);
    return false;
}

/* "[2][0]" at *path, which is left behind it. ret_dimensions: how many were named. */
static bool find_element(const struct record_field *field, const char **path, struct record_place *ret,
                         unsigned *ret_dimensions, char *ret_error, size_t size) {
    uint64_t stride = field->bytes * elements_of(field);
    for (*ret_dimensions = 0; **path == '['; ++*ret_dimensions) {
        char *end;
        if (*ret_dimensions == field->dimensions) {
            snprintf(ret_error, size, "'%s' has %u dimension%s", field->name, field->dimensions,
                     field->dimensions == 1 ? "" : "s");
            return false;
        }
        uint64_t count = field->counts[*ret_dimensions], index = strtoull(*path + 1, &end, 10);
        if (!isdigit((unsigned char)(*path)[1]) || *end != ']' || index >= count) {
            snprintf(ret_error, size, "'%s' has elements from 0 to %" PRIu64 ", written %s[0]", field->name, count - 1,
                     field->name);
            return false;
        }
        stride /= count;
        ret->offset += index * stride;
        *path = end + 1;
    }
    return true;
}

static bool find_end(const struct record_field *field, unsigned dimensions, struct record_place *ret, char *ret_error,
                     size_t size) {
    unsigned left = field->dimensions - dimensions;
    ret->field = field;
    ret->is_text = field->kind == RECORD_CHAR && left == 1;
    ret->text_bytes = ret->is_text ? field->counts[field->dimensions - 1] : 0;
    if (left > 0 && !ret->is_text)
        snprintf(ret_error, size, "'%s' is an array: name one of its elements, such as %s[0]%s", field->name,
                 field->name, field->dimensions == 2 && field->kind != RECORD_CHAR ? "[0]" : "");
    else if (field->kind == RECORD_STRUCT)
        snprintf(ret_error, size, "'%s' is a struct: name a field of it, such as %s.%s", field->name, field->name,
                 field->record->fields[0].name);
    else
        return true;
    return false;
}

bool record_find(const struct record *record, const char *path, struct record_place *ret, char *ret_error,
                 size_t size) {
    *ret = (struct record_place){.field = NULL};
    for (;;) {
        size_t length = strcspn(path, ".[");
        unsigned dimensions;
        const struct record_field *field = field_of(record, path, length);
        if (!field)
            return say_no_field(record, path, length, ret_error, size);
        path += length;
        ret->offset += field->offset;
        if (!find_element(field, &path, ret, &dimensions, ret_error, size))
            return false;
        if (!*path)
            return find_end(field, dimensions, ret, ret_error, size);
        if (*path != '.' || field->kind != RECORD_STRUCT || dimensions < field->dimensions) {
            snprintf(ret_error, size, "what is '%s' behind '%s'?", path, field->name);
            return false;
        }
        record = field->record;
        path++;
    }
}

/* ---- numbers -------------------------------------------------------------------------------------------------- */

uint64_t record_unsigned(const struct record_field *field, const void *place) {
    const unsigned char *bytes = place;
    bool big_first = field->big_endian || __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
    uint64_t value = 0;
    for (size_t i = 0; i < field->bytes && i < sizeof(value); i++)
        value = value << 8 | bytes[big_first ? i : field->bytes - 1 - i];
    return value;
}

int64_t record_signed(const struct record_field *field, const void *place) {
    unsigned unused = field->bytes < 8 ? 64 - 8 * (unsigned)field->bytes : 0;
    return (int64_t)(record_unsigned(field, place) << unused) >> unused;
}

double record_real(const struct record_field *field, const void *place) {
    uint64_t bits = record_unsigned(field, place);
    uint32_t narrow_bits = (uint32_t)bits;
    float narrow;
    double wide;
    memcpy(&narrow, &narrow_bits, sizeof(narrow));
    memcpy(&wide, &bits, sizeof(wide));
    return field->bytes == sizeof(narrow) ? (double)narrow : wide;
}

size_t record_text_bytes(const void *place, uint64_t count) {
    return strnlen(place, count);
}
