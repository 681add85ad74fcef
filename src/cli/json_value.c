/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Whether bytes are one JSON value (RFC 8259), so that they may stand in another as they are. */
#include <ctype.h>
#include <string.h>

#include "cli/cli.h"

enum { DEPTH_MAX = 64 };

struct parser {
    const char *at, *end;
};

static bool parse_value(struct parser *parser, unsigned depth);

static char next(const struct parser *parser) {
    return parser->at < parser->end ? *parser->at : '\0';
}

static bool skip(struct parser *parser, const char *wanted) {
    size_t length = strlen(wanted);
    if ((size_t)(parser->end - parser->at) < length || memcmp(parser->at, wanted, length) != 0)
        return false;
    parser->at += length;
    return true;
}

static void skip_space(struct parser *parser) {
    while (parser->at < parser->end && strchr(" \t\r\n", *parser->at) && *parser->at)
        parser->at++;
}

/* Whether at least one was there. */
static bool skip_digits(struct parser *parser) {
    const char *start = parser->at;
    while (isdigit((unsigned char)next(parser)))
        parser->at++;
    return parser->at > start;
}

static bool parse_number(struct parser *parser) {
    skip(parser, "-");
    if (!skip(parser, "0") && !skip_digits(parser))
        return false;
    if (skip(parser, ".") && !skip_digits(parser))
        return false;
    if (!skip(parser, "e") && !skip(parser, "E"))
        return true;
    if (!skip(parser, "+"))
        skip(parser, "-");
    return skip_digits(parser);
}

static bool parse_unit(struct parser *parser, unsigned *ret) {
    *ret = 0;
    for (int i = 0; i < 4; i++, parser->at++) {
        char digit = next(parser);
        if (!isxdigit((unsigned char)digit))
            return false;
        *ret = *ret << 4 | (unsigned)(isdigit((unsigned char)digit) ? digit - '0' : (digit | 0x20) - 'a' + 10);
    }
    return true;
}

/* Surrogates are there in pairs, or they are no character. */
static bool parse_character(struct parser *parser) {
    unsigned unit;
    if (!parse_unit(parser, &unit))
        return false;
    if (unit >> 11 != 0xd800 >> 11)
        return true;
    return unit < 0xdc00 && skip(parser, "\\u") && parse_unit(parser, &unit) && unit >> 10 == 0xdc00 >> 10;
}

static bool parse_escape(struct parser *parser) {
    char kind = next(parser);
    if (!kind || !strchr("\"\\/bfnrtu", kind))
        return false;
    parser->at++;
    return kind != 'u' || parse_character(parser);
}

static bool parse_string(struct parser *parser) {
    if (!skip(parser, "\""))
        return false;
    while (!skip(parser, "\"")) {
        if ((unsigned char)next(parser) < 0x20)
            return false;
        if (*parser->at++ == '\\' && !parse_escape(parser))
            return false;
    }
    return true;
}

/* Behind the opening one: members or elements, and the closing one. */
static bool parse_list(struct parser *parser, const char *closing, bool named, unsigned depth) {
    skip_space(parser);
    if (skip(parser, closing))
        return true;
    do {
        skip_space(parser);
        if (named && !parse_string(parser))
            return false;
        skip_space(parser);
        if ((named && !skip(parser, ":")) || !parse_value(parser, depth))
            return false;
    } while (skip(parser, ","));
    return skip(parser, closing);
}

static bool parse_value(struct parser *parser, unsigned depth) {
    skip_space(parser);
    bool is_fine = depth < DEPTH_MAX && (skip(parser, "{")     ? parse_list(parser, "}", true, depth + 1)
                                         : skip(parser, "[")   ? parse_list(parser, "]", false, depth + 1)
                                         : next(parser) == '"' ? parse_string(parser)
                                                               : skip(parser, "true") || skip(parser, "false") ||
                                                                     skip(parser, "null") || parse_number(parser));
    skip_space(parser);
    return is_fine;
}

bool json_is_value(const void *bytes, size_t count) {
    struct parser parser = {bytes, (const char *)bytes + count};
    return format_is_text(bytes, count) && parse_value(&parser, 0) && parser.at == parser.end;
}
