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
    return fail_system(status_of_errno((int)-number), (int)-number, "topic \"%s\": cannot look for key \"%s\"",
                       topic->name, name);
}

/*
 * The kernel lets a segment be attached as long as some process has it attached: that is how it is known that a reader
 * has it. What cannot be attached for another reason than that it has gone is left to those who can.
 */
static bool can_be_had(struct topic *topic, struct publisher_slot *publisher, uint32_t slot, uint16_t incarnation) {
    for (struct remote *remote = topic->remotes; remote; remote = remote->next)
        if (remote->slot == slot && remote->incarnation == incarnation)
            return true;
    struct remote remote;
    int error = remote_open(&remote, publisher, slot, incarnation);
    if (!error)
        remote_close(&remote);
    return error != -EINVAL;
}

bool board_remains(struct topic *topic, uint32_t slot) {
    struct publisher_slot *publisher = roster_publisher(&topic->roster, slot);
    if (!publisher)
        return false;
    uint16_t incarnation = incarnation_of(&publisher->incarnation);
    return board_has_values_of(&topic->roster, key_owner(slot, incarnation)) &&
           can_be_had(topic, publisher, slot, incarnation);
}
