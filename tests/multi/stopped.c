/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Stopped, not dead: participants that a debugger has stopped, that a signal has, or that sit in a frozen control
 * group, for longer than all time-outs and slices. They are counted as before, nobody repairs them, nobody waits for
 * them without having asked to, and afterwards they go on where they were. And the clock on the wall, which may jump:
 * nobody asks it.
 */
#include <sys/ptrace.h>
#include <sys/time.h>

#include "cgroup.h"
#include "common.h"

#define TOPIC "stopped"
#define PAUSE_NS (2500 * MS) /* a second to be full or to open, a second until peers are looked at thoroughly */

/* ---- those who will be stopped -------------------------------------------------------------------------------- */

enum { SUBJECTS = 2 };

static struct board {
    _Atomic int ready;
    _Atomic uint64_t last; /* how many messages there will be; 0: not known yet */
} * board;

/* Sends back what it gets: a reliable subscriber, and a publisher. */
static void be_subject(void *arg) {
    tarn_subscriber *in = SUBSCRIBER(TOPIC "/to", .reliable = 1);
    tarn_publisher *out = PUBLISHER(TOPIC "/from", .linger_ns = GENEROUS);
    tarn_message message;
    (void)arg;
    board->ready++;
    for (uint64_t next = 1; !board->last || next <= board->last;) {
        int result = tarn_subscriber_receive(in, &message, 10 * MS);
        if (result == 0)
            continue;
        CHECK_STATUS(result, 1);
        CHECK_INT(message.sequence, ==, next);
        CHECK_INT(message.lost, ==, 0);
        check_number(&message);
        CHECK_STATUS(tarn_message_release(&message), 0);
        CHECK_STATUS(publish_number(out, next), 1);
        next++;
    }
    CHECK_STATUS(tarn_publisher_close(out), 0);
    CHECK_STATUS(tarn_subscriber_close(in), 0);
}

struct scene {
    pid_t subjects[SUBJECTS];
    tarn_publisher *to;
    tarn_subscriber *from, *other; /* other: best effort, of what is sent to the subjects */
    uint64_t sent;
    uint64_t echoed[SUBJECTS], identity[SUBJECTS];
};

static void open_scene(struct scene *scene) {
    memset(scene, 0, sizeof *scene);
    board = shared_page(sizeof *board);
    for (int i = 0; i < SUBJECTS; i++)
        scene->subjects[i] = spawn(be_subject, NULL);
    AWAIT(board->ready == SUBJECTS);
    scene->to = PUBLISHER(TOPIC "/to", .memory_limit_bytes = 1 << 20, .full_timeout_ns = 300 * MS);
    scene->from = SUBSCRIBER(TOPIC "/from", .reliable = 1);
    scene->other = subscriber_of(TOPIC "/to", NULL);
}

/* The next echo, whosesoever: each one's come in order and complete. */
static void receive_echo(struct scene *scene) {
    tarn_message message;
    int who = 0;
    CHECK_STATUS(tarn_subscriber_receive(scene->from, &message, GENEROUS), 1);
    while (scene->identity[who] && scene->identity[who] != message.publisher)
        CHECK_INT(++who, <, SUBJECTS);
    scene->identity[who] = message.publisher;
    CHECK_INT(message.sequence, ==, ++scene->echoed[who]);
    CHECK_INT(message.lost, ==, 0);
    check_number(&message);
    CHECK_STATUS(tarn_message_release(&message), 0);
}

static void receive_echoes(struct scene *scene) {
    for (uint64_t left = SUBJECTS * scene->sent - scene->echoed[0] - scene->echoed[1]; left > 0; left--)
        receive_echo(scene);
}

static void exchange(struct scene *scene, int messages) {
    while (messages-- > 0) {
        CHECK_STATUS(publish_number(scene->to, ++scene->sent), 1);
        receive_echoes(scene);
    }
}

static void close_scene(struct scene *scene) {
    board->last = scene->sent;
    for (int i = 0; i < SUBJECTS; i++)
        CHECK_INT(wait_child(scene->subjects[i], LIMIT_S), ==, 0);
    CHECK_INT(tarn_publisher_close(scene->to), ==, 0);
    CHECK_STATUS(tarn_subscriber_close(scene->from), 0);
    CHECK_STATUS(tarn_subscriber_close(scene->other), 0);
}

/* ---- while they are stopped ----------------------------------------------------------------------------------- */

/* Their publisher waits as long as it has asked to, and no longer. */
static void fill_up(struct scene *scene) {
    int result;
    int64_t start = 0;
    do {
        start = now_ns();
        result = publish_number(scene->to, scene->sent + 1);
        scene->sent += result == 1;
    } while (result == 1);
    CHECK_STATUS(result, TARN_ERROR_FULL);
    CHECK(strstr(tarn_error(), "reliable subscriber"));
    CHECK_INT(now_ns() - start, >=, 300 * MS);
    CHECK_INT(now_ns() - start, <, GENEROUS);
}

/* Others talk in the same topics, come and go. */
static void go_on(struct scene *scene) {
    tarn_message message;
    tarn_subscriber *newcomer = subscriber_of(TOPIC "/from", NULL);
    tarn_publisher *publisher = publisher_of(TOPIC "/from", NULL);
    int64_t start = now_ns();
    uint64_t last = 0;
    publish_word(publisher, 7);
    receive_word(newcomer, 7);
    CHECK_STATUS(tarn_subscriber_receive(scene->from, &message, GENEROUS), 1);
    CHECK(message.bytes == 8 && message.sequence == 1);
    CHECK_STATUS(tarn_message_release(&message), 0);
    CHECK_STATUS(tarn_subscriber_receive(newcomer, &message, 150 * MS), 0);
    CHECK_STATUS(tarn_subscriber_publishers(newcomer), SUBJECTS + 1);
    CHECK_STATUS(tarn_publisher_subscribers(scene->to), SUBJECTS + 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(newcomer), 0);
    while (tarn_subscriber_take(scene->other, &message) == 1) { /* best effort: not held up by the reliable ones */
        last = message.sequence;
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    CHECK(last == 0 || last == scene->sent);
    CHECK_INT(now_ns() - start, <, GENEROUS);
}

static void pass_time(struct scene *scene) {
    int64_t end = now_ns() + PAUSE_NS;
    fill_up(scene);
    go_on(scene);
    if (access(tarn_program(), X_OK) == 0)
        run_tarn("gc"); /* repairs the dead: there are none */
    while (now_ns() < end)
        go_on(scene);
}

struct way {
    void (*stop)(struct scene *), (*resume)(struct scene *);
};

static void outlast(const struct way *way) {
    struct scene scene;
    open_scene(&scene);
    exchange(&scene, 100);
    for (int round = 0; round < 2; round++) {
        way->stop(&scene);
        pass_time(&scene);
        way->resume(&scene);
        receive_echoes(&scene);
        exchange(&scene, 100);
    }
    close_scene(&scene);
}

/* ---- ways to be stopped --------------------------------------------------------------------------------------- */

static void stop_all(struct scene *scene) {
    for (int i = 0; i < SUBJECTS; i++)
        stop_process(scene->subjects[i]);
}

static void continue_all(struct scene *scene) {
    for (int i = 0; i < SUBJECTS; i++)
        continue_process(scene->subjects[i]);
}

TEST(stopped_by_signal) {
    outlast(&(struct way){stop_all, continue_all});
}

static void trace_all(struct scene *scene) {
    for (int i = 0; i < SUBJECTS; i++) {
        pid_t pid = scene->subjects[i];
        int status;
        if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) != 0)
            SKIP("ptrace: %s", strerror(errno));
        CHECK(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0);
        CHECK(waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_STOP);
    }
}

static void untrace_all(struct scene *scene) {
    for (int i = 0; i < SUBJECTS; i++)
        CHECK(ptrace(PTRACE_DETACH, scene->subjects[i], NULL, NULL) == 0);
}

TEST(stopped_by_debugger) {
    outlast(&(struct way){trace_all, untrace_all});
}

static struct cgroup cgroup;

static void freeze_all(struct scene *scene) {
    for (int i = 0; i < SUBJECTS; i++)
        cgroup_enter(&cgroup, scene->subjects[i]);
    CHECK(cgroup.is_second ? cgroup_write(&cgroup, "cgroup.freeze", "1")
                           : cgroup_write(&cgroup, "freezer.state", "FROZEN"));
    AWAIT(cgroup.is_second ? cgroup_says(&cgroup, "cgroup.events", "frozen 1")
                           : cgroup_says(&cgroup, "freezer.state", "FROZEN"));
}

static bool thaw(void) {
    return cgroup.is_second ? cgroup_write(&cgroup, "cgroup.freeze", "0")
                            : cgroup_write(&cgroup, "freezer.state", "THAWED");
}

static void thaw_all(struct scene *scene) {
    (void)scene;
    CHECK(thaw());
}

static void outlast_frost(void *arg) {
    (void)arg;
    setpgid(0, 0);
    outlast(&(struct way){freeze_all, thaw_all});
}

/* As a paused container is. */
TEST(frozen_control_group) {
    int status;
    need_root();
    cgroup = cgroup_make("cgroup.freeze", "freezer", "freezer.state");
    printf("version %d\n", cgroup.is_second ? 2 : 1);
    pid_t pid = spawn(outlast_frost, NULL);
    CHECK(waitpid(pid, &status, 0) ==
          pid); /* each of its waits is bounded; what is frozen cannot be killed everywhere */
    bool thawed = thaw();
    kill(-pid, SIGKILL); /* what is left of it if it failed */
    cgroup_remove(&cgroup);
    CHECK(thawed && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- the clock on the wall ------------------------------------------------------------------------------------ */

static struct clocks {
    _Atomic unsigned wall_asked, other_asked; /* by all processes of the test */
} unused, *clocks = &unused;

/* Jumps back and forth. */
static time_t wall_time(void) {
    return clocks->wall_asked++ % 2 ? 4000000000 : 0;
}

/* Instead of libc's, for the library and this program. */
int clock_gettime(clockid_t clock, struct timespec *ret) {
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE && clock != CLOCK_TAI) {
        clocks->other_asked++;
        return (int)syscall(SYS_clock_gettime, clock, ret);
    }
    *ret = (struct timespec){wall_time(), 0};
    return 0;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone) {
    (void)zone;
    *ret = (struct timeval){wall_time(), 0};
    return 0;
}

time_t time(time_t *ret) {
    time_t now = wall_time();
    if (ret)
        *ret = now;
    return now;
}

int timespec_get(struct timespec *ret, int base) {
    clock_gettime(CLOCK_REALTIME, ret);
    return base;
}

/* All that has to do with time: opening, sending with the time, sleeping, being full, lingering, repairing. */
static void live_by_the_clock(void) {
    struct scene scene;
    tarn_message message;
    open_scene(&scene);
    exchange(&scene, 100);
    stop_all(&scene);
    fill_up(&scene);
    go_on(&scene);
    CHECK_STATUS(tarn_publisher_flush(scene.to, 10 * MS), 0);
    CHECK_INT(tarn_subscriber_fd(scene.other), >=, 0);
    CHECK_STATUS(tarn_subscriber_receive(scene.other, &message, 300 * MS), 0);
    continue_all(&scene);
    receive_echoes(&scene);
    for (int i = 0; i < SUBJECTS; i++)
        kill_child(scene.subjects[i]);
    AWAIT(tarn_publisher_subscribers(scene.to) == 1);
    CHECK_STATUS(tarn_subscriber_receive(scene.from, &message, 300 * MS), 0);
    CHECK_INT(tarn_publisher_close(scene.to), ==, 0);
    CHECK_STATUS(tarn_subscriber_close(scene.from), 0);
    CHECK_STATUS(tarn_subscriber_close(scene.other), 0);
}

/* Setting the machine's clock would disturb others. But who never asks it cannot be misled. */
TEST(nobody_asks_the_clock_on_the_wall) {
    clocks = shared_page(sizeof *clocks);
    tarn_publisher *publisher = PUBLISHER(TOPIC, .timestamps = 1);
    publish_word(publisher, 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_INT(clocks->other_asked, >, 0); /* the library asks for time here */
    live_by_the_clock();
    CHECK_INT(clocks->wall_asked, ==, 0);
    CHECK(time(NULL) == 0 && time(NULL) > 0 && clocks->wall_asked == 2); /* and it would be told nonsense */
}
