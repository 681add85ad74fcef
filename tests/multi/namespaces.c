/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Participants in different namespaces, as containers have them. Of pids: they talk, deaths are seen, and sentences say
 * whose number a pid is. Of IPC: they cannot talk, and are told why. Of users: they talk where the kernel's ids allow
 * it. Of time: they talk, and no clock of another one is believed.
 */
#include <sys/shm.h>

#include "common.h"
#include "users.h"

#define TOPIC "namespaces"

/* ---- processes elsewhere -------------------------------------------------------------------------------------- */

static struct board {
    _Atomic pid_t inside, second; /* as numbered here; only of what is spawned elsewhere */
    _Atomic int stage;
    _Atomic bool over;
    int64_t clock_offset_s;
} * board;

struct elsewhere {
    int namespaces;        /* CLONE_NEW... */
    void (*prepare)(void); /* in the namespaces' maker, or NULL */
    void (*role)(void *);
    void *arg;
};

/* Makes the namespaces, and the role's process in them; ends as that does. */
static void make_elsewhere(void *arg) {
    const struct elsewhere *elsewhere = arg;
    if (unshare(elsewhere->namespaces) != 0)
        SKIP("unshare: %s", strerror(errno));
    if (elsewhere->prepare)
        elsewhere->prepare();
    pid_t pid = spawn(elsewhere->role, elsewhere->arg);
    board->inside = pid;
    int code = wait_child(pid, LIMIT_S);
    if (code < 0)
        raise(-code);
    _exit(code);
}

static pid_t spawn_elsewhere(struct elsewhere elsewhere) {
    static struct elsewhere kept[8];
    static int count;
    if (!board)
        board = shared_page(sizeof *board);
    board->inside = 0;
    kept[count] = elsewhere;
    return spawn(make_elsewhere, &kept[count++]);
}

/* How it ended; skips the test where it could not begin. */
static int end_of(pid_t pid) {
    int code = wait_child(pid, LIMIT_S);
    if (code == 77)
        SKIP("no such namespace can be made here");
    return code;
}

static void await_stage(pid_t pid, int stage) {
    for (int64_t end = now_ns() + GENEROUS; board->stage < stage; nap_ns(MS)) {
        if (now_ns() > end)
            FAIL("stage %d was not reached", stage);
        int status;
        if (waitpid(pid, &status, WNOHANG) == pid) {
            if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
                SKIP("no such namespace can be made here");
            FAIL("ended before stage %d", stage);
        }
    }
}

static void kill_inside(pid_t pid) {
    AWAIT(board->inside != 0);
    CHECK(kill(board->inside, SIGKILL) == 0);
    CHECK_INT(end_of(pid), ==, -SIGKILL);
}

static void mount_proc(void) {
    CHECK(mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(mount("proc", "/proc", "proc", 0, NULL) == 0);
}

/* ---- pids ----------------------------------------------------------------------------------------------------- */

/* Sends back what it gets, from pid 1 of its namespace, until it is killed. */
static void echo(void *arg) {
    if (arg)
        mount_proc();
    CHECK_INT(getpid(), ==, 1);
    tarn_subscriber *in = SUBSCRIBER(TOPIC "/to", .reliable = 1);
    tarn_publisher *out = publisher_of(TOPIC "/from", NULL);
    board->stage = 1;
    for (uint64_t next = 1;; next++) {
        CHECK_INT(receive_up_to(in, &(uint64_t){next}, next), ==, 0);
        CHECK_STATUS(publish_number(out, next), 1);
    }
}

/* For longer than any look at peers takes to come: the one on either topic is not taken for dead. */
static void look_at_the_living(tarn_publisher *to, tarn_subscriber *from) {
    for (int i = 0; i < 30; i++) {
        tarn_message message;
        CHECK_STATUS(tarn_subscriber_receive(from, &message, 50 * MS), 0);
        CHECK_STATUS(tarn_publisher_subscribers(to), 1);
        CHECK_STATUS(tarn_subscriber_publishers(from), 1);
    }
}

/* They have been killed, after 500 messages: that is seen, and holds nobody up. */
static void outlive(tarn_publisher *to, tarn_subscriber *from) {
    AWAIT(tarn_publisher_subscribers(to) == 0);
    AWAIT(tarn_subscriber_publishers(from) == 0);
    for (uint64_t number = 501; number <= 20000; number++)
        CHECK_STATUS(publish_number(to, number), 1);
    CHECK_STATUS(tarn_publisher_close(to), 0);
    CHECK_STATUS(tarn_subscriber_close(from), 0);
}

/* Its death is seen by those outside, who are not held up by what it had not taken. */
static void talk_and_kill(int namespaces, void *mounts_proc) {
    pid_t child = spawn_elsewhere((struct elsewhere){.namespaces = namespaces, .role = echo, .arg = mounts_proc});
    await_stage(child, 1);
    tarn_publisher *to = PUBLISHER(TOPIC "/to", .memory_limit_bytes = 1 << 20, .full_timeout_ns = TARN_FOREVER);
    tarn_subscriber *from = SUBSCRIBER(TOPIC "/from", .reliable = 1);
    CHECK_STATUS(tarn_publisher_subscribers(to), 1);
    CHECK_STATUS(tarn_subscriber_publishers(from), 1);
    for (uint64_t next = 1; next <= 500;) {
        CHECK_STATUS(publish_number(to, next), 1);
        CHECK_INT(receive_up_to(from, &next, next), ==, 0);
    }
    look_at_the_living(to, from);
    kill_inside(child);
    outlive(to, from);
}

TEST(another_pid_namespace) {
    need_root();
    talk_and_kill(CLONE_NEWPID, NULL);
}

TEST(another_pid_namespace_with_its_own_proc) {
    need_root();
    talk_and_kill(CLONE_NEWPID | CLONE_NEWNS, "");
}

/* The other way round: who is inside sees that one outside died. */
static void see_death_outside(void *arg) {
    (void)arg;
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    tarn_publisher *publisher = PUBLISHER(TOPIC, .memory_limit_bytes = 1 << 20, .full_timeout_ns = TARN_FOREVER);
    AWAIT(tarn_subscriber_publishers(subscriber) == 2);
    board->stage = 1;
    AWAIT(tarn_subscriber_publishers(subscriber) == 1);
    AWAIT(tarn_publisher_subscribers(publisher) == 1);
    for (uint64_t number = 1; number <= 20000; number++)
        CHECK_STATUS(publish_number(publisher, number), 1);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

static void take_part(void *arg) {
    (void)arg;
    SUBSCRIBER(TOPIC, .reliable = 1);
    publisher_of(TOPIC, NULL);
    sleep_until_killed();
}

TEST(death_outside_the_pid_namespace) {
    need_root();
    pid_t outside = spawn(take_part, NULL);
    pid_t child = spawn_elsewhere((struct elsewhere){.namespaces = CLONE_NEWPID, .role = see_death_outside});
    await_stage(child, 1);
    kill_child(outside);
    CHECK_INT(end_of(child), ==, 0);
}

/* Does not read, and is read about. */
static void be_reliable(void *arg) {
    (void)arg;
    SUBSCRIBER(TOPIC, .reliable = 1);
    board->stage = 1;
    sleep_until_killed();
}

static void read_blame(void *arg) {
    const char *words = arg;
    tarn_publisher *publisher = PUBLISHER(TOPIC, .memory_limit_bytes = 1 << 20, .when_full = TARN_FULL_FAIL);
    uint64_t number = 1;
    int result;
    while ((result = publish_number(publisher, number)) == 1)
        CHECK_INT(number++, <, 100000);
    CHECK_STATUS(result, TARN_ERROR_FULL);
    if (!strstr(tarn_error(), words))
        FAIL("\"%s\" is not in: %s", words, tarn_error());
    CHECK_REFUSED(tarn_publisher_open(
                      &publisher, TOPIC,
                      &(tarn_publisher_options){.struct_bytes = sizeof(tarn_publisher_options), .refuse_reliable = 1}),
                  TARN_ERROR_REFUSED, words);
    _exit(0); /* without the linger of a close */
}

/* From outside pid 1 would be somebody else; from inside, one outside would be nobody or somebody else. */
TEST(sentences_say_whose_pid_it_is) {
    char words[64];
    need_root();
    pid_t child = spawn_elsewhere((struct elsewhere){.namespaces = CLONE_NEWPID, .role = be_reliable});
    await_stage(child, 1);
    CHECK_INT(wait_child(spawn(read_blame, "(pid 1 of another pid namespace)"), LIMIT_S), ==, 0);
    kill_inside(child);
    board->stage = 0;
    pid_t outside = spawn(be_reliable, NULL);
    await_stage(outside, 1);
    snprintf(words, sizeof words, "(pid %d of another pid namespace)", (int)outside);
    CHECK_INT(end_of(spawn_elsewhere((struct elsewhere){CLONE_NEWPID, NULL, read_blame, words})), ==, 0);
    snprintf(words, sizeof words, "(pid %d)", (int)outside);
    CHECK_INT(wait_child(spawn(read_blame, words), LIMIT_S), ==, 0);
    kill_child(outside);
    tarn_subscriber *last = subscriber_of(TOPIC, NULL); /* sweeps */
    CHECK_STATUS(tarn_subscriber_close(last), 0);
}

/* ---- a pid namespace, and another one's /proc ----------------------------------------------------------------- */

static void publish_with_own_proc(void *arg) {
    (void)arg;
    CHECK(unshare(CLONE_NEWNS) == 0);
    mount_proc();
    publish_word(publisher_of(TOPIC, NULL), 1);
    board->stage = 1;
    sleep_until_killed();
}

/*
 * As after "nsenter --pid": /proc is that of the namespace above, where the publisher's number, 2, is another process.
 * That one began at another time, and is no evidence.
 */
static void look_with_foreign_proc(void *arg) {
    (void)arg;
    char text[16] = {0};
    CHECK(readlink("/proc/self", text, sizeof text - 1) > 0 && atoi(text) != getpid());
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .history = 1);
    pid_t publisher = spawn(publish_with_own_proc, NULL);
    CHECK_INT(publisher, ==, 2);
    AWAIT(board->stage == 1);
    receive_word(subscriber, 1);
    for (int i = 0; i < 30; i++) {
        tarn_message message;
        CHECK_STATUS(tarn_subscriber_publishers(subscriber), 1);
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, 50 * MS), 0);
    }
    kill_child(publisher);
    AWAIT(tarn_subscriber_publishers(subscriber) == 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(proc_of_another_pid_namespace) {
    need_root();
    CHECK_INT(end_of(spawn_elsewhere((struct elsewhere){.namespaces = CLONE_NEWPID, .role = look_with_foreign_proc})),
              ==, 0);
}

/* ---- what a death in another pid namespace leaves ------------------------------------------------------------- */

static void die_while_making_a_publisher(void *arg) {
    (void)arg;
    SUBSCRIBER(TOPIC, .reliable = 1);
    die_at_removal();
    publisher_of(TOPIC, NULL);
}

static void come_and_go(void *arg) {
    (void)arg;
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* Who made the segment cannot be asked for from inside: System V memory names no process to those who cannot see it. */
TEST(orphan_of_another_pid_namespace) {
    need_root();
    probe_seccomp();
    CHECK_INT(wait_child(spawn(die_while_making_a_publisher, NULL), LIMIT_S), ==, -SIGSYS);
    CHECK_INT(count_segments(), ==, 1);
    CHECK_INT(end_of(spawn_elsewhere((struct elsewhere){.namespaces = CLONE_NEWPID, .role = come_and_go})), ==, 0);
    CHECK_INT(count_segments(), ==, 0);
}

/* ---- System V memory ------------------------------------------------------------------------------------------ */

/* Somebody else's segment has the number that the topic's file names. */
static void occupy_number(int number) {
    FILE *file = fopen("/proc/sys/kernel/shm_next_id", "we");
    if (!file || fprintf(file, "%d", number) < 0 || fclose(file) != 0)
        SKIP("cannot choose a segment's number: %s", strerror(errno));
    CHECK_INT(shmget(IPC_PRIVATE, 1 << 20, 0666), ==, number);
}

static int roster_number(void) {
    char path[512], text[400];
    int number;
    topic_path(path, TOPIC);
    FILE *file = fopen(path, "re");
    CHECK(file);
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    CHECK(strstr(text, "roster backend ") &&
          sscanf(strstr(text, "roster backend "), "roster backend 1 id %d", &number) == 1);
    return number;
}

static void be_refused(void *arg) {
    if (arg)
        occupy_number(roster_number());
    check_nobody_joins(TOPIC, TARN_ERROR_PERMISSION, "IPC namespace");
    CHECK(strstr(tarn_error(), TOPIC));
}

TEST(another_ipc_namespace) {
    need_root();
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    for (int decoy = 0; decoy < 2; decoy++) {
        struct elsewhere elsewhere = {.namespaces = CLONE_NEWIPC, .role = be_refused, .arg = decoy ? "" : NULL};
        CHECK_INT(end_of(spawn_elsewhere(elsewhere)), ==, 0);
        publish_word(publisher, 1);
        receive_word(subscriber, 1);
        CHECK_STATUS(tarn_publisher_subscribers(publisher), 1);
    }
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* Whose participants are all gone: it is not kept by the namespace that it was made in. */
static void use_topic(void *arg) {
    (void)arg;
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    publish_word(publisher_of(TOPIC, NULL), 1);
    receive_word(subscriber, 1);
    board->stage = 1;
    sleep_until_killed();
}

TEST(topic_moves_to_another_ipc_namespace) {
    need_root();
    board = shared_page(sizeof *board);
    pid_t here = spawn(use_topic, NULL);
    await_stage(here, 1);
    kill_child(here);
    board->stage = 0;
    pid_t there = spawn_elsewhere((struct elsewhere){.namespaces = CLONE_NEWIPC, .role = use_topic});
    await_stage(there, 1);
    be_refused(NULL);
    kill_inside(there);
    come_and_go(NULL);
}

/* Looks after the dead where no memory of theirs is found. */
static void repair_from_elsewhere(void *arg) {
    tarn_monitor_options options = {.struct_bytes = sizeof options, .look_ns = 1, .skip_present = 1};
    tarn_monitor *monitor;
    tarn_match match;
    CHECK_STATUS(tarn_monitor_open(&monitor, arg, &options), 0);
    board->stage = 1;
    AWAIT(board->stage == 2);
    if (unshare(CLONE_NEWIPC) != 0)
        SKIP("unshare: %s", strerror(errno));
    for (int i = 0; i < 100; i++) /* that there is one, and that it has left */
        CHECK_INT(tarn_monitor_take(monitor, &match), >=, 0);
    CHECK_STATUS(tarn_monitor_close(monitor), 0);
}

/* Once somebody who has not got the memory of those that left has gone elsewhere, and looked. */
static void await_repairs(pid_t child) {
    board->stage = 2;
    CHECK_INT(end_of(child), ==, 0);
    board->stage = 0;
}

static void find_value(void *arg) {
    tarn_reader *reader;
    char value[8];
    CHECK_STATUS(tarn_reader_open(&reader, arg, NULL), 0);
    CHECK_STATUS(tarn_reader_get(reader, tarn_reader_key(reader, "key"), value, sizeof value, NULL), 1);
    CHECK_STATUS(tarn_reader_close(reader), 0);
}

TEST(who_went_to_another_ipc_namespace_takes_no_value) {
    tarn_reader *reader;
    tarn_writer *writer;
    board = shared_page(sizeof *board);
    pid_t child = spawn(repair_from_elsewhere, TOPIC);
    await_stage(child, 1);
    CHECK_STATUS(tarn_writer_open(&writer, TOPIC, NULL), 0);
    CHECK_STATUS(tarn_reader_open(&reader, TOPIC, NULL), 0);
    CHECK_STATUS(tarn_writer_set(writer, tarn_writer_key(writer, "key"), "value", 5), 1);
    CHECK_INT(tarn_reader_key(reader, "key"), >=, 0);
    CHECK_STATUS(tarn_writer_close(writer), 1);
    await_repairs(child);
    CHECK_INT(wait_child(spawn(find_value, TOPIC), LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_reader_close(reader), 0);
}

TEST(who_went_to_another_ipc_namespace_takes_no_job) {
    tarn_worker *worker;
    tarn_producer *producer;
    tarn_job job;
    board = shared_page(sizeof *board);
    pid_t child = spawn(repair_from_elsewhere, TOPIC);
    await_stage(child, 1);
    CHECK_STATUS(tarn_worker_open(&worker, TOPIC, NULL), 0);
    CHECK_STATUS(tarn_producer_open(&producer, TOPIC, NULL), 0);
    for (int i = 0; i < 2; i++)
        CHECK_STATUS(tarn_producer_push(producer, "job", 3), 1);
    CHECK_STATUS(tarn_worker_take(worker, &job), 1);
    CHECK_INT(tarn_producer_close(producer), >=, 0);
    await_repairs(child);
    CHECK_STATUS(tarn_job_acknowledge(&job), 0);
    CHECK_STATUS(tarn_worker_take(worker, &job), 1);
    CHECK_STATUS(tarn_job_acknowledge(&job), 0);
    CHECK_STATUS(tarn_worker_close(worker), 0);
}

/* ---- users ---------------------------------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        FAIL("%s: %s", path, strerror(errno));
    close(fd);
}

/* Unprivileged, and root in there: what rootless containers do. */
static void become_root_of_user_namespace(uid_t uid, bool is_member) {
    char map[32];
    become(uid, is_member);
    CHECK(prctl(PR_SET_DUMPABLE, 1) == 0); /* changing users made /proc/self root's */
    if (unshare(CLONE_NEWUSER) != 0)
        SKIP("no user namespaces: %s", strerror(errno));
    snprintf(map, sizeof map, "0 %u 1", (unsigned)uid);
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/uid_map", map);
    write_file("/proc/self/gid_map", map);
    CHECK(geteuid() == 0 && getegid() == 0);
}

static void echo_as_alice(void *arg) {
    bool is_inside = arg != NULL;
    if (is_inside)
        become_root_of_user_namespace(ALICE, false);
    else
        become(ALICE, false);
    tarn_subscriber *in = SUBSCRIBER(TOPIC "/to", .reliable = 1);
    tarn_publisher *out = publisher_of(TOPIC "/from", NULL);
    CHECK_INT(tarn_subscriber_fd(in), >=, 0);
    board->stage = 1;
    for (uint64_t next = 1;; next++) {
        CHECK_INT(receive_up_to(in, &(uint64_t){next}, next), ==, 0);
        CHECK_STATUS(publish_number(out, next), 1);
    }
}

static void ask_alice(void *arg) {
    bool is_inside = arg != NULL;
    if (is_inside)
        become_root_of_user_namespace(ALICE, false);
    else
        become(ALICE, false);
    tarn_publisher *to = PUBLISHER(TOPIC "/to", .memory_limit_bytes = 1 << 20, .full_timeout_ns = TARN_FOREVER);
    tarn_subscriber *from = SUBSCRIBER(TOPIC "/from", .reliable = 1);
    for (uint64_t next = 1; next <= 500;) {
        CHECK_STATUS(publish_number(to, next), 1);
        CHECK_INT(receive_up_to(from, &next, next), ==, 0);
    }
    board->stage = 2;
    AWAIT(tarn_publisher_subscribers(to) == 0);
    AWAIT(tarn_subscriber_publishers(from) == 0);
    for (uint64_t number = 501; number <= 20000; number++)
        CHECK_STATUS(publish_number(to, number), 1);
    CHECK_STATUS(tarn_publisher_close(to), 0);
    CHECK_STATUS(tarn_subscriber_close(from), 0);
}

/* The same user inside and outside a user namespace; either is killed. */
TEST(user_namespace_of_the_same_user) {
    need_root();
    CHECK(chown(getenv("TARN_DIR"), ALICE, ALICE) == 0);
    board = shared_page(sizeof *board);
    for (int inside = 0; inside < 2; inside++) {
        board->stage = 0;
        pid_t echoing = spawn(echo_as_alice, inside ? "" : NULL);
        await_stage(echoing, 1);
        pid_t asking = spawn(ask_alice, inside ? NULL : "");
        await_stage(asking, 2);
        kill_child(echoing);
        CHECK_INT(end_of(asking), ==, 0);
    }
}

/* Root of a user namespace is not the machine's root, whose private directory it finds and does not trust. */
static void open_as_mapped_root(void *arg) {
    (void)arg;
    become_root_of_user_namespace(ALICE, false);
    check_nobody_joins(TOPIC, TARN_ERROR_DIRECTORY, "/tmp/tarn-0 is not private to this user");
}

static void open_as_mapped_root_alone(void *arg) {
    (void)arg;
    become_root_of_user_namespace(ALICE, false);
    come_and_go(NULL);
}

TEST(mapped_root_and_the_private_directory) {
    own_root();
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    CHECK_INT(end_of(spawn(open_as_mapped_root, NULL)), ==, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK(rmdir("/tmp/tarn-0/default") == 0 && rmdir("/tmp/tarn-0") == 0);
    CHECK_INT(end_of(spawn(open_as_mapped_root_alone, NULL)), ==, 0); /* takes that name, */
    check_nobody_joins(TOPIC, TARN_ERROR_DIRECTORY, "/tmp/tarn-0 is not private to this user (owner 1001");
}

/* ---- a group that a user namespace does not know -------------------------------------------------------------- */

static void make_shared_directory(mode_t mode) {
    own_root();
    board = shared_page(sizeof *board);
    CHECK(mkdir("/run/tarn", 0700) == 0 && chown("/run/tarn", 0, GROUP) == 0 && chmod("/run/tarn", mode) == 0);
}

static void take_part_from_inside(void *arg) {
    (void)arg;
    become_root_of_user_namespace(ALICE, true);
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = TARN_IMMEDIATELY);
    board->stage = 1;
    AWAIT(board->stage == 2);
    if (board->over) /* somebody else publishes */
        receive_word(subscriber, 2);
    publish_word(publisher, 3);
    board->stage = 3;
    AWAIT(board->stage == 4);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

static void join_as_bob(void *arg) {
    (void)arg;
    become(BOB, true);
    check_nobody_joins(TOPIC, TARN_ERROR_PERMISSION, "user namespace");
}

/* She is of the group, but cannot give her memory to it: others of it are told so. */
TEST(topic_made_where_its_group_is_not_known) {
    make_shared_directory(02770);
    pid_t alice = spawn(take_part_from_inside, NULL);
    await_stage(alice, 1);
    CHECK_INT(wait_child(spawn(join_as_bob, NULL), LIMIT_S), ==, 0);
    board->stage = 2;
    await_stage(alice, 3);
    board->stage = 4;
    CHECK_INT(end_of(alice), ==, 0);
    CHECK_INT(count_files("/run/tarn/default", 0), ==, 0);
}

/* Where the topic is there already, she reads, and is not read. */
static void talk_as_bob(void *arg) {
    (void)arg;
    become(BOB, true);
    tarn_message message;
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    board->stage = 10;
    AWAIT(board->stage == 1);
    publish_word(publisher, 2);
    board->over = true;
    board->stage = 2;
    receive_word(subscriber, 2);
    AWAIT(board->stage == 3);
    CHECK_REFUSED(tarn_subscriber_receive(subscriber, &message, GENEROUS), TARN_ERROR_PERMISSION, "cannot be attached");
    board->stage = 4;
    AWAIT(tarn_subscriber_publishers(subscriber) == 1);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(topic_joined_where_its_group_is_not_known) {
    make_shared_directory(02770);
    pid_t bob = spawn(talk_as_bob, NULL);
    await_stage(bob, 10);
    pid_t alice = spawn(take_part_from_inside, NULL);
    int code = end_of(alice);
    CHECK_INT(code, ==, 0);
    CHECK_INT(wait_child(bob, LIMIT_S), ==, 0);
    CHECK_INT(count_files("/run/tarn/default", 0), ==, 0);
}

/* Where all others may read and write, the group matters to nobody. */
static void receive_as_bob(void *arg) {
    (void)arg;
    become(BOB, false);
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    CHECK_STATUS(tarn_subscriber_publishers(subscriber), 1);
    board->stage = 2;
    receive_word(subscriber, 3);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(topic_for_everybody_made_where_its_group_is_not_known) {
    make_shared_directory(02777);
    CHECK(mkdir("/run/tarn/default", 0700) == 0 && chown("/run/tarn/default", 0, GROUP) == 0 &&
          chmod("/run/tarn/default", 02777) == 0);
    pid_t alice = spawn(take_part_from_inside, NULL);
    await_stage(alice, 1);
    pid_t bob = spawn(receive_as_bob, NULL);
    await_stage(alice, 3);
    int code = wait_child(bob, LIMIT_S);
    board->stage = 4;
    CHECK_INT(code, ==, 0);
    CHECK_INT(end_of(alice), ==, 0);
}

/* ---- clocks --------------------------------------------------------------------------------------------------- */

static void shift_clocks(void) {
    char text[128];
    snprintf(text, sizeof text, "monotonic %lld 0\nboottime %lld 0\n", (long long)board->clock_offset_s,
             (long long)board->clock_offset_s);
    write_file("/proc/self/timens_offsets", text);
}

/* Its clock is so much ahead of ours, or behind it. */
static pid_t spawn_in_time(int64_t offset_s, void (*role)(void *), void *arg) {
    need_root();
    if (!board)
        board = shared_page(sizeof *board);
    if (access("/proc/self/timens_offsets", W_OK) != 0)
        SKIP("this kernel has no time namespaces");
    board->stage = 0;
    board->over = false;
    board->clock_offset_s = offset_s;
    return spawn_elsewhere((struct elsewhere){CLONE_NEWTIME, shift_clocks, role, arg});
}

/* Half an age back, or far ahead. */
static int64_t clock_offset(int which) {
    return which || now_ns() < 60 * SECOND ? 10000000 : -(now_ns() / SECOND) / 2;
}

static void live_in_time(void *arg) {
    int64_t start = now_ns();
    CHECK(llabs(start - *(int64_t *)arg) > 10 * SECOND); /* the clock is another one */
    tarn_subscriber *in = SUBSCRIBER(TOPIC "/to", .reliable = 1);
    tarn_publisher *out = PUBLISHER(TOPIC "/from", .timestamps = 1);
    tarn_message message;
    CHECK_STATUS(tarn_subscriber_receive(in, &message, 200 * MS), 0); /* timeouts are its own clock's */
    CHECK_INT(now_ns() - start, >=, 200 * MS);
    CHECK_INT(now_ns() - start, <, GENEROUS);
    board->stage = 1;
    for (uint64_t next = 1; next <= 500; next++) {
        CHECK_INT(receive_up_to(in, &(uint64_t){next}, next), ==, 0);
        CHECK_STATUS(publish_number(out, next), 1);
    }
    look_at_the_living(out, in);
    sleep_until_killed();
}

/* Nobody is taken for dead, or for a successor, by start times that clocks tell differently; and deaths are seen. */
TEST(another_time_namespace) {
    for (int which = 0; which < 2; which++) {
        static int64_t now;
        now = now_ns();
        pid_t child = spawn_in_time(clock_offset(which), live_in_time, &now);
        await_stage(child, 1);
        tarn_publisher *to = PUBLISHER(TOPIC "/to", .memory_limit_bytes = 1 << 20, .full_timeout_ns = TARN_FOREVER);
        tarn_subscriber *from = SUBSCRIBER(TOPIC "/from", .reliable = 1);
        tarn_message message;
        for (uint64_t next = 1; next <= 500; next++) {
            CHECK_STATUS(publish_number(to, next), 1);
            CHECK_STATUS(tarn_subscriber_receive(from, &message, GENEROUS), 1);
            CHECK_INT(message.sequence, ==, next);
            check_number(&message);
            CHECK(llabs(message.sent_ns - now_ns()) > 10 * SECOND); /* the sender's clock, as the header says */
            CHECK_STATUS(tarn_message_release(&message), 0);
        }
        look_at_the_living(to, from);
        kill_inside(child);
        outlive(to, from);
    }
}

/* A stray child keeps the lock of one in another time namespace: the pid alone tells that it is gone. */
static void leave_stray(void *arg) {
    (void)arg;
    publisher_of(TOPIC, NULL);
    pid_t pid = (pid_t)syscall(SYS_clone, (long)SIGCHLD, NULL, NULL, NULL, NULL);
    CHECK_INT(pid, >=, 0);
    if (pid == 0)
        sleep_until_killed();
    board->second = pid;
    board->stage = 1;
    sleep_until_killed();
}

TEST(stray_child_in_another_time_namespace) {
    pid_t child = spawn_in_time(clock_offset(1), leave_stray, NULL);
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    await_stage(child, 1);
    CHECK_STATUS(tarn_subscriber_publishers(subscriber), 1);
    kill_inside(child);
    AWAIT(tarn_subscriber_publishers(subscriber) == 0);
    CHECK(kill(board->second, SIGKILL) == 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    allow_files(); /* the stray child may have kept the file from being deleted */
}

/* A best-effort subscriber that does not look, until a publisher that came after it has overrun it. */
static void be_overrun(void *arg) {
    tarn_message message;
    uint64_t next = 1, lost = 0;
    (void)arg;
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    board->stage = 1;
    AWAIT(board->stage == 2);
    while (next <= 50000) {
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, GENEROUS), 1);
        CHECK_INT(message.sequence, ==, next + message.lost);
        check_number(&message);
        next = message.sequence + 1;
        lost += message.lost;
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    CHECK_INT(lost, >, 0);
    CHECK_INT(tarn_subscriber_lost(subscriber), ==, lost);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(losses_are_counted_across_time_namespaces) {
    for (int which = 0; which < 2; which++) {
        pid_t child = spawn_in_time(clock_offset(which), be_overrun, NULL);
        await_stage(child, 1);
        tarn_publisher *publisher = PUBLISHER(TOPIC, .memory_limit_bytes = 1 << 20, .linger_ns = GENEROUS);
        for (uint64_t number = 1; number <= 50000; number++)
            CHECK_STATUS(publish_number(publisher, number), 1);
        board->stage = 2;
        CHECK_INT(end_of(child), ==, 0);
        CHECK_STATUS(tarn_publisher_close(publisher), 0);
    }
}

/* Keeps the last of what it sent, in more memory than the subscriber has address space for. */
static void publish_before(void *arg) {
    static char bytes[1 << 20];
    (void)arg;
    tarn_publisher *publisher = PUBLISHER(TOPIC, .memory_limit_bytes = 16 << 20);
    for (int i = 0; i < 40; i++)
        CHECK_STATUS(tarn_publisher_publish(publisher, bytes, sizeof bytes), 1);
    board->stage = 1;
    AWAIT(board->stage == 2);
    CHECK_STATUS(tarn_publisher_publish(publisher, bytes, sizeof bytes), 1);
    sleep_until_killed();
}

/*
 * What came before us is not lost, though the publisher could not be attached when we joined, and its clock is ahead.
 */
TEST(publisher_attached_late_across_time_namespaces) {
    NEED_PLAIN_MEMORY();
    tarn_message message;
    pid_t child = spawn_in_time(clock_offset(1), publish_before, NULL);
    await_stage(child, 1);
    limit(RLIMIT_AS, address_space_used() + (2 << 20));
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), TARN_ERROR_NO_MEMORY);
    limit(RLIMIT_AS, RLIM_INFINITY);
    board->stage = 2;
    int result;
    AWAIT((result = tarn_subscriber_receive(subscriber, &message, GENEROUS)) != TARN_ERROR_NO_MEMORY);
    CHECK_STATUS(result, 1);
    CHECK_INT(message.sequence, >, 20);
    CHECK_INT(message.lost, ==, 0);
    CHECK_STATUS(tarn_message_release(&message), 0);
    kill_inside(child);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}
