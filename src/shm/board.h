/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A blackboard's table of keys, in the roster: which keys there are, who may set each, where its latest value lies.
 *
 * Finding. Keys have numbers from 0 on, without gaps: who looks for a name goes through them, and claims the hash of
 * the first entry that is free. Then it writes the name there; who comes by an entry of its hash without a name (its
 * claimer was killed, or is slow) writes the same words. Two names of one hash are an error for who comes second.
 *
 * Holding. The holder of a key is the only one that writes it. It became that by one compare-and-swap (K3) of a word
 * that named nobody, or somebody of whom the kernel says that he is dead. No lock is needed for that: being over is
 * final, and each value of the word is a new one, so of two takers one loses, whatever either was stopped for.
 *
 * Values. There are two pairs of {whose memory, where in it}. current says which counts.
 *
 *   the holder sets a value                            a reader
 *   write it to a place of its memory (arena.h)        c = current (acquire, K1)
 *   version = its version                              owner, place = pair c (acquire, K2)
 *   does the current pair name me?                     name place's extent of owner in a cell; fence (P1)
 *     place of that pair (release, K2)                 pair c's place again (acquire, K2): lies in that extent?
 *     else the other pair: owner, place (release, K2)  current is still c? then the value is there until the
 *       then current = that one (release, K1)          cell is cleared; else again
 *
 *   A pair that current does not name is seen by nobody, or by a reader that started before the key changed hands
 *   twice. If such a one reads a word of the filling (K2), it sees all that the filler saw before, a later current
 *   among it: so its last look at current tells. Nobody takes one writer's place for another's.
 *   Killed between any two steps: current names the old pair, which is whole, or the new one, which is.
 *
 *   P1 is that of arena.h: the word that says that a place is over is the pair's place, or, when the key changed hands,
 *   current. The old owner learns the latter by looking.
 *
 * A reader that has the extent in a cell already (it read there last) needs no fence: its last hold was validated, and
 * places of that extent that it sees now are later than that. So reading a value again is loads alone.
 *
 * Each try of a reader fails only if the writer moved on to another extent just then. After some it names all extents
 * of the owner at once, which cannot fail but by another taking the key over; that takes him a system call.
 *
 * version is written before the place: it may lead the value, never lag. So who has read that version has read the
 * latest.
 */
#ifndef TARN_SHM_BOARD_H
#define TARN_SHM_BOARD_H

#include "shm/roster.h"

/* Why a name cannot be a key's; NULL: it can. */
const char *board_name_problem(const char *name);

/*
 * The number of the key of that name, which is made if there is none. A negative errno: -EUSERS: there are KEYS_MAX;
 * -EEXIST: another name has its hash, or a peer wrote nonsense there.
 */
int64_t board_find(struct roster *roster, const char *name, const struct roster_taker *taker);

/* The entry of a key; NULL: none of that number is there, or it cannot be attached now. */
struct board_key *board_key(struct roster *roster, uint32_t number);

/* Its name; false: it has none yet, or nonsense. */
bool board_name(struct board_key *key, char ret[static KEY_NAME_BYTES]);

/* The holder's value, at that place of its memory, is the latest from now on. */
void board_publish(struct board_key *key, uint64_t owner, uint64_t place, uint64_t version);

/* Where a key's latest value is. */
struct key_value {
    uint64_t current, owner, place;
};

/* One look. False: there is no value. Not a snapshot of all three: see above for what the reader compares. */
static inline bool board_look(struct board_key *key, struct key_value *ret) {
    ret->current = load_acquire(&key->current); /* K1 */
    struct key_pair *pair = &key->pairs[ret->current & 1];
    ret->owner = load_acquire(&pair->owner); /* K2 */
    ret->place = load_acquire(&pair->place); /* K2 */
    return ret->current != 0;
}

/* Whether the key's latest value lies in that writer's memory. */
static inline bool board_is_of(struct board_key *key, uint64_t owner) {
    struct key_value value;
    return board_look(key, &value) && value.owner == owner;
}

/*
 * Visits the places of latest values in that writer's memory, until one visit returns true: then true. Also where some
 * keys cannot be looked at now.
 */
typedef bool board_visit(void *context, uint64_t place);
bool board_visit_places_of(struct roster *roster, uint64_t owner, board_visit *visit, void *context);

#endif
