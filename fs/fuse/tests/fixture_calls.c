// SPDX-License-Identifier: GPL-2.0
/*
 * System calls on the mounted file system, alone and in threads, and what the dcache holds
 */

#include <linux/dcache.h>
#include <linux/errname.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/path.h>
#include <linux/slab.h>
#include <linux/stat.h>

#include <kunit/test.h>
#include <kunit/thread.h>

#include "fixture_i.h"

const char *fuse_fx_errname(int err)
{
	return err ? errname(err) ?: "an unknown error" : "0";
}

/*
 * System calls.
 */

static int fuse_fx_lookup(struct fuse_fixture *fx, const char *name, unsigned int flags,
			  struct path *path)
{
	return vfs_path_lookup(fx->mnt->mnt_root, fx->mnt, name, flags, path);
}

/* The directory that @name is in; @last is set to what follows the last slash. */
static int fuse_fx_parent(struct fuse_fixture *fx, const char *name, struct path *dir,
			  struct qstr *last)
{
	const char *slash = strrchr(name, '/');
	char *parent;
	int err;

	if (!slash) {
		*last = QSTR(name);
		*dir = (struct path) { .mnt = fx->mnt, .dentry = fx->mnt->mnt_root };
		path_get(dir);
		return 0;
	}
	*last = QSTR(slash + 1);
	parent = kmemdup_nul(name, slash - name, GFP_KERNEL);
	if (!parent)
		return -ENOMEM;
	err = fuse_fx_lookup(fx, parent, LOOKUP_DIRECTORY, dir);
	kfree(parent);
	return err;
}

static int fuse_fx_is_node(struct inode *inode, void *nodeid)
{
	return get_node_id(inode) == *(u64 *)nodeid;
}

/* A dentry of what the kernel knows as @nodeid, or NULL. */
struct dentry *fuse_fx_find_node(struct fuse_fixture *fx, u64 nodeid)
{
	struct inode *inode = ilookup5(fx->mnt->mnt_sb, nodeid, fuse_fx_is_node, &nodeid);
	struct dentry *dentry = inode ? d_find_alias(inode) : NULL;

	iput(inode);
	return dentry;
}

struct dentry *fuse_fx_lookup_at(struct fuse_fixture *fx, u64 nodeid, const char *name)
{
	struct dentry *dir = fuse_fx_find_node(fx, nodeid), *dentry;
	struct path path;
	int err;

	if (!dir)
		return ERR_PTR(-ESTALE);
	err = vfs_path_lookup(dir, fx->mnt, name, 0, &path);
	dput(dir);
	if (err)
		return ERR_PTR(err);
	dentry = dget(path.dentry);
	path_put(&path);
	return dentry;
}

static int fuse_fx_getattr(struct fuse_fixture *fx, const char *name, unsigned int lookup_flags,
			   unsigned int flags)
{
	struct kstat stat;
	struct path path;
	int err;

	err = fuse_fx_lookup(fx, name, lookup_flags, &path);
	if (err)
		return err;
	err = vfs_getattr(&path, &stat, STATX_BASIC_STATS, flags);
	path_put(&path);
	return err;
}

int fuse_fx_stat(struct fuse_fixture *fx, const char *name)
{
	return fuse_fx_getattr(fx, name, 0, 0);
}

int fuse_fx_stat_asks(struct fuse_fixture *fx, const char *name, unsigned int *asked)
{
	unsigned int before = fuse_fake_requests(fx->server, FUSE_LOOKUP);
	int err = fuse_fx_stat(fx, name);

	*asked = fuse_fake_requests(fx->server, FUSE_LOOKUP) - before;
	return err;
}

unsigned int fuse_fx_getattrs(struct fuse_fixture *fx, const char *path)
{
	unsigned int before = fuse_fake_requests(fx->server, FUSE_GETATTR);

	FUSE_EXPECT_ERR(fx->test, fuse_fx_stat(fx, path), 0);
	return fuse_fake_requests(fx->server, FUSE_GETATTR) - before;
}

static struct file *fuse_fx_open_file(struct fuse_fixture *fx, const char *name, int flags)
{
	struct path root = { .mnt = fx->mnt, .dentry = fx->mnt->mnt_root };

	return file_open_root(&root, name, flags, flags & O_CREAT ? 0644 : 0);
}

void fuse_fx_close_file(struct file *file)
{
	if (file->f_op->flush)
		file->f_op->flush(file, NULL);
	/* fput() would leave the rest to a work item, as this is a kernel thread. */
	__fput_sync(file);
}

struct fuse_fx_dir_context {
	struct dir_context ctx;
	const char *name;
	bool found;
};

static bool fuse_fx_filldir(struct dir_context *ctx, const char *name, int namelen,
			    loff_t offset, u64 ino, unsigned int type)
{
	struct fuse_fx_dir_context *dir = container_of(ctx, typeof(*dir), ctx);

	dir->found |= strlen(dir->name) == namelen && !memcmp(dir->name, name, namelen);
	return true;
}

/* Read a directory to its end, as a C library does. */
bool fuse_fx_read_dir(struct file *file, const char *name, int *err)
{
	struct fuse_fx_dir_context dir = { .ctx.actor = fuse_fx_filldir, .name = name };
	loff_t pos;

	do {
		pos = dir.ctx.pos;
		*err = iterate_dir(file, &dir.ctx);
	} while (!*err && dir.ctx.pos != pos);
	return dir.found;
}

bool fuse_fx_lists(struct fuse_fixture *fx, const char *path, const char *name)
{
	struct file *file = fuse_fx_open_file(fx, path, O_RDONLY | O_DIRECTORY);
	bool found;
	int err;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(fx->test, file);
	found = fuse_fx_read_dir(file, name, &err);
	KUNIT_EXPECT_EQ(fx->test, err, 0);
	fuse_fx_close_file(file);
	return found;
}

static int fuse_fx_make(struct fuse_fixture *fx, const char *name, umode_t mode)
{
	struct dentry *dentry;
	struct path dir;
	struct qstr last;
	int err;

	err = fuse_fx_parent(fx, name, &dir, &last);
	if (err)
		return err;
	dentry = start_creating(&nop_mnt_idmap, dir.dentry, &last);
	err = PTR_ERR_OR_ZERO(dentry);
	if (!err && S_ISDIR(mode)) {
		dentry = vfs_mkdir(&nop_mnt_idmap, d_inode(dir.dentry), dentry, mode, NULL);
		err = PTR_ERR_OR_ZERO(dentry);
	} else if (!err && S_ISLNK(mode)) {
		err = vfs_symlink(&nop_mnt_idmap, d_inode(dir.dentry), dentry, "target", NULL);
	} else if (!err) {
		err = vfs_mknod(&nop_mnt_idmap, d_inode(dir.dentry), dentry, mode, 0, NULL);
	}
	end_creating(dentry);
	path_put(&dir);
	return err;
}

int fuse_fx_mkdir(struct fuse_fixture *fx, const char *name)
{
	return fuse_fx_make(fx, name, S_IFDIR | 0755);
}

int fuse_fx_mknod(struct fuse_fixture *fx, const char *name)
{
	return fuse_fx_make(fx, name, S_IFREG | 0644);
}

static int fuse_fx_remove(struct fuse_fixture *fx, const char *name, bool rmdir)
{
	struct dentry *dentry;
	struct path dir;
	struct qstr last;
	int err;

	err = fuse_fx_parent(fx, name, &dir, &last);
	if (err)
		return err;
	dentry = start_removing(&nop_mnt_idmap, dir.dentry, &last);
	err = PTR_ERR_OR_ZERO(dentry);
	if (!err && rmdir)
		err = vfs_rmdir(&nop_mnt_idmap, d_inode(dir.dentry), dentry, NULL);
	else if (!err)
		err = vfs_unlink(&nop_mnt_idmap, d_inode(dir.dentry), dentry, NULL);
	end_removing(dentry);
	path_put(&dir);
	return err;
}

int fuse_fx_rmdir(struct fuse_fixture *fx, const char *name)
{
	return fuse_fx_remove(fx, name, true);
}

int fuse_fx_unlink(struct fuse_fixture *fx, const char *name)
{
	return fuse_fx_remove(fx, name, false);
}

int fuse_fx_link(struct fuse_fixture *fx, const char *old, const char *new)
{
	struct path target, dir;
	struct dentry *dentry;
	struct qstr last;
	int err;

	err = fuse_fx_lookup(fx, old, 0, &target);
	if (err)
		return err;
	err = fuse_fx_parent(fx, new, &dir, &last);
	if (err)
		goto put_target;
	dentry = start_creating(&nop_mnt_idmap, dir.dentry, &last);
	err = PTR_ERR_OR_ZERO(dentry);
	if (!err)
		err = vfs_link(target.dentry, &nop_mnt_idmap, d_inode(dir.dentry), dentry, NULL);
	end_creating(dentry);
	path_put(&dir);
put_target:
	path_put(&target);
	return err;
}

int fuse_fx_rename(struct fuse_fixture *fx, const char *old, const char *new,
		   unsigned int flags)
{
	struct renamedata rd = { .mnt_idmap = &nop_mnt_idmap, .flags = flags };
	struct path olddir, newdir;
	struct qstr oldlast, newlast;
	int err;

	err = fuse_fx_parent(fx, old, &olddir, &oldlast);
	if (err)
		return err;
	err = fuse_fx_parent(fx, new, &newdir, &newlast);
	if (err)
		goto put_olddir;
	rd.old_parent = olddir.dentry;
	rd.new_parent = newdir.dentry;
	err = start_renaming(&rd, 0, &oldlast, &newlast);
	if (!err) {
		err = vfs_rename(&rd);
		end_renaming(&rd);
	}
	path_put(&newdir);
put_olddir:
	path_put(&olddir);
	return err;
}

/*
 * What the dcache holds.
 */

static struct dentry *fuse_fx_find(struct dentry *dir, const char *name)
{
	struct dentry *dentry = try_lookup_noperm(&QSTR(name), dir);

	return IS_ERR(dentry) ? NULL : dentry;
}

/* Takes over the references. */
static struct fuse_fx_held *fuse_fx_keep(struct fuse_fixture *fx, struct dentry *dentry,
					 struct inode *inode)
{
	struct fuse_fx_held *held = kunit_kzalloc(fx->test, sizeof(*held), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(fx->test, held);
	held->dentry = dentry;
	held->inode = inode;
	list_add_tail(&held->list, &fx->held);
	return held;
}

struct dentry *fuse_fx_hold(struct fuse_fixture *fx, const char *name)
{
	struct dentry *dentry;
	struct path path;

	KUNIT_ASSERT_EQ_MSG(fx->test, fuse_fx_lookup(fx, name, 0, &path), 0, "lookup of %s", name);
	dentry = dget(path.dentry);
	path_put(&path);
	fuse_fx_keep(fx, dentry, NULL);
	return dentry;
}

struct inode *fuse_fx_hold_inode(struct fuse_fixture *fx, const char *name)
{
	struct inode *inode;
	struct path path;

	KUNIT_ASSERT_EQ_MSG(fx->test, fuse_fx_lookup(fx, name, 0, &path), 0, "lookup of %s", name);
	inode = d_inode(path.dentry);
	ihold(inode);
	path_put(&path);
	fuse_fx_keep(fx, NULL, inode);
	return inode;
}

struct file *fuse_fx_open(struct fuse_fixture *fx, const char *name, int flags)
{
	struct fuse_fx_held *held = fuse_fx_keep(fx, NULL, NULL);
	struct file *file = fuse_fx_open_file(fx, name, flags);

	if (!IS_ERR(file))
		held->file = file;
	return file;
}

void fuse_fx_close(struct fuse_fixture *fx, struct file *file)
{
	struct fuse_fx_held *held;

	list_for_each_entry(held, &fx->held, list)
		if (held->file == file)
			held->file = NULL;
	fuse_fx_close_file(file);
}

struct dentry *fuse_fx_hold_cached(struct fuse_fixture *fx, struct dentry *dir,
				   const char *name)
{
	struct dentry *dentry = fuse_fx_find(dir, name);

	if (dentry)
		fuse_fx_keep(fx, dentry, NULL);
	return dentry;
}

unsigned int fuse_fx_cached(struct fuse_fixture *fx, struct dentry *dir, const char *name)
{
	struct dentry *dentry = fuse_fx_find(dir, name);
	unsigned int found = dentry ? FUSE_FX_CACHED : 0;

	if (dentry && d_really_is_positive(dentry))
		found |= FUSE_FX_POSITIVE;
	if (dentry && d_mountpoint(dentry))
		found |= FUSE_FX_MOUNTPOINT;
	dput(dentry);
	return found;
}

int fuse_fx_describe(char *buf, size_t size, struct dentry *dentry)
{
	struct inode *inode;

	if (!dentry)
		return scnprintf(buf, size, "not cached");
	inode = d_inode(dentry);
	if (!inode)
		return scnprintf(buf, size, "'%pd' (%s, negative, count %d)", dentry,
				 d_unhashed(dentry) ? "unhashed" : "hashed", d_count(dentry));
	return scnprintf(buf, size, "'%pd' (%s, positive, count %d; nodeid %llu, count %u)",
			 dentry, d_unhashed(dentry) ? "unhashed" : "hashed", d_count(dentry),
			 get_node_id(inode), icount_read_once(inode));
}

/*
 * Threads.
 */

static int fuse_fx_thread(void *data)
{
	struct fuse_fx_thread *t = data;

	return t->call(&t->op);
}

struct kunit_thread *fuse_fx_run(struct fuse_fixture *fx, int (*call)(struct fuse_fx_op *op),
				 const struct fuse_fx_op *op)
{
	struct fuse_fx_thread *t = kzalloc_obj(*t);

	KUNIT_ASSERT_NOT_NULL(fx->test, t);
	t->call = call;
	t->op = *op;
	t->op.fx = fx;
	/* First of all, so that nothing of it is freed while the thread runs. */
	list_add_tail(&t->list, &fx->threads);
	/* It can be stopped at a point later. */
	if (kunit_points_missing())
		t->thread = kunit_thread_run(fx->test, "fuse_fx", fuse_fx_thread, t);
	else
		t->thread = kunit_thread_run_to(fx->test, "fuse_fx", fuse_fx_thread, t,
						KUNIT_NO_POINT);
	return t->thread;
}

struct kunit_thread *fuse_fx_run_to(struct fuse_fixture *fx, int (*call)(struct fuse_fx_op *op),
				    const struct fuse_fx_op *op, u32 opcode,
				    enum fuse_fake_stop stop)
{
	struct fuse_fake_hook *hook = fuse_fake_hold(fx->server, opcode, stop);
	struct kunit_thread *thread;

	/* With LOOKUP_REVAL there is a LOOKUP of the directory first. */
	hook->skip = call == fuse_fx_do_stat && op->flags == LOOKUP_REVAL;
	thread = fuse_fx_run(fx, call, op);
	fuse_fake_hold_wait(hook);
	return thread;
}

FUSE_FX_DO(stat, fuse_fx_getattr(op->fx, op->path[0], op->flags, 0))
FUSE_FX_DO(getattr, fuse_fx_getattr(op->fx, op->path[0], 0, AT_STATX_FORCE_SYNC))
FUSE_FX_DO(mknod, fuse_fx_mknod(op->fx, op->path[0]))
FUSE_FX_DO(mkdir, fuse_fx_mkdir(op->fx, op->path[0]))
FUSE_FX_DO(symlink, fuse_fx_make(op->fx, op->path[0], S_IFLNK | 0777))
FUSE_FX_DO(link, fuse_fx_link(op->fx, op->path[0], op->path[1]))
FUSE_FX_DO(unlink, fuse_fx_unlink(op->fx, op->path[0]))
FUSE_FX_DO(rmdir, fuse_fx_rmdir(op->fx, op->path[0]))
FUSE_FX_DO(rename, fuse_fx_rename(op->fx, op->path[0], op->path[1], op->flags))

int fuse_fx_do_open(struct fuse_fx_op *op)
{
	struct file *file = fuse_fx_open_file(op->fx, op->path[0], op->flags);

	if (IS_ERR(file))
		return PTR_ERR(file);
	fuse_fx_close_file(file);
	return 0;
}

int fuse_fx_do_chmod(struct fuse_fx_op *op)
{
	struct iattr attr = { .ia_valid = ATTR_MODE };
	struct path path;
	int err;

	err = fuse_fx_lookup(op->fx, op->path[0], 0, &path);
	if (err)
		return err;
	attr.ia_mode = (d_inode(path.dentry)->i_mode & S_IFMT) | 0700;
	inode_lock(d_inode(path.dentry));
	err = notify_change(&nop_mnt_idmap, path.dentry, &attr, NULL);
	inode_unlock(d_inode(path.dentry));
	path_put(&path);
	return err;
}

int fuse_fx_do_readdir(struct fuse_fx_op *op)
{
	struct file *file = fuse_fx_open_file(op->fx, op->path[0], O_RDONLY | O_DIRECTORY);
	bool found;
	int err;

	if (IS_ERR(file))
		return PTR_ERR(file);
	found = fuse_fx_read_dir(file, op->path[1] ?: "", &err);
	fuse_fx_close_file(file);
	return err ?: found;
}
