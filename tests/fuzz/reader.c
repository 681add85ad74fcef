/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A subscriber that follows the log of a hostile publisher: attaching, starting anywhere, looking, taking, following
 * jumps and references, holding, parting, over a log that has every kind of record, in two segments.
 */
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "shm/reader.h"

#define HELD_MOST 20
#define LOOKS_MOST 3000 /* more than the image has records: a reader that is kept busy for ever still returns */

const char target_name[] = "reader";
const unsigned target_calls_per_sweep = 1;

enum option {
    RELIABLE = 1,
    FROM_FIRST = 2,
    WITH_HISTORY = 4, /* number messages */
    MAY_ATTACH = 8,
    HOLDS = 16,
    PARTS = 32,
    FOLLOWS = 64,
};

static struct writer writer;
static struct readers readers;
static char *segments[SEGMENTS_MAX];
static unsigned segment_count;
static uint64_t sent;

/* ---- the image -------------------------------------------------------------------------------------------------- */

static void send(uint64_t bytes) {
    EXPECT(writer_reserve(&writer, bytes, EFFORT_ALL) == 0);
    memset(writer_payload(&writer), 7, bytes);
    if (!writer_commit(&writer))
        writer_settle(&writer);
    sent++;
}

static void send_many(unsigned count, uint64_t bytes) {
    for (unsigned i = 0; i < count; i++)
        send(bytes);
}

/* A hole, a message, and the reference to what lies in the hole. */
static void send_late_loan(uint64_t bytes) {
    struct place place;
    EXPECT(writer_reserve(&writer, bytes, EFFORT_ALL) == 0);
    writer.loan = &place;
    send(10);
    EXPECT(writer_refer(&writer, &place, bytes, 0, EFFORT_ALL) == 0);
    writer_settle(&writer);
    sent++;
}

static void drop(unsigned count) {
    for (unsigned i = 0; i < count; i++)
        writer_drop(&writer);
    writer_report_drops(&writer);
    sent += count;
}

static void write_log(void) {
    send_many(3, 8);
    send_late_loan(100);
    send_many(2, 300);
    drop(3);
    send_many(4, 20000);
    send_late_loan(30000);
    send_many(2, 70000);
    send(0);
    send_many(2, 150000);
    send_late_loan(100000);
    send_many(3, 25);
}

/* One record with a time of sending, which a publisher has in all or none. */
static void time_a_record(void) {
    char *extent = segments[0] + ((struct segment_header *)(void *)segments[0])->data_offset;
    _Atomic uint64_t *word = word_at(extent, 0);
    EXPECT(*word == record_word(RECORD_MESSAGE, 8, 0, 0));
    *word = record_word(RECORD_MESSAGE, 0, 0, RECORD_TIMED);
}

void target_build(void) {
    struct extents_options options = {
        .access = image_access, .depth = 1000, .limit_bytes = 4 << 20, .slack_bytes = 192 << 10, .rotation_bytes = 1};
    image_build_roster();
    image_row(0, 0);
    struct publisher_slot *publisher = image_publisher(0);
    readers_init(&readers, &image_roster, publisher, IMAGE_INCARNATION);
    EXPECT(writer_open(&writer, &options, publisher, &readers, IMAGE_INCARNATION, 8, false) == 0);
    write_log();
    segment_count = writer.extents.segment_count;
    EXPECT(segment_count == 2);
    for (unsigned i = 0; i < segment_count; i++)
        segments[i] = segment_raw(writer.extents.segments[i].base);
    time_a_record();
    image_add_log_words(segments, segment_count, 0);
    segments_keep();
    writer_close(&writer);
    readers_free(&readers);
}

/* ---- a run ------------------------------------------------------------------------------------------------------ */

struct run {
    const struct input *input;
    struct remote remote;
    struct holds holds;
    struct log_reader reader;
    tarn_message held[HELD_MOST];
    unsigned held_count;
    uint64_t next; /* sequence that has to be in the next message, without losses */
    uint64_t taken, lost;
};

static bool has(const struct run *run, enum option option) {
    return run->input->options & (unsigned)option;
}

/* What was said of an extent when it was entered is what is still there: all of the payload lies in it. */
static void expect_in_extent(const struct run *run, const tarn_message *message) {
    const struct hold *hold = message->held_by;
    const char *data = message->data;
    for (unsigned i = 0; i < SEGMENTS_MAX && i < run->remote.attached; i++) {
        const struct remote_segment *segment = &run->remote.segments[i];
        struct extent_entry *table = (void *)(segment->base + segment->table_offset);
        for (uint32_t k = 0; k < segment->extent_count; k++) {
            /* in numbers: what is said of other extents may be damage, and lead to no address at all */
            uint64_t offset = (uintptr_t)data - (uintptr_t)segment->base - table[k].offset;
            if (table[k].generation == hold->generation && table[k].offset >= segment->data_offset &&
                table[k].bytes <= segment->bytes && offset <= table[k].bytes &&
                message->bytes <= table[k].bytes - offset)
                return;
        }
    }
    die("%zu bytes at %p are in no extent of that generation", message->bytes, message->data);
}

static void release_all(struct run *run) {
    while (run->held_count > 0)
        hold_release(run->held[--run->held_count].held_by);
}

static void check_message(struct run *run, const tarn_message *message) {
    EXPECT(message->sequence == run->next + message->lost);
    EXPECT((uintptr_t)message->data % 8 == 0);
    run->next = message->sequence + 1;
    run->taken++;
    run->lost += message->lost;
    if (!is_damaged_behind(run->input, 1))
        expect_in_extent(run, message);
    look_at_payload(message->data, message->bytes);
}

static void keep(struct run *run, const tarn_message *message) {
    check_message(run, message);
    run->held[run->held_count++] = *message;
    if (!has(run, HOLDS) || run->held_count == HELD_MOST)
        release_all(run);
}

/* The short ways without a look before, as most takes go; or the long one. */
static enum reader_look look_and_take(struct run *run) {
    tarn_message message;
    const char *at = run->reader.at, *limit = run->reader.limit;
    if (log_reader_take_usual(&run->reader, &message) || log_reader_take_plain(&run->reader, &message)) {
        EXPECT((const char *)message.data > at && (const char *)message.data <= limit);
        EXPECT(message.bytes <= (size_t)(limit - (const char *)message.data));
        keep(run, &message);
        return READER_MESSAGE;
    }
    bool adrift = run->reader.adrift;
    enum reader_look look = log_reader_look(&run->reader);
    EXPECT((uintptr_t)run->reader.at % 8 == 0);
    if (adrift)
        run->next = run->reader.sequence - run->reader.lost;
    if (look == READER_MESSAGE && log_reader_take(&run->reader, &message) == READER_TAKEN)
        keep(run, &message);
    return look;
}

static void take_all(struct run *run) {
    for (unsigned i = 0; i < LOOKS_MOST; i++) {
        if (i == run->input->number % 32)
            damage(run->input, 3);
        if (has(run, FOLLOWS))
            log_reader_follow(&run->reader);
        enum reader_look look = look_and_take(run);
        if (look != READER_MESSAGE && look != READER_PENDING)
            break;
    }
}

static void start(struct run *run) {
    struct log_reader *reader = &run->reader;
    if (has(run, FROM_FIRST))
        log_reader_start_first(reader);
    else
        log_reader_start_newest(reader, has(run, WITH_HISTORY) ? run->input->number : 0);
    run->next = reader->sequence;
    log_reader_tell(reader);
    log_reader_tell_attached(reader);
    reader->may_attach = has(run, MAY_ATTACH);
    if (has(run, PARTS))
        log_reader_part(reader);
}

static void expect_all(const struct run *run) {
    EXPECT(!run->reader.damaged);
    EXPECT(run->reader.sequence == sent + 1);
    if (has(run, FROM_FIRST))
        EXPECT(run->taken + run->lost == sent);
}

static void read_log(struct run *run, struct reader_row *row) {
    damage(run->input, 1);
    log_reader_init(&run->reader, &run->holds, &run->remote, row, row_place(0), has(run, RELIABLE));
    start(run);
    damage(run->input, 2);
    take_all(run);
    if (run->input->damage_count == 0)
        expect_all(run);
    log_reader_unread(&run->reader);
    log_reader_stop(&run->reader);
    release_all(run);
    EXPECT(holds_outstanding(&run->holds) == 0);
    EXPECT(holds_oldest(&run->holds, &run->reader.holder) == GENERATION_GONE);
}

void target_run(const struct input *input) {
    static struct run run;
    run = (struct run){.input = input};
    struct publisher_slot *publisher = image_publisher(0);
    struct subscriber_slot *subscriber = image_subscriber(0);
    damage(input, 0);
    struct roster_taker taker = {false, 0, IMAGE_INCARNATION, &subscriber->pending_key};
    struct reader_row *row;
    if (roster_make_row(&row, &image_roster, publisher, 0, &taker) != 0 ||
        remote_open(&run.remote, publisher, 0, IMAGE_INCARNATION) != 0)
        return;
    EXPECT(holds_open(&run.holds, &image_roster, subscriber, 0, IMAGE_INCARNATION) == 0);
    read_log(&run, row);
    holds_free(&run.holds);
    remote_close(&run.remote);
}
