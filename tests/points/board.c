/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * All operations of a blackboard. Each value has a number, by which it can be seen to be whole and in its place:
 * numbers rise with versions, and of a key that the actor writes the last one is what it set, or was setting. See
 * scene.h.
 */
#include "scene.h"

enum {
    VALUE_BYTES_MAX = 200000,
    PATTERN_BYTES_MAX = 4096, /* larger values have it at their beginning only: each store of the actor is a point */
    HELD = 8,
};
enum key { WITNESS, ACTORS, DEADS, NEW, KEYS }; /* who sets it */
static const char *const names[KEYS] = {"witness", "actors", "deads", "new"};

struct ledger {
    _Atomic uint64_t begun, set; /* numbers of the actor's values */
    _Atomic uint64_t shown;      /* the survivors' number */
};

static struct ledger *ledger(void) {
    static struct ledger another;
    return scene_is_another ? &another : scene_ledger;
}

/*
 * ---- values -------------------------------------------------------------------------------------------------------
 */

struct head {
    uint64_t number, bytes;
};

static void make_value(void *data, size_t bytes, uint64_t number) {
    struct head head = {number, bytes};
    size_t rest = (bytes < PATTERN_BYTES_MAX ? bytes : sizeof head + 64) - sizeof head;
    memcpy(data, &head, sizeof head);
    fill_pattern((char *)data + sizeof head, rest, number);
}

static uint64_t number_of(const void *data, size_t bytes) {
    struct head head;
    CHECK_INT(bytes, >=, sizeof head);
    memcpy(&head, data, sizeof head);
    CHECK_INT(head.bytes, ==, bytes);
    size_t rest = (bytes < PATTERN_BYTES_MAX ? bytes : sizeof head + 64) - sizeof head;
    CHECK(check_pattern((const char *)data + sizeof head, rest, head.number));
    return head.number;
}

static int set_value(tarn_writer *writer, int key, size_t bytes, uint64_t number) {
    static char buffer[PATTERN_BYTES_MAX];
    tarn_loan loan;
    if (bytes < PATTERN_BYTES_MAX) {
        make_value(buffer, bytes, number);
        return tarn_writer_set(writer, key, buffer, bytes);
    }
    int status = tarn_writer_loan(writer, key, bytes, &loan);
    if (status != 1)
        return status;
    make_value(loan.data, bytes, number);
    return tarn_loan_send(&loan);
}

/* What a reader knows of a key. */
struct known {
    int key;
    uint64_t version, number;
};

static void note_value(struct known *known, uint64_t version, uint64_t number) {
    CHECK_INT(version, >=, known->version);
    if (version == known->version)
        CHECK_INT(number, ==, known->number);
    else
        CHECK_INT(number, >, known->number);
    known->version = version;
    known->number = number;
}

/* 1, or 0: there is no value; or an error. */
static int get(tarn_reader *reader, struct known *known) {
    static char buffer[VALUE_BYTES_MAX];
    tarn_value value;
    int status = tarn_reader_get(reader, known->key, buffer, sizeof buffer, &value);
    if (status == 1)
        note_value(known, value.version, number_of(buffer, value.bytes));
    return status;
}

static int look_up(tarn_reader *reader, struct known *known, enum key key) {
    int number = tarn_reader_key(reader, names[key]);
    if (number >= 0)
        known->key = number;
    return number;
}

/*
 * ---- what the actor does ------------------------------------------------------------------------------------------
 */

struct actor {
    tarn_writer *writer;
    tarn_reader *reader;
    tarn_keeper *keeper;
    int key;
    tarn_loan loan;
    struct known known[KEYS];
    tarn_message held[HELD];
    unsigned held_count;
};

static int open_writer(struct actor *actor) {
    return tarn_writer_open(&actor->writer, TOPIC, NULL);
}

static int open_reader(struct actor *actor) {
    tarn_reader_options options = {.struct_bytes = sizeof options, .wait_strategy = TARN_WAIT_SLEEP};
    return tarn_reader_open(&actor->reader, TOPIC, &options);
}

static int take_over(struct actor *actor, enum key key) {
    int number = tarn_writer_key(actor->writer, names[key]);
    if (number >= 0)
        actor->key = number;
    return number;
}

static int take_key(struct actor *actor) {
    return take_over(actor, ACTORS);
}

static int make_key(struct actor *actor) {
    return take_over(actor, NEW);
}

static int end_setting(int status) {
    if (status == 1)
        ledger()->set = ledger()->begun;
    return status;
}

static uint64_t begin_setting(void) {
    uint64_t number = ledger()->set + 1;
    ledger()->begun = number;
    return number;
}

static int set_bytes(struct actor *actor, size_t bytes) {
    return end_setting(set_value(actor->writer, actor->key, bytes, begin_setting()));
}

static int set_small(struct actor *actor) {
    return set_bytes(actor, 40);
}

static int set_large(struct actor *actor) {
    return set_bytes(actor, VALUE_BYTES_MAX);
}

/* So much that memory is added, and extents are used again. */
static int set_several(struct actor *actor) {
    int status = 1;
    for (size_t i = 0; i < 8 && status == 1; i++)
        status = set_bytes(actor, i % 2 ? VALUE_BYTES_MAX - 10000 * i : 100);
    return status;
}

static int lend(struct actor *actor) {
    int status = tarn_writer_loan(actor->writer, actor->key, 300, &actor->loan);
    if (status == 1)
        make_value(actor->loan.data, 300, begin_setting());
    return status;
}

static int lend_and_drop(struct actor *actor) {
    int status = lend(actor);
    return status < 0 ? status : tarn_loan_drop(&actor->loan);
}

static int send_loan(struct actor *actor) {
    return end_setting(tarn_loan_send(&actor->loan));
}

static int release_key(struct actor *actor) {
    return tarn_writer_release_key(actor->writer, actor->key);
}

static int count_readers(struct actor *actor) {
    return tarn_writer_readers(actor->writer, NULL);
}

static int close_writer(struct actor *actor) {
    int status = tarn_writer_close(actor->writer);
    actor->writer = NULL;
    return status;
}

static void prepare_writer(struct actor *actor) {
    CHECK_STATUS(open_writer(actor), 0);
}

static void prepare_key(struct actor *actor) {
    prepare_writer(actor);
    CHECK_INT(take_key(actor), >=, 0);
}

static void prepare_set(struct actor *actor) {
    prepare_key(actor);
    CHECK_STATUS(set_small(actor), 1);
}

/* Of another key: whoever reads it has the memory of all that it sets. */
static void prepare_known(struct actor *actor) {
    prepare_writer(actor);
    CHECK_INT(make_key(actor), >=, 0);
    CHECK_STATUS(set_value(actor->writer, actor->key, 40, 1), 1);
}

static void prepare_loan(struct actor *actor) {
    prepare_set(actor);
    CHECK_STATUS(lend(actor), 1);
}

static void prepare_reader(struct actor *actor) {
    CHECK_STATUS(open_reader(actor), 0);
}

static int look_up_witness(struct actor *actor) {
    return look_up(actor->reader, &actor->known[WITNESS], WITNESS);
}

static int look_up_new(struct actor *actor) {
    return look_up(actor->reader, &actor->known[NEW], NEW);
}

static int get_witness(struct actor *actor) {
    return get(actor->reader, &actor->known[WITNESS]);
}

static int take_witness(struct actor *actor) {
    tarn_message *message = &actor->held[actor->held_count];
    int status = tarn_reader_take(actor->reader, actor->known[WITNESS].key, message);
    if (status != 1)
        return status;
    actor->held_count++;
    note_value(&actor->known[WITNESS], message->sequence, number_of(message->data, message->bytes));
    return 1;
}

static int let_go(struct actor *actor) {
    int status = 0;
    while (actor->held_count && status == 0) {
        tarn_message *message = &actor->held[actor->held_count - 1];
        number_of(message->data, message->bytes);
        status = tarn_message_release(message);
        actor->held_count -= status == 0;
    }
    return status;
}

static void prepare_looked_up(struct actor *actor) {
    prepare_reader(actor);
    CHECK_INT(look_up_witness(actor), >=, 0);
}

static void prepare_read(struct actor *actor) {
    prepare_looked_up(actor);
    CHECK_STATUS(get_witness(actor), 1);
}

static void prepare_held(struct actor *actor) {
    prepare_looked_up(actor);
    CHECK_STATUS(take_witness(actor), 1);
    CHECK_STATUS(take_witness(actor), 1);
}

static void prepare_held_after_close(struct actor *actor) {
    prepare_held(actor);
    CHECK_STATUS(tarn_reader_close(actor->reader), 0);
    actor->reader = NULL;
}

static void prepare_descriptor(struct actor *actor) {
    prepare_read(actor);
    CHECK_INT(tarn_reader_fd(actor->reader), >=, 0);
}

static int open_descriptor(struct actor *actor) {
    return tarn_reader_fd(actor->reader);
}

static int ask_for_changes(struct actor *actor) {
    int key;
    return tarn_reader_changed(actor->reader, &key);
}

static int wait_for_change(struct actor *actor) {
    return tarn_reader_wait(actor->reader, MS);
}

static int wait_for_key(struct actor *actor) {
    return tarn_reader_wait_key(actor->reader, actor->known[WITNESS].key, actor->known[WITNESS].version, MS);
}

/* Long enough for a look at the peers, which are repaired if they are dead. */
static int wait_and_look(struct actor *actor) {
    return tarn_reader_wait(actor->reader, 120 * MS);
}

/* Its bell may say yet that somebody sleeps. */
static void prepare_reader_that_slept(struct actor *actor) {
    prepare_read(actor);
    CHECK_INT(wait_for_change(actor), >=, 0);
}

static int interrupt(struct actor *actor) {
    int status = tarn_reader_interrupt(actor->reader);
    if (status < 0)
        return status;
    status = tarn_reader_wait(actor->reader, 0);
    return status == TARN_ERROR_INTERRUPTED ? 0 : status;
}

static int close_reader(struct actor *actor) {
    int status = tarn_reader_close(actor->reader);
    actor->reader = NULL;
    return status;
}

static int open_keeper(struct actor *actor) {
    return tarn_keeper_open(&actor->keeper, TOPIC, NULL);
}

/* It has values that are kept, one's own too. */
static void prepare_keeping(struct actor *actor) {
    prepare_set(actor);
    CHECK_STATUS(open_keeper(actor), 0);
}

/* Attaches what came since, in a look. */
static int keep_more(struct actor *actor) {
    return tarn_keeper_wait(actor->keeper, 120 * MS);
}

static int close_keeper(struct actor *actor) {
    int status = tarn_keeper_close(actor->keeper);
    actor->keeper = NULL;
    return status;
}

static int take_key_and_set(struct actor *actor) {
    int status = take_key(actor);
    return status < 0 ? status : set_small(actor);
}

static int take_over_from_dead(struct actor *actor) {
    int status = take_over(actor, DEADS);
    return status < 0 ? status : set_value(actor->writer, actor->key, 40, scene_is_another ? 100 : 101);
}

static void leave(struct actor *actor) {
    CHECK_STATUS(let_go(actor), 0);
    if (actor->writer) {
        CHECK_INT(take_key(actor), >=, 0);
        uint64_t number = ledger()->shown + ledger()->begun + 1000;
        CHECK_STATUS(set_value(actor->writer, actor->key, 64, number), 1);
        ledger()->begun = ledger()->set = number;
    }
    if (actor->reader) {
        CHECK_INT(look_up_witness(actor), >=, 0);
        CHECK_STATUS(get_witness(actor), 1);
        CHECK_INT(actor->known[WITNESS].number, >=, ledger()->shown - 1);
    }
    CHECK_INT(tarn_writer_close(actor->writer), >=, 0);
    CHECK_STATUS(tarn_reader_close(actor->reader), 0);
    CHECK_STATUS(tarn_keeper_close(actor->keeper), 0);
}

/*
 * ---- the survivors ------------------------------------------------------------------------------------------------
 */

struct survivors {
    tarn_writer *writer;
    tarn_reader *reader;
    int key;
    struct known known[KEYS];
    uint64_t number, news; /* set by the writer; by newcomers */
    pid_t sleeper;         /* a process that waits for the actor's next value; 0: none */
};
static struct survivors others;

static void clear(void) {
    others = (struct survivors){0};
}

static void set_next(struct survivors *survivors, size_t bytes) {
    uint64_t version = survivors->known[WITNESS].version;
    CHECK_STATUS(set_value(survivors->writer, survivors->key, bytes, ++survivors->number), 1);
    CHECK_STATUS(get(survivors->reader, &survivors->known[WITNESS]), 1);
    CHECK_INT(survivors->known[WITNESS].number, ==, survivors->number);
    CHECK_INT(survivors->known[WITNESS].version, ==, version + 1);
    ledger()->shown = survivors->number;
}

static bool open_survivors(struct scene *scene, bool actor_lives) {
    int status = tarn_writer_open(&others.writer, TOPIC, NULL);
    if (is_locked_out(status, scene, actor_lives))
        return false;
    CHECK_STATUS(status, 0);
    CHECK_STATUS(tarn_reader_open(&others.reader, TOPIC, NULL), 0);
    others.key = tarn_writer_key(others.writer, names[WITNESS]);
    CHECK_INT(others.key, >=, 0);
    for (int i = 0; i < KEYS; i++)
        if (i != NEW || scene->operation->alone)
            CHECK_INT(look_up(others.reader, &others.known[i], i), >=, 0);
    set_next(&others, 40);
    set_next(&others, 3000);
    return true;
}

/* Attaches the memory of what the actor has set: else that would go with it. */
static void look(struct survivors *survivors) {
    get(survivors->reader, &survivors->known[ACTORS]);
}

static void await_value(void *arg) {
    tarn_reader_options options = {.struct_bytes = sizeof options, .wait_strategy = TARN_WAIT_SLEEP};
    tarn_reader *reader;
    struct known known = {0};
    CHECK_STATUS(tarn_reader_open(&reader, TOPIC, &options), 0);
    CHECK_INT(look_up(reader, &known, ACTORS), >=, 0);
    CHECK_STATUS(get(reader, &known), 1);
    *(_Atomic bool *)arg = true;
    CHECK_STATUS(tarn_reader_wait_key(reader, known.key, known.version, GENEROUS), 1);
    CHECK_STATUS(get(reader, &known), 1);
    CHECK_STATUS(tarn_reader_close(reader), 0);
}

static void begin_sleeper(struct survivors *survivors) {
    static _Atomic bool *is_ready;
    if (!is_ready)
        is_ready = shared_page(sizeof *is_ready);
    *is_ready = false;
    survivors->sleeper = spawn(await_value, (void *)is_ready);
    AWAIT(*is_ready);
    nap_ns(2 * MS); /* it is asleep by then, most probably */
}

/* Of the actor's key, which is free then: from now on there is a value all the time, this one or the next. */
static void set_before(struct survivors *survivors) {
    CHECK_INT(look_up(survivors->reader, &survivors->known[NEW], NEW), >=, 0);
    CHECK_STATUS(get(survivors->reader, &survivors->known[NEW]), 1);
    int key = tarn_writer_key(survivors->writer, names[ACTORS]);
    CHECK_INT(key, >=, 0);
    for (uint64_t number = 1; number <= 2; number++) {
        CHECK_STATUS(set_value(survivors->writer, key, 40, number), 1);
        CHECK_STATUS(get(survivors->reader, &survivors->known[ACTORS]), 1);
    }
    CHECK_STATUS(tarn_writer_release_key(survivors->writer, key), 0);
    ledger()->begun = ledger()->set = 2;
}

static void set_another(struct survivors *survivors) {
    set_next(survivors, 5000);
}

static void set_in_new_memory(struct survivors *survivors) {
    set_next(survivors, VALUE_BYTES_MAX);
}

/* It has a key, with a value that was read and one that was not, and a value held. */
static void be_there(void *is_ready) {
    struct actor dead = {0};
    struct known known = {0};
    tarn_message message;
    CHECK_STATUS(open_writer(&dead), 0);
    CHECK_STATUS(open_reader(&dead), 0);
    CHECK_INT(take_over(&dead, DEADS), >=, 0);
    CHECK_STATUS(set_value(dead.writer, dead.key, 1000, 1), 1);
    CHECK_INT(look_up(dead.reader, &known, DEADS), >=, 0);
    CHECK_INT(tarn_reader_fd(dead.reader), >=, 0);
    CHECK_STATUS(tarn_reader_take(dead.reader, known.key, &message), 1);
    CHECK_STATUS(set_value(dead.writer, dead.key, VALUE_BYTES_MAX, 2), 1);
    *(_Atomic bool *)is_ready = true;
    sleep_until_killed();
}

static void somebody_dies(struct survivors *survivors) {
    (void)survivors;
    somebody_dies_as(be_there);
}

/* Nobody but the actor, while it lives, can stand in the way. */
static int take_as_newcomer(struct scene *scene, tarn_writer *writer, enum key key, bool actor_lives) {
    int number = tarn_writer_key(writer, names[key]);
    if (number == TARN_ERROR_TAKEN && actor_lives && is_named(scene))
        return number;
    CHECK_INT(number, >=, 0);
    return number;
}

/* Somebody joins, reads what all read, takes the keys that are free, sets one of his own, and leaves. */
static void check_newcomer(struct scene *scene, bool actor_lives) {
    tarn_writer *writer;
    tarn_reader *reader;
    struct known known[KEYS] = {{0}};
    CHECK_STATUS(tarn_reader_open(&reader, TOPIC, NULL), 0);
    CHECK_STATUS(tarn_writer_open(&writer, TOPIC, NULL), 0);
    for (int i = 0; i < KEYS; i++) {
        CHECK_INT(look_up(reader, &known[i], i), >=, 0);
        if (i == NEW)
            CHECK_INT(look_up(others.reader, &others.known[i], i), >=, 0);
        int status = get(reader, &known[i]);
        CHECK_STATUS(get(others.reader, &others.known[i]), status);
        if (status == 1)
            CHECK_INT(others.known[i].version, ==, known[i].version);
        take_as_newcomer(scene, writer, i == WITNESS ? ACTORS : i, actor_lives);
    }
    int key = take_as_newcomer(scene, writer, NEW, actor_lives);
    if (key >= 0) {
        CHECK_STATUS(set_value(writer, key, 100, 1000 + ++others.news), 1);
        CHECK_STATUS(get(others.reader, &others.known[NEW]), 1);
        CHECK_INT(others.known[NEW].number, ==, 1000 + others.news);
        CHECK_INT(others.known[NEW].version, >, known[NEW].version);
    }
    CHECK_INT(tarn_writer_key(others.writer, names[WITNESS]), ==, others.key);
    CHECK_STATUS(tarn_writer_key(writer, names[WITNESS]), TARN_ERROR_TAKEN);
    CHECK_STATUS(tarn_writer_close(writer), key >= 0);
    CHECK_STATUS(tarn_reader_close(reader), 0);
}

static void check(struct scene *scene, bool actor_lives) {
    struct known *actors = &others.known[ACTORS];
    if (get(others.reader, actors) == 1) { /* if it goes on, it may have set more than it has noted */
        CHECK_INT(actors->number, >=, scene->operation->lets_lose ? 0 : ledger()->set);
        CHECK_INT(actors->number, <=, ledger()->begun);
    } else
        CHECK(!scene->operation->has_value); /* it had set a value that was read before */
    for (int i = 0; i < 6; i++)
        set_next(&others, i % 3 ? 50 : VALUE_BYTES_MAX - 1000 * (size_t)i);
    check_newcomer(scene, actor_lives);
}

static void go_on(struct survivors *survivors) {
    set_next(survivors, 64);
}

/*
 * Who takes all keys over goes on behind what was set, or was being set. Then no value of anybody else is left, and no
 * place that somebody had.
 */
static void check_gone(struct scene *scene) {
    (void)scene;
    check_swept(-1);
    for (int i = ACTORS; i < KEYS; i++) {
        struct known *known = &others.known[i];
        uint64_t number = ledger()->begun + others.news + 5000, version = known->version;
        int key = tarn_writer_key(others.writer, names[i]);
        CHECK_INT(key, >=, 0);
        CHECK_STATUS(set_value(others.writer, key, 100, number), 1);
        CHECK_STATUS(get(others.reader, known), 1);
        CHECK_INT(known->number, ==, number);
        CHECK_INT(known->version, >, version);
    }
    if (others.sleeper)
        CHECK_INT(wait_child(others.sleeper, LIMIT_S), ==, 0);
    check_swept(2);
}

static void close_survivors(struct scene *scene) {
    (void)scene;
    CHECK_STATUS(tarn_writer_close(others.writer), 1);
    CHECK_STATUS(tarn_reader_close(others.reader), 0);
}

/*
 * ---- the table ----------------------------------------------------------------------------------------------------
 */

static const struct operation operations[] = {
    {.name = "create_as_writer", .operate = open_writer, .alone = true},
    {.name = "create_as_reader", .operate = open_reader, .alone = true},
    {.name = "open_writer", .operate = open_writer},
    {.name = "open_reader", .operate = open_reader},
    {.name = "make_key", .prepare = prepare_writer, .operate = make_key},
    {.name = "take_key", .prepare = prepare_writer, .operate = take_key},
    {.name = "set_first", .prepare = prepare_key, .operate = set_small, .lets_lose = true},
    {.name = "set", .prepare = prepare_set, .operate = set_small, .has_value = true},
    {.name = "set_and_wake", .prepare = prepare_set, .before = begin_sleeper, .operate = set_small, .has_value = true},
    {.name = "take_key_and_set",
     .prepare = prepare_known,
     .before = set_before,
     .operate = take_key_and_set,
     .has_value = true},
    {.name = "set_large", .prepare = prepare_set, .operate = set_large, .lets_lose = true},
    {.name = "set_several", .prepare = prepare_set, .operate = set_several, .lets_lose = true},
    {.name = "lend_and_drop", .prepare = prepare_set, .operate = lend_and_drop, .has_value = true},
    {.name = "send_loan", .prepare = prepare_loan, .operate = send_loan, .has_value = true},
    {.name = "release_key", .prepare = prepare_set, .operate = release_key, .has_value = true},
    {.name = "count_readers", .prepare = prepare_set, .operate = count_readers, .has_value = true},
    {.name = "close_writer", .prepare = prepare_set, .operate = close_writer, .has_value = true},
    {.name = "close_writer_unread", .prepare = prepare_key, .operate = close_writer},
    {.name = "look_up", .prepare = prepare_reader, .operate = look_up_witness},
    {.name = "look_up_new", .prepare = prepare_reader, .operate = look_up_new},
    {.name = "get", .prepare = prepare_read, .before = set_in_new_memory, .operate = get_witness},
    {.name = "take", .prepare = prepare_read, .before = set_another, .operate = take_witness},
    {.name = "take_from_new_memory", .prepare = prepare_read, .before = set_in_new_memory, .operate = take_witness},
    {.name = "release_after_close", .prepare = prepare_held_after_close, .operate = let_go},
    {.name = "descriptor_open", .prepare = prepare_read, .operate = open_descriptor},
    {.name = "changed", .prepare = prepare_descriptor, .operate = ask_for_changes},
    {.name = "wait", .prepare = prepare_read, .operate = wait_for_change},
    {.name = "wait_key", .prepare = prepare_read, .operate = wait_for_key},
    {.name = "interrupt", .prepare = prepare_reader_that_slept, .operate = interrupt},
    {.name = "close_reader", .prepare = prepare_descriptor, .operate = close_reader},
    {.name = "close_holding", .prepare = prepare_held, .operate = close_reader},
    {.name = "close_last", .prepare = prepare_set, .operate = close_writer, .alone = true, .lets_lose = true},
    {.name = "open_keeper", .operate = open_keeper},
    {.name = "keep_more",
     .prepare = prepare_keeping,
     .before = set_in_new_memory,
     .operate = keep_more,
     .has_value = true},
    {.name = "close_keeper", .prepare = prepare_keeping, .operate = close_keeper, .has_value = true},
    {.name = "repair_by_keeper", .before = somebody_dies, .operate = open_keeper, .repairs = true},
    {.name = "repair_by_writer", .before = somebody_dies, .operate = open_writer, .repairs = true},
    {.name = "repair_by_reader", .before = somebody_dies, .operate = open_reader, .repairs = true},
    {.name = "repair_by_key",
     .prepare = prepare_writer,
     .before = somebody_dies,
     .operate = take_over_from_dead,
     .repairs = true},
    {.name = "repair_by_waiting",
     .prepare = prepare_reader,
     .before = somebody_dies,
     .operate = wait_and_look,
     .repairs = true},
    {.name = "repair_by_sweeping", .before = somebody_dies, .operate = sweep, .repairs = true},
    {.name = "create_after_death", .before = somebody_dies, .operate = open_writer, .alone = true, .repairs = true},
    {.name = "sweep_after_death", .before = somebody_dies, .operate = sweep, .alone = true, .repairs = true},
};

static struct actor actor;

const struct pattern pattern = {
    .operations = operations,
    .count = sizeof operations / sizeof operations[0],
    .actor = &actor,
    .survivors = &others,
    .clear = clear,
    .open = open_survivors,
    .look = look,
    .check = check,
    .go_on = go_on,
    .gone = check_gone,
    .close = close_survivors,
    .leave = leave,
};
