/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KUnit suites reach of fuse.ko
 */

#ifndef _FS_FUSE_TESTS_EXPORT_H
#define _FS_FUSE_TESTS_EXPORT_H

#include <linux/fuse.h>
#include <linux/types.h>

struct fuse_conn;
struct iov_iter;
struct qstr;

/* fuse_reverse_inval_entry(), with fc->killsb held as there */
int fuse_kunit_reverse_inval_entry(struct fuse_conn *fc, u64 parent_nodeid,
				   u64 child_nodeid, struct qstr *name, u32 flags);

/* fuse_notify() as a write to /dev/fuse calls it, with what follows fuse_out_header */
int fuse_kunit_notify(struct fuse_conn *fc, enum fuse_notify_code code,
		      struct iov_iter *msg);

#endif /* _FS_FUSE_TESTS_EXPORT_H */
