/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Waitsets in one process: what is reported and how often, turns, time-outs, the user's descriptors, interruption,
 * handles that are closed while they are in one, mistakes. Processes are in multi/waitset.c.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "core/waitables.h"
#include "core/directory.h"

#define MS INT64_C(1000000)
#define SECOND (1000 * MS)
#define GENEROUS (15 * SECOND)

static const uint32_t strategies[] = {TARN_WAIT_SPIN_THEN_SLEEP, TARN_WAIT_SPIN, TARN_WAIT_SLEEP};

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

static int64_t cpu_ns(void) {
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec * SECOND + used.tv_nsec;
}

static tarn_waitset *open_waitset(uint32_t strategy) {
    tarn_waitset *waitset = NULL;
    tarn_waitset_options options = {.struct_bytes = sizeof options, .wait_strategy = strategy};
    CHECK_STATUS(tarn_waitset_open(&waitset, &options), 0);
    CHECK(waitset != NULL);
    return waitset;
}

/* ---- a few topics ---------------------------------------------------------------------------------------------- */

#define TOPICS_MAX 100

struct topics {
    int count;
    tarn_publisher *publishers[TOPICS_MAX];
    tarn_subscriber *subscribers[TOPICS_MAX];
};

/* The tag of each subscriber is its place in the list. */
static void open_topics(struct topics *topics, int count, tarn_waitset *waitset) {
    topics->count = count;
    for (int i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "unit/%d", i);
        topics->publishers[i] = open_publisher(name, PUBLISHER_OPTIONS(.linger_ns = TARN_IMMEDIATELY));
        topics->subscribers[i] = open_subscriber(name, NULL);
        if (waitset)
            CHECK_STATUS(tarn_waitset_add(waitset, topics->subscribers[i], &topics->subscribers[i]), 0);
    }
}

static void close_topics(struct topics *topics) {
    for (int i = 0; i < topics->count; i++) {
        CHECK_STATUS(tarn_publisher_close(topics->publishers[i]), 0);
        CHECK_STATUS(tarn_subscriber_close(topics->subscribers[i]), 0);
    }
}

static void publish(tarn_publisher *publisher, uint64_t word) {
    CHECK_STATUS(tarn_publisher_publish(publisher, &word, sizeof word), 1);
}

static void take_word(tarn_subscriber *subscriber, uint64_t expected) {
    tarn_message message;
    take_one(subscriber, &message);
    CHECK(message.bytes == 8 && memcmp(message.data, &expected, 8) == 0);
    release(&message);
}

static void check_is(const tarn_ready *ready, const struct topics *topics, int i) {
    CHECK(ready->handle == topics->subscribers[i] && ready->tag == &topics->subscribers[i]);
    CHECK(ready->fd == -1 && ready->events == 0 && ready->status == 0 && ready->reserved == 0);
}

/* ---- what is reported ------------------------------------------------------------------------------------------ */

TEST(reports_who_has_something_and_nobody_else) {
    for (int s = 0; s < 3; s++) {
        struct topics topics;
        tarn_ready ready[4];
        tarn_waitset *waitset = open_waitset(strategies[s]);
        CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, 0), 0);
        open_topics(&topics, 3, waitset);
        CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, 0), 0);
        for (uint64_t round = 0; round < 300; round++) {
            int which = (int)(round * 7 % 3);
            publish(topics.publishers[which], round);
            CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, round % 2 ? GENEROUS : 0), 1);
            check_is(&ready[0], &topics, which);
            take_word(topics.subscribers[which], round);
            CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, round % 50 ? 0 : MS), 0);
        }
        for (int i = 0; i < 3; i++)
            publish(topics.publishers[i], 1);
        CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, GENEROUS), 3);
        CHECK(ready[0].handle != ready[1].handle && ready[1].handle != ready[2].handle &&
              ready[0].handle != ready[2].handle);
        CHECK_STATUS(tarn_waitset_close(waitset), 0);
        close_topics(&topics);
    }
}

/* One message per report, also after many a look; nothing is left when the reports end. */
TEST(reports_as_long_as_there_is_something) {
    for (int s = 0; s < 3; s++) {
        struct topics topics;
        tarn_ready ready[4];
        tarn_waitset *waitset = open_waitset(strategies[s]);
        open_topics(&topics, 2, waitset);
        for (uint64_t word = 0; word < 5; word++)
            publish(topics.publishers[1], word);
        for (uint64_t word = 0; word < 5; word++) {
            for (int again = 0; again < 3; again++)
                CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, GENEROUS), 1);
            check_is(&ready[0], &topics, 1);
            take_word(topics.subscribers[1], word);
        }
        CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, 0), 0);
        CHECK_STATUS(tarn_waitset_close(waitset), 0);
        close_topics(&topics);
    }
}

/* What was there before it was added; what a take that found nothing has made quiet. */
TEST(reports_what_was_there_before) {
    struct topics topics;
    tarn_ready ready[4];
    tarn_message message;
    tarn_waitset *waitset = open_waitset(TARN_WAIT_SLEEP), *other = open_waitset(TARN_WAIT_SLEEP);
    open_topics(&topics, 2, waitset);
    CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, 0), 0);
    publish(topics.publishers[0], 1);
    CHECK_STATUS(tarn_waitset_add(other, topics.subscribers[0], NULL), 0);
    CHECK_STATUS(tarn_waitset_wait(other, ready, 4, GENEROUS), 1);
    CHECK(ready[0].handle == topics.subscribers[0] && ready[0].tag == NULL);
    CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, GENEROUS), 1);
    take_word(topics.subscribers[0], 1);
    CHECK_STATUS(tarn_subscriber_take(topics.subscribers[0], &message), 0);
    CHECK_STATUS(tarn_waitset_wait(other, ready, 4, 0), 0);
    publish(topics.publishers[0], 2);
    CHECK_STATUS(tarn_waitset_wait(other, ready, 4, GENEROUS), 1);
    CHECK_STATUS(tarn_waitset_remove(other, topics.subscribers[0]), 0);
    CHECK_STATUS(tarn_waitset_wait(other, ready, 4, MS), 0);
    CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, GENEROUS), 1);
    CHECK_STATUS(tarn_waitset_close(other), 0);
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    close_topics(&topics);
}

/* More than are looked at one by one: the kernel alone tells. */
TEST(reports_one_of_a_hundred) {
    struct topics topics;
    tarn_ready ready[4];
    tarn_waitset *waitset = open_waitset(TARN_WAIT_SPIN_THEN_SLEEP);
    open_topics(&topics, 100, waitset);
    for (uint64_t round = 0; round < 200; round++) {
        int which = (int)(round * 37 % 100);
        publish(topics.publishers[which], round);
        publish(topics.publishers[which], round + 1);
        for (uint64_t word = round; word < round + 2; word++) {
            CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, GENEROUS), 1);
            check_is(&ready[0], &topics, which);
            take_word(topics.subscribers[which], word);
        }
        CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, 0), 0);
    }
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    close_topics(&topics);
}

static bool is_readable(int fd, int timeout_ms) {
    struct pollfd poll_fd = {fd, POLLIN, 0};
    int ready = poll(&poll_fd, 1, timeout_ms);
    CHECK_INT(ready, >=, 0);
    CHECK(ready == 0 || poll_fd.revents == POLLIN);
    return ready == 1;
}

TEST(a_monitor_is_looked_at_in_memory) {
    tarn_monitor *monitor = NULL;
    tarn_publisher *publisher = NULL;
    tarn_match match;
    CHECK_STATUS(tarn_monitor_open(&monitor, "watched", NULL), 0);
    int fd = monitor_waitable.fd(monitor);
    CHECK_STATUS(monitor_waitable.look(monitor), 0);
    CHECK(is_readable(fd, 0)); /* as before: nobody has asked */
    CHECK_STATUS(monitor_waitable.ready(monitor), 0);
    CHECK_STATUS(tarn_publisher_open(&publisher, "watched", NULL), 0);
    CHECK_STATUS(monitor_waitable.look(monitor), 1);
    CHECK_STATUS(monitor_waitable.look(monitor), 1);
    CHECK(is_readable(fd, 0));
    CHECK_STATUS(tarn_monitor_take(monitor, &match), 1);
    CHECK_INT(match.kind, ==, TARN_MATCH_JOINED);
    CHECK_STATUS(monitor_waitable.look(monitor), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_monitor_close(monitor), 0);
}

/* The C library's, but that somebody publishes just then: it is what a descriptor is made quiet with. */
static tarn_publisher *publishes_in_read;

ssize_t read(int fd, void *buffer, size_t bytes) {
    ssize_t result = syscall(SYS_read, fd, buffer, bytes);
    tarn_publisher *publisher = publishes_in_read;
    publishes_in_read = NULL;
    for (uint64_t word = 1; publisher && word <= 2; word++)
        publish(publisher, word);
    return result;
}

/* Two messages come between the look and the arming, so that nobody rings for them: both are reported all the same. */
TEST(reports_what_comes_while_it_makes_quiet) {
    struct topics topics;
    tarn_ready ready;
    tarn_waitset *waitset = open_waitset(TARN_WAIT_SLEEP);
    open_topics(&topics, 1, waitset);
    for (int round = 0; round < 10; round++) {
        CHECK_STATUS(tarn_waitset_wait(waitset, &ready, 1, 0), 0);
        publish(topics.publishers[0], 0);
        take_word(topics.subscribers[0], 0);
        publishes_in_read = topics.publishers[0];
        for (uint64_t word = 1; word <= 2; word++) {
            CHECK_STATUS(tarn_waitset_wait(waitset, &ready, 1, round % 2 ? GENEROUS : 0), 1);
            CHECK(is_readable(tarn_waitset_fd(waitset), 0));
            take_word(topics.subscribers[0], word);
        }
    }
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    close_topics(&topics);
}

/* ---- the kinds of handles -------------------------------------------------------------------------------------- */

enum { A_SERVER, A_CLIENT, A_LISTENER, A_READER, A_WORKER, A_MONITOR, A_SUBSCRIBER, A_DESCRIPTOR, KINDS };

#define EACH 2   /* things for each */
#define CROWD 64 /* handles with which, and those of the kinds, only the kernel is asked */

/* One of each kind that is waited for, and who gives them something. */
struct company {
    void *handles[KINDS]; /* the tag of each is its place here */
    int ends[2];
    tarn_request requests[EACH];
    tarn_notifier *notifier;
    tarn_writer *writer;
    tarn_producer *producer;
    tarn_publisher *publisher, *watched[EACH];
    tarn_subscriber *crowd[CROWD];
};

#define OPEN_AS(role, where, topic) CHECK_STATUS(tarn_##role##_open((tarn_##role **)(where), topic, NULL), 0)

static void open_company(struct company *company, tarn_waitset *waitset, int crowd) {
    OPEN_AS(server, &company->handles[A_SERVER], "unit/service");
    OPEN_AS(client, &company->handles[A_CLIENT], "unit/service");
    OPEN_AS(listener, &company->handles[A_LISTENER], "unit/events");
    OPEN_AS(notifier, &company->notifier, "unit/events");
    OPEN_AS(reader, &company->handles[A_READER], "unit/board");
    OPEN_AS(writer, &company->writer, "unit/board");
    tarn_worker_options prefetch = {.struct_bytes = sizeof prefetch, .prefetch = EACH};
    CHECK_STATUS(tarn_worker_open((tarn_worker **)&company->handles[A_WORKER], "unit/queue", &prefetch), 0);
    OPEN_AS(producer, &company->producer, "unit/queue");
    OPEN_AS(monitor, &company->handles[A_MONITOR], "unit/watched");
    OPEN_AS(subscriber, &company->handles[A_SUBSCRIBER], "unit/messages");
    OPEN_AS(publisher, &company->publisher, "unit/messages");
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, company->ends) == 0);
    for (int key = 0; key < EACH; key++) {
        const char *name = key ? "second" : "first";
        CHECK_STATUS(tarn_reader_key(company->handles[A_READER], name), key);
        CHECK_STATUS(tarn_writer_key(company->writer, name), key);
    }
    for (int i = 0; i < KINDS; i++)
        if (i != A_DESCRIPTOR)
            CHECK_STATUS(tarn_waitset_add(waitset, company->handles[i], &company->handles[i]), 0);
    CHECK_STATUS(tarn_waitset_add_fd(waitset, company->ends[0], POLLIN, &company->handles[A_DESCRIPTOR]), 0);
    for (int i = 0; i < crowd; i++) {
        company->crowd[i] = open_subscriber("unit/nobody", NULL);
        CHECK_STATUS(tarn_waitset_add(waitset, company->crowd[i], NULL), 0);
    }
}

static void close_company(struct company *company, int crowd) {
    CHECK_STATUS(tarn_client_close(company->handles[A_CLIENT]), 0);
    CHECK_STATUS(tarn_server_close(company->handles[A_SERVER]), 0);
    CHECK_STATUS(tarn_listener_close(company->handles[A_LISTENER]), 0);
    CHECK_STATUS(tarn_notifier_close(company->notifier), 0);
    CHECK_STATUS(tarn_reader_close(company->handles[A_READER]), 0);
    CHECK_STATUS(tarn_writer_close(company->writer), 0);
    CHECK_STATUS(tarn_worker_close(company->handles[A_WORKER]), 0);
    CHECK_STATUS(tarn_producer_close(company->producer), 0);
    CHECK_STATUS(tarn_monitor_close(company->handles[A_MONITOR]), 0);
    CHECK_STATUS(tarn_subscriber_close(company->handles[A_SUBSCRIBER]), 0);
    CHECK_STATUS(tarn_publisher_close(company->publisher), 0);
    for (int i = 0; i < EACH; i++)
        CHECK_STATUS(tarn_publisher_close(company->watched[i]), 0);
    for (int i = 0; i < crowd; i++)
        CHECK_STATUS(tarn_subscriber_close(company->crowd[i]), 0);
    close(company->ends[0]);
    close(company->ends[1]);
}

/* Gives thing number i to that kind. The server's requests are taken before the client's responses are due. */
static void give(struct company *company, int kind, int i) {
    switch (kind) {
    case A_SERVER:
        CHECK_STATUS(tarn_client_send(company->handles[A_CLIENT], "ask", 3, NULL), 1);
        break;
    case A_CLIENT:
        CHECK_STATUS(tarn_request_reply(&company->requests[i], "say", 3), 1);
        break;
    case A_LISTENER:
        CHECK_STATUS(tarn_notifier_notify(company->notifier, (uint32_t)i), 1);
        break;
    case A_READER:
        CHECK_STATUS(tarn_writer_set(company->writer, i, "set", 3), 1);
        break;
    case A_WORKER:
        CHECK_STATUS(tarn_producer_push(company->producer, "job", 3), 1);
        break;
    case A_MONITOR:
        company->watched[i] = open_publisher("unit/watched", NULL);
        break;
    case A_SUBSCRIBER:
        publish(company->publisher, (uint64_t)i);
        break;
    default:
        CHECK_INT(write(company->ends[1], "x", 1), ==, 1);
    }
}

/* Takes one thing that the kind was given, the i-th. */
static void take_thing(struct company *company, int kind, int i) {
    void *handle = company->handles[kind];
    tarn_message message;
    tarn_event event;
    tarn_match match;
    tarn_job job;
    int key;
    switch (kind) {
    case A_SERVER:
        CHECK_STATUS(tarn_server_take(handle, &company->requests[i]), 1);
        break;
    case A_CLIENT:
        CHECK_STATUS(tarn_client_take(handle, &message), 1);
        release(&message);
        break;
    case A_LISTENER:
        CHECK_STATUS(tarn_listener_take(handle, &event), 1);
        break;
    case A_READER:
        CHECK_STATUS(tarn_reader_changed(handle, &key), 1);
        CHECK_STATUS(tarn_reader_get(handle, key, (char[3]){0}, 3, NULL), 1);
        break;
    case A_WORKER:
        CHECK_STATUS(tarn_worker_take(handle, &job), 1);
        CHECK_STATUS(tarn_job_acknowledge(&job), 0);
        break;
    case A_MONITOR:
        CHECK_STATUS(tarn_monitor_take(handle, &match), 1);
        break;
    case A_SUBSCRIBER:
        take_word(handle, (uint64_t)i);
        break;
    default:
        CHECK_INT(read(company->ends[0], &(char){0}, 1), ==, 1);
    }
}

static void check_kind(const struct company *company, const tarn_ready *ready, int kind) {
    CHECK(ready->tag == &company->handles[kind] && ready->handle == company->handles[kind] && ready->status == 0);
    CHECK_INT(ready->fd, ==, kind == A_DESCRIPTOR ? company->ends[0] : -1);
    CHECK_INT(ready->events, ==, kind == A_DESCRIPTOR ? POLLIN : 0);
}

static void wait_for_each_kind(uint32_t strategy, int crowd) {
    struct company company = {0};
    tarn_ready ready[KINDS];
    tarn_waitset *waitset = open_waitset(strategy);
    open_company(&company, waitset, crowd);
    CHECK_STATUS(tarn_waitset_wait(waitset, ready, KINDS, 0), 0);
    for (int kind = 0; kind < KINDS; kind++) {
        set_context("kind %d, strategy %u, a crowd of %d", kind, strategy, crowd);
        for (int i = 0; i < EACH; i++)
            give(&company, kind, i);
        for (int i = 0; i < EACH; i++) {
            for (int again = 0; again < 3; again++) {
                CHECK_STATUS(tarn_waitset_wait(waitset, ready, KINDS, again ? 0 : GENEROUS), 1);
                check_kind(&company, &ready[0], kind);
            }
            take_thing(&company, kind, i);
        }
        CHECK_STATUS(tarn_waitset_wait(waitset, ready, KINDS, MS), 0);
    }
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    close_company(&company, crowd);
}

TEST(each_kind_of_handle_is_reported) {
    for (int s = 0; s < 3; s++) {
        wait_for_each_kind(strategies[s], 0);
        wait_for_each_kind(strategies[s], CROWD);
    }
}

/* ---- the user's descriptors ------------------------------------------------------------------------------------ */

TEST(reports_descriptors) {
    for (int s = 0; s < 3; s++) {
        struct topics topics;
        tarn_ready ready[4];
        int ends[2], counter = eventfd(0, EFD_CLOEXEC);
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        tarn_waitset *waitset = open_waitset(strategies[s]);
        CHECK_STATUS(tarn_waitset_add_fd(waitset, ends[0], POLLIN, &ends[0]), 0);
        CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, MS), 0);
        if (s != 1) /* with a handle beside them, or without */
            open_topics(&topics, 1, waitset);
        CHECK_STATUS(tarn_waitset_add_fd(waitset, counter, POLLIN, NULL), 0);
        CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, MS), 0);
        CHECK_INT(write(ends[1], "ab", 2), ==, 2);
        for (int again = 0; again < 2; again++) {
            CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, GENEROUS), 1);
            CHECK(ready[0].fd == ends[0] && ready[0].tag == &ends[0] && !ready[0].handle && !ready[0].status);
            CHECK_INT(ready[0].events, ==, POLLIN);
            CHECK_INT(read(ends[0], &(char){0}, 1), ==, 1);
        }
        CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, MS), 0);
        CHECK_STATUS(tarn_waitset_add_fd(waitset, ends[1], POLLOUT, NULL), 0);
        CHECK_INT(write(counter, &(uint64_t){1}, 8), ==, 8);
        CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, GENEROUS), 2);
        CHECK_STATUS(tarn_waitset_remove_fd(waitset, counter), 0);
        CHECK_STATUS(tarn_waitset_remove_fd(waitset, ends[1]), 0);
        CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, 0), 0);
        close(ends[1]);
        CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, GENEROUS), 1);
        CHECK_INT(ready[0].events, ==, POLLIN | POLLHUP);
        CHECK_STATUS(tarn_waitset_close(waitset), 0);
        close(ends[0]);
        close(counter);
        if (s != 1)
            close_topics(&topics);
    }
}

/* One descriptor takes the number of another, which was closed without having been removed. */
TEST(descriptors_that_take_anothers_number) {
    struct topics topics;
    tarn_ready ready[4];
    tarn_waitset *waitset = open_waitset(TARN_WAIT_SLEEP);
    int counter = eventfd(1, EFD_CLOEXEC);
    CHECK_STATUS(tarn_waitset_add_fd(waitset, counter, POLLIN, &ready[0]), 0);
    close(counter);
    CHECK_INT(eventfd(1, EFD_CLOEXEC), ==, counter);
    CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, MS), 0);
    CHECK_STATUS(tarn_waitset_add_fd(waitset, counter, POLLIN, &ready[1]), 0);
    CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, 0), 1);
    CHECK(ready[0].tag == &ready[1]);
    close(counter);
    open_topics(&topics, 4, waitset);
    for (int i = 0; i < 4; i++)
        publish(topics.publishers[i], 1);
    CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, 0), 4);
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    close_topics(&topics);
}

/* ---- turns ----------------------------------------------------------------------------------------------------- */

/* Sources that are always ready, so many handles and so many descriptors, get the same share. */
static void check_turns(uint32_t strategy, int handles, int descriptors, size_t capacity) {
    struct topics topics;
    tarn_ready ready[8];
    int counters[8], turns[TOPICS_MAX] = {0}, all = handles + descriptors;
    tarn_waitset *waitset = open_waitset(strategy);
    open_topics(&topics, handles, NULL);
    for (int i = 0; i < all; i++) {
        if (i < handles) {
            publish(topics.publishers[i], 1);
            CHECK_STATUS(tarn_waitset_add(waitset, topics.subscribers[i], &turns[i]), 0);
        } else {
            counters[i - handles] = eventfd(1, EFD_CLOEXEC);
            CHECK_STATUS(tarn_waitset_add_fd(waitset, counters[i - handles], POLLIN, &turns[i]), 0);
        }
    }
    for (int rounds = 0; rounds < 100 * all; rounds++) {
        int count = tarn_waitset_wait(waitset, ready, capacity, GENEROUS);
        CHECK_INT(count, ==, capacity);
        for (int i = 0; i < count; i++)
            ++*(int *)ready[i].tag;
    }
    for (int i = 0; i < all; i++) {
        set_context("strategy %u, %d handles and %d descriptors, %zu at a time, number %d", strategy, handles,
                    descriptors, capacity, i);
        CHECK_INT(turns[i], >=, 100 * (int)capacity - 5);
        CHECK_INT(turns[i], <=, 100 * (int)capacity + 5);
    }
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    for (int i = 0; i < descriptors; i++)
        close(counters[i]);
    close_topics(&topics);
}

TEST(sources_take_turns) {
    for (int s = 0; s < 3; s++)
        for (size_t capacity = 1; capacity <= 3; capacity++) {
            check_turns(strategies[s], 3, 0, capacity);
            check_turns(strategies[s], 0, 3, capacity);
            check_turns(strategies[s], 2, 1, capacity);
            check_turns(strategies[s], 1, 2, capacity);
        }
    check_turns(TARN_WAIT_SPIN_THEN_SLEEP, 70, 5, 1);
    check_turns(TARN_WAIT_SPIN_THEN_SLEEP, 70, 5, 7);
}

/* ---- time ------------------------------------------------------------------------------------------------------ */

static void check_timeouts(tarn_waitset *waitset) {
    static const int64_t timeouts[] = {0, -1, INT64_MIN, 1, 1000, MS, 30 * MS, 250 * MS};
    tarn_ready ready;
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        int64_t start = now_ns();
        CHECK_STATUS(tarn_waitset_wait(waitset, &ready, 1, timeouts[i]), 0);
        CHECK_INT(now_ns() - start, >=, timeouts[i]);
        CHECK_INT(now_ns() - start, <, GENEROUS);
    }
}

TEST(timeouts) {
    for (int s = 0; s < 3; s++) {
        struct topics topics;
        int counter = eventfd(0, EFD_CLOEXEC);
        tarn_waitset *waitset = open_waitset(strategies[s]);
        check_timeouts(waitset);
        CHECK_STATUS(tarn_waitset_add_fd(waitset, counter, POLLIN, NULL), 0);
        check_timeouts(waitset);
        open_topics(&topics, 3, waitset);
        check_timeouts(waitset);
        CHECK_STATUS(tarn_waitset_close(waitset), 0);
        close_topics(&topics);
        close(counter);
    }
}

/* The looks at peers, ten times a second for each, wake nobody, and cost next to nothing. */
TEST(looks_at_peers_are_not_reported) {
    struct topics topics;
    tarn_ready ready[8];
    tarn_waitset *waitset = open_waitset(TARN_WAIT_SPIN_THEN_SLEEP);
    open_topics(&topics, 5, waitset);
    int64_t start = now_ns(), used = cpu_ns();
    CHECK_STATUS(tarn_waitset_wait(waitset, ready, 8, SECOND), 0);
    CHECK_INT(now_ns() - start, >=, SECOND);
    CHECK_INT(cpu_ns() - used, <, 50 * MS);
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    close_topics(&topics);
}

static void ignore(int number) {
    (void)number;
}

TEST(signals_do_not_end_a_wait) {
    struct topics topics;
    tarn_ready ready;
    struct sigaction action = {.sa_handler = ignore};
    struct itimerval every = {{0, 7000}, {0, 7000}}, never = {{0, 0}, {0, 0}};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    tarn_waitset *waitset = open_waitset(TARN_WAIT_SPIN_THEN_SLEEP);
    open_topics(&topics, 1, waitset);
    CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
    int64_t start = now_ns();
    CHECK_STATUS(tarn_waitset_wait(waitset, &ready, 1, 200 * MS), 0);
    CHECK_INT(now_ns() - start, >=, 200 * MS);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    close_topics(&topics);
}

/* ---- in another loop ------------------------------------------------------------------------------------------- */

TEST(its_descriptor_is_readable_until_a_wait_finds_nothing) {
    for (int s = 0; s < 3; s++) {
        struct topics topics;
        tarn_ready ready;
        tarn_waitset *waitset = open_waitset(strategies[s]);
        int fd = tarn_waitset_fd(waitset), quiet = 0;
        CHECK_INT(fd, >=, 0);
        CHECK(!is_readable(fd, 0));
        open_topics(&topics, 5, waitset);
        for (uint64_t round = 0; round < 50; round++) {
            CHECK_STATUS(tarn_waitset_wait(waitset, &ready, 1, 0), 0);
            quiet += !is_readable(fd, 0); /* but for a look at peers that is due just now */
            int which = (int)(round % 5);
            publish(topics.publishers[which], round);
            publish(topics.publishers[which], round);
            for (int i = 0; i < 2; i++) {
                CHECK(is_readable(fd, 15000));
                CHECK_STATUS(tarn_waitset_wait(waitset, &ready, 1, 0), 1);
                check_is(&ready, &topics, which);
                take_word(topics.subscribers[which], round);
            }
        }
        CHECK_INT(quiet, >=, 40);
        CHECK_STATUS(tarn_waitset_close(waitset), 0);
        close_topics(&topics);
    }
}

/* ---- interruption ---------------------------------------------------------------------------------------------- */

struct interrupter {
    tarn_waitset *waitset;
    _Atomic unsigned asked, answered;
};

static void *interrupt_each_time(void *arg) {
    struct interrupter *interrupter = arg;
    for (unsigned i = 1; i <= 300; i++) {
        interrupter->asked = i;
        if (i % 3 == 0)
            sched_yield();
        CHECK_STATUS(tarn_waitset_interrupt(interrupter->waitset), 0);
        while (interrupter->answered != i)
            sched_yield();
    }
    return NULL;
}

TEST(interrupted_from_thread) {
    for (int s = 0; s < 3; s++) {
        struct topics topics;
        tarn_ready ready;
        struct interrupter interrupter = {.waitset = open_waitset(strategies[s])};
        open_topics(&topics, s % 2, interrupter.waitset);
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, interrupt_each_time, &interrupter) == 0);
        for (unsigned i = 1; i <= 300; i++) {
            CHECK_STATUS(tarn_waitset_wait(interrupter.waitset, &ready, 1, TARN_FOREVER), TARN_ERROR_INTERRUPTED);
            CHECK_INT(interrupter.asked, ==, i); /* each ends one wait */
            interrupter.answered = i;
        }
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK_STATUS(tarn_waitset_wait(interrupter.waitset, &ready, 1, MS), 0);
        CHECK_STATUS(tarn_waitset_close(interrupter.waitset), 0);
        close_topics(&topics);
    }
}

static tarn_waitset *interrupted;

static void interrupt_in_handler(int number) {
    (void)number;
    tarn_waitset_interrupt(interrupted);
}

TEST(interrupted_from_signal_handler) {
    struct sigaction action = {.sa_handler = interrupt_in_handler};
    struct itimerval once = {{0, 0}, {0, 20000}};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    for (int s = 0; s < 3; s++) {
        tarn_ready ready;
        interrupted = open_waitset(strategies[s]);
        CHECK(setitimer(ITIMER_REAL, &once, NULL) == 0);
        CHECK_STATUS(tarn_waitset_wait(interrupted, &ready, 1, TARN_FOREVER), TARN_ERROR_INTERRUPTED);
        CHECK_STATUS(tarn_waitset_close(interrupted), 0);
    }
}

/* It comes first, so that a loop that is never idle can be ended; and nothing is lost by it. */
TEST(interruption_comes_before_what_is_ready) {
    struct topics topics;
    tarn_ready ready;
    tarn_waitset *waitset = open_waitset(TARN_WAIT_SPIN_THEN_SLEEP);
    open_topics(&topics, 1, waitset);
    publish(topics.publishers[0], 1);
    CHECK_STATUS(tarn_waitset_interrupt(waitset), 0);
    CHECK_STATUS(tarn_waitset_interrupt(waitset), 0);
    CHECK(is_readable(tarn_waitset_fd(waitset), 0));
    CHECK_STATUS(tarn_waitset_wait(waitset, &ready, 1, TARN_FOREVER), TARN_ERROR_INTERRUPTED);
    CHECK_STATUS(tarn_waitset_wait(waitset, &ready, 1, TARN_FOREVER), 1);
    take_word(topics.subscribers[0], 1);
    CHECK_STATUS(tarn_waitset_wait(waitset, &ready, 1, 0), 0);
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    close_topics(&topics);
}

/* ---- handles that come to an end -------------------------------------------------------------------------------- */

/* Closed while they are in it, and their memory another handle's: nobody is reported in their place. */
TEST(closed_handles_are_forgotten) {
    struct topics topics, later;
    tarn_ready ready[8];
    tarn_waitset *waitset = open_waitset(TARN_WAIT_SPIN_THEN_SLEEP);
    open_topics(&topics, 20, waitset);
    void *gone = topics.subscribers[0];
    for (int i = 0; i < 20; i++)
        publish(topics.publishers[i], 1);
    CHECK_STATUS(tarn_waitset_wait(waitset, ready, 8, GENEROUS), 8);
    close_topics(&topics);
    CHECK_STATUS(tarn_waitset_wait(waitset, ready, 8, 150 * MS), 0);
    CHECK_STATUS(tarn_waitset_remove(waitset, gone), TARN_ERROR_ARGUMENT);
    open_topics(&topics, 20, waitset);
    close_topics(&topics);
    CHECK_STATUS(tarn_waitset_remove(waitset, topics.subscribers[3]), 0);
    open_topics(&later, 20, NULL); /* in memory of the former */
    bool again = false;
    for (int i = 0; i < 20; i++) {
        publish(later.publishers[i], 1);
        for (int k = 0; k < 20; k++)
            again = again || later.subscribers[i] == topics.subscribers[k];
    }
    CHECK(again);
    CHECK_STATUS(tarn_waitset_wait(waitset, ready, 8, 10 * MS), 0);
    for (int i = 0; i < 20; i++)
        CHECK_STATUS(tarn_waitset_add(waitset, later.subscribers[i], &later.subscribers[i]), 0);
    CHECK_STATUS(tarn_waitset_wait(waitset, ready, 8, 0), 8);
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    close_topics(&later);
}

/* A child has the descriptors as well, so that the kernel does not forget them by itself. */
TEST(closed_handles_are_forgotten_though_a_child_has_their_descriptors) {
    struct topics topics;
    tarn_ready ready[8];
    tarn_waitset *waitset = open_waitset(TARN_WAIT_SPIN_THEN_SLEEP);
    open_topics(&topics, 3, waitset);
    struct gate gate = gate_open();
    pid_t child = fork();
    if (child == 0) {
        gate_wait(gate, 20);
        _exit(0);
    }
    close_topics(&topics);
    int64_t used = cpu_ns();
    CHECK_STATUS(tarn_waitset_wait(waitset, ready, 8, 300 * MS), 0);
    CHECK_INT(cpu_ns() - used, <, 50 * MS);
    gate_signal(gate);
    CHECK_INT(wait_child(child, 20), ==, 0);
    gate_close(gate);
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
}

static void remove_file_of(const char *topic) {
    char path[512], file[TARN_TOPIC_BYTES_MAX + 1];
    topic_file_name(file, topic);
    snprintf(path, sizeof path, "%s/default/%s", getenv("TARN_DIR"), file);
    CHECK(unlink(path) == 0);
}

/* The status is told with the report, and by the next take. */
TEST(a_removed_topic_is_reported) {
    struct topics topics;
    tarn_ready ready[8];
    tarn_message message;
    tarn_waitset *waitset = open_waitset(TARN_WAIT_SPIN_THEN_SLEEP);
    open_topics(&topics, 2, waitset);
    remove_file_of("unit/1");
    CHECK_STATUS(tarn_waitset_wait(waitset, ready, 8, GENEROUS), 1);
    CHECK(ready[0].handle == topics.subscribers[1]);
    CHECK_STATUS(ready[0].status, TARN_ERROR_TOPIC_REMOVED);
    publish(topics.publishers[1], 5);
    CHECK_STATUS(tarn_waitset_wait(waitset, ready, 8, GENEROUS), 1);
    CHECK_INT(ready[0].status, ==, 0);
    take_word(topics.subscribers[1], 5);
    CHECK_STATUS(tarn_waitset_wait(waitset, ready, 8, 0), 1);
    CHECK_STATUS(ready[0].status, TARN_ERROR_TOPIC_REMOVED);
    CHECK_STATUS(tarn_subscriber_take(topics.subscribers[1], &message), TARN_ERROR_TOPIC_REMOVED);
    CHECK_STATUS(tarn_waitset_wait(waitset, ready, 8, 250 * MS), 0);
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    close_topics(&topics);
}

/* For who waits for something else. */
static void see_removal_of_each_kind(uint32_t strategy) {
    tarn_listener *listener;
    tarn_worker *worker;
    tarn_monitor *monitor;
    tarn_keeper *keeper;
    tarn_ready ready[8];
    tarn_waitset *waitset = open_waitset(strategy);
    CHECK_STATUS(tarn_listener_open(&listener, "unit/events", NULL), 0);
    CHECK_STATUS(tarn_worker_open(&worker, "unit/jobs", NULL), 0);
    CHECK_STATUS(tarn_monitor_open(&monitor, "unit/watched", NULL), 0);
    CHECK_STATUS(tarn_keeper_open(&keeper, "unit/kept", NULL), 0);
    tarn_publisher *publisher = open_publisher("unit/watched", NULL); /* else there is no topic to monitor */
    tarn_match match;
    while (tarn_monitor_take(monitor, &match) == 1)
        ;
    const char *const topics[] = {"unit/events", "unit/jobs", "unit/watched", "unit/kept"};
    void *const handles[] = {listener, worker, monitor, keeper};
    for (int i = 0; i < 4; i++) {
        CHECK_STATUS(tarn_waitset_add(waitset, handles[i], NULL), 0);
        remove_file_of(topics[i]);
    }
    for (int64_t end = now_ns() + GENEROUS, reported = 0; reported < 4;) {
        CHECK_INT(now_ns(), <, end);
        int count = tarn_waitset_wait(waitset, ready, 8, GENEROUS);
        reported = 0;
        for (int i = 0; i < count; i++)
            reported += ready[i].status == TARN_ERROR_TOPIC_REMOVED;
    }
    tarn_event event;
    tarn_job job;
    CHECK_STATUS(tarn_listener_take(listener, &event), TARN_ERROR_TOPIC_REMOVED);
    CHECK_STATUS(tarn_worker_take(worker, &job), TARN_ERROR_TOPIC_REMOVED);
    CHECK_STATUS(tarn_monitor_take(monitor, &match), TARN_ERROR_TOPIC_REMOVED);
    CHECK_STATUS(tarn_keeper_wait(keeper, 0), TARN_ERROR_TOPIC_REMOVED);
    CHECK_STATUS(tarn_listener_take(listener, &event), 0);
    CHECK_STATUS(tarn_worker_take(worker, &job), 0);
    CHECK_STATUS(tarn_waitset_wait(waitset, ready, 8, 250 * MS), 0);
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    CHECK_STATUS(tarn_keeper_close(keeper), 0);
    CHECK_STATUS(tarn_monitor_close(monitor), 0);
    CHECK_STATUS(tarn_worker_close(worker), 0);
    CHECK_STATUS(tarn_listener_close(listener), 0);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
}

/* Sleeping or spinning, in which the kernel is asked now and then only. */
TEST(a_removed_topic_is_reported_for_each_kind) {
    see_removal_of_each_kind(TARN_WAIT_SPIN_THEN_SLEEP);
    see_removal_of_each_kind(TARN_WAIT_SPIN);
}

/* ---- mistakes --------------------------------------------------------------------------------------------------- */

#define UNTOUCHED ((void *)(uintptr_t)0x5a5a)

TEST(mistakes_of_adding_are_refused) {
    struct topics topics;
    tarn_waitset *waitset = open_waitset(0), *other = open_waitset(0);
    open_topics(&topics, 2, waitset);
    tarn_subscriber *closed = open_subscriber(TOPIC, NULL);
    CHECK_STATUS(tarn_subscriber_close(closed), 0);
    CHECK_ERROR(tarn_waitset_add(waitset, NULL, NULL), TARN_ERROR_ARGUMENT, "NULL");
    CHECK_ERROR(tarn_waitset_add(waitset, closed, NULL), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_waitset_add(waitset, topics.subscribers[0], NULL), TARN_ERROR_ARGUMENT, "already");
    CHECK_ERROR(tarn_waitset_add(waitset, topics.publishers[0], NULL), TARN_ERROR_ARGUMENT, "publisher");
    CHECK_ERROR(tarn_waitset_add(waitset, other, NULL), TARN_ERROR_ARGUMENT, "waitset");
    CHECK_ERROR(tarn_waitset_add(waitset, &topics, NULL), TARN_ERROR_ARGUMENT, "handle");
    CHECK_ERROR(tarn_waitset_add_fd(waitset, -1, POLLIN, NULL), TARN_ERROR_ARGUMENT, "-1");
    CHECK_ERROR(tarn_waitset_add_fd(waitset, 999, POLLIN, NULL), TARN_ERROR_ARGUMENT, "not open");
    int plain = fileno(tmpfile()), counter = eventfd(0, EFD_CLOEXEC);
    CHECK_ERROR(tarn_waitset_add_fd(waitset, plain, POLLIN, NULL), TARN_ERROR_ARGUMENT, "plain file");
    CHECK_ERROR(tarn_waitset_add_fd(waitset, counter, 0, NULL), TARN_ERROR_ARGUMENT, "poll_events");
    CHECK_ERROR(tarn_waitset_add_fd(waitset, counter, POLLIN | 1u << 31, NULL), TARN_ERROR_ARGUMENT, "poll_events");
    CHECK_STATUS(tarn_waitset_add_fd(waitset, counter, POLLIN, NULL), 0);
    CHECK_ERROR(tarn_waitset_add_fd(waitset, counter, POLLOUT, NULL), TARN_ERROR_ARGUMENT, "already");
    CHECK_ERROR(tarn_waitset_add_fd(waitset, tarn_subscriber_fd(topics.subscribers[0]), POLLIN, NULL),
                TARN_ERROR_ARGUMENT, "already");
    CHECK_ERROR(tarn_waitset_add_fd(waitset, tarn_waitset_fd(waitset), POLLIN, NULL), TARN_ERROR_ARGUMENT, "own");
    CHECK_STATUS(tarn_waitset_add_fd(waitset, tarn_waitset_fd(other), POLLIN, NULL), 0);
    CHECK_ERROR(tarn_waitset_add_fd(other, tarn_waitset_fd(waitset), POLLIN, NULL), TARN_ERROR_ARGUMENT, "leads to it");
    CHECK_ERROR(tarn_waitset_remove(waitset, NULL), TARN_ERROR_ARGUMENT, "NULL");
    CHECK_ERROR(tarn_waitset_remove(waitset, topics.publishers[0]), TARN_ERROR_ARGUMENT, "not in");
    CHECK_ERROR(tarn_waitset_remove_fd(waitset, plain), TARN_ERROR_ARGUMENT, "not in");
    CHECK_STATUS(tarn_waitset_remove_fd(waitset, counter), 0);
    CHECK_ERROR(tarn_waitset_remove_fd(waitset, counter), TARN_ERROR_ARGUMENT, "not in");
    close(plain);
    close(counter);
    CHECK_STATUS(tarn_waitset_close(other), 0);
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    close_topics(&topics);
}

TEST(mistakes_of_calling_are_refused) {
    tarn_waitset *waitset = UNTOUCHED;
    tarn_ready ready, before;
    memset(&ready, 0x5a, sizeof ready);
    before = ready;
    CHECK_ERROR(tarn_waitset_open(NULL, NULL), TARN_ERROR_ARGUMENT, "NULL");
    tarn_waitset_options options = {0};
    CHECK_ERROR(tarn_waitset_open(&waitset, &options), TARN_ERROR_ARGUMENT, "struct_bytes");
    options = (tarn_waitset_options){.struct_bytes = sizeof options, .wait_strategy = 3};
    CHECK_ERROR(tarn_waitset_open(&waitset, &options), TARN_ERROR_ARGUMENT, "wait_strategy");
    options = (tarn_waitset_options){.struct_bytes = sizeof options, .spin_ns = -2};
    CHECK_ERROR(tarn_waitset_open(&waitset, &options), TARN_ERROR_ARGUMENT, "spin_ns");
    options = (tarn_waitset_options){.struct_bytes = sizeof options, .reserved = 1};
    CHECK_ERROR(tarn_waitset_open(&waitset, &options), TARN_ERROR_ARGUMENT, "reserved");
    CHECK(waitset == UNTOUCHED);
    CHECK_STATUS(tarn_waitset_close(NULL), 0);
    CHECK_ERROR(tarn_waitset_wait(NULL, &ready, 1, 0), TARN_ERROR_ARGUMENT, "waitset");
    CHECK_ERROR(tarn_waitset_interrupt(NULL), TARN_ERROR_ARGUMENT, "waitset");
    CHECK_ERROR(tarn_waitset_fd(NULL), TARN_ERROR_ARGUMENT, "waitset");
    CHECK_STATUS(tarn_waitset_open(&waitset, NULL), 0);
    CHECK_ERROR(tarn_waitset_wait(waitset, NULL, 1, 0), TARN_ERROR_ARGUMENT, "NULL");
    CHECK_ERROR(tarn_waitset_wait(waitset, &ready, 0, 0), TARN_ERROR_ARGUMENT, "capacity");
    CHECK_STATUS(tarn_waitset_wait(waitset, &ready, 1, 0), 0);
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    CHECK_ERROR(tarn_waitset_wait(waitset, &ready, 1, 0), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_waitset_add(waitset, waitset, NULL), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_waitset_add_fd(waitset, 0, POLLIN, NULL), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_waitset_remove(waitset, waitset), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_waitset_remove_fd(waitset, 0), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_waitset_interrupt(waitset), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_waitset_fd(waitset), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_waitset_close(waitset), TARN_ERROR_CLOSED, "closed");
    CHECK(memcmp(&ready, &before, sizeof ready) == 0);
}
