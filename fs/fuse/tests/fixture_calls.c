// SPDX-License-Identifier: GPL-2.0
/* System calls on the mounted file system, alone and in threads, and what the dcache holds */

#include <linux/errname.h>
#include <linux/file.h>
#include <linux/namei.h>
#include <linux/slab.h>

#include "fixture.h"

const char *fuse_fx_errname(int err)
{
	if (err > 0)
		return "more than 0";
	return err ? errname(err) ?: "an unknown error" : "0";
}

static int fuse_fx_lookup(struct fuse_fixture *fx, const char *name, unsigned int flags,
			  struct path *path)
{
	return vfs_path_lookup(fx->mnt->mnt_root, fx->mnt, name, flags, path);
}

/* The directory that @name is in; @last is set to what follows the last slash. */
static int fuse_fx_parent(struct fuse_fixture *fx, const char *name, struct path *dir,
			  struct qstr *last)
{
	char *parent __free(kfree) = kmemdup_nul(name, kbasename(name) - name, GFP_KERNEL);

	*last = QSTR(kbasename(name));
	return parent ? fuse_fx_lookup(fx, parent, LOOKUP_DIRECTORY, dir) : -ENOMEM;
}

static int fuse_fx_is_node(struct inode *inode, void *nodeid)
{
	return get_node_id(inode) == *(u64 *)nodeid;
}

struct dentry *fuse_fx_find_node(struct fuse_fixture *fx, u64 nodeid)
{
	struct inode *inode = ilookup5(fx->mnt->mnt_sb, nodeid, fuse_fx_is_node, &nodeid);
	struct dentry *dentry = inode ? d_find_alias(inode) : NULL;

	iput(inode);
	return dentry;
}

struct dentry *fuse_fx_lookup_at(struct fuse_fixture *fx, u64 nodeid, const char *name)
{
	struct dentry *dir __free(fuse_fx_dput) = fuse_fx_find_node(fx, nodeid);

	if (!dir || !d_is_dir(dir) || IS_DEADDIR(d_inode(dir)))
		return ERR_PTR(-ESTALE);
	return lookup_noperm_unlocked(&QSTR(name), dir);
}

int fuse_fx_do_lookup(struct fuse_fx_op *op)
{
	struct dentry *dentry __free(fuse_fx_dput) =
		fuse_fx_lookup_at(op->fx, op->parent, op->path[0]);

	return PTR_ERR_OR_ZERO(dentry);
}

static int fuse_fx_getattr(struct fuse_fx_op *op, unsigned int lookup_flags, unsigned int flags)
{
	struct path path __free(path_put) = {};
	int err = fuse_fx_lookup(op->fx, op->path[0], lookup_flags, &path);
	struct kstat stat;

	return err ?: vfs_getattr(&path, &stat, STATX_BASIC_STATS, flags);
}

unsigned int fuse_fx_asks(struct fuse_fixture *fx, u32 opcode, const char *path)
{
	unsigned int before = fuse_fake_requests(fx->server, opcode);

	FUSE_EXPECT_ERR(fx->test, fuse_fx_stat(fx, path), 0);
	return fuse_fake_requests(fx->server, opcode) - before;
}

unsigned int fuse_fx_asks_attr(struct fuse_fixture *fx, struct dentry *dentry, u32 mask)
{
	unsigned int before = fuse_fake_requests(fx->server, FUSE_GETATTR);
	struct path path = { .mnt = fx->mnt, .dentry = dentry };
	struct kstat stat;

	FUSE_EXPECT_ERR(fx->test, vfs_getattr(&path, &stat, mask, 0), 0);
	return fuse_fake_requests(fx->server, FUSE_GETATTR) - before;
}

int fuse_fx_do_chmod(struct fuse_fx_op *op)
{
	struct iattr attr = { .ia_valid = ATTR_MODE };
	struct path path __free(path_put) = {};
	int err = fuse_fx_lookup(op->fx, op->path[0], 0, &path);

	if (err)
		return err;
	attr.ia_mode = (d_inode(path.dentry)->i_mode & S_IFMT) | 0700;
	inode_lock(d_inode(path.dentry));
	err = notify_change(&nop_mnt_idmap, path.dentry, &attr, NULL);
	inode_unlock(d_inode(path.dentry));
	return err;
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

int fuse_fx_read_dir(struct file *file, const char *name)
{
	struct fuse_fx_dir_context dir = { .ctx.actor = fuse_fx_filldir, .name = name };
	loff_t pos;
	int err;

	do {
		pos = dir.ctx.pos;
		err = iterate_dir(file, &dir.ctx);
	} while (!err && dir.ctx.pos != pos);
	return err ?: dir.found;
}

/* Open and close it, and read what is opened as a directory. */
static int fuse_fx_use(struct fuse_fx_op *op, int flags)
{
	struct file *file = file_open_root_mnt(op->fx->mnt, op->path[0], flags, 0644);
	int found = 0;

	if (IS_ERR(file))
		return PTR_ERR(file);
	if (flags & O_DIRECTORY)
		found = fuse_fx_read_dir(file, op->path[1] ?: "");
	fuse_fx_close_file(file);
	return found;
}

bool fuse_fx_lists(struct fuse_fixture *fx, const char *path, const char *name)
{
	int found = FUSE_FX_CALL(readdir, fx, .path = { path, name });

	KUNIT_EXPECT_GE(fx->test, found, 0);
	return found > 0;
}

/* Make or remove the last component of a path, as the request with this opcode does. */
static int fuse_fx_change(struct fuse_fx_op *op, u32 opcode)
{
	bool removes = opcode == FUSE_UNLINK || opcode == FUSE_RMDIR;
	struct path target __free(path_put) = {};
	struct path dir __free(path_put) = {};
	struct dentry *dentry;
	struct inode *inode;
	struct qstr last;
	int err = 0;

	if (opcode == FUSE_LINK)
		err = fuse_fx_lookup(op->fx, op->path[0], 0, &target);
	if (!err)
		err = fuse_fx_parent(op->fx, op->path[opcode == FUSE_LINK], &dir, &last);
	if (err)
		return err;
	inode = d_inode(dir.dentry);
	dentry = removes ? start_removing(&nop_mnt_idmap, dir.dentry, &last) :
			   start_creating(&nop_mnt_idmap, dir.dentry, &last);
	if (IS_ERR(dentry))
		return PTR_ERR(dentry);
	if (opcode == FUSE_MKNOD)
		err = vfs_mknod(&nop_mnt_idmap, inode, dentry, S_IFREG | 0644, 0, NULL);
	else if (opcode == FUSE_MKDIR)
		dentry = vfs_mkdir(&nop_mnt_idmap, inode, dentry, 0755, NULL);
	else if (opcode == FUSE_SYMLINK)
		err = vfs_symlink(&nop_mnt_idmap, inode, dentry, "target", NULL);
	else if (opcode == FUSE_LINK)
		err = vfs_link(target.dentry, &nop_mnt_idmap, inode, dentry, NULL);
	else if (opcode == FUSE_UNLINK)
		err = vfs_unlink(&nop_mnt_idmap, inode, dentry, NULL);
	else
		err = vfs_rmdir(&nop_mnt_idmap, inode, dentry, NULL);
	err = err ?: PTR_ERR_OR_ZERO(dentry);
	end_dirop(dentry);
	return err;
}

int fuse_fx_do_rename(struct fuse_fx_op *op)
{
	struct renamedata rd = { .mnt_idmap = &nop_mnt_idmap, .flags = op->flags };
	struct path olddir __free(path_put) = {};
	struct path newdir __free(path_put) = {};
	struct qstr oldlast, newlast;
	int err = fuse_fx_parent(op->fx, op->path[0], &olddir, &oldlast) ?:
		  fuse_fx_parent(op->fx, op->path[1], &newdir, &newlast);

	if (err)
		return err;
	rd.old_parent = olddir.dentry;
	rd.new_parent = newdir.dentry;
	err = start_renaming(&rd, 0, &oldlast, &newlast);
	if (err)
		return err;
	err = vfs_rename(&rd);
	end_renaming(&rd);
	return err;
}

#define FUSE_FX_DO(_name, _call)				\
int fuse_fx_do_##_name(struct fuse_fx_op *op)			\
{								\
	return _call;						\
}

FUSE_FX_DO(stat, fuse_fx_getattr(op, op->flags, 0))
FUSE_FX_DO(getattr, fuse_fx_getattr(op, 0, AT_STATX_FORCE_SYNC))
FUSE_FX_DO(open, fuse_fx_use(op, op->flags))
FUSE_FX_DO(readdir, fuse_fx_use(op, O_RDONLY | O_DIRECTORY))
FUSE_FX_DO(mknod, fuse_fx_change(op, FUSE_MKNOD))
FUSE_FX_DO(mkdir, fuse_fx_change(op, FUSE_MKDIR))
FUSE_FX_DO(symlink, fuse_fx_change(op, FUSE_SYMLINK))
FUSE_FX_DO(link, fuse_fx_change(op, FUSE_LINK))
FUSE_FX_DO(unlink, fuse_fx_change(op, FUSE_UNLINK))
FUSE_FX_DO(rmdir, fuse_fx_change(op, FUSE_RMDIR))

/* Threads. */

static int fuse_fx_thread(void *data)
{
	struct fuse_fx_op *op = data;

	return op->call(op);
}

struct kunit_thread *fuse_fx_run_at(struct fuse_fixture *fx, const char *name,
				    int (*call)(struct fuse_fx_op *op),
				    const struct fuse_fx_op *op, unsigned long point)
{
	struct fuse_fx_op *run = kmemdup(op, sizeof(*op), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(fx->test, run);
	run->fx = fx;
	run->call = call;
	list_add_tail(&run->list, &fx->threads);
	run->thread = kunit_thread_run_to(fx->test, name, fuse_fx_thread, run, point);
	return run->thread;
}

struct kunit_thread *fuse_fx_run_to(struct fuse_fixture *fx, int (*call)(struct fuse_fx_op *op),
				    const struct fuse_fx_op *op, struct fuse_fake_hook *hook)
{
	struct kunit_thread *thread = fuse_fx_run(fx, call, op);

	fuse_fake_hold_wait(hook);
	return thread;
}

void fuse_fx_join(struct fuse_fixture *fx, struct kunit_thread *thread, const char *call,
		  int expected)
{
	int err;

	if (kunit_thread_join(thread, &err))
		FUSE_FX_ERR(KUNIT_FAIL, fx->test, call, err, expected);
}

/* What the dcache holds. */

static struct fuse_fx_held *fuse_fx_held(struct fuse_fixture *fx)
{
	struct fuse_fx_held *held = kunit_kzalloc(fx->test, sizeof(*held), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(fx->test, held);
	list_add_tail(&held->list, &fx->held);
	return held;
}

struct dentry *fuse_fx_hold(struct fuse_fixture *fx, const char *name)
{
	struct path path __free(path_put) = {};

	KUNIT_ASSERT_EQ_MSG(fx->test, fuse_fx_lookup(fx, name, 0, &path), 0, "lookup of %s", name);
	fuse_fx_held(fx)->dentry = dget(path.dentry);
	return path.dentry;
}

struct inode *fuse_fx_hold_inode(struct fuse_fixture *fx, const char *name)
{
	struct path path __free(path_put) = {};

	KUNIT_ASSERT_EQ_MSG(fx->test, fuse_fx_lookup(fx, name, 0, &path), 0, "lookup of %s", name);
	fuse_fx_held(fx)->inode = igrab(d_inode(path.dentry));
	return d_inode(path.dentry);
}

struct dentry *fuse_fx_hold_cached(struct fuse_fixture *fx, struct dentry *dir,
				   const char *name)
{
	struct dentry *dentry = try_lookup_noperm(&QSTR(name), dir);

	KUNIT_ASSERT_NOT_ERR_OR_NULL_MSG(fx->test, dentry, "'%s' is not cached", name);
	fuse_fx_held(fx)->dentry = dentry;
	return dentry;
}

struct file *fuse_fx_open(struct fuse_fixture *fx, const char *name, int flags)
{
	struct file *file = file_open_root_mnt(fx->mnt, name, flags, 0644);

	KUNIT_ASSERT_NOT_ERR_OR_NULL_MSG(fx->test, file, "open of '%s'", name);
	fuse_fx_held(fx)->file = file;
	return file;
}

enum fuse_fx_cached fuse_fx_cached(struct dentry *dir, const char *name)
{
	struct dentry *dentry __free(fuse_fx_dput) = try_lookup_noperm(&QSTR(name), dir);

	if (IS_ERR_OR_NULL(dentry))
		return FUSE_FX_NOT_CACHED;
	return d_really_is_positive(dentry) ? FUSE_FX_POSITIVE : FUSE_FX_NEGATIVE;
}
