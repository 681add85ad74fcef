/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See roles.h. */
#include "core/roles.h"

#include "tarn.h"

static uint32_t role_of_publisher(enum pattern pattern) {
    switch (pattern) {
    case PATTERN_EVENTS:
        return TARN_ROLE_NOTIFIER;
    case PATTERN_BLACKBOARD:
        return TARN_ROLE_WRITER;
    case PATTERN_QUEUE:
        return TARN_ROLE_PRODUCER;
    case PATTERN_SERVICE: /* logs of clients and servers, which are subscribers, too */
        return 0;
    case PATTERN_NONE:
    case PATTERN_MESSAGES:
        break;
    }
    return TARN_ROLE_PUBLISHER;
}

static uint32_t role_of_subscriber(enum pattern pattern) {
    switch (pattern) {
    case PATTERN_EVENTS:
        return TARN_ROLE_LISTENER;
    case PATTERN_BLACKBOARD:
        return TARN_ROLE_READER;
    case PATTERN_QUEUE:
        return TARN_ROLE_WORKER;
    case PATTERN_SERVICE:
        return TARN_ROLE_CLIENT;
    case PATTERN_NONE:
    case PATTERN_MESSAGES:
        break;
    }
    return TARN_ROLE_SUBSCRIBER;
}

uint32_t role_of(enum pattern pattern, enum slot_kind kind, uint32_t slot_role) {
    if (kind == PUBLISHER)
        return role_of_publisher(pattern);
    if (slot_role == ROLE_MONITOR)
        return TARN_ROLE_MONITOR;
    if (slot_role == ROLE_KEEPER)
        return TARN_ROLE_KEEPER;
    if (slot_role == ROLE_SERVER)
        return TARN_ROLE_SERVER;
    return role_of_subscriber(pattern);
}

const char *tarn_role_text(uint32_t role) {
    static const char *const texts[] = {
        [TARN_ROLE_PUBLISHER] = "publisher", [TARN_ROLE_SUBSCRIBER] = "subscriber", [TARN_ROLE_CLIENT] = "client",
        [TARN_ROLE_SERVER] = "server",       [TARN_ROLE_NOTIFIER] = "notifier",     [TARN_ROLE_LISTENER] = "listener",
        [TARN_ROLE_WRITER] = "writer",       [TARN_ROLE_READER] = "reader",         [TARN_ROLE_PRODUCER] = "producer",
        [TARN_ROLE_WORKER] = "worker",       [TARN_ROLE_MONITOR] = "monitor",       [TARN_ROLE_KEEPER] = "keeper",
    };
    return role > 0 && role < sizeof(texts) / sizeof(texts[0]) ? texts[role] : "participant";
}
