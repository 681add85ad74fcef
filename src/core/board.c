/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See board.h. */
#include "core/board.h"

#include <errno.h>

#include "base/status.h"

int board_find_key(struct topic *topic, const char *name, const struct roster_taker *taker) {
    if (!name)
        return fail(TARN_ERROR_ARGUMENT, "the key's name is NULL");
    const char *problem = board_name_problem(name);
    if (problem)
        return fail(TARN_ERROR_ARGUMENT, "topic \"%s\": this is not a key's name: %s", topic->name, problem);
    int64_t number = board_find(&topic->roster, name, taker);
    if (number >= 0)
        return (int)number;
    if (number == -EUSERS)
        return fail(TARN_ERROR_LIMIT, "topic \"%s\" has as many keys as there can be (%u)", topic->name, KEYS_MAX);
    if (number == -EEXIST)
        return fail(TARN_ERROR_DAMAGED,
                    "topic \"%s\": another key has the place of \"%s\" (a peer wrote nonsense, or both have the same "
                    "hash): take another name",
                    topic->name, name);
    return fail_memory((int)-number, "topic \"%s\": cannot look for key \"%s\"", topic->name, name);
}
