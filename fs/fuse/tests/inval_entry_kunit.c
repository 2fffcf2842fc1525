// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of fuse_reverse_inval_entry(): a server tells the kernel that a name it may have
 * cached is stale. Each test fills the cache through system calls, notifies, and looks again.
 */

#include <linux/namei.h>
#include <linux/sched/signal.h>

#include "fixture.h"

/*
 * The bug report of 2026-05-30: a lookup of "config" finds nothing and that is cached for long;
 * the server makes "config" visible and says so; stat() has to find it.
 */
static void negative(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;

	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "config"), -ENOENT);
	fuse_fake_add(fx->server, "config", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "config"), -ENOENT);

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "config"), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx->mnt->mnt_root, "config"));
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "config"), 0);
}

/* Without a timeout for absent names the server answers -ENOENT: that is not cached. */
static void negative_not_cached(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;

	fx->server->negative_valid = 0;
	FUSE_EXPECT_ERR(test, fuse_fx_mknod(fx, "other"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "config"), -ENOENT);
	fuse_fake_add(fx->server, "config", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "config"), 0);
}

static void positive(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;

	fuse_fake_add(fx->server, "file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "file"), 0);
	fuse_fake_remove(fx->server, "file");
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "file"), 0);

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "file"), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx->mnt->mnt_root, "file"));
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "file"), -ENOENT);
}

/*
 * With FUSE_EXPIRE_ONLY a dentry stays, and is used again if the server confirms it; else it
 * is invalidated, with what is cached below it.
 */
static void expired(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct dentry *dir;

	fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
	dir = fuse_fx_hold_cached(fx, fx->mnt->mnt_root, "dir");
	KUNIT_EXPECT_EQ(test, dir->d_op->d_revalidate(d_inode(fx->mnt->mnt_root), &dir->d_name, dir,
						      LOOKUP_RCU), 1);
	FUSE_EXPECT_ERR(test, fuse_fx_expire(fx, FUSE_ROOT_ID, "dir"), 0);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_LOOKUP, "dir/file"), 1);
	KUNIT_EXPECT_FALSE(test, d_unhashed(dir));

	fuse_fake_link(fx->server, "dir", "moved");
	fuse_fake_remove(fx->server, "dir");
	FUSE_EXPECT_ERR(test, fuse_fx_expire(fx, FUSE_ROOT_ID, "dir"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir"), -ENOENT);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_LOOKUP, "moved/file"), 2);
	/* What is sent right after a new epoch is not outdated: one LOOKUP for each name. */
	FUSE_EXPECT_ERR(test, fuse_fx_inc_epoch(fx), 0);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_LOOKUP, "moved/file"), 2);
}

static const struct unhashed_param {
	const char *name;
	unsigned int flags;
} unhashed_params[] = {
	{ "renamed" },
	{ "exchanged", RENAME_EXCHANGE },
};

KUNIT_ARRAY_PARAM_DESC(unhashed, unhashed_params, name);

/*
 * A file system that is mounted on this one, such as overlayfs, may keep a dentry after it
 * was unhashed, and revalidate it: the server is asked once, until the name is notified again.
 */
static void unhashed(struct kunit *test)
{
	const struct unhashed_param *param = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct inode *root = d_inode(fx->mnt->mnt_root), *dir;
	struct dentry *file, *other;
	unsigned int lookups;

	fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/other", S_IFREG | 0644);
	other = fuse_fx_hold(fx, "dir/other");
	dir = d_inode(other->d_parent);
	fuse_fake_add(fx->server, "file", S_IFREG | 0644);
	file = fuse_fx_hold(fx, "file");
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "file"), 0);
	lookups = fuse_fake_requests(fx->server, FUSE_LOOKUP);
	KUNIT_EXPECT_EQ(test, file->d_op->d_revalidate(root, &file->d_name, file, 0), 1);
	KUNIT_EXPECT_EQ(test, file->d_op->d_revalidate(root, &file->d_name, file, 0), 1);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(fx->server, FUSE_LOOKUP), lookups + 1);

	fuse_fake_remove(fx->server, "file");
	fuse_fake_add(fx->server, "file", S_IFREG | 0644);
	fuse_fx_inval(fx, FUSE_ROOT_ID, "file");
	KUNIT_EXPECT_NE(test, file->d_op->d_revalidate(root, &file->d_name, file, 0), 1);

	/* A rename that had found it before it was unhashed, which hashes it again. */
	inode_lock_nested(root, I_MUTEX_PARENT);
	inode_lock_nested(dir, I_MUTEX_PARENT2);
	FUSE_EXPECT_ERR(test, param->flags ?
			dir->i_op->rename(&nop_mnt_idmap, dir, other, root, file, param->flags) :
			root->i_op->rename(&nop_mnt_idmap, root, file, dir, other, 0), 0);
	/* As vfs_rename() does */
	if (!(root->i_sb->s_type->fs_flags & FS_RENAME_DOES_D_MOVE)) {
		if (param->flags)
			d_exchange(other, file);
		else
			d_move(file, other);
	}
	inode_unlock(dir);
	inode_unlock(root);
	KUNIT_EXPECT_NE(test, fuse_fx_asks(fx, FUSE_LOOKUP, "dir/other"), 0);
	/* The answers are about what no lookup finds: they need not be cached. */
	fuse_fake_take_back(fx->server, FUSE_ROOT_ID, "file", false);
}

/* The dentry of O_TMPFILE has no name: if overlayfs revalidates it, no LOOKUP is sent. */
static void tmpfile(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct file *file = fuse_fx_open(fx, "", O_TMPFILE | O_RDWR);
	unsigned int lookups = fuse_fake_requests(fx->server, FUSE_LOOKUP);
	struct dentry *entry = file->f_path.dentry;

	KUNIT_EXPECT_EQ(test, entry->d_op->d_revalidate(d_inode(fx->mnt->mnt_root),
							&entry->d_name, entry, 0), 1);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(fx->server, FUSE_LOOKUP), lookups);
	KUNIT_EXPECT_TRUE(test, d_unhashed(entry));
}

/*
 * A rename that the kernel made: the entry is known by its new name only. After an exchange,
 * only the entry that has the notified name is dropped.
 */
static void renamed(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct dentry *to_dir, *one, *two;
	struct qstr old = QSTR("old");
	u64 to = fuse_fake_add(fx->server, "to", S_IFDIR | 0755);

	fuse_fake_add(fx->server, "old", S_IFREG | 0644);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_LOOKUP, "to"), 1);
	to_dir = fuse_fx_hold(fx, "to");
	one = fuse_fx_hold(fx, "old");
	old.hash = one->d_name.hash;
	FUSE_EXPECT_ERR(test, fuse_fx_rename(fx, "old", "to/new", 0), 0);

	/* A lookup has found it by its old name. */
	FUSE_EXPECT_ERR(test, one->d_op->d_revalidate(d_inode(fx->mnt->mnt_root), &old, one, 0),
			-ESTALE);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_LOOKUP, "to/new"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "old"), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "new"), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, to, "old"), -ENOENT);
	KUNIT_EXPECT_TRUE(test, fuse_fx_cached(to_dir, "new"));
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, to, "new"), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(to_dir, "new"));

	fuse_fake_add(fx->server, "one", S_IFREG | 0644);
	fuse_fake_add(fx->server, "three", S_IFREG | 0644);
	one = fuse_fx_hold(fx, "one");
	two = fuse_fx_hold(fx, "three");
	FUSE_EXPECT_ERR(test, fuse_fx_rename(fx, "three", "two", 0), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_rename(fx, "one", "two", RENAME_EXCHANGE), 0);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_LOOKUP, "one"), 0);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_LOOKUP, "two"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "one"), 0);
	KUNIT_EXPECT_TRUE(test, d_unhashed(two));
	KUNIT_EXPECT_FALSE(test, d_unhashed(one));
}

/*
 * Another link to the node stays cached, with its attributes. After a delete, the next stat()
 * asks the server how many links are left; to make another one need not wait for that.
 */
static void hard_link(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	u64 nodeid = fuse_fake_add(fx->server, "one", S_IFREG | 0644);
	struct dentry *two;

	fuse_fake_link(fx->server, "one", "two");
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "one"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "two"), 0);

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "one"), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(fx->mnt->mnt_root, "one"));
	KUNIT_EXPECT_TRUE(test, fuse_fx_cached(fx->mnt->mnt_root, "two"));
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_GETATTR, "two"), 0);

	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "one"), 0);
	fuse_fake_remove(fx->server, "one");
	FUSE_EXPECT_ERR(test, fuse_fx_notify(fx, FUSE_ROOT_ID, nodeid, "one", 0), 0);
	/* Before anybody has asked how many links are left. */
	FUSE_EXPECT_ERR(test, fuse_fx_link(fx, "two", "three"), 0);

	/* It asks also if the deleted name is not cached, or cached as absent. */
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "two"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_notify(fx, FUSE_ROOT_ID, nodeid, "four", 0), -ENOENT);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_GETATTR, "two"), 1);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "four"), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_notify(fx, FUSE_ROOT_ID, nodeid, "four", 0), 0);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_GETATTR, "two"), 1);

	/* If i_nlink was up to date before the delete, it is not counted down again. */
	two = fuse_fx_hold(fx, "two");
	fuse_fake_remove(fx->server, "three");
	FUSE_EXPECT_ERR(test, fuse_fx_inval_inode(fx, nodeid), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "two"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_notify(fx, FUSE_ROOT_ID, nodeid, "three", 0), 0);
	KUNIT_EXPECT_EQ(test, d_inode(two)->i_nlink, 1);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_GETATTR, "two"), 1);

	/* Only hashed aliases count: this was the last link, though i_nlink was still 2. */
	fuse_fake_link(fx->server, "two", "five");
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "two"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "two"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_inval_inode(fx, nodeid), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "two"), 0);
	fuse_fake_remove(fx->server, "five");
	fuse_fake_remove(fx->server, "two");
	FUSE_EXPECT_ERR(test, fuse_fx_notify(fx, FUSE_ROOT_ID, nodeid, "two", 0), 0);
	KUNIT_EXPECT_EQ(test, d_inode(two)->i_nlink, 0);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks_attr(fx, two, STATX_NLINK), 1);
}

/*
 * To change a name is to change its directory, also if the kernel has not cached the name.
 * Nothing else is stale: neither attributes of siblings, nor the owner of the directory.
 */
static void parent_attributes(struct kunit *test)
{
	static const u32 stale[] = {
		STATX_MTIME, STATX_CTIME, STATX_SIZE, STATX_BLOCKS, STATX_NLINK,
	};
	struct fuse_fixture *fx = test->priv;
	u64 dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	struct dentry *parent;

	fuse_fake_add(fx->server, "dir/sibling", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/sibling"), 0);
	parent = fuse_fx_hold(fx, "dir");
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_GETATTR, "dir"), 0);

	for (unsigned int i = 0; i < ARRAY_SIZE(stale); i++) {
		FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, dir, "never"), -ENOENT);
		KUNIT_EXPECT_EQ(test, fuse_fx_asks_attr(fx, parent, STATX_UID), 0);
		KUNIT_EXPECT_EQ_MSG(test, fuse_fx_asks_attr(fx, parent, stale[i]), 1,
				    "STATX_* %#x", stale[i]);
	}
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_GETATTR, "dir/sibling"), 0);
	/* Attributes from a SETATTR are valid, too, also those from a second one right after it. */
	for (unsigned int i = 0; i < 2; i++)
		FUSE_EXPECT_ERR(test, FUSE_FX_CALL(chmod, fx, .path = { "dir/sibling" }), 0);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_GETATTR, "dir/sibling"), 0);
}

/*
 * The directory was removed but is still in use, and so is a negative dentry in
 * it. No path leads to that dentry any more; it is invalidated like any other.
 */
static void parent_deleted(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	u64 nodeid = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	struct dentry *dir = fuse_fx_hold(fx, "dir");

	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/none"), -ENOENT);
	fuse_fx_hold_cached(fx, dir, "none");
	FUSE_EXPECT_ERR(test, fuse_fx_rmdir(fx, "dir"), 0);

	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, nodeid, "none"), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_cached(dir, "none"));
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, nodeid, "never"), -ENOENT);
}

static void parent_unknown(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	u64 file = fuse_fake_add(fx->server, "file", S_IFREG | 0644), dir;
	struct inode *inode;

	fuse_fx_hold(fx, "file");
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, 4711, "file"), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_notify(fx, 4711, file, "link", 0), -ENOENT);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_GETATTR, "file"), 1);

	/* Nor one of which only the lower half of the nodeid is right. */
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID + BIT_ULL(32), "~file"), -ENOENT);

	/* The server has it, but the kernel does not know it: what it is told later is valid. */
	dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, dir, "file"), -ENOENT);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_GETATTR, "dir"), 0);

	/* The inode is in use, but it has no dentry. */
	inode = fuse_fx_hold_inode(fx, "dir");
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, "dir"), 0);
	KUNIT_EXPECT_TRUE(test, hlist_empty(&inode->i_dentry));
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, dir, "file"), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_notify(fx, dir, 4711, "file", 0), -ENOENT);

	/* The kernel knows it, but not as a directory. */
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, file, "name"), -ENOTDIR);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "file"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_notify(fx, file, file, "name", 0), -ENOTDIR);
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_GETATTR, "file"), 0);
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

/* The name is listed in "dir", which the server is asked for, unless the listing is cached. */
static void expect_listed(struct fuse_fixture *fx, u64 dir, const char *name, bool cached)
{
	u64 seq = fuse_fake_seq(fx->server, dir, FUSE_FAKE_LISTING);

	KUNIT_EXPECT_TRUE(fx->test, fuse_fx_lists(fx, "dir", name));
	KUNIT_EXPECT_EQ(fx->test, fuse_fake_seq(fx->server, dir, FUSE_FAKE_LISTING) == seq, cached);
}

/* A listing is cached, and read again when something in it was notified. */
static void listing(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	u64 dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	u64 file = fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);

	fx->server->cache_dir = true;
	expect_listed(fx, dir, "file", false);
	FUSE_EXPECT_ERR(test, fuse_fx_inval_inode(fx, file), 0);
	expect_listed(fx, dir, "file", true);

	fuse_fake_add(fx->server, "dir/new", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, dir, "new"), -ENOENT);
	expect_listed(fx, dir, "new", false);
	expect_listed(fx, dir, "new", true);

	fuse_fake_remove(fx->server, "dir/new");
	FUSE_EXPECT_ERR(test, fuse_fx_inval_inode(fx, dir), 0);
	KUNIT_EXPECT_FALSE(test, fuse_fx_lists(fx, "dir", "new"));
}

static bool list_any(struct dir_context *ctx, const char *name, int namelen, loff_t offset, u64 ino,
		     unsigned int type)
{
	return true;
}

/* Open a directory, and read the part of it that starts at @part->pos. */
static struct file *list_part(struct fuse_fixture *fx, const char *path, struct dir_context *part)
{
	struct file *file = fuse_fx_open(fx, path, O_RDONLY | O_DIRECTORY);
	loff_t pos = part->pos;

	KUNIT_ASSERT_EQ(fx->test, vfs_llseek(file, pos, SEEK_SET), pos);
	FUSE_ASSERT_ERR(fx->test, iterate_dir(file, part), 0);
	return file;
}

/*
 * It is cached, too, if the directory is opened again for each part of it, as by nfsd. But
 * whoever has begun to read before a notification does not complete a newer listing.
 */
static void listing_in_parts(struct kunit *test)
{
	struct dir_context part = { .actor = list_any }, new = part;
	struct fuse_fixture *fx = test->priv;
	u64 dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	struct file *old;
	loff_t pos;

	fx->server->cache_dir = true;
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	do {
		pos = part.pos;
		list_part(fx, "dir", &part);
	} while (part.pos != pos);
	expect_listed(fx, dir, "file", true);

	FUSE_EXPECT_ERR(test, fuse_fx_inval_inode(fx, dir), 0);
	part.pos = 0;
	old = list_part(fx, "dir", &part);
	FUSE_EXPECT_ERR(test, fuse_fx_inval_inode(fx, dir), 0);
	list_part(fx, "dir", &new);
	FUSE_EXPECT_ERR(test, iterate_dir(old, &part), 0);
	expect_listed(fx, dir, "file", false);

	/* Back at the beginning, it starts a listing of its own. */
	FUSE_EXPECT_ERR(test, fuse_fx_inval_inode(fx, dir), 0);
	KUNIT_EXPECT_EQ(test, vfs_llseek(old, 0, SEEK_SET), 0);
	KUNIT_EXPECT_EQ(test, fuse_fx_read_dir(old, "file"), 1);
	expect_listed(fx, dir, "file", true);
}

/*
 * A listing that no notification has outdated replaces what is cached of another node. If that
 * has the same nodeid, no other link to it is believed.
 */
static void listing_replaces(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	u64 dir = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	u64 nodeid = fuse_fake_add(fx->server, "link", S_IFREG | 0644);

	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), -ENOENT);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, dir, "file"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
	fuse_fake_remove(fx->server, "dir/file");
	fuse_fake_add(fx->server, "dir/file", S_IFDIR | 0755);
	KUNIT_EXPECT_TRUE(test, fuse_fx_lists(fx, "dir", "file"));
	KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_LOOKUP, "dir/file"), 0);
	KUNIT_EXPECT_TRUE(test, d_is_dir(fuse_fx_hold(fx, "dir/file")));

	fuse_fake_link(fx->server, "link", "dir/reused");
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "link"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/reused"), 0);
	fuse_fake_remove(fx->server, "link");
	fuse_fake_remove(fx->server, "dir/reused");
	fuse_fake_reuse(fx->server, nodeid, "dir/reused");
	KUNIT_EXPECT_TRUE(test, fuse_fx_lists(fx, "dir", "reused"));
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "link"), -ENOENT);
}

static const struct listing_param {
	const char *name;
	bool there;			/* "dir/file" is in the first listing */
	bool notified;			/* it is removed, and "dir/other" made, before the second */
	unsigned int answered;		/* requests of the first one until the notification */
} listing_params[] = {
	{ "with a name", true, true, 1 },
	{ "empty", false, true, 1 },
	/* OPENDIR and READDIRPLUS, but not what asks for the rest */
	{ "in part", true, true, 2 },
	{ "not notified", true, false, 1 },
};

KUNIT_ARRAY_PARAM_DESC(listing, listing_params, name);

/*
 * Two listings fill the cache at the same time, one of them asked for before the
 * notification: that one is not cached, even if it arrives first. If it is empty it does not
 * mark the cache as complete, and the new one is not appended to what is cached. Without a
 * notification, the first one that ends fills the cache.
 */
static void listing_overtaken(struct kunit *test)
{
	const struct listing_param *param = test->param_value;
	bool there = param->there && !param->notified;
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op readdir = { .path = { "dir", "file" } };
	struct fuse_fx_op inval = { .path = { param->there ? "file" : "other" } };
	struct fuse_fake_hook *hold, *hold_new;
	struct kunit_thread *old, *new;
	unsigned int asked;

	fx->server->cache_dir = true;
	inval.parent = fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	if (param->answered > 1)
		fuse_fake_add(fx->server, "dir/first", S_IFREG | 0644);
	if (param->there)
		fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, param->there ? "dir/file" : "dir"), 0);
	hold = fuse_fake_hold(fx->server, 0, param->answered, FUSE_FAKE_STOP_BEHIND);
	old = fuse_fx_run_to(fx, fuse_fx_do_readdir, &readdir, hold);
	if (param->notified) {
		if (param->there)
			fuse_fake_remove(fx->server, "dir/file");
		fuse_fake_add(fx->server, "dir/other", S_IFREG | 0644);
		fuse_fx_notify_meanwhile(fx, inval, param->there ? 0 : -ENOENT);
	}
	hold_new = fuse_fake_hold(fx->server, FUSE_READDIRPLUS, 0, FUSE_FAKE_STOP_BEFORE);
	new = fuse_fx_run_to(fx, fuse_fx_do_readdir, &readdir, hold_new);
	fuse_fake_unhook(hold);
	fuse_fx_join(fx, old, "the first listing", param->there);
	if (!param->notified) {
		asked = fuse_fake_requests(fx->server, FUSE_READDIRPLUS) +
			fuse_fake_requests(fx->server, FUSE_READDIR);
		KUNIT_EXPECT_TRUE(test, fuse_fx_lists(fx, "dir", "file"));
		KUNIT_EXPECT_EQ(test, fuse_fake_requests(fx->server, FUSE_READDIRPLUS) +
				fuse_fake_requests(fx->server, FUSE_READDIR), asked);
	}
	fuse_fake_unhook(hold_new);
	fuse_fx_join(fx, new, "the second listing", there);
	KUNIT_EXPECT_EQ(test, fuse_fx_lists(fx, "dir", "file"), there);
	KUNIT_EXPECT_EQ(test, fuse_fx_lists(fx, "dir", "other"), param->notified);
}

static const struct renaming_param {
	const char *name;
	unsigned int flags;	/* of the rename: without RENAME_EXCHANGE it fails */
	u32 notification;	/* flags */
	bool killed;		/* the lookups, while they wait for the rename */
	unsigned int asks;	/* how many LOOKUPs a stat() of a file below takes after it */
} renaming_params[] = {
	{ "done", RENAME_EXCHANGE, 0, false, 0 },
	{ "killed", RENAME_EXCHANGE, 0, true, 1 },
	{ "failed", 0, 0, false, 2 },
	{ "failed expire", 0, FUSE_EXPIRE_ONLY, false, 0 },
};

KUNIT_ARRAY_PARAM_DESC(renaming, renaming_params, name);

/*
 * While RENAME is at the server, both names are notified, and looked up. If the server has
 * renamed them, these answers are not about the cached dentries, which are moved, with all that
 * is cached below them. If RENAME fails, because the target is not empty, an entry is
 * invalidated, unless it was notified with FUSE_EXPIRE_ONLY.
 */
static void renaming(struct kunit *test)
{
	const struct renaming_param *param = test->param_value;
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op rename = { .path = { "one", "two" }, .flags = param->flags };
	static const char *const files[] = { "one/file", "two/file" };
	struct kunit_thread *renames, *looks[2];
	struct fuse_fake_hook *hold;

	for (int i = 0; i < 2; i++) {
		fuse_fake_add(fx->server, rename.path[i], S_IFDIR | 0755);
		fuse_fake_add(fx->server, files[i], S_IFREG | 0644);
		FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, files[i]), 0);
	}
	hold = fuse_fake_hold(fx->server, param->flags ? FUSE_RENAME2 : FUSE_RENAME, 0,
			      FUSE_FAKE_STOP_BEHIND);
	renames = fuse_fx_run_to(fx, fuse_fx_do_rename, &rename, hold);
	for (int i = 0; i < 2; i++) {
		struct fuse_fx_op stat = { .path = { rename.path[i] } };
		struct fuse_fx_op notify = {
			fx, { rename.path[i] }, param->notification, FUSE_ROOT_ID,
		};

		fuse_fx_notify_meanwhile(fx, notify, 0);
		looks[i] = fuse_fx_run(fx, fuse_fx_do_stat, &stat);
		/* If RENAME is going to fail, the server confirms what is cached. */
		if (param->flags)
			KUNIT_EXPECT_EQ(test, kunit_thread_wait(looks[i]), KUNIT_THREAD_SLEEPS);
		if (param->killed)
			send_sig(SIGKILL, looks[i]->task, 1);
		if (param->killed || !param->flags)
			fuse_fx_join(fx, looks[i], "stat", param->killed ? -EINTR : 0);
	}
	fuse_fake_unhook(hold);
	fuse_fx_join(fx, renames, "rename", param->flags ? 0 : -ENOTEMPTY);
	for (int i = 0; i < 2; i++) {
		fuse_fx_join(fx, looks[i], "stat", param->killed ? -EINTR : 0);
		KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_LOOKUP, files[i]), param->asks);
		/* After the rename it is invalidated, as always. */
		FUSE_EXPECT_ERR(test, fuse_fx_inval(fx, FUSE_ROOT_ID, rename.path[i]), 0);
		KUNIT_EXPECT_EQ(test, fuse_fx_asks(fx, FUSE_LOOKUP, files[i]), 2);
	}
}

static const struct stopped_param {
	const char *name;
	int (*call)(struct fuse_fx_op *op);
} stopped_params[] = { { "lookup", fuse_fx_do_lookup }, { "notify", fuse_fx_do_notify } };

KUNIT_ARRAY_PARAM_DESC(stopped, stopped_params, name);

/*
 * A directory is renamed while a lookup or a second notification of its old name is stopped. Each
 * point is tried three times: the stopped call goes on after the rename; one point before the
 * directory gets its new name; and while the next RENAME, which will fail, is at the server: the
 * call must not wait for that. The directory stays hashed, and what is cached below it, too.
 */
static void renaming_stopped(struct kunit *test)
{
	enum { OLD, NEW, OLD_FILE, NEW_FILE, NAMES };
	static const char *const formats[] = { "%u", "out/new %u", "%u/file", "out/new %u/file" };
	static char names[NAMES][24];	/* outlives a test that fails */
	const struct stopped_param *param = test->param_value;
	struct fuse_fx_op op = { .path = { names[OLD] }, .parent = FUSE_ROOT_ID };
	struct fuse_fx_op rename = { .path = { names[OLD], names[NEW] } };
	struct fuse_fx_op fails = { .path = { names[NEW], "out/full" } };
	struct fuse_fixture *fx = test->priv;
	struct kunit_thread *stops, *renames;
	unsigned int moved, n, i = 0;	/* @moved: points until the directory has its new name */
	enum kunit_thread_state state;
	struct fuse_fake_hook *hold;
	bool before, next;
	struct dentry *dir;

	kunit_points_need(test);
	fuse_fake_add(fx->server, "out", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "out/full", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "out/full/file", S_IFREG | 0644);
	/* Until the call comes to no such point. */
	do {
		before = i % 3 == 1;
		next = i % 3 == 2;
		for (n = 0; n < NAMES; n++)
			snprintf(names[n], sizeof(names[n]), formats[n], i);
		fuse_fake_add(fx->server, names[OLD], S_IFDIR | 0755);
		fuse_fake_add(fx->server, names[OLD_FILE], S_IFREG | 0644);
		FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, names[OLD_FILE]), 0);
		dir = fuse_fx_hold_cached(fx, fx->mnt->mnt_root, names[OLD]);
		hold = fuse_fake_hold(fx->server, FUSE_RENAME, 0, FUSE_FAKE_STOP_BEHIND);
		renames = fuse_fx_run_to(fx, fuse_fx_do_rename, &rename, hold);
		fuse_fx_notify_meanwhile(fx, op, 0);
		stops = fuse_fx_run_at(fx, "stops", param->call, &op, i / 3);
		state = kunit_thread_wait(stops);
		for (n = 0; before ? n + 1 < moved : IS_ROOT(dir->d_parent); n++) {
			kunit_thread_go_on(renames, renames->points);
			fuse_fake_unhook(hold);
			KUNIT_ASSERT_EQ(test, kunit_thread_wait(renames), KUNIT_THREAD_STOPPED);
		}
		KUNIT_ASSERT_EQ(test, IS_ROOT(dir->d_parent), before);
		if (!before) {
			moved = n;
			fuse_fx_join(fx, renames, "rename", 0);
		}
		if (next) {
			hold = fuse_fake_hold(fx->server, FUSE_RENAME, 0, FUSE_FAKE_STOP_BEHIND);
			renames = fuse_fx_run_to(fx, fuse_fx_do_rename, &fails, hold);
		}
		kunit_thread_go_on(stops, KUNIT_NO_POINT);
		if (next)
			KUNIT_ASSERT_TRUE(test, kunit_thread_join(stops, NULL));
		else
			kunit_thread_wait(stops);
		fuse_fake_unhook(hold);
		fuse_fx_join(fx, renames, "rename", next ? -ENOTEMPTY : 0);
		kunit_thread_join(stops, NULL);
		FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, names[OLD]), -ENOENT);
		KUNIT_EXPECT_FALSE_MSG(test, d_unhashed(dir), "stopped at %pS", stops->where);
		/* The directory has expired, as its old name was notified; a rename confirms it. */
		n = fuse_fx_asks(fx, FUSE_LOOKUP, names[NEW_FILE]);
		KUNIT_EXPECT_TRUE_MSG(test, n == 1 || (n == 0 && next),
				      "%u LOOKUPs, stopped at %pS", n, stops->where);
		i++;
	} while (state == KUNIT_THREAD_STOPPED);
	KUNIT_EXPECT_GT(test, i, 1);
}

/*
 * A RENAME fails. After its answer it is stopped at each point, and the old name is notified there:
 * the notification invalidates the entry, or the end of the rename does.
 */
static void renaming_failed(struct kunit *test)
{
	struct fuse_fx_op rename = { .path = { "dir", "full" } };
	struct fuse_fx_op inval = { .path = { "dir" }, .parent = FUSE_ROOT_ID };
	struct fuse_fixture *fx = test->priv;
	struct kunit_thread *renames, *notifies;
	enum kunit_thread_state state;
	struct fuse_fake_hook *hold;
	unsigned int i = 0;

	kunit_points_need(test);
	fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "dir/file", S_IFREG | 0644);
	fuse_fake_add(fx->server, "full", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "full/file", S_IFREG | 0644);
	do {
		FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/file"), 0);
		hold = fuse_fake_hold(fx->server, FUSE_RENAME, 0, FUSE_FAKE_STOP_BEHIND);
		renames = fuse_fx_run_to(fx, fuse_fx_do_rename, &rename, hold);
		kunit_thread_go_on(renames, renames->points + i++);
		fuse_fake_unhook(hold);
		state = kunit_thread_wait(renames);
		notifies = fuse_fx_run(fx, fuse_fx_do_notify, &inval);
		KUNIT_ASSERT_TRUE(test, kunit_thread_join(notifies, NULL));
		fuse_fx_join(fx, renames, "rename", -ENOTEMPTY);
		KUNIT_EXPECT_EQ_MSG(test, fuse_fx_asks(fx, FUSE_LOOKUP, "dir/file"), 2,
				    "stopped at %pS", renames->where);
	} while (state == KUNIT_THREAD_STOPPED);
	KUNIT_EXPECT_GT(test, i, 1);
}

/*
 * CREATE makes a dentry positive that a lookup has found: it stays hashed. The lookup is stopped at
 * each of its points, and CREATE at the first points where the dentry is positive.
 */
static void lookup_created(struct kunit *test)
{
	static char name[24];	/* outlives a test that fails */
	struct fuse_fx_op look = { .path = { name }, .parent = FUSE_ROOT_ID };
	struct fuse_fx_op create = { .path = { name }, .flags = O_CREAT | O_RDWR };
	struct fuse_fixture *fx = test->priv;
	struct kunit_thread *looks, *creates;
	enum kunit_thread_state state;
	struct fuse_fake_hook *hold;
	unsigned long near = 0;		/* a few points before CREATE makes the dentry positive */
	unsigned int positive, i;
	struct dentry *entry;

	kunit_points_need(test);
	for (i = 0; ; i++) {
		snprintf(name, sizeof(name), "%u", i);
		FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, name), -ENOENT);
		entry = fuse_fx_hold_cached(fx, fx->mnt->mnt_root, name);
		looks = fuse_fx_run_at(fx, "looks", fuse_fx_do_lookup, &look, i / 4);
		state = kunit_thread_wait(looks);
		if (state != KUNIT_THREAD_STOPPED)
			break;
		hold = fuse_fake_hold(fx->server, FUSE_CREATE, 0, FUSE_FAKE_STOP_BEHIND);
		creates = fuse_fx_run_to(fx, fuse_fx_do_open, &create, hold);
		for (positive = 0; positive <= i % 4; positive += d_really_is_positive(entry)) {
			kunit_thread_go_on(creates, max(creates->points, near));
			fuse_fake_unhook(hold);
			KUNIT_ASSERT_EQ(test, kunit_thread_wait(creates), KUNIT_THREAD_STOPPED);
		}
		near = near ?: creates->points - 8;
		kunit_thread_go_on(looks, KUNIT_NO_POINT);
		kunit_thread_wait(looks);
		fuse_fx_join(fx, creates, "open", 0);
		kunit_thread_join(looks, NULL);
		KUNIT_EXPECT_FALSE_MSG(test, d_unhashed(entry), "stopped at %pS", looks->where);
	}
	/* The last lookup has come to its end: it was stopped at every point before. */
	KUNIT_EXPECT_EQ(test, state, KUNIT_THREAD_ENDED);
	KUNIT_EXPECT_NE(test, i, 0);
}

static struct kunit_case fuse_inval_entry_cases[] = {
	KUNIT_CASE(negative),
	KUNIT_CASE(negative_not_cached),
	KUNIT_CASE(positive),
	KUNIT_CASE(expired),
	KUNIT_CASE_PARAM(unhashed, unhashed_gen_params),
	KUNIT_CASE(tmpfile),
	KUNIT_CASE(renamed),
	KUNIT_CASE(hard_link),
	KUNIT_CASE(parent_attributes),
	KUNIT_CASE(parent_deleted),
	KUNIT_CASE(parent_unknown),
	KUNIT_CASE(not_cached),
	KUNIT_CASE(listing),
	KUNIT_CASE(listing_in_parts),
	KUNIT_CASE(listing_replaces),
	KUNIT_CASE_PARAM(listing_overtaken, listing_gen_params),
	KUNIT_CASE_PARAM(renaming, renaming_gen_params),
	KUNIT_CASE_PARAM(renaming_stopped, stopped_gen_params),
	KUNIT_CASE(renaming_failed),
	KUNIT_CASE(lookup_created),
	{}
};

static struct kunit_suite fuse_inval_entry_suite = {
	.name		= "fuse_inval_entry",
	.init		= fuse_fx_init_neighbours,
	.exit		= fuse_fx_exit,
	.test_cases	= fuse_inval_entry_cases,
};

kunit_test_suite(fuse_inval_entry_suite);
