/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* A publisher. What it is about to do it writes into the ledger before, and what it has done behind. */
#include "soak.h"

enum { NS_PER_BYTE = 15 }; /* or a few publishers of large messages would keep all processors busy copying */

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static struct entry *make_entry(const struct publisher_plan *plan, struct random *random, uint32_t life) {
    uint32_t number = stage->entry_count++;
    CHECK_INT(number, <, ENTRIES);
    struct entry *entry = &stage->entries[number];
    uint32_t type_alignment = plan->options.type ? plan->options.type->alignment : 0;
    entry->seed = random_next(random);
    entry->topic = plan->topic;
    entry->life = life;
    entry->alignment = plan->options.alignment ? plan->options.alignment : type_alignment ? type_alignment : 8;
    entry->timestamps = plan->options.timestamps;
    entry->drops = plan->options.when_full == TARN_FULL_DROP;
    entry->late = plan->late > 0;
    entry->realtime = plan->options.realtime;
    entry->sizes = plan->sizes;
    entry->opening_ns = now_ns();
    return entry;
}

/* A process may be stopped in the few instructions that make or delete a topic, for longer than others wait. */
bool is_refused(int status, uint32_t topic, const tarn_type *type) {
    if (type == &wrong_type && status == 0)
        FAIL("topic %s let in who has another type", topic_plans[topic].name);
    return status == TARN_ERROR_BUSY || (type == &wrong_type && status == TARN_ERROR_TYPE) ||
           (topic_plans[topic].refusable && status == TARN_ERROR_REFUSED);
}

bool sender_open(struct sender *sender, const struct publisher_plan *plan, struct random *random, uint32_t life) {
    *sender = (struct sender){.plan = *plan, .random = random, .number = 1};
    sender->entry = make_entry(plan, random, life);
    int status = tarn_publisher_open(&sender->publisher, topic_plans[plan->topic].name, &plan->options);
    if (is_refused(status, plan->topic, plan->options.type)) {
        stage->tally.refusals++;
        return false;
    }
    CHECK_STATUS(status, 0);
    sender->entry->identity = tarn_publisher_identity(sender->publisher);
    stage->tally.publishers++;
    return true;
}

/* ---- sending ---------------------------------------------------------------------------------------------------- */

static void fill(const struct sender *sender, void *payload, size_t bytes) {
    char *to = payload;
    uint64_t seed = pattern_seed(sender->entry, sender->number, sender->dropped);
    if (sender->entry->drops) {
        memcpy(to, &sender->dropped, sizeof sender->dropped);
        to += sizeof sender->dropped;
        bytes -= sizeof sender->dropped;
    }
    fill_pattern(to, bytes, seed);
}

static int64_t begin(struct sender *sender) {
    sender->entry->begun = sender->number;
    return now_ns();
}

/* What a send or a loan returned: 1, 0 (only who drops), or full, which ends the burst. */
static void note_sent(struct sender *sender, int result, int64_t begun_ns) {
    sender->full = result < 0;
    if (result == 1) {
        sender->bytes += bytes_of(sender->entry, sender->number);
        sender->entry->sent_begun_ns = begun_ns;
        sender->entry->sent = sender->number++;
        stage->tally.sent++;
    } else if (result == 0 && sender->entry->drops) {
        sender->dropped++;
        sender->number++;
        stage->tally.dropped++;
    } else {
        CHECK_STATUS(result, TARN_ERROR_FULL);
        stage->tally.full++;
    }
}

static void send_copy(struct sender *sender) {
    static char *buffer;
    size_t bytes = bytes_of(sender->entry, sender->number);
    if (!buffer)
        buffer = malloc(BYTES_MAX);
    CHECK(buffer);
    fill(sender, buffer, bytes);
    int64_t begun_ns = begin(sender);
    note_sent(sender, tarn_publisher_publish(sender->publisher, buffer, bytes), begun_ns);
}

/* Now and then more is borrowed than is sent. */
static void send_loan(struct sender *sender) {
    tarn_loan loan;
    size_t bytes = bytes_of(sender->entry, sender->number);
    size_t more = random_one_in(sender->random, 4) ? random_between(sender->random, 0, bytes / 2) : 0;
    if (bytes + more > sender->plan.options.memory_limit_bytes)
        more = 0;
    int64_t begun_ns = begin(sender);
    int result = tarn_publisher_loan(sender->publisher, bytes + more, &loan);
    if (result != 1) {
        note_sent(sender, result, begun_ns);
        return;
    }
    if (random_one_in(sender->random, 10)) {
        CHECK_STATUS(tarn_loan_drop(&loan), 0);
        return;
    }
    fill(sender, loan.data, bytes);
    loan.bytes = bytes;
    note_sent(sender, tarn_loan_send(&loan), begun_ns);
}

/* ---- loans that are sent late ----------------------------------------------------------------------------------- */

static void lend(struct sender *sender) {
    size_t bytes = sender->plan.sizes.most < 200000 ? sender->plan.sizes.most : 200000;
    int64_t begun_ns = begin(sender);
    int result = tarn_publisher_loan(sender->publisher, bytes, &sender->loans[sender->loan_count]);
    if (result == 1)
        sender->loan_count++;
    else
        note_sent(sender, result, begun_ns);
}

/* Its number, and so its bytes, are known only now. It stays where there is no space for it. */
static void send_late(struct sender *sender) {
    unsigned i = (unsigned)random_between(sender->random, 0, sender->loan_count - 1);
    tarn_loan *loan = &sender->loans[i];
    size_t bytes = bytes_of(sender->entry, sender->number), lent = loan->bytes;
    bool sent = bytes <= lent && !random_one_in(sender->random, 10);
    if (sent) {
        int64_t begun_ns = begin(sender);
        fill(sender, loan->data, bytes);
        loan->bytes = bytes;
        int result = tarn_loan_send(loan);
        if (result != 1)
            CHECK_STATUS(result, TARN_ERROR_FULL);
        note_sent(sender, result, begun_ns);
        if (result != 1) {
            loan->bytes = lent;
            return;
        }
    } else
        CHECK_STATUS(tarn_loan_drop(loan), 0);
    sender->loans[i] = sender->loans[--sender->loan_count];
}

static void send_one(struct sender *sender) {
    if (sender->loan_count < sender->plan.late && random_one_in(sender->random, 8))
        lend(sender);
    else if (sender->loan_count && random_one_in(sender->random, 8))
        send_late(sender);
    else if (random_one_in(sender->random, 2))
        send_copy(sender);
    else
        send_loan(sender);
}

/* ---- a life ----------------------------------------------------------------------------------------------------- */

static void flush(struct sender *sender) {
    struct entry *entry = sender->entry;
    int result = tarn_publisher_flush(sender->publisher, 20 * MS);
    CHECK_INT(result, >=, 0);
    if (result == 1) {
        entry->flushed = entry->sent;
        entry->flushed_ns = entry->sent_begun_ns;
    }
}

void sender_step(struct sender *sender) {
    sender->full = false;
    sender->bytes = 0;
    for (uint64_t i = random_between(sender->random, 1, sender->plan.burst); i > 0 && !sender->full; i--)
        send_one(sender);
    if (random_one_in(sender->random, 100))
        flush(sender);
    if (random_one_in(sender->random, 100))
        CHECK_INT(tarn_publisher_subscribers(sender->publisher), >=, 0);
    nap_ns((int64_t)(random_between(sender->random, 0, (uint64_t)sender->plan.nap_ns) + sender->bytes * NS_PER_BYTE));
}

void sender_close(struct sender *sender) {
    sender->entry->leaving = true;
    if (sender->plan.leaves_open)
        return;
    int behind = tarn_publisher_close(sender->publisher);
    CHECK_INT(behind, >=, 0);
    sender->entry->complete = behind == 0;
    sender->entry->closed = true;
}
