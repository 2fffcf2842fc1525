// SPDX-License-Identifier: GPL-2.0
/*
 * FUSE notifications as a server writes them to /dev/fuse, byte by byte: good ones,
 * ones about nothing, and ones that no server should write.
 *
 * A small tree is cached in full: names, absent names, attributes, data. A message is
 * written, and then everything is looked at again. What the server is asked for must
 * be exactly what the message made stale: nothing after one that is refused.
 *
 * The messages are rows of a table. And one good message of each kind is cut, and
 * changed at random; and it is sent at unusual times: before INIT is answered, during
 * and after an unmount, from other namespaces. The environment says how many random
 * messages there are, and which:
 *
 *   FUSE_FUZZ_COUNT=20000 FUSE_FUZZ_SEED=7 ./notify_malformed_test -t random
 */
#define _GNU_SOURCE
#include "fuse_test_server.h"

#include <sys/ioctl.h>
#include <sys/wait.h>

#define BIT(n)		(1ULL << (n))
#define HEADER		sizeof(struct fuse_out_header)
#define LONGEST		(PATH_MAX - 1)	/* name, if a request may have two pages */

/*
 * What is cached.
 */

enum { DIR_ID = 2, FILE_ID, SUB_ID, LEAF_ID, EMPTY_ID, TOP_ID, NOBODY = 99 };

enum { I_ROOT, I_PARENT, I_DFILE, I_LINK, I_NONE, I_SUB, I_LEAF, I_EMPTY, I_TOP, I_ABSENT, THINGS };

static const struct {
	const char *path;
	mode_t type;		/* or 0 if the name is absent */
} things[THINGS] = {
	[I_ROOT]	= { ".",		S_IFDIR },
	[I_PARENT]	= { "dir",		S_IFDIR },
	[I_DFILE]	= { "dir/file",		S_IFREG },
	[I_LINK]	= { "dir/link",		S_IFREG },	/* to dir/file */
	[I_NONE]	= { "dir/none" },
	[I_SUB]		= { "dir/sub",		S_IFDIR },
	[I_LEAF]	= { "dir/sub/leaf",	S_IFREG },
	[I_EMPTY]	= { "empty",		S_IFDIR },
	[I_TOP]		= { "file",		S_IFREG },
	[I_ABSENT]	= { "none" },
};

/* What was asked for, or is expected to be. */
#define NAME(thing)	BIT(I_##thing)
#define ATTR(thing)	BIT(I_##thing + 16)
#define DATA(thing)	BIT(I_##thing + 32)
#define STORED		BIT(48)	/* there is data that a test has stored */
#define WRONG		BIT(49)	/* an answer that was never right */
#define IN_DIR		(NAME(DFILE) | NAME(LINK) | NAME(NONE) | NAME(SUB) | NAME(LEAF))
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
	int i, names, attrs, reads;
	__u64 seen = 0;
	struct statx stx;

	for (i = 0; i < THINGS; i++) {
		names = server_requests(FUSE_LOOKUP);
		attrs = server_requests(FUSE_GETATTR);
		if (look(things[i].path) != (things[i].type ? 0 : -ENOENT))
			seen |= WRONG;
		if (server_requests(FUSE_LOOKUP) != names)
			seen |= BIT(i);
		if (server_requests(FUSE_GETATTR) != attrs)
			seen |= BIT(i + 16);
	}
	for (i = 0; i < THINGS; i++) {
		reads = server_requests(FUSE_READ);
		if (things[i].type == S_IFREG)
			seen |= look_at_data(things[i].path);
		if (server_requests(FUSE_READ) != reads)
			seen |= BIT(i + 32);
	}

	/* And the server is there, and answers. */
	attrs = server_requests(FUSE_GETATTR);
	if (statx(AT_FDCWD, ".", AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &stx) ||
	    server_requests(FUSE_GETATTR) != attrs + 1)
		seen |= WRONG;
	return seen;
}

static void fill_cache(struct __test_metadata *_metadata)
{
	int i;

	/* Reading makes the time of access stale, so look more than once. */
	for (i = 0; i < 4 && look_around(); i++)
		;
	ASSERT_EQ(0, look_around())
		TH_LOG("something does not stay cached");
}

/*
 * Messages.
 */

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

#define ENTRY_LEN(parent_, flags_, name_, len)						\
	.what = "inval_entry " #parent_ ", " #flags_ ", " #name_ ", " #len,		\
	.code = FUSE_NOTIFY_INVAL_ENTRY, .size = sizeof(struct fuse_notify_inval_entry_out), \
	.arg.entry = { .parent = (parent_), .flags = (flags_), .namelen = (len) },	\
	.tail = name_, .tail_len = sizeof(name_)
#define ENTRY(parent, flags, name)	ENTRY_LEN(parent, flags, name, sizeof(name) - 1)

#define DELETE_LEN(parent_, child_, name_, len)						\
	.what = "delete " #parent_ ", " #child_ ", " #name_ ", " #len,			\
	.code = FUSE_NOTIFY_DELETE, .size = sizeof(struct fuse_notify_delete_out),	\
	.arg.delete = { .parent = (parent_), .child = (child_), .namelen = (len) },	\
	.tail = name_, .tail_len = sizeof(name_)
#define DELETE(parent, child, name)	DELETE_LEN(parent, child, name, sizeof(name) - 1)

#define POLL(handle)									\
	.what = "poll " #handle, .code = FUSE_NOTIFY_POLL,				\
	.size = sizeof(struct fuse_notify_poll_wakeup_out), .arg.poll = { .kh = (handle) }

#define INODE(node, offset, length)							\
	.what = "inval_inode " #node ", " #offset ", " #length,				\
	.code = FUSE_NOTIFY_INVAL_INODE, .size = sizeof(struct fuse_notify_inval_inode_out), \
	.arg.inode = { .ino = (node), .off = (offset), .len = (length) }

#define STORE(node, offset_, count)							\
	.what = "store " #node ", " #offset_ ", " #count,				\
	.code = FUSE_NOTIFY_STORE, .size = sizeof(struct fuse_notify_store_out),	\
	.arg.store = { .nodeid = (node), .offset = (offset_), .size = (count) }

#define RETRIEVE(unique, node, offset_, count)						\
	.what = "retrieve " #node ", " #offset_ ", " #count,				\
	.code = FUSE_NOTIFY_RETRIEVE, .size = sizeof(struct fuse_notify_retrieve_out),	\
	.arg.retrieve = { unique, node, offset_, count }

#define PRUNE_COUNT(nodes, count_)							\
	.what = "prune " #nodes ", " #count_,						\
	.code = FUSE_NOTIFY_PRUNE, .size = sizeof(struct fuse_notify_prune_out),	\
	.arg.prune = { .count = (count_) }, .tail = nodes, .tail_len = sizeof(nodes)
#define PRUNE(nodes)	PRUNE_COUNT(nodes, sizeof(nodes) / sizeof(__u64))

static char pluses[3 * 4096];
static const __u64 no_nodes[] = {};
static const __u64 some_nodes[] = { TOP_ID, NOBODY, LEAF_ID };
static const __u64 nobody[] = { 0, NOBODY, UINT64_MAX, TOP_ID | BIT(32) };
static const __u64 in_use[] = { ROOT, DIR_ID, SUB_ID };
static const __u64 last_of_513[513] = { [512] = TOP_ID };
static const __u64 last_of_1025[1025] = { [1024] = TOP_ID };

/* Each inval_entry is also sent as a delete: see as_delete(). */
static const struct row rows[] = {
	/* The names that are cached. */
	{ ENTRY(DIR_ID, FUSE_EXPIRE_ONLY, "file"), .stale = NAME(DFILE) | ATTR(PARENT) },
	{ ENTRY(DIR_ID, FUSE_EXPIRE_ONLY, "none"), .stale = NAME(NONE) | ATTR(PARENT) },
	{ ENTRY(ROOT, FUSE_EXPIRE_ONLY, "dir"), .stale = NAME(PARENT) | ATTR(ROOT) },
	{ ENTRY(DIR_ID, 0, "file"), .stale = NAME(DFILE) | ATTR(PARENT) },
	{ ENTRY(DIR_ID, 0, "none"), .stale = NAME(NONE) | ATTR(PARENT) },
	{ ENTRY(ROOT, 0, "dir"), .stale = NAME(PARENT) | IN_DIR | ATTR(ROOT) },
	{ DELETE(DIR_ID, FILE_ID, "file"), .stale = NAME(DFILE) | ATTR(PARENT) },
	{ DELETE(ROOT, DIR_ID, "dir"), .stale = NAME(PARENT) | IN_DIR | ATTR(ROOT) },
	{ ENTRY(DIR_ID, 0, "sub"), .stale = NAME(SUB) | NAME(LEAF) | ATTR(PARENT) },
	{ DELETE(ROOT, TOP_ID, "file"), .stale = NAME(TOP) | ATTR(ROOT) },

	/* All 64 bits of the parent's nodeid count, and the parent has to be a directory. */
	{ ENTRY(0, 0, "file"), .err = -ENOENT },
	{ ENTRY(NOBODY, 0, "file"), .err = -ENOENT },
	{ ENTRY(DIR_ID | BIT(32), 0, "file"), .err = -ENOENT },
	{ ENTRY(DIR_ID | BIT(63), 0, "file"), .err = -ENOENT },
	{ ENTRY(UINT64_MAX, 0, "file"), .err = -ENOENT },
	{ ENTRY(FILE_ID, 0, "file"), .err = -ENOTDIR },
	{ ENTRY(EMPTY_ID, 0, "file"), .err = -ENOENT, .stale = ATTR(EMPTY) },

	/* A delete of another node makes the name stale, too. */
	{ DELETE(DIR_ID, TOP_ID, "file"), .err = -ENOENT, .stale = NAME(DFILE) | ATTR(PARENT) },
	{ DELETE(DIR_ID, FILE_ID | BIT(32), "file"), .err = -ENOENT,
	  .stale = NAME(DFILE) | ATTR(PARENT) },
	{ DELETE(DIR_ID, UINT64_MAX, "file"), .err = -ENOENT, .stale = NAME(DFILE) | ATTR(PARENT) },
	{ DELETE(DIR_ID, NOBODY, "none"), .stale = NAME(NONE) | ATTR(PARENT) },

	/* The kernel ignores padding, and flags that it does not know. */
	{ ENTRY(ROOT, 2, "dir"), .stale = NAME(PARENT) | IN_DIR | ATTR(ROOT) },
	{ ENTRY(ROOT, 0x80000000, "dir"), .stale = NAME(PARENT) | IN_DIR | ATTR(ROOT) },
	{ ENTRY(ROOT, ~FUSE_EXPIRE_ONLY, "dir"), .stale = NAME(PARENT) | IN_DIR | ATTR(ROOT) },
	{ ENTRY(ROOT, UINT32_MAX, "dir"), .stale = NAME(PARENT) | ATTR(ROOT) },
	{ DELETE(ROOT, 0, "dir"), .arg.delete.padding = UINT32_MAX,
	  .stale = NAME(PARENT) | IN_DIR | ATTR(ROOT) },

	/* The name ends where its length says: these are other names. */
	{ ENTRY(DIR_ID, 0, ""), .err = -ENOENT, .stale = ATTR(PARENT) },
	{ ENTRY(DIR_ID, 0, "\0"), .err = -ENOENT, .stale = ATTR(PARENT) },
	{ ENTRY(DIR_ID, 0, "."), .err = -ENOENT, .stale = ATTR(PARENT) },
	{ ENTRY(DIR_ID, 0, ".."), .err = -ENOENT, .stale = ATTR(PARENT) },
	{ ENTRY(DIR_ID, 0, "file/"), .err = -ENOENT, .stale = ATTR(PARENT) },
	{ ENTRY(DIR_ID, 0, "sub/leaf"), .err = -ENOENT, .stale = ATTR(PARENT) },
	{ ENTRY(DIR_ID, 0, "file\0"), .err = -ENOENT, .stale = ATTR(PARENT) },
	{ ENTRY(DIR_ID, 0, "file\0x"), .err = -ENOENT, .stale = ATTR(PARENT) },
	{ ENTRY(DIR_ID, 0, "none\0"), .err = -ENOENT, .stale = ATTR(PARENT) },
	{ ENTRY(DIR_ID, 0, "\0ile"), .err = -ENOENT, .stale = ATTR(PARENT) },
	{ ENTRY(DIR_ID, 0, "fi\0e"), .err = -ENOENT, .stale = ATTR(PARENT) },
	{ ENTRY(DIR_ID, 0, "fil"), .err = -ENOENT, .stale = ATTR(PARENT) },
	{ ENTRY(DIR_ID, 0, "fil\xe5"), .err = -ENOENT, .stale = ATTR(PARENT) },

	/* A byte is reserved for a NUL, and the kernel puts one there, whatever it finds. */
	{ ENTRY_LEN(DIR_ID, 0, "filex", 4), .more = -1, .stale = NAME(DFILE) | ATTR(PARENT) },

	/* Wrong lengths. Whether a name is too long is checked first. */
	{ ENTRY_LEN(DIR_ID, 0, "file", 0), .err = -EINVAL },
	{ ENTRY_LEN(DIR_ID, 0, "file", 3), .err = -EINVAL },
	{ ENTRY_LEN(DIR_ID, 0, "file", 5), .err = -EINVAL },
	{ ENTRY_LEN(DIR_ID, 0, "file", 260), .err = -EINVAL },
	{ ENTRY_LEN(DIR_ID, 0, "file", LONGEST), .err = -EINVAL },
	{ ENTRY_LEN(DIR_ID, 0, "file", LONGEST + 1), .err = -ENAMETOOLONG },
	{ ENTRY_LEN(DIR_ID, 0, "file", 0x10004), .err = -ENAMETOOLONG },
	{ ENTRY_LEN(DIR_ID, 0, "file", INT32_MAX), .err = -ENAMETOOLONG },
	{ ENTRY_LEN(DIR_ID, 0, "file", 0x80000004), .err = -ENAMETOOLONG },
	/* Negative if signed: the name would end before it begins. */
	{ ENTRY_LEN(DIR_ID, 0, "file", (__u32)-5), .err = -ENAMETOOLONG },
	{ ENTRY_LEN(DIR_ID, 0, "file", (__u32)-21), .err = -ENAMETOOLONG },
	{ ENTRY_LEN(DIR_ID, 0, "file", UINT32_MAX), .err = -ENAMETOOLONG },
	{ ENTRY_LEN(DIR_ID, 0, "", UINT32_MAX), .more = -1, .err = -ENAMETOOLONG },

	/* If nobody polls with this handle, nobody is woken, without an error. */
	{ POLL(0) },
	{ POLL(UINT64_MAX) },

	/* From an offset, for a length or to the end; no data if the offset is negative. */
	{ INODE(TOP_ID, 0, 1), .stale = ATTR(TOP) | DATA(TOP) },
	{ INODE(TOP_ID, 0, -1), .stale = ATTR(TOP) | DATA(TOP) },
	{ INODE(TOP_ID, 4095, 1), .stale = ATTR(TOP) | DATA(TOP) },
	{ INODE(TOP_ID, -1, 4096), .stale = ATTR(TOP) },
	{ INODE(TOP_ID, INT64_MIN, 0), .stale = ATTR(TOP) },
	{ INODE(TOP_ID, 1 << 20, 0), .stale = ATTR(TOP) },
	{ INODE(TOP_ID, INT64_MAX, INT64_MAX), .stale = ATTR(TOP) },
	{ INODE(DIR_ID, 0, 0), .stale = ATTR(PARENT) },
	{ INODE(0, 0, 0), .err = -ENOENT },
	{ INODE(NOBODY, 0, 0), .err = -ENOENT },
	{ INODE(TOP_ID | BIT(32), 0, 0), .err = -ENOENT },
	{ INODE(UINT64_MAX, 0, 0), .err = -ENOENT },

	/* The offset is looked at first, then the node, which has to be a file. */
	{ STORE(TOP_ID, 0, 0) },
	{ STORE(TOP_ID, 0, 4096), .stale = STORED },
	{ STORE(TOP_ID, 4095, 1), .stale = STORED },
	/* A longer file, until the server says otherwise. */
	{ STORE(TOP_ID, 4095, 2), .stale = ATTR(TOP) | DATA(TOP) },
	{ STORE(TOP_ID, 3, 3 * 4096), .stale = ATTR(TOP) | DATA(TOP) },
	{ STORE(TOP_ID, BIT(32), 8), .stale = ATTR(TOP) | DATA(TOP) },
	{ STORE(TOP_ID, LONG_MAX - 1, 8), .stale = ATTR(TOP) | DATA(TOP) },
	{ STORE(TOP_ID, INT64_MAX, 1), .err = -EINVAL },
	{ STORE(TOP_ID, BIT(63), 8), .err = -EINVAL },
	{ STORE(TOP_ID, UINT64_MAX, 8), .err = -EINVAL },
	{ STORE(NOBODY, UINT64_MAX, 8), .err = -EINVAL },
	{ STORE(NOBODY, 0, 8), .err = -ENOENT },
	{ STORE(0, 0, 8), .err = -ENOENT },
	{ STORE(TOP_ID | BIT(32), 0, 8), .err = -ENOENT },
	{ STORE(ROOT, 0, 8), .err = -EINVAL },
	{ STORE(DIR_ID, 0, 0), .err = -EINVAL },

	/* Any unique will do: it is the server's own. */
	{ RETRIEVE(0, TOP_ID, 0, 4096) },
	{ RETRIEVE(UINT64_MAX, TOP_ID, 4095, 1) },
	{ RETRIEVE(1, TOP_ID, 1, UINT32_MAX) },
	{ RETRIEVE(2, TOP_ID, 100, 0x80000000) },
	{ RETRIEVE(3, TOP_ID, 0, 0) },
	{ RETRIEVE(5, TOP_ID, 4097, 1) },
	{ RETRIEVE(6, TOP_ID, BIT(32), 4096) },
	{ RETRIEVE(7, TOP_ID, LONG_MAX - 1, UINT32_MAX) },
	{ RETRIEVE(7, TOP_ID, INT64_MAX, 1), .err = -EINVAL },
	{ RETRIEVE(8, TOP_ID, UINT64_MAX, UINT32_MAX), .err = -EINVAL },
	{ RETRIEVE(9, NOBODY, UINT64_MAX, 1), .err = -EINVAL },
	{ RETRIEVE(10, NOBODY, 0, 1), .err = -ENOENT },
	{ RETRIEVE(11, TOP_ID | BIT(63), 0, 1), .err = -ENOENT },
	{ RETRIEVE(13, SUB_ID, 0, 4096), .err = -EINVAL },

	/* Nodes that are unknown or in use: no error, nothing is dropped. */
	{ PRUNE(no_nodes) },
	{ PRUNE(nobody) },
	{ PRUNE(in_use) },
	/* The kernel takes 512 at a time. */
	{ PRUNE(last_of_513), .stale = NAME(TOP) },
	{ PRUNE(last_of_1025), .stale = NAME(TOP) },
	{ PRUNE_COUNT(some_nodes, 0), .err = -EINVAL },
	{ PRUNE_COUNT(some_nodes, 2), .err = -EINVAL },
	{ PRUNE_COUNT(some_nodes, 0x20000003), .err = -EINVAL },	/* the same in 32 bits */
	{ PRUNE_COUNT(some_nodes, UINT32_MAX), .err = -EINVAL },
	{ PRUNE_COUNT(no_nodes, 0x20000000), .err = -EINVAL },
};

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

/* An inval_entry without flags as a delete that names no child; another row as it is. */
static struct row as_delete(const struct row *row)
{
	struct row delete = *row;

	if (row->code != FUSE_NOTIFY_INVAL_ENTRY || row->arg.entry.flags)
		return delete;
	delete.code = FUSE_NOTIFY_DELETE;
	delete.size = sizeof(delete.arg.delete);
	delete.arg.delete = (struct fuse_notify_delete_out){
		.parent = row->arg.entry.parent,
		.namelen = row->arg.entry.namelen,
	};
	return delete;
}

/*
 * Every test is made with each kind of message.
 */

FIXTURE(notify) {
	int fd;
};

FIXTURE_VARIANT(notify)
{
	struct row good;
};

FIXTURE_VARIANT_ADD(notify, inval_entry) {
	{ ENTRY(DIR_ID, 0, "file"), .stale = NAME(DFILE) | ATTR(PARENT) },
};

FIXTURE_VARIANT_ADD(notify, delete) {
	{ DELETE(DIR_ID, FILE_ID, "file"), .stale = NAME(DFILE) | ATTR(PARENT) },
};

FIXTURE_VARIANT_ADD(notify, poll) {
	{ POLL(1) },
};

FIXTURE_VARIANT_ADD(notify, inval_inode) {
	{ INODE(FILE_ID, 0, 0), .stale = ATTR(DFILE) | DATA(DFILE) },
};

FIXTURE_VARIANT_ADD(notify, store) {
	{ STORE(TOP_ID, 8, 6), .stale = STORED },
};

FIXTURE_VARIANT_ADD(notify, retrieve) {
	{ RETRIEVE(4711, TOP_ID, 8, 16) },
};

FIXTURE_VARIANT_ADD(notify, resend) {
	{ .what = "resend", .code = FUSE_NOTIFY_RESEND },
};

FIXTURE_VARIANT_ADD(notify, inc_epoch) {
	{ .what = "inc_epoch", .code = FUSE_NOTIFY_INC_EPOCH, .stale = ALL_NAMES },
};

FIXTURE_VARIANT_ADD(notify, prune) {
	{ PRUNE(some_nodes), .stale = NAME(TOP) | NAME(LEAF) | NAME(SUB) },
};

FIXTURE_SETUP(notify)
{
	const char *problem = new_namespaces() ?: server_mount();
	int i;

	if (problem)
		SKIP(return, "%s: %s", problem, strerror(errno));
	for (i = I_PARENT; i < THINGS; i++) {
		if (i == I_LINK)
			server_link("dir/file", "dir/link");
		else if (things[i].type)
			server_add(things[i].path, things[i].type);
	}
	ASSERT_EQ(TOP_ID, srv.last);
	memset(pluses, '+', sizeof(pluses));
	server_run(_metadata);
	self->fd = fuse_session_fd(srv.se);
	ASSERT_EQ(0, chdir(MNT));
	fill_cache(_metadata);
}

FIXTURE_TEARDOWN(notify)
{
	server_end(_metadata);
}

static int result(ssize_t written, size_t len)
{
	if (written < 0)
		return -errno;
	return written == (ssize_t)len ? 0 : -EPROTO;
}

static int send_message(int fd, const struct msg *m)
{
	alarm(LIMIT);
	return result(write(fd, m->data, m->len), m->len);
}

static int send_row(int fd, const struct row *row)
{
	struct msg m;

	return send_message(fd, message(&m, row));
}

static void refuse(struct __test_metadata *_metadata, int fd, const struct msg *m, int err)
{
	EXPECT_EQ(err, send_message(fd, m))
		TH_LOG("%zu bytes, header.len %u, code %d, unique %#llx", m->len,
		       m->header.len, m->header.error, (unsigned long long)m->header.unique);
}

/* Exactly this is stale; and then everything is cached again. */
static void expect_stale(struct __test_metadata *_metadata, int fd, __u64 stale,
			 const char *what)
{
	__u64 seen = look_around();

	/* A node may go with its last name, and its data with it. */
	EXPECT_EQ(stale, seen & (~(stale << 32) | stale))
		TH_LOG("after %s: stale should be %#llx, and is %#llx", what,
		       (unsigned long long)stale, (unsigned long long)seen);
	if (seen & STORED)
		EXPECT_EQ(0, send_row(fd, &(struct row){ INODE(TOP_ID, 0, 0) }));
	if (seen)
		fill_cache(_metadata);
}

/* What is retrieved comes as a request, which nobody waits for. */
static void expect_retrieved(struct __test_metadata *_metadata, const struct row *row)
{
	const struct fuse_notify_retrieve_out *asked = &row->arg.retrieve;
	const struct fuse_in_header *in = server_swallowed(_metadata);
	const struct fuse_notify_retrieve_in *arg = (void *)(in + 1);
	size_t size = asked->offset < FILE_SIZE ? FILE_SIZE - asked->offset : 0;

	if (size > asked->size)
		size = asked->size;
	EXPECT_EQ(asked->notify_unique, in->unique);
	EXPECT_EQ(asked->nodeid, in->nodeid);
	EXPECT_EQ(asked->offset, arg->offset);
	EXPECT_EQ(size, arg->size)
		TH_LOG("%s", row->what);
	ASSERT_EQ(sizeof(*in) + sizeof(*arg) + size, in->len);
	EXPECT_EQ(0, memcmp(arg + 1, srv.content + (size ? asked->offset : 0), size))
		TH_LOG("%s: other data than what is cached", row->what);
}

static void check(struct __test_metadata *_metadata, int fd, const struct row *row)
{
	srv.swallow = FUSE_NOTIFY_REPLY;
	EXPECT_EQ(row->err, send_row(fd, row))
		TH_LOG("%s", row->what);
	if (row->code == FUSE_NOTIFY_RETRIEVE && !row->err)
		expect_retrieved(_metadata, row);
	expect_stale(_metadata, fd, row->stale, row->what);
}

/* What is stored behind the end is there, and nothing behind it. */
static void check_behind_end(struct __test_metadata *_metadata, int fd)
{
	const struct fuse_notify_retrieve_in *arg = (void *)(srv.request +
							     sizeof(struct fuse_in_header));

	EXPECT_EQ(0, send_row(fd, &(struct row){ STORE(TOP_ID, FILE_SIZE, 4) }));
	srv.swallow = FUSE_NOTIFY_REPLY;
	EXPECT_EQ(0, send_row(fd, &(struct row){ RETRIEVE(1, TOP_ID, FILE_SIZE + 1, 100) }));
	server_swallowed(_metadata);
	EXPECT_EQ(3, arg->size);
	EXPECT_EQ(0, memcmp(arg + 1, "+++", 3));
	expect_stale(_metadata, fd, ATTR(TOP) | DATA(TOP), "a store behind the end");
}

/* The table. */
TEST_F(notify, rows)
{
	int code = variant->good.code;
	const struct row *row;
	struct row delete;

	check(_metadata, self->fd, &variant->good);
	for (row = rows; row < rows + ARRAY_SIZE(rows); row++) {
		delete = as_delete(row);
		if (row->code == code)
			check(_metadata, self->fd, row);
		else if (delete.code == code)
			check(_metadata, self->fd, &delete);
	}
	if (code == FUSE_NOTIFY_STORE)
		check_behind_end(_metadata, self->fd);
}

/* The length in the header has to be the one that is written. */
TEST_F(notify, length)
{
	unsigned int len;
	size_t full;
	struct msg m;

	full = message(&m, &variant->good)->len;
	memset(m.data + full, 0, 2 * full);
	for (len = 0; len < 2 * full; len++) {
		m.len = full;
		m.header.len = len | (len == full) << 16;
		refuse(_metadata, self->fd, &m, -EINVAL);
		m.len = len;
		m.header.len = full;
		if (len != full)
			refuse(_metadata, self->fd, &m, -EINVAL);
		m.header.len = len;
		/* Some have no argument, and the kernel does not look whether there is one. */
		if (len < full || (variant->good.size && len > full))
			refuse(_metadata, self->fd, &m, -EINVAL);
	}
	expect_stale(_metadata, self->fd, 0, "other lengths");
}

/* The code, and unique: if that is not 0, it is a reply, to no request. */
TEST_F(notify, header)
{
	static const struct {
		int error, notification, answer;
	} headers[] = {
		{ INT32_MIN,	-EINVAL, -EINVAL },	{ -513,		-EINVAL, -EINVAL },
		{ -512,		-EINVAL, -EINVAL },	{ -511,		-EINVAL, -ENOENT },
		{ -2,		-EINVAL, -ENOENT },	{ 0,		-EINVAL, -ENOENT },
		{ 10,		-EINVAL, -EINVAL },	{ INT32_MAX,	-EINVAL, -EINVAL },
	};
	unsigned int i;
	struct msg m;

	message(&m, &variant->good);
	for (i = 0; i < ARRAY_SIZE(headers); i++) {
		m.header.error = headers[i].error;
		m.header.unique = 0;
		refuse(_metadata, self->fd, &m, headers[i].notification);
		m.header.unique = UINT64_MAX;
		refuse(_metadata, self->fd, &m, headers[i].answer);
	}
	for (i = 4; i < 32; i++) {
		m.header.error = variant->good.code | BIT(i);
		m.header.unique = 0;
		refuse(_metadata, self->fd, &m, -EINVAL);
	}
	for (i = 0; i < 64; i++) {
		m.header.error = variant->good.code;
		m.header.unique = BIT(i);
		refuse(_metadata, self->fd, &m, -EINVAL);
	}
	expect_stale(_metadata, self->fd, 0, "other headers");
}

static __u64 rnd(__u64 *state)
{
	__u64 z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* Message @number of this @seed is always the same. */
static void random_message(struct msg *m, const struct row *good, __u64 seed, __u64 number)
{
	static const __u64 odd[] = {
		0, 1, 4, 5, 255, 4096, 65536, INT32_MAX, 0x80000000, UINT32_MAX, BIT(32),
		INT64_MAX, BIT(63), UINT64_MAX,
	};
	__u64 state = seed, value;
	int changes;
	size_t at;

	state = rnd(&state) + number;
	message(m, good);
	for (changes = rnd(&state) % 4; changes; changes--) {
		at = rnd(&state) % (HEADER + 32);	/* no name, no data */
		switch (rnd(&state) % 4) {
		case 0:
			m->data[at] ^= 1 << rnd(&state) % 8;
			break;
		case 1:
			value = odd[rnd(&state) % ARRAY_SIZE(odd)];
			memcpy(m->data + (at & ~7), &value, rnd(&state) % 2 ? 4 : 8);
			break;
		case 2:
			m->len = HEADER + rnd(&state) % 64;
			break;
		case 3:
			memmove(m->data + at + 1, m->data + at, HEADER + 64);
			m->len++;
			break;
		}
	}
	/* Or most would be refused for their length. */
	if (rnd(&state) % 8)
		m->header.len = m->len;
}

static __u64 setting(const char *name, __u64 otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

/* What is refused has done nothing, and whatever is written, the connection lives. */
TEST_F_TIMEOUT(notify, random, 600)
{
	__u64 seed = setting("FUSE_FUZZ_SEED", 1), i = setting("FUSE_FUZZ_FIRST", 0), node;
	__u64 end = i + setting("FUSE_FUZZ_COUNT", 300);
	struct msg m;
	int err;

	for (; i < end && !_metadata->exit_code; i++) {
		memset(&m, 0, sizeof(m));
		random_message(&m, &variant->good, seed, i);
		err = send_message(self->fd, &m);
		if (err == -EINVAL || err == -ENAMETOOLONG || err == -ENOTDIR) {
			expect_stale(_metadata, self->fd, 0, "what was refused");
		} else {
			EXPECT_TRUE(!err || err == -ENOENT)
				TH_LOG("error %d", err);
			for (node = ROOT; node <= TOP_ID; node++)
				send_row(self->fd, &(struct row){ INODE(node, 0, 0) });
			fill_cache(_metadata);
		}
		if (_metadata->exit_code) {
			TH_LOG("alone: FUSE_FUZZ_SEED=%llu FUSE_FUZZ_FIRST=%llu FUSE_FUZZ_COUNT=1",
			       (unsigned long long)seed, (unsigned long long)i);
		}
	}
}

/*
 * When the kernel accepts a message, and from whom.
 */

/* Mount once more, without a server. */
static void mount_again(struct __test_metadata *_metadata)
{
	server_end(_metadata);
	ASSERT_EQ(NULL, server_mount());
}

/* Until INIT is answered, the kernel accepts only that answer. */
TEST_F(notify, init_waits)
{
	int other = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	EXPECT_EQ(-EPERM, send_row(other, &variant->good));	/* not mounted */
	close(other);
	mount_again(_metadata);
	self->fd = fuse_session_fd(srv.se);
	EXPECT_EQ(-EINVAL, send_row(self->fd, &variant->good));
	srv.stop = FUSE_INIT;
	server_run(_metadata);
	EXPECT_TRUE(server_wait(&srv.stopped));
	EXPECT_EQ(-EINVAL, send_row(self->fd, &variant->good));
	sem_post(&srv.go);
	/* The messages before that have done nothing. */
	ASSERT_EQ(0, chdir(MNT));
	fill_cache(_metadata);
	check(_metadata, self->fd, &variant->good);
}

/* A server that refuses the mount may still notify: there is nothing cached. */
TEST_F(notify, init_refused)
{
	struct msg refusal = { HEADER, { .header = { HEADER, -EPROTO } } };
	int err;

	mount_again(_metadata);
	self->fd = fuse_session_fd(srv.se);
	srv.swallow = FUSE_INIT;
	server_run(_metadata);
	refusal.header.unique = server_swallowed(_metadata)->unique;
	EXPECT_EQ(0, send_message(self->fd, &refusal));
	EXPECT_EQ(-ECONNREFUSED, look(MNT "/file"));
	err = send_row(self->fd, &variant->good);
	EXPECT_TRUE(!err || err == -ENOENT)
		TH_LOG("error %d", err);
	EXPECT_EQ(-ECONNREFUSED, look(MNT "/file"));
}

struct writer {
	pthread_t thread;
	const struct row *row;
	atomic_int sent;	/* and accepted */
	atomic_bool unmounted;
	int wrong;
};

/* Write until told that the mount is gone, and then once more. */
static void *write_often(void *arg)
{
	int err, fd = fuse_session_fd(srv.se);
	struct writer *w = arg;
	bool last;

	do {
		last = w->unmounted;
		err = send_row(fd, w->row);
		w->sent += !err || err == -ENOENT;
		w->wrong += last ? err != -EINVAL : err && err != -ENOENT && err != -EINVAL &&
						    err != -ENOTCONN;
	} while (!last);
	return NULL;
}

/* A notification is refused when the mount is gone, and nothing else goes wrong before. */
TEST_F(notify, unmount_race)
{
	static const struct row inval = { ENTRY(DIR_ID, 0, "file") };
	int again, i;

	for (again = 0; again < 4; again++) {
		struct writer w[] = { { .row = &variant->good }, { .row = &inval } };

		ASSERT_EQ(0, chdir("/"));
		EXPECT_EQ(0, look(MNT "/dir/file"));
		for (i = 0; i < 2; i++)
			ASSERT_EQ(0, pthread_create(&w[i].thread, NULL, write_often, &w[i]));
		while (!w[0].sent || !w[1].sent)
			sched_yield();
		EXPECT_EQ(0, umount2(MNT, 0));
		srv.mounted = false;
		for (i = 0; i < 2; i++) {
			w[i].unmounted = true;
			pthread_join(w[i].thread, NULL);
			EXPECT_EQ(0, w[i].wrong)
				TH_LOG("%s: of %d", w[i].row->what, w[i].sent);
		}
		mount_again(_metadata);
		server_run(_metadata);
	}
}

/* If a clone of the open /dev/fuse is closed, the first one still works. */
TEST_F(notify, clone_closed)
{
	int clone = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	ASSERT_EQ(0, ioctl(clone, FUSE_DEV_IOC_CLONE, &self->fd));
	check(_metadata, clone, &variant->good);
	close(clone);
	check(_metadata, self->fd, &variant->good);
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
		_exit(-send_row(self->fd, &variant->good));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 255)
		SKIP(return, "no user namespaces here");
	EXPECT_EQ(0, status);
	expect_stale(_metadata, self->fd, variant->good.stale, "a message from elsewhere");
}

/* After an abort a notification is refused, and what is cached stays valid. */
TEST_F(notify, aborted)
{
	EXPECT_EQ(-1, umount2(MNT, MNT_FORCE));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(-EINVAL, send_row(self->fd, &variant->good));
	EXPECT_EQ(0, look("dir/file"));
	EXPECT_EQ(-ENOTCONN, look("never"));
}

/* After a lazy unmount, notifications work until the mount is not in use any more. */
TEST_F(notify, unmounted)
{
	EXPECT_EQ(0, umount2(MNT, MNT_DETACH));
	srv.mounted = false;
	check(_metadata, self->fd, &variant->good);
	EXPECT_EQ(0, chdir("/"));
	EXPECT_EQ(-EINVAL, send_row(self->fd, &variant->good));
}

/* One name of many bytes, well-formed and then without its NUL. */
static void check_long_name(struct __test_metadata *_metadata, int fd, struct row *row, int max)
{
	const bool too_long = row->tail_len - 1 > max;

	if (!too_long)
		EXPECT_EQ(-ENOENT, look(row->tail));
	EXPECT_EQ(too_long ? -ENAMETOOLONG : 0, send_row(fd, row))
		TH_LOG("code %d, %d bytes of %d", row->code, row->tail_len - 1, max);
	if (!too_long)
		EXPECT_EQ(1, asks_for(FUSE_LOOKUP, row->tail));
	/* That it is too long is checked before the size. */
	row->more = -1;
	EXPECT_EQ(too_long ? -ENAMETOOLONG : -EINVAL, send_row(fd, row))
		TH_LOG("code %d, %d bytes of %d, but one", row->code, row->tail_len - 1, max);
}

/* How long a name may be depends on how many pages a request may have. */
TEST(name_max)
{
	static const struct {
		int pages, max;
	} limits[] = { { 1, 1024 }, { 2, LONGEST } };
	const char *problem = new_namespaces() ?: server_mount();
	int i, len, fd;

	if (problem)
		SKIP(return, "%s: %s", problem, strerror(errno));
	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		srv.max_write = limits[i].pages * sysconf(_SC_PAGESIZE);
		server_run(_metadata);
		fd = fuse_session_fd(srv.se);
		ASSERT_EQ(0, chdir(MNT));
		for (len = limits[i].max - 1; len <= limits[i].max + 1; len++) {
			char name[PATH_MAX + 1] = "";
			struct row inval = { ENTRY_LEN(ROOT, 0, name, len), .tail_len = len + 1 };
			struct row delete = as_delete(&inval);

			memset(name, 'n', len);
			check_long_name(_metadata, fd, &inval, limits[i].max);
			check_long_name(_metadata, fd, &delete, limits[i].max);
		}
		server_end(_metadata);
		ASSERT_EQ(NULL, server_mount());
	}
	server_run(_metadata);
	server_end(_metadata);
}

TEST_HARNESS_MAIN
