/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See common.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

#define WORDS_MAX 8192
#define DAMAGES_MAX 16
#define GROUPS_MAX 8

/* ---- words ------------------------------------------------------------------------------------------------------ */

struct word {
    void *at;
    size_t bytes;
};

static struct word words[WORDS_MAX];
static unsigned word_count;
static unsigned group_starts[GROUPS_MAX + 1], group_count; /* no group: one of all words */

_Noreturn void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    abort();
}

void add_word(const volatile void *attached, size_t bytes) {
    EXPECT(word_count < WORDS_MAX && (bytes == 4 || bytes == 8));
    words[word_count++] = (struct word){segment_raw(attached), bytes};
}

void add_words(const volatile void *attached, size_t bytes, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        add_word((const volatile char *)attached + i * bytes, bytes);
}

void add_group(void) {
    EXPECT(group_count < GROUPS_MAX);
    group_starts[group_count++] = word_count;
}

static unsigned groups(void) {
    return group_count ? group_count : 1;
}

static unsigned words_in(unsigned group) {
    unsigned end = group + 1 < groups() ? group_starts[group + 1] : word_count;
    return end - group_starts[group];
}

unsigned group_of(const struct input *input) {
    return input->number % groups();
}

/* By its number in the input's group. */
static const struct word *word_of(const struct input *input, uint64_t number) {
    unsigned group = group_of(input);
    return &words[group_starts[group] + number % words_in(group)];
}

/* Two words that name an extent, and all that could stand there and make sense. */
struct link {
    struct word extent, generation;
};
struct target {
    uint32_t extent;
    uint64_t generation;
};

#define LINKS_MAX 128
static struct link links[LINKS_MAX];
static struct target targets[LINKS_MAX];
static unsigned link_count, target_count;

void add_link(const volatile void *extent, const volatile void *generation) {
    EXPECT(link_count < LINKS_MAX);
    links[link_count++] = (struct link){{segment_raw(extent), 4}, {segment_raw(generation), 8}};
}

void add_target(uint32_t extent, uint64_t generation) {
    EXPECT(target_count < LINKS_MAX);
    targets[target_count++] = (struct target){extent, generation};
}

static uint64_t read_word(const struct word *word) {
    uint64_t value = 0;
    memcpy(&value, word->at, word->bytes);
    return value;
}

static void write_word(const struct word *word, uint64_t value) {
    memcpy(word->at, &value, word->bytes);
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

static const uint64_t bounds[] = {
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    31,
    32,
    40,
    63,
    64,
    127,
    128,
    255,
    256,
    511,
    512,
    4095,
    4096,
    4097,
    8191,
    8192,
    0xffff,
    EXTENT_BYTES_MIN - RECORD_JUMP_BYTES,
    EXTENT_BYTES_MIN - RECORD_HEADER_BYTES,
    EXTENT_BYTES_MIN,
    EXTENT_BYTES_MIN + 8,
    1u << 20,
    (1u << 20) + 4096,
    (1u << EXTENT_INDEX_BITS) - 1,
    1u << EXTENT_INDEX_BITS,
    SEGMENTS_MAX << EXTENT_INDEX_BITS,
    UINT32_C(255) << EXTENT_INDEX_BITS,
    INT32_MAX,
    UINT32_C(1) << 31,
    UINT32_MAX - 1,
    UINT32_MAX,
    UINT64_C(1) << 32,
    COUNT_MASK - 8,
    COUNT_MASK - 1,
    COUNT_MASK,
    UINT64_C(1) << 48,
    INT64_MAX,
    UINT64_C(1) << 63,
    UINT64_MAX - 4095,
    UINT64_MAX - 7,
    UINT64_MAX,
};
static const uint64_t steps[] = {1, 8, 64, 4096, EXTENT_BYTES_MIN, 1u << EXTENT_INDEX_BITS};

#define BOUNDS (sizeof bounds / sizeof bounds[0])
#define STEPS (sizeof steps / sizeof steps[0])
#define KINDS 16 /* of records */
#define VALUES_32 (BOUNDS + 2 * STEPS)
#define VALUES_64 (VALUES_32 + 2 * BOUNDS + KINDS + 2)

/* Number n of the values that are worth trying where one of these stands. */
static uint64_t value_worth_trying(unsigned n, uint64_t is) {
    if (n < BOUNDS)
        return bounds[n];
    n -= BOUNDS;
    if (n < 2 * STEPS)
        return n % 2 ? is + steps[n / 2] : is - steps[n / 2];
    n -= 2 * STEPS;
    if (n < BOUNDS) /* the same incarnation, or kind of record */
        return (is & ~COUNT_MASK) | (bounds[n] & COUNT_MASK);
    n -= BOUNDS;
    if (n < BOUNDS) /* another extent of the same publisher */
        return (is & ~(uint64_t)UINT32_MAX) | (bounds[n] & UINT32_MAX);
    n -= BOUNDS;
    if (n < KINDS)
        return (is & ~(UINT64_C(15) << RECORD_KIND_SHIFT)) | (uint64_t)n << RECORD_KIND_SHIFT;
    return n == KINDS ? is ^ RECORD_TIMED : is | RECORD_PAD_MASK << RECORD_PAD_SHIFT;
}

/* Bounds under the same high bits, where those are 0, or the bound's low bits are one that is tried anyway. */
static bool is_tried_already(unsigned n, uint64_t is) {
    if (n < VALUES_32 || n >= VALUES_32 + 2 * BOUNDS)
        return false;
    n -= VALUES_32;
    return n < BOUNDS ? is <= COUNT_MASK : is <= UINT32_MAX || bounds[n - BOUNDS] > UINT32_MAX;
}

/* ---- damages ---------------------------------------------------------------------------------------------------- */

enum how {
    SET,   /* the value */
    BOUND, /* one that is worth trying: number argument */
    FLIP,  /* bit number argument */
    ADD,   /* argument, signed */
    COPY,  /* what stands in the word of number value, of the same group */
    LEAD,  /* the jump or reference of number value: to an extent that is there, of number argument */
    SWEEP, /* all that are worth trying, one after the other: a run each. Only as an input's first and only damage */
    HOWS,
};

/* As bytes of the input, little-endian. */
struct damage {
    uint8_t when_and_how; /* how x WHENS + when */
    uint8_t argument;
    uint16_t word;
    uint64_t value;
} __attribute__((packed));

struct undo {
    struct word word;
    uint64_t was;
};

#define UNDOS_MAX (2 * DAMAGES_MAX)
static struct undo undos[UNDOS_MAX];
static unsigned undo_count;
static unsigned sweep_value;
static uint64_t run_count;

static struct damage damage_at(const struct input *input, unsigned i) {
    struct damage damage;
    memcpy(&damage, input->damages + i * sizeof damage, sizeof damage);
    return damage;
}

static unsigned when_of(struct damage damage) {
    return damage.when_and_how % WHENS;
}

static enum how how_of(struct damage damage) {
    return damage.when_and_how / WHENS % HOWS;
}

static unsigned values_of(const struct word *word) {
    return word->bytes == 8 ? VALUES_64 : VALUES_32;
}

static uint64_t damaged_value(const struct input *input, struct damage damage, const struct word *word) {
    uint64_t is = read_word(word);
    switch (how_of(damage)) {
    case SET:
        return damage.value;
    case BOUND:
        return value_worth_trying(damage.argument % values_of(word), is);
    case FLIP:
        return is ^ UINT64_C(1) << damage.argument % (8 * word->bytes);
    case ADD:
        return is + (uint64_t)(int64_t)(int8_t)damage.argument;
    case COPY:
        return read_word(word_of(input, damage.value));
    case LEAD:
    case SWEEP:
    case HOWS:
        break;
    }
    return value_worth_trying(sweep_value, is);
}

static void write_damage(const struct word *word, uint64_t value) {
    EXPECT(undo_count < UNDOS_MAX);
    undos[undo_count++] = (struct undo){*word, read_word(word)};
    write_word(word, value);
}

static void lead_elsewhere(struct damage damage) {
    if (link_count == 0 || target_count == 0)
        return;
    const struct link *link = &links[damage.value % link_count];
    const struct target *target = &targets[damage.argument % target_count];
    write_damage(&link->extent, target->extent);
    write_damage(&link->generation, target->generation);
}

void damage(const struct input *input, unsigned when) {
    for (unsigned i = 0; i < input->damage_count; i++) {
        struct damage damage = damage_at(input, i);
        const struct word *word = word_of(input, damage.word);
        if (when_of(damage) != when)
            continue;
        if (how_of(damage) == LEAD)
            lead_elsewhere(damage);
        else
            write_damage(word, damaged_value(input, damage, word));
    }
}

bool is_damaged_behind(const struct input *input, unsigned when) {
    for (unsigned i = 0; i < input->damage_count; i++)
        if (when_of(damage_at(input, i)) > when)
            return true;
    return false;
}

static void run(const struct input *input) {
    run_count++;
    segments_restore();
    target_run(input);
    while (undo_count > 0) {
        undo_count--;
        write_word(&undos[undo_count].word, undos[undo_count].was);
    }
    segments_expect_none_left();
}

static bool is_sweep(const struct input *input) {
    return input->damage_count == 1 && how_of(damage_at(input, 0)) == SWEEP;
}

static void run_input(const struct input *input) {
    if (!is_sweep(input)) {
        run(input);
        return;
    }
    const struct word *word = word_of(input, damage_at(input, 0).word);
    struct input each = *input;
    for (sweep_value = 0; sweep_value < values_of(word); sweep_value++) {
        each.options = (input->options + sweep_value * 37) % 256; /* all that a target does has its turn */
        if (!is_tried_already(sweep_value, read_word(word)))
            run(&each);
    }
    sweep_value = 0;
}

/* ---- libFuzzer -------------------------------------------------------------------------------------------------- */

#define OPTION_BYTES 2u

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t most, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t bytes, size_t most);

static void say_runs(void) {
    fprintf(stderr, "%s: %llu runs over a damaged image, %u words\n", target_name, (unsigned long long)run_count,
            word_count);
}

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count;
    (void)arguments;
    target_build();
    for (unsigned options = 0; options < 256; options++) /* without damage all has to work: see the targets */
        run(&(struct input){.options = options, .number = options * 7 % 256});
    run_count = 0;
    atexit(say_runs);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes < OPTION_BYTES)
        return 0;
    size_t damages = (bytes - OPTION_BYTES) / sizeof(struct damage);
    run_input(&(struct input){
        .options = data[0],
        .number = data[1],
        .damages = data + OPTION_BYTES,
        .damage_count = damages < DAMAGES_MAX ? (unsigned)damages : DAMAGES_MAX,
    });
    return 0;
}

static uint64_t mix(uint64_t *state) {
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static size_t append_damage(uint8_t *data, size_t at, enum how how, uint64_t moment, uint64_t word, uint64_t random) {
    struct damage damage = {
        .when_and_how = (uint8_t)(how * WHENS + moment % WHENS),
        .argument = (uint8_t)(random >> 8),
        .word = (uint16_t)word,
        .value = how == SWEEP ? 0 : random,
    };
    memcpy(data + at, &damage, sizeof damage);
    return at + sizeof damage;
}

static void write_options(uint8_t *data, uint64_t random) {
    data[0] = (uint8_t)random;
    data[1] = (uint8_t)(random >> 8);
}

static uint64_t sweep_count(void) {
    unsigned most = 0;
    for (unsigned group = 0; group < groups(); group++)
        most = words_in(group) > most ? words_in(group) : most;
    return (uint64_t)most * groups() * WHENS;
}

/* Groups take turns; and in each the words, one moment after the other, from those that were added last. */
static size_t append_sweep(uint8_t *data, uint64_t n) {
    static const uint8_t moments[WHENS] = {0, 2, 3, 1};
    unsigned group = (unsigned)(n % groups()), count = words_in(group);
    n /= groups();
    data[1] = (uint8_t)(data[1] / groups() * groups() + group);
    return append_damage(data, OPTION_BYTES, SWEEP, moments[n / count % WHENS], count - 1 - n % count, 0);
}

/* One of those that a target added last, as it is about them. */
static uint64_t late_word(uint8_t number, uint64_t random) {
    unsigned count = words_in(number % groups());
    return count - 1 - random % (count / 4 + 1);
}

/*
 * First a sweep over each word, from the words that a target added last, as it is about those: alone, or with others in
 * between where runs take long. Else one damage, or one more.
 */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t most, unsigned seed) {
    static uint64_t calls, sweeps;
    uint64_t state = seed;
    if (most < OPTION_BYTES + sizeof(struct damage))
        return LLVMFuzzerMutate(data, bytes, most);
    if (calls++ % target_calls_per_sweep == 0 && sweeps < sweep_count()) {
        write_options(data, mix(&state));
        return append_sweep(data, sweeps++);
    }
    uint64_t choice = mix(&state) % 8;
    if (choice == 0)
        return LLVMFuzzerMutate(data, bytes, most);
    size_t whole = bytes < OPTION_BYTES ? 0 : (bytes - OPTION_BYTES) / sizeof(struct damage) * sizeof(struct damage);
    bool fresh = choice < 4 || bytes < OPTION_BYTES || whole + OPTION_BYTES + sizeof(struct damage) > most;
    if (fresh || choice == 4)
        write_options(data, mix(&state));
    uint64_t moment = mix(&state), word = mix(&state), how = mix(&state);
    if (mix(&state) % 2)
        word = late_word(data[1], word);
    return append_damage(data, fresh ? OPTION_BYTES : OPTION_BYTES + whole, how % SWEEP, moment, word, mix(&state));
}
