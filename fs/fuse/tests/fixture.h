/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A mounted FUSE file system with a fake server behind it
 *
 * A test fills the kernel's cache through system calls such as fuse_fx_stat(), notifies as a
 * server would, with fuse_fx_inval() say, and looks again. After every test the fixture checks
 * what has to hold whatever the test did, see enum fuse_fx_property.
 *
 * Paths are relative to the root of the mount: "dir/file".
 */

#ifndef _FS_FUSE_TESTS_FIXTURE_H
#define _FS_FUSE_TESTS_FIXTURE_H

#include <kunit/thread.h>

#include "../fuse_i.h"
#include "fake_server.h"

/* A dentry, NULL or an error pointer */
DEFINE_FREE(fuse_fx_dput, struct dentry *, dput(IS_ERR(_T) ? NULL : _T))

enum fuse_fx_property {
	/*
	 * After a notification, no lookup of its name, no listing and no stat of its directory
	 * gets an older answer, cached or late; nor does a lookup of the new name, if it is
	 * renamed later, or after the notification has found the dentry.
	 */
	FUSE_FX_FRESH,
	/* Every other name is still answered from the cache. */
	FUSE_FX_NO_COLLATERAL,
	/* No notification sent a request to the server. */
	FUSE_FX_QUIET,
	/* Locks are free, reference counts are as before, the mount can go. */
	FUSE_FX_BALANCED,
	/* What a notification returns is right for what was cached at some time while it ran. */
	FUSE_FX_SERIAL,
	/* INVAL_ENTRY, and others where the test says so, do not wait for a request. */
	FUSE_FX_NEVER_WAITS,
	/* The server has no complaint, see struct fuse_fake_server. */
	FUSE_FX_SERVER,
	FUSE_FX_PROPERTIES
};

/* Which properties did not hold, of all fixtures that share this */
struct fuse_fx_score {
	unsigned int fixtures;
	unsigned int broken[FUSE_FX_PROPERTIES]; /* in how many of them each did not hold */
	unsigned int said;		/* how many of those were reported */
};

/* What a test works with */
struct fuse_fixture {
	struct kunit *test;
	struct fuse_fake_server *server;
	struct vfsmount *mnt;		/* which is part of no namespace */
	unsigned int root_refs;		/* to the root dentry, when it had no children yet */

	struct list_head calls;		/* the notifications so far, protected by server->tree */
	bool new_epoch;			/* FUSE_NOTIFY_INC_EPOCH was one of them */
	u64 found_nodeid;		/* whose entry a notification has found, or 0 */
	struct list_head held;		/* dentries, inodes and open files of the test */
	struct list_head threads;	/* that the test has started */
	unsigned long broken;		/* the properties that did not hold, as bits */
	struct fuse_fx_score own_score;
	struct fuse_fx_score *score;	/* in its place, if the test has more fixtures */
	const char *title;		/* what to say of this fixture, if one does not hold */
	const char *again;		/* how to run the test alone, if its name does not say */
};

static inline struct fuse_conn *fuse_fx_conn(struct fuse_fixture *fx)
{
	return get_fuse_conn_super(fx->mnt->mnt_sb);
}

/* The init function of a suite: the fixture is test->priv then; a failure aborts. */
int fuse_fx_init(struct kunit *test);
/* The same, and with neighbours in the root */
int fuse_fx_init_neighbours(struct kunit *test);
/* The exit function of a suite: checks the properties, and takes all down. */
void fuse_fx_exit(struct kunit *test);
/* For a test that makes several fixtures, one after the other: the end of one. */
void fuse_fx_end(struct kunit *test);

/* The name of a test that left a lock or a thread behind, or NULL: those after it are skipped. */
extern const char *fuse_fx_left_behind;

/* A property does not hold: the test fails, and reports the first two of these. Returns false. */
__printf(3, 4) bool fuse_fx_broken(struct fuse_fixture *fx, enum fuse_fx_property property,
				   const char *fmt, ...);

/* Shuffle the parameters of a test, if there is a fuse_kunit.seed=. */
void fuse_fx_shuffle(void *params, size_t nr, size_t size);

/* Cache names that have to stay cached. @dir ends with a slash, or is "" for the root. */
void fuse_fx_add_neighbours(struct fuse_fixture *fx, const char *dir);
/* "-ENOENT", or "0" */
const char *fuse_fx_errname(int err);

/* Expect a return value, which is 0 or a negative error; name the errors. */
#define FUSE_FX_ERR(_fail, _test, _text, _call, _want)					\
do {											\
	int _err = (_call), _wanted = (_want);						\
											\
	if (_err != _wanted)								\
		_fail(_test, "%s returns %s, not %s", _text, fuse_fx_errname(_err),	\
		      fuse_fx_errname(_wanted));					\
} while (0)

#define FUSE_EXPECT_ERR(_test, _call, _want)						\
	FUSE_FX_ERR(KUNIT_FAIL, _test, #_call, _call, _want)
#define FUSE_ASSERT_ERR(_test, _call, _want)						\
	FUSE_FX_ERR(KUNIT_FAIL_AND_ABORT, _test, #_call, _call, _want)

/* A system call or a notification */
struct fuse_fx_op {
	struct fuse_fixture *fx;
	const char *path[2];		/* in the order of the call's arguments */
	unsigned int flags;
	u64 parent;			/* of a notification or lookup, for path[0] */
	u64 child;			/* of FUSE_NOTIFY_DELETE, or 0 */
	void *data;			/* what a call of the suite's own needs */

	/* Set by fuse_fx_run() */
	struct list_head list;
	struct kunit_thread *thread;
	int (*call)(struct fuse_fx_op *op);
};

/* Each returns 0 or a negative error. A new file has mode 0644, a directory 0755. */
int fuse_fx_do_stat(struct fuse_fx_op *op);		/* @flags are LOOKUP_* */
int fuse_fx_do_lookup(struct fuse_fx_op *op);		/* in @parent, without RCU, as nfsd */
int fuse_fx_do_getattr(struct fuse_fx_op *op);		/* even if attributes are cached */
int fuse_fx_do_chmod(struct fuse_fx_op *op);
int fuse_fx_do_open(struct fuse_fx_op *op);		/* @flags are O_*; and close */
int fuse_fx_do_readdir(struct fuse_fx_op *op);		/* 1 if @path[1] is in it */
int fuse_fx_do_mknod(struct fuse_fx_op *op);
int fuse_fx_do_mkdir(struct fuse_fx_op *op);
int fuse_fx_do_symlink(struct fuse_fx_op *op);
int fuse_fx_do_link(struct fuse_fx_op *op);
int fuse_fx_do_unlink(struct fuse_fx_op *op);
int fuse_fx_do_rmdir(struct fuse_fx_op *op);
int fuse_fx_do_rename(struct fuse_fx_op *op);		/* @flags are RENAME_* */
int fuse_fx_do_notify(struct fuse_fx_op *op);		/* @flags are FUSE_EXPIRE_ONLY */
int fuse_fx_do_inval_inode(struct fuse_fx_op *op);	/* of @parent */
int fuse_fx_do_inc_epoch(struct fuse_fx_op *op);

/* The same, without a thread and with the arguments in a row */
#define FUSE_FX_CALL(_name, _fx, ...)							\
	fuse_fx_do_##_name(&(struct fuse_fx_op) { .fx = _fx, __VA_ARGS__ })

#define fuse_fx_stat(_fx, _path)	FUSE_FX_CALL(stat, _fx, .path = { _path })
#define fuse_fx_mknod(_fx, _path)	FUSE_FX_CALL(mknod, _fx, .path = { _path })
#define fuse_fx_mkdir(_fx, _path)	FUSE_FX_CALL(mkdir, _fx, .path = { _path })
#define fuse_fx_unlink(_fx, _path)	FUSE_FX_CALL(unlink, _fx, .path = { _path })
#define fuse_fx_rmdir(_fx, _path)	FUSE_FX_CALL(rmdir, _fx, .path = { _path })
#define fuse_fx_link(_fx, _old, _new)	FUSE_FX_CALL(link, _fx, .path = { _old, _new })
#define fuse_fx_rename(_fx, _old, _new, _flags)						\
	FUSE_FX_CALL(rename, _fx, .path = { _old, _new }, .flags = _flags)
#define fuse_fx_notify(_fx, _parent, _child, _name, _flags)				\
	FUSE_FX_CALL(notify, _fx, .path = { _name }, .flags = _flags, .parent = _parent,	\
		     .child = _child)
#define fuse_fx_inval(_fx, _parent, _name)	fuse_fx_notify(_fx, _parent, 0, _name, 0)
#define fuse_fx_expire(_fx, _parent, _name)						\
	fuse_fx_notify(_fx, _parent, 0, _name, FUSE_EXPIRE_ONLY)
#define fuse_fx_inval_inode(_fx, _nodeid)	FUSE_FX_CALL(inval_inode, _fx, .parent = _nodeid)
#define fuse_fx_inc_epoch(_fx)			FUSE_FX_CALL(inc_epoch, _fx)

/* Stat what exists, and return how many of these requests that takes. */
unsigned int fuse_fx_asks(struct fuse_fixture *fx, u32 opcode, const char *path);
/* How many GETATTR it takes to stat what is in use, for these STATX_*. */
unsigned int fuse_fx_asks_attr(struct fuse_fixture *fx, struct dentry *dentry, u32 mask);
/* Is this name in the directory, as whoever reads it sees it? */
bool fuse_fx_lists(struct fuse_fixture *fx, const char *path, const char *name);

/*
 * Look up a name in a directory, whose dentry may have been moved or unhashed. Returns a
 * dentry, positive or negative, which the caller puts, or an error pointer: -ESTALE if
 * the directory is not known any more, or was removed.
 */
struct dentry *fuse_fx_lookup_at(struct fuse_fixture *fx, u64 dir, const char *name);

/* Send what follows struct fuse_out_header, and a name unless that is NULL, to fuse_notify(). */
int fuse_fx_send(struct fuse_fixture *fx, enum fuse_notify_code code, const void *data,
		 size_t size, const char *name);

/*
 * Make a call in a thread of that name, until it comes to that preemption point. @op is
 * copied; its paths have to outlive the thread.
 */
struct kunit_thread *fuse_fx_run_at(struct fuse_fixture *fx, const char *name,
				    int (*call)(struct fuse_fx_op *op),
				    const struct fuse_fx_op *op, unsigned long point);
#define fuse_fx_run(_fx, _call, _op)							\
	fuse_fx_run_at(_fx, "fuse_fx", _call, _op, KUNIT_NO_POINT)

/* As fuse_fx_run(), until the server holds the request that fuse_fake_hold() has chosen. */
struct kunit_thread *fuse_fx_run_to(struct fuse_fixture *fx, int (*call)(struct fuse_fx_op *op),
				    const struct fuse_fx_op *op, struct fuse_fake_hook *hook);
/* Join a thread, and expect what its call returns. */
void fuse_fx_join(struct fuse_fixture *fx, struct kunit_thread *thread, const char *call,
		  int expected);
/* Notify while a request is stopped, and see that it does not wait for that. */
void fuse_fx_notify_meanwhile(struct fuse_fixture *fx, struct fuse_fx_op notify, int expected);

/* What is held until the test ends, and then let go */
struct fuse_fx_held {
	struct list_head list;
	struct dentry *dentry;
	struct inode *inode;
	struct file *file;
};

/* Look up what exists, and hold the dentry, or only the inode. */
struct dentry *fuse_fx_hold(struct fuse_fixture *fx, const char *path);
struct inode *fuse_fx_hold_inode(struct fuse_fixture *fx, const char *path);
/* Hold what is hashed for a name; the server is not asked. */
struct dentry *fuse_fx_hold_cached(struct fuse_fixture *fx, struct dentry *dir,
				   const char *name);
struct file *fuse_fx_open(struct fuse_fixture *fx, const char *path, int flags);

/* What is hashed for this name, expired or not. */
enum fuse_fx_cached { FUSE_FX_NOT_CACHED = 0, FUSE_FX_NEGATIVE, FUSE_FX_POSITIVE };
enum fuse_fx_cached fuse_fx_cached(struct dentry *dir, const char *name);
/* A dentry of what the kernel knows as @nodeid, or NULL. */
struct dentry *fuse_fx_find_node(struct fuse_fixture *fx, u64 nodeid);
/* Read a directory to its end: 1 if @name is in it, 0 if not, or an error. */
int fuse_fx_read_dir(struct file *file, const char *name);
/* The file is closed when this returns, and not later by a work item. */
void fuse_fx_close_file(struct file *file);

#endif /* _FS_FUSE_TESTS_FIXTURE_H */
