/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Joining a roster that says anything: blocks of slots, rows and cells, runs of blocks for a type, growth of the chain,
 * reading and settling the type, attaching. What is handed out is memory of the roster.
 */
#include <string.h>

#include "common.h"
#include "core/type.h"
#include "shm/holds.h"
#include "shm/readers.h"

const char target_name[] = "roster";
const unsigned target_calls_per_sweep = 1;

static struct topic topic; /* of which the library sees the roster and the name */
static struct segment_name name;

/* ---- the image -------------------------------------------------------------------------------------------------- */

static const tarn_type type = {.struct_bytes = sizeof type,
                               .name = "a/type",
                               .encoding = "raw",
                               .bytes = 8,
                               .schema = "schema",
                               .schema_bytes = 6};

static void settle_type(void) {
    struct roster_taker taker = {true, 0, IMAGE_INCARNATION, NULL};
    EXPECT(type_settle(&topic, &type, &taker) == 0);
    struct roster_type *settled = roster_block(&topic.roster, topic.roster.header->type_block);
    ADD_WORD(settled->total_bytes);
    ADD_WORD(settled->alignment);
    ADD_WORD(settled->payload_bytes);
    ADD_WORD(settled->name_bytes);
    ADD_WORD(settled->encoding_bytes);
    ADD_WORD(settled->schema_bytes);
    add_words(settled + 1, 4, 3);
}

/* So that what is made next goes to the chain's second segment. */
static void fill_first_segment(void) {
    struct roster_taker taker = {false, 1, IMAGE_INCARNATION, NULL};
    while (roster_take_run(&topic.roster, 1, &taker) < ROSTER_FIRST_BLOCKS - 2)
        ;
}

static void name_roster(void) {
    const struct roster_segment *segment = segment_base_of(SEGMENT_FIRST_ID);
    EXPECT((const void *)segment == (const void *)image_roster.base[0]);
    name = (struct segment_name){BACKEND_SYSV, SEGMENT_FIRST_ID, (uint64_t)ROSTER_FIRST_BLOCKS * BLOCK_BYTES,
                                 segment->nonce};
}

void target_build(void) {
    image_build_roster();
    image_row(0, 0);
    strcpy(topic.name, "fuzz");
    topic.roster = image_roster;
    settle_type();
    fill_first_segment();
    name_roster();
    segments_keep();
}

/* ---- a run ------------------------------------------------------------------------------------------------------ */

/* It is none of those in which a segment's header and owner words lie. */
static void expect_usable(const void *block) {
    for (uint32_t i = 0; i < ROSTER_SEGMENTS_MAX; i++) {
        const struct roster_segment *segment = (const void *)topic.roster.base[i];
        uint64_t offset = (uintptr_t)block - (uintptr_t)segment, blocks = ROSTER_FIRST_BLOCKS << i;
        uint64_t header_bytes = i ? sizeof *segment + blocks * 8 : ROSTER_HEADER_OFFSET + sizeof(struct roster_header);
        if (segment && offset < blocks * BLOCK_BYTES) {
            EXPECT(offset >= header_bytes);
            return;
        }
    }
    die("%p is in no segment of the roster", block);
}

/* All of a block may be written. */
static void use_block(void *block) {
    expect_usable(block);
    memset(block, 0, BLOCK_BYTES);
}

static void use_slot(void *slot, size_t bytes) {
    expect_usable(slot);
    memset(slot, 0, bytes);
}

static void link_block(uint32_t slot, bool publisher) {
    struct roster *roster = &topic.roster;
    if (publisher) {
        if (roster_make_publisher(roster, slot) == 0)
            use_slot(roster_publisher(roster, slot), sizeof(struct publisher_slot));
    } else {
        if (roster_make_subscriber(roster, slot) == 0)
            use_slot(roster_subscriber(roster, slot), sizeof(struct subscriber_slot));
    }
}

static void take_run(uint32_t count) {
    struct roster_taker taker = {true, 1, IMAGE_INCARNATION, NULL};
    int64_t first = roster_take_run(&topic.roster, count, &taker);
    for (uint32_t i = 0; first > 0 && i < count; i++)
        use_block(roster_block(&topic.roster, (uint32_t)first + i));
}

static void make_row(uint32_t subscriber_slot) {
    struct publisher_slot *publisher = roster_publisher(&topic.roster, 1);
    struct roster_taker taker = {false, subscriber_slot, IMAGE_INCARNATION, NULL};
    struct reader_row *row;
    if (publisher && roster_make_row(&row, &topic.roster, publisher, 1, &taker) == 0)
        use_block(row);
}

static void reserve_cells(uint32_t count) {
    struct subscriber_slot *subscriber = roster_subscriber(&topic.roster, 1);
    struct holds holds;
    if (!subscriber)
        return;
    EXPECT(holds_open(&holds, &topic.roster, subscriber, 1, IMAGE_INCARNATION) == 0);
    holds_reserve(&holds, count);
    for (uint32_t i = 0; i < 40 && hold_begin(&holds, NULL, i, i, true); i++) /* into a cell each */
        ;
    for (uint32_t i = 1; i < HOLD_CHUNKS_MAX && holds.chunks[i]; i++)
        *holds.chunks[i][CELLS_PER_BLOCK - 1].cell = 0;
    holds_free(&holds);
}

static void settle(void) {
    static char schema[20000];
    tarn_type other = {.struct_bytes = sizeof other, .name = "other", .schema = schema, .schema_bytes = sizeof schema};
    struct roster_taker taker = {true, 1, IMAGE_INCARNATION, NULL};
    struct type_text text;
    type_settle(&topic, &other, &taker);
    type_settle(&topic, &type, &taker);
    if (type_read(&topic.roster, &text))
        EXPECT(strlen(text.name) < sizeof text.name && strlen(text.encoding) < sizeof text.encoding);
}

/* As another process sees it. */
static void attach(bool writable) {
    struct roster roster;
    if (roster_attach(&roster, &name, &image_access, writable) != 0)
        return;
    uint64_t sum = 0;
    for (uint32_t slot = 0, slots = roster_publisher_slots(&roster); slot < slots; slot++) {
        struct publisher_slot *publisher = roster_publisher(&roster, slot);
        if (publisher)
            sum += publisher->who.number + publisher->rows[ROWS_MAX - 1];
    }
    for (uint32_t slot = 0, slots = roster_subscriber_slots(&roster); slot < slots; slot++) {
        struct subscriber_slot *subscriber = roster_subscriber(&roster, slot);
        if (subscriber)
            sum += subscriber->who.number + subscriber->cells[CELLS_INLINE - 1];
    }
    look_at_payload(&sum, sizeof sum);
    EXPECT(!roster_publisher(&roster, PUBLISHERS_MAX) && !roster_subscriber(&roster, SUBSCRIBERS_MAX));
    roster_detach(&roster);
}

static void look_at_readers(void) {
    struct readers readers;
    struct publisher_slot *publisher = roster_publisher(&topic.roster, 0);
    if (!publisher)
        return;
    readers_init(&readers, &topic.roster, publisher, IMAGE_INCARNATION);
    if (readers_refresh(&readers)) {
        readers_reliable_cursor(&readers);
        readers_oldest(&readers);
    }
    readers_free(&readers);
}

/* Mostly one of the first, which the image has; sometimes any, or one behind the last. */
static uint32_t slot_of(uint32_t number, uint32_t most) {
    return number % 4 ? number % 64 : number * (most / 128) % (most + 10);
}

static void do_one(unsigned what, uint32_t number) {
    switch (what % 8) {
    case 0:
        link_block(slot_of(number, PUBLISHERS_MAX), true);
        break;
    case 1:
        link_block(slot_of(number, SUBSCRIBERS_MAX), false);
        break;
    case 2:
        take_run(1 + number % 17);
        break;
    case 3:
        make_row(slot_of(number, SUBSCRIBERS_MAX));
        break;
    case 4:
        reserve_cells(number % 2 ? 40 : 1100);
        break;
    case 5:
        settle();
        break;
    case 6:
        attach(number % 2);
        break;
    default:
        look_at_readers();
    }
}

static void detach_further(void) {
    for (uint32_t i = 1; i < ROSTER_SEGMENTS_MAX; i++) {
        segment_detach(topic.roster.base[i]);
        topic.roster.base[i] = NULL;
    }
}

void target_run(const struct input *input) {
    damage(input, 0);
    do_one(input->options, input->number);
    damage(input, 1);
    do_one(input->options / 8, input->number + 1);
    damage(input, 2);
    do_one(input->options / 64 + 4, input->number);
    damage(input, 3);
    do_one(input->number, input->options);
    detach_further();
}
