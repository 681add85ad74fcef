/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The shared layout, in numbers. Processes of different builds share this memory, so a field that moved is a new
 * layout: whoever changes a number here raises TARN_LAYOUT_MINOR (or MAJOR) in shm/layout.h as well, and draws
 * docs/layout.md anew. The same for the words: how they are packed is part of the layout.
 */
#include <stddef.h>

#include "harness.h"
#include "shm/layout.h"
#include "shm/log.h"

struct golden {
    const char *what;
    size_t is, expected;
};

#define SIZE(type, bytes)                                                                                              \
    { "sizeof(struct " #type ")", sizeof(struct type), bytes }
#define FIELD(type, field, offset)                                                                                     \
    { "offset of " #type "." #field, offsetof(struct type, field), offset }

static void check_golden(const struct golden *golden, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (golden[i].is != golden[i].expected)
            FAIL("%s is %zu, not %zu: another layout", golden[i].what, golden[i].is, golden[i].expected);
}
#define CHECK_GOLDEN(table) check_golden(table, sizeof table / sizeof table[0])

static const struct golden roster[] = {
    SIZE(segment_ref, 24),
    FIELD(segment_ref, nonce, 0),
    FIELD(segment_ref, bytes, 8),
    FIELD(segment_ref, id, 16),
    FIELD(segment_ref, backend, 20),
    SIZE(roster_segment, 64),
    FIELD(roster_segment, magic, 0),
    FIELD(roster_segment, layout_major, 8),
    FIELD(roster_segment, layout_minor, 12),
    FIELD(roster_segment, nonce, 16),
    FIELD(roster_segment, number, 24),
    FIELD(roster_segment, blocks, 28),
    FIELD(roster_segment, first_block, 32),
    FIELD(roster_segment, usable_from, 36),
    FIELD(roster_segment, reserved, 40),
    SIZE(roster_header, 4352),
    FIELD(roster_header, bell, 0),
    FIELD(roster_header, changes, 64),
    FIELD(roster_header, publisher_slots, 68),
    FIELD(roster_header, subscriber_slots, 72),
    FIELD(roster_header, doorbells, 76),
    FIELD(roster_header, type_block, 80),
    FIELD(roster_header, pattern, 84),
    FIELD(roster_header, pattern_block, 88),
    FIELD(roster_header, monitors, 92),
    FIELD(roster_header, chain, 128),
    FIELD(roster_header, subscriber_blocks, 256),
    FIELD(roster_header, publisher_blocks, 2304),
    SIZE(roster_type, 32),
    FIELD(roster_type, total_bytes, 0),
    FIELD(roster_type, alignment, 4),
    FIELD(roster_type, payload_bytes, 8),
    FIELD(roster_type, name_bytes, 16),
    FIELD(roster_type, encoding_bytes, 20),
    FIELD(roster_type, schema_bytes, 24),
    FIELD(roster_type, reserved, 28),
};

static const struct golden slots[] = {
    SIZE(identity, 56),
    FIELD(identity, number, 0),
    FIELD(identity, start_time, 8),
    FIELD(identity, namespaces, 16),
    FIELD(identity, opened_ns, 24),
    FIELD(identity, pid, 32),
    FIELD(identity, uid, 36),
    FIELD(identity, command, 40),
    SIZE(publisher_slot, 512),
    FIELD(publisher_slot, state, 0),
    FIELD(publisher_slot, incarnation, 4),
    FIELD(publisher_slot, refuses_reliable, 8),
    FIELD(publisher_slot, pending_key, 12),
    FIELD(publisher_slot, freed_ns, 16),
    FIELD(publisher_slot, segment, 24),
    FIELD(publisher_slot, ended, 48),
    FIELD(publisher_slot, who, 64),
    FIELD(publisher_slot, space, 128),
    FIELD(publisher_slot, wanted, 136),
    FIELD(publisher_slot, depth, 144),
    FIELD(publisher_slot, limit_bytes, 152),
    FIELD(publisher_slot, full_timeout_ns, 160),
    FIELD(publisher_slot, when_full, 168),
    FIELD(publisher_slot, realtime, 172),
    FIELD(publisher_slot, rows, 192),
    FIELD(publisher_slot, pattern_words, 448),
    FIELD(publisher_slot, queue, 448),
    SIZE(queue_words, 64),
    FIELD(queue_words, list, 0),
    FIELD(queue_words, capacity, 4),
    FIELD(queue_words, first, 8),
    FIELD(queue_words, claim_limit_ns, 16),
    FIELD(queue_words, attempts_max, 24),
    FIELD(queue_words, requeues, 28),
    FIELD(queue_words, reserved, 32),
    SIZE(reader_row, 2560),
    FIELD(reader_row, oldest, 0),
    FIELD(reader_row, cursor, 1024),
    FIELD(reader_row, attached, 2048),
    SIZE(subscriber_slot, 256),
    FIELD(subscriber_slot, state, 0),
    FIELD(subscriber_slot, incarnation, 4),
    FIELD(subscriber_slot, reliable, 8),
    FIELD(subscriber_slot, doorbell, 12),
    FIELD(subscriber_slot, freed_ns, 16),
    FIELD(subscriber_slot, taken, 24),
    FIELD(subscriber_slot, lost, 32),
    FIELD(subscriber_slot, pending_key, 40),
    FIELD(subscriber_slot, cell_list, 44),
    FIELD(subscriber_slot, load, 48),
    FIELD(subscriber_slot, attached, 52),
    FIELD(subscriber_slot, who, 56),
    FIELD(subscriber_slot, ended, 112),
    FIELD(subscriber_slot, bell, 120),
    FIELD(subscriber_slot, role, 124),
    FIELD(subscriber_slot, cells, 128),
    SIZE(cell_list, 544),
    FIELD(cell_list, blocks, 0),
    SIZE(event_directory, 1088),
    FIELD(event_directory, ids, 0),
    FIELD(event_directory, blocks, 64),
    SIZE(event_counter, 16),
    FIELD(event_counter, raised, 0),
    FIELD(event_counter, deaths, 8),
};

static const struct golden segments[] = {
    SIZE(segment_header, 1088),
    FIELD(segment_header, magic, 0),
    FIELD(segment_header, layout_major, 8),
    FIELD(segment_header, layout_minor, 12),
    FIELD(segment_header, nonce, 16),
    FIELD(segment_header, bytes, 24),
    FIELD(segment_header, number, 32),
    FIELD(segment_header, extent_count, 36),
    FIELD(segment_header, table_offset, 40),
    FIELD(segment_header, data_offset, 48),
    FIELD(segment_header, newest, 64),
    FIELD(segment_header, oldest, 68),
    FIELD(segment_header, segment_count, 72),
    FIELD(segment_header, reserved, 76),
    FIELD(segment_header, bytes_held, 80),
    FIELD(segment_header, sent, 88),
    FIELD(segment_header, chain, 96),
    SIZE(extent_entry, 64),
    FIELD(extent_entry, generation, 0),
    FIELD(extent_entry, first_sequence, 8),
    FIELD(extent_entry, offset, 16),
    FIELD(extent_entry, bytes, 24),
    SIZE(record_reference, 32),
    FIELD(record_reference, generation, 0),
    FIELD(record_reference, offset, 8),
    FIELD(record_reference, sent_ns, 16),
    FIELD(record_reference, extent, 24),
    FIELD(record_reference, reserved, 28),
    SIZE(record_jump, 24),
    FIELD(record_jump, generation, 0),
    FIELD(record_jump, first_line, 8),
    FIELD(record_jump, extent, 16),
};

TEST(version_is_that_of_these_numbers) {
    CHECK_INT(TARN_LAYOUT_MAJOR, ==, 0);
    CHECK_INT(TARN_LAYOUT_MINOR, ==, 6);
}

TEST(structs_lie_where_they_lay) {
    CHECK_GOLDEN(roster);
    CHECK_GOLDEN(slots);
    CHECK_GOLDEN(segments);
}

/* What one process writes and others read often has a cache line of its own. */
TEST(busy_words_have_lines_of_their_own) {
    CHECK_INT(offsetof(struct roster_header, changes) - offsetof(struct roster_header, bell), >=, 64);
    CHECK_INT(offsetof(struct roster_header, chain) - offsetof(struct roster_header, changes), >=, 64);
    CHECK_INT(offsetof(struct publisher_slot, space) % 64, ==, 0);
    CHECK_INT(offsetof(struct publisher_slot, rows) - offsetof(struct publisher_slot, space), >=, 64);
    CHECK_INT(offsetof(struct subscriber_slot, cells) % 64, ==, 0);
    CHECK_INT(BLOCK_BYTES / PUBLISHERS_PER_BLOCK, ==, 512);
    CHECK_INT(BLOCK_BYTES / SUBSCRIBERS_PER_BLOCK, ==, 256);
}

TEST(constants_are_those_of_the_layout) {
    CHECK(ROSTER_MAGIC == UINT64_C(0x315f6e7261745f52));
    CHECK(SEGMENT_MAGIC == UINT64_C(0x315f6e7261745f53));
    CHECK_INT(ROSTER_HEADER_OFFSET, ==, 512);
    CHECK_INT(ROSTER_FIRST_BLOCKS, ==, 32);
    CHECK_INT(ROSTER_SEGMENTS_MAX, ==, 20);
    CHECK_INT(SUBSCRIBERS_MAX, ==, 8192);
    CHECK_INT(PUBLISHERS_MAX, ==, 4096);
    CHECK_INT(ROWS_MAX, ==, 64);
    CHECK_INT(SEGMENTS_MAX, ==, 40);
    CHECK_INT(EXTENT_BYTES_MIN, ==, 65536);
    CHECK_INT(EXTENT_GRAIN, ==, 4096);
    CHECK_INT(TOPIC_LOCK_MASTER, ==, 0);
    CHECK_INT(TOPIC_LOCK_PUBLISHERS, ==, 4096);
    CHECK_INT(TOPIC_LOCK_SUBSCRIBERS, ==, 65536);
    CHECK_INT(RECORD_HEADER_BYTES, ==, 8);
    CHECK_INT(RECORD_JUMP_BYTES, ==, 32);
    CHECK_INT(RECORD_REFERENCE_BYTES, ==, 40);
}

TEST(every_hold_and_position_has_a_cell) {
    uint64_t cells = CELLS_INLINE + (uint64_t)CELL_BLOCKS_MAX * CELLS_PER_BLOCK;
    CHECK_INT(cells, >=, 65536 + PUBLISHERS_MAX);
}

TEST(stamps_carry_incarnation_and_count) {
    CHECK(stamped(1, 1) == UINT64_C(0x0001000000000001));
    CHECK(stamped(0xffff, COUNT_MASK) == UINT64_MAX);
    CHECK(stamped(7, COUNT_MASK + 5) == stamped(7, 4));
    CHECK_INT(stamp_of(stamped(0xabcd, 123)), ==, 0xabcd);
    CHECK(stamped(1, 2) < stamped(1, 3));
    CHECK(stamped(1, 2) != stamped(2, 2));
}

TEST(extent_references_take_segment_and_index_apart) {
    CHECK_INT(extent_ref_make(0, 0), ==, 0);
    CHECK_INT(extent_ref_make(1, 0), ==, 0x1000000);
    for (uint32_t segment = 0; segment < SEGMENTS_MAX; segment++)
        for (uint32_t index = 1; index < 1u << EXTENT_INDEX_BITS; index = index * 2 + 1) {
            extent_ref ref = extent_ref_make(segment, index);
            CHECK(ref != EXTENT_NONE);
            CHECK_INT(extent_ref_segment(ref), ==, segment);
            CHECK_INT(extent_ref_index(ref), ==, index);
        }
}

TEST(hold_cells_name_publisher_and_extent) {
    CHECK(hold_cell(0, 1, 0) == UINT64_C(0x0000000100000000));
    CHECK(hold_cell(0x0fff, 0xabcd, 0x12345678) == UINT64_C(0x0fffabcd12345678));
    CHECK(hold_cell(0, 1, 0) != 0); /* incarnations start at 1, so no cell in use is 0 */
}

TEST(record_words_are_packed_so) {
    CHECK(record_word(RECORD_MESSAGE, 0, 0, 0) == UINT64_C(0x1000000000000000));
    CHECK(record_word(RECORD_MESSAGE, 5, 3, RECORD_TIMED) == UINT64_C(0x1403000000000005));
    CHECK(record_word(RECORD_DROPPED, RECORD_SIZE_MASK, RECORD_PAD_MASK, 0) == UINT64_C(0x53ffffffffffffff));
    for (int kind = RECORD_MESSAGE; kind <= RECORD_DROPPED; kind++) {
        uint64_t word = record_word((enum record_kind)kind, 99, 7, RECORD_TIMED);
        CHECK(word != 0);
        CHECK_INT(word >> RECORD_KIND_SHIFT, ==, kind);
        CHECK_INT(word & RECORD_SIZE_MASK, ==, 99);
        CHECK_INT(word >> RECORD_PAD_SHIFT & RECORD_PAD_MASK, ==, 7);
        CHECK(word & RECORD_TIMED);
    }
}

/* A record with the largest alignment still says where the next one is. */
TEST(pads_reach_as_far_as_alignments) {
    CHECK_INT(RECORD_PAD_MASK * 8, >=, 4096 + 2 * RECORD_HEADER_BYTES + CACHE_LINE_BYTES);
}

TEST(rounding_is_up_to_powers_of_two) {
    CHECK_INT(round_up(0, 8), ==, 0);
    CHECK_INT(round_up(1, 8), ==, 8);
    CHECK_INT(round_up(8, 8), ==, 8);
    CHECK_INT(round_up(4097, 4096), ==, 8192);
}

/* What a reader asks of a segment before it believes a word of it. */
TEST(unsound_segment_headers_are_refused) {
    static struct segment_header sound = {.layout_major = TARN_LAYOUT_MAJOR,
                                          .layout_minor = TARN_LAYOUT_MINOR,
                                          .nonce = 77,
                                          .bytes = 1 << 20,
                                          .number = 2,
                                          .extent_count = 8,
                                          .table_offset = sizeof(struct segment_header),
                                          .data_offset = 8192};
    atomic_store(&sound.magic, SEGMENT_MAGIC);
    struct segment_header header = sound;
    CHECK(segment_header_is_sound(&header, 77, 2, 1 << 20));
    CHECK(!segment_header_is_sound(&header, 78, 2, 1 << 20));
    CHECK(!segment_header_is_sound(&header, 77, 1, 1 << 20));
    CHECK(!segment_header_is_sound(&header, 77, 2, (1 << 20) - 1));
#define REFUSED_WITH(field, value)                                                                                     \
    do {                                                                                                               \
        header = sound;                                                                                                \
        header.field = (value);                                                                                        \
        CHECK(!segment_header_is_sound(&header, 77, 2, 1 << 20));                                                      \
    } while (0)
    REFUSED_WITH(magic, ROSTER_MAGIC);
    REFUSED_WITH(layout_major, TARN_LAYOUT_MAJOR + 1);
    REFUSED_WITH(data_offset, (1 << 20) + 1);
    REFUSED_WITH(table_offset, 0);
    REFUSED_WITH(table_offset, sizeof(struct segment_header) + 8);
    REFUSED_WITH(table_offset, UINT64_MAX - 63);
    REFUSED_WITH(extent_count, 8192 / 64);
    REFUSED_WITH(extent_count, UINT32_MAX);
}
