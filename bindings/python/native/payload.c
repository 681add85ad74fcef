/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Messages, requests, jobs and loans as Python sees them: objects with a buffer. One struct for all, as the library's
 * four have the place and size of the payload first, and end in much the same way.
 *
 *   is released by     its collection; release(); or what ends it: reply, acknowledge, send, ...
 *   cannot while       a buffer of it is in use: BufferError, and nothing has changed
 *   keeps alive        its handle, where it ends with that (is_owned); messages outlive theirs
 */
#include "binding.h"

/*
 * ---- the four -------------------------------------------------------------------------------------------------------
 */

static int discard_message(void *what) {
    return tarn_message_release(what);
}
static int discard_request(void *what) {
    return tarn_request_end(what);
}
static int discard_job(void *what) {
    return tarn_job_give_back(what);
}
static int discard_loan(void *what) {
    return tarn_loan_drop(what);
}

const struct payload_kind message_payload = {
    .name = "message",
    .struct_bytes = sizeof(tarn_message),
    .discard = discard_message,
    .is_any_thread = true,
};
const struct payload_kind request_payload = {
    .name = "request",
    .struct_bytes = sizeof(tarn_request),
    .discard = discard_request,
    .is_owned = true,
};
const struct payload_kind job_payload = {
    .name = "job",
    .struct_bytes = sizeof(tarn_job),
    .discard = discard_job,
    .is_owned = true,
    .is_any_thread = true,
};
const struct payload_kind loan_payload = {
    .name = "loan",
    .struct_bytes = sizeof(tarn_loan),
    .discard = discard_loan,
    .is_writable = true,
    .is_owned = true,
};

PyObject *payload_new(const struct payload_kind *kind, PyObject *class, Handle *owner, PyObject *type,
                      const void *what) {
    allocfunc allocate = (allocfunc)PyType_GetSlot((PyTypeObject *)class, Py_tp_alloc);
    Payload *payload = (Payload *)allocate((PyTypeObject *)class, 0);
    if (!payload) {
        max_align_t copy[sizeof(tarn_request) / sizeof(max_align_t) + 8];
        memcpy(copy, what, kind->struct_bytes);
        kind->discard(copy);
        return NULL;
    }
    payload->kind = kind;
    payload->epoch = fork_epoch;
    payload->type = type;
    Py_XINCREF(type);
    if (kind->is_owned) {
        payload->owner = owner;
        Py_INCREF(owner);
    }
    memcpy(&payload->place, what, kind->struct_bytes);
    return (PyObject *)payload;
}

PyObject *message_new(Handle *handle, PyObject *type, tarn_message *message) {
    return payload_new(&message_payload, classes.message, handle, type, message);
}

/*
 * ---- whether it is there --------------------------------------------------------------------------------------------
 */

static bool is_inherited(const Payload *payload) {
    return payload->epoch != fork_epoch;
}

static bool is_there(const Payload *payload) {
    return payload->kind && !payload->over && !is_inherited(payload) && (!payload->owner || payload->owner->tarn);
}

/*
 * Raises what the library says of it, which discarding does nothing to: it is over, or its handle is, or its process.
 */
static int fail_absent(Payload *payload) {
    union {
        struct place place;
        tarn_message message;
        tarn_request asked;
        tarn_job job;
        tarn_loan loan;
    } copy = {.place = {0}};
    if (!payload->kind) {
        PyErr_SetString(PyExc_TypeError, "such objects come from handles");
        return -1;
    }
    if (!payload->over)
        memcpy(&copy, &payload->place, payload->kind->struct_bytes);
    int status = payload->kind->discard(&copy);
    return fail_status(status < 0 ? status : TARN_ERROR_RELEASED);
}

bool payload_may_end(Payload *payload, const char *what) {
    if (!is_there(payload)) {
        fail_absent(payload);
        return false;
    }
    if (payload->views) {
        PyErr_Format(
            PyExc_BufferError,
            "the %s cannot be %s: an array or memoryview of it is in use; delete it, or copy what is needed, first",
            payload->kind->name, what);
        return false;
    }
    return !payload->owner || payload->kind->is_any_thread || handle_enter(payload->owner);
}

void payload_end(Payload *payload) {
    payload->over = true;
    memset(&payload->place, 0, payload->kind->struct_bytes);
    fork_unlist(payload);
}

/*
 * ---- the buffer -----------------------------------------------------------------------------------------------------
 */

int payload_may_be_seen(Payload *payload) {
    return is_there(payload) ? 0 : fail_absent(payload);
}

void payload_lend(Payload *payload) {
    fork_list(payload);
    payload->views++;
    if (payload->owner)
        payload->owner->views++;
}

void payload_get_back(Payload *payload) {
    payload->views--;
    if (payload->owner)
        payload->owner->views--;
}

static int get_buffer(PyObject *self, Buffer *ret, int flags) {
    Payload *payload = (Payload *)self;
    ret->obj = NULL;
    if (payload_may_be_seen(payload) < 0)
        return -1;
    if ((flags & ~BUFFER_WRITABLE) == BUFFER_ANY_CONTIGUOUS) {
        PyErr_Format(PyExc_BufferError,
                     "numpy.ndarray(buffer=) would not say when it is done with the %s: use its array(), "
                     "or numpy.frombuffer()",
                     payload->kind->name);
        return -1;
    }
    static char nothing;
    void *data = payload->place.data ? payload->place.data : &nothing;
    if (PyBuffer_FillInfo(ret, self, data, (Py_ssize_t)payload->place.bytes, !payload->kind->is_writable, flags) < 0)
        return -1;
    payload_lend(payload);
    return 0;
}

static void release_buffer(PyObject *self, Buffer *buffer) {
    (void)buffer;
    payload_get_back((Payload *)self);
}

static Py_ssize_t payload_length(PyObject *self) {
    Payload *payload = (Payload *)self;
    return is_there(payload) ? (Py_ssize_t)payload->place.bytes : fail_absent(payload);
}

/*
 * ---- its end --------------------------------------------------------------------------------------------------------
 */

static void discard(Payload *payload) {
    Handle *owner = payload->owner;
    const struct payload_kind *kind = payload->kind;
    if (kind->is_any_thread)
        kind->discard(&payload->place);
    else if (owner->busy)
        handle_adopt(owner, kind->discard, &payload->place, kind->struct_bytes);
    else
        handle_discard(owner, kind->discard, &payload->place, kind->struct_bytes);
}

static void payload_dealloc(PyObject *self) {
    Payload *payload = (Payload *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (PyType_GetFlags(type) & Py_TPFLAGS_HAVE_GC)
        PyObject_GC_UnTrack(self);
    if (is_there(payload))
        discard(payload);
    fork_unlist(payload);
    Py_XDECREF(payload->owner);
    Py_XDECREF(payload->answers);
    Py_XDECREF(payload->type);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static int payload_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(((Payload *)self)->owner);
    Py_VISIT(((Payload *)self)->answers);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

/* Of messages; the others have their own ways to end. */
static PyObject *message_release(PyObject *self, PyObject *unused) {
    Payload *payload = (Payload *)self;
    (void)unused;
    if (payload->over)
        Py_RETURN_NONE;
    if (!payload_may_end(payload, "released"))
        return NULL;
    int status = tarn_message_release(&payload->message);
    payload_end(payload);
    if (status < 0)
        return raise_status(status);
    Py_RETURN_NONE;
}

static PyObject *loan_drop(PyObject *self, PyObject *unused) {
    Payload *payload = (Payload *)self;
    (void)unused;
    if (!payload_may_end(payload, "dropped"))
        return NULL;
    int status = tarn_loan_drop(&payload->loan);
    payload_end(payload);
    if (status < 0)
        return raise_status(status);
    Py_RETURN_NONE;
}

/* Sends the first bytes of it; all, if none are given. */
static PyObject *loan_send(PyObject *self, PyObject *arguments, PyObject *names) {
    static char *known[] = {"bytes", NULL};
    Payload *payload = (Payload *)self;
    PyObject *bytes = Py_None;
    Py_ssize_t asked = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, names, "|O", known, &bytes))
        return NULL;
    if (bytes != Py_None) /* before all else: it may be that Python is run for it */
        asked = PyNumber_AsSsize_t(bytes, PyExc_OverflowError);
    if (PyErr_Occurred() || !payload_may_end(payload, "sent") ||
        (payload->answers && !payload_may_end(payload->answers, "answered")))
        return NULL;
    tarn_loan loan = payload->loan;
    if (asked < 0 || (size_t)asked > loan.bytes)
        return PyErr_Format(PyExc_ValueError, "a loan of %zu bytes has no %zd to send", loan.bytes, asked);
    if (bytes != Py_None)
        loan.bytes = (size_t)asked;
    Handle *owner = payload->owner;
    struct patience patience = {0};
    int sent;
    payload->over = owner->may_wait; /* nobody else may send it meanwhile, nor see the request that may end with it */
    if (payload->answers)
        payload->answers->over = owner->may_wait;
    do {
        PyThreadState *state = owner->may_wait ? handle_unlock(owner) : NULL;
        sent = tarn_loan_send(&loan);
        if (state)
            handle_lock(owner, state);
    } while (handle_goes_on(owner, sent, &patience));
    payload->over = false;
    if (payload->answers)
        payload->answers->over = false;
    owner->has_sent |= sent >= 0;
    if (!loan.loaned_by) {
        payload_end(payload);
        if (payload->answers && (payload->is_last || sent != 1))
            payload_end(payload->answers);
    }
    return sent < 0 ? raise_sent(sent) : PyBool_FromLong(sent);
}

/*
 * ---- what is known of them ------------------------------------------------------------------------------------------
 */

/* A field of the struct; what was known is known no more when it is over. */
static PyObject *get_number(PyObject *self, void *offset) {
    Payload *payload = (Payload *)self;
    return PyLong_FromUnsignedLongLong(*(uint64_t *)((char *)payload + (size_t)offset));
}

static PyObject *get_sent(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromLongLong(((Payload *)self)->message.sent_ns);
}

static PyObject *get_flag(PyObject *self, void *flag) {
    return PyBool_FromLong(((Payload *)self)->message.flags & (uint32_t)(size_t)flag);
}

static PyObject *get_attempts(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLong(((Payload *)self)->job.attempts);
}

static PyObject *get_released(PyObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(!is_there((Payload *)self));
}

static PyObject *get_type(PyObject *self, void *unused) {
    PyObject *type = ((Payload *)self)->type;
    (void)unused;
    if (!type)
        Py_RETURN_NONE;
    Py_INCREF(type);
    return type;
}

static PyObject *get_views(PyObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(((Payload *)self)->views == 0);
}

#define NUMBER(name, field, text)                                                                                      \
    { name, get_number, NULL, text, (void *)offsetof(Payload, field) }
#define COMMON                                                                                                         \
    {"over", get_released, NULL, "Whether it was released, or ended, or is another process'.", NULL},                  \
        {"has_no_views", get_views, NULL, "Whether nothing uses its buffer: it may end.", NULL}, {                     \
        "type", get_type, NULL, "The payload type, or None.", NULL                                                     \
    }

static PyGetSetDef message_getters[] = {
    COMMON,
    NUMBER("sequence", message.sequence, "Of this publisher, from 1 on; of a blackboard's value its version."),
    NUMBER("publisher", message.publisher, "The sender's identity."),
    NUMBER("lost", message.lost, "Messages of this publisher lost just before this one."),
    NUMBER("request", message.request, "Of a response: the request it answers."),
    {"sent_ns", get_sent, NULL, "Time of sending, CLOCK_MONOTONIC; 0 without the publisher's option timestamps.", NULL},
    {"last", get_flag, NULL, "Of a response: no more will follow.", (void *)TARN_MESSAGE_LAST},
    {"no_data", get_flag, NULL, "Of a response: the request was ended without data.", (void *)TARN_MESSAGE_NO_DATA},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyGetSetDef request_getters[] = {
    COMMON,
    NUMBER("number", asked.number, "Given by its client, from 1 on."),
    NUMBER("client", asked.client, "The client's identity."),
    {NULL, NULL, NULL, NULL, NULL},
};
static PyGetSetDef job_getters[] = {
    COMMON,
    NUMBER("number", job.number, "Of this producer's messages, from 1 on."),
    NUMBER("producer", job.producer, "The producer's identity."),
    {"attempts", get_attempts, NULL, "Deliveries, this one included.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyGetSetDef loan_getters[] = {
    COMMON,
    NUMBER("request", request, "Of a client's: the request's number."),
    {NULL, NULL, NULL, NULL, NULL},
};

/*
 * ---- sending --------------------------------------------------------------------------------------------------------
 */

static bool is_plain(PyObject *object) {
    return PyBytes_Check(object) || PyByteArray_Check(object) || PyMemoryView_Check(object);
}

/* Of struct's formats, as buffers have them. Names of fields are between colons. */
static bool has_objects(const char *format) {
    bool is_name = false;
    for (; format && *format; format++) {
        is_name ^= *format == ':';
        if (*format == 'O' && !is_name)
            return true;
    }
    return false;
}

static int get_bytes(PyObject *object, Buffer *ret) {
    if (PyBytes_Check(object) || PyByteArray_Check(object))
        return PyObject_GetBuffer(object, ret, 0);
    if (PyObject_GetBuffer(object, ret, BUFFER_FORMAT) < 0) {
        PyErr_Clear(); /* there are dtypes without a format */
        return PyObject_GetBuffer(object, ret, 0);
    }
    if (!has_objects(ret->format))
        return 0;
    PyBuffer_Release(ret);
    PyErr_SetString(PyExc_TypeError, "Python objects mean nothing to another process: send numbers or bytes");
    return -1;
}

int data_get(PyObject *object, PyObject *type, Buffer *ret) {
    if (!type || is_plain(object))
        return get_bytes(object, ret);
    PyObject *encoded = PyObject_CallMethod(type, "encode", "(O)", object);
    if (!encoded)
        return -1;
    int status = get_bytes(encoded, ret); /* keeps it alive */
    Py_DECREF(encoded);
    return status;
}

int loan_bytes(PyObject *number, Py_ssize_t *ret) {
    *ret = PyNumber_AsSsize_t(number, PyExc_OverflowError);
    if (PyErr_Occurred())
        return -1;
    if (*ret >= 0)
        return 0;
    PyErr_Format(PyExc_ValueError, "a loan cannot have %zd bytes", *ret);
    return -1;
}

int send_data(Handle *handle, const Buffer *data, int (*send)(void *, const void *, size_t), void *what) {
    struct patience patience = {0};
    bool is_short = !handle->may_wait && data->len < LONG_COPY_BYTES;
    int result;
    do {
        PyThreadState *state = is_short ? NULL : handle_unlock(handle);
        result = send(what, data->buf, (size_t)data->len);
        if (state)
            handle_lock(handle, state);
    } while (handle_goes_on(handle, result, &patience));
    handle->has_sent |= result >= 0;
    return result;
}

static PyObject *request_end(Payload *payload, int result) {
    /* the library clears the struct of a request that is over */
    if (!payload->asked.taken_by)
        payload_end(payload);
    return result < 0 ? raise_sent(result) : PyBool_FromLong(result);
}

static int reply(void *what, const void *data, size_t bytes) {
    return tarn_request_reply(what, data, bytes);
}

static int stream(void *what, const void *data, size_t bytes) {
    return tarn_request_stream(what, data, bytes);
}

static PyObject *request_answer(PyObject *self, PyObject *object, bool is_last) {
    Payload *payload = (Payload *)self;
    Buffer data;
    if (!is_there(payload)) {
        fail_absent(payload);
        return NULL;
    }
    if (data_get(object, payload->owner->other_type, &data) < 0)
        return NULL;
    PyObject *result = NULL;
    bool is_echo = data.obj == self && payload->views == 1;
    payload->views -= is_echo;                  /* its own bytes, for as long as this lasts */
    if (payload_may_end(payload, "answered")) { /* any response ends it, if the client is gone */
        tarn_request asked = payload->asked;
        payload->over = true; /* no views meanwhile */
        int sent = send_data(payload->owner, &data, is_last ? reply : stream, &asked);
        payload->over = false;
        payload->asked = asked;
        result = request_end(payload, sent);
    }
    payload->views += is_echo;
    PyBuffer_Release(&data);
    return result;
}

static PyObject *request_reply(PyObject *self, PyObject *data) {
    return request_answer(self, data, true);
}

static PyObject *request_stream(PyObject *self, PyObject *data) {
    return request_answer(self, data, false);
}

static PyObject *request_finish(PyObject *self, PyObject *unused) {
    Payload *payload = (Payload *)self;
    (void)unused;
    if (!payload_may_end(payload, "ended"))
        return NULL;
    Handle *owner = payload->owner;
    tarn_request asked = payload->asked;
    payload->over = true;
    struct patience patience = {0};
    int result;
    do {
        PyThreadState *state = handle_unlock(owner);
        result = tarn_request_end(&asked);
        handle_lock(owner, state);
    } while (handle_goes_on(owner, result, &patience));
    payload->over = false;
    payload->asked = asked;
    return request_end(payload, result);
}

static PyObject *request_abandoned(PyObject *self, PyObject *unused) {
    Payload *payload = (Payload *)self;
    (void)unused;
    if (!is_there(payload)) {
        fail_absent(payload);
        return NULL;
    }
    if (!handle_enter(payload->owner))
        return NULL;
    int result = tarn_request_abandoned(&payload->asked);
    return result < 0 ? raise_status(result) : PyBool_FromLong(result);
}

static PyObject *answering_loan(Payload *request, bool is_last, tarn_loan *loan) {
    Handle *server = request->owner;
    Payload *made = (Payload *)payload_new(&loan_payload, classes.loan, server, server->other_type, loan);
    if (!made)
        return NULL;
    made->answers = request;
    made->is_last = is_last;
    Py_INCREF(request);
    return (PyObject *)made;
}

static PyObject *request_loan(PyObject *self, PyObject *arguments, PyObject *names) {
    static char *known[] = {"bytes", "last", NULL};
    Payload *payload = (Payload *)self;
    PyObject *number;
    Py_ssize_t bytes;
    int last = 1;
    tarn_loan loan;
    if (!PyArg_ParseTupleAndKeywords(arguments, names, "O|p", known, &number, &last) || loan_bytes(number, &bytes) < 0)
        return NULL;
    if (!payload_may_end(payload, "answered")) /* it ends, if the client is gone */
        return NULL;
    tarn_request asked = payload->asked;
    payload->over = true; /* no views meanwhile */
    struct patience patience = {0};
    int lent;
    do {
        PyThreadState *state = handle_unlock(payload->owner);
        lent = tarn_request_loan(&asked, (size_t)bytes, last, &loan);
        handle_lock(payload->owner, state);
    } while (handle_goes_on(payload->owner, lent, &patience));
    payload->over = false;
    payload->asked = asked;
    if (lent == 1)
        return answering_loan(payload, last, &loan);
    PyObject *result = request_end(payload, lent);
    Py_XDECREF(result);
    if (!result)
        return NULL;
    Py_RETURN_NONE;
}

/*
 * ---- jobs -----------------------------------------------------------------------------------------------------------
 */

static PyObject *job_end(PyObject *self, const char *what, int (*end)(tarn_job *job)) {
    Payload *payload = (Payload *)self;
    if (!payload_may_end(payload, what))
        return NULL;
    int status = end(&payload->job);
    if (!payload->job.taken_by)
        payload_end(payload);
    if (status < 0)
        return raise_status(status);
    Py_RETURN_NONE;
}

static PyObject *job_acknowledge(PyObject *self, PyObject *unused) {
    (void)unused;
    return job_end(self, "acknowledged", tarn_job_acknowledge);
}

static PyObject *job_give_back(PyObject *self, PyObject *unused) {
    (void)unused;
    return job_end(self, "given back", tarn_job_give_back);
}

static PyObject *job_reject(PyObject *self, PyObject *unused) {
    (void)unused;
    return job_end(self, "rejected", tarn_job_reject);
}

/*
 * ---- the types ------------------------------------------------------------------------------------------------------
 */

#define ARRAY_METHOD                                                                                                   \
    METHOD_WITH_NAMES(                                                                                                 \
        "array", payload_array,                                                                                        \
        "array(dtype=None, shape=None)\n--\n\nIts memory as a numpy array: of dtype, else of the topic's "             \
        "type, else of bytes. Read-only, but for loans.")

static PyMethodDef message_methods[] = {
    ARRAY_METHOD,
    {"release", message_release, METH_NOARGS, "release()\n--\n\nGives the message back now, not when it is collected."},
    {NULL, NULL, 0, NULL},
};
static PyMethodDef request_methods[] = {
    ARRAY_METHOD,
    {"reply", request_reply, METH_O, "reply(data)\n--\n\nThe last, or only, response. False: the client gave up."},
    {"stream", request_stream, METH_O, "stream(data)\n--\n\nOne response of several. False: the client gave up."},
    {"end", request_finish, METH_NOARGS, "end()\n--\n\nEnds the request without a further response."},
    {"abandoned", request_abandoned, METH_NOARGS, "abandoned()\n--\n\nWhether the client gave up, or is gone."},
    METHOD_WITH_NAMES("loan", request_loan,
                      "loan(bytes, last=True)\n--\n\nA place to write a response to, or None: the "
                      "client gave up."),
    {NULL, NULL, 0, NULL},
};
static PyMethodDef job_methods[] = {
    ARRAY_METHOD,
    {"acknowledge", job_acknowledge, METH_NOARGS, "acknowledge()\n--\n\nIt is done."},
    {"give_back", job_give_back, METH_NOARGS, "give_back()\n--\n\nSomebody else may have it."},
    {"reject", job_reject, METH_NOARGS, "reject()\n--\n\nNobody may have it."},
    {NULL, NULL, 0, NULL},
};
static PyMethodDef loan_methods[] = {
    ARRAY_METHOD,
    METHOD_WITH_NAMES("send", loan_send, "send(bytes=None)\n--\n\nSends it, or its first bytes."),
    {"drop", loan_drop, METH_NOARGS, "drop()\n--\n\nGives it back unsent."},
    {NULL, NULL, 0, NULL},
};

static int add(PyObject *module, const char *name, const char *doc, PyMethodDef *methods, PyGetSetDef *getters,
               bool is_owned) {
    PyType_Slot slots[] = {
        {Py_tp_doc, (void *)doc},
        {Py_tp_dealloc, payload_dealloc},
        {Py_tp_methods, methods},
        {Py_tp_getset, getters},
        {Py_mp_length, payload_length},
        {Py_bf_getbuffer, get_buffer},
        {Py_bf_releasebuffer, release_buffer},
        {is_owned ? Py_tp_traverse : 0, payload_traverse},
        {0, NULL},
    };
    unsigned flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | (is_owned ? Py_TPFLAGS_HAVE_GC : 0);
    PyType_Spec spec = {name, sizeof(Payload), 0, flags, slots};
    return add_type(module, &spec, NULL, NULL);
}

int payload_add_types(PyObject *module) {
    int status = add(module, "tarn_ipc._tarn.Message", "A message, read where it was written.", message_methods,
                     message_getters, false);
    if (status == 0)
        status =
            add(module, "tarn_ipc._tarn.Request", "A request to be answered.", request_methods, request_getters, true);
    if (status == 0)
        status = add(module, "tarn_ipc._tarn.Job", "A job of a work queue.", job_methods, job_getters, true);
    if (status == 0)
        status =
            add(module, "tarn_ipc._tarn.Loan", "A place where a message will be.", loan_methods, loan_getters, true);
    return status;
}
