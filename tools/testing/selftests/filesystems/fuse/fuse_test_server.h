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

/* What <linux/fuse.h> may be too old for. */
#if FUSE_KERNEL_MINOR_VERSION < 40
#define FUSE_NOTIFY_RESEND	7
#define FUSE_UNIQUE_RESEND	0x8000000000000000ULL
#endif
#if FUSE_KERNEL_MINOR_VERSION < 44
#define FUSE_NOTIFY_INC_EPOCH	8
#endif
#if FUSE_KERNEL_MINOR_VERSION < 45
#define FUSE_NOTIFY_PRUNE	9

struct fuse_notify_prune_out {
	__u32 count;
	__u32 padding;
	__u64 spare;
};
#endif

#define MNT		"/tmp/mnt"
#define ROOT		FUSE_ROOT_ID
#define NODES		128
#define OPCODES		64
#define LIMIT		5	/* seconds for what takes microseconds */
#define TIMEOUT		1000
#define FILE_SIZE	4096

struct name {
	fuse_ino_t dir, ino;	/* ino is 0 if this one is free */
	char name[NAME_MAX + 1];
};

static struct {
	struct fuse_session *se;
	pthread_t thread, watchdog;
	atomic_bool hung;
	bool mounted;
	double timeout;
	unsigned int max_write;	/* 0: what libfuse chooses */

	pthread_mutex_t lock;	/* of all below */
	struct name names[NODES];	/* nodes are never reused */
	mode_t modes[NODES];
	fuse_ino_t last;
	int requests[OPCODES];
	pid_t asker;		/* a thread, and how many requests it has sent */
	int asked;

	unsigned int stop;	/* stop at the next request with this opcode, */
	const char *change;	/* or if set: change this name, and stop before it is answered */
	void (*at_stop)(void);	/* what to do when stopped, or NULL: wait for @go */
	void (*at_each)(unsigned int opcode);	/* do this at each request */
	bool late;
	unsigned int swallow;	/* do not handle the next one with this opcode, */
	char request[2 * FILE_SIZE];	/* but keep it here */
	sem_t stopped, go;

	char content[FILE_SIZE];	/* of all files */
} srv = {
	.timeout = TIMEOUT,
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.modes[ROOT] = S_IFDIR | 0755,
	.last = ROOT,
};

static int server_requests(unsigned int opcode)
{
	int requests;

	pthread_mutex_lock(&srv.lock);
	requests = srv.requests[opcode];
	pthread_mutex_unlock(&srv.lock);
	return requests;
}

static bool server_wait(sem_t *sem)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += LIMIT + 2;
	return !sem_timedwait(sem, &until);
}

/*
 * The tree.
 */

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

	while (n < srv.names + NODES && n->ino)
		n++;
	if (n == srv.names + NODES)
		abort();
	n->dir = dir;
	n->ino = ino;
	snprintf(n->name, sizeof(n->name), "%s", name);
}

static fuse_ino_t server_make(fuse_ino_t dir, const char *name, mode_t mode)
{
	if (++srv.last == NODES)
		abort();
	srv.modes[srv.last] = mode;
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

static inline void server_link(const char *old, const char *new)
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

static bool server_remove_from(fuse_ino_t dir, const char *name)
{
	struct name *n;

	pthread_mutex_lock(&srv.lock);
	n = server_find(dir, name, strlen(name));
	if (n)
		n->ino = 0;
	pthread_mutex_unlock(&srv.lock);
	return n;
}

static bool server_remove(const char *path)
{
	const char *name;
	fuse_ino_t dir;

	pthread_mutex_lock(&srv.lock);
	dir = server_walk(path, &name);
	pthread_mutex_unlock(&srv.lock);
	return server_remove_from(dir, name);
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
		st.st_size = FILE_SIZE;
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

/*
 * Requests.
 */

static void server_stop(void)
{
	if (srv.at_stop)
		srv.at_stop();
	sem_post(&srv.stopped);
	if (!srv.at_stop)
		server_wait(&srv.go);
}

/* Wait for a request that is not to be handled. */
static inline const struct fuse_in_header *server_swallowed(struct __test_metadata *_metadata)
{
	EXPECT_TRUE(server_wait(&srv.stopped))
		TH_LOG("no request");
	return (void *)srv.request;
}

/* Called for each request before it is handled. Returns whether to handle it. */
static bool server_arrived(const struct fuse_in_header *in)
{
	bool stop, swallow;

	/* Nobody waits for these, so they may come at any time. */
	if (in->opcode == FUSE_FORGET || in->opcode == FUSE_BATCH_FORGET ||
	    in->opcode == FUSE_RELEASE || in->opcode == FUSE_RELEASEDIR)
		return true;

	pthread_mutex_lock(&srv.lock);
	if (in->opcode < OPCODES)
		srv.requests[in->opcode]++;
	srv.asked += (pid_t)in->pid == srv.asker;
	stop = srv.stop == in->opcode;
	if (stop)
		srv.stop = 0;
	srv.late = stop && srv.change;
	swallow = srv.swallow == in->opcode && in->len <= sizeof(srv.request);
	if (swallow) {
		srv.swallow = 0;
		memcpy(srv.request, in, in->len);
	}
	pthread_mutex_unlock(&srv.lock);
	if (stop && !srv.change)
		server_stop();
	if (srv.at_each)
		srv.at_each(in->opcode);
	if (swallow)
		sem_post(&srv.stopped);
	return !swallow;
}

/* Unlock: it is clear what the answer will be, and it has not been sent yet. */
static void server_answered(void)
{
	bool late = srv.late;

	srv.late = false;
	pthread_mutex_unlock(&srv.lock);
	if (!late)
		return;
	if (!server_remove(srv.change))
		server_add(srv.change, S_IFREG);
	server_stop();
}

static void fs_init(void *userdata, struct fuse_conn_info *conn)
{
	if (srv.max_write)
		conn->max_write = srv.max_write;
}

static void fs_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct fuse_entry_param entry;
	struct name *n;

	pthread_mutex_lock(&srv.lock);
	n = server_find(dir, name, strlen(name));
	entry = server_entry(n ? n->ino : 0);
	server_answered();
	fuse_reply_entry(req, &entry);
}

static void fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	pthread_mutex_lock(&srv.lock);
	st = server_stat(ino);
	server_answered();
	fuse_reply_attr(req, &st, srv.timeout);
}

static void fs_create(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct fuse_entry_param entry;

	pthread_mutex_lock(&srv.lock);
	entry = server_entry(server_make(dir, name, mode));
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

static void fs_remove(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	fuse_reply_err(req, server_remove_from(dir, name) ? 0 : ENOENT);
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

/* Only there so that a test can make a request. */
static void fs_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	fuse_reply_err(req, ENODATA);
}

static void fs_list(fuse_req_t req, fuse_ino_t dir, size_t size, off_t offset, bool plus)
{
	struct fuse_entry_param entry;
	size_t used = 0, len;
	char buf[8192];
	struct name *n;

	if (size > sizeof(buf))
		size = sizeof(buf);
	pthread_mutex_lock(&srv.lock);
	for (; offset < NODES; offset++) {
		n = &srv.names[offset];
		if (!n->ino || n->dir != dir)
			continue;
		entry = server_entry(n->ino);
		len = plus ? fuse_add_direntry_plus(req, buf + used, size - used, n->name,
						    &entry, offset + 1) :
			     fuse_add_direntry(req, buf + used, size - used, n->name,
					       &entry.attr, offset + 1);
		if (used + len > size)
			break;
		used += len;
	}
	server_answered();
	fuse_reply_buf(req, buf, used);
}

static void fs_readdir(fuse_req_t req, fuse_ino_t dir, size_t size, off_t offset,
		       struct fuse_file_info *fi)
{
	fs_list(req, dir, size, offset, false);
}

static void fs_readdirplus(fuse_req_t req, fuse_ino_t dir, size_t size, off_t offset,
			   struct fuse_file_info *fi)
{
	fs_list(req, dir, size, offset, true);
}

static const struct fuse_lowlevel_ops fs_ops = {
	.init		= fs_init,
	.lookup		= fs_lookup,
	.getattr	= fs_getattr,
	.create		= fs_create,
	.mknod		= fs_mknod,
	.mkdir		= fs_mkdir,
	.unlink		= fs_remove,
	.rmdir		= fs_remove,
	.rename		= fs_rename,
	.open		= fs_open,
	.read		= fs_read,
	.readdir	= fs_readdir,
	.readdirplus	= fs_readdirplus,
	.getxattr	= fs_getxattr,
};

/*
 * The mount.
 */

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
		if (server_arrived(buf.mem))
			fuse_session_process_buf(srv.se, &buf);
	}
	free(buf.mem);
	return NULL;
}

/*
 * A task that waits for another one inside the kernel cannot be killed, but if
 * the connection is aborted all these waits end.
 */
static void *server_watchdog(void *arg)
{
	sigset_t alarms;
	int sig;

	sigemptyset(&alarms);
	sigaddset(&alarms, SIGALRM);
	sigwait(&alarms, &sig);
	srv.hung = true;
	umount2(MNT, MNT_FORCE | MNT_DETACH);
	return NULL;
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

/* Mount, without a thread that answers. Returns what failed, or NULL. */
static const char *server_mount(void)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char options[64], dev[32];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	int i;

	for (i = 0; i < FILE_SIZE; i++)
		srv.content[i] = 'a' + i % 26;
	if (fd < 0)
		return "/dev/fuse";
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%u,group_id=%u",
		 fd, geteuid(), getegid());
	if (mount("fuse_test", MNT, "fuse", MS_NOSUID | MS_NODEV, options))
		return "mount of fuse";
	srv.mounted = true;
	fuse_opt_add_arg(&args, "fuse_test");
	srv.se = fuse_session_new(&args, &fs_ops, sizeof(fs_ops), NULL);
	fuse_opt_free_args(&args);
	snprintf(dev, sizeof(dev), "/dev/fd/%d", fd);
	return srv.se && !fuse_session_mount(srv.se, dev) ? NULL : "libfuse";
}

static void server_run(struct __test_metadata *_metadata)
{
	sigset_t alarms;

	sem_init(&srv.stopped, 0, 0);
	sem_init(&srv.go, 0, 0);
	sigemptyset(&alarms);
	sigaddset(&alarms, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &alarms, NULL);
	alarm(LIMIT);
	ASSERT_EQ(0, pthread_create(&srv.watchdog, NULL, server_watchdog, NULL));
	ASSERT_EQ(0, pthread_create(&srv.thread, NULL, server_loop, NULL));
}

/* Nothing that was done keeps the file system from being unmounted. */
static void server_end(struct __test_metadata *_metadata)
{
	alarm(LIMIT);
	EXPECT_EQ(0, chdir("/"));
	EXPECT_FALSE(srv.hung);
	if (!srv.hung && srv.mounted)
		EXPECT_EQ(0, umount2(MNT, 0));
	umount2(MNT, MNT_FORCE | MNT_DETACH);
	srv.mounted = false;
	pthread_join(srv.thread, NULL);
	fuse_session_destroy(srv.se);
	alarm(0);
	pthread_cancel(srv.watchdog);
	pthread_join(srv.watchdog, NULL);
}

/*
 * What a user sees.
 */

/* stat(), 0 or a negative error. */
static int look(const char *path)
{
	struct stat st;

	return stat(path, &st) ? -errno : 0;
}

/* How many requests of a kind a stat() takes. */
static int asks_for(unsigned int opcode, const char *path)
{
	int before = server_requests(opcode);

	look(path);
	return server_requests(opcode) - before;
}

/* Has the kernel dropped the name of what @fd has open? */
static inline bool gone(int fd)
{
	static const char deleted[] = " (deleted)";
	char proc[32], path[PATH_MAX];
	ssize_t len;

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	len = readlink(proc, path, sizeof(path));
	len -= strlen(deleted);
	return len > 0 && !memcmp(path + len, deleted, strlen(deleted));
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
	int before = server_requests(FUSE_LOOKUP);
	struct stat st;

	fstatat(fd, "~nobody", &st, 0);
	return server_requests(FUSE_LOOKUP) - before;
}

/* Does a listing of the directory have this name? */
static inline bool listed(const char *path, const char *name)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fdopendir(fd);
	struct dirent *d;

	if (!dir)
		return false;
	do
		d = readdir(dir);
	while (d && strcmp(d->d_name, name));
	closedir(dir);
	return d;
}

/* Is something mounted there? */
static inline bool mounted(const char *name)
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

/* How many names the server has to look up for a stat(), how often it is asked for attributes. */
static inline int asks(const char *path)
{
	return asks_for(FUSE_LOOKUP, path);
}

static inline int asks_attributes(const char *path)
{
	return asks_for(FUSE_GETATTR, path);
}

static inline int do_rename(const char *old, const char *new, unsigned int flags)
{
	return renameat2(AT_FDCWD, old, AT_FDCWD, new, flags) ? -errno : 0;
}

/* Does a thread wait for something that no signal ends, as a lock of the kernel? */
static inline bool sleeps(pid_t tid)
{
	char path[48], stat[128] = "";
	const char *state;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	file = fopen(path, "re");
	if (!file)
		return false;
	state = fgets(stat, sizeof(stat), file) ? strrchr(stat, ')') : NULL;
	fclose(file);
	return state && state[2] == 'D';
}

#endif
