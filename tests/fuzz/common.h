/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What the fuzz targets share. A target builds a small valid image once: a roster, a publisher's segments, a topic
 * file. Then, for each input, the image is put in order again, damaged as the input says, and the target does with it
 * what a participant does. That may fail, or lose messages and count them. It must not crash, go out of bounds, loop or
 * leak.
 *
 *   segments.c   stands in for src/shm/segment.c: memory of the process between guard pages, of which AddressSanitizer
 *                knows which part is attached, and how often
 *   damage.c     what an input means, the words of the image that are worth damaging, libFuzzer's side
 *   image.c      a roster with participants
 *
 * An input is two bytes of options, then damages of 12 bytes: when, how, which word, and a value; see struct damage. A
 * whole sweep over the values that are worth trying in one word is an input, too, and libFuzzer is given a sweep over
 * each word before it may try what it likes.
 */
#ifndef TARN_TESTS_FUZZ_COMMON_H
#define TARN_TESTS_FUZZ_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/roster.h"
#include "shm/writer.h"

/* Ends the process as libFuzzer wants it, with a sentence. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define EXPECT(condition) ((condition) ? (void)0 : die("%s:%d: EXPECT(%s)", __FILE__, __LINE__, #condition))

/* ---- segments.c ------------------------------------------------------------------------------------------------- */

/* The same memory as the library sees at an address, for us: never read-only, and known to the sanitizer as good. */
void *segment_raw(const volatile void *attached);

/* Ids are given in order, and those of segments that are gone again. Where one is attached writable. */
#define SEGMENT_FIRST_ID 100
void *segment_base_of(int32_t id);

/* The segments that exist now, with what is in them, are the image; those of rosters are written by operations, too. */
void segments_keep(void);
/* As they were kept; what was made since is gone. */
void segments_restore(void);
/* Those that only their publisher writes, too: where it has closed since, and is to be there again, as if killed. */
void segments_restore_all(void);
/* The id of the segment that is made next, as long as none is gone. */
int32_t segment_next_id(void);
/* Whether as many are attached as when they were restored. */
void segments_expect_none_left(void);

/* ---- damage.c --------------------------------------------------------------------------------------------------- */

#define WHENS 4 /* moments at which a target lets damage be done */

struct input {
    unsigned options, number; /* as the target likes */
    const uint8_t *damages;
    unsigned damage_count;
};

/* A word of the image that is worth damaging. */
#define ADD_WORD(word) add_word(&(word), sizeof(word))
void add_word(const volatile void *attached, size_t bytes);
void add_words(const volatile void *attached, size_t bytes, unsigned count);

/*
 * Words added from now on are of a new group. An input does damage to those of one group only: its number tells which.
 */
void add_group(void);
unsigned group_of(const struct input *input);

/* Two words of a jump or reference; and what it may be made to lead to. */
void add_link(const volatile void *extent, const volatile void *generation);
void add_target(uint32_t extent, uint64_t generation);

/* Does what the input says for that moment. Undone after the run. */
void damage(const struct input *input, unsigned when);
/* Whether the input does no damage behind that moment. */
bool is_damaged_behind(const struct input *input, unsigned when);

/* What a target has: its name, the building of its image, and one run over it. */
extern const char target_name[];
extern const unsigned target_calls_per_sweep; /* inputs for each that is a sweep, while there are words not swept yet */
void target_build(void);
void target_run(const struct input *input);

/* ---- image.c ---------------------------------------------------------------------------------------------------- */

#define IMAGE_INCARNATION 1
#define IMAGE_PUBLISHERS 2
#define IMAGE_SUBSCRIBERS 20 /* in two blocks */

extern struct roster image_roster;
extern const struct segment_access image_access;

/* A roster with so many participants, of which subscribers with odd slots are reliable. Its words are added. */
void image_build_roster(void);
struct publisher_slot *image_publisher(uint32_t slot);
struct subscriber_slot *image_subscriber(uint32_t slot);
/* The row where that publisher finds the subscriber's words, made if need be. Its words are added. */
struct reader_row *image_row(uint32_t publisher_slot, uint32_t subscriber_slot);
void image_add_publisher_words(struct publisher_slot *publisher);
void image_add_subscriber_words(struct subscriber_slot *subscriber);
void image_add_roster_words(struct roster *roster);
void image_add_header_words(struct segment_header *header);
void image_add_entry_words(struct extent_entry *entry);
/*
 * All words of a publisher's segments: headers, tables, records, and so many words of each message. base: of number
 * 0, 1, ...
 */
void image_add_log_words(char *const *bases, unsigned count, unsigned payload_words);

/* Reads a little of each page, and the last byte. */
void look_at_payload(const void *data, uint64_t bytes);

#endif
