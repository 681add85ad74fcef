/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A participant that writes nonsense to the roster, which all map writable, while others join, send, take and leave:
 * they may fail, lose messages and see wrong ones, but must neither crash nor hang. Each damaged word is put right
 * again some microseconds later, mostly, so that the others get far, and meet damage everywhere.
 */
#include <inttypes.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#include "hostile.h"

#define TOPIC "hostile"

/* ---- the roster as the hostile one sees it ---------------------------------------------------------------------- */

struct region {
    _Atomic uint32_t *words;
    uint64_t count;
};

static struct region regions[ROSTER_SEGMENTS_MAX]; /* by number in the chain */
static unsigned region_count;

static bool map_region(int id) {
    struct shmid_ds state;
    struct region region = {.words = shmat(id, NULL, 0)};
    if (region.words == (void *)-1)
        return false;
    const struct roster_segment *segment = (const void *)region.words;
    if (shmctl(id, IPC_STAT, &state) != 0 || segment->number != region_count) {
        shmdt(region.words);
        return false;
    }
    region.count = state.shm_segsz / sizeof *region.words;
    regions[region_count++] = region;
    return true;
}

static struct roster_header *header(void) {
    return (struct roster_header *)(void *)((char *)regions[0].words + ROSTER_HEADER_OFFSET);
}

/* The first segment, by the id that the topic's file tells. */
static void map_roster(void) {
    char path[512], text[400];
    int id;
    topic_path(path, TOPIC);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    CHECK_INT(length, >, 0);
    close(fd);
    text[length] = 0;
    const char *named = strstr(text, " id ");
    CHECK(named && sscanf(named, " id %d bytes", &id) == 1);
    CHECK(map_region(id));
}

/* The chain's next segment, if it has come to be. */
static void map_more(void) {
    uint32_t next = region_count < ROSTER_SEGMENTS_MAX ? header()->chain[region_count] : 0;
    if (next && next != ROSTER_SEGMENT_GONE)
        map_region((int)next - 1);
}

/* ---- what it writes --------------------------------------------------------------------------------------------- */

/* Most of the roster is unused, so mostly a word that is used. */
static _Atomic uint32_t *choose_word(struct random *random) {
    const struct region *region = &regions[random_between(random, 0, region_count - 1)];
    uint64_t i = random_between(random, 0, region->count - 1);
    for (int tries = 0; tries < 200 && region->words[i] == 0; tries++)
        i = random_between(random, 0, region->count - 1);
    return &region->words[i];
}

static uint32_t nonsense(uint32_t is, struct random *random) {
    static const uint32_t bounds[] = {0,
                                      1,
                                      2,
                                      3,
                                      4,
                                      31,
                                      32,
                                      33,
                                      0xffff,
                                      0x10000,
                                      INT32_MAX,
                                      1u << 31,
                                      UINT32_MAX,
                                      1000000,
                                      SUBSCRIBERS_MAX,
                                      PUBLISHERS_MAX};
    switch (random_between(random, 0, 5)) {
    case 0:
        return (uint32_t)random_next(random);
    case 1:
        return is ^ 1u << random_between(random, 0, 31);
    case 2:
        return is + (uint32_t)random_between(random, 0, 4) - 2;
    case 3:
        return *choose_word(random); /* what makes sense elsewhere */
    case 4:
        return (uint32_t)random_between(random, 0, 64); /* a block, most probably */
    default:
        return bounds[random_between(random, 0, sizeof bounds / sizeof bounds[0] - 1)];
    }
}

struct stage {
    struct round round;
    _Atomic uint64_t damages, lives, sent, taken, sum;
};

static struct stage *stage;

/* arg: its salt. Odd ones leave some of the damage as it is. */
static void do_damage(void *arg) {
    uint64_t salt = (uint64_t)(uintptr_t)arg;
    struct random random = random_start(salt);
    map_roster();
    stage->round.ready++;
    while (!stage->round.over) {
        _Atomic uint32_t *word = choose_word(&random);
        uint32_t was = *word;
        *word = nonsense(was, &random);
        stage->damages++;
        spin_ns((int64_t)random_between(&random, 0, 20000));
        if (salt % 2 == 0 || !random_one_in(&random, 50))
            *word = was;
        if (random_one_in(&random, 100))
            map_more();
    }
}

/* ---- the others ------------------------------------------------------------------------------------------------- */

static char data[100000];

static void send_one(tarn_publisher *publisher, struct random *random) {
    size_t bytes = random_one_in(random, 8) ? sizeof data : random_between(random, 0, 300);
    tarn_loan loan = {0};
    if (!random_one_in(random, 4))
        stage->sent += is_well(tarn_publisher_publish(publisher, data, bytes));
    else if (is_well(tarn_publisher_loan(publisher, bytes, &loan)) && loan.loaned_by)
        is_well(random_one_in(random, 4) ? tarn_loan_drop(&loan) : tarn_loan_send(&loan));
}

static void publish_some(struct random *random) {
    tarn_publisher *publisher;
    tarn_type type = {.struct_bytes = sizeof type, .name = "any", .schema = data, .schema_bytes = 5000};
    tarn_publisher_options options = {
        .struct_bytes = sizeof options,
        .type = random_one_in(random, 4) ? &type : NULL,
        .memory_limit_bytes = 1 << 20,
        .when_full = (uint32_t)random_between(random, TARN_FULL_WAIT, TARN_FULL_DROP),
        .full_timeout_ns = 2 * MS,
        .linger_ns = 2 * MS,
        .refuse_reliable = random_one_in(random, 8),
    };
    if (!is_well(tarn_publisher_open(&publisher, TOPIC, &options)))
        return;
    for (uint64_t i = random_between(random, 0, 60); i > 0 && !stage->round.over; i--) {
        send_one(publisher, random);
        if (random_one_in(random, 20))
            is_well(tarn_publisher_subscribers(publisher));
    }
    if (random_one_in(random, 2))
        is_well(tarn_publisher_flush(publisher, MS));
    is_well(tarn_publisher_close(publisher));
}

static void look_at(const tarn_message *message) {
    stage->sum += sum_of(message);
    stage->taken++;
}

static void take_some(struct random *random) {
    enum { HELD = 20 };
    tarn_subscriber *subscriber;
    tarn_message held[HELD];
    unsigned count = 0;
    tarn_subscriber_options options = {
        .struct_bytes = sizeof options,
        .history = random_between(random, 0, 20),
        .reliable = random_one_in(random, 2),
        .max_held = random_one_in(random, 2) ? 0 : 1000,
        .realtime = random_one_in(random, 8),
    };
    if (!is_well(tarn_subscriber_open(&subscriber, TOPIC, &options)))
        return;
    if (random_one_in(random, 4))
        is_well(tarn_subscriber_fd(subscriber));
    for (uint64_t i = random_between(random, 0, 60); i > 0 && !stage->round.over; i--) {
        int result = tarn_subscriber_receive(subscriber, &held[count], MS / 10);
        if (is_well(result) && result == 1)
            look_at(&held[count++]);
        if (random_one_in(random, 20))
            is_well(tarn_subscriber_publishers(subscriber));
        while (count == HELD || (count && random_one_in(random, 2)))
            is_well(tarn_message_release(&held[--count]));
    }
    is_well(tarn_subscriber_close(subscriber));
    while (count)
        is_well(tarn_message_release(&held[--count]));
}

static void keep_some(struct random *random) {
    tarn_keeper *keeper;
    tarn_keeper_options options = {.struct_bytes = sizeof options, .left_max = (uint32_t)random_between(random, 1, 3)};
    if (!is_well(tarn_keeper_open(&keeper, TOPIC, &options)))
        return;
    for (uint64_t i = random_between(random, 0, 60); i > 0 && !stage->round.over; i--)
        is_well(tarn_keeper_wait(keeper, MS / 10));
    is_well(tarn_keeper_close(keeper));
}

static void live(void *arg) {
    struct random random = random_start((uint64_t)(uintptr_t)arg);
    for (uint64_t lives = random_between(&random, 1, 4); lives > 0 && !stage->round.over; lives--) {
        stage->lives++;
        if (random_one_in(&random, 4))
            keep_some(&random);
        else if (random_one_in(&random, 2))
            publish_some(&random);
        else
            take_some(&random);
    }
}

/* Is there before the damage, so that the topic is, until all is over. */
static void stay(void *arg) {
    (void)arg;
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .wait_strategy = TARN_WAIT_SLEEP);
    tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = TARN_IMMEDIATELY);
    stage->round.ready++;
    while (!stage->round.over) {
        tarn_message message;
        if (tarn_subscriber_receive(subscriber, &message, 2 * MS) == 1)
            is_well(tarn_message_release(&message));
    }
    is_well(tarn_publisher_close(publisher));
    is_well(tarn_subscriber_close(subscriber));
}

/* ---- rounds ----------------------------------------------------------------------------------------------------- */

enum { LIVES = 4, ROUNDS = 40 };

static void run_round(uintptr_t number) {
    play_round((struct round_plan){&stage->round, stay, do_damage, live, LIVES, 40 * MS, 0}, number);
}

/* Whoever comes when all are gone finds a topic as new. */
static void check_afterwards(void) {
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    publish_word(publisher, 1);
    receive_word(subscriber, 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST_LIMIT(damaged_roster, 120) {
    need_root(); /* the hostile one may be any member of the directory's group; this spares making one */
    stage = shared_page(sizeof *stage);
    for (uintptr_t round = 1; round <= ROUNDS; round++) {
        run_round(round);
        check_afterwards();
    }
    CHECK_INT(stage->damages, >, 25 * ROUNDS);
    CHECK_INT(stage->lives, >, 2 * ROUNDS);
    CHECK_INT(stage->taken, >, 2 * ROUNDS);
}

/* ---- one by one ------------------------------------------------------------------------------------------------- */

/* The links to the blocks of all slots, among them those of who is there, who then leaves. */
static void damage_links(uint32_t value) {
    stage->round.over = false;
    stage->round.ready = 0;
    pid_t staying = spawn(stay, NULL);
    AWAIT(stage->round.ready == 1);
    map_roster();
    for (int i = 0; i < 2; i++) {
        header()->publisher_blocks[i] = value;
        header()->subscriber_blocks[i] = value;
    }
    int code = wait_child(spawn(live, (void *)(uintptr_t)value), LIMIT_S);
    stage->round.over = true;
    end_well(staying, "who stays", value);
    CHECK_INT(code, ==, 0);
    shmdt(regions[--region_count].words);
    check_afterwards();
}

TEST(damaged_links_to_slots) {
    static const uint32_t values[] = {0, 1, 31, 32, 100, INT32_MAX, UINT32_MAX};
    need_root();
    stage = shared_page(sizeof *stage);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        damage_links(values[i]);
}

/* ---- a noted key that is not the topic's ------------------------------------------------------------------------ */

enum { FOREIGN_KEY = 0x7a9e5eed };

/* Of somebody else altogether, who made it, and will come back to it. */
static void make_foreign_segment(void *arg) {
    (void)arg;
    CHECK_INT(shmget(FOREIGN_KEY, BLOCK_BYTES, IPC_CREAT | IPC_EXCL | 0600), >=, 0);
}

static void *block_at(uint32_t block) {
    return (char *)regions[0].words + (uint64_t)block * BLOCK_BYTES;
}

/* Whoever repairs a slot removes the orphan that its owner left, and nothing else that a damaged slot names. */
TEST(noted_key_of_somebody_else) {
    need_root();
    stage = shared_page(sizeof *stage);
    CHECK_INT(wait_child(spawn(make_foreign_segment, NULL), LIMIT_S), ==, 0);
    int foreign = shmget(FOREIGN_KEY, 0, 0);
    pid_t staying = spawn(stay, NULL);
    AWAIT(stage->round.ready == 1);
    tarn_subscriber *witness = subscriber_of(TOPIC, NULL);
    map_roster();
    struct publisher_slot *publisher = block_at(header()->publisher_blocks[0]);
    struct subscriber_slot *subscriber = block_at(header()->subscriber_blocks[0]);
    CHECK_INT(publisher->state, ==, SLOT_LIVE);
    CHECK_INT(subscriber->state, ==, SLOT_LIVE);
    publisher->pending_key = subscriber->pending_key = FOREIGN_KEY;
    kill_child(staying);
    CHECK_INT(wait_child(spawn_program((const char *[]){tarn_program(), "gc", NULL}), LIMIT_S), ==, 0);
    CHECK_INT(publisher->state, ==, SLOT_FREE);
    CHECK_INT(subscriber->state, ==, SLOT_FREE);
    CHECK_INT(shmget(FOREIGN_KEY, 0, 0), ==, foreign);
    CHECK_STATUS(tarn_subscriber_close(witness), 0);
    shmdt(regions[--region_count].words);
    CHECK_INT(shmctl(foreign, IPC_RMID, NULL), ==, 0);
}
