/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What the tests with a participant that writes nonsense to shared memory have in common. */
#ifndef TARN_TESTS_MULTI_HOSTILE_H
#define TARN_TESTS_MULTI_HOSTILE_H

#include <sys/shm.h>

#include "common.h"
#include "shm/layout.h"

/* Whatever is documented as a result will do. */
static inline bool is_well(int result) {
    if (result < 0 && (result > TARN_ERROR_ARGUMENT || result < TARN_ERROR_TAKEN))
        FAIL("%d is no result: %s", result, tarn_error());
    return result >= 0;
}

static inline void spin_ns(int64_t ns) {
    for (int64_t end = now_ns() + ns; now_ns() < end;)
        atomic_signal_fence(memory_order_seq_cst);
}

/* The first segment of a topic's roster, by the id that its file tells. */
static inline char *map_roster_of(const char *topic, size_t *ret_bytes) {
    char path[512], text[400];
    int id;
    struct shmid_ds state;
    topic_path(path, topic);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    CHECK_INT(length, >, 0);
    close(fd);
    text[length] = 0;
    const char *named = strstr(text, " id ");
    CHECK(named && sscanf(named, " id %d bytes", &id) == 1);
    CHECK(shmctl(id, IPC_STAT, &state) == 0);
    *ret_bytes = state.shm_segsz;
    char *base = shmat(id, NULL, 0);
    CHECK(base != (void *)-1);
    return base;
}

/* ---- rounds ----------------------------------------------------------------------------------------------------- */

/*
 * One process that is there from the beginning to the end, one that does damage, and others that come and go, each life
 * a process of its own. The first two say that they are ready; all end when it is over.
 */
struct round {
    _Atomic bool over;
    _Atomic int ready;
};

struct round_plan {
    struct round *round;                                      /* on a page that all share */
    void (*stay)(void *), (*damage)(void *), (*live)(void *); /* damage: with the round's number; live: with a salt */
    uintptr_t lives;
    int64_t ns;
    uintptr_t salt; /* of the one that lives on */
};

static inline void end_well(pid_t child, const char *who, uintptr_t round) {
    int code = wait_child(child, 2 * LIMIT_S);
    if (code != 0)
        FAIL("round %ju: %s ended with %d", (uintmax_t)round, who, code);
}

/* One process after the other. */
static inline void live_on(void *arg) {
    const struct round_plan *plan = arg;
    for (uintptr_t salt = plan->salt << 32; !plan->round->over;) {
        int code = wait_child(spawn(plan->live, (void *)++salt), LIMIT_S);
        if (code != 0)
            FAIL("life %#jx ended with %d", (uintmax_t)salt, code);
    }
}

static inline void play_round(struct round_plan plan, uintptr_t number) {
    enum { LIVES_MAX = 8 };
    pid_t lives[LIVES_MAX];
    CHECK_INT(plan.lives, <=, LIVES_MAX);
    plan.round->over = false;
    plan.round->ready = 0;
    pid_t staying = spawn(plan.stay, NULL);
    AWAIT(plan.round->ready == 1);
    pid_t hostile = spawn(plan.damage, (void *)number);
    AWAIT(plan.round->ready == 2);
    for (uintptr_t i = 0; i < plan.lives; i++) {
        plan.salt = number * plan.lives + i;
        lives[i] = spawn(live_on, &plan);
    }
    nap_ns(plan.ns);
    plan.round->over = true;
    end_well(hostile, "the hostile one", number);
    end_well(staying, "who stays", number);
    for (uintptr_t i = 0; i < plan.lives; i++)
        end_well(lives[i], "who comes and goes", number);
}

/* Reads some of it, as a user would: that is memory that may be read, whatever it says. */
static inline uint64_t sum_of(const tarn_message *message) {
    uint64_t sum = 0;
    for (size_t at = 0; at < message->bytes; at += CACHE_LINE_BYTES)
        sum += ((const unsigned char *)message->data)[at];
    return sum;
}

#endif
