/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What arrives when publishers and subscribers live in processes of their own: any start order, all sizes, reliable and
 * best effort, publishers that exit at once, and participants that are killed or stopped in the middle.
 */
#include "common.h"

#define TOPIC "delivery/of.messages"

/* What one scene's processes tell each other. */
struct board {
    struct meeting meeting;
    _Atomic uint64_t sent;     /* messages that publish has returned for */
    _Atomic uint64_t received; /* number of the last one taken */
    _Atomic uint64_t lost;
    _Atomic int ready; /* subscribers that have joined */
    _Atomic bool stop;
};

static struct board *board;

static void make_board(void) {
    if (!board)
        board = shared_page(sizeof *board);
    memset(board, 0, sizeof *board);
}

/* ---- roles ---------------------------------------------------------------------------------------------------- */

struct plan {
    uint64_t messages;
    unsigned subscribers;
    int64_t delay_ns;
    uint64_t memory; /* limit of the publisher; 0: the default */
    bool counting;   /* the publisher starts when it counts all subscribers, else when all say so */
};

static void publish_all(void *arg) {
    const struct plan *plan = arg;
    nap_ns(plan->delay_ns);
    tarn_publisher *publisher =
        PUBLISHER(TOPIC, .memory_limit_bytes = plan->memory, .full_timeout_ns = GENEROUS, .linger_ns = GENEROUS);
    AWAIT(plan->counting ? tarn_publisher_subscribers(publisher) == (int)plan->subscribers
                         : board->ready == (int)plan->subscribers);
    for (uint64_t number = 1; number <= plan->messages; number++)
        CHECK_STATUS(publish_number(publisher, number), 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

static void receive_all(void *arg) {
    const struct plan *plan = arg;
    uint64_t next = 1;
    nap_ns(plan->delay_ns);
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    atomic_fetch_add(&board->ready, 1);
    CHECK_INT(receive_up_to(subscriber, &next, plan->messages), ==, 0);
    CHECK_INT(tarn_subscriber_lost(subscriber), ==, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

static void run_plan(struct plan *publisher, struct plan *subscribers) {
    pid_t children[17];
    make_board();
    unsigned count = publisher->subscribers;
    children[count] = spawn(publish_all, publisher);
    for (unsigned i = 0; i < count; i++)
        children[i] = spawn(receive_all, &subscribers[i]);
    for (unsigned i = 0; i <= count; i++)
        CHECK_INT(wait_child(children[i], LIMIT_S), ==, 0);
}

/* ---- all is well ---------------------------------------------------------------------------------------------- */

static void run_in_any_order(int rounds, bool counting) {
    struct random random = random_start(1);
    for (int round = 0; round < rounds; round++) {
        struct plan publisher = {500, 3, (int64_t)random_between(&random, 0, 10) * MS, 0, counting};
        struct plan subscribers[3];
        for (int i = 0; i < 3; i++)
            subscribers[i] = (struct plan){500, 3, (int64_t)random_between(&random, 0, 10) * MS, 0, counting};
        run_plan(&publisher, subscribers);
    }
}

TEST(any_start_order) {
    run_in_any_order(15, false);
}

/* Who counts its subscribers before it starts (tarn pub --wait N) reaches all of them from its first message on. */
TEST(counted_subscribers_get_everything) {
    run_in_any_order(40, true);
}

TEST(reliable_through_little_memory) {
    struct plan publisher = {60000, 3, 0, 1 << 20, false}, subscriber = {60000, 3, 0, 0, false};
    run_plan(&publisher, (struct plan[]){subscriber, subscriber, subscriber});
}

TEST(large_messages) {
    enum { BYTES = 64 << 20, COUNT = 3 };
    pid_t child = fork();
    if (child == 0) {
        tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = GENEROUS);
        AWAIT(tarn_publisher_subscribers(publisher) == 1);
        for (int i = 0; i < COUNT; i++) {
            tarn_loan loan;
            CHECK_STATUS(tarn_publisher_loan(publisher, BYTES, &loan), 1);
            fill_pattern(loan.data, BYTES, (uint64_t)i);
            CHECK_STATUS(tarn_loan_send(&loan), 1);
        }
        exit(tarn_publisher_close(publisher));
    }
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    tarn_message messages[COUNT], more;
    for (int i = 0; i < COUNT; i++)
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &messages[i], GENEROUS), 1);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &more), 0);
    AWAIT(tarn_subscriber_publishers(subscriber) == 0); /* what is held outlives its publisher, */
    CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0); /* and its subscriber */
    for (int i = 0; i < COUNT; i++) {
        CHECK_INT(messages[i].bytes, ==, BYTES);
        CHECK(check_pattern(messages[i].data, BYTES, (uint64_t)i));
        CHECK_STATUS(tarn_message_release(&messages[i]), 0);
    }
}

/* ---- all sizes, to a gigabyte --------------------------------------------------------------------------------- */

static const size_t all_sizes[] = {1, 8, 65535, 65536, 65537, 3 << 20, 64 << 20, 1 << 30, 3 << 20, 65537, 8, 0};
enum { ALL_SIZES = sizeof all_sizes / sizeof all_sizes[0], SIZES_READERS = 2 };

static void publish_all_sizes(void *arg) {
    (void)arg;
    tarn_publisher *publisher = PUBLISHER(TOPIC, .memory_limit_bytes = UINT64_C(1300) << 20);
    AWAIT(tarn_publisher_subscribers(publisher) == SIZES_READERS);
    for (uint64_t i = 0; i < ALL_SIZES; i++) {
        tarn_loan loan;
        CHECK_STATUS(tarn_publisher_loan(publisher, all_sizes[i], &loan), 1);
        fill_pattern(loan.data, all_sizes[i], i + 1);
        CHECK_STATUS(tarn_loan_send(&loan), 1);
    }
    for (;;)
        pause();
}

/* Holds all of them, looks at them when their publisher is dead, and gives them back when its subscriber is closed. */
static void hold_all_sizes(void *arg) {
    tarn_message messages[ALL_SIZES];
    (void)arg;
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    for (uint64_t i = 0; i < ALL_SIZES; i++) {
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &messages[i], GENEROUS), 1);
        CHECK_INT(messages[i].sequence, ==, i + 1);
        CHECK_INT(messages[i].bytes, ==, all_sizes[i]);
        CHECK_INT(messages[i].lost, ==, 0);
    }
    atomic_fetch_add(&board->ready, 1);
    AWAIT(tarn_subscriber_publishers(subscriber) == 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    for (uint64_t i = 0; i < ALL_SIZES; i++) {
        CHECK(check_pattern(messages[i].data, all_sizes[i], i + 1));
        CHECK_STATUS(tarn_message_release(&messages[i]), 0);
    }
}

TEST_LIMIT(all_sizes_to_a_gigabyte, 60) {
    pid_t readers[SIZES_READERS];
    if (harness_memory_bytes() < UINT64_C(1600) << 20)
        SKIP("less than 1.6 GB of memory are free");
    make_board();
    pid_t publisher = spawn(publish_all_sizes, NULL);
    for (int i = 0; i < SIZES_READERS; i++)
        readers[i] = spawn(hold_all_sizes, NULL);
    AWAIT(board->ready == SIZES_READERS);
    kill(publisher, SIGKILL);
    CHECK_INT(wait_child(publisher, LIMIT_S), ==, -SIGKILL);
    for (int i = 0; i < SIZES_READERS; i++)
        CHECK_INT(wait_child(readers[i], LIMIT_S), ==, 0);
}

/* ---- many publishers, many subscribers ------------------------------------------------------------------------ */

enum { CROWD = 4, CROWD_MESSAGES = 4000 };

static void publish_in_crowd(void *arg) {
    uint64_t salt = (uint64_t)(uintptr_t)arg;
    tarn_publisher *publisher =
        PUBLISHER(TOPIC, .memory_limit_bytes = 1 << 20, .full_timeout_ns = GENEROUS, .linger_ns = GENEROUS);
    AWAIT(tarn_publisher_subscribers(publisher) == CROWD);
    for (uint64_t number = 1; number <= CROWD_MESSAGES; number++) {
        uint64_t words[2] = {salt, number};
        CHECK_STATUS(tarn_publisher_publish(publisher, words, sizeof words), 1);
    }
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

static void receive_from_crowd(void *arg) {
    uint64_t next[CROWD] = {0}, identity[CROWD] = {0};
    (void)arg;
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    for (int i = 0; i < CROWD * CROWD_MESSAGES; i++) {
        tarn_message message;
        uint64_t words[2];
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, GENEROUS), 1);
        CHECK_INT(message.bytes, ==, sizeof words);
        memcpy(words, message.data, sizeof words);
        CHECK_INT(words[0], <, CROWD);
        CHECK_INT(words[1], ==, ++next[words[0]]);
        CHECK_INT(message.sequence, ==, words[1]);
        if (words[1] == 1)
            identity[words[0]] = message.publisher;
        CHECK(message.publisher == identity[words[0]]);
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(many_to_many) {
    pid_t children[2 * CROWD];
    for (int i = 0; i < CROWD; i++) {
        children[i] = spawn(publish_in_crowd, (void *)(uintptr_t)i);
        children[CROWD + i] = spawn(receive_from_crowd, NULL);
    }
    for (int i = 0; i < 2 * CROWD; i++)
        CHECK_INT(wait_child(children[i], LIMIT_S), ==, 0);
}

TEST(late_joiner_gets_history) {
    struct gate published = gate_open(), checked = gate_open();
    pid_t child = fork();
    if (child == 0) {
        tarn_publisher *publisher = PUBLISHER(TOPIC, .depth = 20);
        for (uint64_t number = 1; number <= 100; number++)
            CHECK_STATUS(publish_number(publisher, number), 1);
        gate_signal(published);
        gate_wait(checked, LIMIT_S);
        exit(tarn_publisher_close(publisher));
    }
    gate_wait(published, LIMIT_S);
    uint64_t next = 86;
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .history = 15);
    CHECK_INT(receive_up_to(subscriber, &next, 100), ==, 0);
    gate_signal(checked);
    CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    gate_close(published);
    gate_close(checked);
}

/* How a subscriber may find its messages, in a loop that ends with the last one, or that goes on waiting. */
enum finding { BY_TAKE, BY_RECEIVE, BY_WAIT, FINDINGS };

static void take_ten(tarn_subscriber *subscriber, enum finding finding) {
    tarn_message message;
    for (int taken = 0; taken < 10; taken++) {
        if (finding == BY_WAIT)
            CHECK_STATUS(tarn_subscriber_wait(subscriber, GENEROUS), 1);
        if (finding == BY_RECEIVE)
            CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, GENEROUS), 1);
        else
            AWAIT(tarn_subscriber_take(subscriber, &message) == 1);
        check_number(&message);
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
}

static void take_ten_and_go_on(tarn_subscriber *subscriber, enum finding finding) {
    tarn_message message;
    take_ten(subscriber, finding);
    while (!board->stop) {
        if (finding == BY_WAIT)
            CHECK_STATUS(tarn_subscriber_wait(subscriber, 50 * MS), 0);
        else if (finding == BY_RECEIVE)
            CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, 50 * MS), 0);
        else
            CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    }
}

/* Every reliable subscriber has taken all, so flush says so, and closing does not linger. */
static void flush_ten(enum finding finding, void (*take)(tarn_subscriber *, enum finding)) {
    make_board();
    pid_t child = fork();
    if (child == 0) {
        tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
        board->ready = 1;
        take(subscriber, finding);
        board->received = 10;
        AWAIT(board->stop);
        exit(tarn_subscriber_close(subscriber));
    }
    AWAIT(board->ready == 1);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    for (uint64_t number = 1; number <= 10; number++)
        CHECK_STATUS(publish_number(publisher, number), 1);
    if (take == take_ten)
        AWAIT(board->received == 10);
    CHECK_STATUS(tarn_publisher_flush(publisher, 3 * SECOND), 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    board->stop = true;
    CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
}

TEST(flush_with_subscriber_that_goes_on) {
    for (enum finding finding = BY_TAKE; finding < FINDINGS; finding++)
        flush_ten(finding, take_ten_and_go_on);
}

/* It does not call into tarn again after it took the last message, and yet it has taken it. */
TEST(flush_with_subscriber_that_took_the_last) {
    for (enum finding finding = BY_TAKE; finding < FINDINGS; finding++)
        flush_ten(finding, take_ten);
}

/* ---- publishers that are gone at once ------------------------------------------------------------------------- */

static void publish_and_exit(void *arg) {
    uint64_t messages = *(uint64_t *)arg;
    tarn_publisher *publisher = PUBLISHER(TOPIC, .depth = messages, .linger_ns = GENEROUS);
    for (uint64_t number = 1; number <= messages; number++)
        CHECK_STATUS(publish_number(publisher, number), 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

static void join_and_receive(void *arg) {
    uint64_t next = 1, messages = *(uint64_t *)arg;
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = getpid() % 2 == 0);
    atomic_fetch_add(&board->ready, 1);
    CHECK_INT(receive_up_to(subscriber, &next, messages), ==, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(publisher_exits_at_once) {
    for (int round = 0; round < 20; round++) {
        uint64_t messages = round % 2 ? 1 : 1000;
        pid_t subscribers[4];
        make_board();
        for (int i = 0; i < 4; i++)
            subscribers[i] = spawn(join_and_receive, &messages);
        AWAIT(board->ready == 4);
        CHECK_INT(wait_child(spawn(publish_and_exit, &messages), LIMIT_S), ==, 0);
        for (int i = 0; i < 4; i++)
            CHECK_INT(wait_child(subscribers[i], LIMIT_S), ==, 0);
    }
}

/* ---- a publisher is killed ------------------------------------------------------------------------------------ */

/* Small enough memory, so that all of it has been attached when the first messages have gone by. */
static void publish_until_killed(void *arg) {
    (void)arg;
    tarn_publisher *publisher = PUBLISHER(TOPIC, .memory_limit_bytes = 1 << 20, .full_timeout_ns = TARN_FOREVER);
    AWAIT(tarn_publisher_subscribers(publisher) == 2);
    for (uint64_t number = 1;; number++) {
        CHECK_STATUS(publish_number(publisher, number), 1);
        atomic_store(&board->sent, number);
    }
}

/* Reads to the end of a publisher that dies; what is said to be lost and what was taken are everything up to there. */
static void receive_until_dead(void *arg) {
    bool reliable = arg != NULL;
    uint64_t next = 1, lost = 0;
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = reliable);
    atomic_fetch_add(&board->ready, 1);
    for (int quiet = 0; quiet < 2;) {
        tarn_message message;
        int result = tarn_subscriber_receive(subscriber, &message, 20 * MS);
        if (result == 0) {
            quiet = next > 1 && tarn_subscriber_publishers(subscriber) == 0 ? quiet + 1 : 0;
            continue;
        }
        CHECK_STATUS(result, 1);
        if (next == 1)
            atomic_fetch_add(&board->ready, 1); /* it is attached: now it may be killed */
        CHECK_INT(message.sequence, ==, next + message.lost);
        check_number(&message);
        lost += message.lost;
        next = message.sequence + 1;
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    uint64_t sent = atomic_load(&board->sent);
    CHECK_INT(next - 1, >=, sent);
    CHECK_INT(next - 1, <=, sent + 1); /* one may be committed, and not counted yet */
    CHECK(!reliable || lost == 0);
    CHECK_INT(tarn_subscriber_lost(subscriber), ==, lost);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(killed_publisher) {
    struct random random = random_start(2);
    for (int round = 0; round < 10; round++) {
        make_board();
        pid_t reliable = spawn(receive_until_dead, ""), best_effort = spawn(receive_until_dead, NULL);
        AWAIT(board->ready == 2);
        pid_t publisher = spawn(publish_until_killed, NULL);
        AWAIT(board->ready == 4 && board->sent > 20000);
        nap_ns((int64_t)random_between(&random, 0, 5000000));
        kill_child(publisher);
        CHECK_INT(wait_child(reliable, LIMIT_S), ==, 0);
        CHECK_INT(wait_child(best_effort, LIMIT_S), ==, 0);
    }
}

/* Grows beyond what the subscriber has attached, and is killed, or closes without waiting. */
static void publish_grow_and_go(void *arg) {
    bool closing = arg != NULL;
    tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = TARN_IMMEDIATELY);
    char *big = calloc(1, 8 << 20);
    CHECK_STATUS(publish_number(publisher, 1), 1);
    board->sent = 1;
    AWAIT(board->received == 1);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(tarn_publisher_publish(publisher, big, 8 << 20), 1);
    if (!closing)
        raise(SIGKILL);
    CHECK_INT(tarn_publisher_close(publisher), ==, 1);
    free(big);
}

/* What was in memory that nobody had attached is lost with it; that is no error, and others are heard as before. */
static void lose_unattached(const tarn_subscriber_options *options, bool closing) {
    uint64_t next = 1;
    tarn_message message;
    make_board();
    tarn_subscriber *subscriber = subscriber_of(TOPIC, options);
    pid_t child = spawn(publish_grow_and_go, closing ? "" : NULL);
    receive_up_to(subscriber, &next, 1);
    board->received = 1;
    CHECK_INT(wait_child(child, LIMIT_S), ==, closing ? 0 : -SIGKILL);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, 150 * MS), 0);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    for (uint64_t word = 0; word < 10; word++) {
        publish_word(publisher, word);
        receive_word(subscriber, word);
    }
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* Whose publisher has been killed, and not repaired; its log goes on in memory that has gone. A wait sees to that. */
TEST(killed_with_memory_that_a_realtime_subscriber_had_not_attached) {
    uint64_t next = 1;
    tarn_message message;
    make_board();
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .realtime = 1);
    pid_t child = spawn(publish_grow_and_go, NULL);
    receive_up_to(subscriber, &next, 1);
    board->received = 1;
    CHECK_INT(wait_child(child, LIMIT_S), ==, -SIGKILL);
    int64_t begun_ns = now_ns();
    for (int i = 0; i < 1000; i++)
        CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_INT(now_ns() - begun_ns, <, SECOND);
    CHECK_STATUS(tarn_subscriber_wait(subscriber, 0), 0);
    for (int i = 0; i < 4; i++) /* two looks at peers are in it */
        CHECK_STATUS(tarn_subscriber_wait(subscriber, 100 * MS), 0);
    CHECK_INT(tarn_subscriber_lost(subscriber), ==, 3);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    publish_word(publisher, 1);
    receive_word(subscriber, 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

enum { BEFORE = 100000, BEHIND = 100000, ALL = 1 + BEFORE + BEHIND + 1 };

/* The last that it sends is a reference to memory of a segment that nobody has attached. */
static void publish_refer_and_go(void *arg) {
    tarn_loan loan;
    (void)arg;
    tarn_publisher *publisher = PUBLISHER(TOPIC, .depth = 1, .rotation_bytes = 1); /* the log stays in the first */
    publish_word(publisher, 0);
    AWAIT(board->received == 1);
    for (uint64_t word = 0; word < BEFORE; word++)
        publish_word(publisher, word);
    CHECK_STATUS(tarn_publisher_loan(publisher, 8 << 20, &loan), 1);
    for (uint64_t word = 0; word < BEHIND; word++)
        publish_word(publisher, word);
    CHECK_STATUS(tarn_loan_send(&loan), 1);
    raise(SIGKILL);
}

TEST(killed_with_reference_that_a_realtime_subscriber_cannot_follow) {
    tarn_message message;
    uint64_t taken = 1, last = 0;
    make_board();
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .realtime = 1);
    pid_t child = spawn(publish_refer_and_go, NULL);
    receive_word(subscriber, 0);
    board->received = 1;
    CHECK_INT(wait_child(child, LIMIT_S), ==, -SIGKILL);
    for (; tarn_subscriber_take(subscriber, &message) == 1; taken++) {
        last = message.sequence;
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    CHECK_INT(last, ==, ALL - 1);
    for (int i = 0; i < 5; i++) {
        CHECK_INT(tarn_subscriber_wait(subscriber, 100 * MS), >=, 0); /* what is lost is something to be told */
        CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    }
    CHECK_INT(tarn_subscriber_lost(subscriber), ==, ALL - taken);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(killed_with_memory_that_nobody_had_attached) {
    lose_unattached(NULL, false);
    lose_unattached(&(tarn_subscriber_options){.struct_bytes = sizeof(tarn_subscriber_options), .reliable = 1}, false);
}

/* Attaches what there is before the publisher grows, and no more. */
static void attach_first_and_stay(void *arg) {
    uint64_t next = 1;
    (void)arg;
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .realtime = 1);
    board->ready = 1;
    receive_up_to(subscriber, &next, 1);
    board->received = 1;
    sleep_until_killed();
}

/* Who comes later finds a part of its memory, and has no use for it. */
TEST(killed_with_memory_of_which_a_part_is_left) {
    make_board();
    pid_t other = spawn(attach_first_and_stay, NULL);
    AWAIT(board->ready == 1);
    CHECK_INT(wait_child(spawn(publish_grow_and_go, NULL), LIMIT_S), ==, -SIGKILL);
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    CHECK_INT(count_attached(), ==, 1); /* the roster */
    kill_child(other);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_INT(count_attached(), ==, 0);
}

TEST(closed_with_memory_that_nobody_had_attached) {
    lose_unattached(NULL, true);
}

/* Takes what was sent to the end, and so attaches it all; keeps it attached while it lives. */
static void attach_and_stay(void *arg) {
    tarn_message message;
    (void)arg;
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    board->ready = 1;
    for (uint64_t sequence = 1; sequence <= 4; sequence++) {
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, GENEROUS), 1);
        CHECK_INT(message.sequence, ==, sequence);
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    board->ready = 2;
    AWAIT(board->stop);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

static void publish_grow_and_wait(void *arg) {
    (void)arg;
    tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = TARN_IMMEDIATELY);
    char *big = calloc(1, 8 << 20);
    CHECK_STATUS(publish_number(publisher, 1), 1);
    AWAIT(board->received == 1);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(tarn_publisher_publish(publisher, big, 8 << 20), 1);
    AWAIT(board->ready == 2);
    CHECK_INT(tarn_publisher_close(publisher), ==, 1);
    free(big);
}

/* The publisher has gone before it looked; but its memory has not, as another subscriber has it. So nothing is lost to a
   realtime one, which attaches in wait alone. */
TEST(closed_with_memory_that_another_subscriber_has) {
    uint64_t next = 1;
    tarn_message message;
    make_board();
    pid_t other = spawn(attach_and_stay, NULL);
    AWAIT(board->ready == 1);
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .realtime = 1);
    pid_t child = spawn(publish_grow_and_wait, NULL);
    receive_up_to(subscriber, &next, 1);
    board->received = 1;
    CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_STATUS(tarn_subscriber_wait(subscriber, 0), 1);
    for (uint64_t sequence = 2; sequence <= 4; sequence++) {
        CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 1);
        CHECK_INT(message.sequence, ==, sequence);
        CHECK_INT(message.lost, ==, 0);
        CHECK_INT(message.bytes, ==, 8 << 20);
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    CHECK_STATUS(tarn_subscriber_wait(subscriber, 0), 0);
    board->stop = true;
    CHECK_INT(wait_child(other, LIMIT_S), ==, 0);
    CHECK_INT(tarn_subscriber_lost(subscriber), ==, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

static void publish_three(void *arg) {
    (void)arg;
    tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = GENEROUS);
    for (uint64_t word = 0; word < 3; word++)
        publish_word(publisher, word);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* Two are sent for each that is taken, so there is always one more. */
static void take_one_of_two(tarn_publisher *publisher, tarn_subscriber *subscriber, bool realtime, bool by_receive) {
    tarn_message message;
    publish_word(publisher, 1);
    publish_word(publisher, 2);
    if (realtime)
        CHECK_STATUS(tarn_subscriber_wait(subscriber, 0), 1);
    CHECK_STATUS(by_receive ? tarn_subscriber_receive(subscriber, &message, GENEROUS)
                            : tarn_subscriber_take(subscriber, &message),
                 1);
    CHECK_STATUS(tarn_message_release(&message), 0);
}

/* Publishers come and go meanwhile. Of those that have gone nothing stays attached for long. */
static void never_run_dry(bool realtime, bool by_receive) {
    enum { COMERS = 30, TAKES = 1000, ATTACHED_MOST = 8 };
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .realtime = realtime);
    tarn_publisher *publisher = PUBLISHER(TOPIC, .memory_limit_bytes = 1 << 20, .linger_ns = TARN_IMMEDIATELY);
    for (int i = 0; i < COMERS; i++) {
        int status;
        pid_t child = spawn(publish_three, NULL);
        while (waitpid(child, &status, WNOHANG) == 0)
            take_one_of_two(publisher, subscriber, realtime, by_receive);
        CHECK_INT(status, ==, 0);
    }
    for (int i = 0; i < TAKES; i++)
        take_one_of_two(publisher, subscriber, realtime, by_receive);
    CHECK_INT(count_attached(), <=, ATTACHED_MOST);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
}

TEST(never_idle_subscriber_lets_go_of_who_left) {
    never_run_dry(false, false);
    never_run_dry(false, true);
    never_run_dry(true, false);
}

/* ---- a reliable subscriber is killed or stopped --------------------------------------------------------------- */

static void join_and_sleep(void *arg) {
    (void)arg;
    SUBSCRIBER(TOPIC, .reliable = 1);
    atomic_fetch_add(&board->ready, 1);
    sleep_until_killed();
}

static void publish_until_told(void *arg) {
    tarn_publisher *publisher =
        PUBLISHER(TOPIC, .memory_limit_bytes = 1 << 20, .full_timeout_ns = TARN_FOREVER, .realtime = arg != NULL);
    for (uint64_t number = 1; !board->stop; number++) {
        CHECK_STATUS(publish_number(publisher, number), 1);
        atomic_store(&board->sent, number);
    }
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* Waits until the publisher has stood still for a while, and says how far it came. */
static uint64_t await_standstill(void) {
    uint64_t seen;
    do {
        seen = board->sent;
        nap_ns(200 * MS);
    } while (seen == 0 || seen != board->sent);
    return seen;
}

TEST(killed_reliable_subscriber_lets_publisher_go_on) {
    for (int round = 0; round < 4; round++) {
        make_board();
        pid_t subscriber = spawn(join_and_sleep, NULL);
        AWAIT(board->ready == 1);
        pid_t publisher = spawn(publish_until_told, round % 2 ? "realtime" : NULL);
        uint64_t stood_at = await_standstill();
        CHECK_INT(stood_at, <, 100000);
        kill_child(subscriber);
        AWAIT(board->sent > stood_at + 1000);
        board->stop = true;
        CHECK_INT(wait_child(publisher, LIMIT_S), ==, 0);
    }
}

/* All but the first. */
static void hold_what_comes(void *arg) {
    (void)arg;
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    board->ready = 1;
    for (uint64_t number = 1;; number++) {
        tarn_message message;
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, LIMIT_S * SECOND), 1);
        if (number == 1)
            CHECK_STATUS(tarn_message_release(&message), 0);
        board->received = number;
    }
}

/* What is held counts with realtime: of those who hold it each may be dead, and not only who holds the oldest. */
TEST(killed_holder_lets_realtime_publisher_go_on) {
    static char bytes[40000];
    tarn_message first;
    uint64_t sent = 1;
    make_board();
    tarn_publisher *publisher =
        PUBLISHER(TOPIC, .realtime = 1, .full_timeout_ns = 200 * MS, .linger_ns = TARN_IMMEDIATELY);
    tarn_subscriber *living = subscriber_of(TOPIC, NULL);
    pid_t holder = spawn(hold_what_comes, NULL);
    AWAIT(board->ready == 1);
    CHECK_STATUS(tarn_publisher_publish(publisher, bytes, sizeof bytes), 1);
    CHECK_STATUS(tarn_subscriber_receive(living, &first, GENEROUS), 1);
    int result;
    do {
        AWAIT(board->received == sent);
        result = tarn_publisher_publish(publisher, bytes, sizeof bytes);
        sent += result == 1;
        CHECK_INT(sent, <, 100);
    } while (result == 1);
    CHECK_STATUS(result, TARN_ERROR_FULL);
    kill_child(holder);
    for (int i = 0; i < 100; i++)
        CHECK_STATUS(tarn_publisher_publish(publisher, bytes, sizeof bytes), 1);
    CHECK_STATUS(tarn_message_release(&first), 0);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    CHECK_STATUS(tarn_subscriber_close(living), 0);
}

/* Takes everything, says where it is, and ends with the message that has no bytes. */
static void receive_and_tell(void *arg) {
    uint64_t next = 1;
    (void)arg;
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    atomic_fetch_add(&board->ready, 1);
    for (bool over = false; !over;) {
        tarn_message message;
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, GENEROUS), 1);
        CHECK_INT(message.sequence, ==, next + message.lost);
        next = message.sequence + 1;
        over = message.bytes == 0;
        if (!over)
            check_number(&message);
        board->received = message.sequence;
        board->lost += message.lost;
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    CHECK_INT(tarn_subscriber_lost(subscriber), ==, board->lost);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

struct stopped {
    pid_t pid;
    tarn_publisher *publisher;
    uint64_t sent; /* sequence numbers used */
};

static struct stopped stop_a_subscriber(uint32_t when_full, int64_t timeout_ns) {
    make_board();
    struct stopped scene = {.pid = spawn(receive_and_tell, NULL)};
    AWAIT(board->ready == 1);
    scene.publisher = PUBLISHER(TOPIC, .memory_limit_bytes = 1 << 20, .when_full = when_full,
                                .full_timeout_ns = timeout_ns, .linger_ns = GENEROUS);
    for (scene.sent = 0; scene.sent < 100; scene.sent++)
        CHECK_STATUS(publish_number(scene.publisher, scene.sent + 1), 1);
    AWAIT(board->received == 100);
    stop_process(scene.pid);
    return scene;
}

/* Publishes until that is refused; returns what the call said. */
static int fill_up(struct stopped *scene) {
    for (int i = 0; i < 100000; i++) {
        int result = publish_number(scene->publisher, scene->sent + 1);
        if (result != 1)
            return result;
        scene->sent++;
    }
    FAIL("a stopped reliable subscriber does not make its publisher full");
}

/* The subscriber goes on: it gets all that was sent, and counts exactly the dropped as lost. */
static void continue_and_settle(struct stopped *scene, uint64_t dropped) {
    continue_process(scene->pid);
    CHECK_STATUS(tarn_publisher_flush(scene->publisher, GENEROUS), 1);
    for (int i = 0; i < 100; i++)
        CHECK_STATUS(publish_number(scene->publisher, ++scene->sent), 1);
    CHECK_STATUS(tarn_publisher_publish(scene->publisher, NULL, 0), 1);
    scene->sent++;
    CHECK_STATUS(tarn_publisher_close(scene->publisher), 0);
    CHECK_INT(wait_child(scene->pid, LIMIT_S), ==, 0);
    CHECK_INT(board->received, ==, scene->sent);
    CHECK_INT(board->lost, ==, dropped);
}

TEST(stopped_reliable_subscriber_and_timeout) {
    struct stopped scene = stop_a_subscriber(TARN_FULL_WAIT, 150 * MS);
    CHECK_STATUS(fill_up(&scene), TARN_ERROR_FULL);
    for (int i = 0; i < 3; i++) {
        int64_t start = now_ns();
        CHECK_REFUSED(publish_number(scene.publisher, scene.sent + 1), TARN_ERROR_FULL, number_text(scene.pid));
        CHECK_INT(now_ns() - start, >=, 150 * MS);
    }
    CHECK_STATUS(tarn_publisher_flush(scene.publisher, 10 * MS), 0);
    continue_and_settle(&scene, 0);
}

TEST(stopped_reliable_subscriber_and_fail) {
    struct stopped scene = stop_a_subscriber(TARN_FULL_FAIL, TARN_FOREVER);
    CHECK_STATUS(fill_up(&scene), TARN_ERROR_FULL);
    for (int i = 0; i < 1000; i++)
        CHECK_REFUSED(publish_number(scene.publisher, scene.sent + 1), TARN_ERROR_FULL, number_text(scene.pid));
    continue_and_settle(&scene, 0);
}

TEST(stopped_reliable_subscriber_and_drop) {
    struct stopped scene = stop_a_subscriber(TARN_FULL_DROP, TARN_FOREVER);
    uint64_t dropped = 1;
    CHECK_STATUS(fill_up(&scene), 0);
    scene.sent++; /* what is dropped uses up a number, too */
    for (int i = 0; i < 1000; i++) {
        int result = publish_number(scene.publisher, ++scene.sent); /* a smaller one may still fit */
        CHECK(result == 0 || result == 1);
        dropped += result == 0;
    }
    CHECK_INT(dropped, >, 500);
    continue_and_settle(&scene, dropped);
}

/* Goes on of its own accord when the subscriber does, though it would wait for ever. */
TEST(stopped_reliable_subscriber_and_patience) {
    make_board();
    pid_t subscriber = spawn(receive_and_tell, NULL);
    AWAIT(board->ready == 1);
    pid_t publisher = spawn(publish_until_told, NULL);
    for (int round = 0; round < 3; round++) {
        AWAIT(board->received > 0);
        stop_process(subscriber);
        uint64_t stood_at = await_standstill();
        continue_process(subscriber);
        AWAIT(board->sent > stood_at + 10000);
    }
    board->stop = true;
    CHECK_INT(wait_child(publisher, LIMIT_S), ==, 0);
    uint64_t sent = board->sent;
    AWAIT(board->received == sent);
    CHECK_INT(board->lost, ==, 0);
    kill_child(subscriber);
    allow_files();
}

/* ---- a best-effort subscriber is stopped ---------------------------------------------------------------------- */

enum { HELD = 64 };

static void hold_over_a_stop(void *arg) {
    tarn_message messages[HELD], more;
    (void)arg;
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .max_held = 0);
    atomic_fetch_add(&board->ready, 1);
    for (int i = 0; i < HELD; i++)
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &messages[i], GENEROUS), 1);
    board->received = messages[HELD - 1].sequence;
    AWAIT(board->stop); /* stopped meanwhile, and overtaken */
    CHECK_STATUS(tarn_subscriber_take(subscriber, &more), TARN_ERROR_HOLDING);
    for (int i = 0; i < HELD; i++) {
        CHECK_INT(messages[i].sequence, ==, i + 1);
        check_number(&messages[i]);
        CHECK_STATUS(tarn_message_release(&messages[i]), 0);
    }
    uint64_t next = HELD + 1;
    board->lost = receive_up_to(subscriber, &next, board->sent);
    CHECK_INT(tarn_subscriber_lost(subscriber), ==, board->lost);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(stopped_best_effort_subscriber_holds_messages) {
    enum { MESSAGES = 50000 };
    make_board();
    pid_t subscriber = spawn(hold_over_a_stop, NULL);
    AWAIT(board->ready == 1);
    tarn_publisher *publisher =
        PUBLISHER(TOPIC, .memory_limit_bytes = 4 << 20, .when_full = TARN_FULL_FAIL, .linger_ns = GENEROUS);
    uint64_t number = 1;
    for (; number <= HELD; number++)
        CHECK_STATUS(publish_number(publisher, number), 1);
    AWAIT(board->received == HELD);
    stop_process(subscriber);
    for (; number <= MESSAGES; number++)
        CHECK_STATUS(publish_number(publisher, number), 1); /* FULL_FAIL: it would not wait */
    board->sent = MESSAGES;
    board->stop = true;
    continue_process(subscriber);
    CHECK_INT(wait_child(subscriber, LIMIT_S), ==, 0);
    CHECK_INT(board->lost, >, 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* ---- all are killed ------------------------------------------------------------------------------------------- */

static void be_killed(void *arg) {
    intptr_t kind = (intptr_t)arg;
    if (kind == 0) {
        publish_until_told(NULL);
        return;
    }
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = kind == 1);
    if (kind == 3)
        CHECK_INT(tarn_subscriber_fd(subscriber), >=, 0);
    atomic_fetch_add(&board->ready, 1);
    for (tarn_message message;;) {
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, TARN_FOREVER), 1);
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
}

TEST(all_killed_at_once) {
    char path[512];
    need_root();
    domain_path(path, NULL);
    for (int round = 0; round < 5; round++) {
        pid_t children[4];
        make_board();
        for (intptr_t i = 3; i >= 0; i--) {
            children[i] = spawn(be_killed, (void *)i);
            AWAIT(i == 0 || board->ready == 4 - i);
        }
        AWAIT(board->sent > 20000); /* its memory has grown as far as it does */
        CHECK_INT(count_segments(), >, 1);
        for (int i = 0; i < 4; i++)
            kill(children[i], SIGKILL);
        for (int i = 0; i < 4; i++)
            CHECK_INT(wait_child(children[i], LIMIT_S), ==, -SIGKILL);
        CHECK_INT(count_segments(), ==, 0);                             /* by the kernel: nobody looked after them */
        CHECK_INT(count_files(path, 4096), <=, 2);                      /* topic file and a doorbell */
        tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .history = 10); /* the next one sweeps */
        tarn_message message;
        CHECK_STATUS(tarn_subscriber_publishers(subscriber), 0);
        CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
        CHECK_INT(count_files(path, 4096), ==, 0);
    }
}
