/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Places outside of a log: what is named stays as it was written for as long as it is not over, or held; what is
 * neither is used again, so that memory stays bounded however often and in whatever order messages end.
 */
#include "common.h"

#include <errno.h>
#include <stdlib.h>

#include "base/process.h"
#include "core/reaper.h"
#include "core/topic.h"
#include "shm/arena.h"
#include "shm/source.h"

#define LIMIT_BYTES (4 * MIB)
#define SLACK_BYTES (256 * KIB)
#define MESSAGES 64

/* A publisher with an arena, and a subscriber that reads there, both of this process. */
struct ends {
    struct topic *topic;
    uint32_t publisher_slot, subscriber_slot;
    struct readers readers;
    struct arena arena;
    struct holds holds;
    struct source source;
};

static void nothing_left(void *context) {
    (void)context;
}

static void open_ends(struct ends *ends, uint64_t alignment) {
    CHECK_STATUS(process_enter(), 0);
    process_lock();
    CHECK_STATUS(topic_join(&ends->topic, &ends->publisher_slot, TOPIC, NULL, NULL, PUBLISHER, PATTERN_QUEUE), 0);
    CHECK_STATUS(topic_join(&ends->topic, &ends->subscriber_slot, TOPIC, NULL, NULL, SUBSCRIBER, PATTERN_QUEUE), 0);
    struct roster *roster = &ends->topic->roster;
    struct publisher_slot *publisher = roster_publisher(roster, ends->publisher_slot);
    struct subscriber_slot *subscriber = roster_subscriber(roster, ends->subscriber_slot);
    uint16_t incarnation = incarnation_of(&publisher->incarnation);
    readers_init(&ends->readers, roster, publisher, incarnation);
    struct extents_options options = {
        .access = ends->topic->directory.access, .limit_bytes = LIMIT_BYTES, .slack_bytes = SLACK_BYTES};
    CHECK_INT(arena_open(&ends->arena, &options, publisher, &ends->readers, incarnation, alignment), ==, 0);
    atomic_store(&publisher->state, SLOT_LIVE);
    uint16_t subscriber_incarnation = incarnation_of(&subscriber->incarnation);
    CHECK_INT(holds_open(&ends->holds, roster, subscriber, ends->subscriber_slot, subscriber_incarnation), ==, 0);
    ends->holds.emptied = nothing_left;
    struct roster_taker taker = {false, ends->subscriber_slot, subscriber_incarnation, &subscriber->pending_key};
    struct reader_row *row;
    struct remote *remote;
    CHECK_INT(roster_make_row(&row, roster, publisher, ends->publisher_slot, &taker), ==, 0);
    CHECK_INT(topic_remote(ends->topic, &remote, publisher, ends->publisher_slot, incarnation), ==, 0);
    source_init(&ends->source, &ends->holds, remote, row, row_place(ends->subscriber_slot));
    atomic_store(&subscriber->state, SLOT_LIVE);
    topic_ring(ends->topic);
    process_unlock();
}

static void close_ends(struct ends *ends) {
    source_stop(&ends->source);
    process_lock();
    topic_remote_drop(ends->topic, ends->source.remote);
    subscriber_slot_clear(ends->topic, ends->subscriber_slot, false);
    publisher_slot_clear(ends->topic, ends->publisher_slot, false);
    topic_leave(ends->topic, SUBSCRIBER, ends->subscriber_slot);
    topic_leave(ends->topic, PUBLISHER, ends->publisher_slot);
    process_unlock();
    holds_free(&ends->holds);
    readers_free(&ends->readers);
    arena_close(&ends->arena);
}

struct message {
    struct extent *extent; /* NULL: over */
    uint64_t word, number, bytes;
    struct hold *hold; /* of the reader, or NULL */
    const char *data;
};

static uint64_t numbers;

static int place(struct ends *ends, struct message *message, uint64_t bytes) {
    struct place place;
    int error = arena_reserve(&ends->arena, bytes, EFFORT_ALL, &place);
    if (error)
        return error;
    CHECK_INT((uintptr_t)place.payload % ends->arena.alignment, ==, 0);
    *message = (struct message){.extent = place.extent, .number = ++numbers, .bytes = bytes};
    fill_pattern(place.payload, bytes, message->number);
    message->word = arena_finish(&place, bytes, message->number);
    CHECK(message->word != 0);
    return 0;
}

static void end_message(struct message *message) {
    arena_unpin(message->extent);
    message->extent = NULL;
}

static void hold_message(struct ends *ends, struct message *message) {
    struct view view;
    process_lock();
    remote_attach_all(ends->source.remote);
    process_unlock();
    message->hold = source_hold(&ends->source, message->word);
    CHECK(message->hold != NULL);
    CHECK(source_view(&ends->source, message->word, &view) == VIEW_SEEN);
    CHECK_INT(view.bytes, ==, message->bytes);
    CHECK_INT(view.number, ==, message->number);
    message->data = view.data;
}

static void release_message(struct message *message) {
    CHECK(check_pattern(message->data, message->bytes, message->number));
    hold_release(message->hold);
    message->hold = NULL;
}

static void churn(uint64_t bytes_most, uint64_t alignment) {
    struct ends ends;
    static struct message messages[MESSAGES];
    struct random random = random_start(bytes_most);
    uint64_t held_most = 0;
    memset(messages, 0, sizeof messages);
    open_ends(&ends, alignment);
    for (uint32_t i = 0; i < 20000; i++) {
        struct message *message = &messages[random_between(&random, 0, MESSAGES - 1)];
        if (message->hold && random_between(&random, 0, 1))
            release_message(message);
        else if (message->extent && !message->hold && random_between(&random, 0, 1))
            hold_message(&ends, message);
        else if (message->extent)
            end_message(message);
        else if (!message->hold) {
            int error = place(&ends, message, random_between(&random, 0, bytes_most));
            CHECK(error == 0 || error == -EAGAIN);
        }
        if (ends.arena.extents.held_bytes > held_most)
            held_most = ends.arena.extents.held_bytes;
    }
    /* what readers held once is free by now, and used beyond the limit until it is given back */
    CHECK_INT(ends.arena.extents.warm_bytes, <=, LIMIT_BYTES + SLACK_BYTES + held_most);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        if (messages[i].hold)
            release_message(&messages[i]);
        if (messages[i].extent)
            end_message(&messages[i]);
    }
    close_ends(&ends);
}

TEST(messages_end_in_any_order) {
    churn(20, 8);
    churn(300, 64);
    churn(10000, 8);
    churn(100000, 4096);
    churn(700000, 8);
}

/* One message that is never over keeps its own extent, and no other. */
TEST(an_old_message_keeps_little) {
    struct ends ends;
    struct message old, other;
    open_ends(&ends, 8);
    CHECK_INT(place(&ends, &old, 100), ==, 0);
    for (uint32_t i = 0; i < 100000; i++) {
        CHECK_INT(place(&ends, &other, 1000), ==, 0);
        end_message(&other);
    }
    CHECK_INT(ends.arena.extents.warm_bytes, <=, LIMIT_BYTES / 2);
    hold_message(&ends, &old);
    release_message(&old);
    close_ends(&ends);
}

/* What is held stays as it was, though it is over and all other memory is used again and again. */
TEST(what_is_held_stays) {
    struct ends ends;
    struct message held[8], other;
    open_ends(&ends, 8);
    for (uint32_t i = 0; i < 8; i++) {
        CHECK_INT(place(&ends, &held[i], i * 9000), ==, 0);
        hold_message(&ends, &held[i]);
        end_message(&held[i]);
    }
    for (uint32_t i = 0; i < 5000; i++) {
        CHECK_INT(place(&ends, &other, 30000), ==, 0);
        end_message(&other);
    }
    for (uint32_t i = 0; i < 8; i++)
        release_message(&held[i]);
    close_ends(&ends);
}

/* A reader stopped while it holds all there is keeps what there is, and no more than the limit. */
TEST(who_holds_all_holds_no_more_than_the_limit) {
    struct ends ends;
    struct message first, other;
    uint32_t count = 0;
    open_ends(&ends, 8);
    CHECK_INT(place(&ends, &first, 50000), ==, 0);
    struct hold *all = source_hold_all(&ends.source);
    CHECK(all != NULL);
    int error;
    while ((error = place(&ends, &other, 50000)) == 0 && count++ < 1000)
        end_message(&other);
    CHECK_INT(error, ==, -EAGAIN);
    CHECK_INT(ends.arena.extents.warm_bytes, <=, LIMIT_BYTES + SLACK_BYTES);
    source_narrow(&ends.source, first.word);
    source_unhold(all);
    CHECK_INT(place(&ends, &other, 50000), ==, 0);
    end_message(&other);
    end_message(&first);
    close_ends(&ends);
}

/* Full is full: nothing that is not over is given up. */
TEST(full_is_said_and_passes) {
    struct ends ends;
    static struct message messages[1000];
    uint32_t count = 0;
    int error;
    open_ends(&ends, 8);
    while ((error = place(&ends, &messages[count], 50000)) == 0)
        count++;
    CHECK_INT(error, ==, -EAGAIN);
    CHECK_INT(count, >=, LIMIT_BYTES / (64 * KIB));
    for (uint32_t i = 0; i < count; i++) {
        hold_message(&ends, &messages[i]);
        release_message(&messages[i]);
        end_message(&messages[i]);
    }
    CHECK_INT(place(&ends, &messages[0], 50000), ==, 0);
    close_ends(&ends);
}

/* Words that name nothing, as a damaged roster could have them. */
TEST(bad_words_are_refused) {
    struct ends ends;
    struct message message;
    struct view view;
    open_ends(&ends, 8);
    CHECK_INT(place(&ends, &message, 100), ==, 0);
    uint64_t offset = place_offset(message.word);
    extent_ref ref = place_extent(message.word);
    CHECK(source_view(&ends.source, place_word(ref, 0), &view) == VIEW_DAMAGED);
    CHECK(source_view(&ends.source, place_word(ref, 8), &view) == VIEW_DAMAGED);
    CHECK(source_view(&ends.source, place_word(ref, 64 * KIB + 8), &view) == VIEW_DAMAGED);
    CHECK(source_view(&ends.source, place_word(ref, UINT64_C(8) << 31), &view) == VIEW_DAMAGED);
    CHECK(source_view(&ends.source, place_word(extent_ref_make(0, 9999), offset), &view) == VIEW_DAMAGED);
    CHECK(source_view(&ends.source, place_word(extent_ref_make(0, 3), offset), &view) == VIEW_DAMAGED);
    CHECK(source_view(&ends.source, place_word(extent_ref_make(3, 0), offset), &view) == VIEW_UNATTACHED);
    CHECK(source_view(&ends.source, place_word(extent_ref_make(255, 0), offset), &view) == VIEW_UNATTACHED);
    CHECK(source_view(&ends.source, message.word, &view) == VIEW_SEEN);
    close_ends(&ends);
}
