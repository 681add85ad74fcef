/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Eclipse iceoryx 2, by its C binding, with a RouDi of the run's own. There can be only one per machine. It connects a
 * publisher to the subscribers that are there, and a subscriber to the publishers, before it answers who opened it.
 */
#define _GNU_SOURCE
#include "peer.h"

#include <glob.h>
#include <grp.h>
#include <iceoryx_binding_c/log.h>
#include <iceoryx_binding_c/publisher.h>
#include <iceoryx_binding_c/runtime.h>
#include <iceoryx_binding_c/subscriber.h>
#include <iceoryx_binding_c/wait_set.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/un.h>

#include "ready.h"
#include "server.h"
#include "threads.h"

#define QUEUE_BYTES (16u << 20)
#define QUEUE_MAX 256 /* iceoryx's own limit */
#define QUEUE_MIN 2
#define CHANNELS 2 /* of a run, at most: there and back */
#define CHUNK_ALIGN 32u
#define CHUNK_HEADER_BYTES 64u
#define READY_SECONDS 30
#define RUNTIME_NAME "tarn-iceoryx-" /* before the pid; the socket's name in /tmp */

struct sender {
    iox_pub_storage_t storage;
    iox_pub_t publisher;
    void *chunk;
    const struct peer_channel *channel;
};

struct receiver {
    iox_sub_storage_t storage;
    iox_ws_storage_t wait_set_storage;
    iox_sub_t subscriber;
    iox_ws_t wait_set; /* NULL: it does not sleep */
    const void *chunk;
};

static struct server roudi;
static bool roudi_is_started;
static bool runtime_is_used;

static const char *version(void) {
    return ICEORYX_VERSION; /* by CMakeLists.txt */
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

static uint64_t queue_length(const struct peer_channel *channel) {
    size_t length = QUEUE_BYTES / channel->bytes;
    return length > QUEUE_MAX ? QUEUE_MAX : length < QUEUE_MIN ? QUEUE_MIN : length;
}

/* Chunks that a channel can need at once: in the queue of the slowest, being written, kept for reuse, being read. */
static uint64_t chunks_of(const struct peer_channel *channel) {
    return queue_length(channel) + 2 * channel->senders + 2 * channel->receivers + 1;
}

/* ---- the keeper ------------------------------------------------------------------------------------------------- */

/*
 * A process signs off at RouDi only as it exits, and a RouDi asked to end kills those that have not, or fails if
 * they are dead. So RouDi is killed when the run has ended, and what it would have removed is removed by a process that
 * waits for that, by the end of a pipe that only the run's processes keep open. It keeps the lock, too: the name of an
 * abstract socket, for which the next run's prepare() waits.
 */
static void remove_files(void) {
    glob_t found;
    const struct group *group = getgrgid(getegid());
    if (group != NULL) {
        shm_unlink(group->gr_name);
    }
    shm_unlink("iceoryx_mgmt");
    unlink("/tmp/roudi");
    unlink("/tmp/roudi.lock");
    unlink("/tmp/iox-unique-roudi.lock");
    if (glob("/tmp/" RUNTIME_NAME "*", 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            unlink(found.gl_pathv[i]);
        }
        globfree(&found);
    }
}

static bool is_roudi_alive(void) {
    int fd = open("/tmp/iox-unique-roudi.lock", O_RDONLY | O_CLOEXEC);
    bool is_locked = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0;
    if (fd >= 0) {
        close(fd);
    }
    return is_locked;
}

static __attribute__((noreturn)) void keep(int run_is_over, int lock) {
    setsid();
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC); /* a reader of the run's output must not wait for this one */
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        dup2(nothing, fd);
    }
    unsigned low = (unsigned)(run_is_over < lock ? run_is_over : lock);
    unsigned high = (unsigned)(run_is_over < lock ? lock : run_is_over);
    close_range(STDERR_FILENO + 1, low - 1, 0);
    close_range(low + 1, high - 1, 0);
    close_range(high + 1, ~0u, 0);
    char byte;
    while (read(run_is_over, &byte, 1) < 0 && errno == EINTR) {
    }
    for (int ms = 0; is_roudi_alive() && ms < SERVER_STOP_MS; ms += SERVER_STEP_MS) {
        server_sleep_step();
    }
    remove_files();
    _exit(0);
}

static int take_lock(void) {
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0tarn-bench-iceoryx"};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (int ms = 0; bind(fd, (const struct sockaddr *)&name, sizeof(name)) != 0; ms += SERVER_STEP_MS) {
        if (errno != EADDRINUSE || ms > READY_SECONDS * 1000) {
            peer_fail("iceoryx: another run has not ended: %s", strerror(errno));
        }
        server_sleep_step();
    }
    if (is_roudi_alive()) {
        peer_fail("iceoryx: there is a RouDi already, and there can be one only");
    }
    return fd;
}

static void start_keeper(void) {
    int ends[2], lock = take_lock();
    if (pipe2(ends, O_CLOEXEC) != 0) {
        peer_fail("iceoryx: cannot make a pipe: %s", strerror(errno));
    }
    pid_t keeper = fork();
    if (keeper == 0) {
        close(ends[1]);
        keep(ends[0], lock);
    }
    if (keeper < 0) {
        peer_fail("iceoryx: cannot fork: %s", strerror(errno));
    }
    close(ends[0]);
    close(lock);
}

/* ---- RouDi ------------------------------------------------------------------------------------------------------ */

static bool is_ready(uint32_t unused) {
    (void)unused;
    char line[512];
    bool ready = false;
    FILE *file = fopen(roudi.log, "re");
    while (file != NULL && !ready && fgets(line, sizeof(line), file) != NULL) {
        ready = strstr(line, "ready for clients") != NULL;
    }
    if (file != NULL) {
        fclose(file);
    }
    return ready;
}

static void prepare(struct peer_channel *channel) {
    threads_prepare();
    ready_prepare(channel);
    if (roudi_is_started) {
        return;
    }
    roudi_is_started = true;
    start_keeper();
    size_t bytes = (channel->bytes + CHUNK_HEADER_BYTES + CHUNK_ALIGN - 1) / CHUNK_ALIGN * CHUNK_ALIGN;
    char text[256], path[256];
    snprintf(text, sizeof(text),
             "[general]\nversion = 1\n[[segment]]\n[[segment.mempool]]\nsize = %zu\ncount = %" PRIu64 "\n", bytes,
             CHANNELS * chunks_of(channel));
    server_write_file(channel->folder, "roudi.toml", text);
    snprintf(path, sizeof(path), "%s/roudi.toml", channel->folder);
    /* Monitoring would end a process whose thread gets no time. */
    const char *const command[] = {"iox-roudi", "--config-file", path, "--monitoring-mode", "off", NULL};
    roudi = server_start(command, SIGKILL, channel->folder);
    server_wait_ready(&roudi, "iox-roudi", READY_SECONDS, is_ready, 0);
}

/* RouDi ends with the process that started it: see keep(). */
static void release(struct peer_channel *channel) {
    ready_release(channel);
}

static uint32_t servers(int pids[8]) {
    pids[0] = roudi.pid;
    return 1;
}

/* ---- ends ------------------------------------------------------------------------------------------------------- */

static void use_runtime(void) {
    if (!runtime_is_used) {
        runtime_is_used = true;
        char name[64];
        iox_set_loglevel(Iceoryx_LogLevel_Off);
        snprintf(name, sizeof(name), RUNTIME_NAME "%d", (int)getpid());
        iox_runtime_init(name);
    }
}

static void *open_sender(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct sender *sender = calloc(1, sizeof(*sender));
    iox_pub_options_t options;
    iox_pub_options_init(&options);
    options.historyCapacity = 0;
    options.offerOnCreate = true;
    options.subscriberTooSlowPolicy = ConsumerTooSlowPolicy_WAIT_FOR_CONSUMER;
    cpu_set_t own = threads_leave_cpu();
    use_runtime();
    sender->publisher = iox_pub_init(&sender->storage, "tarn", "bench", channel->name, &options);
    threads_return(own);
    sender->channel = channel;
    return sender;
}

static void *open_receiver(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct receiver *receiver = calloc(1, sizeof(*receiver));
    iox_sub_options_t options;
    iox_sub_options_init(&options);
    options.queueCapacity = queue_length(channel);
    options.historyRequest = 0;
    options.subscribeOnCreate = true;
    options.queueFullPolicy = QueueFullPolicy_BLOCK_PRODUCER;
    cpu_set_t own = threads_leave_cpu();
    use_runtime();
    receiver->subscriber = iox_sub_init(&receiver->storage, "tarn", "bench", channel->name, &options);
    threads_return(own);
    if (channel->sleeps) {
        receiver->wait_set = iox_ws_init(&receiver->wait_set_storage);
        if (iox_ws_attach_subscriber_state(receiver->wait_set, receiver->subscriber, SubscriberState_HAS_DATA, 0,
                                           NULL) != WaitSetResult_SUCCESS) {
            peer_fail("iceoryx: iox_ws_attach_subscriber_state");
        }
    }
    ready_add(channel, 1);
    return receiver;
}

static void close_sender(void *handle) {
    struct sender *sender = handle;
    iox_pub_deinit(sender->publisher);
    free(sender);
}

static void close_receiver(void *handle) {
    struct receiver *receiver = handle;
    if (receiver->wait_set != NULL) {
        iox_ws_detach_subscriber_state(receiver->wait_set, receiver->subscriber, SubscriberState_HAS_DATA);
        iox_ws_deinit(receiver->wait_set);
    }
    iox_sub_deinit(receiver->subscriber);
    free(receiver);
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

static bool connected(void *handle) {
    struct sender *sender = handle;
    return ready_count(sender->channel) == sender->channel->receivers && iox_pub_has_subscribers(sender->publisher);
}

static void *loan(void *handle) {
    struct sender *sender = handle;
    enum iox_AllocationResult result;
    do {
        result = iox_pub_loan_chunk(sender->publisher, &sender->chunk, (uint32_t)sender->channel->bytes);
    } while (result == AllocationResult_RUNNING_OUT_OF_CHUNKS);
    if (result != AllocationResult_SUCCESS) {
        peer_fail("iceoryx: iox_pub_loan_chunk: %d", (int)result);
    }
    return sender->chunk;
}

static void send_loan(void *handle) {
    struct sender *sender = handle;
    iox_pub_publish_chunk(sender->publisher, sender->chunk);
}

static bool take_chunk(struct receiver *receiver) {
    enum iox_ChunkReceiveResult result = iox_sub_take_chunk(receiver->subscriber, &receiver->chunk);
    if (result != ChunkReceiveResult_SUCCESS && result != ChunkReceiveResult_NO_CHUNK_AVAILABLE) {
        peer_fail("iceoryx: iox_sub_take_chunk: %d", (int)result);
    }
    return result == ChunkReceiveResult_SUCCESS;
}

static const void *take(void *handle, bool wait) {
    struct receiver *receiver = handle;
    bool taken = take_chunk(receiver);
    while (wait && !taken) {
        iox_notification_info_t notification;
        uint64_t missed;
        iox_ws_wait(receiver->wait_set, &notification, 1, &missed);
        taken = take_chunk(receiver);
    }
    return taken ? receiver->chunk : NULL;
}

static void done(void *handle) {
    struct receiver *receiver = handle;
    iox_sub_release_chunk(receiver->subscriber, receiver->chunk);
}

const struct peer peer = {
    .interface = PEER_INTERFACE,
    .name = "iceoryx",
    .title = "iceoryx",
    .how =
        "C binding with a RouDi of the run's own, which does not monitor; loaned chunks, queues of up to 256 messages "
        "or 16 MiB whose producers wait when they are full; a wait set to sleep.",
    .bytes_max = UINT64_C(64) << 20,
    .senders_max = 256,
    .receivers_max = 256,
    .can_sleep = true,
    .version = version,
    .prepare = prepare,
    .release = release,
    .open_sender = open_sender,
    .open_receiver = open_receiver,
    .connected = connected,
    .loan = loan,
    .send = send_loan,
    .take = take,
    .done = done,
    .close_sender = close_sender,
    .close_receiver = close_receiver,
    .servers = servers,
};
