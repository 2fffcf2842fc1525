// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the fake server: the kernel finds in it what it expects of a
 * FUSE server, and a test can rely on what it says about the kernel.
 */

#include <linux/fs.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/statfs.h>
#include <linux/string.h>
#include <linux/xattr.h>

#include <kunit/mount.h>
#include <kunit/test.h>
#include <kunit/thread.h>

#include "fixture.h"

/* mknod(), or symlink() if there is a @target */
static int make(struct fuse_fixture *fx, const char *name, const char *target)
{
	struct dentry *dir = fx->mnt->mnt_root;
	struct dentry *dentry;
	int err;

	dentry = start_creating(&nop_mnt_idmap, dir, &QSTR(name));
	if (IS_ERR(dentry))
		return PTR_ERR(dentry);
	if (target)
		err = vfs_symlink(&nop_mnt_idmap, d_inode(dir), dentry, target, NULL);
	else
		err = vfs_mknod(&nop_mnt_idmap, d_inode(dir), dentry, S_IFIFO | 0644, 0, NULL);
	end_creating(dentry);
	return err;
}

/* Every system call that changes names changes them on the server. */
static void changes(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fake_server *server = fx->server;
	struct file *file;

	FUSE_EXPECT_ERR(test, fuse_fx_mkdir(fx, "dir"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_mkdir(fx, "dir"), -EEXIST);
	FUSE_EXPECT_ERR(test, make(fx, "fifo", NULL), 0);
	FUSE_EXPECT_ERR(test, make(fx, "symlink", "fifo"), 0);
	file = fuse_fx_open(fx, "dir/file", O_CREAT | O_EXCL | O_RDWR);
	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	fuse_fx_close(fx, file);
	FUSE_EXPECT_ERR(test, fuse_fx_link(fx, "fifo", "link"), 0);
	KUNIT_EXPECT_EQ(test, d_inode(fuse_fx_hold(fx, "link"))->i_nlink, 2);

	FUSE_EXPECT_ERR(test, fuse_fx_rmdir(fx, "dir"), -ENOTEMPTY);
	FUSE_EXPECT_ERR(test, fuse_fx_rename(fx, "dir/file", "link", 0), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_rename(fx, "fifo", "dir", RENAME_EXCHANGE), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_rmdir(fx, "fifo"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_unlink(fx, "dir"), 0);

	/* What is left, seen from behind the kernel's back. */
	fuse_fake_remove(server, "link");
	fuse_fake_remove(server, "symlink");
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(server, FUSE_MKDIR), 1);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(server, FUSE_MKNOD), 1);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(server, FUSE_SYMLINK), 1);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(server, FUSE_CREATE), 1);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(server, FUSE_RELEASE), 1);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(server, FUSE_LINK), 1);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(server, FUSE_RENAME), 1);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(server, FUSE_RENAME2), 1);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(server, FUSE_RMDIR), 2);
	KUNIT_EXPECT_EQ(test, fuse_fake_requests(server, FUSE_UNLINK), 1);
}

/* What looks at files without changing them. */
static void looks(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct path root = { .mnt = fx->mnt, .dentry = fx->mnt->mnt_root };
	struct delayed_call done = { };
	struct kstatfs statfs;
	struct dentry *symlink;
	struct file *file;
	const char *target;

	FUSE_EXPECT_ERR(test, make(fx, "symlink", "file"), 0);
	fuse_fake_add(fx->server, "file", S_IFREG | 0644);
	file = fuse_fx_open(fx, "symlink", O_RDONLY);
	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	KUNIT_EXPECT_STREQ(test, file->f_path.dentry->d_name.name, "file");
	fuse_fx_close(fx, file);

	symlink = fuse_fx_hold(fx, "symlink");
	target = vfs_get_link(symlink, &done);
	KUNIT_ASSERT_FALSE(test, IS_ERR(target));
	KUNIT_EXPECT_STREQ(test, target, "file");
	do_delayed_call(&done);
	KUNIT_EXPECT_EQ(test, d_inode(symlink)->i_size, strlen("file"));

	FUSE_EXPECT_ERR(test, vfs_statfs(&root, &statfs), 0);
	KUNIT_EXPECT_EQ(test, statfs.f_bsize, PAGE_SIZE);
}

struct listing {
	struct dir_context ctx;
	unsigned int names;
};

static bool count_name(struct dir_context *ctx, const char *name, int len, loff_t offset,
		       u64 ino, unsigned int type)
{
	container_of(ctx, struct listing, ctx)->names++;
	return true;
}

/* readdir() brings the entries along, in as many requests as they need. */
static void lists(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct listing listing = { .ctx.actor = count_name };
	unsigned int lookups;
	struct file *file;
	unsigned int i;
	char name[32];

	fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	for (i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "dir/file%u", i);
		fuse_fake_add(fx->server, name, S_IFREG | 0644);
	}
	file = fuse_fx_open(fx, "dir", O_RDONLY | O_DIRECTORY);
	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	do {
		i = listing.names;
		FUSE_EXPECT_ERR(test, iterate_dir(file, &listing.ctx), 0);
	} while (listing.names > i);
	fuse_fx_close(fx, file);

	KUNIT_EXPECT_EQ(test, listing.names, 100);
	KUNIT_EXPECT_GT(test, fuse_fake_requests(fx->server, FUSE_READDIRPLUS), 0);
	KUNIT_EXPECT_GT(test, fuse_fake_requests(fx->server, FUSE_READDIR), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat_asks(fx, "dir/file0", &lookups), 0);
	KUNIT_EXPECT_EQ(test, lookups, 0);
}

/* How long a name may be cached is the server's to say. */
static void timeouts(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	unsigned int lookups;

	fuse_fake_add(fx->server, "file", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat_asks(fx, "file", &lookups), 0);
	KUNIT_EXPECT_EQ(test, lookups, 1);
	FUSE_EXPECT_ERR(test, fuse_fx_stat_asks(fx, "file", &lookups), 0);
	KUNIT_EXPECT_EQ(test, lookups, 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat_asks(fx, "none", &lookups), -ENOENT);
	KUNIT_EXPECT_EQ(test, lookups, 1);
	FUSE_EXPECT_ERR(test, fuse_fx_stat_asks(fx, "none", &lookups), -ENOENT);
	KUNIT_EXPECT_EQ(test, lookups, 0);

	fx->server->entry_valid = 0;
	fx->server->negative_valid = 0;
	fuse_fake_add(fx->server, "file2", S_IFREG | 0644);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "file2"), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat_asks(fx, "file2", &lookups), 0);
	KUNIT_EXPECT_EQ(test, lookups, 1);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "none2"), -ENOENT);
	FUSE_EXPECT_ERR(test, fuse_fx_stat_asks(fx, "none2", &lookups), -ENOENT);
	KUNIT_EXPECT_EQ(test, lookups, 1);
}

/* One request is held; the server goes on with the others. */
static void holds(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fx_op mkdir = { .path = { "dir/new" } };
	struct kunit_thread *thread;
	int err;

	fuse_fake_add(fx->server, "dir", S_IFDIR | 0755);
	fuse_fake_add(fx->server, "file", S_IFREG | 0644);
	thread = fuse_fx_run_to(fx, fuse_fx_do_mkdir, &mkdir, FUSE_MKDIR,
				FUSE_FAKE_STOP_BEFORE);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "file"), 0);
	fuse_fake_let_go(fx->server);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(thread, &err));
	KUNIT_EXPECT_EQ(test, err, 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "dir/new"), 0);
}

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

/* A nodeid stays when its name is moved, and even when that goes. */
static void nodeids(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	struct fuse_fake_server *server = fx->server;
	struct dentry *dentry;
	u64 dir, file;

	KUNIT_EXPECT_EQ(test, fuse_fake_find(server, FUSE_ROOT_ID, "dir"), 0);
	dir = fuse_fake_add(server, "dir", S_IFDIR | 0755);
	file = fuse_fake_add(server, "dir/file", S_IFREG | 0644);
	KUNIT_EXPECT_EQ(test, fuse_fake_find(server, FUSE_ROOT_ID, "dir"), dir);
	KUNIT_EXPECT_EQ(test, fuse_fake_find(server, dir, "file"), file);

	/* The kernel finds a directory wherever it is, but not one it has never seen. */
	FUSE_EXPECT_ERR(test, PTR_ERR(fuse_fx_lookup_at(fx, dir, "file")), -ESTALE);
	fuse_fx_hold(fx, "dir");
	FUSE_EXPECT_ERR(test, fuse_fx_rename(fx, "dir", "moved", 0), 0);
	dentry = fuse_fx_lookup_at(fx, dir, "file");
	KUNIT_ASSERT_FALSE(test, IS_ERR(dentry));
	KUNIT_EXPECT_STREQ(test, dentry->d_name.name, "file");
	dput(dentry);
	FUSE_EXPECT_ERR(test, PTR_ERR(fuse_fx_lookup_at(fx, dir, "absent")), -ENOENT);

	fuse_fake_remove(server, "moved");
	KUNIT_EXPECT_EQ(test, fuse_fake_find(server, FUSE_ROOT_ID, "moved"), 0);
	KUNIT_EXPECT_EQ(test, fuse_fake_find(server, dir, "file"), 0);
}

/* The server knows what the kernel holds, and is told when it goes. */
static void forgets(struct kunit *test)
{
	struct fuse_fixture *fx = test->priv;
	u64 file, nlookup;

	file = fuse_fake_add(fx->server, "file", S_IFREG | 0644);
	KUNIT_EXPECT_EQ(test, fuse_fake_known(fx->server, &nlookup), 0);
	FUSE_EXPECT_ERR(test, fuse_fx_stat(fx, "file"), 0);
	KUNIT_EXPECT_EQ(test, fuse_fake_known(fx->server, &nlookup), file);
	KUNIT_EXPECT_EQ(test, nlookup, 1);

	kunit_kern_unmount(test, fx->mnt);
	fx->mnt = NULL;
	fuse_fake_settle(fx->server);
	KUNIT_EXPECT_EQ(test, fuse_fake_known(fx->server, &nlookup), 0);
	KUNIT_EXPECT_TRUE(test, fx->server->destroyed);
}

static struct kunit_case fuse_fake_server_cases[] = {
	KUNIT_CASE(changes),
	KUNIT_CASE(looks),
	KUNIT_CASE(lists),
	KUNIT_CASE(timeouts),
	KUNIT_CASE(holds),
	KUNIT_CASE(unknown_opcode),
	KUNIT_CASE(mistakes),
	KUNIT_CASE(nodeids),
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
