/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Clients: whom a request goes to, which requests are pending, what becomes of those whose server is gone.
 *
 * Pending requests are in a table by number, with chains; those of one server are in a list, oldest first, so that a
 * death costs what it fails. One that was lent, and not sent yet, is in no list: it does not fail before it was sent.
 * Nor is a call's in the table while its answer may be the next thing that comes: see tarn_client_call().
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/status.h"
#include "core/handle.h"
#include "core/service.h"
#include "core/waitables.h"

#define DEFAULT_MAX_PENDING 64u
#define DEFAULT_MAX_HELD 64u
#define MAX_HELD_MAX 65536u
#define DEFAULT_SERVER_TIMEOUT_NS NS_PER_SECOND

struct pending {
    uint64_t number;
    struct peer *peer;
    uint32_t next;         /* in its bucket, or of the free ones; KEPT_NONE ends it */
    uint32_t newer, older; /* of the same server */
    bool sent;
};

struct tarn_client {
    struct handle handle;
    struct service service;
    uint64_t numbers; /* of the last request */
    uint32_t pending_count, max_pending;
    uint32_t bucket_mask, free_pending;
    uint32_t *buckets;
    struct pending *pending;
    uint32_t turn;    /* whose it is among servers with as much to do */
    bool failing;     /* some request's server is gone */
    int64_t asked_ns; /* when we last asked for servers of pending requests */
    int64_t server_timeout_ns;
};

static struct closed_handles closed_clients;

/* ---- pending requests ----------------------------------------------------------------------------------------- */

static inline struct pending *find_pending(const struct tarn_client *client, uint64_t number) {
    uint32_t index = client->buckets[number & client->bucket_mask];
    while (index != KEPT_NONE && client->pending[index].number != number)
        index = client->pending[index].next;
    return index == KEPT_NONE ? NULL : &client->pending[index];
}

/* There is a free one. It is in the list of its server's, unless it is only lent yet. */
SHORT_HALF struct pending *add_pending(struct tarn_client *client, struct peer *peer, uint64_t number) {
    uint32_t index = client->free_pending;
    struct pending *pending = &client->pending[index];
    uint32_t *bucket = &client->buckets[number & client->bucket_mask];
    client->free_pending = pending->next;
    pending->number = number;
    pending->peer = peer;
    pending->next = *bucket;
    pending->sent = false;
    *bucket = index;
    client->pending_count++;
    peer->open++;
    return pending;
}

SHORT_HALF void note_sent(struct tarn_client *client, struct pending *pending) {
    uint32_t index = (uint32_t)(pending - client->pending);
    struct peer *peer = pending->peer;
    pending->sent = true;
    pending->newer = KEPT_NONE;
    pending->older = peer->newest;
    if (likely(peer->newest == KEPT_NONE))
        peer->oldest = index;
    else
        client->pending[peer->newest].newer = index;
    peer->newest = index;
}

SHORT_HALF void unlist(struct tarn_client *client, struct pending *pending) {
    struct peer *peer = pending->peer;
    if (likely(peer->oldest == peer->newest)) {
        peer->oldest = peer->newest = KEPT_NONE;
        return;
    }
    *(pending->older == KEPT_NONE ? &peer->oldest : &client->pending[pending->older].newer) = pending->newer;
    *(pending->newer == KEPT_NONE ? &peer->newest : &client->pending[pending->newer].older) = pending->older;
}

SHORT_HALF void end_pending(struct tarn_client *client, struct pending *pending) {
    uint32_t index = (uint32_t)(pending - client->pending);
    uint32_t *link = &client->buckets[pending->number & client->bucket_mask];
    while (unlikely(*link != index))
        link = &client->pending[*link].next;
    *link = pending->next;
    if (likely(pending->sent))
        unlist(client, pending);
    pending->next = client->free_pending;
    client->free_pending = index;
    client->pending_count--;
    pending->peer->open--;
}

static bool make_table(struct tarn_client *client, uint32_t max_pending) {
    uint32_t buckets = 1;
    while (buckets < max_pending)
        buckets *= 2;
    client->buckets = malloc(buckets * sizeof(*client->buckets));
    client->pending = malloc(max_pending * sizeof(*client->pending));
    if (!client->buckets || !client->pending)
        return false;
    for (uint32_t i = 0; i < buckets; i++)
        client->buckets[i] = KEPT_NONE;
    for (uint32_t i = 0; i < max_pending; i++)
        client->pending[i].next = i + 1 < max_pending ? i + 1 : KEPT_NONE;
    client->bucket_mask = buckets - 1;
    client->max_pending = max_pending;
    return true;
}

/* ---- servers -------------------------------------------------------------------------------------------------- */

/*
 * The word of the server in that slot; 0: there is none. The incarnation first (acquire, with the release that raised
 * it): so state and role are that life's, or a later one's, by which the word is over (A2). Behind them it might be
 * that of a successor which is no server, and has not written its role yet.
 */
static uint64_t server_in(struct roster *roster, uint32_t slot) {
    struct subscriber_slot *server = roster_subscriber(roster, slot);
    uint16_t incarnation = server ? incarnation_of(&server->incarnation) : 0;
    bool is_one = server && load_acquire(&server->state) == SLOT_LIVE && load_relaxed(&server->role) == ROLE_SERVER;
    return is_one ? peer_word(slot, incarnation) : 0;
}

/*
 * Finds those that are new, and which are gone. 0; or no memory for one: for the next look it is news again, as is one
 * that cannot be connected with yet.
 */
static int follow_servers(struct tarn_client *client) {
    struct service *service = &client->service;
    struct roster *roster = &service->topic->roster;
    int status = 0;
    bool all_connected = true;
    service_look_who_is_gone(service);
    for (uint32_t i = 0; i < service->peer_count; i++)
        client->failing |= service->peers[i]->gone && service->peers[i]->oldest != KEPT_NONE;
    service_drop_peers(service);
    for (uint32_t slot = 0, slots = roster_subscriber_slots(roster); slot < slots && !status; slot++) {
        uint64_t word = server_in(roster, slot);
        struct peer *peer = NULL;
        if (word)
            status = service_find_peer(service, word, &peer);
        all_connected &= !peer || peer->gone || peer->publisher;
    }
    if (status || !all_connected)
        service->changes--;
    return status;
}

static void follow(void *context) {
    follow_servers(context);
}

/*
 * What a server has to do, as far as is known here. Our own requests count twice: a server that is stuck, or stopped,
 * says that it has little to do; one that has just answered may say yet that it has not.
 */
static uint64_t work_of(const struct peer *peer) {
    return 2 * (uint64_t)peer->open + load_relaxed(&peer->slot->load);
}

/* NULL: there is none to which requests could be sent. */
static struct peer *idlest(struct tarn_client *client) {
    struct service *service = &client->service;
    struct peer *best = NULL;
    uint64_t least = UINT64_MAX;
    uint32_t count = service->peer_count, turn = client->turn < count ? client->turn : 0;
    for (uint32_t i = 0, at = turn; i < count; i++, at = at + 1 < count ? at + 1 : 0) {
        struct peer *peer = service->peers[at];
        uint64_t work = peer->gone || !peer->publisher ? UINT64_MAX : work_of(peer);
        if (work < least) {
            least = work;
            best = peer;
            client->turn = at + 1;
        }
    }
    return best;
}

static inline struct peer *choose(struct tarn_client *client) {
    struct service *service = &client->service;
    if (unlikely(service_has_changed(service)))
        follow_servers(client);
    struct peer *only = likely(service->peer_count == 1) ? service->peers[0] : NULL;
    return likely(only && !only->gone && only->publisher) ? only : idlest(client);
}

/* To those that could not be connected with before. 0, or why the last of those that cannot be cannot. */
static int connect_servers(struct tarn_client *client) {
    int status = 0;
    for (uint32_t i = 0; i < client->service.peer_count; i++)
        if (!client->service.peers[i]->gone)
            status = service_connect(&client->service, client->service.peers[i]) ?: status;
    return status;
}

/* 1, 0, or why one that is there cannot be sent anything. */
static int has_server(void *owner) {
    struct tarn_client *client = owner;
    if (choose(client))
        return 1;
    int status = service_has_changed(&client->service) ? follow_servers(client) : 0;
    status = connect_servers(client) ?: status;
    return choose(client) ? 1 : status;
}

LONG_HALF int wait_for_server(struct tarn_client *client, struct peer **ret) {
    int64_t deadline_ns = os_deadline_ns(client->server_timeout_ns);
    int found;
    do {
        found = waiter_wait(client->service.waiter, has_server, client, client->server_timeout_ns);
        if (found < 0)
            return found;
        *ret = choose(client);
        if (*ret)
            return 0; /* else it has gone again */
    } while (found && os_now_ns() < deadline_ns);
    return fail(TARN_ERROR_NO_PEER, "topic \"%s\" has no server: start one", client->service.topic->name);
}

/* ---- sending -------------------------------------------------------------------------------------------------- */

/* To whom the next request goes. 0, or a status. */
SHORT_HALF int begin(struct tarn_client *client, struct peer **ret) {
    if (unlikely(client->pending_count == client->max_pending))
        return fail(TARN_ERROR_PENDING,
                    "topic \"%s\": %" PRIu32
                    " requests are pending, as many as max_pending allows: receive responses, or abandon some",
                    client->service.topic->name, client->max_pending);
    *ret = choose(client);
    return likely(*ret != NULL) ? 0 : wait_for_server(client, ret);
}

SHORT_HALF uint64_t next_number(struct tarn_client *client) {
    return ++client->numbers & COUNT_MASK;
}

/* 1 or a status. It is under way then, and nobody else looks at what is noted of it: note_request() may come later. */
SHORT_HALF int send_request(struct tarn_client *client, const void *data, uint64_t bytes, struct peer **ret_peer,
                            uint64_t *ret_number) {
    int status = begin(client, ret_peer);
    if (unlikely(status != 0))
        return status;
    *ret_number = next_number(client);
    return service_send(&client->service, *ret_peer, SERVICE_REQUEST, *ret_number, data, bytes);
}

static inline struct pending *note_request(struct tarn_client *client, struct peer *peer, uint64_t number) {
    struct pending *pending = add_pending(client, peer, number);
    note_sent(client, pending);
    return pending;
}

static inline int check_data(const void *data, size_t bytes) {
    if (likely(data || !bytes))
        return 0;
    return fail(TARN_ERROR_ARGUMENT, "data is NULL, but bytes is %zu", bytes);
}

int tarn_client_send(tarn_client *client, const void *data, size_t bytes, uint64_t *ret_request) {
    int status = handle_check((const struct handle *)client, HANDLE_CLIENT);
    if (!status)
        status = check_data(data, bytes);
    if (status)
        return status;
    struct peer *peer;
    uint64_t number = 0;
    status = send_request(client, data, bytes, &peer, &number);
    if (status != 1)
        return status;
    note_request(client, peer, number);
    if (ret_request)
        *ret_request = number;
    return 1;
}

int tarn_client_loan(tarn_client *client, size_t bytes, tarn_loan *ret, uint64_t *ret_request) {
    int status = handle_check((const struct handle *)client, HANDLE_CLIENT);
    struct peer *peer;
    if (status)
        return status;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the loan is NULL");
    status = begin(client, &peer);
    if (!status)
        status = service_lend(&client->service, peer, client, bytes, ret);
    if (status != 1)
        return status;
    struct pending *pending = add_pending(client, peer, next_number(client));
    ((struct service_loan *)ret->place)->number = pending->number;
    if (ret_request)
        *ret_request = pending->number;
    return 1;
}

static int send_loan(tarn_loan *loan) {
    struct service_loan *open = service_find_loan(loan, HANDLE_CLIENT);
    if (!open)
        return service_explain_loan(loan, HANDLE_CLIENT);
    struct tarn_client *client = loan->loaned_by;
    struct pending *pending = find_pending(client, open->number); /* NULL: it was abandoned */
    if (!pending) {
        service_drop_loan(&client->service, loan, open);
        return 0;
    }
    int status = service_send_loan(&client->service, loan, open, SERVICE_REQUEST);
    if (status == 1) {
        note_sent(client, pending);
        client->failing |= pending->peer->gone;
    }
    return status;
}

static int drop_loan(tarn_loan *loan) {
    struct service_loan *open = service_find_loan(loan, HANDLE_CLIENT);
    if (!open)
        return service_explain_loan(loan, HANDLE_CLIENT);
    struct tarn_client *client = loan->loaned_by;
    struct pending *pending = find_pending(client, open->number);
    if (pending)
        end_pending(client, pending);
    return service_drop_loan(&client->service, loan, open);
}

static const struct loan_calls loan_calls = {send_loan, drop_loan};

static bool is_of_another(const void *request, const tarn_message *message) {
    return message->request != *(const uint64_t *)request;
}

/* 1: it is given up, or what had come of it; 0: there was neither. */
static int abandon(struct tarn_client *client, uint64_t request) {
    struct service *service = &client->service;
    struct pending *pending = find_pending(client, request);
    uint32_t kept = service->kept.count;
    if (pending) {
        struct peer *peer = pending->peer;
        if (pending->sent && !peer->gone) /* where it is full, the server answers in vain */
            publisher_publish_led_now(peer->publisher, service_word(SERVICE_ABANDON, request, service->lead_shift),
                                      NULL, 0);
        end_pending(client, pending);
    }
    service_sift_kept(service, is_of_another, &request);
    return pending || service->kept.count < kept;
}

int tarn_client_abandon(tarn_client *client, uint64_t request) {
    int status = handle_check((const struct handle *)client, HANDLE_CLIENT);
    return status ? status : abandon(client, request);
}

/* ---- responses ------------------------------------------------------------------------------------------------ */

/* Whether somebody waits for it. Then it is the user's; else it is released, and the struct cleared. */
LONG_HALF bool accept_kind(struct tarn_client *client, tarn_message *message, uint32_t kind) {
    struct pending *pending =
        kind >= SERVICE_RESPONSE && kind <= SERVICE_END ? find_pending(client, message->request) : NULL;
    if (unlikely(!pending || pending->peer->word != message_reader(message)->speaker)) {
        tarn_message_release(message);
        return false;
    }
    message->flags = kind == SERVICE_RESPONSE ? 0
                     : kind == SERVICE_LAST   ? TARN_MESSAGE_LAST
                                              : TARN_MESSAGE_LAST | TARN_MESSAGE_NO_DATA;
    pending->peer->heard = true;
    if (message->flags)
        end_pending(client, pending);
    return true;
}

static bool accept_response(struct tarn_client *client, tarn_message *message) {
    return accept_kind(client, message, service_read(message));
}

/* Asks the kernel for the servers of pending requests. */
static void ask_servers(struct tarn_client *client, int64_t now) {
    if (now - client->asked_ns < PATIENCE_NS)
        return;
    client->asked_ns = now;
    for (uint32_t i = 0; i < client->service.peer_count; i++) {
        struct peer *peer = client->service.peers[i];
        if (peer->oldest != KEPT_NONE)
            client->failing |= service_ask(&client->service, peer, now);
    }
}

/* A request of a server that is gone, and of which nothing more is to be read, is over. */
static int fail_pending(struct tarn_client *client, struct pending *pending) {
    const struct peer *peer = pending->peer;
    char what[80];
    snprintf(what, sizeof(what), ", and did not answer request %" PRIu64 " to its end: it may be sent again",
             pending->number);
    end_pending(client, pending);
    return service_say_gone(&client->service, peer, what);
}

static bool has_failed(struct tarn_client *client, const struct peer *peer) {
    return peer->gone && !subscriber_has_unread(client->service.inbox, peer->word);
}

/* The oldest such request, or NULL. */
static struct pending *find_failed(struct tarn_client *client) {
    bool failing = false;
    for (uint32_t i = 0; i < client->service.peer_count; i++) {
        struct peer *peer = client->service.peers[i];
        if (!peer->gone || peer->oldest == KEPT_NONE)
            continue;
        if (has_failed(client, peer))
            return &client->pending[peer->oldest];
        failing = true;
    }
    client->failing = failing;
    return NULL;
}

/* The descriptor does not tell of such requests by itself: a death is seen once. Returns whether there is one. */
static bool ring_if_failed(struct tarn_client *client) {
    if (!client->failing || !find_failed(client))
        return false;
    if (client->service.waiter->doorbell.open)
        doorbell_ring_self(&client->service.waiter->doorbell);
    return true;
}

/* A wait that is cut into slices, with a look at servers after each. */
struct patience {
    int64_t left_ns, deadline_ns; /* deadline 0: the clock was not looked at yet */
    uint32_t late;                /* messages that were nobody's, when the time was over */
};

/* A slice of that length has gone by. */
static void pass_time(struct tarn_client *client, struct patience *patience, int64_t slice_ns) {
    if (patience->left_ns <= 0) { /* perhaps one of very many polls */
        ask_servers(client, os_now_coarse_ns());
        return;
    }
    int64_t now = os_now_ns();
    if (!patience->deadline_ns) {
        int64_t left_ns = patience->left_ns - slice_ns;
        patience->deadline_ns = left_ns > INT64_MAX - now ? INT64_MAX : now + left_ns;
    }
    patience->left_ns = patience->deadline_ns - now;
    ask_servers(client, now);
}

/*
 * After a slice without what was waited for, or a message that was not it. 1: there is time left; 0: none; or a status.
 */
static int go_on(struct tarn_client *client, struct patience *patience, int64_t slice_ns, bool came) {
    pass_time(client, patience, came ? 0 : slice_ns);
    return came ? service_sift_on(&client->service, patience->left_ns, &patience->late) : patience->left_ns > 0;
}

static inline int64_t slice_of(const struct patience *patience, bool failing) {
    return failing || patience->left_ns <= 0 ? 0 : patience->left_ns < PATIENCE_NS ? patience->left_ns : PATIENCE_NS;
}

/* The next response, of whatever request; not of those kept. 1; 0: not in time; or a status. */
LONG_HALF int await_any(struct tarn_client *client, tarn_message *ret, int64_t timeout_ns) {
    struct patience patience = {client->pending_count ? timeout_ns : 0, 0, 0};
    for (;;) {
        int64_t slice_ns = slice_of(&patience, client->failing);
        int status = service_receive(&client->service, ret, slice_ns);
        if (unlikely(status < 0))
            return status;
        if (status && accept_response(client, ret))
            return 1;
        int more = status || client->pending_count ? go_on(client, &patience, slice_ns, status) : 0;
        if (unlikely(more < 0))
            return more;
        struct pending *failed = client->failing ? find_failed(client) : NULL;
        if (failed) {
            *ret = (tarn_message){.request = failed->number, .flags = TARN_MESSAGE_LAST | TARN_MESSAGE_NO_DATA};
            status = fail_pending(client, failed);
            ring_if_failed(client);
            return status;
        }
        if (!more)
            return 0;
    }
}

static int check_place(struct tarn_client *client, const tarn_message *ret) {
    int status = handle_check((const struct handle *)client, HANDLE_CLIENT);
    return status || ret ? status : fail(TARN_ERROR_ARGUMENT, "the message is NULL");
}

/* Whether there is neither a response nor a request that has failed, for one of very many polls. */
static inline bool is_quiet(struct tarn_client *client) {
    if (client->failing || !subscriber_is_quiet(client->service.inbox))
        return false;
    if (client->pending_count)
        ask_servers(client, os_now_coarse_ns());
    return !client->failing;
}

int tarn_client_receive(tarn_client *client, tarn_message *ret, int64_t timeout_ns) {
    int status = check_place(client, ret);
    if (status)
        return status;
    if (unlikely(service_keeps(&client->service))) {
        service_take_kept(&client->service, ret);
        return 1;
    }
    if (timeout_ns <= 0 && is_quiet(client))
        return 0;
    if (receive_easily(client->service.inbox, ret, timeout_ns) && likely(accept_response(client, ret)))
        return 1;
    return await_any(client, ret, timeout_ns);
}

int tarn_client_take(tarn_client *client, tarn_message *ret) {
    return tarn_client_receive(client, ret, 0);
}

/*
 * Whether a message is that request's. Else it is dealt with: what is another's is set aside, for which there is room.
 */
static bool sort_out(struct tarn_client *client, uint64_t number, tarn_message *message, uint32_t kind) {
    if (!accept_kind(client, message, kind))
        return false;
    if (likely(message->request == number))
        return true;
    service_keep(&client->service, message);
    *message = (tarn_message){0};
    return false;
}

/* The next response of one request. As await_any(). came: ret has a message of that kind, whosever it is. */
LONG_HALF int await_one(struct tarn_client *client, struct pending *pending, tarn_message *ret, int64_t timeout_ns,
                        bool came, uint32_t kind) {
    struct patience patience = {timeout_ns, 0, 0};
    const struct peer *peer = pending->peer;
    uint64_t number = pending->number;
    for (;; came = false) {
        int64_t slice_ns = slice_of(&patience, peer->gone);
        int status = came ? 1 : service_receive(&client->service, ret, slice_ns);
        if (status < 0)
            return status;
        if (status && sort_out(client, number, ret, came ? kind : service_read(ret)))
            return 1;
        int more = go_on(client, &patience, slice_ns, status);
        if (more >= 0 && has_failed(client, peer))
            return fail_pending(client, pending);
        if (more != 1)
            return more;
    }
}

/* The usual answer to a request that was sent just now, and that nothing was noted of yet. */
SHORT_HALF bool is_answer(const tarn_message *message, uint32_t kind, const struct peer *peer, uint64_t number) {
    return likely(kind == SERVICE_LAST) && likely(message->request == number) &&
           likely(message_reader(message)->speaker == peer->word);
}

LONG_HALF int call_slowly(struct tarn_client *client, struct peer *peer, uint64_t number, tarn_message *ret,
                          int64_t timeout_ns, bool came, uint32_t kind) {
    int status = await_one(client, note_request(client, peer, number), ret, timeout_ns, came, kind);
    service_ring_self(&client->service);
    if (status != 1)
        abandon(client, number);
    return status;
}

int tarn_client_call(tarn_client *client, const void *data, size_t bytes, tarn_message *ret, int64_t timeout_ns) {
    int status = check_place(client, ret);
    if (!status)
        status = check_data(data, bytes);
    if (status)
        return status;
    struct peer *peer;
    uint64_t number = 0;
    status = send_request(client, data, bytes, &peer, &number);
    if (status != 1)
        return status;
    if (unlikely(service_keeps(&client->service)) || !receive_easily(client->service.inbox, ret, timeout_ns))
        return call_slowly(client, peer, number, ret, timeout_ns, false, 0);
    uint32_t kind = service_read(ret);
    if (unlikely(!is_answer(ret, kind, peer, number)))
        return call_slowly(client, peer, number, ret, timeout_ns, true, kind);
    ret->flags = TARN_MESSAGE_LAST;
    peer->heard = true;
    return 1;
}

/* ---- waiting -------------------------------------------------------------------------------------------------- */

/* 1: a response was taken, and is kept, or there is more than is looked at in a call; 0: there is none; or a status. */
static int ready(void *owner) {
    struct tarn_client *client = owner;
    service_heed_looks(&client->service);
    for (uint32_t i = 0; i < SIFTED_AT_ONCE && !service_keeps(&client->service); i++) {
        tarn_message message;
        int status = tarn_subscriber_take(client->service.inbox, &message);
        if (status != 1)
            return status;
        if (accept_response(client, &message))
            service_keep(&client->service, &message);
    }
    return 1;
}

int tarn_client_wait(tarn_client *client, int64_t timeout_ns) {
    int status = handle_check((const struct handle *)client, HANDLE_CLIENT);
    if (status)
        return status;
    struct patience patience = {client->pending_count ? timeout_ns : 0, 0, 0};
    for (;;) {
        int64_t slice_ns = slice_of(&patience, client->failing);
        status = waiter_wait(client->service.waiter, ready, client, slice_ns);
        if (status)
            break;
        int more = go_on(client, &patience, slice_ns, false);
        status = client->failing && find_failed(client);
        if (status || !more)
            break;
    }
    service_ring_self(&client->service);
    return status;
}

int tarn_client_interrupt(tarn_client *client) {
    int status = handle_check((const struct handle *)client, HANDLE_CLIENT);
    return status ? status : waiter_interrupt(client->service.waiter);
}

int tarn_client_fd(tarn_client *client) {
    int status = handle_check((const struct handle *)client, HANDLE_CLIENT);
    return status ? status : tarn_subscriber_fd(client->service.inbox);
}

static int waitable_fd(void *handle) {
    return tarn_client_fd(handle);
}

static bool accept_for_waitset(void *owner, tarn_message *message) {
    return accept_response(owner, message);
}

static int ready_for_waitset(void *handle) {
    struct tarn_client *client = handle;
    int status = service_seek(&client->service, accept_for_waitset, client, false);
    if (status || !client->pending_count)
        return status;
    ask_servers(client, os_now_ns());
    return ring_if_failed(client);
}

static int look_for_waitset(void *handle) {
    struct tarn_client *client = handle;
    int status = service_seek(&client->service, accept_for_waitset, client, true);
    return status ? status : client->failing && find_failed(client);
}

const struct waitable client_waitable = {waitable_fd, ready_for_waitset, look_for_waitset};

/* ---- opening and closing -------------------------------------------------------------------------------------- */

static void free_client(struct tarn_client *client) {
    free(client->buckets);
    free(client->pending);
    process_lock();
    handle_free(&closed_clients, &client->handle);
    process_unlock();
}

static int open_client(tarn_client **ret, const char *topic, const tarn_client_options *options,
                       const struct service_options *common) {
    process_lock();
    struct tarn_client *client = handle_allocate(&closed_clients, sizeof(*client), HANDLE_CLIENT);
    process_unlock();
    if (!client)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a client");
    client->handle.loans = &loan_calls;
    client->server_timeout_ns = options->server_timeout_ns == 0                  ? DEFAULT_SERVER_TIMEOUT_NS
                                : options->server_timeout_ns == TARN_IMMEDIATELY ? 0
                                                                                 : options->server_timeout_ns;
    int status = make_table(client, options->max_pending ? options->max_pending : DEFAULT_MAX_PENDING)
                     ? service_open(&client->service, topic, common, follow, client)
                     : fail(TARN_ERROR_NO_MEMORY, "no memory for a client");
    if (status)
        free_client(client);
    else
        *ret = client;
    return status;
}

int tarn_client_open(tarn_client **ret, const char *topic, const tarn_client_options *options) {
    tarn_client_options checked;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the place for the client is NULL");
    int status = options_copy(&checked, sizeof(checked), options, "tarn_client_options");
    if (status)
        return status;
    uint32_t max_held = checked.max_held ? checked.max_held : DEFAULT_MAX_HELD;
    struct service_options common = {checked.directory,
                                     checked.domain,
                                     checked.request_type,
                                     checked.response_type,
                                     ROLE_CLIENT,
                                     checked.memory_limit_bytes,
                                     max_held,
                                     max_held,
                                     checked.wait_strategy,
                                     checked.when_full,
                                     checked.full_timeout_ns,
                                     checked.spin_ns};
    status = service_check_options(&common, "max_pending", checked.max_pending);
    if (!status && max_held > MAX_HELD_MAX)
        status = fail(TARN_ERROR_ARGUMENT, "max_held is %" PRIu32 ": the most is %u", max_held, MAX_HELD_MAX);
    if (!status && checked.server_timeout_ns < TARN_IMMEDIATELY)
        status = fail(TARN_ERROR_ARGUMENT, "server_timeout_ns is negative, and not TARN_IMMEDIATELY");
    if (!status)
        status = process_enter();
    return status ? status : open_client(ret, topic, &checked, &common);
}

int tarn_client_close(tarn_client *client) {
    if (!client)
        return 0;
    int status = handle_check(&client->handle, HANDLE_CLIENT);
    if (status)
        return status;
    service_close(&client->service, TARN_IMMEDIATELY);
    free_client(client);
    return 0;
}

/* ---- counts --------------------------------------------------------------------------------------------------- */

int tarn_client_pending(tarn_client *client) {
    int status = handle_check((const struct handle *)client, HANDLE_CLIENT);
    return status ? status : (int)client->pending_count;
}

int tarn_client_servers(tarn_client *client) {
    int status = handle_check((const struct handle *)client, HANDLE_CLIENT);
    return status ? status : service_count(&client->service, ROLE_SERVER);
}
