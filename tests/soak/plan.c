/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What lives are like. No choice depends on anything but the random numbers, so a seed brings the same lives again. */
#include "soak.h"

const struct topic_plan topic_plans[TOPICS] = {
    {.name = "storm/a", .residents = true},
    {.name = "storm/b", .residents = true, .typed = true},
    {.name = "storm/c", .residents = true, .refusable = true},
    {.name = "storm/d"}, /* comes to be and goes all the time */
    {.name = "storm/a", .domain = "elsewhere", .residents = true},
    {.name = "storm/d", .domain = "elsewhere", .refusable = true},
};

const tarn_type right_type = {.struct_bytes = sizeof(tarn_type), .name = "soak/right", .alignment = 16};
const tarn_type wrong_type = {.struct_bytes = sizeof(tarn_type), .name = "soak/wrong"};

static bool chance(struct random *random, unsigned percent) {
    return random_between(random, 1, 100) <= percent;
}

static int64_t between_ms(struct random *random, uint64_t least, uint64_t most) {
    return (int64_t)random_between(random, least * 1000, most * 1000) * 1000;
}

/* Only where residents of the right type keep the topic typed does a wrong one fail for certain. */
static const tarn_type *choose_type(struct random *random, uint32_t topic) {
    if (!topic_plans[topic].typed || chance(random, 40))
        return NULL;
    return chance(random, 5) ? &wrong_type : &right_type;
}

struct life_plan plan_life(struct random *random) {
    struct life_plan plan = {.visits = (unsigned)random_between(random, 1, VISITS_MAX)};
    plan.visit_ns = chance(random, 15) ? between_ms(random, 500, 3000) : between_ms(random, 1, 400);
    return plan;
}

struct fate plan_fate(struct random *random, const struct life_plan *life) {
    struct fate fate = {0};
    int64_t whole_ns = life->visit_ns * life->visits;
    if (chance(random, 45))
        fate.killed_ns = 1 + (int64_t)random_between(random, 0, (uint64_t)whole_ns);
    if (chance(random, 25)) {
        fate.stopped_ns = 1 + (int64_t)random_between(random, 0, (uint64_t)whole_ns);
        fate.stopped_for_ns = chance(random, 10) ? between_ms(random, 1000, 2500) : between_ms(random, 1, 300);
    }
    return fate;
}

static struct sizes choose_sizes(struct random *random, uint64_t limit_bytes, bool drops) {
    static const struct sizes kinds[] = {
        {0, 0, 0, 0},          {0, 24, 0, 0},       {0, 300, 5000, 50},     {8, 8, 0, 0},
        {0, 2000, 70000, 100}, {1000, 60000, 0, 0}, {0, 100, 1 << 20, 200}, {60000, 200000, BYTES_MAX, 20},
    };
    struct sizes sizes = kinds[random_between(random, 0, sizeof kinds / sizeof kinds[0] - 1)];
    uint32_t most = (uint32_t)(limit_bytes < BYTES_MAX ? limit_bytes : BYTES_MAX);
    sizes.rare = sizes.rare < most ? sizes.rare : most;
    if (drops && sizes.least < 8)
        sizes.least = 8;
    if (sizes.most < sizes.least)
        sizes.most = sizes.least;
    return sizes;
}

struct publisher_plan plan_publisher(struct random *random, uint32_t topic) {
    static const uint64_t limits[] = {512 << 10, 512 << 10, 1 << 20, 2 << 20, 8 << 20, 32 << 20};
    uint64_t limit = limits[random_between(random, 0, sizeof limits / sizeof limits[0] - 1)];
    bool drops = chance(random, 25), realtime = limit <= 2 << 20 && chance(random, 20);
    return (struct publisher_plan){
        .topic = topic,
        .sizes = choose_sizes(random, limit, drops),
        .burst = (unsigned)random_between(random, 1, 60),
        .nap_ns = chance(random, 10) ? MS / 10 : between_ms(random, 0, 4),
        .late = chance(random, 30) ? (unsigned)random_between(random, 1, LOANS_MAX) : 0,
        .leaves_open = chance(random, 10),
        .options =
            {
                .struct_bytes = sizeof(tarn_publisher_options),
                .domain = topic_plans[topic].domain,
                .type = choose_type(random, topic),
                .depth = chance(random, 50) ? 0 : random_between(random, 1, 200),
                .memory_limit_bytes = limit,
                .when_full = drops                ? TARN_FULL_DROP
                             : chance(random, 30) ? TARN_FULL_FAIL
                                                  : TARN_FULL_WAIT,
                .wake = (uint32_t)(chance(random, 80) ? TARN_WAKE_AUTO : random_between(random, 1, 2)),
                .full_timeout_ns = between_ms(random, 1, 200),
                .linger_ns = chance(random, 20) ? TARN_IMMEDIATELY : between_ms(random, 100, 1500),
                .alignment = chance(random, 70) ? 0 : UINT32_C(1) << random_between(random, 0, 12),
                .timestamps = chance(random, 40),
                .refuse_reliable = topic_plans[topic].refusable && chance(random, 20),
                .realtime = realtime,
                .rotation_bytes = chance(random, 80) ? 0 : random_between(random, 1, 4 << 20),
            },
    };
}

struct subscriber_plan plan_subscriber(struct random *random, uint32_t topic) {
    unsigned held_most =
        chance(random, 50) ? (unsigned)random_between(random, 0, 4) : (unsigned)random_between(random, 0, HELD_MAX);
    bool helper = chance(random, 30);
    return (struct subscriber_plan){
        .topic = topic,
        .way = (enum way)random_between(random, 0, WAYS - 1),
        .ending = (enum ending)random_between(random, 0, ENDINGS - 1),
        .held_most = held_most,
        .lag_one_in = chance(random, 40) ? (unsigned)random_between(random, 5, 100) : 0,
        .lag_ns = between_ms(random, 1, 300),
        .helper = helper,
        .helper_before = helper && chance(random, 50),
        .options =
            {
                .struct_bytes = sizeof(tarn_subscriber_options),
                .domain = topic_plans[topic].domain,
                .type = choose_type(random, topic),
                .history = chance(random, 60) ? 0 : random_between(random, 1, 500),
                .reliable = chance(random, 50),
                .max_held = (uint32_t)(chance(random, 50) ? 0 : random_between(random, 1, HELD_MAX)),
                .wait_strategy =
                    (uint32_t)(chance(random, 95) ? random_between(random, 0, 1) * TARN_WAIT_SLEEP : TARN_WAIT_SPIN),
                .realtime = chance(random, 15),
                .spin_ns = chance(random, 50)   ? 0
                           : chance(random, 50) ? TARN_IMMEDIATELY
                                                : 50000,
            },
    };
}
