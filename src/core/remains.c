/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See remains.h. */
#include "core/remains.h"

bool remains_are_needed(struct topic *topic, uint32_t slot) {
    (void)slot;
    switch (topic_pattern(topic)) {
    case PATTERN_NONE:
    case PATTERN_MESSAGES:
    case PATTERN_SERVICE:
    case PATTERN_EVENTS:
    case PATTERN_BLACKBOARD:
    case PATTERN_QUEUE:
        break;
    }
    return false;
}
