// SPDX-License-Identifier: GPL-2.0
/*
 * bench - what is left of the cache under notifications, with libfuse and the system call
 *
 * How many stat() calls are answered from the cache while the name is notified once a
 * millisecond; how long a LOOKUP takes; what is cached of a large directory when a name
 * in it was notified during each request of a listing; and how long a notification of a
 * name that is not cached takes while a request of the server's holds the lock of the
 * directory. It says numbers and judges none of them.
 */

#define _GNU_SOURCE
#define FUSE_USE_VERSION 312

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MOUNT	"/tmp/bench"
#define DIR_INO	2UL
#define FILE_INO 1000UL	/* of the first one */
#define FILES	100000UL
#define HOLD_MS	100
#define NAMES	20000UL

static struct fuse_session *session;
static atomic_ulong lookups;
static sem_t held, reading;

static void say(const char *what, unsigned long size, unsigned long n, const char *unit)
{
	printf("# user: bench: %s, %lu: %lu %s, %lu to %lu\n", what, size, n, unit, n, n);
}

static void fail(const char *what, const char *name, int answer)
{
	printf("# %s of %s answered %d\nnot ok 1 bench\n", what, name, answer);
	exit(1);
}

/*
 * The server: a directory d with the files f0, f1, ...
 */

static void do_init(void *data, struct fuse_conn_info *conn)
{
	/* Also when nobody has looked at a name yet. */
	conn->want &= ~(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
			FUSE_CAP_READDIRPLUS_AUTO);
}

static struct fuse_entry_param entry(fuse_ino_t ino)
{
	return (struct fuse_entry_param) {
		.ino = ino, .entry_timeout = 3600, .attr_timeout = 3600,
		.attr.st_ino = ino, .attr.st_nlink = 1,
		.attr.st_mode = ino < FILE_INO ? S_IFDIR | 0755 : S_IFREG | 0644,
	};
}

static void do_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct fuse_entry_param e = { .entry_timeout = 3600 };

	lookups++;
	if (dir == DIR_INO && *name == 'f')
		e = entry(FILE_INO + strtoul(name + 1, NULL, 10));
	else if (dir == FUSE_ROOT_ID && *name == 'd')
		e = entry(DIR_INO);
	fuse_reply_entry(req, &e);
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fuse_entry_param e = entry(ino);

	fuse_reply_attr(req, &e.attr, 3600);
}

static void do_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	char buf[1 << 16], name[16];
	size_t used = 0, len;

	sem_post(&reading);
	for (; (unsigned long)off < FILES; off++) {
		struct fuse_entry_param e = entry(FILE_INO + off);

		snprintf(name, sizeof(name), "f%lu", (unsigned long)off);
		len = fuse_add_direntry_plus(req, buf + used, sizeof(buf) - used, name, &e,
					     off + 1);
		if (used + len > size || used + len > sizeof(buf))
			break;
		used += len;
	}
	fuse_reply_buf(req, buf, used);
}

/* The kernel holds the directory's lock until this answers. */
static void do_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode)
{
	sem_post(&held);
	usleep(HOLD_MS * 1000);
	fuse_reply_err(req, EPERM);
}

static const struct fuse_lowlevel_ops ops = {
	.init = do_init, .lookup = do_lookup, .getattr = do_getattr, .mkdir = do_mkdir,
	.readdirplus = do_readdirplus,
};

static void *serve(void *unused)
{
	exit(fuse_session_loop(session) ? 1 : 0);
}

/*
 * The measurements.
 */

static unsigned long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}

static void inval(void)
{
	int answer = fuse_lowlevel_notify_inval_entry(session, DIR_INO, "f0", 2);

	if (answer && answer != -ENOENT)
		fail("inval", "f0", answer);
}

static void stat_name(unsigned long i)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), MOUNT "/d/f%lu", i);
	if (stat(path, &st))
		fail("stat", path, errno);
}

/* A name that is looked at all the time, and notified once a millisecond, for a second. */
static void measure_name(void)
{
	unsigned long calls = 0, notified = 0, start = now();

	lookups = 0;
	while (now() < start + 1000000000UL) {
		if (now() >= start + notified * 1000000) {
			inval();
			notified++;
		}
		stat_name(0);
		calls++;
	}
	say("notified each ms: LOOKUPs per second", 0, lookups, "calls");
	say("notified each ms: of 10000 stat(), cached", 0,
	    (calls - lookups) * 10000 / calls, "calls");
}

/* Names that do not exist, one after another. */
static void measure_lookup(void)
{
	unsigned long i, start = now();
	char path[32];

	for (i = 0; i < NAMES; i++) {
		snprintf(path, sizeof(path), MOUNT "/d/x%lu", i);
		if (!access(path, F_OK))
			fail("access", path, 0);
	}
	say("a LOOKUP takes", 0, (now() - start) / NAMES, "ns");
}

static void *inval_when_read(void *unused)
{
	for (;;) {
		sem_wait(&reading);
		inval();
	}
	return unused;
}

/* A directory that is listed while f0 in it is notified, once in each READDIRPLUS. */
static void measure_directory(void)
{
	unsigned long i, listed = 0;
	pthread_t thread;
	DIR *dir;

	pthread_create(&thread, NULL, inval_when_read, NULL);
	dir = opendir(MOUNT "/d");
	if (!dir)
		fail("opendir", "d", errno);
	while (readdir(dir))
		listed++;
	closedir(dir);
	if (listed != FILES)
		fail("readdir", "d", listed);
	lookups = 0;
	for (i = 0; i < FILES; i++)
		stat_name(i);
	say("listed and notified: names cached", FILES, FILES - lookups, "names");
}

static void *make_dir(void *unused)
{
	if (!mkdir(MOUNT "/d/new", 0755))
		fail("mkdir", "d/new", 0);
	return unused;
}

static void measure_held(void)
{
	pthread_t thread;
	unsigned long start, us;
	int answer;

	pthread_create(&thread, NULL, make_dir, NULL);
	sem_wait(&held);
	start = now();
	answer = fuse_lowlevel_notify_inval_entry(session, DIR_INO, "absent", strlen("absent"));
	us = (now() - start) / 1000;
	say("inval absent, a request held for ms", HOLD_MS, us, "us");
	if (answer != -ENOENT)
		fail("inval", "absent", answer);
	pthread_join(thread, NULL);
}

/* Nothing of the mount is seen elsewhere, or left behind. */
static int prepare(void)
{
	struct fuse_args args = FUSE_ARGS_INIT(1, (char *[]) { (char *)"bench" });
	char options[64], path[32];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	pthread_t thread;
	struct stat st;

	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	if (fd < 0 || mount("bench", "/tmp", "tmpfs", 0, NULL) || mkdir(MOUNT, 0700) ||
	    mount("bench", MOUNT, "fuse", MS_NOSUID | MS_NODEV, options))
		return -1;
	session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	/* Notifications are refused before the first request has been answered. */
	return !session || fuse_session_mount(session, path) || sem_init(&held, 0, 0) ||
	       sem_init(&reading, 0, 0) ||
	       pthread_create(&thread, NULL, serve, NULL) || stat(MOUNT "/d", &st);
}

int main(void)
{
	setlinebuf(stdout);
	printf("KTAP version 1\n1..1\n");
	if (prepare())
		fail("mount", MOUNT, errno);
	measure_name();
	measure_lookup();
	measure_directory();
	measure_held();
	printf("ok 1 bench\n");
	fflush(stdout);
	_exit(0);	/* the mount ends with it */
}
