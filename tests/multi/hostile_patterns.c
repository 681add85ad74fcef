/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A participant that writes nonsense to the roster while clients and servers, then writers and readers, of other
 * processes come, talk, leave and are killed, and a monitor looks on: they get errors, or lose what was said, but
 * nobody crashes or hangs. events.c and hostile_queue.c do the same for their patterns.
 */
#include <sys/time.h>

#include "hostile.h"

enum { ROUND_MS = 500, ROUNDS = 4, LIVES = 3 };

static struct stage {
    struct round round;
    _Atomic uint64_t damages, lives, said, heard, sum;
} * stage;

static const char *topic;
static char data[70000];

static bool is_over(void) {
    return stage->round.over;
}

static size_t any_size(struct random *random) {
    return random_one_in(random, 10) ? sizeof data : random_between(random, 0, 200);
}

static void hear(tarn_message *message) {
    stage->sum += sum_of(message);
    stage->heard++;
    is_well(tarn_message_release(message));
}

/* ---- damage ----------------------------------------------------------------------------------------------------- */

static uint64_t nonsense(uint64_t is, uint64_t other, struct random *random) {
    switch (random_between(random, 0, 6)) {
    case 0:
        return random_next(random);
    case 1:
        return is ^ UINT64_C(1) << random_between(random, 0, 63);
    case 2:
        return random_between(random, 0, 64); /* a slot, or a block, most probably */
    case 3:
        return other; /* what makes sense elsewhere */
    case 4:
        return UINT64_MAX;
    case 5:
        return 0;
    default:
        return is + random_between(random, 0, 4) - 2;
    }
}

/* A word that is used: not 0. */
static _Atomic uint64_t *choose_word(_Atomic uint64_t *words, uint64_t count, struct random *random) {
    uint64_t at = random_between(random, 0, count - 1);
    for (int tries = 0; tries < 300 && words[at] == 0; tries++)
        at = random_between(random, 0, count - 1);
    return &words[at];
}

/* In every second round some is left as it is. */
static void do_damage(void *arg) {
    uint64_t salt = (uint64_t)(uintptr_t)arg;
    size_t bytes;
    struct random random = random_start(salt + 1);
    char *roster = map_roster_of(topic, &bytes);
    _Atomic uint64_t *words = (void *)(roster + ROSTER_HEADER_OFFSET);
    uint64_t count = (bytes - ROSTER_HEADER_OFFSET) / 8;
    stage->round.ready++;
    while (!is_over()) {
        _Atomic uint64_t *word = choose_word(words, count, &random);
        uint64_t was = *word;
        *word = nonsense(was, *choose_word(words, count, &random), &random);
        stage->damages++;
        spin_ns((int64_t)random_between(&random, 0, 20000));
        if (salt % 2 == 0 || !random_one_in(&random, 40))
            *word = was;
    }
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

static tarn_server *open_server(void) {
    tarn_server *server = NULL;
    is_well(tarn_server_open(
        &server, topic,
        &(tarn_server_options){.struct_bytes = sizeof(tarn_server_options), .full_timeout_ns = MS, .linger_ns = MS}));
    return server;
}

static void answer(tarn_request *request, struct random *random) {
    for (size_t at = 0; at < request->bytes; at += CACHE_LINE_BYTES)
        stage->sum += ((const unsigned char *)request->data)[at];
    if (random_one_in(random, 4))
        is_well(tarn_request_stream(request, data, any_size(random)));
    if (random_one_in(random, 20))
        is_well(tarn_request_end(request));
    else
        stage->said += is_well(tarn_request_reply(request, data, any_size(random)));
}

static void serve(tarn_server *server, struct random *random, int count) {
    for (int i = 0; server && (count == 0 || i < count) && !is_over(); i++) {
        tarn_request request;
        int result = tarn_server_receive(server, &request, 2 * MS);
        if (is_well(result) && result == 1)
            answer(&request, random);
        if (random_one_in(random, 50))
            is_well(tarn_server_clients(server));
    }
}

static void call(struct random *random) {
    tarn_client *client = NULL;
    uint64_t request;
    if (!is_well(tarn_client_open(&client, topic,
                                  &(tarn_client_options){.struct_bytes = sizeof(tarn_client_options),
                                                         .full_timeout_ns = MS,
                                                         .server_timeout_ns = 2 * MS})))
        return;
    for (int i = 0; i < 100 && !is_over(); i++) {
        tarn_message message;
        int result = tarn_client_call(client, data, any_size(random), &message, 5 * MS);
        if (is_well(result) && result == 1)
            hear(&message);
        if (random_one_in(random, 5) && tarn_client_send(client, data, 8, &request) == 1 && random_one_in(random, 2))
            is_well(tarn_client_abandon(client, request));
        result = tarn_client_receive(client, &message, 0);
        if (is_well(result) && result == 1)
            hear(&message);
    }
    is_well(tarn_client_close(client));
}

static void stay_server(void *arg) {
    (void)arg;
    struct random random = random_start(7);
    tarn_server *server = open_server();
    CHECK(server);
    stage->round.ready++;
    serve(server, &random, 0);
    is_well(tarn_server_close(server));
}

static void request_or_serve(struct random *random) {
    if (!random_one_in(random, 3)) {
        call(random);
        return;
    }
    tarn_server *server = open_server();
    serve(server, random, 100);
    is_well(tarn_server_close(server));
}

/* ---- blackboard ------------------------------------------------------------------------------------------------- */

static const char *any_key(struct random *random) {
    static const char *const names[] = {"a", "b", "c", "a/longer/name", "e"};
    return names[random_between(random, 0, sizeof names / sizeof names[0] - 1)];
}

static void write_some(struct random *random) {
    tarn_writer *writer = NULL;
    if (!is_well(tarn_writer_open(&writer, topic, NULL)))
        return;
    for (int i = 0; i < 100 && !is_over(); i++) {
        int key = tarn_writer_key(writer, any_key(random));
        if (!is_well(key))
            continue;
        stage->said += is_well(tarn_writer_set(writer, key, data, any_size(random)));
        if (random_one_in(random, 3))
            is_well(tarn_writer_release_key(writer, key));
        if (random_one_in(random, 50))
            is_well(tarn_writer_readers(writer, NULL));
    }
    is_well(tarn_writer_close(writer));
}

static void read_key(tarn_reader *reader, int key, struct random *random) {
    static char buffer[sizeof data];
    tarn_value value = {0};
    tarn_message message;
    is_well(tarn_reader_get(reader, key, buffer, sizeof buffer, &value));
    is_well(tarn_reader_wait_key(reader, key, value.version, MS / 10));
    int result = tarn_reader_take(reader, key, &message);
    if (is_well(result) && result == 1)
        hear(&message);
    if (random_one_in(random, 20))
        is_well(tarn_reader_keys(reader));
}

static void read_some(tarn_reader *reader, struct random *random, int count) {
    for (int i = 0; (count == 0 || i < count) && !is_over(); i++) {
        int key = tarn_reader_key(reader, any_key(random)), changed = 0;
        if (is_well(key))
            read_key(reader, key, random);
        if (is_well(tarn_reader_changed(reader, &changed)))
            tarn_reader_key_name(reader, changed);
    }
}

static void stay_reader(void *arg) {
    (void)arg;
    struct random random = random_start(7);
    tarn_reader *reader = NULL;
    CHECK_STATUS(tarn_reader_open(&reader, topic, NULL), 0);
    stage->round.ready++;
    read_some(reader, &random, 0);
    is_well(tarn_reader_close(reader));
}

static void write_or_read(struct random *random) {
    tarn_reader *reader = NULL;
    if (random_one_in(random, 2))
        write_some(random);
    else if (is_well(tarn_reader_open(&reader, topic, NULL))) {
        read_some(reader, random, 100);
        is_well(tarn_reader_close(reader));
    }
}

/* ---- lives ------------------------------------------------------------------------------------------------------ */

static void (*talk)(struct random *);

static void look_on(struct random *random) {
    tarn_monitor *monitor = NULL;
    if (!is_well(tarn_monitor_open(&monitor, topic, NULL)))
        return;
    for (uint64_t i = random_between(random, 1, 10); i > 0 && !is_over(); i--) {
        tarn_match match;
        is_well(tarn_monitor_receive(monitor, &match, MS));
    }
    is_well(tarn_monitor_close(monitor));
}

static void die_soon(void *arg) {
    struct random random = random_start((uint64_t)(uintptr_t)arg);
    struct itimerval soon = {.it_value.tv_usec = (suseconds_t)random_between(&random, 100, 20000)};
    signal(SIGALRM, SIG_DFL);
    setitimer(ITIMER_REAL, &soon, NULL);
    talk(&random);
    kill(getpid(), SIGALRM);
}

static void live(void *arg) {
    struct random random = random_start((uint64_t)(uintptr_t)arg);
    stage->lives++;
    if (random_one_in(&random, 4))
        CHECK_INT(wait_child(spawn(die_soon, arg), LIMIT_S), ==, -SIGALRM);
    else if (random_one_in(&random, 8))
        look_on(&random);
    else
        talk(&random);
}

static void play(const char *name, void (*stay)(void *), void (*one_life)(struct random *)) {
    allow_files(); /* what a damaged slot names is found by who comes next */
    stage = shared_page(sizeof *stage);
    topic = name;
    talk = one_life;
    for (uintptr_t round = 0; round < ROUNDS; round++)
        play_round((struct round_plan){.round = &stage->round,
                                       .stay = stay,
                                       .damage = do_damage,
                                       .live = live,
                                       .lives = LIVES,
                                       .ns = ROUND_MS * MS},
                   round);
    printf("%ju damages, %ju lives, %ju said, %ju heard\n", (uintmax_t)stage->damages, (uintmax_t)stage->lives,
           (uintmax_t)stage->said, (uintmax_t)stage->heard);
    CHECK_INT(stage->damages, >, 25 * ROUNDS);
    CHECK_INT(stage->lives, >, 2 * ROUNDS);
    CHECK_INT(stage->said, >, 100);
    CHECK_INT(stage->heard, >, 100);
    CHECK_INT(count_segments(), ==, 0);
}

TEST_LIMIT(nonsense_among_clients_and_servers_neither_crashes_nor_hangs_anybody, 120) {
    play("hostile-requests", stay_server, request_or_serve);
}

TEST_LIMIT(nonsense_on_a_blackboard_neither_crashes_nor_hangs_anybody, 120) {
    play("hostile-board", stay_reader, write_or_read);
}
