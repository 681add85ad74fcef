/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Through the front door: opening, taking, sending, listing, sweeping and repairing in a topic whose roster, and whose
 * publisher's segments, say anything. A publisher and a subscriber of this process are in the topic all the time, and
 * do nothing; two slots are those of the dead. Everything runs in the folder $TARN_DIR.
 */
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "core/inspect.h"
#include "tarn.h"

const char target_name[] = "peers";
const unsigned target_calls_per_sweep = 1;

#define TOPIC "fuzz"
#define SENT 12
#define DEAD_SLOT 1

enum act { SUBSCRIBE, PUBLISH, LIST, SWEEP, ACTS };
enum option { RELIABLE = 4, TYPED = 8, HOLDS = 16, WITH_FD = 32, FROM_NOW = 64, REALTIME = 128 };

static tarn_publisher *resident_publisher;
static tarn_subscriber *resident_subscriber;
static char payload[80000];
static const tarn_type type = {.struct_bytes = sizeof type, .name = "a/type", .schema = payload, .schema_bytes = 300};

static bool has(const struct input *input, enum option option) {
    return input->options & (unsigned)option;
}

/* Whatever is documented as a result will do. */
static bool is_well(int result) {
    EXPECT(result >= TARN_ERROR_PATTERN);
    EXPECT(result >= 0 || result <= TARN_ERROR_ARGUMENT);
    EXPECT(result >= 0 || tarn_error()[0]);
    return result >= 0;
}

/* ---- handles ---------------------------------------------------------------------------------------------------- */

static tarn_publisher *open_publisher(const struct input *input) {
    tarn_publisher *publisher = NULL;
    tarn_publisher_options options = {
        .struct_bytes = sizeof options,
        .type = has(input, TYPED) ? &type : NULL,
        .memory_limit_bytes = 512 << 10,
        .full_timeout_ns = TARN_IMMEDIATELY,
        .linger_ns = TARN_IMMEDIATELY,
        .realtime = has(input, REALTIME),
        .refuse_reliable = has(input, RELIABLE),
    };
    is_well(tarn_publisher_open(&publisher, TOPIC, &options));
    return publisher;
}

static tarn_subscriber *open_subscriber(const struct input *input) {
    tarn_subscriber *subscriber = NULL;
    tarn_subscriber_options options = {
        .struct_bytes = sizeof options,
        .type = has(input, TYPED) ? &type : NULL,
        .history = has(input, FROM_NOW) ? 0 : 100,
        .reliable = has(input, RELIABLE),
        .max_held = has(input, HOLDS) ? 40 : 1,
        .realtime = has(input, REALTIME),
    };
    is_well(tarn_subscriber_open(&subscriber, TOPIC, &options));
    return subscriber;
}

/* ---- the image -------------------------------------------------------------------------------------------------- */

static void send_all(tarn_publisher *publisher) {
    for (unsigned i = 0; i < SENT; i++)
        EXPECT(tarn_publisher_publish(publisher, payload, i % 4 == 3 ? 30000 : 8 * i) == 1);
}

static void leave_dead(const struct input *input) {
    tarn_publisher *publisher = open_publisher(input);
    tarn_subscriber *subscriber = open_subscriber(input);
    EXPECT(publisher && subscriber);
    EXPECT(tarn_publisher_close(publisher) == 0 && tarn_subscriber_close(subscriber) == 0);
    image_publisher(DEAD_SLOT)->state = SLOT_LIVE;
    image_subscriber(DEAD_SLOT)->state = SLOT_LIVE;
}

static void find_roster(void) {
    struct roster_segment *segment = segment_base_of(SEGMENT_FIRST_ID);
    EXPECT(segment->magic == ROSTER_MAGIC);
    image_roster = (struct roster){
        .base = {(char *)segment},
        .header = (struct roster_header *)(void *)((char *)segment + ROSTER_HEADER_OFFSET),
        .nonce = segment->nonce,
    };
}

static void add_words_of_image(void) {
    image_add_roster_words(&image_roster);
    for (uint32_t slot = 0; slot <= DEAD_SLOT; slot++) {
        memcpy(image_publisher(slot)->who.command, "fifteen letters", 16);
        memcpy(image_subscriber(slot)->who.command, "fifteen letters", 16);
        image_add_publisher_words(image_publisher(slot));
        image_add_subscriber_words(image_subscriber(slot));
    }
    image_row(0, 0);
    char *log = segment_raw(segment_base_of(SEGMENT_FIRST_ID + 1));
    EXPECT(((struct segment_header *)(void *)log)->magic == SEGMENT_MAGIC);
    image_add_log_words(&log, 1, 0);
}

void target_build(void) {
    static const struct input typed = {.options = TYPED};
    if (!getenv("TARN_DIR"))
        die("TARN_DIR is to name a folder for the topic");
    resident_publisher = open_publisher(&typed);
    resident_subscriber = open_subscriber(&typed);
    EXPECT(resident_publisher && resident_subscriber);
    send_all(resident_publisher);
    find_roster();
    leave_dead(&typed);
    add_words_of_image();
    segments_keep();
}

/* ---- a run ------------------------------------------------------------------------------------------------------ */

#define TAKES_MOST 30

static unsigned take_all(const struct input *input, tarn_subscriber *subscriber) {
    tarn_message held[TAKES_MOST];
    unsigned count = 0, taken = 0;
    for (unsigned i = 0; i < TAKES_MOST; i++) {
        if (i == input->number % 8)
            damage(input, 2);
        if (!is_well(tarn_subscriber_wait(subscriber, 0)))
            continue;
        int result = tarn_subscriber_take(subscriber, &held[count]);
        if (!is_well(result) || result == 0)
            continue;
        taken++;
        look_at_payload(held[count].data, held[count].bytes);
        count++;
        if (!has(input, HOLDS))
            EXPECT(tarn_message_release(&held[--count]) == 0);
    }
    damage(input, 3);
    while (count > 0)
        EXPECT(tarn_message_release(&held[--count]) == 0);
    return taken;
}

static void subscribe(const struct input *input) {
    tarn_subscriber *subscriber = open_subscriber(input);
    damage(input, 1);
    if (!subscriber)
        return;
    if (has(input, WITH_FD))
        is_well(tarn_subscriber_fd(subscriber));
    unsigned taken = take_all(input, subscriber);
    if (input->damage_count == 0)
        EXPECT(taken == (has(input, FROM_NOW) ? 0 : SENT));
    is_well(tarn_subscriber_publishers(subscriber));
    tarn_subscriber_lost(subscriber);
    is_well(tarn_subscriber_close(subscriber));
}

static void publish(const struct input *input) {
    tarn_publisher *publisher = open_publisher(input);
    damage(input, 1);
    if (!publisher)
        return;
    for (unsigned i = 0; i < 20; i++) {
        if (i == input->number % 8)
            damage(input, 2);
        tarn_loan loan = {0};
        int result = tarn_publisher_loan(publisher, i % 2 ? 60000 : 8, &loan);
        if (is_well(result) && result == 1)
            is_well(tarn_loan_send(&loan));
    }
    damage(input, 3);
    is_well(tarn_publisher_subscribers(publisher));
    is_well(tarn_publisher_flush(publisher, 0));
    is_well(tarn_publisher_close(publisher));
}

static void list(const struct input *input) {
    struct inspect_domain *domain;
    EXPECT(inspect_domain_open(&domain, NULL, NULL) == 0);
    EXPECT(domain->topic_count == 1);
    const struct inspect_topic *topic = &domain->topics[0];
    EXPECT(strlen(topic->type_name) < sizeof topic->type_name);
    EXPECT(strlen(topic->type_encoding) < sizeof topic->type_encoding);
    for (uint32_t i = 0; i < topic->participant_count; i++)
        EXPECT(strlen(topic->participants[i].command) < sizeof topic->participants[i].command);
    if (input->damage_count == 0)
        EXPECT(topic->publishers == 1 && topic->subscribers == 1 && topic->participant_count == 4);
    inspect_domain_close(domain);
}

static void sweep(const struct input *input) {
    struct inspect_sweep swept;
    is_well(inspect_sweep(&swept, NULL, NULL));
    if (input->damage_count == 0)
        EXPECT(swept.slots_repaired == 2 && swept.topics_removed == 0);
}

void target_run(const struct input *input) {
    damage(input, 0);
    switch ((enum act)(input->options % ACTS)) {
    case SUBSCRIBE:
        subscribe(input);
        break;
    case PUBLISH:
        publish(input);
        break;
    case LIST:
        list(input);
        break;
    case SWEEP:
    case ACTS:
        sweep(input);
    }
}
