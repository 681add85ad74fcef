/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Waitsets between processes: no lost wake-up, and nothing starved, with one message taken per report; peers that die
 * while other sources are busy; forks; kernels and filters that refuse what a waitset would rather use.
 *
 * A lost wake-up ends with the slice of 100 ms, so those that come so late are counted, as in waking.c.
 */
#include <poll.h>
#include <sys/epoll.h>

#include "common.h"

#define LATE_NS (90 * MS)
#define SENDERS 4
#define CROWD 70 /* handles with which a waitset relies on the kernel alone */

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

static const char *topic_of(unsigned sender) {
    static const char *const topics[SENDERS] = {"one", "two", "three", "four"};
    return topics[sender];
}

static tarn_waitset *waitset_of(uint32_t strategy) {
    tarn_waitset *waitset = NULL;
    tarn_waitset_options options = {.struct_bytes = sizeof options, .wait_strategy = strategy};
    CHECK_STATUS(tarn_waitset_open(&waitset, &options), 0);
    return waitset;
}

/* ---- two messages at a time, from one of four ------------------------------------------------------------------- */

struct game {
    unsigned strokes;
    uint32_t strategy;
    unsigned crowd; /* subscribers besides, of a topic where nobody publishes */
    void (*before)(void);
    bool never_woken; /* all is found by looking */
};

struct court {
    struct gate gates[SENDERS]; /* each lets a sender send two messages */
    _Atomic unsigned ready;
    _Atomic int late;
    _Atomic uint64_t taken[SENDERS];
    _Atomic bool over;
};

static struct court *court;
static const struct game *game;

static void send_when_told(void *arg) {
    unsigned me = (unsigned)(uintptr_t)arg;
    tarn_publisher *publisher = PUBLISHER(topic_of(me), .wake = game->never_woken ? TARN_WAKE_NEVER : TARN_WAKE_AUTO);
    court->ready++;
    for (uint64_t word = 0;;) {
        gate_wait(court->gates[me], 60);
        if (court->over)
            break;
        for (unsigned i = 0; i < 2; i++) /* at once: the second needs no wake-up if the first had one, or was seen */
            publish_word(publisher, word++);
    }
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
}

struct table {
    tarn_waitset *waitset;
    tarn_subscriber *subscribers[SENDERS], *crowd[CROWD];
    uint64_t next[SENDERS];
};

static void lay_table(struct table *table, uint32_t strategy, unsigned crowd) {
    table->waitset = waitset_of(strategy);
    for (unsigned i = 0; i < SENDERS; i++) {
        table->subscribers[i] = SUBSCRIBER(topic_of(i), .reliable = 1);
        CHECK_STATUS(tarn_waitset_add(table->waitset, table->subscribers[i], &table->next[i]), 0);
    }
    for (unsigned i = 0; i < crowd; i++) {
        table->crowd[i] = subscriber_of("nobody", NULL);
        CHECK_STATUS(tarn_waitset_add(table->waitset, table->crowd[i], NULL), 0);
    }
}

static void clear_table(struct table *table, unsigned crowd) {
    CHECK_STATUS(tarn_waitset_close(table->waitset), 0);
    for (unsigned i = 0; i < SENDERS; i++)
        CHECK_STATUS(tarn_subscriber_close(table->subscribers[i]), 0);
    for (unsigned i = 0; i < crowd; i++)
        CHECK_STATUS(tarn_subscriber_close(table->crowd[i]), 0);
}

/* Takes one message of the source that was reported. */
static unsigned take_reported(struct table *table, const tarn_ready *ready) {
    tarn_message message;
    uint64_t *next = ready->tag;
    CHECK_STATUS(ready->status, 0);
    CHECK_STATUS(tarn_subscriber_take(ready->handle, &message), 1); /* what is reported is there */
    CHECK_INT(message.lost, ==, 0);
    CHECK(message.bytes == 8 && memcmp(message.data, next, 8) == 0);
    CHECK_STATUS(tarn_message_release(&message), 0);
    ++*next;
    return (unsigned)(next - table->next);
}

static void play_here(void *arg) {
    struct table table = {0};
    struct random random = random_start(7);
    (void)arg;
    if (game->before)
        game->before();
    lay_table(&table, game->strategy, game->crowd);
    AWAIT(court->ready == SENDERS);
    for (unsigned i = 0; i < game->strokes; i++) {
        unsigned sender = (unsigned)random_between(&random, 0, SENDERS - 1);
        tarn_ready ready[SENDERS];
        int64_t start = now_ns();
        gate_signal(court->gates[sender]);
        for (unsigned spins = (unsigned)random_between(&random, 0, 200000); spins > 0; spins--)
            atomic_signal_fence(memory_order_seq_cst); /* so that it comes before, while and after we go to sleep */
        for (unsigned k = 0; k < 2; k++) {
            CHECK_STATUS(tarn_waitset_wait(table.waitset, ready, SENDERS, GENEROUS), 1);
            CHECK_INT(take_reported(&table, &ready[0]), ==, sender);
        }
        court->late += now_ns() - start > LATE_NS;
    }
    court->over = true;
    for (unsigned i = 0; i < SENDERS; i++)
        gate_signal(court->gates[i]);
    clear_table(&table, game->crowd);
}

static void play(struct game how, int late_allowed) {
    pid_t senders[SENDERS];
    court = shared_page(sizeof *court);
    game = &how;
    for (unsigned i = 0; i < SENDERS; i++)
        court->gates[i] = gate_open();
    for (unsigned i = 0; i < SENDERS; i++)
        senders[i] = spawn(send_when_told, (void *)(uintptr_t)i);
    CHECK_INT(wait_child(spawn(play_here, NULL), 60), ==, 0);
    for (unsigned i = 0; i < SENDERS; i++) {
        CHECK_INT(wait_child(senders[i], LIMIT_S), ==, 0);
        gate_close(court->gates[i]);
    }
    CHECK_INT(court->late, <=, late_allowed);
}

TEST_LIMIT(each_message_wakes, 60) {
    play((struct game){.strokes = 10000, .strategy = TARN_WAIT_SLEEP}, 10);
    play((struct game){.strokes = 10000, .strategy = TARN_WAIT_SPIN_THEN_SLEEP}, 10);
}

TEST_LIMIT(each_message_wakes_one_of_a_crowd, 60) {
    play((struct game){.strokes = 5000, .strategy = TARN_WAIT_SLEEP, .crowd = CROWD}, 10);
}

TEST(each_message_is_seen_by_one_that_spins) {
    play((struct game){.strokes = 200, .strategy = TARN_WAIT_SPIN, .never_woken = true}, 10);
}

/* Nobody wakes it: as if each publisher was killed between its commit and the ring. */
TEST(what_nobody_is_woken_for_is_found_within_a_slice) {
    play((struct game){.strokes = 20, .strategy = TARN_WAIT_SLEEP, .never_woken = true}, 20);
    play((struct game){.strokes = 10, .strategy = TARN_WAIT_SLEEP, .never_woken = true, .crowd = CROWD}, 10);
}

static void forbid_barrier(void) {
    forbid_call(SYS_membarrier, ANY, EPERM);
}

static void forbid_fine_epoll(void) {
    forbid_call(SYS_epoll_pwait2, ANY, ENOSYS);
}

static void forbid_fine_epoll_by_eperm(void) {
    forbid_call(SYS_epoll_pwait2, ANY, EPERM);
}

TEST_LIMIT(each_message_wakes_where_calls_are_forbidden, 60) {
    probe_seccomp();
    play((struct game){.strokes = 1000, .strategy = TARN_WAIT_SLEEP, .before = forbid_barrier}, 10);
    play((struct game){.strokes = 1000, .strategy = TARN_WAIT_SLEEP, .before = forbid_fine_epoll}, 10);
    play((struct game){.strokes = 500, .strategy = TARN_WAIT_SLEEP, .before = forbid_fine_epoll_by_eperm}, 10);
}

static void time_out_coarsely(void *arg) {
    static const int64_t timeouts[] = {0, -1, INT64_MIN, 1, 1000, MS, MS + 1, 30 * MS};
    struct table table = {0};
    tarn_ready ready;
    (void)arg;
    forbid_fine_epoll();
    lay_table(&table, TARN_WAIT_SLEEP, 0);
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        int64_t start = now_ns();
        CHECK_STATUS(tarn_waitset_wait(table.waitset, &ready, 1, timeouts[i]), 0);
        CHECK_INT(now_ns() - start, >=, timeouts[i]);
        CHECK_INT(now_ns() - start, <, GENEROUS);
    }
    CHECK_STATUS(tarn_waitset_interrupt(table.waitset), 0);
    CHECK_STATUS(tarn_waitset_wait(table.waitset, &ready, 1, TARN_FOREVER), TARN_ERROR_INTERRUPTED);
    clear_table(&table, 0);
}

TEST(timeouts_where_epoll_has_milliseconds) {
    probe_seccomp();
    CHECK_INT(wait_child(spawn(time_out_coarsely, NULL), LIMIT_S), ==, 0);
}

/* ---- a hundred thousand, one per report -------------------------------------------------------------------------- */

#define EACH 25000u
#define AHEAD 3 /* messages that a sender may be ahead */

static void send_all(void *arg) {
    unsigned me = (unsigned)(uintptr_t)arg;
    struct random random = random_start(me);
    tarn_publisher *publisher = PUBLISHER(topic_of(me), .timestamps = 1);
    court->ready++;
    AWAIT(tarn_publisher_subscribers(publisher) == 1);
    for (uint64_t word = 0; word < EACH; word++) {
        for (int64_t end = now_ns() + GENEROUS; court->taken[me] + AHEAD <= word; sched_yield())
            CHECK_INT(now_ns(), <, end);
        if (random_one_in(&random, 2000))
            nap_ns((int64_t)random_between(&random, 0, 3) * MS); /* till all is quiet, sometimes */
        publish_word(publisher, word);
    }
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

static void take_all(uint32_t strategy, unsigned crowd) {
    struct table table = {0};
    struct random random = random_start(99);
    pid_t senders[SENDERS];
    int late = 0;
    court = shared_page(sizeof *court);
    for (unsigned i = 0; i < SENDERS; i++)
        senders[i] = spawn(send_all, (void *)(uintptr_t)i);
    lay_table(&table, strategy, crowd);
    for (unsigned taken = 0; taken < SENDERS * EACH;) {
        tarn_ready ready[SENDERS];
        int64_t start = now_ns();
        int count = tarn_waitset_wait(table.waitset, ready, (size_t)random_between(&random, 1, SENDERS), GENEROUS);
        CHECK_INT(count, >=, 1);
        late += court->ready == SENDERS && now_ns() - start > LATE_NS;
        for (int i = 0; i < count; i++, taken++)
            court->taken[take_reported(&table, &ready[i])]++;
    }
    for (unsigned i = 0; i < SENDERS; i++)
        CHECK_INT(wait_child(senders[i], LIMIT_S), ==, 0);
    CHECK_INT(late, <=, 10);
    clear_table(&table, crowd);
}

TEST_LIMIT(a_hundred_thousand_one_per_report, 60) {
    take_all(TARN_WAIT_SLEEP, 0);
}

TEST_LIMIT(a_hundred_thousand_by_the_kernel_alone, 120) {
    take_all(TARN_WAIT_SLEEP, CROWD);
}

/* ---- deaths ----------------------------------------------------------------------------------------------------- */

static void publish_and_stay(void *arg) {
    (void)arg;
    tarn_publisher *publisher = publisher_of(topic_of(0), NULL);
    publish_word(publisher, 0);
    CHECK_STATUS(tarn_publisher_flush(publisher, GENEROUS), 1);
    court->ready = 1;
    sleep_until_killed();
}

/* The dead are buried, and their memory is given back, though another source never lets the waitset rest. */
TEST(peers_are_looked_after_while_others_are_busy) {
    need_root(); /* to count segments */
    for (int i = 0; i < 3; i++) {
        static const uint32_t strategies[] = {TARN_WAIT_SPIN_THEN_SLEEP, TARN_WAIT_SPIN, TARN_WAIT_SLEEP};
        struct table table = {0};
        tarn_ready ready;
        court = shared_page(sizeof *court);
        lay_table(&table, strategies[i], 0);
        pid_t child = spawn(publish_and_stay, NULL);
        CHECK_STATUS(tarn_waitset_wait(table.waitset, &ready, 1, GENEROUS), 1);
        CHECK_INT(take_reported(&table, &ready), ==, 0);
        AWAIT(tarn_subscriber_publishers(table.subscribers[0]) == 1 && court->ready);
        tarn_publisher *busy = publisher_of(topic_of(1), NULL);
        publish_word(busy, 0);
        int segments = count_segments();
        kill_child(child);
        for (int64_t end = now_ns() + GENEROUS; count_segments() == segments;) {
            CHECK_INT(now_ns(), <, end);
            for (int k = 0; k < 100; k++) {
                CHECK_STATUS(tarn_waitset_wait(table.waitset, &ready, 1, TARN_FOREVER), 1);
                publish_word(busy, table.next[1] + 1);
                CHECK_INT(take_reported(&table, &ready), ==, 1);
            }
        }
        CHECK_STATUS(tarn_waitset_wait(table.waitset, &ready, 1, 0), 1);
        take_reported(&table, &ready);
        CHECK_STATUS(tarn_publisher_close(busy), 0);
        clear_table(&table, 0);
    }
}

static void take_a_request_and_stay(void *arg) {
    (void)arg;
    tarn_server *server = NULL;
    tarn_request request;
    CHECK_STATUS(tarn_server_open(&server, "service", NULL), 0);
    CHECK_STATUS(tarn_server_receive(server, &request, GENEROUS), 1);
    court->ready = 1;
    sleep_until_killed();
}

static void learn_of_a_servers_death(uint32_t strategy, unsigned crowd) {
    struct table table = {0};
    tarn_ready ready[2];
    tarn_message message;
    tarn_client *client = NULL;
    uint64_t request;
    court = shared_page(sizeof *court);
    pid_t server = spawn(take_a_request_and_stay, NULL);
    lay_table(&table, strategy, crowd);
    CHECK_STATUS(tarn_client_open(&client, "service", NULL), 0);
    CHECK_STATUS(tarn_waitset_add(table.waitset, client, &client), 0);
    AWAIT(tarn_client_servers(client) == 1);
    CHECK_STATUS(tarn_client_send(client, "x", 1, &request), 1);
    AWAIT(court->ready);
    CHECK_STATUS(tarn_waitset_wait(table.waitset, ready, 2, 150 * MS), 0); /* it lives */
    int64_t start = now_ns();
    kill_child(server);
    for (int again = 0; again < 2; again++) {
        CHECK_STATUS(tarn_waitset_wait(table.waitset, ready, 2, GENEROUS), 1);
        CHECK(ready[0].handle == client && ready[0].tag == &client);
        CHECK_INT(ready[0].status, ==, 0);
    }
    CHECK_INT(now_ns() - start, <, SECOND);
    CHECK_REFUSED(tarn_client_take(client, &message), TARN_ERROR_PEER_DIED, number_text(server));
    CHECK_INT(message.request, ==, request);
    CHECK_STATUS(tarn_waitset_wait(table.waitset, ready, 2, 150 * MS), 0);
    clear_table(&table, crowd);
    CHECK_STATUS(tarn_client_close(client), 0);
}

/* The request that it had taken is over: that is what the client is ready with. */
TEST(a_servers_death_is_told_to_a_client) {
    static const uint32_t strategies[] = {TARN_WAIT_SPIN_THEN_SLEEP, TARN_WAIT_SPIN, TARN_WAIT_SLEEP};
    for (int i = 0; i < 3; i++) {
        learn_of_a_servers_death(strategies[i], 0);
        learn_of_a_servers_death(strategies[i], CROWD);
    }
}

static void hold_a_waitset(void *arg) {
    struct table table = {0};
    tarn_ready ready[SENDERS];
    (void)arg;
    lay_table(&table, TARN_WAIT_SPIN_THEN_SLEEP, 0);
    court->ready = 1;
    for (;;)
        if (tarn_waitset_wait(table.waitset, ready, 1, TARN_FOREVER) == 1)
            take_reported(&table, &ready[0]);
}

/* Who waits with a waitset leaves no more behind than who waits without. */
TEST(killed_while_waiting) {
    for (int round = 0; round < 10; round++) {
        court = shared_page(sizeof *court);
        pid_t child = spawn(hold_a_waitset, NULL);
        tarn_publisher *publisher = publisher_of(topic_of(2), NULL);
        AWAIT(court->ready);
        for (uint64_t word = 0; word < 20; word++)
            publish_word(publisher, word);
        nap_ns(round * MS);
        kill_child(child);
        CHECK_INT(tarn_publisher_subscribers(publisher), ==, 0);
        CHECK_STATUS(tarn_publisher_close(publisher), 0);
    }
    run_tarn("gc");
}

/* ---- forks ------------------------------------------------------------------------------------------------------ */

#define CHECK_FORKED(call) CHECK_REFUSED(call, TARN_ERROR_FORKED, "fork")

static void try_inherited(tarn_waitset *waitset, tarn_subscriber *subscriber) {
    tarn_ready ready;
    CHECK_FORKED(tarn_waitset_wait(waitset, &ready, 1, TARN_FOREVER));
    CHECK_FORKED(tarn_waitset_add(waitset, subscriber, NULL));
    CHECK_FORKED(tarn_waitset_add_fd(waitset, 0, POLLIN, NULL));
    CHECK_FORKED(tarn_waitset_remove(waitset, subscriber));
    CHECK_FORKED(tarn_waitset_remove_fd(waitset, 0));
    CHECK_FORKED(tarn_waitset_interrupt(waitset));
    CHECK_FORKED(tarn_waitset_fd(waitset));
    CHECK_FORKED(tarn_waitset_close(waitset));
}

TEST(inherited_waitsets) {
    struct table table = {0};
    tarn_ready ready;
    lay_table(&table, TARN_WAIT_SLEEP, 0);
    pid_t child = fork();
    if (child == 0) {
        try_inherited(table.waitset, table.subscribers[0]);
        tarn_waitset *own = waitset_of(TARN_WAIT_SLEEP);
        CHECK_FORKED(tarn_waitset_add(own, table.subscribers[0], NULL));
        tarn_subscriber *subscriber = subscriber_of(topic_of(3), NULL);
        tarn_publisher *publisher = publisher_of(topic_of(3), NULL);
        CHECK_STATUS(tarn_waitset_add(own, subscriber, NULL), 0);
        publish_word(publisher, 0);
        CHECK_STATUS(tarn_waitset_wait(own, &ready, 1, GENEROUS), 1);
        CHECK(ready.handle == subscriber);
        CHECK_STATUS(tarn_publisher_close(publisher), 0);
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
        CHECK_STATUS(tarn_waitset_close(own), 0);
        try_inherited(table.waitset, table.subscribers[0]);
        _exit(0);
    }
    CHECK_STATUS(tarn_waitset_wait(table.waitset, &ready, 1, GENEROUS), 1);
    CHECK_INT(take_reported(&table, &ready), ==, 3);
    CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_waitset_wait(table.waitset, &ready, 1, 150 * MS), 0);
    clear_table(&table, 0);
}
