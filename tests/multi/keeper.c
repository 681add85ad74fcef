/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Keepers of messages: what publishers leave that close or are killed is there for who comes later, once and whole, as
 * long as a keeper is, whoever else comes, goes, dies or is stopped meanwhile; and gone with the last keeper. What
 * keepers do for work queues and blackboards. Messages are numbered, see common.h.
 */
#include "base/atomics.h"
#include "common.h"
#include "core/publisher.h"
#include "core/subscriber.h"

#define TOPIC "kept"
#define KEEPER(...) keeper_of(&(tarn_keeper_options){.struct_bytes = sizeof(tarn_keeper_options), __VA_ARGS__})
#define ALL UINT64_MAX

static tarn_keeper *keeper_of(const tarn_keeper_options *options) {
    tarn_keeper *keeper = NULL;
    CHECK_STATUS(tarn_keeper_open(&keeper, TOPIC, options), 0);
    return keeper;
}

/* What the processes of a test share. */
static struct stage {
    _Atomic int keepers; /* that have begun */
    _Atomic bool enough; /* keepers end */
    _Atomic bool ready, go_on;
    _Atomic uint64_t identity, sent;
} * stage;

static void make_stage(void) {
    stage = shared_page(sizeof *stage);
}

static void keep(void *left_max) {
    tarn_keeper *keeper = KEEPER(.left_max = (uint32_t)(uintptr_t)left_max);
    stage->keepers++;
    while (!stage->enough)
        CHECK_INT(tarn_keeper_wait(keeper, 90 * MS), >=, 0); /* longer than it may take to attach what is added */
    CHECK_STATUS(tarn_keeper_close(keeper), 0);
}

static pid_t begin_keeper(int left_max) {
    int before = stage->keepers;
    pid_t pid = spawn(keep, (void *)(uintptr_t)left_max);
    AWAIT(stage->keepers > before);
    return pid;
}

static void end_keeper(pid_t pid) {
    stage->enough = true;
    CHECK_INT(wait_child(pid, LIMIT_S), ==, 0);
}

/* ---- those who leave ------------------------------------------------------------------------------------------- */

static void send_numbers(tarn_publisher *publisher, uint64_t count) {
    stage->identity = tarn_publisher_identity(publisher);
    for (uint64_t number = 1; number <= count; number++) {
        CHECK_STATUS(publish_number(publisher, number), 1);
        stage->sent = number;
    }
}

static void send_and_close(void *count) {
    tarn_publisher *publisher = PUBLISHER(TOPIC, .depth = 5, .linger_ns = GENEROUS);
    send_numbers(publisher, (uintptr_t)count);
    CHECK_INT(tarn_publisher_close(publisher), ==, 0);
}

static void send_and_wait_for_death(void *count) {
    tarn_publisher *publisher = PUBLISHER(TOPIC, .depth = 5);
    send_numbers(publisher, (uintptr_t)count);
    CHECK_STATUS(tarn_publisher_flush(publisher, GENEROUS), 1);
    stage->ready = true;
    sleep_until_killed();
}

/* present: who is there meanwhile, and attaches what comes; or NULL. */
static void have_sent_and_closed(tarn_subscriber *present, uint64_t count) {
    siginfo_t state = {0};
    pid_t pid = spawn(send_and_close, (void *)(uintptr_t)count);
    AWAIT((!present || tarn_subscriber_wait(present, 0) >= 0) &&
          waitid(P_PID, (id_t)pid, &state, WEXITED | WNOHANG | WNOWAIT) == 0 && state.si_pid == pid);
    CHECK_INT(wait_child(pid, LIMIT_S), ==, 0);
}

static void have_sent_and_been_killed(tarn_subscriber *present, uint64_t count) {
    stage->ready = false;
    pid_t pid = spawn(send_and_wait_for_death, (void *)(uintptr_t)count);
    AWAIT((!present || tarn_subscriber_wait(present, 0) >= 0) && stage->ready);
    kill_child(pid);
}

/* ---- those who come -------------------------------------------------------------------------------------------- */

/* Of one publisher, and nobody else: these numbers, and nothing more. */
static void takes(tarn_subscriber *subscriber, uint64_t first, uint64_t last) {
    uint64_t next = first;
    CHECK_INT(receive_up_to(subscriber, &next, last), ==, 0);
    tarn_message message;
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_INT(tarn_subscriber_lost(subscriber), ==, 0);
}

static void comes_and_takes(uint64_t history, uint64_t first, uint64_t last) {
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .history = history);
    if (first <= last) {
        tarn_message message;
        CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 1);
        CHECK_INT(message.publisher, ==, stage->identity);
        CHECK_INT(message.sequence, ==, first);
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    takes(subscriber, first + 1, last);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

static void comes_and_takes_nothing(void) {
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .history = ALL);
    tarn_message message;
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* ---- one publisher --------------------------------------------------------------------------------------------- */

static void is_kept_for_who_comes(void (*leaves)(tarn_subscriber *present, uint64_t count)) {
    make_stage();
    pid_t keeper = begin_keeper(0);
    tarn_subscriber *present = SUBSCRIBER(TOPIC);
    leaves(present, 20);
    takes(present, 1, 20);
    for (int i = 0; i < 2; i++) { /* before, and after somebody has looked at its slot */
        comes_and_takes(5, 16, 20);
        comes_and_takes(ALL, 1, 20); /* they are small: all are kept */
        comes_and_takes(1, 20, 20);
        comes_and_takes(0, 1, 0);
        CHECK_STATUS(tarn_subscriber_wait(present, 250 * MS), 0);
        run_tarn("gc");
    }
    takes(present, 1, 0);
    CHECK_INT(tarn_subscriber_publishers(present), ==, 0);
    CHECK_INT(count_attached(), ==, 1); /* what is read to its end is not kept by who has read it */
    end_keeper(keeper);
    comes_and_takes_nothing();
    CHECK_INT(count_segments(), ==, started_as_root); /* the roster */
    CHECK_STATUS(tarn_subscriber_close(present), 0);
    CHECK_INT(count_segments(), ==, 0);
}

TEST(what_a_publisher_leaves_is_kept_for_who_comes) {
    is_kept_for_who_comes(have_sent_and_closed);
}

TEST(what_a_killed_publisher_leaves_is_kept_for_who_comes) {
    is_kept_for_who_comes(have_sent_and_been_killed);
}

TEST(without_a_keeper_it_is_gone) {
    make_stage();
    tarn_subscriber *present = SUBSCRIBER(TOPIC);
    have_sent_and_been_killed(present, 20);
    comes_and_takes(5, 16, 20); /* nobody has looked yet whether it is dead */
    takes(present, 1, 20);
    CHECK_STATUS(tarn_subscriber_wait(present, 250 * MS), 0);
    comes_and_takes_nothing();
    have_sent_and_closed(present, 20);
    comes_and_takes_nothing();
    CHECK_STATUS(tarn_subscriber_close(present), 0);
}

/* As many as the publisher keeps, and no others, with large messages in memory of their own. */
TEST(large_messages_and_many_segments) {
    static char data[300000];
    make_stage();
    pid_t keeper = begin_keeper(0);
    tarn_publisher *publisher = PUBLISHER(TOPIC, .depth = 30, .linger_ns = GENEROUS);
    for (uint64_t i = 1; i <= 100; i++) {
        fill_pattern(data, sizeof data, i);
        CHECK_STATUS(tarn_publisher_publish(publisher, data, sizeof data), 1);
    }
    CHECK_INT(tarn_publisher_close(publisher), ==, 0);
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .history = 30);
    tarn_message message, held[30];
    for (uint64_t i = 71; i <= 100; i++) {
        CHECK_STATUS(tarn_subscriber_take(subscriber, &held[i - 71]), 1);
        CHECK_INT(held[i - 71].sequence, ==, i);
    }
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    kill_child(keeper);
    CHECK_STATUS(tarn_subscriber_wait(subscriber, 250 * MS), 0); /* it is found to be dead */
    comes_and_takes_nothing();
    for (uint64_t i = 71; i <= 100; i++) {
        CHECK(check_pattern(held[i - 71].data, sizeof data, i));
        CHECK_STATUS(tarn_message_release(&held[i - 71]), 0);
    }
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_INT(count_attached(), ==, 1);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(realtime_and_reliable_newcomers) {
    make_stage();
    pid_t keeper = begin_keeper(0);
    have_sent_and_closed(NULL, 300);
    tarn_subscriber *first = SUBSCRIBER(TOPIC, .history = 5, .realtime = 1);
    tarn_subscriber *second = SUBSCRIBER(TOPIC, .history = 5, .reliable = 1);
    takes(first, 296, 300);
    takes(second, 296, 300);
    CHECK_STATUS(tarn_subscriber_wait(first, 0), 0);
    CHECK_INT(count_attached(), ==, 1);
    end_keeper(keeper);
    CHECK_STATUS(tarn_subscriber_close(first), 0);
    CHECK_STATUS(tarn_subscriber_close(second), 0);
}

/* One that comes and goes between two looks of one that is there. */
TEST(who_was_there_gets_it_though_it_looks_late) {
    make_stage();
    pid_t keeper = begin_keeper(0);
    tarn_subscriber *present = SUBSCRIBER(TOPIC);
    tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = 250 * MS);
    for (uint64_t number = 1; number <= 9; number++)
        CHECK_STATUS(publish_number(publisher, number), 1);
    CHECK_INT(tarn_publisher_close(publisher), ==, 1); /* of two, one has its memory */
    takes(present, 1, 9);
    CHECK_STATUS(tarn_subscriber_wait(present, 250 * MS), 0);
    end_keeper(keeper);
    CHECK_STATUS(tarn_subscriber_close(present), 0);
}

/* ---- deaths ---------------------------------------------------------------------------------------------------- */

static void send_for_ever(void *arg) {
    (void)arg;
    tarn_publisher *publisher = PUBLISHER(TOPIC, .depth = 50);
    stage->identity = tarn_publisher_identity(publisher);
    CHECK_STATUS(publish_number(publisher, 1), 1);
    CHECK_STATUS(tarn_publisher_flush(publisher, GENEROUS), 1);
    for (uint64_t number = 2;; number++) {
        CHECK_STATUS(publish_number(publisher, number), 1);
        stage->sent = number;
    }
}

/*
 * Whatever it was at: what it had sent is there, in order and whole, but for the end of it that nobody had attached
 * yet.
 */
TEST_LIMIT(a_publisher_killed_while_it_sends, 40) {
    enum { ROUNDS = 40 };
    make_stage();
    pid_t keeper = begin_keeper(1);
    struct random random = random_start(1);
    unsigned whole = 0;
    for (int i = 0; i < ROUNDS; i++) {
        stage->sent = 0;
        pid_t pid = spawn(send_for_ever, NULL);
        AWAIT(stage->sent > 0);
        nap_ns((int64_t)random_between(&random, 0, i % 2 ? 20 * MS : MS));
        kill_child(pid);
        tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .history = 50);
        tarn_message message;
        uint64_t next = 0, count = 0;
        while (tarn_subscriber_take(subscriber, &message) == 1) {
            CHECK_INT(message.lost, ==, 0);
            if (message.publisher == stage->identity) { /* else of the one before, which is about to be let go */
                CHECK_INT(message.sequence, ==, next ? next : message.sequence);
                next = message.sequence + 1;
                count++;
            }
            check_number(&message);
            CHECK_STATUS(tarn_message_release(&message), 0);
        }
        /*
         * killed between committing one and counting it: that one is as if sent after we joined, behind the 50 before
         */
        CHECK_INT(count, <=, 50 + (next - 1 > stage->sent));
        CHECK_INT(next - 1, <=, stage->sent + 1);
        whole += next > stage->sent;
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    }
    printf("%u of %d left all that they had sent\n", whole, ROUNDS);
    CHECK_INT(whole, >, ROUNDS / 2);
    end_keeper(keeper);
    CHECK_INT(count_segments(), ==, 0);
}

TEST(two_keepers_one_after_the_other_killed) {
    make_stage();
    pid_t first = begin_keeper(0), second = begin_keeper(0);
    have_sent_and_closed(NULL, 20);
    comes_and_takes(5, 16, 20);
    kill_child(first);
    run_tarn("gc");
    comes_and_takes(5, 16, 20);
    pid_t third = begin_keeper(0); /* keeps what is kept */
    AWAIT(count_segments() == 2 * started_as_root);
    nap_ns(50 * MS);
    kill_child(second);
    run_tarn("gc");
    comes_and_takes(5, 16, 20);
    tarn_subscriber *present = SUBSCRIBER(TOPIC);
    kill_child(third);
    comes_and_takes_nothing(); /* though nobody has looked after the dead */
    CHECK_STATUS(tarn_subscriber_wait(present, 250 * MS), 0);
    CHECK_INT(count_segments(), ==, started_as_root);
    CHECK_STATUS(tarn_subscriber_close(present), 0);
    CHECK_INT(count_segments(), ==, 0);
}

static void read_slowly(void *arg) {
    (void)arg;
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    stage->ready = true;
    AWAIT(stage->go_on);
    uint64_t next = 1;
    CHECK_INT(receive_up_to(subscriber, &next, stage->sent), ==, 0);
    tarn_message message;
    int status = tarn_subscriber_receive(subscriber, &message, 250 * MS);
    if (status == 1) { /* which was sent, and not yet counted by who was killed */
        CHECK_INT(message.sequence, ==, next);
        CHECK_STATUS(tarn_message_release(&message), 0);
        status = tarn_subscriber_receive(subscriber, &message, 250 * MS);
    }
    CHECK_STATUS(status, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

static void send_until_full(void *arg) {
    (void)arg;
    tarn_publisher *publisher =
        PUBLISHER(TOPIC, .depth = 5, .memory_limit_bytes = 1 << 20, .full_timeout_ns = GENEROUS);
    stage->identity = tarn_publisher_identity(publisher);
    for (uint64_t number = 1;; number++) {
        CHECK_STATUS(publish_number(publisher, number), 1);
        stage->sent = number;
    }
}

/* A reliable reader holds it back, and has all of it, though it is killed meanwhile; so has who comes. */
TEST(a_full_publisher_killed_while_it_waits) {
    make_stage();
    pid_t keeper = begin_keeper(0), reader = spawn(read_slowly, NULL);
    AWAIT(stage->ready);
    stop_process(reader);
    pid_t pid = spawn(send_until_full, NULL);
    for (uint64_t sent = 0; sent == 0 || sent != stage->sent;) {
        sent = stage->sent;
        nap_ns(200 * MS);
    }
    kill_child(pid);
    uint64_t sent = stage->sent;
    run_tarn("gc");
    comes_and_takes(5, sent - 4, sent);
    comes_and_takes(ALL, 1, sent);
    stage->go_on = true;
    continue_process(reader);
    CHECK_INT(wait_child(reader, LIMIT_S), ==, 0);
    end_keeper(keeper);
    CHECK_INT(count_segments(), ==, 0);
}

/* ---- what nobody had attached ---------------------------------------------------------------------------------- */

static void grow_and_wait_for_death(void *arg) {
    static char data[200000];
    (void)arg;
    tarn_publisher *publisher = PUBLISHER(TOPIC, .depth = 100);
    CHECK_STATUS(tarn_publisher_publish(publisher, "first", 5), 1);
    CHECK_STATUS(tarn_publisher_flush(publisher, GENEROUS), 1);
    stage->ready = true;
    AWAIT(stage->go_on);
    for (uint64_t i = 2; i <= 20; i++) {
        fill_pattern(data, sizeof data, i);
        CHECK_STATUS(tarn_publisher_publish(publisher, data, sizeof data), 1);
    }
    stage->sent = 20;
    sleep_until_killed();
}

/* The keeper was stopped: the end of the log is gone, and what is there is all there is. */
TEST(a_publisher_killed_before_its_memory_was_attached) {
    make_stage();
    pid_t keeper = begin_keeper(0), pid = spawn(grow_and_wait_for_death, NULL);
    AWAIT(stage->ready);
    stop_process(keeper);
    stage->go_on = true;
    AWAIT(stage->sent == 20);
    kill_child(pid);
    uint64_t last[2];             /* nobody has looked yet whether it is dead */
    for (int i = 0; i < 2; i++) { /* all of it; then the last one only */
        tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .history = i ? 1 : ALL, .realtime = (uint32_t)i);
        tarn_message message;
        uint64_t next = i ? last[0] : 1;
        while (tarn_subscriber_take(subscriber, &message) == 1) {
            CHECK_INT(message.sequence, ==, next);
            CHECK_INT(message.lost, ==, 0);
            if (next > 1)
                CHECK(message.bytes == 200000 && check_pattern(message.data, message.bytes, next));
            last[i] = next++;
            CHECK_STATUS(tarn_message_release(&message), 0);
        }
        CHECK_STATUS(tarn_subscriber_wait(subscriber, 150 * MS), 0);
        CHECK_INT(count_attached(), ==, 1);
        CHECK_INT(tarn_subscriber_lost(subscriber), ==, 20 - last[i]);
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    }
    continue_process(keeper);
    CHECK_INT(last[0], >=, 1);
    CHECK_INT(last[0], <, 20);
    CHECK_INT(last[1], ==, last[0]);
    end_keeper(keeper);
    CHECK_INT(count_segments(), ==, 0);
}

/* Growth is told: a keeper that runs has the memory in a moment, not in its next slice. */
TEST(a_keeper_attaches_what_is_added_at_once) {
    enum { ROUNDS = 10 };
    make_stage();
    pid_t keeper = begin_keeper(0);
    int missed = 0;
    for (int i = 0; i < ROUNDS; i++) {
        stage->ready = stage->go_on = false;
        stage->sent = 0;
        pid_t pid = spawn(grow_and_wait_for_death, NULL);
        AWAIT(stage->ready);
        nap_ns(10 * MS); /* the keeper is asleep again */
        stage->go_on = true;
        AWAIT(stage->sent == 20);
        nap_ns(10 * MS);
        kill_child(pid);
        tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .history = 1);
        tarn_message message;
        bool found = false;
        while (tarn_subscriber_take(subscriber, &message) == 1) {
            found |= message.sequence == 20;
            CHECK_STATUS(tarn_message_release(&message), 0);
        }
        missed += tarn_subscriber_lost(subscriber) > 0 || !found;
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
        kill_child(keeper);
        keeper = begin_keeper(0);
    }
    CHECK_INT(missed, <=, 2); /* on a busy machine */
    end_keeper(keeper);
}

/* ---- a keeper that is stopped ---------------------------------------------------------------------------------- */

TEST(a_stopped_keeper_blocks_nobody) {
    make_stage();
    pid_t keeper = begin_keeper(0);
    have_sent_and_closed(NULL, 20);
    stop_process(keeper);
    tarn_subscriber *present = SUBSCRIBER(TOPIC, .history = 2, .reliable = 1);
    takes(present, 19, 20); /* it has them attached */
    tarn_publisher *publisher = PUBLISHER(TOPIC, .memory_limit_bytes = 1 << 20, .linger_ns = GENEROUS);
    int64_t start = now_ns();
    uint64_t next = 1;
    for (uint64_t number = 1; number <= 2000; number++) {
        CHECK_STATUS(publish_number(publisher, number), 1);
        CHECK_INT(receive_up_to(present, &next, number), ==, 0);
    }
    CHECK_INT(tarn_publisher_close(publisher), ==,
              0); /* it does not have that memory, and is waited for a moment only */
    CHECK_INT(now_ns() - start, <, 10 * SECOND);
    CHECK_STATUS(tarn_subscriber_wait(present, 250 * MS), 0);
    comes_and_takes(5, 16, 20);
    continue_process(keeper);
    end_keeper(keeper);
    CHECK_STATUS(tarn_subscriber_close(present), 0);
    CHECK_INT(count_segments(), ==, 0);
}

/* ---- bounds ---------------------------------------------------------------------------------------------------- */

/* Those who left first go first, and their places are used again. */
TEST(no_more_are_kept_than_may_be) {
    enum { MOST = 4, ALL_OF_THEM = 30 };
    uint64_t identities[ALL_OF_THEM];
    make_stage();
    tarn_keeper *keeper = KEEPER(.left_max = MOST);
    for (int i = 0; i < ALL_OF_THEM; i++) {
        tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = TARN_IMMEDIATELY);
        identities[i] = tarn_publisher_identity(publisher);
        publish_word(publisher, (uint64_t)i);
        CHECK_INT(tarn_keeper_wait(keeper, 0), >=, 0);
        CHECK_INT(tarn_publisher_close(publisher), ==, 0);
        CHECK_STATUS(tarn_keeper_wait(keeper, 0), i >= MOST);
        CHECK_INT(tarn_keeper_left(keeper), ==, i < MOST ? i + 1 : MOST);
        CHECK_INT(tarn_keeper_let_go(keeper), ==, i < MOST ? 0 : i + 1 - MOST);
        CHECK_INT(count_segments(), ==, started_as_root * (1 + tarn_keeper_left(keeper)));
    }
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .history = 1);
    bool found[ALL_OF_THEM] = {false};
    tarn_message message;
    while (tarn_subscriber_take(subscriber, &message) == 1) {
        uint64_t word;
        memcpy(&word, message.data, sizeof word);
        CHECK(word >= ALL_OF_THEM - MOST && word < ALL_OF_THEM && !found[word]);
        found[word] = true;
        CHECK_INT(message.publisher, ==, identities[word]);
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    for (int i = ALL_OF_THEM - MOST; i < ALL_OF_THEM; i++)
        CHECK(found[i]);
    CHECK_STATUS(tarn_keeper_close(keeper), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(no_more_memory_is_kept_than_may_be) {
    static char data[1 << 20];
    tarn_keeper *keeper = KEEPER(.memory_max_bytes = 16 << 20);
    for (int i = 0; i < 10; i++) {
        tarn_publisher *publisher = PUBLISHER(TOPIC, .depth = 4);
        for (int j = 0; j < 4; j++)
            CHECK_STATUS(tarn_publisher_publish(publisher, data, sizeof data), 1);
        CHECK_INT(tarn_keeper_wait(keeper, 0), >=, 0);
        CHECK_INT(tarn_publisher_close(publisher), ==, 0);
        CHECK_STATUS(tarn_keeper_wait(keeper, 0), i > 1);
    }
    CHECK_INT(tarn_keeper_left(keeper), ==, 2);
    CHECK_INT(tarn_keeper_let_go(keeper), ==, 8);
    CHECK_STATUS(tarn_keeper_close(keeper), 0);
}

static void come_and_go(void *arg) {
    for (uint64_t round = 0; !stage->go_on; round++) {
        tarn_publisher *publisher = PUBLISHER(TOPIC);
        for (uint64_t number = 1; number <= 5; number++)
            CHECK_STATUS(publish_number(publisher, number), 1);
        if (arg && round % 7 == 6)
            kill(getpid(), SIGKILL);
        CHECK_INT(tarn_publisher_close(publisher), >=, 0);
        stage->sent++;
    }
}

/* Who comes attaches what is being let go: whole, once, or not at all. */
TEST_LIMIT(newcomers_while_the_oldest_are_let_go, 40) {
    enum { PUBLISHERS = 4096 };
    static uint64_t seen[PUBLISHERS];
    make_stage();
    pid_t keeper = begin_keeper(2), senders[] = {spawn(come_and_go, NULL), spawn(come_and_go, &stage)};
    tarn_subscriber *present = SUBSCRIBER(TOPIC);
    unsigned count = 0;
    for (int64_t end = now_ns() + 4 * SECOND; now_ns() < end;) {
        tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .history = 5);
        struct {
            uint64_t publisher, next;
        } known[64] = {{0}};
        tarn_message message;
        int status;
        while ((status = tarn_subscriber_take(subscriber, &message)) == 1) {
            unsigned i = 0;
            while (known[i].publisher && known[i].publisher != message.publisher)
                CHECK_INT(++i, <, 64);
            known[i].publisher = message.publisher;
            CHECK_INT(message.sequence, >=, known[i].next);
            check_number(&message);
            known[i].next = message.sequence + 1;
            CHECK_STATUS(tarn_message_release(&message), 0);
            if (i == 60)
                break; /* they come faster than we read */
        }
        CHECK_STATUS(status, status == 1);
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
        while (tarn_subscriber_take(present, &message) == 1) {
            if (message.sequence == 1) { /* once */
                for (unsigned i = 0; i < count; i++)
                    CHECK(seen[i] != message.publisher);
                if (count < PUBLISHERS)
                    seen[count++] = message.publisher;
            }
            check_number(&message);
            CHECK_STATUS(tarn_message_release(&message), 0);
        }
        for (int i = 0; i < 2; i++)
            if (waitpid(senders[i], NULL, WNOHANG) == senders[i])
                senders[i] = spawn(come_and_go, &stage);
    }
    stage->go_on = true;
    for (int i = 0; i < 2; i++)
        CHECK_INT(wait_child(senders[i], LIMIT_S), <=, 0);
    printf("%u publishers came and went\n", count);
    CHECK_INT(count, >, 20);
    end_keeper(keeper);
    CHECK_STATUS(tarn_subscriber_close(present), 0);
    CHECK_INT(count_segments(), ==, 0);
}

/* ---- moments that are hard to come by (models/keeper.pml) ------------------------------------------------------- */

/* As one that finds no keeper, begins to clear its slot, and is killed when the reference to its memory has gone. */
static void send_and_be_killed_clearing(void *unused) {
    (void)unused;
    tarn_publisher *publisher = PUBLISHER(TOPIC, .depth = 5);
    send_numbers(publisher, 3);
    CHECK_STATUS(tarn_publisher_flush(publisher, GENEROUS), 1);
    store_relaxed(&publisher->slot->segment.backend, BACKEND_NONE);
    stage->ready = true;
    sleep_until_killed();
}

TEST(what_nobody_could_find_is_not_kept) {
    make_stage();
    tarn_keeper *keeper = KEEPER(0);
    pid_t pid = spawn(send_and_be_killed_clearing, NULL);
    AWAIT(tarn_keeper_wait(keeper, 0) >= 0 && stage->ready);
    CHECK_INT(count_segments(), ==, 1 + started_as_root); /* the keeper came in time to attach it */
    kill_child(pid);
    AWAIT(tarn_keeper_wait(keeper, 10 * MS) >= 0 && count_segments() == started_as_root);
    CHECK_INT(tarn_keeper_left(keeper), ==, 0);
    CHECK_STATUS(tarn_keeper_close(keeper), 0);
}

static void publish_and_close(tarn_keeper *keeper, tarn_subscriber *present, uint64_t number) {
    tarn_publisher *publisher = PUBLISHER(TOPIC, .depth = 5);
    CHECK_STATUS(publish_number(publisher, number), 1);
    CHECK_STATUS(tarn_keeper_wait(keeper, 0), 0);
    CHECK_STATUS(tarn_subscriber_wait(present, 0), 1);
    CHECK_INT(tarn_publisher_close(publisher), ==, 0);
    CHECK_STATUS(tarn_keeper_wait(keeper, 0), 0);
    CHECK_INT(tarn_keeper_left(keeper), ==, 1);
}

/*
 * A slot changes hands twice while a realtime subscriber, which looks for changes in its waits only, looks at it: it
 * lets go of what the first publisher left after that of the second one.
 */
TEST(a_log_is_read_once_though_an_older_one_in_its_slot_is_let_go_later) {
    tarn_message first, message;
    tarn_subscriber *present = SUBSCRIBER(TOPIC, .realtime = 1);
    tarn_keeper *keeper = KEEPER(0);
    publish_and_close(keeper, present, 1);
    CHECK_STATUS(tarn_subscriber_take(present, &first), 1);
    CHECK_STATUS(tarn_subscriber_wait(present, 0), 0); /* it has left, and is read, but held */
    CHECK_STATUS(tarn_keeper_close(keeper), 0);
    keeper = KEEPER(0);
    publish_and_close(keeper, present, 2);
    CHECK_INT(present->reader_count, ==, 2);
    CHECK_INT(present->readers[0]->remote->slot, ==, present->readers[1]->remote->slot);
    CHECK_STATUS(tarn_subscriber_take(present, &message), 1);
    CHECK_INT(message.publisher, ==, present->readers[1]->identity);
    CHECK_STATUS(tarn_message_release(&message), 0);
    CHECK_STATUS(tarn_subscriber_wait(present, 0), 0); /* lets the second one's go */
    CHECK_INT(present->reader_count, ==, 1);
    present->readers[0]->gone = false; /* as if it had not been seen that the slot is another's */
    CHECK_STATUS(tarn_message_release(&first), 0);
    CHECK_STATUS(tarn_subscriber_wait(present, 0), 0);
    CHECK_INT(present->reader_count, ==, 0);
    CHECK_INT(tarn_publisher_close(PUBLISHER(TOPIC)), ==, 0); /* a change */
    CHECK_STATUS(tarn_subscriber_wait(present, 0), 0);
    CHECK_STATUS(tarn_keeper_close(keeper), 0);
    CHECK_STATUS(tarn_subscriber_close(present), 0);
}

/* ---- who is told what ------------------------------------------------------------------------------------------ */

static void is_told(tarn_monitor *monitor, uint32_t kind, uint32_t role) {
    tarn_match match;
    CHECK_STATUS(tarn_monitor_receive(monitor, &match, GENEROUS), 1);
    CHECK_INT(match.kind, ==, kind);
    CHECK_INT(match.role, ==, role);
    CHECK_INT(match.missed, ==, 0);
}

TEST(a_monitor_is_told_at_once_that_who_is_kept_has_gone) {
    make_stage();
    pid_t keeper = begin_keeper(0);
    tarn_monitor *monitor;
    tarn_match match;
    CHECK_STATUS(tarn_monitor_open(&monitor, TOPIC, NULL), 0);
    is_told(monitor, TARN_MATCH_JOINED, TARN_ROLE_KEEPER);
    tarn_publisher *publisher = PUBLISHER(TOPIC);
    send_numbers(publisher, 3);
    is_told(monitor, TARN_MATCH_JOINED, TARN_ROLE_PUBLISHER);
    CHECK_INT(tarn_publisher_close(publisher), ==, 0);
    is_told(monitor, TARN_MATCH_LEFT, TARN_ROLE_PUBLISHER);
    pid_t pid = spawn(send_and_wait_for_death, (void *)3);
    is_told(monitor, TARN_MATCH_JOINED, TARN_ROLE_PUBLISHER);
    AWAIT(stage->ready);
    kill_child(pid);
    is_told(monitor, TARN_MATCH_DIED, TARN_ROLE_PUBLISHER);
    kill_child(keeper);
    is_told(monitor, TARN_MATCH_DIED, TARN_ROLE_KEEPER);
    CHECK_STATUS(tarn_monitor_receive(monitor, &match, 250 * MS), 0);
    CHECK_INT(count_segments(), ==, started_as_root); /* their memory is gone */
    CHECK_STATUS(tarn_monitor_close(monitor), 0);
}

TEST(a_keeper_is_no_subscriber) {
    tarn_publisher *publisher = PUBLISHER(TOPIC);
    tarn_keeper *keeper = KEEPER(0);
    CHECK_INT(tarn_publisher_subscribers(publisher), ==, 0);
    CHECK_STATUS(tarn_keeper_close(keeper), 0);
    CHECK_INT(tarn_publisher_close(publisher), ==, 0);
}

/* ---- other patterns -------------------------------------------------------------------------------------------- */

static void push_and_close(void *arg) {
    (void)arg;
    tarn_producer *producer;
    CHECK_STATUS(tarn_producer_open(&producer, TOPIC, NULL), 0);
    for (uint64_t i = 0; i < 10; i++)
        CHECK_STATUS(tarn_producer_push(producer, &i, sizeof i), 1);
    CHECK_INT(tarn_producer_close(producer), ==, 0);
}

TEST(a_keeper_that_came_first_keeps_a_queue) {
    make_stage();
    pid_t keeper = begin_keeper(0);
    CHECK_INT(wait_child(spawn(push_and_close, NULL), LIMIT_S), ==, 0);
    run_tarn("gc");
    tarn_worker *worker;
    tarn_job job;
    CHECK_STATUS(tarn_worker_open(&worker, TOPIC, NULL), 0);
    for (uint64_t i = 0; i < 10; i++) {
        CHECK_STATUS(tarn_worker_take(worker, &job), 1);
        CHECK(memcmp(job.data, &i, sizeof i) == 0);
        CHECK_STATUS(tarn_job_acknowledge(&job), 0);
    }
    CHECK_STATUS(tarn_worker_close(worker), 0);
    end_keeper(keeper);
    CHECK_INT(count_segments(), ==, 0);
}

static void set_and_wait_for_death(void *arg) {
    (void)arg;
    tarn_writer *writer;
    CHECK_STATUS(tarn_writer_open(&writer, TOPIC, NULL), 0);
    int key = tarn_writer_key(writer, "key");
    CHECK_INT(key, >=, 0);
    CHECK_STATUS(tarn_writer_set(writer, key, "value", 5), 1);
    nap_ns(200 * MS); /* the keeper has attached it */
    CHECK_INT(tarn_writer_readers(writer, NULL), ==, 0);
    stage->ready = true;
    sleep_until_killed();
}

TEST(a_keeper_that_came_first_keeps_a_blackboard) {
    make_stage();
    pid_t keeper = begin_keeper(0), pid = spawn(set_and_wait_for_death, NULL);
    AWAIT(stage->ready);
    kill_child(pid);
    run_tarn("gc");
    tarn_reader *reader;
    CHECK_STATUS(tarn_reader_open(&reader, TOPIC, NULL), 0);
    int key = tarn_reader_key(reader, "key");
    CHECK_INT(key, >=, 0);
    tarn_message message;
    CHECK_STATUS(tarn_reader_take(reader, key, &message), 1);
    CHECK(message.bytes == 5 && memcmp(message.data, "value", 5) == 0);
    CHECK_STATUS(tarn_message_release(&message), 0);
    CHECK_STATUS(tarn_reader_close(reader), 0);
    end_keeper(keeper);
    CHECK_INT(count_segments(), ==, 0);
}

TEST(of_requests_and_events_there_is_nothing_to_keep) {
    tarn_keeper *keeper = KEEPER(0), *other;
    tarn_notifier *notifier;
    CHECK_STATUS(tarn_keeper_wait(keeper, 0), 0);
    CHECK_STATUS(tarn_notifier_open(&notifier, TOPIC, NULL), 0);
    CHECK_REFUSED(tarn_keeper_wait(keeper, GENEROUS), TARN_ERROR_PATTERN, "events");
    CHECK_REFUSED(tarn_keeper_open(&other, TOPIC, NULL), TARN_ERROR_PATTERN, "nothing to keep");
    CHECK_STATUS(tarn_keeper_close(keeper), 0);
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
}

/* ---- waiting --------------------------------------------------------------------------------------------------- */

TEST(a_keeper_is_waited_for_by_descriptor_and_in_a_waitset) {
    tarn_keeper *keeper = KEEPER(.left_max = 2);
    tarn_waitset *waitset;
    tarn_ready ready;
    CHECK_STATUS(tarn_waitset_open(&waitset, NULL), 0);
    CHECK_STATUS(tarn_waitset_add(waitset, keeper, keeper), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(tarn_waitset_wait(waitset, &ready, 1, 150 * MS), 0);
        tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = TARN_IMMEDIATELY);
        publish_word(publisher, 1);
        CHECK_STATUS(tarn_waitset_wait(waitset, &ready, 1, 0), 0); /* attaches it */
        CHECK_INT(tarn_publisher_close(publisher), ==, 0);
    }
    CHECK_STATUS(tarn_waitset_wait(waitset, &ready, 1, GENEROUS), 1);
    CHECK_STATUS(tarn_keeper_wait(keeper, 0), 1);
    CHECK_STATUS(tarn_waitset_wait(waitset, &ready, 1, 150 * MS), 0);
    CHECK_INT(tarn_keeper_let_go(keeper), ==, 1);
    CHECK_STATUS(tarn_keeper_interrupt(keeper), 0);
    CHECK_STATUS(tarn_keeper_wait(keeper, GENEROUS), TARN_ERROR_INTERRUPTED);
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    CHECK_STATUS(tarn_keeper_close(keeper), 0);
    CHECK_STATUS(tarn_keeper_close(keeper), TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_keeper_wait(keeper, 0), TARN_ERROR_CLOSED);
}
