/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A publisher that writes nonsense to its own segments while others take from it: to segment headers, the table of
 * extents, references between segments, records and jumps, at random moments, mostly to put it right again some
 * microseconds later. Who takes may be told that the log is damaged, or lose messages. He must not crash, hang, or miss
 * anything of another publisher in the same topic.
 *
 * Then one that keeps feeding: there is always one more thing to look at, none of them a message. No call takes for
 * ever.
 */
#include <inttypes.h>
#include <pthread.h>

#include "hostile.h"
#include "shm/log.h"

#define TOPIC "hostile/publisher"

/* ---- a publisher's own memory ----------------------------------------------------------------------------------- */

#define OWN_MAX 8

static char *own_segments[OWN_MAX]; /* by number in the chain */
static char *own_roster;

/* By the names that the kernel gives them in this list. */
static void find_own_memory(void) {
    FILE *maps = fopen("/proc/self/maps", "re");
    CHECK(maps);
    for (char line[512]; fgets(line, sizeof line, maps);) {
        uintptr_t start;
        if (!strstr(line, " rw-s ") || !strstr(line, "/SYSV") || sscanf(line, "%" SCNxPTR, &start) != 1)
            continue;
        const uint64_t *magic = (const uint64_t *)start;
        const struct segment_header *header = (const struct segment_header *)start;
        if (*magic == ROSTER_MAGIC && ((const struct roster_segment *)start)->number == 0)
            own_roster = (char *)start;
        else if (*magic == SEGMENT_MAGIC && header->number < OWN_MAX)
            own_segments[header->number] = (char *)start;
    }
    fclose(maps);
    CHECK(own_roster && own_segments[0]);
}

static struct segment_header *header_of(const char *segment) {
    return (struct segment_header *)(void *)segment;
}

static struct extent_entry *table_of(char *segment) {
    return (struct extent_entry *)(void *)(segment + sizeof(struct segment_header));
}

/* The header words say so in between what is written there. */
struct shape {
    uint64_t bytes, data_offset;
    uint32_t extent_count;
};

static struct shape shapes[OWN_MAX];

static void remember_shapes(void) {
    for (int i = 0; i < OWN_MAX; i++) {
        const struct segment_header *header = header_of(own_segments[i]);
        if (header && !shapes[i].bytes)
            shapes[i] = (struct shape){header->bytes, header->data_offset, header->extent_count};
    }
}

/* ---- where it writes what --------------------------------------------------------------------------------------- */

static int choose_segment(struct random *random) {
    int number;
    do
        number = (int)random_between(random, 0, OWN_MAX - 1);
    while (!own_segments[number]);
    return number;
}

static _Atomic uint64_t *word_in(char *start, uint64_t bytes, struct random *random) {
    return word_at(start, random_between(random, 0, bytes / 8 - 1) * 8);
}

/* The word of some record, or, one time in four, the word behind that. */
static _Atomic uint64_t *choose_record(int number, struct random *random) {
    const struct shape *shape = &shapes[number];
    char *segment = own_segments[number];
    struct extent_entry *entry = &table_of(segment)[random_between(random, 0, shape->extent_count - 1)];
    uint64_t offset = entry->offset, end = shape->bytes - sizeof(struct record_reference) - 8;
    for (uint64_t i = random_between(random, 0, 30); i > 0; i--) {
        uint64_t word = offset < end ? *word_at(segment, offset & ~UINT64_C(7)) : 0;
        if (word == 0 || word >> RECORD_KIND_SHIFT == RECORD_JUMP)
            break;
        offset += RECORD_HEADER_BYTES + round_up(word & RECORD_SIZE_MASK, 8) + record_pad_bytes(word);
    }
    if (offset >= end || offset % 8)
        return word_in(segment, shape->bytes, random);
    return word_at(segment, offset + (random_one_in(random, 4) ? random_between(random, 1, 4) * 8 : 0));
}

static _Atomic uint64_t *choose_word(struct random *random) {
    int number = choose_segment(random);
    char *segment = own_segments[number];
    switch (random_between(random, 0, 4)) {
    case 0:
        return word_in(segment, 128, random); /* what speaks for the log */
    case 1:
        return word_in(segment, sizeof(struct segment_header), random);
    case 2:
        return word_in((char *)table_of(segment), shapes[number].extent_count * sizeof(struct extent_entry), random);
    default:
        return choose_record(number, random);
    }
}

static uint64_t bound(struct random *random) {
    static const uint64_t bounds[] = {0,
                                      1,
                                      7,
                                      8,
                                      32,
                                      64,
                                      4096,
                                      4097,
                                      EXTENT_BYTES_MIN - RECORD_JUMP_BYTES,
                                      EXTENT_BYTES_MIN - RECORD_HEADER_BYTES,
                                      EXTENT_BYTES_MIN,
                                      1 << 20,
                                      (1 << EXTENT_INDEX_BITS) - 1,
                                      SEGMENTS_MAX << EXTENT_INDEX_BITS,
                                      UINT32_MAX,
                                      UINT64_C(1) << 32,
                                      COUNT_MASK - 1,
                                      COUNT_MASK,
                                      INT64_MAX,
                                      UINT64_MAX - 7,
                                      UINT64_MAX};
    return bounds[random_between(random, 0, sizeof bounds / sizeof bounds[0] - 1)];
}

static uint64_t nonsense(uint64_t is, struct random *random) {
    switch (random_between(random, 0, 6)) {
    case 0:
        return random_next(random);
    case 1:
        return is ^ UINT64_C(1) << random_between(random, 0, 63);
    case 2:
        return is + random_between(random, 0, 16) - 8;
    case 3:
        return *choose_word(random); /* what makes sense elsewhere */
    case 4:                          /* the same incarnation, or kind of record */
        return (is & ~COUNT_MASK) | (bound(random) & COUNT_MASK);
    case 5:
        return (is & ~(UINT64_C(7) << RECORD_KIND_SHIFT)) | random_between(random, 0, 7) << RECORD_KIND_SHIFT;
    default:
        return bound(random);
    }
}

/* ---- the hostile one -------------------------------------------------------------------------------------------- */

struct stage {
    struct round round;
    _Atomic uint64_t honest; /* its identity */
    _Atomic uint64_t damages, hostile_taken, honest_taken, damaged, sum;
    _Atomic int64_t longest_ns;
    _Atomic bool feed;
    _Atomic uint64_t fed; /* extents */
};

static struct stage *stage;

/* arg: its salt. Odd ones leave some of the damage as it is. */
static void *do_damage(void *arg) {
    uint64_t salt = (uint64_t)(uintptr_t)arg;
    struct random random = random_start(salt);
    while (!stage->round.over) {
        _Atomic uint64_t *word = choose_word(&random);
        uint64_t was = *word;
        *word = nonsense(was, &random);
        stage->damages++;
        spin_ns((int64_t)random_between(&random, 0, 20000));
        if (salt % 2 == 0 || !random_one_in(&random, 100))
            *word = was;
    }
    return NULL;
}

static char data[200000];

static void send_some(tarn_publisher *publisher, struct random *random) {
    tarn_loan loan = {0};
    size_t bytes =
        random_one_in(random, 10) ? random_between(random, 20000, sizeof data) : random_between(random, 0, 99);
    if (random_one_in(random, 10) && is_well(tarn_publisher_loan(publisher, bytes, &loan)) && loan.loaned_by) {
        is_well(tarn_publisher_publish(publisher, data, 8)); /* overtakes it */
        is_well(tarn_loan_send(&loan));
    } else
        is_well(tarn_publisher_publish(publisher, data, bytes));
}

/* Fills more than a segment, so that there is a chain to damage, then goes on while a thread damages. */
static void be_hostile(void *arg) {
    struct random random = random_start((uint64_t)(uintptr_t)arg + 1000);
    tarn_publisher *publisher = PUBLISHER(TOPIC, .depth = 30, .memory_limit_bytes = 8 << 20,
                                          .linger_ns = TARN_IMMEDIATELY, .when_full = TARN_FULL_DROP);
    for (int i = 0; i < 10; i++)
        is_well(tarn_publisher_publish(publisher, data, sizeof data));
    find_own_memory();
    remember_shapes();
    stage->round.ready++;
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, do_damage, arg), ==, 0);
    while (!stage->round.over) {
        send_some(publisher, &random);
        spin_ns((int64_t)random_between(&random, 0, 5000));
    }
    CHECK_INT(pthread_join(thread, NULL), ==, 0);
    is_well(tarn_publisher_close(publisher));
}

/* ---- the others ------------------------------------------------------------------------------------------------- */

static void be_honest(void *arg) {
    (void)arg;
    tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = TARN_IMMEDIATELY, .full_timeout_ns = TARN_FOREVER);
    stage->honest = tarn_publisher_identity(publisher);
    stage->round.ready++;
    for (uint64_t number = 1; !stage->round.over; number++) {
        CHECK_STATUS(publish_number(publisher, number), 1);
        spin_ns(2000);
    }
    is_well(tarn_publisher_close(publisher));
}

/* A call, and how long it took. */
#define TIMED(call)                                                                                                    \
    ({                                                                                                                 \
        int64_t start_ = now_ns();                                                                                     \
        int result_ = (call);                                                                                          \
        note_time(now_ns() - start_);                                                                                  \
        result_;                                                                                                       \
    })

static void note_time(int64_t ns) {
    for (int64_t longest = stage->longest_ns;
         ns > longest && !atomic_compare_exchange_weak(&stage->longest_ns, &longest, ns);)
        ;
}

static void look_at(const tarn_message *message, uint64_t *next_honest) {
    stage->sum += sum_of(message);
    if (message->publisher != stage->honest) {
        stage->hostile_taken++;
        return;
    }
    if (*next_honest)
        CHECK_INT(message->sequence, ==, *next_honest + message->lost);
    *next_honest = message->sequence + 1;
    check_number(message);
    stage->honest_taken++;
}

static void take_for_a_while(struct random *random) {
    enum { HELD = 20 };
    tarn_subscriber *subscriber;
    tarn_message held[HELD];
    unsigned count = 0;
    uint64_t next_honest = 0;
    tarn_subscriber_options options = {
        .struct_bytes = sizeof options,
        .history = random_one_in(random, 2) ? 0 : random_between(random, 1, 40),
        .reliable = random_one_in(random, 4),
        .realtime = random_one_in(random, 4),
    };
    if (!is_well(TIMED(tarn_subscriber_open(&subscriber, TOPIC, &options))))
        return;
    for (uint64_t i = random_between(random, 0, 400); i > 0 && !stage->round.over; i--) {
        int result = TIMED(tarn_subscriber_receive(subscriber, &held[count], MS / 10));
        stage->damaged += result == TARN_ERROR_DAMAGED;
        if (is_well(result) && result == 1)
            look_at(&held[count++], &next_honest);
        while (count == HELD || (count && random_one_in(random, 2)))
            is_well(tarn_message_release(&held[--count]));
    }
    is_well(TIMED(tarn_subscriber_close(subscriber)));
    while (count)
        is_well(tarn_message_release(&held[--count]));
}

static void live(void *arg) {
    struct random random = random_start((uint64_t)(uintptr_t)arg);
    for (int i = 0; i < 8 && !stage->round.over; i++)
        take_for_a_while(&random);
}

enum { LIVES = 3, ROUNDS = 25 };

static void run_round(uintptr_t number) {
    play_round((struct round_plan){&stage->round, be_honest, be_hostile, live, LIVES, 60 * MS, 0}, number);
}

TEST_LIMIT(damaged_log, 120) {
    stage = shared_page(sizeof *stage);
    /* on, where chance had nobody see that it is damaged: some ten do, and fewer on a busy machine */
    for (uintptr_t round = 1; round <= ROUNDS || (!stage->damaged && round <= 8 * ROUNDS); round++)
        run_round(round);
    CHECK_INT(stage->damages, >, 50 * ROUNDS);
    CHECK_INT(stage->hostile_taken, >, 2 * ROUNDS);
    CHECK_INT(stage->honest_taken, >, 2 * ROUNDS);
    CHECK_INT(stage->damaged, >, 0);
    CHECK_INT(stage->longest_ns, <, GENEROUS);
}

/* ---- one that keeps feeding ------------------------------------------------------------------------------------- */

/* Extents that are fed in turn, most of them before they are needed: some ms that the feeder may be late. */
enum { RING = 500, AHEAD = RING - 5 };

struct feed {
    enum record_kind kind;
    uint64_t record_bytes, records; /* of an extent */
    uint64_t generation, sequence;  /* of the extent before all of them, and behind it */
    char *data;
};

static uint32_t ring_index(uint64_t turn) {
    return (uint32_t)(1 + (turn - 1) % RING);
}

static void write_jump(const struct feed *feed, char *at, uint64_t turn) {
    struct record_jump *jump = (struct record_jump *)(void *)(at + RECORD_HEADER_BYTES);
    jump->generation = feed->generation + turn;
    jump->extent = extent_ref_make(0, ring_index(turn));
    store_release(word_at(at, 0), record_word(RECORD_JUMP, 0, 0, 0));
}

/* Messages, or references to what is no more. */
static void fill_extent(const struct feed *feed, char *extent) {
    for (uint64_t i = 0; i < feed->records; i++) {
        char *at = extent + i * feed->record_bytes;
        struct record_reference *reference = (struct record_reference *)(void *)(at + RECORD_HEADER_BYTES);
        if (feed->kind == RECORD_REFERENCE)
            reference->generation = feed->generation | COUNT_MASK;
        *word_at(at, 0) = record_word(feed->kind, 8, 0, 0);
    }
}

static void feed_extent(const struct feed *feed, uint64_t turn) {
    uint32_t index = ring_index(turn);
    struct extent_entry *entry = &table_of(own_segments[0])[index];
    char *extent = feed->data + (uint64_t)index * EXTENT_BYTES_MIN;
    entry->generation = 0;
    entry->offset = (uint64_t)(extent - own_segments[0]);
    entry->bytes = EXTENT_BYTES_MIN;
    entry->first_sequence = feed->sequence + (turn - 1) * feed->records;
    write_jump(feed, extent + feed->records * feed->record_bytes, turn + 1);
    store_release(&entry->generation, feed->generation + turn);
}

/* How far the only subscriber is, by the word that it tells us. */
static uint64_t turn_of_reader(const struct feed *feed) {
    const struct roster_header *roster = (const void *)(own_roster + ROSTER_HEADER_OFFSET);
    const struct publisher_slot *slot =
        (const void *)(own_roster + (uint64_t)roster->publisher_blocks[0] * BLOCK_BYTES);
    const struct reader_row *row = (const void *)(own_roster + (uint64_t)slot->rows[0] * BLOCK_BYTES);
    uint64_t oldest = slot->rows[0] ? row->oldest[row_place(0)] : 0;
    return stamp_of(oldest) == stamp_of(feed->generation) && oldest > feed->generation ? oldest - feed->generation : 0;
}

static struct feed start_feed(enum record_kind kind) {
    find_own_memory();
    struct segment_header *header = header_of(own_segments[0]);
    struct feed feed = {
        .kind = kind,
        .record_bytes = kind == RECORD_REFERENCE ? RECORD_REFERENCE_BYTES : RECORD_HEADER_BYTES + 8,
        .generation = table_of(own_segments[0])[0].generation,
        .sequence = 2,
        .data = own_segments[0] + header->data_offset,
    };
    feed.records = (EXTENT_BYTES_MIN - RECORD_JUMP_BYTES) / feed.record_bytes;
    CHECK_INT(header->extent_count, >, RING);
    for (uint64_t index = 1; index <= RING; index++)
        fill_extent(&feed, feed.data + index * EXTENT_BYTES_MIN);
    return feed;
}

/* The log goes on there, says everything in it. */
static void open_feed(const struct feed *feed) {
    struct segment_header *header = header_of(own_segments[0]);
    header->sent = COUNT_MASK / 2;
    header->newest = extent_ref_make(0, ring_index(1));
    write_jump(feed, feed->data + RECORD_HEADER_BYTES + 8, 1);
    stage->round.ready++;
}

/* arg: the kind of records. One message, then, when told so, whatever its only subscriber comes to. */
static void keep_feeding(void *arg) {
    tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = TARN_IMMEDIATELY, .realtime = 1,
                                          .memory_limit_bytes = (RING + 10) * EXTENT_BYTES_MIN);
    publish_word(publisher, 1);
    struct feed feed = start_feed((enum record_kind)(uintptr_t)arg);
    stage->round.ready++;
    AWAIT(stage->feed);
    for (uint64_t turn = 1; !stage->round.over;) {
        if (turn > turn_of_reader(&feed) + AHEAD)
            continue;
        feed_extent(&feed, turn);
        if (turn == AHEAD)
            open_feed(&feed);
        stage->fed = turn++;
    }
    is_well(tarn_publisher_close(publisher));
}

static pid_t start_feeder(enum record_kind kind) {
    stage = shared_page(sizeof *stage);
    pid_t feeder = spawn(keep_feeding, (void *)(uintptr_t)kind);
    AWAIT(stage->round.ready == 1);
    return feeder;
}

static void end_feeder(pid_t feeder, tarn_subscriber *subscriber) {
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    stage->round.over = true;
    CHECK_INT(wait_child(feeder, LIMIT_S), ==, 0);
}

/*
 * Not for as long as there was more: the feeder has fed what it does at once, and for so many extents that were gone
 * through.
 */
static void check_ended_soon(uint64_t extents) {
    CHECK_INT(stage->fed, >=, AHEAD);
    CHECK_INT(stage->fed, <=, AHEAD + extents);
}

/* Each of them is a message that was lost, and there is always one more: a call has to end nevertheless. */
TEST(references_without_end) {
    tarn_message message;
    pid_t feeder = start_feeder(RECORD_REFERENCE);
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    stage->feed = true;
    AWAIT(stage->round.ready == 2);
    for (uint64_t i = 1; i <= 20; i++) {
        CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
        check_ended_soon(10 * i);
    }
    CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, 20 * MS), 0);
    end_feeder(feeder, subscriber);
}

/* A joiner goes to the end of the log, under the process' lock: an end that never comes. */
static void join_without_end(uint64_t history) {
    pid_t feeder = start_feeder(RECORD_MESSAGE);
    stage->feed = true;
    AWAIT(stage->round.ready == 2);
    tarn_subscriber *subscriber;
    tarn_subscriber_options options = {.struct_bytes = sizeof options, .history = history};
    CHECK_STATUS(tarn_subscriber_open(&subscriber, TOPIC, &options), 0);
    check_ended_soon(20 * RING); /* the newest, where it starts, is each time one round further */
    end_feeder(feeder, subscriber);
}

TEST(end_of_log_that_never_comes) {
    join_without_end(0);
    join_without_end(10);
}
