/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Requests, events, blackboards and work queues whose shared memory says anything: handles of both sides are opened,
 * talk and leave, the dead are found and repaired, a monitor and tools look on. Each pattern has a topic of its own in
 * which some of this process stay all the time and do nothing, and some died in the midst of something. An input's
 * second byte says which pattern. Everything runs in the folder $TARN_DIR.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "core/inspect.h"
#include "shm/board.h"
#include "shm/queue.h"
#include "tarn.h"

const char target_name[] = "patterns";
const unsigned target_calls_per_sweep = 400;

#define TOPIC "fuzz"
#define SENT 3 /* by each who sends, in a run and before */
#define SLOTS 4
#define WAIT_NS 1000
#define STEP_NS (15 * INT64_C(1000000))

enum option {
    LOOKS_ON = 1,  /* a monitor does, and a tool; and a keeper keeps */
    SWEEPS = 2,    /* a tool repairs the dead first */
    LOANS = 4,     /* instead of copies */
    LARGE = 8,     /* payloads, so that memory grows */
    WITH_FD = 16,  /* of who receives */
    KEEPS = 32,    /* what is received, until the end */
    GIVES_UP = 64, /* abandons, ends, gives back, releases keys */
    HURRIES = 128, /* time flies: each look at the clock is 15 ms later */
};

static char payload[70000];
static unsigned options_now;

static void *residents[8]; /* who stay: known to the sanitizer as in use */
static unsigned resident_count;

static void stay(void *handle) {
    EXPECT(handle && resident_count < sizeof residents / sizeof residents[0]);
    residents[resident_count++] = handle;
}

static bool has(enum option option) {
    return options_now & (unsigned)option;
}

/* ---- time ------------------------------------------------------------------------------------------------------- */

static int64_t skipped_ns;
static bool time_flies;

int clock_gettime(clockid_t clock, struct timespec *ret) {
    int result = (int)syscall(SYS_clock_gettime, clock, ret);
    if (clock != CLOCK_MONOTONIC)
        return result;
    skipped_ns += time_flies ? STEP_NS : 0;
    int64_t ns = ret->tv_sec * INT64_C(1000000000) + ret->tv_nsec + skipped_ns;
    ret->tv_sec = ns / INT64_C(1000000000);
    ret->tv_nsec = ns % INT64_C(1000000000);
    return result;
}

/* ---- what all have in common ------------------------------------------------------------------------------------ */

/* Whatever is documented as a result will do. */
static bool is_well(int result) {
    EXPECT(result >= TARN_ERROR_TAKEN);
    EXPECT(result >= 0 || result <= TARN_ERROR_ARGUMENT);
    EXPECT(result >= 0 || tarn_error()[0]);
    return result >= 0;
}

static void add_words_now(void);
static bool adds_words; /* the first run of a pattern tells which words it uses */

/* Where damage may be done; and by then all words are used. */
static void moment(const struct input *input, unsigned when) {
    if (adds_words && when == 2)
        add_words_now();
    damage(input, when);
}

static size_t size_of(unsigned i) {
    static const size_t sizes[] = {24, 0, 300};
    return has(LARGE) && i % 3 == 2 ? sizeof payload : sizes[i % 3];
}

/* A loan that was made, or was not. */
static void end_loan(int status, tarn_loan *loan) {
    if (!is_well(status) || status == 0)
        return;
    memset(loan->data, 1, loan->bytes);
    if (!is_well(tarn_loan_send(loan)) && loan->loaned_by)
        is_well(tarn_loan_drop(loan));
}

/* What was received, and is kept. */
static tarn_message kept[4 * SENT];
static unsigned kept_count;

static void look_at(tarn_message *message) {
    look_at_payload(message->data, message->bytes);
    if (has(KEEPS) && kept_count < sizeof kept / sizeof kept[0])
        kept[kept_count++] = *message;
    else
        is_well(tarn_message_release(message));
}

static void release_kept(void) {
    while (kept_count > 0)
        is_well(tarn_message_release(&kept[--kept_count]));
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

static tarn_client *open_client(void) {
    tarn_client *client = NULL;
    is_well(tarn_client_open(&client, TOPIC,
                             &(tarn_client_options){.struct_bytes = sizeof(tarn_client_options),
                                                    .domain = "requests",
                                                    .memory_limit_bytes = 512 << 10,
                                                    .full_timeout_ns = TARN_IMMEDIATELY,
                                                    .server_timeout_ns = TARN_IMMEDIATELY,
                                                    .wait_strategy = TARN_WAIT_SLEEP}));
    return client;
}

static tarn_server *open_server(void) {
    tarn_server *server = NULL;
    is_well(tarn_server_open(&server, TOPIC,
                             &(tarn_server_options){.struct_bytes = sizeof(tarn_server_options),
                                                    .domain = "requests",
                                                    .memory_limit_bytes = 512 << 10,
                                                    .full_timeout_ns = TARN_IMMEDIATELY,
                                                    .linger_ns = TARN_IMMEDIATELY,
                                                    .wait_strategy = TARN_WAIT_SLEEP}));
    return server;
}

static void send_requests(tarn_client *client) {
    for (unsigned i = 0; i < SENT; i++) {
        tarn_loan loan = {0};
        uint64_t request = 0;
        if (has(LOANS))
            end_loan(tarn_client_loan(client, size_of(i), &loan, &request), &loan);
        else
            is_well(tarn_client_send(client, payload, size_of(i), &request));
        if (has(GIVES_UP) && i == 1)
            is_well(tarn_client_abandon(client, request));
    }
}

static void answer(tarn_request *request, unsigned i) {
    tarn_loan loan = {0};
    look_at_payload(request->data, request->bytes);
    is_well(tarn_request_abandoned(request));
    if (has(LOANS)) {
        end_loan(tarn_request_loan(request, size_of(i), 1, &loan), &loan);
        return;
    }
    is_well(tarn_request_stream(request, payload, size_of(i)));
    is_well(has(GIVES_UP) ? tarn_request_end(request) : tarn_request_reply(request, payload, size_of(i)));
}

static unsigned serve(tarn_server *server) {
    unsigned taken = 0;
    if (has(WITH_FD))
        is_well(tarn_server_fd(server));
    for (unsigned i = 0; i < 2 * SENT; i++) {
        tarn_request request;
        is_well(tarn_server_wait(server, i % 2 ? 0 : WAIT_NS));
        int result = tarn_server_receive(server, &request, 0);
        if (!is_well(result) || result == 0)
            continue;
        answer(&request, i);
        taken++;
    }
    is_well(tarn_server_clients(server));
    return taken;
}

static unsigned receive_responses(tarn_client *client) {
    unsigned taken = 0;
    if (has(WITH_FD))
        is_well(tarn_client_fd(client));
    for (unsigned i = 0; i < 4 * SENT; i++) {
        tarn_message message;
        if (i % 3 == 0)
            is_well(tarn_client_wait(client, WAIT_NS));
        int result = tarn_client_receive(client, &message, i % 2 ? 0 : WAIT_NS);
        if (!is_well(result) || result == 0)
            continue;
        look_at(&message);
        taken++;
    }
    is_well(tarn_client_pending(client));
    is_well(tarn_client_servers(client));
    return taken;
}

static void request(const struct input *input) {
    unsigned taken = 0, answered = 0;
    tarn_server *server = open_server();
    tarn_client *client = open_client();
    moment(input, 1);
    if (client)
        send_requests(client);
    moment(input, 2);
    if (server)
        taken = serve(server);
    moment(input, 3);
    if (client)
        answered = receive_responses(client);
    if (input->damage_count == 0 && !has(GIVES_UP))
        EXPECT(taken == SENT && answered == (has(LOANS) ? SENT : 2 * SENT));
    if (input->number & 16 && server)
        is_well(tarn_server_close(server));
    if (client)
        is_well(tarn_client_close(client));
    if (!(input->number & 16) && server)
        is_well(tarn_server_close(server));
}

/* A client that stays has requests with a server that dies; one dies with an answer of it. */
static tarn_server *dead_server;
static tarn_client *dead_client;

static void build_requests(void) {
    tarn_client *resident = open_client();
    tarn_request first, second;
    dead_server = open_server();
    dead_client = open_client();
    EXPECT(dead_server && dead_client);
    stay(resident);
    send_requests(resident);
    send_requests(dead_client);
    EXPECT(tarn_server_take(dead_server, &first) == 1 && tarn_server_take(dead_server, &second) == 1);
    EXPECT(tarn_request_reply(&first, payload, 100) == 1);
    EXPECT(tarn_request_stream(&second, payload, 100) == 1);
}

static void kill_requests(void) {
    EXPECT(tarn_server_close(dead_server) >= 0 && tarn_client_close(dead_client) == 0);
}

/* The log of whoever it is: the addressed messages in it. */
static void add_request_words(struct publisher_slot *publisher) {
    char *log = segment_raw(segment_base_of(publisher->segment.id));
    image_add_log_words(&log, 1, 1);
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

#define FAR_EVENT 700 /* in another block than the first */
#define DEATH_EVENT 2

static tarn_notifier *open_notifier(void) {
    tarn_notifier *notifier = NULL;
    is_well(tarn_notifier_open(&notifier, TOPIC,
                               &(tarn_notifier_options){.struct_bytes = sizeof(tarn_notifier_options),
                                                        .domain = "events",
                                                        .death_event = DEATH_EVENT + 1}));
    return notifier;
}

static tarn_listener *open_listener(void) {
    static const uint32_t few[] = {1, DEATH_EVENT, FAR_EVENT, 3};
    tarn_listener *listener = NULL;
    is_well(tarn_listener_open(&listener, TOPIC,
                               &(tarn_listener_options){.struct_bytes = sizeof(tarn_listener_options),
                                                        .domain = "events",
                                                        .ids = has(LOANS) ? few : NULL,
                                                        .ids_count = has(LOANS) ? 4 : 0,
                                                        .history = has(LARGE),
                                                        .wait_strategy = TARN_WAIT_SLEEP}));
    return listener;
}

static void notify(tarn_notifier *notifier) {
    is_well(tarn_notifier_notify(notifier, 1));
    is_well(tarn_notifier_notify_many(notifier, 3, UINT64_C(1) << 40));
    is_well(tarn_notifier_notify(notifier, FAR_EVENT));
}

static unsigned listen(const struct input *input, tarn_listener *listener) {
    unsigned taken = 0;
    if (has(WITH_FD))
        is_well(tarn_listener_fd(listener));
    for (unsigned i = 0; i < 10; i++) {
        tarn_event event;
        if (i == 2)
            moment(input, 3);
        if (i % 2)
            is_well(tarn_listener_wait(listener, WAIT_NS));
        int result = tarn_listener_receive(listener, &event, i % 3 ? 0 : WAIT_NS);
        if (is_well(result) && result == 1) {
            EXPECT(event.id <= TARN_EVENT_ID_MAX && event.count > 0);
            taken++;
        }
    }
    return taken;
}

static void raise_events(const struct input *input) {
    unsigned taken = 0;
    tarn_listener *listener = open_listener();
    tarn_notifier *notifier = open_notifier();
    moment(input, 1);
    if (notifier)
        notify(notifier);
    moment(input, 2);
    if (listener)
        taken = listen(input, listener);
    if (notifier && has(KEEPS))
        notify(notifier);
    if (notifier)
        is_well(tarn_notifier_listeners(notifier));
    if (input->damage_count == 0)
        EXPECT(taken >= SENT);
    is_well(tarn_listener_close(listener));
    is_well(tarn_notifier_close(notifier));
}

static tarn_notifier *dead_notifier;
static tarn_listener *dead_listener;

static void build_events(void) {
    tarn_listener *listener = open_listener();
    tarn_notifier *notifier = open_notifier();
    dead_notifier = open_notifier();
    dead_listener = open_listener();
    EXPECT(dead_notifier && dead_listener);
    stay(listener);
    stay(notifier);
    notify(notifier);
    notify(dead_notifier);
}

static void kill_events(void) {
    EXPECT(tarn_notifier_close(dead_notifier) == 0 && tarn_listener_close(dead_listener) == 0);
}

static void add_event_words(void) {
    struct event_directory *directory = roster_block(&image_roster, image_roster.header->pattern_block);
    static const uint32_t ids[] = {0, 1, DEATH_EVENT, 3, 4, FAR_EVENT};
    EXPECT(directory);
    for (unsigned i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct event_counter *counters = roster_block(&image_roster, directory->blocks[ids[i] / EVENT_IDS_PER_BLOCK]);
        EXPECT(counters);
        ADD_WORD(counters[ids[i] % EVENT_IDS_PER_BLOCK].raised);
        ADD_WORD(counters[ids[i] % EVENT_IDS_PER_BLOCK].deaths);
    }
    add_words(directory->blocks, 4, 4);
    ADD_WORD(directory->blocks[EVENT_BLOCKS_MAX - 1]);
    ADD_WORD(directory->ids);
}

/* ---- blackboard ------------------------------------------------------------------------------------------------- */

static tarn_writer *open_writer(void) {
    tarn_writer *writer = NULL;
    is_well(tarn_writer_open(&writer, TOPIC,
                             &(tarn_writer_options){.struct_bytes = sizeof(tarn_writer_options),
                                                    .domain = "board",
                                                    .memory_limit_bytes = 512 << 10}));
    return writer;
}

static tarn_reader *open_reader(void) {
    tarn_reader *reader = NULL;
    is_well(tarn_reader_open(&reader, TOPIC,
                             &(tarn_reader_options){.struct_bytes = sizeof(tarn_reader_options),
                                                    .domain = "board",
                                                    .max_held = 2 * SENT,
                                                    .wait_strategy = TARN_WAIT_SLEEP}));
    return reader;
}

/* Some that nobody has, or the dead had, or a living one has. */
static const char *const key_names[] = {"fresh", "dead", "a/name/that/is/longer", "living"};
enum { KEYS = sizeof key_names / sizeof key_names[0] };

static void set(tarn_writer *writer, int key, unsigned i) {
    tarn_loan loan = {0};
    if (has(LOANS))
        end_loan(tarn_writer_loan(writer, key, size_of(i), &loan), &loan);
    else
        is_well(tarn_writer_set(writer, key, payload, size_of(i)));
}

static unsigned write_keys(tarn_writer *writer) {
    unsigned written = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        int key = tarn_writer_key(writer, key_names[i]);
        if (!is_well(key))
            continue;
        written++;
        for (unsigned k = 0; k < (has(LARGE) ? 5 : 2); k++)
            set(writer, key, i + k);
        if (has(GIVES_UP))
            is_well(tarn_writer_release_key(writer, key));
    }
    return written;
}

static unsigned read_key(tarn_reader *reader, int key) {
    static char buffer[sizeof payload];
    tarn_value value = {0};
    tarn_message message;
    int result = tarn_reader_get(reader, key, buffer, sizeof buffer, &value);
    if (is_well(result) && result == 1)
        EXPECT(value.bytes <= sizeof buffer);
    is_well(tarn_reader_wait_key(reader, key, value.version, WAIT_NS));
    result = tarn_reader_take(reader, key, &message);
    if (is_well(result) && result == 1)
        look_at(&message);
    const char *name = tarn_reader_key_name(reader, key);
    EXPECT(!name || strlen(name) < KEY_NAME_BYTES);
    return result == 1;
}

static unsigned read_keys(const struct input *input, tarn_reader *reader) {
    unsigned values = 0;
    if (has(WITH_FD))
        is_well(tarn_reader_fd(reader));
    for (unsigned i = 0; i < KEYS; i++) {
        int key = tarn_reader_key(reader, key_names[i]), changed;
        if (i == input->number / 4 % KEYS)
            moment(input, 3);
        is_well(tarn_reader_wait(reader, WAIT_NS));
        is_well(tarn_reader_changed(reader, &changed));
        if (is_well(key))
            values += read_key(reader, key);
    }
    int keys = tarn_reader_keys(reader);
    if (is_well(keys) && keys > 0)
        read_key(reader, keys - 1);
    return values;
}

static void write_board(const struct input *input) {
    unsigned written = 0, values = 0;
    tarn_writer *writer = open_writer();
    tarn_reader *reader = open_reader();
    moment(input, 1);
    if (writer)
        written = write_keys(writer);
    moment(input, 2);
    if (reader)
        values = read_keys(input, reader);
    if (writer && has(KEEPS))
        write_keys(writer);
    if (writer)
        is_well(tarn_writer_readers(writer, NULL));
    if (input->damage_count == 0)
        EXPECT(written == KEYS - 1 && values == KEYS);
    if (input->number & 16)
        is_well(tarn_writer_close(writer));
    is_well(tarn_reader_close(reader));
    if (!(input->number & 16))
        is_well(tarn_writer_close(writer));
}

static tarn_writer *dead_writer;
static tarn_reader *dead_reader;

static void build_board(void) {
    char value[1000];
    tarn_writer *writer = open_writer();
    tarn_reader *reader = open_reader();
    dead_writer = open_writer();
    dead_reader = open_reader();
    EXPECT(dead_writer && dead_reader);
    stay(writer);
    stay(reader);
    set(writer, tarn_writer_key(writer, "living"), 0);
    set(dead_writer, tarn_writer_key(dead_writer, "dead"), 0);
    set(dead_writer, tarn_writer_key(dead_writer, "dead, too"), 0);
    EXPECT(tarn_reader_get(reader, tarn_reader_key(reader, "dead"), value, sizeof value, NULL) == 1);
    EXPECT(tarn_reader_get(dead_reader, tarn_reader_key(dead_reader, "living"), value, sizeof value, NULL) == 1);
}

static void kill_board(void) {
    EXPECT(tarn_writer_close(dead_writer) >= 0 && tarn_reader_close(dead_reader) == 0);
}

/* Of an arena: the header, the table's first, and what stands before the payload at a place. */
static void add_arena_words(struct publisher_slot *publisher) {
    char *base = segment_raw(segment_base_of(publisher->segment.id));
    struct segment_header *header = (void *)base;
    struct extent_entry *table = (void *)(base + header->table_offset);
    image_add_header_words(header);
    for (uint32_t i = 0; i < header->extent_count && i < 2; i++)
        image_add_entry_words(&table[i]);
}

static void add_place_words(struct publisher_slot *publisher, uint64_t place) {
    if (!publisher || place == 0 || extent_ref_segment(place_extent(place)) > 0)
        return;
    char *base = segment_raw(segment_base_of(publisher->segment.id));
    struct segment_header *header = (void *)base;
    struct extent_entry *table = (void *)(base + header->table_offset);
    struct placed *placed =
        (void *)(base + table[extent_ref_index(place_extent(place))].offset + place_offset(place) - sizeof *placed);
    ADD_WORD(placed->bytes);
    ADD_WORD(placed->number);
}

static void add_key_words(struct board_key *key) {
    for (unsigned i = 0; i < 2; i++) {
        uint64_t owner = key->pairs[i].owner;
        ADD_WORD(key->pairs[i].owner);
        ADD_WORD(key->pairs[i].place);
        if (owner)
            add_place_words(image_publisher(key_owner_slot(owner)), key->pairs[i].place);
    }
    ADD_WORD(key->hash);
    ADD_WORD(key->current);
    ADD_WORD(key->holder);
    ADD_WORD(key->version);
    add_words(key->name, 8, 2);
    ADD_WORD(key->name[KEY_NAME_BYTES / 8 - 1]);
}

static void add_board_words(void) {
    struct key_directory *directory = roster_block(&image_roster, image_roster.header->pattern_block);
    EXPECT(directory);
    struct board_key *keys = roster_block(&image_roster, directory->blocks[0]);
    EXPECT(keys);
    add_words(directory->blocks, 4, 3);
    ADD_WORD(directory->blocks[KEY_BLOCKS_MAX - 1]);
    for (unsigned i = 0; i < KEYS + 2; i++)
        add_key_words(&keys[i]);
}

/* ---- work queue ------------------------------------------------------------------------------------------------- */

static tarn_producer *open_producer(void) {
    tarn_producer *producer = NULL;
    is_well(tarn_producer_open(&producer, TOPIC,
                               &(tarn_producer_options){.struct_bytes = sizeof(tarn_producer_options),
                                                        .domain = "queue",
                                                        .memory_limit_bytes = 512 << 10,
                                                        .capacity = 4,
                                                        .attempts_max = has(GIVES_UP) ? 2 : 0,
                                                        .full_timeout_ns = TARN_IMMEDIATELY,
                                                        .linger_ns = TARN_IMMEDIATELY,
                                                        .claim_limit_ns = has(HURRIES) ? 20000000 : 0}));
    return producer;
}

static tarn_worker *open_worker(void) {
    tarn_worker *worker = NULL;
    is_well(tarn_worker_open(&worker, TOPIC,
                             &(tarn_worker_options){.struct_bytes = sizeof(tarn_worker_options),
                                                    .domain = "queue",
                                                    .prefetch = 3,
                                                    .wait_strategy = TARN_WAIT_SLEEP}));
    return worker;
}

static void push(tarn_producer *producer, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        tarn_loan loan = {0};
        if (has(LOANS))
            end_loan(tarn_producer_loan(producer, size_of(i), &loan), &loan);
        else
            is_well(tarn_producer_push(producer, payload, size_of(i)));
    }
}

static void end_job(tarn_job *job, unsigned i) {
    if (has(GIVES_UP))
        is_well(i % 2 ? tarn_job_give_back(job) : tarn_job_reject(job));
    else
        is_well(tarn_job_acknowledge(job));
}

static unsigned work(const struct input *input, tarn_worker *worker) {
    tarn_job jobs[2];
    unsigned taken = 0, open = 0;
    if (has(WITH_FD))
        is_well(tarn_worker_fd(worker));
    for (unsigned i = 0; i < 6 * SENT; i++) {
        if (i == 1 + input->number / 4 % 4)
            moment(input, 3);
        if (i % 4 == 0)
            is_well(tarn_worker_wait(worker, WAIT_NS));
        int result = tarn_worker_receive(worker, &jobs[open], i % 3 ? 0 : WAIT_NS);
        if (is_well(result) && result == 1) {
            look_at_payload(jobs[open].data, jobs[open].bytes);
            taken++;
            open++;
        }
        if (open == 2 || (open && !has(KEEPS)))
            end_job(&jobs[--open], i);
    }
    for (; open > 0; open--)
        end_job(&jobs[open - 1], open);
    return taken;
}

static void queue(const struct input *input) {
    unsigned taken = 0;
    tarn_producer *producer = open_producer();
    tarn_worker *worker = open_worker();
    moment(input, 1);
    if (producer)
        push(producer, SENT);
    moment(input, 2);
    if (worker)
        taken = work(input, worker);
    if (input->damage_count == 0)
        EXPECT(taken >= 2 * SENT);
    if (producer) {
        push(producer, 2 * SENT);
        tarn_producer_unacknowledged(producer);
        is_well(tarn_producer_workers(producer));
        is_well(tarn_producer_flush(producer, WAIT_NS));
        is_well(tarn_producer_kept(producer, WAIT_NS));
    }
    if (input->number & 16)
        is_well(tarn_producer_close(producer));
    is_well(tarn_worker_close(worker));
    if (!(input->number & 16))
        is_well(tarn_producer_close(producer));
}

static tarn_producer *dead_producer;
static tarn_worker *dead_worker;

static void build_queue(void) {
    tarn_job job;
    tarn_producer *producer = open_producer();
    dead_producer = open_producer();
    EXPECT(dead_producer);
    stay(producer);
    push(producer, SENT);
    push(dead_producer, SENT);
    tarn_keeper *keeper = NULL;
    tarn_keeper_options keeping = {.struct_bytes = sizeof keeping, .domain = "queue"};
    EXPECT(tarn_keeper_open(&keeper, TOPIC, &keeping) == 0 && tarn_keeper_wait(keeper, 0) == 0);
    dead_worker = open_worker();
    EXPECT(dead_worker);
    stay(keeper);
    EXPECT(tarn_worker_take(dead_worker, &job) == 1 && tarn_worker_take(dead_worker, &job) == 1);
}

static void kill_queue(void) {
    EXPECT(tarn_producer_close(dead_producer) >= 0 && tarn_worker_close(dead_worker) == 0);
}

static void add_queue_words(void) {
    for (uint32_t slot = 0; slot < image_roster.header->publisher_slots; slot++) {
        struct publisher_slot *publisher = image_publisher(slot);
        struct queue_ring ring;
        if (publisher->state == SLOT_FREE || !queue_find(&ring, &image_roster, publisher))
            continue;
        struct queue_list *list = roster_block(&image_roster, publisher->queue.list);
        add_words(list->blocks, 4, 2);
        for (uint64_t i = 0; i < ring.capacity; i++) {
            struct queue_cell *cell = queue_cell_of(&ring, i);
            ADD_WORD(cell->place);
            ADD_WORD(cell->state);
            add_place_words(publisher, cell->place);
        }
        ADD_WORD(publisher->queue.list);
        ADD_WORD(publisher->queue.capacity);
        ADD_WORD(publisher->queue.attempts_max);
        ADD_WORD(publisher->queue.requeues);
    }
}

/* ---- the image -------------------------------------------------------------------------------------------------- */

static const struct scene {
    const char *domain;
    void (*build)(void), (*kill)(void), (*add_words)(void);
    void (*add_publisher_words)(struct publisher_slot *);
    void (*run)(const struct input *);
} scenes[] = {
    {"requests", build_requests, kill_requests, NULL, add_request_words, request},
    {"events", build_events, kill_events, add_event_words, NULL, raise_events},
    {"board", build_board, kill_board, add_board_words, add_arena_words, write_board},
    {"queue", build_queue, kill_queue, add_queue_words, add_arena_words, queue},
};
enum { SCENES = sizeof scenes / sizeof scenes[0] };

static struct roster rosters[SCENES];
static const struct scene *scene_now;

static struct roster roster_at(int32_t id) {
    struct roster_segment *segment = segment_base_of(id);
    EXPECT(segment->magic == ROSTER_MAGIC);
    return (struct roster){
        .base = {(char *)segment},
        .header = (struct roster_header *)(void *)((char *)segment + ROSTER_HEADER_OFFSET),
        .nonce = segment->nonce,
    };
}

static void add_row_words(struct publisher_slot *publisher) {
    struct reader_row *row = roster_row(&image_roster, publisher, 0);
    for (uint32_t slot = 0; row && slot < SLOTS; slot++) {
        ADD_WORD(row->oldest[row_place(slot)]);
        ADD_WORD(row->cursor[row_place(slot)]);
        ADD_WORD(row->attached[row_place(slot)]);
    }
}

static void add_slot_words(void) {
    const struct roster_header *header = image_roster.header;
    for (uint32_t slot = 0; slot < header->subscriber_slots && slot < SLOTS; slot++) {
        struct subscriber_slot *subscriber = image_subscriber(slot);
        memcpy(subscriber->who.command, "fifteen letters", 16);
        image_add_subscriber_words(subscriber);
        ADD_WORD(subscriber->load);
        ADD_WORD(subscriber->attached);
        ADD_WORD(subscriber->bell);
    }
    for (uint32_t slot = 0; slot < header->publisher_slots && slot < 2 * SLOTS; slot++) {
        struct publisher_slot *publisher = image_publisher(slot);
        memcpy(publisher->who.command, "fifteen letters", 16);
        image_add_publisher_words(publisher);
        add_row_words(publisher);
        if (publisher->state == SLOT_LIVE && scene_now->add_publisher_words)
            scene_now->add_publisher_words(publisher);
        add_words(publisher->pattern_words, 8, 8);
    }
}

static void add_words_now(void) {
    adds_words = false;
    add_group();
    image_add_roster_words(&image_roster);
    add_slot_words();
    if (scene_now->add_words)
        scene_now->add_words();
    for (uint32_t slot = 0; slot < image_roster.header->publisher_slots && slot < 2; slot++) {
        ADD_WORD(image_publisher(slot)->when_full);
        ADD_WORD(image_publisher(slot)->full_timeout_ns);
    }
}

static void find_words(unsigned i) {
    adds_words = true;
    segments_restore();
    target_run(&(struct input){.number = i});
    EXPECT(!adds_words);
}

void target_build(void) {
    if (!getenv("TARN_DIR"))
        die("TARN_DIR is to name a folder for the topics");
    for (unsigned i = 0; i < SCENES; i++) {
        int32_t roster_id = segment_next_id();
        scenes[i].build();
        rosters[i] = roster_at(roster_id);
    }
    segments_keep();
    for (unsigned i = 0; i < SCENES; i++)
        scenes[i].kill();
    segments_restore_all(); /* all say that they are there, but nobody has locked their slots */
    for (unsigned i = 0; i < SCENES; i++)
        find_words(i);
}

/* ---- a run ------------------------------------------------------------------------------------------------------ */

static void look_on(tarn_monitor *monitor) {
    struct inspect_domain *domain;
    for (unsigned i = 0; monitor && i < 4 * SLOTS; i++) {
        tarn_match match;
        int result = tarn_monitor_take(monitor, &match);
        if (is_well(result) && result == 1)
            EXPECT(strnlen(match.command, sizeof match.command) < sizeof match.command);
    }
    if (inspect_domain_open(&domain, NULL, scene_now->domain) != 0)
        return;
    for (size_t i = 0; i < domain->topic_count; i++)
        for (uint32_t k = 0; k < domain->topics[i].participant_count; k++)
            EXPECT(strlen(domain->topics[i].participants[k].command) < 16);
    inspect_domain_close(domain);
}

void target_run(const struct input *input) {
    unsigned i = adds_words ? input->number : group_of(input);
    scene_now = &scenes[i];
    image_roster = rosters[i];
    options_now = input->options;
    time_flies = has(HURRIES);
    damage(input, 0);
    struct inspect_sweep swept;
    if (has(SWEEPS))
        is_well(inspect_sweep(&swept, NULL, scene_now->domain));
    tarn_monitor *monitor = NULL;
    tarn_monitor_options watching = {.struct_bytes = sizeof watching, .domain = scene_now->domain};
    tarn_keeper *keeper = NULL;
    tarn_keeper_options keeping = {.struct_bytes = sizeof keeping, .domain = scene_now->domain, .left_max = 1};
    if (has(LOOKS_ON)) {
        is_well(tarn_monitor_open(&monitor, TOPIC, &watching));
        is_well(tarn_keeper_open(&keeper, TOPIC, &keeping));
    }
    scene_now->run(input);
    if (has(LOOKS_ON)) {
        look_on(monitor);
        if (keeper)
            is_well(tarn_keeper_wait(keeper, 0));
    }
    is_well(tarn_monitor_close(monitor));
    is_well(tarn_keeper_close(keeper));
    release_kept();
    time_flies = false;
}
