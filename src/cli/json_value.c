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

static bool parse_escape(struct parser *parser) {
    char kind = next(parser);
    if (!kind || !strchr("\"\\/bfnrtu", kind))
        return false;
    parser->at++;
    for (int i = 0; kind == 'u' && i < 4; i++, parser->at++)
        if (!isxdigit((unsigned char)next(parser)))
            return false;
    return true;
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
