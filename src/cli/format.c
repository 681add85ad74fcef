/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Bytes of any origin as text for a terminal, as hexdump, as JSON string. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "tarn.h"

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

typedef void sink(void *to, const void *bytes, size_t count);

static void escape_byte(sink *put, void *to, unsigned char byte) {
    char text[8];
    int length = byte == '\n'   ? snprintf(text, sizeof(text), "\\n")
                 : byte == '\r' ? snprintf(text, sizeof(text), "\\r")
                                : snprintf(text, sizeof(text), "\\x%02x", byte);
    put(to, text, (size_t)length);
}

static void put_text(sink *put, void *to, const void *data, size_t count) {
    const unsigned char *bytes = data;
    size_t plain = 0; /* bytes from here to i need no escape, and are written in one piece */
    for (size_t i = 0, length; i < count; i += length) {
        uint32_t character;
        length = utf8_decode(bytes + i, count - i, &character);
        if (length && is_printable(character))
            continue;
        put(to, bytes + plain, i - plain);
        length += length == 0;
        for (plain = i; plain < i + length; plain++)
            escape_byte(put, to, bytes[plain]);
    }
    put(to, bytes + plain, count - plain);
}

static void put_out(void *to, const void *bytes, size_t count) {
    (void)to;
    output_bytes(bytes, count);
}

void format_text(const void *bytes, size_t count) {
    put_text(put_out, NULL, bytes, count);
}

size_t format_line_bytes(const void *bytes, size_t count) {
    return count - (count && ((const char *)bytes)[count - 1] == '\n');
}

void format_line(const void *bytes, size_t count, bool is_terminal) {
    count = format_line_bytes(bytes, count);
    if (is_terminal)
        format_text(bytes, count);
    else
        output_bytes(bytes, count);
    output_bytes("\n", 1);
}

static void append(void *to, const void *bytes, size_t count) {
    char **end = to;
    memcpy(*end, bytes, count);
    *end += count;
}

void format_safe(char *ret, const char *text) {
    put_text(append, &ret, text, strlen(text));
    *ret = 0;
}

/* How much of it goes into that room: whole words, at least one. */
static size_t words_within(const char *text, size_t room) {
    size_t length = 0, next = strcspn(text, " ");
    while (length == 0 || next <= room) {
        length = next;
        if (!text[length])
            break;
        next += 1 + strcspn(text + length + 1, " ");
    }
    return length;
}

void format_sentence(const char *text, int column) {
    int columns = output_columns();
    size_t room = columns >= column + 20 ? (size_t)(columns - column) : SIZE_MAX;
    for (size_t length; (length = words_within(text, room)), text[length]; text += length + 1) {
        format_text(text, length);
        output_print("\n%*s", column, "");
    }
    format_text(text, strlen(text));
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

void format_hex_message(const tarn_message *message) {
    output_print("message %" PRIu64 " of %016" PRIx64 ", %zu bytes\n", message->sequence, message->publisher,
                 message->bytes);
    format_hex(message->data, message->bytes);
}

bool format_is_text(const void *data, size_t count) {
    const unsigned char *bytes = data;
    count -= count && bytes[count - 1] == 0; /* as C strings are sent by some */
    for (size_t i = 0, length; i < count; i += length) {
        uint32_t character;
        length = utf8_decode(bytes + i, count - i, &character);
        if (!length || character == 0x7f ||
            (character < 0x20 && (character == 0 || !strchr("\b\t\n\f\r\033", (char)character))))
            return false;
    }
    return true;
}

void format_json_message(const char *topic, const tarn_message *message) {
    output_print("{\"topic\": ");
    format_json_string(topic);
    output_print(", \"sequence\": %" PRIu64 ", \"publisher\": \"%016" PRIx64 "\", \"bytes\": %zu, \"lost\": %" PRIu64,
                 message->sequence, message->publisher, message->bytes, message->lost);
    if (message->sent_ns)
        output_print(", \"sent_ns\": %" PRId64, message->sent_ns);
    else
        output_print(", \"sent_ns\": null");
}

void format_json_string(const char *text) {
    format_json_text(text, strlen(text));
}

void format_json_text(const void *text, size_t count) {
    const unsigned char *bytes = text;
    size_t length;
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
