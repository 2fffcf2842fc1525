/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A mounted FUSE file system with a fake server behind it
 *
 * A test fills the kernel's cache through system calls (fuse_fx_stat() and
 * friends), notifies the kernel as a server would (fuse_fx_inval() and friends)
 * and looks again. After every test the fixture checks the first four of these
 * properties, which hold whatever the test did; the other two are for tests with
 * more than one thread:
 *
 *   fresh:         no lookup of a name that was notified, no listing and no
 *                  stat of its directory gets what the server said before the
 *                  notification, from the cache or by a reply that came later. If
 *                  the name is renamed after the notification, or while it runs and
 *                  has found the entry, a lookup of the new name does not, either
 *   no collateral: every other name is still answered from the cache
 *   quiet:         no notification sent a request to the server
 *   balanced:      locks are free, reference counts are as before, the mount can go
 *   serial:        what a notification returns is right for what was cached at
 *                  some time while it ran
 *   never waits:   FUSE_NOTIFY_INVAL_ENTRY returns while any request is at the
 *                  server
 *
 * It also checks that the server has no complaint, see fuse_fake_complaint().
 *
 * Paths are relative to the root of the mount: "dir/file".
 */

#ifndef _FS_FUSE_TESTS_FIXTURE_H
#define _FS_FUSE_TESTS_FIXTURE_H

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/types.h>

#include "fake_server.h"

struct dentry;
struct file;
struct inode;
struct kunit;
struct kunit_thread;
struct vfsmount;

/* What has to hold, and what the server complains about. */
enum fuse_fx_property {
	FUSE_FX_FRESH,
	FUSE_FX_NO_COLLATERAL,
	FUSE_FX_QUIET,
	FUSE_FX_BALANCED,
	FUSE_FX_SERIAL,
	FUSE_FX_NEVER_WAITS,
	FUSE_FX_SERVER,
	FUSE_FX_PROPERTIES
};

/* Which properties did not hold, of many fixtures in one test */
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
	bool delete_stale;		/* an expired dentry is dropped by its last dput() */
	unsigned int root_refs;		/* to the root dentry, when it had no children yet */

	spinlock_t lock;		/* of @calls */
	struct list_head calls;		/* the notifications so far */
	u64 epoch_seq;			/* of the server when FUSE_NOTIFY_INC_EPOCH last started */
	u64 epoch_end;			/* and when it ended, or U64_MAX */
	u64 found_nodeid;		/* whose entry a notification has found, or 0 */
	struct list_head held;		/* dentries, inodes and open files of the test */
	struct list_head threads;	/* that the test has started */
	unsigned long broken;		/* the properties that did not hold, as bits */
	struct fuse_fx_score *score;	/* where to count them, if the test has more fixtures */
	const char *title;		/* what to say of this fixture, if one does not hold */
	const char *again;		/* how to run the test alone, if its name does not say */
};

/* The init function of a suite: the fixture is test->priv then. */
int fuse_fx_init(struct kunit *test);

/* The same, but what has expired goes as soon as nobody uses it, as for virtiofs. */
int fuse_fx_init_delete_stale(struct kunit *test);

/* The exit function of a suite: checks the properties, and takes all down. */
void fuse_fx_exit(struct kunit *test);

/*
 * The name of a test that left a lock or a thread behind, or NULL. Those after it are
 * skipped: they would fail for the same reason, and take long.
 */
const char *fuse_fx_left_behind(void);

/*
 * A property does not hold, and the test fails. Only the first two of a fixture, or of
 * all fixtures of a test, are reported. Returns false.
 */
__printf(3, 4) bool fuse_fx_broken(struct fuse_fixture *fx, enum fuse_fx_property property,
				   const char *fmt, ...);

/*
 * Shuffle the parameters of a test, by fuse_kunit.seed=: none may depend on what another
 * leaves behind. Without a seed the order stays as it is.
 */
void fuse_fx_shuffle(void *params, size_t nr, size_t size);

/* "-ENOENT", or "0" */
const char *fuse_fx_errname(int err);

/* Expect a return value, which is 0 or a negative error; name the errors. */
#define FUSE_FX_ERR(_fail, _test, _text, _call, _want, _fmt, ...)			\
do {											\
	int _err = (_call), _wanted = (_want);						\
											\
	if (_err != _wanted)								\
		_fail(_test, "%s returns %s, not %s" _fmt, _text,			\
		      fuse_fx_errname(_err), fuse_fx_errname(_wanted), ##__VA_ARGS__);	\
} while (0)

#define FUSE_EXPECT_ERR(_test, _call, _want)						\
	FUSE_FX_ERR(KUNIT_FAIL, _test, #_call, _call, _want, "")
#define FUSE_EXPECT_ERR_MSG(_test, _call, _want, _fmt, ...)				\
	FUSE_FX_ERR(KUNIT_FAIL, _test, #_call, _call, _want, ": " _fmt, ##__VA_ARGS__)
#define FUSE_ASSERT_ERR(_test, _call, _want)						\
	FUSE_FX_ERR(KUNIT_FAIL_AND_ABORT, _test, #_call, _call, _want, "")

/*
 * System calls: 0 or a negative error.
 * A file that is made is a regular one, with the permissions 0644.
 */
int fuse_fx_stat(struct fuse_fixture *fx, const char *path);
int fuse_fx_mkdir(struct fuse_fixture *fx, const char *path);
int fuse_fx_mknod(struct fuse_fixture *fx, const char *path);
int fuse_fx_rmdir(struct fuse_fixture *fx, const char *path);
int fuse_fx_unlink(struct fuse_fixture *fx, const char *path);
int fuse_fx_rename(struct fuse_fixture *fx, const char *old, const char *new,
		   unsigned int flags);
int fuse_fx_link(struct fuse_fixture *fx, const char *old, const char *new);

/* The same, and how many names the server had to look up on the way. */
int fuse_fx_stat_asks(struct fuse_fixture *fx, const char *path, unsigned int *asked);

/* Stat it, and return how often the server was asked for attributes. */
unsigned int fuse_fx_getattrs(struct fuse_fixture *fx, const char *path);

/* Is this name in the directory, as whoever reads it sees it? */
bool fuse_fx_lists(struct fuse_fixture *fx, const char *path, const char *name);

/*
 * Look up a name in an open directory, as openat() with %O_PATH; safe in a thread. The
 * dentry of the directory may have been moved or unhashed. Returns a dentry, which the
 * caller puts, or an error pointer: -ESTALE if the kernel does not know it any more.
 */
struct dentry *fuse_fx_lookup_at(struct fuse_fixture *fx, u64 dir, const char *name);

/* Look up what exists, and hold the dentry, or only the inode, until the test ends. */
struct dentry *fuse_fx_hold(struct fuse_fixture *fx, const char *path);
struct inode *fuse_fx_hold_inode(struct fuse_fixture *fx, const char *path);

/* Hold what is hashed for a name, or return NULL; the server is not asked. */
struct dentry *fuse_fx_hold_cached(struct fuse_fixture *fx, struct dentry *dir,
				   const char *name);

/*
 * What is hashed for this name, expired or not, or 0. Only this tells a dentry that was
 * unhashed from one that was only expired.
 */
enum fuse_fx_cached {
	FUSE_FX_CACHED		= BIT(0),	/* positive or negative */
	FUSE_FX_POSITIVE	= BIT(1),
	FUSE_FX_MOUNTPOINT	= BIT(2),
};

unsigned int fuse_fx_cached(struct fuse_fixture *fx, struct dentry *dir, const char *name);

/* Write what the dcache says about a dentry, which may be NULL, into a message. */
int fuse_fx_describe(char *buf, size_t size, struct dentry *dentry);

/* The file is closed when the test ends at the latest; one that is made is 0644. */
struct file *fuse_fx_open(struct fuse_fixture *fx, const char *path, int flags);

/* The file is closed when this returns, and not later by a work item. */
void fuse_fx_close(struct fuse_fixture *fx, struct file *file);

/*
 * Send FUSE_NOTIFY_INVAL_ENTRY, or FUSE_NOTIFY_DELETE if @child is not 0. @flags are
 * those of the former, such as %FUSE_EXPIRE_ONLY.
 */
int fuse_fx_notify(struct fuse_fixture *fx, u64 parent, u64 child, const char *name,
		   u32 flags);

/* FUSE_NOTIFY_INVAL_ENTRY */
static inline int fuse_fx_inval(struct fuse_fixture *fx, u64 parent, const char *name)
{
	return fuse_fx_notify(fx, parent, 0, name, 0);
}

/* FUSE_NOTIFY_INVAL_ENTRY that leaves the dentry in place */
static inline int fuse_fx_expire(struct fuse_fixture *fx, u64 parent, const char *name)
{
	return fuse_fx_notify(fx, parent, 0, name, FUSE_EXPIRE_ONLY);
}

/* What fuse_notify() returns. */
int fuse_fx_inc_epoch(struct fuse_fixture *fx);
int fuse_fx_inval_inode(struct fuse_fixture *fx, u64 nodeid);

/* Write what follows struct fuse_out_header, and return what fuse_notify() returned. */
int fuse_fx_send(struct fuse_fixture *fx, enum fuse_notify_code code, const void *data,
		 size_t size);

/* A system call or notification for a thread to make */
struct fuse_fx_op {
	struct fuse_fixture *fx;
	const char *path[2];		/* in the order of the call's arguments */
	unsigned int flags;
	u64 parent;			/* of a notification, for the name path[0] */
	u64 child;
	void *data;			/* what a call of the suite's own needs */
};

/* Calls for fuse_fx_run() */
int fuse_fx_do_stat(struct fuse_fx_op *op);		/* @flags are LOOKUP_* */
int fuse_fx_do_mknod(struct fuse_fx_op *op);
int fuse_fx_do_mkdir(struct fuse_fx_op *op);
int fuse_fx_do_symlink(struct fuse_fx_op *op);
int fuse_fx_do_open(struct fuse_fx_op *op);		/* @flags are O_*; and close */
int fuse_fx_do_getattr(struct fuse_fx_op *op);		/* even if attributes are cached */
int fuse_fx_do_chmod(struct fuse_fx_op *op);
int fuse_fx_do_link(struct fuse_fx_op *op);
int fuse_fx_do_unlink(struct fuse_fx_op *op);
int fuse_fx_do_rmdir(struct fuse_fx_op *op);
int fuse_fx_do_rename(struct fuse_fx_op *op);		/* @flags are RENAME_* */
int fuse_fx_do_readdir(struct fuse_fx_op *op);		/* 1 if @path[1] is in it */
int fuse_fx_do_notify(struct fuse_fx_op *op);
int fuse_fx_do_inval_inode(struct fuse_fx_op *op);	/* of @parent */
int fuse_fx_do_inc_epoch(struct fuse_fx_op *op);
/*
 * Mount the file system once more, in a private namespace, and walk along a path
 * through submounts, which are mounted until the call returns.
 */
int fuse_fx_do_walk_mounts(struct fuse_fx_op *op);

/*
 * Make a call in a thread, while the test goes on. @op is copied; its paths have to
 * outlive the thread.
 */
struct kunit_thread *fuse_fx_run(struct fuse_fixture *fx, int (*call)(struct fuse_fx_op *op),
				 const struct fuse_fx_op *op);

/* The same, until the server holds its first request with this opcode. */
struct kunit_thread *fuse_fx_run_to(struct fuse_fixture *fx, int (*call)(struct fuse_fx_op *op),
				    const struct fuse_fx_op *op, u32 opcode,
				    enum fuse_fake_stop stop);

/*
 * Cache some names that no test touches: a file, another name of it, a directory with
 * something below, and a name that is absent. After the test all of them must still be
 * answered from the cache. @dir ends with a slash, or is "" for the root.
 */
void fuse_fx_add_neighbours(struct fuse_fixture *fx, const char *dir);

/* As fuse_fx_init(), and with neighbours in the root. */
int fuse_fx_init_neighbours(struct kunit *test);

#endif /* _FS_FUSE_TESTS_FIXTURE_H */
