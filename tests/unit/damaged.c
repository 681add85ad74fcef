/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A roster in which links name the same blocks again and again: whoever goes through it comes to an end all the same.
 */
#include <errno.h>

#include "common.h"
#include "shm/holds.h"
#include "shm/writer.h"

#define SLOTS SUBSCRIBERS_PER_BLOCK

static struct roster roster;
static struct publisher_slot *publisher;
static struct readers readers;
static struct writer writer;
static const struct extents_options options = {
    .access = {.directory_mode = 0700}, .depth = 1, .limit_bytes = MIB, .rotation_bytes = 1};

/* One publisher, and a block of subscribers that are there, of which one has a block of further cells. */
static struct cell_list *open_roster(void) {
    struct segment_name name;
    struct holds holds;
    CHECK_INT(roster_create(&roster, &name, &options.access), ==, 0);
    CHECK_INT(roster_make_publisher(&roster, 0), ==, 0);
    publisher = roster_publisher(&roster, 0);
    publisher->incarnation = 1;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        CHECK_INT(roster_make_subscriber(&roster, slot), ==, 0);
        struct subscriber_slot *subscriber = roster_subscriber(&roster, slot);
        subscriber->incarnation = 1;
        subscriber->state = SLOT_LIVE;
    }
    roster.header->subscriber_slots = SLOTS;
    CHECK_INT(holds_open(&holds, &roster, roster_subscriber(&roster, 0), 0, 1), ==, 0);
    CHECK_INT(holds_reserve(&holds, CELLS_INLINE + 1), ==, 0);
    holds_free(&holds);
    return roster_block(&roster, roster_subscriber(&roster, 0)->cell_list);
}

static void repeat_cells(struct cell_list *list) {
    _Atomic uint64_t *cells = roster_block(&roster, list->blocks[0]);
    for (uint32_t i = 0; i < CELLS_PER_BLOCK; i++)
        cells[i] = hold_cell(0, 1, extent_ref_make(0, 3));
    for (uint32_t i = 1; i < CELL_BLOCKS_MAX; i++)
        list->blocks[i] = list->blocks[0];
    for (uint32_t slot = 1; slot < SLOTS; slot++)
        roster_subscriber(&roster, slot)->cell_list = roster_subscriber(&roster, 0)->cell_list;
}

static void repeat_subscribers(void) {
    for (uint32_t i = 1; i < SUBSCRIBER_BLOCKS_MAX; i++)
        roster.header->subscriber_blocks[i] = roster.header->subscriber_blocks[0];
    roster.header->subscriber_slots = SUBSCRIBERS_MAX;
}

/* Until its memory is used up, as nothing can be said to be free. */
static void send_until_full(void) {
    int error = 0;
    readers_init(&readers, &roster, publisher, 1);
    CHECK_INT(writer_open(&writer, &options, publisher, &readers, 1, 8, false), ==, 0);
    for (int i = 0; i < 1000 && !error; i++) {
        error = writer_reserve(&writer, 30000, EFFORT_ALL);
        if (!error && !writer_commit(&writer))
            writer_settle(&writer);
    }
    CHECK_INT(error, ==, -EAGAIN);
    writer_close(&writer);
    readers_free(&readers);
    roster_detach(&roster);
}

TEST(cells_named_again_and_again) {
    repeat_cells(open_roster());
    send_until_full();
}

TEST(subscribers_named_again_and_again) {
    repeat_cells(open_roster());
    repeat_subscribers();
    send_until_full();
}
