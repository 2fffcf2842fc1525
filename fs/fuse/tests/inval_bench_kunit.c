// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit benchmark of fuse_reverse_inval_entry(): what a call costs, by what is
 * cached for the name and by how much else is cached, and what it costs others:
 * who asks the server about names, and who notifies at the same time.
 *
 * It says numbers and judges none of them: they mean something only beside those
 * of another kernel, on the same machine at the same time.
 */

#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/mount.h>
#include <linux/sort.h>
#include <linux/string.h>

#include <kunit/test.h>
#include <kunit/thread.h>

#include "../fuse_i.h"
#include "fixture.h"

#define BENCH_ROUNDS	15	/* the median counts */
#define BENCH_BATCH	512	/* calls between two looks at the clock, at most */
#define BENCH_THREADS	4	/* at most; more than processors, maybe */
#define BENCH_LISTED	16	/* names in the directory of threads */

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
		      unsigned int nr)
{
	sort(values, nr, sizeof(*values), bench_compare, NULL);
	kunit_info(test, "bench: %s, %u: %llu ns, %llu to %llu\n", what, size, values[nr / 2],
		   values[0], values[nr - 1]);
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
	err = fuse_reverse_inval_entry(fc, parent, child, &qname, flags);
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
	char what[32], path[16];

	KUNIT_ASSERT_NOT_NULL(test, names);
	bench_fill(test, dir, directory ? 10 : row->size);
	for (i = 0; i < nr; i++) {
		snprintf(path, sizeof(path), "dir/%u", i);
		strscpy(names->name[i], path + strlen("dir/"));
		names->nodeid[i] = ~0ULL;
		if (row->entry == BENCH_FILE || directory)
			names->nodeid[i] = fuse_fake_add(fx->server, path, mode);
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
	fuse_fake_take_back_node(fx->server, 0);
	snprintf(what, sizeof(what), "%s %s", bench_calls[row->call], bench_entries[row->entry]);
	bench_say(test, what, row->size, values, BENCH_ROUNDS);
}

/* What threads do again and again; @name has room for the number of the thread. */
struct bench_work {
	const char *what;
	int (*call)(struct fuse_fx_op *op);
	const char *name;
	unsigned int calls;
	unsigned int threads;
	bool many;	/* a directory for each */
	int expected;
	u32 opcode;	/* the server is asked by each call, or not at all if 0 */
};

static int bench_do_expire(struct fuse_fx_op *op)
{
	return bench_notify(get_fuse_conn_super(op->fx->mnt->mnt_sb), op->parent, 0,
			    kbasename(op->path[0]), FUSE_EXPIRE_ONLY);
}

static int bench_do_work(struct fuse_fx_op *op)
{
	const struct bench_work *work = op->data;
	unsigned int i;

	for (i = 0; i < work->calls; i++) {
		if (work->call(op) != work->expected)
			return -EIO;
		cond_resched();
	}
	return 0;
}

/* Nanoseconds until all threads have ended, divided by their calls. */
static void threads(struct kunit *test)
{
	static const char * const dirs[BENCH_THREADS] = { "d0", "d1", "d2", "d3" };
	const struct bench_work *work = test->param_value;
	unsigned int nr = work->threads;
	struct kunit_thread *running[BENCH_THREADS];
	u64 values[BENCH_ROUNDS / 3], start;
	char paths[BENCH_THREADS][16];
	struct fuse_fixture *fx = test->priv;
	unsigned int i, name, round, asked;
	u64 parents[BENCH_THREADS];
	int at, err;

	for (i = 0; i < (work->many ? nr : 1); i++) {
		parents[i] = get_node_id(d_inode(bench_dir(fx, dirs[i])));
		/* Whoever looks at a name in it asks for that, each time. */
		fx->server->entry_valid = 0;
		fx->server->negative_valid = 0;
		for (name = 0; name < BENCH_LISTED; name++) {
			snprintf(paths[i], sizeof(paths[i]), "%s/f%u", dirs[i], name);
			fuse_fake_add(fx->server, paths[i], S_IFREG | 0644);
			KUNIT_ASSERT_EQ(test, fuse_fx_stat(fx, paths[i]), 0);
		}
	}
	asked = fuse_fake_requests(fx->server, work->opcode);

	for (round = 0; round < ARRAY_SIZE(values); round++) {
		start = ktime_get_ns();
		for (i = 0; i < nr; i++) {
			struct fuse_fx_op op = { .path = { paths[i] }, .data = (void *)work };

			name = work->many ? i : 0;
			op.parent = parents[name];
			at = snprintf(paths[i], sizeof(paths[i]), "%s/", dirs[name]);
			snprintf(paths[i] + at, sizeof(paths[i]) - at, work->name, i);
			running[i] = fuse_fx_run(fx, bench_do_work, &op);
		}
		for (i = 0; i < nr; i++) {
			KUNIT_ASSERT_TRUE(test, kunit_thread_join(running[i], &err));
			KUNIT_EXPECT_EQ(test, err, 0);
		}
		values[round] = div_u64(ktime_get_ns() - start, nr * work->calls);
	}
	asked = fuse_fake_requests(fx->server, work->opcode) - asked;
	if (work->opcode)
		KUNIT_EXPECT_GE(test, asked, ARRAY_SIZE(values) * nr * work->calls);
	fuse_fake_take_back_node(fx->server, 0);
	bench_say(test, work->what, nr, values, ARRAY_SIZE(values));
}

static const struct bench_row bench_rows[] = {
	{ BENCH_NEGATIVE, BENCH_INVAL, 10 },
	{ BENCH_NEGATIVE, BENCH_EXPIRE, 10 },
	{ BENCH_NEGATIVE, BENCH_DELETE, 10 },
	{ BENCH_FILE, BENCH_INVAL, 10 },
	{ BENCH_FILE, BENCH_EXPIRE, 10 },
	{ BENCH_FILE, BENCH_DELETE, 10 },
	{ BENCH_FILE, BENCH_INVAL, 100000 },
	{ BENCH_ABSENT, BENCH_INVAL, 10 },
	{ BENCH_DIRECTORY, BENCH_INVAL, 10 },
};

static void bench_row_desc(const struct bench_row *row, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s.%s.%u", bench_entries[row->entry],
		 bench_calls[row->call], row->size);
}

KUNIT_ARRAY_PARAM(bench_row, bench_rows, bench_row_desc);

static const struct bench_work bench_works[] = {
	{ "expire, one directory, threads", bench_do_expire, "f%u", 50000, BENCH_THREADS },
	{ "expire, a directory each, threads", bench_do_expire, "f%u", 50000, BENCH_THREADS,
	  .many = true },
	{ "LOOKUP, threads", fuse_fx_do_stat, "absent%u", 10000, 1,
	  .expected = -ENOENT, .opcode = FUSE_LOOKUP },
	{ "LOOKUP, threads", fuse_fx_do_stat, "absent%u", 10000, BENCH_THREADS,
	  .expected = -ENOENT, .opcode = FUSE_LOOKUP },
	{ "LOOKUP to revalidate, threads", fuse_fx_do_stat, "f%u", 10000, 1,
	  .opcode = FUSE_LOOKUP },
	{ "LOOKUP to revalidate, threads", fuse_fx_do_stat, "f%u", 10000, BENCH_THREADS,
	  .opcode = FUSE_LOOKUP },
	{ "READDIRPLUS of 16, threads", fuse_fx_do_readdir, ".", 1000, 1,
	  .opcode = FUSE_READDIRPLUS },
	{ "READDIRPLUS of 16, threads", fuse_fx_do_readdir, ".", 1000, BENCH_THREADS,
	  .opcode = FUSE_READDIRPLUS },
};

static void bench_work_desc(const struct bench_work *work, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s.%u", work->what, work->threads);
}

KUNIT_ARRAY_PARAM(bench_work, bench_works, bench_work_desc);

static const struct kunit_attributes bench_slow = { .speed = KUNIT_SPEED_SLOW };

static struct kunit_case fuse_inval_bench_cases[] = {
	KUNIT_CASE_PARAM_ATTR(cost, bench_row_gen_params, bench_slow),
	KUNIT_CASE_PARAM_ATTR(threads, bench_work_gen_params, bench_slow),
	{}
};

static struct kunit_suite fuse_inval_bench_suite = {
	.name		= "fuse_inval_bench",
	.init		= fuse_fx_init,
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_inval_bench_cases,
};

kunit_test_suite(fuse_inval_bench_suite);
