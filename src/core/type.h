/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* The topic's payload type: settled by its first typed participant, kept in the roster. */
#ifndef TARN_CORE_TYPE_H
#define TARN_CORE_TYPE_H

#include "core/topic.h"

/* A private copy of a topic's type, for tools. */
struct type_text {
    char name[256];
    char encoding[64];
    uint64_t bytes;
};

int type_check(const tarn_type *type); /* the user's struct: 0, or TARN_ERROR_ARGUMENT */

/*
 * Of payloads: the larger of the option and the type's, as who knows the type counts on that; at least 8. type may be
 * NULL.
 */
uint64_t type_alignment(const tarn_type *type, uint32_t option);

/* Makes it the topic's type, or compares it with what that is. 0 or a status. type NULL: matches all. */
int type_settle(struct topic *topic, const tarn_type *type, const struct roster_taker *taker);

/* The same for what answers to a topic's requests are; topics of PATTERN_SERVICE only, whose pattern_block it is. */
int type_settle_response(struct topic *topic, const tarn_type *type, const struct roster_taker *taker);

bool type_read(struct roster *roster, struct type_text *ret); /* false: untyped, or damaged */

/* The schema, into TYPE_SCHEMA_BYTES_MAX. Returns its size; 0: it has none, or is damaged. */
#define TYPE_SCHEMA_BYTES_MAX (60u * 1024)
size_t type_read_schema(struct roster *roster, void *ret);

#endif
