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

#include "server.h"

#include <dirent.h>
#include <semaphore.h>

#define DIR_INO		2UL
#define FILE_INO	1000UL	/* of the first one */
#define FILES		100000
#define HOLD_MS		100
#define NAMES		20000

static atomic_ulong lookups;
static sem_t held, reading;

static void say(const char *what, unsigned long n, const char *unit)
{
	printf("# user: bench: %s: %lu %s, %lu to %lu\n", what, n, unit, n, n);
}

/* The server: a directory d with the files f0, f1, ... */

static bool is_dir(fuse_ino_t ino)
{
	return ino < FILE_INO;
}

static void do_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct fuse_entry_param e = entry(0);

	lookups++;
	if (dir == DIR_INO && *name == 'f')
		e = entry(FILE_INO + strtoul(name + 1, NULL, 10));
	else if (dir == FUSE_ROOT_ID && *name == 'd')
		e = entry(DIR_INO);
	fuse_reply_entry(req, &e);
}

static void do_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	char buf[1 << 16], name[24];
	size_t used = 0, len;

	if (size > sizeof(buf))
		size = sizeof(buf);
	sem_post(&reading);
	for (; off < FILES; off++) {
		struct fuse_entry_param e = entry(FILE_INO + off);

		snprintf(name, sizeof(name), "f%ld", off);
		len = fuse_add_direntry_plus(req, buf + used, size - used, name, &e, off + 1);
		if (used + len > size)
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

static int inval(const char *name)
{
	int answer = fuse_lowlevel_notify_inval_entry(session, DIR_INO, name, strlen(name));

	if (answer && answer != -ENOENT)
		fail("inval", name, answer);
	return answer;
}

static void stat_name(int i)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), MOUNT "/d/f%d", i);
	if (stat(path, &st))
		fail("stat", path, errno);
}

/* A name that is looked at all the time, and notified once a millisecond, for a second. */
static void measure_name(void)
{
	unsigned long calls = 0, notified = 0, start = now();

	lookups = 0;
	while (now() < start + 1000000) {
		if (now() >= start + notified * 1000) {
			inval("f0");
			notified++;
		}
		stat_name(0);
		calls++;
	}
	say("notified each ms: LOOKUPs per second", lookups, "calls");
	say("notified each ms: of 10000 stat(), cached", (calls - lookups) * 10000 / calls,
	    "calls");
}

/* Names that do not exist, one after another. */
static void measure_lookup(void)
{
	unsigned long start = now();
	char path[32];
	int i;

	for (i = 0; i < NAMES; i++) {
		snprintf(path, sizeof(path), MOUNT "/d/x%d", i);
		if (!access(path, F_OK))
			fail("access", path, 0);
	}
	say("a LOOKUP takes", (now() - start) * 1000 / NAMES, "ns");
}

static void *inval_when_read(void *unused)
{
	while (!sem_wait(&reading))
		inval("f0");
	return NULL;
}

/* A directory that is listed while f0 in it is notified, once in each READDIRPLUS. */
static void measure_directory(void)
{
	pthread_t thread;
	int i, listed = 0;
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
	say("listed and notified: names cached, 100000", FILES - lookups, "names");
}

static void *make_dir(void *unused)
{
	if (!mkdir(MOUNT "/d/new", 0755))
		fail("mkdir", "d/new", 0);
	return NULL;
}

static void measure_held(void)
{
	unsigned long start;
	pthread_t thread;

	pthread_create(&thread, NULL, make_dir, NULL);
	sem_wait(&held);
	start = now();
	if (!inval("absent"))
		fail("inval", "absent", 0);
	say("inval absent, a request held for ms, 100", now() - start, "us");
	pthread_join(thread, NULL);
}

int main(void)
{
	pthread_t thread;

	setlinebuf(stdout);
	printf("KTAP version 1\n1..1\n");
	if (sem_init(&held, 0, 0) || sem_init(&reading, 0, 0) ||
	    !start_server(&ops, &thread, serve))
		fail("mount", MOUNT, errno);
	measure_name();
	measure_lookup();
	measure_directory();
	measure_held();
	printf("ok 1 bench\n");
	fflush(stdout);
	_exit(0);	/* the mount ends with it */
}
