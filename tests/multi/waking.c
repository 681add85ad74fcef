/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Sleeping and waking between processes: no lost wake-up, time-outs, interruption, the descriptor for poll and epoll,
 * and that an idle subscriber costs next to nothing. A lost wake-up ends with the slice of 100 ms, so it does not hang
 * a test: those that come so late are counted, and allowed for the few times that a busy machine explains.
 */
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "common.h"

#define LATE_NS (90 * MS)

/* ---- one message at a time, to one that sleeps ---------------------------------------------------------------- */

enum waiting { WAIT_FUTEX, WAIT_POLL };

struct court {
    _Atomic int ready;
    _Atomic int late;
};

static struct court *court;

/* The next message by its word, having slept for it in one of the two ways. */
static void sleep_for_word(tarn_subscriber *subscriber, enum waiting waiting, uint64_t word) {
    int64_t start = now_ns();
    if (waiting == WAIT_POLL) {
        struct pollfd poll_fd = {tarn_subscriber_fd(subscriber), POLLIN, 0};
        tarn_message message;
        int result;
        while ((result = tarn_subscriber_take(subscriber, &message)) == 0)
            CHECK_INT(poll(&poll_fd, 1, 15000), ==, 1);
        CHECK_STATUS(result, 1);
        CHECK(message.bytes == 8 && memcmp(message.data, &word, 8) == 0);
        CHECK_STATUS(tarn_message_release(&message), 0);
    } else
        receive_word(subscriber, word);
    if (now_ns() - start > LATE_NS)
        atomic_fetch_add(&court->late, 1);
}

struct game {
    unsigned strokes, players; /* players: that answer each stroke */
    enum waiting waiting;
    bool here_fenced, there_fenced; /* wake by TARN_WAKE_FENCE */
    void (*before_here)(void), (*before_there)(void);
};

static void answer(void *arg) {
    const struct game *game = arg;
    if (game->before_there)
        game->before_there();
    tarn_subscriber *in = SUBSCRIBER("ping", .wait_strategy = TARN_WAIT_SLEEP);
    tarn_publisher *out = PUBLISHER("pong", .wake = game->there_fenced ? TARN_WAKE_FENCE : TARN_WAKE_AUTO);
    atomic_fetch_add(&court->ready, 1);
    for (unsigned i = 0; i < game->strokes; i++) {
        sleep_for_word(in, game->waiting, i);
        publish_word(out, i);
    }
    CHECK_INT(tarn_subscriber_lost(in), ==, 0);
    CHECK_INT(tarn_publisher_close(out), >=, 0);
    CHECK_STATUS(tarn_subscriber_close(in), 0);
}

static void serve(void *arg) {
    const struct game *game = arg;
    if (game->before_here)
        game->before_here();
    tarn_subscriber *in = SUBSCRIBER("pong", .wait_strategy = TARN_WAIT_SLEEP);
    tarn_publisher *out = PUBLISHER("ping", .wake = game->here_fenced ? TARN_WAKE_FENCE : TARN_WAKE_AUTO);
    AWAIT(court->ready == (int)game->players);
    for (unsigned i = 0; i < game->strokes; i++) {
        publish_word(out, i);
        for (unsigned player = 0; player < game->players; player++)
            sleep_for_word(in, game->waiting, i);
    }
    CHECK_INT(tarn_subscriber_lost(in), ==, 0);
    CHECK_INT(tarn_publisher_close(out), >=, 0);
    CHECK_STATUS(tarn_subscriber_close(in), 0);
}

static void play(struct game game, int late_allowed) {
    pid_t players[8], server;
    court = shared_page(sizeof *court);
    for (unsigned i = 0; i < game.players; i++)
        players[i] = spawn(answer, &game);
    server = spawn(serve, &game);
    CHECK_INT(wait_child(server, 60), ==, 0);
    for (unsigned i = 0; i < game.players; i++)
        CHECK_INT(wait_child(players[i], LIMIT_S), ==, 0);
    CHECK_INT(court->late, <=, late_allowed);
}

TEST_LIMIT(each_message_wakes, 60) {
    play((struct game){.strokes = 20000, .players = 1}, 20);
}

TEST_LIMIT(each_message_wakes_all, 60) {
    play((struct game){.strokes = 2000, .players = 4}, 20);
}

TEST_LIMIT(each_message_wakes_with_fences, 60) {
    play((struct game){.strokes = 5000, .players = 1, .here_fenced = true, .there_fenced = true}, 10);
    play((struct game){.strokes = 2000, .players = 2, .here_fenced = true}, 10);
}

TEST_LIMIT(each_message_makes_fd_readable, 60) {
    play((struct game){.strokes = 4000, .players = 1, .waiting = WAIT_POLL}, 10);
    play((struct game){.strokes = 1000, .players = 3, .waiting = WAIT_POLL}, 10);
}

/* ---- a message that comes just when its subscriber goes to sleep ----------------------------------------------- */

struct race {
    _Atomic uint64_t taken;
    _Atomic bool joined, over;
    _Atomic int late;
};

static struct race *race;

static void take_and_sleep(void *arg) {
    tarn_message message;
    (void)arg;
    tarn_subscriber *subscriber = SUBSCRIBER("race", .wait_strategy = TARN_WAIT_SLEEP, .reliable = 1);
    race->joined = true;
    for (int64_t start = now_ns(); !race->over; start = now_ns()) {
        int result = tarn_subscriber_receive(subscriber, &message, 300 * MS);
        if (result == 0)
            continue;
        CHECK_STATUS(result, 1);
        if (now_ns() - start > LATE_NS)
            race->late++;
        CHECK_STATUS(tarn_message_release(&message), 0);
        race->taken++;
    }
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* Sends the next one some hundred nanoseconds after the last was taken, when the subscriber arms the bell. */
TEST_LIMIT(message_meets_sleeper, 60) {
    struct random random = random_start(1);
    race = shared_page(sizeof *race);
    pid_t child = spawn(take_and_sleep, NULL);
    AWAIT(race->joined);
    tarn_publisher *publisher = publisher_of("race", NULL);
    CHECK_STATUS(tarn_process_register(), 1);
    int64_t end = now_ns() + 3 * SECOND;
    for (uint64_t sent = 0; now_ns() < end && race->late <= 10; sent++) {
        for (unsigned spins = (unsigned)random_between(&random, 0, 1500); spins > 0; spins--)
            atomic_signal_fence(memory_order_seq_cst);
        publish_word(publisher, sent);
        for (int64_t give_up = now_ns() + GENEROUS; race->taken <= sent;)
            CHECK_INT(now_ns(), <, give_up);
    }
    CHECK_INT(race->late, <=, 10);
    race->over = true;
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
    CHECK_INT(race->taken, >, 1000);
}

/* ---- without membarrier --------------------------------------------------------------------------------------- */

/* As in a container with an old filter. */
static void forbid_by_eperm(void) {
    forbid_call(SYS_membarrier, ANY, EPERM);
}

static void forbid_by_enosys(void) {
    forbid_call(SYS_membarrier, ANY, ENOSYS);
}

TEST_LIMIT(each_message_wakes_without_membarrier, 60) {
    probe_seccomp();
    play((struct game){.strokes = 2000, .players = 1, .before_there = forbid_by_eperm}, 10);
    play((struct game){.strokes = 2000, .players = 1, .before_here = forbid_by_enosys}, 10);
    play((struct game){.strokes = 2000, .players = 1, .before_here = forbid_by_enosys, .before_there = forbid_by_eperm},
         10);
    play((struct game){.strokes = 500, .players = 2, .waiting = WAIT_POLL, .before_there = forbid_by_eperm}, 10);
}

static void register_process(void *arg) {
    (void)arg;
    CHECK_STATUS(tarn_process_register(), 1);
    CHECK_STATUS(tarn_process_register(), 1);
}

static void register_in_vain(void *arg) {
    (void)arg;
    forbid_by_eperm();
    CHECK_STATUS(tarn_process_register(), 0);
}

TEST(registering_says_whether_it_worked) {
    probe_seccomp();
    CHECK_INT(wait_child(spawn(register_process, NULL), LIMIT_S), ==, 0);
    CHECK_INT(wait_child(spawn(register_in_vain, NULL), LIMIT_S), ==, 0);
}

/* The filter comes when the subscriber waits already, and the publisher relies on barriers. */
TEST(membarrier_forbidden_while_open) {
    probe_seccomp();
    court = shared_page(sizeof *court);
    pid_t child = fork();
    if (child == 0) {
        tarn_subscriber *subscriber = SUBSCRIBER("ping", .wait_strategy = TARN_WAIT_SLEEP);
        court->ready = 1;
        for (unsigned i = 0; i < 1000; i++) {
            receive_word(subscriber, i);
            if (i == 100)
                forbid_by_enosys();
            court->ready = (int)i + 2;
        }
        exit(tarn_subscriber_close(subscriber));
    }
    AWAIT(court->ready == 1);
    tarn_publisher *publisher = publisher_of("ping", NULL);
    for (unsigned i = 0; i < 1000; i++) {
        publish_word(publisher, i);
        AWAIT(court->ready == (int)i + 2);
    }
    CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* ---- without futexes ------------------------------------------------------------------------------------------ */

static void forbid_futex_by_eperm(void) {
    forbid_call(SYS_futex, ANY, EPERM);
}

static void forbid_futex_by_enosys(void) {
    forbid_call(SYS_futex, ANY, ENOSYS);
}

/* Who cannot sleep looks each millisecond; whom nobody can wake finds what was sent within its slice. */
TEST_LIMIT(each_message_arrives_without_futexes, 60) {
    probe_seccomp();
    play((struct game){.strokes = 300, .players = 1, .waiting = WAIT_POLL, .before_there = forbid_futex_by_eperm}, 10);
    play((struct game){.strokes = 20, .players = 1, .before_here = forbid_futex_by_enosys}, 40);
    play(
        (struct game){
            .strokes = 300, .players = 1, .before_here = forbid_futex_by_enosys, .before_there = forbid_futex_by_eperm},
        10);
}

static int64_t cpu_ns(void);

static void time_out_without_futexes(void *arg) {
    tarn_message message;
    tarn_subscriber *subscriber = subscriber_of("ping", NULL);
    tarn_publisher *publisher = PUBLISHER("ping", .memory_limit_bytes = 1 << 20, .full_timeout_ns = 200 * MS);
    (void)arg;
    forbid_futex_by_enosys();
    int64_t start = now_ns(), before = cpu_ns();
    CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, SECOND), 0);
    CHECK_INT(now_ns() - start, >=, SECOND);
    CHECK_INT(now_ns() - start, <, GENEROUS);
    CHECK_INT(cpu_ns() - before, <, 200 * MS); /* it does not spin */
    tarn_subscriber *reliable = SUBSCRIBER("ping", .reliable = 1);
    int result;
    do {
        start = now_ns();
        result = publish_number(publisher, 1);
    } while (result == 1);
    CHECK_STATUS(result, TARN_ERROR_FULL);
    CHECK_INT(now_ns() - start, >=, 200 * MS);
    CHECK_INT(now_ns() - start, <, GENEROUS);
    CHECK_STATUS(tarn_subscriber_close(reliable), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

TEST(timeouts_without_futexes) {
    probe_seccomp();
    CHECK_INT(wait_child(spawn(time_out_without_futexes, NULL), LIMIT_S), ==, 0);
}

/* ---- committed, and nobody woken ------------------------------------------------------------------------------ */

/* As if it was killed between the two. */
static void publish_unannounced(void *arg) {
    (void)arg;
    tarn_publisher *publisher = PUBLISHER("ping", .wake = TARN_WAKE_NEVER);
    AWAIT(tarn_publisher_subscribers(publisher) == 1);
    CHECK_STATUS(tarn_publisher_flush(publisher, GENEROUS), 1); /* it has attached, */
    nap_ns(30 * MS);                                            /* and most probably sleeps */
    publish_word(publisher, 7);
    raise(SIGKILL);
}

static void find_unannounced(void *arg) {
    enum waiting waiting = (enum waiting)(intptr_t)arg;
    tarn_subscriber *subscriber = SUBSCRIBER("ping", .wait_strategy = TARN_WAIT_SLEEP);
    tarn_message message;
    AWAIT(tarn_subscriber_publishers(subscriber) == 1);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    int64_t start = now_ns();
    sleep_for_word(subscriber, waiting, 7);
    CHECK_INT(now_ns() - start, <, 2 * SECOND); /* a slice is a twentieth of that */
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* One subscriber at a time: who finds the dead one first wakes the others. */
TEST(killed_between_commit_and_wake) {
    court = shared_page(sizeof *court);
    for (intptr_t round = 0; round < 8; round++) {
        pid_t subscriber = spawn(find_unannounced, (void *)(round % 2 ? WAIT_POLL : (intptr_t)WAIT_FUTEX));
        pid_t publisher = spawn(publish_unannounced, NULL);
        CHECK_INT(wait_child(publisher, LIMIT_S), ==, -SIGKILL);
        CHECK_INT(wait_child(subscriber, LIMIT_S), ==, 0);
    }
}

/* ---- who spins needs nobody to wake it ------------------------------------------------------------------------- */

static void answer_spinning(void *arg) {
    tarn_subscriber *in = SUBSCRIBER("ping", .wait_strategy = TARN_WAIT_SPIN);
    tarn_publisher *out = PUBLISHER("pong", .wake = TARN_WAKE_NEVER);
    (void)arg;
    court->ready = 1;
    for (unsigned i = 0; i < 100; i++) {
        receive_word(in, i);
        publish_word(out, i);
    }
    CHECK_STATUS(tarn_publisher_close(out), 0);
    CHECK_STATUS(tarn_subscriber_close(in), 0);
}

static bool is_running(pid_t pid) {
    char path[32], line[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    CHECK(file && fgets(line, sizeof line, file));
    fclose(file);
    return strstr(line, ") R ");
}

/* One that slept would find each message with its slice only; on a busy machine it might be there before. */
TEST(each_message_is_seen_by_one_that_spins) {
    court = shared_page(sizeof *court);
    pid_t child = spawn(answer_spinning, NULL);
    tarn_subscriber *in = SUBSCRIBER("pong", .wait_strategy = TARN_WAIT_SPIN);
    tarn_publisher *out = PUBLISHER("ping", .wake = TARN_WAKE_NEVER);
    AWAIT(court->ready);
    for (unsigned i = 0; i < 99; i++) {
        publish_word(out, i);
        sleep_for_word(in, WAIT_FUTEX, i);
    }
    CHECK_INT(court->late, <=, 10);
    int asleep = 0;
    for (int i = 0; i < 100; i++) {
        asleep += !is_running(child);
        nap_ns(MS);
    }
    CHECK_INT(asleep, <=, 10);
    publish_word(out, 99);
    sleep_for_word(in, WAIT_FUTEX, 99);
    CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_publisher_close(out), 0);
    CHECK_STATUS(tarn_subscriber_close(in), 0);
}

/* ---- interruption --------------------------------------------------------------------------------------------- */

static const uint32_t strategies[] = {TARN_WAIT_SPIN_THEN_SLEEP, TARN_WAIT_SPIN, TARN_WAIT_SLEEP};

struct interrupter {
    tarn_subscriber *subscriber;
    _Atomic unsigned asked, answered;
};

static void *interrupt_each_time(void *arg) {
    struct interrupter *interrupter = arg;
    for (unsigned i = 1; i <= 500; i++) {
        interrupter->asked = i;
        if (i % 3 == 0)
            sched_yield();
        CHECK_STATUS(tarn_subscriber_interrupt(interrupter->subscriber), 0);
        AWAIT(interrupter->answered == i);
    }
    return NULL;
}

TEST(interrupted_from_thread) {
    for (int i = 0; i < 3; i++) {
        struct interrupter interrupter = {.subscriber = SUBSCRIBER("ping", .wait_strategy = strategies[i])};
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, interrupt_each_time, &interrupter) == 0);
        for (unsigned n = 1; n <= 500; n++) {
            tarn_message message;
            if (n % 2)
                CHECK_STATUS(tarn_subscriber_wait(interrupter.subscriber, TARN_FOREVER), TARN_ERROR_INTERRUPTED);
            else
                CHECK_STATUS(tarn_subscriber_receive(interrupter.subscriber, &message, TARN_FOREVER),
                             TARN_ERROR_INTERRUPTED);
            CHECK_INT(interrupter.asked, ==, n); /* each interruption ends one wait */
            interrupter.answered = n;
        }
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK_STATUS(tarn_subscriber_wait(interrupter.subscriber, MS), 0);
        CHECK_STATUS(tarn_subscriber_close(interrupter.subscriber), 0);
    }
}

static tarn_subscriber *interrupted;

static void interrupt_in_handler(int number) {
    (void)number;
    tarn_subscriber_interrupt(interrupted);
}

TEST(interrupted_from_signal_handler) {
    signal(SIGUSR1, interrupt_in_handler);
    for (int i = 0; i < 3; i++) {
        interrupted = SUBSCRIBER("ping", .wait_strategy = strategies[i]);
        pid_t parent = getpid(), child = fork();
        if (child == 0) {
            nap_ns(20 * MS);
            exit(kill(parent, SIGUSR1));
        }
        CHECK_STATUS(tarn_subscriber_wait(interrupted, TARN_FOREVER), TARN_ERROR_INTERRUPTED);
        CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
        CHECK_STATUS(tarn_subscriber_close(interrupted), 0);
    }
}

TEST(interruption_ends_the_next_wait_and_no_message_is_lost) {
    tarn_subscriber *subscriber = subscriber_of("ping", NULL), *other = subscriber_of("ping", NULL);
    tarn_publisher *publisher = publisher_of("ping", NULL);
    tarn_message message;
    CHECK_STATUS(tarn_subscriber_interrupt(subscriber), 0);
    CHECK_STATUS(tarn_subscriber_interrupt(subscriber), 0);
    CHECK_STATUS(tarn_subscriber_wait(subscriber, GENEROUS), TARN_ERROR_INTERRUPTED);
    CHECK_STATUS(tarn_subscriber_wait(subscriber, 0), 0);
    CHECK_STATUS(tarn_subscriber_wait(other, 0), 0);
    publish_word(publisher, 1);
    CHECK_STATUS(tarn_subscriber_interrupt(subscriber), 0);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 1);
    CHECK_STATUS(tarn_message_release(&message), 0);
    receive_word(other, 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_subscriber_close(other), 0);
}

/* ---- time-outs ------------------------------------------------------------------------------------------------ */

TEST(timeouts) {
    for (int i = 0; i < 3; i++) {
        tarn_subscriber *subscriber = SUBSCRIBER("ping", .wait_strategy = strategies[i]);
        static const int64_t timeouts[] = {0, -1, INT64_MIN, 1, 1000, MS, 30 * MS, 250 * MS};
        for (size_t n = 0; n < sizeof timeouts / sizeof timeouts[0]; n++) {
            tarn_message message;
            int64_t start = now_ns();
            CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, timeouts[n]), 0);
            CHECK_INT(now_ns() - start, >=, timeouts[n]);
            start = now_ns();
            CHECK_STATUS(tarn_subscriber_wait(subscriber, timeouts[n]), 0);
            CHECK_INT(now_ns() - start, >=, timeouts[n]);
            CHECK_INT(now_ns() - start, <, GENEROUS);
        }
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    }
}

static void publish_later(void *arg) {
    (void)arg;
    tarn_publisher *publisher = PUBLISHER("ping", .linger_ns = GENEROUS);
    nap_ns(150 * MS);
    publish_word(publisher, 3);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

TEST(forever) {
    for (int i = 0; i < 3; i++) {
        tarn_subscriber *subscriber = SUBSCRIBER("ping", .wait_strategy = strategies[i]);
        pid_t child = spawn(publish_later, NULL);
        tarn_message message;
        CHECK_STATUS(tarn_subscriber_wait(subscriber, TARN_FOREVER), 1);
        CHECK_STATUS(tarn_subscriber_wait(subscriber, TARN_FOREVER), 1); /* it takes nothing */
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, TARN_FOREVER), 1);
        CHECK_STATUS(tarn_message_release(&message), 0);
        CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    }
}

/* ---- the descriptor ------------------------------------------------------------------------------------------- */

static bool is_readable(int fd, int timeout_ms) {
    struct pollfd poll_fd = {fd, POLLIN, 0};
    int ready = poll(&poll_fd, 1, timeout_ms);
    CHECK_INT(ready, >=, 0);
    CHECK(ready == 0 || poll_fd.revents == POLLIN); /* no hang-up, no error */
    return ready == 1;
}

TEST(fd_stays_readable_while_there_is_something) {
    tarn_subscriber *subscriber = subscriber_of("ping", NULL);
    tarn_publisher *publisher = publisher_of("ping", NULL);
    tarn_message message;
    int fd = tarn_subscriber_fd(subscriber);
    CHECK_INT(fd, >=, 0);
    CHECK_INT(tarn_subscriber_fd(subscriber), ==, fd);
    for (int round = 0; round < 50; round++) {
        CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
        for (uint64_t word = 0; word < 5; word++)
            publish_word(publisher, word);
        for (uint64_t word = 0; word < 5; word++) { /* one take per readiness */
            CHECK(is_readable(fd, 15000) && is_readable(fd, 0));
            CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 1);
            CHECK(memcmp(message.data, &word, 8) == 0);
            CHECK_STATUS(tarn_message_release(&message), 0);
        }
    }
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(fd_is_quiet_but_for_the_look_at_peers) {
    tarn_subscriber *subscriber = subscriber_of("ping", NULL);
    tarn_publisher *publisher = publisher_of("ping", NULL);
    tarn_message message;
    int fd = tarn_subscriber_fd(subscriber), wakes = 0;
    publish_word(publisher, 1);
    receive_word(subscriber, 1);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    for (int64_t end = now_ns() + SECOND; now_ns() < end; wakes += is_readable(fd, 100))
        CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_INT(wakes, <=, 15);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* Two subscribers on one epoll descriptor, beside a descriptor of the user's own. */
struct multiplexer {
    int epoll;
    struct gate own;
    tarn_subscriber *subscribers[2];
    tarn_publisher *publishers[2];
};

static struct multiplexer open_multiplexer(void) {
    static const char *const topics[] = {"ping", "pong"};
    struct multiplexer ret = {.epoll = epoll_create1(EPOLL_CLOEXEC), .own = gate_open()};
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 2};
    CHECK(epoll_ctl(ret.epoll, EPOLL_CTL_ADD, ret.own.fd, &event) == 0);
    for (unsigned i = 0; i < 2; i++) {
        ret.subscribers[i] = subscriber_of(topics[i], NULL);
        ret.publishers[i] = publisher_of(topics[i], NULL);
        event.data.u32 = i;
        CHECK(epoll_ctl(ret.epoll, EPOLL_CTL_ADD, tarn_subscriber_fd(ret.subscribers[i]), &event) == 0);
    }
    return ret;
}

static void close_multiplexer(struct multiplexer *multiplexer) {
    close(multiplexer->epoll);
    gate_close(multiplexer->own);
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(tarn_publisher_close(multiplexer->publishers[i]), 0);
        CHECK_STATUS(tarn_subscriber_close(multiplexer->subscribers[i]), 0);
    }
}

/* Which of the three something came from. */
static unsigned next_event(struct multiplexer *multiplexer) {
    for (;;) {
        struct epoll_event event;
        tarn_message message;
        CHECK_INT(epoll_wait(multiplexer->epoll, &event, 1, 15000), ==, 1);
        if (event.data.u32 == 2) {
            gate_wait(multiplexer->own, LIMIT_S);
            return 2;
        }
        int result = tarn_subscriber_take(multiplexer->subscribers[event.data.u32], &message);
        if (result == 0)
            continue;
        CHECK_STATUS(result, 1);
        CHECK_STATUS(tarn_message_release(&message), 0);
        return event.data.u32;
    }
}

TEST(fds_in_epoll) {
    struct multiplexer multiplexer = open_multiplexer();
    struct random random = random_start(1);
    for (unsigned n = 0; n < 1000; n++) {
        unsigned source = (unsigned)random_between(&random, 0, 2);
        if (source == 2)
            gate_signal(multiplexer.own);
        else
            publish_word(multiplexer.publishers[source], n);
        CHECK_INT(next_event(&multiplexer), ==, source);
    }
    close_multiplexer(&multiplexer);
}

/* ---- what idleness costs -------------------------------------------------------------------------------------- */

static int64_t cpu_ns(void) {
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * SECOND +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

TEST(idle_subscriber_costs_next_to_nothing) {
    tarn_publisher *publisher = publisher_of("ping", NULL);
    for (int way = 0; way < 3; way++) {
        tarn_subscriber *subscriber = SUBSCRIBER("ping", .wait_strategy = way ? TARN_WAIT_SLEEP : 0);
        tarn_message message;
        int fd = way == 2 ? tarn_subscriber_fd(subscriber) : -1;
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, 0), 0);
        int64_t end = now_ns() + SECOND, before = cpu_ns();
        while (now_ns() < end) {
            if (fd >= 0)
                is_readable(fd, 1000);
            CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, fd < 0 ? SECOND : 0), 0);
        }
        CHECK_INT(cpu_ns() - before, <, 20 * MS);
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    }
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}
