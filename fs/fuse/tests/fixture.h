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
 *                  notification, from the cache or by a reply that came later
 *   no collateral: every other name is still answered from the cache
 *   quiet:         no notification sent a request to the server
 *   balanced:      locks are free, reference counts are as before, the mount can go
 *   serial:        some order of the calls that overlap explains what is returned
 *   never waits:   an invalidation returns while any request is at the server
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

/**
 * struct fuse_fx_score - Which properties did not hold, of many fixtures in one test
 * @fixtures: how many fixtures there were
 * @broken: in how many of them each property did not hold
 * @said: how many of those were reported, which are the first few
 */
struct fuse_fx_score {
	unsigned int fixtures;
	unsigned int broken[FUSE_FX_PROPERTIES];
	unsigned int said;
};

/**
 * struct fuse_fixture - What a test works with
 * @test: the test
 * @server: the fake server
 * @mnt: the mount, which is part of no namespace
 * @delete_stale: fc->delete_stale: an expired dentry is dropped by its last dput()
 * @root_refs: references to the root dentry apart from its children's, when the
 *	file system was just mounted
 * @lock: protects @calls
 * @calls: the notifications so far
 * @epoch_seq: the server's counter when the last FUSE_NOTIFY_INC_EPOCH was sent
 * @held: dentries and inodes that the test holds
 * @files: files that the test has open
 * @threads: threads that the test has started
 * @broken: the properties that did not hold, as bits
 * @score: where to count them, if there are more fixtures in this test
 * @title: what to say of this fixture, if one of them does not hold
 * @again: how to run the test alone, if that is not plain from its name
 */
struct fuse_fixture {
	struct kunit *test;
	struct fuse_fake_server *server;
	struct vfsmount *mnt;
	bool delete_stale;
	unsigned int root_refs;

	spinlock_t lock; /* @calls */
	struct list_head calls;
	u64 epoch_seq;
	struct list_head held;
	struct list_head files;
	struct list_head threads;
	unsigned long broken;
	struct fuse_fx_score *score;
	const char *title;
	const char *again;
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

/**
 * fuse_fx_broken() - A property does not hold
 * @fx: The fixture.
 * @property: The property.
 * @fmt: What was found.
 *
 * The test fails. Only the first two of a fixture, or of all fixtures of a
 * test, are reported.
 */
__printf(3, 4) void fuse_fx_broken(struct fuse_fixture *fx, enum fuse_fx_property property,
				   const char *fmt, ...);

/**
 * fuse_fx_shuffle() - Put the parameters of a test into an order that depends on a seed
 * @params: The array of the parameters.
 * @nr: How many there are.
 * @size: The size of each.
 *
 * None may depend on what another leaves behind. Without fuse_kunit.seed= the order
 * stays as it is.
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
		_fail(_test, "%s answers %s, not %s" _fmt, _text,			\
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

/**
 * fuse_fx_lookup_at() - Look up a name in an open directory
 * @fx: The fixture.
 * @dir: Nodeid of the directory. Its dentry may have been moved or unhashed, but must
 *	still exist.
 * @name: The name.
 *
 * As openat() with %O_PATH. Safe in a thread.
 *
 * Return: the dentry, which the caller puts, or an error pointer: -ESTALE if the
 * kernel does not know the directory any more.
 */
struct dentry *fuse_fx_lookup_at(struct fuse_fixture *fx, u64 dir, const char *name);

/* Look up what exists, and hold the dentry, or only the inode, until the test ends. */
struct dentry *fuse_fx_hold(struct fuse_fixture *fx, const char *path);
struct inode *fuse_fx_hold_inode(struct fuse_fixture *fx, const char *path);

/* Hold what is hashed for a name, or return NULL; the server is not asked. */
struct dentry *fuse_fx_hold_cached(struct fuse_fixture *fx, struct dentry *dir,
				   const char *name);

/*
 * Is there a hashed dentry for this name, positive or negative, expired or not? Nothing
 * else tells a name that was dropped from one that has only expired.
 */
bool fuse_fx_cached(struct fuse_fixture *fx, struct dentry *dir, const char *name);
bool fuse_fx_cached_positive(struct fuse_fixture *fx, struct dentry *dir, const char *name);
bool fuse_fx_cached_mountpoint(struct fuse_fixture *fx, struct dentry *dir, const char *name);

/* Is a removed directory dead? */
bool fuse_fx_dead(struct dentry *dir);

/* Write what the dcache says about a dentry, which may be NULL, into a message. */
int fuse_fx_describe(char *buf, size_t size, struct dentry *dentry);

/* The file is closed when the test ends at the latest; one that is made is 0644. */
struct file *fuse_fx_open(struct fuse_fixture *fx, const char *path, int flags);

/* The file is closed when this returns, and not later by a work item. */
void fuse_fx_close(struct fuse_fixture *fx, struct file *file);

/**
 * fuse_fx_notify() - Call fuse_reverse_inval_entry() as fuse_notify() does
 * @fx: The fixture.
 * @parent: Nodeid of the directory.
 * @child: Nodeid of the entry for a delete, 0 for an invalidation.
 * @name: The name.
 * @flags: 0 or %FUSE_EXPIRE_ONLY.
 *
 * Return: what the call returned.
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

/* FUSE_NOTIFY_DELETE */
static inline int fuse_fx_delete(struct fuse_fixture *fx, u64 parent, u64 child,
				 const char *name)
{
	return fuse_fx_notify(fx, parent, child, name, 0);
}

/* What fuse_notify() returns. */
int fuse_fx_inc_epoch(struct fuse_fixture *fx);
int fuse_fx_inval_inode(struct fuse_fixture *fx, u64 nodeid);

/**
 * struct fuse_fx_msg - A notification about a name, byte by byte
 * @code: %FUSE_NOTIFY_INVAL_ENTRY or %FUSE_NOTIFY_DELETE
 * @parent: nodeid of the directory
 * @name: the name
 * @below: what lies below the name is meant too
 * @data: what the server writes behind struct fuse_out_header, and behind that
 *	some bytes of 0, for a message that is longer
 * @size: how much of @data it writes
 *
 * Whatever a test does to @data and @size is what the kernel gets; the other members
 * tell the fixture what the message is about.
 */
struct fuse_fx_msg {
	enum fuse_notify_code code;
	u64 parent;
	const char *name;
	bool below;
	char *data;
	size_t size;
};

/**
 * fuse_fx_msg() - Make a well-formed message
 * @fx: The fixture.
 * @code: %FUSE_NOTIFY_INVAL_ENTRY or %FUSE_NOTIFY_DELETE.
 * @parent: Nodeid of the directory.
 * @child: Nodeid of the entry; an invalidation has no room for it.
 * @name: The name, which has to outlive the message.
 * @flags: Flags of an invalidation; a delete has padding in their place.
 *
 * Return: the message, which lives as long as the test; a failure aborts the
 * test.
 */
struct fuse_fx_msg *fuse_fx_msg(struct fuse_fixture *fx, enum fuse_notify_code code,
				u64 parent, u64 child, const char *name, u32 flags);

/**
 * fuse_fx_send() - Write a message that is a notification about its name
 * @fx: The fixture.
 * @msg: The message.
 *
 * From here on the fixture expects of the name what it expects after
 * fuse_fx_notify().
 *
 * Return: what fuse_notify() returned.
 */
int fuse_fx_send(struct fuse_fixture *fx, const struct fuse_fx_msg *msg);

/**
 * fuse_fx_send_malformed() - Write a message that is not about any name
 * @fx: The fixture.
 * @msg: The message.
 *
 * The fixture goes on expecting that every name is answered from the cache, also
 * the one that the message was about before it was spoilt.
 *
 * Return: what fuse_notify() returned.
 */
int fuse_fx_send_malformed(struct fuse_fixture *fx, const struct fuse_fx_msg *msg);

/**
 * struct fuse_fx_op - A system call or notification for a thread to make
 * @fx: the fixture
 * @path: paths in the order of the call's arguments
 * @flags: flags of the call
 * @hook: what the server changes behind the kernel's back when the call's request
 *	comes; nothing if @hook.change is 0
 * @parent: nodeid of the directory of a notification, whose name is @path[0]
 * @child: nodeid of the entry of a notification
 * @data: for a call that a suite adds
 */
struct fuse_fx_op {
	struct fuse_fixture *fx;
	const char *path[2];
	unsigned int flags;
	struct fuse_fake_hook hook;
	u64 parent;
	u64 child;
	void *data;
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
int fuse_fx_do_readdir(struct fuse_fx_op *op);
int fuse_fx_do_notify(struct fuse_fx_op *op);
int fuse_fx_do_inval_inode(struct fuse_fx_op *op);	/* of @parent */
int fuse_fx_do_inc_epoch(struct fuse_fx_op *op);
/*
 * Mount the file system once more, in a private namespace, and walk along a path
 * through submounts, which are mounted until the call returns.
 */
int fuse_fx_do_walk_mounts(struct fuse_fx_op *op);

/**
 * fuse_fx_run() - Make a call in a thread, while the test goes on
 * @fx: The fixture.
 * @call: The call.
 * @op: Its arguments, which are copied; the paths have to outlive the thread.
 *
 * Return: the thread, for the kunit_thread functions.
 */
struct kunit_thread *fuse_fx_run(struct fuse_fixture *fx, int (*call)(struct fuse_fx_op *op),
				 const struct fuse_fx_op *op);

/* The same, until the server holds its first request with this opcode. */
struct kunit_thread *fuse_fx_run_to(struct fuse_fixture *fx, int (*call)(struct fuse_fx_op *op),
				    const struct fuse_fx_op *op, u32 opcode,
				    enum fuse_fake_stop stop);

/**
 * fuse_fx_add_neighbours() - Cache some names that no test touches
 * @fx: The fixture.
 * @dir: The directory and a slash, or "" for the root.
 *
 * A file, another name of it, a directory with something below, and a name that
 * is absent. After the test all of them must still be answered from the cache.
 */
void fuse_fx_add_neighbours(struct fuse_fixture *fx, const char *dir);

/* As fuse_fx_init(), and with neighbours in the root. */
int fuse_fx_init_neighbours(struct kunit *test);

#endif /* _FS_FUSE_TESTS_FIXTURE_H */
