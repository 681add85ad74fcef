/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Monitors: who joins, leaves and dies, in every role that there is, told in order and completely, what is missed
 * counted exactly; deaths seen soon; nobody disturbed.
 */
#include <poll.h>

#include "events.h"

#define TOPIC "monitor"

#define MONITOR(topic, ...)                                                                                            \
    monitor_of((topic), &(tarn_monitor_options){.struct_bytes = sizeof(tarn_monitor_options), __VA_ARGS__})

static tarn_monitor *monitor_of(const char *topic, const tarn_monitor_options *options) {
    tarn_monitor *monitor = NULL;
    CHECK_STATUS(tarn_monitor_open(&monitor, topic, options), 0);
    return monitor;
}

static tarn_match next_match(tarn_monitor *monitor) {
    tarn_match match;
    CHECK_STATUS(tarn_monitor_receive(monitor, &match, GENEROUS), 1);
    return match;
}

static tarn_match check_match(tarn_monitor *monitor, enum tarn_match_kind kind, enum tarn_role role, pid_t pid) {
    tarn_match match = next_match(monitor);
    CHECK_INT(match.kind, ==, kind);
    CHECK_INT(match.role, ==, role);
    CHECK_INT(match.pid, ==, pid);
    CHECK_INT(match.uid, ==, getuid());
    CHECK_INT(match.missed, ==, 0);
    CHECK_INT(match.foreign_pid, ==, 0);
    CHECK(match.identity != 0 && match.opened_ns > 0 && match.opened_ns <= now_ns());
    return match;
}

static void check_no_match(tarn_monitor *monitor) {
    tarn_match match;
    CHECK_STATUS(tarn_monitor_take(monitor, &match), 0);
}

static void close_monitor(tarn_monitor *monitor) {
    CHECK_STATUS(tarn_monitor_close(monitor), 0);
}

/*
 * ---- one after the other ------------------------------------------------------------------------------------------
 */

TEST(joins_and_leaves_are_told) {
    tarn_monitor *monitor = MONITOR(TOPIC);
    check_no_match(monitor);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    tarn_match joined = check_match(monitor, TARN_MATCH_JOINED, TARN_ROLE_PUBLISHER, getpid());
    CHECK(joined.identity == tarn_publisher_identity(publisher));
    CHECK(strncmp(joined.command, "multi_monitor", 13) == 0);
    publish_word(publisher, 1);
    CHECK_STATUS(tarn_publisher_flush(publisher, 0), 1); /* nobody waits for a monitor */
    CHECK_STATUS(tarn_publisher_subscribers(publisher), 0);
    check_no_match(monitor);
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    check_match(monitor, TARN_MATCH_JOINED, TARN_ROLE_SUBSCRIBER, getpid());
    CHECK_STATUS(tarn_publisher_subscribers(publisher), 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK(check_match(monitor, TARN_MATCH_LEFT, TARN_ROLE_PUBLISHER, getpid()).identity == joined.identity);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    check_match(monitor, TARN_MATCH_LEFT, TARN_ROLE_SUBSCRIBER, getpid());
    check_no_match(monitor);
    close_monitor(monitor);
}

TEST(who_was_there_before_is_told_first_or_not) {
    tarn_notifier *notifier = NOTIFIER(TOPIC);
    tarn_listener *listener = LISTENER(TOPIC);
    tarn_monitor *monitor = MONITOR(TOPIC), *skipping = MONITOR(TOPIC, .skip_present = 1);
    check_match(monitor, TARN_MATCH_JOINED, TARN_ROLE_NOTIFIER, getpid());
    check_match(monitor, TARN_MATCH_JOINED, TARN_ROLE_LISTENER, getpid());
    check_no_match(monitor);
    check_no_match(skipping);
    CHECK_STATUS(tarn_notifier_listeners(notifier), 1);
    CHECK_STATUS(tarn_listener_close(listener), 0);
    check_match(monitor, TARN_MATCH_LEFT, TARN_ROLE_LISTENER, getpid());
    check_match(skipping, TARN_MATCH_LEFT, TARN_ROLE_LISTENER, getpid());
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
    check_match(skipping, TARN_MATCH_LEFT, TARN_ROLE_NOTIFIER, getpid());
    close_monitor(monitor);
    close_monitor(skipping);
}

TEST(monitors_are_told_when_asked_for) {
    tarn_monitor *monitor = MONITOR(TOPIC), *asking = MONITOR(TOPIC, .monitors = 1);
    check_match(asking, TARN_MATCH_JOINED, TARN_ROLE_MONITOR, getpid());
    check_no_match(monitor);
    check_no_match(asking);
    tarn_monitor *third = MONITOR(TOPIC);
    check_match(asking, TARN_MATCH_JOINED, TARN_ROLE_MONITOR, getpid());
    check_no_match(monitor);
    close_monitor(third);
    check_match(asking, TARN_MATCH_LEFT, TARN_ROLE_MONITOR, getpid());
    check_no_match(monitor);
    close_monitor(monitor);
    close_monitor(asking);
}

static tarn_type type_named(const char *name) {
    return (tarn_type){.struct_bytes = sizeof(tarn_type), .name = name};
}

TEST(who_could_not_join_is_not_missed) {
    tarn_monitor *monitor = MONITOR(TOPIC), *of_board = MONITOR("board");
    tarn_type one = type_named("one"), other = type_named("other");
    tarn_publisher *publisher =
        publisher_of(TOPIC, &(tarn_publisher_options){.struct_bytes = sizeof(tarn_publisher_options), .type = &one});
    tarn_writer *writer;
    CHECK_STATUS(tarn_writer_open(&writer, "board",
                                  &(tarn_writer_options){.struct_bytes = sizeof(tarn_writer_options), .type = &one}),
                 0);
    check_match(monitor, TARN_MATCH_JOINED, TARN_ROLE_PUBLISHER, getpid());
    check_match(of_board, TARN_MATCH_JOINED, TARN_ROLE_WRITER, getpid());
    tarn_subscriber *subscriber;
    CHECK_STATUS(tarn_subscriber_open(
                     &subscriber, TOPIC,
                     &(tarn_subscriber_options){.struct_bytes = sizeof(tarn_subscriber_options), .type = &other}),
                 TARN_ERROR_TYPE);
    tarn_reader *reader;
    CHECK_STATUS(tarn_reader_open(&reader, "board",
                                  &(tarn_reader_options){.struct_bytes = sizeof(tarn_reader_options), .type = &other}),
                 TARN_ERROR_TYPE);
    check_no_match(monitor);
    check_no_match(of_board);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_INT(tarn_writer_close(writer), >=, 0);
    check_match(monitor, TARN_MATCH_LEFT, TARN_ROLE_PUBLISHER, getpid());
    check_match(of_board, TARN_MATCH_LEFT, TARN_ROLE_WRITER, getpid());
    close_monitor(monitor);
    close_monitor(of_board);
}

/* One who closed, and still holds messages. */
TEST(a_subscriber_has_left_though_it_holds_messages) {
    tarn_monitor *monitor = MONITOR(TOPIC);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    tarn_message message;
    check_match(monitor, TARN_MATCH_JOINED, TARN_ROLE_PUBLISHER, getpid());
    check_match(monitor, TARN_MATCH_JOINED, TARN_ROLE_SUBSCRIBER, getpid());
    publish_word(publisher, 1);
    CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, GENEROUS), 1);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    check_match(monitor, TARN_MATCH_LEFT, TARN_ROLE_SUBSCRIBER, getpid());
    check_no_match(monitor);
    CHECK_STATUS(tarn_message_release(&message), 0);
    check_no_match(monitor);
    subscriber = subscriber_of(TOPIC, NULL);
    check_match(monitor, TARN_MATCH_JOINED, TARN_ROLE_SUBSCRIBER, getpid());
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    close_monitor(monitor);
}

/*
 * ---- deaths -------------------------------------------------------------------------------------------------------
 */

static struct stage {
    _Atomic int ready;
    _Atomic bool over;
    _Atomic uint64_t lives, deaths;
} * stage;

static void be_publisher(void *arg) {
    (void)arg;
    publisher_of(TOPIC, NULL);
    stage->ready++;
    sleep_until_killed();
}

static void be_subscriber(void *arg) {
    (void)arg;
    SUBSCRIBER(TOPIC, .reliable = 1);
    stage->ready++;
    sleep_until_killed();
}

static int compare_times(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void check_deaths(void (*role)(void *), enum tarn_role is) {
    enum { DEATHS = 15 };
    int64_t times[DEATHS];
    tarn_monitor *monitor = MONITOR(TOPIC);
    for (int i = 0; i < DEATHS; i++) {
        stage = shared_page(sizeof *stage);
        pid_t pid = spawn(role, NULL);
        check_match(monitor, TARN_MATCH_JOINED, is, pid);
        AWAIT(stage->ready == 1);
        int64_t start = now_ns();
        CHECK(kill(pid, SIGKILL) == 0);
        check_match(monitor, TARN_MATCH_DIED, is, pid);
        times[i] = now_ns() - start;
        CHECK_INT(wait_child(pid, LIMIT_S), ==, -SIGKILL);
    }
    qsort(times, DEATHS, sizeof times[0], compare_times);
    printf("  from the kill to its being told: median %.1f ms, longest %.1f ms\n", (double)times[DEATHS / 2] / 1e6,
           (double)times[DEATHS - 1] / 1e6);
    CHECK_INT(times[DEATHS / 2], <, 50 * MS);
    close_monitor(monitor);
}

TEST(deaths_are_told_soon) {
    check_deaths(be_publisher, TARN_ROLE_PUBLISHER);
    check_deaths(be_subscriber, TARN_ROLE_SUBSCRIBER);
}

TEST(a_stopped_process_has_not_died) {
    stage = shared_page(sizeof *stage);
    pid_t pid = spawn(be_publisher, NULL);
    AWAIT(stage->ready == 1);
    tarn_monitor *monitor = MONITOR(TOPIC);
    check_match(monitor, TARN_MATCH_JOINED, TARN_ROLE_PUBLISHER, pid);
    stop_process(pid);
    CHECK_STATUS(tarn_monitor_wait(monitor, 300 * MS), 0);
    kill_child(pid);
    check_match(monitor, TARN_MATCH_DIED, TARN_ROLE_PUBLISHER, pid);
    close_monitor(monitor);
}

/*
 * ---- many ---------------------------------------------------------------------------------------------------------
 */

static void open_and_close_some(void *arg) {
    struct random random = random_start((uintptr_t)arg);
    for (int i = 0; i < 400; i++) {
        if (random_one_in(&random, 2)) {
            tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = TARN_IMMEDIATELY);
            stage->lives++;
            CHECK_STATUS(tarn_publisher_close(publisher), 0);
        } else {
            tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
            stage->lives++;
            if (random_one_in(&random, 20)) {
                stage->deaths++;
                kill(getpid(), SIGKILL);
            }
            CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
        }
        if (random_one_in(&random, 8))
            nap_ns((int64_t)random_between(&random, 0, 300000));
    }
}

static void churn(void *arg) {
    for (uintptr_t i = 0; i < 12; i++) {
        int code = wait_child(spawn(open_and_close_some, (void *)((uintptr_t)arg + i)), LIMIT_S);
        CHECK(code == 0 || code == -SIGKILL);
    }
    stage->ready++;
}

struct seen {
    uint64_t joined, left, died, missed;
    uint64_t present[64];
    unsigned count;
};

static void note_match(struct seen *seen, const tarn_match *match) {
    unsigned i = 0;
    seen->missed += match->missed;
    if (match->kind == TARN_MATCH_MISSED) {
        CHECK_INT(match->missed, >, 0);
        return;
    }
    while (i < seen->count && seen->present[i] != match->identity)
        i++;
    if (match->kind == TARN_MATCH_JOINED) {
        CHECK_INT(i, ==, seen->count); /* not there yet */
        CHECK_INT(seen->count, <, 64);
        seen->present[seen->count++] = match->identity;
        seen->joined++;
        return;
    }
    CHECK_INT(i, <, seen->count); /* it has joined, and was not told to end */
    seen->present[i] = seen->present[--seen->count];
    seen->left += match->kind == TARN_MATCH_LEFT;
    seen->died += match->kind == TARN_MATCH_DIED;
}

/* How it waits: 0 spins and sleeps, 1 only polls now and then, so much is missed. */
static void watch_churn(bool lazily) {
    struct seen seen = {0};
    pid_t pids[3];
    stage = shared_page(sizeof *stage);
    tarn_monitor *monitor = MONITOR(TOPIC);
    for (uintptr_t i = 0; i < 3; i++)
        pids[i] = spawn(churn, (void *)(i * 1000));
    for (int quiet = 0; quiet < 3;) {
        tarn_match match;
        bool over = stage->ready == 3;
        int status = tarn_monitor_receive(monitor, &match, 40 * MS);
        CHECK(status == 0 || status == 1);
        if (status == 1)
            note_match(&seen, &match);
        else
            quiet += over;
        if (lazily && seen.joined % 16 == 0)
            nap_ns(3 * MS);
    }
    for (int i = 0; i < 3; i++)
        CHECK_INT(wait_child(pids[i], LIMIT_S), ==, 0);
    printf("  %llu lives, %llu deaths: told %llu joined, %llu left, %llu died, %llu missed\n",
           (unsigned long long)stage->lives, (unsigned long long)stage->deaths, (unsigned long long)seen.joined,
           (unsigned long long)seen.left, (unsigned long long)seen.died, (unsigned long long)seen.missed);
    CHECK_INT(seen.count, ==, 0);
    CHECK_INT(seen.joined, ==, seen.left + seen.died);
    CHECK_INT(seen.joined + seen.missed, ==, stage->lives);
    CHECK_INT(seen.died, <=, stage->deaths);
    CHECK_INT(seen.joined, >, 0);
    close_monitor(monitor);
}

TEST_LIMIT(churn_is_told_in_order_and_what_is_missed_is_counted, 60) {
    watch_churn(false);
}

TEST_LIMIT(a_slow_monitor_knows_what_it_missed, 60) {
    watch_churn(true);
}

/*
 * ---- waiting ------------------------------------------------------------------------------------------------------
 */

TEST(the_descriptor_says_when) {
    tarn_match match;
    tarn_monitor *monitor = MONITOR(TOPIC, .look_ns = SECOND - 1);
    struct pollfd readable = {tarn_monitor_fd(monitor), POLLIN, 0};
    CHECK_INT(readable.fd, >=, 0);
    check_no_match(monitor);
    CHECK_INT(poll(&readable, 1, 30), ==, 0);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    CHECK_INT(poll(&readable, 1, 500), ==, 1);
    check_match(monitor, TARN_MATCH_JOINED, TARN_ROLE_PUBLISHER, getpid());
    check_no_match(monitor);
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .wait_strategy = TARN_WAIT_SLEEP);
    check_match(monitor, TARN_MATCH_JOINED, TARN_ROLE_SUBSCRIBER, getpid());
    check_no_match(monitor);
    CHECK_INT(poll(&readable, 1, 0), ==, 0);
    tarn_message message; /* messages are none of its business */
    CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, MS), 0);
    publish_word(publisher, 1);
    CHECK_INT(poll(&readable, 1, 30), ==, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_INT(poll(&readable, 1, 500), ==, 1);
    CHECK_STATUS(tarn_monitor_take(monitor, &match), 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    close_monitor(monitor);
}

static void join_later(void *arg) {
    (void)arg;
    for (int i = 0; i < 300; i++) {
        nap_ns(MS / 4);
        tarn_publisher *publisher = publisher_of(TOPIC, NULL);
        stage->lives++;
        AWAIT(stage->deaths == stage->lives);
        CHECK_STATUS(tarn_publisher_close(publisher), 0);
        AWAIT(stage->ready == i + 1);
    }
}

/* With looks only each second, every change has to wake it. */
TEST_LIMIT(each_change_wakes, 60) {
    tarn_match match;
    int late = 0;
    stage = shared_page(sizeof *stage);
    tarn_monitor *monitor = MONITOR(TOPIC, .look_ns = 10 * SECOND, .wait_strategy = TARN_WAIT_SLEEP);
    pid_t pid = spawn(join_later, NULL);
    for (int i = 0; i < 300; i++)
        for (int kind = TARN_MATCH_JOINED; kind <= TARN_MATCH_LEFT; kind++) {
            int64_t start = now_ns();
            CHECK_STATUS(tarn_monitor_receive(monitor, &match, GENEROUS), 1);
            CHECK_INT(match.kind, ==, kind);
            late += now_ns() - start > 90 * MS;
            if (kind == TARN_MATCH_JOINED)
                stage->deaths++;
            else
                stage->ready++;
        }
    CHECK_INT(late, <=, 5);
    CHECK_INT(wait_child(pid, LIMIT_S), ==, 0);
    close_monitor(monitor);
}

TEST(interrupting_ends_a_wait) {
    tarn_match match;
    tarn_monitor *monitor = MONITOR(TOPIC);
    CHECK_STATUS(tarn_monitor_interrupt(monitor), 0);
    CHECK_STATUS(tarn_monitor_receive(monitor, &match, GENEROUS), TARN_ERROR_INTERRUPTED);
    CHECK_STATUS(tarn_monitor_wait(monitor, 3 * MS), 0);
    close_monitor(monitor);
}

/*
 * ---- mistakes -----------------------------------------------------------------------------------------------------
 */

static void try_inherited(void *arg) {
    tarn_match match;
    CHECK_REFUSED(tarn_monitor_take(arg, &match), TARN_ERROR_FORKED, "fork");
    CHECK_REFUSED(tarn_monitor_receive(arg, &match, 0), TARN_ERROR_FORKED, "fork");
    CHECK_REFUSED(tarn_monitor_wait(arg, 0), TARN_ERROR_FORKED, "fork");
    CHECK_REFUSED(tarn_monitor_fd(arg), TARN_ERROR_FORKED, "fork");
    CHECK_REFUSED(tarn_monitor_interrupt(arg), TARN_ERROR_FORKED, "fork");
    CHECK_REFUSED(tarn_monitor_close(arg), TARN_ERROR_FORKED, "fork");
}

TEST(wrong_calls_are_refused) {
    tarn_match match;
    tarn_monitor *monitor = MONITOR(TOPIC), *none = NULL;
    tarn_monitor_options options = {.struct_bytes = 1};
    CHECK_REFUSED(tarn_monitor_open(NULL, TOPIC, NULL), TARN_ERROR_ARGUMENT, "NULL");
    CHECK_REFUSED(tarn_monitor_open(&none, TOPIC, &options), TARN_ERROR_ARGUMENT, "struct_bytes");
    options = (tarn_monitor_options){.struct_bytes = sizeof options, .look_ns = -1};
    CHECK_REFUSED(tarn_monitor_open(&none, TOPIC, &options), TARN_ERROR_ARGUMENT, "look_ns");
    options = (tarn_monitor_options){.struct_bytes = sizeof options, .reserved = 1};
    CHECK_REFUSED(tarn_monitor_open(&none, TOPIC, &options), TARN_ERROR_ARGUMENT, "reserved");
    CHECK_REFUSED(tarn_monitor_open(&none, "a//b", NULL), TARN_ERROR_TOPIC_NAME, "slashes");
    CHECK(none == NULL);
    CHECK_REFUSED(tarn_monitor_take(monitor, NULL), TARN_ERROR_ARGUMENT, "NULL");
    CHECK_REFUSED(tarn_monitor_take(NULL, &match), TARN_ERROR_ARGUMENT, "monitor is NULL");
    tarn_publisher *publisher = publisher_of("other", NULL);
    CHECK_REFUSED(tarn_monitor_take((tarn_monitor *)publisher, &match), TARN_ERROR_CLOSED, "not a monitor");
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_INT(wait_child(spawn(try_inherited, monitor), LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_monitor_close(NULL), 0);
    close_monitor(monitor);
    CHECK_REFUSED(tarn_monitor_take(monitor, &match), TARN_ERROR_CLOSED, "closed");
    CHECK_REFUSED(tarn_monitor_close(monitor), TARN_ERROR_CLOSED, "closed");
    CHECK(strcmp(tarn_role_text(TARN_ROLE_WORKER), "worker") == 0);
    CHECK(tarn_role_text(0) && tarn_role_text(UINT32_MAX));
}
