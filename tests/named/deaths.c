/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Deaths at named points (src/base/points.h): in a build with -DTARN_POINTS=ON a process that plays one of some parts
 * is killed at each point that the part passes, and the survivors go on: messages that were committed are all there and
 * intact, what is lost is counted exactly, nobody waits for the dead, a newcomer can join, and when all have left, no
 * segment and no file is there. It uses nothing but SIGKILL, so it runs wherever the library does.
 *
 * A part is first played to its end, to count what it passes, then killed at each of these points, the nth time, n
 * being random. A point that no part passes makes the test fail.
 */
#include "base/points.h"
#include "core/inspect.h"
#include "../multi/common.h"

#define TOPIC "deaths"
#define LIMIT_BYTES (512u * 1024)
#define SMALL_MOST 3008u
#define LARGE_BYTES 70000u

/* What survivors and victim share. */
struct board {
    _Atomic uint32_t passed[POINT_COUNT];           /* by the victim */
    _Atomic uint32_t passed_by_others[POINT_COUNT]; /* by who survives it */
    _Atomic uint64_t sent;
    _Atomic bool is_heard; /* the first message */
};
static struct board *board;

/* ---- messages: size and bytes follow from the sequence number --------------------------------------------------- */

static size_t bytes_of(uint64_t sequence) {
    return sequence % 50 == 0 ? LARGE_BYTES : 8 + sequence * 7919 % (SMALL_MOST - 7);
}

static void send_next(tarn_publisher *publisher) {
    static char buffer[LARGE_BYTES];
    uint64_t sequence = atomic_load(&board->sent) + 1;
    fill_pattern(buffer, bytes_of(sequence), sequence);
    CHECK_STATUS(tarn_publisher_publish(publisher, buffer, bytes_of(sequence)), 1);
    atomic_store(&board->sent, sequence);
}

static void send_many(tarn_publisher *publisher, int count) {
    for (int i = 0; i < count; i++)
        send_next(publisher);
}

static void send_loan(tarn_publisher *publisher, tarn_loan *loan) {
    if ((atomic_load(&board->sent) + 1) % 50 == 0)
        send_next(publisher); /* larger than the loan */
    uint64_t sequence = atomic_load(&board->sent) + 1;
    loan->bytes = bytes_of(sequence);
    fill_pattern(loan->data, loan->bytes, sequence);
    CHECK_STATUS(tarn_loan_send(loan), 1);
    atomic_store(&board->sent, sequence);
}

/* A survivor's look at what the victim sent, or a victim's at what a survivor sends. */
struct listener {
    tarn_subscriber *subscriber;
    uint64_t publisher, next;
};

/* Takes a message of one publisher, if there is one in that time; what others send is let go. */
static bool hear(struct listener *listener, tarn_message *ret, int64_t timeout_ns) {
    int status = tarn_subscriber_receive(listener->subscriber, ret, timeout_ns);
    if (status == 0)
        return false;
    CHECK_STATUS(status, 1);
    if (!listener->publisher && ret->bytes != 1)
        listener->publisher = ret->publisher;
    if (ret->publisher != listener->publisher)
        return true;
    if (!listener->next)
        listener->next = ret->sequence - ret->lost;
    CHECK_INT(ret->sequence, ==, listener->next + ret->lost);
    CHECK_INT(ret->bytes, ==, bytes_of(ret->sequence));
    CHECK(check_pattern(ret->data, ret->bytes, ret->sequence));
    listener->next = ret->sequence + 1;
    return true;
}

static bool has_ended(pid_t pid) {
    siginfo_t state = {0};
    CHECK(waitid(P_PID, (id_t)pid, &state, WEXITED | WNOHANG | WNOWAIT) == 0);
    return state.si_pid == pid;
}

/* ---- the parts -------------------------------------------------------------------------------------------------- */

static tarn_publisher *open_publisher(void) {
    return PUBLISHER(TOPIC, .memory_limit_bytes = LIMIT_BYTES, .full_timeout_ns = GENEROUS,
                     .linger_ns = TARN_IMMEDIATELY);
}

/* Alone in the topic: makes and deletes it. */
static void be_alone(void) {
    tarn_type type = {.struct_bytes = sizeof(type), .name = "deaths"};
    tarn_publisher *publisher = PUBLISHER(TOPIC, .type = &type, .linger_ns = TARN_IMMEDIATELY);
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    tarn_message message;
    CHECK_INT(tarn_subscriber_fd(subscriber), >=, 0);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    send_many(publisher, 600); /* adds memory */
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 1);
    CHECK_STATUS(tarn_message_release(&message), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
}

/* Sends, waits for slow readers, and sends loans late: from the log, and after their extents were retired. */
static void be_publisher(void) {
    /* one that never grows, and waits until it is heard: memory that no reader has attached yet dies with its owner */
    tarn_publisher *publisher = PUBLISHER(TOPIC, .realtime = 1, .memory_limit_bytes = LIMIT_BYTES,
                                          .full_timeout_ns = GENEROUS, .linger_ns = TARN_IMMEDIATELY);
    tarn_loan loan, later;
    send_next(publisher);
    AWAIT(atomic_load(&board->is_heard));
    send_many(publisher, 60);
    CHECK_STATUS(tarn_publisher_loan(publisher, SMALL_MOST, &loan), 1);
    send_many(publisher, 45);
    send_loan(publisher, &loan);
    CHECK_STATUS(tarn_publisher_loan(publisher, SMALL_MOST, &later), 1);
    send_many(publisher, 600);
    send_loan(publisher, &later);
    send_many(publisher, 600);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
}

/* Takes reliably, with messages held and without; sleeps, listens by descriptor, is interrupted; has many cells. */
static void be_subscriber(void) {
    struct listener listener = {.subscriber = SUBSCRIBER(TOPIC, .reliable = 1, .wait_strategy = TARN_WAIT_SLEEP)};
    tarn_message held[3] = {{0}}, message;
    for (int i = 0; i < 400; i++) {
        AWAIT(hear(&listener, &message, SECOND));
        if (i % 200 == 50) { /* until the publisher waits for us */
            uint32_t before = atomic_load(&board->passed_by_others[POINT_bell_armed]);
            AWAIT(atomic_load(&board->passed_by_others[POINT_bell_armed]) > before);
        }
        if (i < 200) {
            if (held[i % 3].held_by)
                CHECK_STATUS(tarn_message_release(&held[i % 3]), 0);
            held[i % 3] = message;
        } else
            CHECK_STATUS(tarn_message_release(&message), 0);
    }
    CHECK_STATUS(tarn_subscriber_interrupt(listener.subscriber), 0);
    tarn_subscriber *other = SUBSCRIBER(TOPIC, .realtime = 1, .max_held = 20000);
    CHECK_INT(tarn_subscriber_fd(other), >=, 0);
    while (tarn_subscriber_take(other, &message) == 1) /* the publisher waits for the first one by now */
        CHECK_STATUS(tarn_message_release(&message), 0);
    CHECK_STATUS(tarn_subscriber_close(other), 0);
    CHECK_STATUS(tarn_subscriber_close(listener.subscriber), 0);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(tarn_message_release(&held[i]), 0);
}

/* Has its own topic, of events: notifies, listens, watches; repairs a notifier whose death raises an event, too. */
#define EVENTS TOPIC "/events"
#define DEATH 5u

static void open_notifier(tarn_notifier **ret) {
    tarn_notifier_options options = {.struct_bytes = sizeof options, .death_event = DEATH + 1};
    CHECK_STATUS(tarn_notifier_open(ret, EVENTS, &options), 0);
}

static void be_events_corpse(void *arg) {
    tarn_notifier *notifier;
    (void)arg;
    points_set(NULL, NULL); /* the victim's */
    point_counts = NULL;
    open_notifier(&notifier);
    kill(getpid(), SIGKILL);
}

static void hear_death(tarn_listener *listener) {
    tarn_event event = {0};
    while (event.id != DEATH)
        CHECK_STATUS(tarn_listener_receive(listener, &event, GENEROUS), 1);
    CHECK_INT(event.total, ==, 1);
}

static void be_events(void) {
    tarn_monitor *monitor;
    tarn_listener *listener;
    tarn_notifier *notifier;
    tarn_match match;
    tarn_event event;
    CHECK_STATUS(tarn_monitor_open(&monitor, EVENTS, NULL), 0);
    CHECK_INT(tarn_monitor_fd(monitor), >=, 0);
    CHECK_STATUS(tarn_monitor_take(monitor, &match), 0);
    CHECK_STATUS(tarn_listener_open(&listener, EVENTS, NULL), 0);
    CHECK_INT(wait_child(spawn(be_events_corpse, NULL), LIMIT_S), ==, -SIGKILL);
    hear_death(listener);
    open_notifier(&notifier);
    CHECK_INT(tarn_listener_fd(listener), >=, 0);
    CHECK_STATUS(tarn_listener_take(listener, &event), 0);
    CHECK_STATUS(tarn_notifier_notify(notifier, 700), 1);
    CHECK_STATUS(tarn_listener_receive(listener, &event, 0), 1);
    CHECK_STATUS(tarn_monitor_receive(monitor, &match, GENEROUS), 1);
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
    CHECK_STATUS(tarn_listener_close(listener), 0);
    CHECK_STATUS(tarn_monitor_close(monitor), 0);
}

/* Comes where a publisher and a reliable subscriber with a message and a doorbell have died, and repairs them. */
static void be_repairer(void) {
    tarn_publisher *publisher = open_publisher();
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
}

static void be_corpse(void) {
    tarn_publisher *publisher = open_publisher();
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    tarn_message message;
    CHECK_INT(tarn_subscriber_fd(subscriber), >=, 0);
    CHECK_STATUS(tarn_publisher_publish(publisher, "", 1), 1);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 1);
    kill(getpid(), SIGKILL);
}

#define CALLS "deaths/calls"

/* A client and a server: the client has slept when the answer comes, so its bell says that it still does. */
static void call_each_other(int calls) {
    tarn_server_options serving = {.struct_bytes = sizeof serving, .linger_ns = TARN_IMMEDIATELY};
    tarn_client_options asking = {.struct_bytes = sizeof asking, .wait_strategy = TARN_WAIT_SLEEP};
    tarn_server *server;
    tarn_client *client;
    CHECK_STATUS(tarn_server_open(&server, CALLS, &serving), 0);
    CHECK_STATUS(tarn_client_open(&client, CALLS, &asking), 0);
    for (int i = 0; i < calls; i++) {
        tarn_request request;
        tarn_message message;
        CHECK_STATUS(tarn_client_send(client, "x", 1, NULL), 1);
        CHECK_STATUS(tarn_client_receive(client, &message, MS), 0);
        CHECK_STATUS(tarn_server_take(server, &request), 1);
        CHECK_STATUS(tarn_request_reply(&request, "y", 1), 1);
        CHECK_STATUS(tarn_client_receive(client, &message, GENEROUS), 1);
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    CHECK_STATUS(tarn_client_close(client), 0);
    CHECK_STATUS(tarn_server_close(server), 0);
}

static void be_client_and_server(void) {
    call_each_other(3);
}

/* A blackboard whose key goes from one writer to another, and outlives both with a reader. */
#define BOARD TOPIC "/board"

static tarn_writer *open_writer(void) {
    tarn_writer *writer;
    CHECK_STATUS(tarn_writer_open(&writer, BOARD, NULL), 0);
    return writer;
}

static tarn_reader *open_reader(void) {
    tarn_reader *reader;
    CHECK_STATUS(tarn_reader_open(&reader, BOARD, NULL), 0);
    return reader;
}

static void set_key(tarn_writer *writer, uint64_t value) {
    int key = tarn_writer_key(writer, "key");
    CHECK_INT(key, >=, 0);
    CHECK_STATUS(tarn_writer_set(writer, key, &value, 8), 1);
}

static void be_board(void) {
    tarn_writer *first = open_writer(), *second = open_writer();
    tarn_reader *reader = open_reader();
    tarn_message held;
    int key = tarn_reader_key(reader, "key");
    CHECK_INT(key, >=, 0);
    CHECK_INT(tarn_reader_key(reader, "another"), >=, 0); /* the first may be the survivor's */
    set_key(first, 1);
    set_key(first, 2);
    CHECK_STATUS(tarn_reader_take(reader, key, &held), 1);
    CHECK_STATUS(tarn_writer_release_key(first, key), 0);
    set_key(second, 3);
    CHECK_STATUS(tarn_reader_wait_key(reader, key, 2, 0), 1);
    CHECK_STATUS(tarn_writer_close(first), 0);
    CHECK_STATUS(tarn_writer_close(second), 1);
    CHECK_STATUS(tarn_message_release(&held), 0);
    CHECK_STATUS(tarn_reader_close(reader), 0);
}

static void check_board(tarn_reader *reader, uint64_t value) {
    uint64_t got;
    tarn_writer *writer = open_writer();
    set_key(writer, value);
    CHECK_STATUS(tarn_reader_get(reader, tarn_reader_key(reader, "key"), &got, 8, NULL), 1);
    CHECK_INT(got, ==, value);
    CHECK_INT(tarn_writer_close(writer), ==, 1);
}

/* ---- survivors -------------------------------------------------------------------------------------------------- */

static struct listener reliable, late;
static tarn_publisher *sender;

static void receive_from(tarn_subscriber *subscriber, uint64_t publisher) {
    for (uint64_t from = 0; from != publisher;) {
        tarn_message message;
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, GENEROUS), 1);
        from = message.publisher;
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
}

/* A newcomer can join, and those who are there hear it. */
static void check_life(void) {
    tarn_publisher *publisher = open_publisher();
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    uint64_t identity = tarn_publisher_identity(publisher);
    CHECK_STATUS(tarn_publisher_publish(publisher, "", 1), 1);
    receive_from(subscriber, identity);
    if (reliable.subscriber)
        receive_from(reliable.subscriber, identity);
    if (late.subscriber)
        receive_from(late.subscriber, identity);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
}

static void await_end(pid_t victim) {
    AWAIT(has_ended(victim));
}

/* A reliable reader, which misses nothing, and one that takes only at the end, and knows what it lost. */
static void listen_to_publisher(void) {
    reliable = (struct listener){.subscriber = SUBSCRIBER(TOPIC, .reliable = 1), .next = 1};
    late = (struct listener){.subscriber = SUBSCRIBER(TOPIC), .next = 1};
    CHECK_INT(tarn_subscriber_fd(reliable.subscriber), >=, 0);
}

static void survive_publisher(pid_t victim) {
    tarn_message message;
    for (bool ended = false; !ended;) {
        ended = has_ended(victim);
        while (hear(&reliable, &message, 0)) {
            CHECK_INT(message.lost, ==, 0);
            CHECK_STATUS(tarn_message_release(&message), 0);
            if (late.next > 1) /* until it waits for us */
                AWAIT(atomic_load(&board->passed[POINT_wanted_told]) || has_ended(victim));
        }
        if (reliable.next > 1 && late.next == 1 && hear(&late, &message, 0)) { /* so that it knows the publisher */
            CHECK_STATUS(tarn_message_release(&message), 0);
            atomic_store(&board->is_heard, true);
        }
    }
    while (hear(&late, &message, 0))
        CHECK_STATUS(tarn_message_release(&message), 0);
    uint64_t sent = atomic_load(&board->sent);
    if (atomic_load(&board->is_heard)) {
        CHECK_INT(reliable.next, >=, sent + 1);
        CHECK_INT(reliable.next, <=, sent + 2); /* one was committed, and not noted yet */
        CHECK_INT(late.next, ==, reliable.next);
    } else
        CHECK_INT(sent, <=, 1);
    check_life();
}

/* A publisher, which waits for the victim only while it lives. */
static void send_to_subscriber(void) {
    sender = open_publisher();
}

static void survive_subscriber(pid_t victim) {
    while (!has_ended(victim)) {
        if (atomic_load(&board->sent) > 2000)
            nap_ns(MS / 10); /* the victim has not joined yet, or has left */
        send_next(sender);
    }
    send_many(sender, 600); /* more than its memory */
    check_life();
}

static void survive(pid_t victim) {
    await_end(victim);
    check_life();
}

/* As the command line's gc does it, which not every build has. */
static void sweep(void) {
    struct inspect_sweep swept;
    CHECK_STATUS(inspect_sweep(&swept, NULL, NULL), 0);
    CHECK_INT(swept.topics_failed, ==, 0);
}

/* In a topic to which nobody else comes. */
static void survive_events(pid_t victim) {
    await_end(victim);
    nap_ns(2 * MS); /* its child may have outlived it for a moment */
    sweep();
    check_life();
}

/* Swept first, so that no request goes to the dead. */
static void survive_calls(pid_t victim) {
    await_end(victim);
    check_life();
    sweep();
    call_each_other(1);
}

/* A reader sees whole values in order, and whoever comes can take the key. */
static void survive_board(pid_t victim) {
    tarn_reader *reader = open_reader();
    int key = tarn_reader_key(reader, "key");
    CHECK_INT(key, >=, 0);
    uint64_t last = 0;
    for (bool ended = false; !ended;) {
        uint64_t value;
        tarn_value about;
        ended = has_ended(victim);
        if (tarn_reader_get(reader, key, &value, 8, &about) != 1)
            continue;
        CHECK_INT(about.version, ==, value);
        CHECK_INT(value, >=, last);
        last = value;
    }
    check_board(reader, 77);
    check_board(reader, 78);
    CHECK_STATUS(tarn_reader_close(reader), 0);
}

static void leave(void) {
    CHECK_STATUS(tarn_subscriber_close(reliable.subscriber), 0);
    CHECK_STATUS(tarn_subscriber_close(late.subscriber), 0);
    CHECK_INT(tarn_publisher_close(sender), >=, 0);
    reliable = late = (struct listener){0};
    sender = NULL;
}

/*
 * ---- a work queue -------------------------------------------------------------------------------------------------
 */

#define QUEUE_TOPIC "deaths/queue"
enum { JOBS = 100 };

static tarn_producer *queue_producer;
static tarn_worker *queue_worker;

static tarn_producer *open_producer(void) {
    tarn_producer *producer = NULL;
    tarn_producer_options options = {.struct_bytes = sizeof options, .linger_ns = GENEROUS};
    CHECK_STATUS(tarn_producer_open(&producer, QUEUE_TOPIC, &options), 0);
    return producer;
}

static tarn_worker *open_worker(void) {
    tarn_worker *worker = NULL;
    CHECK_STATUS(tarn_worker_open(&worker, QUEUE_TOPIC, NULL), 0);
    return worker;
}

static void push_jobs(tarn_producer *producer) {
    for (uint64_t i = 0; i < JOBS; i++) {
        CHECK_STATUS(tarn_producer_push(producer, &i, sizeof i), 1);
        if (i == JOBS / 2)
            CHECK_STATUS(tarn_producer_flush(producer, GENEROUS), 1);
    }
}

static void be_producer(void) {
    tarn_producer *producer = open_producer();
    push_jobs(producer);
    CHECK_INT(tarn_producer_close(producer), ==, 0);
}

/* One job, ended in one way or another. */
static bool work_on_one(tarn_worker *worker, int64_t timeout_ns, bool give_back) {
    tarn_job job;
    int result = tarn_worker_receive(worker, &job, timeout_ns);
    CHECK_INT(result, >=, 0);
    if (result == 1)
        CHECK_STATUS(give_back ? tarn_job_give_back(&job) : tarn_job_acknowledge(&job), 0);
    return result == 1;
}

static void be_worker(void) {
    tarn_worker *worker = open_worker();
    for (int i = 0; i < 20; i++)
        CHECK(work_on_one(worker, GENEROUS, i % 5 == 0));
    CHECK_STATUS(tarn_worker_close(worker), 0);
}

static void work_for_producer(void) {
    queue_worker = open_worker();
}

static void survive_producer(pid_t victim) {
    while (!has_ended(victim))
        work_on_one(queue_worker, MS, false);
    while (work_on_one(queue_worker, 0, false))
        ;
    CHECK_STATUS(tarn_worker_close(queue_worker), 0);
}

static void push_for_worker(void) {
    queue_producer = open_producer();
    for (uint64_t i = 0; i < JOBS; i++)
        CHECK_STATUS(tarn_producer_push(queue_producer, &i, sizeof i), 1);
}

/* What it had goes to another. */
static void survive_worker(pid_t victim) {
    await_end(victim);
    queue_worker = open_worker();
    while (tarn_producer_unacknowledged(queue_producer) > 0)
        CHECK(work_on_one(queue_worker, GENEROUS, false));
    CHECK_INT(tarn_producer_close(queue_producer), ==, 0);
    CHECK_STATUS(tarn_worker_close(queue_worker), 0);
}

/* ---- keeping ---------------------------------------------------------------------------------------------------- */

#define KEPT_TOPIC "deaths/kept"

static void send_and_be_kept(tarn_keeper *keeper, uint64_t word) {
    tarn_publisher *publisher = PUBLISHER(KEPT_TOPIC, .linger_ns = TARN_IMMEDIATELY);
    CHECK_INT(tarn_keeper_wait(keeper, 0), >=, 0);
    publish_word(publisher, word);
    CHECK_INT(tarn_publisher_close(publisher), ==, 0);
    CHECK_INT(tarn_keeper_wait(keeper, 0), >=, 0);
}

/* Keeps the last one of two. */
static void be_keeper(void) {
    tarn_keeper *keeper;
    tarn_keeper_options options = {.struct_bytes = sizeof options, .left_max = 1};
    CHECK_STATUS(tarn_keeper_open(&keeper, KEPT_TOPIC, &options), 0);
    send_and_be_kept(keeper, 1);
    send_and_be_kept(keeper, 2);
    tarn_subscriber *subscriber = SUBSCRIBER(KEPT_TOPIC, .history = 1);
    receive_word(subscriber, 2);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_keeper_close(keeper), 0);
}

/* What it kept is gone with it. */
static void survive_keeper(pid_t victim) {
    await_end(victim);
    tarn_subscriber *subscriber = SUBSCRIBER(KEPT_TOPIC);
    sweep();
    CHECK_INT(count_segments(), <=, 1 + started_as_root); /* two rosters at most */
    tarn_subscriber *newcomer = SUBSCRIBER(KEPT_TOPIC, .history = 10);
    tarn_message message;
    CHECK_STATUS(tarn_subscriber_take(newcomer, &message), 0);
    CHECK_STATUS(tarn_subscriber_close(newcomer), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    check_life();
}

/* ---- playing ---------------------------------------------------------------------------------------------------- */

struct part {
    const char *name;
    void (*play)(void);
    void (*prepare)(void); /* survivors join before the victim; or NULL */
    void (*survive)(pid_t victim);
    bool has_corpse;
};

static const struct part parts[] = {
    {"alone", be_alone, NULL, survive, false},
    {"publisher", be_publisher, listen_to_publisher, survive_publisher, false},
    {"subscriber", be_subscriber, send_to_subscriber, survive_subscriber, false},
    {"repairer", be_repairer, NULL, survive, true},
    {"events", be_events, NULL, survive_events, false},
    {"producer", be_producer, work_for_producer, survive_producer, false},
    {"worker", be_worker, push_for_worker, survive_worker, false},
    {"client and server", be_client_and_server, NULL, survive_calls, false},
    {"board", be_board, NULL, survive_board, false},
    {"keeper", be_keeper, NULL, survive_keeper, false},
};

struct cue {
    const struct part *part;
    const char *kill; /* as in TARN_POINTS_KILL, or NULL */
    struct gate gate;
};

static void enter(void *context) {
    struct cue *cue = context;
    gate_wait(cue->gate, LIMIT_S);
    points_set(NULL, cue->kill);
    point_counts = board->passed;
    tarn_process_register(); /* where a sanitizer has a thread of its own, opening does not */
    cue->part->play();
}

static void enter_corpse(void *context) {
    (void)context;
    be_corpse();
}

/* Keeps the topic there, so that a corpse can be found in it. */
static void enter_keeper(void *context) {
    struct cue *cue = context;
    SUBSCRIBER(TOPIC);
    gate_signal(cue->gate);
    sleep_until_killed();
}

/* Returns what became of the victim, as wait_child() does. All have left afterwards. */
static int play(const struct part *part, const char *kill) {
    struct cue cue = {part, kill, gate_open()};
    pid_t keeper = 0;
    memset(board, 0, sizeof *board);
    if (part->has_corpse) {
        keeper = spawn(enter_keeper, &cue);
        gate_wait(cue.gate, LIMIT_S);
        CHECK_INT(wait_child(spawn(enter_corpse, NULL), LIMIT_S), ==, -SIGKILL);
    }
    pid_t victim = spawn(enter, &cue);
    if (part->prepare)
        part->prepare();
    gate_signal(cue.gate);
    part->survive(victim);
    leave();
    CHECK_INT(count_segments(), ==, keeper ? 1 : 0); /* though nobody has waited for the victim yet */
    int end = wait_child(victim, LIMIT_S);
    if (keeper)
        kill_child(keeper);
    gate_close(cue.gate);
    return end;
}

static void check_nothing_left(const struct part *part, const char *kill) {
    tarn_subscriber *sweeper = SUBSCRIBER(TOPIC); /* where the last one was killed */
    char path[512];
    CHECK_STATUS(tarn_subscriber_close(sweeper), 0);
    domain_path(path, NULL);
    int files = count_files(path, 0), segments = count_segments();
    if (files || segments)
        FAIL("%s with TARN_POINTS_KILL=%s: %d files and %d segments are left", part->name, kill, files, segments);
}

/* Dies there, the nth time, or at least the first. False: it did not get there this time. */
static bool die(const struct part *part, enum point point, uint64_t nth) {
    for (int tries = 0; tries < 3; tries++, nth = 1) {
        char kill[64];
        snprintf(kill, sizeof kill, "%s:%llu", point_names[point], (unsigned long long)nth);
        int end = play(part, kill);
        check_nothing_left(part, kill);
        if (end == -SIGKILL)
            return true;
        if (end != 0)
            FAIL("%s with TARN_POINTS_KILL=%s ended with %d", part->name, kill, end);
    }
    return false;
}

static int die_everywhere(const struct part *part, struct random *random, bool died[POINT_COUNT]) {
    int deaths = 0;
    CHECK_INT(play(part, NULL), ==, 0);
    check_nothing_left(part, "nothing");
    struct board first = *board;
    for (enum point point = 0; point < POINT_COUNT; point++) {
        uint32_t times = first.passed[point];
        if (times > 0 && die(part, point, random_between(random, 1, times))) {
            died[point] = true;
            deaths++;
        }
    }
    printf("%s: killed at %d points\n", part->name, deaths);
    return deaths;
}

TEST_LIMIT(each_named_point_is_survived, 120) {
    bool died[POINT_COUNT] = {false};
    int points = 0, deaths = 0;
    struct random random = random_start(0);
    board = shared_page(sizeof *board);
    points_set(NULL, NULL);
    point_counts = board->passed_by_others;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        deaths += die_everywhere(&parts[i], &random, died);
    for (enum point point = 0; point < POINT_COUNT; point++) {
        points += died[point];
        if (!died[point])
            fprintf(stderr, "never passed: %s\n", point_names[point]);
    }
    printf("%d deaths at %d of %d named points\n", deaths, points, POINT_COUNT);
    CHECK_INT(points, ==, POINT_COUNT);
}

/* ---- deaths that took two to do harm ----------------------------------------------------------------------------- */

struct dying {
    const char *kill;
    void (*play)(void);
    struct gate gate;
};

static void die_playing(void *context) {
    struct dying *dying = context;
    gate_wait(dying->gate, LIMIT_S);
    points_set(NULL, dying->kill);
    dying->play();
}

static void send_and_leave(void) {
    tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = GENEROUS); /* waits until its memory is attached */
    CHECK_STATUS(tarn_publisher_publish(publisher, "", 1), 1);
    tarn_publisher_close(publisher);
}

/* Its slot says LIVE, and the next incarnation: its memory must not be taken for the next one's. */
TEST(a_publisher_killed_while_it_leaves_is_nobody) {
    struct dying dying = {"publisher_over", send_and_leave, gate_open()};
    pid_t pid = spawn(die_playing, &dying);
    points_set(NULL, NULL);
    tarn_subscriber *before = SUBSCRIBER(TOPIC), *after;
    tarn_message message, other;
    gate_signal(dying.gate);
    CHECK_STATUS(tarn_subscriber_receive(before, &message, GENEROUS), 1); /* its memory stays */
    CHECK_INT(wait_child(pid, LIMIT_S), ==, -SIGKILL);
    gate_close(dying.gate);
    after = SUBSCRIBER(TOPIC, .history = 5);
    CHECK_STATUS(tarn_subscriber_take(after, &other), 0);
    CHECK_STATUS(tarn_subscriber_take(before, &other), 0);
    CHECK_STATUS(tarn_message_release(&message), 0);
    CHECK_STATUS(tarn_subscriber_close(before), 0);
    CHECK_STATUS(tarn_subscriber_close(after), 0);
}

static struct gate joined, known;

static void join_and_leave(void) {
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    gate_signal(joined);
    gate_wait(known, LIMIT_S);
    tarn_subscriber_close(subscriber);
}

static void join(void) {
    SUBSCRIBER(TOPIC);
}

/*
 * It said LEAVING, and did not count the change; who repaired it died when the slot was FREE: nobody repairs it again.
 */
TEST(a_publisher_does_not_wait_for_who_was_killed_while_it_left) {
    struct dying leaver = {"leaving_said", join_and_leave, gate_open()};
    struct dying repairer = {"subscriber_freed", join, gate_open()};
    joined = gate_open();
    known = gate_open();
    pid_t leaver_pid = spawn(die_playing, &leaver), repairer_pid = spawn(die_playing, &repairer);
    points_set(NULL, NULL);
    board = shared_page(sizeof *board);
    /* one that never grows, which would count as a change */
    tarn_publisher *publisher = PUBLISHER(TOPIC, .realtime = 1, .full_timeout_ns = GENEROUS / 3);
    gate_signal(leaver.gate);
    gate_wait(joined, LIMIT_S);
    CHECK_STATUS(tarn_publisher_flush(publisher, GENEROUS), 1); /* so it looks who is there */
    gate_signal(known);
    CHECK_INT(wait_child(leaver_pid, LIMIT_S), ==, -SIGKILL);
    gate_signal(repairer.gate);
    CHECK_INT(wait_child(repairer_pid, LIMIT_S), ==, -SIGKILL);
    send_many(publisher, 1200); /* more than its memory */
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    struct gate gates[] = {leaver.gate, repairer.gate, joined, known};
    for (int i = 0; i < 4; i++)
        gate_close(gates[i]);
}

/* ---- the living -------------------------------------------------------------------------------------------------- */

static void open_and_send_later(void *unused) {
    (void)unused;
    tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = GENEROUS);
    gate_signal(joined);
    gate_wait(known, LIMIT_S);
    CHECK_STATUS(tarn_publisher_publish(publisher, "", 1), 1);
    CHECK_INT(tarn_publisher_close(publisher), ==, 0);
}

/* qemu-user tells a child its parent's start time in the child's own /proc/<pid>/stat, and others its true one. */
TEST(a_child_of_an_old_process_is_not_taken_for_another) {
    joined = gate_open();
    known = gate_open();
    points_set(NULL, NULL);
    sleep(3); /* more than may lie between two tellings of one start time */
    pid_t pid = spawn(open_and_send_later, NULL);
    gate_wait(joined, LIMIT_S);
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC);
    tarn_message message;
    CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, SECOND * 3 / 2), 0); /* looks whether its peers live */
    gate_signal(known);
    CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, GENEROUS), 1);
    CHECK_STATUS(tarn_message_release(&message), 0);
    CHECK_INT(wait_child(pid, LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    gate_close(joined);
    gate_close(known);
}
