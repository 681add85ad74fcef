/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The storm of the other patterns: clients, servers, notifiers, listeners, writers, readers, producers, workers,
 * keepers and monitors come, go, are killed and stopped. Each request is answered or fails, once; each event that was
 * raised is told, and each death; versions rise, and values are whole; each job is ended once, and none is lost that a
 * keeper has; monitors tell of each who joins, and how it ended; who waits for many does not sleep while there is
 * something. One of those who receive stays while a spell lasts, and has the accounts; every other spell ends with the
 * death of all, after which nothing but orphans may be left.
 */
#include <poll.h>
#include <sys/eventfd.h>

#include "soak.h"

enum {
    SPELL_S = 8,
    STORMERS = 12,
    EVENTS = 4,
    DEATH = 9, /* the event */
    KEYS = 4,
    JOBS = 1 << 20, /* of a spell */
    JOBS_EACH = 4096,
    PENDING = 16,
    VALUE_BYTES_MAX = 100000,
    GUARDS_MAX = 256, /* of a spell */
    PIDS = 1 << 22,
    PRESENT_MAX = 128, /* in a topic */
    SAMPLES = 256,     /* of a spell */
};
#define LATE (3 * SECOND / 2) /* what takes milliseconds, and at most two stops of 300 ms */

enum place { SERVICE, EVENTS_PLACE, BOARD, QUEUE, KEPT, PLACES };
static const char *const places[PLACES] = {"storm/service", "storm/events", "storm/board", "storm/queue", "storm/kept"};

/* On a page that all processes of a spell share. */
static struct page {
    _Atomic bool over, last, end; /* all end; then those that stay; then the monitor that does */
    _Atomic unsigned ready;
    _Atomic unsigned guard, relieved;    /* the number of the keeper that guards; those with lower ones close */
    _Atomic uint64_t rounds[GUARDS_MAX]; /* by number: its waits that are over */
    _Atomic uint64_t coming, come;       /* to the kept queue */
    _Atomic int64_t killed_ns[PIDS];     /* by pid: it is about to be, or was */
    _Atomic bool closing[PIDS];          /* by pid: it is about to close its handles, or has */
    _Atomic uint64_t raised[DEATH + 1];  /* how often by then, as somebody was told */
    struct sample {
        _Atomic int64_t at_ns;
        _Atomic uint64_t raised[DEATH + 1];
    } samples[SAMPLES];
    _Atomic unsigned sampled;
    _Atomic uint64_t begun[EVENTS], done[EVENTS];                /* notifications */
    _Atomic uint64_t opening, opened, closing_notifiers, closed; /* notifiers, all of which tell their deaths */
    _Atomic uint64_t versions[KEYS];                             /* the last that somebody has seen */
    _Atomic pid_t holders[KEYS];
    _Atomic uint32_t jobs;
    _Atomic uint8_t outlives[JOBS], ending[JOBS],
        ended[JOBS]; /* by job: it outlives its producer; its ends begun; its ends */
    struct sums {
        _Atomic uint64_t answered, failed, abandoned, told, deaths, sets, gets, ended;
        _Atomic uint64_t kept, matches, missed, waits;
    } sums;
} * page;

static int over_fd; /* readable when all end */

/* Before the first handle is closed: whoever is not killed is told to have left. */
static void is_closing(void) {
    page->closing[getpid()] = true;
}

static void raise_to(_Atomic uint64_t *highest, uint64_t value) {
    uint64_t seen = *highest;
    while (value > seen && !atomic_compare_exchange_weak(highest, &seen, value))
        ;
}

/*
 * ---- values -------------------------------------------------------------------------------------------------------
 */

static size_t make_value(char *data, struct random *random, uint64_t number) {
    size_t bytes =
        random_one_in(random, 50) ? random_between(random, 60000, VALUE_BYTES_MAX) : random_between(random, 16, 2000);
    uint64_t head[2] = {number, bytes};
    memcpy(data, head, sizeof head);
    fill_pattern(data + sizeof head, bytes - sizeof head, number);
    return bytes;
}

static uint64_t number_of(const void *data, size_t bytes) {
    uint64_t head[2];
    CHECK_INT(bytes, >=, sizeof head);
    memcpy(head, data, sizeof head);
    CHECK_INT(head[1], ==, bytes);
    CHECK(check_pattern((const char *)data + sizeof head, bytes - sizeof head, head[0]));
    return head[0];
}

static char buffer[VALUE_BYTES_MAX];

/*
 * ---- requests -----------------------------------------------------------------------------------------------------
 */

struct asked {
    uint64_t request, number; /* 0: none */
};

static void ask(tarn_client *client, struct asked asked[static PENDING], struct random *random) {
    for (int i = 0; i < PENDING; i++) {
        if (asked[i].request || !random_one_in(random, 3))
            continue;
        uint64_t number = random_next(random);
        int status = tarn_client_send(client, buffer, make_value(buffer, random, number), &asked[i].request);
        CHECK_STATUS(status, 1);
        asked[i].number = number;
    }
}

static struct asked *find_asked(struct asked asked[static PENDING], uint64_t request) {
    for (int i = 0; i < PENDING; i++)
        if (asked[i].request == request)
            return &asked[i];
    FAIL("request %llu is over, or never was", (unsigned long long)request);
}

static void hear_answers(tarn_client *client, struct asked asked[static PENDING], int64_t timeout_ns) {
    tarn_message message;
    int status;
    while ((status = tarn_client_receive(client, &message, timeout_ns)) != 0) {
        bool died = status == TARN_ERROR_PEER_DIED;
        if (!died)
            CHECK_STATUS(status, 1);
        struct asked *one = find_asked(asked, message.request);
        if (!died && !(message.flags & TARN_MESSAGE_NO_DATA))
            CHECK(number_of(message.data, message.bytes) == one->number);
        if (died || message.flags & TARN_MESSAGE_LAST)
            one->request = 0;
        page->sums.failed += died;
        page->sums.answered += !died && message.flags & TARN_MESSAGE_LAST;
        if (!died)
            CHECK_STATUS(tarn_message_release(&message), 0);
        timeout_ns = 0;
    }
}

static void be_client(struct random *random, int64_t end_ns) {
    tarn_client_options options = {.struct_bytes = sizeof options, .server_timeout_ns = GENEROUS};
    struct asked asked[PENDING] = {{0, 0}};
    tarn_client *client;
    CHECK_STATUS(tarn_client_open(&client, places[SERVICE], &options), 0);
    while (now_ns() < end_ns && !page->over) {
        ask(client, asked, random);
        hear_answers(client, asked, MS);
        struct asked *one = &asked[random_between(random, 0, PENDING - 1)];
        if (one->request && random_one_in(random, 10)) {
            CHECK_STATUS(tarn_client_abandon(client, one->request), 1);
            one->request = 0;
            page->sums.abandoned++;
        }
    }
    for (int64_t late_ns = now_ns() + GENEROUS; tarn_client_pending(client) > 0; CHECK(now_ns() < late_ns))
        hear_answers(client, asked, 5 * MS);
    for (int i = 0; i < PENDING; i++)
        CHECK_INT(asked[i].request, ==, 0);
    is_closing();
    CHECK_STATUS(tarn_client_close(client), 0);
}

static void answer(tarn_request *request, struct random *random) {
    int status = 1;
    number_of(request->data, request->bytes);
    if (random_one_in(random, 4))
        status = tarn_request_stream(request, request->data, request->bytes);
    if (status == 1)
        status = random_one_in(random, 4) ? tarn_request_end(request)
                                          : tarn_request_reply(request, request->data, request->bytes);
    if (status != TARN_ERROR_PEER_DIED)
        CHECK_INT(status, >=, 0);
}

static void be_server(struct random *random, int64_t end_ns) {
    tarn_server *server;
    tarn_request taken[8];
    unsigned count = 0;
    CHECK_STATUS(tarn_server_open(&server, places[SERVICE], NULL), 0);
    page->ready++;
    while (now_ns() < end_ns && !(end_ns == INT64_MAX ? page->last : page->over)) {
        int status = tarn_server_receive(server, &taken[count], 5 * MS);
        if (status == 1)
            count++;
        else
            CHECK_STATUS(status, 0);
        while (count && (status == 0 || count == 8 || random_one_in(random, 2)))
            answer(&taken[--count], random);
    }
    is_closing();
    CHECK_INT(tarn_server_close(server), >=, 0); /* what it has is told to have failed */
}

/*
 * ---- events -------------------------------------------------------------------------------------------------------
 */

static void be_notifier(struct random *random, int64_t end_ns) {
    tarn_notifier_options options = {.struct_bytes = sizeof options, .death_event = DEATH + 1};
    tarn_notifier *notifier;
    page->opening++;
    CHECK_STATUS(tarn_notifier_open(&notifier, places[EVENTS_PLACE], &options), 0);
    page->opened++;
    while (now_ns() < end_ns && !page->over) {
        uint32_t event = (uint32_t)random_between(random, 0, EVENTS - 1);
        uint64_t count = random_between(random, 1, 3);
        page->begun[event] += count;
        CHECK_STATUS(tarn_notifier_notify_many(notifier, event, count), 1);
        page->done[event] += count;
        if (random_one_in(random, 50))
            nap_ns((int64_t)random_between(random, 0, 2 * MS));
    }
    page->closing_notifiers++;
    is_closing();
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
    page->closed++;
}

static void hear(tarn_listener *listener, uint64_t told[static DEATH + 1], int64_t timeout_ns) {
    tarn_event event;
    int status;
    while ((status = tarn_listener_receive(listener, &event, timeout_ns)) == 1) {
        CHECK_INT(event.id, <=, DEATH);
        told[event.id] += event.count;
        raise_to(&page->raised[event.id], event.total);
        timeout_ns = 0;
    }
    CHECK_STATUS(status, 0);
}

static bool has_all(const uint64_t told[static DEATH + 1]) {
    for (int i = 0; i < EVENTS; i++)
        if (told[i] < page->done[i])
            return false;
    return told[DEATH] + page->closing_notifiers >= page->opened;
}

static void check_told(const uint64_t told[static DEATH + 1]) {
    uint64_t closed = page->closed; /* before opening is read */
    for (int i = 0; i < EVENTS; i++)
        CHECK_INT(told[i], <=, page->begun[i]);
    CHECK_INT(told[DEATH], <=, page->opening - closed);
}

/* With what was told before it came it knows at least what was raised by then. */
static void be_listener(struct random *random, int64_t end_ns) {
    tarn_listener_options options = {.struct_bytes = sizeof options, .history = 1};
    uint64_t told[DEATH + 1] = {0}, done[EVENTS];
    tarn_listener *listener;
    (void)random;
    for (int i = 0; i < EVENTS; i++)
        done[i] = page->done[i];
    CHECK_STATUS(tarn_listener_open(&listener, places[EVENTS_PLACE], &options), 0);
    page->ready++;
    hear(listener, told, 0);
    for (int i = 0; i < EVENTS; i++)
        CHECK_INT(told[i], >=, done[i]);
    bool stays = end_ns == INT64_MAX;
    while (now_ns() < end_ns && !(stays ? page->last : page->over))
        hear(listener, told, 5 * MS);
    for (int64_t late_ns = now_ns() + GENEROUS; stays && !has_all(told); CHECK(now_ns() < late_ns))
        hear(listener, told, 20 * MS);
    check_told(told);
    for (int i = 0; stays && i < EVENTS; i++)
        page->sums.told += told[i];
    page->sums.deaths += stays ? told[DEATH] : 0;
    is_closing();
    CHECK_STATUS(tarn_listener_close(listener), 0);
}

/*
 * ---- blackboard ---------------------------------------------------------------------------------------------------
 */

static const char *const names[KEYS] = {"a", "b", "c", "d"};

static void set_some(tarn_writer *writer, int i, int key, struct random *random) {
    for (uint64_t n = random_between(random, 1, 50); n > 0; n--) {
        CHECK_INT(page->holders[i], ==, getpid()); /* nobody else has it */
        CHECK_STATUS(tarn_writer_set(writer, key, buffer, make_value(buffer, random, random_next(random))), 1);
        page->sums.sets++;
    }
}

static void be_writer(struct random *random, int64_t end_ns) {
    tarn_writer *writer;
    CHECK_STATUS(tarn_writer_open(&writer, places[BOARD], NULL), 0);
    while (now_ns() < end_ns && !page->over) {
        int i = (int)random_between(random, 0, KEYS - 1), key = tarn_writer_key(writer, names[i]);
        if (key == TARN_ERROR_TAKEN) {
            nap_ns(MS / 4);
            continue;
        }
        CHECK_INT(key, >=, 0);
        page->holders[i] = getpid();
        set_some(writer, i, key, random);
        if (random_one_in(random, 2))
            CHECK_STATUS(tarn_writer_release_key(writer, key), 0);
    }
    is_closing();
    CHECK_INT(tarn_writer_close(writer), >=, 0);
}

/* No version is older than what anybody has seen before. Some values are held, and still whole later. */
static void be_reader(struct random *random, int64_t end_ns) {
    tarn_reader *reader;
    tarn_message held[KEYS] = {{0}};
    uint64_t numbers[KEYS] = {0};
    int keys[KEYS];
    CHECK_STATUS(tarn_reader_open(&reader, places[BOARD], NULL), 0);
    for (int i = 0; i < KEYS; i++)
        CHECK_INT((keys[i] = tarn_reader_key(reader, names[i])), >=, 0);
    page->ready++;
    while (now_ns() < end_ns && !(end_ns == INT64_MAX ? page->last : page->over)) {
        int i = (int)random_between(random, 0, KEYS - 1);
        uint64_t seen = page->versions[i];
        CHECK_INT(tarn_reader_wait(reader, MS), >=, 0);
        if (held[i].data) {
            CHECK(number_of(held[i].data, held[i].bytes) == numbers[i]);
            CHECK_STATUS(tarn_message_release(&held[i]), 0);
            held[i] = (tarn_message){0};
        }
        if (tarn_reader_take(reader, keys[i], &held[i]) != 1)
            continue;
        numbers[i] = number_of(held[i].data, held[i].bytes);
        CHECK_INT(held[i].sequence, >=, seen);
        raise_to(&page->versions[i], held[i].sequence);
        page->sums.gets++;
    }
    is_closing();
    CHECK_STATUS(tarn_reader_close(reader), 0);
    for (int i = 0; i < KEYS; i++)
        if (held[i].data)
            CHECK_STATUS(tarn_message_release(&held[i]), 0);
}

/*
 * ---- work queue ---------------------------------------------------------------------------------------------------
 */

/* Jobs that were handed to a keeper, in the order pushed. */
struct handover {
    unsigned guard, settled, pushed;
    uint64_t round;
};

/*
 * What was pushed before the keeper that guards began a wait is attached by it once that is over. If it still guards
 * then, who relieves it attaches that, too, before it goes.
 */
static void hand_over(struct handover *handover, const uint32_t *jobs, unsigned count) {
    unsigned guard = page->guard;
    bool is_same = guard == handover->guard;
    if (is_same && page->rounds[guard] < handover->round + 2)
        return;
    if (is_same && page->guard == guard)
        for (; handover->settled < handover->pushed; handover->settled++, page->sums.kept++)
            page->outlives[jobs[handover->settled]] = 1;
    handover->guard = guard;
    handover->pushed = count;
    handover->round = page->rounds[guard];
}

static tarn_producer *open_producer(enum place place) {
    tarn_producer_options options = {.struct_bytes = sizeof options};
    tarn_producer *producer;
    if (place == KEPT) {
        options.capacity = 256;
        options.full_timeout_ns = 20 * MS;
    }
    page->coming += place == KEPT;
    CHECK_STATUS(tarn_producer_open(&producer, places[place], &options), 0);
    page->come += place == KEPT;
    return producer;
}

/*
 * Who closes waits until a worker has all that was pushed; of the kept queue the ledger says earlier that a keeper has
 * it.
 */
static void be_producer(struct random *random, int64_t end_ns) {
    static uint32_t mine[JOBS_EACH];
    unsigned count = 0;
    enum place place = random_one_in(random, 2) ? KEPT : QUEUE;
    struct handover handover = {0};
    tarn_producer *producer = open_producer(place);
    while (now_ns() < end_ns && !page->over && count < JOBS_EACH && page->jobs < JOBS - STORMERS) {
        uint32_t job = page->jobs++;
        int status = tarn_producer_push(producer, buffer, make_value(buffer, random, job));
        if (status != TARN_ERROR_FULL) { /* workers are stopped, or slow */
            CHECK_STATUS(status, 1);
            mine[count++] = job;
        }
        if (random_one_in(random, 20))
            nap_ns((int64_t)random_between(random, 0, 2 * MS));
        if (place == KEPT)
            hand_over(&handover, mine, count);
    }
    is_closing();
    CHECK_STATUS(tarn_producer_close(producer), 0);
    for (unsigned i = 0; place == QUEUE && i < count; i++)
        page->outlives[mine[i]] = 1;
}

static void end_job(tarn_job *job, struct random *random) {
    uint32_t number = (uint32_t)number_of(job->data, job->bytes);
    CHECK_INT(number, <, page->jobs);
    if (random_one_in(random, 10)) {
        CHECK_STATUS(tarn_job_give_back(job), 0);
        return;
    }
    page->ending[number]++;
    CHECK_STATUS(random_one_in(random, 20) ? tarn_job_reject(job) : tarn_job_acknowledge(job), 0);
    page->ended[number]++;
    page->sums.ended++;
}

/* Who stays works until nothing has come for a while, during which jobs of the dead are found, too. */
static void work(struct random *random, int64_t end_ns, enum place place) {
    tarn_worker_options options = {.struct_bytes = sizeof options, .prefetch = 8};
    tarn_worker *worker;
    tarn_job jobs[8];
    unsigned count = 0;
    int64_t idle_since_ns = now_ns();
    bool stays = end_ns == INT64_MAX;
    page->coming += place == KEPT;
    CHECK_STATUS(tarn_worker_open(&worker, places[place], &options), 0);
    page->come += place == KEPT;
    page->ready++;
    while (stays ? !page->last || now_ns() - idle_since_ns < SECOND : now_ns() < end_ns && !page->over) {
        int status = tarn_worker_receive(worker, &jobs[count], 5 * MS);
        if (status == 1) {
            count++;
            idle_since_ns = now_ns();
        } else
            CHECK_STATUS(status, 0);
        while (count && (status == 0 || count == 8 || random_one_in(random, 2)))
            end_job(&jobs[--count], random);
    }
    is_closing();
    CHECK_STATUS(tarn_worker_close(worker), 0); /* what it has not ended is given back */
}

/* Those that stay are one of each queue, but that of the kept one comes when the others have gone. */
static void be_worker(struct random *random, int64_t end_ns) {
    work(random, end_ns, end_ns != INT64_MAX && random_one_in(random, 2) ? KEPT : QUEUE);
}

static void be_last_worker(void *arg) {
    struct random random = random_start((uintptr_t)arg);
    work(&random, INT64_MAX, KEPT);
    CHECK_INT(count_attached(), ==, 0);
}

static void check_jobs(bool all_have_ended) {
    for (uint32_t i = 0; i < page->jobs; i++) {
        CHECK_INT(page->ended[i], <=, 1);
        if (all_have_ended && page->outlives[i] && page->ended[i] + page->ending[i] == 0)
            FAIL("job %u of %u has gone", i, page->jobs);
    }
}

/*
 * ---- keepers ------------------------------------------------------------------------------------------------------
 */

static tarn_keeper *open_keeper(enum place place) {
    tarn_keeper *keeper;
    page->coming += place == KEPT;
    CHECK_STATUS(tarn_keeper_open(&keeper, places[place], NULL), 0);
    page->come += place == KEPT;
    return keeper;
}

static void close_keeper(tarn_keeper *keeper) {
    is_closing();
    CHECK_STATUS(tarn_keeper_close(keeper), 0);
}

static void be_keeper(struct random *random, int64_t end_ns) {
    tarn_keeper *keeper = open_keeper(random_one_in(random, 2) ? KEPT : BOARD);
    while (now_ns() < end_ns && !page->over)
        CHECK_STATUS(tarn_keeper_wait(keeper, (int64_t)random_between(random, 0, 5 * MS)), 0);
    close_keeper(keeper);
}

/* One of those that relieve one another. */
static void guard(void *arg) {
    unsigned number = (unsigned)(uintptr_t)arg;
    tarn_keeper *keeper = open_keeper(KEPT);
    while (page->relieved <= number) {
        CHECK_STATUS(tarn_keeper_wait(keeper, MS), 0);
        page->rounds[number]++;
    }
    close_keeper(keeper);
    CHECK_INT(count_attached(), ==, 0);
}

/*
 * ---- monitors -----------------------------------------------------------------------------------------------------
 */

struct present {
    uint64_t identity;
    pid_t pid;
    uint32_t role;
    int64_t told_ns;
};

/* What a monitor has told. */
struct told {
    enum place place;
    bool skips; /* those who were there before it */
    int64_t opened_ns;
    struct present present[PRESENT_MAX];
    uint64_t skipped[PRESENT_MAX]; /* that have ended */
    unsigned present_count, skipped_count;
    uint64_t joined, missed;
};

static bool is_role_of(enum place place, uint32_t role) {
    static const uint32_t roles[PLACES][2] = {{TARN_ROLE_CLIENT, TARN_ROLE_SERVER},
                                              {TARN_ROLE_NOTIFIER, TARN_ROLE_LISTENER},
                                              {TARN_ROLE_WRITER, TARN_ROLE_READER},
                                              {TARN_ROLE_PRODUCER, TARN_ROLE_WORKER},
                                              {TARN_ROLE_PRODUCER, TARN_ROLE_WORKER}};
    bool may_keep = place == BOARD || place == KEPT;
    return role == roles[place][0] || role == roles[place][1] || role == TARN_ROLE_MONITOR ||
           (may_keep && role == TARN_ROLE_KEEPER);
}

static unsigned find_present(const struct told *told, uint64_t identity) {
    unsigned i = 0;
    while (i < told->present_count && told->present[i].identity != identity)
        i++;
    return i;
}

static void note_joined(struct told *told, const tarn_match *match) {
    CHECK_INT(find_present(told, match->identity), ==, told->present_count);
    CHECK_INT(told->present_count, <, PRESENT_MAX);
    CHECK(!told->skips || match->opened_ns > told->opened_ns - LATE);
    told->present[told->present_count++] = (struct present){match->identity, match->pid, match->role, now_ns()};
    told->joined++;
}

/* Once, and nobody who had not been there. */
static void note_skipped(struct told *told, const tarn_match *match) {
    CHECK(told->skips);
    CHECK_INT(match->opened_ns, <=, told->opened_ns);
    for (unsigned i = 0; i < told->skipped_count; i++)
        CHECK(told->skipped[i] != match->identity);
    CHECK_INT(told->skipped_count, <, PRESENT_MAX);
    told->skipped[told->skipped_count++] = match->identity;
}

static void note_ended(struct told *told, const tarn_match *match) {
    unsigned i = find_present(told, match->identity);
    bool died = match->kind == TARN_MATCH_DIED, killed = page->killed_ns[match->pid] != 0;
    if (died ? !killed : !page->closing[match->pid])
        FAIL("%s %d of %s is told to have %s; it was %skilled", tarn_role_text(match->role), (int)match->pid,
             places[told->place], died ? "died" : "left, and did not close", killed ? "" : "not ");
    if (i == told->present_count) {
        note_skipped(told, match);
        return;
    }
    CHECK_INT(told->present[i].pid, ==, match->pid);
    CHECK_INT(told->present[i].role, ==, match->role);
    told->present[i] = told->present[--told->present_count];
}

static void note_match(struct told *told, const tarn_match *match) {
    told->missed += match->missed;
    page->sums.matches++;
    if (match->kind == TARN_MATCH_MISSED) {
        CHECK_INT(match->missed, >, 0);
        return;
    }
    CHECK(is_role_of(told->place, match->role));
    CHECK(match->pid > 0 && match->pid < PIDS && match->opened_ns <= now_ns());
    if (match->kind == TARN_MATCH_JOINED) {
        note_joined(told, match);
        return;
    }
    CHECK(match->kind == TARN_MATCH_LEFT || match->kind == TARN_MATCH_DIED);
    note_ended(told, match);
}

/* A death is told soon, also of one who was dead when he was told to have joined, as what he left is kept. */
static void check_present(const struct told *told, int64_t quiet_since_ns) {
    for (const struct present *one = told->present; one < told->present + told->present_count; one++) {
        int64_t killed_ns = page->killed_ns[one->pid], late_ns = quiet_since_ns - LATE;
        if (killed_ns && killed_ns < late_ns && one->told_ns < late_ns)
            FAIL("that %s %d of %s died is not told", tarn_role_text(one->role), (int)one->pid, places[told->place]);
    }
}

static void hear_matches(tarn_monitor *monitor, struct told *told, int64_t timeout_ns) {
    tarn_match match;
    int status;
    int64_t begun_ns = now_ns();
    while ((status = tarn_monitor_receive(monitor, &match, timeout_ns)) == 1) {
        note_match(told, &match);
        timeout_ns = 0;
        begun_ns = now_ns();
    }
    CHECK_STATUS(status, 0);
    check_present(told, begun_ns);
}

/* Who stays is told of all, of other monitors, too. */
static void be_monitor(struct random *random, int64_t end_ns) {
    static struct told told;
    bool stays = end_ns == INT64_MAX;
    tarn_monitor *monitor;
    told.place = stays ? KEPT : (enum place)random_between(random, 0, PLACES - 1);
    told.skips = !stays && random_one_in(random, 2);
    tarn_monitor_options options = {
        .struct_bytes = sizeof options, .skip_present = told.skips, .monitors = stays || random_one_in(random, 2)};
    page->coming += !stays && told.place == KEPT;
    CHECK_STATUS(tarn_monitor_open(&monitor, places[told.place], &options), 0);
    page->come += !stays && told.place == KEPT;
    told.opened_ns = now_ns();
    page->ready++;
    while (now_ns() < end_ns && !(stays ? page->end : page->over))
        hear_matches(monitor, &told, 5 * MS);
    for (int64_t late_ns = now_ns() + GENEROUS; stays && told.present_count; CHECK(now_ns() < late_ns))
        hear_matches(monitor, &told, 5 * MS);
    for (int i = 0; stays && i < 3; i++) /* nothing comes after */
        hear_matches(monitor, &told, 20 * MS);
    if (stays) {
        CHECK_INT(told.joined + told.missed, >=, page->come);
        CHECK_INT(told.joined + told.missed, <=, page->coming);
    }
    page->sums.missed += stays ? told.missed : 0;
    is_closing();
    CHECK_STATUS(tarn_monitor_close(monitor), 0);
}

/*
 * ---- waiting for many ---------------------------------------------------------------------------------------------
 */

struct many {
    struct random *random;
    bool stays;
    tarn_waitset *set;
    tarn_listener *listener;
    tarn_client *client;
    tarn_worker *worker; /* NULL: who stays has none, and no reader, so that it sleeps */
    tarn_reader *reader;
    uint64_t raised[DEATH + 1]; /* as it was told */
    struct asked asked[PENDING];
    int64_t asked_ns; /* the last, and it has not been answered since */
    int keys[KEYS];
    uint64_t versions[KEYS]; /* that it has read */
};

static void open_many(struct many *many) {
    static const uint32_t rare[] = {DEATH};
    tarn_listener_options listener = {.struct_bytes = sizeof listener, .history = 1};
    tarn_client_options client = {.struct_bytes = sizeof client, .server_timeout_ns = GENEROUS};
    if (many->stays) {
        listener.ids = rare;
        listener.ids_count = 1;
    }
    CHECK_STATUS(tarn_waitset_open(&many->set, NULL), 0);
    CHECK_STATUS(tarn_listener_open(&many->listener, places[EVENTS_PLACE], &listener), 0);
    CHECK_STATUS(tarn_client_open(&many->client, places[SERVICE], &client), 0);
    CHECK_STATUS(tarn_waitset_add(many->set, many->listener, NULL), 0);
    CHECK_STATUS(tarn_waitset_add(many->set, many->client, NULL), 0);
    CHECK_STATUS(tarn_waitset_add_fd(many->set, over_fd, POLLIN, NULL), 0);
    if (many->stays)
        return;
    CHECK_STATUS(tarn_worker_open(&many->worker, places[QUEUE], NULL), 0);
    CHECK_STATUS(tarn_reader_open(&many->reader, places[BOARD], NULL), 0);
    for (int i = 0; i < KEYS; i++)
        CHECK_INT((many->keys[i] = tarn_reader_key(many->reader, names[i])), >=, 0);
    CHECK_STATUS(tarn_waitset_add(many->set, many->worker, NULL), 0);
    CHECK_STATUS(tarn_waitset_add(many->set, many->reader, NULL), 0);
}

static void close_many(struct many *many) {
    is_closing();
    if (many->worker)
        CHECK_STATUS(tarn_worker_close(many->worker), 0);
    if (many->reader)
        CHECK_STATUS(tarn_reader_close(many->reader), 0);
    CHECK_STATUS(tarn_client_close(many->client), 0);
    CHECK_STATUS(tarn_listener_close(many->listener), 0);
    CHECK_STATUS(tarn_waitset_close(many->set), 0);
}

static void take_event(struct many *many) {
    tarn_event event;
    CHECK_STATUS(tarn_listener_take(many->listener, &event), 1); /* nobody takes it away */
    CHECK_INT(event.total, >=, many->raised[event.id] + event.count);
    many->raised[event.id] = event.total;
    raise_to(&page->raised[event.id], event.total);
}

/* The latest value of a key is read, and its version returned; 0: there is none. */
static uint64_t read_key(struct many *many, int i) {
    tarn_message value;
    uint64_t seen = page->versions[i];
    if (tarn_reader_take(many->reader, many->keys[i], &value) != 1)
        return 0;
    uint64_t version = value.sequence;
    number_of(value.data, value.bytes);
    CHECK_INT(version, >=, seen);
    raise_to(&page->versions[i], version);
    many->versions[i] = version;
    page->sums.gets++;
    CHECK_STATUS(tarn_message_release(&value), 0);
    return version;
}

static void take_from(struct many *many, const tarn_ready *ready) {
    tarn_job job;
    int key;
    CHECK_INT(ready->status, ==, 0);
    if (ready->handle == many->listener)
        take_event(many);
    else if (ready->handle == many->client)
        hear_answers(many->client, many->asked, 0);
    else if (ready->handle == many->worker && tarn_worker_take(many->worker, &job) == 1)
        end_job(&job, many->random);
    else if (ready->handle == many->reader && tarn_reader_changed(many->reader, &key) == 1)
        for (int i = 0; i < KEYS; i++)
            if (many->keys[i] == key)
                read_key(many, i);
}

/* Nothing was ready when the wait began, or has been since then for as long as that. */
static void check_not_missed(struct many *many, bool none, const uint64_t raised[static DEATH + 1],
                             const uint64_t versions[static KEYS], int64_t begun_ns) {
    int64_t now = now_ns();
    for (int i = 0; none && i <= DEATH; i++)
        if ((!many->stays || i == DEATH) && many->raised[i] < raised[i])
            FAIL("event %d was there, and not reported", i);
    for (int i = 0; none && many->reader && i < KEYS; i++) {
        uint64_t before = many->versions[i], version = read_key(many, i);
        if (version > before && version <= versions[i])
            FAIL("version %llu of %s was there, and not reported", (unsigned long long)version, names[i]);
    }
    if (now - begun_ns < LATE)
        return;
    for (unsigned i = 0; i < page->sampled; i++)
        if (page->samples[i].at_ns < now - LATE && many->raised[DEATH] < page->samples[i].raised[DEATH])
            FAIL("it slept for %lld ms, a death being there", (long long)((now - begun_ns) / MS));
    if (tarn_client_pending(many->client) > 0 && many->asked_ns < now - LATE)
        FAIL("it slept for %lld ms, and its request has no answer", (long long)((now - begun_ns) / MS));
}

static void wait_for_many(struct many *many, int64_t timeout_ns) {
    tarn_ready ready[4];
    uint64_t raised[DEATH + 1], versions[KEYS];
    for (int i = 0; i <= DEATH; i++)
        raised[i] = page->raised[i];
    for (int i = 0; i < KEYS; i++)
        versions[i] = page->versions[i];
    int64_t begun_ns = now_ns();
    int count = tarn_waitset_wait(many->set, ready, random_between(many->random, 1, 4), timeout_ns);
    CHECK_INT(count, >=, 0);
    page->sums.waits++;
    check_not_missed(many, count == 0, raised, versions, begun_ns);
    for (int i = 0; i < count; i++)
        if (ready[i].handle)
            take_from(many, &ready[i]);
}

static void ask_some(struct many *many) {
    if (!many->stays) {
        ask(many->client, many->asked, many->random);
        return;
    }
    if (tarn_client_pending(many->client) > 0)
        return;
    many->asked_ns = now_ns();
    CHECK_STATUS(tarn_client_send(many->client, buffer, make_value(buffer, many->random, 1), &many->asked[0].request),
                 1);
    many->asked[0].number = 1;
}

static void be_many(struct random *random, int64_t end_ns) {
    static struct many many;
    many.random = random;
    many.stays = end_ns == INT64_MAX;
    open_many(&many);
    page->ready++;
    while (now_ns() < end_ns && !page->over) {
        if (random_one_in(random, 3))
            ask_some(&many);
        wait_for_many(&many,
                      many.stays && random_one_in(random, 2) ? GENEROUS : (int64_t)random_between(random, 0, 20 * MS));
    }
    CHECK_STATUS(tarn_waitset_remove_fd(many.set, over_fd), 0);
    for (int64_t late_ns = now_ns() + GENEROUS;
         tarn_client_pending(many.client) > 0 || many.raised[DEATH] < page->raised[DEATH]; CHECK(now_ns() < late_ns))
        wait_for_many(&many, 20 * MS);
    close_many(&many);
}

/*
 * ---- lives --------------------------------------------------------------------------------------------------------
 */

/* In the order in which they end, from the last on: two of the slots are for keepers that relieve one another. */
enum { MONITOR, GUARD, OTHERS = GUARD + 2, STAYING = OTHERS + 5, SLOTS = STAYING + STORMERS };

typedef void role(struct random *random, int64_t end_ns);
static role *const staying[STAYING] = {
    [MONITOR] = be_monitor, [OTHERS] = be_server, be_listener, be_reader, be_worker, be_many};
static role *const roles[] = {be_server,   be_listener, be_reader,   be_worker, be_many,   be_client,
                              be_notifier, be_writer,   be_producer, be_keeper, be_monitor};
enum { ROLES = sizeof roles / sizeof roles[0] };

static struct life {
    pid_t pid; /* 0: none */
    bool killed;
    int64_t kill_ns, stop_ns, continue_ns; /* when; 0: never */
} lives[SLOTS];
static uint64_t life_count, killed, stopped, relieved;

static void live(void *arg) {
    uint64_t salt = (uint64_t)(uintptr_t)arg;
    struct random random = random_start(salt);
    if (salt < STAYING)
        staying[salt](&random, INT64_MAX);
    else
        roles[random_between(&random, 0, ROLES - 1)](&random,
                                                     now_ns() + (int64_t)random_between(&random, MS, 500 * MS));
    CHECK_INT(count_attached(), ==, 0);
}

static void start_life(struct life *life, void (*begin)(void *arg), uint64_t arg, struct random *random) {
    int64_t now = now_ns();
    *life = (struct life){.pid = spawn(begin, (void *)(uintptr_t)arg)};
    if (life >= lives + STAYING && random_between(random, 1, 100) <= 45)
        life->kill_ns = now + (int64_t)random_between(random, 0, 300 * MS);
    if (random_one_in(random, 4))
        life->stop_ns = now + (int64_t)random_between(random, 0, 300 * MS);
    life_count++;
}

static void kill_life(struct life *life) {
    page->killed_ns[life->pid] = now_ns();
    kill(life->pid, SIGKILL);
    life->killed = true;
}

static void apply_fate(struct life *life, struct random *random) {
    int64_t now = now_ns();
    if (life->continue_ns && now >= life->continue_ns) {
        kill(life->pid, SIGCONT);
        life->continue_ns = 0;
    }
    if (life->stop_ns && now >= life->stop_ns) {
        kill(life->pid, SIGSTOP);
        stopped++;
        life->continue_ns = now + (int64_t)random_between(random, MS, 300 * MS);
        life->stop_ns = life < lives + STAYING ? life->continue_ns + 2 * SECOND : 0;
    }
    if (life->kill_ns && now >= life->kill_ns && !life->killed) {
        kill_life(life);
        killed++;
    }
}

/* How many from that slot on are still there. */
static unsigned reap(unsigned from) {
    unsigned count = 0;
    int status;
    for (struct life *life = lives; life < lives + SLOTS; life++) {
        if (life->pid && waitpid(life->pid, &status, WNOHANG) == life->pid) {
            bool well = WIFEXITED(status) ? WEXITSTATUS(status) == 0 : life->killed && WTERMSIG(status) == SIGKILL;
            if (!well)
                FAIL("process %d ended with status %#x", (int)life->pid, status);
            life->pid = 0;
        }
        count += life >= lives + from && life->pid;
    }
    return count;
}

/*
 * ---- keepers that relieve one another ------------------------------------------------------------------------------
 */

static struct relay {
    bool is_begun, is_handed; /* the next has come; it is the one that guards */
    int64_t next_ns;
    uint64_t round;
} relay;

/* The next one begins to guard; when it has looked at all, the one before is killed, or closes. */
static void run_relay(struct random *random) {
    unsigned number = page->guard + !relay.is_handed; /* of the next */
    struct life *before = &lives[GUARD + (number + 1) % 2], *next = &lives[GUARD + number % 2];
    if (now_ns() < relay.next_ns || number == GUARDS_MAX)
        return;
    if (!relay.is_begun && !next->pid) {
        start_life(next, guard, number, random);
        relay.is_begun = true;
    } else if (relay.is_begun && !relay.is_handed && page->rounds[number] > 0) {
        page->guard = number;
        relay.is_handed = true;
        relay.round = page->rounds[number];
    } else if (relay.is_handed && page->rounds[number] >= relay.round + 2) {
        if (random_one_in(random, 2))
            kill_life(before);
        else
            page->relieved = number;
        relieved++;
        relay = (struct relay){.next_ns = now_ns() + (int64_t)random_between(random, 50 * MS, 500 * MS)};
    }
}

/*
 * ---- spells -------------------------------------------------------------------------------------------------------
 */

static void let_all_end(bool at_once, struct random *random) {
    for (struct life *life = lives; life < lives + SLOTS; life++) {
        if (life->pid && at_once)
            kill_life(life);
        else if (life->pid)
            kill(life->pid, SIGCONT);
    }
    page->over = true;
    CHECK(eventfd_write(over_fd, 1) == 0);
    AWAIT(reap(STAYING) == 0);
    if (!at_once)
        start_life(&lives[STAYING], be_last_worker, life_count, random);
    page->last = true;
    AWAIT(reap(OTHERS) == 0);
    page->relieved = GUARDS_MAX;
    AWAIT(reap(GUARD) == 0);
    page->end = true;
    AWAIT(reap(0) == 0);
}

static void check_nothing_left(void) {
    struct reading reading = read_segments();
    CHECK_INT(reading.segments, ==, reading.orphans);
    const char *arguments[] = {tarn_program(), "gc", NULL};
    CHECK_INT(wait_child(spawn_program(arguments), LIMIT_S), ==, 0);
    CHECK_INT(read_segments().segments, ==, 0);
    CHECK_INT(count_domain_files(), ==, 0);
}

static struct { uint64_t answered, failed, told, deaths, sets, gets, ended, kept, matches, missed, waits; } totals;

static void add_up(void) {
    const struct sums *sums = &page->sums;
    totals.answered += sums->answered;
    totals.failed += sums->failed;
    totals.told += sums->told;
    totals.deaths += sums->deaths;
    totals.sets += sums->sets;
    totals.gets += sums->gets;
    totals.ended += sums->ended;
    totals.kept += sums->kept;
    totals.matches += sums->matches;
    totals.missed += sums->missed;
    totals.waits += sums->waits;
}

/* What was known to have been raised by then. */
static void take_sample(void) {
    static int64_t next_ns;
    if (now_ns() < next_ns || page->sampled == SAMPLES)
        return;
    struct sample *sample = &page->samples[page->sampled];
    for (int i = 0; i <= DEATH; i++)
        sample->raised[i] = page->raised[i];
    sample->at_ns = now_ns();
    next_ns = sample->at_ns + SECOND / 10;
    page->sampled++;
}

static void start_those_who_stay(struct random *random) {
    unsigned ready = 0;
    for (unsigned i = 0; i < STAYING; i++) {
        if (!staying[i])
            continue;
        start_life(&lives[i], live, i, random);
        ready++;
    }
    start_life(&lives[GUARD], guard, 0, random);
    relay = (struct relay){0};
    AWAIT(page->ready == ready && page->rounds[0] > 0);
}

static void run_spell(uint64_t spell, int64_t end_ns) {
    struct random random = random_start(~spell);
    bool at_once = spell % 2 == 1;
    uint64_t next = (spell + 1) << 32;
    CHECK(madvise(page, sizeof *page, MADV_REMOVE) == 0); /* zeros again */
    CHECK((over_fd = eventfd(0, EFD_CLOEXEC)) >= 0);
    start_those_who_stay(&random);
    for (; now_ns() < end_ns; nap_ns(MS)) {
        reap(0);
        run_relay(&random);
        take_sample();
        for (struct life *life = lives; life < lives + SLOTS; life++) {
            if (!life->pid && life >= lives + STAYING)
                start_life(life, live, next++, &random);
            if (life->pid)
                apply_fate(life, &random);
        }
    }
    let_all_end(at_once, &random);
    close(over_fd);
    check_jobs(!at_once);
    check_nothing_left();
    add_up();
}

#define COUNT(name) (unsigned long long)totals.name

TEST_LIMIT(patterns, 7 * 24 * 3600) { /* it sees to its end itself */
    int64_t seconds = soak_seconds(1, 3), begun_ns = now_ns();
    uint64_t spells = 0;
    need_root(); /* for a System V namespace of our own */
    page = shared_page(sizeof *page);
    for (int64_t end = begun_ns + seconds * SECOND, now; (now = now_ns()) < end; spells++)
        run_spell(spells, now + SPELL_S * SECOND < end ? now + SPELL_S * SECOND : end);
    printf(
        "%lld s: %llu lives, %llu killed, %llu stopped; %llu requests answered, %llu failed; %llu events and %llu "
        "deaths told; %llu values set, %llu read; %llu jobs ended, %llu kept while %llu keepers relieved one another; "
        "%llu matches told, %llu missed by the monitor that stays; %llu waits for many\n",
        (long long)seconds, (unsigned long long)life_count, (unsigned long long)killed, (unsigned long long)stopped,
        COUNT(answered), COUNT(failed), COUNT(told), COUNT(deaths), COUNT(sets), COUNT(gets), COUNT(ended), COUNT(kept),
        (unsigned long long)relieved, COUNT(matches), COUNT(missed), COUNT(waits));
    CHECK_INT(killed, >, seconds);
    CHECK_INT(relieved, >, seconds / 2);
    CHECK(totals.answered && totals.failed && totals.told && totals.deaths && totals.gets && totals.ended);
    CHECK(totals.kept && totals.matches && totals.waits);
}
