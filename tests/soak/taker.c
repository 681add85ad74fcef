/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A subscriber that believes nothing. For each message:
 *
 *   its publisher stands in the ledger, for this topic; its size, bytes, alignment and time are what they have to be;
 *   the first that it gets of a publisher is, lost ones included, no later than the next one sent after it had joined;
 *   each further one has the number of the one before, plus one, plus what it says was lost;
 *   who is reliable has lost only what the publisher dropped, and that exactly, of what was sent since it joined, but
 *   for what went with a publisher's memory (may_have_gone);
 *   its bytes are the same when it is released.
 *
 * When a publisher closed and was told that everybody had everything, or flushed, or died after all its memory was
 * attached, then everything has to be there (check_settled).
 */
#include <pthread.h>
#include <sys/epoll.h>

#include "soak.h"

struct held {
    tarn_message message;
    const struct entry *entry;
    uint64_t dropped;
    int64_t taken_ns;
};

/* What it knows of a publisher. */
struct seen {
    uint64_t last; /* number; 0: none yet */
    uint64_t dropped;
    uint64_t begun_when_joined;
    bool settled, due;
};

/* Another thread that releases, and interrupts waits. */
struct helper {
    pthread_t thread;
    pthread_mutex_t mutex;
    struct random random;
    tarn_subscriber *subscriber; /* NULL: not open */
    struct held queue[HELD_MAX];
    unsigned count;
    bool over;
};

enum { CACHE = 64, BURST = 200, DRAIN_MOST = 50000 };
#define HOLD_NS (SECOND / 2)

struct taker {
    struct subscriber_plan plan;
    struct random *random;
    tarn_subscriber *subscriber;
    int64_t joined_ns; /* when opening had returned */
    int epoll;
    uint64_t lost; /* as messages said */
    struct helper *helper;
    struct held held[HELD_MAX];
    unsigned held_count;
    struct {
        uint64_t identity;
        uint32_t number;
    } cache[CACHE];
    uint32_t settled_below; /* entries */
    struct seen seen[ENTRIES];
};

/* ---- one message ------------------------------------------------------------------------------------------------ */

static uint32_t find_entry(struct taker *taker, uint64_t identity) {
    unsigned place = identity % CACHE;
    if (taker->cache[place].identity == identity)
        return taker->cache[place].number;
    for (uint32_t i = stage->entry_count; i > 0; i--) {
        if (stage->entries[i - 1].identity != identity)
            continue;
        taker->cache[place].identity = identity;
        return taker->cache[place].number = i - 1;
    }
    FAIL("a message of publisher %016llx, which nobody is", (unsigned long long)identity);
}

static uint64_t dropped_before(const struct entry *entry, const tarn_message *message) {
    uint64_t dropped = 0;
    if (entry->drops)
        memcpy(&dropped, message->data, sizeof dropped);
    return dropped;
}

static void describe(const struct held *held, const char *when) {
    fprintf(stderr, "  %s: message %llu of publisher %016llx, life %u, topic %s\n", when,
            (unsigned long long)held->message.sequence, (unsigned long long)held->message.publisher, held->entry->life,
            topic_plans[held->entry->topic].name);
}

static void check_bytes(const struct held *held, const char *when) {
    const char *data = held->message.data;
    size_t bytes = held->message.bytes;
    uint64_t seed = pattern_seed(held->entry, held->message.sequence, held->dropped);
    bool fine = !held->entry->drops || dropped_before(held->entry, &held->message) == held->dropped;
    if (held->entry->drops) {
        data += sizeof held->dropped;
        bytes -= sizeof held->dropped;
    }
    if (fine && check_pattern(data, bytes, seed))
        return;
    describe(held, when);
    FAIL("a message is not what was sent");
}

static void check_shape(const struct held *held) {
    const tarn_message *message = &held->message;
    const struct entry *entry = held->entry;
    size_t bytes = bytes_of(entry, message->sequence);
    if (message->bytes != bytes) {
        describe(held, "taken");
        FAIL("%zu bytes instead of %zu", message->bytes, bytes);
    }
    CHECK(bytes == 0 || (uintptr_t)message->data % entry->alignment == 0);
    if (entry->timestamps)
        CHECK(message->sent_ns >= entry->opening_ns && message->sent_ns <= now_ns());
    else
        CHECK_INT(message->sent_ns, ==, 0);
}

/*
 * Of what was sent before it joined a loan sent late may be gone, though what was sent around it is kept: so many may a
 * reliable subscriber lose without having been overrun.
 */
static uint64_t history_left(const struct entry *entry, const struct seen *seen) {
    bool is_behind = entry->late && seen->last < seen->begun_when_joined;
    return is_behind ? seen->begun_when_joined - seen->last : 0;
}

/* Up to where the publisher's flush was told that everybody had it, this subscriber among them. */
static uint64_t flushed_to(const struct taker *taker, const struct entry *entry) {
    int64_t flushed_ns = entry->flushed_ns; /* first, as flushed may be more by now */
    uint64_t flushed = entry->flushed;
    return flushed_ns && taker->joined_ns < flushed_ns ? flushed : 0;
}

/* The same of close, about all. */
static bool is_complete_for(const struct taker *taker, const struct entry *entry) {
    return entry->complete && taker->joined_ns < entry->sent_begun_ns;
}

/*
 * What lay in a segment that this process had not attached goes with a publisher that is killed, or that exits or
 * closes without waiting long enough; what was sent behind it is read. Whether everybody had everything is known when
 * that is over.
 */
static bool may_have_gone(const struct taker *taker, const struct entry *entry, uint64_t sequence) {
    bool one_segment = entry->realtime;
    if (one_segment || (!entry->leaving && !stage->killed[entry->life]))
        return false;
    for (int64_t end_ns = now_ns() + 5 * SECOND; !entry->closed && !stage->ended[entry->life] && now_ns() < end_ns;)
        nap_ns(MS);
    bool over = entry->closed || stage->ended[entry->life];
    stage->tally.gone++;
    return over && sequence > flushed_to(taker, entry) && !is_complete_for(taker, entry);
}

static void check_order(const struct taker *taker, const struct held *held, const struct seen *seen) {
    uint64_t sequence = held->message.sequence, lost = held->message.lost, first = sequence - lost;
    uint64_t drops = held->dropped - seen->dropped;
    bool from_start = seen->last || !seen->begun_when_joined; /* nothing before it can have gone by unseen */
    bool in_order = lost < sequence && sequence <= held->entry->begun && held->dropped < sequence &&
                    (seen->last ? first == seen->last + 1 : first <= seen->begun_when_joined + 1);
    bool lost_rightly = !from_start || lost >= drops;
    if (taker->plan.options.reliable && from_start)
        lost_rightly &= lost - drops <= history_left(held->entry, seen);
    else if (taker->plan.options.reliable)
        lost_rightly = lost <= held->dropped + history_left(held->entry, seen);
    if (in_order && (lost_rightly || (lost >= drops && may_have_gone(taker, held->entry, first))))
        return;
    describe(held, in_order ? "wrongly lost" : "out of order");
    FAIL("lost %llu, dropped %llu before it; the one before was %llu, dropped %llu before it; %llu begun when this %s "
         "subscriber joined, %llu now",
         (unsigned long long)lost, (unsigned long long)held->dropped, (unsigned long long)seen->last,
         (unsigned long long)seen->dropped, (unsigned long long)seen->begun_when_joined,
         taker->plan.options.reliable ? "reliable" : "best-effort", (unsigned long long)held->entry->begun);
}

static void release(struct held *held) {
    check_bytes(held, "before its release");
    CHECK_STATUS(tarn_message_release(&held->message), 0);
}

/* ---- the helper ------------------------------------------------------------------------------------------------- */

static void *help(void *arg) {
    struct helper *helper = arg;
    for (bool over = false; !over;) {
        struct held held;
        bool some = false;
        CHECK(pthread_mutex_lock(&helper->mutex) == 0);
        if (helper->count) {
            some = true;
            held = helper->queue[0]; /* the oldest: none waits for ever */
            memmove(helper->queue, helper->queue + 1, --helper->count * sizeof held);
        }
        if (helper->subscriber && random_one_in(&helper->random, 20))
            CHECK_STATUS(tarn_subscriber_interrupt(helper->subscriber), 0);
        over = helper->over && !some;
        CHECK(pthread_mutex_unlock(&helper->mutex) == 0);
        if (some)
            release(&held);
        if (!some || random_one_in(&helper->random, 50))
            nap_ns((int64_t)random_between(&helper->random, 0, 5000000));
    }
    return NULL;
}

static struct helper *start_helper(struct random *random) {
    struct helper *helper = calloc(1, sizeof *helper);
    CHECK(helper && pthread_mutex_init(&helper->mutex, NULL) == 0);
    helper->random.state = random_next(random);
    CHECK(pthread_create(&helper->thread, NULL, help, helper) == 0);
    return helper;
}

static void tell_helper(struct helper *helper, tarn_subscriber *subscriber, bool over) {
    if (!helper)
        return;
    CHECK(pthread_mutex_lock(&helper->mutex) == 0);
    helper->subscriber = subscriber;
    helper->over = over;
    CHECK(pthread_mutex_unlock(&helper->mutex) == 0);
}

/* Whether it takes this one. */
static bool hand_over(struct helper *helper, const struct held *held) {
    if (!helper)
        return false;
    CHECK(pthread_mutex_lock(&helper->mutex) == 0);
    bool fits = helper->count < HELD_MAX;
    if (fits)
        helper->queue[helper->count++] = *held;
    CHECK(pthread_mutex_unlock(&helper->mutex) == 0);
    return fits;
}

static void end_helper(struct helper *helper) {
    if (!helper)
        return;
    tell_helper(helper, NULL, true);
    CHECK(pthread_join(helper->thread, NULL) == 0);
    pthread_mutex_destroy(&helper->mutex);
    free(helper);
}

/* ---- taking ----------------------------------------------------------------------------------------------------- */

static void release_held(struct taker *taker, unsigned i) {
    struct held held = taker->held[i];
    taker->held[i] = taker->held[--taker->held_count];
    if (!random_one_in(taker->random, 2) || !hand_over(taker->helper, &held))
        release(&held);
}

static void release_one(struct taker *taker) {
    release_held(taker, (unsigned)random_between(taker->random, 0, taker->held_count - 1));
}

/* What is held keeps memory of publishers that are gone: that this is bounded, it is so in time. */
static void release_old(struct taker *taker) {
    int64_t now = now_ns();
    for (unsigned i = taker->held_count; i > 0; i--)
        if (now - taker->held[i - 1].taken_ns > HOLD_NS)
            release_held(taker, i - 1);
}

static void accept(struct taker *taker, const tarn_message *message) {
    uint32_t number = find_entry(taker, message->publisher);
    struct seen *seen = &taker->seen[number];
    struct held held = {*message, &stage->entries[number], 0, now_ns()};
    CHECK_INT(held.entry->topic, ==, taker->plan.topic);
    check_shape(&held);
    held.dropped = dropped_before(held.entry, message);
    check_bytes(&held, "taken");
    check_order(taker, &held, seen);
    seen->last = message->sequence;
    seen->dropped = held.dropped;
    taker->lost += message->lost;
    stage->tally.lost += message->lost;
    stage->tally.bytes += message->bytes;
    stage->tally.taken++;
    if (taker->held_count < taker->plan.held_most && random_one_in(taker->random, 2))
        taker->held[taker->held_count++] = held;
    else if (!random_one_in(taker->random, 2) || !hand_over(taker->helper, &held))
        release(&held);
}

static unsigned most_held(const struct taker *taker) {
    return taker->plan.options.max_held ? taker->plan.options.max_held : 64;
}

/* Receives at most one. 1: got one, or there may be more; 0: nothing there. */
static int take_one(struct taker *taker, int64_t timeout_ns) {
    tarn_message message;
    int result = timeout_ns > 0 ? tarn_subscriber_receive(taker->subscriber, &message, timeout_ns)
                                : tarn_subscriber_take(taker->subscriber, &message);
    if (result == 1) {
        accept(taker, &message);
    } else if (result == TARN_ERROR_HOLDING) {
        CHECK(taker->helper || taker->held_count == most_held(taker));
        if (taker->held_count)
            release_one(taker);
        else
            nap_ns(MS);
    } else if (!(result == TARN_ERROR_INTERRUPTED && taker->helper))
        CHECK_STATUS(result, 0);
    return result != 0;
}

/* Waits without taking, which is how a realtime subscriber gets to know newcomers. Whether there may be something. */
static bool wait_for_more(struct taker *taker, int64_t timeout_ns) {
    int result = tarn_subscriber_wait(taker->subscriber, timeout_ns);
    if (!(result == TARN_ERROR_INTERRUPTED && taker->helper))
        CHECK_INT(result, >=, 0);
    return result != 0;
}

/* Takes until nothing is there; false: there is always more. */
static bool drain(struct taker *taker) {
    while (taker->held_count)
        release_one(taker);
    for (int i = 0; i < DRAIN_MOST; i++) {
        if (!take_one(taker, 0) && !(taker->plan.options.realtime && wait_for_more(taker, 0)))
            return true;
    }
    return false;
}

/* ---- whether all has come --------------------------------------------------------------------------------------- */

static void check_settled(const struct taker *taker, const struct entry *entry, const struct seen *seen) {
    /*
     * Who is not reliable may lose the last one, if more was tried, or it was a loan sent late: that may be the first
     * to go.
     */
    bool sees_last = taker->plan.options.reliable || (!entry->late && entry->begun == entry->sent);
    if (!sees_last)
        return;
    if (is_complete_for(taker, entry) && seen->last != entry->sent)
        FAIL("publisher %016llx (life %u) closed, and everybody had everything up to %llu; here %llu is the last",
             (unsigned long long)entry->identity, entry->life, (unsigned long long)entry->sent,
             (unsigned long long)seen->last);
    bool attached = entry->realtime && seen->last && !taker->plan.options.realtime; /* it has one segment */
    if (!entry->complete && attached && seen->last < entry->sent)
        FAIL("publisher %016llx (life %u) ended after %llu; here %llu is the last", (unsigned long long)entry->identity,
             entry->life, (unsigned long long)entry->sent, (unsigned long long)seen->last);
    stage->tally.settled += entry->complete || attached;
}

static void check_flushed(const struct taker *taker, const struct entry *entry, const struct seen *seen) {
    uint64_t flushed = flushed_to(taker, entry);
    if (seen->last < flushed)
        FAIL("publisher %016llx (life %u) flushed up to %llu; here %llu is the last",
             (unsigned long long)entry->identity, entry->life, (unsigned long long)flushed,
             (unsigned long long)seen->last);
}

/* Of publishers that were over before nothing more was there to be taken, everything that has to come has come. */
static void settle(struct taker *taker) {
    uint32_t count = stage->entry_count;
    for (uint32_t i = taker->settled_below; i < count; i++) {
        const struct entry *entry = &stage->entries[i];
        struct seen *seen = &taker->seen[i];
        if (entry->topic != taker->plan.topic || seen->settled)
            continue;
        seen->due = entry->complete || stage->ended[entry->life];
        if (taker->plan.options.reliable && entry->identity)
            check_flushed(taker, entry, seen);
    }
    if (!drain(taker))
        return;
    for (uint32_t i = taker->settled_below; i < count; i++) {
        struct seen *seen = &taker->seen[i];
        if (seen->due && !seen->settled)
            check_settled(taker, &stage->entries[i], seen);
        seen->settled = seen->due || stage->entries[i].topic != taker->plan.topic;
        if (seen->settled && i == taker->settled_below)
            taker->settled_below++;
    }
}

/* The handle's own count has what messages told, and, of publishers that are gone, what nobody will tell any more. */
static void check_lost(const struct taker *taker) {
    uint64_t most = taker->lost;
    for (uint32_t i = 0, count = stage->entry_count; i < count; i++)
        if (stage->entries[i].topic == taker->plan.topic)
            most += stage->entries[i].begun - taker->seen[i].last;
    uint64_t lost = tarn_subscriber_lost(taker->subscriber);
    if (lost < taker->lost || lost > most)
        FAIL("%llu are lost in all, between %llu and %llu should be", (unsigned long long)lost,
             (unsigned long long)taker->lost, (unsigned long long)most);
}

/* ---- a life ----------------------------------------------------------------------------------------------------- */

struct taker *taker_open(const struct subscriber_plan *plan, struct random *random) {
    struct taker *taker = calloc(1, sizeof *taker);
    CHECK(taker);
    taker->plan = *plan;
    taker->random = random;
    taker->epoll = -1;
    if (plan->helper_before)
        taker->helper = start_helper(random);
    int status = tarn_subscriber_open(&taker->subscriber, topic_plans[plan->topic].name, &plan->options);
    if (is_refused(status, plan->topic, plan->options.type)) {
        stage->tally.refusals++;
        end_helper(taker->helper);
        free(taker);
        return NULL;
    }
    CHECK_STATUS(status, 0);
    taker->joined_ns = now_ns();
    for (uint32_t i = 0, count = stage->entry_count; i < count; i++)
        taker->seen[i].begun_when_joined = stage->entries[i].begun;
    if (plan->helper && !taker->helper)
        taker->helper = start_helper(random);
    tell_helper(taker->helper, taker->subscriber, false);
    if (plan->way == WAY_EPOLL) {
        taker->epoll = epoll_create1(EPOLL_CLOEXEC);
        int fd = tarn_subscriber_fd(taker->subscriber);
        CHECK_INT(fd, >=, 0);
        CHECK(epoll_ctl(taker->epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN}) == 0);
    }
    stage->tally.subscribers++;
    return taker;
}

static void await_more(struct taker *taker, int64_t wait_ns) {
    struct epoll_event event;
    switch (taker->plan.way) {
    case WAY_TAKE:
        nap_ns(wait_ns / 4);
        break;
    case WAY_RECEIVE:
        take_one(taker, wait_ns);
        break;
    case WAY_WAIT:
        wait_for_more(taker, wait_ns);
        break;
    case WAY_EPOLL:
        CHECK(epoll_wait(taker->epoll, &event, 1, (int)(wait_ns / MS)) >= 0 || errno == EINTR);
        break;
    case WAYS:
        break;
    }
}

void taker_step(struct taker *taker, int64_t wait_ns) {
    const struct subscriber_plan *plan = &taker->plan;
    if (plan->lag_one_in && random_one_in(taker->random, plan->lag_one_in))
        nap_ns((int64_t)random_between(taker->random, 0, (uint64_t)plan->lag_ns));
    await_more(taker, wait_ns);
    if (plan->options.realtime)
        wait_for_more(taker, 0);
    unsigned taken = 0;
    while (taken < BURST && take_one(taker, 0))
        taken++;
    while (taker->held_count && !random_one_in(taker->random, 4))
        release_one(taker);
    release_old(taker);
    if (taken < BURST && random_one_in(taker->random, 50))
        settle(taker);
}

void taker_close(struct taker *taker) {
    if (taker->plan.ending == END_EXIT)
        return;
    settle(taker);
    check_lost(taker);
    stage->tally.checked_at_end++;
    bool closes_first = taker->plan.ending == END_CLOSE_FIRST;
    for (int i = 0; closes_first && i < BURST; i++)
        take_one(taker, 0);
    tell_helper(taker->helper, NULL, false);
    if (closes_first)
        CHECK_STATUS(tarn_subscriber_close(taker->subscriber), 0);
    while (taker->held_count)
        release_one(taker);
    if (!closes_first)
        CHECK_STATUS(tarn_subscriber_close(taker->subscriber), 0);
    end_helper(taker->helper);
    if (taker->epoll >= 0)
        close(taker->epoll);
    free(taker);
}
