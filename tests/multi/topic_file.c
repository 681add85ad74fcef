/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The topic file when something happens to it: truncated, overwritten, of another layout, replaced by something else,
 * deleted or swapped under way, locked by a process that is stopped; and what those leave who die while creating.
 */
#include <sys/file.h>
#include <sys/shm.h>

#include "common.h"

#define TOPIC "file"

static char path[512];

static void find_path(void) {
    topic_path(path, TOPIC);
}

static void talk(void) {
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    publish_word(publisher, 42);
    receive_word(subscriber, 42);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

static void make_domain(void) {
    find_path();
    talk();
    CHECK(access(path, F_OK) != 0); /* the last who leaves takes it away */
}

static void write_file(const void *bytes, size_t count) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, bytes, count) == (ssize_t)count);
    close(fd);
}

static size_t read_file(char *ret, size_t most) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    ssize_t count = read(fd, ret, most);
    CHECK(count >= 0);
    close(fd);
    return (size_t)count;
}

/* A file as those leave it who were killed. */
static void be_killed(void *arg) {
    (void)arg;
    subscriber_of(TOPIC, NULL);
    publisher_of(TOPIC, NULL);
    raise(SIGKILL);
}

static size_t leave_file(char *ret, size_t most) {
    CHECK_INT(wait_child(spawn(be_killed, NULL), LIMIT_S), ==, -SIGKILL);
    return read_file(ret, most);
}

/* The text's last line again, after a change: FNV-1a of all before it. */
static void renew_checksum(char *text) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    char *line = strstr(text, "\nchecksum "), digits[17];
    CHECK(line);
    for (const char *at = text; at < line; at++)
        hash = (hash ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long)hash);
    memcpy(line + strlen("\nchecksum "), digits, 16);
}

/* ---- nobody is in the topic: made anew, whatever the file says ------------------------------------------------ */

TEST(stale_file) {
    char text[1024];
    make_domain();
    size_t bytes = leave_file(text, sizeof text);
    CHECK_INT(bytes, <, sizeof text);
    CHECK(memcmp(text, "tarn topic, layout ", 19) == 0); /* a person can read it */
    CHECK_INT(count_segments(), ==, 0);
    talk();
    CHECK(access(path, F_OK) != 0);
}

TEST(stale_and_truncated) {
    char text[1024];
    make_domain();
    size_t bytes = leave_file(text, sizeof text);
    for (size_t length = 0; length < bytes; length += 13) {
        write_file(text, length);
        talk();
    }
}

TEST(stale_and_garbage) {
    static char garbage[1 << 20];
    struct random random = random_start(1);
    make_domain();
    for (int round = 0; round < 50; round++) {
        size_t bytes = (size_t)random_between(&random, 1, round % 10 ? 500 : sizeof garbage);
        for (size_t i = 0; i < bytes; i++)
            garbage[i] = (char)random_next(&random);
        write_file(garbage, bytes);
        talk();
    }
}

/* Single bytes of a sound one, also where no checksum protects it. */
TEST(stale_and_altered) {
    char text[1024];
    struct random random = random_start(1);
    make_domain();
    size_t bytes = leave_file(text, sizeof text);
    for (size_t i = 0; i < bytes; i += (size_t)random_between(&random, 1, 5)) {
        char kept = text[i];
        text[i] = (char)random_next(&random);
        write_file(text, bytes);
        talk();
        text[i] = kept;
    }
}

/* It names memory that belongs to somebody else by now. */
TEST(stale_and_ids_reused) {
    make_domain();
    tarn_publisher *other = publisher_of("other", NULL);
    char text[1024];
    topic_path(path, "other");
    size_t bytes = read_file(text, sizeof text);
    find_path();
    write_file(text, bytes);
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    CHECK_STATUS(tarn_subscriber_publishers(subscriber), 0); /* not in the other's topic */
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_subscribers(other), 0);
    CHECK_STATUS(tarn_publisher_close(other), 0);
}

/* ---- something else stands there ------------------------------------------------------------------------------ */

static void check_no_plain_file(void) {
    check_nobody_joins(TOPIC, TARN_ERROR_TOPIC_FILE, path);
}

TEST(no_plain_file) {
    char target[512];
    make_domain();
    CHECK(mkdir(path, 0700) == 0);
    check_no_plain_file();
    CHECK(rmdir(path) == 0 && mkfifo(path, 0600) == 0);
    check_no_plain_file(); /* and does not wait for somebody at the other end */
    topic_path(target, "target");
    CHECK(unlink(path) == 0 && close(open(target, O_CREAT | O_WRONLY, 0600)) == 0 && symlink(target, path) == 0);
    check_no_plain_file();
    struct stat state;
    CHECK(stat(target, &state) == 0 && state.st_size == 0);
    CHECK(unlink(target) == 0);
    check_no_plain_file(); /* a link to nothing */
    CHECK(access(target, F_OK) != 0);
    CHECK(unlink(path) == 0 && symlink("/dev/zero", path) == 0);
    check_no_plain_file();
    CHECK(unlink(path) == 0);
    talk();
}

/* ---- participants are there, and the file is overwritten ------------------------------------------------------ */

struct pair {
    tarn_subscriber *subscriber;
    tarn_publisher *publisher;
    char text[1024]; /* the file */
    size_t bytes;
};

static struct pair open_pair(void) {
    struct pair pair = {.subscriber = subscriber_of(TOPIC, NULL), .publisher = publisher_of(TOPIC, NULL)};
    find_path();
    pair.bytes = read_file(pair.text, sizeof pair.text);
    return pair;
}

static void use_pair(struct pair *pair) {
    publish_word(pair->publisher, 1);
    receive_word(pair->subscriber, 1);
    CHECK_STATUS(tarn_publisher_subscribers(pair->publisher), 1);
    CHECK_STATUS(tarn_subscriber_publishers(pair->subscriber), 1);
}

static void close_pair(struct pair *pair) {
    CHECK_STATUS(tarn_publisher_close(pair->publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(pair->subscriber), 0);
}

/* In a process that is not in the topic yet: one that is knows its roster. */
struct refusal {
    int status;
    const char *words, *more_words;
};

static void be_refused(void *arg) {
    struct refusal *refusal = arg;
    tarn_publisher *publisher = NULL;
    tarn_subscriber *subscriber = NULL;
    int descriptors = count_descriptors(), segments = count_segments();
    CHECK_REFUSED(tarn_publisher_open(&publisher, TOPIC, NULL), refusal->status, refusal->words);
    CHECK_REFUSED(tarn_subscriber_open(&subscriber, TOPIC, NULL), refusal->status, refusal->words);
    CHECK(!refusal->more_words || strstr(tarn_error(), refusal->more_words));
    CHECK(!publisher && !subscriber);
    CHECK_INT(count_descriptors(), ==, descriptors);
    CHECK_INT(count_segments(), ==, segments);
}

static void check_newcomer_refused(int status, const char *words, const char *more_words) {
    struct refusal refusal = {status, words, more_words};
    CHECK_INT(wait_child(spawn(be_refused, &refusal), LIMIT_S), ==, 0);
}

/* Overwrites without a change of the file's identity or length. */
static void overwrite(const char *bytes, size_t count) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && pwrite(fd, bytes, count, 0) == (ssize_t)count);
    close(fd);
}

static void talk_in_child(void *arg) {
    (void)arg;
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    CHECK_STATUS(tarn_subscriber_publishers(subscriber), 1);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(in_use_and_garbage) {
    struct pair pair;
    char garbage[384];
    find_path();
    memset(garbage, 'x', sizeof garbage);
    pair = open_pair();
    overwrite(garbage, sizeof garbage);
    check_newcomer_refused(TARN_ERROR_TOPIC_FILE, path, NULL);
    use_pair(&pair);
    overwrite(pair.text, pair.bytes);
    CHECK_INT(wait_child(spawn(talk_in_child, NULL), LIMIT_S), ==, 0); /* mended, all is well again */
    use_pair(&pair);
    close_pair(&pair);
}

TEST(in_use_and_truncated) {
    struct pair pair = open_pair();
    for (size_t length = 0; length < 2; length++) {
        CHECK(truncate(path, length ? 100 : 0) == 0);
        check_newcomer_refused(TARN_ERROR_TOPIC_FILE, path, NULL);
        use_pair(&pair);
    }
    close_pair(&pair);
    CHECK(access(path, F_OK) != 0);
    talk();
}

TEST(in_use_with_another_layout) {
    struct pair pair = open_pair();
    char text[1024], own[32];
    unsigned major, minor;
    memcpy(text, pair.text, pair.bytes);
    CHECK(sscanf(text, "tarn topic, layout %u.%u", &major, &minor) == 2);
    snprintf(own, sizeof own, "%u.%u", major, minor);
    memcpy(text, "tarn topic, layout 7", 20);
    overwrite(text, pair.bytes);
    check_newcomer_refused(TARN_ERROR_VERSION, "7.", own);
    use_pair(&pair);
    overwrite(pair.text, pair.bytes);
    close_pair(&pair);
}

static void join_from_elsewhere(void *arg) {
    if (unshare(CLONE_NEWIPC) != 0)
        SKIP("no System V namespace of its own");
    be_refused(arg);
}

TEST(in_use_from_another_ipc_namespace) {
    need_root();
    struct pair pair = open_pair();
    struct refusal refusal = {TARN_ERROR_PERMISSION, "IPC namespace", TOPIC};
    int code = wait_child(spawn(join_from_elsewhere, &refusal), LIMIT_S);
    if (code == 77)
        SKIP("no System V namespace of its own");
    CHECK_INT(code, ==, 0);
    use_pair(&pair);
    close_pair(&pair);
}

/* ---- participants are there, and the file goes ---------------------------------------------------------------- */

/* Says so once, and goes on. */
static void check_removal_said(struct pair *pair) {
    tarn_message message;
    CHECK_REFUSED(tarn_subscriber_receive(pair->subscriber, &message, GENEROUS), TARN_ERROR_TOPIC_REMOVED, TOPIC);
    CHECK_STATUS(tarn_subscriber_receive(pair->subscriber, &message, 300 * MS), 0);
    use_pair(pair);
}

TEST(deleted_under_way) {
    struct pair pair = open_pair();
    use_pair(&pair);
    CHECK(unlink(path) == 0);
    check_removal_said(&pair);
    struct pair successors = open_pair(); /* they meet each other, and not those before */
    use_pair(&successors);
    use_pair(&pair);
    close_pair(&pair);
    CHECK(access(path, F_OK) == 0); /* those before left the successors' file alone */
    use_pair(&successors);
    CHECK_INT(wait_child(spawn(talk_in_child, NULL), LIMIT_S), ==, 0);
    close_pair(&successors);
    CHECK(access(path, F_OK) != 0);
}

TEST(swapped_under_way) {
    char other_path[512];
    struct pair pair = open_pair();
    tarn_publisher *other = publisher_of("other", NULL);
    topic_path(other_path, "other");
    CHECK(rename(other_path, path) == 0);
    check_removal_said(&pair);
    publish_word(other, 3);
    close_pair(&pair);
    CHECK(access(path, F_OK) == 0);
    CHECK_STATUS(tarn_publisher_close(other), 0);
    allow_files(); /* whoever opens the other's topic, or sweeps, takes it away */
    talk();
    CHECK(access(path, F_OK) != 0);
}

TEST(replaced_by_a_directory_under_way) {
    struct pair pair = open_pair();
    CHECK(unlink(path) == 0 && mkdir(path, 0700) == 0);
    check_removal_said(&pair);
    check_no_plain_file();
    close_pair(&pair);
    CHECK(rmdir(path) == 0);
}

/* The whole domain goes, then the whole directory. */
TEST(domain_deleted_under_way) {
    char domain[512];
    struct pair pair = open_pair();
    domain_path(domain, NULL);
    CHECK(unlink(path) == 0 && rmdir(domain) == 0);
    check_removal_said(&pair);
    CHECK_STATUS(tarn_subscriber_fd(pair.subscriber) < 0, 1); /* no place for a doorbell, and no crash */
    talk();
    close_pair(&pair);
    talk();
}

/* ---- the domain's lock ---------------------------------------------------------------------------------------- */

static bool is_in_use(const char *domain) {
    int fd = open(domain, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(fd >= 0);
    int error = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    CHECK(error == 0 || error == EWOULDBLOCK);
    close(fd);
    return error != 0;
}

/* Who cleans temporary files, as systemd-tmpfiles does, spares a directory that it cannot lock exclusively. */
TEST(domain_is_locked_while_a_handle_is_open) {
    char domain[512];
    domain_path(domain, NULL);
    make_domain();
    CHECK(!is_in_use(domain));
    struct pair pair = open_pair();
    CHECK(is_in_use(domain));
    CHECK_STATUS(tarn_publisher_close(pair.publisher), 0);
    CHECK(is_in_use(domain));
    CHECK_STATUS(tarn_subscriber_close(pair.subscriber), 0);
    CHECK(!is_in_use(domain));
}

/* ---- the master lock ------------------------------------------------------------------------------------------ */

#define MASTER_BYTE 0 /* of the topic file: see docs/layout.md */

/* What a process writes before it makes a topic's memory, stating its number, from what another one wrote. */
static void write_master(int fd, char *text, size_t bytes) {
    static const char label[] = "\nlast locked by pid ";
    char *line = strstr(text, label), number[32];
    CHECK(line);
    line += sizeof label - 1;
    size_t old = strspn(line, "0123456789"), length = (size_t)snprintf(number, sizeof number, "%d", (int)getpid());
    memmove(line + length, line + old, bytes - (size_t)(line - text) - old);
    memcpy(line, number, length);
    renew_checksum(text);
    CHECK(pwrite(fd, text, bytes, 0) == (ssize_t)bytes);
}

/* Holds the lock as a process does that was stopped while creating the topic. */
static void lock_and_stop(void *arg) {
    char text[1024] = {0};
    size_t bytes = arg ? leave_file(text, sizeof text - 16) : 0;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = MASTER_BYTE, .l_len = 1};
    CHECK(fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0);
    if (arg)
        write_master(fd, text, bytes);
    raise(SIGSTOP);
    sleep_until_killed();
}

static pid_t lock_master(bool has_written) {
    int status;
    pid_t pid = spawn(lock_and_stop, has_written ? "" : NULL);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    return pid;
}

TEST(stopped_while_creating) {
    make_domain();
    pid_t pid = lock_master(true);
    tarn_publisher *publisher;
    int64_t start = now_ns();
    int descriptors = count_descriptors();
    CHECK_REFUSED(tarn_publisher_open(&publisher, TOPIC, NULL), TARN_ERROR_BUSY, number_text(pid));
    CHECK_INT(now_ns() - start, >=, 900 * MS);
    CHECK_INT(now_ns() - start, <, GENEROUS);
    CHECK_INT(count_descriptors(), ==, descriptors);
    kill_child(pid);
    talk();
}

/* Before it could write its number anywhere: a sentence that names nobody rather than process 0. */
TEST(stopped_before_creating) {
    make_domain();
    pid_t pid = lock_master(false);
    tarn_publisher *publisher;
    CHECK_STATUS(tarn_publisher_open(&publisher, TOPIC, NULL), TARN_ERROR_BUSY);
    CHECK(!strstr(tarn_error(), "process 0"));
    kill_child(pid);
    talk();
}

/* Who joins or leaves a topic that lives takes no notice. */
TEST(stopped_with_the_lock_of_a_living_topic) {
    struct pair pair = open_pair();
    pid_t pid = lock_master(false);
    CHECK_INT(wait_child(spawn(talk_in_child, NULL), LIMIT_S), ==, 0);
    struct pair more = open_pair();
    CHECK_STATUS(tarn_subscriber_publishers(pair.subscriber), 2);
    close_pair(&more);
    int64_t start = now_ns();
    close_pair(&pair); /* the last, too: it cannot delete the file, and does not wait */
    CHECK_INT(now_ns() - start, <, 900 * MS);
    CHECK(access(path, F_OK) == 0);
    kill_child(pid);
    talk();
    CHECK(access(path, F_OK) != 0);
}

/* ---- killed while creating ------------------------------------------------------------------------------------ */

static void die_while_making_the_topic(void *arg) {
    (void)arg;
    die_at_removal();
    publisher_of(TOPIC, NULL);
}

static void die_while_making_a_publisher(void *arg) {
    (void)arg;
    SUBSCRIBER(TOPIC, .reliable = 1);
    die_at_removal();
    publisher_of(TOPIC, NULL);
}

static void die_while_growing(void *arg) {
    (void)arg;
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    char *big = calloc(1, 8 << 20);
    die_at_removal();
    tarn_publisher_publish(publisher, big, 8 << 20);
}

static void die(void (*how)(void *)) {
    int code = wait_child(spawn(how, NULL), LIMIT_S);
    if (code == 77)
        SKIP("no seccomp filters here");
    CHECK_INT(code, ==, -SIGSYS);
}

/* An orphan may be left; who comes next takes it away. */
static void die_alone(void (*how)(void *)) {
    need_root();
    make_domain();
    die(how);
    CHECK_INT(count_segments(), <=, 1);
    talk();
    CHECK_INT(count_segments(), ==, 0);
}

TEST(killed_while_making_the_topic) {
    die_alone(die_while_making_the_topic);
}

TEST(killed_while_making_a_publisher) {
    die_alone(die_while_making_a_publisher);
}

TEST(killed_while_growing) {
    die_alone(die_while_growing);
}

static void sweep(void) {
    if (access(tarn_program(), X_OK) != 0)
        SKIP("the command line was not built");
    run_tarn("gc");
}

/* The same, and somebody repairs who is in the topic, or who sweeps it. */
static void die_among_others(void (*how)(void *), bool sweeping) {
    tarn_message message;
    need_root();
    find_path();
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    int segments = count_segments();
    die(how);
    if (sweeping)
        sweep();
    else
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, 400 * MS), 0);
    publish_word(publisher, 1);
    receive_word(subscriber, 1);
    CHECK_INT(count_segments(), ==, segments);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(killed_while_growing_among_others) {
    die_among_others(die_while_growing, false);
}

TEST(killed_while_growing_and_swept) {
    die_among_others(die_while_growing, true);
}

TEST(killed_while_making_a_publisher_and_swept) {
    die_among_others(die_while_making_a_publisher, true);
}
