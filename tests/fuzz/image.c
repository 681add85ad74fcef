/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See common.h. */
#include <unistd.h>

#include "common.h"

struct roster image_roster;
const struct segment_access image_access = {.directory_mode = 0700, .key_seed = 1};

struct publisher_slot *image_publisher(uint32_t slot) {
    struct publisher_slot *publisher = roster_publisher(&image_roster, slot);
    EXPECT(publisher);
    return publisher;
}

struct subscriber_slot *image_subscriber(uint32_t slot) {
    struct subscriber_slot *subscriber = roster_subscriber(&image_roster, slot);
    EXPECT(subscriber);
    return subscriber;
}

static struct identity identity_of(uint64_t number) {
    return (struct identity){
        .number = number, .start_time = 1, .namespaces = 1, .pid = (int32_t)getpid(), .command = "image"};
}

static void make_publisher(uint32_t slot) {
    EXPECT(roster_make_publisher(&image_roster, slot) == 0);
    struct publisher_slot *publisher = image_publisher(slot);
    publisher->incarnation = IMAGE_INCARNATION;
    publisher->who = identity_of(slot + 1);
    publisher->state = SLOT_LIVE;
    image_roster.header->publisher_slots = slot + 1;
}

static void make_subscriber(uint32_t slot) {
    EXPECT(roster_make_subscriber(&image_roster, slot) == 0);
    struct subscriber_slot *subscriber = roster_subscriber(&image_roster, slot);
    subscriber->incarnation = IMAGE_INCARNATION;
    subscriber->who = identity_of(1000 + slot);
    subscriber->reliable = slot % 2;
    subscriber->state = SLOT_LIVE;
    image_roster.header->subscriber_slots = slot + 1;
}

void image_build_roster(void) {
    struct segment_name name;
    EXPECT(roster_create(&image_roster, &name, &image_access) == 0);
    for (uint32_t slot = 0; slot < IMAGE_PUBLISHERS; slot++)
        make_publisher(slot);
    for (uint32_t slot = 0; slot < IMAGE_SUBSCRIBERS; slot++)
        make_subscriber(slot);
    image_add_roster_words(&image_roster);
    for (uint32_t slot = 0; slot < IMAGE_PUBLISHERS; slot++)
        image_add_publisher_words(image_publisher(slot));
    image_add_subscriber_words(image_subscriber(0));
    image_add_subscriber_words(image_subscriber(1));
    image_add_subscriber_words(image_subscriber(IMAGE_SUBSCRIBERS - 1));
}

struct reader_row *image_row(uint32_t publisher_slot, uint32_t subscriber_slot) {
    struct roster_taker taker = {false, subscriber_slot, IMAGE_INCARNATION, NULL};
    struct reader_row *row;
    EXPECT(roster_make_row(&row, &image_roster, image_publisher(publisher_slot), publisher_slot, &taker) == 0);
    uint32_t place = row_place(subscriber_slot);
    ADD_WORD(row->oldest[place]);
    ADD_WORD(row->cursor[place]);
    ADD_WORD(row->attached[place]);
    return row;
}

/* ---- words of the roster ---------------------------------------------------------------------------------------- */

void image_add_roster_words(struct roster *roster) {
    struct roster_header *header = roster->header;
    struct roster_segment *segment = (struct roster_segment *)(void *)roster->base[0];
    ADD_WORD(segment->magic);
    ADD_WORD(segment->layout_minor);
    ADD_WORD(segment->nonce);
    ADD_WORD(segment->number);
    ADD_WORD(segment->blocks);
    ADD_WORD(segment->usable_from);
    add_words(segment + 1, 8, ROSTER_FIRST_BLOCKS); /* owner words */
    ADD_WORD(header->bell);
    ADD_WORD(header->changes);
    ADD_WORD(header->publisher_slots);
    ADD_WORD(header->subscriber_slots);
    ADD_WORD(header->doorbells);
    ADD_WORD(header->type_block);
    ADD_WORD(header->pattern);
    ADD_WORD(header->pattern_block);
    ADD_WORD(header->monitors);
    add_words(header->chain, 4, 4);
    ADD_WORD(header->chain[ROSTER_SEGMENTS_MAX - 1]);
    add_words(header->subscriber_blocks, 4, 4);
    ADD_WORD(header->subscriber_blocks[SUBSCRIBER_BLOCKS_MAX - 1]);
    add_words(header->publisher_blocks, 4, 4);
    ADD_WORD(header->publisher_blocks[PUBLISHER_BLOCKS_MAX - 1]);
}

static void add_identity_words(struct identity *who) {
    ADD_WORD(who->number);
    ADD_WORD(who->start_time);
    ADD_WORD(who->namespaces);
    ADD_WORD(who->opened_ns);
    ADD_WORD(who->pid);
    add_words(who->command, 8, 2);
}

void image_add_publisher_words(struct publisher_slot *publisher) {
    ADD_WORD(publisher->state);
    ADD_WORD(publisher->incarnation);
    ADD_WORD(publisher->refuses_reliable);
    ADD_WORD(publisher->pending_key);
    ADD_WORD(publisher->freed_ns);
    ADD_WORD(publisher->segment.nonce);
    ADD_WORD(publisher->segment.bytes);
    ADD_WORD(publisher->segment.id);
    ADD_WORD(publisher->segment.backend);
    add_identity_words(&publisher->who);
    ADD_WORD(publisher->space);
    ADD_WORD(publisher->wanted);
    add_words(publisher->rows, 4, 2);
    ADD_WORD(publisher->rows[ROWS_MAX - 1]);
    ADD_WORD(publisher->ended);
}

void image_add_subscriber_words(struct subscriber_slot *subscriber) {
    ADD_WORD(subscriber->state);
    ADD_WORD(subscriber->incarnation);
    ADD_WORD(subscriber->reliable);
    ADD_WORD(subscriber->doorbell);
    ADD_WORD(subscriber->freed_ns);
    ADD_WORD(subscriber->pending_key);
    ADD_WORD(subscriber->cell_list);
    ADD_WORD(subscriber->ended);
    ADD_WORD(subscriber->role);
    add_identity_words(&subscriber->who);
    add_words(subscriber->cells, 8, 3);
    ADD_WORD(subscriber->cells[CELLS_INLINE - 1]);
}

/* ---- words of a publisher's segments ---------------------------------------------------------------------------- */

static void add_reference_words(struct segment_ref *reference) {
    ADD_WORD(reference->nonce);
    ADD_WORD(reference->bytes);
    ADD_WORD(reference->id);
    ADD_WORD(reference->backend);
}

void image_add_header_words(struct segment_header *header) {
    ADD_WORD(header->magic);
    ADD_WORD(header->layout_major);
    ADD_WORD(header->layout_minor);
    ADD_WORD(header->nonce);
    ADD_WORD(header->bytes);
    ADD_WORD(header->number);
    ADD_WORD(header->extent_count);
    ADD_WORD(header->table_offset);
    ADD_WORD(header->data_offset);
    if (header->number > 0)
        return;
    ADD_WORD(header->newest);
    ADD_WORD(header->oldest);
    ADD_WORD(header->segment_count);
    ADD_WORD(header->sent);
    for (int i = 1; i <= 2; i++)
        add_reference_words(&header->chain[i]);
    add_reference_words(&header->chain[SEGMENTS_MAX - 1]);
}

void image_add_entry_words(struct extent_entry *entry) {
    ADD_WORD(entry->generation);
    ADD_WORD(entry->first_sequence);
    ADD_WORD(entry->offset);
    ADD_WORD(entry->bytes);
}

static uint64_t body_bytes(uint64_t word) {
    uint64_t payload_bytes = (word & RECORD_SIZE_MASK) + (word & RECORD_TIMED ? 8 : 0);
    switch ((enum record_kind)(word >> RECORD_KIND_SHIFT)) {
    case RECORD_MESSAGE:
    case RECORD_HOLE:
        return round_up(payload_bytes, 8);
    case RECORD_REFERENCE:
        return sizeof(struct record_reference);
    case RECORD_JUMP:
    case RECORD_DROPPED:
        break;
    }
    return 0;
}

/* Header words of the records of an extent, and what stands in those that lead elsewhere; and the 0 behind them. */
static void add_record_words(char *at, unsigned payload_words) {
    for (uint64_t word = 0;; at += RECORD_HEADER_BYTES + body_bytes(word) + record_pad_bytes(word)) {
        word = load_acquire(word_at(at, 0));
        ADD_WORD(*word_at(at, 0));
        void *body = at + RECORD_HEADER_BYTES;
        if (word >> RECORD_KIND_SHIFT == RECORD_MESSAGE)
            add_words(body, 8, (word & RECORD_SIZE_MASK) / 8 < payload_words ? 0 : payload_words);
        struct record_reference *reference = body;
        struct record_jump *jump = body;
        if (word >> RECORD_KIND_SHIFT == RECORD_REFERENCE) {
            ADD_WORD(reference->generation);
            ADD_WORD(reference->offset);
            ADD_WORD(reference->extent);
            add_link(&reference->extent, &reference->generation);
        } else if (word >> RECORD_KIND_SHIFT == RECORD_JUMP) {
            ADD_WORD(jump->generation);
            ADD_WORD(jump->first_line);
            ADD_WORD(jump->extent);
            add_link(&jump->extent, &jump->generation);
        }
        if (word == 0 || word >> RECORD_KIND_SHIFT == RECORD_JUMP)
            return;
    }
}

void image_add_log_words(char *const *bases, unsigned count, unsigned payload_words) {
    for (unsigned i = 0; i < count; i++) {
        struct segment_header *header = (void *)bases[i];
        struct extent_entry *table = (void *)(bases[i] + header->table_offset);
        image_add_header_words(header);
        for (uint32_t k = 0; k < header->extent_count; k++) {
            if (table[k].generation == 0)
                continue;
            image_add_entry_words(&table[k]);
            add_target(extent_ref_make(i, k), table[k].generation);
            add_record_words(bases[i] + table[k].offset, payload_words);
        }
    }
}

void look_at_payload(const void *data, uint64_t bytes) {
    const volatile unsigned char *payload = data;
    for (uint64_t at = 0; at < bytes; at += BLOCK_BYTES)
        (void)payload[at];
    if (bytes)
        (void)payload[bytes - 1];
}
