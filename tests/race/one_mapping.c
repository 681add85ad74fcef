/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The log's protocol of holds, words and retirement under ThreadSanitizer: one writer thread and several reader threads
 * over ONE mapping. Through the public API a publisher's memory is mapped twice in a process, writable for itself and
 * read-only for the readers, and ThreadSanitizer, which goes by addresses, sees no conflict between the two. So here
 * the readers' struct remote is filled with the writer's own base pointers: what reader.c reads are the addresses that
 * writer.c and extents.c write, payload included, and a memory that is used again too early is a reported race.
 *
 * Everything else is the real thing: a roster with slots and rows, holds in cells, words, the change counter. The
 * writer is a realtime one, whose first segment is its only one, so there is nothing to attach later; and the few
 * extents in it are retired and used again all the time.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "shm/reader.h"
#include "shm/writer.h"

#define READERS_MOST 4
#define HELD_MOST 6
#define QUEUE 64

struct world {
    struct roster roster;
    struct publisher_slot *publisher;
    struct readers readers;
    struct writer writer;
    struct remote remote;
    uint64_t messages; /* to be sent */
    size_t bytes_most;
    bool reliable, loans;
    uint32_t reader_count;
    _Atomic uint32_t joins; /* nothing is sent before there is one for each reader, or a late one might see nothing */
    _Atomic bool done;
};

static struct world world;

/* ---- building ------------------------------------------------------------------------------------------------- */

static void open_world(uint64_t limit_bytes) {
    struct segment_access access = {.group = getgid(), .directory_mode = 0700};
    struct segment_name name;
    CHECK_INT(roster_create(&world.roster, &name, &access), ==, 0);
    CHECK_INT(roster_make_publisher(&world.roster, 0), ==, 0);
    world.publisher = roster_publisher(&world.roster, 0);
    atomic_store(&world.roster.header->publisher_slots, 1);
    atomic_store(&world.publisher->incarnation, 1);
    world.publisher->who.number = 4711;
    readers_init(&world.readers, &world.roster, world.publisher, 1);
    struct extents_options options = {.access = access, .depth = 1, .limit_bytes = limit_bytes, .realtime = true};
    CHECK_INT(writer_open(&world.writer, &options, world.publisher, &world.readers, 1, 8, false), ==, 0);
    atomic_store(&world.publisher->state, SLOT_LIVE);
}

/* The writer's own addresses: the point of this file. */
static void open_remote(void) {
    struct owned_segment *segment = &world.writer.extents.segments[0];
    struct segment_header *header = (struct segment_header *)(void *)segment->base;
    world.remote = (struct remote){.publisher = world.publisher, .incarnation = 1, .number = 4711, .attached = 1};
    world.remote.segments[0].bytes = segment->bytes;
    world.remote.segments[0].table_offset = header->table_offset;
    world.remote.segments[0].data_offset = header->data_offset;
    world.remote.segments[0].extent_count = header->extent_count;
    atomic_store(&world.remote.segments[0].base, segment->base);
}

static void close_world(void) {
    CHECK_INT(world.writer.extents.segment_count, ==, 1);
    writer_close(&world.writer);
    readers_free(&world.readers);
    roster_detach(&world.roster);
}

/* ---- the writer ----------------------------------------------------------------------------------------------- */

/* Sizes follow from the sequence number, so readers know them. */
static size_t bytes_of(uint64_t sequence) {
    uint64_t mixed = sequence * UINT64_C(0x9e3779b97f4a7c15);
    return (mixed >> 32) % (world.bytes_most + 1);
}

static void commit(struct writer *writer) {
    if (!writer_commit(writer))
        writer_settle(writer);
}

/* The shortest ways, as tarn_publisher_publish() goes them. */
static bool write_short(struct writer *writer, size_t bytes) {
    char data[SHORT_PAYLOAD_BYTES];
    if (bytes > sizeof(data))
        return false;
    fill_pattern(data, bytes, writer->sequence);
    return bytes <= PACKED_PAYLOAD_BYTES ? writer_send_packed(writer, data, bytes)
                                         : writer_send_short(writer, data, bytes);
}

static void write_plain(struct writer *writer) {
    size_t bytes = bytes_of(writer->sequence);
    if (write_short(writer, bytes))
        return;
    if (!writer_reserve_easily(writer, bytes))
        while (writer_reserve(writer, bytes, EFFORT_ALL) != 0)
            sched_yield();
    fill_pattern(writer_payload(writer), bytes, writer->sequence);
    commit(writer);
}

/* A loan that others overtake: it enters as a reference, perhaps after its extent was retired. */
static void write_late(struct writer *writer, int overtakers) {
    struct place place;
    while (writer_reserve(writer, world.bytes_most, EFFORT_ALL) != 0)
        sched_yield();
    writer->loan = &place;
    for (int i = 0; i < overtakers; i++)
        write_plain(writer);
    uint64_t sequence = writer->sequence;
    fill_pattern(place.payload, bytes_of(sequence), sequence);
    while (writer_refer(writer, &place, bytes_of(sequence), 0, EFFORT_ALL) != 0)
        sched_yield();
    writer_settle(writer);
}

static void *writing(void *arg) {
    struct random random = random_start(100);
    while (atomic_load(&world.joins) < world.reader_count)
        sched_yield();
    while (world.writer.sequence <= world.messages) {
        if (world.loans && random_one_in(&random, 10))
            write_late(&world.writer, (int)random_between(&random, 1, 40));
        else
            write_plain(&world.writer);
    }
    atomic_store_explicit(&world.done, true, memory_order_release);
    return arg;
}

/* ---- readers -------------------------------------------------------------------------------------------------- */

struct handover { /* to a thread that releases: one producer, one consumer */
    tarn_message messages[QUEUE];
    _Atomic uint32_t head, tail;
    _Atomic bool done;
};

struct one_reader {
    uint32_t slot;
    bool rejoins;
    struct handover *handover;
    uint64_t taken, lost;
    uint32_t joins;
};

static void nothing_held(void *context) {
    atomic_store((_Atomic bool *)context, true);
}

static void check_message(const tarn_message *message) {
    CHECK_INT(message->bytes, ==, bytes_of(message->sequence));
    CHECK(check_pattern(message->data, message->bytes, message->sequence));
}

static void *releasing(void *arg) {
    struct handover *handover = arg;
    for (uint32_t tail = 0;;) {
        bool done = atomic_load_explicit(&handover->done, memory_order_acquire);
        if (tail == atomic_load_explicit(&handover->head, memory_order_acquire)) {
            if (done)
                return NULL;
            sched_yield();
            continue;
        }
        check_message(&handover->messages[tail % QUEUE]);
        hold_release(handover->messages[tail % QUEUE].held_by);
        atomic_store_explicit(&handover->tail, ++tail, memory_order_release);
    }
}

/* Lets go of a message here, or hands it to the other thread where there is room. */
static void let_go(struct one_reader *one, const tarn_message *message) {
    struct handover *handover = one->handover;
    uint32_t head = handover ? atomic_load_explicit(&handover->head, memory_order_relaxed) : 0;
    if (handover && head - atomic_load_explicit(&handover->tail, memory_order_acquire) < QUEUE) {
        handover->messages[head % QUEUE] = *message;
        atomic_store_explicit(&handover->head, head + 1, memory_order_release);
        return;
    }
    check_message(message);
    hold_release(message->held_by);
}

static struct subscriber_slot *join(struct one_reader *one, struct log_reader *reader, struct holds *holds) {
    struct subscriber_slot *subscriber = roster_subscriber(&world.roster, one->slot);
    uint16_t incarnation = (uint16_t)(atomic_fetch_add(&subscriber->incarnation, 1) + 1);
    struct reader_row *row = roster_row(&world.roster, world.publisher, one->slot);
    CHECK_INT(holds_open(holds, &world.roster, subscriber, one->slot, incarnation), ==, 0);
    atomic_store(&subscriber->reliable, world.reliable);
    atomic_store(&subscriber->state, SLOT_LIVE);
    atomic_fetch_add(&world.roster.header->changes, 1); /* R1 */
    full_fence();
    log_reader_init(reader, holds, &world.remote, row, row_place(one->slot), world.reliable);
    log_reader_start_newest(reader, 0);
    log_reader_tell(reader);
    one->joins++;
    atomic_fetch_add(&world.joins, 1);
    return subscriber;
}

/* As stop() and end() of core/subscriber.c do it. */
static void leave(struct one_reader *one, struct log_reader *reader, struct holds *holds,
                  struct subscriber_slot *subscriber) {
    _Atomic bool emptied = false;
    holds->emptied = nothing_held;
    holds->context = &emptied;
    log_reader_stop(reader);
    atomic_store_explicit(&subscriber->state, SLOT_LEAVING, memory_order_release);
    atomic_fetch_add(&world.roster.header->changes, 1);
    holds_end(holds);
    while (!atomic_load(&emptied))
        sched_yield();
    holds_free(holds);
    struct reader_row *row = reader->row;
    atomic_store(&row->cursor[row_place(one->slot)], 0);
    atomic_store_explicit(&row->oldest[row_place(one->slot)], GENERATION_GONE, memory_order_release);
    atomic_store_explicit(&subscriber->state, SLOT_FREE, memory_order_release);
    atomic_fetch_add(&world.roster.header->changes, 1);
}

/* Takes until told to stop, holding some for a while; every message is checked when it is let go. */
static void read_until(struct one_reader *one, struct log_reader *reader, struct random *random, uint64_t most) {
    tarn_message held[HELD_MOST] = {{0}}, message;
    uint64_t next = reader->sequence;
    for (uint64_t i = 0; i < most;) {
        bool done = atomic_load_explicit(&world.done, memory_order_acquire);
        bool taken = log_reader_take_usual(reader, &message);
        enum reader_look look = taken ? READER_MESSAGE : log_reader_look(reader);
        if (look == READER_EMPTY) {
            log_reader_tell(reader);
            if (done) {
                CHECK_INT(reader->sequence, ==, world.writer.sequence); /* nobody is stuck before the end */
                break;
            }
            sched_yield();
        }
        CHECK(look == READER_EMPTY || look == READER_PENDING || look == READER_MESSAGE);
        taken = taken || (look == READER_MESSAGE && log_reader_take(reader, &message) == READER_TAKEN);
        if (!taken)
            continue;
        CHECK_INT(message.sequence, ==, next + message.lost);
        CHECK(!world.reliable || message.lost == 0);
        next = message.sequence + 1;
        one->lost += message.lost;
        one->taken++;
        i++;
        tarn_message *place = &held[random_between(random, 0, HELD_MOST - 1)];
        if (place->held_by)
            let_go(one, place);
        *place = message;
    }
    for (int i = 0; i < HELD_MOST; i++)
        if (held[i].held_by)
            let_go(one, &held[i]);
}

static void *reading(void *arg) {
    struct one_reader *one = arg;
    struct random random = random_start(one->slot);
    pthread_t releaser;
    if (one->handover)
        CHECK_INT(pthread_create(&releaser, NULL, releasing, one->handover), ==, 0);
    do {
        struct holds holds;
        struct log_reader reader;
        struct subscriber_slot *subscriber = join(one, &reader, &holds);
        read_until(one, &reader, &random, one->rejoins ? random_between(&random, 1, 200) : UINT64_MAX);
        leave(one, &reader, &holds, subscriber);
    } while (!atomic_load_explicit(&world.done, memory_order_acquire));
    if (one->handover) {
        atomic_store_explicit(&one->handover->done, true, memory_order_release);
        CHECK_INT(pthread_join(releaser, NULL), ==, 0);
    }
    return NULL;
}

/* ---- tests ---------------------------------------------------------------------------------------------------- */

static struct handover handovers[READERS_MOST];

/* Readers number 1 and up hand some messages to another thread; those from rejoin_from on leave and join again. */
static void run(uint32_t readers, uint32_t rejoin_from, struct one_reader ret[READERS_MOST]) {
    pthread_t writer, threads[READERS_MOST];
    struct reader_row *row;
    CHECK_INT(roster_make_subscriber(&world.roster, READERS_MOST - 1), ==, 0);
    CHECK_INT(roster_make_row(&row, &world.roster, world.publisher, 0, &(struct roster_taker){.incarnation = 1}), ==,
              0);
    atomic_store(&world.roster.header->subscriber_slots, READERS_MOST);
    open_remote();
    world.reader_count = readers;
    for (uint32_t i = 0; i < readers; i++) {
        ret[i] = (struct one_reader){.slot = i, .rejoins = i >= rejoin_from, .handover = i ? &handovers[i] : NULL};
        CHECK_INT(pthread_create(&threads[i], NULL, reading, &ret[i]), ==, 0);
    }
    CHECK_INT(pthread_create(&writer, NULL, writing, NULL), ==, 0);
    CHECK_INT(pthread_join(writer, NULL), ==, 0);
    for (uint32_t i = 0; i < readers; i++)
        CHECK_INT(pthread_join(threads[i], NULL), ==, 0);
    close_world();
}

#if defined(__SANITIZE_THREAD__)
#define MESSAGES (getenv("TARN_POINTS_SEED") ? 6000u : 60000u) /* fewer where each is delayed: base/points.h */
#else
#define MESSAGES 250000u
#endif

TEST(best_effort_readers_are_overrun) {
    struct one_reader readers[READERS_MOST];
    world.messages = MESSAGES;
    world.bytes_most = 3000;
    open_world(1024 * 1024);
    run(3, READERS_MOST, readers);
    for (int i = 0; i < 3; i++)
        CHECK_INT(readers[i].taken, >, 0);
}

TEST(best_effort_readers_come_and_go) {
    struct one_reader readers[READERS_MOST];
    world.messages = MESSAGES;
    world.bytes_most = 500;
    open_world(1024 * 1024);
    run(3, 0, readers);
    for (int i = 0; i < 3; i++)
        CHECK_INT(readers[i].joins, >=, 1);
}

TEST(late_loans_are_entered_by_reference) {
    struct one_reader readers[READERS_MOST];
    world.messages = MESSAGES;
    world.bytes_most = 6000;
    world.loans = true;
    open_world(1024 * 1024);
    run(3, 2, readers);
    CHECK_INT(readers[0].taken, >, 0);
}

TEST(reliable_readers_miss_nothing) {
    struct one_reader readers[READERS_MOST];
    world.messages = MESSAGES;
    world.bytes_most = 2000;
    world.reliable = true;
    open_world(1536 * 1024);
    run(2, READERS_MOST, readers);
    for (int i = 0; i < 2; i++)
        CHECK_INT(readers[i].lost, ==, 0);
}

TEST(reliable_readers_come_and_go_among_late_loans) {
    struct one_reader readers[READERS_MOST];
    world.messages = MESSAGES;
    world.bytes_most = 1000;
    world.reliable = world.loans = true;
    open_world(2048 * 1024);
    run(3, 1, readers);
    for (int i = 0; i < 3; i++)
        CHECK_INT(readers[i].lost, ==, 0);
}
