/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of the fixture share
 */

#ifndef _FS_FUSE_TESTS_FIXTURE_I_H
#define _FS_FUSE_TESTS_FIXTURE_I_H

#include "../fuse_i.h"
#include "fixture.h"

/* A notification that was made */
struct fuse_fx_call {
	struct list_head list;
	u64 parent;	/* nodeid of the directory */
	u64 seq;	/* of the server when it started: what it told earlier is stale */
	u64 end;	/* of the server when it ended, or U64_MAX */
	u64 found_seq;	/* told->seq of the name then, if it found something, or U64_MAX */
	char name[];	/* or "" if the call was about the directory itself */
};

struct fuse_fx_held {
	struct list_head list;
	struct dentry *dentry;
	struct inode *inode;
	struct file *file;
};

struct fuse_fx_thread {
	struct list_head list;
	struct kunit_thread *thread;
	int (*call)(struct fuse_fx_op *op);
	struct fuse_fx_op op;
};

static inline struct fuse_conn *fuse_fx_conn(struct fuse_fixture *fx)
{
	return get_fuse_conn_super(fx->mnt->mnt_sb);
}

/* A call for fuse_fx_run() */
#define FUSE_FX_DO(_name, _call)				\
int fuse_fx_do_##_name(struct fuse_fx_op *op)			\
{								\
	return _call;						\
}

/* fixture_calls.c */
struct dentry *fuse_fx_find_node(struct fuse_fixture *fx, u64 nodeid);
void fuse_fx_close_file(struct file *file);
bool fuse_fx_read_dir(struct file *file, const char *name, int *err);

/* fixture_notify.c */
bool fuse_fx_check_tree(struct fuse_fixture *fx, struct dentry *dentry,
			bool (*check)(struct fuse_fixture *, struct dentry *));
bool fuse_fx_check_locks(struct fuse_fixture *fx);

#endif /* _FS_FUSE_TESTS_FIXTURE_I_H */
