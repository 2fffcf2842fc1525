// SPDX-License-Identifier: GPL-2.0
/*
 * When the kernel accepts FUSE notifications, and from whom: before INIT is
 * answered, during and after an unmount, from other namespaces. Then replies
 * that are written by hand, and the notifications that are about requests, poll
 * and resend.
 */
#define _GNU_SOURCE
#include "fuse_test_server.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define BIT(n)		(1ULL << (n))
#define INTERRUPT	1ULL	/* this bit in unique: the answer to an INTERRUPT */
#define FILE_ID		2

/* One of each kind. */
static const struct message {
	int code;
	size_t size;
	union {
		struct fuse_notify_poll_wakeup_out poll;
		struct fuse_notify_inval_inode_out inode;
		struct {
			struct fuse_notify_inval_entry_out out;
			char name[5];
		} entry;
		struct {
			struct fuse_notify_delete_out out;
			char name[5];
		} delete;
		struct {
			struct fuse_notify_store_out out;
			char data[4];
		} store;
		struct fuse_notify_retrieve_out retrieve;
		struct {
			struct fuse_notify_prune_out out;
			__u64 node;
		} prune;
	};
} messages[] = {
	{ FUSE_NOTIFY_INVAL_ENTRY, sizeof(struct fuse_notify_inval_entry_out) + 5,
	  .entry = { { .parent = ROOT, .namelen = 4 }, "file" } },
	{ FUSE_NOTIFY_DELETE, sizeof(struct fuse_notify_delete_out) + 5,
	  .delete = { { .parent = ROOT, .child = FILE_ID, .namelen = 4 }, "file" } },
	{ FUSE_NOTIFY_POLL, sizeof(struct fuse_notify_poll_wakeup_out) },
	{ FUSE_NOTIFY_INVAL_INODE, sizeof(struct fuse_notify_inval_inode_out),
	  .inode = { .ino = FILE_ID } },
	{ FUSE_NOTIFY_STORE, sizeof(struct fuse_notify_store_out) + 4,
	  .store = { { .nodeid = FILE_ID, .size = 4 }, "abcd" } },
	{ FUSE_NOTIFY_RETRIEVE, sizeof(struct fuse_notify_retrieve_out),
	  .retrieve = { .nodeid = FILE_ID, .size = 4 } },
	{ FUSE_NOTIFY_RESEND },
	{ FUSE_NOTIFY_INC_EPOCH },
	{ FUSE_NOTIFY_PRUNE, sizeof(struct fuse_notify_prune_out) + 8,
	  .prune = { { .count = 1 }, FILE_ID } },
};

static int put(int fd, int error, __u64 unique, const void *data, size_t len)
{
	struct fuse_out_header out = {
		.len = sizeof(out) + len,
		.error = error,
		.unique = unique,
	};
	struct iovec iov[] = { { &out, sizeof(out) }, { (void *)data, len } };

	alarm(LIMIT);
	return writev(fd, iov, 2) < 0 ? -errno : 0;
}

static int put_message(int fd, const struct message *m)
{
	return put(fd, m->code, 0, &m->poll, m->size);
}

static void put_all(struct __test_metadata *_metadata, int fd, int err)
{
	const struct message *m;

	for (m = messages; m < messages + ARRAY_SIZE(messages); m++) {
		if (!err)
			look("file");
		EXPECT_EQ(err, put_message(fd, m))
			TH_LOG("code %d", m->code);
	}
}

/* A message is accepted, and does what it should. */
static void expect_heard(struct __test_metadata *_metadata, int fd, const char *path)
{
	EXPECT_EQ(0, look(path));
	EXPECT_EQ(0, asks_for(FUSE_LOOKUP, path));
	EXPECT_EQ(0, put_message(fd, messages));
	EXPECT_EQ(1, asks_for(FUSE_LOOKUP, path));
}

/* The mount is there, but no server yet. */
FIXTURE(start) {
	int fd;
};

FIXTURE_SETUP(start)
{
	const char *problem = new_namespaces() ?: server_mount();

	if (problem)
		SKIP(return, "%s: %s", problem, strerror(errno));
	ASSERT_EQ(FILE_ID, server_add("file", S_IFREG));
	self->fd = fuse_session_fd(srv.se);
}

FIXTURE_TEARDOWN(start)
{
	server_end(_metadata);
}

/* Until INIT is answered, the kernel accepts only that answer. */
TEST_F(start, init_waits)
{
	int other = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	put_all(_metadata, other, -EPERM);	/* not mounted */
	close(other);
	put_all(_metadata, self->fd, -EINVAL);
	srv.stop = FUSE_INIT;
	server_run(_metadata);
	EXPECT_TRUE(server_wait(&srv.stopped));
	put_all(_metadata, self->fd, -EINVAL);
	sem_post(&srv.go);
	/* The messages before that have done nothing. */
	expect_heard(_metadata, self->fd, MNT "/file");
}

/* A server that refuses the mount may still notify: there is nothing cached. */
TEST_F(start, init_refused)
{
	srv.swallow = FUSE_INIT;
	server_run(_metadata);
	EXPECT_EQ(0, put(self->fd, -EPROTO, server_swallowed(_metadata)->unique, NULL, 0));
	EXPECT_EQ(-ECONNREFUSED, look(MNT "/file"));
	EXPECT_EQ(-ENOENT, put_message(self->fd, &messages[0]));
	EXPECT_EQ(-ENOENT, put_message(self->fd, &messages[1]));
	EXPECT_EQ(-EINVAL, put(self->fd, FUSE_NOTIFY_DELETE, 0, "", 1));
	EXPECT_EQ(-ECONNREFUSED, look(MNT "/file"));
}

struct writer {
	pthread_t thread;
	const struct message *message;
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
		err = put_message(fd, w->message);
		w->sent++;
		w->wrong += last ? err != -EINVAL : err && err != -ENOENT && err != -EINVAL &&
						    err != -ENOTCONN;
	} while (!last);
	return NULL;
}

/* During an unmount, a notification is done, has nothing to do, or is not connected. */
TEST_F(start, unmount_race)
{
	int again, i;

	for (again = 0; again < 4 * ARRAY_SIZE(messages); again++) {
		struct writer w[] = {
			{ .message = messages + again / 4 }, { .message = messages },
		};

		server_run(_metadata);
		EXPECT_EQ(0, look(MNT "/file"));
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
				TH_LOG("code %d: of %d", w[i].message->code, w[i].sent);
		}
		server_end(_metadata);
		ASSERT_EQ(NULL, server_mount());
	}
	server_run(_metadata);
}

static int reads[2], go[2];	/* pipes */

static void hold_read(void)
{
	char byte = 0;

	if (write(reads[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1)
		abort();
}

/*
 * Write a message of which the bytes from @cut on are in a file that has to be READ first,
 * from another mount: the server of that one holds the READ. Runs in a process of its own.
 */
static void write_slowly(struct __test_metadata *_metadata, int fd, const struct message *m,
			 size_t cut)
{
	struct fuse_out_header out = { .len = sizeof(out) + m->size, .error = m->code };
	struct iovec iov[] = {
		{ &out, sizeof(out) }, { (void *)&m->poll, cut }, { NULL, m->size - cut },
	};
	int file;

	if (unshare(CLONE_NEWNS) || umount2(MNT, MNT_DETACH) || new_namespaces() || server_mount())
		_exit(255);
	memcpy(srv.content, (char *)&m->poll + cut, m->size - cut);
	srv.stop = FUSE_READ;
	srv.at_stop = hold_read;
	server_run(_metadata);
	file = open(MNT "/file", O_RDONLY | O_CLOEXEC);
	iov[2].iov_base = mmap(NULL, FILE_SIZE, PROT_READ, MAP_SHARED, file, 0);
	close(file);	/* while there is a server to flush it */
	_exit(writev(fd, iov, 3) < 0 ? errno : 0);
}

/* While the kernel waits for the memory in which a message is, the mount can go. */
TEST_F(start, unmount_while_read)
{
	static const struct {
		int message;
		size_t cut;
	} slow[] = {
		{ 0 }, { 0, sizeof(struct fuse_notify_inval_entry_out) },
		{ 1 }, { 1, sizeof(struct fuse_notify_delete_out) },
		{ 2 }, { 3 }, { 4 }, { 5 },
		{ 8 }, { 8, sizeof(struct fuse_notify_prune_out) },
	};
	int i, status;
	char byte = 0;
	pid_t pid;

	ASSERT_EQ(0, pipe2(reads, O_CLOEXEC));
	ASSERT_EQ(0, pipe2(go, O_CLOEXEC));
	server_run(_metadata);
	for (i = 0; i < ARRAY_SIZE(slow); i++) {
		EXPECT_EQ(0, look(MNT "/file"));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			write_slowly(_metadata, fuse_session_fd(srv.se),
				     &messages[slow[i].message], slow[i].cut);
		EXPECT_EQ(1, read(reads[0], &byte, 1));
		alarm(LIMIT);
		EXPECT_EQ(0, umount2(MNT, 0));
		srv.mounted = false;
		EXPECT_EQ(1, write(go[1], &byte, 1));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(WIFEXITED(status) && (!status || WEXITSTATUS(status) == ENOENT))
			TH_LOG("message %d, cut at %zu: status %#x", slow[i].message, slow[i].cut,
			       status);
		server_end(_metadata);
		ASSERT_EQ(NULL, server_mount());
		server_run(_metadata);
	}
}

/* The server runs, and "file" is cached. */
FIXTURE(running) {
	int fd, clone;		/* two devices of the connection */
};

FIXTURE_SETUP(running)
{
	const char *problem = new_namespaces() ?: server_mount();
	__u32 fd;

	if (problem)
		SKIP(return, "%s: %s", problem, strerror(errno));
	ASSERT_EQ(FILE_ID, server_add("file", S_IFREG));
	server_run(_metadata);
	fd = fuse_session_fd(srv.se);
	self->fd = fd;
	self->clone = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	ASSERT_EQ(0, ioctl(self->clone, FUSE_DEV_IOC_CLONE, &fd));
	ASSERT_EQ(0, chdir(MNT));
	EXPECT_EQ(0, look("file"));
}

FIXTURE_TEARDOWN(running)
{
	close(self->clone);
	server_end(_metadata);
}

/* If one device is closed, the other goes on. */
TEST_F(running, clone_closed)
{
	put_all(_metadata, self->clone, 0);
	close(self->clone);
	expect_heard(_metadata, self->fd, "file");
}

/* Who has the device may write from another namespace than that of the mount. */
TEST_F(running, other_namespaces)
{
	const struct message *m;
	int status;
	pid_t pid;

	for (m = messages; m < messages + ARRAY_SIZE(messages); m++) {
		EXPECT_EQ(0, look("file"));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
				_exit(255);
			_exit(-put_message(self->fd, m));
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		if (WIFEXITED(status) && WEXITSTATUS(status) == 255)
			SKIP(return, "no user namespaces here");
		EXPECT_EQ(0, status)
			TH_LOG("code %d", m->code);
	}
}

TEST_F(running, aborted)
{
	EXPECT_EQ(-1, umount2(MNT, MNT_FORCE));
	EXPECT_EQ(EBUSY, errno);
	put_all(_metadata, self->fd, -EINVAL);
	put_all(_metadata, self->clone, -EINVAL);
	/* What is cached has not lost its validity. */
	EXPECT_EQ(0, look("file"));
	EXPECT_EQ(-ENOTCONN, look("never"));
}

/* After a lazy unmount, notifications work until the mount is not in use any more. */
TEST_F(running, unmounted)
{
	EXPECT_EQ(0, umount2(MNT, MNT_DETACH));
	srv.mounted = false;
	expect_heard(_metadata, self->fd, "file");
	put_all(_metadata, self->fd, 0);
	EXPECT_EQ(0, chdir("/"));
	put_all(_metadata, self->fd, -EINVAL);
	put_all(_metadata, self->clone, -EINVAL);
	EXPECT_EQ(-ENOENT, put(self->fd, -EIO, 2, NULL, 0));
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

/* A reply, what its write() returns, and what the caller gets; 1: it waits. */
static const struct answer {
	int error;
	__u64 unique;	/* differs in these bits */
	size_t len;
	int err, gets;
} answers[] = {
	{ 1,		0,		0,		-EINVAL, 1 },
	{ -512,		0,		0,		-EINVAL, 1 },
	{ -EIO,		2,		0,		-ENOENT, 1 },
	{ -EIO,		BIT(32),	0,		-ENOENT, 1 },
	{ -EIO,		BIT(63),	0,		-ENOENT, 1 },
	/* Replies to an INTERRUPT that was not sent. */
	{ -EIO,		INTERRUPT,	0,		0, 1 },
	{ -EIO,		INTERRUPT,	1,		-EINVAL, 1 },
	{ -EAGAIN,	INTERRUPT,	0,		-EINVAL, 1 },
	/* A malformed reply ends the request, too. */
	{ -EACCES,	0,		0,		0, -EACCES },
	{ -511,		0,		0,		0, -511 },
	{ -EACCES,	0,		1,		-EINVAL, -EIO },
	{ 0,		0,		0,		-EINVAL, -EIO },
	{ 0,	0, sizeof(struct fuse_attr_out) - 1,	-EINVAL, -EIO },
	{ 0,	0, sizeof(struct fuse_attr_out) + 1,	-EINVAL, -EIO },
	{ 0,	0, sizeof(struct fuse_attr_out),	0, 0 },
};

TEST_F(running, answers)
{
	static const struct fuse_attr_out attr[2] = {
		{ .attr = { .ino = ROOT, .mode = S_IFDIR | 0755, .nlink = 2 } },
	};
	const struct answer *a;
	__u64 unique = 0;
	pthread_t thread;
	int got;

	for (a = answers; a < answers + ARRAY_SIZE(answers); a++) {
		if (!unique) {
			srv.swallow = FUSE_GETATTR;
			ASSERT_EQ(0, pthread_create(&thread, NULL, force_getattr, &got));
			unique = server_swallowed(_metadata)->unique;
		}
		/* What one device has read, another cannot answer. */
		if (a->gets <= 0)
			EXPECT_EQ(-ENOENT, put(self->clone, a->error, unique, attr, a->len));
		EXPECT_EQ(a->err, put(self->fd, a->error, unique ^ a->unique, attr, a->len))
			TH_LOG("answer %zd", a - answers);
		if (a->gets > 0)
			continue;
		pthread_join(thread, NULL);
		EXPECT_EQ(a->gets, got)
			TH_LOG("answer %zd", a - answers);
		unique = 0;
	}
}

/* What waits is sent again, each time, and can then be answered. */
TEST_F(running, resend)
{
	pthread_t thread;
	__u64 unique;
	int i, got;

	srv.swallow = FUSE_GETATTR;
	ASSERT_EQ(0, pthread_create(&thread, NULL, force_getattr, &got));
	unique = server_swallowed(_metadata)->unique;
	for (i = 0; i < 3; i++) {
		srv.swallow = FUSE_GETATTR;
		EXPECT_EQ(0, put(i & 1 ? self->clone : self->fd, FUSE_NOTIFY_RESEND, 0, NULL, 0));
		EXPECT_EQ(unique | FUSE_UNIQUE_RESEND, server_swallowed(_metadata)->unique);
	}
	EXPECT_EQ(-ENOENT, put(self->fd, -EACCES, unique, NULL, 0));
	EXPECT_EQ(0, put(self->fd, -EACCES, unique | FUSE_UNIQUE_RESEND, NULL, 0));
	pthread_join(thread, NULL);
	EXPECT_EQ(-EACCES, got);
}

static void *poll_file(void *arg)
{
	struct pollfd *file = arg;

	if (poll(file, 1, -1) < 0)
		file->revents = 0;
	return NULL;
}

/* Only the handle of the poller wakes it, and then it sends POLL again. */
TEST_F(running, poll)
{
	static const __u64 wrong[] = { 1, BIT(32), BIT(63), UINT64_MAX };
	struct pollfd file = { .fd = open("file", O_RDONLY | O_CLOEXEC), .events = POLLIN };
	struct fuse_poll_out nothing = {}, ready = { .revents = POLLIN };
	const struct fuse_in_header *in;
	pthread_t thread;
	__u64 handle, other;
	size_t i;

	srv.swallow = FUSE_POLL;
	ASSERT_EQ(0, pthread_create(&thread, NULL, poll_file, &file));
	in = server_swallowed(_metadata);
	handle = ((struct fuse_poll_in *)(in + 1))->kh;
	EXPECT_EQ(0, put(self->fd, 0, in->unique, &nothing, sizeof(nothing)));

	srv.swallow = FUSE_POLL;
	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		other = handle ^ wrong[i];
		EXPECT_EQ(0, put(self->fd, FUSE_NOTIFY_POLL, 0, &other, sizeof(other)));
		/* If the poller was woken, its POLL comes before this LOOKUP is answered. */
		EXPECT_EQ(-ENOENT, look("never"));
	}
	EXPECT_EQ(1, server_requests(FUSE_POLL));
	EXPECT_EQ(0, put(self->fd, FUSE_NOTIFY_POLL, 0, &handle, sizeof(handle)));
	in = server_swallowed(_metadata);
	EXPECT_EQ(0, put(self->fd, 0, in->unique, &ready, sizeof(ready)));
	pthread_join(thread, NULL);
	EXPECT_EQ(POLLIN, file.revents);
	close(file.fd);
}

TEST_HARNESS_MAIN
