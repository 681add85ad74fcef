/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* A blackboard within one process: keys, values, versions, loans, holding, waiting, and what is refused. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"
#include "common.h"
#include "core/inspect.h"
#include "core/reaper.h"
#include "core/topic.h"
#include "core/waitables.h"
#include "shm/board.h"
#include "shm/extents.h"

#define BOARD "unit/board"
#define WRITER_OPTIONS(...) (&(tarn_writer_options){.struct_bytes = sizeof(tarn_writer_options), __VA_ARGS__})
#define READER_OPTIONS(...) (&(tarn_reader_options){.struct_bytes = sizeof(tarn_reader_options), __VA_ARGS__})

static tarn_writer *open_writer(const tarn_writer_options *options) {
    tarn_writer *writer = NULL;
    CHECK_STATUS(tarn_writer_open(&writer, BOARD, options), 0);
    return writer;
}

static tarn_reader *open_reader(const tarn_reader_options *options) {
    tarn_reader *reader = NULL;
    CHECK_STATUS(tarn_reader_open(&reader, BOARD, options), 0);
    return reader;
}

static int take_key(tarn_writer *writer, const char *name) {
    int key = tarn_writer_key(writer, name);
    if (key < 0)
        FAIL("tarn_writer_key(%s): %s", name, tarn_error());
    return key;
}

static int look_up(tarn_reader *reader, const char *name) {
    int key = tarn_reader_key(reader, name);
    if (key < 0)
        FAIL("tarn_reader_key(%s): %s", name, tarn_error());
    return key;
}

static void set_text(tarn_writer *writer, int key, const char *text) {
    CHECK_STATUS(tarn_writer_set(writer, key, text, strlen(text)), 1);
}

/* Gets the value, which is to be this text of that version. */
static void expect_text(tarn_reader *reader, int key, const char *text, uint64_t version) {
    char buffer[256];
    tarn_value value;
    CHECK_STATUS(tarn_reader_get(reader, key, buffer, sizeof(buffer), &value), 1);
    CHECK_INT(value.bytes, ==, strlen(text));
    CHECK(memcmp(buffer, text, value.bytes) == 0);
    CHECK_INT(value.version, ==, version);
}

static void expect_nothing(tarn_reader *reader, int key) {
    char buffer[256];
    CHECK_STATUS(tarn_reader_get(reader, key, buffer, sizeof(buffer), NULL), 0);
}

static void close_both(tarn_writer *writer, tarn_reader *reader) {
    CHECK_INT(tarn_writer_close(writer), >=, 0);
    CHECK_STATUS(tarn_reader_close(reader), 0);
}

/* ---- values --------------------------------------------------------------------------------------------------- */

TEST(gets_what_was_set) {
    tarn_writer *writer = open_writer(NULL);
    tarn_reader *reader = open_reader(NULL);
    int key = take_key(writer, "speed");
    CHECK_INT(take_key(writer, "speed"), ==, key);
    CHECK_INT(look_up(reader, "speed"), ==, key);
    expect_nothing(reader, key);
    set_text(writer, key, "12");
    expect_text(reader, key, "12", 1);
    expect_text(reader, key, "12", 1);
    set_text(writer, key, "13.5");
    expect_text(reader, key, "13.5", 2);
    CHECK_STATUS(tarn_writer_set(writer, key, NULL, 0), 1);
    expect_text(reader, key, "", 3);
    tarn_value value;
    char buffer[8];
    CHECK_STATUS(tarn_reader_get(reader, key, buffer, sizeof(buffer), &value), 1);
    CHECK(value.writer == tarn_writer_identity(writer));
    close_both(writer, reader);
}

TEST(reads_what_was_set_before_it_came) {
    tarn_writer *writer = open_writer(NULL);
    set_text(writer, take_key(writer, "a"), "one");
    int key = take_key(writer, "b");
    for (int i = 0; i < 5; i++)
        set_text(writer, key, "two");
    tarn_reader *reader = open_reader(NULL);
    expect_text(reader, look_up(reader, "a"), "one", 1);
    expect_text(reader, look_up(reader, "b"), "two", 5);
    close_both(writer, reader);
}

TEST(tells_how_much_room_a_value_needs) {
    tarn_writer *writer = open_writer(NULL);
    tarn_reader *reader = open_reader(NULL);
    int key = take_key(writer, "a");
    set_text(writer, key, "0123456789");
    look_up(reader, "a");
    char buffer[11] = "..........";
    tarn_value value;
    CHECK_STATUS(tarn_reader_get(reader, key, buffer, 9, &value), TARN_ERROR_TOO_BIG);
    CHECK_INT(value.bytes, ==, 10);
    CHECK(strcmp(buffer, "..........") == 0);
    CHECK_STATUS(tarn_reader_get(reader, key, buffer, 10, NULL), 1);
    CHECK(strcmp(buffer, "0123456789") == 0);
    close_both(writer, reader);
}

/* Sizes around every boundary, each value many times over, so that extents are used again. */
TEST(values_of_all_sizes) {
    static const size_t sizes[] = {0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 4095, 65000, 65536, 65537, 300000};
    tarn_writer *writer = open_writer(NULL);
    tarn_reader *reader = open_reader(NULL);
    int key = take_key(writer, "a");
    look_up(reader, "a");
    char *data = malloc(300000), *copy = malloc(300000);
    struct random random = random_start(1);
    for (uint64_t i = 1; i <= 2000; i++) {
        size_t bytes = sizes[random_between(&random, 0, sizeof(sizes) / sizeof(sizes[0]) - 1)];
        fill_pattern(data, bytes, i);
        CHECK_STATUS(tarn_writer_set(writer, key, data, bytes), 1);
        if (random_one_in(&random, 3))
            continue;
        tarn_value value;
        CHECK_STATUS(tarn_reader_get(reader, key, copy, 300000, &value), 1);
        CHECK_INT(value.version, ==, i);
        CHECK_INT(value.bytes, ==, bytes);
        CHECK(check_pattern(copy, bytes, i));
    }
    free(data);
    free(copy);
    close_both(writer, reader);
}

TEST(a_value_taken_stays_as_it_is) {
    tarn_writer *writer = open_writer(NULL);
    tarn_reader *reader = open_reader(READER_OPTIONS(.max_held = 3));
    int key = take_key(writer, "big");
    look_up(reader, "big");
    size_t bytes = 3 * 1000 * 1000;
    char *data = malloc(bytes);
    tarn_message held[3], more;
    for (uint64_t i = 1; i <= 3; i++) {
        fill_pattern(data, bytes, i);
        CHECK_STATUS(tarn_writer_set(writer, key, data, bytes), 1);
        CHECK_STATUS(tarn_reader_take(reader, key, &held[i - 1]), 1);
        CHECK_INT(held[i - 1].sequence, ==, i);
        CHECK(held[i - 1].publisher == tarn_writer_identity(writer));
    }
    CHECK_STATUS(tarn_reader_take(reader, key, &more), TARN_ERROR_HOLDING);
    for (uint64_t i = 4; i <= 30; i++) {
        fill_pattern(data, bytes, i);
        CHECK_STATUS(tarn_writer_set(writer, key, data, bytes), 1);
    }
    for (uint64_t i = 1; i <= 3; i++) {
        CHECK_INT(held[i - 1].bytes, ==, bytes);
        CHECK(check_pattern(held[i - 1].data, bytes, i));
    }
    release(&held[1]);
    CHECK_STATUS(tarn_reader_take(reader, key, &more), 1);
    CHECK_INT(more.sequence, ==, 30);
    CHECK(check_pattern(more.data, bytes, 30));
    CHECK(check_pattern(held[0].data, bytes, 1));
    close_both(writer, reader);
    CHECK(check_pattern(held[2].data, bytes, 3)); /* also when both have left */
    release(&held[0]);
    release(&held[2]);
    release(&more);
    CHECK_STATUS(tarn_message_release(&more), TARN_ERROR_RELEASED);
    free(data);
}

TEST_LIMIT(a_thousand_keys, 60) {
    tarn_writer *writer = open_writer(NULL);
    tarn_reader *reader = open_reader(NULL);
    int keys[1000];
    char name[64];
    const char *first = NULL; /* valid until the reader is closed */
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "sensor/%d/temperature", i);
        keys[i] = take_key(writer, name);
        CHECK_INT(look_up(reader, name), ==, keys[i]);
        first = first ? first : tarn_reader_key_name(reader, keys[i]);
        CHECK(strcmp(tarn_reader_key_name(reader, keys[i]), name) == 0);
    }
    CHECK_INT(tarn_reader_keys(reader), ==, 1000);
    CHECK(first == tarn_reader_key_name(reader, keys[0]) && strcmp(first, "sensor/0/temperature") == 0);
    CHECK_STATUS(tarn_reader_key(reader, first), keys[0]);
    for (int round = 1; round <= 20; round++) {
        for (int i = 0; i < 1000; i++) {
            snprintf(name, sizeof(name), "%d of %d", round, i);
            set_text(writer, keys[i], name);
        }
        for (int i = 0; i < 1000; i++) {
            snprintf(name, sizeof(name), "%d of %d", round, i);
            expect_text(reader, keys[i], name, (uint64_t)round);
        }
    }
    CHECK(tarn_reader_key_name(reader, 1000) == NULL);
    CHECK(tarn_reader_key_name(reader, -1) == NULL);
    close_both(writer, reader);
}

TEST(there_are_so_many_keys) {
    tarn_writer *writer = open_writer(NULL);
    tarn_reader *reader = open_reader(NULL);
    struct topic *topic;
    uint32_t slot;
    /* all the others as made by a peer, as looking each up would take long */
    take_key(writer, "first");
    process_lock();
    CHECK_STATUS(topic_join(&topic, &slot, BOARD, NULL, NULL, SUBSCRIBER, PATTERN_BLACKBOARD), 0);
    struct key_directory *directory = roster_block(&topic->roster, atomic_load(&topic->roster.header->pattern_block));
    struct roster_taker taker = {0};
    for (uint32_t b = 0; b < KEY_BLOCKS_MAX; b++) {
        int64_t block = roster_link_block(&topic->roster, &directory->blocks[b], BLOCK_PATTERN, 0, &taker);
        CHECK_INT(block, >, 0);
        struct board_key *keys = roster_block(&topic->roster, (uint32_t)block);
        for (uint32_t i = b ? 0 : 1; i < KEYS_PER_BLOCK; i++)
            keys[i].hash = 2 + b * KEYS_PER_BLOCK + i;
    }
    subscriber_slot_clear(topic, slot, false);
    topic_leave(topic, SUBSCRIBER, slot);
    process_unlock();
    CHECK_INT(tarn_reader_keys(reader), ==, KEYS_MAX);
    CHECK_STATUS(tarn_reader_key(reader, "more"), TARN_ERROR_LIMIT);
    CHECK_STATUS(tarn_writer_key(writer, "more"), TARN_ERROR_LIMIT);
    CHECK(strstr(tarn_error(), "16384") != NULL);
    CHECK_INT(look_up(reader, "first"), ==, 0);
    close_both(writer, reader);
}

/* ---- loans ---------------------------------------------------------------------------------------------------- */

TEST(a_loan_sets_without_a_copy) {
    tarn_writer *writer = open_writer(WRITER_OPTIONS(.alignment = 4096));
    tarn_reader *reader = open_reader(NULL);
    int key = take_key(writer, "a");
    look_up(reader, "a");
    tarn_loan first, second, third;
    CHECK_STATUS(tarn_writer_loan(writer, key, 10, &first), 1);
    CHECK_INT((uintptr_t)first.data % 4096, ==, 0);
    CHECK_STATUS(tarn_writer_loan(writer, key, 10, &second), 1);
    CHECK_STATUS(tarn_writer_loan(writer, key, 1000000, &third), 1);
    memcpy(second.data, "second", 6);
    memcpy(first.data, "first", 5);
    expect_nothing(reader, key);
    second.bytes = 6;
    CHECK_STATUS(tarn_loan_send(&second), 1);
    expect_text(reader, key, "second", 1);
    first.bytes = 11;
    CHECK_STATUS(tarn_loan_send(&first), TARN_ERROR_ARGUMENT);
    first.bytes = 5;
    tarn_loan copy = first;
    CHECK_STATUS(tarn_loan_send(&first), 1);
    expect_text(reader, key, "first", 2);
    CHECK_STATUS(tarn_loan_send(&first), TARN_ERROR_RELEASED);
    CHECK_STATUS(tarn_loan_send(&copy), TARN_ERROR_RELEASED);
    CHECK_STATUS(tarn_loan_drop(&copy), TARN_ERROR_RELEASED);
    CHECK_STATUS(tarn_loan_drop(&third), 0);
    CHECK_STATUS(tarn_writer_loan(writer, key, 10, &first), 1);
    CHECK_STATUS(tarn_writer_release_key(writer, key), 0);
    CHECK_STATUS(tarn_loan_send(&first), TARN_ERROR_TAKEN);
    CHECK_STATUS(tarn_loan_drop(&first), 0);
    expect_text(reader, key, "first", 2);
    CHECK_INT(take_key(writer, "a"), ==, key);
    CHECK_STATUS(tarn_writer_loan(writer, key, 10, &first), 1);
    close_both(writer, reader);
    CHECK_STATUS(tarn_loan_send(&first), TARN_ERROR_CLOSED);
}

/* ---- who writes ----------------------------------------------------------------------------------------------- */

TEST(a_key_has_one_writer) {
    tarn_writer *one = open_writer(NULL), *other = open_writer(NULL);
    tarn_reader *reader = open_reader(NULL);
    int key = take_key(one, "a");
    look_up(reader, "a");
    CHECK_STATUS(tarn_writer_key(other, "a"), TARN_ERROR_TAKEN);
    CHECK(strstr(tarn_error(), "unit_board") != NULL);
    CHECK_STATUS(tarn_writer_set(other, key, "x", 1), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_writer_release_key(other, key), TARN_ERROR_ARGUMENT);
    set_text(one, key, "one");
    set_text(one, key, "one again");
    CHECK_STATUS(tarn_writer_release_key(one, key), 0);
    CHECK_STATUS(tarn_writer_set(one, key, "x", 1), TARN_ERROR_ARGUMENT);
    expect_text(reader, key, "one again", 2);
    CHECK_INT(take_key(other, "a"), ==, key);
    expect_text(reader, key, "one again", 2); /* where it was */
    CHECK_STATUS(tarn_writer_key(one, "a"), TARN_ERROR_TAKEN);
    set_text(other, key, "other");
    expect_text(reader, key, "other", 3);
    CHECK_INT(tarn_writer_close(one), >=, 0);
    expect_text(reader, key, "other", 3);
    close_both(other, reader);
}

TEST(a_key_goes_to_and_fro) {
    tarn_writer *writers[2] = {open_writer(NULL), open_writer(NULL)};
    tarn_reader *reader = open_reader(NULL);
    int key = look_up(reader, "a");
    char text[32];
    for (uint64_t i = 1; i <= 3000; i++) {
        tarn_writer *writer = writers[i % 2];
        take_key(writer, "a");
        snprintf(text, sizeof(text), "value %d", (int)i);
        set_text(writer, key, text);
        if (i % 3)
            expect_text(reader, key, text, i);
        CHECK_STATUS(tarn_writer_release_key(writer, key), 0);
    }
    expect_text(reader, key, text, 3000);
    CHECK_INT(tarn_writer_close(writers[0]), >=, 0);
    close_both(writers[1], reader);
}

TEST(values_outlive_their_writer_with_a_reader) {
    tarn_writer *writer = open_writer(NULL);
    tarn_reader *reader = open_reader(NULL);
    int a = take_key(writer, "a"), b = take_key(writer, "b");
    set_text(writer, a, "kept");
    set_text(writer, b, "kept, too");
    CHECK_STATUS(tarn_writer_readers(writer, NULL), 0);
    look_up(reader, "a"); /* that attaches it */
    CHECK_STATUS(tarn_writer_readers(writer, NULL), 1);
    uint64_t ever;
    CHECK_STATUS(tarn_writer_readers(writer, &ever), 1);
    CHECK_INT(ever, ==, 1);
    CHECK_STATUS(tarn_writer_close(writer), 1);
    expect_text(reader, a, "kept", 1);
    tarn_reader *newcomer = open_reader(NULL);
    expect_text(newcomer, look_up(newcomer, "b"), "kept, too", 1);
    CHECK_STATUS(tarn_reader_close(reader), 0);
    expect_text(newcomer, look_up(newcomer, "a"), "kept", 1);
    writer = open_writer(NULL);
    CHECK_INT(take_key(writer, "a"), ==, a);
    expect_text(newcomer, a, "kept", 1);
    set_text(writer, a, "new");
    expect_text(newcomer, a, "new", 2);
    close_both(writer, newcomer);
}

/* Not before the reader's next call, of which the writer can wait. */
TEST(values_in_memory_that_is_added_outlive_their_writer_too) {
    static char large[800000], copy[800000];
    tarn_writer *writer = open_writer(NULL);
    tarn_reader *reader = open_reader(NULL);
    int changed;
    set_text(writer, take_key(writer, "small"), "first");
    expect_text(reader, look_up(reader, "small"), "first", 1);
    CHECK_STATUS(tarn_writer_readers(writer, NULL), 1);
    fill_pattern(large, sizeof(large), 1);
    CHECK_STATUS(tarn_writer_set(writer, take_key(writer, "large"), large, sizeof(large)), 1);
    CHECK_STATUS(tarn_writer_readers(writer, NULL), 0);
    CHECK_STATUS(tarn_reader_changed(reader, &changed), 0); /* it has read all that it has asked for */
    CHECK_STATUS(tarn_writer_readers(writer, NULL), 1);
    CHECK_STATUS(tarn_writer_close(writer), 1);
    CHECK_STATUS(tarn_reader_get(reader, look_up(reader, "large"), copy, sizeof(copy), NULL), 1);
    CHECK(check_pattern(copy, sizeof(copy), 1));
    CHECK_STATUS(tarn_reader_close(reader), 0);
}

TEST(values_go_with_the_last_that_has_them) {
    tarn_reader *reader = open_reader(NULL);
    tarn_writer *writer = open_writer(NULL);
    int a = take_key(writer, "a");
    set_text(writer, a, "one");
    set_text(writer, a, "two");
    CHECK_STATUS(tarn_writer_close(writer), 0); /* nobody has read it */
    CHECK_INT(look_up(reader, "a"), ==, a);
    expect_nothing(reader, a);
    writer = open_writer(NULL);
    take_key(writer, "a");
    expect_nothing(reader, a);
    set_text(writer, a, "three");
    expect_text(reader, a, "three", 3); /* versions go on all the same */
    close_both(writer, reader);
}

TEST(who_reads_of_a_writer_again_counts_again) {
    tarn_writer *one = open_writer(NULL), *other = open_writer(NULL);
    tarn_reader *reader = open_reader(NULL);
    tarn_message held;
    int a = take_key(one, "a"), b = take_key(one, "b");
    set_text(one, a, "one");
    CHECK_STATUS(tarn_reader_take(reader, look_up(reader, "a"), &held), 1);
    CHECK_STATUS(tarn_writer_readers(one, NULL), 1);
    look_up(reader, "b");
    CHECK_STATUS(tarn_writer_release_key(one, a), 0);
    set_text(other, take_key(other, "a"), "other");
    expect_text(reader, a, "other", 2);
    CHECK_STATUS(tarn_writer_readers(one, NULL), 0); /* what is held is no latest value */
    set_text(one, b, "again");
    expect_text(reader, b, "again", 1);
    CHECK_STATUS(tarn_writer_readers(one, NULL), 1);
    release(&held);
    CHECK_STATUS(tarn_writer_readers(one, NULL), 1);
    CHECK_INT(tarn_writer_close(other), >=, 0);
    close_both(one, reader);
}

/* ---- waiting -------------------------------------------------------------------------------------------------- */

struct delayed {
    tarn_writer *writer;
    tarn_reader *reader;
    int key;
};

static void *set_later(void *arg) {
    struct delayed *delayed = arg;
    usleep(50000);
    set_text(delayed->writer, delayed->key, "later");
    return NULL;
}

static void *interrupt_later(void *arg) {
    struct delayed *delayed = arg;
    usleep(50000);
    CHECK_STATUS(tarn_reader_interrupt(delayed->reader), 0);
    return NULL;
}

TEST(waits_for_a_version) {
    tarn_writer *writer = open_writer(NULL);
    tarn_reader *reader = open_reader(READER_OPTIONS(.wait_strategy = TARN_WAIT_SLEEP));
    int key = look_up(reader, "a");
    struct delayed delayed = {writer, reader, take_key(writer, "a")};
    pthread_t thread;
    CHECK_STATUS(tarn_reader_wait_key(reader, key, 0, 0), 0);
    CHECK_STATUS(tarn_reader_wait_key(reader, key, 0, 1000000), 0);
    CHECK(pthread_create(&thread, NULL, set_later, &delayed) == 0);
    CHECK_STATUS(tarn_reader_wait_key(reader, key, 0, TARN_FOREVER), 1);
    pthread_join(thread, NULL);
    CHECK_STATUS(tarn_reader_wait_key(reader, key, 0, 0), 1);
    CHECK_STATUS(tarn_reader_wait_key(reader, key, 1, 1000000), 0);
    CHECK(pthread_create(&thread, NULL, interrupt_later, &delayed) == 0);
    CHECK_STATUS(tarn_reader_wait_key(reader, key, 1, TARN_FOREVER), TARN_ERROR_INTERRUPTED);
    pthread_join(thread, NULL);
    close_both(writer, reader);
}

TEST(tells_which_keys_changed) {
    tarn_writer *writer = open_writer(NULL);
    tarn_reader *reader = open_reader(NULL);
    int a = take_key(writer, "a"), b = take_key(writer, "b"), c = take_key(writer, "c"), changed = -7;
    look_up(reader, "a");
    look_up(reader, "b");
    CHECK_STATUS(tarn_reader_changed(reader, &changed), 0);
    CHECK_INT(changed, ==, -7);
    set_text(writer, c, "not looked up");
    CHECK_STATUS(tarn_reader_changed(reader, &changed), 0);
    CHECK_STATUS(tarn_reader_wait(reader, 0), 0);
    set_text(writer, a, "1");
    set_text(writer, b, "1");
    CHECK_STATUS(tarn_reader_wait(reader, TARN_FOREVER), 1);
    CHECK_STATUS(tarn_reader_changed(reader, &changed), 1);
    CHECK_INT(changed, ==, a);
    CHECK_STATUS(tarn_reader_changed(reader, &changed), 1); /* they take turns, though it was not read */
    CHECK_INT(changed, ==, b);
    expect_text(reader, b, "1", 1);
    CHECK_STATUS(tarn_reader_changed(reader, &changed), 1);
    CHECK_INT(changed, ==, a);
    expect_text(reader, a, "1", 1);
    CHECK_STATUS(tarn_reader_changed(reader, &changed), 0);
    set_text(writer, b, "2");
    tarn_message message;
    CHECK_STATUS(tarn_reader_changed(reader, &changed), 1);
    CHECK_INT(changed, ==, b);
    CHECK_STATUS(tarn_reader_take(reader, b, &message), 1);
    CHECK_STATUS(tarn_reader_changed(reader, &changed), 0);
    release(&message);
    close_both(writer, reader);
}

static bool is_readable(int fd, int timeout_ms) {
    struct pollfd poll_fd = {fd, POLLIN, 0};
    return poll(&poll_fd, 1, timeout_ms) == 1;
}

static bool cannot_attach;

/* In place of libc's. */
void *shmat(int id, const void *address, int flags) {
    if (cannot_attach) {
        errno = ENOMEM;
        return (void *)-1;
    }
    return (void *)syscall(SYS_shmat, id, address, flags);
}

/* What cannot be looked at for want of memory is told, hides no other key, and is there when memory is. */
TEST(a_change_without_memory_to_see_it_is_not_forgotten) {
    static char large[800000];
    tarn_writer *writer = open_writer(NULL);
    tarn_reader *reader = open_reader(NULL);
    int a = take_key(writer, "a"), b = take_key(writer, "b"), changed;
    set_text(writer, a, "x");
    expect_text(reader, look_up(reader, "a"), "x", 1);
    look_up(reader, "b");
    set_text(writer, b, "y");
    CHECK_STATUS(tarn_writer_set(writer, a, large, sizeof(large)), 1); /* in memory that it adds */
    cannot_attach = true;
    CHECK_STATUS(reader_waitable.look(reader), TARN_ERROR_NO_MEMORY);
    CHECK_STATUS(tarn_reader_changed(reader, &changed), TARN_ERROR_NO_MEMORY);
    int status;
    while ((status = tarn_reader_changed(reader, &changed)) == TARN_ERROR_NO_MEMORY)
        ; /* where it took so long to come here */
    CHECK_STATUS(status, 1);
    CHECK_INT(changed, ==, b);
    expect_text(reader, b, "y", 1);
    CHECK_STATUS(tarn_reader_wait(reader, INT64_C(10000000000)), TARN_ERROR_NO_MEMORY);
    cannot_attach = false;
    CHECK_STATUS(tarn_reader_wait(reader, INT64_C(10000000000)), 1);
    CHECK_STATUS(tarn_reader_changed(reader, &changed), 1);
    CHECK_INT(changed, ==, a);
    close_both(writer, reader);
}

TEST(descriptor_tells_of_changes) {
    tarn_writer *writer = open_writer(NULL);
    tarn_reader *reader = open_reader(NULL);
    int key = take_key(writer, "a"), changed;
    look_up(reader, "a");
    int fd = tarn_reader_fd(reader);
    CHECK_INT(fd, >=, 0);
    while (tarn_reader_changed(reader, &changed) == 1)
        FAIL("nothing has changed");
    CHECK(!is_readable(fd, 0));
    set_text(writer, key, "1");
    CHECK(is_readable(fd, 5000));
    CHECK_STATUS(tarn_reader_changed(reader, &changed), 1);
    CHECK(is_readable(fd, 0)); /* until it was read */
    expect_text(reader, key, "1", 1);
    CHECK_STATUS(tarn_reader_changed(reader, &changed), 0);
    CHECK(!is_readable(fd, 0));
    set_text(writer, key, "2");
    CHECK(is_readable(fd, 5000));
    close_both(writer, reader);
}

/* ---- memory --------------------------------------------------------------------------------------------------- */

TEST(full_of_values) {
    tarn_writer *writer = open_writer(WRITER_OPTIONS(.memory_limit_bytes = 1 * MIB));
    tarn_reader *reader = open_reader(NULL);
    char *data = calloc(1, 2 * MIB), name[16];
    int keys[16], count = 0, status = 1;
    for (; count < 16 && status == 1; count++) {
        snprintf(name, sizeof(name), "%d", count);
        keys[count] = take_key(writer, name);
        status = tarn_writer_set(writer, keys[count], data, 200 * KIB);
    }
    CHECK_STATUS(status, TARN_ERROR_FULL);
    CHECK(strstr(tarn_error(), "values") != NULL);
    CHECK_INT(count, >=, 5);
    CHECK_STATUS(tarn_writer_set(writer, keys[0], data, 2 * MIB), TARN_ERROR_TOO_BIG);
    CHECK_INT(look_up(reader, "0"), ==, keys[0]);
    expect_nothing(reader, keys[count - 1]);
    tarn_message held;
    CHECK_STATUS(tarn_reader_take(reader, keys[0], &held), 1); /* what readers hold is beyond the limit */
    CHECK_STATUS(tarn_writer_set(writer, keys[0], "", 0), 1);
    CHECK_STATUS(tarn_writer_set(writer, keys[count - 1], data, 200 * KIB), 1);
    CHECK_INT(held.bytes, ==, 200 * KIB);
    release(&held);
    free(data);
    close_both(writer, reader);
}

static uint64_t bytes_held(void) {
    struct inspect_domain *domain;
    CHECK_STATUS(inspect_domain_open(&domain, NULL, NULL), 0);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < domain->topic_count; i++)
        for (uint32_t j = 0; j < domain->topics[i].participant_count; j++)
            bytes += domain->topics[i].participants[j].bytes_held;
    inspect_domain_close(domain);
    return bytes;
}

/* Who needs no space asks for who has held something for seconds, too. */
TEST(what_a_killed_reader_held_is_given_back) {
    char *large = calloc(1, 4 * MIB), small[100] = {0};
    tarn_writer *writer = open_writer(NULL);
    int ready[2], key = take_key(writer, "key");
    CHECK_STATUS(tarn_writer_set(writer, key, large, 4 * MIB), 1);
    CHECK_INT(pipe(ready), ==, 0);
    pid_t pid = fork();
    if (pid == 0) {
        tarn_message value;
        tarn_reader *reader = open_reader(NULL);
        CHECK_STATUS(tarn_reader_take(reader, look_up(reader, "key"), &value), 1);
        CHECK_INT(write(ready[1], "", 1), ==, 1);
        pause();
    }
    CHECK_INT(read(ready[0], small, 1), ==, 1);
    CHECK_INT(kill(pid, SIGKILL), ==, 0);
    CHECK_INT(wait_child(pid, 10), ==, -SIGKILL);
    CHECK_INT(bytes_held(), >=, 4 * MIB);
    for (int tries = 0; bytes_held() >= 4 * MIB; tries++) {
        CHECK_INT(tries, <, 15000);
        for (int i = 0; i < 1000; i++)
            CHECK_STATUS(tarn_writer_set(writer, key, small, sizeof(small)), 1);
        usleep(1000);
    }
    close(ready[0]);
    close(ready[1]);
    free(large);
    CHECK_STATUS(tarn_writer_close(writer), 0);
}

/* Each in an extent of its own, as something else was set in between: they are moved together. */
TEST(values_set_once_in_a_while_are_packed) {
    tarn_writer *writer = open_writer(NULL);
    tarn_reader *reader = open_reader(NULL);
    int hot = take_key(writer, "hot"), keys[300], changed;
    char name[24], data[100] = {0};
    tarn_message held;
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "cold %d", i);
        name[4] = '-';
        keys[i] = take_key(writer, name);
        CHECK_INT(look_up(reader, name), ==, keys[i]);
        for (int j = 0; j <= i % 3; j++)
            set_text(writer, keys[i], name);
        expect_text(reader, keys[i], name, (uint64_t)i % 3 + 1);
        if (i == 10)
            CHECK_STATUS(tarn_reader_take(reader, keys[i], &held), 1);
        if (i == 20)
            CHECK_STATUS(tarn_writer_release_key(writer, keys[i]), 0); /* that one stays where it is */
        for (int j = 0; j < 600; j++)
            CHECK_STATUS(tarn_writer_set(writer, hot, data, sizeof(data)), 1);
    }
    CHECK_INT(bytes_held(), <, 1 * MIB);                    /* else it is 300 times 64 KiB */
    CHECK_STATUS(tarn_reader_changed(reader, &changed), 0); /* moved is not changed */
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "cold-%d", i);
        expect_text(reader, keys[i], name, (uint64_t)i % 3 + 1);
    }
    CHECK_INT(held.bytes, ==, 7);
    CHECK(memcmp(held.data, "cold-10", 7) == 0);
    release(&held);
    close_both(writer, reader);
}

/* ---- refusals ------------------------------------------------------------------------------------------------- */

TEST(names_that_are_none) {
    tarn_writer *writer = open_writer(NULL);
    tarn_reader *reader = open_reader(NULL);
    char name[80];
    memset(name, 'x', sizeof(name));
    name[64] = 0;
    CHECK_STATUS(tarn_writer_key(writer, name), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_reader_key(reader, name), TARN_ERROR_ARGUMENT);
    name[TARN_KEY_BYTES_MAX] = 0;
    CHECK_INT(take_key(writer, name), ==, 0);
    CHECK_INT(look_up(reader, name), ==, 0);
    CHECK_STATUS(tarn_writer_key(writer, ""), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_writer_key(writer, "a b"), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_writer_key(writer, "a\n"), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_writer_key(writer, NULL), TARN_ERROR_ARGUMENT);
    CHECK_INT(look_up(reader, "Geschwindigkeit/m\xc3\xbc"), ==, 1);
    close_both(writer, reader);
}

TEST(wrong_arguments) {
    tarn_writer *writer = open_writer(NULL), *none = NULL;
    tarn_reader *reader = open_reader(NULL), *no_reader = NULL;
    char buffer[8];
    tarn_message message;
    int key = take_key(writer, "a"), changed;
    CHECK_STATUS(tarn_writer_open(NULL, BOARD, NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_reader_open(NULL, BOARD, NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_writer_open(&none, BOARD, &(tarn_writer_options){0}), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_writer_open(&none, BOARD, WRITER_OPTIONS(.alignment = 3)), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_writer_open(&none, BOARD, WRITER_OPTIONS(.memory_limit_bytes = 1)), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_writer_open(&none, BOARD, WRITER_OPTIONS(.reserved = 1)), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_reader_open(&no_reader, BOARD, READER_OPTIONS(.max_held = 65537)), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_reader_open(&no_reader, BOARD, READER_OPTIONS(.wait_strategy = 9)), TARN_ERROR_ARGUMENT);
    CHECK(!none && !no_reader);
    CHECK_STATUS(tarn_writer_set(writer, key, NULL, 1), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_writer_set(writer, -1, "", 1), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_writer_set(writer, 1000000, "", 1), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_writer_loan(writer, key, 1, NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_reader_get(reader, -1, buffer, 8, NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_reader_get(reader, 1, buffer, 8, NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_reader_get(reader, KEYS_MAX, buffer, 8, NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_reader_take(reader, INT32_MAX, &message), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_reader_wait_key(reader, 77, 0, 0), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_reader_changed(reader, NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_reader_changed(reader, &changed), 0);
    set_text(writer, key, "x");
    CHECK_STATUS(tarn_reader_get(reader, key, NULL, 8, NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_reader_take(reader, key, NULL), TARN_ERROR_ARGUMENT);
    close_both(writer, reader);
}

static void expect_all(tarn_writer *writer, tarn_reader *reader, int expected) {
    char buffer[8];
    tarn_message message;
    tarn_loan loan;
    int changed;
    CHECK_STATUS(tarn_writer_key(writer, "a"), expected);
    CHECK_STATUS(tarn_writer_set(writer, 0, "", 1), expected);
    CHECK_STATUS(tarn_writer_loan(writer, 0, 1, &loan), expected);
    CHECK_STATUS(tarn_writer_release_key(writer, 0), expected);
    CHECK(tarn_writer_identity(writer) == 0);
    CHECK_STATUS(tarn_writer_readers(writer, NULL), expected);
    CHECK_STATUS(tarn_reader_key(reader, "a"), expected);
    CHECK_STATUS(tarn_reader_get(reader, 0, buffer, 8, NULL), expected);
    CHECK_STATUS(tarn_reader_take(reader, 0, &message), expected);
    CHECK_STATUS(tarn_reader_wait_key(reader, 0, 0, 0), expected);
    CHECK_STATUS(tarn_reader_changed(reader, &changed), expected);
    CHECK_STATUS(tarn_reader_wait(reader, 0), expected);
    CHECK_STATUS(tarn_reader_interrupt(reader), expected);
    CHECK_STATUS(tarn_reader_fd(reader), expected);
    CHECK_STATUS(tarn_reader_keys(reader), expected);
    CHECK(tarn_reader_key_name(reader, 0) == NULL);
    if (writer) {
        CHECK_STATUS(tarn_writer_close(writer), expected);
        CHECK_STATUS(tarn_reader_close(reader), expected);
    }
}

TEST(handles_that_are_none) {
    tarn_writer *writer = open_writer(NULL);
    tarn_reader *reader = open_reader(NULL);
    set_text(writer, take_key(writer, "a"), "x");
    look_up(reader, "a");
    tarn_loan loan;
    tarn_message message;
    CHECK_STATUS(tarn_writer_loan(writer, 0, 8, &loan), 1);
    CHECK_STATUS(tarn_reader_take(reader, 0, &message), 1);
    pid_t pid = fork();
    if (pid == 0) {
        expect_all(writer, reader, TARN_ERROR_FORKED);
        CHECK_STATUS(tarn_loan_send(&loan), TARN_ERROR_FORKED);
        CHECK_STATUS(tarn_loan_drop(&loan), TARN_ERROR_FORKED);
        CHECK_STATUS(tarn_message_release(&message), TARN_ERROR_FORKED);
        _exit(0);
    }
    CHECK_INT(wait_child(pid, 10), ==, 0);
    expect_all(NULL, NULL, TARN_ERROR_ARGUMENT);
    expect_all((tarn_writer *)reader, (tarn_reader *)writer, TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_writer_close(NULL), 0);
    CHECK_STATUS(tarn_reader_close(NULL), 0);
    CHECK_STATUS(tarn_writer_set(writer, 0, "y", 1), 1); /* all that did not hurt */
    expect_text(reader, 0, "y", 2);
    release(&message);
    close_both(writer, reader);
    expect_all(writer, reader, TARN_ERROR_CLOSED);
}

TEST(one_topic_one_pattern) {
    tarn_writer *writer = open_writer(NULL);
    tarn_publisher *publisher = NULL;
    CHECK_STATUS(tarn_publisher_open(&publisher, BOARD, NULL), TARN_ERROR_PATTERN);
    CHECK_INT(tarn_writer_close(writer), >=, 0);
    publisher = open_publisher(BOARD, NULL);
    CHECK_STATUS(tarn_writer_open(&writer, BOARD, NULL), TARN_ERROR_PATTERN);
    tarn_reader *reader;
    CHECK_STATUS(tarn_reader_open(&reader, BOARD, NULL), TARN_ERROR_PATTERN);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

TEST(values_have_a_type) {
    tarn_type pose = {.struct_bytes = sizeof(pose), .name = "Pose", .bytes = 24};
    tarn_type twist = {.struct_bytes = sizeof(twist), .name = "Twist", .bytes = 48};
    tarn_writer *writer = open_writer(WRITER_OPTIONS(.type = &pose));
    tarn_reader *reader = open_reader(READER_OPTIONS(.type = &pose)), *other = NULL;
    CHECK_STATUS(tarn_reader_open(&other, BOARD, READER_OPTIONS(.type = &twist)), TARN_ERROR_TYPE);
    char data[25] = {0};
    int key = take_key(writer, "a");
    CHECK_STATUS(tarn_writer_set(writer, key, data, 25), TARN_ERROR_TOO_BIG);
    CHECK_STATUS(tarn_writer_set(writer, key, data, 24), 1);
    close_both(writer, reader);
}

/* ---- a peer that writes nonsense ------------------------------------------------------------------------------- */

static struct topic *hostile_topic;
static uint32_t hostile_slot;

/* This process joins once more, to write to the roster what it likes. */
static void join_as_peer(void) {
    process_lock();
    CHECK_STATUS(topic_join(&hostile_topic, &hostile_slot, BOARD, NULL, NULL, SUBSCRIBER, PATTERN_BLACKBOARD), 0);
    process_unlock();
}

static void leave_as_peer(void) {
    process_lock();
    subscriber_slot_clear(hostile_topic, hostile_slot, false);
    topic_leave(hostile_topic, SUBSCRIBER, hostile_slot);
    process_unlock();
}

static uint64_t choose_word(struct random *random, const struct board_key *key) {
    switch (random_between(random, 0, 6)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return random_next(random);
    case 3:
        return random_next(random) >> random_between(random, 0, 63);
    case 4:
        return atomic_load(&key->pairs[random_between(random, 0, 1)].place) + random_between(random, 0, 20) - 10;
    case 5:
        return place_word(
            extent_ref_make((uint32_t)random_between(random, 0, 3), (uint32_t)random_between(random, 0, 9)),
            8 * random_between(random, 0, 10000));
    default:
        return key_owner((uint32_t)random_between(random, 0, 5), (uint16_t)random_between(random, 0, 5));
    }
}

/*
 * Whatever stands in a key's words: an error, no value, or bytes that somebody wrote; never a crash, and never for
 * long.
 */
TEST_LIMIT(hostile_words, 60) {
    tarn_writer *writer = open_writer(NULL), *other = open_writer(NULL);
    tarn_reader *reader = open_reader(NULL);
    struct random random = random_start(1);
    int key = take_key(writer, "a"), changed;
    static char data[200000];
    look_up(reader, "a");
    join_as_peer();
    struct board_key *words = board_key(&hostile_topic->roster, (uint32_t)key);
    for (int i = 0; i < 20000; i++) {
        _Atomic uint64_t *all[] = {&words->current,        &words->pairs[0].owner, &words->pairs[0].place,
                                   &words->pairs[1].owner, &words->pairs[1].place, &words->holder,
                                   &words->version,        &words->name[0]};
        atomic_store(all[random_between(&random, 0, 7)], choose_word(&random, words));
        tarn_message message;
        if (tarn_reader_get(reader, key, data, sizeof(data), NULL) == 1)
            CHECK_INT(tarn_reader_get(reader, key, data, sizeof(data), NULL), ==, 1);
        if (tarn_reader_take(reader, key, &message) == 1)
            release(&message);
        tarn_reader_changed(reader, &changed);
        tarn_reader_wait_key(reader, key, random_next(&random), 0);
        if (random_one_in(&random, 4))
            tarn_writer_set(writer, key, data, random_between(&random, 0, 100));
        if (random_one_in(&random, 20))
            tarn_writer_release_key(writer, key);
        if (random_one_in(&random, 20))
            tarn_writer_release_key(other, key);
        if (random_one_in(&random, 10))
            tarn_writer_key(random_one_in(&random, 2) ? writer : other, "a");
        if (random_one_in(&random, 500)) {
            CHECK_INT(tarn_writer_close(other), >=, 0);
            other = open_writer(NULL);
        }
    }
    int good = take_key(writer, "b"); /* other keys are not concerned */
    look_up(reader, "b");
    set_text(writer, good, "fine");
    expect_text(reader, good, "fine", 1);
    leave_as_peer();
    CHECK_INT(tarn_writer_close(other), >=, 0);
    close_both(writer, reader);
}

/* Another had the key meanwhile, and was killed as it set it: so far only the version says so. */
TEST(a_version_that_was_told_and_not_set_is_the_next_ones) {
    tarn_writer *writer = open_writer(NULL);
    tarn_reader *reader = open_reader(NULL);
    int key = take_key(writer, "a");
    look_up(reader, "a");
    set_text(writer, key, "one");
    CHECK_STATUS(tarn_writer_release_key(writer, key), 0);
    join_as_peer();
    atomic_store(&board_key(&hostile_topic->roster, (uint32_t)key)->version, 2);
    leave_as_peer();
    CHECK_INT(take_key(writer, "a"), ==, key);
    expect_text(reader, key, "one", 1);
    set_text(writer, key, "two");
    expect_text(reader, key, "two", 2);
    close_both(writer, reader);
}

/* What a waitset has reported, the user's own call says again; and once. */
TEST(a_damaged_key_is_said_by_the_call_after_the_waitsets) {
    tarn_writer *writer = open_writer(NULL);
    tarn_reader *reader = open_reader(NULL);
    int key = take_key(writer, "a"), changed, fd = reader_waitable.fd(reader);
    look_up(reader, "a");
    join_as_peer();
    struct board_key *words = board_key(&hostile_topic->roster, (uint32_t)key);
    CHECK_STATUS(reader_waitable.look(reader), 0);
    CHECK(is_readable(fd, 0)); /* as before: nobody has asked */
    for (int looks = 0; looks < 2; looks++) {
        set_text(writer, key, "x");
        while (tarn_reader_changed(reader, &changed) == 1)
            expect_text(reader, key, "x", (uint64_t)(looks ? 3 : 1));
        CHECK_STATUS(reader_waitable.ready(reader), 0);
        CHECK(!is_readable(fd, 0));
        set_text(writer, key, "y");
        CHECK_STATUS(reader_waitable.look(reader), 1);
        CHECK_STATUS(reader_waitable.look(reader), 1);
        CHECK(is_readable(fd, 0));
        _Atomic uint64_t *place = &words->pairs[atomic_load(&words->current) & 1].place;
        uint64_t sound = atomic_exchange(place, UINT64_MAX);
        for (int i = 0; i < 2; i++)
            CHECK_STATUS((looks ? reader_waitable.look : reader_waitable.ready)(reader), TARN_ERROR_DAMAGED);
        CHECK_STATUS(tarn_reader_changed(reader, &changed), TARN_ERROR_DAMAGED);
        CHECK_STATUS(tarn_reader_changed(reader, &changed), 0);
        atomic_store(place, sound);
    }
    leave_as_peer();
    close_both(writer, reader);
}

/* Links to blocks of keys that lead nowhere, or to each other. */
TEST(hostile_links) {
    tarn_writer *writer = open_writer(NULL);
    tarn_reader *reader = open_reader(NULL);
    struct random random = random_start(1);
    set_text(writer, take_key(writer, "a"), "x");
    look_up(reader, "a");
    join_as_peer();
    struct roster_header *header = hostile_topic->roster.header;
    uint32_t sound = atomic_load(&header->pattern_block);
    struct key_directory *directory = roster_block(&hostile_topic->roster, sound);
    uint32_t first = atomic_load(&directory->blocks[0]);
    for (int i = 0; i < 300; i++) {
        uint32_t wrong =
            random_one_in(&random, 2) ? (uint32_t)random_between(&random, 0, 40) : (uint32_t)random_next(&random);
        atomic_store(&directory->blocks[random_between(&random, 0, 2)], wrong);
        if (random_one_in(&random, 3))
            atomic_store(&header->pattern_block, random_one_in(&random, 2) ? wrong : sound);
        char name[16];
        snprintf(name, sizeof(name), "%d", i);
        tarn_reader_keys(reader);
        tarn_reader_key_name(reader, i % 70);
        tarn_reader_key(reader, name);
        tarn_writer_key(writer, name);
    }
    atomic_store(&header->pattern_block, sound);
    atomic_store(&directory->blocks[0], first);
    leave_as_peer();
    CHECK_INT(tarn_writer_close(writer), >=, 0);
    CHECK_STATUS(tarn_reader_close(reader), 0);
}
