/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Joining and leaving at any moment: a storm of short lives, ended by close, exit or kill -9, beside a publisher and a
 * reliable subscriber that must notice nothing; last leavers that meet the next joiner; joiners that meet a publisher
 * which grows, or opens; two users who create a topic at the same instant. What is left at the end is counted by the
 * harness.
 */
#include <grp.h>
#include <sys/shm.h>

#include "common.h"

#define TOPIC "storm/eye"

/* ---- the eye of the storm ------------------------------------------------------------------------------------- */

struct board {
    _Atomic uint64_t identity; /* of the publisher in the eye */
    _Atomic uint64_t sent, received;
    _Atomic bool stop;
    _Atomic unsigned lives, killed;
};

static struct board *board;

static void publish_in_the_eye(void *arg) {
    (void)arg;
    tarn_publisher *publisher =
        PUBLISHER(TOPIC, .memory_limit_bytes = 2 << 20, .full_timeout_ns = GENEROUS, .linger_ns = GENEROUS);
    board->identity = tarn_publisher_identity(publisher);
    while (!board->stop) {
        for (int i = 0; i < 20; i++)
            CHECK_STATUS(publish_number(publisher, ++board->sent), 1);
        nap_ns(MS / 5);
    }
    CHECK_INT(tarn_publisher_flush(publisher, GENEROUS), ==, 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* What it holds while it runs on: each publisher's next number. */
struct count {
    uint64_t identity, next;
};

/* Messages of one publisher come in order; a reliable subscriber misses none of those who came after it. */
static void follow(struct count *counts, unsigned *ret_known, const tarn_message *message, unsigned most) {
    unsigned i = 0;
    while (i < *ret_known && counts[i].identity != message->publisher)
        i++;
    CHECK_INT(i, <, most);
    if (i == *ret_known)
        counts[(*ret_known)++] = (struct count){message->publisher, 1};
    CHECK_INT(message->lost, ==, 0);
    CHECK_INT(message->sequence, ==, counts[i].next++);
    check_number(message);
}

static void receive_in_the_eye(void *arg) {
    enum { MOST = 20000 };
    struct count *counts = calloc(MOST, sizeof *counts);
    unsigned known = 0;
    tarn_message message;
    (void)arg;
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    board->received = 0;
    board->lives = 1; /* ready */
    for (bool over = false; !over;) {
        int result = tarn_subscriber_receive(subscriber, &message, 50 * MS);
        over = result == 0 && board->stop && board->received == board->sent;
        if (result == 0)
            continue;
        CHECK_STATUS(result, 1);
        follow(counts, &known, &message, MOST);
        if (message.publisher == board->identity)
            board->received = message.sequence;
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    CHECK_INT(known, >, 10);
    CHECK_INT(tarn_subscriber_lost(subscriber), ==, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    free(counts);
}

/* ---- short lives ---------------------------------------------------------------------------------------------- */

static void publish_some(struct random *random) {
    tarn_publisher *publisher =
        PUBLISHER(TOPIC, .memory_limit_bytes = 1 << 20, .full_timeout_ns = GENEROUS, .linger_ns = TARN_IMMEDIATELY);
    uint64_t count = random_between(random, 0, 300);
    for (uint64_t number = 1; number <= count; number++)
        CHECK_STATUS(publish_number(publisher, number), 1);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
}

static void take_some(struct random *random) {
    tarn_message message;
    tarn_subscriber *subscriber =
        SUBSCRIBER(TOPIC, .reliable = random_one_in(random, 2), .history = random_between(random, 0, 20));
    if (random_one_in(random, 4))
        CHECK_INT(tarn_subscriber_fd(subscriber), >=, 0);
    for (uint64_t left = random_between(random, 0, 100); left > 0; left--) {
        int result = tarn_subscriber_receive(subscriber, &message, 10 * MS);
        if (result == 0)
            continue;
        CHECK_STATUS(result, 1);
        check_number(&message);
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

static void live_shortly(void *arg) {
    struct random random = random_start((uint64_t)(uintptr_t)arg);
    for (uint64_t lives = random_between(&random, 1, 5); lives > 0 && !board->stop; lives--) {
        if (random_one_in(&random, 2))
            publish_some(&random);
        else
            take_some(&random);
    }
    if (random_one_in(&random, 4)) { /* exit without closing */
        subscriber_of(TOPIC, NULL);
        publisher_of(TOPIC, NULL);
    }
}

/* Starts lives, and ends some of them early. */
static void storm(void *arg) {
    uint64_t salt = (uint64_t)(uintptr_t)arg << 32;
    struct random random = random_start(salt);
    while (!board->stop) {
        pid_t child = spawn(live_shortly, (void *)(uintptr_t)++salt);
        atomic_fetch_add(&board->lives, 1);
        if (random_one_in(&random, 2)) {
            nap_ns((int64_t)random_between(&random, 0, 8000000));
            kill(child, SIGKILL);
        }
        int code = wait_child(child, LIMIT_S);
        CHECK(code == 0 || code == -SIGKILL);
        board->killed += code != 0;
    }
}

/* Opens the topic once more, whose last leaver takes everything away. */
static void sweep(void) {
    char path[512];
    CHECK_STATUS(tarn_subscriber_close(subscriber_of(TOPIC, NULL)), 0);
    domain_path(path, NULL);
    CHECK_INT(count_files(path, 4096), ==, 0);
    if (geteuid() == 0)
        CHECK_INT(count_segments(), ==, 0);
}

TEST_LIMIT(storm_of_lives, 60) {
    pid_t children[6];
    board = shared_page(sizeof *board);
    children[0] = spawn(receive_in_the_eye, NULL);
    AWAIT(board->lives == 1);
    children[1] = spawn(publish_in_the_eye, NULL);
    AWAIT(board->received > 0);
    for (uintptr_t i = 2; i < 6; i++)
        children[i] = spawn(storm, (void *)i);
    nap_ns(4 * SECOND);
    board->stop = true;
    for (int i = 5; i >= 0; i--)
        CHECK_INT(wait_child(children[i], LIMIT_S), ==, 0);
    CHECK_INT(board->received, ==, board->sent);
    CHECK_INT(board->sent, >, 1000);
    CHECK_INT(board->lives, >, 50);
    CHECK_INT(board->killed, >, 10);
    sweep();
}

/* ---- the last leaver and the next joiner ---------------------------------------------------------------------- */

struct rendezvous {
    struct meeting meeting;
    uint64_t meetings;
    _Atomic bool over;
};

static struct rendezvous *rendezvous;

/* Both open, meet, talk and close; the next opening of one runs beside the last closing of the other. */
static void meet_as_publisher(void *arg) {
    (void)arg;
    for (uint64_t i = 0; i < rendezvous->meetings; i++) {
        tarn_publisher *publisher = PUBLISHER("meeting", .linger_ns = TARN_IMMEDIATELY);
        meet(&rendezvous->meeting, 2);
        CHECK_INT(tarn_publisher_subscribers(publisher), >=, 1);
        publish_word(publisher, i);
        meet(&rendezvous->meeting, 2);
        CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    }
}

static void meet_as_subscriber(void *arg) {
    (void)arg;
    for (uint64_t i = 0; i < rendezvous->meetings; i++) {
        tarn_subscriber *subscriber = SUBSCRIBER("meeting", .reliable = 1);
        meet(&rendezvous->meeting, 2);
        CHECK_STATUS(tarn_subscriber_publishers(subscriber), 1);
        receive_word(subscriber, i);
        meet(&rendezvous->meeting, 2);
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    }
}

static void come_and_go(void *arg) {
    (void)arg;
    while (!rendezvous->over)
        CHECK_STATUS(tarn_subscriber_close(subscriber_of("meeting", NULL)), 0);
}

static void meet_often(uint64_t meetings, unsigned bystanders) {
    pid_t others[4];
    rendezvous = shared_page(sizeof *rendezvous);
    rendezvous->meetings = meetings;
    for (unsigned i = 0; i < bystanders; i++)
        others[i] = spawn(come_and_go, NULL);
    pid_t publisher = spawn(meet_as_publisher, NULL), subscriber = spawn(meet_as_subscriber, NULL);
    CHECK_INT(wait_child(publisher, 60), ==, 0);
    CHECK_INT(wait_child(subscriber, 60), ==, 0);
    rendezvous->over = true;
    for (unsigned i = 0; i < bystanders; i++)
        CHECK_INT(wait_child(others[i], LIMIT_S), ==, 0);
}

TEST_LIMIT(last_leaver_and_next_joiner, 60) {
    meet_often(4000, 0);
}

TEST_LIMIT(last_leaver_and_next_joiner_beside_others, 60) {
    meet_often(400, 2);
}

/* ---- joining while a publisher grows -------------------------------------------------------------------------- */

/* Publishers whose memory doubles several times in a short life, to be met at any point of it. */
static void grow_and_go(void *arg) {
    enum { LARGEST = 16 << 20 };
    static char bytes[LARGEST];
    (void)arg;
    while (!rendezvous->over) {
        tarn_publisher *publisher = PUBLISHER("growing", .linger_ns = TARN_IMMEDIATELY);
        for (size_t count = 64; count <= LARGEST; count *= 2) {
            tarn_loan loan;
            CHECK_STATUS(tarn_publisher_loan(publisher, count, &loan), 1); /* touches little of it */
            memcpy(loan.data, bytes, 64);
            CHECK_STATUS(tarn_loan_send(&loan), 1);
        }
        CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    }
}

static void join_and_look(void *arg) {
    struct random random = random_start((uint64_t)(uintptr_t)arg);
    while (!rendezvous->over) {
        tarn_message message;
        tarn_subscriber *subscriber =
            SUBSCRIBER("growing", .history = random_between(&random, 0, 3), .reliable = random_one_in(&random, 2));
        for (int i = 0; i < 5; i++) {
            int result = tarn_subscriber_receive(subscriber, &message, MS / 10);
            if (result == 0)
                continue;
            CHECK_STATUS(result, 1);
            CHECK_STATUS(tarn_message_release(&message), 0);
        }
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
        rendezvous->meetings++;
    }
}

TEST(joining_while_publishers_grow) {
    pid_t children[3];
    rendezvous = shared_page(sizeof *rendezvous);
    for (uintptr_t i = 0; i < 3; i++)
        children[i] = spawn(i ? join_and_look : grow_and_go, (void *)i);
    nap_ns(3 * SECOND);
    rendezvous->over = true;
    for (int i = 0; i < 3; i++)
        CHECK_INT(wait_child(children[i], 10), ==, 0);
    CHECK_INT(rendezvous->meetings, >, 100);
}

/* ---- joining while a publisher opens -------------------------------------------------------------------------- */

struct slow_opening {
    _Atomic bool under_way, joined, sent, over;
};

static struct slow_opening *slow;
static void *schema; /* of the payload type: the first time that it is read, the publisher is being opened */

static void wait_in_the_middle(int number) {
    (void)number;
    slow->under_way = true;
    AWAIT(slow->joined);
    CHECK(mprotect(schema, 4096, PROT_READ) == 0);
}

/* Sends more than it keeps, when it is open at last. */
static void open_slowly(void *arg) {
    (void)arg;
    schema = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(schema != MAP_FAILED && signal(SIGSEGV, wait_in_the_middle) != SIG_ERR);
    tarn_type type = {.struct_bytes = sizeof type, .name = "slow", .schema = schema, .schema_bytes = 1000};
    tarn_publisher *publisher =
        PUBLISHER("slow", .type = &type, .memory_limit_bytes = 1 << 20, .linger_ns = TARN_IMMEDIATELY);
    CHECK(slow->joined);
    for (uint64_t number = 1; number <= 10000; number++)
        CHECK_STATUS(publish_number(publisher, number), 1);
    slow->sent = true;
    AWAIT(slow->over);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
}

/* All that the publisher sends comes after the join, so what is not kept until the first look is lost. */
TEST(joining_while_a_publisher_opens) {
    tarn_message message;
    slow = shared_page(sizeof *slow);
    pid_t child = spawn(open_slowly, NULL);
    AWAIT(slow->under_way);
    tarn_subscriber *subscriber = subscriber_of("slow", NULL);
    CHECK_STATUS(tarn_subscriber_publishers(subscriber), 0);
    slow->joined = true;
    AWAIT(slow->sent);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 1);
    CHECK_INT(message.lost, >, 0);
    CHECK_INT(message.sequence, ==, message.lost + 1);
    check_number(&message);
    CHECK_STATUS(tarn_message_release(&message), 0);
    slow->over = true;
    CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* ---- two users at the same instant ---------------------------------------------------------------------------- */

enum { GROUP = 4321, ALICE = 1001, BOB = 1002, CREATIONS = 400 };

static void create_as(void *arg) {
    gid_t group = GROUP;
    uid_t uid = (uid_t)(uintptr_t)arg;
    CHECK(setgroups(1, &group) == 0 && setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0);
    for (int i = 0; i < CREATIONS; i++) {
        char topic[32], domain[32];
        snprintf(topic, sizeof topic, "new/%d", i);
        snprintf(domain, sizeof domain, "new-%d", i / 2); /* each second one makes its domain, too */
        meet(&rendezvous->meeting, 2);
        tarn_publisher *publisher = PUBLISHER(topic, .domain = domain);
        meet(&rendezvous->meeting, 2);
        CHECK_STATUS(tarn_publisher_close(publisher), 0);
    }
}

TEST(two_users_create_a_topic) {
    need_root();
    rendezvous = shared_page(sizeof *rendezvous);
    CHECK(chown(getenv("TARN_DIR"), 0, GROUP) == 0 && chmod(getenv("TARN_DIR"), 02770) == 0);
    pid_t alice = spawn(create_as, (void *)(uintptr_t)ALICE), bob = spawn(create_as, (void *)(uintptr_t)BOB);
    CHECK_INT(wait_child(alice, LIMIT_S), ==, 0);
    CHECK_INT(wait_child(bob, LIMIT_S), ==, 0);
}

/* ---- many ----------------------------------------------------------------------------------------------------- */

enum { MANY_PUBLISHERS = 10, MANY_SUBSCRIBERS = 30 };

static void publish_among_many(void *arg) {
    (void)arg;
    tarn_publisher *publisher = PUBLISHER("many", .linger_ns = GENEROUS);
    meet(&rendezvous->meeting, MANY_PUBLISHERS + MANY_SUBSCRIBERS);
    CHECK_STATUS(tarn_publisher_subscribers(publisher), MANY_SUBSCRIBERS);
    for (uint64_t i = 0; i < 50; i++)
        publish_word(publisher, i);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

static void receive_among_many(void *arg) {
    tarn_message message;
    (void)arg;
    tarn_subscriber *subscriber = SUBSCRIBER("many", .reliable = 1);
    meet(&rendezvous->meeting, MANY_PUBLISHERS + MANY_SUBSCRIBERS);
    for (int i = 0; i < 50 * MANY_PUBLISHERS; i++) {
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, GENEROUS), 1);
        CHECK_INT(message.lost, ==, 0);
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST_LIMIT(many_processes, 60) {
    pid_t children[MANY_PUBLISHERS + MANY_SUBSCRIBERS];
    rendezvous = shared_page(sizeof *rendezvous);
    for (int i = 0; i < MANY_PUBLISHERS + MANY_SUBSCRIBERS; i++)
        children[i] = spawn(i % 4 ? receive_among_many : publish_among_many, NULL);
    for (int i = 0; i < MANY_PUBLISHERS + MANY_SUBSCRIBERS; i++)
        CHECK_INT(wait_child(children[i], LIMIT_S), ==, 0);
}

/* More than the roster's first segment has room for: who comes attaches further ones while it looks at them. */
enum { CROWD = 1700 };

static void be_a_crowd(void *arg) {
    const struct gate *there = arg;
    subscriber_of("crowd", NULL);
    CHECK_STATUS(tarn_publisher_close(publisher_of("crowd", NULL)),
                 0); /* leaves a place, for which nobody has to search */
    for (int i = 1; i < CROWD; i++)
        subscriber_of("crowd", NULL);
    SUBSCRIBER("crowd", .reliable = 1);
    gate_signal(*there);
    sleep_until_killed();
}

TEST(the_last_of_a_crowd_is_seen) {
    struct gate there = gate_open();
    pid_t crowd = spawn(be_a_crowd, &there);
    tarn_publisher *publisher;
    gate_wait(there, LIMIT_S);
    tarn_publisher_options options = {.struct_bytes = sizeof options, .refuse_reliable = 1};
    CHECK_REFUSED(tarn_publisher_open(&publisher, "crowd", &options), TARN_ERROR_REFUSED, "reliable");
    kill_child(crowd);
    gate_close(there);
    CHECK_STATUS(tarn_subscriber_close(subscriber_of("crowd", NULL)), 0); /* sweeps */
}

static void refuse_reliable_ones(void *arg) {
    const struct gate *there = arg;
    tarn_publisher_options options = {.struct_bytes = sizeof options, .refuse_reliable = 1};
    publish_word(publisher_of(TOPIC, &options), 1);
    gate_signal(*there);
    sleep_until_killed();
}

/* Nobody has noticed its death: the best-effort one does not wait, but has its memory. */
TEST(a_dead_publisher_refuses_nobody) {
    struct gate there = gate_open();
    tarn_subscriber *best_effort = subscriber_of(TOPIC, NULL), *reliable;
    pid_t publisher = spawn(refuse_reliable_ones, &there);
    gate_wait(there, LIMIT_S);
    receive_word(best_effort, 1);
    tarn_subscriber_options options = {.struct_bytes = sizeof options, .reliable = 1};
    CHECK_REFUSED(tarn_subscriber_open(&reliable, TOPIC, &options), TARN_ERROR_REFUSED, "refuses reliable");
    kill_child(publisher);
    CHECK_STATUS(tarn_subscriber_open(&reliable, TOPIC, &options), 0);
    CHECK_STATUS(tarn_subscriber_close(reliable), 0);
    CHECK_STATUS(tarn_subscriber_close(best_effort), 0);
    gate_close(there);
}

/* ---- a part of the roster that cannot be attached ------------------------------------------------------------- */

static bool no_more_attached; /* but for the roster's first segment */
static int attached;

/* Instead of libc's. */
void *shmat(int id, const void *address, int flags) {
    if (no_more_attached && attached++ > 0) {
        errno = ENOMEM;
        return (void *)-1;
    }
    return (void *)syscall(SYS_shmat, id, address, flags);
}

/* A publisher in the roster's second segment, with a place in the first that is free for who comes next. */
static void publish_behind_a_crowd(void *arg) {
    const struct gate *there = arg;
    tarn_subscriber *first = subscriber_of("crowd", NULL);
    for (int i = 0; i < CROWD; i++)
        subscriber_of("crowd", NULL);
    publish_word(publisher_of("crowd", NULL), 7);
    CHECK_STATUS(tarn_subscriber_close(first), 0);
    gate_signal(*there);
    sleep_until_killed();
}

/* It would follow nobody, and later take what was sent before it joined for lost. */
TEST(nobody_joins_who_cannot_see_all_publishers) {
    struct gate there = gate_open();
    pid_t crowd = spawn(publish_behind_a_crowd, &there);
    tarn_subscriber *subscriber;
    gate_wait(there, LIMIT_S);
    no_more_attached = true;
    CHECK_REFUSED(tarn_subscriber_open(&subscriber, "crowd", NULL), TARN_ERROR_NO_MEMORY, "crowd");
    CHECK_INT(count_attached(), ==, 0);
    no_more_attached = false;
    subscriber = SUBSCRIBER("crowd", .history = 1);
    receive_word(subscriber, 7);
    kill_child(crowd);
    gate_close(there);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}
