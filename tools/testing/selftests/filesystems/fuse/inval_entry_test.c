// SPDX-License-Identifier: GPL-2.0
/*
 * A server tells the kernel that a name it may have cached is stale:
 * FUSE_NOTIFY_INVAL_ENTRY and FUSE_NOTIFY_DELETE, with libfuse.
 *
 * Each test fills the cache through system calls, notifies, and looks again. It
 * is the story that the KUnit case of the same name tells, which is in
 * fs/fuse/tests/inval_entry_kunit.c or inval_table_kunit.c; there the kernel's
 * cache is seen from within, here by what a user and a server see of it.
 *
 * Every test runs twice. "thread": a thread of the server notifies while another
 * one answers requests. "handler": the server has one thread, which notifies from
 * inside the handler of a request that has nothing to do with the name, so that
 * whatever the notification wants to know from the server, it never will.
 *
 * After every test the names that it did not touch must still be cached, no
 * notification may have sent a request, and the mount must go. A notification
 * that does not return is a failure as well: the connection is aborted then.
 *
 * Runs as root, or as any user in a user namespace who may open /dev/fuse. All
 * that it mounts is in a mount namespace of its own.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <linux/fuse.h>

#define FUSE_USE_VERSION 31
#include <fuse_lowlevel.h>

#include "kselftest_harness.h"

#define MNT		"/tmp/mnt"
#define ROOT		FUSE_ROOT_ID
#define NODES		64
#define OPCODES		64
#define FDS		16
#define NOTIFY_LIMIT	5	/* seconds for what takes microseconds */
#define TEST_LIMIT	15
#define TIMEOUT		1000
#define CONTENT		"content"

enum what { INVAL, EXPIRE, DELETE };

static const char * const whats[] = { "inval", "expire", "delete" };

/* A notification, and what came of it. */
struct notification {
	enum what what;
	fuse_ino_t dir, child;
	const char *name;
	int answer;
	int asked;		/* requests that came in the meantime */
};

struct name {
	fuse_ino_t dir, ino;	/* ino is 0 if this one is free */
	char name[NAME_MAX + 1];
};

/*
 * The server: a tree of names in memory, with nodes that are never reused. What
 * the test changes in it, the kernel is not told.
 */
static struct {
	struct fuse_session *se;
	pthread_t thread;
	bool by_handler;
	double timeout;

	pthread_mutex_t lock;	/* all below */
	struct name names[NODES];
	mode_t modes[NODES];
	fuse_ino_t last;
	int requests[OPCODES], asked;
	unsigned int stop;

	struct notification note;
	sem_t stopped, go;
} srv = {
	.timeout = TIMEOUT,
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.modes[ROOT] = S_IFDIR | 0755,
	.last = ROOT,
};

/* The mount, and what the test uses of it. */
static struct {
	struct __test_metadata *metadata;
	char buf[PATH_MAX];
	pthread_t watchdog;
	sem_t hung;
	int root;
	int fds[FDS];
	int nr_fds;
} fx;

static int expire_entry(struct fuse_session *se, fuse_ino_t dir, const char *name)
{
#if FUSE_MINOR_VERSION < 15
	return fuse_lowlevel_notify_expire_entry(se, dir, name, strlen(name),
						 FUSE_LL_EXPIRE_ONLY);
#else
	return fuse_lowlevel_notify_expire_entry(se, dir, name, strlen(name));
#endif
}

static int server_asked(void)
{
	int asked;

	pthread_mutex_lock(&srv.lock);
	asked = srv.asked;
	pthread_mutex_unlock(&srv.lock);
	return asked;
}

static int server_requests(unsigned int opcode)
{
	int requests;

	pthread_mutex_lock(&srv.lock);
	requests = srv.requests[opcode];
	pthread_mutex_unlock(&srv.lock);
	return requests;
}

static void server_notify(struct notification *n)
{
	int asked = server_asked();
	size_t len = strlen(n->name);

	switch (n->what) {
	case INVAL:
		n->answer = fuse_lowlevel_notify_inval_entry(srv.se, n->dir, n->name, len);
		break;
	case EXPIRE:
		n->answer = expire_entry(srv.se, n->dir, n->name);
		break;
	case DELETE:
		n->answer = fuse_lowlevel_notify_delete(srv.se, n->dir, n->child,
							n->name, len);
		break;
	}
	n->asked = server_asked() - asked;
}

static bool wait_for(sem_t *sem)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += NOTIFY_LIMIT + 2;
	while (sem_timedwait(sem, &until)) {
		if (errno != EINTR)
			return false;
	}
	return true;
}

/* Stop in front of the next request of this kind, or notify there if that is the variant. */
static void server_stop_at(unsigned int opcode)
{
	pthread_mutex_lock(&srv.lock);
	srv.stop = opcode;
	pthread_mutex_unlock(&srv.lock);
}

/* A request is here and has not been handled yet. */
static void server_arrived(const struct fuse_in_header *in)
{
	bool stop;

	/* Nobody waits for these, so they come when they like. */
	if (in->opcode == FUSE_FORGET || in->opcode == FUSE_BATCH_FORGET ||
	    in->opcode == FUSE_RELEASE || in->opcode == FUSE_RELEASEDIR)
		return;

	pthread_mutex_lock(&srv.lock);
	srv.asked++;
	if (in->opcode < OPCODES)
		srv.requests[in->opcode]++;
	stop = srv.stop == in->opcode;
	if (stop)
		srv.stop = 0;
	pthread_mutex_unlock(&srv.lock);
	if (!stop)
		return;
	if (srv.by_handler)
		server_notify(&srv.note);
	sem_post(&srv.stopped);
	if (!srv.by_handler)
		wait_for(&srv.go);
}

static void *server_loop(void *arg)
{
	struct fuse_buf buf = {};
	int ret;

	while (!fuse_session_exited(srv.se)) {
		ret = fuse_session_receive_buf(srv.se, &buf);
		if (ret == -EINTR)
			continue;
		if (ret <= 0)
			break;
		server_arrived(buf.mem);
		fuse_session_process_buf(srv.se, &buf);
	}
	free(buf.mem);
	return NULL;
}

static struct name *server_find(fuse_ino_t dir, const char *name, size_t len)
{
	struct name *n;

	for (n = srv.names; n < srv.names + NODES; n++) {
		if (n->ino && n->dir == dir && strlen(n->name) == len &&
		    !memcmp(n->name, name, len))
			return n;
	}
	return NULL;
}

/* The directory that @path is in; @last is what follows the last slash. */
static fuse_ino_t server_walk(const char *path, const char **last)
{
	fuse_ino_t dir = ROOT;
	const char *slash;
	struct name *n;

	while ((slash = strchr(path, '/'))) {
		n = server_find(dir, path, slash - path);
		dir = n ? n->ino : 0;
		path = slash + 1;
	}
	*last = path;
	return dir;
}

static void server_name(fuse_ino_t dir, const char *name, fuse_ino_t ino)
{
	struct name *n = srv.names;

	while (n->ino)
		n++;
	n->dir = dir;
	n->ino = ino;
	snprintf(n->name, sizeof(n->name), "%s", name);
}

static fuse_ino_t server_make(fuse_ino_t dir, const char *name, mode_t mode)
{
	srv.modes[++srv.last] = mode;
	server_name(dir, name, srv.last);
	return srv.last;
}

static fuse_ino_t server_add(const char *path, mode_t type)
{
	fuse_ino_t dir, ino;
	const char *name;

	pthread_mutex_lock(&srv.lock);
	dir = server_walk(path, &name);
	ino = server_make(dir, name, type | (type == S_IFDIR ? 0755 : 0644));
	pthread_mutex_unlock(&srv.lock);
	return ino;
}

static void server_link(const char *old, const char *new)
{
	const char *name;
	fuse_ino_t dir;
	struct name *n;

	pthread_mutex_lock(&srv.lock);
	dir = server_walk(old, &name);
	n = server_find(dir, name, strlen(name));
	dir = server_walk(new, &name);
	server_name(dir, name, n->ino);
	pthread_mutex_unlock(&srv.lock);
}

static void server_remove(const char *path)
{
	const char *name;
	fuse_ino_t dir;

	pthread_mutex_lock(&srv.lock);
	dir = server_walk(path, &name);
	server_find(dir, name, strlen(name))->ino = 0;
	pthread_mutex_unlock(&srv.lock);
}

static struct stat server_stat(fuse_ino_t ino)
{
	struct stat st = { .st_ino = ino, .st_mode = srv.modes[ino] };
	struct name *n;

	for (n = srv.names; n < srv.names + NODES; n++)
		st.st_nlink += n->ino == ino;
	if (S_ISDIR(st.st_mode))
		st.st_nlink++;
	else
		st.st_size = strlen(CONTENT);
	return st;
}

static struct fuse_entry_param server_entry(fuse_ino_t ino)
{
	struct fuse_entry_param entry = {
		.ino = ino,
		.attr_timeout = srv.timeout,
		.entry_timeout = srv.timeout,
	};

	if (ino)
		entry.attr = server_stat(ino);
	return entry;
}

static void fs_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct fuse_entry_param entry;
	struct name *n;

	pthread_mutex_lock(&srv.lock);
	n = server_find(dir, name, strlen(name));
	entry = server_entry(n ? n->ino : 0);
	pthread_mutex_unlock(&srv.lock);
	fuse_reply_entry(req, &entry);
}

static void fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	pthread_mutex_lock(&srv.lock);
	st = server_stat(ino);
	pthread_mutex_unlock(&srv.lock);
	fuse_reply_attr(req, &st, srv.timeout);
}

static void fs_make(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode)
{
	struct fuse_entry_param entry;

	pthread_mutex_lock(&srv.lock);
	entry = server_entry(server_make(dir, name, mode));
	pthread_mutex_unlock(&srv.lock);
	fuse_reply_entry(req, &entry);
}

static void fs_mknod(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t dev)
{
	fs_make(req, dir, name, mode);
}

static void fs_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode)
{
	fs_make(req, dir, name, S_IFDIR | mode);
}

static void fs_remove(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct name *n;

	pthread_mutex_lock(&srv.lock);
	n = server_find(dir, name, strlen(name));
	if (n)
		n->ino = 0;
	pthread_mutex_unlock(&srv.lock);
	fuse_reply_err(req, n ? 0 : ENOENT);
}

static void fs_rename(fuse_req_t req, fuse_ino_t dir, const char *name,
		      fuse_ino_t newdir, const char *newname, unsigned int flags)
{
	struct name *old, *new;
	fuse_ino_t ino;

	pthread_mutex_lock(&srv.lock);
	old = server_find(dir, name, strlen(name));
	new = server_find(newdir, newname, strlen(newname));
	if (old && new) {
		ino = new->ino;
		new->ino = old->ino;
		old->ino = flags & RENAME_EXCHANGE ? ino : 0;
	} else if (old) {
		server_name(newdir, newname, old->ino);
		old->ino = 0;
	}
	pthread_mutex_unlock(&srv.lock);
	fuse_reply_err(req, old ? 0 : ENOENT);
}

static void fs_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		    struct fuse_file_info *fi)
{
	fuse_reply_buf(req, CONTENT, offset ? 0 : strlen(CONTENT));
}

/* Nothing but a reason to have a request. */
static void fs_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	fuse_reply_err(req, ENODATA);
}

static void fs_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		       struct fuse_file_info *fi)
{
	size_t used = 0, len;
	char buf[8192];
	struct stat st;
	off_t i;

	if (size > sizeof(buf))
		size = sizeof(buf);
	pthread_mutex_lock(&srv.lock);
	for (i = offset; i < NODES; i++) {
		if (!srv.names[i].ino || srv.names[i].dir != ino)
			continue;
		st = server_stat(srv.names[i].ino);
		len = fuse_add_direntry(req, buf + used, size - used, srv.names[i].name,
					&st, i + 1);
		if (used + len > size)
			break;
		used += len;
	}
	pthread_mutex_unlock(&srv.lock);
	fuse_reply_buf(req, buf, used);
}

static const struct fuse_lowlevel_ops fs_ops = {
	.lookup		= fs_lookup,
	.getattr	= fs_getattr,
	.mknod		= fs_mknod,
	.mkdir		= fs_mkdir,
	.unlink		= fs_remove,
	.rmdir		= fs_remove,
	.rename		= fs_rename,
	.read		= fs_read,
	.readdir	= fs_readdir,
	.getxattr	= fs_getxattr,
};

/*
 * A task that waits for another one inside the kernel cannot be killed, but when the
 * connection is aborted all of them come loose.
 */
static void *watchdog(void *arg)
{
	sigset_t alarms;
	int sig;

	sigemptyset(&alarms);
	sigaddset(&alarms, SIGALRM);
	sigwait(&alarms, &sig);
	sem_post(&fx.hung);
	umount2(MNT, MNT_FORCE | MNT_DETACH);
	return NULL;
}

static bool hung(void)
{
	int value;

	sem_getvalue(&fx.hung, &value);
	return value;
}

static bool write_file(const char *path, const char *fmt, unsigned int id)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return false;
	ok = dprintf(fd, fmt, id) > 0;
	return !close(fd) && ok;
}

/*
 * Enter namespaces in which we may mount, and have a directory there that nobody else
 * sees. Returns what is in the way, or NULL.
 */
static const char *new_namespaces(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (unshare(uid ? CLONE_NEWUSER | CLONE_NEWNS : CLONE_NEWNS))
		return "unshare()";
	if (uid && (!write_file("/proc/self/uid_map", "0 %u 1", uid) ||
		    !write_file("/proc/self/setgroups", "deny", 0) ||
		    !write_file("/proc/self/gid_map", "0 %u 1", gid)))
		return "the maps of the user namespace";
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return "making the mounts private (/ has to be a mount point)";
	if (mount("none", "/tmp", "tmpfs", 0, NULL) || mkdir(MNT, 0700))
		return "a tmpfs on /tmp";
	return NULL;
}

/* The path of something in the file system. */
static const char *path_of(const char *name)
{
	snprintf(fx.buf, sizeof(fx.buf), MNT "/%s", name);
	return fx.buf;
}

/* stat(), 0 or a negative error. */
static int look(const char *path)
{
	struct stat st;

	return fstatat(fx.root, path, &st, 0) ? -errno : 0;
}

/* How many names the server has to look up for a stat(). */
static int asks(const char *path)
{
	int before = server_requests(FUSE_LOOKUP);

	look(path);
	return server_requests(FUSE_LOOKUP) - before;
}

/* How often it is asked for attributes. */
static int asks_attributes(const char *path)
{
	int before = server_requests(FUSE_GETATTR);

	look(path);
	return server_requests(FUSE_GETATTR) - before;
}

static int keep(int fd)
{
	struct __test_metadata *_metadata = fx.metadata;

	ASSERT_LE(0, fd);
	ASSERT_GT(FDS, fx.nr_fds);
	fx.fds[fx.nr_fds++] = fd;
	return fd;
}

/* Use a name until the test ends. */
static int hold(const char *path)
{
	return keep(openat(fx.root, path, O_PATH | O_CLOEXEC));
}

static void let_go(void)
{
	while (fx.nr_fds)
		close(fx.fds[--fx.nr_fds]);
}

/* Is what @fd has open no longer found by its name, as far as the cache goes? */
static bool gone(int fd)
{
	static const char deleted[] = " (deleted)";
	char proc[32], path[PATH_MAX];
	ssize_t len;

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	len = readlink(proc, path, sizeof(path));
	len -= strlen(deleted);
	return len > 0 && !memcmp(path + len, deleted, strlen(deleted));
}

/* What the kernel believes, right or wrong. */
static int links(int fd)
{
	struct statx stx = {};

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_NLINK, &stx))
		return -errno;
	return stx.stx_nlink;
}

/* Does the kernel still ask the server for names in this directory? */
static bool alive(int fd)
{
	int before = server_requests(FUSE_LOOKUP);
	struct stat st;

	fstatat(fd, "~nobody", &st, 0);
	return server_requests(FUSE_LOOKUP) - before;
}

static bool listed(const char *name)
{
	DIR *dir = opendir(MNT);
	struct dirent *d;

	if (!dir)
		return false;
	do
		d = readdir(dir);
	while (d && strcmp(d->d_name, name));
	closedir(dir);
	return d;
}

static bool mounted(const char *name)
{
	FILE *info = fopen("/proc/self/mountinfo", "re");
	char want[64], line[PATH_MAX];
	bool found = false;

	snprintf(want, sizeof(want), " " MNT "/%s ", name);
	while (info && !found && fgets(line, sizeof(line), info))
		found = strstr(line, want);
	if (info)
		fclose(info);
	return found;
}

static int do_rename(const char *old, const char *new, unsigned int flags)
{
	return renameat2(fx.root, old, fx.root, new, flags) ? -errno : 0;
}

/* A system call for a thread to make. */
struct call {
	unsigned int opcode;
	const char *path, *new;
	unsigned int flags;
	pthread_t thread;
	int err;
};

static void *call_run(void *arg)
{
	struct call *call = arg;
	int err = -1;

	switch (call->opcode) {
	case FUSE_MKDIR:
		err = mkdirat(fx.root, call->path, 0755);
		break;
	case FUSE_UNLINK:
		err = unlinkat(fx.root, call->path, 0);
		break;
	case FUSE_RMDIR:
		err = unlinkat(fx.root, call->path, AT_REMOVEDIR);
		break;
	case FUSE_RENAME:
	case FUSE_RENAME2:
		err = renameat2(fx.root, call->path, fx.root, call->new, call->flags);
		break;
	}
	call->err = err ? -errno : 0;
	return NULL;
}

/* Let a thread make a system call, up to the point where the server has its request. */
static void call_begin(struct call *call)
{
	struct __test_metadata *_metadata = fx.metadata;

	alarm(NOTIFY_LIMIT);
	server_stop_at(call->opcode);
	ASSERT_EQ(0, pthread_create(&call->thread, NULL, call_run, call));
	EXPECT_TRUE(wait_for(&srv.stopped));
}

static int call_end(struct call *call)
{
	sem_post(&srv.go);
	pthread_join(call->thread, NULL);
	return call->err;
}

/* The notification must have returned by itself, and have sent no request. */
static int judge(const struct notification *n)
{
	struct __test_metadata *_metadata = fx.metadata;

	alarm(TEST_LIMIT);
	ASSERT_FALSE(hung())
		TH_LOG("%s of \"%s\" did not return within %d s", whats[n->what], n->name,
		       NOTIFY_LIMIT);
	EXPECT_EQ(0, n->asked)
		TH_LOG("%s of \"%s\" sent a request", whats[n->what], n->name);
	return n->answer;
}

/* Notify as the variant says: from here, or in the handler of a getxattr(). */
static int notify(enum what what, fuse_ino_t dir, fuse_ino_t child, const char *name)
{
	struct notification *n = &srv.note;

	*n = (struct notification) { what, dir, child, name, -EINPROGRESS, 0 };
	alarm(NOTIFY_LIMIT);
	if (srv.by_handler) {
		server_stop_at(FUSE_GETXATTR);
		getxattr(MNT, "user.inval_entry", NULL, 0);
		wait_for(&srv.stopped);
	} else {
		server_notify(n);
	}
	return judge(n);
}

static int inval(fuse_ino_t dir, const char *name)
{
	return notify(INVAL, dir, 0, name);
}

static int expire(fuse_ino_t dir, const char *name)
{
	return notify(EXPIRE, dir, 0, name);
}

static int delete(fuse_ino_t dir, fuse_ino_t child, const char *name)
{
	return notify(DELETE, dir, child, name);
}

static void setup(struct __test_metadata *_metadata, bool by_handler)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char options[64], dev[32];
	const char *problem;
	sigset_t alarms;
	int fd;

	problem = new_namespaces();
	if (problem)
		SKIP(return, "%s: %s", problem, strerror(errno));
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		SKIP(return, "/dev/fuse: %s", strerror(errno));
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%u,group_id=%u",
		 fd, geteuid(), getegid());
	if (mount("inval_entry_test", MNT, "fuse", MS_NOSUID | MS_NODEV, options))
		SKIP(return, "mount of fuse: %s", strerror(errno));

	fx.metadata = _metadata;
	srv.by_handler = by_handler;
	sem_init(&srv.stopped, 0, 0);
	sem_init(&srv.go, 0, 0);
	sem_init(&fx.hung, 0, 0);
	server_add("~file", S_IFREG);
	server_add("~dir", S_IFDIR);
	server_add("~dir/file", S_IFREG);

	sigemptyset(&alarms);
	sigaddset(&alarms, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &alarms, NULL);
	alarm(TEST_LIMIT);
	pthread_create(&fx.watchdog, NULL, watchdog, NULL);

	fuse_opt_add_arg(&args, "inval_entry_test");
	srv.se = fuse_session_new(&args, &fs_ops, sizeof(fs_ops), NULL);
	fuse_opt_free_args(&args);
	ASSERT_NE(NULL, srv.se);
	snprintf(dev, sizeof(dev), "/dev/fd/%d", fd);
	ASSERT_EQ(0, fuse_session_mount(srv.se, dev));
	ASSERT_EQ(0, pthread_create(&srv.thread, NULL, server_loop, NULL));

	fx.root = open(MNT, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ASSERT_LE(0, fx.root);
	EXPECT_EQ(0, look("~file"));
	EXPECT_EQ(0, look("~dir/file"));
	EXPECT_EQ(-ENOENT, look("~none"));
}

static void teardown(struct __test_metadata *_metadata)
{
	EXPECT_FALSE(hung());
	if (!hung()) {
		EXPECT_EQ(0, asks("~file"));
		EXPECT_EQ(0, asks("~dir/file"));
		EXPECT_EQ(0, asks("~none"));
	}
	let_go();
	close(fx.root);
	if (!hung())
		EXPECT_EQ(0, umount2(MNT, 0));
	umount2(MNT, MNT_FORCE | MNT_DETACH);
	pthread_join(srv.thread, NULL);
	fuse_session_destroy(srv.se);
	alarm(0);
	pthread_cancel(fx.watchdog);
	pthread_join(fx.watchdog, NULL);
}

FIXTURE(inval_entry)
{
};

FIXTURE_VARIANT(inval_entry)
{
	bool by_handler;
};

FIXTURE_VARIANT_ADD(inval_entry, thread)
{
	.by_handler = false,
};

FIXTURE_VARIANT_ADD(inval_entry, handler)
{
	.by_handler = true,
};

FIXTURE_SETUP(inval_entry)
{
	setup(_metadata, variant->by_handler);
}

FIXTURE_TEARDOWN(inval_entry)
{
	teardown(_metadata);
}

/*
 * The bug report of 2026-05-30: a lookup of "config" finds nothing and that is
 * cached for long; the server makes "config" visible and says so; stat(), open() and
 * readdir() have to agree.
 */
TEST_F(inval_entry, negative)
{
	EXPECT_EQ(-ENOENT, look("config"));
	server_add("config", S_IFREG);
	EXPECT_EQ(-ENOENT, look("config"));

	EXPECT_EQ(0, inval(ROOT, "config"));
	EXPECT_EQ(0, look("config"));
	EXPECT_TRUE(listed("config"));
	keep(openat(fx.root, "config", O_RDONLY | O_CLOEXEC));
}

/* A delete of a name that is cached as absent is no more than an inval. */
TEST_F(inval_entry, negative_delete)
{
	fuse_ino_t config;

	EXPECT_EQ(-ENOENT, look("config"));
	config = server_add("config", S_IFREG);

	EXPECT_EQ(0, delete(ROOT, config, "config"));
	EXPECT_EQ(0, look("config"));
}

TEST_F(inval_entry, negative_expire)
{
	EXPECT_EQ(-ENOENT, look("config"));
	server_add("config", S_IFREG);

	EXPECT_EQ(0, expire(ROOT, "config"));
	EXPECT_EQ(0, look("config"));
}

TEST_F(inval_entry, positive)
{
	int fd;

	server_add("file", S_IFREG);
	server_add("other", S_IFREG);
	fd = hold("file");
	EXPECT_EQ(0, look("other"));
	server_remove("file");
	EXPECT_EQ(0, look("file"));

	EXPECT_EQ(0, inval(ROOT, "file"));
	EXPECT_TRUE(gone(fd));
	EXPECT_EQ(-ENOENT, look("file"));
	EXPECT_EQ(0, asks("other"));
}

/* Expired, a name that the server confirms goes on as it was. */
TEST_F(inval_entry, positive_expire)
{
	int fd;

	server_add("file", S_IFREG);
	fd = hold("file");

	EXPECT_EQ(0, expire(ROOT, "file"));
	EXPECT_FALSE(gone(fd));
	EXPECT_EQ(1, asks("file"));
	EXPECT_FALSE(gone(fd));
	EXPECT_EQ(0, asks("file"));
}

/* What has expired is still cached: to drop it takes no word from the server. */
TEST_F(inval_entry, positive_expired)
{
	int fd;

	server_add("file", S_IFREG);
	fd = hold("file");
	EXPECT_EQ(0, expire(ROOT, "file"));

	EXPECT_EQ(0, inval(ROOT, "file"));
	EXPECT_TRUE(gone(fd));
}

TEST_F(inval_entry, positive_delete)
{
	fuse_ino_t file = server_add("file", S_IFREG);
	int fd = hold("file");

	server_remove("file");

	EXPECT_EQ(0, delete(ROOT, file, "file"));
	EXPECT_EQ(0, links(fd));
	EXPECT_TRUE(gone(fd));
	EXPECT_EQ(-ENOENT, look("file"));
}

/* The server deleted another node of that name: nothing dies, but the name is stale. */
TEST_F(inval_entry, positive_delete_other)
{
	fuse_ino_t file = server_add("file", S_IFREG);
	int fd = hold("file");

	EXPECT_EQ(-ENOENT, delete(ROOT, file + 1, "file"));
	EXPECT_EQ(1, links(fd));
	EXPECT_TRUE(gone(fd));
	EXPECT_EQ(1, asks("file"));
}

/* Who has a file open goes on, whatever becomes of its name. */
TEST_F(inval_entry, file_open)
{
	fuse_ino_t file = server_add("file", S_IFREG);
	char buf[sizeof(CONTENT)] = "";
	struct statx stx;
	int fd;

	fd = keep(openat(fx.root, "file", O_RDONLY | O_CLOEXEC));
	EXPECT_EQ(0, inval(ROOT, "file"));
	EXPECT_TRUE(gone(fd));
	EXPECT_EQ(0, look("file"));
	EXPECT_EQ(0, delete(ROOT, file, "file"));
	EXPECT_EQ(0, links(fd));

	EXPECT_EQ((ssize_t)strlen(CONTENT), read(fd, buf, sizeof(buf)));
	EXPECT_STREQ(CONTENT, buf);
	EXPECT_EQ(0, statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS,
			   &stx));
	EXPECT_EQ(file, stx.stx_ino);
}

/* The timeout of the name has run out by itself. */
TEST_F(inval_entry, file_timed_out)
{
	int fd;

	server_add("file", S_IFREG);
	srv.timeout = 0;
	fd = hold("file");
	srv.timeout = TIMEOUT;

	EXPECT_EQ(0, inval(ROOT, "file"));
	EXPECT_TRUE(gone(fd));
}

/* A directory takes along what is cached below it. */
TEST_F(inval_entry, directory)
{
	int fd;

	server_add("dir", S_IFDIR);
	server_add("dir/file", S_IFREG);
	fd = hold("dir");
	EXPECT_EQ(0, look("dir/file"));
	EXPECT_EQ(-ENOENT, look("dir/none"));

	EXPECT_EQ(0, inval(ROOT, "dir"));
	EXPECT_TRUE(gone(fd));
	EXPECT_EQ(2, asks("dir/file"));
}

/* Names in it that are cached as absent, or not in use, do not keep a directory. */
TEST_F(inval_entry, directory_delete)
{
	fuse_ino_t dir = server_add("dir", S_IFDIR);
	int fd = hold("dir");

	EXPECT_EQ(-ENOENT, look("dir/none"));
	server_remove("dir");

	EXPECT_EQ(0, delete(ROOT, dir, "dir"));
	EXPECT_FALSE(alive(fd));
	EXPECT_EQ(-ENOENT, look("dir"));
}

/* A child that is in use keeps its directory alive, but not the name of it. */
TEST_F(inval_entry, directory_delete_busy)
{
	fuse_ino_t dir = server_add("dir", S_IFDIR);
	int fd = hold("dir");

	server_add("dir/file", S_IFREG);
	hold("dir/file");

	EXPECT_EQ(-ENOTEMPTY, delete(ROOT, dir, "dir"));
	EXPECT_TRUE(gone(fd));
	EXPECT_TRUE(alive(fd));
}

/* What each notification does to something that is mounted. */
static const struct row {
	const char *name;
	enum what what;
	bool other;	/* a delete of another node */
	int answer;
	bool stays;
} rows[] = {
	{ "inval",		INVAL,	false,	0,		false },
	{ "expire",		EXPIRE,	false,	0,		true },
	{ "delete",		DELETE,	false,	0,		false },
	{ "delete_other",	DELETE,	true,	-ENOENT,	false },
};

/* What is mounted on a name goes with it, but to expire it changes no mount. */
TEST_F(inval_entry, mount_point)
{
	const struct row *r;
	fuse_ino_t dir;

	for (r = rows; r < rows + ARRAY_SIZE(rows); r++) {
		dir = server_add(r->name, S_IFDIR);
		ASSERT_EQ(0, mount("none", path_of(r->name), "tmpfs", 0, NULL));
		EXPECT_TRUE(mounted(r->name));

		EXPECT_EQ(r->answer, notify(r->what, ROOT, dir + r->other, r->name));
		EXPECT_EQ(r->stays, mounted(r->name))
			TH_LOG("after %s", r->name);
		EXPECT_EQ(r->stays ? 0 : -1, umount2(path_of(r->name), 0));
	}
}

/* So does what is mounted below. */
TEST_F(inval_entry, mount_below)
{
	const struct row *r;
	fuse_ino_t dir;
	char sub[32];

	for (r = rows; r < rows + ARRAY_SIZE(rows); r++) {
		dir = server_add(r->name, S_IFDIR);
		snprintf(sub, sizeof(sub), "%s/sub", r->name);
		server_add(sub, S_IFDIR);
		ASSERT_EQ(0, mount("none", path_of(sub), "tmpfs", 0, NULL));
		EXPECT_TRUE(mounted(sub));

		EXPECT_EQ(r->answer, notify(r->what, ROOT, dir + r->other, r->name));
		EXPECT_EQ(r->stays, mounted(sub))
			TH_LOG("after %s", r->name);
		EXPECT_EQ(r->stays ? 0 : -1, umount2(path_of(sub), 0));
	}
}

/* A rename that the kernel made: the entry is known by its new name only. */
TEST_F(inval_entry, renamed)
{
	server_add("old", S_IFREG);
	EXPECT_EQ(0, do_rename("old", "new", 0));

	EXPECT_EQ(-ENOENT, inval(ROOT, "old"));
	EXPECT_EQ(0, asks("new"));
	EXPECT_EQ(0, inval(ROOT, "new"));
	EXPECT_EQ(1, asks("new"));
}

/* A rename behind the kernel's back: both names are stale, and both are told. */
TEST_F(inval_entry, renamed_by_server)
{
	server_add("old", S_IFREG);
	EXPECT_EQ(0, look("old"));
	EXPECT_EQ(-ENOENT, look("new"));
	server_link("old", "new");
	server_remove("old");

	EXPECT_EQ(0, inval(ROOT, "old"));
	EXPECT_EQ(0, inval(ROOT, "new"));
	EXPECT_EQ(-ENOENT, look("old"));
	EXPECT_EQ(0, look("new"));
}

/* Moved to another directory by the kernel, it is known there only. */
TEST_F(inval_entry, moved)
{
	fuse_ino_t from = server_add("from", S_IFDIR);
	fuse_ino_t to = server_add("to", S_IFDIR);

	server_add("from/file", S_IFREG);
	EXPECT_EQ(0, do_rename("from/file", "to/file", 0));

	EXPECT_EQ(-ENOENT, inval(from, "file"));
	EXPECT_EQ(0, asks("to/file"));
	EXPECT_EQ(0, inval(to, "file"));
	EXPECT_EQ(1, asks("to/file"));
}

/* Each of the two has the other's name now, and only the one that is told is dropped. */
TEST_F(inval_entry, exchanged)
{
	int one, two;

	server_add("one", S_IFREG);
	server_add("two", S_IFREG);
	one = hold("one");
	two = hold("two");
	EXPECT_EQ(0, do_rename("one", "two", RENAME_EXCHANGE));

	EXPECT_EQ(0, inval(ROOT, "one"));
	EXPECT_TRUE(gone(two));
	EXPECT_FALSE(gone(one));
	EXPECT_EQ(1, asks("one"));
	EXPECT_EQ(0, asks("two"));
}

/*
 * A hard link is a name like any other: its siblings stay, and so does what is known
 * of the file.
 */
TEST_F(inval_entry, hard_link)
{
	server_add("one", S_IFREG);
	server_link("one", "two");
	EXPECT_EQ(0, look("one"));
	EXPECT_EQ(0, look("two"));

	EXPECT_EQ(0, inval(ROOT, "one"));
	EXPECT_EQ(0, asks("two"));
	EXPECT_EQ(0, asks_attributes("two"));
	EXPECT_EQ(1, asks("one"));
}

/* A name changes the directory: its attributes are stale, and nobody else's. */
TEST_F(inval_entry, parent_attributes)
{
	fuse_ino_t dir = server_add("dir", S_IFDIR);
	fuse_ino_t other;

	server_add("dir/file", S_IFREG);
	other = server_add("dir/other", S_IFREG);
	server_add("dir/sibling", S_IFREG);
	EXPECT_EQ(0, look("dir/file"));
	EXPECT_EQ(0, look("dir/other"));
	EXPECT_EQ(0, look("dir/sibling"));
	EXPECT_EQ(-ENOENT, look("dir/none"));
	EXPECT_EQ(0, asks_attributes("dir"));

	EXPECT_EQ(0, inval(dir, "file"));
	EXPECT_EQ(1, asks_attributes("dir"));
	EXPECT_EQ(0, inval(dir, "none"));
	EXPECT_EQ(1, asks_attributes("dir"));
	EXPECT_EQ(0, expire(dir, "other"));
	EXPECT_EQ(1, asks_attributes("dir"));
	EXPECT_EQ(0, delete(dir, other, "other"));
	EXPECT_EQ(1, asks_attributes("dir"));
	EXPECT_EQ(-ENOENT, look("dir/none"));
	EXPECT_EQ(0, delete(dir, other, "none"));
	EXPECT_EQ(1, asks_attributes("dir"));

	/* Nothing was known of this one, so nothing has changed. */
	EXPECT_EQ(-ENOENT, inval(dir, "never"));
	EXPECT_EQ(0, asks_attributes("dir"));
	EXPECT_EQ(0, asks_attributes("dir/sibling"));
}

/* The directory was renamed: it is known by its nodeid, so that is no matter. */
TEST_F(inval_entry, parent_renamed)
{
	fuse_ino_t dir = server_add("dir", S_IFDIR);

	server_add("dir/file", S_IFREG);
	EXPECT_EQ(0, look("dir/file"));
	EXPECT_EQ(0, do_rename("dir", "moved", 0));
	server_remove("moved/file");

	EXPECT_EQ(0, inval(dir, "file"));
	EXPECT_EQ(-ENOENT, look("moved/file"));
}

/*
 * The directory was removed but is still in use, and so is something in it of which
 * only the server knew that it is gone. There are no entries in such a directory
 * any more to notify about, and what is left in the cache stays.
 */
static void parent_removed(struct __test_metadata *_metadata, mode_t type)
{
	fuse_ino_t dir = server_add("dir", S_IFDIR);
	fuse_ino_t entry = server_add("dir/entry", type);
	int fd = hold("dir/entry");
	int parent = hold("dir");
	int linked = links(fd);
	const struct row *r;

	server_remove("dir/entry");
	EXPECT_EQ(0, unlinkat(fx.root, "dir", AT_REMOVEDIR));
	EXPECT_FALSE(alive(parent));

	for (r = rows; r < rows + ARRAY_SIZE(rows); r++) {
		EXPECT_EQ(-ENOENT, notify(r->what, dir, entry + r->other, "entry"))
			TH_LOG("%s", r->name);
		EXPECT_FALSE(gone(fd));
		EXPECT_EQ(linked, links(fd));
	}
	EXPECT_EQ(-ENOENT, inval(dir, "never"));
}

TEST_F(inval_entry, parent_removed_file)
{
	parent_removed(_metadata, S_IFREG);
}

TEST_F(inval_entry, parent_removed_directory)
{
	parent_removed(_metadata, S_IFDIR);
}

TEST_F(inval_entry, parent_unknown)
{
	fuse_ino_t dir;

	EXPECT_EQ(-ENOENT, inval(4711, "file"));

	/* Nor one of which only half of the number is right. */
	EXPECT_EQ(-ENOENT, inval(ROOT + (UINT64_C(1) << 32), "~file"));

	/* The server has it, but the kernel has never heard of it. */
	dir = server_add("dir", S_IFDIR);
	EXPECT_EQ(-ENOENT, inval(dir, "file"));
}

/* The directory is in use, but there is no name that leads to it. */
TEST_F(inval_entry, parent_without_alias)
{
	fuse_ino_t dir = server_add("dir", S_IFDIR);
	int watch = keep(inotify_init1(IN_CLOEXEC));

	ASSERT_LE(0, inotify_add_watch(watch, path_of("dir"), IN_CREATE));
	EXPECT_EQ(0, inval(ROOT, "dir"));
	EXPECT_EQ(0, fuse_lowlevel_notify_inval_inode(srv.se, dir, -1, 0));

	EXPECT_EQ(-ENOENT, inval(dir, "file"));
}

TEST_F(inval_entry, parent_not_a_directory)
{
	fuse_ino_t file = server_add("file", S_IFREG);

	hold("file");
	EXPECT_EQ(-ENOTDIR, inval(file, "name"));
}

TEST_F(inval_entry, not_cached)
{
	server_add("file", S_IFREG);
	EXPECT_EQ(-ENOENT, inval(ROOT, "file"));
	EXPECT_EQ(-ENOENT, inval(ROOT, ""));
	EXPECT_EQ(-ENOENT, inval(ROOT, "."));
	EXPECT_EQ(-ENOENT, inval(ROOT, ".."));
	EXPECT_EQ(-ENOENT, inval(ROOT, "a/b"));
}

/*
 * A server that notifies from inside a request must not wait for the lock which the
 * request itself holds, see libfuse issue 341. Here the request is a mkdir() in the
 * same directory, and the name that is notified is not cached.
 */
TEST_F(inval_entry, not_cached_parent_locked)
{
	fuse_ino_t dir = server_add("dir", S_IFDIR);
	struct call mkdir = { FUSE_MKDIR, "dir/new" };
	int err;

	srv.note = (struct notification) { INVAL, dir, .name = "absent" };
	call_begin(&mkdir);
	if (!srv.by_handler)
		server_notify(&srv.note);
	err = call_end(&mkdir);
	EXPECT_EQ(-ENOENT, judge(&srv.note));
	EXPECT_EQ(0, err);
}

/* Names of many lengths. */
TEST_F(inval_entry, name_length)
{
	static const unsigned int lengths[] = { 1, 31, 32, 39, 40, 41, NAME_MAX };
	char name[NAME_MAX + 1];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		memset(name, 'n', lengths[i]);
		name[lengths[i]] = 0;
		EXPECT_EQ(-ENOENT, look(name));
		server_add(name, S_IFREG);
		EXPECT_EQ(0, inval(ROOT, name));
		EXPECT_EQ(0, look(name));
		EXPECT_EQ(0, inval(ROOT, name));
		EXPECT_EQ(1, asks(name));
	}
}

/*
 * A notification that loses a race: it has found its entry, but another task is in
 * the middle of a system call in the same directory and has that locked.
 */
FIXTURE(inval_entry_race)
{
};

FIXTURE_SETUP(inval_entry_race)
{
	setup(_metadata, false);
}

FIXTURE_TEARDOWN(inval_entry_race)
{
	teardown(_metadata);
}

static struct {
	int tid;
	sem_t begun, done;
} notifier;

static void *notifier_run(void *arg)
{
	notifier.tid = gettid();
	sem_post(&notifier.begun);
	server_notify(&srv.note);
	sem_post(&notifier.done);
	return NULL;
}

/* Does a thread wait for something that no signal ends, as a lock of the kernel? */
static bool sleeps(int tid)
{
	char path[48], stat[128] = "";
	const char *state;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	file = fopen(path, "re");
	if (!file)
		return false;
	state = fgets(stat, sizeof(stat), file) ? strrchr(stat, ')') : NULL;
	fclose(file);
	return state && state[2] == 'D';
}

/* Notify when @call has locked the directory, and let it complete when that waits. */
static int lose_race(struct call *call, enum what what, fuse_ino_t dir, fuse_ino_t child,
		     const char *name)
{
	struct __test_metadata *_metadata = fx.metadata;
	pthread_t thread;
	int err;

	srv.note = (struct notification) { what, dir, child, name };
	sem_init(&notifier.begun, 0, 0);
	sem_init(&notifier.done, 0, 0);
	call_begin(call);
	ASSERT_EQ(0, pthread_create(&thread, NULL, notifier_run, NULL));
	EXPECT_TRUE(wait_for(&notifier.begun));
	/* If it ends without waiting, it has to be right as well. */
	while (sem_trywait(&notifier.done) && !hung() && !sleeps(notifier.tid))
		sched_yield();

	err = call_end(call);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, err);
	return judge(&srv.note);
}

/* The entry gets another name in the window: that one is not what was meant. */
TEST_F(inval_entry_race, race_rename)
{
	struct call rename = { FUSE_RENAME, "dir/old", "dir/new" };
	fuse_ino_t dir = server_add("dir", S_IFDIR);

	server_add("dir/old", S_IFREG);
	EXPECT_EQ(0, look("dir/old"));

	EXPECT_EQ(-ENOENT, lose_race(&rename, INVAL, dir, 0, "old"));
	EXPECT_EQ(0, asks("dir/new"));
}

/* The entry moves out of the directory in the window. */
TEST_F(inval_entry_race, race_move_out)
{
	struct call rename = { FUSE_RENAME, "dir/old", "new" };
	fuse_ino_t dir = server_add("dir", S_IFDIR);

	server_add("dir/old", S_IFREG);
	EXPECT_EQ(0, look("dir/old"));

	EXPECT_EQ(-ENOENT, lose_race(&rename, INVAL, dir, 0, "old"));
	EXPECT_EQ(0, asks("new"));
}

/*
 * The entry is unlinked in the window. A notification before that answers 0, and one
 * after it either, if the name is cached as absent then.
 */
TEST_F(inval_entry_race, race_unlink)
{
	struct call unlink = { FUSE_UNLINK, "dir/file" };
	fuse_ino_t dir = server_add("dir", S_IFDIR);
	int err;

	server_add("dir/file", S_IFREG);
	EXPECT_EQ(0, look("dir/file"));

	err = lose_race(&unlink, INVAL, dir, 0, "file");
	EXPECT_TRUE(err == 0 || err == -ENOENT);
	EXPECT_EQ(-ENOENT, look("dir/file"));
}

/* The name comes into being in the window: it was negative and is not any more. */
TEST_F(inval_entry_race, race_create)
{
	struct call mkdir = { FUSE_MKDIR, "dir/new" };
	fuse_ino_t dir = server_add("dir", S_IFDIR);

	EXPECT_EQ(-ENOENT, look("dir/new"));

	EXPECT_EQ(0, lose_race(&mkdir, INVAL, dir, 0, "new"));
	EXPECT_EQ(0, look("dir/new"));
}

/* The directory itself is removed in the window, so the call comes before that or too late. */
TEST_F(inval_entry_race, race_rmdir)
{
	struct call rmdir = { FUSE_RMDIR, "dir" };
	fuse_ino_t dir = server_add("dir", S_IFDIR);
	int err;

	EXPECT_EQ(-ENOENT, look("dir/none"));

	err = lose_race(&rmdir, INVAL, dir, 0, "none");
	EXPECT_TRUE(err == 0 || err == -ENOENT);
}

/* What has the name in the end is what a delete is about, and that dies altogether. */
TEST_F(inval_entry_race, race_delete)
{
	struct call exchange = { FUSE_RENAME2, "dir/old", "dir/new", RENAME_EXCHANGE };
	fuse_ino_t dir = server_add("dir", S_IFDIR);
	fuse_ino_t child;
	int old, new;

	server_add("dir/old", S_IFDIR);
	child = server_add("dir/new", S_IFDIR);
	old = hold("dir/old");
	new = hold("dir/new");

	EXPECT_EQ(0, lose_race(&exchange, DELETE, dir, child, "old"));
	EXPECT_TRUE(gone(new));
	EXPECT_EQ(0, links(new));
	EXPECT_FALSE(alive(new));
	EXPECT_FALSE(gone(old));
	EXPECT_NE(0, links(old));
	EXPECT_TRUE(alive(old));
}

TEST_HARNESS_MAIN
