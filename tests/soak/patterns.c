/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The storm of the other patterns: clients, servers, notifiers, listeners, writers, readers, producers and workers come, go, are
 * killed and stopped. Each request is answered or fails, once; each event that was raised is told, and each death; versions
 * rise, and values are whole; each job is ended once. One of those who receive stays while a spell lasts, and has the
 * accounts; every other spell ends with the death of all, after which nothing but orphans may be left.
 */
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
};

/* On a page that all processes of a spell share. */
static struct page {
    _Atomic bool over, last; /* all end; then those that stay */
    _Atomic unsigned ready;
    _Atomic uint64_t begun[EVENTS], done[EVENTS];      /* notifications */
    _Atomic uint64_t opening, opened, closing, closed; /* notifiers, all of which tell their deaths */
    _Atomic uint64_t versions[KEYS];                   /* the last that somebody has seen */
    _Atomic pid_t holders[KEYS];
    _Atomic uint32_t jobs;
    _Atomic uint8_t closed_well[JOBS], ending[JOBS],
        ended[JOBS]; /* by job: its producer has; its ends begun; its ends */
    struct sums {
        _Atomic uint64_t answered, failed, abandoned, told, deaths, sets, gets, ended;
    } sums;
} * page;

/* ---- values ------------------------------------------------------------------------------------------------------- */

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

/* ---- requests ----------------------------------------------------------------------------------------------------- */

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
    CHECK_STATUS(tarn_client_open(&client, "storm/service", &options), 0);
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
    CHECK_STATUS(tarn_server_open(&server, "storm/service", NULL), 0);
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
    CHECK_INT(tarn_server_close(server), >=, 0); /* what it has is told to have failed */
}

/* ---- events ------------------------------------------------------------------------------------------------------- */

static void be_notifier(struct random *random, int64_t end_ns) {
    tarn_notifier_options options = {.struct_bytes = sizeof options, .death_event = DEATH + 1};
    tarn_notifier *notifier;
    page->opening++;
    CHECK_STATUS(tarn_notifier_open(&notifier, "storm/events", &options), 0);
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
    page->closing++;
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
    page->closed++;
}

static void hear(tarn_listener *listener, uint64_t told[static DEATH + 1], int64_t timeout_ns) {
    tarn_event event;
    int status;
    while ((status = tarn_listener_receive(listener, &event, timeout_ns)) == 1) {
        CHECK_INT(event.id, <=, DEATH);
        told[event.id] += event.count;
        timeout_ns = 0;
    }
    CHECK_STATUS(status, 0);
}

static bool has_all(const uint64_t told[static DEATH + 1]) {
    for (int i = 0; i < EVENTS; i++)
        if (told[i] < page->done[i])
            return false;
    return told[DEATH] + page->closing >= page->opened;
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
    CHECK_STATUS(tarn_listener_open(&listener, "storm/events", &options), 0);
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
    CHECK_STATUS(tarn_listener_close(listener), 0);
}

/* ---- blackboard --------------------------------------------------------------------------------------------------- */

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
    CHECK_STATUS(tarn_writer_open(&writer, "storm/board", NULL), 0);
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
    CHECK_INT(tarn_writer_close(writer), >=, 0);
}

static void note_version(int i, uint64_t version) {
    uint64_t seen = page->versions[i];
    while (version > seen && !atomic_compare_exchange_weak(&page->versions[i], &seen, version))
        ;
}

/* No version is older than what anybody has seen before. Some values are held, and still whole later. */
static void be_reader(struct random *random, int64_t end_ns) {
    tarn_reader *reader;
    tarn_message held[KEYS] = {{0}};
    uint64_t numbers[KEYS] = {0};
    int keys[KEYS];
    CHECK_STATUS(tarn_reader_open(&reader, "storm/board", NULL), 0);
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
        note_version(i, held[i].sequence);
        page->sums.gets++;
    }
    CHECK_STATUS(tarn_reader_close(reader), 0);
    for (int i = 0; i < KEYS; i++)
        if (held[i].data)
            CHECK_STATUS(tarn_message_release(&held[i]), 0);
}

/* ---- work queue --------------------------------------------------------------------------------------------------- */

static void be_producer(struct random *random, int64_t end_ns) {
    static uint32_t mine[JOBS_EACH];
    unsigned count = 0;
    tarn_producer *producer;
    CHECK_STATUS(tarn_producer_open(&producer, "storm/queue", NULL), 0);
    while (now_ns() < end_ns && !page->over && count < JOBS_EACH && page->jobs < JOBS - STORMERS) {
        uint32_t job = page->jobs++;
        int status = tarn_producer_push(producer, buffer, make_value(buffer, random, job));
        if (status != TARN_ERROR_FULL) { /* workers are stopped, or slow */
            CHECK_STATUS(status, 1);
            mine[count++] = job;
        }
        if (random_one_in(random, 20))
            nap_ns((int64_t)random_between(random, 0, 2 * MS));
    }
    CHECK_STATUS(tarn_producer_close(producer), 0);
    for (unsigned i = 0; i < count; i++)
        page->closed_well[mine[i]] = 1;
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
static void be_worker(struct random *random, int64_t end_ns) {
    tarn_worker_options options = {.struct_bytes = sizeof options, .prefetch = 8};
    tarn_worker *worker;
    tarn_job jobs[8];
    unsigned count = 0;
    int64_t idle_since_ns = now_ns();
    bool stays = end_ns == INT64_MAX;
    CHECK_STATUS(tarn_worker_open(&worker, "storm/queue", &options), 0);
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
    CHECK_STATUS(tarn_worker_close(worker), 0); /* what it has not ended is given back */
}

static void check_jobs(bool all_have_ended) {
    for (uint32_t i = 0; i < page->jobs; i++) {
        CHECK_INT(page->ended[i], <=, 1);
        if (all_have_ended && page->closed_well[i] && page->ended[i] + page->ending[i] == 0)
            FAIL("job %u of %u has gone", i, page->jobs);
    }
}

/* ---- lives -------------------------------------------------------------------------------------------------------- */

typedef void role(struct random *random, int64_t end_ns);
static role *const roles[] = {be_server, be_listener, be_reader, be_worker,
                              be_client, be_notifier, be_writer, be_producer};
enum { ROLES = sizeof roles / sizeof roles[0], STAYING = 4, SLOTS = STAYING + STORMERS };

static struct life {
    pid_t pid; /* 0: none */
    bool killed;
    int64_t kill_ns, stop_ns, continue_ns; /* when; 0: never */
} lives[SLOTS];
static uint64_t life_count, killed, stopped;

static void live(void *arg) {
    uint64_t salt = (uint64_t)(uintptr_t)arg;
    struct random random = random_start(salt);
    bool stays = salt < STAYING;
    uint64_t which = stays ? salt : random_between(&random, 0, ROLES - 1);
    roles[which](&random, stays ? INT64_MAX : now_ns() + (int64_t)random_between(&random, MS, 500 * MS));
    CHECK_INT(count_attached(), ==, 0);
}

static void start_life(struct life *life, uint64_t salt, struct random *random) {
    int64_t now = now_ns();
    *life = (struct life){.pid = spawn(live, (void *)(uintptr_t)salt)};
    if (salt >= STAYING && random_between(random, 1, 100) <= 45)
        life->kill_ns = now + (int64_t)random_between(random, 0, 300 * MS);
    if (random_one_in(random, 4))
        life->stop_ns = now + (int64_t)random_between(random, 0, 300 * MS);
    life_count++;
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
        kill(life->pid, SIGKILL);
        life->killed = true;
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

static void let_all_end(bool at_once) {
    for (struct life *life = lives; life < lives + SLOTS; life++) {
        if (life->pid)
            kill(life->pid, at_once ? SIGKILL : SIGCONT);
        life->killed |= at_once;
    }
    page->over = true;
    AWAIT(reap(STAYING) == 0);
    page->last = true;
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

static struct { uint64_t answered, failed, told, deaths, sets, gets, ended; } totals;

static void add_up(void) {
    const struct sums *sums = &page->sums;
    totals.answered += sums->answered;
    totals.failed += sums->failed;
    totals.told += sums->told;
    totals.deaths += sums->deaths;
    totals.sets += sums->sets;
    totals.gets += sums->gets;
    totals.ended += sums->ended;
}

static void run_spell(uint64_t spell, int64_t end_ns) {
    struct random random = random_start(~spell);
    bool at_once = spell % 2 == 1;
    uint64_t next = (spell + 1) << 32;
    CHECK(madvise(page, sizeof *page, MADV_REMOVE) == 0); /* zeros again */
    for (unsigned i = 0; i < STAYING; i++)
        start_life(&lives[i], i, &random);
    AWAIT(page->ready == STAYING);
    for (; now_ns() < end_ns; nap_ns(MS)) {
        reap(0);
        for (struct life *life = lives; life < lives + SLOTS; life++) {
            if (!life->pid)
                start_life(life, next++, &random);
            apply_fate(life, &random);
        }
    }
    let_all_end(at_once);
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
    printf("%lld s: %llu lives, %llu killed, %llu stopped; %llu requests answered, %llu failed; %llu events and %llu "
           "deaths "
           "told; %llu values set, %llu read; %llu jobs ended\n",
           (long long)seconds, (unsigned long long)life_count, (unsigned long long)killed, (unsigned long long)stopped,
           COUNT(answered), COUNT(failed), COUNT(told), COUNT(deaths), COUNT(sets), COUNT(gets), COUNT(ended));
    CHECK_INT(killed, >, seconds);
    CHECK(totals.answered && totals.failed && totals.told && totals.deaths && totals.gets && totals.ended);
}
