/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See type.h. */
#include "core/type.h"

#include <inttypes.h>
#include <string.h>

#include "base/points.h"
#include "base/status.h"

#define NAME_BYTES_MAX 255
#define ENCODING_BYTES_MAX 63

static const char *encoding_of(const tarn_type *type) {
    return type->encoding && type->encoding[0] ? type->encoding : "raw";
}

static uint32_t alignment_of(const tarn_type *type) {
    return type->alignment ? type->alignment : 8;
}

int type_check(const tarn_type *type) {
    if (!type)
        return 0;
    if (type->struct_bytes < sizeof(*type))
        return fail(TARN_ERROR_ARGUMENT, "tarn_type.struct_bytes is %zu: set it to sizeof(tarn_type)",
                    type->struct_bytes);
    for (size_t i = sizeof(*type); i < type->struct_bytes; i++)
        if (((const char *)type)[i])
            return fail(TARN_ERROR_ARGUMENT, "tarn_type has fields that this version of tarn does not know");
    if (!type->name || !type->name[0] || strnlen(type->name, NAME_BYTES_MAX + 1) > NAME_BYTES_MAX)
        return fail(TARN_ERROR_ARGUMENT, "a payload type needs a name of at most 255 bytes");
    if (strnlen(encoding_of(type), ENCODING_BYTES_MAX + 1) > ENCODING_BYTES_MAX)
        return fail(TARN_ERROR_ARGUMENT, "the encoding of payload type \"%s\" is longer than 63 bytes", type->name);
    if (type->alignment & (type->alignment - 1) || type->alignment > 4096)
        return fail(TARN_ERROR_ARGUMENT, "the alignment of payload type \"%s\" is %u: not a power of two up to 4096",
                    type->name, type->alignment);
    if (type->reserved)
        return fail(TARN_ERROR_ARGUMENT, "tarn_type.reserved is not 0, of payload type \"%s\"", type->name);
    if (type->schema_bytes > TYPE_SCHEMA_BYTES_MAX || (type->schema_bytes && !type->schema))
        return fail(TARN_ERROR_ARGUMENT, "the schema of payload type \"%s\" is NULL or larger than 60 KiB", type->name);
    return 0;
}

uint64_t type_alignment(const tarn_type *type, uint32_t option) {
    uint32_t least = type && type->alignment > 8 ? type->alignment : 8;
    return option > least ? option : least;
}

/* The settled type, bounded: name and encoding as terminated copies. */
static bool read_type(struct roster *roster, _Atomic uint32_t *link, struct type_text *ret, uint32_t *ret_alignment) {
    struct roster_type *type = roster_block(roster, load_acquire(link));
    if (!type)
        return false;
    uint32_t name_bytes = type->name_bytes, encoding_bytes = type->encoding_bytes;
    if (name_bytes > NAME_BYTES_MAX || encoding_bytes > ENCODING_BYTES_MAX)
        return false;
    const char *text = (const char *)(type + 1);
    memset(ret, 0, sizeof(*ret));
    memcpy(ret->name, text, name_bytes);
    memcpy(ret->encoding, text + name_bytes, encoding_bytes);
    ret->bytes = type->payload_bytes;
    *ret_alignment = type->alignment;
    return true;
}

bool type_read(struct roster *roster, struct type_text *ret) {
    uint32_t alignment;
    return read_type(roster, &roster->header->type_block, ret, &alignment);
}

size_t type_read_schema(struct roster *roster, void *ret) {
    uint32_t first = load_acquire(&roster->header->type_block);
    struct roster_type *type = roster_block(roster, first);
    if (!type)
        return 0;
    uint32_t name_bytes = type->name_bytes, encoding_bytes = type->encoding_bytes, schema_bytes = type->schema_bytes;
    if (name_bytes > NAME_BYTES_MAX || encoding_bytes > ENCODING_BYTES_MAX || schema_bytes > TYPE_SCHEMA_BYTES_MAX)
        return 0;
    size_t place = sizeof(*type) + name_bytes + encoding_bytes;
    uint32_t further = (uint32_t)((place + schema_bytes - 1) / BLOCK_BYTES);
    char *last = further ? roster_block(roster, first + further) : (char *)type;
    if (last != (char *)type + (size_t)further * BLOCK_BYTES) /* a run of blocks is in one piece */
        return 0;
    memcpy(ret, (char *)type + place, schema_bytes);
    return schema_bytes;
}

static int compare(struct topic *topic, _Atomic uint32_t *link, const tarn_type *type) {
    struct type_text is;
    uint32_t alignment;
    if (!read_type(&topic->roster, link, &is, &alignment))
        return fail(TARN_ERROR_DAMAGED, "topic \"%s\": the payload type kept with it is damaged", topic->name);
    if (strcmp(is.name, type->name) == 0 && strcmp(is.encoding, encoding_of(type)) == 0 && is.bytes == type->bytes &&
        alignment == alignment_of(type))
        return 0;
    return fail(TARN_ERROR_TYPE,
                "topic \"%s\" has payload type \"%s\" (%s, %" PRIu64
                " bytes, aligned to %u)%s, not \"%s\" (%s, %" PRIu64 " bytes, aligned to %u)",
                topic->name, is.name, is.encoding, is.bytes, alignment,
                link == &topic->roster.header->type_block ? "" : " for responses", type->name, encoding_of(type),
                type->bytes, alignment_of(type));
}

static int settle(struct topic *topic, _Atomic uint32_t *link, const tarn_type *type,
                  const struct roster_taker *taker) {
    uint32_t settled = load_acquire(link);
    if (!type)
        return 0;
    if (settled)
        return compare(topic, link, type);
    uint32_t name_bytes = (uint32_t)strlen(type->name), encoding_bytes = (uint32_t)strlen(encoding_of(type));
    uint32_t total = (uint32_t)(sizeof(struct roster_type) + name_bytes + encoding_bytes + type->schema_bytes);
    int64_t block = roster_take_run(&topic->roster, (total + BLOCK_BYTES - 1) / BLOCK_BYTES, taker);
    if (block < 0)
        return fail_memory((int)-block, "topic \"%s\": no space for its payload type", topic->name);
    struct roster_type *made = roster_block(&topic->roster, (uint32_t)block);
    *made = (struct roster_type){
        total, alignment_of(type), type->bytes, name_bytes, encoding_bytes, (uint32_t)type->schema_bytes, 0};
    char *text = (char *)(made + 1);
    memcpy(text, type->name, name_bytes);
    memcpy(text + name_bytes, encoding_of(type), encoding_bytes);
    if (type->schema_bytes)
        memcpy(text + name_bytes + encoding_bytes, type->schema, type->schema_bytes);
    POINT(type_written);
    /* killed here, or the race lost: the blocks are over with our slot */
    if (compare_and_swap(link, &settled, (uint32_t)block))
        return 0;
    return compare(topic, link, type); /* another was first; our blocks are over */
}

int type_settle(struct topic *topic, const tarn_type *type, const struct roster_taker *taker) {
    return settle(topic, &topic->roster.header->type_block, type, taker);
}

int type_settle_response(struct topic *topic, const tarn_type *type, const struct roster_taker *taker) {
    return settle(topic, &topic->roster.header->pattern_block, type, taker);
}
