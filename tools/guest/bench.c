// SPDX-License-Identifier: GPL-2.0
/*
 * bench - what a notification costs a server, with libfuse and the system call
 *
 * As the suite fuse_inval_bench, from user space: names are cached, and the clock runs
 * while the server notifies them; and how long that takes for a name which is not
 * cached, while a request of the server's holds the lock of the directory. It says
 * numbers and judges none of them.
 */

#define _GNU_SOURCE
#define FUSE_USE_VERSION 312

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MOUNT	"/tmp/bench"
#define ROUNDS	15	/* the median counts */
#define BATCH	128	/* calls between two looks at the clock */
#define DIR_INO	2UL
#define FILE_INO 1000UL	/* of the first one */

enum call { INVAL, EXPIRE, DELETE, CALLS };
enum entry { NEGATIVE, FILES, ABSENT, ENTRIES };	/* names begin with n, f, a */

static const char * const calls[] = { "inval", "expire", "delete" };
static const char * const entries[] = { "negative", "file", "absent" };
static struct fuse_session *session;
static sem_t held;
static unsigned int hold_ms;

static unsigned long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;

	return x < y ? -1 : x > y;
}

static void say(const char *what, unsigned int size, unsigned long *values, const char *unit)
{
	qsort(values, ROUNDS, sizeof(*values), compare);
	printf("# user: bench: %s, %u: %lu %s, %lu to %lu\n", what, size, values[ROUNDS / 2],
	       unit, values[0], values[ROUNDS - 1]);
}

static void fail(const char *what, const char *name, int answer)
{
	printf("# %s of %s answered %d\nnot ok 1 bench\n", what, name, answer);
	exit(1);
}

/*
 * The server.
 */

static void do_init(void *data, struct fuse_conn_info *conn)
{
	(void)data;
	conn->want &= ~(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
}

static void do_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct fuse_entry_param e = { .entry_timeout = 3600, .attr_timeout = 3600 };

	if (dir == FUSE_ROOT_ID && *name == 'f') {
		e.ino = FILE_INO + strtoul(name + 1, NULL, 10);
		e.attr.st_mode = S_IFREG | 0644;
	} else if (dir == FUSE_ROOT_ID && *name == 'd') {
		e.ino = DIR_INO;
		e.attr.st_mode = S_IFDIR | 0755;
	}
	e.attr.st_ino = e.ino;
	e.attr.st_nlink = 1;
	fuse_reply_entry(req, &e);
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = { .st_ino = ino, .st_nlink = 1 };

	(void)fi;
	st.st_mode = ino < FILE_INO ? S_IFDIR | 0755 : S_IFREG | 0644;
	fuse_reply_attr(req, &st, 3600);
}

/* The kernel holds the directory's lock until this answers. */
static void do_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode)
{
	(void)dir;
	(void)name;
	(void)mode;
	sem_post(&held);
	usleep(hold_ms * 1000);
	fuse_reply_err(req, EPERM);
}

static const struct fuse_lowlevel_ops ops = {
	.init = do_init, .lookup = do_lookup, .getattr = do_getattr, .mkdir = do_mkdir,
};

static void *serve(void *unused)
{
	(void)unused;
	exit(fuse_session_loop(session) ? 1 : 0);
}

static int notify(enum call call, fuse_ino_t dir, fuse_ino_t child, const char *name)
{
	size_t len = strlen(name);

	if (call == INVAL)
		return fuse_lowlevel_notify_inval_entry(session, dir, name, len);
	if (call == DELETE)
		return fuse_lowlevel_notify_delete(session, dir, child, name, len);
#if FUSE_MINOR_VERSION < 15
	return fuse_lowlevel_notify_expire_entry(session, dir, name, len, FUSE_LL_EXPIRE_ONLY);
#else
	return fuse_lowlevel_notify_expire_entry(session, dir, name, len);
#endif
}

/*
 * The measurements.
 */

/* What a name leads to is kept open until the clock has stopped, so no call has to evict it. */
static void measure(enum call call, enum entry entry)
{
	int i, round, answer, expected = entry == ABSENT ? -ENOENT : 0, fds[BATCH], refused;
	unsigned long values[ROUNDS], start;
	char names[BATCH][8], path[32];

	for (i = 0; i < BATCH; i++)
		snprintf(names[i], sizeof(names[i]), "%c%d", *entries[entry], i);
	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < BATCH && entry != ABSENT; i++) {
			snprintf(path, sizeof(path), MOUNT "/%s", names[i]);
			fds[i] = open(path, O_PATH);
			refused = fds[i] < 0;
			if (entry == NEGATIVE ? !refused : refused)
				fail("open", path, errno);
		}
		start = now();
		for (i = 0; i < BATCH; i++) {
			answer = notify(call, FUSE_ROOT_ID, FILE_INO + i, names[i]);
			if (answer != expected)
				fail(calls[call], names[i], answer);
		}
		values[round] = (now() - start) / BATCH;
		for (i = 0; i < BATCH && entry == FILES; i++)
			close(fds[i]);
	}
	snprintf(path, sizeof(path), "%s %s", calls[call], entries[entry]);
	say(path, BATCH, values, "ns");
}

static void *make_dir(void *unused)
{
	if (!mkdir(MOUNT "/d/new", 0755))
		fail("mkdir", "d/new", 0);
	return unused;
}

static void measure_held(unsigned int ms)
{
	unsigned long values[ROUNDS], start;
	pthread_t thread;
	int round, answer;

	hold_ms = ms;
	for (round = 0; round < ROUNDS; round++) {
		pthread_create(&thread, NULL, make_dir, NULL);
		sem_wait(&held);
		start = now();
		answer = notify(INVAL, DIR_INO, 0, "absent");
		values[round] = (now() - start) / 1000;
		if (answer != -ENOENT)
			fail("inval", "absent", answer);
		pthread_join(thread, NULL);
	}
	say("inval absent, a request holds the directory for ms", ms, values, "us");
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
	       pthread_create(&thread, NULL, serve, NULL) || stat(MOUNT "/d", &st);
}

int main(void)
{
	static const unsigned int mss[] = { 1, 10, 100 };
	enum entry entry;
	enum call call;
	size_t i;

	setlinebuf(stdout);
	printf("KTAP version 1\n1..1\n");
	if (prepare())
		fail("mount", MOUNT, errno);
	for (entry = 0; entry < ENTRIES; entry++)
		for (call = 0; call < CALLS; call++)
			measure(call, entry);
	for (i = 0; i < sizeof(mss) / sizeof(*mss); i++)
		measure_held(mss[i]);
	printf("ok 1 bench\n");
	fflush(stdout);
	_exit(0);	/* the mount ends with it */
}
