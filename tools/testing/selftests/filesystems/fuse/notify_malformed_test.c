// SPDX-License-Identifier: GPL-2.0
/*
 * FUSE notifications as a server writes them to /dev/fuse, byte by byte: good ones,
 * ones about nothing, and ones that no server should write.
 *
 * A small tree is cached in full: names, absent names, attributes, data. A message is written,
 * and then everything is looked at again. What the server is asked for must be exactly what the
 * message made stale: nothing after one that is refused. The messages are rows of a table; and
 * one good message of each kind is cut, changed at random, and sent at unusual times. The
 * environment says how many random messages there are, and which:
 *
 *   FUSE_FUZZ_COUNT=20000 FUSE_FUZZ_SEED=7 ./notify_malformed_test -t random
 */
#define _GNU_SOURCE
#include "fuse_test_server.h"

#include <sys/wait.h>

#define BIT(n)		(1ULL << (n))
#define HEADER		sizeof(struct fuse_out_header)
#define LONGEST		(PATH_MAX - 1)	/* name, if a request may have two pages */

/* What is cached. Up to TOP, these are the nodeids, which the server gives in this order. */

enum { PARENT = ROOT + 1, INNER, SUB, LEAF, EMPTY, TOP, NONE, ABSENT, THINGS, NOBODY = 99 };

static const struct {
	const char *path;
	mode_t type;		/* or 0 if the name is absent */
} things[THINGS] = {
	[ROOT]		= { ".",		S_IFDIR },
	[PARENT]	= { "dir",		S_IFDIR },
	[INNER]		= { "dir/file",		S_IFREG },
	[SUB]		= { "dir/sub",		S_IFDIR },
	[LEAF]		= { "dir/sub/leaf",	S_IFREG },
	[EMPTY]		= { "empty",		S_IFDIR },
	[TOP]		= { "file",		S_IFREG },
	[NONE]		= { "dir/none" },
	[ABSENT]	= { "none" },
};

/* What was asked for, or is expected to be. */
#define NAME(thing)	BIT(thing)
#define ATTR(thing)	BIT((thing) + 16)
#define DATA(thing)	BIT((thing) + 32)
#define STORED		BIT(48)	/* there is data that a test has stored */
#define WRONG		BIT(49)	/* an answer that was never right */
#define IN_DIR		(NAME(INNER) | NAME(NONE) | NAME(SUB) | NAME(LEAF))
#define ALL_NAMES	(NAME(PARENT) | IN_DIR | NAME(EMPTY) | NAME(TOP) | NAME(ABSENT))

static __u64 look_at_data(const char *path)
{
	char data[FILE_SIZE] = "";
	int i, fd = open(path, O_RDONLY | O_CLOEXEC);

	if (pread(fd, data, FILE_SIZE, 0) != FILE_SIZE)
		return WRONG;
	close(fd);
	for (i = 0; i < FILE_SIZE; i++) {
		if (data[i] != srv.content[i])
			return data[i] == '+' ? STORED : WRONG;
	}
	return 0;
}

static __u64 look_around(void)
{
	static const int opcodes[] = { FUSE_LOOKUP, FUSE_GETATTR, FUSE_READ };
	int i, k, before[3];
	__u64 seen = 0;

	for (i = ROOT; i < THINGS; i++) {
		for (k = 0; k < 3; k++)
			before[k] = srv.requests[opcodes[k]];
		if (look(things[i].path) != (things[i].type ? 0 : -ENOENT))
			seen |= WRONG;
		if (things[i].type == S_IFREG)
			seen |= look_at_data(things[i].path);
		for (k = 0; k < 3; k++)
			seen |= srv.requests[opcodes[k]] != before[k] ? BIT(i + 16 * k) : 0;
	}
	/* And the server is there, and answers. */
	before[0] = srv.requests[FUSE_GETATTR];
	if (ask_attributes(".") || srv.requests[FUSE_GETATTR] != before[0] + 1)
		seen |= WRONG;
	return seen;
}

static void fill_cache(struct __test_metadata *_metadata)
{
	/* Reading makes the time of access stale, so look more than once. */
	for (int i = 0; i < 4 && look_around(); i++)
		;
	ASSERT_EQ(0, look_around())
		TH_LOG("something does not stay cached");
}

/* Messages. */

union arg {
	struct fuse_notify_inval_entry_out entry;
	struct fuse_notify_delete_out delete;
	struct fuse_notify_poll_wakeup_out poll;
	struct fuse_notify_inval_inode_out inode;
	struct fuse_notify_store_out store;
	struct fuse_notify_retrieve_out retrieve;
	struct fuse_notify_prune_out prune;
};

struct msg {
	size_t len;
	union {
		struct fuse_out_header header;
		char data[4 * PATH_MAX];
	};
};

/* A message, what its write() has to return, and what is stale after it. */
struct row {
	const char *what;
	int code;
	union arg arg;
	size_t size;
	const void *tail;
	int tail_len;
	int more;	/* so many bytes more of the tail, or fewer, than there should be */
	int err;
	__u64 stale;
};

#define ROW(...)	{ .what = #__VA_ARGS__, __VA_ARGS__ }

#define KIND(code_, type) \
	.code = FUSE_NOTIFY_##code_, .size = sizeof(struct fuse_notify_##type##_out)
#define TAIL(data)	.tail = data, .tail_len = sizeof(data)

#define ENTRY_LEN(parent, flags, name, len) \
	KIND(INVAL_ENTRY, inval_entry), .arg.entry = { parent, len, flags }, TAIL(name)
#define ENTRY(parent, flags, name)	ENTRY_LEN(parent, flags, name, sizeof(name) - 1)
#define DELETE(parent, child, name) \
	KIND(DELETE, delete), .arg.delete = { parent, child, sizeof(name) - 1 }, TAIL(name)
#define POLL(handle)	KIND(POLL, poll_wakeup), .arg.poll = { handle }
#define INODE(nodeid, offset, len) \
	KIND(INVAL_INODE, inval_inode), .arg.inode = { nodeid, offset, len }
#define STORE(nodeid, offset, count) \
	KIND(STORE, store), .arg.store = { nodeid, offset, count }
#define RETRIEVE(unique, nodeid, offset, count) \
	KIND(RETRIEVE, retrieve), .arg.retrieve = { unique, nodeid, offset, count }
#define PRUNE_COUNT(nodes, count) \
	KIND(PRUNE, prune), .arg.prune = { count }, TAIL(nodes)
#define PRUNE(nodes)	PRUNE_COUNT(nodes, sizeof(nodes) / sizeof(__u64))

static char pluses[3 * 4096];
static const __u64 no_nodes[] = {};
static const __u64 some_nodes[] = { TOP, NOBODY, LEAF };
static const __u64 nobody[] = { 0, NOBODY, UINT64_MAX, TOP | BIT(32) };
static const __u64 in_use[] = { ROOT, PARENT, SUB };
static const __u64 last_of_513[513] = { [512] = TOP };
static const __u64 last_of_1025[1025] = { [1024] = TOP };

/* What is stale when a name goes, and when data is. */
#define FILE_GONE	(NAME(INNER) | ATTR(PARENT))
#define DIR_GONE	(NAME(PARENT) | IN_DIR | ATTR(ROOT))
#define OLD_DATA	(ATTR(TOP) | DATA(TOP))

/* Another name in a cached directory, and lengths that are wrong. */
#define OTHER(name)	ROW(ENTRY(PARENT, 0, name), .err = -ENOENT, .stale = ATTR(PARENT))
#define WRONG_LEN(len)	ROW(ENTRY_LEN(PARENT, 0, "file", len), .err = -EINVAL)
#define TOO_LONG(len)	ROW(ENTRY_LEN(PARENT, 0, "file", len), .err = -ENAMETOOLONG)

/* An inval_entry without flags is also sent as a delete that names no child. */
static const struct row rows[] = {
	/* A good message of each kind. */
	ROW(ENTRY(PARENT, 0, "file"), .stale = FILE_GONE),
	ROW(DELETE(PARENT, INNER, "file"), .stale = FILE_GONE), ROW(POLL(1)),
	ROW(INODE(INNER, 0, 0), .stale = ATTR(INNER) | DATA(INNER)),
	ROW(STORE(TOP, 8, 6), .stale = STORED), ROW(RETRIEVE(4711, TOP, 8, 16)),
	ROW(.code = FUSE_NOTIFY_RESEND), ROW(.code = FUSE_NOTIFY_INC_EPOCH, .stale = ALL_NAMES),
	ROW(PRUNE(some_nodes), .stale = NAME(TOP) | NAME(LEAF) | NAME(SUB)),

	/* All 64 bits of the parent's nodeid count, and the parent has to be a directory. */
	ROW(ENTRY(0, 0, "file"), .err = -ENOENT), ROW(ENTRY(NOBODY, 0, "file"), .err = -ENOENT),
	ROW(ENTRY(PARENT | BIT(32), 0, "file"), .err = -ENOENT),
	ROW(ENTRY(PARENT | BIT(63), 0, "file"), .err = -ENOENT),
	ROW(ENTRY(UINT64_MAX, 0, "file"), .err = -ENOENT),
	ROW(ENTRY(INNER, 0, "file"), .err = -ENOTDIR),
	ROW(ENTRY(EMPTY, 0, "file"), .err = -ENOENT, .stale = ATTR(EMPTY)),

	/* A delete of another node makes the name stale, too, and how many links that node has. */
	ROW(DELETE(PARENT, TOP, "file"), .err = -ENOENT, .stale = FILE_GONE | ATTR(TOP)),
	ROW(DELETE(PARENT, INNER | BIT(32), "file"), .err = -ENOENT, .stale = FILE_GONE),
	ROW(DELETE(PARENT, UINT64_MAX, "file"), .err = -ENOENT, .stale = FILE_GONE),
	ROW(DELETE(PARENT, NOBODY, "none"), .stale = NAME(NONE) | ATTR(PARENT)),

	/* The kernel ignores padding, and flags that it does not know. */
	ROW(ENTRY(ROOT, ~FUSE_EXPIRE_ONLY, "dir"), .stale = DIR_GONE),
	ROW(ENTRY(ROOT, UINT32_MAX, "dir"), .stale = NAME(PARENT) | ATTR(ROOT)),
	ROW(DELETE(ROOT, 0, "dir"), .arg.delete.padding = UINT32_MAX, .stale = DIR_GONE),

	/* The name ends where its length says: these are other names. */
	OTHER(""), OTHER("\0"), OTHER("."), OTHER(".."), OTHER("file/"), OTHER("sub/leaf"),
	OTHER("file\0"), OTHER("file\0x"), OTHER("none\0"), OTHER("\0ile"), OTHER("fi\0e"),
	OTHER("fil"), OTHER("fil\xe5"),

	/* A byte is reserved for a NUL, and the kernel puts one there, whatever it finds. */
	ROW(ENTRY_LEN(PARENT, 0, "filex", 4), .more = -1, .stale = FILE_GONE),

	/* Too long is checked first. A signed namelen would be negative from 0x80000000 on. */
	WRONG_LEN(0), WRONG_LEN(3), WRONG_LEN(5), WRONG_LEN(260), WRONG_LEN(LONGEST),
	TOO_LONG(LONGEST + 1), TOO_LONG(0x10004), TOO_LONG(INT32_MAX), TOO_LONG(0x80000004),
	TOO_LONG((__u32)-21), TOO_LONG((__u32)-5), TOO_LONG(UINT32_MAX),
	ROW(ENTRY_LEN(PARENT, 0, "", UINT32_MAX), .more = -1, .err = -ENAMETOOLONG),

	/* If nobody polls with this handle, nobody is woken, without an error. */
	ROW(POLL(0)), ROW(POLL(UINT64_MAX)),

	/* From an offset, for a length or to the end; no data if the offset is negative. */
	ROW(INODE(TOP, 0, 1), .stale = OLD_DATA), ROW(INODE(TOP, 0, -1), .stale = OLD_DATA),
	ROW(INODE(TOP, 4095, 1), .stale = OLD_DATA), ROW(INODE(TOP, -1, 4096), .stale = ATTR(TOP)),
	ROW(INODE(TOP, INT64_MIN, 0), .stale = ATTR(TOP)),
	ROW(INODE(TOP, 1 << 20, 0), .stale = ATTR(TOP)),
	ROW(INODE(TOP, INT64_MAX, INT64_MAX), .stale = ATTR(TOP)),
	ROW(INODE(PARENT, 0, 0), .stale = ATTR(PARENT)),
	ROW(INODE(0, 0, 0), .err = -ENOENT), ROW(INODE(NOBODY, 0, 0), .err = -ENOENT),
	ROW(INODE(TOP | BIT(32), 0, 0), .err = -ENOENT),
	ROW(INODE(UINT64_MAX, 0, 0), .err = -ENOENT),

	/* The offset is looked at first, then the node, which has to be a file. */
	ROW(STORE(TOP, 0, 0)),
	ROW(STORE(TOP, 0, 4096), .stale = STORED), ROW(STORE(TOP, 4095, 1), .stale = STORED),
	ROW(STORE(TOP, INT64_MAX, 1), .err = -EINVAL), ROW(STORE(TOP, BIT(63), 8), .err = -EINVAL),
	ROW(STORE(TOP, UINT64_MAX, 8), .err = -EINVAL),
	ROW(STORE(NOBODY, UINT64_MAX, 8), .err = -EINVAL),
	ROW(STORE(NOBODY, 0, 8), .err = -ENOENT), ROW(STORE(0, 0, 8), .err = -ENOENT),
	ROW(STORE(TOP | BIT(32), 0, 8), .err = -ENOENT),
	ROW(STORE(ROOT, 0, 8), .err = -EINVAL), ROW(STORE(PARENT, 0, 0), .err = -EINVAL),
	/* A longer file, until the server says otherwise. */
	ROW(STORE(TOP, 4095, 2), .stale = OLD_DATA),
	ROW(STORE(TOP, 3, 3 * 4096), .stale = OLD_DATA),
	ROW(STORE(TOP, BIT(32), 8), .stale = OLD_DATA),
	ROW(STORE(TOP, LONG_MAX - 1, 8), .stale = OLD_DATA),

	/* Any unique will do: it is the server's own. */
	ROW(RETRIEVE(0, TOP, 0, 4096)), ROW(RETRIEVE(UINT64_MAX, TOP, 4095, 1)),
	ROW(RETRIEVE(1, TOP, 1, UINT32_MAX)), ROW(RETRIEVE(2, TOP, 100, 0x80000000)),
	ROW(RETRIEVE(3, TOP, 0, 0)), ROW(RETRIEVE(5, TOP, 4097, 1)),
	ROW(RETRIEVE(6, TOP, BIT(32), 4096)), ROW(RETRIEVE(7, TOP, LONG_MAX - 1, UINT32_MAX)),
	ROW(RETRIEVE(8, TOP, INT64_MAX, 1), .err = -EINVAL),
	ROW(RETRIEVE(8, TOP, UINT64_MAX, UINT32_MAX), .err = -EINVAL),
	ROW(RETRIEVE(9, NOBODY, UINT64_MAX, 1), .err = -EINVAL),
	ROW(RETRIEVE(10, NOBODY, 0, 1), .err = -ENOENT),
	ROW(RETRIEVE(11, TOP | BIT(63), 0, 1), .err = -ENOENT),
	ROW(RETRIEVE(13, SUB, 0, 4096), .err = -EINVAL),

	/* Nodes that are unknown or in use: no error, nothing is dropped. */
	ROW(PRUNE(no_nodes)), ROW(PRUNE(nobody)), ROW(PRUNE(in_use)),
	/* The kernel takes 512 at a time. */
	ROW(PRUNE(last_of_513), .stale = NAME(TOP)), ROW(PRUNE(last_of_1025), .stale = NAME(TOP)),
	ROW(PRUNE_COUNT(some_nodes, 0), .err = -EINVAL),
	ROW(PRUNE_COUNT(some_nodes, 2), .err = -EINVAL),
	ROW(PRUNE_COUNT(some_nodes, 0x20000003), .err = -EINVAL),	/* the same in 32 bits */
	ROW(PRUNE_COUNT(some_nodes, UINT32_MAX), .err = -EINVAL),
	ROW(PRUNE_COUNT(no_nodes, 0x20000000), .err = -EINVAL),
};

static int device;		/* /dev/fuse, of the mount */
static const struct row *good;	/* the message of the variant */

static void add(struct msg *m, const void *data, size_t len)
{
	memcpy(m->data + m->len, data, len);
	m->len += len;
	m->header.len = m->len;
}

static const struct msg *message(struct msg *m, const struct row *row)
{
	m->len = 0;
	add(m, &(struct fuse_out_header){ .error = row->code }, HEADER);
	add(m, &row->arg, row->size);
	if (row->code == FUSE_NOTIFY_STORE)
		add(m, pluses, row->arg.store.size);
	add(m, row->tail, row->tail_len + row->more);
	return m;
}

static int send_message(const struct msg *m)
{
	ssize_t written;

	alarm(LIMIT);
	written = write(device, m->data, m->len);
	if (written < 0)
		return -errno;
	return written == (ssize_t)m->len ? 0 : -EPROTO;
}

static int send_row(const struct row *row)
{
	struct msg m;

	return send_message(message(&m, row));
}

static int early;	/* what a message returned while INIT was at the server */

static void send_early(void)
{
	early = send_row(good);
	srv.at_stop = NULL;
}

/* Every test is made with each kind of message. */

FIXTURE(notify) {};

FIXTURE_VARIANT(notify) { int code; };

FIXTURE_VARIANT_ADD(notify, inval_entry) { FUSE_NOTIFY_INVAL_ENTRY };
FIXTURE_VARIANT_ADD(notify, delete) { FUSE_NOTIFY_DELETE };
FIXTURE_VARIANT_ADD(notify, poll) { FUSE_NOTIFY_POLL };
FIXTURE_VARIANT_ADD(notify, inval_inode) { FUSE_NOTIFY_INVAL_INODE };
FIXTURE_VARIANT_ADD(notify, store) { FUSE_NOTIFY_STORE };
FIXTURE_VARIANT_ADD(notify, retrieve) { FUSE_NOTIFY_RETRIEVE };
FIXTURE_VARIANT_ADD(notify, resend) { FUSE_NOTIFY_RESEND };
FIXTURE_VARIANT_ADD(notify, inc_epoch) { FUSE_NOTIFY_INC_EPOCH };
FIXTURE_VARIANT_ADD(notify, prune) { FUSE_NOTIFY_PRUNE };

FIXTURE_SETUP(notify)
{
	const char *problem = new_namespaces() ?: server_mount();

	if (problem)
		SKIP(return, "%s: %s", problem, strerror(errno));
	for (int i = PARENT; i < THINGS; i++) {
		if (things[i].type)
			server_add(things[i].path, things[i].type);
	}
	ASSERT_EQ(TOP, srv.last);
	memset(pluses, '+', sizeof(pluses));
	for (good = rows; good->code != variant->code; good++)
		;
	device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	EXPECT_EQ(-EPERM, send_row(good));	/* not mounted */
	close(device);
	/* Until INIT is answered, the kernel accepts only that answer. */
	device = fuse_session_fd(srv.se);
	EXPECT_EQ(-EINVAL, send_row(good));
	srv.stop = FUSE_INIT;
	srv.at_stop = send_early;
	server_run(_metadata);
	ASSERT_EQ(0, chdir(MNT));
	fill_cache(_metadata);
	EXPECT_EQ(-EINVAL, early);
	server_stopped(_metadata);
}

FIXTURE_TEARDOWN(notify)
{
	server_end(_metadata);
}

static void refuse(struct __test_metadata *_metadata, struct msg *m, __u64 unique, int code,
		   int err)
{
	m->header.unique = unique;
	m->header.error = code;
	EXPECT_EQ(err, send_message(m))
		TH_LOG("%zu bytes, header.len %u, code %d, unique %#llx", m->len,
		       m->header.len, m->header.error, (unsigned long long)m->header.unique);
}

/* Exactly this is stale; and then everything is cached again. */
static void expect_stale(struct __test_metadata *_metadata, __u64 stale, const char *what)
{
	__u64 seen = look_around();

	/* A node may go with its last name, and its data with it. */
	EXPECT_EQ(stale, seen & (~(stale << 32) | stale))
		TH_LOG("after %s: stale should be %#llx, and is %#llx", what,
		       (unsigned long long)stale, (unsigned long long)seen);
	if (seen & STORED)
		EXPECT_EQ(0, send_row(&(struct row){ INODE(TOP, 0, 0) }));
	if (seen)
		fill_cache(_metadata);
}

/* What is retrieved comes as a request, which nobody waits for. */
static void expect_retrieved(struct __test_metadata *_metadata, const struct row *row,
			     const void *data, size_t size)
{
	const struct fuse_notify_retrieve_out *asked = &row->arg.retrieve;
	const struct fuse_in_header *in = server_stopped(_metadata);
	const struct fuse_notify_retrieve_in *arg = (void *)(in + 1);

	EXPECT_EQ(asked->notify_unique, in->unique);
	EXPECT_EQ(asked->nodeid, in->nodeid);
	EXPECT_EQ(asked->offset, arg->offset);
	EXPECT_EQ(size, arg->size)
		TH_LOG("%s", row->what);
	EXPECT_EQ(sizeof(*in) + sizeof(*arg) + size, in->len);
	EXPECT_EQ(0, memcmp(arg + 1, data, size))
		TH_LOG("%s: other data than what is cached", row->what);
}

static void check(struct __test_metadata *_metadata, const struct row *row)
{
	__u64 at = row->arg.retrieve.offset, size = at < FILE_SIZE ? FILE_SIZE - at : 0;
	int err;

	srv.stop = FUSE_NOTIFY_REPLY;
	err = send_row(row);
	EXPECT_EQ(row->err, err)
		TH_LOG("%s", row->what);
	if (row->code == FUSE_NOTIFY_RETRIEVE && !err)
		expect_retrieved(_metadata, row, srv.content + (size ? at : 0),
				 size < row->arg.retrieve.size ? size : row->arg.retrieve.size);
	expect_stale(_metadata, row->stale, row->what);
}

/* What is stored behind the end is there, and nothing behind it. */
static void check_behind_end(struct __test_metadata *_metadata)
{
	static const struct row behind = ROW(RETRIEVE(1, TOP, FILE_SIZE + 1, 100));

	EXPECT_EQ(0, send_row(&(struct row){ STORE(TOP, FILE_SIZE, 4) }));
	srv.stop = FUSE_NOTIFY_REPLY;
	EXPECT_EQ(0, send_row(&behind));
	expect_retrieved(_metadata, &behind, "+++", 3);
	expect_stale(_metadata, OLD_DATA, "a store behind the end");
}

/* The table. */
TEST_F(notify, rows)
{
	const struct fuse_notify_inval_entry_out *entry;
	struct row row;

	for (int i = 0; i < ARRAY_SIZE(rows); i++) {
		row = rows[i];
		entry = &rows[i].arg.entry;
		if (variant->code == FUSE_NOTIFY_DELETE && row.code == FUSE_NOTIFY_INVAL_ENTRY &&
		    !entry->flags) {
			row.code = FUSE_NOTIFY_DELETE;
			row.size = sizeof(row.arg.delete);
			row.arg.delete = (struct fuse_notify_delete_out){
				.parent = entry->parent, .namelen = entry->namelen
			};
		}
		if (row.code == variant->code)
			check(_metadata, &row);
	}
	if (variant->code == FUSE_NOTIFY_STORE)
		check_behind_end(_metadata);
}

/* The length in the header has to be the one that is written. */
TEST_F(notify, length)
{
	struct msg m;
	size_t full = message(&m, good)->len;
	unsigned int len;

	memset(m.data + full, 0, 2 * full);
	for (len = 0; len < 2 * full; len++) {
		m.len = full;
		m.header.len = len | (len == full) << 16;
		refuse(_metadata, &m, 0, variant->code, -EINVAL);
		m.len = len;
		m.header.len = full;
		if (len != full)
			refuse(_metadata, &m, 0, variant->code, -EINVAL);
		m.header.len = len;
		/* Some have no argument, and the kernel does not look whether there is one. */
		if (len < full || (good->size && len > full))
			refuse(_metadata, &m, 0, variant->code, -EINVAL);
	}
	expect_stale(_metadata, 0, "other lengths");
}

/* The code, and unique: if that is not 0, it is a reply, to no request. */
TEST_F(notify, header)
{
	static const struct {
		int code, reply;
	} headers[] = {
		{ INT32_MIN,	-EINVAL },	{ -513,	-EINVAL },	{ -512,		-EINVAL },
		{ -511,		-ENOENT },	{ -2,	-ENOENT },	{ 0,		-ENOENT },
		{ 10,		-EINVAL },	{ INT32_MAX,	-EINVAL },
	};
	struct msg m;

	message(&m, good);
	for (unsigned int i = 0; i < ARRAY_SIZE(headers); i++) {
		refuse(_metadata, &m, 0, headers[i].code, -EINVAL);
		refuse(_metadata, &m, UINT64_MAX, headers[i].code, headers[i].reply);
	}
	for (unsigned int i = 4; i < 32; i++)
		refuse(_metadata, &m, 0, variant->code | BIT(i), -EINVAL);
	for (unsigned int i = 0; i < 64; i++)
		refuse(_metadata, &m, BIT(i), variant->code, -EINVAL);
	expect_stale(_metadata, 0, "other headers");
}

/* The message of a seed is always the same. */
static void random_message(struct msg *m, unsigned int seed)
{
	static const __u64 odd[] = {
		0, 1, 4, 5, 255, 4096, 65536, INT32_MAX, 0x80000000, UINT32_MAX, BIT(32),
		INT64_MAX, BIT(63), UINT64_MAX,
	};
	size_t at;

	srandom(seed);
	memset(m, 0, sizeof(*m));
	message(m, good);
	for (int changes = random() % 4; changes; changes--) {
		at = random() % (HEADER + 32);	/* may hit the name */
		switch (random() % 4) {
		case 0:
			m->data[at] ^= 1 << random() % 8;
			break;
		case 1:
			memcpy(m->data + (at & ~7), &odd[random() % ARRAY_SIZE(odd)],
			       random() % 2 ? 4 : 8);
			break;
		case 2:
			m->len = HEADER + random() % 64;
			break;
		case 3:
			memmove(m->data + at + 1, m->data + at, HEADER + 64);
			m->len++;
			break;
		}
	}
	/* Or most would be refused for their length. */
	if (random() % 8)
		m->header.len = m->len;
}

/* What is refused has done nothing, and whatever is written, the connection lives. */
TEST_F_TIMEOUT(notify, random, 600)
{
	unsigned int seed = atoi(getenv("FUSE_FUZZ_SEED") ?: "1");
	int node, err, left = atoi(getenv("FUSE_FUZZ_COUNT") ?: "300");
	struct msg m;

	for (; left && !_metadata->exit_code; seed++, left--) {
		random_message(&m, seed);
		err = send_message(&m);
		if (err == -EINVAL || err == -ENAMETOOLONG || err == -ENOTDIR) {
			expect_stale(_metadata, 0, "what was refused");
		} else {
			EXPECT_TRUE(!err || err == -ENOENT)
				TH_LOG("error %d", err);
			for (node = ROOT; node <= TOP; node++)
				send_row(&(struct row){ INODE(node, 0, 0) });
			fill_cache(_metadata);
		}
		if (_metadata->exit_code)
			TH_LOG("alone: FUSE_FUZZ_SEED=%u FUSE_FUZZ_COUNT=1", seed);
	}
}

/* When the kernel accepts a message, and from whom. See also the fixture. */

static atomic_int sent;		/* and accepted */

/* Write until that is refused, and return the error. */
static void *write_often(void *unused)
{
	intptr_t err;

	do {
		err = send_row(good);
		sent += !err || err == -ENOENT;
	} while (!err || err == -ENOENT);
	return (void *)err;
}

/*
 * A notification is refused when the mount is gone, and nothing else goes wrong before. If
 * none is accepted, or a call hangs, the harness's timeout ends the test.
 */
TEST_F(notify, unmount_race)
{
	pthread_t thread;
	void *err;

	ASSERT_EQ(0, chdir("/"));
	ASSERT_EQ(0, pthread_create(&thread, NULL, write_often, NULL));
	while (!sent)
		sched_yield();
	EXPECT_EQ(0, umount2(MNT, 0));
	EXPECT_EQ(-EINVAL, send_row(good));
	pthread_join(thread, &err);
	EXPECT_TRUE((intptr_t)err == -EINVAL || (intptr_t)err == -ENOTCONN)
		TH_LOG("error %ld, after %d were accepted", (long)err, sent);
}

/* Who has the device may write from another namespace than that of the mount. */
TEST_F(notify, other_namespaces)
{
	pid_t pid = fork();
	int status;

	ASSERT_LE(0, pid);
	if (!pid) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
			_exit(255);
		_exit(-send_row(good));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 255)
		SKIP(return, "no user namespaces here");
	EXPECT_EQ(0, status);
	expect_stale(_metadata, good->stale, "a message from elsewhere");
}

/* After an abort a notification is refused, and what is cached stays valid. */
TEST_F(notify, aborted)
{
	EXPECT_EQ(-1, umount2(MNT, MNT_FORCE));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(-EINVAL, send_row(good));
	EXPECT_EQ(0, look("dir/file"));
	EXPECT_EQ(-ENOTCONN, look("never"));
}

TEST_HARNESS_MAIN
