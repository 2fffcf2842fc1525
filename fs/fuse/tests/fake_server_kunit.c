// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the fake server: of what the other suites say little about
 */

#include <linux/fs.h>
#include <linux/xattr.h>

#include <kunit/test.h>

#include "fixture.h"

/* A request that the server does not know leads to a complaint. */
static void unknown_opcode(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	char complaint[FUSE_FAKE_COMPLAINT];
	struct dentry *file;

	fuse_fake_add(fx->server, "file", S_IFREG | 0644);
	file = fuse_fx_hold(fx, "file");
	KUNIT_EXPECT_FALSE(test, fuse_fake_complaint(fx->server, complaint));
	FUSE_EXPECT_ERR(test, vfs_listxattr(file, NULL, 0), -EOPNOTSUPP);
	KUNIT_EXPECT_TRUE(test, fuse_fake_complaint(fx->server, complaint));
	KUNIT_EXPECT_STREQ(test, complaint, "opcode 23 is unknown here");
}

/* If the server replies with an error, it knows which names are dropped. */
static void mistakes(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;

	fuse_fake_add(fx->server, "file", S_IFREG | 0644);
	fuse_fake_add(fx->server, "other", S_IFREG | 0644);
	fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "file"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "other"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/none"), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "new"), -ENOENT);
	fuse_fake_remove(fx->server, "file");
	fuse_fake_remove(fx->server, "other");
	fuse_fake_remove(fx->server, "dir");
	fuse_fake_add(fx->server, "new", S_IFREG | 0644);

	FUSE_EXPECT_ERR(test, fuse_fx_unlink(fx, "file"), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_rename(fx, "other", "dir/other", 0), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_mkdir(fx, "dir/new"), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_mkdir(fx, "new"), -EEXIST);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "new"), 0);
}

/* The server knows what the kernel holds, also without a name. The fixture checks the rest. */
static void forgets(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	u64 dir, nlookup;

	dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	KUNIT_EXPECT_EQ(test, fuse_fake_known(fx->server, &nlookup), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir"), 0);
	fuse_fake_remove(fx->server, "dir");
	KUNIT_EXPECT_EQ(test, fuse_fake_find(fx->server, dir, "file"), 0);
	KUNIT_EXPECT_EQ(test, fuse_fake_known(fx->server, &nlookup), dir);
	KUNIT_EXPECT_EQ(test, nlookup, 1);
}

static struct kunit_case fuse_fake_server_cases[] = {
	KUNIT_CASE(unknown_opcode),
	KUNIT_CASE(mistakes),
	KUNIT_CASE(forgets),
	{}
};

static struct kunit_suite fuse_fake_server_suite = {
	.name		= "fuse_fake_server",
	.init		= fuse_fx_init,
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_fake_server_cases,
};

kunit_test_suite(fuse_fake_server_suite);
