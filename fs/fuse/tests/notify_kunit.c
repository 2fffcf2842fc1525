// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of fuse_notify(): FUSE_NOTIFY_INVAL_ENTRY and FUSE_NOTIFY_DELETE
 * as a server writes them, byte by byte.
 *
 * What a notification does to the cache is the subject of inval_entry_kunit.c.
 * Here is what gets that far: a well-formed message does what the call does, any
 * other is refused with the right error and changes nothing.
 */

#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <linux/mman.h>
#include <linux/sizes.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

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
	size_t header;
	const char *desc;
} codes[] = {
	{ FUSE_NOTIFY_INVAL_ENTRY, sizeof(struct fuse_notify_inval_entry_out), "inval_entry" },
	{ FUSE_NOTIFY_DELETE, sizeof(struct fuse_notify_delete_out), "delete" },
};

KUNIT_ARRAY_PARAM_DESC(code, codes, desc);

/* The two names are of the same length, for tables to say how long a message is. */
static const char * const names[] = { "file", "none" };

#define NAMELEN		4

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
 * Both names are as good as before, and so are the attributes of their directory,
 * unless the message was about another name in it: then they are asked for.
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

/*
 * Well-formed messages.
 */

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
 * Today's kernel does not mind flags that it does not know, and the one that it
 * knows counts as always: trying does not tell a server which flags there are.
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
	KUNIT_EXPECT_EQ(test, fuse_fx_cached(fx, dir, "file"),
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

	/* Without a nodeid that matches, nothing but this drops the name. */
	msg = fuse_fx_msg(fx, FUSE_NOTIFY_DELETE, cached.dir, 0, "file", flags->flags);

	FUSE_EXPECT_ERR(test, fuse_fx_send(fx, msg), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, dir, "file"));
}

/* The server deleted another node of that name: no file dies, the name is stale. */
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

/*
 * The name ends where its length says. A byte is reserved for the NUL, but
 * today's kernel puts one there itself, whatever it finds.
 */
static void no_nul(struct kunit *test)
{
	const struct code *code = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct cached cached = fill_cache(fx);
	struct dentry *dir = fuse_fx_hold(fx, "dir");
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		struct fuse_fx_msg *msg;

		msg = fuse_fx_msg(fx, code->code, cached.dir, cached.file, names[i], 0);
		msg->data[msg->size - 1] = 'x';
		FUSE_EXPECT_ERR(test, fuse_fx_send(fx, msg), 0);
		KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, dir, names[i]));
	}
}

/* A server's buffer lies anywhere: a page may end within the message, wherever. */
static void page_boundary(struct kunit *test)
{
	const struct code *code = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct cached cached = fill_cache(fx);
	struct dentry *dir = fuse_fx_hold(fx, "dir");
	struct fuse_fx_msg *msg;
	size_t before;

	/* Not a delete of what the name leads to: it is to be found again. */
	msg = fuse_fx_msg(fx, code->code, cached.dir, 0, "file", 0);
	for (before = 0; before <= msg->size; before++) {
		msg->offset = PAGE_SIZE - before;
		FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
		FUSE_EXPECT_ERR_MSG(test, fuse_fx_send(fx, msg), 0,
				    "%zu of %zu bytes are before the boundary",
				    before, msg->size);
		KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, dir, "file"));
	}
}

/* A name of @len bytes, for as long as the test runs. */
static char *long_name(struct kunit *test, size_t len)
{
	char *name = kunit_kzalloc(test, len + 1, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, name);
	memset(name, 'n', len);
	return name;
}

/*
 * The longest name of a connection that has more than one page per request, as
 * the fake server's. With its header the message is in two pages, or in three.
 */
static void name_max(struct kunit *test)
{
	const struct code *code = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct dentry *root = fx->mnt->mnt_root;
	struct fuse_fx_msg *msg;
	char *name;
	u64 child;

	KUNIT_ASSERT_EQ(test, get_fuse_conn_super(root->d_sb)->name_max, PATH_MAX - 1);
	name = long_name(test, PATH_MAX - 1);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, name), -ENOENT);
	child = fuse_fake_add(fx->server, name, S_IFREG | 0644);
	msg = fuse_fx_msg(fx, code->code, FUSE_ROOT_ID, child, name, 0);

	FUSE_EXPECT_ERR(test, fuse_fx_send(fx, msg), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, root, name));
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, name), 0);

	msg->offset = PAGE_SIZE - 1;
	FUSE_EXPECT_ERR(test, fuse_fx_send(fx, msg), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, root, name));
}

/*
 * The limit is the connection's own. Here it shrinks to what it is with one page
 * per request when a name that is longer is cached already: notified or not,
 * that name stays.
 */
static void name_max_of_connection(struct kunit *test)
{
	const struct code *code = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct dentry *root = fx->mnt->mnt_root;
	char *longest = long_name(test, FUSE_NAME_LOW_MAX);
	char *longer = long_name(test, FUSE_NAME_LOW_MAX + 1);
	struct fuse_fx_msg *msg;
	unsigned int lookups;

	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, longest), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, longer), -ENOENT);
	get_fuse_conn_super(root->d_sb)->name_max = FUSE_NAME_LOW_MAX;

	msg = fuse_fx_msg(fx, code->code, FUSE_ROOT_ID, 0, longer, 0);
	FUSE_EXPECT_ERR(test, fuse_fx_send_malformed(fx, msg), -ENAMETOOLONG);
	FUSE_EXPECT_ERR(test, fuse_fx_stat_asks(fx, longer, &lookups), -ENOENT);
	KUNIT_EXPECT_EQ(test, lookups, 0);

	msg = fuse_fx_msg(fx, code->code, FUSE_ROOT_ID, 0, longest, 0);
	FUSE_EXPECT_ERR(test, fuse_fx_send(fx, msg), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, root, longest));
}

/*
 * Well-formed messages about nothing.
 */

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

/*
 * Malformed messages.
 */

/*
 * Each of these starts with the header of a good message about a name of NAMELEN
 * bytes. @namelen is what it says instead, @tail how many bytes follow.
 *
 * If the name is too long and the size is wrong, today's kernel says the former.
 */
static const struct malformed {
	u32 namelen;
	size_t tail;
	int err;
	const char *desc;
} malformed[] = {
	{ NAMELEN, 0, -EINVAL, "no name" },
	{ NAMELEN, NAMELEN - 1, -EINVAL, "half a name" },
	{ NAMELEN, NAMELEN, -EINVAL, "no room for the NUL" },
	{ NAMELEN, NAMELEN + 2, -EINVAL, "one byte too many" },
	{ NAMELEN, NAMELEN + 1 + PAGE_SIZE, -EINVAL, "a page too many" },
	{ NAMELEN, NAMELEN + 1 + SZ_64K, -EINVAL, "size is right in 16 bits" },
	{ 0, 0, -EINVAL, "header only, name of length 0" },
	{ 0, NAMELEN + 1, -EINVAL, "length 0 is a lie" },
	{ NAMELEN - 1, NAMELEN + 1, -EINVAL, "length is one too low" },
	{ NAMELEN + 1, NAMELEN + 1, -EINVAL, "length is one too high" },
	{ PATH_MAX - 1, NAMELEN + 1, -EINVAL, "length is name_max, a lie" },
	{ PATH_MAX - 1, PATH_MAX - 1, -EINVAL, "length is name_max, one byte too few" },
	{ PATH_MAX - 1, PATH_MAX + 1, -EINVAL, "length is name_max, one byte too many" },
	{ PATH_MAX, PATH_MAX + 1, -ENAMETOOLONG, "longer than name_max" },
	{ PATH_MAX, PATH_MAX, -ENAMETOOLONG, "longer than name_max, one byte too few" },
	{ PATH_MAX, NAMELEN + 1, -ENAMETOOLONG, "longer than name_max, a lie" },
	{ PATH_MAX, 0, -ENAMETOOLONG, "longer than name_max, header only" },
	{ 0x10000 + NAMELEN, NAMELEN + 1, -ENAMETOOLONG, "length is right in 16 bits" },
	{ S32_MAX, NAMELEN + 1, -ENAMETOOLONG, "length is S32_MAX" },
	{ (u32)S32_MIN, NAMELEN + 1, -ENAMETOOLONG, "length is S32_MIN" },
	{ (u32)S32_MIN + NAMELEN, NAMELEN + 1, -ENAMETOOLONG, "length is right in 31 bits" },
	{ -(NAMELEN + 1), NAMELEN + 1, -ENAMETOOLONG, "length goes back over the name" },
	/* With the NUL this is a length of 0 in 32 bits. */
	{ U32_MAX, 0, -ENAMETOOLONG, "length is U32_MAX, header only" },
	{ U32_MAX, NAMELEN + 1, -ENAMETOOLONG, "length is U32_MAX" },
};

KUNIT_ARRAY_PARAM_DESC(malformed, malformed, desc);

static void refuse(struct kunit *test, const struct code *code)
{
	const struct malformed *param = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct cached cached = fill_cache(fx);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		struct fuse_fx_msg *msg;

		msg = fuse_fx_msg(fx, code->code, cached.dir, cached.file, names[i], 0);
		*namelen(msg) = param->namelen;
		msg->size = code->header + param->tail;
		FUSE_EXPECT_ERR(test, fuse_fx_send_malformed(fx, msg), param->err);
		expect_unchanged(fx, false);
	}
}

static void inval_malformed(struct kunit *test)
{
	refuse(test, &codes[0]);
}

static void delete_malformed(struct kunit *test)
{
	refuse(test, &codes[1]);
}

/* There is one size that fits a length, and no other will do, from 0 bytes on. */
static void every_other_size(struct kunit *test)
{
	const struct code *code = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct cached cached = fill_cache(fx);
	struct fuse_fx_msg *msg;
	size_t right;
	u32 len;

	msg = fuse_fx_msg(fx, code->code, cached.dir, cached.file, "file", 0);
	for (len = 0; len <= 2 * NAMELEN; len++) {
		*namelen(msg) = len;
		right = code->header + len + 1;
		for (msg->size = 0; msg->size <= right + NAMELEN; msg->size++) {
			if (msg->size == right)
				continue;
			FUSE_EXPECT_ERR_MSG(test, fuse_fx_send_malformed(fx, msg), -EINVAL,
					    "length %u in %zu bytes", len, msg->size);
		}
		expect_unchanged(fx, false);
	}
}

/* A message that is right but for what it claims to be, if only just. */
static void unknown_code(struct kunit *test)
{
	const struct code *code = test->param_value;
	const u32 unknown[] = {
		0, -1, S32_MAX, -code->code,
		code->code | BIT(8), code->code | BIT(16), code->code | BIT(31),
	};
	struct fuse_fixture *fx = test->priv;
	struct cached cached = fill_cache(fx);
	struct fuse_fx_msg *msg;
	unsigned int i;

	msg = fuse_fx_msg(fx, code->code, cached.dir, cached.file, "file", 0);
	for (i = 0; i < ARRAY_SIZE(unknown); i++) {
		msg->code = unknown[i];
		FUSE_EXPECT_ERR_MSG(test, fuse_fx_send_malformed(fx, msg), -EINVAL,
				    "code %#x", unknown[i]);
	}
	expect_unchanged(fx, false);
}

/* The server's memory ends within the message: what is missing is not made up. */
static void unreadable(struct kunit *test)
{
	const struct code *code = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct cached cached = fill_cache(fx);
	struct fuse_fx_msg *msg;
	unsigned long addr;
	size_t readable;

	addr = kunit_vm_mmap(test, NULL, 0, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, addr, 0);
	KUNIT_ASSERT_EQ(test, vm_munmap(addr + PAGE_SIZE, PAGE_SIZE), 0);

	msg = fuse_fx_msg(fx, code->code, cached.dir, cached.file, "file", 0);
	for (readable = 0; readable < msg->size; readable++) {
		void __user *start = (void __user *)addr + PAGE_SIZE - readable;
		struct iov_iter iter;

		KUNIT_ASSERT_EQ(test, copy_to_user(start, msg->data, readable), 0);
		iov_iter_ubuf(&iter, ITER_SOURCE, start, msg->size);
		FUSE_EXPECT_ERR_MSG(test, fuse_fx_write(fx, msg->code, &iter), -EFAULT,
				    "%zu of %zu bytes are readable", readable, msg->size);
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
	KUNIT_CASE_PARAM(no_nul, code_gen_params),
	KUNIT_CASE_PARAM(page_boundary, code_gen_params),
	KUNIT_CASE_PARAM(name_max, code_gen_params),
	KUNIT_CASE_PARAM(name_max_of_connection, code_gen_params),
	KUNIT_CASE_PARAM(no_such_name, code_gen_params),
	KUNIT_CASE_PARAM(nul_inside, code_gen_params),
	KUNIT_CASE_PARAM(no_such_parent, code_gen_params),
	KUNIT_CASE_PARAM(inval_malformed, malformed_gen_params),
	KUNIT_CASE_PARAM(delete_malformed, malformed_gen_params),
	KUNIT_CASE_PARAM(every_other_size, code_gen_params),
	KUNIT_CASE_PARAM(unknown_code, code_gen_params),
	KUNIT_CASE_PARAM(unreadable, code_gen_params),
	{}
};

static struct kunit_suite fuse_notify_suite = {
	.name		= "fuse_notify",
	.init		= fuse_fx_init,
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_notify_cases,
};

kunit_test_suite(fuse_notify_suite);
