/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The log: how one publisher's messages lie in memory, and how readers follow it without being waited for.
 * writer.c writes it, extents.c owns its memory, reader.c follows it. This page holds what they agree on.
 *
 * A publisher fills one extent at a time front to back. A record is a header word and its payload in one piece.
 *
 *   commit    write payload; clear the header word where the next record will start (its place is told by this record's
 *             word); release-store this record's word (L1). A reader acquires it: 0 means nothing yet.
 *   jump      an extent's last record names the next extent and its generation. An extent is readied in this order: first
 *             header word zero, first sequence, place and size; generation (release, L2); jump to it (release, L1).
 *             Messages larger than EXTENT_BYTES_MIN get an extent of their size, so any message is one piece. When
 *             another like the last does not fit, the jump is written together with that last one: a reader
 *             then waits at the very line in which the next message will arrive, whatever its size.
 *   loans     a loan is the place at the head. When something else is sent while it is open, the place is committed as a
 *             hole, and the loan, when sent, enters as a REFERENCE record to that place.
 *
 * Holds. A reader that is in an extent, or whose user has a message of it, names the extent in a cell of its own.
 *
 *   reader enters e of generation g             publisher retires e, strictly in log order
 *   cell = e                                    e.generation = 0
 *   full fence            <-- H1 -->            full fence
 *   g == e.generation? then safe until          free once no cell names e
 *   the cell is cleared (release, R4)           (acquire, R4)
 *
 *   H1: at least one of them sees the other. Retiring is final: holders are safe, nobody new enters, and the publisher
 *   looks at the cells again later without another fence, since no new holder can appear. Only then is the extent
 *   written again. An open loan in it keeps it from being free likewise (private to the publisher).
 *
 *   Where its user has no message of the extent that it leaves, a reader changes over in one cell: it writes e's name
 *   over the last one's (release, R4), fences, and looks.
 *
 *   A reader that comes too late was overrun. It goes on at the oldest valid extent, under a hold there, and the
 *   difference of the first sequence there and its own is what it lost: exact.
 *
 * Words. Reading all cells of a thousand subscribers would be slow, so each has a word per publisher: the oldest
 * generation it may still read, held messages included. It may lag, never lead. An extent whose generation is below all
 * words is free without a look at any cell. A joiner lowers its word before it enters anywhere. Who drops a hold raises
 * the word afterwards (release, R2).
 *
 * A loan that was not sent before its extent was retired: the extent gets a new generation, above all others, when the
 * loan is sent, so that readers can enter it through the reference, and only so; it is retired again when that message
 * is no longer kept. Holders of its old generation still count, because cells name the extent.
 * One that is sent before that keeps the extent, but not in the log: when nothing else is kept there, the extent leaves
 * the log with its generation, and can be entered through the reference only.
 *
 * Reliable readers. The publisher retires an extent only when every reliable reader's cursor (next sequence it will
 * take, release R3) has passed its end. Retiring first makes joiners visible:
 *
 *   joiner: state LIVE; changes + 1 (R1); full fence; enter the newest extent, walk to its end
 *   publisher: full fence (H2); load changes (R1), cursors; retire ...
 *
 *   H2: what was retired by a publisher that did not see the joiner lies before the end that the joiner finds, since
 *   the jumps out of it were written before the fence. So nothing sent after a reliable reader joined is retired
 *   unread.
 *
 * models/holds.pml checks holds with words, rejoining and re-generation; models/join.pml the reliable joiner.
 */
#ifndef TARN_SHM_LOG_H
#define TARN_SHM_LOG_H

#include "base/atomics.h"
#include "base/compiler.h"
#include "shm/layout.h"

/* Records up to this size (header included) are packed; others start on a cache line, but for what writer_send_short() packs.
   docs/design.md has the figures. */
#define PACKED_RECORD_BYTES 32u

/*
 * Where this thread will probably write its next message: behind its last one. Who has taken a message often answers
 * it, so it asks for that line at once, while the message itself is still looked at (but see ask_for_next() in
 * reader.h). A prefetch of a place that is no more does nothing.
 */
extern _Thread_local const char *next_write STATIC_TLS;

static inline uint64_t round_up(uint64_t value, uint64_t power_of_two) {
    return (value + power_of_two - 1) & ~(power_of_two - 1);
}

static inline _Atomic uint64_t *word_at(char *extent, uint64_t offset) {
    return (_Atomic uint64_t *)(void *)(extent + offset);
}

/* Whether a segment's header is whole and of this layout: magic, sizes and table within what is mapped. */
static inline bool segment_header_is_sound(struct segment_header *header, uint64_t nonce, uint32_t number,
                                           uint64_t mapped_bytes) {
    uint64_t bytes = header->bytes, table = header->table_offset, data = header->data_offset;
    return load_acquire(&header->magic) == SEGMENT_MAGIC &&
           layout_is_ours(header->layout_major, header->layout_minor) && header->nonce == nonce &&
           header->number == number && bytes <= mapped_bytes && data <= bytes && table >= sizeof(*header) &&
           table % CACHE_LINE_BYTES == 0 && table <= data &&
           header->extent_count <= (data - table) / sizeof(struct extent_entry) &&
           header->extent_count < 1u << EXTENT_INDEX_BITS;
}

#endif
