/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Bytes of any origin as text for a terminal, as hexdump, as JSON string. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

/*
 * Decodes one character of well-formed UTF-8 (no overlong forms, no surrogates). Returns its bytes, or 0 if there is
 * none.
 */
static size_t utf8_decode(const unsigned char *bytes, size_t count, uint32_t *ret) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = bytes[0];
    size_t length = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf8 ? 4 : 0;
    if (length == 0 || length > count)
        return 0;
    uint32_t character = length == 1 ? first : first & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        character = character << 6 | (bytes[i] & 0x3f);
    }
    if (character < least[length] || character > 0x10ffff || (character >= 0xd800 && character < 0xe000))
        return 0;
    *ret = character;
    return length;
}

/* Whether a terminal only draws it: no control characters, no line breaks, nothing that turns the writing direction. */
static bool is_printable(uint32_t c) {
    return c == '\t' || (c >= 0x20 && c < 0x7f) ||
           (c >= 0xa0 && c != 0x200e && c != 0x200f && !(c >= 0x2028 && c <= 0x202e) && !(c >= 0x2066 && c <= 0x2069));
}

static void escape_byte(unsigned char byte) {
    if (byte == '\n')
        output_print("\\n");
    else if (byte == '\r')
        output_print("\\r");
    else
        output_print("\\x%02x", byte);
}

void format_text(const void *data, size_t count) {
    const unsigned char *bytes = data;
    size_t plain = 0; /* bytes from here to i need no escape, and are written in one piece */
    for (size_t i = 0, length; i < count; i += length) {
        uint32_t character;
        length = utf8_decode(bytes + i, count - i, &character);
        if (length && is_printable(character))
            continue;
        output_bytes(bytes + plain, i - plain);
        length += length == 0;
        for (plain = i; plain < i + length; plain++)
            escape_byte(bytes[plain]);
    }
    output_bytes(bytes + plain, count - plain);
}

void format_hex(const void *data, size_t count) {
    const unsigned char *bytes = data;
    for (size_t line = 0; line < count; line += 16) {
        char hex[64] = "", text[17] = "";
        size_t width = count - line < 16 ? count - line : 16;
        for (size_t i = 0; i < width; i++) {
            unsigned char byte = bytes[line + i];
            snprintf(hex + 3 * i + (i > 7), 5, "%02x ", byte);
            if (i == 7)
                strcat(hex, " ");
            text[i] = byte >= 0x20 && byte < 0x7f ? (char)byte : '.';
        }
        output_print("%08zx  %-49s |%s|\n", line, hex, text);
    }
}

void format_json_string(const char *text) {
    const unsigned char *bytes = (const unsigned char *)text;
    size_t length, count = strlen(text);
    output_bytes("\"", 1);
    for (size_t i = 0; i < count; i += length + (length == 0)) {
        uint32_t character = 0;
        length = utf8_decode(bytes + i, count - i, &character);
        if (length == 0)
            output_print("\\ufffd");
        else if (character == '"' || character == '\\')
            output_print("\\%c", (char)character);
        else if (character < 0x20)
            output_print("\\u%04x", (unsigned)character);
        else
            output_bytes(bytes + i, length);
    }
    output_bytes("\"", 1);
}
