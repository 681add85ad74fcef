/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * logind's RemoveIPC: when a user logs out, all that he owns of System V and POSIX memory, semaphores and message
 * queues is removed. The remover here is a process of the same user that does the same (clean-ipc.c of systemd 252),
 * and more: what is attached is removed, too, which logind spares. Topics that are in use go on, and one that is just
 * being opened is opened: before each call of the library into System V memory a removal takes place.
 */
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include "common.h"

#define TOPIC "removal"

/* ---- the remover ---------------------------------------------------------------------------------------------- */

static struct {
    _Atomic unsigned asked, done; /* removals */
    _Atomic bool always, over;
} * board;

/* All of a kind that the user owns: the id is the second column, the owner's number some later one. */
static void remove_listed(const char *kind, int owner_column, int (*remove)(int)) {
    char path[64];
    snprintf(path, sizeof path, "/proc/sysvipc/%s", kind);
    FILE *file = fopen(path, "re");
    CHECK(file);
    for (char line[512]; fgets(line, sizeof line, file);) {
        long columns[16] = {0}, id;
        char *at = line, *end;
        for (int i = 0; i < 16; i++, at = end)
            columns[i] = strtol(at, &end, 10);
        id = columns[1];
        if (strstr(line, "uid") || columns[owner_column] != (long)geteuid())
            continue; /* the headline, or another's */
        CHECK(remove((int)id) == 0 || errno == EINVAL || errno == EIDRM);
    }
    fclose(file);
}

static int remove_segment(int id) {
    return shmctl(id, IPC_RMID, NULL);
}

static int remove_semaphores(int id) {
    return semctl(id, 0, IPC_RMID);
}

static int remove_queue(int id) {
    return msgctl(id, IPC_RMID, NULL);
}

static void remove_files(const char *path) {
    DIR *folder = opendir(path);
    CHECK(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        struct stat state;
        if (fstatat(dirfd(folder), entry->d_name, &state, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(state.st_mode) &&
            state.st_uid == geteuid())
            CHECK(unlinkat(dirfd(folder), entry->d_name, 0) == 0 || errno == ENOENT);
    }
    closedir(folder);
}

static void remove_everything(void) {
    remove_listed("shm", 7, remove_segment);
    remove_listed("sem", 4, remove_semaphores);
    remove_listed("msg", 7, remove_queue);
    remove_files("/dev/shm");
    remove_files("/dev/mqueue");
}

static void log_out(void *arg) {
    (void)arg;
    while (!board->over) {
        if (board->asked == board->done && !board->always) {
            sched_yield();
            continue;
        }
        remove_everything();
        if (board->asked != board->done)
            board->done++;
    }
}

static void remove_now(void) {
    board->asked++;
    for (int64_t end = now_ns() + GENEROUS; board->asked != board->done;)
        CHECK_INT(now_ns(), <, end);
}

/* ---- decoys: what it removes for sure ------------------------------------------------------------------------- */

struct decoys {
    int segment, semaphores, queue;
};

static struct decoys leave_decoys(void) {
    struct decoys ret = {shmget(IPC_PRIVATE, 4096, 0600), semget(IPC_PRIVATE, 1, 0600), msgget(IPC_PRIVATE, 0600)};
    CHECK(ret.segment >= 0 && ret.semaphores >= 0 && ret.queue >= 0);
    int shared = shm_open("/decoy", O_CREAT | O_RDWR, 0600);
    mqd_t queue = mq_open("/decoy", O_CREAT | O_RDWR, 0600, NULL);
    CHECK(shared >= 0 && queue >= 0);
    close(shared);
    mq_close(queue);
    return ret;
}

static void check_decoys_gone(const struct decoys *decoys) {
    struct shmid_ds segment;
    struct msqid_ds queue;
    CHECK(shmctl(decoys->segment, IPC_STAT, &segment) != 0);
    CHECK(semctl(decoys->semaphores, 0, GETVAL) == -1);
    CHECK(msgctl(decoys->queue, IPC_STAT, &queue) != 0);
    CHECK(shm_open("/decoy", O_RDWR, 0) == -1 && errno == ENOENT);
    CHECK(mq_open("/decoy", O_RDWR) == (mqd_t)-1 && errno == ENOENT);
}

/* In namespaces of the test's own, lest it removes what is anybody's. */
static pid_t start_remover(void) {
    need_root();
    if (unshare(CLONE_NEWNS | CLONE_NEWIPC) != 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777") != 0)
        SKIP("no namespaces of its own: %s", strerror(errno));
    (void)!mkdir("/dev/mqueue", 01777);
    if (mount("mqueue", "/dev/mqueue", "mqueue", 0, NULL) != 0)
        SKIP("no message queues: %s", strerror(errno));
    board = shared_page(sizeof *board);
    pid_t remover = spawn(log_out, NULL);
    struct decoys decoys = leave_decoys();
    remove_now();
    check_decoys_gone(&decoys);
    return remover;
}

static void end_remover(pid_t remover) {
    board->over = true;
    CHECK_INT(wait_child(remover, LIMIT_S), ==, 0);
    CHECK_INT(count_segments(), ==, 0);
}

/* ---- in use --------------------------------------------------------------------------------------------------- */

struct pair {
    tarn_subscriber *subscriber;
    tarn_publisher *publisher;
};

static struct pair open_pair(void) {
    return (struct pair){.subscriber = SUBSCRIBER(TOPIC, .reliable = 1), .publisher = publisher_of(TOPIC, NULL)};
}

static void close_pair(struct pair *pair) {
    tarn_message message;
    CHECK_STATUS(tarn_subscriber_take(pair->subscriber, &message), 0);
    CHECK_STATUS(tarn_publisher_close(pair->publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(pair->subscriber), 0);
}

static void receive_all(void *arg) {
    uint64_t next = 1;
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    *(_Atomic bool *)arg = true;
    CHECK_INT(receive_up_to(subscriber, &next, 5000), ==, 0);
    tarn_message message;
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* While a topic is in use by two processes, grows, holds a message, and others come. */
TEST(removed_while_in_use) {
    pid_t remover = start_remover();
    _Atomic bool *joined = shared_page(sizeof *joined);
    pid_t reader = spawn(receive_all, (void *)joined);
    AWAIT(*joined);
    tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = GENEROUS);
    tarn_subscriber *holder = subscriber_of(TOPIC, NULL);
    tarn_message held, last = {0};
    for (uint64_t number = 1; number <= 5000; number++) {
        CHECK_STATUS(publish_number(publisher, number), 1);
        if (number == 1)
            CHECK_STATUS(tarn_subscriber_receive(holder, &held, GENEROUS), 1);
        if (number % 50 == 0)
            remove_now();
    }
    tarn_subscriber *newcomer = SUBSCRIBER(TOPIC, .history = 1); /* attaches what was removed long ago */
    CHECK_STATUS(tarn_subscriber_receive(newcomer, &last, GENEROUS), 1);
    CHECK_INT(last.sequence, ==, 5000);
    check_number(&last);
    CHECK_STATUS(tarn_message_release(&last), 0);
    check_number(&held);
    CHECK_STATUS(tarn_message_release(&held), 0);
    CHECK_STATUS(tarn_subscriber_close(newcomer), 0);
    CHECK_STATUS(tarn_subscriber_close(holder), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_INT(wait_child(reader, LIMIT_S), ==, 0);
    end_remover(remover);
}

/* ---- being opened --------------------------------------------------------------------------------------------- */

static unsigned calls;   /* of the library into System V memory */
static unsigned removal; /* before the call of this number; 0: never */

static void before_call(void) {
    if (++calls == removal)
        remove_now();
}

/* Instead of libc's. */
int shmget(key_t key, size_t bytes, int flags) {
    before_call();
    return (int)syscall(SYS_shmget, key, bytes, flags);
}

void *shmat(int id, const void *address, int flags) {
    before_call();
    return (void *)syscall(SYS_shmat, id, address, flags);
}

int shmctl(int id, int command, struct shmid_ds *state) {
    before_call();
    return (int)syscall(SYS_shmctl, id, command, state);
}

static void open_and_grow(void) {
    static char big[8 << 20];
    struct pair pair = open_pair();
    tarn_message message;
    CHECK_STATUS(tarn_publisher_publish(pair.publisher, big, sizeof big), 1);
    publish_word(pair.publisher, 7);
    CHECK_STATUS(tarn_subscriber_receive(pair.subscriber, &message, GENEROUS), 1);
    CHECK_INT(message.bytes, ==, sizeof big);
    CHECK_INT(message.lost, ==, 0);
    CHECK_STATUS(tarn_message_release(&message), 0);
    receive_word(pair.subscriber, 7);
    close_pair(&pair);
}

/* Where nobody is, and where somebody is. */
TEST(removed_while_being_opened) {
    pid_t remover = start_remover();
    for (int round = 0; round < 2; round++) {
        tarn_publisher *other = round ? publisher_of(TOPIC, NULL) : NULL;
        calls = 0;
        open_and_grow();
        unsigned points = calls;
        CHECK_INT(points, >=, 10);
        for (unsigned point = 1; point <= points; point++) {
            unsigned before = board->done;
            calls = 0;
            removal = point;
            open_and_grow();
            removal = 0;
            CHECK_INT(board->done, ==, before + 1);
        }
        printf("removed before each of %u calls\n", points);
        CHECK_STATUS(tarn_publisher_close(other), 0);
    }
    end_remover(remover);
}

TEST(removed_all_the_time) {
    pid_t remover = start_remover();
    board->always = true;
    for (int round = 0; round < 200; round++) {
        struct pair pair = open_pair();
        publish_word(pair.publisher, 1);
        receive_word(pair.subscriber, 1);
        close_pair(&pair);
    }
    board->always = false;
    end_remover(remover);
}
