/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Struct descriptions against the C compiler: each struct below is compiled, and its own text is parsed. Then what is
 * no description, and descriptions and payload that chance has damaged.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/record.h"
#include "harness.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t i8;
typedef int16_t i16;
typedef int32_t i32;
typedef int64_t i64;
typedef float f32;
typedef double f64;

/* The struct, and its fields as they stand there. */
#define STRUCT(name, ...)                                                                                              \
    struct name {                                                                                                      \
        __VA_ARGS__                                                                                                    \
    };                                                                                                                 \
    static const char text_of_##name[] = #__VA_ARGS__

/* clang-format off */
STRUCT(plain, u32 id; f64 xyz[3]; char name[16];);
STRUCT(holes, u8 a; u64 b; u8 c; u32 d; u8 e; u16 f; u8 g;);
STRUCT(spelled, uint32_t a; int8_t b; float c; double d; int16_t e; uint64_t f; _Bool g; size_t h; int64_t i;);
STRUCT(words, unsigned a; unsigned char b; long unsigned int c; short d; signed char e; long long f; short unsigned g;
       unsigned long long int h; int i; char j; long k; signed l; unsigned short int m;);
STRUCT(tables, u16 a[3][5]; i8 b; f32 c[2][2]; char d[3][7]; u64 e[1][1];);
STRUCT(several, i16 x, y, z[3]; u8 last, list[2][2];);
STRUCT(nested, u8 kind; struct { i16 x, y; } corners[4]; u8 flag; struct { u8 a; f64 b; } wide; u16 end;);
STRUCT(deep, u8 a; struct { u8 b; struct { u8 c; struct { u32 d; u8 e; } f[2]; u8 g; } h[2][3]; u8 i; } j; u16 k;);
STRUCT(bools, bool a; i32 b; bool c[3];);
STRUCT(one, char c;);
STRUCT(tail, f64 a; u8 b;);
STRUCT(named, struct point { f32 x; f32 y; } from; struct size { u16 w, h; u64 area; } sizes[2];);
#pragma pack(push, 1)
STRUCT(tight, u8 a; u64 b; u16 c; struct { u8 d; u32 e; } f[2]; f64 g;);
#pragma pack(pop)
/* clang-format on */

static struct record *parsed(const char *text) {
    struct record_error error;
    struct record *record = record_parse(text, strlen(text), &error);
    if (!record)
        FAIL("\"%s\": place %zu: %s", text, error.place, error.text);
    return record;
}

static void check_place(const char *text, const char *path, size_t offset, size_t bytes) {
    struct record *record = parsed(text);
    struct record_place place;
    char error[256];
    set_context("%s in %s", path, text);
    if (!record_find(record, path, &place, error, sizeof error))
        FAIL("%s", error);
    CHECK_INT(place.offset, ==, offset);
    CHECK_INT(place.is_text ? place.text_bytes : place.field->bytes, ==, bytes);
    record_free(record);
}

#define PLACE(name, path)                                                                                              \
    check_place(text_of_##name, #path, offsetof(struct name, path), sizeof(((struct name *)0)->path))

static void check_whole(const char *prefix, const char *fields, size_t bytes, size_t alignment) {
    char text[1024];
    snprintf(text, sizeof text, "%sstruct it { %s };", prefix, fields);
    set_context("%s", text);
    struct record *record = parsed(text);
    CHECK_INT(record->bytes, ==, bytes);
    CHECK_INT(record->alignment, ==, alignment);
    record_free(record);
}

#define WHOLE(name) check_whole("", text_of_##name, sizeof(struct name), _Alignof(struct name))

TEST(sizes_are_those_of_the_compiler) {
    WHOLE(plain);
    WHOLE(holes);
    WHOLE(spelled);
    WHOLE(words);
    WHOLE(tables);
    WHOLE(several);
    WHOLE(nested);
    WHOLE(deep);
    WHOLE(bools);
    WHOLE(one);
    WHOLE(tail);
    WHOLE(named);
    check_whole("packed ", text_of_tight, sizeof(struct tight), 1);
}

TEST(fields_lie_where_the_compiler_puts_them) {
    PLACE(plain, id);
    PLACE(plain, xyz[2]);
    PLACE(plain, name);
    PLACE(holes, b);
    PLACE(holes, c);
    PLACE(holes, d);
    PLACE(holes, f);
    PLACE(holes, g);
    PLACE(spelled, b);
    PLACE(spelled, c);
    PLACE(spelled, d);
    PLACE(spelled, f);
    PLACE(spelled, g);
    PLACE(spelled, h);
    PLACE(spelled, i);
    PLACE(words, b);
    PLACE(words, c);
    PLACE(words, d);
    PLACE(words, e);
    PLACE(words, f);
    PLACE(words, g);
    PLACE(words, h);
    PLACE(words, i);
    PLACE(words, j);
    PLACE(words, k);
    PLACE(words, l);
    PLACE(words, m);
    PLACE(tables, a[2][4]);
    PLACE(tables, b);
    PLACE(tables, c[1][0]);
    PLACE(tables, d[2]);
    PLACE(tables, d[1][6]);
    PLACE(tables, e[0][0]);
    PLACE(several, y);
    PLACE(several, z[2]);
    PLACE(several, list[1][0]);
    PLACE(nested, corners[3].y);
    PLACE(nested, flag);
    PLACE(nested, wide.b);
    PLACE(nested, end);
    PLACE(deep, j.h[1][2].f[1].e);
    PLACE(deep, j.h[0][1].g);
    PLACE(deep, j.i);
    PLACE(deep, k);
    PLACE(bools, b);
    PLACE(bools, c[2]);
    PLACE(named, from.y);
    PLACE(named, sizes[1].area);
}

#define TIGHT(path)                                                                                                    \
    snprintf(text, sizeof text, "packed %s", text_of_tight);                                                           \
    check_place(text, #path, offsetof(struct tight, path), sizeof(((struct tight *)0)->path))

TEST(packed_fields_lie_where_the_compiler_puts_them) {
    char text[256];
    TIGHT(b);
    TIGHT(c);
    TIGHT(f[1].e);
    TIGHT(g);
}

/* One struct is packed, the one it is in is not; and the other way round. */
TEST(packed_inside) {
    struct mixed {
        u8 a;
        struct __attribute__((packed)) {
            u8 b;
            u32 c;
        } d[3];
        u32 e;
    };
    const char *text = "u8 a; packed struct { u8 b; u32 c; } d[3]; u32 e;";
    check_place(text, "d[2].c", offsetof(struct mixed, d[2].c), 4);
    check_place(text, "e", offsetof(struct mixed, e), 4);
}

/* ---- values --------------------------------------------------------------------------------------------------- */

static struct record_place found(const struct record *record, const char *path) {
    struct record_place place;
    char error[256];
    if (!record_find(record, path, &place, error, sizeof error))
        FAIL("%s: %s", path, error);
    return place;
}

TEST(numbers_are_read_exactly) {
    struct {
        u8 skew;
        u64 most;
        i64 least;
        i16 minus;
        f32 third;
        f64 tenth;
    } value = {1, UINT64_MAX, INT64_MIN, -2, 1.0f / 3, 0.1};
    struct record *record = parsed("u8 skew; u64 most; i64 least; i16 minus; f32 third; f64 tenth;");
    const char *bytes = (const char *)&value;
    struct record_place place = found(record, "most");
    CHECK(record_unsigned(place.field, bytes + place.offset) == UINT64_MAX);
    place = found(record, "least");
    CHECK(record_signed(place.field, bytes + place.offset) == INT64_MIN);
    place = found(record, "minus");
    CHECK_INT(record_signed(place.field, bytes + place.offset), ==, -2);
    place = found(record, "third");
    CHECK(record_real(place.field, bytes + place.offset) == (double)(1.0f / 3));
    place = found(record, "tenth");
    CHECK(record_real(place.field, bytes + place.offset) == 0.1);
    record_free(record);
}

TEST(big_endian_numbers) {
    static const unsigned char bytes[] = {0x01, 0x02, 0xff, 0xfe, 0x40, 0x09, 0x21, 0xfb, 0x54, 0x44, 0x2d, 0x18};
    struct record *record = parsed("packed big-endian u16 a; i16 b; struct { f64 pi; } c;");
    CHECK_INT(record_unsigned(found(record, "a").field, bytes), ==, 0x0102);
    CHECK_INT(record_signed(found(record, "b").field, bytes + 2), ==, -2);
    CHECK(record_real(found(record, "c.pi").field, bytes + 4) == 3.141592653589793);
    record_free(record);
}

/* ---- what is none --------------------------------------------------------------------------------------------- */

/* The text has a '^' before the place that the error is to point at. */
static void refuses(const char *marked, const char *why) {
    char text[512];
    struct record_error error;
    size_t place = strcspn(marked, "^");
    snprintf(text, sizeof text, "%.*s%s", (int)place, marked, marked + place + 1);
    set_context("%s", marked);
    CHECK(record_parse(text, strlen(text), &error) == NULL);
    if (error.place != place || !strstr(error.text, why))
        FAIL("place %zu, '%s' instead of '%s'", error.place, error.text, why);
}

TEST(mistakes_are_pointed_at) {
    refuses("^", "a field is missing");
    refuses("u32 a; ^foo b;", "'foo' is no type");
    refuses("u32 ^;", "name of a field is missing");
    refuses("u32 a ^b;", "a ';' is missing");
    refuses("u32 a[^];", "number of elements is missing, not ']'");
    refuses("u32 a[3^;", "a ']' is missing");
    refuses("u32 a[^0];", "at least one element");
    refuses("u32 a[1][2]^[3];", "two dimensions at most");
    refuses("u32 a; f32 ^a;", "field 'a' already");
    refuses("char ^*text;", "pointer");
    refuses("u32 flag^:3;", "bit fields");
    refuses("^union { u32 a; } b;", "unions");
    refuses("^enum color c;", "enums");
    refuses("^long double x;", "long double");
    refuses("^unsigned signed x;", "no type of C");
    refuses("u8 x; ^short char y;", "no type of C");
    refuses("struct x^;", "fields of the struct are missing");
    refuses("struct {^} x; u8 y;", "field is missing");
    refuses("struct ^{ u8 x; u8 y;", "not closed");
    refuses("struct { u8 x; } ^__attribute__((packed)) y; u8 z;", "packed");
    refuses("u8 a; ^packed u8 b;", "'packed' stands before");
    refuses("u8 a[^99999999999999999999];", "fits in no message");
    refuses("u64 ^a[1000000][1000000];", "fits in no message");
    refuses("u8 a; ^) u8 b;", "a type is missing, not ')'");
}

static void refuses_path(const char *path, const char *why) {
    struct record *record = parsed("u32 id; f64 xyz[3]; char name[16]; struct { u8 x[2]; } p[2]; char lines[2][8];");
    struct record_place place;
    char error[256];
    set_context("%s", path);
    CHECK(!record_find(record, path, &place, error, sizeof error));
    if (!strstr(error, why))
        FAIL("'%s' instead of '%s'", error, why);
    record_free(record);
}

TEST(paths_that_lead_nowhere) {
    refuses_path("", "there is no field ''; there are id, xyz, name, p, lines");
    refuses_path("nobody", "there is no field 'nobody'");
    refuses_path("xyz", "such as xyz[0]");
    refuses_path("xyz[3]", "elements from 0 to 2");
    refuses_path("xyz[-1]", "elements from 0 to 2");
    refuses_path("xyz[1", "elements from 0 to 2");
    refuses_path("xyz[18446744073709551616]", "elements from 0 to 2");
    refuses_path("xyz[1][1]", "has 1 dimension");
    refuses_path("id[0]", "has 0 dimensions");
    refuses_path("id.x", "behind 'id'");
    refuses_path("p.x", "behind 'p'");
    refuses_path("p[0]", "is a struct");
    refuses_path("p[0].x", "such as x[0]");
    refuses_path("p[0].y", "there is no field 'y'; there are x");
    refuses_path("lines", "such as lines[0]");
    refuses_path("id ", "there is no field 'id '");
}

TEST(comments_and_spaces) {
    struct record *record = parsed("\n  u32 a; // one; u8 x\n/* u8 b; */ u8\tc [ 2 ] ;u8 d,e\n");
    CHECK_INT(record->count, ==, 4);
    CHECK_INT(record->bytes, ==, 8);
    record_free(record);
    record = parsed("struct a { u8 x; } b;"); /* a field, not the whole */
    CHECK_INT(found(record, "b.x").offset, ==, 0);
    record_free(record);
}

/* ---- chance --------------------------------------------------------------------------------------------------- */

/*
 * Damages a text that is right with pieces of others, and uses what is still a description on payload of exactly its
 * size.
 */
static void mutate(struct random *random, char *text, size_t *length, size_t size) {
    static const char *const pieces[] = {"struct {", "}",    ";",       ",",           "[2]",       "[",    "]",
                                         "u64",      "char", "packed ", "big-endian ", "/*",        "//",   "\n",
                                         "x",        "0",    "9999",    "*",           "unsigned ", "long "};
    for (uint64_t changes = random_between(random, 1, 4); changes > 0; changes--) {
        size_t place = random_between(random, 0, *length);
        const char *piece = pieces[random_between(random, 0, sizeof pieces / sizeof pieces[0] - 1)];
        size_t bytes = strlen(piece);
        if (random_one_in(random, 3) && place < *length) {
            text[place] = (char)random_between(random, 0, 255);
        } else if (random_one_in(random, 3)) {
            size_t cut = random_between(random, 0, *length - place < 12 ? *length - place : 12);
            memmove(text + place, text + place + cut, *length - place - cut);
            *length -= cut;
        } else if (*length + bytes <= size) {
            memmove(text + place + bytes, text + place, *length - place);
            memcpy(text + place, piece, bytes);
            *length += bytes;
        }
    }
}

static void use(struct random *random, const struct record *record) {
    if (record->bytes > 64 * 1024)
        return;
    unsigned char *data = malloc(record->bytes);
    for (uint64_t i = 0; i < record->bytes; i++)
        data[i] = (unsigned char)random_next(random);
    record_print_text(record, data);
    record_print_json(record, data);
    record_print_csv_header(record);
    record_print_csv(record, data, random_one_in(random, 2));
    output_flush();
    free(data);
}

TEST(damaged_descriptions) {
    static const char *const sources[] = {text_of_plain,
                                          text_of_words,
                                          text_of_tables,
                                          text_of_nested,
                                          text_of_deep,
                                          text_of_named,
                                          "packed big-endian struct it { u16 a; struct { f32 b; } c; };"};
    struct random random = random_start(1);
    unsigned still_right = 0;
    CHECK(freopen("/dev/null", "w", stdout));
    for (int round = 0; round < 20000; round++) {
        const char *source = sources[random_between(&random, 0, sizeof sources / sizeof sources[0] - 1)];
        char scratch[600];
        size_t length = strlen(source);
        memcpy(scratch, source, length);
        mutate(&random, scratch, &length, sizeof scratch);
        char *text = malloc(length + !length); /* its end is where a sanitizer sees who reads on */
        memcpy(text, scratch, length);
        set_context("%.*s", (int)length, text);
        struct record_error error;
        struct record *record = record_parse(text, length, &error);
        CHECK(record ? record->bytes > 0 : error.text[0] && error.place <= length);
        if (record)
            use(&random, record);
        still_right += record != NULL;
        record_free(record);
        free(text);
    }
    CHECK_INT(still_right, >, 300);
    CHECK_INT(still_right, <, 19700);
}

TEST(nothing_is_too_deep_or_too_much) {
    enum { BYTES = 60 * 1024 };
    char *text = malloc(BYTES + 1);
    struct record_error error;
    for (size_t i = 0; i + 8 <= BYTES; i += 8)
        memcpy(text + i, "struct {", 8);
    CHECK(!record_parse(text, BYTES, &error) && strstr(error.text, "16 deep"));
    size_t used = 0;
    for (int i = 0; used + 20 < BYTES; i++)
        used += (size_t)sprintf(text + used, "u8 a%d,b%d;", i, i);
    CHECK(!record_parse(text, used, &error) && strstr(error.text, "at most 4096"));
    used = 0;
    for (int i = 0; i < 15; i++)
        used += (size_t)sprintf(text + used, "struct { u8 x%d; ", i);
    for (int i = 0; i < 15; i++)
        used += (size_t)sprintf(text + used, "} a%d, b%d, c%d;", i, i, i);
    struct record *record = parsed(text); /* 3^15 fields, of which each is kept once */
    CHECK_INT(record->bytes, ==, 21523359);
    record_free(record);
    free(text);
}

TEST(json_characters) {
    static const struct {
        const char *text;
        bool is_value;
    } cases[] = {{"\"\\u00e9\"", true},         {"\"\\ud83D\\uDE00\"", true},  {"\"\\ud7ff\\ue000\"", true},
                 {"\"\\ud800\"", false},        {"\"\\udc00\"", false},        {"\"\\ud800x\"", false},
                 {"\"\\ud800\\u0041\"", false}, {"\"\\ud800\\ud800\"", false}, {"\"\\ud800\\udc0\"", false},
                 {"\"\\u12g4\"", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        set_context("%s", cases[i].text);
        CHECK_INT(json_is_value(cases[i].text, strlen(cases[i].text)), ==, cases[i].is_value);
    }
}
