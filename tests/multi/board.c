/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A blackboard between processes: values whole and in order while writers are killed and others take their keys over;
 * one live writer at a time; readers that are stopped, and nobody waits for them; what outlives whom; that nothing is
 * left.
 */
#include "common.h"

#define TOPIC "board"
#define VALUE_BYTES_MAX 100000

static tarn_writer *writer_of(const tarn_writer_options *options) {
    tarn_writer *writer = NULL;
    CHECK_STATUS(tarn_writer_open(&writer, TOPIC, options), 0);
    return writer;
}

static tarn_reader *reader_of(const tarn_reader_options *options) {
    tarn_reader *reader = NULL;
    CHECK_STATUS(tarn_reader_open(&reader, TOPIC, options), 0);
    return reader;
}

static int key_of(tarn_writer *writer, const char *name) {
    int key = tarn_writer_key(writer, name);
    CHECK_INT(key, >=, 0);
    return key;
}

static int look_up(tarn_reader *reader, const char *name) {
    int key = tarn_reader_key(reader, name);
    CHECK_INT(key, >=, 0);
    return key;
}

static void set_word(tarn_writer *writer, int key, uint64_t word) {
    CHECK_STATUS(tarn_writer_set(writer, key, &word, 8), 1);
}

/* 0: there is no value. */
static uint64_t get_word(tarn_reader *reader, int key, uint64_t *ret_version) {
    uint64_t word = 0;
    tarn_value value = {0};
    int status = tarn_reader_get(reader, key, &word, 8, &value);
    if (status != 1)
        CHECK_STATUS(status, 0);
    if (ret_version)
        *ret_version = value.version;
    return word;
}

/* ---- torn values, versions, takeovers -------------------------------------------------------------------------- */

enum { WRITERS = 3, READERS = 3, KEYS = 3, HELD = 4 };

static struct shared {
    _Atomic int stop;
    _Atomic pid_t holder[KEYS];
    _Atomic uint64_t sets, reads, takeovers;
    _Atomic uint64_t versions[KEYS]; /* that some reader has seen */
} * shared;

static const char *const names[KEYS] = {"small", "mixed", "large"};

/* A value starts with the seed of what follows. */
static size_t choose_bytes(struct random *random, int key) {
    if (key == 0)
        return random_between(random, 8, 64);
    if (key == 1)
        return random_one_in(random, 20) ? random_between(random, 66000, VALUE_BYTES_MAX)
                                         : random_between(random, 8, 3000);
    return random_between(random, 64000, VALUE_BYTES_MAX);
}

static void make_value(char *data, size_t bytes, uint64_t seed) {
    memcpy(data, &seed, 8);
    fill_pattern(data + 8, bytes - 8, seed + bytes);
}

static void check_value(const char *data, size_t bytes) {
    uint64_t seed;
    CHECK_INT(bytes, >=, 8);
    memcpy(&seed, data, 8);
    CHECK(check_pattern(data + 8, bytes - 8, seed + bytes));
}

static void set_some(tarn_writer *writer, int key, int number, struct random *random) {
    static char data[VALUE_BYTES_MAX];
    for (uint64_t i = random_between(random, 1, 400); i > 0 && !shared->stop; i--) {
        size_t bytes = choose_bytes(random, number);
        tarn_loan loan;
        CHECK_INT(shared->holder[number], ==, getpid()); /* nobody else has it */
        if (random_one_in(random, 2)) {
            make_value(data, bytes, random_next(random));
            CHECK_STATUS(tarn_writer_set(writer, key, data, bytes), 1);
        } else {
            CHECK_STATUS(tarn_writer_loan(writer, key, bytes, &loan), 1);
            make_value(loan.data, bytes, random_next(random));
            CHECK_STATUS(tarn_loan_send(&loan), 1);
        }
        shared->sets++;
    }
}

static void be_writer(void *arg) {
    struct random random = random_start((uint64_t)getpid());
    tarn_writer *writer = writer_of(NULL);
    (void)arg;
    while (!shared->stop) {
        int number = (int)random_between(&random, 0, KEYS - 1);
        int key = tarn_writer_key(writer, names[number]);
        if (key == TARN_ERROR_TAKEN) {
            nap_ns(MS / 5);
            continue;
        }
        CHECK_INT(key, >=, 0);
        shared->holder[number] = getpid();
        shared->takeovers++;
        set_some(writer, key, number, &random);
        if (random_one_in(&random, 3))
            CHECK_STATUS(tarn_writer_release_key(writer, key), 0);
        else if (random_one_in(&random, 4)) {
            CHECK_INT(tarn_writer_close(writer), >=, 0);
            writer = writer_of(NULL);
        } /* else it keeps it, for another time */
    }
    CHECK_INT(tarn_writer_close(writer), >=, 0);
}

struct watched {
    int key;
    uint64_t version, seed;
};

static void note_version(struct watched *watched, int number, uint64_t version, const char *data) {
    uint64_t seed;
    memcpy(&seed, data, 8);
    CHECK_INT(version, >=, watched->version);
    if (version == watched->version)
        CHECK(seed == watched->seed);
    watched->version = version;
    watched->seed = seed;
    for (uint64_t seen = shared->versions[number];
         seen < version && !atomic_compare_exchange_weak(&shared->versions[number], &seen, version);) {
    }
}

static void get_one(tarn_reader *reader, struct watched *watched, int number) {
    static char data[VALUE_BYTES_MAX];
    tarn_value value;
    int status = tarn_reader_get(reader, watched->key, data, sizeof(data), &value);
    if (status == 0)
        return; /* its writer died before anybody had read one of its values */
    CHECK_STATUS(status, 1);
    check_value(data, value.bytes);
    note_version(watched, number, value.version, data);
    shared->reads++;
}

static void be_reader(void *arg) {
    struct random random = random_start((uint64_t)getpid());
    tarn_reader *reader = reader_of(NULL);
    tarn_message held[HELD] = {{0}};
    struct watched watched[KEYS] = {{0, 0, 0}};
    (void)arg;
    for (int i = 0; i < KEYS; i++)
        watched[i].key = look_up(reader, names[i]);
    while (!shared->stop) {
        int number = (int)random_between(&random, 0, KEYS - 1);
        tarn_message *message = &held[random_between(&random, 0, HELD - 1)];
        if (random_one_in(&random, 50))
            tarn_reader_wait_key(reader, watched[number].key, watched[number].version, MS);
        if (!random_one_in(&random, 3)) {
            get_one(reader, &watched[number], number);
            continue;
        }
        if (message->held_by) {
            check_value(message->data, message->bytes); /* as it was, whatever was set since */
            CHECK_STATUS(tarn_message_release(message), 0);
        }
        int status = tarn_reader_take(reader, watched[number].key, message);
        if (status == 0)
            continue;
        CHECK_STATUS(status, 1);
        check_value(message->data, message->bytes);
        note_version(&watched[number], number, message->sequence, message->data);
        shared->reads++;
    }
    CHECK_STATUS(tarn_reader_close(reader), 0);
    for (int i = 0; i < HELD; i++)
        if (held[i].held_by) {
            check_value(held[i].data, held[i].bytes);
            CHECK_STATUS(tarn_message_release(&held[i]), 0);
        }
}

TEST_LIMIT(values_are_whole_whoever_is_killed, 90) {
    struct random random = random_start(1);
    pid_t writers[WRITERS], readers[READERS];
    shared = shared_page(sizeof *shared);
    for (int i = 0; i < WRITERS; i++)
        writers[i] = spawn(be_writer, NULL);
    for (int i = 0; i < READERS; i++)
        readers[i] = spawn(be_reader, NULL);
    int64_t end = now_ns() + 5 * SECOND;
    for (int kills = 0; now_ns() < end || kills < 20; kills++) {
        nap_ns((int64_t)random_between(&random, 1, 60) * MS);
        bool writer = !random_one_in(&random, 6);
        pid_t *victim = writer ? &writers[random_between(&random, 0, WRITERS - 1)]
                               : &readers[random_between(&random, 0, READERS - 1)];
        kill_child(*victim);
        *victim = spawn(writer ? be_writer : be_reader, NULL);
    }
    shared->stop = 1;
    for (int i = 0; i < WRITERS; i++)
        CHECK_INT(wait_child(writers[i], LIMIT_S), ==, 0);
    for (int i = 0; i < READERS; i++)
        CHECK_INT(wait_child(readers[i], LIMIT_S), ==, 0);
    for (int i = 0; i < KEYS; i++)
        CHECK_INT(shared->versions[i], >, 100);
    CHECK_INT(shared->takeovers, >, 50);
    CHECK_INT(count_segments(), ==, 0);
    tarn_writer *writer = writer_of(NULL); /* whom the killed left is repaired, and the file goes with the last one */
    CHECK_INT(tarn_writer_close(writer), >=, 0);
}

/* ---- a dead writer's key --------------------------------------------------------------------------------------- */

static struct stage {
    _Atomic int taken, won, lost, ready, stop;
    _Atomic uint64_t version;
} * stage;

static void fight(void *arg) {
    tarn_writer *writer = writer_of(NULL);
    (void)arg;
    stage->ready++;
    AWAIT(stage->ready == 2);
    int key = tarn_writer_key(writer, "k");
    if (key >= 0) {
        set_word(writer, key, 1);
        stage->won = getpid();
        pause();
    }
    CHECK_INT(key, ==, TARN_ERROR_TAKEN);
    CHECK(strstr(tarn_error(), "pid ") != NULL);
    stage->lost = getpid();
    while ((key = tarn_writer_key(writer, "k")) == TARN_ERROR_TAKEN)
        nap_ns(MS);
    CHECK_INT(key, >=, 0);
    set_word(writer, key, 2);
    stage->taken = 1;
    AWAIT(stage->stop);
    CHECK_INT(tarn_writer_close(writer), >=, 0);
}

TEST(one_of_two_gets_it_and_the_other_after_its_death) {
    stage = shared_page(sizeof *stage);
    tarn_reader *reader = reader_of(NULL);
    int key = look_up(reader, "k");
    pid_t fighters[2] = {spawn(fight, NULL), spawn(fight, NULL)};
    AWAIT(stage->won && stage->lost);
    uint64_t version;
    CHECK_INT(get_word(reader, key, &version), ==, 1);
    nap_ns(200 * MS); /* and it stays so while the winner lives, also if it is stopped */
    CHECK(kill(stage->won, SIGSTOP) == 0);
    nap_ns(1500 * MS);
    CHECK(!stage->taken);
    CHECK_INT(get_word(reader, key, &version), ==, 1);
    kill_child(stage->won);
    AWAIT(stage->taken);
    CHECK_INT(get_word(reader, key, &version), ==, 2);
    CHECK_INT(version, ==, 2);
    stage->stop = 1;
    CHECK_INT(wait_child(stage->lost, LIMIT_S), ==, 0);
    CHECK(fighters[0] == stage->won || fighters[1] == stage->won);
    CHECK_STATUS(tarn_reader_close(reader), 0);
}

/* Sets two keys, many times; waits for its death. */
static void set_and_stay(void *arg) {
    tarn_writer *writer = writer_of(NULL);
    int a = key_of(writer, "a"), b = key_of(writer, "b");
    (void)arg;
    for (uint64_t i = 1; i <= 5000; i++) {
        set_word(writer, a, i);
        set_word(writer, b, 2 * i);
    }
    stage->ready++;
    pause();
}

/* In a process of its own, which has nothing of the dead writer yet. */
static void read_once(void *arg) {
    tarn_reader *reader = reader_of(NULL);
    (void)arg;
    CHECK_INT(get_word(reader, look_up(reader, "a"), NULL), ==, 5000);
    CHECK_STATUS(tarn_reader_close(reader), 0);
}

TEST(values_of_the_dead) {
    stage = shared_page(sizeof *stage);
    tarn_reader *reader = reader_of(NULL);
    pid_t pid = spawn(set_and_stay, NULL);
    AWAIT(stage->ready == 1);
    int a = look_up(reader, "a"), b = look_up(reader, "b"), c = look_up(reader, "c");
    kill_child(pid);
    uint64_t version;
    CHECK_INT(get_word(reader, a, &version), ==, 5000);
    CHECK_INT(version, ==, 5000);
    CHECK_STATUS(tarn_reader_wait(reader, 300 * MS), 1); /* b, and looks at peers */
    CHECK_INT(get_word(reader, b, &version), ==, 10000);
    CHECK_STATUS(tarn_reader_wait(reader, 2500 * MS), 0); /* thorough ones, too */
    CHECK_INT(wait_child(spawn(read_once, NULL), LIMIT_S), ==, 0);
    tarn_reader *newcomer = reader_of(NULL);
    CHECK_INT(get_word(newcomer, look_up(newcomer, "b"), &version), ==, 10000);
    CHECK_STATUS(tarn_reader_close(reader), 0);
    CHECK_INT(get_word(newcomer, look_up(newcomer, "a"), &version), ==, 5000);
    tarn_writer *writer = writer_of(NULL); /* which is in another slot */
    CHECK_INT(key_of(writer, "a"), ==, a);
    CHECK_INT(get_word(newcomer, a, &version), ==, 5000);
    set_word(writer, a, 7);
    CHECK_INT(get_word(newcomer, a, &version), ==, 7);
    CHECK_INT(version, ==, 5001);
    CHECK_INT(get_word(newcomer, b, &version), ==, 10000);
    set_word(writer, key_of(writer, "b"), 8);
    CHECK_INT(get_word(newcomer, b, &version), ==, 8);
    CHECK_STATUS(tarn_reader_wait(newcomer, 300 * MS), 0); /* nobody needs what the dead one left: that goes */
    int segments = count_segments();
    if (started_as_root)
        CHECK_INT(segments, ==, 2); /* roster, writer */
    CHECK_STATUS(tarn_reader_close(newcomer), 0);
    CHECK_INT(tarn_writer_close(writer), >=, 0);
    CHECK(c >= 0);
}

static void set_beyond_what_is_attached(void *arg) {
    static char large[800000];
    (void)arg;
    tarn_writer *writer = writer_of(NULL);
    set_word(writer, key_of(writer, "small"), 5);
    stage->ready = 1;
    AWAIT(stage->ready == 2);
    CHECK_STATUS(tarn_writer_set(writer, key_of(writer, "large"), large, sizeof large), 1);
    stage->ready = 3;
    sleep_until_killed();
}

static void find_the_rest(void *arg) {
    (void)arg;
    tarn_reader *reader = reader_of(NULL);
    CHECK_INT(get_word(reader, look_up(reader, "small"), NULL), ==, 5);
    CHECK_INT(get_word(reader, look_up(reader, "large"), NULL), ==, 0);
    CHECK_STATUS(tarn_reader_close(reader), 0);
}

/* Its memory is gone in part: what is left is there for those who come later, too. */
TEST(values_of_a_killed_writer_that_somebody_had_in_part) {
    stage = shared_page(sizeof *stage);
    pid_t pid = spawn(set_beyond_what_is_attached, NULL);
    AWAIT(stage->ready == 1);
    tarn_reader *reader = reader_of(NULL);
    int small = look_up(reader, "small");
    CHECK_INT(get_word(reader, small, NULL), ==, 5);
    stage->ready = 2;
    AWAIT(stage->ready == 3);
    kill_child(pid);
    run_tarn("gc");
    CHECK_INT(wait_child(spawn(find_the_rest, NULL), LIMIT_S), ==, 0);
    tarn_writer *writer = writer_of(NULL);
    uint64_t version;
    CHECK_INT(key_of(writer, "small"), ==, small);
    CHECK_INT(get_word(reader, small, &version), ==, 5);
    CHECK_INT(version, ==, 1);
    set_word(writer, small, 6);
    CHECK_STATUS(tarn_reader_wait(reader, 300 * MS), 1);
    CHECK_INT(get_word(reader, small, &version), ==, 6);
    CHECK_INT(version, ==, 2);
    CHECK_STATUS(tarn_reader_wait(reader, 300 * MS), 0); /* the other value went with its writer: nothing is kept */
    if (started_as_root)
        CHECK_INT(count_segments(), ==, 2); /* roster, writer */
    CHECK_STATUS(tarn_reader_close(reader), 0);
    CHECK_INT(tarn_writer_close(writer), >=, 0);
}

TEST(who_takes_over_and_dies_before_it_sets_loses_nothing) {
    stage = shared_page(sizeof *stage);
    tarn_reader *reader = reader_of(NULL);
    pid_t pid = spawn(set_and_stay, NULL);
    AWAIT(stage->ready == 1);
    int a = look_up(reader, "a");
    kill_child(pid);
    for (int i = 0; i < 3; i++) {
        tarn_writer *writer = writer_of(NULL);
        CHECK_INT(key_of(writer, "a"), ==, a);
        CHECK_INT(tarn_writer_close(writer), >=, 0);
        CHECK_INT(get_word(reader, a, NULL), ==, 5000);
    }
    CHECK_STATUS(tarn_reader_close(reader), 0);
}

static void read_and_stay(void *arg) {
    tarn_reader *reader = reader_of(NULL);
    (void)arg;
    CHECK_INT(get_word(reader, look_up(reader, "a"), NULL), ==, 5000);
    stage->ready++;
    pause();
}

TEST(nothing_is_left_when_all_are_killed) {
    stage = shared_page(sizeof *stage);
    pid_t pids[4] = {spawn(set_and_stay, NULL)};
    AWAIT(stage->ready == 1);
    for (int i = 1; i < 4; i++)
        pids[i] = spawn(read_and_stay, NULL);
    AWAIT(stage->ready == 4);
    for (int i = 0; i < 4; i++)
        kill_child(pids[i]);
    CHECK_INT(count_segments(), ==, 0);
    tarn_reader *reader = reader_of(NULL);
    CHECK_INT(get_word(reader, look_up(reader, "a"), NULL), ==, 0);
    CHECK_STATUS(tarn_reader_close(reader), 0);
}

/* ---- a reader that is stopped ---------------------------------------------------------------------------------- */

static void hold_and_stay(void *arg) {
    tarn_reader *reader = reader_of(NULL);
    tarn_message held;
    (void)arg;
    int key = look_up(reader, "big");
    CHECK_STATUS(tarn_reader_take(reader, key, &held), 1);
    stage->ready++;
    AWAIT(stage->stop);
    CHECK_INT(held.sequence, ==, 1);
    check_value(held.data, held.bytes);
    CHECK_STATUS(tarn_message_release(&held), 0);
    CHECK_STATUS(tarn_reader_take(reader, key, &held), 1);
    CHECK_INT(held.sequence, >, 1000);
    check_value(held.data, held.bytes);
    CHECK_STATUS(tarn_message_release(&held), 0);
    CHECK_STATUS(tarn_reader_close(reader), 0);
}

TEST_LIMIT(nobody_waits_for_a_stopped_reader, 60) {
    stage = shared_page(sizeof *stage);
    size_t bytes = 3000000;
    char *data = malloc(bytes);
    tarn_writer *writer =
        writer_of(&(tarn_writer_options){.struct_bytes = sizeof(tarn_writer_options), .memory_limit_bytes = 16 << 20});
    int big = key_of(writer, "big"), small = key_of(writer, "small");
    make_value(data, bytes, 1);
    CHECK_STATUS(tarn_writer_set(writer, big, data, bytes), 1);
    pid_t pid = spawn(hold_and_stay, NULL);
    AWAIT(stage->ready == 1);
    CHECK(kill(pid, SIGSTOP) == 0);
    for (uint64_t i = 2; i <= 1500; i++) {
        make_value(data, 16, i);
        tarn_loan loan;
        CHECK_STATUS(tarn_writer_loan(writer, big, bytes, &loan), 1);
        if (i == 1500)
            make_value(loan.data, bytes, i);
        CHECK_STATUS(tarn_loan_send(&loan), 1);
        CHECK_STATUS(tarn_writer_set(writer, small, data, 16), 1);
    }
    stage->stop = 1;
    CHECK(kill(pid, SIGCONT) == 0);
    CHECK_INT(wait_child(pid, LIMIT_S), ==, 0);
    free(data);
    CHECK_INT(tarn_writer_close(writer), >=, 0);
}

/* ---- waking ---------------------------------------------------------------------------------------------------- */

static void wait_and_tell(void *arg) {
    tarn_reader *reader = reader_of(
        &(tarn_reader_options){.struct_bytes = sizeof(tarn_reader_options), .wait_strategy = TARN_WAIT_SLEEP});
    (void)arg;
    int key = look_up(reader, "k");
    stage->ready++;
    for (uint64_t version = 0; version < 200;) {
        CHECK_STATUS(tarn_reader_wait_key(reader, key, version, GENEROUS), 1);
        CHECK_INT(get_word(reader, key, &version), ==, version * 3);
        stage->version = version;
    }
    CHECK_STATUS(tarn_reader_close(reader), 0);
}

TEST(a_sleeper_is_woken) {
    stage = shared_page(sizeof *stage);
    pid_t pid = spawn(wait_and_tell, NULL);
    tarn_writer *writer = writer_of(NULL);
    int key = key_of(writer, "k");
    AWAIT(stage->ready == 1);
    int64_t start = now_ns();
    for (uint64_t i = 1; i <= 200; i++) {
        set_word(writer, key, i * 3);
        AWAIT(stage->version == i);
    }
    CHECK_INT(now_ns() - start, <, 200 * 60 * MS); /* not by slices */
    CHECK_INT(wait_child(pid, LIMIT_S), ==, 0);
    CHECK_INT(tarn_writer_close(writer), >=, 0);
}

/* ---- a stray child --------------------------------------------------------------------------------------------- */

static void leave_a_stray(void *arg) {
    tarn_writer *writer = writer_of(NULL);
    (void)arg;
    set_word(writer, key_of(writer, "a"), 1);
    pid_t stray = fork();
    if (stray == 0) {
        stage->lost = getpid();
        AWAIT(stage->stop);
        _exit(0);
    }
    AWAIT(stage->lost);
    stage->ready++;
    pause();
}

TEST(a_stray_child_keeps_no_key) {
    stage = shared_page(sizeof *stage);
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
    pid_t pid = spawn(leave_a_stray, NULL);
    tarn_writer *writer = writer_of(NULL);
    AWAIT(stage->ready == 1);
    CHECK_STATUS(tarn_writer_key(writer, "a"), TARN_ERROR_TAKEN);
    kill_child(pid);
    set_word(writer, key_of(writer, "a"), 2);
    stage->stop = 1;
    CHECK_INT(wait_child(stage->lost, LIMIT_S), ==, 0);
    CHECK_INT(tarn_writer_close(writer), >=, 0);
}
