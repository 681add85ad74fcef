/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Starts lives, kills, stops and continues them, and ends each spell: by asking all to go, or by killing all at once.
 * After each nothing may be left but small files, which the next ones to come, or tarn gc, remove.
 *
 *     TARN_SOAK_SECONDS=n     how long, patterns.c included; else two minutes
 *     TARN_SEED=n             the same lives with the same fates (what becomes of their races is chance)
 */
#include <sys/resource.h>

#include "soak.h"

enum {
    SPELL_S = 60,
    RESIDENTS_EACH = 2, /* of a topic that has some */
    RESIDENTS_MAX = TOPICS * RESIDENTS_EACH,
    STORMERS = 10, /* others at a time */
    SLOTS = RESIDENTS_MAX + STORMERS,
    REPORT_S = 10,
    END_S = 30, /* for all to end in */
};

struct stage *stage;

/* ---- in the processes ------------------------------------------------------------------------------------------- */

struct visit {
    struct sender sender;
    struct taker *taker;
    bool sends, is_last;
};

static uint64_t salt_of(uint64_t spell, uint32_t life) {
    return spell << 32 | life;
}

/* Takes part until then; what it leaves open is its last. */
static void take_part(struct visit *visit, int64_t end_ns, struct random *random) {
    bool alone = !visit->sends;
    while (now_ns() < end_ns && !stage->over) {
        if (visit->sends)
            sender_step(&visit->sender);
        if (visit->taker)
            taker_step(visit->taker, (int64_t)random_between(random, 0, alone ? 20 : 1) * MS);
        if (!visit->sends && !visit->taker)
            nap_ns(MS);
    }
}

static void leave(struct visit *visit, const struct subscriber_plan *subscriber, bool sender_first) {
    for (int turn = 0; turn < 2; turn++) {
        if ((turn == 0) == sender_first && visit->sends)
            sender_close(&visit->sender);
        if ((turn == 0) != sender_first && visit->taker)
            taker_close(visit->taker);
    }
    visit->is_last =
        (visit->sends && visit->sender.plan.leaves_open) || (visit->taker && subscriber->ending == END_EXIT);
}

/* What it is follows from the seed; random is for the steps, of which there are as many as time allows. */
static bool run_visit(struct random *plan, struct random *random, uint32_t life, int64_t end_ns) {
    uint32_t topic = (uint32_t)random_between(plan, 0, TOPICS - 1);
    uint64_t kind = random_between(plan, 1, 100);
    struct publisher_plan publisher = plan_publisher(plan, topic);
    struct subscriber_plan subscriber = plan_subscriber(plan, topic);
    struct visit visit = {0};
    bool sender_first = random_one_in(plan, 2);
    for (int turn = 0; turn < 2; turn++) {
        if ((turn == 0) == sender_first && kind <= 55)
            visit.sends = sender_open(&visit.sender, &publisher, random, life);
        if ((turn == 0) != sender_first && kind > 40)
            visit.taker = taker_open(&subscriber, random);
    }
    take_part(&visit, end_ns, random);
    leave(&visit, &subscriber, random_one_in(plan, 2));
    return !visit.is_last;
}

static void live(void *arg) {
    uint64_t salt = (uint64_t)(uintptr_t)arg;
    struct random plan_random = random_start(salt), random = random_start(~salt);
    struct life_plan plan = plan_life(&plan_random);
    int descriptors = count_descriptors();
    for (unsigned i = 0; i < plan.visits && !stage->over; i++) {
        struct random visit_random = {mixed(random_start(~salt).state, i)};
        if (!run_visit(&visit_random, &random, (uint32_t)salt, now_ns() + plan.visit_ns))
            return;
    }
    CHECK_INT(count_descriptors(), ==, descriptors);
    CHECK_INT(count_attached(), ==, 0);
}

/* Of each topic that has residents, one sends and takes, and one takes; reliably, where that is not refused. */
static void reside(void *arg) {
    uint64_t salt = (uint64_t)(uintptr_t)arg;
    struct random random = random_start(~salt);
    uint32_t life = (uint32_t)salt, topic = life / RESIDENTS_EACH;
    struct publisher_plan publisher = plan_publisher(&random, topic);
    struct subscriber_plan subscriber = plan_subscriber(&random, topic);
    struct visit visit = {.sends = life % RESIDENTS_EACH == 0};
    publisher.options.type = subscriber.options.type = topic_plans[topic].typed ? &right_type : NULL;
    publisher.options.refuse_reliable = 0;
    publisher.leaves_open = false;
    subscriber.options.reliable = !visit.sends && !topic_plans[topic].refusable;
    subscriber.ending = life % 4 < 2 ? END_RELEASE_FIRST : END_CLOSE_FIRST;
    CHECK(!visit.sends || sender_open(&visit.sender, &publisher, &random, life));
    CHECK((visit.taker = taker_open(&subscriber, &random)));
    stage->ready++;
    take_part(&visit, INT64_MAX, &random);
    leave(&visit, &subscriber, true);
}

/* ---- the one who starts and ends them --------------------------------------------------------------------------- */

struct life {
    pid_t pid; /* 0: none */
    uint32_t number;
    bool resident, killed;
    int64_t started_ns, continue_ns; /* continue_ns: it is stopped until then; 0: it is not */
    struct fate fate;
};

static struct life lives[SLOTS];
static uint32_t next_number;
static struct totals { uint64_t lives, killed, stopped, orphans, spells, ended_at_once; } totals;

static pid_t residents[RESIDENTS_MAX];
static unsigned resident_count;

static void start_life(struct life *life, uint64_t spell) {
    uint64_t salt = salt_of(spell, next_number);
    struct random random = random_start(salt);
    struct life_plan plan = plan_life(&random);
    CHECK_INT(next_number, <, LIVES);
    *life = (struct life){.number = next_number++, .started_ns = now_ns(), .fate = plan_fate(&random, &plan)};
    life->pid = spawn(live, (void *)(uintptr_t)salt);
    totals.lives++;
}

static void start_residents(uint64_t spell) {
    resident_count = 0;
    for (uint32_t number = 0; number < RESIDENTS_MAX; number++) {
        if (!topic_plans[number / RESIDENTS_EACH].residents)
            continue;
        pid_t pid = spawn(reside, (void *)(uintptr_t)salt_of(spell, number));
        residents[resident_count] = pid;
        lives[resident_count++] = (struct life){.pid = pid, .number = number, .resident = true, .started_ns = now_ns()};
        totals.lives++;
    }
    next_number = RESIDENTS_MAX;
    AWAIT(stage->ready == resident_count);
}

static void end_life(struct life *life, int status) {
    bool well = WIFEXITED(status) ? WEXITSTATUS(status) == 0 : life->killed && WTERMSIG(status) == SIGKILL;
    if (!well)
        FAIL("spell %llu: life %u (process %d) ended with status %#x", (unsigned long long)totals.spells, life->number,
             (int)life->pid, status);
    stage->ended[life->number] = true;
    life->pid = 0;
}

/* Whether somebody is still there. */
static bool reap(void) {
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (struct life *life = lives; life < lives + SLOTS; life++)
            if (life->pid == pid)
                end_life(life, status);
    for (struct life *life = lives; life < lives + SLOTS; life++)
        if (life->pid)
            return true;
    return false;
}

static void kill_life(struct life *life) {
    stage->killed[life->number] = true;
    kill(life->pid, SIGKILL);
    life->killed = true;
    totals.killed++;
}

/* Residents are stopped now and then, too, by the fate of whom they share the moment with. */
static void stop_life(struct life *life, int64_t until_ns) {
    kill(life->pid, SIGSTOP);
    life->continue_ns = until_ns;
    totals.stopped++;
}

static void continue_life(struct life *life) {
    kill(life->pid, SIGCONT);
    life->continue_ns = 0;
}

static void apply_fate(struct life *life, int64_t now, struct random *random) {
    struct fate *fate = &life->fate;
    int64_t age_ns = now - life->started_ns;
    if (life->continue_ns && now >= life->continue_ns)
        continue_life(life);
    if (fate->stopped_ns && age_ns >= fate->stopped_ns) {
        struct life *other = &lives[random_between(random, 0, resident_count - 1)];
        bool unlucky = random_one_in(random, 5);
        if (unlucky && other->pid && !other->continue_ns)
            stop_life(other, now + fate->stopped_for_ns);
        stop_life(life, now + fate->stopped_for_ns);
        fate->stopped_ns = 0;
    }
    if (fate->killed_ns && age_ns >= fate->killed_ns && !life->killed)
        kill_life(life);
}

/* ---- what is said ----------------------------------------------------------------------------------------------- */

static int64_t begun_ns;

static unsigned long long tally(const _Atomic uint64_t *counter) {
    return atomic_load(counter);
}

static void report(void) {
    const struct tally *t = &stage->tally;
    struct reading reading = read_segments();
    printf("%5lld s: %llu messages taken (%.1f GiB), %llu told lost; %llu lives, %llu killed, %llu stopped; "
           "%u segments of %.0f MiB (%.0f resident), %u files\n",
           (long long)((now_ns() - begun_ns) / SECOND), tally(&t->taken), (double)tally(&t->bytes) / (1 << 30),
           tally(&t->lost), (unsigned long long)totals.lives, (unsigned long long)totals.killed,
           (unsigned long long)totals.stopped, reading.segments, (double)reading.bytes / (1 << 20),
           (double)reading.resident / (1 << 20), count_domain_files());
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void account(void) {
    const struct tally *t = &stage->tally;
    report();
    printf(
        "  %llu spells, %llu of them ended by killing all at once; %.0f s of processor time\n"
        "  %llu publishers and %llu subscribers opened, %llu refused; %llu messages sent, %llu dropped, %llu times "
        "full\n"
        "  %llu times a publisher's end was checked at a subscriber, %llu subscribers' counts of losses; %llu times "
        "memory was gone\n"
        "  at most %u segments of %.0f MiB (%.0f resident), %u files; of a resident %u descriptors, %u segments, %.1f "
        "MiB of its own\n"
        "  %llu empty segments of the killed, removed by the next opening or tarn gc\n",
        (unsigned long long)totals.spells, (unsigned long long)totals.ended_at_once, cpu_seconds(),
        tally(&t->publishers), tally(&t->subscribers), tally(&t->refusals), tally(&t->sent), tally(&t->dropped),
        tally(&t->full), tally(&t->settled), tally(&t->checked_at_end), tally(&t->gone), peaks.segments,
        (double)peaks.bytes / (1 << 20), (double)peaks.resident / (1 << 20), peaks.files, peaks.descriptors,
        peaks.attached, (double)peaks.private_bytes / (1 << 20), (unsigned long long)totals.orphans);
}

/* ---- a spell ---------------------------------------------------------------------------------------------------- */

static void rage(uint64_t spell, int64_t end_ns) {
    static int64_t report_ns;
    struct random random = random_start(~spell);
    for (int64_t now, watch_ns = 0; (now = now_ns()) < end_ns; nap_ns(MS)) {
        reap();
        for (struct life *life = lives + resident_count; life < lives + resident_count + STORMERS; life++)
            if (!life->pid)
                start_life(life, spell);
        for (struct life *life = lives; life < lives + SLOTS; life++)
            if (life->pid)
                apply_fate(life, now, &random);
        if (now >= watch_ns) {
            watch(resident_count + STORMERS, residents, resident_count);
            watch_ns = now + SECOND / 4;
        }
        if (now >= report_ns) {
            report();
            report_ns = now + REPORT_S * SECOND;
        }
    }
}

/* Killed are all, those that are stopped, too; else all are asked to go, and continued. */
static void calm(bool at_once) {
    stage->over = !at_once;
    totals.ended_at_once += at_once;
    for (struct life *life = lives; life < lives + SLOTS; life++) {
        if (life->pid && at_once)
            kill_life(life);
        else if (life->pid && life->continue_ns)
            continue_life(life);
    }
    for (int64_t end = now_ns() + END_S * SECOND; reap(); nap_ns(MS))
        for (struct life *life = lives; life < lives + SLOTS; life++)
            if (life->pid && now_ns() > end)
                FAIL("life %u (process %d) has not ended in %d s", life->number, (int)life->pid, END_S);
}

static void collect_garbage(const char *domain) {
    const char *arguments[] = {tarn_program(), "gc", "--domain", domain, NULL};
    CHECK_INT(wait_child(spawn_program(arguments), LIMIT_S), ==, 0);
}

static void open_and_close(void *arg) {
    (void)arg;
    for (int i = 0; i < TOPICS; i++) {
        tarn_publisher *publisher = PUBLISHER(topic_plans[i].name, .domain = topic_plans[i].domain);
        CHECK_STATUS(tarn_publisher_close(publisher), 0);
    }
}

static void check_nothing_left(bool by_gc) {
    struct reading reading = read_segments();
    totals.orphans += reading.orphans;
    CHECK_INT(reading.segments, ==, reading.orphans);
    if (by_gc) {
        collect_garbage("default");
        collect_garbage("elsewhere");
    } else
        CHECK_INT(wait_child(spawn(open_and_close, NULL), LIMIT_S), ==, 0);
    CHECK_INT(read_segments().segments, ==, 0);
    CHECK_INT(count_domain_files(), ==, 0);
}

static void clear_stage(void) {
    stage->over = false;
    stage->ready = 0;
    for (uint32_t i = 0; i < next_number; i++)
        stage->killed[i] = stage->ended[i] = false;
    memset(stage->entries, 0, stage->entry_count * sizeof stage->entries[0]);
    stage->entry_count = 0;
}

static void run_spell(uint64_t spell, int64_t end_ns) {
    struct random random = random_start(spell);
    clear_stage();
    start_residents(spell);
    rage(spell, end_ns);
    calm(spell % 2 == 1);
    check_nothing_left(random_one_in(&random, 2));
    totals.spells++;
}

/* That there was a storm at all. */
static void check_weather(uint64_t seconds) {
    const struct tally *t = &stage->tally;
    CHECK_INT(t->taken, >, 1000 * seconds);
    CHECK_INT(t->lost, >, 0);
    CHECK_INT(t->dropped, >, 0);
    CHECK_INT(t->full, >, 0);
    CHECK_INT(t->refusals, >, 0);
    CHECK_INT(t->settled, >, seconds);
    CHECK_INT(totals.killed, >, seconds);
    CHECK_INT(totals.stopped, >, seconds / 2);
}

TEST_LIMIT(storm, 7 * 24 * 3600) { /* it sees to its end itself */
    int64_t seconds = soak_seconds(2, 3);
    need_root(); /* for a System V namespace of our own */
    stage = shared_page(sizeof *stage);
    printf("a storm of %lld s; TARN_SEED=%s\n", (long long)seconds, getenv("TARN_SEED"));
    begun_ns = now_ns();
    for (int64_t end = begun_ns + seconds * SECOND, now; (now = now_ns()) < end;)
        run_spell(totals.spells, now + SPELL_S * SECOND < end ? now + SPELL_S * SECOND : end);
    account();
    check_weather((uint64_t)seconds);
}
