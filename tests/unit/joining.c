/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A subscriber that joins while a publisher adds a segment: between attaching what there was and walking to the log's end,
 * the log may have gone on in memory that is not attached yet. The moments are made by hand, on a publisher of the
 * test's own, in states that another process' publisher passes through.
 */
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

static void open_publisher(void) {
    struct segment_access access = {.group = getgid(), .directory_mode = 0700};
    struct segment_name name;
    struct extents_options options = {.access = access, .depth = 1000, .limit_bytes = 64 << 20};
    CHECK_INT(roster_create(&roster, &name, &access), ==, 0);
    publisher = roster_make_publisher(&roster, 0);
    atomic_store(&publisher->incarnation, 1);
    readers_init(&readers, &roster, publisher, 1);
    CHECK_INT(writer_open(&writer, &options, publisher, &readers, 1, 8, false), ==, 0);
    atomic_store(&publisher->state, SLOT_LIVE);
}

/* As core/subscriber.c makes a reader for a publisher that was there before. */
static void open_reader(void) {
    struct subscriber_slot *subscriber = roster_make_subscriber(&roster, 0);
    CHECK_INT(remote_open(&remote, publisher, 0, 1), ==, 0);
    CHECK_INT(holds_open(&holds, &roster, subscriber, 0, 1), ==, 0);
    holds.emptied = nothing_held;
    struct reader_row *row = roster_make_row(&roster, publisher, 0, &(struct roster_taker){.incarnation = 1});
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
