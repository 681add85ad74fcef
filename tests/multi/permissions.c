/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Who may talk: the private default directory and attacks on it, /run/tarn for a group, modes that follow from the
 * directory and never from the umask, and payload that others can read and not write. The tests live in a mount
 * namespace of their own, where /tmp and /run are empty.
 */
#include <poll.h>
#include <setjmp.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#include "common.h"
#include "users.h"

#define TOPIC "permissions"
static unsigned mode_of(const char *path, gid_t *ret_group) {
    struct stat state;
    if (lstat(path, &state) != 0)
        FAIL("%s: %s", path, strerror(errno));
    if (ret_group)
        *ret_group = state.st_gid;
    return state.st_mode & 07777;
}

/* How many segments of the namespace have this mode and group. */
static int count_segments_of(unsigned mode, unsigned group) {
    int count = 0;
    struct listed_segment segment;
    for (FILE *list = list_segments(); next_segment(list, &segment);)
        count += (segment.mode & 0777) == mode && segment.group == group;
    return count;
}

/* ---- the private directory ------------------------------------------------------------------------------------ */

static void talk(void) {
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    publish_word(publisher, 42);
    receive_word(subscriber, 42);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

static void look_at_private(const char *base, unsigned owner) {
    char path[256];
    snprintf(path, sizeof path, "%s/default/" TOPIC, base);
    CHECK_INT(mode_of(path, NULL), ==, 0600);
    *strrchr(path, '/') = 0;
    CHECK_INT(mode_of(path, NULL), ==, 0700);
    CHECK_INT(mode_of(base, NULL), ==, 0700);
    struct stat state;
    CHECK(stat(base, &state) == 0 && state.st_uid == owner);
    CHECK_INT(count_segments_of(0600, owner), ==, 1); /* the roster, */
    CHECK_INT(count_segments_of(0400, owner), ==, 1); /* the publisher's */
}

TEST(default_directory_is_private) {
    static const mode_t masks[] = {0, 022, 077};
    own_root();
    for (int i = 0; i < 3; i++) {
        umask(masks[i]);
        tarn_publisher *publisher = publisher_of(TOPIC, NULL);
        look_at_private("/tmp/tarn-0", 0);
        CHECK_STATUS(tarn_publisher_close(publisher), 0);
        CHECK_INT(count_files("/tmp/tarn-0/default", 0), ==, 0);
        CHECK(rmdir("/tmp/tarn-0/default") == 0 && rmdir("/tmp/tarn-0") == 0);
    }
}

static void talk_as_alice(void *arg) {
    become(ALICE, false);
    umask((mode_t)(uintptr_t)arg);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    look_at_private("/tmp/tarn-1001", ALICE);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    talk();
}

TEST(default_directory_of_another_user) {
    own_root();
    CHECK_INT(wait_child(spawn(talk_as_alice, (void *)(uintptr_t)0), LIMIT_S), ==, 0);
    CHECK_INT(wait_child(spawn(talk_as_alice, (void *)(uintptr_t)077), LIMIT_S), ==, 0);
    CHECK(access("/tmp/tarn-0", F_OK) != 0);
}

/* ---- attacks: something is there before us -------------------------------------------------------------------- */

#define BASE "/tmp/tarn-0"

static void check_refused(void) {
    check_nobody_joins(TOPIC, TARN_ERROR_DIRECTORY, BASE);
}

TEST(something_else_at_the_default_path) {
    own_root();
    CHECK(mkdir("/tmp/elsewhere", 0700) == 0 && symlink("/tmp/elsewhere", BASE) == 0);
    check_refused();
    CHECK_INT(count_files("/tmp/elsewhere", 0), ==, 0);
    CHECK(unlink(BASE) == 0 && symlink("/tmp/nowhere", BASE) == 0);
    check_refused();
    CHECK(unlink(BASE) == 0 && close(open(BASE, O_CREAT | O_WRONLY, 0600)) == 0);
    check_refused();
    CHECK(unlink(BASE) == 0 && mkfifo(BASE, 0600) == 0);
    check_refused();
    CHECK(unlink(BASE) == 0);
    talk();
}

TEST(foreign_directory_at_the_default_path) {
    static const mode_t modes[] = {0777, 0755, 0750, 0770, 01777, 0701};
    own_root();
    CHECK(mkdir(BASE, 0700) == 0 && chown(BASE, ALICE, ALICE) == 0);
    check_refused();
    CHECK(chown(BASE, 0, 0) == 0);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        CHECK(chmod(BASE, modes[i]) == 0);
        check_refused();
    }
    CHECK(chmod(BASE, 0700) == 0);
    talk();
}

TEST(symbolic_link_for_a_domain) {
    own_root();
    CHECK(mkdir(BASE, 0700) == 0 && mkdir("/tmp/elsewhere", 0700) == 0);
    CHECK(symlink("/tmp/elsewhere", BASE "/default") == 0);
    check_refused();
}

/* Where anybody may make a domain, only one's own is trusted, or the directory owner's. */
static void make_trap(void *arg) {
    (void)arg;
    become(STRANGER, false);
    CHECK(mkdir("/tmp/common/default", 0777) == 0 && chmod("/tmp/common/default", 0777) == 0);
}

static void walk_into_trap(void *arg) {
    tarn_publisher *publisher;
    (void)arg;
    become(ALICE, false);
    CHECK_REFUSED(tarn_publisher_open(&publisher, TOPIC, NULL), TARN_ERROR_DIRECTORY, "/tmp/common/default");
}

TEST(foreign_domain_in_a_common_directory) {
    own_root();
    CHECK(mkdir("/tmp/common", 0700) == 0 && chmod("/tmp/common", 01777) == 0);
    setenv("TARN_DIR", "/tmp/common", 1);
    CHECK_INT(wait_child(spawn(make_trap, NULL), LIMIT_S), ==, 0);
    CHECK_INT(wait_child(spawn(walk_into_trap, NULL), LIMIT_S), ==, 0);
}

/* What the second try says, the first says too. */
static void open_in_common(void *arg) {
    tarn_publisher *publisher = NULL;
    (void)arg;
    become(ALICE, false);
    int first = tarn_publisher_open(&publisher, TOPIC, NULL);
    if (first == 0)
        CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_publisher_open(&publisher, TOPIC, NULL), first);
    if (first == 0)
        CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

TEST(own_domain_in_a_common_directory) {
    own_root();
    CHECK(mkdir("/tmp/common", 0700) == 0 && chmod("/tmp/common", 01777) == 0);
    setenv("TARN_DIR", "/tmp/common", 1);
    CHECK_INT(wait_child(spawn(open_in_common, NULL), LIMIT_S), ==, 0);
}

/* ---- /run/tarn: sharing by group ------------------------------------------------------------------------------ */

struct scene {
    uid_t publisher, subscriber;
    mode_t publisher_mask, subscriber_mask;
    _Atomic bool ready, done, received;
};

static struct scene *scene;

static void make_shared_directory(mode_t mode) {
    own_root();
    CHECK(mkdir("/run/tarn", 0700) == 0 && chown("/run/tarn", 0, GROUP) == 0 && chmod("/run/tarn", mode) == 0);
    scene = shared_page(sizeof *scene);
}

static void look_at_shared(void) {
    gid_t group;
    CHECK_INT(mode_of("/run/tarn/default", &group), ==, 02770);
    CHECK_INT(group, ==, GROUP);
    CHECK_INT(mode_of("/run/tarn/default/" TOPIC, &group), ==, 0660);
    CHECK_INT(group, ==, GROUP);
    CHECK_INT(count_segments_of(0660, GROUP), ==, 1);
    CHECK_INT(count_segments_of(0440, GROUP), ==, 1);
}

static void publish_as(void *arg) {
    (void)arg;
    become(scene->publisher, true);
    umask(scene->publisher_mask);
    tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = GENEROUS);
    AWAIT(scene->ready);
    look_at_shared();
    for (uint64_t number = 1; number <= 1000; number++)
        CHECK_STATUS(publish_number(publisher, number), 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

static void receive_as(void *arg) {
    uint64_t next = 1;
    tarn_message message;
    (void)arg;
    become(scene->subscriber, true);
    umask(scene->subscriber_mask);
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    CHECK_INT(tarn_subscriber_fd(subscriber), >=, 0);
    scene->ready = true;
    CHECK_INT(receive_up_to(subscriber, &next, 1000), ==, 0);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

static void check_stranger_is_refused(void *arg) {
    tarn_publisher *publisher;
    tarn_subscriber *subscriber;
    (void)arg;
    become(STRANGER, false);
    CHECK_REFUSED(tarn_publisher_open(&publisher, TOPIC, NULL), TARN_ERROR_PERMISSION, "/run/tarn");
    CHECK(strstr(tarn_error(), number_text(GROUP)));
    CHECK_REFUSED(tarn_subscriber_open(&subscriber, TOPIC, NULL), TARN_ERROR_PERMISSION, number_text(GROUP));
    CHECK(access("/tmp/tarn-1003", F_OK) != 0); /* and does not miss the others elsewhere */
}

TEST(two_users_of_a_group) {
    static const mode_t masks[] = {0, 077, 027};
    make_shared_directory(02770);
    for (int i = 0; i < 6; i++) {
        bool turned = i % 2;
        *scene = (struct scene){.publisher = turned ? BOB : ALICE,
                                .subscriber = turned ? ALICE : BOB,
                                .publisher_mask = masks[i / 2],
                                .subscriber_mask = masks[2 - i / 2]};
        pid_t publisher = spawn(publish_as, NULL), subscriber = spawn(receive_as, NULL);
        CHECK_INT(wait_child(spawn(check_stranger_is_refused, NULL), LIMIT_S), ==, 0);
        CHECK_INT(wait_child(publisher, LIMIT_S), ==, 0);
        CHECK_INT(wait_child(subscriber, LIMIT_S), ==, 0);
        CHECK_INT(count_files("/run/tarn/default", 0), ==, 0);
        if (i % 2)
            CHECK(rmdir("/run/tarn/default") == 0);
    }
}

/* Not even one that hides what was just made from its maker. */
static void use_strange_mask(void *arg) {
    (void)arg;
    become(ALICE, true);
    umask(0777);
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    CHECK_STATUS(tarn_subscriber_fd(subscriber) < 0 ? tarn_subscriber_fd(subscriber) : 0, 0);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    look_at_shared();
    publish_word(publisher, 1);
    receive_word(subscriber, 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(strange_umask) {
    make_shared_directory(02770);
    CHECK_INT(wait_child(spawn(use_strange_mask, NULL), LIMIT_S), ==, 0);
}

/* The bell rings across users: the doorbell is the subscriber's, whoever publishes opens it. */
static void wait_by_poll(void *arg) {
    (void)arg;
    become(BOB, true);
    umask(077);
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    tarn_message message;
    gid_t group;
    char name[512] = "/run/tarn/default/";
    CHECK_INT(tarn_subscriber_fd(subscriber), >=, 0);
    DIR *folder = opendir(name);
    for (struct dirent *entry; (entry = readdir(folder));)
        if (entry->d_name[0] == '@')
            strcat(name, entry->d_name);
    closedir(folder);
    CHECK_INT(mode_of(name, &group), ==, 0660);
    CHECK_INT(group, ==, GROUP);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(doorbell_of_a_group) {
    make_shared_directory(02770);
    CHECK_INT(wait_child(spawn(wait_by_poll, NULL), LIMIT_S), ==, 0);
}

/* /run/tarn is there, and not for us: no quiet way out to another place. */
TEST(shared_directory_of_others) {
    make_shared_directory(0770);
    CHECK_INT(wait_child(spawn(check_stranger_is_refused, NULL), LIMIT_S), ==, 0);
}

/* Segment ids of that mode. */
static int find_segment(unsigned mode) {
    int found = -1;
    struct listed_segment segment;
    for (FILE *list = list_segments(); next_segment(list, &segment);)
        if ((segment.mode & 0777) == mode)
            found = segment.id;
    return found;
}

/* The mode's bits mean what they say: of who may read, payload may be read; but taking part is writing. */
static void try_to_take_part(void *arg) {
    (void)arg;
    become(BOB, true);
    check_nobody_joins(TOPIC, TARN_ERROR_PERMISSION, "/run/tarn/default/" TOPIC);
    int roster = find_segment(0640), log = find_segment(0440);
    CHECK(roster >= 0 && log >= 0);
    void *seen = shmat(log, NULL, SHM_RDONLY);
    CHECK(seen != (void *)-1 && shmdt(seen) == 0);
    CHECK(shmat(log, NULL, 0) == (void *)-1 && errno == EACCES);
    CHECK(shmat(roster, NULL, 0) == (void *)-1 && errno == EACCES);
}

TEST(group_that_may_only_read) {
    make_shared_directory(02750);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    CHECK_INT(wait_child(spawn(try_to_take_part, NULL), LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* ---- the death of another user's ------------------------------------------------------------------------------ */

static void be_killed_as_alice(void *arg) {
    (void)arg;
    become(ALICE, true);
    CHECK_INT(tarn_subscriber_fd(SUBSCRIBER(TOPIC, .reliable = 1)), >=, 0);
    publish_word(publisher_of(TOPIC, NULL), 1);
    scene->ready = true;
    sleep_until_killed();
}

/* Its slot is the next newcomer's, doorbell and all, though alice's own may lie there yet. */
static void take_the_place(void) {
    tarn_subscriber *successor = subscriber_of(TOPIC, NULL);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    tarn_message message;
    struct pollfd bell = {tarn_subscriber_fd(successor), POLLIN, 0};
    CHECK_STATUS(bell.fd < 0 ? bell.fd : 0, 0);
    CHECK_STATUS(tarn_subscriber_take(successor, &message), 0);
    publish_word(publisher, 2);
    CHECK_INT(poll(&bell, 1, 15000), ==, 1);
    receive_word(successor, 2);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    CHECK_STATUS(tarn_subscriber_close(successor), 0);
}

static void outlive_alice(void *arg) {
    (void)arg;
    become(BOB, true);
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    tarn_publisher *publisher = PUBLISHER(TOPIC, .memory_limit_bytes = 1 << 20, .full_timeout_ns = TARN_FOREVER);
    scene->done = true;
    receive_word(subscriber, 1);
    scene->received = true;
    AWAIT(tarn_subscriber_publishers(subscriber) == 1);
    AWAIT(tarn_publisher_subscribers(publisher) == 1);
    for (uint64_t number = 1; number <= 20000; number++)
        CHECK_STATUS(publish_number(publisher, number), 1); /* more than the dead reliable one could hold */
    take_the_place();
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

static void see_death_of_alice(mode_t directory_mode) {
    make_shared_directory(directory_mode);
    CHECK(mkdir("/run/tarn/default", 0700) == 0 && chown("/run/tarn/default", 0, GROUP) == 0 &&
          chmod("/run/tarn/default", directory_mode) == 0); /* its owner could delete what is in it */
    pid_t bob = spawn(outlive_alice, NULL);
    AWAIT(scene->done);
    pid_t alice = spawn(be_killed_as_alice, NULL);
    AWAIT(scene->ready && scene->received);
    kill_child(alice);
    CHECK_INT(wait_child(bob, LIMIT_S), ==, 0);
}

TEST(death_of_another_user) {
    see_death_of_alice(02770);
    CHECK_INT(count_files("/run/tarn/default", 0), ==, 0);
}

static void sweep_as_alice(void *arg) {
    const int *program = arg;
    become(ALICE, true);
    CHECK(dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO) == STDOUT_FILENO);
    fexecve(*program, (char *[]){"tarn", "gc", NULL}, environ);
    FAIL("%s: %s", tarn_program(), strerror(errno));
}

/* Where each may delete only what is his own, alice's doorbell stays until she, or root, sweeps. */
TEST(death_of_another_user_in_a_sticky_directory) {
    int program = open(tarn_program(), O_RDONLY | O_CLOEXEC); /* before /tmp is another one */
    see_death_of_alice(03770);
    CHECK_INT(count_files("/run/tarn/default", 0), ==, 1);
    if (program < 0)
        SKIP("the command line was not built");
    CHECK_INT(wait_child(spawn(sweep_as_alice, &program), LIMIT_S), ==, 0);
    CHECK_INT(count_files("/run/tarn/default", 0), ==, 0);
    close(program);
}

/* ---- payload of another user ---------------------------------------------------------------------------------- */

static sigjmp_buf after_fault;

static void on_fault(int number) {
    (void)number;
    siglongjmp(after_fault, 1);
}

static void try_to_write_payload(void *arg) {
    (void)arg;
    become(BOB, true);
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    tarn_message message;
    scene->ready = true;
    CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, GENEROUS), 1);
    char *page = (char *)((uintptr_t)message.data & ~(uintptr_t)4095);
    CHECK(mprotect(page, 4096, PROT_READ | PROT_WRITE) != 0 && errno == EACCES);
    CHECK(madvise(page, 4096, MADV_REMOVE) != 0 && errno == EACCES);
    int id = find_segment(0440);
    CHECK(shmat(id, NULL, 0) == (void *)-1 && errno == EACCES);
    CHECK(shmctl(id, IPC_RMID, NULL) != 0 && errno == EPERM);
    signal(SIGSEGV, on_fault);
    if (sigsetjmp(after_fault, 1) == 0) {
        *(volatile char *)page = 1;
        FAIL("a subscriber can write payload");
    }
    CHECK(check_pattern(message.data, message.bytes, 1));
    CHECK_STATUS(tarn_message_release(&message), 0);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

static void publish_one_as_alice(void *arg) {
    (void)arg;
    become(ALICE, true);
    tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = GENEROUS);
    AWAIT(scene->ready);
    CHECK_STATUS(publish_number(publisher, 1), 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

TEST(payload_cannot_be_written_by_readers) {
    make_shared_directory(02770);
    pid_t publisher = spawn(publish_one_as_alice, NULL), subscriber = spawn(try_to_write_payload, NULL);
    CHECK_INT(wait_child(subscriber, LIMIT_S), ==, 0);
    CHECK_INT(wait_child(publisher, LIMIT_S), ==, 0);
}

/* ---- another user cannot look in ------------------------------------------------------------------------------ */

static void peep(void *arg) {
    (void)arg;
    become(STRANGER, false);
    int roster = find_segment(0660), log = find_segment(0440);
    CHECK(roster >= 0 && log >= 0);
    CHECK(shmat(roster, NULL, SHM_RDONLY) == (void *)-1 && errno == EACCES);
    CHECK(shmat(log, NULL, SHM_RDONLY) == (void *)-1 && errno == EACCES);
}

TEST(strangers_cannot_attach) {
    make_shared_directory(02770);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    CHECK_INT(wait_child(spawn(peep, NULL), LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* ---- core dumps ------------------------------------------------------------------------------------------------ */

/* How many segments are attached that a core dump leaves out: "dd" among the flags, which are the last line of each. */
static int count_undumped(void) {
    int count = 0;
    bool segment = false;
    FILE *file = fopen("/proc/self/smaps", "re");
    CHECK(file);
    for (char line[512]; fgets(line, sizeof line, file);) {
        segment |= strstr(line, "/SYSV") != NULL;
        if (strncmp(line, "VmFlags:", 8) != 0)
            continue;
        count += segment && strstr(line, " dd ");
        segment = false;
    }
    fclose(file);
    return count;
}

/* Of the maker of memory, and of one that attaches it. */
TEST(core_dumps_have_no_payload) {
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    publish_word(publisher, 1);
    receive_word(subscriber, 1);
    CHECK_INT(count_attached(), >=, 3); /* the roster, and the publisher's memory twice */
    CHECK_INT(count_undumped(), ==, count_attached());
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}
