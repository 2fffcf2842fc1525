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
#include <kunit/thread.h>

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

/* What has expired is still cached: to drop it takes no word from the server. */
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

/* The server deleted another node of that name: nothing dies, but the name is stale. */
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

/* Names in it that are cached as absent, or not in use, do not keep a directory. */
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
 * A delete that only expires the name cannot come over the wire, but the call
 * allows for it: what dies with the name is the same.
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

/* A rename behind the kernel's back: both names are stale, and both are told. */
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

/* Each of two has the other's name now, and only the one that is told is dropped. */
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

static unsigned int getattrs(struct fuse_fixture *fx, const char *path)
{
	unsigned int before = fuse_fake_requests(fx->server, FUSE_GETATTR);

	FUSE_EXPECT_ERR(fx->test, fuse_fx_stat(fx, path), 0);
	return fuse_fake_requests(fx->server, FUSE_GETATTR) - before;
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
	KUNIT_EXPECT_EQ(test, getattrs(fx, "two"), 0);
}

/* A name changes the directory: its attributes are stale, and nobody else's. */
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
	KUNIT_EXPECT_EQ(test, getattrs(fx, "dir"), 0);

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, dir, "file"), 0);
	/* STATX_UID of the directory is still valid. */
	file = fuse_fx_open(fx, "dir", O_RDONLY | O_DIRECTORY);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	before = fuse_fake_requests(fx->server, FUSE_GETATTR);
	FUSE_EXPECT_ERR(test, vfs_getattr(&file->f_path, &stat, STATX_UID, 0), 0);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(fx->server, FUSE_GETATTR), before);
	KUNIT_EXPECT_EQ(test, getattrs(fx, "dir"), 1);
	fuse_fx_inval(fx, dir, "none");
	KUNIT_EXPECT_EQ(test, getattrs(fx, "dir"), 1);
	FUSE_EXPECT_ERR(test, fuse_fx_expire(fx, dir, "other"), 0);
	KUNIT_EXPECT_EQ(test, getattrs(fx, "dir"), 1);
	FUSE_EXPECT_ERR(test, fuse_fx_delete(fx, dir, other, "other"), 0);
	KUNIT_EXPECT_EQ(test, getattrs(fx, "dir"), 1);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/none"), -ENOENT);
	fuse_fx_delete(fx, dir, other, "none");
	KUNIT_EXPECT_EQ(test, getattrs(fx, "dir"), 1);

	/* The kernel has never heard of this one, but of its directory. */
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, dir, "never"), -ENOENT);
	KUNIT_EXPECT_EQ(test, getattrs(fx, "dir"), 1);
	KUNIT_EXPECT_EQ(test, getattrs(fx, "dir/sibling"), 0);
}

/* The directory was renamed: it is known by its nodeid, so that is no matter. */
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

	/* Nor one of which only half of the number is right. */
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID + BIT_ULL(32), "~file"), -ENOENT);

	/* The server has it, but the kernel has never heard of it. */
	dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, dir, "file"), -ENOENT);
}

/*
 * Nobody but the call uses the directory's dentry, and it is not to be cached: it
 * has to last until the call is done with it.
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

/* A name that is not cached is answered with -ENOENT, and so is what cannot be a name. */
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

/* Join a thread, and expect what its call answers. */
static void expect_answer(struct fuse_fixture *fx, struct kunit_thread *thread, const char *call,
			  int expected)
{
	int err;

	if (kunit_thread_join(thread, &err) && err != expected)
		KUNIT_FAIL(fx->test, "%s answers %s, not %s", call, fuse_fx_errname(err),
			   fuse_fx_errname(expected));
}

/* Notify while a request is stopped, and see that it does not wait for that. */
static void notify_meanwhile(struct fuse_fixture *fx, struct fuse_fx_op notify, int expected)
{
	struct kunit_thread *server = fuse_fx_run(fx, fuse_fx_do_notify, &notify);

	if (kunit_thread_wait(server) != KUNIT_THREAD_ENDED) {
		/* With several processors it may only sleep for a moment. */
		kunit_thread_set_limit(server, num_online_cpus() > 1 ? HZ : 0);
		if (!kunit_thread_join(server, NULL)) {
			KUNIT_FAIL(fx->test,
				   "the notification waits for an answer that is on its way");
			fuse_fake_let_go(fx->server);
		}
		kunit_thread_set_limit(server, KUNIT_THREAD_LIMIT);
		KUNIT_ASSERT_TRUE(fx->test, kunit_thread_join(server, NULL));
	}
	expect_answer(fx, server, "the notification", expected);
}

/* Looks a name up while another call waits; a lock may have been lost. */
static int stat_meanwhile(struct fuse_fixture *fx, const char *path)
{
	struct fuse_fx_op stat = { .path = { path } };
	int err = 0;

	KUNIT_ASSERT_TRUE(fx->test,
			  kunit_thread_join(fuse_fx_run(fx, fuse_fx_do_stat, &stat), &err));
	return err;
}

/* Calls whose answers are on their way when the server notifies. */
static const struct late_param {
	const char *name;
	int (*call)(struct fuse_fx_op *op);
	const char *path[2];
	unsigned int flags;
	u32 opcode;
	bool there;	/* the server has the name, and the kernel knows it */
	u32 notification;
} late_params[] = {
	{ "lookup", fuse_fx_do_stat, { "dir/config" }, 0, FUSE_LOOKUP },
	{ "lookup expire", fuse_fx_do_stat, { "dir/config" }, 0, FUSE_LOOKUP,
	  .notification = FUSE_EXPIRE_ONLY },
	{ "revalidate", fuse_fx_do_stat, { "dir/config" }, LOOKUP_REVAL, FUSE_LOOKUP, true },
	{ "revalidate expire", fuse_fx_do_stat, { "dir/config" }, LOOKUP_REVAL, FUSE_LOOKUP, true,
	  FUSE_EXPIRE_ONLY },
	{ "readdirplus", fuse_fx_do_readdir, { "dir" }, 0, FUSE_READDIRPLUS, true },
	{ "create", fuse_fx_do_open, { "dir/config" }, O_CREAT | O_RDWR, FUSE_CREATE },
	{ "mknod", fuse_fx_do_mknod, { "dir/config" }, 0, FUSE_MKNOD },
	{ "mkdir", fuse_fx_do_mkdir, { "dir/config" }, 0, FUSE_MKDIR },
	{ "symlink", fuse_fx_do_symlink, { "dir/config" }, 0, FUSE_SYMLINK },
	{ "link", fuse_fx_do_link, { "other", "dir/config" }, 0, FUSE_LINK },
	{ "rename", fuse_fx_do_rename, { "other", "dir/config" }, 0, FUSE_RENAME },
	{ "exchange", fuse_fx_do_rename, { "other", "dir/config" }, RENAME_EXCHANGE,
	  FUSE_RENAME2, true },
};

KUNIT_ARRAY_PARAM_DESC(late, late_params, name);

/*
 * The server answers, and then the name appears or goes and is notified, before the
 * answer arrives: it is what the caller gets, but the next one has to ask.
 */
static void late_answer(struct kunit *test)
{
	const struct late_param *param = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op call = {
		.path	= { param->path[0], param->path[1] },
		.flags	= param->flags,
	};
	struct fuse_fx_op notify = { .path = { "config" }, .flags = param->notification };
	struct kunit_thread *caller, *server;
	struct fuse_fake_hook *hold;
	bool there;

	notify.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "other", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "other"), 0);
	fuse_fx_hold(fx, "dir");
	if (param->there) {
		fuse_fake_add(fx->server, "dir/config", S_IFREG | 0644);
		FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/config"), 0);
	}

	hold = fuse_fake_hold(fx->server, param->opcode, FUSE_FAKE_STOP_BEHIND);
	/* The directory is looked up again, too, and first. */
	hold->skip = param->flags == LOOKUP_REVAL;
	caller = fuse_fx_run(fx, param->call, &call);
	fuse_fake_hold_wait(hold);
	there = fuse_fake_find(fx->server, notify.parent, "config");
	if (there)
		fuse_fake_remove(fx->server, "dir/config");
	else
		fuse_fake_add(fx->server, "dir/config", S_IFREG | 0644);
	server = fuse_fx_run(fx, fuse_fx_do_notify, &notify);
	/* It may wait for the answer, but it must not count on it. */
	kunit_thread_wait(server);
	fuse_fake_let_go(fx->server);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(caller, NULL));
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(server, NULL));
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/config"), there ? -ENOENT : 0);
	/* What is renamed meanwhile may lose its timeout under its new name, too. */
	if (param->call == fuse_fx_do_rename)
		fuse_fake_take_back(fx->server, FUSE_ROOT_ID, "other", false);
}

/* Attributes of the directory that were asked for before a notification are not cached. */
static void late_attributes(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op getattr = { .path = { "dir" } };
	struct kunit_thread *caller;
	struct fuse_fake_hook *hold;
	u64 dir;

	dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);

	hold = fuse_fake_hold(fx->server, FUSE_GETATTR, FUSE_FAKE_STOP_BEHIND);
	caller = fuse_fx_run(fx, fuse_fx_do_getattr, &getattr);
	fuse_fake_hold_wait(hold);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, dir, "file"), 0);
	fuse_fake_let_go(fx->server);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(caller, NULL));
	KUNIT_EXPECT_EQ(test, getattrs(fx, "dir"), 1);
}

/* Calls whose answers make a node known, or tell of one that is known. */
static const struct late_node_param {
	const char *name;
	int (*call)(struct fuse_fx_op *op);
	const char *path[2];
	unsigned int flags;
	u32 opcode;
} late_node_params[] = {
	{ "lookup", fuse_fx_do_open, { "dir/file" }, O_RDWR, FUSE_LOOKUP },
	{ "readdirplus", fuse_fx_do_readdir, { "dir" }, 0, FUSE_READDIRPLUS },
	{ "create", fuse_fx_do_open, { "dir/new" }, O_CREAT | O_RDWR, FUSE_CREATE },
	{ "mknod", fuse_fx_do_mknod, { "dir/new" }, 0, FUSE_MKNOD },
	{ "mkdir", fuse_fx_do_mkdir, { "dir/new" }, 0, FUSE_MKDIR },
	{ "symlink", fuse_fx_do_symlink, { "dir/new" }, 0, FUSE_SYMLINK },
	{ "link", fuse_fx_do_link, { "other", "dir/new" }, 0, FUSE_LINK },
};

KUNIT_ARRAY_PARAM_DESC(late_node, late_node_params, name);

/* The attributes in an answer are stale if the nodeid is notified before the answer arrives. */
static void late_node(struct kunit *test)
{
	const struct late_node_param *param = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op call = {
		.path	= { param->path[0], param->path[1] },
		.flags	= param->flags,
	};
	const char *name = param->opcode == FUSE_LOOKUP ||
			   param->opcode == FUSE_READDIRPLUS ? "file" : "new";
	struct kunit_thread *caller;
	struct fuse_fake_hook *hold;
	struct dentry *dir;
	struct kstat stat;
	struct path path;
	unsigned int asked;
	u64 parent;

	parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	fuse_fake_add(fx->server, "other", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "other"), 0);
	dir = fuse_fx_hold(fx, "dir");

	hold = fuse_fake_hold(fx->server, param->opcode, FUSE_FAKE_STOP_BEHIND);
	caller = fuse_fx_run(fx, param->call, &call);
	fuse_fake_hold_wait(hold);
	FUSE_EXPECT_ERR(test, fuse_fx_inval_inode(fx, fuse_fake_find(fx->server, parent, name)),
			param->opcode == FUSE_LINK ? 0 : -ENOENT);
	/* An open may be the first who asks. */
	asked = fuse_fake_requests(fx->server, FUSE_GETATTR);
	fuse_fake_let_go(fx->server);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(caller, NULL));

	path = (struct path) { .mnt = fx->mnt, .dentry = fuse_fx_hold_cached(fx, dir, name) };
	KUNIT_ASSERT_NOT_NULL(test, path.dentry);
	FUSE_EXPECT_ERR(test, vfs_getattr(&path, &stat, STATX_BASIC_STATS, 0), 0);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(fx->server, FUSE_GETATTR), asked + 1);
}

/* A GETATTR that was answered before the LINK does not leave the old i_nlink cached. */
static void link_overtaken(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op link = { .path = { "file", "new" } };
	struct fuse_fx_op getattr = { .path = { "file" } };
	struct path path = { .mnt = fx->mnt };
	struct kunit_thread *caller;
	struct fuse_fake_hook *hold;
	struct kstat stat;

	fuse_fake_add(fx->server, "file", S_IFREG | 0644);
	path.dentry = fuse_fx_hold(fx, "file");
	hold = fuse_fake_hold(fx->server, FUSE_LINK, FUSE_FAKE_STOP_BEFORE);
	caller = fuse_fx_run(fx, fuse_fx_do_link, &link);
	fuse_fake_hold_wait(hold);
	getattr.fx = fx;
	FUSE_EXPECT_ERR(test, fuse_fx_do_getattr(&getattr), 0);
	fuse_fake_let_go(fx->server);
	expect_answer(fx, caller, "link", 0);
	FUSE_EXPECT_ERR(test, vfs_getattr(&path, &stat, STATX_BASIC_STATS, 0), 0);
	KUNIT_EXPECT_EQ(test, stat.nlink, 2);

	/* But if nobody asked, the answer that comes with the name is enough. */
	FUSE_EXPECT_ERR(test, fuse_fx_mknod(fx, "other"), 0);
	KUNIT_EXPECT_EQ(test, getattrs(fx, "other"), 0);
}

/*
 * A delete locks the entry, too, and may have to wait for that. Nobody changes the
 * directory in the meantime.
 */
static void delete_waits(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op mkdir = { .path = { "dir/new" } };
	struct fuse_fx_op delete = { .path = { "file" } };
	struct fuse_fx_op chmod = { .path = { "dir/file" } };
	struct kunit_thread *server, *caller, *changer;
	struct fuse_fake_hook *hold;
	struct dentry *dir, *file;

	delete.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	delete.child = fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	dir = fuse_fx_hold(fx, "dir");
	file = fuse_fx_hold(fx, "dir/file");

	hold = fuse_fake_hold(fx->server, FUSE_SETATTR, FUSE_FAKE_STOP_BEFORE);
	changer = fuse_fx_run(fx, fuse_fx_do_chmod, &chmod);
	fuse_fake_hold_wait(hold);
	server = fuse_fx_run(fx, fuse_fx_do_notify, &delete);
	KUNIT_EXPECT_TRUE(test, kunit_thread_sleeps_on_rwsem(server, &d_inode(file)->i_rwsem));
	caller = fuse_fx_run(fx, fuse_fx_do_mkdir, &mkdir);
	KUNIT_EXPECT_TRUE(test, kunit_thread_sleeps_on_rwsem(caller, &d_inode(dir)->i_rwsem));

	fuse_fake_let_go(fx->server);
	expect_answer(fx, changer, "chmod", 0);
	expect_answer(fx, server, "the delete", 0);
	expect_answer(fx, caller, "mkdir", 0);
}

/* Calls that overtake an old answer about the entry, which is revalidated. */
static const struct overtaking_param {
	const char *name;
	const char *to;		/* it is renamed to this */
	u32 flags;		/* of the notification, of its name by then */
} overtaking_params[] = {
	{ "asked again", "dir/file", FUSE_EXPIRE_ONLY },
	{ "renamed", "dir/new", FUSE_EXPIRE_ONLY },
	{ "moved", "out/file", FUSE_EXPIRE_ONLY },
};

KUNIT_ARRAY_PARAM_DESC(overtaking, overtaking_params, name);

/*
 * The old answer neither takes the place of a newer one about the same name, nor is it
 * believed of the name that the entry has by then.
 */
static void late_answer_overtaken(struct kunit *test)
{
	const struct overtaking_param *param = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op revalidate = { .path = { "dir/file" }, .flags = LOOKUP_REVAL };
	struct kunit_thread *caller;
	struct fuse_fake_hook *hold;
	u64 dir, out;

	dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	out = fuse_fake_add(fx->server, "out", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "out"), 0);

	hold = fuse_fake_hold(fx->server, FUSE_LOOKUP, FUSE_FAKE_STOP_BEHIND);
	hold->skip = 1;
	caller = fuse_fx_run(fx, fuse_fx_do_stat, &revalidate);
	fuse_fake_hold_wait(hold);
	if (strcmp(param->to, "dir/file"))
		FUSE_EXPECT_ERR(test, fuse_fx_rename(fx, "dir/file", param->to, 0), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_notify(fx, param->to[0] == 'o' ? out : dir, 0,
					     kbasename(param->to), param->flags), 0);
	/* If it has kept its name, it is asked for and cached again. */
	if (!strcmp(param->to, "dir/file"))
		FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
	fuse_fake_let_go(fx->server);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(caller, NULL));
}

/* A new entry is only asked for again, if its answer is old: it is not dropped. */
static void late_answer_kept(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op stat = { .path = { "dir/file" } };
	struct fuse_fx_op expire = { .path = { "file" }, .flags = FUSE_EXPIRE_ONLY };
	struct kunit_thread *caller;
	struct fuse_fake_hook *hold;
	struct dentry *dir, *file;

	expire.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	dir = fuse_fx_hold(fx, "dir");
	hold = fuse_fake_hold(fx->server, FUSE_LOOKUP, FUSE_FAKE_STOP_BEHIND);
	caller = fuse_fx_run(fx, fuse_fx_do_stat, &stat);
	fuse_fake_hold_wait(hold);
	notify_meanwhile(fx, expire, -ENOENT);
	fuse_fake_let_go(fx->server);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(caller, NULL));
	file = fuse_fx_hold_cached(fx, dir, "file");
	KUNIT_ASSERT_NOT_NULL(test, file);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
	KUNIT_EXPECT_FALSE(test, d_unhashed(file));
}

/* An old listing does not take a name back to the epoch in which it was asked for. */
static void late_epoch(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op readdir = { .path = { "dir" } };
	struct kunit_thread *caller;
	struct fuse_fake_hook *hold;

	fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
	hold = fuse_fake_hold(fx->server, FUSE_READDIRPLUS, FUSE_FAKE_STOP_BEHIND);
	caller = fuse_fx_run(fx, fuse_fx_do_readdir, &readdir);
	fuse_fake_hold_wait(hold);
	FUSE_EXPECT_ERR(test, fuse_fx_inc_epoch(fx), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
	fuse_fake_let_go(fx->server);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(caller, NULL));
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

/*
 * An outdated LOOKUP leads to a directory that is cached under another name by now: its
 * dentry is not moved back. The LOOKUP is sent once more, but only once, because a
 * server may notify whenever it is asked.
 */
static void late_answer_moved(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op stat = { .path = { "dir/old" } };
	struct fuse_fx_op old = { .path = { "old" } };
	struct fuse_fake_hook *hold, *again;
	struct kunit_thread *caller;
	unsigned int lookups;

	old.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/old", S_IFDIR | 0755);
	fuse_fx_hold(fx, "dir");
	hold = fuse_fake_hold(fx->server, FUSE_LOOKUP, FUSE_FAKE_STOP_BEHIND);
	caller = fuse_fx_run(fx, fuse_fx_do_stat, &stat);
	fuse_fake_hold_wait(hold);
	fuse_fake_rename(fx->server, "dir/old", "dir/new");
	notify_meanwhile(fx, old, -ENOENT);
	FUSE_EXPECT_ERR(test, stat_meanwhile(fx, "dir/new"), 0);
	fuse_fake_add(fx->server, "dir/old", S_IFDIR | 0755);
	again = fuse_fake_hold(fx->server, FUSE_LOOKUP, FUSE_FAKE_STOP_BEHIND);
	fuse_fake_unhook(hold);
	fuse_fake_hold_wait(again);
	fuse_fake_remove(fx->server, "dir/old");
	notify_meanwhile(fx, old, -ENOENT);
	lookups = fuse_fake_requests(fx->server, FUSE_LOOKUP);
	fuse_fake_unhook(again);
	expect_answer(fx, caller, "stat", 0);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(fx->server, FUSE_LOOKUP), lookups);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/old"), -ENOENT);
}

/* An old listing leads to a node that has been replaced: the new one stays cached. */
static void late_answer_replaced(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op readdir = { .path = { "dir" } };
	struct fuse_fx_op inval = { .path = { "file" } };
	struct kunit_thread *caller;
	struct fuse_fake_hook *hold;

	inval.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	hold = fuse_fake_hold(fx->server, FUSE_READDIRPLUS, FUSE_FAKE_STOP_BEHIND);
	caller = fuse_fx_run(fx, fuse_fx_do_readdir, &readdir);
	fuse_fake_hold_wait(hold);
	fuse_fake_remove(fx->server, "dir/file");
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	notify_meanwhile(fx, inval, -ENOENT);
	FUSE_EXPECT_ERR(test, stat_meanwhile(fx, "dir/file"), 0);
	fuse_fake_let_go(fx->server);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(caller, NULL));
}

/*
 * Two listings fill the cache at the same time, one of them asked for before the
 * notification: that one does not go into the cache, even if it is the first to arrive.
 */
static void listing_arrives_late(struct kunit *test, bool empty)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op readdir = { .path = { "dir" } };
	struct fuse_fx_op inval = { .path = { empty ? "other" : "file" } };
	struct fuse_fake_hook *hold, *hold_new;
	struct kunit_thread *old, *new;

	fx->server->cache_dir = true;
	inval.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	if (!empty)
		fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, empty ? "dir" : "dir/file"), 0);
	hold = fuse_fake_hold(fx->server, FUSE_READDIRPLUS, FUSE_FAKE_STOP_BEHIND);
	old = fuse_fx_run(fx, fuse_fx_do_readdir, &readdir);
	fuse_fake_hold_wait(hold);
	if (!empty)
		fuse_fake_remove(fx->server, "dir/file");
	fuse_fake_add(fx->server, "dir/other", S_IFREG | 0644);
	notify_meanwhile(fx, inval, empty ? -ENOENT : 0);
	hold_new = fuse_fake_hold(fx->server, FUSE_READDIRPLUS, FUSE_FAKE_STOP_BEFORE);
	new = fuse_fx_run(fx, fuse_fx_do_readdir, &readdir);
	fuse_fake_hold_wait(hold_new);
	fuse_fake_unhook(hold);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(old, NULL));
	fuse_fake_unhook(hold_new);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(new, NULL));
	KUNIT_EXPECT_FALSE(test, fuse_fx_lists(fx, "dir", "file"));
	KUNIT_EXPECT_TRUE(test, fuse_fx_lists(fx, "dir", "other"));
}

/* A listing from before one name went and another came is not cached. */
static void late_listing(struct kunit *test)
{
	listing_arrives_late(test, false);
}

/* An old listing that is empty does not say that the cache is complete. */
static void late_listing_empty(struct kunit *test)
{
	listing_arrives_late(test, true);
}

/* A delete waits for the directory's lock, but the name is stale at once. */
static void delete_parent_locked(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op mkdir = { .path = { "dir/new" } };
	struct fuse_fx_op delete = { .path = { "file" } };
	struct kunit_thread *server, *caller;
	struct fuse_fake_hook *hold;
	unsigned int lookups;
	struct dentry *dir;

	delete.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	delete.child = fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	dir = fuse_fx_hold(fx, "dir");
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
	hold = fuse_fake_hold(fx->server, FUSE_MKDIR, FUSE_FAKE_STOP_BEFORE);
	caller = fuse_fx_run(fx, fuse_fx_do_mkdir, &mkdir);
	fuse_fake_hold_wait(hold);
	server = fuse_fx_run(fx, fuse_fx_do_notify, &delete);
	KUNIT_EXPECT_TRUE(test, kunit_thread_sleeps_on_rwsem(server, &d_inode(dir)->i_rwsem));
	FUSE_EXPECT_ERR(test, fuse_fx_stat_asks(fx, "dir/file", &lookups), 0);
	KUNIT_EXPECT_EQ(test, lookups, 1);
	fuse_fake_let_go(fx->server);
	expect_answer(fx, server, "the delete", 0);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(caller, NULL));
}

static const unsigned int rename_flags[] = { RENAME_EXCHANGE, 0 };

static void rename_flags_desc(const unsigned int *flags, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s", *flags ? "exchange" : "over");
}

KUNIT_ARRAY_PARAM(rename_flags, rename_flags, rename_flags_desc);

/* A delete marks the node that has the name once it holds i_rwsem of the directory. */
static void race_delete(struct kunit *test)
{
	const unsigned int *flags = test->param_value;
	struct fuse_fx_op rename = { .path = { "dir/new", "dir/old" }, .flags = *flags };
	struct fuse_fx_op delete = { .path = { "old" } };
	struct fuse_fixture *fx = test->priv;
	struct kunit_thread *server, *caller;
	struct fuse_fake_hook *hold;
	struct dentry *dir, *old, *new;

	delete.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fx_add_neighbours(fx, "dir/");
	fuse_fake_add(fx->server, "dir/old", S_IFDIR | 0755);
	delete.child = fuse_fake_add(fx->server, "dir/new", S_IFDIR | 0755);
	dir = fuse_fx_hold(fx, "dir");
	old = fuse_fx_hold(fx, "dir/old");
	new = fuse_fx_hold(fx, "dir/new");

	hold = fuse_fake_hold(fx->server, *flags ? FUSE_RENAME2 : FUSE_RENAME,
			      FUSE_FAKE_STOP_BEFORE);
	caller = fuse_fx_run(fx, fuse_fx_do_rename, &rename);
	fuse_fake_hold_wait(hold);
	server = fuse_fx_run(fx, fuse_fx_do_notify, &delete);
	/* If it ends without waiting, it has to be right as well. */
	kunit_thread_sleeps_on_rwsem(server, &d_inode(dir)->i_rwsem);
	fuse_fake_let_go(fx->server);
	expect_answer(fx, caller, "the rename of 'new' to 'old'", 0);
	expect_answer(fx, server, "the delete of 'old', which waited for it,", 0);
	/* What is renamed meanwhile may lose its timeout under its new name, too. */
	fuse_fake_take_back(fx->server, delete.parent, "new", false);
	KUNIT_EXPECT_TRUE(test, d_unhashed(new));
	KUNIT_EXPECT_TRUE(test, IS_DEADDIR(d_inode(new)));
	KUNIT_EXPECT_TRUE(test, cant_mount(new));
	KUNIT_EXPECT_EQ(test, d_inode(new)->i_nlink, 0);
	if (!*flags)
		return;
	KUNIT_EXPECT_FALSE(test, d_unhashed(old));
	KUNIT_EXPECT_FALSE(test, IS_DEADDIR(d_inode(old)));
	KUNIT_EXPECT_FALSE(test, cant_mount(old));
	KUNIT_EXPECT_NE(test, d_inode(old)->i_nlink, 0);
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
	KUNIT_CASE_PARAM(late_answer, late_gen_params),
	KUNIT_CASE(late_attributes),
	KUNIT_CASE_PARAM(late_node, late_node_gen_params),
	KUNIT_CASE(link_overtaken),
	KUNIT_CASE(late_answer_moved),
	KUNIT_CASE(late_answer_replaced),
	KUNIT_CASE_PARAM(late_answer_overtaken, overtaking_gen_params),
	KUNIT_CASE(late_answer_kept),
	KUNIT_CASE(late_epoch),
	KUNIT_CASE(listing),
	KUNIT_CASE(late_listing),
	KUNIT_CASE(late_listing_empty),
	KUNIT_CASE(delete_parent_locked),
	KUNIT_CASE(delete_waits),
	KUNIT_CASE_PARAM(race_delete, rename_flags_gen_params),
	{}
};

/* Most tests notify names in the root. */
static int fuse_inval_entry_init(struct kunit *test)
{
	int err = fuse_fx_init(test);

	if (!err)
		fuse_fx_add_neighbours(test->priv, "");
	return err;
}

static struct kunit_suite fuse_inval_entry_suite = {
	.name		= "fuse_inval_entry",
	.init		= fuse_inval_entry_init,
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_inval_entry_cases,
};

kunit_test_suite(fuse_inval_entry_suite);
