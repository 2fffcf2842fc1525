// SPDX-License-Identifier: GPL-2.0
/*
 * FUSE notifications as a server writes them to /dev/fuse, byte by byte: good ones,
 * ones about nothing, and ones that no server should write.
 *
 * A small tree is cached in full: names, absent names, attributes, data. A message is
 * written, and then everything is looked at again. What the server is asked for must
 * be exactly what the message made stale: nothing after one that is refused.
 *
 * The messages are rows of a table. Behind it the same is done to one good message of
 * each kind: it is cut, torn apart, sent by other ways and at other times. At last
 * there are random ones, of which the environment says how many and which:
 *
 *   FUSE_FUZZ_COUNT=200000 FUSE_FUZZ_SEED=7 ./notify_malformed_test -t random
 */
#define _GNU_SOURCE
#include "fuse_test_server.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

/* What <linux/fuse.h> may be too old for. */
#if FUSE_KERNEL_MINOR_VERSION < 40
#define FUSE_NOTIFY_RESEND	7
#define FUSE_UNIQUE_RESEND	(1ULL << 63)
#endif
#if FUSE_KERNEL_MINOR_VERSION < 44
#define FUSE_NOTIFY_INC_EPOCH	8
#endif
#if FUSE_KERNEL_MINOR_VERSION < 45
#define FUSE_NOTIFY_PRUNE	9

struct fuse_notify_prune_out {
	uint32_t count;
	uint32_t padding;
	uint64_t spare;
};
#endif

#define BIT(n)		(1ULL << (n))
#define HEADER		sizeof(struct fuse_out_header)
#define INTERRUPT	1ULL	/* in the unique of what answers an INTERRUPT */
#define LONGEST		(PATH_MAX - 1)	/* name, if a request may have two pages */

/*
 * What is cached.
 */

enum { DIR_ID = 2, FILE_ID, SUB_ID, LEAF_ID, EMPTY_ID, TOP_ID, NOBODY = 99 };

enum { I_ROOT, I_DIR, I_FILE, I_LINK, I_NONE, I_SUB, I_LEAF, I_EMPTY, I_TOP, I_ABSENT, THINGS };

static const struct {
	const char *path;
	mode_t type;		/* or 0 if the name is absent */
} things[THINGS] = {
	[I_ROOT]	= { ".",		S_IFDIR },
	[I_DIR]		= { "dir",		S_IFDIR },
	[I_FILE]	= { "dir/file",		S_IFREG },
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
#define IN_DIR		(NAME(FILE) | NAME(LINK) | NAME(NONE) | NAME(SUB) | NAME(LEAF))
#define ALL_NAMES	(NAME(DIR) | IN_DIR | NAME(EMPTY) | NAME(TOP) | NAME(ABSENT))

static uint64_t look_at_data(const char *path)
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

static uint64_t look_around(void)
{
	int i, names, attrs, reads;
	uint64_t seen = 0;
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

	/* Reading makes the time of access stale, so more than once. */
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

/* A message; what is written must return, and what is stale then. */
struct row {
	const char *what;
	int code;
	union arg arg;
	size_t size;
	const void *tail;
	int tail_len;
	int more;	/* so many bytes more of the tail, or fewer, than there should be */
	int err;
	uint64_t stale;
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
	.arg.store = { .nodeid = (node), .offset = (offset_), .size = (count) },	\
	.tail = pluses, .tail_len = (count)

#define RETRIEVE(unique, node, offset_, count)						\
	.what = "retrieve " #node ", " #offset_ ", " #count,				\
	.code = FUSE_NOTIFY_RETRIEVE, .size = sizeof(struct fuse_notify_retrieve_out),	\
	.arg.retrieve = { unique, node, offset_, count }

#define PRUNE_COUNT(nodes, count_)							\
	.what = "prune " #nodes ", " #count_,						\
	.code = FUSE_NOTIFY_PRUNE, .size = sizeof(struct fuse_notify_prune_out),	\
	.arg.prune = { .count = (count_) }, .tail = nodes, .tail_len = sizeof(nodes)
#define PRUNE(nodes)	PRUNE_COUNT(nodes, sizeof(nodes) / sizeof(uint64_t))

/* Inval_entry and delete, where they do the same. */
#define BOTH(parent, name, err_, stale_)						\
	{ ENTRY(parent, 0, name), .err = (err_), .stale = (stale_) },			\
	{ DELETE(parent, FILE_ID, name), .err = (err_), .stale = (stale_) }
#define BOTH_LEN(name, len, err_)							\
	{ ENTRY_LEN(DIR_ID, 0, name, len), .err = (err_) },				\
	{ DELETE_LEN(DIR_ID, FILE_ID, name, len), .err = (err_) }

static char pluses[3 * 4096];
static const uint64_t no_nodes[] = {};
static const uint64_t some_nodes[] = { TOP_ID, NOBODY, LEAF_ID };
static const uint64_t nobody[] = { 0, NOBODY, UINT64_MAX, TOP_ID | BIT(32) };
static const uint64_t in_use[] = { ROOT, DIR_ID, SUB_ID };
static const uint64_t last_of_512[512] = { [511] = TOP_ID };
static const uint64_t last_of_513[513] = { [512] = TOP_ID };
static const uint64_t last_of_1025[1025] = { [1024] = TOP_ID };

/* One good message of each kind; the first ones have a name. */
static const struct row good[] = {
	{ ENTRY(DIR_ID, 0, "file"), .stale = NAME(FILE) | ATTR(DIR) },
	{ DELETE(DIR_ID, FILE_ID, "file"), .stale = NAME(FILE) | ATTR(DIR) },
	{ POLL(1) },
	{ INODE(FILE_ID, 0, 0), .stale = ATTR(FILE) | DATA(FILE) },
	{ STORE(TOP_ID, 8, 6), .stale = STORED },
	{ RETRIEVE(4711, TOP_ID, 8, 16) },
	{ .what = "resend", .code = FUSE_NOTIFY_RESEND },
	{ .what = "inc_epoch", .code = FUSE_NOTIFY_INC_EPOCH, .stale = ALL_NAMES },
	{ PRUNE(some_nodes), .stale = NAME(TOP) | NAME(LEAF) | NAME(SUB) },
};

#define for_each_kind(row)	for (row = good; row < good + ARRAY_SIZE(good); row++)

static const struct row rows[] = {
	/* The names that are cached. */
	{ ENTRY(DIR_ID, FUSE_EXPIRE_ONLY, "file"), .stale = NAME(FILE) | ATTR(DIR) },
	{ ENTRY(DIR_ID, FUSE_EXPIRE_ONLY, "none"), .stale = NAME(NONE) | ATTR(DIR) },
	{ ENTRY(ROOT, FUSE_EXPIRE_ONLY, "dir"), .stale = NAME(DIR) | ATTR(ROOT) },
	BOTH(DIR_ID, "file", 0, NAME(FILE) | ATTR(DIR)),
	BOTH(DIR_ID, "none", 0, NAME(NONE) | ATTR(DIR)),
	{ ENTRY(ROOT, 0, "dir"), .stale = NAME(DIR) | IN_DIR | ATTR(ROOT) },
	{ DELETE(ROOT, DIR_ID, "dir"), .stale = NAME(DIR) | IN_DIR | ATTR(ROOT) },
	{ ENTRY(DIR_ID, 0, "sub"), .stale = NAME(SUB) | NAME(LEAF) | ATTR(DIR) },
	{ DELETE(ROOT, TOP_ID, "file"), .stale = NAME(TOP) | ATTR(ROOT) },

	/* All 64 bits of a directory's nodeid count, and it has to be one. */
	BOTH(0, "file", -ENOENT, 0),
	BOTH(NOBODY, "file", -ENOENT, 0),
	BOTH(DIR_ID | BIT(32), "file", -ENOENT, 0),
	BOTH(DIR_ID | BIT(63), "file", -ENOENT, 0),
	BOTH(UINT64_MAX, "file", -ENOENT, 0),
	BOTH(FILE_ID, "file", -ENOTDIR, 0),
	BOTH(EMPTY_ID, "file", -ENOENT, ATTR(EMPTY)),

	/* A delete of another node finds the name stale all the same; 0 makes it an inval. */
	{ DELETE(DIR_ID, 0, "file"), .stale = NAME(FILE) | ATTR(DIR) },
	{ DELETE(DIR_ID, TOP_ID, "file"), .err = -ENOENT, .stale = NAME(FILE) | ATTR(DIR) },
	{ DELETE(DIR_ID, FILE_ID | BIT(32), "file"), .err = -ENOENT, .stale = NAME(FILE) | ATTR(DIR) },
	{ DELETE(DIR_ID, UINT64_MAX, "file"), .err = -ENOENT, .stale = NAME(FILE) | ATTR(DIR) },
	{ DELETE(DIR_ID, NOBODY, "none"), .stale = NAME(NONE) | ATTR(DIR) },

	/* Flags that the kernel does not know are no matter, nor is padding. */
	{ ENTRY(ROOT, 2, "dir"), .stale = NAME(DIR) | IN_DIR | ATTR(ROOT) },
	{ ENTRY(ROOT, 0x80000000, "dir"), .stale = NAME(DIR) | IN_DIR | ATTR(ROOT) },
	{ ENTRY(ROOT, ~FUSE_EXPIRE_ONLY, "dir"), .stale = NAME(DIR) | IN_DIR | ATTR(ROOT) },
	{ ENTRY(ROOT, UINT32_MAX, "dir"), .stale = NAME(DIR) | ATTR(ROOT) },
	{ DELETE(ROOT, 0, "dir"), .arg.delete.padding = FUSE_EXPIRE_ONLY,
	  .stale = NAME(DIR) | IN_DIR | ATTR(ROOT) },
	{ DELETE(ROOT, 0, "dir"), .arg.delete.padding = UINT32_MAX,
	  .stale = NAME(DIR) | IN_DIR | ATTR(ROOT) },

	/* The name ends where its length says: these are others. */
	BOTH(DIR_ID, "", -ENOENT, ATTR(DIR)),
	BOTH(DIR_ID, "\0", -ENOENT, ATTR(DIR)),
	BOTH(DIR_ID, ".", -ENOENT, ATTR(DIR)),
	BOTH(DIR_ID, "..", -ENOENT, ATTR(DIR)),
	BOTH(DIR_ID, "/", -ENOENT, ATTR(DIR)),
	BOTH(DIR_ID, "file/", -ENOENT, ATTR(DIR)),
	BOTH(DIR_ID, "/file", -ENOENT, ATTR(DIR)),
	BOTH(DIR_ID, "sub/leaf", -ENOENT, ATTR(DIR)),
	BOTH(DIR_ID, "file\0", -ENOENT, ATTR(DIR)),
	BOTH(DIR_ID, "file\0x", -ENOENT, ATTR(DIR)),
	BOTH(DIR_ID, "none\0", -ENOENT, ATTR(DIR)),
	BOTH(DIR_ID, "\0ile", -ENOENT, ATTR(DIR)),
	BOTH(DIR_ID, "fi\0e", -ENOENT, ATTR(DIR)),
	BOTH(DIR_ID, "fil", -ENOENT, ATTR(DIR)),
	BOTH(DIR_ID, "files", -ENOENT, ATTR(DIR)),
	BOTH(DIR_ID, "FILE", -ENOENT, ATTR(DIR)),
	BOTH(DIR_ID, "fil\xe5", -ENOENT, ATTR(DIR)),

	/* A byte is reserved for a NUL, and the kernel puts one there, whatever it finds. */
	{ ENTRY_LEN(DIR_ID, 0, "filex", 4), .more = -1, .stale = NAME(FILE) | ATTR(DIR) },
	{ DELETE_LEN(DIR_ID, FILE_ID, "filex", 4), .more = -1, .stale = NAME(FILE) | ATTR(DIR) },

	/* Lengths that lie. That a name is too long counts before all else. */
	BOTH_LEN("file", 0, -EINVAL),
	BOTH_LEN("file", 3, -EINVAL),
	BOTH_LEN("file", 5, -EINVAL),
	BOTH_LEN("file", 260, -EINVAL),
	BOTH_LEN("file", LONGEST, -EINVAL),
	BOTH_LEN("file", LONGEST + 1, -ENAMETOOLONG),
	BOTH_LEN("file", 0x10004, -ENAMETOOLONG),
	BOTH_LEN("file", INT32_MAX, -ENAMETOOLONG),
	BOTH_LEN("file", 0x80000004, -ENAMETOOLONG),
	/* With its NUL, this goes back to where the name starts, or before. */
	BOTH_LEN("file", (uint32_t)-5, -ENAMETOOLONG),
	BOTH_LEN("file", (uint32_t)-21, -ENAMETOOLONG),
	BOTH_LEN("file", UINT32_MAX, -ENAMETOOLONG),
	{ ENTRY_LEN(DIR_ID, 0, "", UINT32_MAX), .more = -1, .err = -ENAMETOOLONG },
	{ DELETE_LEN(DIR_ID, FILE_ID, "", UINT32_MAX), .more = -1, .err = -ENAMETOOLONG },

	/* Who does not poll is not waken, and that is no error. */
	{ POLL(0) },
	{ POLL(UINT64_MAX) },

	/* From an offset, for a length or to the end; no data if the offset is negative. */
	{ INODE(TOP_ID, 0, 1), .stale = ATTR(TOP) | DATA(TOP) },
	{ INODE(TOP_ID, 0, -1), .stale = ATTR(TOP) | DATA(TOP) },
	{ INODE(TOP_ID, 0, INT64_MAX), .stale = ATTR(TOP) | DATA(TOP) },
	{ INODE(TOP_ID, 4095, 1), .stale = ATTR(TOP) | DATA(TOP) },
	{ INODE(TOP_ID, -1, 4096), .stale = ATTR(TOP) },
	{ INODE(TOP_ID, INT64_MIN, 0), .stale = ATTR(TOP) },
	{ INODE(TOP_ID, 1 << 20, 0), .stale = ATTR(TOP) },
	{ INODE(TOP_ID, INT64_MAX, INT64_MAX), .stale = ATTR(TOP) },
	{ INODE(DIR_ID, 0, 0), .stale = ATTR(DIR) },
	{ INODE(ROOT, 0, 0), .stale = ATTR(ROOT) },
	{ INODE(0, 0, 0), .err = -ENOENT },
	{ INODE(NOBODY, 0, 0), .err = -ENOENT },
	{ INODE(TOP_ID | BIT(32), 0, 0), .err = -ENOENT },
	{ INODE(UINT64_MAX, 0, 0), .err = -ENOENT },

	/* The offset is looked at first, then the node, which has to be a file. */
	{ STORE(TOP_ID, 0, 0) },
	{ STORE(TOP_ID, 0, 1), .stale = STORED },
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
	{ RETRIEVE(4, TOP_ID, 4096, 1) },
	{ RETRIEVE(5, TOP_ID, 4097, 1) },
	{ RETRIEVE(6, TOP_ID, BIT(32), 4096) },
	{ RETRIEVE(7, TOP_ID, LONG_MAX - 1, UINT32_MAX) },
	{ RETRIEVE(7, TOP_ID, INT64_MAX, 1), .err = -EINVAL },
	{ RETRIEVE(8, TOP_ID, UINT64_MAX, UINT32_MAX), .err = -EINVAL },
	{ RETRIEVE(9, NOBODY, UINT64_MAX, 1), .err = -EINVAL },
	{ RETRIEVE(10, NOBODY, 0, 1), .err = -ENOENT },
	{ RETRIEVE(11, TOP_ID | BIT(63), 0, 1), .err = -ENOENT },
	{ RETRIEVE(12, ROOT, 0, 1), .err = -EINVAL },
	{ RETRIEVE(13, SUB_ID, 0, 4096), .err = -EINVAL },

	/* Nobody, or somebody who is in use: no error, and nothing is lost. */
	{ PRUNE(no_nodes) },
	{ PRUNE(nobody) },
	{ PRUNE(in_use) },
	/* The kernel takes 512 at a time. */
	{ PRUNE(last_of_512), .stale = NAME(TOP) },
	{ PRUNE(last_of_513), .stale = NAME(TOP) },
	{ PRUNE(last_of_1025), .stale = NAME(TOP) },
	{ PRUNE_COUNT(some_nodes, 0), .err = -EINVAL },
	{ PRUNE_COUNT(some_nodes, 2), .err = -EINVAL },
	{ PRUNE_COUNT(some_nodes, 4), .err = -EINVAL },
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

static void start(struct msg *m, int error, uint64_t unique)
{
	m->len = 0;
	add(m, &(struct fuse_out_header){ .error = error, .unique = unique }, HEADER);
}

static const struct msg *message(struct msg *m, const struct row *row)
{
	start(m, row->code, 0);
	add(m, &row->arg, row->size);
	add(m, row->tail, row->tail_len + row->more);
	return m;
}

FIXTURE(notify) {
	int fd, clone;		/* two devices of the connection */
};

static const char *mount_tree(void)
{
	const char *problem = new_namespaces() ?: server_mount();
	int i;

	for (i = I_DIR; i < THINGS; i++) {
		if (i == I_LINK)
			server_link("dir/file", "dir/link");
		else if (things[i].type)
			server_add(things[i].path, things[i].type);
	}
	memset(pluses, '+', sizeof(pluses));
	return problem;
}

FIXTURE_SETUP(notify)
{
	const char *problem = mount_tree();
	uint32_t fd;

	if (problem)
		SKIP(return, "%s: %s", problem, strerror(errno));
	ASSERT_EQ(TOP_ID, srv.last);
	server_run(_metadata);
	self->fd = fd = fuse_session_fd(srv.se);
	self->clone = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	ASSERT_EQ(0, ioctl(self->clone, FUSE_DEV_IOC_CLONE, &fd));
	ASSERT_EQ(0, chdir(MNT));
	fill_cache(_metadata);
}

FIXTURE_TEARDOWN(notify)
{
	close(self->clone);
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

static void refuse(struct __test_metadata *_metadata, int fd, const struct msg *m, int err,
		   const char *what)
{
	EXPECT_EQ(err, send_message(fd, m))
		TH_LOG("%s: %zu bytes, header.len %u, code %d, unique %#llx", what, m->len,
		       m->header.len, m->header.error, (unsigned long long)m->header.unique);
}

/* Exactly this is stale; and then everything is cached again. */
static void expect_stale(struct __test_metadata *_metadata, int fd, uint64_t stale,
			 const char *what)
{
	uint64_t seen = look_around();

	/* A node may go with its last name, and its data with it. */
	EXPECT_EQ(stale, seen & (~(stale << 32) | stale))
		TH_LOG("behind %s: stale should be %#llx, and is %#llx", what,
		       (unsigned long long)stale, (unsigned long long)seen);
	if (seen & STORED)
		EXPECT_EQ(0, send_row(fd, &(struct row){ INODE(TOP_ID, 0, 0) }));
	if (seen)
		fill_cache(_metadata);
}

/* The next request of this kind that the server does not handle itself. */
static const struct fuse_in_header *swallowed(struct __test_metadata *_metadata)
{
	EXPECT_TRUE(server_wait(&srv.stopped))
		TH_LOG("no request");
	return (void *)srv.request;
}

/* What is retrieved comes as a request, which nobody waits for. */
static void expect_retrieved(struct __test_metadata *_metadata, const struct row *row)
{
	const struct fuse_notify_retrieve_out *asked = &row->arg.retrieve;
	const struct fuse_in_header *in = swallowed(_metadata);
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
	if (size)
		EXPECT_EQ(0, memcmp(arg + 1, srv.content + asked->offset, size))
			TH_LOG("%s: other data than what is cached", row->what);
}

/* All rows, but each kind as a test of its own. */
static void check(struct __test_metadata *_metadata, int fd, int code)
{
	const struct row *row;

	for (row = rows; row < rows + ARRAY_SIZE(rows); row++) {
		if (row->code != code)
			continue;
		srv.swallow = FUSE_NOTIFY_REPLY;
		EXPECT_EQ(row->err, send_row(fd, row))
			TH_LOG("%s", row->what);
		if (code == FUSE_NOTIFY_RETRIEVE && !row->err)
			expect_retrieved(_metadata, row);
		expect_stale(_metadata, fd, row->stale, row->what);
	}
}

#define TEST_ROWS(name, code)	TEST_F(notify, name) { check(_metadata, self->fd, code); }
TEST_ROWS(inval_entry, FUSE_NOTIFY_INVAL_ENTRY)
TEST_ROWS(delete, FUSE_NOTIFY_DELETE)
TEST_ROWS(poll, FUSE_NOTIFY_POLL)
TEST_ROWS(inval_inode, FUSE_NOTIFY_INVAL_INODE)
TEST_ROWS(store, FUSE_NOTIFY_STORE)
TEST_ROWS(retrieve, FUSE_NOTIFY_RETRIEVE)
TEST_ROWS(prune, FUSE_NOTIFY_PRUNE)

/*
 * One good message of each kind, and what becomes of it.
 */

/* The header says how long the message is, and that is written at once. */
TEST_F(notify, length)
{
	const struct row *row;
	unsigned int len;
	size_t full;
	struct msg m;

	for_each_kind(row) {
		full = message(&m, row)->len;
		memset(m.data + full, 0, 2 * full);
		for (len = 0; len < 2 * full; len++) {
			m.len = full;
			m.header.len = len | (len == full) << 16;
			refuse(_metadata, self->fd, &m, -EINVAL, row->what);
			m.len = len;
			m.header.len = full;
			if (len != full)
				refuse(_metadata, self->fd, &m, -EINVAL, row->what);
			m.header.len = len;
			/* Some have no argument, and nobody looks whether there is one. */
			if (len < full || (row->size && len > full))
				refuse(_metadata, self->fd, &m, -EINVAL, row->what);
		}
		expect_stale(_metadata, self->fd, 0, row->what);
	}
}

/* What it claims to be: with a unique it is no notification, but the answer to nothing. */
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
	const struct row *row;
	unsigned int i;
	struct msg m;

	for_each_kind(row) {
		message(&m, row);
		for (i = 0; i < ARRAY_SIZE(headers); i++) {
			m.header.error = headers[i].error;
			m.header.unique = 0;
			refuse(_metadata, self->fd, &m, headers[i].notification, row->what);
			m.header.unique = UINT64_MAX;
			refuse(_metadata, self->fd, &m, headers[i].answer, row->what);
		}
		for (i = 4; i < 32; i++) {
			m.header.error = row->code | BIT(i);
			m.header.unique = 0;
			refuse(_metadata, self->fd, &m, -EINVAL, row->what);
		}
		for (i = 0; i < 64; i++) {
			m.header.error = row->code;
			m.header.unique = BIT(i);
			refuse(_metadata, self->fd, &m, -EINVAL, row->what);
		}
		expect_stale(_metadata, self->fd, 0, row->what);
	}
}

/* The server's memory ends within the message: what is missing is not made up. */
TEST_F(notify, unreadable)
{
	size_t page = sysconf(_SC_PAGESIZE), needed, len;
	const struct row *row;
	struct msg m;
	char *end;

	end = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, end);
	end += page;
	ASSERT_EQ(0, mprotect(end, page, PROT_NONE));

	for_each_kind(row) {
		message(&m, row);
		needed = row->size ? m.len : HEADER;
		for (len = 0; len < needed; len++) {
			/* The rest is there if one looks further. */
			struct iovec holes[] = {
				{ m.data, len }, { end, 1 }, { m.data + len + 1, m.len - len - 1 },
			};

			memcpy(end - len, m.data, len);
			EXPECT_EQ(-EFAULT, result(write(self->fd, end - len, m.len), m.len))
				TH_LOG("%s, %zu bytes are readable", row->what, len);
			EXPECT_EQ(-EFAULT, result(writev(self->fd, holes, 3), m.len))
				TH_LOG("%s, byte %zu is not readable", row->what, len);
		}
		/* A store may have come half way. */
		expect_stale(_metadata, self->fd, row->stale & STORED, row->what);
	}
	EXPECT_EQ(-EINVAL, result(write(self->fd, end, HEADER - 1), 0));
}

/*
 * In two parts, by writev() and by splice(), through both devices. A splice takes as
 * many bytes as it is told, and these have to be one message.
 */
TEST_F(notify, parts)
{
	const struct row *row;
	int pipes[2], left;
	char rest[256];
	struct msg m;
	size_t cut;

	ASSERT_EQ(0, pipe2(pipes, O_DIRECT | O_CLOEXEC));
	for_each_kind(row) {
		message(&m, row);
		for (cut = 1; cut < m.len; cut++) {
			struct iovec iov[] = {
				{ m.data, cut }, { m.data + cut, 0 }, { m.data + cut, m.len - cut },
			};

			EXPECT_EQ(0, result(writev(self->fd, iov, 3), m.len))
				TH_LOG("%s, cut at %zu", row->what, cut);
			expect_stale(_metadata, self->fd, row->stale, row->what);

			ASSERT_EQ((ssize_t)m.len, write(pipes[1], m.data, m.len));
			EXPECT_EQ(-EINVAL, result(splice(pipes[0], NULL, self->fd, NULL, cut, 0), 0));
			ASSERT_EQ(0, ioctl(pipes[0], FIONREAD, &left));
			EXPECT_EQ(m.len - cut, left);
			EXPECT_EQ(left, read(pipes[0], rest, sizeof(rest)));

			ASSERT_EQ((ssize_t)cut, write(pipes[1], m.data, cut));
			ASSERT_LT(0, write(pipes[1], m.data + cut, m.len - cut));
			EXPECT_EQ(0, result(splice(pipes[0], NULL, self->clone, NULL, m.len, 0),
					    m.len))
				TH_LOG("%s, cut at %zu, by splice", row->what, cut);
			expect_stale(_metadata, self->fd, row->stale, row->what);
		}
	}
}

/* Who writes need not be where the mount is, as long as they have the device. */
TEST_F(notify, other_namespaces)
{
	const struct row *row;
	int status;
	pid_t pid;

	for_each_kind(row) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
				_exit(255);
			_exit(-send_row(self->fd, row));
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		if (WIFEXITED(status) && WEXITSTATUS(status) == 255)
			SKIP(return, "no user namespaces here");
		EXPECT_EQ(0, status)
			TH_LOG("%s", row->what);
		expect_stale(_metadata, self->fd, row->stale, row->what);
	}
}

/*
 * A request that waits for its answer, which is given by hand.
 */

static void *force_getattr(void *arg)
{
	struct statx stx;
	int *err = arg;

	/* A C library asks in another way when the answer is ENOSYS. */
	*err = syscall(SYS_statx, AT_FDCWD, ".", AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &stx) ?
		-errno : 0;
	return NULL;
}

/* What a server answers, what it is told, and what the caller gets; 1: waits on. */
static const struct answer {
	int error;
	uint64_t unique;	/* differs in these bits */
	size_t len;
	int err, gets;
} answers[] = {
	{ 1,		0,		0,		-EINVAL, 1 },
	{ -512,		0,		0,		-EINVAL, 1 },
	{ -EIO,		2,		0,		-ENOENT, 1 },
	{ -EIO,		BIT(32),	0,		-ENOENT, 1 },
	{ -EIO,		BIT(63),	0,		-ENOENT, 1 },
	/* Of an interrupt that was not. */
	{ -EIO,		INTERRUPT,	0,		0, 1 },
	{ -EIO,		INTERRUPT,	1,		-EINVAL, 1 },
	{ -EAGAIN,	INTERRUPT,	0,		-EINVAL, 1 },
	/* A bad one is an answer, too. */
	{ -EACCES,	0,		0,		0, -EACCES },
	{ -511,		0,		0,		0, -511 },
	{ -EACCES,	0,		1,		-EINVAL, -EIO },
	{ 0,		0,		0,		-EINVAL, -EIO },
	{ 0,	0, sizeof(struct fuse_attr_out) - 1,	-EINVAL, -EIO },
	{ 0,	0, sizeof(struct fuse_attr_out) + 1,	-EINVAL, -EIO },
	{ 0,	0, sizeof(struct fuse_attr_out),	0, 0 },
};

TEST_F(notify, answers)
{
	struct fuse_attr_out attr[2] = {
		{ .attr = { .ino = ROOT, .mode = S_IFDIR | 0755, .nlink = 2 } },
	};
	const struct answer *a;
	uint64_t unique = 0;
	pthread_t thread;
	struct msg m;
	int got;

	for (a = answers; a < answers + ARRAY_SIZE(answers); a++) {
		if (!unique) {
			srv.swallow = FUSE_GETATTR;
			ASSERT_EQ(0, pthread_create(&thread, NULL, force_getattr, &got));
			unique = swallowed(_metadata)->unique;
		}
		start(&m, a->error, unique ^ a->unique);
		add(&m, attr, a->len);
		/* What one device has read, another cannot answer. */
		if (a->gets <= 0)
			refuse(_metadata, self->clone, &m, -ENOENT, "answer from the clone");
		refuse(_metadata, self->fd, &m, a->err, "answer");
		if (a->gets > 0)
			continue;
		pthread_join(thread, NULL);
		EXPECT_EQ(a->gets, got)
			TH_LOG("answer %d with %zu bytes", a->error, a->len);
		unique = 0;
	}
	fill_cache(_metadata);
}

/* What waits is sent again, each time, and can then be answered. */
TEST_F(notify, resend)
{
	pthread_t thread;
	uint64_t unique;
	struct msg m;
	int i, got;

	srv.swallow = FUSE_GETATTR;
	ASSERT_EQ(0, pthread_create(&thread, NULL, force_getattr, &got));
	unique = swallowed(_metadata)->unique;
	for (i = 0; i < 3; i++) {
		srv.swallow = FUSE_GETATTR;
		start(&m, FUSE_NOTIFY_RESEND, 0);
		EXPECT_EQ(0, send_message(i & 1 ? self->clone : self->fd, &m));
		EXPECT_EQ(unique | FUSE_UNIQUE_RESEND, swallowed(_metadata)->unique);
	}
	start(&m, -EACCES, unique);
	refuse(_metadata, self->fd, &m, -ENOENT, "answer to what was sent first");
	start(&m, -EACCES, unique | FUSE_UNIQUE_RESEND);
	refuse(_metadata, self->fd, &m, 0, "answer to what was sent last");
	pthread_join(thread, NULL);
	EXPECT_EQ(-EACCES, got);
	expect_stale(_metadata, self->fd, 0, "resend");
}

static void *poll_file(void *arg)
{
	struct pollfd *file = arg;

	if (poll(file, 1, -1) < 0)
		file->revents = 0;
	return NULL;
}

static void answer_poll(struct __test_metadata *_metadata, int fd, int revents)
{
	struct msg m;

	start(&m, 0, swallowed(_metadata)->unique);
	add(&m, &(struct fuse_poll_out){ .revents = revents }, sizeof(struct fuse_poll_out));
	refuse(_metadata, fd, &m, 0, "answer to a poll");
}

/* Only the handle of who polls wakes them, and only to ask again. */
TEST_F(notify, poll_wakes)
{
	static const uint64_t wrong[] = { 1, BIT(32), BIT(63), UINT64_MAX };
	struct pollfd file = { .fd = open("file", O_RDONLY | O_CLOEXEC), .events = POLLIN };
	const struct fuse_in_header *in = (void *)srv.request;
	const struct fuse_poll_in *arg = (void *)(in + 1);
	pthread_t thread;
	size_t i;

	srv.swallow = FUSE_POLL;
	ASSERT_EQ(0, pthread_create(&thread, NULL, poll_file, &file));
	answer_poll(_metadata, self->fd, 0);
	srv.swallow = FUSE_POLL;
	for (i = 0; i < ARRAY_SIZE(wrong); i++)
		EXPECT_EQ(0, send_row(self->fd, &(struct row){ POLL(arg->kh ^ wrong[i]) }));
	expect_stale(_metadata, self->fd, 0, "poll");
	EXPECT_EQ(1, server_requests(FUSE_POLL));
	EXPECT_EQ(0, send_row(self->fd, &(struct row){ POLL(arg->kh) }));
	answer_poll(_metadata, self->fd, POLLIN);
	pthread_join(thread, NULL);
	EXPECT_EQ(POLLIN, file.revents);
	close(file.fd);
}

/*
 * Other times.
 */

static void refuse_all(struct __test_metadata *_metadata, int fd, int err, const char *when)
{
	const struct row *row;

	for_each_kind(row)
		EXPECT_EQ(err, send_row(fd, row))
			TH_LOG("%s, %s", row->what, when);
}

TEST_F(notify, aborted)
{
	EXPECT_EQ(-1, umount2(MNT, MNT_FORCE));
	EXPECT_EQ(EBUSY, errno);
	refuse_all(_metadata, self->fd, -EINVAL, "aborted");
	refuse_all(_metadata, self->clone, -EINVAL, "aborted");
	/* Names and attributes have not lost their validity. */
	EXPECT_EQ(0, look("dir/file"));
	EXPECT_EQ(-ENOENT, look("dir/none"));
	EXPECT_EQ(-ENOTCONN, look("dir/never"));
}

/* Out of sight, but in use: it works until it is not. */
TEST_F(notify, unmounted)
{
	const struct row *row;
	struct msg m;

	EXPECT_EQ(0, umount2(MNT, MNT_DETACH));
	srv.mounted = false;
	for_each_kind(row) {
		EXPECT_EQ(0, send_row(self->fd, row));
		expect_stale(_metadata, self->fd, row->stale, row->what);
	}
	EXPECT_EQ(0, chdir("/"));
	refuse_all(_metadata, self->fd, -EINVAL, "unmounted");
	refuse_all(_metadata, self->clone, -EINVAL, "unmounted");
	start(&m, -EIO, 2);
	refuse(_metadata, self->fd, &m, -ENOENT, "answer");
}

/* The server does not run yet. */
FIXTURE(start) {};

FIXTURE_SETUP(start)
{
	const char *problem = mount_tree();

	if (problem)
		SKIP(return, "%s: %s", problem, strerror(errno));
}

FIXTURE_TEARDOWN(start)
{
	server_end(_metadata);
}

/* Until INIT is answered, only that answer counts. */
TEST_F(start, init_waits)
{
	int other = open("/dev/fuse", O_RDWR | O_CLOEXEC), fd = fuse_session_fd(srv.se);

	refuse_all(_metadata, other, -EPERM, "not mounted");
	close(other);
	refuse_all(_metadata, fd, -EINVAL, "before INIT");
	srv.stop = FUSE_INIT;
	server_run(_metadata);
	EXPECT_TRUE(server_wait(&srv.stopped));
	refuse_all(_metadata, fd, -EINVAL, "INIT waits");
	sem_post(&srv.go);

	/* As if nothing had been. */
	EXPECT_EQ(0, look(MNT "/file"));
	EXPECT_EQ(0, send_row(fd, &(struct row){ ENTRY(ROOT, 0, "file") }));
	EXPECT_EQ(1, asks_for(FUSE_LOOKUP, MNT "/file"));
}

/* A server that will not have the mount may still notify: there is nothing cached. */
TEST_F(start, init_refused)
{
	int fd = fuse_session_fd(srv.se);
	struct msg m;

	srv.swallow = FUSE_INIT;
	server_run(_metadata);
	start(&m, -EPROTO, swallowed(_metadata)->unique);
	EXPECT_EQ(0, send_message(fd, &m));
	EXPECT_EQ(-ECONNREFUSED, look(MNT "/file"));
	EXPECT_EQ(-ENOENT, send_row(fd, &(struct row){ ENTRY(ROOT, 0, "file") }));
	EXPECT_EQ(-ENOENT, send_row(fd, &(struct row){ DELETE(ROOT, TOP_ID, "file") }));
	EXPECT_EQ(-ENOENT, send_row(fd, &(struct row){ INODE(TOP_ID, 0, 0) }));
	EXPECT_EQ(-EINVAL, send_row(fd, &(struct row){ ENTRY_LEN(ROOT, 0, "file", 5) }));
	EXPECT_EQ(-ECONNREFUSED, look(MNT "/file"));
}

/* The longest name is as good as any, and one byte more is refused. */
TEST_F(start, name_max)
{
	static const struct { int pages, max; } limits[] = { { 1, 1024 }, { 2, LONGEST } };
	int fd = fuse_session_fd(srv.se), i, len, kind;
	char name[PATH_MAX + 1];

	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		srv.max_write = limits[i].pages * sysconf(_SC_PAGESIZE);
		server_run(_metadata);
		ASSERT_EQ(0, chdir(MNT));
		for (kind = 0; kind < 2; kind++) {
			for (len = limits[i].max - 1; len <= limits[i].max + 1; len++) {
				struct row rows[] = {
					{ ENTRY_LEN(ROOT, 0, name, len) },
					{ DELETE_LEN(ROOT, NOBODY, name, len) },
				};
				bool good = len <= limits[i].max;

				rows[kind].tail_len = len + 1;
				memset(name, 'n', len);
				name[len] = '\0';
				if (good)
					EXPECT_EQ(-ENOENT, look(name));
				EXPECT_EQ(good ? 0 : -ENAMETOOLONG, send_row(fd, &rows[kind]))
					TH_LOG("%d bytes", len);
				if (good)
					EXPECT_EQ(1, asks_for(FUSE_LOOKUP, name));
				/* The length counts before the size. */
				rows[kind].more = -1;
				EXPECT_EQ(good ? -EINVAL : -ENAMETOOLONG, send_row(fd, &rows[kind]))
					TH_LOG("%d bytes, one is missing", len);
			}
		}
		server_end(_metadata);
		ASSERT_EQ(NULL, server_mount());
	}
	server_run(_metadata);
}

struct writer {
	pthread_t thread;
	const struct row *row;
	atomic_int sent;
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
		w->sent++;
		w->wrong += last ? err != -EINVAL : err && err != -ENOENT && err != -EINVAL &&
						    err != -ENOTCONN;
	} while (!last);
	return NULL;
}

/* Whenever the mount goes: done, or nothing to do, or not connected. */
TEST_F(start, unmount_race)
{
	int again, i;

	for (again = 0; again < 4 * ARRAY_SIZE(good); again++) {
		struct writer w[] = { { .row = good + again / 4 }, { .row = good } };

		server_run(_metadata);
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
		server_end(_metadata);
		ASSERT_EQ(NULL, server_mount());
	}
	server_run(_metadata);
}

/*
 * At random.
 */

static uint64_t rnd(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* Message @number of this @seed is always the same. */
static void random_message(struct msg *m, uint64_t seed, uint64_t number)
{
	static const uint64_t odd[] = {
		0, 1, 4, 5, 255, 4096, 65536, INT32_MAX, 0x80000000, UINT32_MAX, BIT(32),
		INT64_MAX, BIT(63), UINT64_MAX,
	};
	uint64_t state = seed, value;
	int changes;
	size_t at;

	state = rnd(&state) + number;
	value = rnd(&state);
	message(m, value % 4 ? rows + value % ARRAY_SIZE(rows) : good + value % ARRAY_SIZE(good));
	for (changes = rnd(&state) % 4; changes; changes--) {
		at = rnd(&state) % (HEADER + 32);	/* where something is decided */
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
	/* Most are refused for their length: not always. */
	if (rnd(&state) % 8)
		m->header.len = m->len;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

/* What is refused has done nothing, and whatever is written, the connection lives. */
TEST_F_TIMEOUT(notify, random, 600)
{
	uint64_t seed = setting("FUSE_FUZZ_SEED", 1), i = setting("FUSE_FUZZ_FIRST", 0), node;
	uint64_t count = setting("FUSE_FUZZ_COUNT", 2000), end = i + count;
	int err, done = 0, refused = 0;
	struct msg m;

	for (; i < end && !_metadata->exit_code; i++) {
		random_message(&m, seed, i);
		err = send_message(self->fd, &m);
		if (err == -EINVAL || err == -ENAMETOOLONG || err == -ENOTDIR) {
			refused++;
			expect_stale(_metadata, self->fd, 0, "what was refused");
		} else {
			done += !err;
			EXPECT_TRUE(!err || err == -ENOENT)
				TH_LOG("error %d", err);
			for (node = ROOT; node <= TOP_ID; node++)
				send_row(self->fd, &(struct row){ INODE(node, 0, 0) });
			fill_cache(_metadata);
		}
		if (_metadata->exit_code)
			TH_LOG("alone: FUSE_FUZZ_SEED=%llu FUSE_FUZZ_FIRST=%llu FUSE_FUZZ_COUNT=1",
			       (unsigned long long)seed, (unsigned long long)i);
	}
	TH_LOG("seed %llu: %d done, %d refused", (unsigned long long)seed, done, refused);
	if (count >= 1000)
		EXPECT_TRUE(done > 100 && refused > 100);
}

TEST_HARNESS_MAIN
