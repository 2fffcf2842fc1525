// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit benchmark of fuse_reverse_inval_entry(): what a call costs, by what is cached for the name
 * and by how much else is cached, and what it costs others: who asks the server about names, and
 * who notifies at the same time.
 *
 * It says numbers and judges none of them: they mean something only beside those of another
 * kernel, on the same machine at the same time.
 */

#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/sort.h>

#include "fixture.h"

#define BENCH_ROUNDS	15	/* the median counts */
#define BENCH_BATCH	512	/* calls between two looks at the clock */
#define BENCH_THREADS	4	/* at most; more than processors, maybe */
#define BENCH_LISTED	16	/* names in the directory of threads */

static int bench_compare(const void *a, const void *b)
{
	return cmp_int(*(const u64 *)a, *(const u64 *)b);
}

/* For whoever compares two kernels: what was done, to how many, and the median. */
static void bench_say(struct kunit *test, const char *what, u64 *values, unsigned int nr)
{
	sort(values, nr, sizeof(*values), bench_compare, NULL);
	kunit_info(test, "bench: %s: %llu ns, %llu to %llu\n", what, values[nr / 2], values[0],
		   values[nr - 1]);
}

/* Negative entries beside, or below, what is notified. The server need not know. */
static void bench_fill(struct kunit *test, struct dentry *dir, unsigned int nr)
{
	struct dentry *dentry;
	char name[16];

	for (unsigned int i = 0; i < nr; i++) {
		snprintf(name, sizeof(name), "other%u", i);
		dentry = d_alloc_name(dir, name);
		KUNIT_ASSERT_NOT_NULL(test, dentry);
		d_add(dentry, NULL);
		dput(dentry);
	}
}

/* As fuse_fx_notify(), without what that notes and checks. */
static int bench_notify(struct fuse_conn *fc, u64 parent, u64 child, const char *name, u32 flags)
{
	int err;

	down_read(&fc->killsb);
	err = fuse_reverse_inval_entry(fc, parent, child, &QSTR(name), flags);
	up_read(&fc->killsb);
	return err;
}

/* What is notified. */
static const struct bench_row {
	const char *what;
	unsigned int size;	/* names in the directory, or below the entry if that is one */
	umode_t mode;		/* of what the name leads to: 0 if the server has nothing */
	u32 flags;
	bool delete;
	bool absent;		/* nothing is cached */
} bench_rows[] = {
	{ "inval negative, 10", 10 },
	{ "expire negative, 10", 10, .flags = FUSE_EXPIRE_ONLY },
	{ "delete negative, 10", 10, .delete = true },
	{ "inval file, 10", 10, S_IFREG | 0644 },
	{ "expire file, 10", 10, S_IFREG | 0644, FUSE_EXPIRE_ONLY },
	{ "delete file, 10", 10, S_IFREG | 0644, .delete = true },
	{ "inval file, 100000", 100000, S_IFREG | 0644 },
	{ "inval absent, 10", 10, .absent = true },
	{ "inval directory, 10", 10, S_IFDIR | 0755 },
};

KUNIT_ARRAY_PARAM_DESC(bench_row, bench_rows, what);

/* Nanoseconds of a call. */
static void cost(struct kunit *test)
{
	static char paths[BENCH_BATCH][16];
	static u64 children[BENCH_BATCH];
	const struct bench_row *row = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct fuse_conn *fc = get_fuse_conn_super(fx->mnt->mnt_sb);
	u64 parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755), nodeid = U64_MAX;
	u64 values[BENCH_ROUNDS], start;
	unsigned int i, round, wrong = 0;
	struct dentry *dentry;

	bench_fill(test, fuse_fx_hold(fx, "dir"), row->size);
	for (i = 0; i < BENCH_BATCH; i++) {
		snprintf(paths[i], sizeof(paths[i]), "dir/%u", i);
		if (row->mode) {
			nodeid = fuse_fake_add(fx->server, paths[i], row->mode);
			/* So that no call has to evict it. */
			fuse_fx_hold_inode(fx, paths[i]);
		}
		children[i] = row->delete ? nodeid : 0;
	}

	for (round = 0; round < BENCH_ROUNDS; round++) {
		for (i = 0; i < BENCH_BATCH && !row->absent; i++) {
			dentry = fuse_fx_lookup_at(fx, parent, kbasename(paths[i]));
			KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dentry);
			if (S_ISDIR(row->mode))
				bench_fill(test, dentry, row->size);
			dput(dentry);
		}
		start = ktime_get_ns();
		for (i = 0; i < BENCH_BATCH; i++)
			wrong += bench_notify(fc, parent, children[i], paths[i] + strlen("dir/"),
					      row->flags) != (row->absent ? -ENOENT : 0);
		values[round] = div_u64(ktime_get_ns() - start, BENCH_BATCH);
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
	fuse_fake_take_back_node(fx->server, 0);
	bench_say(test, row->what, values, BENCH_ROUNDS);
}

static int bench_do_expire(struct fuse_fx_op *op)
{
	return bench_notify(get_fuse_conn_super(op->fx->mnt->mnt_sb), op->parent, 0,
			    kbasename(op->path[0]), FUSE_EXPIRE_ONLY);
}

/* What threads do again and again. */
static const struct bench_work {
	const char *what;
	unsigned int threads;
	int (*call)(struct fuse_fx_op *op);
	const char *path;	/* with the numbers of its directory and of the thread */
	unsigned int calls;
	u32 opcode;		/* the server is asked by each call, or not at all if 0 */
	int expected;
	bool many;		/* a directory for each */
} bench_works[] = {
	{ "expire, one directory, threads, 4", 4, bench_do_expire, "d%u/f%u", 50000 },
	{ "expire, a directory each, threads, 4", 4, bench_do_expire, "d%u/f%u", 50000,
	  .many = true },
	{ "LOOKUP, threads, 1", 1, fuse_fx_do_stat, "d%u/absent%u", 10000, FUSE_LOOKUP, -ENOENT },
	{ "LOOKUP, threads, 4", 4, fuse_fx_do_stat, "d%u/absent%u", 10000, FUSE_LOOKUP, -ENOENT },
	{ "LOOKUP to revalidate, threads, 1", 1, fuse_fx_do_stat, "d%u/f%u", 10000, FUSE_LOOKUP },
	{ "LOOKUP to revalidate, threads, 4", 4, fuse_fx_do_stat, "d%u/f%u", 10000, FUSE_LOOKUP },
	{ "READDIRPLUS of 16, threads, 1", 1, fuse_fx_do_readdir, "d%u/.", 1000, FUSE_READDIRPLUS },
	{ "READDIRPLUS of 16, threads, 4", 4, fuse_fx_do_readdir, "d%u/.", 1000, FUSE_READDIRPLUS },
};

KUNIT_ARRAY_PARAM_DESC(bench_work, bench_works, what);

static int bench_do_work(struct fuse_fx_op *op)
{
	const struct bench_work *work = op->data;

	for (unsigned int i = 0; i < work->calls; i++) {
		if (work->call(op) != work->expected)
			return -EIO;
		cond_resched();
	}
	return 0;
}

/* Nanoseconds until all threads have ended, divided by their calls. */
static void threads(struct kunit *test)
{
	const struct bench_work *work = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct kunit_thread *running[BENCH_THREADS];
	struct fuse_fx_op ops[BENCH_THREADS] = {};
	static char paths[BENCH_THREADS][16];	/* they outlive a test that fails */
	char path[16];
	u64 values[BENCH_ROUNDS / 3], start;
	unsigned int i, name, round, asked, nr = work->threads;

	for (i = 0; i < nr; i++) {
		snprintf(paths[i], sizeof(paths[i]), work->path, work->many ? i : 0, i);
		ops[i].path[0] = paths[i];
		ops[i].parent = ops[0].parent;
		ops[i].data = (void *)work;
		if (i && !work->many)
			continue;
		snprintf(path, sizeof(path), "d%u", i);
		ops[i].parent = fuse_fake_add(fx->server, path, S_IFDIR | 0755);
		fuse_fx_hold(fx, path);
		/* Whoever looks at a name in it asks for that, each time. */
		fx->server->entry_valid = 0;
		fx->server->negative_valid = 0;
		for (name = 0; name < BENCH_LISTED; name++) {
			snprintf(path, sizeof(path), "d%u/f%u", i, name);
			fuse_fake_add(fx->server, path, S_IFREG | 0644);
			FUSE_ASSERT_ERR(test, fuse_fx_stat(fx, path), 0);
		}
	}
	asked = fuse_fake_requests(fx->server, work->opcode);

	for (round = 0; round < ARRAY_SIZE(values); round++) {
		start = ktime_get_ns();
		for (i = 0; i < nr; i++)
			running[i] = fuse_fx_run(fx, bench_do_work, &ops[i]);
		for (i = 0; i < nr; i++)
			fuse_fx_join(fx, running[i], work->what, 0);
		values[round] = div_u64(ktime_get_ns() - start, nr * work->calls);
	}
	asked = fuse_fake_requests(fx->server, work->opcode) - asked;
	if (work->opcode)
		KUNIT_EXPECT_GE(test, asked, ARRAY_SIZE(values) * nr * work->calls);
	fuse_fake_take_back_node(fx->server, 0);
	bench_say(test, work->what, values, ARRAY_SIZE(values));
}

static struct kunit_case fuse_inval_bench_cases[] = {
	KUNIT_CASE_PARAM(cost, bench_row_gen_params),
	KUNIT_CASE_PARAM(threads, bench_work_gen_params),
	{}
};

static struct kunit_suite fuse_inval_bench_suite = {
	.name		= "fuse_inval_bench",
	.attr.speed	= KUNIT_SPEED_SLOW,
	.init		= fuse_fx_init,
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_inval_bench_cases,
};

kunit_test_suite(fuse_inval_bench_suite);
