/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What tools see of a topic: counts, sizes, who is how far, of each pattern; and that nobody notices them looking. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomics.h"
#include "base/os.h"
#include "common.h"
#include "core/inspect.h"
#include "core/publisher.h"

static struct inspect_watch *watch;

/* Looks at TOPIC, which is there. */
static struct inspect_topic *look(void) {
    struct inspect_topic *view;
    if (!watch)
        CHECK_STATUS(inspect_watch_open(&watch, TOPIC, NULL, NULL), 0);
    CHECK_STATUS(inspect_watch_look(watch, &view), 1);
    CHECK(!view->problem);
    return view;
}

static void see_nothing(void) {
    struct inspect_topic *view;
    CHECK_STATUS(inspect_watch_look(watch, &view), 0);
}

static const struct inspect_participant *find(const struct inspect_topic *view, const char *role) {
    for (uint32_t i = 0; i < view->participant_count; i++)
        if (strcmp(view->participants[i].role, role) == 0)
            return &view->participants[i];
    FAIL("there is no %s", role);
}

static const struct inspect_flow *flow_of(const struct inspect_topic *view, const char *what) {
    for (uint32_t i = 0; i < view->flow_count; i++)
        if (strcmp(view->flows[i].what, what) == 0)
            return &view->flows[i];
    FAIL("there are no %s", what);
}

static void close_all(tarn_publisher *publisher, tarn_subscriber *subscriber) {
    if (subscriber)
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    inspect_watch_close(watch);
}

/* ---- what is sent --------------------------------------------------------------------------------------------- */

static void check_traffic(uint64_t sent, uint64_t seen, uint64_t bytes, uint64_t last_bytes) {
    struct inspect_topic *view = look();
    const struct inspect_traffic *traffic = &find(view, "publisher")->traffic;
    CHECK_INT(traffic->sent, ==, sent);
    CHECK_INT(traffic->seen, ==, seen);
    CHECK_INT(traffic->seen_bytes, ==, bytes);
    CHECK(traffic->last_seen);
    CHECK_INT(traffic->last_bytes, ==, last_bytes);
    CHECK_INT(flow_of(view, "messages")->traffic.sent, ==, sent);
    CHECK_INT(flow_of(view, "messages")->id, ==, find(view, "publisher")->identity);
    inspect_topic_free(view);
}

TEST(messages_and_their_sizes_are_seen) {
    tarn_publisher *publisher = publisher_with(.depth = 100);
    uint64_t sum = 0;
    for (uint64_t i = 1; i <= 20; i++) {
        size_t bytes = i * i * 1000;
        CHECK_STATUS(send_pattern(publisher, bytes, i), 1);
        sum += bytes;
        check_traffic(i, i, sum, bytes);
    }
    CHECK_STATUS(tarn_publisher_publish(publisher, NULL, 0), 1);
    check_traffic(21, 21, sum, 0);
    close_all(publisher, NULL);
}

TEST(of_many_the_newest_are_looked_at) {
    tarn_publisher *publisher = publisher_with(.depth = 0);
    for (uint64_t i = 1; i <= 100000; i++)
        CHECK_STATUS(tarn_publisher_publish(publisher, &i, sizeof(i)), 1);
    check_traffic(100000, 1024, 8192, 8);
    for (uint64_t i = 0; i < 1000; i++)
        CHECK_STATUS(tarn_publisher_publish(publisher, &i, i % 2 ? 8 : 4), 1);
    check_traffic(101000, 1024, 24 * 8 + 500 * 8 + 500 * 4, 8);
    close_all(publisher, NULL);
}

TEST(overtaken_loans_and_times_are_seen) {
    tarn_publisher *publisher = publisher_with(.timestamps = 1);
    tarn_loan loan;
    CHECK_STATUS(tarn_publisher_loan(publisher, 300000, &loan), 1);
    CHECK_STATUS(tarn_publisher_publish(publisher, "abc", 3), 1);
    check_traffic(1, 1, 3, 3);
    memset(loan.data, 1, 200000);
    loan.bytes = 200000;
    int64_t before = os_now_ns();
    CHECK_STATUS(tarn_loan_send(&loan), 1);
    check_traffic(2, 2, 200003, 200000);
    struct inspect_topic *view = look();
    int64_t sent_ns = find(view, "publisher")->traffic.last_sent_ns;
    CHECK(sent_ns >= before && sent_ns <= os_now_ns());
    inspect_topic_free(view);
    close_all(publisher, NULL);
}

static _Atomic bool stop_sending;

static uint64_t size_of(uint64_t sequence) {
    return sequence / 300 % 7 * 100;
}

/* Now and then with a pause, as looks seldom know anything while there is none, however fast the machine. */
static void *send_a_stream(void *publisher) {
    static const char data[1000];
    for (uint64_t i = 1; !load_relaxed(&stop_sending); i++) {
        CHECK_STATUS(tarn_publisher_publish(publisher, data, size_of(i)), 1);
        if (i % 10000 == 0)
            usleep(500);
    }
    return NULL;
}

/* Memory is used again all the time under the look: what it tells is right, or that it does not know. */
TEST(a_stream_is_looked_at_as_it_was_or_not_at_all) {
    tarn_publisher *publisher = publisher_with(.depth = 1, .memory_limit_bytes = MIB);
    pthread_t thread;
    uint64_t known = 0, before = 0;
    CHECK(pthread_create(&thread, NULL, send_a_stream, publisher) == 0);
    for (int i = 0; i < 2000; i++) {
        struct inspect_topic *view = look();
        const struct inspect_traffic *traffic = &find(view, "publisher")->traffic;
        uint64_t sum = 0;
        for (uint64_t j = 0; j < traffic->seen; j++)
            sum += size_of(traffic->sent - j);
        CHECK_INT(traffic->sent, >=, before);
        before = traffic->sent;
        if (traffic->last_seen && traffic->seen) {
            CHECK_INT(traffic->seen_bytes, ==, sum);
            CHECK_INT(traffic->last_bytes, ==, size_of(traffic->sent));
            known++;
        }
        inspect_topic_free(view);
    }
    store_relaxed(&stop_sending, true);
    pthread_join(thread, NULL);
    CHECK_INT(known, >, 100);
    close_all(publisher, NULL);
}

/* ---- who is how far ------------------------------------------------------------------------------------------- */

static void check_behind(uint64_t least, uint64_t most) {
    struct inspect_topic *view = look();
    const struct inspect_participant *subscriber = find(view, "subscriber");
    CHECK_INT(view->link_count, ==, 1);
    CHECK(&view->participants[view->links[0].subscriber] == subscriber);
    CHECK(subscriber->has_lag);
    CHECK_INT(subscriber->behind_least, ==, least);
    CHECK_INT(subscriber->behind_most, ==, most);
    CHECK(!view->links[0].blocks);
    inspect_topic_free(view);
}

TEST(how_far_reliable_subscribers_are_is_exact) {
    tarn_publisher *publisher = publisher_with(.depth = 100);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    for (uint64_t i = 1; i <= 30; i++)
        CHECK_STATUS(send_pattern(publisher, 5000, i), 1);
    for (uint64_t left = 30; left > 0; left--) {
        tarn_message message;
        take_one(subscriber, &message);
        release(&message);
        check_behind(left - 1, left - 1);
    }
    close_all(publisher, subscriber);
}

TEST(how_far_others_are_lies_between_bounds) {
    tarn_publisher *publisher = publisher_with(.depth = 100000);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 0);
    uint64_t sent = 0, taken = 0, wide = 0;
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < 300; i++)
            CHECK_STATUS(send_pattern(publisher, 1000, ++sent), 1);
        for (int i = 0; i < (round < 20 ? 100 : 500) && taken < sent; i++, taken++) {
            tarn_message message;
            take_one(subscriber, &message);
            release(&message);
        }
        struct inspect_topic *view = look();
        const struct inspect_participant *who = find(view, "subscriber");
        CHECK(who->has_lag);
        CHECK_INT(who->behind_least, <=, sent - taken);
        CHECK_INT(who->behind_most, >=, sent - taken);
        CHECK_INT(who->behind_most - who->behind_least, <=, 64); /* as many as lie in one extent */
        wide += who->behind_least > 0;
        inspect_topic_free(view);
    }
    CHECK_INT(wide, >, 10);
    close_all(publisher, subscriber);
}

/* The counts of a subscriber: of those that it still reads from, and of those that have left. */
TEST(what_was_taken_is_counted) {
    tarn_publisher *publishers[2] = {publisher_with(.depth = 1000), publisher_with(.depth = 1000)};
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    tarn_message messages[32];
    uint64_t taken = 0;
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 300; i++)
            for (int k = 0; k < 2; k++)
                if (publishers[k])
                    CHECK_STATUS(tarn_publisher_publish(publishers[k], &i, round == 2 ? i % 9 : 8), 1);
        for (int result; (result = tarn_subscriber_take_many(subscriber, messages, 32)); taken += (uint64_t)result) {
            CHECK_INT(result, >, 0);
            for (int i = 0; i < result; i++)
                CHECK_STATUS(tarn_message_release(&messages[i]), 0);
        }
        struct inspect_topic *view = look();
        CHECK_INT(find(view, "subscriber")->messages, ==, taken);
        inspect_topic_free(view);
        CHECK_STATUS(tarn_publisher_close(publishers[1]), 0);
        publishers[1] = NULL;
    }
    CHECK_INT(taken, ==, 1200);
    close_all(publishers[0], subscriber);
}

static void *publish_until_full(void *publisher) {
    static const char data[50000];
    int status;
    while ((status = tarn_publisher_publish(publisher, data, sizeof(data))) == 1)
        ;
    CHECK_STATUS(status, TARN_ERROR_FULL);
    return NULL;
}

/* The role of who blocks; NULL: nobody. */
static const char *blocking_role(void) {
    struct inspect_topic *view = look();
    const char *role = NULL;
    for (uint32_t i = 0; i < view->link_count; i++)
        if (view->links[i].blocks) {
            CHECK(!role && find(view, "publisher")->waits);
            CHECK(view->participants[view->links[i].subscriber].reliable);
            role = view->participants[view->links[i].subscriber].role;
        }
    inspect_topic_free(view);
    return role;
}

TEST(a_reliable_subscriber_that_blocks_is_named) {
    tarn_publisher *publisher =
        publisher_with(.depth = 1, .memory_limit_bytes = 512 * KIB, .full_timeout_ns = 500 * NS_PER_MS);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1), *other = subscriber_with(.reliable = 0);
    pthread_t thread;
    CHECK(blocking_role() == NULL);
    CHECK(pthread_create(&thread, NULL, publish_until_full, publisher) == 0);
    int64_t deadline_ns = os_now_ns() + 10 * NS_PER_SECOND;
    while (!blocking_role() && os_now_ns() < deadline_ns)
        usleep(1000);
    CHECK(blocking_role() != NULL);
    pthread_join(thread, NULL);
    CHECK_STATUS(tarn_subscriber_close(other), 0);
    close_all(publisher, subscriber);
}

/* ---- the other patterns --------------------------------------------------------------------------------------- */

TEST(requests_and_responses_are_told_apart) {
    tarn_client *client = NULL;
    tarn_server *server = NULL;
    tarn_request request;
    uint64_t number;
    CHECK_STATUS(tarn_server_open(&server, TOPIC, NULL), 0);
    CHECK_STATUS(tarn_client_open(&client, TOPIC, NULL), 0);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(tarn_client_send(client, "0123456789", 10, &number), 1);
    CHECK_STATUS(tarn_server_take(server, &request), 1);
    CHECK_STATUS(tarn_request_stream(&request, "ab", 2), 1);
    CHECK_STATUS(tarn_request_reply(&request, "ab", 2), 1);
    struct inspect_topic *view = look();
    const struct inspect_flow *requests = flow_of(view, "requests"), *responses = flow_of(view, "responses");
    CHECK_INT(requests->traffic.sent, ==, 3);
    CHECK_INT(responses->traffic.sent, ==, 2);
    CHECK_INT(requests->traffic.seen_bytes, ==, 3 * (10 + 8)); /* with what says which request it is */
    CHECK(&view->participants[view->participants[requests->participant].owner] == find(view, "client"));
    CHECK(&view->participants[view->participants[requests->participant].addressee] == find(view, "server"));
    CHECK(&view->participants[view->participants[responses->participant].owner] == find(view, "server"));
    inspect_topic_free(view);
    CHECK_STATUS(tarn_client_close(client), 0);
    CHECK_STATUS(tarn_server_close(server), 0);
    inspect_watch_close(watch);
}

TEST(events_are_counted_one_by_one) {
    tarn_notifier *notifier = NULL;
    CHECK_STATUS(tarn_notifier_open(&notifier, TOPIC, NULL), 0);
    CHECK_STATUS(tarn_notifier_notify_many(notifier, 3, 7), 1);
    CHECK_STATUS(tarn_notifier_notify_many(notifier, 1000, 1), 1);
    struct inspect_topic *view = look();
    CHECK_INT(view->flow_count, ==, 2);
    CHECK_INT(view->flows[0].id, ==, 3);
    CHECK_INT(view->flows[0].traffic.sent, ==, 7);
    CHECK_INT(view->flows[1].id, ==, 1000);
    CHECK_INT(view->flows[1].traffic.sent, ==, 1);
    inspect_topic_free(view);
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
    inspect_watch_close(watch);
}

static void raise_far_apart_and_close(void *arg) {
    tarn_notifier *notifier = NULL;
    (void)arg;
    CHECK_STATUS(tarn_notifier_open(&notifier, TOPIC, NULL), 0);
    for (uint32_t i = 0; i < 40; i++) /* so many blocks of counters need more than the roster's first segment */
        CHECK_STATUS(tarn_notifier_notify(notifier, i * 256), 1);
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
}

/* What nobody else had attached has gone with it, but is still referred to. */
TEST(events_that_went_with_who_raised_them_are_not_seen) {
    tarn_notifier *notifier = NULL;
    CHECK_STATUS(tarn_notifier_open(&notifier, TOPIC, NULL), 0);
    CHECK_INT(wait_child(spawn(raise_far_apart_and_close, NULL), 10), ==, 0);
    struct inspect_topic *view = look();
    CHECK_INT(view->flow_count, >, 10);
    CHECK_INT(view->flow_count, <, 40);
    inspect_topic_free(view);
    CHECK_STATUS(tarn_notifier_notify(notifier, 39 * 256), 1);
    view = look();
    CHECK_INT(view->flows[view->flow_count - 1].id, ==, 39 * 256);
    CHECK_INT(view->flows[view->flow_count - 1].traffic.sent, ==, 1);
    inspect_topic_free(view);
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
    inspect_watch_close(watch);
}

TEST(values_are_counted_key_by_key) {
    tarn_writer *writer = NULL;
    CHECK_STATUS(tarn_writer_open(&writer, TOPIC, NULL), 0);
    int speed = tarn_writer_key(writer, "speed"), map = tarn_writer_key(writer, "map");
    static char large[200000];
    for (int i = 0; i < 5; i++)
        CHECK_STATUS(tarn_writer_set(writer, speed, "1.5", 3), 1);
    CHECK_STATUS(tarn_writer_set(writer, map, large, sizeof(large)), 1);
    struct inspect_topic *view = look();
    CHECK_INT(view->flow_count, ==, 2);
    CHECK(strcmp(view->flows[0].name, "speed") == 0 && strcmp(view->flows[1].name, "map") == 0);
    CHECK_INT(view->flows[0].traffic.sent, ==, 5);
    CHECK_INT(view->flows[0].traffic.last_bytes, ==, 3);
    CHECK_INT(view->flows[1].traffic.sent, ==, 1);
    CHECK_INT(view->flows[1].traffic.last_bytes, ==, sizeof(large));
    CHECK(&view->participants[view->flows[1].participant] == find(view, "writer"));
    inspect_topic_free(view);
    CHECK_STATUS(tarn_writer_close(writer), 0);
    inspect_watch_close(watch);
}

TEST(jobs_wait_or_are_in_work) {
    tarn_producer_options how = {.struct_bytes = sizeof(how), .capacity = 16, .linger_ns = TARN_IMMEDIATELY};
    tarn_producer *producer = NULL;
    tarn_worker *worker = NULL;
    tarn_job job, other;
    CHECK_STATUS(tarn_producer_open(&producer, TOPIC, &how), 0);
    CHECK_STATUS(tarn_worker_open(&worker, TOPIC,
                                  &(tarn_worker_options){.struct_bytes = sizeof(tarn_worker_options), .prefetch = 2}),
                 0);
    for (int i = 0; i < 10; i++)
        CHECK_STATUS(tarn_producer_push(producer, "0123", 4), 1);
    CHECK_STATUS(tarn_worker_take(worker, &job), 1);
    CHECK_STATUS(tarn_worker_take(worker, &other), 1);
    CHECK_STATUS(tarn_job_acknowledge(&job), 0);
    struct inspect_topic *view = look();
    const struct inspect_participant *who = find(view, "producer");
    CHECK_INT(who->queue.capacity, ==, 16);
    CHECK_INT(who->queue.waiting, ==, 8);
    CHECK_INT(who->queue.in_work, ==, 1);
    CHECK_INT(who->traffic.sent, ==, 10);
    CHECK_INT(who->traffic.seen_bytes, ==, 4 * who->traffic.seen);
    CHECK_INT(who->traffic.last_bytes, ==, 4);
    inspect_topic_free(view);
    CHECK_STATUS(tarn_worker_close(worker), 0);
    CHECK(tarn_producer_close(producer) >= 0);
    inspect_watch_close(watch);
}

/* ---- the same topic, or another ------------------------------------------------------------------------------- */

TEST(what_becomes_of_a_topic_is_noticed) {
    CHECK_STATUS(inspect_watch_open(&watch, TOPIC, NULL, NULL), 0);
    see_nothing();
    tarn_publisher *publisher = publisher_with(.depth = 1), *second = publisher_with(.depth = 1);
    CHECK_STATUS(send_pattern(publisher, 10, 1), 1);
    struct inspect_topic *first = look(), *view = look();
    CHECK(first->life != 0 && view->life == first->life);
    CHECK_INT(view->publishers, ==, 2);
    inspect_topic_free(view);

    CHECK_STATUS(tarn_publisher_close(publisher), 0); /* another comes in its place */
    publisher = publisher_with(.depth = 1);
    view = look();
    CHECK_INT(view->life, ==, first->life);
    CHECK_INT(view->publishers, ==, 2);
    for (uint32_t i = 0; i < view->participant_count; i++)
        CHECK_INT(view->participants[i].traffic.sent, ==, 0);
    inspect_topic_free(view);

    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_publisher_close(second), 0);
    see_nothing();
    publisher = publisher_with(.depth = 1);
    view = look();
    CHECK(view->life != 0 && view->life != first->life);
    inspect_topic_free(view);
    inspect_topic_free(first);
    close_all(publisher, NULL);
}

TEST(a_file_put_in_the_place_of_a_topics_is_noticed) {
    tarn_publisher *publisher = publisher_with(.depth = 1);
    struct inspect_topic *view = look();
    inspect_topic_free(view);
    char path[4300];
    snprintf(path, sizeof(path), "%s/unit+topic", inspect_watch_path(watch));
    CHECK(unlink(path) == 0);
    see_nothing();
    tarn_publisher *other = publisher_with(.depth = 1);
    view = look();
    CHECK_INT(view->publishers, ==, 1);
    CHECK_INT(view->participants[0].identity, ==, tarn_publisher_identity(other));
    inspect_topic_free(view);
    CHECK_STATUS(tarn_publisher_close(other), 0);
    close_all(publisher, NULL);
}

/* ---- nobody notices ------------------------------------------------------------------------------------------- */

struct copy {
    char *base, *bytes;
    size_t count;
};

static void copy_segment(struct copy *copy, char *base, size_t count) {
    *copy = (struct copy){base, malloc(count), count};
    memcpy(copy->bytes, base, count);
}

static void check_unchanged(struct copy *copy) {
    CHECK(memcmp(copy->base, copy->bytes, copy->count) == 0);
    free(copy->bytes);
}

/* What participants do follows from what they read: so nothing that they can read may change. */
TEST(looking_changes_no_word_of_shared_memory) {
    tarn_publisher *publisher = publisher_with(.depth = 10);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    struct copy copies[2];
    for (uint64_t i = 1; i <= 20; i++)
        CHECK_STATUS(send_pattern(publisher, 3000 * i, i), 1);
    copy_segment(&copies[0], load_relaxed(&publisher->topic->roster.base[0]), ROSTER_FIRST_BLOCKS * BLOCK_BYTES);
    copy_segment(&copies[1], publisher->writer.extents.segments[0].base, publisher->writer.extents.segments[0].bytes);
    struct inspect_domain *domain;
    CHECK_STATUS(inspect_domain_open(&domain, NULL, NULL), 0);
    inspect_domain_close(domain);
    for (int i = 0; i < 10; i++)
        inspect_topic_free(look());
    check_unchanged(&copies[0]);
    check_unchanged(&copies[1]);
    CHECK_INT(roster_publisher_slots(&publisher->topic->roster), ==, 1);
    CHECK_INT(roster_subscriber_slots(&publisher->topic->roster), ==, 1);
    close_all(publisher, subscriber);
}

/* ---- what is kept, and what is gone --------------------------------------------------------------------------- */

static void check_kept(uint32_t segments, uint32_t attached) {
    struct inspect_topic *view = look();
    CHECK_INT(view->kept_count, ==, 1);
    CHECK(&view->participants[view->kept[0].owner] == find(view, "publisher"));
    CHECK(&view->participants[view->kept[0].keeper] == find(view, "keeper"));
    CHECK_INT(view->kept[0].segments, ==, segments);
    CHECK_INT(view->kept[0].attached, ==, attached);
    inspect_topic_free(view);
}

/* One that does not wait is as one that is stopped. */
TEST(what_a_keeper_lacks_is_seen) {
    tarn_publisher *publisher = publisher_with(.depth = 100);
    tarn_keeper *keeper;
    CHECK_STATUS(tarn_keeper_open(&keeper, TOPIC, NULL), 0);
    check_kept(1, 1);
    for (uint64_t i = 1; publisher->writer.extents.segment_count < 3; i++)
        CHECK_STATUS(send_pattern(publisher, 300 * KIB, i), 1);
    check_kept(3, 1);
    CHECK_STATUS(tarn_keeper_wait(keeper, 0), 0);
    check_kept(3, 3);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_keeper_wait(keeper, 0), 0);
    check_kept(3, 3);
    CHECK_STATUS(tarn_keeper_close(keeper), 0);
    inspect_watch_close(watch);
}

static void leave_a_stray(void *gates) {
    tarn_publisher *publisher = publisher_with(.depth = 1);
    CHECK(publisher != NULL);
    if (syscall(SYS_clone, (long)SIGCHLD, NULL, NULL, NULL, NULL) == 0) { /* without what the library does in fork() */
        gate_wait(((struct gate *)gates)[1], 20);
        _exit(0);
    }
    gate_signal(*(struct gate *)gates);
    pause();
}

/* A child of who was killed has its locks, and no memory. That is not as if somebody were where we cannot look. */
TEST(memory_that_is_gone_is_in_no_other_namespace) {
    struct gate gates[2] = {gate_open(), gate_open()};
    struct inspect_topic *view;
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
    pid_t pid = spawn(leave_a_stray, gates);
    gate_wait(gates[0], 20);
    kill_child(pid);
    CHECK_STATUS(inspect_watch_open(&watch, TOPIC, NULL, NULL), 0);
    CHECK_STATUS(inspect_watch_look(watch, &view), 1);
    CHECK(view->in_use);
    CHECK(strstr(view->problem, "is gone"));
    inspect_topic_free(view);
    tarn_publisher *publisher = publisher_with(.depth = 1); /* which makes it anew */
    inspect_topic_free(look());
    gate_signal(gates[1]);
    CHECK(wait(NULL) > 0); /* for the stray */
    gate_close(gates[0]);
    gate_close(gates[1]);
    close_all(publisher, NULL);
}

/* ---- nonsense ------------------------------------------------------------------------------------------------- */

static void damage(struct random *random, char *base, size_t bytes, unsigned words) {
    for (unsigned i = 0; i < words; i++) {
        uint64_t *word = (uint64_t *)(void *)base + random_between(random, 0, bytes / 8 - 1);
        switch (random_between(random, 0, 3)) {
        case 0:
            *word = random_next(random);
            break;
        case 1:
            *word ^= UINT64_C(1) << random_between(random, 0, 63);
            break;
        case 2:
            *word = random_between(random, 0, 1u << 20);
            break;
        default:
            *word = UINT64_MAX;
        }
    }
}

/* Whatever the memory says, a look ends, and what it tells names only participants that it has. */
TEST_LIMIT(damaged_memory_is_looked_at_all_the_same, 60) {
    struct random random = random_start(7);
    tarn_publisher *publisher = publisher_with(.depth = 100);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1), *other = subscriber_with(.reliable = 0);
    for (uint64_t i = 1; i <= 50; i++)
        CHECK_STATUS(send_pattern(publisher, 3000, i), 1);
    struct copy copies[2];
    copy_segment(&copies[0], load_relaxed(&publisher->topic->roster.base[0]), ROSTER_FIRST_BLOCKS * BLOCK_BYTES);
    copy_segment(&copies[1], publisher->writer.extents.segments[0].base, 256 * KIB);
    inspect_topic_free(look());
    for (unsigned round = 0; round < 1500; round++) {
        set_context("round %u", round);
        memcpy(copies[0].base, copies[0].bytes, copies[0].count);
        memcpy(copies[1].base, copies[1].bytes, copies[1].count);
        damage(&random, copies[0].base + 2 * BLOCK_BYTES, copies[0].count - 2 * BLOCK_BYTES, round % 3 * 40);
        damage(&random, copies[1].base, round % 2 ? 8192 : copies[1].count, round % 5 * 100);
        store_relaxed(&publisher->topic->roster.header->pattern, round % 6);
        struct inspect_topic *view;
        CHECK_STATUS(inspect_watch_look(watch, &view), 1);
        for (uint32_t i = 0; i < view->flow_count; i++)
            CHECK(view->flows[i].participant == INSPECT_NOBODY || view->flows[i].participant < view->participant_count);
        for (uint32_t i = 0; i < view->link_count; i++)
            CHECK(view->links[i].publisher < view->participant_count &&
                  view->links[i].subscriber < view->participant_count);
        for (uint32_t i = 0; i < view->kept_count; i++)
            CHECK(view->kept[i].owner < view->participant_count && view->kept[i].keeper < view->participant_count &&
                  view->kept[i].attached <= view->kept[i].segments && view->kept[i].segments <= SEGMENTS_MAX);
        inspect_topic_free(view);
    }
    memcpy(copies[0].base, copies[0].bytes, copies[0].count);
    memcpy(copies[1].base, copies[1].bytes, copies[1].count);
    free(copies[0].bytes);
    free(copies[1].bytes);
    CHECK_STATUS(tarn_subscriber_close(other), 0);
    close_all(publisher, subscriber);
}
