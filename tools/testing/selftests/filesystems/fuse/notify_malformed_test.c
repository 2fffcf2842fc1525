// SPDX-License-Identifier: GPL-2.0
/*
 * FUSE notifications as no server should write them, and when no server should.
 *
 * A server here is a thread that reads /dev/fuse and answers with long timeouts,
 * so that a small tree is cached in full: names, absent names, attributes, data.
 * Then a message is written, and everything is looked at again.  The server counts
 * what it is asked, and that must be exactly what the message made stale: nothing
 * after a message that is refused.
 *
 * What a message does is known twice: from the tables of the tests, and from
 * judge(), which reads the message as the protocol says.  Both must agree, so that
 * judge() can then be trusted with random messages:
 *
 *   FUSE_FUZZ_COUNT=200000 FUSE_FUZZ_SEED=7 ./notify_malformed_test -t random
 *
 * Needs root or user namespaces; everything happens in a mount namespace of its own.
 */
#define _GNU_SOURCE
#define __SANE_USERSPACE_TYPES__
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <linux/sched.h>
#include <linux/types.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "../../kselftest_harness.h"

/* What <linux/fuse.h> may be too old for. */
#if FUSE_KERNEL_MINOR_VERSION < 40
#define FUSE_NOTIFY_RESEND	7
#endif
#if FUSE_KERNEL_MINOR_VERSION < 44
#define FUSE_NOTIFY_INC_EPOCH	8
#endif
#if FUSE_KERNEL_MINOR_VERSION < 45
#define FUSE_NOTIFY_PRUNE	9

struct fuse_notify_prune_out {
	__u32	count;
	__u32	padding;
	__u64	spare;
};
#endif

#ifndef BIT
#define BIT(n)		(1U << (n))
#endif
#define BIT_ULL(n)	(1ULL << (n))
#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#endif

#define HEADER		sizeof(struct fuse_out_header)
#define INT_REQ_BIT	1ULL			/* marks the answer to an INTERRUPT */
#define NAME_MAX_LOW	1024			/* with one page per request */
#define NAME_MAX_HIGH	(PATH_MAX - 1)		/* with more */
#define MAX_FILESIZE	(sizeof(long) == 8 ? (__u64)LLONG_MAX : \
			 (__u64)LONG_MAX * sysconf(_SC_PAGESIZE))
#define MAX_WRITE	65536
#define MSG_MAX		16384
#define LIMIT		10			/* seconds after which a call hangs */
#define UNSEEN		32			/* messages that do nothing, to a look */
#define VALID		3600			/* seconds, so nothing ever times out */

/*
 * The tree.
 */

enum {
	ROOT = FUSE_ROOT_ID, DIR_ID, FILE_ID, SUB, LEAF, EMPTY, TOP, HELD, SLOW, NODES,
	NOBODY = 99,	/* no node has this nodeid */
};

enum {
	E_DIR, E_FILE, E_LINK, E_NONE, E_SUB, E_LEAF, E_EMPTY, E_TOP, E_TOPNONE, E_HELD, ENTRIES,
};

#define ALL_NAMES	(BIT(ENTRIES) - 1)
#define IN_DIR		(BIT(E_FILE) | BIT(E_LINK) | BIT(E_NONE) | BIT(E_SUB) | BIT(E_LEAF))

/* Parents come before children.  Without a node the name is absent. */
static const struct entry {
	__u64 parent;
	const char *name;
	__u64 node;
	const char *path;
} tree[ENTRIES] = {
	[E_DIR]		= { ROOT,	"dir",		DIR_ID,		"dir" },
	[E_FILE]	= { DIR_ID,	"file",		FILE_ID,	"dir/file" },
	[E_LINK]	= { DIR_ID,	"link",		FILE_ID,	"dir/link" },
	[E_NONE]	= { DIR_ID,	"none",		0,		"dir/none" },
	[E_SUB]		= { DIR_ID,	"sub",		SUB,		"dir/sub" },
	[E_LEAF]	= { SUB,	"leaf",		LEAF,		"dir/sub/leaf" },
	[E_EMPTY]	= { ROOT,	"empty",	EMPTY,		"empty" },
	[E_TOP]		= { ROOT,	"file",		TOP,		"file" },
	[E_TOPNONE]	= { ROOT,	"none",		0,		"none" },
	[E_HELD]	= { ROOT,	"held",		HELD,		"held" },
};

/* Whose data is looked at, and where. */
static const struct {
	__u64 node;
	const char *path;
} files[] = {
	{ FILE_ID,	"dir/file" },
	{ LEAF,		"dir/sub/leaf" },
	{ TOP,		"file" },
};

#define DATA_NODES	(BIT(FILE_ID) | BIT(LEAF) | BIT(TOP))

static bool is_dir(__u64 node)
{
	return node == ROOT || node == DIR_ID || node == SUB || node == EMPTY;
}

static size_t page_size(void)
{
	static size_t size;

	if (!size)
		size = sysconf(_SC_PAGESIZE);
	return size;
}

/* A file is one page of this. */
static char content(__u64 node, size_t i)
{
	return (char)(node * 41 + i * 7 + i / 251);
}

/*
 * The server.
 */

enum init { INIT_ANSWER, INIT_REFUSE, INIT_OTHER_MAJOR, INIT_HOLD };

/* What the server has been asked so far. */
struct counts {
	unsigned int lookup[ENTRIES];
	unsigned int getattr[NODES];
	unsigned int read[NODES];
	unsigned int alive;		/* LOOKUPs of "alive", which is never cached */
	unsigned int other;		/* LOOKUPs of anything else */
	unsigned int polls;
	unsigned int retrieved;		/* NOTIFY_REPLYs */
	unsigned int held;		/* GETATTRs of HELD, which wait for an answer */
	unsigned int unexpected;	/* anything that this test never causes */
};

struct retrieved {
	__u64 unique, node, offset;
	__u32 size;
	size_t len;
	char data[MAX_WRITE];
};

struct conn {
	int fd;
	int clone;
	int root;		/* O_PATH */
	char dir[64];
	bool mounted, serving;
	pid_t keeper;		/* whose namespaces it is mounted in, if not ours */
	enum init init;
	unsigned int max_pages;
	pthread_t thread;

	pthread_mutex_t lock;	/* of all below */
	pthread_cond_t change;
	struct counts n;
	bool connected;		/* the server has seen INIT */
	unsigned int minor;	/* of the kernel */
	__u64 init_unique;
	__u64 held;		/* unique of the GETATTR that waits, or 0 */
	bool held_at_once;	/* is answered at once after all */
	bool ready;		/* what poll() is told */
	__u64 kh;		/* of who polls */
	__u64 slow;		/* unique of the READ that waits, or 0 */
	__u32 opcode;	/* of the last unexpected request */
	char *tail;		/* a page, the data of SLOW */
	struct retrieved last;
};

static void answer_to(struct conn *c, __u64 unique, int error, const void *data, size_t len)
{
	struct fuse_out_header out = {
		.len = sizeof(out) + len,
		.error = error,
		.unique = unique,
	};
	struct iovec iov[] = { { &out, sizeof(out) }, { (void *)data, len } };

	/* Nobody waits any more once the connection is aborted. */
	if (writev(c->fd, iov, len ? 2 : 1) < 0)
		return;
}

static void fill_attr(struct fuse_attr *attr, __u64 node)
{
	attr->ino = node;
	attr->mode = is_dir(node) ? S_IFDIR | 0755 : S_IFREG | 0644;
	attr->nlink = 1;
	attr->size = is_dir(node) ? 0 : page_size();
	attr->blksize = page_size();
}

/* For LOOKUP, and for a reply that nobody may take for one. */
static void fill_attr_out(struct fuse_attr_out *out, __u64 node)
{
	memset(out, 0, sizeof(*out));
	out->attr_valid = node == HELD ? 0 : VALID;
	fill_attr(&out->attr, node);
}

static void answer_init(struct conn *c, enum init init)
{
	struct fuse_init_out out = {
		.major = init == INIT_OTHER_MAJOR ? FUSE_KERNEL_VERSION - 1 : FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_background = 16,
		.congestion_threshold = 12,
		.max_write = MAX_WRITE,
		/* Another size is no reason to read a file again. */
		.flags = FUSE_EXPLICIT_INVAL_DATA | FUSE_MAX_PAGES,
		.max_pages = c->max_pages,
	};

	if (init == INIT_REFUSE)
		answer_to(c, c->init_unique, -EPROTO, NULL, 0);
	else
		answer_to(c, c->init_unique, 0, &out, sizeof(out));
}

static void serve_lookup(struct conn *c, const struct fuse_in_header *in, const char *name)
{
	struct fuse_entry_out out = { .entry_valid = VALID };
	__u64 node = 0;
	bool known = false;
	unsigned int i;

	for (i = 0; i < ENTRIES && !known; i++) {
		if (tree[i].parent != in->nodeid || strcmp(tree[i].name, name))
			continue;
		c->n.lookup[i]++;
		node = tree[i].node;
		known = true;
	}
	if (!known && in->nodeid == ROOT && !strcmp(name, "alive")) {
		c->n.alive++;
	} else if (!known && in->nodeid == ROOT && !strcmp(name, "slow")) {
		node = SLOW;
		known = true;
	} else if (!known) {
		c->n.other++;
		known = strlen(name) > NAME_MAX;	/* is cached as absent */
	}

	if (!known) {
		answer_to(c, in->unique, -ENOENT, NULL, 0);
		return;
	}
	if (node) {
		out.nodeid = node;
		out.attr_valid = node == HELD ? 0 : VALID;
		fill_attr(&out.attr, node);
	}
	answer_to(c, in->unique, 0, &out, sizeof(out));
}

static void serve_getattr(struct conn *c, const struct fuse_in_header *in)
{
	struct fuse_attr_out out;

	if (in->nodeid < NODES)
		c->n.getattr[in->nodeid]++;
	if (in->nodeid == HELD && !c->held_at_once) {
		c->n.held++;
		c->held = in->unique;
		return;
	}
	fill_attr_out(&out, in->nodeid);
	answer_to(c, in->unique, 0, &out, sizeof(out));
}

static void serve_read(struct conn *c, const struct fuse_in_header *in,
		       const struct fuse_read_in *arg)
{
	size_t len = page_size(), i;
	char data[len];

	if (in->nodeid < NODES)
		c->n.read[in->nodeid]++;
	if (in->nodeid == SLOW) {
		c->slow = in->unique;
		return;
	}
	for (i = 0; i < len; i++)
		data[i] = content(in->nodeid, i);
	answer_to(c, in->unique, 0, data, arg->offset ? 0 : len);
}

static void serve_retrieved(struct conn *c, const struct fuse_in_header *in,
			    const struct fuse_notify_retrieve_in *arg)
{
	struct retrieved *last = &c->last;

	c->n.retrieved++;
	last->unique = in->unique;
	last->node = in->nodeid;
	last->offset = arg->offset;
	last->size = arg->size;
	last->len = in->len - sizeof(*in) - sizeof(*arg);
	if (last->len <= sizeof(last->data))
		memcpy(last->data, arg + 1, last->len);
}

static void serve_one(struct conn *c, const struct fuse_in_header *in)
{
	const void *arg = in + 1;

	switch (in->opcode) {
	case FUSE_INIT:
		c->minor = ((const struct fuse_init_in *)arg)->minor;
		c->init_unique = in->unique;
		if (c->init != INIT_HOLD)
			answer_init(c, c->init);
		c->connected = true;
		break;
	case FUSE_LOOKUP:
		serve_lookup(c, in, arg);
		break;
	case FUSE_GETATTR:
		serve_getattr(c, in);
		break;
	case FUSE_READ:
		serve_read(c, in, arg);
		break;
	case FUSE_POLL: {
		struct fuse_poll_out out = { .revents = c->ready ? POLLIN : 0 };

		c->n.polls++;
		c->kh = ((const struct fuse_poll_in *)arg)->kh;
		answer_to(c, in->unique, 0, &out, sizeof(out));
		break;
	}
	case FUSE_NOTIFY_REPLY:
		serve_retrieved(c, in, arg);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
		break;
	case FUSE_OPEN:		/* the kernel opens by itself from now on */
	case FUSE_FLUSH:
		answer_to(c, in->unique, -ENOSYS, NULL, 0);
		break;
	default:
		c->n.unexpected++;
		c->opcode = in->opcode;
		answer_to(c, in->unique, -EOPNOTSUPP, NULL, 0);
	}
}

static void *serve(void *arg)
{
	size_t size = 2 * MAX_WRITE;
	struct conn *c = arg;
	char *buf = malloc(size);

	while (buf) {
		ssize_t len = read(c->fd, buf, size);

		if (len < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT))
			continue;
		if (len < (ssize_t)sizeof(struct fuse_in_header))
			break;
		pthread_mutex_lock(&c->lock);
		serve_one(c, (struct fuse_in_header *)buf);
		pthread_cond_broadcast(&c->change);
		pthread_mutex_unlock(&c->lock);
	}
	free(buf);
	return NULL;
}

static bool wait_change(struct conn *c, const struct timespec *end)
{
	return !pthread_cond_timedwait(&c->change, &c->lock, end);
}

static struct timespec in_seconds(int seconds)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += seconds;
	return t;
}

/* With c->lock held: wait until @cond, but not for ever; tells what has come of it. */
#define wait_until(c, cond)						\
({									\
	struct timespec __end = in_seconds(LIMIT);			\
	bool __done;							\
									\
	do {								\
		__done = (cond);					\
	} while (!__done && wait_change(c, &__end));			\
	__done;								\
})

static struct counts counts(struct conn *c)
{
	struct counts n;

	pthread_mutex_lock(&c->lock);
	n = c->n;
	pthread_mutex_unlock(&c->lock);
	return n;
}

/*
 * Whoever watches that nothing hangs.
 */

static struct {
	pid_t harness;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t change;
	bool stop, hung;
	unsigned int ticks;
	struct conn *conns[4];
	char what[256];		/* happens now */
} watch = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
};

/* The process of the harness, which puts each test into a process group of its own. */
__attribute__((constructor)) static void note_harness(void)
{
	watch.harness = getpid();
}

static void tick(void)
{
	__atomic_fetch_add(&watch.ticks, 1, __ATOMIC_RELAXED);
}

static void *watch_ticks(void *arg)
{
	unsigned int ticks = 0, same = 0, i;

	pthread_mutex_lock(&watch.lock);
	while (!watch.stop) {
		struct timespec end = in_seconds(1);
		unsigned int now;

		if (!pthread_cond_timedwait(&watch.change, &watch.lock, &end))
			continue;
		/* It was interrupted, and nobody waits for this test. */
		if (kill(watch.harness, 0) && errno == ESRCH)
			kill(0, SIGKILL);
		now = __atomic_load_n(&watch.ticks, __ATOMIC_RELAXED);
		same = now == ticks ? same + 1 : 0;
		ticks = now;
		if (same < LIMIT)
			continue;
		same = 0;
		watch.hung = true;
		fprintf(stderr, "# hangs for %d seconds, abort the connection: %s\n", LIMIT,
			watch.what);
		for (i = 0; i < ARRAY_SIZE(watch.conns); i++) {
			if (watch.conns[i])
				umount2(watch.conns[i]->dir, MNT_FORCE);
		}
	}
	pthread_mutex_unlock(&watch.lock);
	return arg;
}

static void watch_conn(struct conn *from, struct conn *to)
{
	unsigned int i;

	pthread_mutex_lock(&watch.lock);
	for (i = 0; i < ARRAY_SIZE(watch.conns); i++) {
		if (watch.conns[i] == from) {
			watch.conns[i] = to;
			break;
		}
	}
	pthread_mutex_unlock(&watch.lock);
}

static void init_cond(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

/*
 * Mounts.
 */

static struct conn *conn_new(const char *base, const char *name)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	snprintf(c->dir, sizeof(c->dir), "%s/%s", base, name);
	c->fd = -1;
	c->clone = -1;
	c->root = -1;
	c->max_pages = MAX_WRITE / page_size();
	c->tail = calloc(1, page_size());
	pthread_mutex_init(&c->lock, NULL);
	init_cond(&c->change);
	watch_conn(NULL, c);
	return c;
}

static int conn_open(struct conn *c)
{
	c->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	return c->fd < 0 ? -errno : 0;
}

static int conn_mount(struct conn *c)
{
	char options[64];

	if (mkdir(c->dir, 0700))
		return -errno;
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", c->fd);
	if (mount("malformed", c->dir, "fuse", MS_NOSUID | MS_NODEV, options))
		return -errno;
	c->mounted = true;
	return 0;
}

static int conn_serve(struct conn *c)
{
	int err = pthread_create(&c->thread, NULL, serve, c);
	bool connected;
	__u32 fd = c->fd;

	if (err)
		return -err;
	c->serving = true;
	pthread_mutex_lock(&c->lock);
	connected = wait_until(c, c->connected);
	pthread_mutex_unlock(&c->lock);
	if (!connected)
		return -ETIMEDOUT;
	c->clone = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (c->clone < 0 || ioctl(c->clone, FUSE_DEV_IOC_CLONE, &fd))
		return -errno;
	if (c->root < 0)
		c->root = open(c->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return c->root < 0 ? -errno : 0;
}

static int conn_start(struct conn *c)
{
	int err;

	err = conn_open(c);
	if (!err)
		err = conn_mount(c);
	if (!err)
		err = conn_serve(c);
	return err;
}

/*
 * In a process of its own, for if the kernel has lost count of something this may
 * never return, and nothing could end it.
 */
static int conn_unmount(struct conn *c)
{
	int fds[2], status, err = -ETIMEDOUT;
	struct pollfd end;
	pid_t child;

	if (c->root >= 0)
		close(c->root);
	c->root = -1;
	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	child = fork();
	if (!child) {
		close(c->fd);
		close(c->clone);
		_exit(umount2(c->dir, 0) ? errno : 0);
	}
	close(fds[1]);
	end = (struct pollfd){ .fd = fds[0], .events = POLLIN };
	if (child > 0 && poll(&end, 1, LIMIT * 1000) == 1 &&
	    waitpid(child, &status, 0) == child && WIFEXITED(status))
		err = -WEXITSTATUS(status);
	close(fds[0]);
	if (!err)
		c->mounted = false;
	return err;
}

/* Whatever state it is in, and whatever has failed. */
static int conn_stop(struct conn *c)
{
	int err = 0;

	watch_conn(c, NULL);
	if (c->mounted) {
		err = conn_unmount(c);
		if (err)
			umount2(c->dir, MNT_FORCE | MNT_DETACH);
	}
	if (c->root >= 0)
		close(c->root);
	if (c->clone >= 0)
		close(c->clone);
	if (c->keeper) {
		kill(c->keeper, SIGKILL);
		waitpid(c->keeper, NULL, 0);
	}
	if (c->serving && err != -ETIMEDOUT)
		pthread_join(c->thread, NULL);
	if (c->fd >= 0)
		close(c->fd);
	rmdir(c->dir);
	return err;
}

/*
 * Messages.
 */

struct msg {
	size_t len;
	union {
		struct fuse_out_header header;
		char data[MSG_MAX];
	};
};

static void add(struct msg *m, const void *data, size_t len)
{
	memcpy(m->data + m->len, data, len);
	m->len += len;
	m->header.len = m->len;
}

static void start(struct msg *m, int code)
{
	m->header = (struct fuse_out_header){ .error = code };
	m->len = HEADER;
	m->header.len = m->len;
}

static void inval_entry_len(struct msg *m, __u64 parent, __u32 flags,
			    const char *name, size_t len)
{
	struct fuse_notify_inval_entry_out out = {
		.parent = parent,
		.namelen = len,
		.flags = flags,
	};

	start(m, FUSE_NOTIFY_INVAL_ENTRY);
	add(m, &out, sizeof(out));
	add(m, name, len);
	add(m, "", 1);
}

static void inval_entry(struct msg *m, __u64 parent, __u32 flags, const char *name)
{
	inval_entry_len(m, parent, flags, name, strlen(name));
}

static void delete_len(struct msg *m, __u64 parent, __u64 child,
		       const char *name, size_t len)
{
	struct fuse_notify_delete_out out = {
		.parent = parent,
		.child = child,
		.namelen = len,
	};

	start(m, FUSE_NOTIFY_DELETE);
	add(m, &out, sizeof(out));
	add(m, name, len);
	add(m, "", 1);
}

static void delete(struct msg *m, __u64 parent, __u64 child, const char *name)
{
	delete_len(m, parent, child, name, strlen(name));
}

static void poll_wakeup(struct msg *m, __u64 kh)
{
	struct fuse_notify_poll_wakeup_out out = { .kh = kh };

	start(m, FUSE_NOTIFY_POLL);
	add(m, &out, sizeof(out));
}

static void inval_inode(struct msg *m, __u64 node, __s64 off, __s64 len)
{
	struct fuse_notify_inval_inode_out out = { .ino = node, .off = off, .len = len };

	start(m, FUSE_NOTIFY_INVAL_INODE);
	add(m, &out, sizeof(out));
}

static void store(struct msg *m, __u64 node, __u64 off, const void *data, __u32 len)
{
	struct fuse_notify_store_out out = { .nodeid = node, .offset = off, .size = len };

	start(m, FUSE_NOTIFY_STORE);
	add(m, &out, sizeof(out));
	add(m, data, len);
}

static void retrieve(struct msg *m, __u64 unique, __u64 node, __u64 off, __u32 size)
{
	struct fuse_notify_retrieve_out out = {
		.notify_unique = unique,
		.nodeid = node,
		.offset = off,
		.size = size,
	};

	start(m, FUSE_NOTIFY_RETRIEVE);
	add(m, &out, sizeof(out));
}

static void prune(struct msg *m, const __u64 *nodes, __u32 count)
{
	struct fuse_notify_prune_out out = { .count = count };

	start(m, FUSE_NOTIFY_PRUNE);
	add(m, &out, sizeof(out));
	add(m, nodes, count * sizeof(*nodes));
}

/* One good message of each kind, and the names that it makes stale. */
static const struct {
	const char *desc;
	int code;
	unsigned int names;
} kinds[] = {
	{ "inval_entry",	FUSE_NOTIFY_INVAL_ENTRY,	BIT(E_FILE) },
	{ "delete",		FUSE_NOTIFY_DELETE,		BIT(E_FILE) },
	{ "poll",		FUSE_NOTIFY_POLL,		0 },
	{ "inval_inode",	FUSE_NOTIFY_INVAL_INODE,	0 },
	{ "store",		FUSE_NOTIFY_STORE,		0 },
	{ "retrieve",		FUSE_NOTIFY_RETRIEVE,		0 },
	{ "resend",		FUSE_NOTIFY_RESEND,		0 },
	{ "inc_epoch",		FUSE_NOTIFY_INC_EPOCH,		ALL_NAMES },
	{ "prune",		FUSE_NOTIFY_PRUNE,		BIT(E_LEAF) | BIT(E_SUB) |
								BIT(E_TOP) },
};

static void good(struct msg *m, int code)
{
	switch (code) {
	case FUSE_NOTIFY_INVAL_ENTRY:
		inval_entry(m, DIR_ID, 0, "file");
		break;
	case FUSE_NOTIFY_DELETE:
		delete(m, DIR_ID, FILE_ID, "file");
		break;
	case FUSE_NOTIFY_POLL:
		poll_wakeup(m, 1);
		break;
	case FUSE_NOTIFY_INVAL_INODE:
		inval_inode(m, FILE_ID, 0, 0);
		break;
	case FUSE_NOTIFY_STORE:
		store(m, TOP, 8, "stored", 6);
		break;
	case FUSE_NOTIFY_RETRIEVE:
		retrieve(m, 4711, TOP, 8, 16);
		break;
	case FUSE_NOTIFY_PRUNE:
		prune(m, (const __u64 []){ TOP, NOBODY, LEAF }, 3);
		break;
	default:
		start(m, code);
	}
}

/* Resend and inc_epoch take no argument, and do not look whether there is one. */
static bool has_argument(int code)
{
	return code != FUSE_NOTIFY_RESEND && code != FUSE_NOTIFY_INC_EPOCH;
}

static bool kernel_knows(const struct conn *c, int code)
{
	switch (code) {
	case FUSE_NOTIFY_RESEND:
		return c->minor >= 40;
	case FUSE_NOTIFY_INC_EPOCH:
		return c->minor >= 44;
	case FUSE_NOTIFY_PRUNE:
		return c->minor >= 45;
	default:
		return code >= FUSE_NOTIFY_POLL && code <= FUSE_NOTIFY_DELETE;
	}
}

/*
 * The judge: what a message means, if everything is cached when it arrives.
 */

struct verdict {
	int err;
	unsigned int names, maybe_names;	/* entries that must, or may, be looked up */
	unsigned int attrs, maybe_attrs;	/* nodes whose attributes are asked for */
	unsigned int data, maybe_data;		/* nodes whose data is read */
	bool resent;				/* the request that waits is sent again */
	bool answered;				/* ... has its answer */
	int answer;
	bool retrieved;				/* the server is sent this */
	struct fuse_notify_retrieve_out retrieve;
	bool stored;				/* this is in the cache now */
	struct fuse_notify_store_out store;
	const char *bytes;
	bool recent;				/* kernels before 7.2 differ */
};

static void drop(struct verdict *v, unsigned int entry)
{
	unsigned int i;

	v->names |= BIT(entry);
	if (!tree[entry].node)
		return;
	v->maybe_data |= BIT(tree[entry].node);
	for (i = 0; i < ENTRIES; i++) {
		if (tree[i].parent == tree[entry].node)
			drop(v, i);
	}
}

static void judge_name(struct verdict *v, __u64 parent, __u64 child, const char *name,
		       size_t len, bool expire)
{
	unsigned int i;

	v->err = -ENOENT;
	if (parent < ROOT || parent >= SLOW)
		return;
	v->err = -ENOTDIR;
	if (!is_dir(parent))
		return;
	v->err = -ENOENT;
	/* Even if nothing is cached: the directory has changed. */
	v->attrs |= BIT(parent);
	for (i = 0; i < ENTRIES; i++) {
		if (tree[i].parent != parent || strlen(tree[i].name) != len ||
		    memcmp(tree[i].name, name, len))
			continue;
		if (expire)
			v->names |= BIT(i);
		else
			drop(v, i);
		/* A node of another nodeid lives on, yet this name of it is stale. */
		if (!child || !tree[i].node || child == tree[i].node)
			v->err = 0;
	}
}

static unsigned int entry_of(__u64 dir)
{
	unsigned int i;

	for (i = 0; i < ENTRIES && tree[i].node != dir; i++)
		;
	return BIT(i);
}

/* In use if anything in it is cached, absent names too. */
static bool in_use(__u64 dir, unsigned int gone)
{
	unsigned int i;

	for (i = 0; i < ENTRIES; i++) {
		if (tree[i].parent == dir && !(gone & BIT(i)))
			return true;
	}
	return dir == ROOT;
}

static void judge_prune(struct verdict *v, const char *nodes, __u32 count)
{
	unsigned int gone = 0, i;
	__u64 node;

	while (count--) {
		memcpy(&node, nodes, sizeof(node));
		nodes += sizeof(node);
		for (i = 0; i < ENTRIES; i++) {
			if (!tree[i].node || tree[i].node != node || in_use(node, gone))
				continue;
			if (node == HELD)	/* or in use by who waits */
				v->maybe_names |= BIT(i);
			else
				gone |= BIT(i);
			v->maybe_data |= BIT(node);
		}
		/* What was in use for that only goes with it: dcache's way. */
		for (i = ENTRIES; i--;) {
			if (gone & BIT(i) && !in_use(tree[i].parent, gone))
				gone |= entry_of(tree[i].parent);
		}
	}
	v->names |= gone;
}

static void judge_reply(struct verdict *v, const struct msg *m, __u64 held)
{
	const struct fuse_out_header *out = &m->header;

	v->err = -EINVAL;
	if (out->error > 0 || out->error <= -512)
		return;
	v->err = -ENOENT;
	if (!held || (out->unique & ~INT_REQ_BIT) != held)
		return;
	if (out->unique & INT_REQ_BIT) {
		/* There has been no interrupt that could be tried again. */
		v->err = m->len != HEADER || out->error == -EAGAIN ? -EINVAL : 0;
		return;
	}
	/* A bad answer is an answer, too: the caller gets EIO. */
	v->answered = true;
	v->maybe_names |= BIT(E_HELD);
	if (m->len != HEADER + (out->error ? 0 : sizeof(struct fuse_attr_out)))
		v->err = -EINVAL;
	else
		v->err = 0;
	v->answer = v->err ? -EIO : out->error;
}

static void judge_notification(struct verdict *v, const struct conn *c, const struct msg *m)
{
	union {
		struct fuse_notify_poll_wakeup_out poll;
		struct fuse_notify_inval_inode_out inode;
		struct fuse_notify_inval_entry_out entry;
		struct fuse_notify_delete_out delete;
		struct fuse_notify_store_out store;
		struct fuse_notify_retrieve_out retrieve;
		struct fuse_notify_prune_out prune;
	} arg;
	size_t name_max = c->max_pages > 1 ? NAME_MAX_HIGH : NAME_MAX_LOW;
	const char *rest = m->data + HEADER;
	size_t len = m->len - HEADER;

	memset(&arg, 0, sizeof(arg));
	memcpy(&arg, rest, len < sizeof(arg) ? len : sizeof(arg));
	v->err = -EINVAL;
	if (!kernel_knows(c, m->header.error))
		return;

	switch (m->header.error) {
	case FUSE_NOTIFY_POLL:
		if (len == sizeof(arg.poll))
			v->err = 0;
		break;

	case FUSE_NOTIFY_INVAL_INODE:
		if (len != sizeof(arg.inode))
			break;
		v->err = -ENOENT;
		if (arg.inode.ino < ROOT || arg.inode.ino >= SLOW)
			break;
		v->err = 0;
		v->attrs |= BIT(arg.inode.ino);
		/* From an offset, for a length or to the end; none if it is negative. */
		if (arg.inode.off >= 0 && arg.inode.off < (__s64)page_size())
			v->data |= BIT(arg.inode.ino) & DATA_NODES;
		break;

	case FUSE_NOTIFY_INVAL_ENTRY:
		if (len < sizeof(arg.entry))
			break;
		v->err = -ENAMETOOLONG;
		if (arg.entry.namelen > name_max)
			break;
		v->err = -EINVAL;
		if (len != sizeof(arg.entry) + arg.entry.namelen + 1)
			break;
		judge_name(v, arg.entry.parent, 0, rest + sizeof(arg.entry), arg.entry.namelen,
			   arg.entry.flags & FUSE_EXPIRE_ONLY);
		break;

	case FUSE_NOTIFY_DELETE:
		if (len < sizeof(arg.delete))
			break;
		v->err = -ENAMETOOLONG;
		if (arg.delete.namelen > name_max)
			break;
		v->err = -EINVAL;
		if (len != sizeof(arg.delete) + arg.delete.namelen + 1)
			break;
		judge_name(v, arg.delete.parent, arg.delete.child, rest + sizeof(arg.delete),
			   arg.delete.namelen, false);
		break;

	case FUSE_NOTIFY_STORE:
		if (len < sizeof(arg.store) || len - sizeof(arg.store) != arg.store.size)
			break;
		v->recent = arg.store.offset >= MAX_FILESIZE || is_dir(arg.store.nodeid);
		if (arg.store.offset >= MAX_FILESIZE)
			break;
		v->err = -ENOENT;
		if (arg.store.nodeid < ROOT || arg.store.nodeid >= SLOW)
			break;
		v->err = -EINVAL;
		if (is_dir(arg.store.nodeid))
			break;
		v->err = 0;
		v->maybe_attrs |= BIT(arg.store.nodeid);
		v->stored = true;
		v->store = arg.store;
		v->bytes = rest + sizeof(arg.store);
		break;

	case FUSE_NOTIFY_RETRIEVE:
		if (len != sizeof(arg.retrieve))
			break;
		v->recent = arg.retrieve.offset >= MAX_FILESIZE || is_dir(arg.retrieve.nodeid);
		if (arg.retrieve.offset >= MAX_FILESIZE)
			break;
		v->err = -ENOENT;
		if (arg.retrieve.nodeid < ROOT || arg.retrieve.nodeid >= SLOW)
			break;
		v->err = -EINVAL;
		if (is_dir(arg.retrieve.nodeid))
			break;
		v->err = 0;
		v->retrieved = true;
		v->retrieve = arg.retrieve;
		break;

	case FUSE_NOTIFY_RESEND:
		v->err = 0;
		v->resent = true;
		break;

	case FUSE_NOTIFY_INC_EPOCH:
		v->err = 0;
		v->names = ALL_NAMES;
		v->maybe_data = DATA_NODES;
		break;

	case FUSE_NOTIFY_PRUNE:
		if (len < sizeof(arg.prune) ||
		    len - sizeof(arg.prune) != (__u64)arg.prune.count * sizeof(__u64))
			break;
		v->err = 0;
		judge_prune(v, rest + sizeof(arg.prune), arg.prune.count);
		break;
	}
}

/* @held is the unique of a request that waits on the device it is written to, or 0. */
static void judge(struct verdict *v, const struct conn *c, const struct msg *m, __u64 held)
{
	memset(v, 0, sizeof(*v));
	if (m->len < HEADER || m->header.len != m->len)
		v->err = -EINVAL;
	else if (m->header.unique)
		judge_reply(v, m, held);
	else
		judge_notification(v, c, m);
}

/*
 * Looking at everything.
 */

struct seen {
	unsigned int names, attrs, reads;	/* asked for */
	unsigned int wrong;			/* entries with another answer */
	unsigned int bad;			/* nodes with other data */
};

static int look_at(struct conn *c, const char *path, __u64 *node)
{
	struct stat st;

	if (fstatat(c->root, path, &st, 0))
		return -errno;
	*node = st.st_ino;
	return 0;
}

/* HELD's attributes are asked for each time, and only LOOKUP is answered. */
static int look_at_held(struct conn *c)
{
	int fd = openat(c->root, tree[E_HELD].path, O_PATH | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static bool data_is(struct conn *c, unsigned int file, const struct verdict *v)
{
	size_t len = page_size(), i;
	char want[len], have[len];
	bool right;
	int fd;

	for (i = 0; i < len; i++)
		want[i] = content(files[file].node, i);
	if (v->stored && v->store.nodeid == files[file].node) {
		for (i = 0; i < v->store.size && v->store.offset + i < len; i++)
			want[v->store.offset + i] = v->bytes[i];
	}
	fd = openat(c->root, files[file].path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	right = pread(fd, have, len, 0) == (ssize_t)len && !memcmp(want, have, len);
	close(fd);
	return right;
}

static void look(struct conn *c, const struct verdict *v, struct seen *seen)
{
	struct counts before = counts(c), after;
	unsigned int i;
	struct stat st;

	memset(seen, 0, sizeof(*seen));
	for (i = 0; i < ENTRIES; i++) {
		__u64 node = tree[i].node;
		int err;

		err = i == E_HELD ? look_at_held(c) : look_at(c, tree[i].path, &node);
		if (err != (tree[i].node ? 0 : -ENOENT) || node != tree[i].node)
			seen->wrong |= BIT(i);
	}
	if (fstat(c->root, &st))
		seen->wrong |= BIT(ENTRIES);
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		if (!data_is(c, i, v))
			seen->bad |= BIT(files[i].node);
	}

	after = counts(c);
	for (i = 0; i < ENTRIES; i++) {
		if (after.lookup[i] != before.lookup[i])
			seen->names |= BIT(i);
	}
	for (i = 0; i < NODES; i++) {
		if (i != HELD && after.getattr[i] != before.getattr[i])
			seen->attrs |= BIT(i);
		if (after.read[i] != before.read[i])
			seen->reads |= BIT(i);
	}
}

/*
 * The fixture.
 */

FIXTURE(notify) {
	char base[48];
	struct conn *c;
	bool old;		/* a kernel before 7.2 */
	int pipe[2];		/* keeps apart what is written to it */
	unsigned int unseen;	/* messages since everything was looked at */
	bool look_each;		/* ... after every single one */

	bool waiting;		/* there is a thread that waits for HELD's attributes */
	pthread_t waiter;
	bool rearm, returned, stop;	/* under c->lock */
	int answer;			/* what the last statx() said */
};

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return -errno;
	len = write(fd, text, strlen(text));
	close(fd);
	return len == (ssize_t)strlen(text) ? 0 : -EIO;
}

/* Root of a new user namespace, who may mount in the new mount namespace. */
static int new_user_namespace(int more)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char map[32];
	int err;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS | more))
		return -errno;
	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", uid);
	err = write_file("/proc/self/uid_map", map);
	if (err)
		return err;
	snprintf(map, sizeof(map), "0 %u 1", gid);
	return write_file("/proc/self/gid_map", map);
}

static int new_namespace(void)
{
	int err;

	if (geteuid() || unshare(CLONE_NEWNS)) {
		err = new_user_namespace(0);
		if (err)
			return err;
	}
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ? -errno : 0;
}

static bool before_7_2(void)
{
	struct utsname name;
	int major, minor;

	if (uname(&name) || sscanf(name.release, "%d.%d", &major, &minor) != 2)
		return false;
	return major < 7 || (major == 7 && minor < 2);
}

static void fill_cache(struct __test_metadata *_metadata, struct conn *c)
{
	struct verdict v = {};
	struct seen seen;
	int i;

	/* Reading makes the time of access stale, so once more. */
	for (i = 0; i < 4; i++) {
		look(c, &v, &seen);
		if (!(seen.names | seen.attrs | seen.reads))
			break;
	}
	EXPECT_EQ(0, seen.names | seen.attrs | seen.reads) {
		TH_LOG("does not stay cached: names %#x, attributes of %#x, data of %#x",
		       seen.names, seen.attrs, seen.reads);
	}
	EXPECT_EQ(0, seen.wrong | seen.bad) {
		TH_LOG("is wrong: names %#x, data of %#x", seen.wrong, seen.bad);
	}
}

FIXTURE_SETUP(notify)
{
	int err = new_namespace();

	self->pipe[0] = -1;
	self->pipe[1] = -1;
	if (err)
		SKIP(return, "takes root or user namespaces, and / a mount point: %s",
		     strerror(-err));
	snprintf(self->base, sizeof(self->base), "/tmp/fuse_malformed_XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->base));
	self->c = conn_new(self->base, "mnt");
	err = conn_open(self->c);
	if (err) {
		rmdir(self->base);
		SKIP(return, "no /dev/fuse: %s", strerror(-err));
	}
	err = conn_mount(self->c);
	if (err) {
		conn_stop(self->c);
		rmdir(self->base);
		if (err == -EPERM || err == -ENODEV)
			SKIP(return, "may not mount FUSE: %s", strerror(-err));
		ASSERT_EQ(0, err);
	}

	self->old = before_7_2();
	init_cond(&watch.change);
	ASSERT_EQ(0, pthread_create(&watch.thread, NULL, watch_ticks, NULL));
	ASSERT_EQ(0, conn_serve(self->c));
	ASSERT_EQ(0, pipe2(self->pipe, O_DIRECT | O_CLOEXEC));
	fill_cache(_metadata, self->c);
}

static void stop_waiting(FIXTURE_DATA(notify) * self);
static bool check_unseen(struct __test_metadata *_metadata, FIXTURE_DATA(notify) * self,
			 const char *next);

FIXTURE_TEARDOWN(notify)
{
	struct counts n;
	unsigned int i;

	check_unseen(_metadata, self, "the end");
	n = counts(self->c);
	snprintf(watch.what, sizeof(watch.what), "unmount");
	tick();
	if (n.unexpected) {
		EXPECT_EQ(0, n.unexpected);
		TH_LOG("requests that the server should never see, one has opcode %u",
		       self->c->opcode);
	}
	if (self->waiting)
		stop_waiting(self);
	/* Those too that a failed test has left. */
	for (i = ARRAY_SIZE(watch.conns); i--;) {
		if (watch.conns[i])
			EXPECT_EQ(0, conn_stop(watch.conns[i]));
	}
	pthread_mutex_lock(&watch.lock);
	watch.stop = true;
	pthread_cond_signal(&watch.change);
	pthread_mutex_unlock(&watch.lock);
	pthread_join(watch.thread, NULL);
	EXPECT_FALSE(watch.hung);
	close(self->pipe[0]);
	close(self->pipe[1]);
	EXPECT_EQ(0, rmdir(self->base));
}

/*
 * A request that waits for its answer, as something for replies and for resend: the
 * attributes of HELD, for these take no lock that a notification needs.
 */

static void *wait_for_attributes(void *arg)
{
	FIXTURE_DATA(notify) * self = arg;
	struct conn *c = self->c;
	struct statx stx;
	int err;

	pthread_mutex_lock(&c->lock);
	for (;;) {
		while (!self->rearm && !self->stop)
			pthread_cond_wait(&c->change, &c->lock);
		if (self->stop)
			break;
		self->rearm = false;
		pthread_mutex_unlock(&c->lock);
		/* A C library asks in another way when the answer is ENOSYS. */
		err = syscall(SYS_statx, c->root, tree[E_HELD].path, AT_STATX_FORCE_SYNC,
			      STATX_BASIC_STATS, &stx) ? -errno : 0;
		pthread_mutex_lock(&c->lock);
		self->answer = err;
		self->returned = true;
		pthread_cond_broadcast(&c->change);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* With c->lock held: have the thread wait again if it does not. */
static bool wait_again(FIXTURE_DATA(notify) * self, unsigned int held)
{
	struct conn *c = self->c;
	bool waits = wait_until(c, self->returned || c->n.held != held);

	if (waits && self->returned) {
		self->returned = false;
		self->rearm = true;
		pthread_cond_broadcast(&c->change);
		waits = wait_until(c, c->n.held != held);
	}
	return waits;
}

static void start_waiting(struct __test_metadata *_metadata, FIXTURE_DATA(notify) * self)
{
	bool waits;

	ASSERT_EQ(0, pthread_create(&self->waiter, NULL, wait_for_attributes, self));
	self->waiting = true;
	pthread_mutex_lock(&self->c->lock);
	self->returned = true;
	waits = wait_again(self, self->c->n.held);
	pthread_mutex_unlock(&self->c->lock);
	ASSERT_TRUE(waits);
}

static void stop_waiting(FIXTURE_DATA(notify) * self)
{
	struct conn *c = self->c;

	pthread_mutex_lock(&c->lock);
	self->stop = true;
	c->held_at_once = true;
	answer_to(c, c->held, -EIO, NULL, 0);
	pthread_cond_broadcast(&c->change);
	pthread_mutex_unlock(&c->lock);
	pthread_join(self->waiter, NULL);
	self->waiting = false;
}

/*
 * Sending a message, and looking what has come of it.
 */

struct how {
	enum { WRITE, WRITEV, SPLICE } by;
	size_t cut;		/* the message is in two parts, this is the first one's length */
	bool clone;		/* through another device of the connection */
	bool elsewhere;		/* by another process in namespaces of its own */
};

static int result(ssize_t written, size_t len)
{
	if (written < 0)
		return -errno;
	return written == (ssize_t)len ? 0 : -EPROTO;
}

static int splice_to(FIXTURE_DATA(notify) * self, int fd, size_t len)
{
	return result(splice(self->pipe[0], NULL, fd, NULL, len, SPLICE_F_MOVE), len);
}

static int send_spliced(FIXTURE_DATA(notify) * self, int fd, const struct msg *m, size_t cut)
{
	char rest[MSG_MAX];
	int err, left = 0;

	if (cut && result(write(self->pipe[1], m->data, cut), cut))
		return -EPIPE;
	if (cut < m->len && result(write(self->pipe[1], m->data + cut, m->len - cut), m->len - cut))
		return -EPIPE;
	err = splice_to(self, fd, m->len);
	/* The device takes a message whole, whatever it says of it. */
	if (ioctl(self->pipe[0], FIONREAD, &left) || !left)
		return err;
	while (left > 0 && read(self->pipe[0], rest, sizeof(rest)) > 0)
		ioctl(self->pipe[0], FIONREAD, &left);
	return -EBADE;
}

static int send_here(FIXTURE_DATA(notify) * self, const struct msg *m, const struct how *how)
{
	int fd = how->clone ? self->c->clone : self->c->fd;
	size_t cut = how->cut < m->len ? how->cut : m->len;
	struct iovec iov[] = {
		{ (void *)m->data, cut },
		{ (void *)m->data + cut, m->len - cut },
	};

	if (how->by == SPLICE && m->len)
		return send_spliced(self, fd, m, cut);
	if (how->by == WRITEV && m->len)
		return result(writev(fd, iov, 2), m->len);
	return result(write(fd, m->data, m->len), m->len);
}

/* 1: there are no such namespaces here */
static int send_elsewhere(FIXTURE_DATA(notify) * self, const struct msg *m, const struct how *how)
{
	int *err = mmap(NULL, sizeof(*err), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	pid_t child;
	int ret;

	if (err == MAP_FAILED)
		return -errno;
	*err = 1;
	child = fork();
	if (!child) {
		if (new_user_namespace(CLONE_NEWPID))
			_exit(0);
		/* Here the mount is not to be seen. */
		if (mount("none", "/tmp", "tmpfs", 0, NULL) || !access(self->c->dir, F_OK))
			_exit(0);
		/* Only a child is in the new pid namespace. */
		child = fork();
		if (!child) {
			*err = getpid() == 1 ? send_here(self, m, how) : 1;
			_exit(0);
		}
		waitpid(child, NULL, 0);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	ret = *err;
	munmap(err, sizeof(*err));
	return ret;
}

static bool check_retrieved(struct __test_metadata *_metadata, FIXTURE_DATA(notify) * self,
			    const struct verdict *v, const char *what)
{
	const struct fuse_notify_retrieve_out *arg = &v->retrieve;
	const struct retrieved *last = &self->c->last;
	__u64 size = 0;
	size_t i;

	EXPECT_EQ(arg->notify_unique, last->unique) TH_LOG("%s", what);
	EXPECT_EQ(arg->nodeid, last->node) TH_LOG("%s", what);
	EXPECT_EQ(arg->offset, last->offset) TH_LOG("%s", what);
	EXPECT_EQ(last->size, last->len) TH_LOG("%s", what);
	EXPECT_LE(last->size, arg->size) TH_LOG("%s", what);
	if (arg->nodeid != HELD) {
		if (arg->offset < page_size())
			size = page_size() - arg->offset;
		if (size > arg->size)
			size = arg->size;
		EXPECT_EQ(size, last->size) TH_LOG("%s", what);
		for (i = 0; i < size && i < last->size; i++) {
			if (last->data[i] != content(arg->nodeid, arg->offset + i))
				break;
		}
		EXPECT_EQ(size, i) TH_LOG("%s: other data than what is cached", what);
	}
	return !_metadata->exit_code;
}

/* Exactly what @v says has become stale, and nothing is wrong then. */
static bool check_cache(struct __test_metadata *_metadata, FIXTURE_DATA(notify) * self,
			const struct verdict *v, const char *what)
{
	unsigned int maybe_attrs = v->maybe_attrs, i;
	struct conn *c = self->c;
	struct seen seen;
	struct msg m;

	look(c, v, &seen);
	EXPECT_EQ(0, v->names & ~seen.names) TH_LOG("%s: stale, yet not looked up", what);
	EXPECT_EQ(0, seen.names & ~(v->names | v->maybe_names)) {
		TH_LOG("%s: names that are none of its business were not cached any more", what);
	}
	EXPECT_EQ(0, seen.wrong) TH_LOG("%s: another answer to a lookup", what);

	for (i = 0; i < ENTRIES; i++) {
		/* The answer to LOOKUP has the attributes, but may be older than they are. */
		if (seen.names & BIT(i))
			maybe_attrs |= BIT(tree[i].node);
	}
	maybe_attrs |= seen.reads;
	EXPECT_EQ(0, v->attrs & ~BIT(HELD) & ~seen.attrs) {
		if (!(v->attrs & seen.names))
			TH_LOG("%s: attributes are stale, yet not asked for", what);
	}
	EXPECT_EQ(0, seen.attrs & ~(v->attrs | maybe_attrs)) {
		TH_LOG("%s: attributes that are none of its business were asked for", what);
	}
	EXPECT_EQ(0, v->data & ~seen.reads) TH_LOG("%s: data is stale, yet not read", what);
	EXPECT_EQ(0, seen.reads & ~(v->data | v->maybe_data)) {
		TH_LOG("%s: data that is none of its business was not cached any more", what);
	}
	EXPECT_EQ(0, seen.bad) TH_LOG("%s: other data", what);

	if (v->stored) {
		inval_inode(&m, v->store.nodeid, 0, 0);
		EXPECT_EQ(0, result(write(c->fd, m.data, m.len), m.len));
	}
	if (v->stored || seen.names || seen.attrs || seen.reads)
		fill_cache(_metadata, c);
	return !_metadata->exit_code;
}

/* The connection works: it asks, and gets an answer. */
static bool check_alive(struct __test_metadata *_metadata, FIXTURE_DATA(notify) * self,
			const char *what)
{
	unsigned int before = counts(self->c).alive;
	__u64 node;

	EXPECT_EQ(-ENOENT, look_at(self->c, "alive", &node)) TH_LOG("after %s", what);
	EXPECT_EQ(before + 1, counts(self->c).alive) TH_LOG("after %s", what);
	return !_metadata->exit_code;
}

/* Messages that do nothing are looked at together: what has been broken stays so. */
static bool check_unseen(struct __test_metadata *_metadata, FIXTURE_DATA(notify) * self,
			 const char *next)
{
	struct verdict nothing = {};
	char what[200];

	if (self->unseen) {
		snprintf(what, sizeof(what), "one of the %u before %s", self->unseen, next);
		self->unseen = 0;
		check_cache(_metadata, self, &nothing, what);
	}
	return !_metadata->exit_code;
}

static bool does_something(const struct verdict *v)
{
	return v->names | v->maybe_names | v->attrs | v->maybe_attrs | v->data | v->maybe_data ||
	       v->resent || v->answered || v->retrieved || v->stored;
}

static bool check_message(struct __test_metadata *_metadata, FIXTURE_DATA(notify) * self,
			  const struct msg *m, const struct how *how, struct verdict *v,
			  const char *what)
{
	struct conn *c = self->c;
	struct counts before;
	bool came = true;
	int err;

	snprintf(watch.what, sizeof(watch.what), "%s", what);
	tick();
	pthread_mutex_lock(&c->lock);
	judge(v, c, m, self->waiting && !how->clone ? c->held : 0);
	pthread_mutex_unlock(&c->lock);
	if (self->old && v->recent)
		return true;
	if ((does_something(v) || self->look_each || self->unseen == UNSEEN) &&
	    !check_unseen(_metadata, self, what))
		return false;
	pthread_mutex_lock(&c->lock);
	before = c->n;
	pthread_mutex_unlock(&c->lock);

	err = how->elsewhere ? send_elsewhere(self, m, how) : send_here(self, m, how);
	if (err == 1)
		SKIP(return false, "no user namespaces here");
	EXPECT_EQ(v->err, err) TH_LOG("%s: %zu bytes", what, m->len);
	if (_metadata->exit_code)
		return false;

	pthread_mutex_lock(&c->lock);
	if (v->retrieved)
		came = wait_until(c, c->n.retrieved == before.retrieved + 1);
	if (came && self->waiting && (v->resent || v->answered))
		came = wait_again(self, before.held);
	if (came && v->answered && v->answer != -ESTALE) {
		/* Attributes that are no file's: EIO.  ESTALE would be tried again. */
		came = self->answer == v->answer || (!v->answer && self->answer == -EIO);
	}
	pthread_mutex_unlock(&c->lock);
	EXPECT_TRUE(came) TH_LOG("%s: what it asks for did not happen", what);
	if (v->retrieved && !check_retrieved(_metadata, self, v, what))
		return false;
	if (!does_something(v))
		self->unseen++;
	else if (!check_cache(_metadata, self, v, what))
		return false;

	pthread_mutex_lock(&c->lock);
	came = c->n.retrieved == before.retrieved + v->retrieved &&
	       c->n.held == before.held + (self->waiting && (v->resent || v->answered)) &&
	       c->n.unexpected == before.unexpected && c->n.other == before.other;
	pthread_mutex_unlock(&c->lock);
	EXPECT_TRUE(came) TH_LOG("%s: the server was asked something else", what);
	return !_metadata->exit_code && !watch.hung;
}

/* The test knows what the message does, and the judge has to say the same. */
static void check(struct __test_metadata *_metadata, FIXTURE_DATA(notify) * self,
		  const struct msg *m, const struct how *how, int err, unsigned int names,
		  const char *fmt, ...)
{
	char what[160];
	struct verdict v;
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);

	judge(&v, self->c, m, self->waiting && !how->clone ? self->c->held : 0);
	ASSERT_EQ(err, v.err) TH_LOG("%s: the judge says otherwise", what);
	ASSERT_EQ(names, v.names) TH_LOG("%s: the judge says otherwise", what);
	if (!check_message(_metadata, self, m, how, &v, what) && _metadata->exit_code == KSFT_SKIP)
		return;
	check_alive(_metadata, self, what);
	ASSERT_EQ(0, _metadata->exit_code);
}

static const struct how by_write = { .by = WRITE };

#define CHECK(m, err, names, ...)	\
	check(_metadata, self, m, &by_write, err, names, __VA_ARGS__)

/*
 * Entries.
 */

static const struct {
	__u64 parent;
	int err;
} parents[] = {
	{ 0, -ENOENT },				/* nobody has the nodeid 0 */
	{ NOBODY, -ENOENT },
	{ DIR_ID | BIT_ULL(32), -ENOENT },	/* all 64 bits count */
	{ DIR_ID | BIT_ULL(63), -ENOENT },
	{ INT64_MAX, -ENOENT },
	{ UINT64_MAX, -ENOENT },
	{ FILE_ID, -ENOTDIR },
	{ EMPTY, -ENOENT },			/* has no such name */
	{ SUB, -ENOENT },
};

TEST_F(notify, entry_parent)
{
	struct msg m;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(parents); i++) {
		inval_entry(&m, parents[i].parent, 0, "file");
		CHECK(&m, parents[i].err, 0, "inval_entry, parent %#llx",
		      parents[i].parent);
		delete(&m, parents[i].parent, FILE_ID, "file");
		CHECK(&m, parents[i].err, 0, "delete, parent %#llx",
		      parents[i].parent);
	}
}

/* What is right is done, so that all the others mean something. */
TEST_F(notify, entry_names)
{
	unsigned int i;
	struct msg m;

	for (i = 0; i < ENTRIES; i++) {
		const struct entry *e = &tree[i];
		unsigned int names = BIT(i);

		inval_entry(&m, e->parent, FUSE_EXPIRE_ONLY, e->name);
		CHECK(&m, 0, names, "expire %s", e->path);
		if (i == E_DIR)
			names |= IN_DIR;
		if (i == E_SUB)
			names |= BIT(E_LEAF);
		inval_entry(&m, e->parent, 0, e->name);
		CHECK(&m, 0, names, "inval_entry %s", e->path);
		delete(&m, e->parent, e->node, e->name);
		CHECK(&m, 0, names, "delete %s", e->path);
		/* Another node of that name is gone: this one lives, the name is stale. */
		delete(&m, e->parent, NOBODY, e->name);
		CHECK(&m, e->node ? -ENOENT : 0, names, "delete another %s", e->path);
	}
}

static const struct {
	__u64 child;
	int err;
} children[] = {
	{ FILE_ID, 0 },
	{ 0, 0 },				/* the kernel takes that for an inval_entry */
	{ TOP, -ENOENT },
	{ DIR_ID, -ENOENT },
	{ NOBODY, -ENOENT },
	{ FILE_ID | BIT_ULL(32), -ENOENT },	/* all 64 bits count */
	{ FILE_ID | BIT_ULL(63), -ENOENT },
	{ UINT64_MAX, -ENOENT },
};

/* A delete of another node finds the name stale all the same. */
TEST_F(notify, delete_child)
{
	unsigned int i;
	struct msg m;

	for (i = 0; i < ARRAY_SIZE(children); i++) {
		delete(&m, DIR_ID, children[i].child, "file");
		CHECK(&m, children[i].err, BIT(E_FILE), "delete, child %#llx",
		      children[i].child);
		/* An absent name is no node, so there is nothing that could differ. */
		delete(&m, DIR_ID, children[i].child, "none");
		CHECK(&m, 0, BIT(E_NONE), "delete of an absent name, child %#llx",
		      children[i].child);
	}
}

/* The kernel does not mind flags that it does not know, nor padding. */
TEST_F(notify, entry_flags)
{
	struct fuse_notify_delete_out *out;
	unsigned int bit;
	struct msg m;

	for (bit = 0; bit <= 33; bit++) {
		__u32 flags = bit < 32 ? BIT(bit) : bit == 32 ? 0xfffffffe : 0xffffffff;
		bool expire = flags & FUSE_EXPIRE_ONLY;

		inval_entry(&m, ROOT, flags, "dir");
		CHECK(&m, 0, expire ? BIT(E_DIR) : BIT(E_DIR) | IN_DIR, "inval_entry, flags %#x",
		      flags);

		/* A delete has none, or what is in the directory would stay: nobody died. */
		delete(&m, ROOT, 0, "dir");
		out = (void *)(m.data + HEADER);
		out->padding = flags;
		CHECK(&m, 0, BIT(E_DIR) | IN_DIR, "delete, padding %#x", flags);
	}
}

/* The name ends where its length says: NULs and slashes are part of it. */
TEST_F(notify, odd_names)
{
	static const struct {
		const char *name;
		size_t len;
	} names[] = {
		{ "", 0 }, { "\0", 1 }, { "\0\0", 2 }, { ".", 1 }, { "..", 2 }, { "/", 1 },
		{ "//", 2 }, { "file/", 5 }, { "/file", 5 }, { "./file", 6 }, { "../dir", 6 },
		{ "sub/leaf", 8 }, { "file\0", 5 }, { "file\0x", 6 }, { "\0file", 5 },
		{ "fi\0le", 5 }, { "file\0\0\0\0", 8 }, { "none\0", 5 }, { "none/", 5 },
		{ "fil", 3 }, { "files", 5 }, { "FILE", 4 }, { "file ", 5 }, { "file\n", 5 },
		{ "\xff\xfe", 2 }, { "fil\xe5", 4 },
	};
	struct msg m;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		inval_entry_len(&m, DIR_ID, 0, names[i].name, names[i].len);
		CHECK(&m, -ENOENT, 0, "inval_entry, name %u", i);
		inval_entry_len(&m, DIR_ID, FUSE_EXPIRE_ONLY, names[i].name, names[i].len);
		CHECK(&m, -ENOENT, 0, "expire, name %u", i);
		delete_len(&m, DIR_ID, FILE_ID, names[i].name, names[i].len);
		CHECK(&m, -ENOENT, 0, "delete, name %u", i);
	}
}

/* No name has a slash in it, nor a NUL, wherever one is put. */
TEST_F(notify, odd_bytes)
{
	static const char odd[] = { '\0', '/', ' ', '\x80', '\xff' };
	char name[] = "file";
	unsigned int i, j;
	struct msg m;

	for (i = 0; i < strlen("file"); i++) {
		for (j = 0; j < sizeof(odd); j++) {
			memcpy(name, "file", sizeof(name));
			name[i] = odd[j];
			inval_entry_len(&m, DIR_ID, 0, name, 4);
			CHECK(&m, -ENOENT, 0, "inval_entry, byte %u is %#x", i, odd[j] & 0xff);
			delete_len(&m, DIR_ID, FILE_ID, name, 4);
			CHECK(&m, -ENOENT, 0, "delete, byte %u is %#x", i, odd[j] & 0xff);
		}
	}
}

/* A byte is reserved for the NUL, and the kernel puts one there whatever it finds. */
TEST_F(notify, no_nul)
{
	unsigned int byte;
	struct msg m;

	for (byte = 1; byte < 256; byte += 127) {
		inval_entry(&m, DIR_ID, 0, "file");
		m.data[m.len - 1] = byte;
		CHECK(&m, 0, BIT(E_FILE), "inval_entry, ends with %#x", byte);
		delete(&m, DIR_ID, FILE_ID, "file");
		m.data[m.len - 1] = byte;
		CHECK(&m, 0, BIT(E_FILE), "delete, ends with %#x", byte);
	}
}

static __u32 *namelen(struct msg *m)
{
	struct fuse_notify_inval_entry_out *entry = (void *)(m->data + HEADER);
	struct fuse_notify_delete_out *delete = (void *)(m->data + HEADER);

	return m->header.error == FUSE_NOTIFY_DELETE ? &delete->namelen : &entry->namelen;
}

/* What a message of the name "file" may say instead of 4. */
TEST_F(notify, name_length_lies)
{
	static const struct {
		__u32 len;
		int err;
	} lies[] = {
		{ 0, -EINVAL }, { 1, -EINVAL }, { 3, -EINVAL }, { 5, -EINVAL }, { 8, -EINVAL },
		{ 255, -EINVAL }, { 256, -EINVAL },
		{ NAME_MAX_LOW, -EINVAL }, { NAME_MAX_LOW + 1, -EINVAL },
		{ NAME_MAX_HIGH, -EINVAL },
		/* Too long counts before wrong. */
		{ NAME_MAX_HIGH + 1, -ENAMETOOLONG },
		{ 0x10000 + 4, -ENAMETOOLONG }, { 0x1000000 + 4, -ENAMETOOLONG },
		{ INT32_MAX, -ENAMETOOLONG }, { 0x80000000, -ENAMETOOLONG },
		{ 0x80000004, -ENAMETOOLONG },
		/* With its NUL, this goes back to where the name starts, or before. */
		{ -5, -ENAMETOOLONG }, { -16, -ENAMETOOLONG }, { -17, -ENAMETOOLONG },
		{ -25, -ENAMETOOLONG }, { -2, -ENAMETOOLONG },
		{ UINT32_MAX, -ENAMETOOLONG },
	};
	unsigned int i, kind;
	struct msg m;

	for (i = 0; i < ARRAY_SIZE(lies); i++) {
		for (kind = 0; kind < 2; kind++) {
			good(&m, kinds[kind].code);
			*namelen(&m) = lies[i].len;
			CHECK(&m, lies[i].err, 0, "%s, length %#x", kinds[kind].desc, lies[i].len);
			/* With nothing after it */
			m.len = HEADER + (kind ? sizeof(struct fuse_notify_delete_out) :
					  sizeof(struct fuse_notify_inval_entry_out));
			m.header.len = m.len;
			CHECK(&m, lies[i].err, 0, "%s, length %#x, no name", kinds[kind].desc,
			      lies[i].len);
		}
	}
}

static char *long_name(char *name, size_t len)
{
	memset(name, 'n', len);
	name[len] = '\0';
	return name;
}

/* The longest name is as good as any, and one byte more is refused. */
static void check_name_max(struct __test_metadata *_metadata, FIXTURE_DATA(notify) * self,
			   size_t name_max)
{
	struct conn *c = self->c;
	char name[PATH_MAX + 2];
	unsigned int before;
	__u64 node;
	struct msg m;
	int is_delete;

	for (is_delete = 0; is_delete < 2; is_delete++) {
		long_name(name, name_max);
		EXPECT_EQ(-ENOENT, look_at(c, name, &node));
		before = counts(c).other;
		EXPECT_EQ(-ENOENT, look_at(c, name, &node));
		EXPECT_EQ(before, counts(c).other);

		if (is_delete)
			delete(&m, ROOT, NOBODY, name);
		else
			inval_entry(&m, ROOT, 0, name);
		EXPECT_EQ(0, result(write(c->fd, m.data, m.len), m.len));
		EXPECT_EQ(-ENOENT, look_at(c, name, &node));
		EXPECT_EQ(before + 1, counts(c).other);

		/* It is not cached any more now, and a shorter one never was. */
		EXPECT_EQ(0, result(write(c->fd, m.data, m.len), m.len));
		if (!is_delete)
			EXPECT_EQ(-ENOENT, result(write(c->fd, m.data, m.len), m.len));
		fill_cache(_metadata, c);
		name[name_max - 1] = '\0';
		inval_entry(&m, ROOT, 0, name);
		CHECK(&m, -ENOENT, 0, "name of %zu bytes", name_max - 1);

		for (node = name_max + 1; node <= name_max + 2; node++) {
			long_name(name, node);
			if (is_delete)
				delete(&m, ROOT, NOBODY, name);
			else
				inval_entry(&m, ROOT, 0, name);
			CHECK(&m, -ENAMETOOLONG, 0, "name of %zu bytes", (size_t)node);
		}
	}
}

TEST_F(notify, name_max)
{
	check_name_max(_metadata, self, NAME_MAX_HIGH);
}

/* The limit is the connection's own. */
TEST_F(notify, name_max_of_one_page)
{
	struct conn *c = self->c;

	self->c = conn_new(self->base, "one_page");
	self->c->max_pages = 1;
	ASSERT_EQ(0, conn_start(self->c));
	fill_cache(_metadata, self->c);
	check_name_max(_metadata, self, NAME_MAX_LOW);
	EXPECT_EQ(0, conn_stop(self->c));
	self->c = c;
}

/*
 * The others.
 */

TEST_F(notify, poll_fields)
{
	static const __u64 handles[] = { 0, 1, 2, INT64_MAX, BIT_ULL(63), UINT64_MAX };
	struct msg m;
	unsigned int i;

	/* Who does not poll is not waken, and that is no error. */
	for (i = 0; i < ARRAY_SIZE(handles); i++) {
		poll_wakeup(&m, handles[i]);
		CHECK(&m, 0, 0, "poll, kh %#llx", handles[i]);
	}
}

static void *poll_file(void *arg)
{
	struct pollfd *file = arg;

	if (poll(file, 1, -1) < 0)
		file->revents = 0;
	return NULL;
}

/* Only the handle of who polls wakes them, and only to ask again. */
TEST_F(notify, poll_wakes)
{
	static const __u64 wrong[] = { 1, BIT_ULL(32), BIT_ULL(63), UINT64_MAX };
	struct pollfd file = { .events = POLLIN };
	struct conn *c = self->c;
	pthread_t thread;
	unsigned int i;
	__u64 kh;
	struct msg m;
	bool polls;

	file.fd = openat(c->root, "file", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, file.fd);
	ASSERT_EQ(0, pthread_create(&thread, NULL, poll_file, &file));
	pthread_mutex_lock(&c->lock);
	polls = wait_until(c, c->n.polls == 1);
	kh = c->kh;
	pthread_mutex_unlock(&c->lock);
	ASSERT_TRUE(polls);

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		poll_wakeup(&m, kh ^ wrong[i]);
		CHECK(&m, 0, 0, "poll, kh is wrong by %#llx", wrong[i]);
	}
	EXPECT_EQ(1, counts(c).polls);

	pthread_mutex_lock(&c->lock);
	c->ready = true;
	pthread_mutex_unlock(&c->lock);
	poll_wakeup(&m, kh);
	EXPECT_EQ(0, result(write(c->fd, m.data, m.len), m.len));
	pthread_mutex_lock(&c->lock);
	polls = wait_until(c, c->n.polls == 2);
	pthread_mutex_unlock(&c->lock);
	EXPECT_TRUE(polls);
	if (!polls)
		umount2(c->dir, MNT_FORCE);	/* that wakes all */
	pthread_join(thread, NULL);
	EXPECT_EQ(POLLIN, file.revents);
	EXPECT_EQ(2, counts(c).polls);
	close(file.fd);
}

TEST_F(notify, inval_inode_fields)
{
	static const __s64 limits[] = {
		0, 1, -1, 8, 4095, 4096, 65536, INT32_MAX, INT64_MAX - 1, INT64_MAX, INT64_MIN,
	};
	static const struct {
		__u64 node;
		int err;
	} nodes[] = {
		{ 0, -ENOENT }, { NOBODY, -ENOENT }, { UINT64_MAX, -ENOENT },
		{ FILE_ID | BIT_ULL(32), -ENOENT }, { FILE_ID | BIT_ULL(63), -ENOENT },
		/* Whatever the node is: a directory has attributes, too. */
		{ FILE_ID, 0 }, { ROOT, 0 }, { DIR_ID, 0 }, { LEAF, 0 },
	};
	unsigned int n, off, len;
	struct msg m;

	for (n = 0; n < ARRAY_SIZE(nodes); n++) {
		for (off = 0; off < ARRAY_SIZE(limits); off++) {
			for (len = 0; len < ARRAY_SIZE(limits); len++) {
				inval_inode(&m, nodes[n].node, limits[off], limits[len]);
				CHECK(&m, nodes[n].err, 0,
				      "inval_inode %#llx, offset %#llx, length %#llx",
				      nodes[n].node,
				      limits[off],
				      limits[len]);
			}
		}
	}
}

TEST_F(notify, store_fields)
{
	const struct {
		__u64 node, off;
		__u32 len;
		int err;
	} cases[] = {
		{ TOP, 0, 0, 0 },
		{ TOP, 0, 1, 0 },
		{ TOP, 1, 4094, 0 },
		{ TOP, 0, 4096, 0 },
		{ TOP, 4095, 1, 0 },
		{ TOP, 4095, 2, 0 },			/* the file is longer now */
		{ TOP, 4096, 0, 0 },
		{ TOP, 4096, 1, 0 },
		{ TOP, 3, 3 * 4096, 0 },
		{ TOP, 65536, 4096, 0 },
		{ TOP, 0xffffffff, 2, 0 },
		{ TOP, BIT_ULL(32), 8, 0 },		/* not at 0 */
		{ TOP, INT64_MAX - 4097, 8, 0 },
		/* What is beyond the largest file is dropped. */
		{ TOP, MAX_FILESIZE - 1, 1, 0 },
		{ TOP, MAX_FILESIZE - 1, 8, 0 },
		{ TOP, MAX_FILESIZE, 1, -EINVAL },
		{ TOP, MAX_FILESIZE, 0, -EINVAL },
		{ TOP, BIT_ULL(63), 8, -EINVAL },
		{ TOP, UINT64_MAX - 7, 8, -EINVAL },
		{ TOP, UINT64_MAX, 8, -EINVAL },
		/* The offset is looked at first, then the node. */
		{ NOBODY, UINT64_MAX, 8, -EINVAL },
		{ NOBODY, 0, 8, -ENOENT },
		{ 0, 0, 8, -ENOENT },
		{ TOP | BIT_ULL(32), 0, 8, -ENOENT },
		{ UINT64_MAX, 0, 8, -ENOENT },
		/* Only files have data. */
		{ ROOT, 0, 8, -EINVAL },
		{ DIR_ID, 0, 0, -EINVAL },
		{ EMPTY, 4096, 8, -EINVAL },
	};
	char data[3 * 4096];
	unsigned int i;
	struct msg m;

	for (i = 0; i < sizeof(data); i++)
		data[i] = i * 3;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		store(&m, cases[i].node, cases[i].off, data, cases[i].len);
		CHECK(&m, cases[i].err, 0, "store %#llx, offset %#llx, %u bytes",
		      cases[i].node, cases[i].off,
		      cases[i].len);
	}
}

/* What is stored behind the end is a longer file, until the server says otherwise. */
TEST_F(notify, store_behind_end)
{
	struct conn *c = self->c;
	bool retrieved;
	struct msg m;

	store(&m, TOP, page_size(), "more", 4);
	EXPECT_EQ(0, result(write(c->fd, m.data, m.len), m.len));
	retrieve(&m, 1, TOP, page_size() + 1, 100);
	EXPECT_EQ(0, result(write(c->fd, m.data, m.len), m.len));
	pthread_mutex_lock(&c->lock);
	retrieved = wait_until(c, c->n.retrieved);
	pthread_mutex_unlock(&c->lock);
	ASSERT_TRUE(retrieved);
	EXPECT_EQ(3, c->last.size);
	EXPECT_EQ(0, memcmp(c->last.data, "ore", 3));
	fill_cache(_metadata, c);
	retrieve(&m, 2, TOP, page_size() + 1, 100);
	CHECK(&m, 0, 0, "retrieve when the server has said otherwise");
}

TEST_F(notify, retrieve_fields)
{
	const struct {
		__u64 unique, node, off;
		__u32 size;
		int err;
	} cases[] = {
		{ 4711, TOP, 0, 4096, 0 },
		{ 0, TOP, 0, 1, 0 },			/* any unique is the server's own */
		{ UINT64_MAX, TOP, 4095, 1, 0 },
		{ 1, TOP, 1, UINT32_MAX, 0 },		/* no more than there is */
		{ 2, TOP, 100, 0x80000000, 0 },
		{ 3, TOP, 0, 0, 0 },
		{ 4, TOP, 4096, 1, 0 },
		{ 5, TOP, 4097, 1, 0 },
		{ 6, TOP, BIT_ULL(32), 4096, 0 },	/* not at 0 */
		{ 7, TOP, MAX_FILESIZE - 1, UINT32_MAX, 0 },
		{ 8, TOP, MAX_FILESIZE, 1, -EINVAL },
		{ 9, TOP, BIT_ULL(63), 1, -EINVAL },
		{ 10, TOP, UINT64_MAX, UINT32_MAX, -EINVAL },
		/* The offset is looked at first, then the node. */
		{ 11, NOBODY, UINT64_MAX, 1, -EINVAL },
		{ 12, NOBODY, 0, 1, -ENOENT },
		{ 13, 0, 0, 1, -ENOENT },
		{ 14, TOP | BIT_ULL(63), 0, 1, -ENOENT },
		/* Only files have data. */
		{ 15, ROOT, 0, 1, -EINVAL },
		{ 16, SUB, 0, 4096, -EINVAL },
	};
	unsigned int i;
	struct msg m;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		retrieve(&m, cases[i].unique, cases[i].node, cases[i].off, cases[i].size);
		CHECK(&m, cases[i].err, 0, "retrieve %#llx, offset %#llx, %#x bytes",
		      cases[i].node, cases[i].off,
		      cases[i].size);
	}
}

TEST_F(notify, prune_fields)
{
	static const __u32 counts[] = {
		0, 1, 2, 4, 5, 255, 0x20000000, 0x20000003, 0x80000003, 0xe0000003, INT32_MAX,
		UINT32_MAX,
	};
	const __u64 nodes[] = { TOP, NOBODY, LEAF };
	struct fuse_notify_prune_out *out;
	__u64 many[1025];
	unsigned int i;
	struct msg m;

	if (!kernel_knows(self->c, FUSE_NOTIFY_PRUNE))
		SKIP(return, "this kernel has no FUSE_NOTIFY_PRUNE");

	/* It says how many nodes there are, and 3 are there. */
	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		prune(&m, nodes, 3);
		out = (void *)(m.data + HEADER);
		out->count = counts[i];
		CHECK(&m, -EINVAL, 0, "prune, count %#x", counts[i]);
	}
	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		prune(&m, nodes, 0);
		out = (void *)(m.data + HEADER);
		out->count = counts[i];
		CHECK(&m, counts[i] ? -EINVAL : 0, 0, "prune nothing, count %#x", counts[i]);
	}

	/* Nobody, or somebody who is in use: no error, and nothing is lost. */
	prune(&m, (const __u64 []){ 0, NOBODY, UINT64_MAX, TOP | BIT_ULL(32), ROOT, DIR_ID, SUB },
	      7);
	CHECK(&m, 0, 0, "prune who cannot be");
	/* SUB is in use until LEAF is gone, and only by that; FILE_ID has two names. */
	prune(&m, (const __u64 []){ LEAF, EMPTY, FILE_ID, FILE_ID }, 4);
	CHECK(&m, 0, BIT(E_LEAF) | BIT(E_SUB) | BIT(E_EMPTY) | BIT(E_FILE) | BIT(E_LINK), "prune");

	/* The kernel takes 512 at a time. */
	for (i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = NOBODY + i;
	for (i = 510; i <= 1025; i++) {
		if (i == 515)
			i = 1022;
		many[i - 1] = TOP;
		prune(&m, many, i);
		CHECK(&m, 0, BIT(E_TOP), "prune %u", i);
		many[i - 1] = NOBODY;
		prune(&m, many, i);
		CHECK(&m, 0, 0, "prune %u others", i);
	}
}

/* What waits is sent again, each time, and can then be answered. */
TEST_F(notify, resend)
{
	struct fuse_attr_out attr;
	struct conn *c = self->c;
	unsigned int i;
	struct msg m;

	if (!kernel_knows(c, FUSE_NOTIFY_RESEND))
		SKIP(return, "this kernel has no FUSE_NOTIFY_RESEND");
	start(&m, FUSE_NOTIFY_RESEND);
	CHECK(&m, 0, 0, "resend nothing");
	start_waiting(_metadata, self);
	for (i = 0; i < 3; i++) {
		__u64 unique = c->held;

		CHECK(&m, 0, 0, "resend %u", i);
		EXPECT_EQ(unique | BIT_ULL(63), c->held);
		check(_metadata, self, &m, &(struct how){ .clone = true }, 0, 0,
		      "resend from the clone");
	}
	fill_attr_out(&attr, HELD);
	start(&m, 0);
	m.header.unique = c->held & ~BIT_ULL(63);
	add(&m, &attr, sizeof(attr));
	CHECK(&m, -ENOENT, 0, "the answer to what was sent first");
	m.header.unique = c->held;
	CHECK(&m, 0, 0, "the answer to what was sent last");
}

/*
 * Messages as such.
 */

/* There are 9 codes, and no other will do, whatever comes with it. */
TEST_F(notify, unknown_codes)
{
	static const int codes[] = {
		0, 10, 11, 16, 127, 128, 255, 256, 0x10000, INT_MAX, INT_MAX - 1, INT_MIN,
		-1, -2, -3, -6, -9, -511, -512, -513,
	};
	unsigned int i, kind, bit;
	struct msg m;

	for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		for (i = 0; i < ARRAY_SIZE(codes); i++) {
			good(&m, kinds[kind].code);
			m.header.error = codes[i];
			CHECK(&m, -EINVAL, 0, "%s, but code %d", kinds[kind].desc, codes[i]);
		}
		for (bit = 4; bit < 32; bit++) {
			good(&m, kinds[kind].code);
			m.header.error |= BIT(bit);
			CHECK(&m, -EINVAL, 0, "%s with bit %u", kinds[kind].desc, bit);
		}
	}
}

/* A good message that claims to be another: an inval_inode is an empty store, say. */
TEST_F(notify, other_codes)
{
	unsigned int kind, other;
	struct verdict v;
	struct msg m;

	for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		for (other = 0; other < ARRAY_SIZE(kinds); other++) {
			good(&m, kinds[kind].code);
			m.header.error = kinds[other].code;
			judge(&v, self->c, &m, 0);
			CHECK(&m, v.err, v.names, "%s as %s", kinds[kind].desc, kinds[other].desc);
		}
	}
}

/* The length in the header is that of what is written, or nothing is right. */
TEST_F(notify, header_length_lies)
{
	static const __u32 lies[] = {
		INT32_MAX, 0x80000000, UINT32_MAX, 0x10000, 0x1000, HEADER, HEADER - 1,
	};
	unsigned int kind, i;
	__u32 len;
	struct msg m;

	for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		good(&m, kinds[kind].code);
		for (len = 0; len <= m.len + 16; len++) {
			if (len == m.len)
				continue;
			m.header.len = len;
			CHECK(&m, -EINVAL, 0, "%s, says %u bytes", kinds[kind].desc, len);
		}
		for (i = 0; i < ARRAY_SIZE(lies); i++) {
			m.header.len = lies[i];
			if (lies[i] != m.len)
				CHECK(&m, -EINVAL, 0, "%s, says %#x bytes", kinds[kind].desc,
				      lies[i]);
			m.header.len = m.len | (i < 3 ? lies[i] & ~0xffffU : 0x10000U << i);
			CHECK(&m, -EINVAL, 0, "%s, right in 16 bits", kinds[kind].desc);
		}
	}
}

/* Half a message, whether it admits that or not. */
TEST_F(notify, truncated)
{
	unsigned int kind;
	size_t full, len;
	struct msg m;

	for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		good(&m, kinds[kind].code);
		full = m.len;
		for (len = 0; len < full; len++) {
			m.len = len;
			m.header.len = full;
			CHECK(&m, -EINVAL, 0, "%s, %zu of %zu bytes", kinds[kind].desc, len, full);
			m.header.len = len;
			CHECK(&m, -EINVAL, 0, "%s, cut to %zu bytes", kinds[kind].desc, len);
		}
	}
}

TEST_F(notify, extended)
{
	unsigned int kind, fill;
	size_t full, more;
	struct msg m;

	for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		bool any_size = !has_argument(kinds[kind].code) &&
				kernel_knows(self->c, kinds[kind].code);

		good(&m, kinds[kind].code);
		full = m.len;
		for (more = 1; more < 10000; more = more < 40 ? more + 1 : more * 3) {
			for (fill = 0; fill < 2; fill++) {
				memset(m.data + full, fill ? 'x' : 0, more);
				m.len = full + more;
				m.header.len = full;
				CHECK(&m, -EINVAL, 0, "%s, %zu bytes more", kinds[kind].desc, more);
				m.header.len = full + more;
				CHECK(&m, any_size ? 0 : -EINVAL, any_size ? kinds[kind].names : 0,
				      "%s, %zu bytes longer", kinds[kind].desc, more);
			}
		}
	}
}

/* Two messages in one are none. */
TEST_F(notify, two_messages)
{
	unsigned int kind, other;
	struct msg m, more;

	for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		for (other = 0; other < ARRAY_SIZE(kinds); other++) {
			good(&m, kinds[kind].code);
			good(&more, kinds[other].code);
			memcpy(m.data + m.len, more.data, more.len);
			m.len += more.len;
			CHECK(&m, -EINVAL, 0, "%s and %s", kinds[kind].desc, kinds[other].desc);
		}
	}
}

/* With a unique it is no notification, but the answer to nothing. */
TEST_F(notify, unique)
{
	static const struct {
		int error;
		int err;
	} errors[] = {
		{ INT_MIN, -EINVAL }, { -513, -EINVAL }, { -512, -EINVAL },
		{ -511, -ENOENT }, { -ENOENT, -ENOENT }, { -1, -ENOENT }, { 0, -ENOENT },
		{ 1, -EINVAL }, { FUSE_NOTIFY_INVAL_ENTRY, -EINVAL }, { INT_MAX, -EINVAL },
	};
	unsigned int kind, bit, i;
	struct msg m;

	for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		for (bit = 0; bit < 64; bit++) {
			good(&m, kinds[kind].code);
			m.header.unique = BIT_ULL(bit);
			CHECK(&m, -EINVAL, 0, "%s, bit %u of unique", kinds[kind].desc, bit);
		}
		for (i = 0; i < ARRAY_SIZE(errors); i++) {
			good(&m, kinds[kind].code);
			m.header.error = errors[i].error;
			m.header.unique = UINT64_MAX;
			CHECK(&m, errors[i].err, 0, "%s as an answer %d", kinds[kind].desc,
			      errors[i].error);
		}
	}
}

/* Answers to a request that does wait: a bad one is an answer, too. */
TEST_F(notify, replies)
{
	static const int errors[] = { -1, -EINTR, -ENOENT, -EIO, -EACCES, -ECONNABORTED, -511 };
	static const int not_errors[] = { -512, -513, INT_MIN, 1, 3, 512, INT_MAX };
	struct conn *c = self->c;
	struct fuse_attr_out attr;
	unsigned int i, bit;
	struct msg m;
	size_t len;

	start_waiting(_metadata, self);

	for (i = 0; i < ARRAY_SIZE(not_errors); i++) {
		start(&m, not_errors[i]);
		m.header.unique = c->held;
		CHECK(&m, -EINVAL, 0, "answer %d", not_errors[i]);
	}
	for (bit = 1; bit < 64; bit++) {
		start(&m, -EIO);
		m.header.unique = c->held ^ BIT_ULL(bit);
		if (m.header.unique)
			CHECK(&m, -ENOENT, 0, "wrong in bit %u of unique", bit);
	}
	/* What one device has read, another cannot answer. */
	start(&m, -EIO);
	m.header.unique = c->held;
	check(_metadata, self, &m, &(struct how){ .clone = true }, -ENOENT, 0, "from the clone");

	/* About an interrupt that was not */
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		start(&m, errors[i]);
		m.header.unique = c->held | INT_REQ_BIT;
		CHECK(&m, 0, 0, "answer %d to an interrupt", errors[i]);
		add(&m, "", 1);
		CHECK(&m, -EINVAL, 0, "answer %d to an interrupt, a byte more", errors[i]);
	}
	start(&m, -EAGAIN);
	m.header.unique = c->held | INT_REQ_BIT;
	CHECK(&m, -EINVAL, 0, "interrupt again");

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		start(&m, errors[i]);
		m.header.unique = c->held;
		CHECK(&m, 0, 0, "answer %d", errors[i]);
		start(&m, errors[i]);
		m.header.unique = c->held;
		add(&m, "", 1);
		CHECK(&m, -EINVAL, 0, "answer %d and a byte", errors[i]);
	}
	fill_attr_out(&attr, HELD);
	for (len = 0; len <= sizeof(attr); len++) {
		start(&m, 0);
		m.header.unique = c->held;
		add(&m, &attr, len);
		CHECK(&m, len == sizeof(attr) ? 0 : -EINVAL, 0, "%zu bytes of attributes", len);
	}
	start(&m, 0);
	m.header.unique = c->held;
	add(&m, &attr, sizeof(attr));
	add(&m, "", 1);
	CHECK(&m, -EINVAL, 0, "a byte more than attributes");
	/* No file is like that, and once it is bad the kernel asks for another. */
	attr.attr.mode = S_IFDIR | 0755;
	start(&m, 0);
	m.header.unique = c->held;
	add(&m, &attr, sizeof(attr));
	CHECK(&m, 0, 0, "attributes of a directory");
}

/*
 * Ways of writing.
 */

TEST_F(notify, split)
{
	struct how how = {};
	unsigned int kind;
	struct msg m;

	for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		if (!kernel_knows(self->c, kinds[kind].code))
			continue;
		good(&m, kinds[kind].code);
		for (how.cut = 0; how.cut <= m.len; how.cut++) {
			how.by = WRITEV;
			check(_metadata, self, &m, &how, 0, kinds[kind].names,
			      "%s by writev, cut at %zu", kinds[kind].desc, how.cut);
			how.by = SPLICE;
			check(_metadata, self, &m, &how, 0, kinds[kind].names,
			      "%s by splice, cut at %zu", kinds[kind].desc, how.cut);
		}
	}
}

/* Byte by byte, with nothing in between */
TEST_F(notify, split_everywhere)
{
	struct iovec iov[2 * 64];
	struct verdict v;
	unsigned int kind;
	struct msg m;
	size_t i;

	ASSERT_LE(64, fcntl(self->pipe[1], F_SETPIPE_SZ, 64 * page_size()) / (int)page_size());
	for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		if (!kernel_knows(self->c, kinds[kind].code))
			continue;
		snprintf(watch.what, sizeof(watch.what), "%s byte by byte", kinds[kind].desc);
		tick();
		good(&m, kinds[kind].code);
		ASSERT_LE(m.len, ARRAY_SIZE(iov) / 2);
		judge(&v, self->c, &m, 0);

		for (i = 0; i < m.len; i++) {
			iov[2 * i] = (struct iovec){ m.data + i, 0 };
			iov[2 * i + 1] = (struct iovec){ m.data + i, 1 };
		}
		EXPECT_EQ(0, result(writev(self->c->fd, iov, 2 * m.len), m.len));
		check_cache(_metadata, self, &v, watch.what);

		for (i = 0; i < m.len; i++)
			ASSERT_EQ(1, write(self->pipe[1], m.data + i, 1));
		EXPECT_EQ(0, splice_to(self, self->c->fd, m.len));
		check_cache(_metadata, self, &v, watch.what);
	}
}

/* A splice takes one message of what is in the pipe, as many bytes as it is told. */
TEST_F(notify, splice_lies)
{
	const struct verdict none = {};
	struct msg m, more;
	struct verdict v;
	size_t len;

	inval_entry(&m, DIR_ID, 0, "file");
	inval_entry(&more, DIR_ID, 0, "none");
	for (len = 1; len <= m.len + more.len; len++) {
		char both[sizeof(m.data)], rest[sizeof(m.data)];
		size_t full = m.len + more.len;
		int left;

		tick();
		snprintf(watch.what, sizeof(watch.what), "splice of %zu bytes", len);
		memcpy(both, m.data, m.len);
		memcpy(both + m.len, more.data, more.len);
		ASSERT_EQ((ssize_t)full, write(self->pipe[1], both, full));
		EXPECT_EQ(len == m.len ? 0 : -EINVAL, splice_to(self, self->c->fd, len)) {
			TH_LOG("%s", watch.what);
		}
		ASSERT_EQ(0, ioctl(self->pipe[0], FIONREAD, &left));
		EXPECT_EQ((int)(full - len), left) TH_LOG("%s", watch.what);
		if (len == m.len) {
			judge(&v, self->c, &m, 0);
			check_cache(_metadata, self, &v, watch.what);
			EXPECT_EQ(0, splice_to(self, self->c->fd, more.len));
			judge(&v, self->c, &more, 0);
			check_cache(_metadata, self, &v, watch.what);
			continue;
		}
		if (left)
			ASSERT_EQ(left, read(self->pipe[0], rest, sizeof(rest)));
		check_cache(_metadata, self, &none, watch.what);
	}
	/* More than there is, and what there is stays. */
	ASSERT_EQ((ssize_t)m.len, write(self->pipe[1], m.data, m.len));
	m.header.len = m.len + 1;
	EXPECT_EQ(-EINVAL, splice_to(self, self->c->fd, m.len + 1));
	check_cache(_metadata, self, &none, "splice of more than there is");
}

/* Nothing is written at all. */
TEST_F(notify, nothing)
{
	const struct verdict none = {};
	struct iovec iov = {};
	struct conn *c = self->c;

	EXPECT_EQ(-EINVAL, result(write(c->fd, "", 0), 0));
	EXPECT_EQ(-EINVAL, result(write(c->fd, NULL, 0), 0));
	/* These end before they get to the device. */
	EXPECT_EQ(0, result(writev(c->fd, &iov, 0), 0));
	EXPECT_EQ(0, result(writev(c->fd, &iov, 1), 0));
	EXPECT_EQ(0, splice_to(self, c->fd, 0));
	check_cache(_metadata, self, &none, "nothing");
}

/* The server's memory ends within the message: what is missing is not made up. */
TEST_F(notify, unreadable)
{
	const struct verdict none = {};
	size_t page = page_size();
	unsigned int kind;
	struct msg m;
	char *map;

	map = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, mprotect(map + page, page, PROT_NONE));

	for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		size_t full, len;

		if (!kernel_knows(self->c, kinds[kind].code))
			continue;
		good(&m, kinds[kind].code);
		full = has_argument(kinds[kind].code) ? m.len : HEADER;
		for (len = 0; len < full; len++) {
			/* The rest is there if one looks further. */
			struct iovec holes[] = {
				{ m.data, len },
				{ map + page, 1 },
				{ m.data + len + 1, m.len - len - 1 },
			};
			char *end = map + page - len;

			snprintf(watch.what, sizeof(watch.what),
				 "%s, %zu of %zu bytes are readable", kinds[kind].desc, len, m.len);
			tick();
			/* A store has come half way then: let that be what is there anyway. */
			if (kinds[kind].code == FUSE_NOTIFY_STORE && len > m.len - 6)
				continue;
			memcpy(end, m.data, len);
			EXPECT_EQ(-EFAULT, result(write(self->c->fd, end, m.len), m.len)) {
				TH_LOG("%s", watch.what);
			}
			EXPECT_EQ(-EFAULT, result(writev(self->c->fd, holes, 3), m.len)) {
				TH_LOG("%s", watch.what);
			}
			check_cache(_metadata, self, &none, watch.what);
		}
		/* What is wrong with what has been read counts first. */
		for (len = HEADER; len < full; len++) {
			char *end = map + page - len;

			m.header.len = m.len + 1;
			memcpy(end, m.data, len);
			EXPECT_EQ(-EINVAL, result(write(self->c->fd, end, m.len), m.len));
			m.header.len = m.len;
		}
		check_cache(_metadata, self, &none, watch.what);
	}
	/* None of it is there, and too little to be looked at. */
	EXPECT_EQ(-EFAULT, result(write(self->c->fd, map + page, HEADER), HEADER));
	EXPECT_EQ(-EINVAL, result(write(self->c->fd, map + page, HEADER - 1), HEADER - 1));
	check_alive(_metadata, self, "EFAULT");
	munmap(map, 3 * page);
}

/* A name in the pages around one that cannot be read */
TEST_F(notify, unreadable_middle)
{
	const struct verdict changed = { .attrs = BIT(ROOT) };
	size_t page = page_size(), start;
	char name[PATH_MAX];
	struct msg m;
	char *map;

	map = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, map);
	inval_entry(&m, ROOT, 0, long_name(name, NAME_MAX_HIGH));
	if (m.len < page + 2)
		SKIP(return, "a page is longer than any name");
	for (start = page - 1; start > 2 * page - m.len; start--) {
		memcpy(map + start, m.data, m.len);
		EXPECT_EQ(-ENOENT, result(write(self->c->fd, map + start, m.len), m.len));
		ASSERT_EQ(0, mprotect(map + page, page, PROT_NONE));
		EXPECT_EQ(-EFAULT, result(write(self->c->fd, map + start, m.len), m.len));
		ASSERT_EQ(0, mprotect(map + page, page, PROT_READ | PROT_WRITE));
	}
	check_cache(_metadata, self, &changed, "unreadable in the middle");
	munmap(map, 3 * page);
}

/* A store of which half can be read: some of it is there, and nothing else. */
TEST_F(notify, unreadable_store)
{
	size_t page = page_size(), len;
	char data[4096], have[4096];
	struct conn *c = self->c;
	struct msg m;
	char *map;

	map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, mprotect(map + page, page, PROT_NONE));
	memset(data, '+', sizeof(data));

	for (len = 0; len < sizeof(data); len += 273) {
		size_t before = HEADER + sizeof(struct fuse_notify_store_out) + len, i;
		bool cached;

		for (cached = false; ; cached = true) {
			int fd;

			tick();
			if (!cached) {
				inval_inode(&m, TOP, 0, 0);
				EXPECT_EQ(0, result(write(c->fd, m.data, m.len), m.len));
			}
			if (before > page)
				break;
			store(&m, TOP, 0, data, sizeof(data));
			memcpy(map + page - before, m.data, before);
			EXPECT_EQ(-EFAULT, result(write(c->fd, map + page - before, m.len), m.len));

			fd = openat(c->root, "file", O_RDONLY | O_CLOEXEC);
			ASSERT_LE(0, fd);
			EXPECT_EQ((ssize_t)sizeof(have), pread(fd, have, sizeof(have), 0));
			close(fd);
			for (i = 0; i < sizeof(have) && cached && have[i] == '+'; i++)
				;
			EXPECT_EQ(cached ? len : 0, i);
			for (; i < sizeof(have) && have[i] == content(TOP, i); i++)
				;
			EXPECT_EQ(sizeof(have), i) {
				TH_LOG("neither stored nor the server's, %zu bytes readable, %s",
				       len, cached ? "cached" : "not cached");
			}
			if (cached)
				break;
		}
	}
	inval_inode(&m, TOP, 0, 0);
	EXPECT_EQ(0, result(write(c->fd, m.data, m.len), m.len));
	fill_cache(_metadata, c);
	munmap(map, 2 * page);
}

/*
 * Other places.
 */

/* All devices of a connection are as good as the first. */
TEST_F(notify, clone)
{
	const struct how how = { .clone = true };
	struct conn *c = self->c;
	unsigned int kind;
	struct msg m;

	for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		if (!kernel_knows(c, kinds[kind].code))
			continue;
		good(&m, kinds[kind].code);
		check(_metadata, self, &m, &how, 0, kinds[kind].names, "%s from a clone",
		      kinds[kind].desc);
		m.header.len++;
		check(_metadata, self, &m, &how, -EINVAL, 0, "bad %s from a clone",
		      kinds[kind].desc);
		m.header.len--;
		m.header.error += 1000;
		check(_metadata, self, &m, &how, -EINVAL, 0, "bad %s from a clone",
		      kinds[kind].desc);
	}
	/* And if one is closed, the others go on. */
	close(c->clone);
	c->clone = -1;
	inval_entry(&m, DIR_ID, 0, "file");
	CHECK(&m, 0, BIT(E_FILE), "after the clone is closed");
}

/* Who writes need not be where the mount is, as long as they have the device. */
TEST_F(notify, from_other_namespaces)
{
	struct how how = { .elsewhere = true };
	unsigned int kind;
	struct msg m;

	for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		if (!kernel_knows(self->c, kinds[kind].code))
			continue;
		good(&m, kinds[kind].code);
		check(_metadata, self, &m, &how, 0, kinds[kind].names,
		      "%s from other namespaces", kinds[kind].desc);
		if (_metadata->exit_code == KSFT_SKIP)
			return;
		m.header.len++;
		check(_metadata, self, &m, &how, -EINVAL, 0, "bad %s from other namespaces",
		      kinds[kind].desc);
		m.header.len--;
		how.clone = !how.clone;
	}
	delete(&m, DIR_ID, TOP, "file");
	check(_metadata, self, &m, &how, -ENOENT, BIT(E_FILE), "delete from other namespaces");
	inval_entry(&m, NOBODY, 0, "file");
	check(_metadata, self, &m, &how, -ENOENT, 0, "no parent from other namespaces");
}

/*
 * Mount in namespaces of another process, which keeps them until it is killed.  It has
 * its descriptors in common with this one.
 */
static int conn_mount_elsewhere(struct conn *c)
{
	struct clone_args args = { .flags = CLONE_FILES, .exit_signal = SIGCHLD };
	int *done = mmap(NULL, sizeof(*done), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			 -1, 0);
	int fds[2], shared[2] = { -1, -1 }, err;

	if (done == MAP_FAILED || pipe2(fds, O_CLOEXEC))
		return -errno;
	c->keeper = syscall(__NR_clone3, &args, sizeof(args));
	if (!c->keeper) {
		err = new_user_namespace(CLONE_NEWPID);
		if (!err)
			err = conn_open(c);
		if (!err)
			err = conn_mount(c);
		shared[0] = c->fd;
		shared[1] = open(c->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		*done = err;
		if (result(write(fds[1], shared, sizeof(shared)), sizeof(shared)))
			_exit(1);
		for (;;)
			pause();
	}
	err = c->keeper < 0 ? -errno : result(read(fds[0], shared, sizeof(shared)), sizeof(shared));
	if (!err)
		err = *done;
	close(fds[0]);
	close(fds[1]);
	munmap(done, sizeof(*done));
	c->fd = shared[0];
	c->root = shared[1];
	return err;
}

/*
 * The mount is in namespaces of its own, of which we have nothing but the device
 * and the directory.  It works, and goes when they do.
 */
TEST_F(notify, to_other_namespaces)
{
	struct conn *c = self->c;
	struct stat base, dir;
	unsigned int kind;
	struct msg m;

	self->c = conn_new(self->base, "elsewhere");
	if (conn_mount_elsewhere(self->c)) {
		conn_stop(self->c);
		self->c = c;
		SKIP(return, "no user namespaces here");
	}
	/* Here it is but a directory. */
	ASSERT_EQ(0, stat(self->base, &base));
	ASSERT_EQ(0, stat(self->c->dir, &dir));
	EXPECT_EQ(base.st_dev, dir.st_dev);
	ASSERT_EQ(0, conn_serve(self->c));
	fill_cache(_metadata, self->c);

	for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		if (!kernel_knows(self->c, kinds[kind].code))
			continue;
		good(&m, kinds[kind].code);
		CHECK(&m, 0, kinds[kind].names, "%s to other namespaces", kinds[kind].desc);
		m.header.len--;
		CHECK(&m, -EINVAL, 0, "bad %s to other namespaces", kinds[kind].desc);
	}

	kill(self->c->keeper, SIGKILL);
	EXPECT_EQ(self->c->keeper, waitpid(self->c->keeper, NULL, 0));
	self->c->keeper = 0;
	/* We still hold it. */
	inval_entry(&m, DIR_ID, 0, "file");
	CHECK(&m, 0, BIT(E_FILE), "the namespaces are gone");
	close(self->c->root);
	self->c->root = -1;
	if (!self->old)
		EXPECT_EQ(-EINVAL, result(write(self->c->fd, m.data, m.len), m.len));
	EXPECT_EQ(0, conn_stop(self->c));
	self->c = c;
}

/*
 * Other times.
 */

/* Writes a message that nothing is done about, and that is not looked at. */
static void refuse_all(struct __test_metadata *_metadata, int fd, int err, const char *when)
{
	unsigned int kind;
	struct msg m;

	for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		snprintf(watch.what, sizeof(watch.what), "%s %s", kinds[kind].desc, when);
		tick();
		good(&m, kinds[kind].code);
		EXPECT_EQ(err, result(write(fd, m.data, m.len), m.len)) {
			TH_LOG("%s", watch.what);
		}
	}
}

/* A device of which nothing is mounted is nobody's. */
TEST_F(notify, before_mount)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	ASSERT_LE(0, fd);
	refuse_all(_metadata, fd, -EPERM, "before the mount");
	close(fd);
}

/* Until INIT is answered, only that answer counts. */
TEST_F(notify, before_init)
{
	struct conn *c = conn_new(self->base, "early");
	unsigned int before;
	__u64 node;
	struct msg m;

	if (self->old)
		SKIP(return, "kernels before 7.2 take notifications before INIT");
	c->init = INIT_HOLD;
	ASSERT_EQ(0, conn_open(c));
	refuse_all(_metadata, c->fd, -EPERM, "before the mount");
	ASSERT_EQ(0, conn_mount(c));
	refuse_all(_metadata, c->fd, -EINVAL, "before INIT is read");
	ASSERT_EQ(0, conn_serve(c));
	refuse_all(_metadata, c->fd, -EINVAL, "before INIT is answered");
	refuse_all(_metadata, c->clone, -EINVAL, "before INIT is answered, from a clone");
	answer_init(c, INIT_ANSWER);

	/* As if nothing had been */
	EXPECT_EQ(-ENOENT, look_at(c, "none", &node));
	EXPECT_EQ(0, look_at(c, "file", &node));
	EXPECT_EQ(0, look_at(c, "file", &node));
	EXPECT_EQ(1, counts(c).lookup[E_TOP]);
	inval_entry(&m, ROOT, 0, "file");
	EXPECT_EQ(0, result(write(c->fd, m.data, m.len), m.len));
	before = counts(c).lookup[E_TOP];
	EXPECT_EQ(0, look_at(c, "file", &node));
	EXPECT_EQ(before + 1, counts(c).lookup[E_TOP]);
	fill_cache(_metadata, c);
	EXPECT_EQ(0, conn_stop(c));
}

/* A server that will not have the mount may still notify: there is nothing cached. */
TEST_F(notify, init_refused)
{
	static const enum init refused[] = { INIT_REFUSE, INIT_OTHER_MAJOR };
	unsigned int i;
	struct msg m;

	for (i = 0; i < ARRAY_SIZE(refused); i++) {
		struct conn *c = conn_new(self->base, "refused");
		__u64 node;

		tick();
		snprintf(watch.what, sizeof(watch.what), "INIT refused");
		c->init = refused[i];
		ASSERT_EQ(0, conn_start(c));
		EXPECT_EQ(-ECONNREFUSED, look_at(c, "file", &node));
		inval_entry(&m, ROOT, 0, "file");
		EXPECT_EQ(-ENOENT, result(write(c->fd, m.data, m.len), m.len));
		delete(&m, ROOT, TOP, "file");
		EXPECT_EQ(-ENOENT, result(write(c->fd, m.data, m.len), m.len));
		inval_inode(&m, TOP, 0, 0);
		EXPECT_EQ(-ENOENT, result(write(c->fd, m.data, m.len), m.len));
		m.header.len++;
		EXPECT_EQ(-EINVAL, result(write(c->fd, m.data, m.len), m.len));
		EXPECT_EQ(-ECONNREFUSED, look_at(c, "file", &node));
		EXPECT_EQ(0, conn_stop(c));
	}
}

/* The connection is aborted, the mount still there. */
TEST_F(notify, after_abort)
{
	struct conn *c = conn_new(self->base, "aborted");
	__u64 node;

	ASSERT_EQ(0, conn_start(c));
	fill_cache(_metadata, c);
	EXPECT_NE(0, umount2(c->dir, MNT_FORCE));
	EXPECT_EQ(EBUSY, errno);
	if (!self->old) {
		refuse_all(_metadata, c->fd, -EINVAL, "after the abort");
		refuse_all(_metadata, c->clone, -EINVAL, "after the abort, from a clone");
	}
	EXPECT_EQ(-ENOTCONN, look_at(c, "alive", &node));
	/* Names and attributes have not lost their validity. */
	EXPECT_EQ(0, look_at(c, "dir/file", &node));
	EXPECT_EQ(-ENOENT, look_at(c, "dir/none", &node));
	EXPECT_EQ(0, conn_stop(c));
}

/* An answer finds nobody who waits for it. */
TEST_F(notify, after_unmount)
{
	struct conn *c = conn_new(self->base, "unmounted");
	struct msg m;

	ASSERT_EQ(0, conn_start(c));
	fill_cache(_metadata, c);
	EXPECT_EQ(0, conn_unmount(c));
	if (!self->old) {
		refuse_all(_metadata, c->fd, -EINVAL, "after the unmount");
		refuse_all(_metadata, c->clone, -EINVAL, "after the unmount, from a clone");
	}
	start(&m, -EIO);
	m.header.unique = 2;
	EXPECT_EQ(-ENOENT, result(write(c->fd, m.data, m.len), m.len));
	m.header.error = 1;
	EXPECT_EQ(-EINVAL, result(write(c->fd, m.data, m.len), m.len));
	EXPECT_EQ(-EINVAL, result(write(c->fd, m.data, HEADER - 1), HEADER - 1));
	EXPECT_EQ(0, conn_stop(c));
}

/* Out of sight, but in use: it works until it is not. */
TEST_F(notify, lazy_unmount)
{
	struct conn *c = self->c;
	struct msg m;

	self->c = conn_new(self->base, "lazy");
	ASSERT_EQ(0, conn_start(self->c));
	fill_cache(_metadata, self->c);
	ASSERT_EQ(0, umount2(self->c->dir, MNT_DETACH));
	self->c->mounted = false;

	inval_entry(&m, DIR_ID, 0, "file");
	CHECK(&m, 0, BIT(E_FILE), "inval_entry after umount -l");
	delete(&m, ROOT, DIR_ID, "dir");
	CHECK(&m, 0, BIT(E_DIR) | IN_DIR, "delete after umount -l");
	CHECK(&m, 0, BIT(E_DIR) | IN_DIR, "and again");

	close(self->c->root);
	self->c->root = -1;
	if (!self->old)
		refuse_all(_metadata, self->c->fd, -EINVAL, "after the last use");
	EXPECT_EQ(0, conn_stop(self->c));
	self->c = c;
}

struct writer {
	int fd;
	const void *data;
	size_t len;
	int err;
};

static void *write_message(void *arg)
{
	struct writer *w = arg;

	w->err = result(write(w->fd, w->data, w->len), w->len);
	return NULL;
}

/*
 * What happens while the kernel reads the message: it lies across two pages, the second
 * is a page of a file of another FUSE mount, and its server answers when all is done.
 */
static int write_slowly(struct __test_metadata *_metadata, FIXTURE_DATA(notify) * self,
			struct conn *c, const struct msg *m, size_t cut, bool abort)
{
	struct conn *slow = conn_new(self->base, "slow");
	size_t page = page_size();
	struct writer w = { .fd = c->fd, .len = m->len };
	pthread_t thread;
	bool reads;
	int fd, err;
	char *map;

	EXPECT_EQ(0, conn_start(slow));
	memcpy(slow->tail, m->data + cut, m->len - cut);
	map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fd = openat(slow->root, "slow", O_RDONLY | O_CLOEXEC);
	EXPECT_EQ(map + page, mmap(map + page, page, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0));
	close(fd);
	memcpy(map + page - cut, m->data, cut);
	w.data = map + page - cut;

	EXPECT_EQ(0, pthread_create(&thread, NULL, write_message, &w));
	pthread_mutex_lock(&slow->lock);
	reads = wait_until(slow, slow->slow);
	pthread_mutex_unlock(&slow->lock);
	EXPECT_TRUE(reads);
	err = abort ? umount2(c->dir, MNT_FORCE) : conn_unmount(c);
	EXPECT_EQ(abort ? -1 : 0, err);
	answer_to(slow, slow->slow, 0, slow->tail, page);
	pthread_join(thread, NULL);
	munmap(map, 2 * page);
	EXPECT_EQ(0, conn_stop(slow));
	return w.err;
}

/* What the kernel has begun to read before is done, if there is something left. */
static const struct {
	int code;
	size_t cut;
	int unmounted, aborted;
} slow[] = {
	{ FUSE_NOTIFY_INVAL_ENTRY,	0,		-EINVAL,	-EINVAL },
	{ FUSE_NOTIFY_INVAL_ENTRY,	HEADER - 1,	-EINVAL,	-EINVAL },
	{ FUSE_NOTIFY_INVAL_ENTRY,	HEADER,		-ENOENT,	0 },
	{ FUSE_NOTIFY_INVAL_ENTRY,	HEADER + 8,	-ENOENT,	0 },
	{ FUSE_NOTIFY_INVAL_ENTRY,	HEADER + 16,	-ENOENT,	0 },
	{ FUSE_NOTIFY_INVAL_ENTRY,	HEADER + 20,	-ENOENT,	0 },
	{ FUSE_NOTIFY_DELETE,		HEADER,		-ENOENT,	0 },
	{ FUSE_NOTIFY_DELETE,		HEADER + 24,	-ENOENT,	0 },
	{ FUSE_NOTIFY_POLL,		HEADER,		0,		0 },
	{ FUSE_NOTIFY_INVAL_INODE,	HEADER,		-ENOENT,	0 },
	{ FUSE_NOTIFY_STORE,		HEADER,		-ENOENT,	0 },
	{ FUSE_NOTIFY_RETRIEVE,		HEADER,		-ENOENT,	-ENOTCONN },
	{ FUSE_NOTIFY_RESEND,		0,		-EINVAL,	-EINVAL },
	{ FUSE_NOTIFY_INC_EPOCH,	0,		-EINVAL,	-EINVAL },
	{ FUSE_NOTIFY_PRUNE,		HEADER,		0,		0 },
	{ FUSE_NOTIFY_PRUNE,		HEADER + 16,	0,		0 },
};

TEST_F(notify, during_unmount)
{
	unsigned int i, abort;
	struct msg m;

	for (i = 0; i < ARRAY_SIZE(slow); i++) {
		if (!kernel_knows(self->c, slow[i].code) || (self->old && slow[i].cut < HEADER))
			continue;
		for (abort = 0; abort < 2; abort++) {
			struct conn *c = conn_new(self->base, "going");
			int err;

			snprintf(watch.what, sizeof(watch.what), "code %d cut at %zu during %s",
				 slow[i].code, slow[i].cut, abort ? "abort" : "unmount");
			tick();
			ASSERT_EQ(0, conn_start(c));
			fill_cache(_metadata, c);
			good(&m, slow[i].code);
			err = write_slowly(_metadata, self, c, &m, slow[i].cut, abort);
			EXPECT_EQ(abort ? slow[i].aborted : slow[i].unmounted, err) {
				TH_LOG("%s", watch.what);
			}
			EXPECT_EQ(0, conn_stop(c));
		}
	}
}

struct hammer {
	int fd;
	unsigned int kind;
	bool unmounted;		/* ask first */
	unsigned int sent, wrong;
};

/* Writes until told that the mount is gone, and then once more. */
static void *write_often(void *arg)
{
	struct hammer *h = arg;
	struct msg m;
	bool last;

	do {
		int err;

		last = __atomic_load_n(&h->unmounted, __ATOMIC_ACQUIRE);
		good(&m, kinds[h->kind].code);
		err = result(write(h->fd, m.data, m.len), m.len);
		__atomic_fetch_add(&h->sent, 1, __ATOMIC_RELAXED);
		h->wrong += last ? err != -EINVAL : err && err != -ENOENT && err != -EINVAL &&
						    err != -ENOTCONN;
	} while (!last);
	return NULL;
}

/* Whenever the mount goes: done, or nothing to do, or not connected. */
TEST_F(notify, unmount_race)
{
	unsigned int i, kind;

	if (self->old)
		SKIP(return, "kernels before 7.2 take notifications after an abort");
	for (i = 0; i < 36; i++) {
		struct conn *c = conn_new(self->base, "race");
		struct hammer h[2] = {};
		pthread_t threads[2];
		__u64 node;
		bool unmounted;

		kind = i % ARRAY_SIZE(kinds);
		snprintf(watch.what, sizeof(watch.what), "unmount against %s", kinds[kind].desc);
		tick();
		ASSERT_EQ(0, conn_start(c));
		EXPECT_EQ(0, look_at(c, "dir/file", &node));
		h[0] = (struct hammer){ .fd = c->fd, .kind = kind };
		h[1] = (struct hammer){ .fd = c->clone };
		ASSERT_EQ(0, pthread_create(&threads[0], NULL, write_often, &h[0]));
		ASSERT_EQ(0, pthread_create(&threads[1], NULL, write_often, &h[1]));
		while (!__atomic_load_n(&h[0].sent, __ATOMIC_RELAXED) ||
		       !__atomic_load_n(&h[1].sent, __ATOMIC_RELAXED))
			sched_yield();
		unmounted = !conn_unmount(c);
		EXPECT_TRUE(unmounted) TH_LOG("%s", watch.what);
		__atomic_store_n(&h[0].unmounted, true, __ATOMIC_RELEASE);
		__atomic_store_n(&h[1].unmounted, true, __ATOMIC_RELEASE);
		pthread_join(threads[0], NULL);
		pthread_join(threads[1], NULL);
		EXPECT_EQ(0, h[0].wrong) TH_LOG("%s: of %u", watch.what, h[0].sent);
		EXPECT_EQ(0, h[1].wrong) TH_LOG("%s: of %u", watch.what, h[1].sent);
		EXPECT_EQ(0, conn_stop(c));
	}
}

/*
 * At random.
 */

struct rng {
	__u64 state;
};

static __u64 rnd(struct rng *r)
{
	__u64 z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static __u64 below(struct rng *r, __u64 n)
{
	return rnd(r) % n;
}

static bool one_in(struct rng *r, unsigned int n)
{
	return !below(r, n);
}

/* Numbers at some limit */
static __u64 odd_number(struct rng *r)
{
	static const __u64 numbers[] = {
		0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 24, 25, 32, 255, 256, 512, 513, 1023, 1024,
		1025, 4094, 4095, 4096, 4097, 65535, 65536, INT32_MAX - 1, INT32_MAX, 0x80000000,
		UINT32_MAX - 1, UINT32_MAX, BIT_ULL(32), BIT_ULL(32) + 4, INT64_MAX - 4096,
		INT64_MAX - 1, INT64_MAX, BIT_ULL(63), UINT64_MAX - 1, UINT64_MAX,
	};
	__u64 number = numbers[below(r, ARRAY_SIZE(numbers))];

	return one_in(r, 8) ? -number : number;
}

static __u64 some_node(struct rng *r)
{
	return one_in(r, 8) ? odd_number(r) : 1 + below(r, SLOW);
}

static void random_entry(struct rng *r, struct msg *m, bool is_delete)
{
	static const struct {
		const char *name;
		size_t len;
	} odd[] = {
		{ "", 0 }, { ".", 1 }, { "..", 2 }, { "/", 1 }, { "\0", 1 }, { "file\0", 5 },
		{ "file/", 5 }, { "dir/file", 8 }, { "fil", 3 }, { "filed", 5 },
		{ "none\0none", 9 },
		{ "nobody", 6 }, { "\xff\xff\xff\xff", 4 },
	};
	static const size_t lens[] = { 254, 255, 256, 1023, 1024, 1025, 4094, 4095, 4096, 4097 };
	const struct entry *e = &tree[below(r, ENTRIES)];
	__u64 parent = e->parent, child = e->node;
	const char *name = e->name;
	size_t len = strlen(name);
	char long_one[4100];

	if (one_in(r, 12)) {
		unsigned int i = below(r, ARRAY_SIZE(odd));

		name = odd[i].name;
		len = odd[i].len;
	} else if (one_in(r, 24)) {
		len = lens[below(r, ARRAY_SIZE(lens))];
		name = long_name(long_one, len);
	}
	if (one_in(r, 8))
		parent = some_node(r);
	if (one_in(r, 4))
		child = some_node(r);
	if (is_delete)
		delete_len(m, parent, child, name, len);
	else
		inval_entry_len(m, parent, one_in(r, 4) ? odd_number(r) : below(r, 2), name, len);
}

/* The answer to what waits, or to nothing */
static void random_reply(struct rng *r, struct msg *m, __u64 held)
{
	struct fuse_attr_out attr;

	fill_attr_out(&attr, HELD);
	start(m, one_in(r, 2) ? 0 : -(int)below(r, 520));
	m->header.unique = one_in(r, 4) ? odd_number(r) : held;
	if (one_in(r, 8))
		m->header.unique |= INT_REQ_BIT;
	if (!m->header.error || one_in(r, 4))
		add(m, &attr, sizeof(attr));
}

static void random_message(struct rng *r, struct msg *m, __u64 held)
{
	char data[600];
	__u64 nodes[12];
	unsigned int i;

	switch (below(r, 16)) {
	case 0 ... 4:
		random_entry(r, m, false);
		break;
	case 5 ... 7:
		random_entry(r, m, true);
		break;
	case 8:
		poll_wakeup(m, odd_number(r));
		break;
	case 9:
		inval_inode(m, some_node(r), odd_number(r), odd_number(r));
		break;
	case 10:
		memset(data, (int)rnd(r), sizeof(data));
		store(m, some_node(r), odd_number(r), data, below(r, sizeof(data)));
		break;
	case 11:
		retrieve(m, rnd(r), some_node(r), odd_number(r), odd_number(r));
		break;
	case 12:
		start(m, FUSE_NOTIFY_RESEND);
		break;
	case 13:
		start(m, FUSE_NOTIFY_INC_EPOCH);
		break;
	case 14:
		for (i = 0; i < ARRAY_SIZE(nodes); i++)
			nodes[i] = some_node(r);
		prune(m, nodes, below(r, ARRAY_SIZE(nodes) + 1));
		break;
	default:
		random_reply(r, m, held);
	}
}

/* The length that the message gives itself, and that of what is in it. */
static void set_lengths(struct msg *m, bool inner)
{
	struct fuse_notify_store_out *store = (void *)(m->data + HEADER);
	struct fuse_notify_prune_out *prune = (void *)(m->data + HEADER);
	size_t len = m->len - HEADER;

	if (m->len < HEADER)
		return;
	m->header.len = m->len;
	if (!inner)
		return;
	switch (m->header.error) {
	case FUSE_NOTIFY_INVAL_ENTRY:
		if (len > sizeof(struct fuse_notify_inval_entry_out))
			*namelen(m) = len - sizeof(struct fuse_notify_inval_entry_out) - 1;
		break;
	case FUSE_NOTIFY_DELETE:
		if (len > sizeof(struct fuse_notify_delete_out))
			*namelen(m) = len - sizeof(struct fuse_notify_delete_out) - 1;
		break;
	case FUSE_NOTIFY_STORE:
		if (len >= sizeof(*store))
			store->size = len - sizeof(*store);
		break;
	case FUSE_NOTIFY_PRUNE:
		if (len >= sizeof(*prune))
			prune->count = (len - sizeof(*prune)) / sizeof(__u64);
		break;
	}
}

static void mutate(struct rng *r, struct msg *m, __u64 held)
{
	size_t at = m->len ? below(r, m->len) : 0, to, len;
	struct msg other;
	__u64 number;
	char byte;

	/* Mostly where something is decided */
	if (m->len > HEADER && !one_in(r, 3))
		at = HEADER + below(r, m->len < HEADER + 32 ? m->len - HEADER : 32);

	switch (below(r, 14)) {
	case 0:
	case 1:
		m->data[at] ^= 1 << below(r, 8);
		break;
	case 2:
		m->data[at] = rnd(r);
		break;
	case 3:		/* swap two bytes */
		to = m->len ? below(r, m->len) : 0;
		byte = m->data[at];
		m->data[at] = m->data[to];
		m->data[to] = byte;
		break;
	case 4:		/* the other byte order, of 4 or 8 */
		len = one_in(r, 2) ? 4 : 8;
		at &= ~(len - 1);
		for (to = 0; to < len / 2 && at + len <= m->len; to++) {
			byte = m->data[at + to];
			m->data[at + to] = m->data[at + len - 1 - to];
			m->data[at + len - 1 - to] = byte;
		}
		break;
	case 5:
	case 6:
		number = odd_number(r);
		len = one_in(r, 2) ? 4 : 8;
		at &= ~(len - 1);
		if (at + len <= m->len)
			memcpy(m->data + at, &number, len);	/* LE: the low half */
		break;
	case 7:		/* a little more, or less */
		at &= ~3UL;
		m->data[at] += one_in(r, 2) ? 1 : -1;
		break;
	case 8:
		m->len = below(r, m->len + 1);
		break;
	case 9:
		len = one_in(r, 8) ? below(r, 4096) : below(r, 40);
		if (m->len + len > MSG_MAX)
			break;
		memset(m->data + m->len, one_in(r, 2) ? 0 : (int)rnd(r), len);
		m->len += len;
		break;
	case 10:	/* a byte too many */
		if (m->len + 1 > MSG_MAX)
			break;
		memmove(m->data + at + 1, m->data + at, m->len - at);
		m->len++;
		break;
	case 11:	/* or one too few */
		if (!m->len)
			break;
		memmove(m->data + at, m->data + at + 1, m->len - at - 1);
		m->len--;
		break;
	case 12:	/* the head of this and the tail of another, or both */
		random_message(r, &other, held);
		len = one_in(r, 3) ? m->len : at;
		to = one_in(r, 3) ? 0 : below(r, other.len);
		if (len + other.len - to > MSG_MAX)
			break;
		memcpy(m->data + len, other.data + to, other.len - to);
		m->len = len + other.len - to;
		break;
	case 13:	/* it is another one */
		m->header.error = one_in(r, 4) ? (int)odd_number(r) : (int)below(r, 12);
		break;
	}
}

/* Message @number of this @seed is always the same, but for what waits. */
static void fuzz(struct msg *m, struct how *how, __u64 seed, __u64 number, __u64 held)
{
	struct rng r = { .state = seed };
	unsigned int mutations;

	r.state = rnd(&r) + number * 0x2545f4914f6cdd1d;
	memset(m, 0, sizeof(*m));
	random_message(&r, m, held);
	for (mutations = below(&r, 5); mutations; mutations--)
		mutate(&r, m, held);
	/* Most are refused for their length: not always */
	if (!one_in(&r, 6))
		set_lengths(m, !one_in(&r, 3));

	memset(how, 0, sizeof(*how));
	how->by = one_in(&r, 3) ? (one_in(&r, 2) ? WRITEV : SPLICE) : WRITE;
	how->cut = m->len ? below(&r, m->len + 1) : 0;
	how->clone = one_in(&r, 6);
}

/* Sets a number, unless the environment says nothing of it. Returns whether it is one. */
static bool setting(const char *name, __u64 *number)
{
	const char *text = getenv(name);
	char *end;

	if (!text || !*text)
		return true;
	errno = 0;
	*number = strtoull(text, &end, 0);
	return !errno && !*end && !strchr(text, '-');
}

static void show(struct __test_metadata *_metadata, const struct msg *m, const struct how *how,
		 __u64 seed, __u64 number, const struct verdict *v)
{
	static const char * const by[] = { "write", "writev", "splice" };
	char line[3 * 32 + 1];
	size_t i, j;

	TH_LOG("seed %llu, message %llu, %zu bytes by %s%s, cut at %zu, expected %d:",
	       seed, number, m->len, by[how->by],
	       how->clone ? " to the clone" : "", how->cut, v->err);
	for (i = 0; i < m->len; i += 32) {
		for (j = i; j < m->len && j < i + 32; j++)
			sprintf(line + 3 * (j - i), "%02x ", (unsigned char)m->data[j]);
		TH_LOG("%04zx: %s", i, line);
	}
	TH_LOG("alone, and if it was one before it, one by one: ./notify_malformed_test -t random");
	TH_LOG("with FUSE_FUZZ_SEED=%llu FUSE_FUZZ_FIRST=%llu FUSE_FUZZ_COUNT=%u", seed,
	       number < UNSEEN ? 0 : number - UNSEEN, UNSEEN + 1);
}

/*
 * A second is enough for thousands.  No total limit, as the number is anyone's choice,
 * but each message has to be done within LIMIT.
 */
TEST_F_TIMEOUT(notify, random, 24 * 3600)
{
	static const int errors[] = { 0, -EINVAL, -ENOENT, -ENOTDIR, -ENAMETOOLONG };
	__u64 seed = 1, first = 0, count = 20000, i;
	unsigned int tally[ARRAY_SIZE(errors)] = {}, done[16] = {}, answered = 0, j;
	struct verdict v;
	char what[80];
	struct how how;
	struct msg m;

	ASSERT_TRUE(setting("FUSE_FUZZ_SEED", &seed));
	ASSERT_TRUE(setting("FUSE_FUZZ_FIRST", &first));
	ASSERT_TRUE(setting("FUSE_FUZZ_COUNT", &count) && count);
	TH_LOG("seed %llu, %llu messages from %llu on", seed,
	       count, first);
	self->look_each = count <= UNSEEN + 1;
	start_waiting(_metadata, self);
	for (i = first; i < first + count; i++) {
		bool right;

		fuzz(&m, &how, seed, i, self->c->held);
		snprintf(what, sizeof(what), "seed %llu, message %llu", seed,
			 i);
		right = check_message(_metadata, self, &m, &how, &v, what);
		if (right && (i % 64 == 63 || i == first + count - 1))
			right = check_alive(_metadata, self, what);
		if (!right)
			show(_metadata, &m, &how, seed, i, &v);
		ASSERT_TRUE(right);

		for (j = 0; j < ARRAY_SIZE(errors); j++)
			tally[j] += v.err == errors[j];
		answered += v.answered;
		if (!v.err && !m.header.unique)
			done[m.header.error]++;
	}

	TH_LOG("%u done, %u EINVAL, %u ENOENT, %u ENOTDIR, %u ENAMETOOLONG; %u were answers",
	       tally[0], tally[1], tally[2], tally[3], tally[4], answered);
	for (j = 0; j < ARRAY_SIZE(kinds); j++)
		TH_LOG("%s: %u done", kinds[j].desc, done[kinds[j].code]);
	/* So many that there is some of everything */
	if (count < 10000)
		return;
	for (j = 0; j < ARRAY_SIZE(errors); j++)
		EXPECT_LT(0, tally[j]) TH_LOG("error %d never came", errors[j]);
	for (j = 0; j < ARRAY_SIZE(kinds); j++) {
		if (kernel_knows(self->c, kinds[j].code))
			EXPECT_LT(0, done[kinds[j].code]) TH_LOG("no %s", kinds[j].desc);
	}
	EXPECT_LT(0, answered);
}

TEST_HARNESS_MAIN
