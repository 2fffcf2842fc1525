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
#define FILES		100000
#define NODES		(FILES + 10)
#include "../../testing/selftests/filesystems/fuse/fuse_test_server.h"

#define HOLD_MS		100
#define NAMES		20000

static fuse_ino_t dir;

/* In microseconds. */
static unsigned long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000UL + ts.tv_nsec / 1000;
}

static void say(const char *what, unsigned long n, const char *unit)
{
	printf("# user: bench: %s: %lu %s, %lu to %lu\n", what, n, unit, n, n);
}

static int inval(const char *name)
{
	return fuse_lowlevel_notify_inval_entry(srv.se, dir, name, strlen(name));
}

static int look_at(char kind, int i)
{
	char path[32];

	snprintf(path, sizeof(path), "d/%c%d", kind, i);
	return look(path);
}

/* A name that is looked at all the time, and notified once a millisecond, for a second. */
static void measure_name(struct __test_metadata *_metadata)
{
	unsigned long calls = 0, notified = 0, start = now();
	int lookups;

	srv.requests[FUSE_LOOKUP] = 0;
	while (now() < start + 1000000) {
		ASSERT_EQ(0, look_at('f', 0));
		calls++;
		if (now() >= start + notified * 1000) {
			ASSERT_EQ(0, inval("f0"));
			notified++;
		}
	}
	lookups = srv.requests[FUSE_LOOKUP];
	say("notified each ms: LOOKUPs per second", lookups, "calls");
	say("notified each ms: of 10000 stat(), cached", (calls - lookups) * 10000 / calls,
	    "calls");
}

/* Names that do not exist, one after another. */
static void measure_lookup(struct __test_metadata *_metadata)
{
	unsigned long start = now();
	int i;

	for (i = 0; i < NAMES; i++)
		ASSERT_EQ(-ENOENT, look_at('x', i));
	say("a LOOKUP takes", (now() - start) * 1000 / NAMES, "ns");
}

/* The kernel holds the directory's lock until this has returned. */
static void hold(void)
{
	usleep(HOLD_MS * 1000);
}

static void *make_dir(void *unused)
{
	mkdir("d/new", 0755);
	return NULL;
}

static void measure_held(struct __test_metadata *_metadata)
{
	unsigned long start;
	pthread_t thread;

	srv.at_stop = hold;
	srv.stop = FUSE_MKDIR;
	ASSERT_EQ(0, pthread_create(&thread, NULL, make_dir, NULL));
	server_stopped(_metadata);
	start = now();
	EXPECT_EQ(-ENOENT, inval("absent"));
	say("inval absent, a request held for ms, 100", now() - start, "us");
	pthread_join(thread, NULL);
}

static void stop_again(void)
{
	srv.stop = FUSE_READDIRPLUS;
}

static void *inval_when_read(void *unused)
{
	while (!sem_wait(&srv.stopped))
		inval("f0");
	return NULL;
}

/* A directory that is listed while f0 in it is notified, once in each READDIRPLUS. */
static void measure_directory(struct __test_metadata *_metadata)
{
	pthread_t thread;
	char name[16];
	int i;

	for (i = 1; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		server_make(dir, name, S_IFREG | 0644);
	}
	srv.at_stop = stop_again;
	srv.stop = FUSE_READDIRPLUS;
	ASSERT_EQ(0, pthread_create(&thread, NULL, inval_when_read, NULL));
	ASSERT_TRUE(!listed("d", "not there"));
	srv.requests[FUSE_LOOKUP] = 0;
	for (i = 0; i < FILES; i++)
		ASSERT_EQ(0, look_at('f', i));
	say("listed and notified: names cached, 100000", FILES - srv.requests[FUSE_LOOKUP],
	    "names");
}

FIXTURE(bench) {};

FIXTURE_SETUP(bench)
{
	const char *problem = new_namespaces() ?: server_mount();

	ASSERT_EQ(NULL, problem)
		TH_LOG("%s: %s", problem, strerror(errno));
	dir = server_add("d", S_IFDIR);
	server_add("d/f0", S_IFREG);
	server_run(_metadata);
	alarm(0);	/* this takes as long as it takes */
	ASSERT_EQ(0, chdir(MNT));
}

FIXTURE_TEARDOWN(bench)
{
	server_end(_metadata);
}

TEST_F_TIMEOUT(bench, user, 600)
{
	measure_name(_metadata);
	measure_lookup(_metadata);
	measure_held(_metadata);
	measure_directory(_metadata);
}

TEST_HARNESS_MAIN
