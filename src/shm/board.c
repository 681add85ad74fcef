/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See board.h. */
#include "shm/board.h"

#include <errno.h>
#include <string.h>

#include "base/points.h"

/* ---- names ---------------------------------------------------------------------------------------------------- */

const char *board_name_problem(const char *name) {
    size_t bytes = strnlen(name, KEY_NAME_BYTES);
    if (bytes == 0)
        return "it is empty";
    if (bytes == KEY_NAME_BYTES)
        return "it is longer than 63 bytes";
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)name[i] <= ' ' || name[i] == 0x7f)
            return "it has a space or a control character";
    return NULL;
}

/* Bytes are mixed as in FNV-1a, and the sum once more, as names differ in their last bytes. Never 0. */
static uint64_t hash_of(const char *name) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    hash = (hash ^ hash >> 32) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ? hash : 1;
}

/* Writes it, or finds it written. False: another name stands there. */
static bool write_name(struct board_key *key, const char *name) {
    uint64_t words[KEY_NAME_BYTES / 8] = {0};
    memcpy(words, name, strlen(name));
    for (uint32_t i = 0; i < KEY_NAME_BYTES / 8; i++) {
        uint64_t there = 0;
        /* killed here: the next one that looks for this name writes the rest */
        if (words[i] && !compare_and_swap(&key->name[i], &there, words[i]) && there != words[i])
            return false;
    }
    POINT(key_named);
    for (uint32_t i = 0; i < KEY_NAME_BYTES / 8; i++)
        if (load_acquire(&key->name[i]) != words[i])
            return false;
    return true;
}

bool board_name(struct board_key *key, char ret[static KEY_NAME_BYTES]) {
    uint64_t words[KEY_NAME_BYTES / 8];
    for (uint32_t i = 0; i < KEY_NAME_BYTES / 8; i++)
        words[i] = load_acquire(&key->name[i]);
    char name[KEY_NAME_BYTES];
    memcpy(name, words, sizeof(name));
    if (name[KEY_NAME_BYTES - 1] || board_name_problem(name) || hash_of(name) != load_acquire(&key->hash))
        return false;
    memcpy(ret, name, sizeof(name));
    return true;
}

/* ---- the table ------------------------------------------------------------------------------------------------ */

static struct key_directory *directory(struct roster *roster) {
    return roster_block(roster, load_acquire(&roster->header->pattern_block));
}

struct board_key *board_key(struct roster *roster, uint32_t number) {
    struct key_directory *blocks = directory(roster);
    if (!blocks || number >= KEYS_MAX)
        return NULL;
    struct board_key *keys = roster_block(roster, load_acquire(&blocks->blocks[number / KEYS_PER_BLOCK]));
    struct board_key *key = keys ? &keys[number % KEYS_PER_BLOCK] : NULL;
    return key && load_acquire(&key->hash) ? key : NULL;
}

/* Makes the block if need be. 0 or a negative errno. */
static int link_block(struct roster *roster, _Atomic uint32_t *link, const struct roster_taker *taker, void **ret) {
    int64_t block = roster_link_block(roster, link, BLOCK_PATTERN, 0, taker);
    *ret = block < 0 ? NULL : roster_block(roster, (uint32_t)block);
    return *ret ? 0 : block < 0 ? (int)block : -EINVAL;
}

/* Whether the entry is, or now has become, that of the hash. */
static bool claim(struct board_key *key, uint64_t hash) {
    uint64_t there = load_acquire(&key->hash);
    if (there == 0 && compare_and_swap(&key->hash, &there, hash)) {
        POINT(key_hashed);
        return true;
    }
    return there == hash;
}

int64_t board_find(struct roster *roster, const char *name, const struct roster_taker *taker) {
    uint64_t hash = hash_of(name);
    void *block;
    int error = link_block(roster, &roster->header->pattern_block, taker, &block);
    struct key_directory *blocks = block;
    for (uint32_t b = 0; !error && b < KEY_BLOCKS_MAX; b++) {
        error = link_block(roster, &blocks->blocks[b], taker, &block);
        struct board_key *keys = block;
        for (uint32_t i = 0; !error && i < KEYS_PER_BLOCK; i++)
            if (claim(&keys[i], hash))
                return write_name(&keys[i], name) ? (int64_t)b * KEYS_PER_BLOCK + i : -EEXIST;
    }
    return error ? error : -EUSERS;
}

bool board_visit_places_of(struct roster *roster, uint64_t owner, board_visit *visit, void *context) {
    struct key_directory *blocks = directory(roster);
    for (uint32_t b = 0; blocks && b < KEY_BLOCKS_MAX; b++) {
        uint32_t link = load_acquire(&blocks->blocks[b]);
        struct board_key *keys = roster_block(roster, link);
        if (!keys)
            return roster_is_unreachable(roster, link); /* who knows */
        for (uint32_t i = 0; i < KEYS_PER_BLOCK && load_acquire(&keys[i].hash); i++) {
            struct key_value value;
            if (board_look(&keys[i], &value) && value.owner == owner && visit(context, value.place))
                return true;
        }
    }
    return false;
}

/* ---- values --------------------------------------------------------------------------------------------------- */

void board_publish(struct board_key *key, uint64_t owner, uint64_t place, uint64_t version) {
    uint64_t current = load_relaxed(&key->current); /* relaxed: only its holder changes it */
    store_relaxed(&key->version, version);
    POINT(version_told);
    /* killed here: whoever waits for that version looks at the value, and finds the old one */
    struct key_pair *pair = &key->pairs[current & 1];
    if (current && load_relaxed(&pair->owner) == owner) {
        store_release(&pair->place, place); /* K2 */
        POINT(place_told);
        /* killed here: those who sleep find it in their slice */
        return;
    }
    uint64_t next = ((current >> 1) + 1) << 1 | (~current & 1);
    pair = &key->pairs[next & 1];
    store_release(&pair->owner, owner); /* K2 */
    POINT(pair_owned);
    store_release(&pair->place, place); /* K2 */
    POINT(pair_filled);
    /* killed here, or before: nobody looks at this pair, and the next holder fills it anew */
    store_release(&key->current, next); /* K1 */
    POINT(current_told);
}
