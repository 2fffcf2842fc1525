/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A FUSE server in a thread of the test: a tree of names in memory, served through
 * libfuse's low-level API.
 *
 * What it answers is valid for long, and it counts its requests. So a test can tell
 * what the kernel has cached: what it does not ask for. The kernel is not told what
 * the test changes in the tree.
 *
 * The mount is in a mount namespace of its own, and the test's working directory:
 * paths are relative to it. Whoever is not root gets a user namespace, too.
 *
 * If something takes more than LIMIT seconds, the connection is aborted, which
 * ends all waits inside the kernel.
 */
#ifndef __FUSE_TEST_SERVER_H
#define __FUSE_TEST_SERVER_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <linux/fuse.h>

#define FUSE_USE_VERSION 31
#include <fuse_lowlevel.h>

#include "kselftest_harness.h"

#define MNT		"/tmp/mnt"
#define ROOT		FUSE_ROOT_ID
#ifndef NODES
#define NODES		128
#endif
#define OPCODES		64
#define LIMIT		5	/* seconds for what takes microseconds */
#define TIMEOUT		1000
#define FILE_SIZE	4096

/*
 * The tree needs no lock: the test changes it while it waits for no request, or while
 * the server has stopped at one.
 */
static struct {
	struct fuse_session *se;
	pthread_t thread;
	atomic_bool hung;

	struct {
		fuse_ino_t dir;	/* 0: it has no name */
		mode_t mode;
		char name[NAME_MAX + 1];
	} nodes[NODES];		/* by nodeid, never reused; [0] is what does not exist */
	fuse_ino_t last;
	char content[FILE_SIZE];	/* of all files */

	atomic_int requests[OPCODES];

	unsigned int stop;	/* stop at the next request with this opcode, */
	const char *change;	/* or if set: change this name, and stop before it is answered */
	bool late;		/* this is that request */
	void (*at_stop)(void);	/* what to do when stopped, if anything */
	char request[2 * FILE_SIZE];	/* the one at which it has stopped */
	sem_t stopped;
} srv = {
	.nodes[ROOT].mode = S_IFDIR | 0755,
	.last = ROOT,
};

/* The tree. */

/* The nodeid of a path in @dir, or 0. */
static fuse_ino_t server_find(fuse_ino_t dir, const char *path, size_t len)
{
	const char *slash = memchr(path, '/', len);
	size_t first = slash ? slash - path : len;
	fuse_ino_t ino;

	for (ino = srv.last; ino > ROOT; ino--) {
		if (srv.nodes[ino].dir == dir && strlen(srv.nodes[ino].name) == first &&
		    !memcmp(srv.nodes[ino].name, path, first))
			return slash ? server_find(ino, slash + 1, len - first - 1) : ino;
	}
	return 0;
}

static void server_name(fuse_ino_t ino, fuse_ino_t dir, const char *name)
{
	srv.nodes[ino].dir = dir;
	snprintf(srv.nodes[ino].name, sizeof(srv.nodes[ino].name), "%s", name);
}

static fuse_ino_t server_make(fuse_ino_t dir, const char *name, mode_t mode)
{
	if (++srv.last == NODES)
		abort();
	srv.nodes[srv.last].mode = mode;
	server_name(srv.last, dir, name);
	return srv.last;
}

static fuse_ino_t server_add(const char *path, mode_t type)
{
	const char *slash = strrchr(path, '/');
	fuse_ino_t dir = slash ? server_find(ROOT, path, slash - path) : ROOT;

	return server_make(dir, slash ? slash + 1 : path, type | (type == S_IFDIR ? 0755 : 0644));
}

/* Returns whether it was there. */
static bool server_remove(fuse_ino_t dir, const char *path)
{
	fuse_ino_t ino = server_find(dir, path, strlen(path));

	srv.nodes[ino].dir = 0;
	return ino;
}

static struct fuse_entry_param server_entry(fuse_ino_t ino)
{
	mode_t mode = srv.nodes[ino].mode;

	return (struct fuse_entry_param) {
		.ino = ino,
		.attr.st_ino = ino,
		.attr.st_mode = mode,
		.attr.st_nlink = !!srv.nodes[ino].dir + S_ISDIR(mode),
		.attr.st_size = S_ISDIR(mode) ? 0 : FILE_SIZE,
		.attr_timeout = TIMEOUT,
		.entry_timeout = TIMEOUT,
	};
}

/* Requests. */

static void server_stop(void)
{
	sem_post(&srv.stopped);
	if (srv.at_stop)
		srv.at_stop();
}

/* Wait until the server stops, and return the request. */
static const struct fuse_in_header *server_stopped(struct __test_metadata *_metadata)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += LIMIT + 2;
	EXPECT_EQ(0, sem_timedwait(&srv.stopped, &until))
		TH_LOG("no request %u", srv.stop);
	return (void *)srv.request;
}

/* Called for each request before it is handled. */
static void server_arrived(const struct fuse_in_header *in)
{
	srv.requests[in->opcode % OPCODES]++;
	if (in->opcode != srv.stop)
		return;
	srv.stop = 0;
	srv.late = srv.change;
	memcpy(srv.request, in, in->len < sizeof(srv.request) ? in->len : sizeof(srv.request));
	if (!srv.late)
		server_stop();
}

/* It is clear what the answer will be, and it has not been sent yet. */
static void server_answered(void)
{
	if (!srv.late)
		return;
	srv.late = false;
	if (!server_remove(ROOT, srv.change))
		server_add(srv.change, S_IFREG);
	server_stop();
}

static void fs_init(void *userdata, struct fuse_conn_info *conn)
{
	conn->want &= ~FUSE_CAP_READDIRPLUS_AUTO;	/* always READDIRPLUS */
}

static void fs_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct fuse_entry_param entry = server_entry(server_find(dir, name, strlen(name)));

	server_answered();
	fuse_reply_entry(req, &entry);
}

static void fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fuse_entry_param entry = server_entry(ino);

	server_answered();
	fuse_reply_attr(req, &entry.attr, entry.attr_timeout);
}

static void fs_create(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct fuse_entry_param entry = server_entry(server_make(dir, name, mode));

	server_answered();
	if (fi)
		fuse_reply_create(req, &entry, fi);
	else
		fuse_reply_entry(req, &entry);
}

static void fs_mknod(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t dev)
{
	fs_create(req, dir, name, mode, NULL);
}

static void fs_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode)
{
	fs_create(req, dir, name, S_IFDIR | mode, NULL);
}

static void fs_symlink(fuse_req_t req, const char *target, fuse_ino_t dir, const char *name)
{
	fs_create(req, dir, name, S_IFLNK | 0777, NULL);
}

/* A node has only one name here: a link takes the old one away. */
static void fs_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t dir, const char *name)
{
	struct fuse_entry_param entry = server_entry(ino);

	server_name(ino, dir, name);
	server_answered();
	fuse_reply_entry(req, &entry);
}

static void fs_remove(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	fuse_reply_err(req, server_remove(dir, name) ? 0 : ENOENT);
}

static void fs_rename(fuse_req_t req, fuse_ino_t dir, const char *name,
		      fuse_ino_t newdir, const char *newname, unsigned int flags)
{
	fuse_ino_t old = server_find(dir, name, strlen(name));
	fuse_ino_t new = server_find(newdir, newname, strlen(newname));

	server_name(old, newdir, newname);
	server_name(new, flags & RENAME_EXCHANGE ? dir : 0, name);
	server_answered();
	fuse_reply_err(req, old ? 0 : ENOENT);
}

static void fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static void fs_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		    struct fuse_file_info *fi)
{
	if (offset > FILE_SIZE)
		offset = FILE_SIZE;
	if (size > FILE_SIZE - offset)
		size = FILE_SIZE - offset;
	fuse_reply_buf(req, srv.content + offset, size);
}

static void fs_readdirplus(fuse_req_t req, fuse_ino_t dir, size_t size, off_t ino,
			   struct fuse_file_info *fi)
{
	struct fuse_entry_param entry;
	size_t used = 0, len;
	char buf[8192];

	if (size > sizeof(buf))
		size = sizeof(buf);
	for (; ino <= srv.last; ino++) {
		if (!ino || srv.nodes[ino].dir != dir)
			continue;
		entry = server_entry(ino);
		len = fuse_add_direntry_plus(req, buf + used, size - used, srv.nodes[ino].name,
					     &entry, ino + 1);
		if (used + len > size)
			break;
		used += len;
	}
	server_answered();
	fuse_reply_buf(req, buf, used);
}

static const struct fuse_lowlevel_ops fs_ops = {
	.init		= fs_init,
	.lookup		= fs_lookup,
	.getattr	= fs_getattr,
	.create		= fs_create,
	.mknod		= fs_mknod,
	.mkdir		= fs_mkdir,
	.symlink	= fs_symlink,
	.link		= fs_link,
	.unlink		= fs_remove,
	.rmdir		= fs_remove,
	.rename		= fs_rename,
	.open		= fs_open,
	.read		= fs_read,
	.readdirplus	= fs_readdirplus,
};

/* The mount. */

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
		/* libfuse did not send the RETRIEVE: it does not know this unique. */
		if (((struct fuse_in_header *)buf.mem)->opcode != FUSE_NOTIFY_REPLY)
			fuse_session_process_buf(srv.se, &buf);
	}
	free(buf.mem);
	return NULL;
}

/*
 * A task that waits for another one inside the kernel cannot be killed, but if
 * the connection is aborted all these waits end.
 */
static void *server_watchdog(void *alarms)
{
	int sig;

	sigwait(alarms, &sig);
	srv.hung = true;
	umount2(MNT, MNT_FORCE | MNT_DETACH);
	return NULL;
}

static bool write_file(const char *path, const char *fmt, unsigned int id)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = dprintf(fd, fmt, id) > 0;

	close(fd);
	return ok;
}

/* Returns what failed, or NULL. */
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

/* Mount, but answer nothing yet. Returns what failed, or NULL. */
static const char *server_mount(void)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);

	for (int i = 0; i < FILE_SIZE; i++)
		srv.content[i] = 'a' + i % 26;
	fuse_opt_add_arg(&args, "fuse_test");
	srv.se = fuse_session_new(&args, &fs_ops, sizeof(fs_ops), NULL);
	fuse_opt_free_args(&args);
	return srv.se && !fuse_session_mount(srv.se, MNT) ? NULL : "the mount, by libfuse";
}

static void server_run(struct __test_metadata *_metadata)
{
	static sigset_t alarms;
	pthread_t watchdog;

	sem_init(&srv.stopped, 0, 0);
	sigemptyset(&alarms);
	sigaddset(&alarms, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &alarms, NULL);
	alarm(LIMIT);
	ASSERT_EQ(0, pthread_create(&watchdog, NULL, server_watchdog, &alarms));
	ASSERT_EQ(0, pthread_create(&srv.thread, NULL, server_loop, NULL));
}

/* Nothing that was done keeps the file system from being unmounted. */
static void server_end(struct __test_metadata *_metadata)
{
	alarm(LIMIT);
	EXPECT_EQ(0, chdir("/"));
	EXPECT_TRUE(!srv.hung);
	/* Or it is not mounted any more. */
	EXPECT_TRUE(!umount2(MNT, 0) || errno == EINVAL)
		TH_LOG("umount: %s", strerror(errno));
	umount2(MNT, MNT_FORCE | MNT_DETACH);
	pthread_join(srv.thread, NULL);
}

/* What a user sees. */

/* stat(), 0 or a negative error. */
static int look(const char *path)
{
	struct stat st;

	return stat(path, &st) ? -errno : 0;
}

/* Have the server asked for attributes, also if they are cached. */
static inline int ask_attributes(const char *path)
{
	struct statx stx;

	return statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &stx);
}

/* How many requests of a kind a stat() takes. */
static inline int asks_for(unsigned int opcode, const char *path)
{
	int before = srv.requests[opcode];

	look(path);
	return srv.requests[opcode] - before;
}

/* How many names the server has to look up for a stat(). */
static inline int asks(const char *path)
{
	return asks_for(FUSE_LOOKUP, path);
}

/* Has the kernel dropped the name of what @fd has open? */
static inline bool gone(int fd)
{
	char proc[32], path[PATH_MAX] = "";

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	return readlink(proc, path, sizeof(path) - 1) > 0 && strstr(path, " (deleted)");
}

/* The link count that the kernel has cached; the server is not asked. */
static inline int links(int fd)
{
	struct statx stx = {};

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_NLINK, &stx))
		return -errno;
	return stx.stx_nlink;
}

/* Does the kernel still ask the server for names in this directory? */
static inline bool alive(int fd)
{
	int before = srv.requests[FUSE_LOOKUP];

	faccessat(fd, "~nobody", F_OK, 0);
	return srv.requests[FUSE_LOOKUP] - before;
}

/* Does a listing of the directory have this name? */
static inline bool listed(const char *path, const char *name)
{
	DIR *dir = opendir(path);
	struct dirent *d = NULL;

	while (dir && (d = readdir(dir)) && strcmp(d->d_name, name))
		;
	if (dir)
		closedir(dir);
	return d;
}

/* Does a thread sleep in state D, such as in a wait for a lock of the kernel? */
static inline bool sleeps(pid_t tid)
{
	char path[32], stat[64] = "";
	int fd;
	bool is;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	is = read(fd, stat, sizeof(stat) - 1) > 0 && strstr(stat, ") D ");
	close(fd);
	return is;
}

#endif
