/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * array(): a payload's memory as a numpy array. What is usual is made here, by numpy's own C functions: a receiver that
 * has waited finds none of this code in its caches, so little of it should be run. numpy.frombuffer() asks for a
 * writable buffer first, raises and forgets an error. All else, and what other versions of numpy may be like, goes the
 * way through Python.
 */
#include "binding.h"

/*
 * numpy's table of functions is frozen: it grows at its end only (numpy/_core/code_generators/numpy_api.py). Declared
 * here, as numpy is not needed to build nor to import this module.
 */
#define NUMPY_TABLE_VERSION 0   /* unsigned PyArray_GetNDArrayCVersion(void) */
#define NUMPY_ARRAY_TYPE 2      /* PyArray_Type */
#define NUMPY_DESCR_TYPE 3      /* PyArrayDescr_Type */
#define NUMPY_UPDATE_FLAGS 92   /* PyArray_UpdateFlags */
#define NUMPY_NEW_FROM_DESCR 94 /* PyArray_NewFromDescr: steals descr */
#define NUMPY_SET_BASE 282      /* PyArray_SetBaseObject: steals base */
#define NUMPY_VERSION_1 0x01000009u
#define NUMPY_VERSION_2 0x02000000u
#define NUMPY_C_CONTIGUOUS 0x0001
#define NUMPY_ALIGNED 0x0100
#define NUMPY_WRITEABLE 0x0400

static struct numpy {
    bool was_sought;
    PyTypeObject *array_type; /* NULL: not one that we know */
    PyTypeObject *descr_type;
    void (*update_flags)(PyObject *array, int flags);
    PyObject *(*new_from_descr)(PyTypeObject *type, PyObject *descr, int dimensions, const intptr_t *shape,
                                const intptr_t *strides, void *data, int flags, PyObject *object);
    int (*set_base)(PyObject *array, PyObject *base);
} numpy;

static void **import_table(const char *module_name) {
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *capsule = module ? PyObject_GetAttrString(module, "_ARRAY_API") : NULL;
    void **table = capsule ? PyCapsule_GetPointer(capsule, NULL) : NULL;
    Py_XDECREF(capsule);
    Py_XDECREF(module);
    PyErr_Clear();
    return table;
}

/* Once numpy was imported by who has looked up a dtype. */
static void seek_numpy(void) {
    numpy.was_sought = true;
    void **table = import_table("numpy._core._multiarray_umath");
    if (!table)
        table = import_table("numpy.core._multiarray_umath");
    if (!table)
        return;
    unsigned version = ((unsigned (*)(void))table[NUMPY_TABLE_VERSION])();
    if (version != NUMPY_VERSION_1 && version != NUMPY_VERSION_2)
        return;
    memcpy(&numpy.update_flags, &table[NUMPY_UPDATE_FLAGS], sizeof(void *));
    memcpy(&numpy.new_from_descr, &table[NUMPY_NEW_FROM_DESCR], sizeof(void *));
    memcpy(&numpy.set_base, &table[NUMPY_SET_BASE], sizeof(void *));
    numpy.descr_type = table[NUMPY_DESCR_TYPE];
    numpy.array_type = table[NUMPY_ARRAY_TYPE];
}

/* ---- what an array of a payload's memory keeps (its base) -------------------------------------------------------- */

typedef struct View {
    PyObject_HEAD Payload *of;
} View;

static PyObject *view_type;

static PyObject *view_new(Payload *payload) {
    View *view = (View *)PyType_GenericAlloc((PyTypeObject *)view_type, 0);
    if (!view)
        return NULL;
    view->of = payload;
    Py_INCREF(payload);
    payload_lend(payload);
    return (PyObject *)view;
}

static void view_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    Payload *payload = ((View *)self)->of;
    if (payload) {
        payload_get_back(payload);
        Py_DECREF(payload);
    }
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* numpy asks whether it is writable when an array is to be so again. */
static int view_get_buffer(PyObject *self, Buffer *ret, int flags) {
    Payload *payload = ((View *)self)->of;
    if (payload)
        return PyObject_GetBuffer((PyObject *)payload, ret, flags);
    ret->obj = NULL;
    PyErr_SetString(PyExc_TypeError, "such objects come from array()");
    return -1;
}

int array_add_types(PyObject *module) {
    PyType_Slot slots[] = {
        {Py_tp_doc, "Keeps what an array is of."},
        {Py_tp_dealloc, view_dealloc},
        {Py_bf_getbuffer, view_get_buffer},
        {0, NULL},
    };
    PyType_Spec spec = {"tarn_ipc._tarn.View", sizeof(View), 0, Py_TPFLAGS_DEFAULT, slots};
    return add_type(module, &spec, NULL, &view_type);
}

/*
 * ---- arrays -------------------------------------------------------------------------------------------------------
 */

static PyObject *array_of_view(const Payload *payload, PyObject *view, PyObject *descr, Py_ssize_t element_bytes) {
    intptr_t count = (intptr_t)payload->place.bytes / element_bytes;
    int flags = NUMPY_C_CONTIGUOUS | NUMPY_ALIGNED | (payload->kind->is_writable ? NUMPY_WRITEABLE : 0);
    Py_INCREF(descr);
    PyObject *array = numpy.new_from_descr(numpy.array_type, descr, 1, &count, NULL, payload->place.data, flags, NULL);
    if (!array) {
        Py_DECREF(view);
        return NULL;
    }
    if (numpy.set_base(array, view) < 0) {
        Py_DECREF(array);
        return NULL;
    }
    numpy.update_flags(array, NUMPY_ALIGNED);
    return array;
}

/* What is known of a dtype; or NULL. */
static PyObject *look_up(PyObject *dtype) {
    PyObject *known = PyDict_GetItemWithError(classes.known_dtypes, dtype);
    if (!known && PyErr_ExceptionMatches(PyExc_TypeError))
        PyErr_Clear(); /* it has no hash */
    return known;
}

/* Of what is known to be a plain dtype, as many as there are. NULL: the long way, unless something was raised. */
static PyObject *array_easily(PyObject *self, PyObject *dtype) {
    Payload *payload = (Payload *)self;
    PyObject *known = look_up(dtype);
    if (!known)
        return NULL;
    if (!numpy.was_sought)
        seek_numpy();
    if (!numpy.array_type || payload_may_be_seen(payload) < 0)
        return NULL;
    /* what is equal may still be another, as a numpy.record is */
    PyObject *descr = PyObject_TypeCheck(dtype, numpy.descr_type) ? dtype : PyTuple_GetItem(known, 0);
    PyObject *inner = PyTuple_GetItem(known, 1);
    Py_ssize_t element_bytes = PyLong_AsSsize_t(PyTuple_GetItem(known, 2));
    size_t bytes = payload->place.bytes;
    if (PyTuple_Size(inner) != 0 || bytes == 0 || element_bytes <= 0 || bytes % (size_t)element_bytes)
        return NULL;
    PyObject *view = view_new(payload);
    return view ? array_of_view(payload, view, descr, element_bytes) : NULL;
}

/* The topic's, else None: bytes. A new reference. */
static PyObject *dtype_of(const Payload *payload) {
    if (payload->type)
        return PyObject_GetAttrString(payload->type, "dtype");
    Py_INCREF(Py_None);
    return Py_None;
}

PyObject *payload_array(PyObject *self, PyObject *arguments, PyObject *names) {
    static char *known[] = {"dtype", "shape", NULL};
    PyObject *dtype = Py_None, *shape = Py_None;
    if (!names && PyTuple_Size(arguments) == 1)
        dtype = PyTuple_GetItem(arguments, 0);
    else if (!PyArg_ParseTupleAndKeywords(arguments, names, "|OO", known, &dtype, &shape))
        return NULL;
    if (dtype == Py_None)
        dtype = dtype_of((Payload *)self);
    else
        Py_INCREF(dtype);
    if (!dtype)
        return NULL;
    PyObject *array = shape == Py_None ? array_easily(self, dtype) : NULL;
    if (!array && !PyErr_Occurred())
        array = PyObject_CallFunctionObjArgs(classes.array_of_payload, self, dtype, shape, NULL);
    Py_DECREF(dtype);
    return array;
}
