// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit benchmark of fuse_reverse_inval_entry(): what a call costs, by what is
 * cached for the name and by how much else is cached, and how long it waits.
 *
 * It says numbers and judges none of them: they mean something only beside those
 * of another kernel, on the same machine at the same time.
 */

#include <linux/dcache.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/mount.h>
#include <linux/sort.h>

#include <kunit/test.h>
#include <kunit/thread.h>

#include "../fuse_i.h"
#include "export.h"
#include "fixture.h"

#define BENCH_ROUNDS	15	/* the median counts */
#define BENCH_BATCH	512	/* calls between two looks at the clock, at most */
#define BENCH_THREADS	4
#define BENCH_CALLS	50000	/* of a thread */

enum bench_entry { BENCH_NEGATIVE, BENCH_FILE, BENCH_DIRECTORY, BENCH_ABSENT };
enum bench_call { BENCH_INVAL, BENCH_EXPIRE, BENCH_DELETE };

/* A row of the results; @size is what it varies. */
struct bench_row {
	enum bench_entry entry;
	enum bench_call call;
	unsigned int size;
};

static const char * const bench_entries[] = { "negative", "file", "directory", "absent" };
static const char * const bench_calls[] = { "inval", "expire", "delete" };

static int bench_compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* For whoever compares two kernels: what was done, to how many, and the median. */
static void bench_say(struct kunit *test, const char *what, unsigned int size, u64 *values,
		      unsigned int nr, const char *unit)
{
	sort(values, nr, sizeof(*values), bench_compare, NULL);
	kunit_info(test, "bench: %s, %u: %llu %s, %llu to %llu\n", what, size, values[nr / 2],
		   unit, values[0], values[nr - 1]);
}

/* Negative entries beside, or below, what is notified. The server need not know. */
static void bench_fill(struct kunit *test, struct dentry *dir, unsigned int nr)
{
	struct dentry *dentry;
	char name[16];
	unsigned int i;

	for (i = 0; i < nr; i++) {
		snprintf(name, sizeof(name), "other%u", i);
		dentry = d_alloc_name(dir, name);
		KUNIT_EXPECT_NOT_NULL(test, dentry);
		if (!dentry)
			return;
		d_add(dentry, NULL);
		dput(dentry);
	}
}

static struct dentry *bench_dir(struct fuse_fixture *fx, const char *path)
{
	fuse_fake_add(fx->server, path, S_IFDIR | 0755);
	return fuse_fx_hold(fx, path);
}

/* As fuse_fx_notify(), without what that notes and checks. */
static int bench_notify(struct fuse_conn *fc, u64 parent, u64 child, const char *name, u32 flags)
{
	struct qstr qname = QSTR(name);
	int err;

	down_read(&fc->killsb);
	err = fuse_kunit_reverse_inval_entry(fc, parent, child, &qname, flags);
	up_read(&fc->killsb);
	return err;
}

struct bench_names {
	char name[BENCH_BATCH][16];
	u64 nodeid[BENCH_BATCH];
	struct inode *inode[BENCH_BATCH];
};

/*
 * Look the names up. What they lead to is held until the clock has stopped, so
 * that no call has to evict it.
 */
static void bench_cache(struct kunit *test, u64 parent, struct bench_names *names, unsigned int nr)
{
	const struct bench_row *row = test->param_value;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct dentry *dentry = fuse_fx_lookup_at(test->priv, parent, names->name[i]);

		if (row->entry == BENCH_NEGATIVE) {
			KUNIT_EXPECT_PTR_EQ(test, dentry, ERR_PTR(-ENOENT));
			continue;
		}
		KUNIT_EXPECT_NOT_ERR_OR_NULL(test, dentry);
		if (IS_ERR_OR_NULL(dentry))
			continue;
		names->inode[i] = igrab(d_inode(dentry));
		if (row->entry == BENCH_DIRECTORY)
			bench_fill(test, dentry, row->size);
		dput(dentry);
	}
}

/* Nanoseconds of a call, and the number of names in the directory or below the entry. */
static void cost(struct kunit *test)
{
	const struct bench_row *row = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct fuse_conn *fc = get_fuse_conn_super(fx->mnt->mnt_sb);
	u32 flags = row->call == BENCH_EXPIRE ? FUSE_EXPIRE_ONLY : 0;
	bool directory = row->entry == BENCH_DIRECTORY;
	unsigned int nr = directory ? clamp(20000 / row->size, 1, BENCH_BATCH) : BENCH_BATCH;
	int expected = row->entry == BENCH_ABSENT ? -ENOENT : 0;
	struct bench_names *names = kunit_kzalloc(test, sizeof(*names), GFP_KERNEL);
	struct dentry *dir = bench_dir(fx, "dir");
	u64 parent = get_node_id(d_inode(dir)), values[BENCH_ROUNDS], start;
	umode_t mode = (directory ? S_IFDIR : S_IFREG) | 0644;
	unsigned int i, round, wrong = 0;
	char what[32];

	KUNIT_ASSERT_NOT_NULL(test, names);
	bench_fill(test, dir, directory ? 10 : row->size);
	for (i = 0; i < nr; i++) {
		snprintf(names->name[i], sizeof(names->name[i]), "%u", i);
		names->nodeid[i] = ~0ULL;
		if (row->entry == BENCH_FILE || directory)
			KUNIT_ASSERT_EQ(test, fuse_fake_add_to(fx->server, parent, names->name[i],
							       mode, &names->nodeid[i]), 0);
	}

	for (round = 0; round < BENCH_ROUNDS; round++) {
		if (row->entry != BENCH_ABSENT)
			bench_cache(test, parent, names, nr);
		start = ktime_get_ns();
		for (i = 0; i < nr; i++)
			wrong += bench_notify(fc, parent,
					      row->call == BENCH_DELETE ? names->nodeid[i] : 0,
					      names->name[i], flags) != expected;
		values[round] = div_u64(ktime_get_ns() - start, nr);
		for (i = 0; i < nr; i++) {
			iput(names->inode[i]);
			names->inode[i] = NULL;
		}
		/* The server forgets what has gone before it is asked again. */
		fuse_fake_settle(fx->server);
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
	fuse_fake_take_back_all(fx->server);
	snprintf(what, sizeof(what), "%s %s", bench_calls[row->call], bench_entries[row->entry]);
	bench_say(test, what, row->size, values, BENCH_ROUNDS, "ns");
}

static int bench_do_absent(struct fuse_fx_op *op)
{
	u64 *ns = op->data, start = ktime_get_ns();
	int err;

	err = bench_notify(get_fuse_conn_super(op->fx->mnt->mnt_sb), op->parent, 0, "absent", 0);
	*ns = ktime_get_ns() - start;
	return err;
}

/* How long a call for a name that is not cached takes while the directory is locked. */
static void wait(struct kunit *test)
{
	const unsigned int *ms = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct dentry *dir = bench_dir(fx, "dir");
	u64 *ns = kunit_kzalloc(test, sizeof(*ns), GFP_KERNEL); /* outlives the thread */
	struct fuse_fx_op op = { .parent = get_node_id(d_inode(dir)), .data = ns };
	u64 values[BENCH_ROUNDS / 3];
	unsigned int round;
	int err;

	KUNIT_ASSERT_NOT_NULL(test, ns);
	for (round = 0; round < ARRAY_SIZE(values); round++) {
		struct fuse_fx_gate *gate = fuse_fx_gate(fx, dir);
		struct kunit_thread *thread;

		thread = fuse_fx_run(fx, bench_do_absent, &op);
		fsleep(*ms * 1000);
		fuse_fx_gate_open(gate);
		KUNIT_ASSERT_TRUE(test, kunit_thread_join(thread, &err));
		KUNIT_EXPECT_EQ(test, err, -ENOENT);
		values[round] = div_u64(*ns, 1000);
		/* The call did not wait for this, but the next gate would. */
		KUNIT_ASSERT_TRUE(test, kunit_thread_join(gate->thread, &err));
	}
	bench_say(test, "inval absent, the directory locked for ms", *ms, values,
		  ARRAY_SIZE(values), "us");
}

static int bench_do_calls(struct fuse_fx_op *op)
{
	struct fuse_conn *fc = get_fuse_conn_super(op->fx->mnt->mnt_sb);
	unsigned int i;

	for (i = 0; i < BENCH_CALLS; i++) {
		if (bench_notify(fc, op->parent, 0, op->path[0], FUSE_EXPIRE_ONLY))
			return -EIO;
		cond_resched();
	}
	return 0;
}

static void bench_threads(struct kunit *test, const char *what, bool many)
{
	const unsigned int *nr = test->param_value;
	static const char * const dirs[] = { "d0", "d1", "d2", "d3" };
	static const char * const names[] = { "f0", "f1", "f2", "f3" };
	struct kunit_thread *threads[BENCH_THREADS];
	struct fuse_fixture *fx = test->priv;
	u64 values[BENCH_ROUNDS / 3], start;
	u64 parents[BENCH_THREADS];
	unsigned int i, round;
	char path[16];
	int err;

	for (i = 0; i < *nr; i++) {
		const char *dir = dirs[many ? i : 0];

		if (many || !i)
			bench_dir(fx, dir);
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		fuse_fake_add(fx->server, path, S_IFREG | 0644);
		KUNIT_ASSERT_EQ(test, fuse_fx_stat(fx, path), 0);
		parents[i] = fuse_fake_find(fx->server, FUSE_ROOT_ID, dir);
	}
	for (round = 0; round < ARRAY_SIZE(values); round++) {
		start = ktime_get_ns();
		for (i = 0; i < *nr; i++) {
			struct fuse_fx_op op = { .parent = parents[i], .path = { names[i] } };

			threads[i] = fuse_fx_run(fx, bench_do_calls, &op);
		}
		for (i = 0; i < *nr; i++) {
			KUNIT_ASSERT_TRUE(test, kunit_thread_join(threads[i], &err));
			KUNIT_EXPECT_EQ(test, err, 0);
		}
		values[round] = div64_u64(*nr * BENCH_CALLS * 1000000ULL, ktime_get_ns() - start);
	}
	fuse_fake_take_back_all(fx->server);
	bench_say(test, what, *nr, values, ARRAY_SIZE(values), "calls/ms");
}

static void one_directory(struct kunit *test)
{
	bench_threads(test, "expire, one directory, threads", false);
}

static void many_directories(struct kunit *test)
{
	bench_threads(test, "expire, a directory each, threads", true);
}

static const struct bench_row bench_rows[] = {
	{ BENCH_NEGATIVE, BENCH_INVAL, 10 },
	{ BENCH_NEGATIVE, BENCH_INVAL, 1000 },
	{ BENCH_NEGATIVE, BENCH_INVAL, 100000 },
	{ BENCH_NEGATIVE, BENCH_EXPIRE, 10 },
	{ BENCH_NEGATIVE, BENCH_EXPIRE, 1000 },
	{ BENCH_NEGATIVE, BENCH_EXPIRE, 100000 },
	{ BENCH_NEGATIVE, BENCH_DELETE, 10 },
	{ BENCH_NEGATIVE, BENCH_DELETE, 1000 },
	{ BENCH_NEGATIVE, BENCH_DELETE, 100000 },
	{ BENCH_FILE, BENCH_INVAL, 10 },
	{ BENCH_FILE, BENCH_INVAL, 1000 },
	{ BENCH_FILE, BENCH_INVAL, 100000 },
	{ BENCH_FILE, BENCH_EXPIRE, 10 },
	{ BENCH_FILE, BENCH_EXPIRE, 1000 },
	{ BENCH_FILE, BENCH_EXPIRE, 100000 },
	{ BENCH_FILE, BENCH_DELETE, 10 },
	{ BENCH_FILE, BENCH_DELETE, 1000 },
	{ BENCH_FILE, BENCH_DELETE, 100000 },
	{ BENCH_ABSENT, BENCH_INVAL, 10 },
	{ BENCH_ABSENT, BENCH_INVAL, 1000 },
	{ BENCH_ABSENT, BENCH_INVAL, 100000 },
	{ BENCH_ABSENT, BENCH_EXPIRE, 10 },
	{ BENCH_ABSENT, BENCH_EXPIRE, 1000 },
	{ BENCH_ABSENT, BENCH_EXPIRE, 100000 },
	{ BENCH_ABSENT, BENCH_DELETE, 10 },
	{ BENCH_ABSENT, BENCH_DELETE, 1000 },
	{ BENCH_ABSENT, BENCH_DELETE, 100000 },
	{ BENCH_DIRECTORY, BENCH_INVAL, 10 },
	{ BENCH_DIRECTORY, BENCH_INVAL, 100 },
	{ BENCH_DIRECTORY, BENCH_INVAL, 1000 },
	{ BENCH_DIRECTORY, BENCH_INVAL, 10000 },
};

static void bench_row_desc(const struct bench_row *row, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s.%s.%u", bench_entries[row->entry],
		 bench_calls[row->call], row->size);
}

KUNIT_ARRAY_PARAM(bench_row, bench_rows, bench_row_desc);

static const unsigned int bench_mss[] = { 1, 10, 100 };
static const unsigned int bench_nrs[] = { 1, 2, 3, 4 };

static void bench_number_desc(const unsigned int *number, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u", *number);
}

KUNIT_ARRAY_PARAM(bench_ms, bench_mss, bench_number_desc);
KUNIT_ARRAY_PARAM(bench_nr, bench_nrs, bench_number_desc);

static const struct kunit_attributes bench_slow = { .speed = KUNIT_SPEED_SLOW };

static struct kunit_case fuse_inval_bench_cases[] = {
	KUNIT_CASE_PARAM_ATTR(cost, bench_row_gen_params, bench_slow),
	KUNIT_CASE_PARAM_ATTR(wait, bench_ms_gen_params, bench_slow),
	KUNIT_CASE_PARAM_ATTR(one_directory, bench_nr_gen_params, bench_slow),
	KUNIT_CASE_PARAM_ATTR(many_directories, bench_nr_gen_params, bench_slow),
	{}
};

static struct kunit_suite fuse_inval_bench_suite = {
	.name		= "fuse_inval_bench",
	.init		= fuse_fx_init,
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_inval_bench_cases,
};

kunit_test_suite(fuse_inval_bench_suite);
