/* The inner loops of event ids, compiled: the same as their Python twins, some ten times faster.
 *
 * `scan_records` is `id_scan`'s walk over a batch and hash of each id; `add`, `find` and
 * `drop_first` are `id_lookup`'s. `have_keys` is `records.keys`' walk on its way past good records,
 * which begin the same. Python stays the judge: whatever `scan_records` does not like it
 * answers with None, and the Python walk says what is wrong. tests/dedup/test_native.py holds both
 * to the same results on any bytes.
 *
 * Invariants: nothing is read outside the buffers given; nothing is kept between two calls; no
 * call gives up the interpreter. Limited API of Python 3.11: one file serves all later versions.
 * Does not: know windows, offsets of the log, or which ids count.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

/* Raised with every change of what a function takes or returns; `native.py` expects it. */
#define INTERFACE 3

#define HASH_BYTES 16
#define FINGERPRINT_BYTES 8
#define CELL_BYTES 12
#define ID_BYTES_MAX 256
#define VARINT_BYTES_MAX 10

/* BLAKE2b (RFC 7693), 16 bytes of digest, no key, one message at a time. */

#define BLOCK_BYTES 128
#define ROUNDS 12
#define FIRST_PARAMETERS 0x01010010ULL /* fan-out 1, depth 1, no key, 16 bytes of digest */

static const uint64_t INITIAL[8] = {
    0x6a09e667f3bcc908ULL, 0xbb67ae8584caa73bULL, 0x3c6ef372fe94f82bULL, 0xa54ff53a5f1d36f1ULL,
    0x510e527fade682d1ULL, 0x9b05688c2b3e6c1fULL, 0x1f83d9abfb41bd6bULL, 0x5be0cd19137e2179ULL};

static const uint8_t SIGMA[ROUNDS][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3}};

static uint64_t
load64(const uint8_t *bytes)
{
    uint64_t word = 0;
    for (int at = 7; at >= 0; at--) {
        word = word << 8 | bytes[at];
    }
    return word;
}

static uint64_t
rotate(uint64_t word, int by)
{
    return word >> by | word << (64 - by);
}

static void
mix(uint64_t v[16], int a, int b, int c, int d, uint64_t x, uint64_t y)
{
    v[a] += v[b] + x;
    v[d] = rotate(v[d] ^ v[a], 32);
    v[c] += v[d];
    v[b] = rotate(v[b] ^ v[c], 24);
    v[a] += v[b] + y;
    v[d] = rotate(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = rotate(v[b] ^ v[c], 63);
}

static void
compress(uint64_t h[8], const uint8_t *block, uint64_t length, int is_last)
{
    uint64_t v[16], m[16];
    for (int at = 0; at < 16; at++) {
        m[at] = load64(block + 8 * at);
    }
    memcpy(v, h, 8 * sizeof(uint64_t));
    memcpy(v + 8, INITIAL, sizeof(INITIAL));
    v[12] ^= length;
    v[14] ^= is_last ? ~0ULL : 0;
    for (int round = 0; round < ROUNDS; round++) {
        const uint8_t *s = SIGMA[round];
        mix(v, 0, 4, 8, 12, m[s[0]], m[s[1]]);
        mix(v, 1, 5, 9, 13, m[s[2]], m[s[3]]);
        mix(v, 2, 6, 10, 14, m[s[4]], m[s[5]]);
        mix(v, 3, 7, 11, 15, m[s[6]], m[s[7]]);
        mix(v, 0, 5, 10, 15, m[s[8]], m[s[9]]);
        mix(v, 1, 6, 11, 12, m[s[10]], m[s[11]]);
        mix(v, 2, 7, 8, 13, m[s[12]], m[s[13]]);
        mix(v, 3, 4, 9, 14, m[s[14]], m[s[15]]);
    }
    for (int at = 0; at < 8; at++) {
        h[at] ^= v[at] ^ v[at + 8];
    }
}

/* Write BLAKE2b-128 of `text` to `digest`; `person` is 16 bytes, zeros for none. */
static void
hash(uint8_t *digest, const uint8_t *text, size_t length, const uint8_t person[16])
{
    uint64_t h[8];
    uint8_t block[BLOCK_BYTES] = {0};
    uint64_t done = 0;

    memcpy(h, INITIAL, sizeof(INITIAL));
    h[0] ^= FIRST_PARAMETERS;
    h[6] ^= load64(person);
    h[7] ^= load64(person + 8);
    while (length - done > BLOCK_BYTES) {
        compress(h, text + done, done + BLOCK_BYTES, 0);
        done += BLOCK_BYTES;
    }
    memcpy(block, text + done, length - done);
    compress(h, block, length, 1);
    for (int at = 0; at < HASH_BYTES; at++) {
        digest[at] = (uint8_t)(h[at / 8] >> 8 * (at % 8));
    }
}

/* The walk over records. A cursor that ran into bytes that are no record says so for good. */

typedef struct {
    const uint8_t *data;
    size_t at;
    size_t end;
    int is_broken;
} Cursor;

typedef struct {
    const uint8_t *bytes;
    int64_t length; /* -1: null */
} Field;

/* A zigzag varint of at most ten bytes; one that does not fit 64 bits breaks the cursor, which
 * leaves it to Python, whose numbers have no end. */
static int64_t
varint(Cursor *cursor)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 7 * VARINT_BYTES_MAX; shift += 7) {
        if (cursor->at >= cursor->end) {
            break;
        }
        uint8_t byte = cursor->data[cursor->at++];
        if (shift == 63 && byte > 1) {
            break;
        }
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
        }
    }
    cursor->is_broken = 1;
    return 0;
}

/* A length and so many bytes; only with `may_be_null` may the length be -1. */
static Field
field(Cursor *cursor, int may_be_null)
{
    Field found = {NULL, varint(cursor)};
    if (cursor->is_broken || found.length < -may_be_null ||
        (found.length > 0 && (uint64_t)found.length > cursor->end - cursor->at)) {
        cursor->is_broken = 1;
        return found;
    }
    found.bytes = cursor->data + cursor->at;
    if (found.length > 0) {
        cursor->at += (size_t)found.length;
    }
    return found;
}

static int
equals(Field found, const char *name, size_t length)
{
    return (size_t)found.length == length && memcmp(found.bytes, name, length) == 0;
}

static int
is_id(Field found)
{
    return 0 < found.length && found.length <= ID_BYTES_MAX;
}

static const uint8_t PLAIN[16] = {0};
static const uint8_t CLOUD_EVENT[16] = "cloudevents";

static void
hash_cloud_event(uint8_t *digest, Field source, Field id)
{
    uint8_t text[2 + 2 * ID_BYTES_MAX];
    text[0] = (uint8_t)(source.length >> 8);
    text[1] = (uint8_t)source.length;
    memcpy(text + 2, source.bytes, (size_t)source.length);
    memcpy(text + 2 + source.length, id.bytes, (size_t)id.length);
    hash(digest, text, 2 + (size_t)(source.length + id.length), CLOUD_EVENT);
}

/* Read `count` headers; write the id's hash to `digest` if there is one.
 * Returns 1 with an id, 0 without; an id that is wrong breaks the cursor. */
static int
read_id(Cursor *cursor, int64_t count, const char *name, size_t name_length, uint8_t *digest)
{
    Field plain = {NULL, -1}, cloud = {NULL, -1}, source = {NULL, -1};
    int plain_count = 0, cloud_count = 0, source_count = 0;

    for (int64_t number = 0; number < count; number++) {
        Field key = field(cursor, 0);
        Field value = field(cursor, 1);
        if (cursor->is_broken) {
            return 0;
        }
        if (equals(key, name, name_length) || equals(key, "Nats-Msg-Id", 11)) {
            plain = value;
            plain_count += plain_count < 2;
        }
        else if (equals(key, "ce_id", 5)) {
            cloud = value;
            cloud_count += cloud_count < 2;
        }
        else if (equals(key, "ce_source", 9)) {
            source = value;
            source_count += source_count < 2;
        }
    }
    if (plain_count + cloud_count == 0) {
        return 0;
    }
    if (plain_count == 1 && cloud_count == 0 && is_id(plain)) {
        hash(digest, plain.bytes, (size_t)plain.length, PLAIN);
        return 1;
    }
    if (cloud_count == 1 && plain_count == 0 && source_count == 1 && is_id(cloud) &&
        is_id(source)) {
        hash_cloud_event(digest, source, cloud);
        return 1;
    }
    cursor->is_broken = 1;
    return 0;
}

typedef struct {
    uint32_t *ends;
    uint32_t *deltas;
    uint32_t *places;
    uint8_t *hashes;
    size_t id_count;
} Found;

/* Returns whether `count` records, all well, fill `data`. */
static int
walk(Cursor *cursor, uint32_t count, int64_t last_delta, const char *name, size_t name_length,
     Found *found)
{
    size_t data_end = cursor->end;
    int64_t delta_before = -1;

    for (uint32_t number = 0; number < count; number++) {
        int64_t length = varint(cursor);
        if (cursor->is_broken || length < 1 || (uint64_t)length > data_end - cursor->at) {
            return 0;
        }
        size_t end = cursor->at + (size_t)length;
        cursor->at++; /* attributes */
        varint(cursor); /* timestamp delta */
        int64_t delta = varint(cursor);
        field(cursor, 1); /* key */
        field(cursor, 1); /* value */
        int64_t header_count = varint(cursor);
        if (cursor->is_broken || header_count < 0 ||
            (uint64_t)header_count > data_end - cursor->at) {
            return 0;
        }
        uint8_t *digest = found->hashes + HASH_BYTES * found->id_count;
        if (header_count > 0 && read_id(cursor, header_count, name, name_length, digest)) {
            found->places[found->id_count++] = number;
        }
        if (cursor->is_broken || cursor->at != end || delta <= delta_before ||
            delta > last_delta) {
            return 0;
        }
        delta_before = delta;
        found->ends[number] = (uint32_t)end;
        found->deltas[number] = (uint32_t)delta;
    }
    return cursor->at == data_end;
}

static PyObject *
results(const Found *found, uint32_t count)
{
    size_t size = count * sizeof(uint32_t);
    return Py_BuildValue(
        "y#y#y#y#", found->ends, (Py_ssize_t)size, found->deltas, (Py_ssize_t)size, found->places,
        (Py_ssize_t)(found->id_count * sizeof(uint32_t)), found->hashes,
        (Py_ssize_t)(found->id_count * HASH_BYTES));
}

PyDoc_STRVAR(scan_records_doc,
"scan_records(data, count, last_delta, header) -> (ends, deltas, places, hashes) | None\n\n"
"Walk over `count` records. ends, deltas and places (of records with an id) are 32-bit numbers\n"
"in the machine's order, hashes lie one behind the other. None: the Python walk decides.");

static PyObject *
scan_records(PyObject *module, PyObject *args)
{
    Py_buffer data, header;
    unsigned int count;
    long long last_delta;
    PyObject *result = NULL;
    (void)module;

    if (!PyArg_ParseTuple(args, "y*ILy*", &data, &count, &last_delta, &header)) {
        return NULL;
    }
    /* A record takes seven bytes or more: a count that cannot be true asks for no memory. */
    if ((uint64_t)data.len > UINT32_MAX || (uint64_t)count * 7 > (uint64_t)data.len ||
        last_delta > INT32_MAX) {
        result = Py_NewRef(Py_None);
    }
    else {
        size_t numbers = (size_t)count * sizeof(uint32_t);
        uint8_t *memory = PyMem_Malloc(3 * numbers + (size_t)count * HASH_BYTES + 1);
        if (memory == NULL) {
            PyErr_NoMemory();
        }
        else {
            Cursor cursor = {data.buf, 0, (size_t)data.len, 0};
            Found found = {(uint32_t *)memory, (uint32_t *)(memory + numbers),
                           (uint32_t *)(memory + 2 * numbers), memory + 3 * numbers, 0};
            int is_well = walk(&cursor, count, last_delta, header.buf, (size_t)header.len, &found);
            result = is_well ? results(&found, count) : Py_NewRef(Py_None);
            PyMem_Free(memory);
        }
    }
    PyBuffer_Release(&data);
    PyBuffer_Release(&header);
    return result;
}

PyDoc_STRVAR(have_keys_doc,
"have_keys(data, count, last_delta) -> bool\n\n"
"Say whether `count` records, each with a key, fill `data`. False: the Python walk decides.");

static PyObject *
have_keys(PyObject *module, PyObject *args)
{
    Py_buffer data;
    unsigned int count;
    long long last_delta;
    (void)module;

    if (!PyArg_ParseTuple(args, "y*IL", &data, &count, &last_delta)) {
        return NULL;
    }
    Cursor cursor = {data.buf, 0, (size_t)data.len, 0};
    int64_t delta_before = -1;
    for (uint32_t number = 0; number < count && !cursor.is_broken; number++) {
        int64_t length = varint(&cursor);
        if (cursor.is_broken || length < 1 || (uint64_t)length > cursor.end - cursor.at) {
            cursor.is_broken = 1;
            break;
        }
        size_t end = cursor.at + (size_t)length;
        cursor.at++; /* attributes */
        varint(&cursor); /* timestamp delta */
        int64_t delta = varint(&cursor);
        field(&cursor, 0); /* key */
        field(&cursor, 1); /* value */
        cursor.is_broken |= cursor.at >= end || delta <= delta_before || delta > last_delta;
        delta_before = delta;
        cursor.at = end; /* headers are nobody's business here */
    }
    int is_well = !cursor.is_broken && cursor.at == cursor.end;
    PyBuffer_Release(&data);
    return PyBool_FromLong(is_well);
}

/* The lookup: a list of bytearrays, see id_lookup.py. */

typedef struct {
    PyObject *groups;
    uint64_t key;
    Py_buffer hashes;
    uint32_t half;
    uint32_t split;
} Lookup;

static uint32_t
load32(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void
store32(uint8_t *bytes, uint32_t number)
{
    for (int at = 0; at < 4; at++) {
        bytes[at] = (uint8_t)(number >> 8 * at);
    }
}

/* The group of a hash, borrowed; NULL with an exception if the list is not what it should be. */
static PyObject *
group_of(const Lookup *lookup, const uint8_t *fingerprint)
{
    uint32_t bits = (uint32_t)(load64(fingerprint) * lookup->key >> 32);
    uint32_t number = bits & (lookup->half - 1);
    if (number < lookup->split) {
        number = bits & (2 * lookup->half - 1);
    }
    PyObject *group = PyList_GetItem(lookup->groups, (Py_ssize_t)number);
    if (group != NULL && !PyObject_TypeCheck(group, &PyByteArray_Type)) {
        PyErr_SetString(PyExc_TypeError, "a group is a bytearray");
        return NULL;
    }
    return group;
}

/* Take (groups, key, half, split, hashes, number) or, without `number`, the first five. */
static int
take(PyObject *args, Lookup *lookup, unsigned int *number)
{
    unsigned int half, split;
    unsigned long long key;
    int is_right =
        number != NULL
            ? PyArg_ParseTuple(args, "OKIIy*I", &lookup->groups, &key, &half, &split,
                               &lookup->hashes, number)
            : PyArg_ParseTuple(args, "OKIIy*", &lookup->groups, &key, &half, &split,
                               &lookup->hashes);
    if (!is_right) {
        return 0;
    }
    lookup->key = key;
    lookup->half = half;
    lookup->split = split;
    if (!PyList_Check(lookup->groups) || lookup->hashes.len % HASH_BYTES != 0 || half == 0 ||
        (half & (half - 1)) != 0 || half > UINT32_MAX / 4) {
        PyBuffer_Release(&lookup->hashes);
        PyErr_SetString(PyExc_ValueError, "expected groups, a power of two, and whole hashes");
        return 0;
    }
    return 1;
}

PyDoc_STRVAR(add_doc,
"add(groups, key, half, split, hashes, number)\n\nPut a cell for each hash at its group's end.");

static PyObject *
add(PyObject *module, PyObject *args)
{
    Lookup lookup;
    unsigned int number;
    (void)module;

    if (!take(args, &lookup, &number)) {
        return NULL;
    }
    const uint8_t *hashes = lookup.hashes.buf;
    PyObject *result = Py_None;
    for (Py_ssize_t at = 0; at < lookup.hashes.len && result != NULL; at += HASH_BYTES) {
        PyObject *group = group_of(&lookup, hashes + at);
        Py_ssize_t size = group == NULL ? 0 : PyByteArray_Size(group);
        if (group == NULL || PyByteArray_Resize(group, size + CELL_BYTES) < 0) {
            result = NULL;
            break;
        }
        uint8_t *cell = (uint8_t *)PyByteArray_AsString(group) + size;
        memcpy(cell, hashes + at, FINGERPRINT_BYTES);
        store32(cell + FINGERPRINT_BYTES, number++);
    }
    PyBuffer_Release(&lookup.hashes);
    return result == NULL ? NULL : Py_NewRef(result);
}

/* Append the cells of one group that begin so, the newest first. */
static int
find_one(PyObject *group, const uint8_t *fingerprint, Py_ssize_t place, PyObject *found)
{
    const uint8_t *cells = (const uint8_t *)PyByteArray_AsString(group);
    for (Py_ssize_t at = PyByteArray_Size(group) - CELL_BYTES; at >= 0; at -= CELL_BYTES) {
        if (memcmp(cells + at, fingerprint, FINGERPRINT_BYTES) != 0) {
            continue;
        }
        PyObject *pair = Py_BuildValue("nI", place, load32(cells + at + FINGERPRINT_BYTES));
        int is_right = pair != NULL && PyList_Append(found, pair) == 0;
        Py_XDECREF(pair);
        if (!is_right) {
            return 0;
        }
    }
    return 1;
}

PyDoc_STRVAR(find_doc,
"find(groups, key, half, split, hashes) -> [(place, number), ...]\n\n"
"Say which hashes may be known: each by its place among `hashes`, with low bits of numbers.");

static PyObject *
find(PyObject *module, PyObject *args)
{
    Lookup lookup;
    (void)module;

    if (!take(args, &lookup, NULL)) {
        return NULL;
    }
    const uint8_t *hashes = lookup.hashes.buf;
    PyObject *found = PyList_New(0);
    for (Py_ssize_t at = 0; at < lookup.hashes.len && found != NULL; at += HASH_BYTES) {
        PyObject *group = group_of(&lookup, hashes + at);
        if (group == NULL || !find_one(group, hashes + at, at / HASH_BYTES, found)) {
            Py_CLEAR(found);
        }
    }
    PyBuffer_Release(&lookup.hashes);
    return found;
}

PyDoc_STRVAR(drop_first_doc,
"drop_first(groups, key, half, split, hashes, number) -> bool\n\n"
"Forget the first cell of each hash's group. False: it is another one, and the rest stays.");

static PyObject *
drop_first(PyObject *module, PyObject *args)
{
    Lookup lookup;
    unsigned int number;
    (void)module;

    if (!take(args, &lookup, &number)) {
        return NULL;
    }
    const uint8_t *hashes = lookup.hashes.buf;
    PyObject *result = Py_True;
    for (Py_ssize_t at = 0; at < lookup.hashes.len && result == Py_True; at += HASH_BYTES) {
        PyObject *group = group_of(&lookup, hashes + at);
        if (group == NULL) {
            result = NULL;
            break;
        }
        const uint8_t *cell = (const uint8_t *)PyByteArray_AsString(group);
        if (PyByteArray_Size(group) < CELL_BYTES ||
            memcmp(cell, hashes + at, FINGERPRINT_BYTES) != 0 ||
            load32(cell + FINGERPRINT_BYTES) != number++) {
            result = Py_False;
        }
        else if (PySequence_DelSlice(group, 0, CELL_BYTES) < 0) {
            result = NULL;
        }
    }
    PyBuffer_Release(&lookup.hashes);
    return result == NULL ? NULL : Py_NewRef(result);
}

static PyMethodDef FUNCTIONS[] = {
    {"scan_records", scan_records, METH_VARARGS, scan_records_doc},
    {"have_keys", have_keys, METH_VARARGS, have_keys_doc},
    {"add", add, METH_VARARGS, add_doc},
    {"find", find, METH_VARARGS, find_doc},
    {"drop_first", drop_first, METH_VARARGS, drop_first_doc},
    {NULL, NULL, 0, NULL}};

static int
execute(PyObject *module)
{
    return PyModule_AddIntConstant(module, "INTERFACE", INTERFACE);
}

/* CPython asks for a function's address in a `void *`, which ISO C does not know. */
__extension__ static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, execute}, {0, NULL}};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_native", "The inner loops of event ids, compiled.", 0, FUNCTIONS,
    SLOTS, NULL, NULL, NULL};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&MODULE);
}
