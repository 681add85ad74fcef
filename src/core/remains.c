/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See remains.h. */
#include "core/remains.h"

#include "core/board.h"

bool remains_are_needed(struct topic *topic, uint32_t slot) {
    switch (topic_pattern(topic)) {
    case PATTERN_NONE:
    case PATTERN_MESSAGES:
    case PATTERN_SERVICE:
    case PATTERN_EVENTS:
    case PATTERN_QUEUE:
        break;
    case PATTERN_BLACKBOARD:
        return board_remains(topic, slot);
    }
    return false;
}
