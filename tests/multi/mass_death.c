/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * All participants are killed at once, at a random moment, while they join, leave, send and take. Then, before anybody
 * starts again, the kernel has freed all of their memory; and the next one to come finds a topic that works, and sweeps
 * the files that were left.
 *
 * One kind of segment may outlive its maker, killed between making it and marking it for removal: it is empty, has a
 * key, and goes with the next opening. These are counted.
 *
 *     TARN_MASS_DEATHS=n      so many deaths, instead of what fits into a run of all tests
 */
#include <sys/mount.h>

#include "common.h"

#define TOPIC "mass/death"

enum { PARTICIPANTS = 8, ROUNDS = 300, MESSAGES = 40 };

struct board {
    struct meeting start;
    _Atomic uint64_t joins, leaves, sent, taken;
};

static struct board *board;

/* ---- the participants ------------------------------------------------------------------------------------------- */

static char data[200000];

static size_t choose_bytes(struct random *random) {
    return random_one_in(random, 10) ? random_between(random, 0, sizeof data) : random_between(random, 0, 300);
}

static void send_some(struct random *random) {
    tarn_publisher *publisher = PUBLISHER(TOPIC, .memory_limit_bytes = 2 << 20, .full_timeout_ns = MS, .linger_ns = MS,
                                          .realtime = random_one_in(random, 8), .timestamps = random_one_in(random, 2));
    board->joins++;
    for (uint64_t i = random_between(random, 0, MESSAGES); i > 0; i--) {
        int result = tarn_publisher_publish(publisher, data, choose_bytes(random));
        if (result != TARN_ERROR_FULL)
            CHECK_STATUS(result, 1);
        board->sent++;
    }
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    board->leaves++;
}

static void take_some(struct random *random) {
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = random_one_in(random, 2),
                                             .history = random_between(random, 0, 10), .max_held = 2 * MESSAGES);
    tarn_message messages[MESSAGES];
    unsigned held = 0;
    board->joins++;
    if (random_one_in(random, 3))
        CHECK_INT(tarn_subscriber_fd(subscriber), >=, 0);
    for (uint64_t i = random_between(random, 0, MESSAGES); i > 0; i--) {
        int result = tarn_subscriber_receive(subscriber, &messages[held], MS / 5);
        CHECK_INT(result, >=, 0);
        held += result == 1;
        board->taken += result == 1;
    }
    bool closes_first = random_one_in(random, 2);
    if (closes_first)
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    while (held)
        CHECK_STATUS(tarn_message_release(&messages[--held]), 0);
    if (!closes_first)
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    board->leaves++;
}

static void live_until_killed(void *arg) {
    struct random random = random_start((uint64_t)(uintptr_t)arg);
    meet(&board->start, PARTICIPANTS + 1);
    for (;;) {
        if (random_one_in(&random, 2))
            send_some(&random);
        else
            take_some(&random);
    }
}

/* ---- what is left ----------------------------------------------------------------------------------------------- */

/* Segments that were made, and neither filled nor marked for removal. Fails on any other. */
static int count_orphans(void) {
    int orphans = 0;
    struct listed_segment segment;
    for (FILE *list = list_segments(); next_segment(list, &segment); orphans++)
        if (segment.attached || segment.resident || !segment.key)
            FAIL("segment %d is left: key %#x, %llu bytes, %llu resident, %llu attached", segment.id,
                 (unsigned)segment.key, segment.bytes, segment.resident, segment.attached);
    return orphans;
}

/* Others use that folder, too: only one of our own tells. */
static bool has_own_shm_folder(void) {
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", "/dev/shm", "tmpfs", 0, NULL) == 0;
}

static bool own_shm_folder;

static void check_shm_folder(void) {
    if (own_shm_folder)
        CHECK_INT(count_files("/dev/shm", 0), ==, 0);
}

/* The next one to come needs nobody's help, and when it leaves all is as before anybody came. */
static void check_next(const char *path) {
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    CHECK_INT(count_segments(), ==, 2); /* the roster and the publisher's: no orphan any more */
    publish_word(publisher, 7);
    receive_word(subscriber, 7);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_INT(count_segments(), ==, 0);
    CHECK_INT(count_files(path, 4096), ==, 0);
    check_shm_folder();
}

/* ---- rounds ----------------------------------------------------------------------------------------------------- */

/* By one call for the group, or one by one, which takes longer. */
static void kill_all(const pid_t children[static PARTICIPANTS], bool by_group) {
    if (by_group)
        CHECK(kill(-children[0], SIGKILL) == 0);
    for (int i = 0; i < PARTICIPANTS; i++)
        kill(children[i], SIGKILL);
    for (int i = 0; i < PARTICIPANTS; i++)
        CHECK_INT(wait_child(children[i], LIMIT_S), ==, -SIGKILL);
}

/* Mostly while the topic is made and everybody joins, else later. */
static int64_t choose_moment(struct random *random) {
    return (int64_t)random_between(random, 0, random_one_in(random, 3) ? 25000000 : 3000000);
}

static void start_all(pid_t ret[static PARTICIPANTS], uint64_t round) {
    memset(&board->start, 0, sizeof board->start);
    for (uint64_t i = 0; i < PARTICIPANTS; i++) {
        ret[i] = spawn(live_until_killed, (void *)(uintptr_t)(round * PARTICIPANTS + i));
        CHECK(setpgid(ret[i], ret[0]) == 0);
    }
    meet(&board->start, PARTICIPANTS + 1);
}

/* As many as were asked for; else as many as 15 s allow. */
TEST_LIMIT(all_at_once, 24 * 3600) {
    struct random random = random_start(1);
    const char *asked_for = getenv("TARN_MASS_DEATHS");
    uint64_t rounds = asked_for ? strtoull(asked_for, NULL, 10) : ROUNDS, round = 0, orphans = 0;
    int64_t end = asked_for ? INT64_MAX : now_ns() + 15 * SECOND;
    char path[512];
    need_root(); /* for a System V namespace of our own */
    domain_path(path, NULL);
    board = shared_page(sizeof *board);
    own_shm_folder = has_own_shm_folder();
    for (; round < rounds && now_ns() < end; round++) {
        pid_t children[PARTICIPANTS];
        start_all(children, round);
        nap_ns(choose_moment(&random));
        kill_all(children, random_one_in(&random, 2));
        orphans += (uint64_t)count_orphans();
        check_shm_folder();
        check_next(path);
    }
    printf(
        "%llu times %d participants killed at once, after %llu joins, %llu leaves, %llu messages sent and %llu taken: "
        "%llu empty segments left for the next opening%s\n",
        (unsigned long long)round, PARTICIPANTS, (unsigned long long)board->joins, (unsigned long long)board->leaves,
        (unsigned long long)board->sent, (unsigned long long)board->taken, (unsigned long long)orphans,
        own_shm_folder ? "" : " (no mount allowed here: /dev/shm not looked at)");
    CHECK_INT(board->joins, >, round);
    CHECK_INT(board->leaves, >, round);
    CHECK_INT(board->taken, >, round);
}
