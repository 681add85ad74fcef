/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A subscriber that joins, or was overrun, while a publisher goes on: between two of its looks the log may have gone on
 * in memory that is not attached yet, and extents that it has just been told of may have come to be something else. The
 * moments are made by hand, on a publisher of the test's own, in states that another process' publisher passes through;
 * at the end one that only a hostile one is in.
 */
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "shm/reader.h"
#include "shm/writer.h"

static struct roster roster;
static struct publisher_slot *publisher;
static struct readers readers;
static struct writer writer;
static struct remote remote;
static struct holds holds;
static struct log_reader reader;

static void nothing_held(void *context) {
    (void)context;
}

/* With an extent to each message. */
static void open_publisher(void) {
    struct segment_access access = {.group = getgid(), .directory_mode = 0700};
    struct segment_name name;
    struct extents_options options = {.access = access, .depth = 1000, .limit_bytes = 64 << 20};
    CHECK_INT(roster_create(&roster, &name, &access), ==, 0);
    CHECK_INT(roster_make_publisher(&roster, 0), ==, 0);
    publisher = roster_publisher(&roster, 0);
    atomic_store(&publisher->incarnation, 1);
    readers_init(&readers, &roster, publisher, 1);
    CHECK_INT(writer_open(&writer, &options, publisher, &readers, 1, 8, false), ==, 0);
    atomic_store(&publisher->state, SLOT_LIVE);
}

/* As core/subscriber.c makes a reader for a publisher that was there before. */
static void open_reader(void) {
    struct reader_row *row;
    CHECK_INT(roster_make_subscriber(&roster, 0), ==, 0);
    struct subscriber_slot *subscriber = roster_subscriber(&roster, 0);
    CHECK_INT(remote_open(&remote, publisher, 0, 1), ==, 0);
    CHECK_INT(holds_open(&holds, &roster, subscriber, 0, 1), ==, 0);
    holds.emptied = nothing_held;
    CHECK_INT(roster_make_row(&row, &roster, publisher, 0, &(struct roster_taker){.incarnation = 1}), ==, 0);
    log_reader_init(&reader, &holds, &remote, row, 0, true);
}

static void send_one(void) {
    CHECK_INT(writer_reserve(&writer, 50000, EFFORT_ALL), ==, 0);
    if (!writer_commit(&writer))
        writer_settle(&writer);
}

static void close_all(void) {
    log_reader_stop(&reader);
    holds_end(&holds);
    holds_free(&holds);
    remote_close(&remote);
    writer_close(&writer);
    readers_free(&readers);
    roster_detach(&roster);
}

/* The log's last extent lies in a segment that was made after the joiner attached those there were. */
TEST_LIMIT(joins_behind_a_segment_just_added, 5) {
    open_publisher();
    send_one();
    open_reader();
    while (writer.extents.segment_count < 3)
        send_one();
    CHECK(log_reader_start_newest(&reader, 0));
    CHECK_INT(reader.sequence, ==, writer.sequence);
    CHECK_INT(reader.lost, ==, 0);
    close_all();
}

/* The same, met on the way: the extent named as newest is attached, and its jump leads to one that is not. That is the
   state between the two stores of advance() in writer.c. */
TEST_LIMIT(follows_a_jump_to_a_segment_just_added, 5) {
    extent_ref before = EXTENT_NONE;
    open_publisher();
    send_one();
    open_reader();
    while (extent_ref_segment(writer.head->ref) == 0) {
        before = writer.head->ref;
        send_one();
    }
    atomic_store(&extents_header(&writer.extents)->newest, before);
    CHECK(log_reader_start_newest(&reader, 0));
    CHECK_INT(reader.sequence, ==, writer.sequence);
    CHECK_INT(reader.lost, ==, 0);
    close_all();
}

/* ---- extents that come to be something else -------------------------------------------------------------------- */

/*
 * What the publisher does in the very moment in which the reader first touches a page of its mapping. Until then nobody
 * may touch it, and the fault that this makes is that moment.
 */
static struct {
    char *page;
    void (*meanwhile)(void);
    bool happened;
} touch;

static size_t page_bytes(void) {
    return (size_t)sysconf(_SC_PAGESIZE);
}

static void touched(int number, siginfo_t *info, void *context) {
    const char *at = info->si_addr;
    (void)context;
    if (at < touch.page || at >= touch.page + page_bytes()) {
        signal(number, SIG_DFL); /* another fault: it is raised again */
        return;
    }
    CHECK(mprotect(touch.page, page_bytes(), PROT_READ) == 0);
    touch.happened = true;
    touch.meanwhile();
}

static void when_touched(char *address, void (*meanwhile)(void)) {
    struct sigaction action = {.sa_sigaction = touched, .sa_flags = SA_SIGINFO};
    touch.page = address - (uintptr_t)address % page_bytes();
    touch.meanwhile = meanwhile;
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    CHECK(mprotect(touch.page, page_bytes(), PROT_NONE) == 0);
}

/* The publisher heeds the subscriber from now on, which is a best-effort one: it lets itself be overrun. */
static void join_best_effort(void) {
    struct subscriber_slot *subscriber = roster_subscriber(&roster, 0);
    reader.cursor = NULL;
    atomic_store(&subscriber->state, SLOT_JOINING);
    atomic_store(&roster.header->subscriber_slots, 1);
    atomic_fetch_add(&roster.header->changes, 1);
}

static void send_many(unsigned count) {
    for (; count > 0; count--)
        send_one();
}

static const struct extent *renamed;

/* On and on, until that extent is readied for messages that are not sent yet. */
static void send_until_readied(void) {
    for (int i = 0; i < 1000; i++) {
        if (writer.ahead == renamed && writer.ahead->generation)
            return;
        send_one();
    }
    FAIL("the extent is not readied again");
}

/* The same, until it has later messages. */
static void send_until_used(void) {
    uint64_t sequence = writer.sequence;
    for (int i = 0; i < 1000; i++) {
        if (renamed->state == EXTENT_LOG && renamed->first_sequence > sequence)
            return;
        send_one();
    }
    FAIL("the extent is not used again");
}

static tarn_message take_one(void) {
    tarn_message message;
    CHECK_INT(log_reader_look(&reader), ==, READER_MESSAGE);
    CHECK_INT(log_reader_take(&reader, &message), ==, READER_TAKEN);
    hold_release(message.held_by);
    return message;
}

/* What is in the log comes, and what is sent from here on, each with its number. */
static void check_goes_on(void) {
    while (reader.sequence < writer.sequence)
        take_one();
    for (int i = 0; i < 5; i++) {
        CHECK_INT(log_reader_look(&reader), ==, READER_EMPTY);
        send_one();
        tarn_message message = take_one();
        CHECK_INT(message.sequence, ==, writer.sequence - 1);
        CHECK_INT(message.lost, ==, 0);
    }
}

/*
 * Where the log begins and ends, and what is used again, is in the second segment, whose table has a page of its own.
 */
static void use_second_segment(void) {
    writer.extents.options.depth = 20;
    send_many(40);
    writer.extents.options.depth = 3;
    send_many(20);
    for (int i = 0; i < 100; i++) {
        if (extent_ref_segment(writer.head->ref) == 1 && extent_ref_segment(writer.extents.log.head->ref) == 1)
            return;
        send_one();
    }
    FAIL("the log does not come to the second segment");
}

/* Told that it is the newest, the joiner looks up its generation: by then it is that of messages to come. */
TEST_LIMIT(newest_extent_is_renamed_before_a_joiner_enters, 5) {
    open_publisher();
    use_second_segment();
    open_reader();
    join_best_effort();
    renamed = writer.head;
    when_touched(remote.segments[1].base, send_until_readied);
    CHECK(log_reader_start_newest(&reader, 0));
    CHECK(touch.happened);
    CHECK_INT(reader.sequence, ==, writer.sequence);
    check_goes_on();
    close_all();
}

/* The same, told that it is the oldest, to one that was overrun. */
TEST_LIMIT(oldest_extent_is_renamed_before_one_overrun_enters, 5) {
    open_publisher();
    send_one();
    open_reader();
    join_best_effort();
    CHECK(log_reader_start_newest(&reader, 0));
    uint64_t next = reader.sequence;
    use_second_segment();
    CHECK_INT(remote_attach_all(&remote), ==, 0);
    take_one(); /* it lies where the reader was all the time */
    renamed = writer.extents.log.head;
    when_touched(remote.segments[1].base, send_until_readied);
    CHECK_INT(log_reader_look(&reader), ==, READER_MESSAGE);
    CHECK(touch.happened);
    CHECK_INT(reader.sequence, ==, writer.extents.log.head->first_sequence);
    CHECK_INT(reader.lost, ==, reader.sequence - next - 1);
    check_goes_on();
    close_all();
}

/*
 * A joiner that asks for history looks through the tables for the extent where that begins. The second page of the
 * fourth segment's table, all unused, comes last; then it goes back to the one that it found.
 */
TEST_LIMIT(extent_with_history_is_renamed_before_a_joiner_enters, 5) {
    enum { HISTORY = 30 };
    open_publisher();
    writer.extents.options.depth = 70;
    send_many(200);
    open_reader();
    join_best_effort();
    CHECK_INT(writer.extents.segment_count, ==, 4);
    char *last = remote.segments[3].base + remote.segments[3].table_offset +
                 (remote.segments[3].extent_count - 1) * sizeof(struct extent_entry);
    for (const struct extent *extent = writer.extents.log.head; extent; extent = extent->next)
        if (extent->first_sequence == writer.sequence - HISTORY)
            renamed = extent;
    when_touched(last, send_until_used);
    CHECK(log_reader_start_newest(&reader, HISTORY));
    CHECK(touch.happened);
    CHECK_INT(reader.sequence, ==, writer.sequence - HISTORY);
    check_goes_on();
    close_all();
}

/* The jump at the end of an extent that has one message. */
static struct record_jump *jump_of(const struct extent *extent) {
    uint64_t word = atomic_load(word_at(extent->base, 0));
    char *end = extent->base + RECORD_HEADER_BYTES + round_up(word & RECORD_SIZE_MASK, 8) + record_pad_bytes(word);
    CHECK_INT(atomic_load(word_at(end, 0)) >> RECORD_KIND_SHIFT, ==, RECORD_JUMP);
    return (void *)(end + RECORD_HEADER_BYTES);
}

/* What no publisher writes: its newest extent leads to no segment, and the one named as the oldest is retired for ever. */
TEST_LIMIT(joining_ends_where_the_log_goes_on_nowhere, 5) {
    open_publisher();
    for (int i = 0; i < 5; i++)
        send_one();
    open_reader();
    struct segment_header *header = extents_header(&writer.extents);
    struct extent *first = writer.extents.log.head, *second = first->next;
    atomic_store(&jump_of(first)->extent, extent_ref_make(SEGMENTS_MAX - 1, 0));
    atomic_store(&second->entry->generation, 0);
    atomic_store(&header->oldest, second->ref);
    atomic_store(&header->newest, first->ref);
    CHECK(!log_reader_start_newest(&reader, 0));
    CHECK(!log_reader_start_newest(&reader, 3));
    close_all();
}
