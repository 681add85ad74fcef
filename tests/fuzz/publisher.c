/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A publisher among hostile subscribers: sending, going through extents, loans, looking at words and cells, waiting for
 * space without time, over a roster that says anything. Its log is its own: whatever they write, the memory that it
 * hands out is its own, in one piece, and in one place only.
 */
#include <string.h>

#include "common.h"
#include "shm/holds.h"
#include "shm/space.h"

const char target_name[] = "publisher";
const unsigned target_calls_per_sweep = 1;

enum option {
    REALTIME = 1, /* one segment, so that it is full soon */
    DEEP = 2,
    TIMED = 4,
    ALIGNED = 8,
    LARGE = 16,
    LOANS = 32,
    FLUSHES = 64,
};

#define SENDS 16
#define LIMIT_BYTES (UINT64_C(320) << 10)

static struct publisher_slot *publisher;
static struct cell_list *cell_list;

/* ---- the image -------------------------------------------------------------------------------------------------- */

/* A subscriber with more cells than those in its slot. */
static void add_cells(uint32_t slot) {
    struct subscriber_slot *subscriber = image_subscriber(slot);
    struct holds holds;
    EXPECT(holds_open(&holds, &image_roster, subscriber, slot, IMAGE_INCARNATION) == 0);
    EXPECT(holds_reserve(&holds, CELLS_INLINE + CELLS_PER_BLOCK + 1) == 0);
    cell_list = roster_block(&image_roster, subscriber->cell_list);
    add_words(cell_list->blocks, 4, 3);
    ADD_WORD(cell_list->blocks[CELL_BLOCKS_MAX - 1]);
    _Atomic uint64_t *cells = roster_block(&image_roster, cell_list->blocks[0]);
    add_words(cells, 8, 2);
    ADD_WORD(cells[CELLS_PER_BLOCK - 1]);
    holds_free(&holds);
}

/* As its readers leave it: some have read to sequence 4, and hold an extent; others have attached nothing. */
static void attach_readers(void) {
    for (uint32_t slot = 0; slot < 4; slot++) {
        struct reader_row *row = image_row(0, slot);
        uint32_t place = row_place(slot);
        row->oldest[place] = stamped(IMAGE_INCARNATION, 1 + slot);
        row->cursor[place] = stamped(IMAGE_INCARNATION, 4);
        row->attached[place] = IMAGE_INCARNATION << 16 | 1;
        image_subscriber(slot)->cells[slot] = hold_cell(0, IMAGE_INCARNATION, extent_ref_make(0, slot));
    }
}

void target_build(void) {
    image_build_roster();
    publisher = image_publisher(0);
    for (uint32_t slot = 4; slot < IMAGE_SUBSCRIBERS - 1; slot++)
        image_subscriber(slot)->state = SLOT_FREE;
    /* it has read nothing, and would hold the publisher back before it sent anything */
    image_subscriber(IMAGE_SUBSCRIBERS - 1)->reliable = 0;
    attach_readers();
    add_cells(2);
    segments_keep();
}

/* ---- what has to be so whatever the roster says ----------------------------------------------------------------- */

struct run {
    const struct input *input;
    struct readers readers;
    struct writer writer;
    struct place loan;
    bool loan_open;
    uint64_t sent;
};

static bool has(const struct run *run, enum option option) {
    return run->input->options & (unsigned)option;
}

/* One that is in this state and queue, and shares no memory with what is behind it. */
static uint64_t check_extent(const struct run *run, const struct extent *extent, enum extent_state state) {
    const struct owned_segment *segment = &run->writer.extents.segments[extent_ref_segment(extent->ref)];
    EXPECT(extent->state == state);
    EXPECT(extent->base >= segment->base && extent->base + extent->bytes <= segment->base + segment->bytes);
    for (const struct extent *other = extent->next; other; other = other->next)
        EXPECT(other->base + other->bytes <= extent->base || extent->base + extent->bytes <= other->base);
    return extent->bytes;
}

static uint64_t check_queue(const struct run *run, const struct extent_queue *queue, enum extent_state state) {
    uint64_t bytes = 0;
    for (const struct extent *extent = queue->head; extent; extent = extent->next)
        bytes += check_extent(run, extent, state);
    EXPECT(bytes == queue->bytes);
    return bytes;
}

static void check_memory(const struct run *run) {
    const struct extents *extents = &run->writer.extents;
    uint64_t bytes = check_queue(run, &extents->log, EXTENT_LOG);
    bytes += check_queue(run, &extents->retired, EXTENT_RETIRED);
    bytes += check_queue(run, &extents->detached, EXTENT_DETACHED);
    bytes += check_queue(run, &extents->free, EXTENT_FREE);
    bytes += check_queue(run, &extents->free_large, EXTENT_FREE);
    if (run->writer.ahead)
        bytes += check_extent(run, run->writer.ahead, EXTENT_AHEAD);
    EXPECT(bytes == extents->warm_bytes);
}

/* ---- a run ------------------------------------------------------------------------------------------------------ */

/* Some are found dead: who depends on what the slot says. */
static bool look_at_reader(void *context, const struct reader *reader) {
    struct identity who = reader->subscriber->who;
    *(uint64_t *)context += who.number + reader->slot;
    return who.number % 16 == 3;
}

/* As core/publisher.c does it, with no time to wait. */
static void wait_for_space(struct run *run, uint64_t bytes) {
    uint64_t generation, sequence, sum = 0;
    bool barrier;
    extents_blockage(&run->writer.extents, &generation, &sequence);
    readers_blocking(&run->readers, generation, sequence, look_at_reader, &sum);
    uint32_t value = space_arm(publisher, extents_wanted(&run->writer.extents), &barrier);
    if (writer_reserve(&run->writer, bytes, EFFORT_ALL) == 0)
        return;
    space_sleep(publisher, value, barrier, 0);
    writer_drop(&run->writer);
}

static void commit(struct run *run) {
    if (!writer_commit(&run->writer))
        writer_settle(&run->writer);
    run->sent++;
}

static void send(struct run *run, uint64_t bytes) {
    struct writer *writer = &run->writer;
    if (writer_reserve(writer, bytes, EFFORT_RECLAIM) != 0 && writer_reserve(writer, bytes, EFFORT_ALL) != 0) {
        wait_for_space(run, bytes);
        return;
    }
    memset(writer_payload(writer), 1, bytes); /* may it be written? */
    if (has(run, TIMED))
        writer_stamp(writer, 1);
    if (has(run, LOANS) && !run->loan_open && writer->sequence % 5 == 0) {
        writer->loan = &run->loan;
        run->loan_open = true;
    } else
        commit(run);
}

/* The loan at the head, or one that was overtaken. */
static void send_loan(struct run *run) {
    if (!run->loan_open)
        return;
    run->loan_open = false;
    if (run->writer.loan)
        commit(run);
    else if (writer_refer(&run->writer, &run->loan, run->loan.bytes, 0, EFFORT_ALL) == 0)
        writer_settle(&run->writer);
    else
        run->loan_open = true;
}

static uint64_t size_of(const struct run *run, unsigned i) {
    static const uint64_t large[] = {70000, 8, 150000, 30000, 66000};
    return has(run, LARGE) ? large[i % 5] : i % 3 == 0 ? 40 + i : 30000;
}

static void send_all(struct run *run) {
    for (unsigned i = 0; i < SENDS; i++) {
        if (i == run->input->number % SENDS)
            damage(run->input, 2);
        send(run, size_of(run, i));
        if (i % 7 == 6)
            send_loan(run);
        if (has(run, FLUSHES) && i % 8 == 7) {
            uint64_t sum = 0;
            writer_report_drops(&run->writer);
            readers_refresh(&run->readers);
            readers_behind(&run->readers, run->writer.extents.segment_count, run->writer.sequence, i % 16 == 7,
                           look_at_reader, &sum);
        }
    }
    damage(run->input, 3);
    extents_reclaim(&run->writer.extents, run->writer.sequence, true);
}

void target_run(const struct input *input) {
    static struct run run;
    run = (struct run){.input = input};
    struct extents_options options = {
        .access = image_access,
        .depth = has(&run, DEEP) ? 6 : 0,
        .limit_bytes = LIMIT_BYTES,
        .slack_bytes = 3 * EXTENT_BYTES_MIN,
        .rotation_bytes = 1,
        .realtime = has(&run, REALTIME),
    };
    damage(input, 0);
    readers_init(&run.readers, &image_roster, publisher, IMAGE_INCARNATION);
    EXPECT(writer_open(&run.writer, &options, publisher, &run.readers, IMAGE_INCARNATION, has(&run, ALIGNED) ? 256 : 8,
                       has(&run, TIMED)) == 0);
    damage(input, 1);
    send_all(&run);
    check_memory(&run);
    if (input->damage_count == 0)
        EXPECT(run.sent > 2);
    writer_close(&run.writer);
    readers_free(&run.readers);
}
