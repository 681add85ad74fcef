/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Many participants of one topic in one process, and what becomes of their places when they leave. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common.h"
#include "base/status.h"
#include "core/inspect.h"
#include "shm/roster.h"

/* No topic file is left: with the last participant it goes, and the memory with it (which the runner looks at). */
static void check_nothing_left(void) {
    char path[512];
    snprintf(path, sizeof path, "%s/default", getenv("TARN_DIR"));
    DIR *folder = opendir(path);
    CHECK(folder != NULL);
    for (struct dirent *entry; (entry = readdir(folder));)
        if (entry->d_name[0] != '.')
            FAIL("left behind: %s", entry->d_name);
    closedir(folder);
}

/* The highest slot in use, of either kind. */
static uint32_t highest_slot(void) {
    struct inspect_domain *domain;
    uint32_t highest = 0;
    CHECK_STATUS(inspect_domain_open(&domain, NULL, NULL), 0);
    CHECK_INT(domain->topic_count, ==, 1);
    for (uint32_t i = 0; i < domain->topics[0].participant_count; i++)
        if (domain->topics[0].participants[i].slot > highest)
            highest = domain->topics[0].participants[i].slot;
    inspect_domain_close(domain);
    return highest;
}

static void take_all(tarn_subscriber *subscriber, uint64_t publishers, uint64_t of_each, size_t bytes) {
    uint64_t taken = 0;
    tarn_message message;
    for (; tarn_subscriber_take(subscriber, &message) == 1; taken++) {
        CHECK_INT(message.lost, ==, 0);
        check_contents(&message, bytes);
        release(&message);
    }
    CHECK_INT(taken, ==, publishers * of_each);
}

static tarn_publisher *publishers[64];
static tarn_subscriber *subscribers[1000];

static void open_all(int publisher_count, int subscriber_count) {
    for (int i = 0; i < subscriber_count; i++)
        subscribers[i] = subscriber_with(.reliable = (uint32_t)i & 1);
    for (int i = 0; i < publisher_count; i++)
        publishers[i] = publisher_with();
}

static void close_all(int publisher_count, int subscriber_count) {
    for (int i = 0; i < subscriber_count; i++)
        CHECK_STATUS(tarn_subscriber_close(subscribers[i]), 0);
    for (int i = 0; i < publisher_count; i++)
        CHECK_INT(tarn_publisher_close(publishers[i]), ==, 0);
    check_nothing_left();
}

TEST(one_publisher_and_a_thousand_subscribers) {
    open_all(1, 1000);
    CHECK_STATUS(tarn_publisher_subscribers(publishers[0]), 1000);
    for (uint64_t i = 1; i <= 20; i++)
        CHECK_STATUS(send_pattern(publishers[0], 300, i), 1);
    CHECK_STATUS(tarn_publisher_flush(publishers[0], 0), 0);
    for (int i = 0; i < 1000; i++)
        take_all(subscribers[i], 1, 20, 300);
    CHECK_STATUS(tarn_publisher_flush(publishers[0], 0), 1);
    CHECK_INT(highest_slot(), ==, 999);
    close_all(1, 1000);
}

TEST(sixty_four_publishers_and_sixty_four_subscribers) {
    open_all(64, 64);
    for (uint64_t i = 1; i <= 10; i++)
        for (int k = 0; k < 64; k++)
            CHECK_STATUS(send_pattern(publishers[k], 100, i), 1);
    for (int i = 0; i < 64; i++) {
        CHECK_STATUS(tarn_subscriber_publishers(subscribers[i]), 64);
        take_all(subscribers[i], 64, 10, 100);
    }
    for (int i = 0; i < 64; i++)
        CHECK_STATUS(tarn_publisher_flush(publishers[i], 0), 1);
    close_all(64, 64);
}

/* All leave and join again, a few times: in the same slots. */
TEST(slots_are_used_again) {
    tarn_publisher *stays = publisher_with();
    for (int round = 0; round < 3; round++) {
        open_all(10, 100);
        CHECK_INT(highest_slot(), <, 110);
        for (int i = 0; i < 100; i++)
            CHECK_STATUS(tarn_subscriber_close(subscribers[i]), 0);
        for (int i = 0; i < 10; i++)
            CHECK_INT(tarn_publisher_close(publishers[i]), ==, 0);
    }
    tarn_message message;
    for (uint64_t i = 1; i <= 500; i++) {
        tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
        CHECK_INT(highest_slot(), <, 110);
        CHECK_STATUS(send_pattern(stays, 10, i), 1);
        take_one(subscriber, &message);
        CHECK_INT(message.sequence, ==, i);
        CHECK_INT(message.lost, ==, 0);
        release(&message);
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    }
    CHECK_STATUS(tarn_publisher_close(stays), 0);
    check_nothing_left();
}

/* A slot's earlier owners, subscribers and publishers, leave nothing that a later one trips over. */
TEST(successors_are_not_confused) {
    tarn_publisher *publisher = publisher_with();
    uint64_t sequence = 0, of_other;
    tarn_message message;
    for (int round = 0; round < 300; round++) {
        tarn_publisher *other = publisher_with();
        tarn_subscriber *subscriber = subscriber_with(.reliable = (uint32_t)round & 1);
        of_other = 0;
        for (int i = 0; i < 5; i++) {
            CHECK_STATUS(send_pattern(publisher, 70000, ++sequence), 1);
            CHECK_STATUS(send_pattern(other, 70000, ++of_other), 1);
        }
        for (int i = 0; i < 10; i++) {
            take_one(subscriber, &message);
            CHECK_INT(message.lost, ==, 0);
            check_contents(&message, 70000);
            release(&message);
        }
        if (round % 3 == 0)
            CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
        CHECK_INT(tarn_publisher_close(other), >=, 0);
        if (round % 3)
            CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    }
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    check_nothing_left();
}

TEST(topics_and_domains_do_not_see_each_other) {
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *others[] = {open_subscriber("unit/topic2", NULL), open_subscriber("unit", NULL),
                                 open_subscriber(TOPIC, SUBSCRIBER_OPTIONS(.domain = "other"))};
    tarn_message message;
    CHECK_STATUS(tarn_publisher_subscribers(publisher), 0);
    CHECK_STATUS(tarn_publisher_publish(publisher, "x", 1), 1);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(tarn_subscriber_publishers(others[i]), 0);
        CHECK_STATUS(tarn_subscriber_take(others[i], &message), 0);
        CHECK_STATUS(tarn_subscriber_close(others[i]), 0);
    }
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    check_nothing_left();
}

/* ---- the chain of segments ------------------------------------------------------------------------------------ */

#define LINKS 3000

/* Blocks are distinct, cleared and found again as the chain grows; also through another mapping made before. */
TEST(roster_grows_by_segments) {
    static _Atomic uint32_t links[LINKS];
    struct segment_access access = {.group = getgid(), .directory_mode = 0700};
    struct segment_name name;
    struct roster roster, other;
    CHECK_INT(roster_create(&roster, &name, &access), ==, 0);
    CHECK_INT(roster_attach(&other, &name, &access, true), ==, 0);
    for (uint32_t i = 0; i < LINKS; i++) {
        int64_t block = roster_link_block(&roster, &links[i], BLOCK_ROW, i, &(struct roster_taker){.incarnation = 1});
        CHECK_INT(block, >, 0);
        CHECK_INT(atomic_load(&links[i]), ==, block);
        CHECK_INT(roster_link_block(&other, &links[i], BLOCK_ROW, i, &(struct roster_taker){.incarnation = 1}), ==,
                  block);
        uint32_t *words = roster_block(&roster, (uint32_t)block);
        for (uint32_t k = 0; k < BLOCK_BYTES / 4; k++)
            CHECK_INT(words[k], ==, 0);
        fill_pattern(words, BLOCK_BYTES, i);
    }
    for (uint32_t i = 0; i < LINKS; i++)
        CHECK(check_pattern(roster_block(&other, atomic_load(&links[i])), BLOCK_BYTES, i));
    CHECK(roster_block(&roster, 0) == NULL);
    CHECK(roster_block(&roster, 1) == NULL); /* part of the header */
    CHECK(roster_block(&roster, UINT32_MAX) == NULL);
    CHECK(roster_publisher(&roster, PUBLISHERS_MAX) == NULL);
    CHECK(roster_subscriber(&roster, SUBSCRIBERS_MAX) == NULL);
    roster_detach(&other);
    roster_detach(&roster);
}

/* Segments that went with their makers take their numbers with them, and who has no more is told so. */
TEST(a_roster_that_cannot_grow_says_so) {
    struct segment_access access = {.group = getgid(), .directory_mode = 0700};
    struct segment_name name;
    struct roster roster;
    CHECK_INT(roster_create(&roster, &name, &access), ==, 0);
    for (uint32_t number = 1; number < ROSTER_SEGMENTS_MAX; number++)
        atomic_store(&roster.header->chain[number], ROSTER_SEGMENT_GONE);
    static _Atomic uint32_t links[LINKS];
    int64_t block = 1;
    for (uint32_t i = 0; i < LINKS && block > 0; i++)
        block = roster_link_block(&roster, &links[i], BLOCK_ROW, i, &(struct roster_taker){.incarnation = 1});
    CHECK_INT(block, ==, -EOVERFLOW);
    CHECK_INT(roster_make_publisher(&roster, 0), ==, -EOVERFLOW);
    CHECK_STATUS(fail_memory(EOVERFLOW, "no place"), TARN_ERROR_LIMIT);
    CHECK(strstr(tarn_error(), "when all have left"));
    roster_detach(&roster);
}
