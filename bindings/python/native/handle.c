/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What all handles share: opening, closing, waiting, and whose turn it is. See binding.h. */
#include <time.h>

#include "binding.h"

/* What is not said by closing is not waited for for ever: a handle that was dropped gets so long. */
#define DROPPED_LINGER_NS 1000000000
/* So long other threads may take what makes space for what was dropped. */
#define OTHERS_TURN_NS 10000000
/* tarn.h: full_timeout_ns and server_timeout_ns, unless given. */
#define DEFAULT_WAIT_NS 1000000000
/* So long a publisher that flushes waits for keepers, if only they have not. */
#define KEEPERS_LINGER_NS 1000000000

static Handle *open_handles;
static bool is_ending; /* nobody is to be told any more that something was not closed */

static void list_add(Handle *handle) {
    handle->is_late = is_ending;
    handle->next = open_handles;
    if (open_handles)
        open_handles->previous = handle;
    open_handles = handle;
}

static void list_remove(Handle *handle) {
    if (handle->previous)
        handle->previous->next = handle->next;
    else
        open_handles = handle->next;
    if (handle->next)
        handle->next->previous = handle->previous;
    handle->next = handle->previous = NULL;
}

/*
 * ---- whose turn it is ---------------------------------------------------------------------------------------------
 */

static bool is_ours(const Handle *handle) {
    return handle->epoch == fork_epoch;
}

bool handle_enter(Handle *handle) {
    if (handle->busy && is_ours(handle)) {
        fail_thread(handle->kind->name);
        return false;
    }
    if (!handle->tarn) {
        PyObject *class = NULL, *number = PyLong_FromLong(TARN_ERROR_CLOSED);
        if (number && classes.errors)
            class = PyDict_GetItemWithError(classes.errors, number);
        Py_XDECREF(number);
        PyErr_Format(class ? class : PyExc_ValueError, "the %s is closed",
                     handle->kind ? handle->kind->name : "handle");
        return false;
    }
    return true;
}

PyThreadState *handle_unlock(Handle *handle) {
    handle->busy = true;
    return PyEval_SaveThread();
}

/* Asked after each slice. until_ns: 0 after the first one. */
static bool has_patience(int64_t *until_ns, const struct slices *slices) {
    if (!slices->slice_ns)
        return false;
    if (!*until_ns)
        *until_ns = deadline_ns(slices->whole_ns - slices->slice_ns);
    return time_left_ns(*until_ns) > 0;
}

/* As patience with space, but not for ever: what was dropped cannot be interrupted. */
static bool has_patience_with_dropped(int64_t *until_ns, const Handle *handle) {
    struct slices space = handle->space;
    if (space.whole_ns == TARN_FOREVER)
        space.whole_ns = DROPPED_LINGER_NS;
    return has_patience(until_ns, &space);
}

static void let_others_run(void) {
    PyThreadState *state = PyEval_SaveThread();
    nanosleep(&(struct timespec){.tv_nsec = OTHERS_TURN_NS}, NULL);
    PyEval_RestoreThread(state);
}

/* Each try keeps the GIL, as a handle must not seem to be in use because something was collected; between two of them others
   have it, as the space may come from another thread. */
void handle_discard(Handle *handle, int (*discard)(void *), void *what, size_t bytes) {
    int64_t until_ns = 0;
    while (discard(what) == TARN_ERROR_FULL && has_patience_with_dropped(&until_ns, handle)) {
        let_others_run();
        if (!handle->tarn)
            return;
        if (handle->busy) {
            handle_adopt(handle, discard, what, bytes);
            return;
        }
    }
}

/* Of a handle that is busy, by this thread: others only add to them meanwhile. */
static void discard_orphans(Handle *handle) {
    while (handle->orphans) {
        struct orphan *first = handle->orphans;
        int64_t until_ns = 0;
        handle->orphans = first->next;
        while (first->discard(first->what) == TARN_ERROR_FULL && has_patience_with_dropped(&until_ns, handle))
            let_others_run();
        PyMem_Free(first);
    }
}

void handle_settle(Handle *handle) {
    discard_orphans(handle);
    handle->busy = false;
}

void handle_lock(Handle *handle, PyThreadState *state) {
    PyEval_RestoreThread(state);
    handle_settle(handle);
}

void handle_adopt(Handle *handle, int (*discard)(void *what), const void *what, size_t bytes) {
    struct orphan *orphan = PyMem_Malloc(sizeof(*orphan) + bytes);
    if (!orphan)
        return; /* it ends with its handle */
    memcpy(orphan->what, what, bytes);
    orphan->discard = discard;
    orphan->next = handle->orphans;
    handle->orphans = orphan;
}

/*
 * ---- opening and closing ------------------------------------------------------------------------------------------
 */

static void *option_at(const struct kind *kind, struct parsed *parsed, const char *name) {
    for (const struct option *option = kind->options; option->name; option++)
        if (strcmp(option->name, name) == 0)
            return (char *)parsed + option->offset;
    return NULL;
}

/* Whether sending waits where there is no space, for which the GIL must be given up. */
static bool may_wait(const struct kind *kind, struct parsed *parsed) {
    const uint32_t *when_full = option_at(kind, parsed, "when_full");
    return when_full && *when_full == TARN_FULL_WAIT;
}

/* The library would wait for all of it before signals are seen. */
static struct slices cut(int64_t *option_ns) {
    int64_t whole_ns = option_ns && *option_ns ? *option_ns : DEFAULT_WAIT_NS;
    if (!option_ns || whole_ns <= WAIT_SLICE_NS)
        return (struct slices){0};
    *option_ns = whole_ns / ((whole_ns - 1) / WAIT_SLICE_NS + 1);
    return (struct slices){whole_ns, *option_ns};
}

/* What would wait too long at a time is told not to, and waits here. */
static void take_over_waits(Handle *handle, const struct kind *kind, struct parsed *parsed) {
    if (may_wait(kind, parsed))
        handle->space = cut(option_at(kind, parsed, "full_timeout_s"));
    handle->peer = cut(option_at(kind, parsed, "server_timeout_s"));
    if (!kind->linger)
        return;
    int64_t *linger_ns = option_at(kind, parsed, "linger_s");
    handle->linger_ns = *linger_ns ? *linger_ns : kind->linger_ns;
    *linger_ns = TARN_IMMEDIATELY;
}

static int open_as(Handle *handle, const struct kind *kind, const char *topic, struct parsed *parsed) {
    void *tarn = NULL;
    PyThreadState *state = PyEval_SaveThread();
    int status = kind->open(&tarn, topic, parsed);
    PyEval_RestoreThread(state);
    if (status < 0)
        return fail_status(status);
    handle->tarn = tarn;
    handle->kind = kind;
    handle->epoch = fork_epoch;
    handle->may_wait = may_wait(kind, parsed);
    handle->type = parsed->type_objects[0];
    handle->other_type = parsed->type_objects[1];
    Py_XINCREF(handle->type);
    Py_XINCREF(handle->other_type);
    list_add(handle);
    return 0;
}

int handle_open(Handle *handle, const struct kind *kind, PyObject *arguments, PyObject *options) {
    const char *topic = NULL;
    if (handle->kind) {
        PyErr_Format(PyExc_TypeError, "this %s was opened before", handle->kind->name);
        return -1;
    }
    if (kind->has_no_topic ? !PyArg_ParseTuple(arguments, "") : !PyArg_ParseTuple(arguments, "s", &topic))
        return -1;
    struct parsed parsed;
    int status = options_parse(&parsed, kind, options);
    if (status == 0) {
        take_over_waits(handle, kind, &parsed);
        status = open_as(handle, kind, topic, &parsed);
    }
    options_free(&parsed);
    return status;
}

static bool lingers(const Handle *handle) {
    return handle->kind->linger && handle->has_sent && handle->linger_ns > 0;
}

/* Waits as its linger option says. 0, or -1: raised, and still open. */
static int linger(Handle *handle) {
    int64_t began = now_ns(), deadline = deadline_ns(handle->linger_ns);
    while (handle->tarn) {
        int64_t left = time_left_ns(deadline), tried = now_ns();
        PyThreadState *state = handle_unlock(handle);
        int result = handle->kind->linger(handle->tarn, left < WAIT_SLICE_NS ? left : WAIT_SLICE_NS);
        handle_lock(handle, state);
        int64_t now = now_ns();
        bool is_early = now - tried < WAIT_SLICE_NS;
        if (result < 0 || left <= WAIT_SLICE_NS) /* an error will be told by closing, too */
            return 0;
        if (result > 0 && (is_early || now - began >= KEEPERS_LINGER_NS))
            return 0; /* else it may be that keepers have not, for whom the library waits so long */
        if (PyErr_CheckSignals() < 0)
            return -1;
    }
    return 0;
}

/* Returns what closing returned. */
static int leave(Handle *handle) {
    void *tarn = handle->tarn;
    int (*close)(void *) = handle->kind->close;
    list_remove(handle);
    handle->busy = true;
    if (is_ours(handle))
        discard_orphans(handle);
    handle->tarn = NULL;
    handle->busy = false;
    PyThreadState *state = PyEval_SaveThread();
    int result = close(tarn);
    PyEval_RestoreThread(state);
    return result;
}

/* If so, raises. */
static bool has_views(const Handle *handle) {
    if (handle->views)
        PyErr_Format(
            PyExc_BufferError,
            "the %s cannot be closed: arrays or memoryviews of what ends with it are in use; delete them first",
            handle->kind->name);
    return handle->views;
}

static PyObject *handle_close(PyObject *self, PyObject *unused) {
    Handle *handle = (Handle *)self;
    (void)unused;
    if (!handle->tarn)
        return PyLong_FromLong(0);
    if (!handle_enter(handle))
        return NULL;
    if (!is_ours(handle)) {
        leave(handle);
        return PyLong_FromLong(0);
    }
    if (has_views(handle) || (lingers(handle) && linger(handle) < 0))
        return NULL;
    if (!handle->tarn) /* a signal's handler has closed it */
        return PyLong_FromLong(0);
    if (!handle_enter(handle) || has_views(handle))
        return NULL;
    int result = leave(handle);
    return result < 0 ? raise_status(result) : PyLong_FromLong(result);
}

/* What is opened by threads that go on is not waited for, or there might be no end. */
static Handle *first_to_close(void) {
    for (Handle *handle = open_handles; handle; handle = handle->next)
        if (is_ours(handle) && !handle->busy && !handle->views && !handle->is_late)
            return handle;
    return NULL;
}

/* As when it is dropped. */
static void linger_shortly(Handle *handle) {
    if (!lingers(handle))
        return;
    PyThreadState *state = handle_unlock(handle);
    handle->kind->linger(handle->tarn, handle->linger_ns == TARN_FOREVER ? DROPPED_LINGER_NS : handle->linger_ns);
    PyEval_RestoreThread(state); /* and still busy: nobody else is to close it */
}

void handle_close_all(void) {
    is_ending = true;
    for (Handle *handle; (handle = first_to_close());) {
        Py_INCREF(handle); /* closing gives up the GIL: the list may be another after it */
        linger_shortly(handle);
        leave(handle);
        Py_DECREF(handle);
    }
}

static void warn_unclosed(Handle *handle) {
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (PyErr_WarnFormat(PyExc_ResourceWarning, 1, "a %s was not closed", handle->kind->name) < 0)
        PyErr_WriteUnraisable((PyObject *)Py_TYPE(handle));
    PyErr_Restore(type, value, trace);
}

void handle_drop(Handle *handle) {
    if (is_ours(handle)) {
        handle->busy = true; /* what has no references is nothing for handle_close_all() */
        if (!is_ending)
            warn_unclosed(handle);
        linger_shortly(handle);
    }
    leave(handle);
}

static void handle_dealloc(PyObject *self) {
    Handle *handle = (Handle *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (PyType_GetFlags(type) & Py_TPFLAGS_HAVE_GC)
        PyObject_GC_UnTrack(self);
    if (handle->tarn)
        handle_drop(handle);
    Py_XDECREF(handle->type);
    Py_XDECREF(handle->other_type);
    Py_XDECREF(handle->set_aside);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/*
 * ---- waiting ------------------------------------------------------------------------------------------------------
 */

int timeout_parse(PyObject *seconds, int64_t *ret_ns) {
    *ret_ns = TARN_FOREVER;
    if (!seconds || seconds == Py_None)
        return 0;
    double value = PyFloat_AsDouble(seconds);
    if (value == -1.0 && PyErr_Occurred())
        return -1;
    if (!(value >= 0)) {
        PyErr_SetString(PyExc_ValueError, "a timeout is a number of seconds, 0 or more, or None: for ever");
        return -1;
    }
    if (value < 9e9)
        *ret_ns = (int64_t)(value * 1e9);
    return 0;
}

int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int64_t deadline_ns(int64_t timeout_ns) {
    if (timeout_ns == 0)
        return 0;
    int64_t now = now_ns();
    return timeout_ns > INT64_MAX - now ? INT64_MAX : now + timeout_ns;
}

int64_t time_left_ns(int64_t deadline) {
    if (deadline == 0 || deadline == INT64_MAX)
        return deadline;
    int64_t left = deadline - now_ns();
    return left < 0 ? 0 : left;
}

/*
 * ---- waiting to send ----------------------------------------------------------------------------------------------
 */

/* Whatever is said of servers then. What needs no waiting is said at once. */
static bool has_waited_for_peer(const Handle *handle, int status, const struct patience *patience) {
    return patience->tried_ns && status != TARN_ERROR_INTERRUPTED &&
           now_ns() - patience->tried_ns >= handle->peer.slice_ns;
}

bool handle_goes_on(Handle *handle, int status, struct patience *patience) {
    if (status >= 0)
        return false;
    if (status == TARN_ERROR_FULL) {
        if (!has_patience(&patience->space_until_ns, &handle->space))
            return false;
    } else if (!has_waited_for_peer(handle, status, patience) ||
               !has_patience(&patience->peer_until_ns, &handle->peer)) {
        return false;
    }
    if (PyErr_CheckSignals() < 0 || !handle_enter(handle))
        return false;
    patience->tried_ns = patience->tried_ns ? now_ns() : 0;
    return true;
}

/*
 * ---- waiting to receive --------------------------------------------------------------------------------------------
 */

/* One slice: what wait returned; -1 and 0 as handle_wait. */
static int wait_slice(Handle *handle, int64_t left_ns, int (*wait)(void *, int64_t)) {
    PyThreadState *state = handle_unlock(handle);
    int result = wait(handle->tarn, left_ns < WAIT_SLICE_NS ? left_ns : WAIT_SLICE_NS);
    handle_lock(handle, state);
    return result < 0 ? fail_status(result) : result;
}

static int wait_until(Handle *handle, int64_t deadline, int (*wait)(void *, int64_t)) {
    for (;;) {
        int64_t left = time_left_ns(deadline);
        int result = wait_slice(handle, left, wait);
        if (result != 0)
            return result < 0 ? -1 : 1;
        if (PyErr_CheckSignals() < 0) /* Python's signal handlers run here, and may have closed it */
            return -1;
        if (!handle_enter(handle))
            return -1;
        if (left <= WAIT_SLICE_NS && left != INT64_MAX)
            return 0;
        if (handle->kind->idle && handle->kind->idle(handle->tarn) == 0)
            return 0;
    }
}

int handle_wait(Handle *handle, int64_t deadline) {
    return wait_until(handle, deadline, handle->kind->wait);
}

static int parse_timeout(PyObject *arguments, PyObject *names, int64_t *ret_ns) {
    static char *known[] = {"timeout", NULL};
    PyObject *seconds = NULL;
    if (!PyArg_ParseTupleAndKeywords(arguments, names, "|O", known, &seconds))
        return -1;
    return timeout_parse(seconds, ret_ns);
}

PyObject *handle_take(PyObject *self, PyObject *unused) {
    Handle *handle = (Handle *)self;
    PyObject *taken = NULL;
    (void)unused;
    if (!handle_enter(handle))
        return NULL;
    int result = handle->kind->take(handle, &taken);
    if (result < 0)
        return NULL;
    if (result == 0)
        Py_RETURN_NONE;
    return taken;
}

PyObject *handle_receive(PyObject *self, PyObject *arguments, PyObject *names) {
    Handle *handle = (Handle *)self;
    PyObject *taken = NULL;
    int64_t timeout_ns;
    if (parse_timeout(arguments, names, &timeout_ns) < 0 || !handle_enter(handle))
        return NULL;
    int result = handle->kind->take(handle, &taken);
    if (result == 0 && timeout_ns > 0)
        for (int64_t deadline = deadline_ns(timeout_ns); result == 0;) {
            result = handle_wait(handle, deadline);
            if (result <= 0)
                break;
            result = handle->kind->take(handle, &taken);
        }
    if (result < 0)
        return NULL;
    if (result == 0)
        Py_RETURN_NONE;
    return taken;
}

PyObject *handle_until(PyObject *self, PyObject *arguments, PyObject *names, int (*wait)(void *, int64_t)) {
    Handle *handle = (Handle *)self;
    int64_t timeout_ns;
    if (parse_timeout(arguments, names, &timeout_ns) < 0 || !handle_enter(handle))
        return NULL;
    int result = wait_until(handle, deadline_ns(timeout_ns), wait);
    return result < 0 ? NULL : PyBool_FromLong(result);
}

bool handle_has_set_aside(const Handle *handle) {
    return handle->set_aside && PyList_Size(handle->set_aside) > 0;
}

PyObject *handle_ready(PyObject *self, PyObject *arguments, PyObject *names) {
    Handle *handle = (Handle *)self;
    if (handle_has_set_aside(handle) && handle_enter(handle))
        Py_RETURN_TRUE;
    if (PyErr_Occurred())
        return NULL;
    return handle_until(self, arguments, names, handle->kind ? handle->kind->wait : NULL);
}

/*
 * ---- the rest -----------------------------------------------------------------------------------------------------
 */

PyObject *handle_interrupt(PyObject *self, PyObject *unused) {
    Handle *handle = (Handle *)self;
    (void)unused;
    if (!handle->tarn && !handle_enter(handle))
        return NULL;
    int status = handle->kind->interrupt(handle->tarn);
    if (status < 0)
        return raise_status(status);
    Py_RETURN_NONE;
}

PyObject *handle_fileno(PyObject *self, PyObject *unused) {
    (void)unused;
    Handle *handle = (Handle *)self;
    return handle_count(self, handle->kind ? handle->kind->fd : NULL);
}

PyObject *handle_count(PyObject *self, int (*count)(void *)) {
    Handle *handle = (Handle *)self;
    if (!handle_enter(handle))
        return NULL;
    int result = count(handle->tarn);
    return result < 0 ? raise_status(result) : PyLong_FromLong(result);
}

static PyObject *get_closed(PyObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(!((Handle *)self)->tarn);
}

static PyObject *get_type(PyObject *self, void *unused) {
    PyObject *type = ((Handle *)self)->type;
    (void)unused;
    if (!type)
        Py_RETURN_NONE;
    Py_INCREF(type);
    return type;
}

static PyMethodDef methods[] = {
    {"close", handle_close, METH_NOARGS, "close()\n--\n\nLeaves the topic. What it returns tarn.h says, of most 0."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef getters[] = {
    {"closed", get_closed, NULL, "Whether it was closed.", NULL},
    {"type", get_type, NULL, "The payload type, or None.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A participant of a topic."},
    {Py_tp_dealloc, handle_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, getters},
    {0, NULL},
};

static PyType_Spec spec = {"tarn_ipc._tarn.Handle", sizeof(Handle), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};

PyObject *handle_base;

int handle_add_type(PyObject *module) {
    return add_type(module, &spec, NULL, &handle_base);
}
