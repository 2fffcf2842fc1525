// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of fuse_notify(): what becomes of a FUSE_NOTIFY_INVAL_ENTRY or
 * FUSE_NOTIFY_DELETE that a server writes.
 *
 * What a notification does to the cache is the subject of inval_entry_kunit.c. Here
 * is what the fields of a message mean: flags, nodeids, and where the name ends.
 * Malformed messages, which do not get as far as fuse_reverse_inval_entry(), are in
 * tools/testing/selftests/filesystems/fuse/notify_malformed_test.c.
 */

#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <linux/string.h>

#include <kunit/test.h>

#include "../fuse_i.h"
#include "fixture.h"

/**
 * struct cached - What is cached before each test
 * @dir: nodeid of the directory "dir"
 * @file: nodeid of the file "file" in it; "none" is cached as absent
 */
struct cached {
	u64 dir;
	u64 file;
};

static const struct code {
	enum fuse_notify_code code;
	const char *desc;
} codes[] = {
	{ FUSE_NOTIFY_INVAL_ENTRY, "inval_entry" },
	{ FUSE_NOTIFY_DELETE, "delete" },
};

KUNIT_ARRAY_PARAM_DESC(code, codes, desc);

static const char * const names[] = { "file", "none" };

static struct cached fill_cache(struct fuse_fixture *fx)
{
	struct cached cached;

	cached.dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	cached.file = fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(fx->test, fuse_fx_stat(fx, "dir/file"), 0);
	FUSE_EXPECT_ERR(fx->test, fuse_fx_stat(fx, "dir/none"), -ENOENT);
	return cached;
}

/*
 * Both names are still cached, and so are the attributes of their directory, unless
 * the message was about another name in it: then these are asked for.
 */
static void expect_unchanged(struct fuse_fixture *fx, bool other_name)
{
	struct kunit *test = fx->test;
	unsigned int lookups, attrs;

	attrs = fuse_fake_requests(fx->server, FUSE_GETATTR);
	FUSE_EXPECT_ERR(test, fuse_fx_stat_asks(fx, "dir", &lookups), 0);
	KUNIT_EXPECT_EQ(test, lookups, 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat_asks(fx, "dir/file", &lookups), 0);
	KUNIT_EXPECT_EQ(test, lookups, 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat_asks(fx, "dir/none", &lookups), -ENOENT);
	KUNIT_EXPECT_EQ(test, lookups, 0);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(fx->server, FUSE_GETATTR), attrs + other_name);
}

/* What the message says about the length of its name. */
static u32 *namelen(struct fuse_fx_msg *msg)
{
	struct fuse_notify_inval_entry_out *inval = (void *)msg->data;
	struct fuse_notify_delete_out *delete = (void *)msg->data;

	return msg->code == FUSE_NOTIFY_DELETE ? &delete->namelen : &inval->namelen;
}

/* The bug report of 2026-05-30, as it reaches the kernel. */
static void negative(struct kunit *test)
{
	const struct code *code = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct cached cached = fill_cache(fx);
	struct dentry *dir = fuse_fx_hold(fx, "dir");
	struct fuse_fx_msg *msg;
	u64 child;

	child = fuse_fake_add(fx->server, "dir/none", S_IFREG | 0644);
	msg = fuse_fx_msg(fx, code->code, cached.dir, child, "none", 0);

	FUSE_EXPECT_ERR(test, fuse_fx_send(fx, msg), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, dir, "none"));
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/none"), 0);
}

/* Only a delete says that the file is gone, and not just this name of it. */
static void positive(struct kunit *test)
{
	const struct code *code = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct cached cached = fill_cache(fx);
	struct dentry *dir = fuse_fx_hold(fx, "dir");
	struct dentry *file = fuse_fx_hold(fx, "dir/file");
	bool is_delete = code->code == FUSE_NOTIFY_DELETE;
	struct fuse_fx_msg *msg;

	fuse_fake_remove(fx->server, "dir/file");
	msg = fuse_fx_msg(fx, code->code, cached.dir, cached.file, "file", 0);

	FUSE_EXPECT_ERR(test, fuse_fx_send(fx, msg), 0);
	KUNIT_EXPECT_EQ(test, d_inode(file)->i_nlink, is_delete ? 0 : 1);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, dir, "file"));
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), -ENOENT);
}

static void expire(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct cached cached = fill_cache(fx);
	struct dentry *dir = fuse_fx_hold(fx, "dir");
	unsigned int lookups, i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		struct fuse_fx_msg *msg;

		msg = fuse_fx_msg(fx, FUSE_NOTIFY_INVAL_ENTRY, cached.dir, 0, names[i],
				  FUSE_EXPIRE_ONLY);
		FUSE_EXPECT_ERR(test, fuse_fx_send(fx, msg), 0);
		KUNIT_EXPECT_TRUE(test, fuse_fx_cached(fx, dir, names[i]));
	}
	FUSE_EXPECT_ERR(test, fuse_fx_stat_asks(fx, "dir/file", &lookups), 0);
	KUNIT_EXPECT_EQ(test, lookups, 1);
	FUSE_EXPECT_ERR(test, fuse_fx_stat_asks(fx, "dir/none", &lookups), -ENOENT);
	KUNIT_EXPECT_EQ(test, lookups, 1);
}

static const struct flags {
	u32 flags;
	const char *desc;
} unknown_flags[] = {
	{ 0x2,			"lowest" },
	{ 0x80000000,		"highest" },
	{ ~FUSE_EXPIRE_ONLY,	"all" },
	{ ~0,			"all and FUSE_EXPIRE_ONLY" },
};

KUNIT_ARRAY_PARAM_DESC(unknown_flags, unknown_flags, desc);

/*
 * Today's kernel ignores flags that it does not know, and uses the one that it knows:
 * so a server cannot find out by trying which flags a kernel knows.
 */
static void inval_unknown_flags(struct kunit *test)
{
	const struct flags *flags = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct cached cached = fill_cache(fx);
	struct dentry *dir = fuse_fx_hold(fx, "dir");
	struct fuse_fx_msg *msg;

	msg = fuse_fx_msg(fx, FUSE_NOTIFY_INVAL_ENTRY, cached.dir, 0, "file", flags->flags);

	FUSE_EXPECT_ERR(test, fuse_fx_send(fx, msg), 0);
	KUNIT_EXPECT_EQ(test, !!fuse_fx_cached(fx, dir, "file"),
			!!(flags->flags & FUSE_EXPIRE_ONLY));
}

/* A delete has no flags, and today's kernel does not look at the padding. */
static void delete_padding(struct kunit *test)
{
	const struct flags *flags = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct cached cached = fill_cache(fx);
	struct dentry *dir = fuse_fx_hold(fx, "dir");
	struct fuse_fx_msg *msg;

	/* If the padding counted as FUSE_EXPIRE_ONLY, the name would stay hashed. */
	msg = fuse_fx_msg(fx, FUSE_NOTIFY_DELETE, cached.dir, 0, "file", flags->flags);

	FUSE_EXPECT_ERR(test, fuse_fx_send(fx, msg), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, dir, "file"));
}

/* The server deleted another node of that name: only the name is stale. */
static void delete_other_child(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct cached cached = fill_cache(fx);
	struct dentry *dir = fuse_fx_hold(fx, "dir");
	struct dentry *file = fuse_fx_hold(fx, "dir/file");
	struct fuse_fx_msg *msg;

	/* The nodeid differs in a high bit only: all 64 of them count. */
	msg = fuse_fx_msg(fx, FUSE_NOTIFY_DELETE, cached.dir, cached.file | BIT_ULL(32),
			  "file", 0);

	FUSE_EXPECT_ERR(test, fuse_fx_send(fx, msg), -ENOENT);
	KUNIT_EXPECT_EQ(test, d_inode(file)->i_nlink, 1);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, dir, "file"));
}

/* No node has the nodeid 0. In today's kernel that makes the delete an inval. */
static void delete_no_child(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct cached cached = fill_cache(fx);
	struct dentry *dir = fuse_fx_hold(fx, "dir");
	struct dentry *file = fuse_fx_hold(fx, "dir/file");
	struct fuse_fx_msg *msg;

	msg = fuse_fx_msg(fx, FUSE_NOTIFY_DELETE, cached.dir, 0, "file", 0);

	FUSE_EXPECT_ERR(test, fuse_fx_send(fx, msg), 0);
	KUNIT_EXPECT_EQ(test, d_inode(file)->i_nlink, 1);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, dir, "file"));
}

/* Nothing is cached under these names, and nothing can be under most of them. */
static void no_such_name(struct kunit *test)
{
	static const char * const others[] = {
		"", ".", "..", "/", "file/", "/file", "../dir", "never",
		"fil", "file ", "FILE",
	};
	const struct code *code = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct cached cached = fill_cache(fx);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(others); i++) {
		struct fuse_fx_msg *msg;

		msg = fuse_fx_msg(fx, code->code, cached.dir, cached.file, others[i], 0);
		FUSE_EXPECT_ERR_MSG(test, fuse_fx_send(fx, msg), -ENOENT,
				    "'%s'", others[i]);
	}
	expect_unchanged(fx, true);
}

/* A NUL inside the name does not end it: these are not messages about "file". */
static void nul_inside(struct kunit *test)
{
	const struct code *code = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct cached cached = fill_cache(fx);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		struct fuse_fx_msg *msg;

		/* "file\0" */
		msg = fuse_fx_msg(fx, code->code, cached.dir, cached.file, names[i], 0);
		*namelen(msg) += 1;
		msg->size += 1;
		FUSE_EXPECT_ERR(test, fuse_fx_send_malformed(fx, msg), -ENOENT);

		/* "file\0x" */
		*namelen(msg) += 1;
		msg->size += 1;
		msg->data[msg->size - 2] = 'x';
		FUSE_EXPECT_ERR(test, fuse_fx_send_malformed(fx, msg), -ENOENT);
	}
	expect_unchanged(fx, true);
}

static void no_such_parent(struct kunit *test)
{
	const struct code *code = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct cached cached = fill_cache(fx);
	struct fuse_fx_msg *msg;
	unsigned int i;
	const struct {
		u64 nodeid;
		int err;
	} parents[] = {
		{ 0, -ENOENT },
		{ 4711, -ENOENT },
		{ cached.dir | BIT_ULL(32), -ENOENT },
		{ U64_MAX, -ENOENT },
		{ cached.file, -ENOTDIR },
	};

	for (i = 0; i < ARRAY_SIZE(parents); i++) {
		msg = fuse_fx_msg(fx, code->code, parents[i].nodeid, cached.file, "file", 0);
		FUSE_EXPECT_ERR_MSG(test, fuse_fx_send(fx, msg), parents[i].err,
				    "parent %llu", parents[i].nodeid);
	}
	expect_unchanged(fx, false);
}

static struct kunit_case fuse_notify_cases[] = {
	KUNIT_CASE_PARAM(negative, code_gen_params),
	KUNIT_CASE_PARAM(positive, code_gen_params),
	KUNIT_CASE(expire),
	KUNIT_CASE_PARAM(inval_unknown_flags, unknown_flags_gen_params),
	KUNIT_CASE_PARAM(delete_padding, unknown_flags_gen_params),
	KUNIT_CASE(delete_other_child),
	KUNIT_CASE(delete_no_child),
	KUNIT_CASE_PARAM(no_such_name, code_gen_params),
	KUNIT_CASE_PARAM(nul_inside, code_gen_params),
	KUNIT_CASE_PARAM(no_such_parent, code_gen_params),
	{}
};

static struct kunit_suite fuse_notify_suite = {
	.name		= "fuse_notify",
	.init		= fuse_fx_init,
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_notify_cases,
};

kunit_test_suite(fuse_notify_suite);
