// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of fuse_reverse_inval_entry(): a server tells the kernel that a
 * name it may have cached is stale.
 *
 * Each test fills the cache through system calls, notifies, and looks again.
 * The fixture checks after every test that the notified name is fresh, that no
 * other name suffered, that no notification sent a request, and that all locks
 * and references are back.
 */

#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/namei.h>

#include <kunit/test.h>

#include "fixture.h"

/*
 * The bug report of 2026-05-30: a lookup of "config" finds nothing and that is
 * cached for long; the server makes "config" visible and says so; stat() has to
 * find it.
 */
static void negative(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;

	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "config"), -ENOENT);
	fuse_fake_add(fx->server, "config", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "config"), -ENOENT);

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "config"), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, fx->mnt->mnt_root, "config"));
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "config"), 0);
}

/* Without a timeout for absent names the server answers -ENOENT, and nothing is cached. */
static void negative_not_cached(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;

	fx->server->negative_valid = 0;
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "config"), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_mknod(fx, "config"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "config"), 0);
}

/* Somebody who still uses the negative dentry keeps it, but nobody finds it. */
static void negative_held(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct dentry *config;

	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "config"), -ENOENT);
	config = fuse_fx_hold_cached(fx, fx->mnt->mnt_root, "config");
	KUNIT_ASSERT_NOT_NULL(test, config);

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "config"), 0);
	KUNIT_EXPECT_TRUE(test, d_unhashed(config));
}

/* A delete of a name that is cached as absent is no more than an inval. */
static void negative_delete(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	u64 config;

	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "config"), -ENOENT);
	config = fuse_fake_add(fx->server, "config", S_IFREG | 0644);

	FUSE_EXPECT_ERR(test, fuse_fx_delete(fx, FUSE_ROOT_ID, config, "config"), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, fx->mnt->mnt_root, "config"));
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "config"), 0);
}

/* Expired, the negative dentry stays where it is but is not believed. */
static void negative_expire(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;

	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "config"), -ENOENT);
	fuse_fake_add(fx->server, "config", S_IFREG | 0644);

	FUSE_EXPECT_ERR(test, fuse_fx_expire(fx, FUSE_ROOT_ID, "config"), 0);
	KUNIT_EXPECT_TRUE(test, fuse_fx_cached(fx, fx->mnt->mnt_root, "config"));
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "config"), 0);
}

static void positive(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;

	fuse_fake_add(fx->server, "file", S_IFREG | 0644);
	fuse_fake_add(fx->server, "other", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "file"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "other"), 0);
	fuse_fake_remove(fx->server, "file");
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "file"), 0);

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "file"), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, fx->mnt->mnt_root, "file"));
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "file"), -ENOENT);
}

/* What has expired is still cached, and can be invalidated. */
static void positive_expired(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;

	fuse_fake_add(fx->server, "file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "file"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_expire(fx, FUSE_ROOT_ID, "file"), 0);

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "file"), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, fx->mnt->mnt_root, "file"));
}

/* Expired, a dentry that the server confirms stays the same dentry. */
static void positive_expire(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct dentry *file;
	unsigned int lookups;

	fuse_fake_add(fx->server, "file", S_IFREG | 0644);
	file = fuse_fx_hold(fx, "file");

	FUSE_EXPECT_ERR(test, fuse_fx_expire(fx, FUSE_ROOT_ID, "file"), 0);
	KUNIT_EXPECT_FALSE(test, d_unhashed(file));
	FUSE_EXPECT_ERR(test, fuse_fx_stat_asks(fx, "file", &lookups), 0);
	KUNIT_EXPECT_EQ(test, lookups, 1);
	KUNIT_EXPECT_PTR_EQ(test, fuse_fx_hold(fx, "file"), file);
}

static void positive_delete(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct dentry *file;
	u64 nodeid;

	nodeid = fuse_fake_add(fx->server, "file", S_IFREG | 0644);
	file = fuse_fx_hold(fx, "file");
	fuse_fake_remove(fx->server, "file");

	FUSE_EXPECT_ERR(test, fuse_fx_delete(fx, FUSE_ROOT_ID, nodeid, "file"), 0);
	KUNIT_EXPECT_EQ(test, d_inode(file)->i_nlink, 0);
	/* Nor can anybody who still holds it mount something on it. */
	KUNIT_EXPECT_TRUE(test, cant_mount(file));
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "file"), -ENOENT);
}

/* The server deleted another node of that name: only the name is stale. */
static void positive_delete_other(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct dentry *file;
	u64 nodeid;

	nodeid = fuse_fake_add(fx->server, "file", S_IFREG | 0644);
	file = fuse_fx_hold(fx, "file");

	FUSE_EXPECT_ERR(test, fuse_fx_delete(fx, FUSE_ROOT_ID, nodeid + 1, "file"), -ENOENT);
	KUNIT_EXPECT_EQ(test, d_inode(file)->i_nlink, 1);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, fx->mnt->mnt_root, "file"));
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "file"), 0);
}

/* A directory takes along what is cached below it. */
static void directory(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	unsigned int lookups;

	fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/none"), -ENOENT);

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "dir"), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, fx->mnt->mnt_root, "dir"));
	FUSE_EXPECT_ERR(test, fuse_fx_stat_asks(fx, "dir/file", &lookups), 0);
	KUNIT_EXPECT_EQ(test, lookups, 2);
}

/* Names in it that are cached as absent, or not in use, do not prevent the delete. */
static void directory_delete(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct dentry *dir;
	u64 nodeid;

	nodeid = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	dir = fuse_fx_hold(fx, "dir");
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/none"), -ENOENT);
	KUNIT_EXPECT_TRUE(test, fuse_fx_cached(fx, dir, "none"));
	fuse_fake_remove(fx->server, "dir");

	FUSE_EXPECT_ERR(test, fuse_fx_delete(fx, FUSE_ROOT_ID, nodeid, "dir"), 0);
	KUNIT_EXPECT_TRUE(test, IS_DEADDIR(d_inode(dir)));
	KUNIT_EXPECT_TRUE(test, cant_mount(dir));
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir"), -ENOENT);
}

/* A child that is in use keeps its directory alive, but not the name of it. */
static void directory_delete_busy(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct dentry *dir;
	u64 nodeid;

	nodeid = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	dir = fuse_fx_hold(fx, "dir");
	fuse_fx_hold(fx, "dir/file");

	FUSE_EXPECT_ERR(test, fuse_fx_delete(fx, FUSE_ROOT_ID, nodeid, "dir"), -ENOTEMPTY);
	KUNIT_EXPECT_FALSE(test, IS_DEADDIR(d_inode(dir)));
}

/*
 * No message is a delete that only expires the name, but
 * fuse_reverse_inval_entry() can do that. The inode is marked all the same.
 */
static void directory_delete_expire(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct dentry *dir;
	u64 nodeid;

	nodeid = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	dir = fuse_fx_hold(fx, "dir");
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
	fuse_fake_remove(fx->server, "dir/file");
	fuse_fake_remove(fx->server, "dir");

	FUSE_EXPECT_ERR(test, fuse_fx_notify(fx, FUSE_ROOT_ID, nodeid, "dir",
					     FUSE_EXPIRE_ONLY), 0);
	KUNIT_EXPECT_TRUE(test, IS_DEADDIR(d_inode(dir)));
	KUNIT_EXPECT_TRUE(test, d_unhashed(dir));
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir"), -ENOENT);
}

/* A rename that the kernel made: the entry is known by its new name only. */
static void renamed(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;

	fuse_fake_add(fx->server, "old", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_rename(fx, "old", "new", 0), 0);

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "old"), -ENOENT);
	KUNIT_EXPECT_TRUE(test, fuse_fx_cached(fx, fx->mnt->mnt_root, "new"));
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "new"), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, fx->mnt->mnt_root, "new"));
}

/* A rename behind the kernel's back: both names are stale, and are notified. */
static void renamed_by_server(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;

	fuse_fake_add(fx->server, "old", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "old"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "new"), -ENOENT);
	fuse_fake_rename(fx->server, "old", "new");

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "old"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "new"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "old"), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "new"), 0);
}

/* Moved to another directory by the kernel, the entry is known there only. */
static void moved(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct dentry *to_dir;
	u64 from, to;

	from = fuse_fake_add(fx->server, "from", S_IFDIR | 0755);
	to = fuse_fake_add(fx->server, "to", S_IFDIR | 0755);
	to_dir = fuse_fx_hold(fx, "to");
	fuse_fake_add(fx->server, "from/file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_rename(fx, "from/file", "to/file", 0), 0);

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, from, "file"), -ENOENT);
	KUNIT_EXPECT_TRUE(test, fuse_fx_cached(fx, to_dir, "file"));
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, to, "file"), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, to_dir, "file"));
}

/* After an exchange, only the entry that has the notified name is dropped. */
static void exchanged(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct dentry *one, *two;

	fuse_fake_add(fx->server, "one", S_IFREG | 0644);
	fuse_fake_add(fx->server, "two", S_IFREG | 0644);
	one = fuse_fx_hold(fx, "one");
	two = fuse_fx_hold(fx, "two");
	FUSE_EXPECT_ERR(test, fuse_fx_rename(fx, "one", "two", RENAME_EXCHANGE), 0);

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "one"), 0);
	KUNIT_EXPECT_TRUE(test, d_unhashed(two));
	KUNIT_EXPECT_FALSE(test, d_unhashed(one));
}

/*
 * A hard link is a name like any other: its siblings stay, and so
 * does what is known of the file.
 */
static void hard_link(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;

	fuse_fake_add(fx->server, "one", S_IFREG | 0644);
	fuse_fake_link(fx->server, "one", "two");
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "one"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "two"), 0);

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "one"), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, fx->mnt->mnt_root, "one"));
	KUNIT_EXPECT_TRUE(test, fuse_fx_cached(fx, fx->mnt->mnt_root, "two"));
	KUNIT_EXPECT_EQ(test, fuse_fx_getattrs(fx, "two"), 0);
}

/* Who changes a name changes its directory: only the directory's attributes are stale. */
static void parent_attributes(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct kstat stat;
	struct file *file;
	unsigned int before;
	u64 dir, other;

	dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	other = fuse_fake_add(fx->server, "dir/other", S_IFREG | 0644);
	fuse_fake_add(fx->server, "dir/sibling", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/other"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/sibling"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/none"), -ENOENT);
	KUNIT_EXPECT_EQ(test, fuse_fx_getattrs(fx, "dir"), 0);

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, dir, "file"), 0);
	/* STATX_UID of the directory is still valid. */
	file = fuse_fx_open(fx, "dir", O_RDONLY | O_DIRECTORY);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	before = fuse_fake_requests(fx->server, FUSE_GETATTR);
	FUSE_EXPECT_ERR(test, vfs_getattr(&file->f_path, &stat, STATX_UID, 0), 0);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(fx->server, FUSE_GETATTR), before);
	KUNIT_EXPECT_EQ(test, fuse_fx_getattrs(fx, "dir"), 1);
	fuse_fx_inval(fx, dir, "none");
	KUNIT_EXPECT_EQ(test, fuse_fx_getattrs(fx, "dir"), 1);
	FUSE_EXPECT_ERR(test, fuse_fx_expire(fx, dir, "other"), 0);
	KUNIT_EXPECT_EQ(test, fuse_fx_getattrs(fx, "dir"), 1);
	FUSE_EXPECT_ERR(test, fuse_fx_delete(fx, dir, other, "other"), 0);
	KUNIT_EXPECT_EQ(test, fuse_fx_getattrs(fx, "dir"), 1);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/none"), -ENOENT);
	fuse_fx_delete(fx, dir, other, "none");
	KUNIT_EXPECT_EQ(test, fuse_fx_getattrs(fx, "dir"), 1);

	/* The kernel does not know this name, but its directory. */
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, dir, "never"), -ENOENT);
	KUNIT_EXPECT_EQ(test, fuse_fx_getattrs(fx, "dir"), 1);
	KUNIT_EXPECT_EQ(test, fuse_fx_getattrs(fx, "dir/sibling"), 0);
}

/* The directory was renamed: it is found by its nodeid all the same. */
static void parent_renamed(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	u64 dir;

	dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_rename(fx, "dir", "moved", 0), 0);
	fuse_fake_remove(fx->server, "moved/file");

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, dir, "file"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "moved/file"), -ENOENT);
}

/*
 * The directory was removed but is still in use, and so is a name in it that was
 * cached as absent. Nobody can look it up there any more; it is invalidated like
 * any other.
 */
static void parent_deleted(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct dentry *dir;
	u64 nodeid;

	nodeid = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	dir = fuse_fx_hold(fx, "dir");
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/none"), -ENOENT);
	KUNIT_ASSERT_NOT_NULL(test, fuse_fx_hold_cached(fx, dir, "none"));
	FUSE_EXPECT_ERR(test, fuse_fx_rmdir(fx, "dir"), 0);

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, nodeid, "none"), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx, dir, "none"));
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, nodeid, "never"), -ENOENT);
}

static void parent_unknown(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	u64 dir;

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, 4711, "file"), -ENOENT);

	/* Nor one of which only the lower half of the nodeid is right. */
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID + BIT_ULL(32), "~file"), -ENOENT);

	/* The server has it, but the kernel does not know it. */
	dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, dir, "file"), -ENOENT);
}

/*
 * Only the notification uses the directory's dentry, which is not to be cached:
 * it has to last until the notification ends.
 */
static void parent_not_kept(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct inode *inode;
	u64 dir;

	dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	inode = fuse_fx_hold_inode(fx, "dir");
	d_mark_dontcache(inode);
	fuse_fake_take_back(fx->server, FUSE_ROOT_ID, "dir", false);

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, dir, "never"), -ENOENT);
	KUNIT_EXPECT_TRUE(test, hlist_empty(&inode->i_dentry));
}

static void parent_not_a_directory(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	u64 file;

	file = fuse_fake_add(fx->server, "file", S_IFREG | 0644);
	fuse_fx_hold(fx, "file");
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, file, "name"), -ENOTDIR);
}

/* -ENOENT for a name that is not cached, and for what cannot be a name. */
static void not_cached(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;

	fuse_fake_add(fx->server, "file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "file"), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, ""), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "."), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, ".."), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "a/b"), -ENOENT);
}

/* A listing is cached, and read again when something in it was notified. */
static void listing(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	u64 dir, file, seq;

	fx->server->cache_dir = true;
	dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	file = fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	KUNIT_EXPECT_TRUE(test, fuse_fx_lists(fx, "dir", "file"));
	seq = fuse_fake_seq(fx->server, dir, FUSE_FAKE_LISTING);
	KUNIT_EXPECT_EQ(test, fuse_fx_inval_inode(fx, file), 0);
	KUNIT_EXPECT_TRUE(test, fuse_fx_lists(fx, "dir", "file"));
	KUNIT_EXPECT_EQ(test, fuse_fake_seq(fx->server, dir, FUSE_FAKE_LISTING), seq);

	fuse_fake_add(fx->server, "dir/new", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, dir, "new"), -ENOENT);
	KUNIT_EXPECT_TRUE(test, fuse_fx_lists(fx, "dir", "new"));
	seq = fuse_fake_seq(fx->server, dir, FUSE_FAKE_LISTING);
	KUNIT_EXPECT_TRUE(test, fuse_fx_lists(fx, "dir", "new"));
	KUNIT_EXPECT_EQ(test, fuse_fake_seq(fx->server, dir, FUSE_FAKE_LISTING), seq);

	fuse_fake_remove(fx->server, "dir/new");
	FUSE_EXPECT_ERR(test, fuse_fx_inval_inode(fx, dir), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_lists(fx, "dir", "new"));
}

static struct kunit_case fuse_inval_entry_cases[] = {
	KUNIT_CASE(negative),
	KUNIT_CASE(negative_not_cached),
	KUNIT_CASE(negative_held),
	KUNIT_CASE(negative_delete),
	KUNIT_CASE(negative_expire),
	KUNIT_CASE(positive),
	KUNIT_CASE(positive_delete),
	KUNIT_CASE(positive_delete_other),
	KUNIT_CASE(positive_expire),
	KUNIT_CASE(positive_expired),
	KUNIT_CASE(directory),
	KUNIT_CASE(directory_delete),
	KUNIT_CASE(directory_delete_busy),
	KUNIT_CASE(directory_delete_expire),
	KUNIT_CASE(renamed),
	KUNIT_CASE(renamed_by_server),
	KUNIT_CASE(moved),
	KUNIT_CASE(exchanged),
	KUNIT_CASE(hard_link),
	KUNIT_CASE(parent_attributes),
	KUNIT_CASE(parent_renamed),
	KUNIT_CASE(parent_deleted),
	KUNIT_CASE(parent_unknown),
	KUNIT_CASE(parent_not_kept),
	KUNIT_CASE(parent_not_a_directory),
	KUNIT_CASE(not_cached),
	KUNIT_CASE(listing),
	{}
};

static struct kunit_suite fuse_inval_entry_suite = {
	.name		= "fuse_inval_entry",
	.init		= fuse_fx_init_neighbours,
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_inval_entry_cases,
};

kunit_test_suite(fuse_inval_entry_suite);
