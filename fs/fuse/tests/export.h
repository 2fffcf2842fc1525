/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KUnit suites reach of fuse.ko
 */

#ifndef _FS_FUSE_TESTS_EXPORT_H
#define _FS_FUSE_TESTS_EXPORT_H

#include <linux/types.h>

struct fuse_conn;
struct qstr;

/* fuse_reverse_inval_entry(), with fc->killsb held as there */
int fuse_kunit_reverse_inval_entry(struct fuse_conn *fc, u64 parent_nodeid,
				   u64 child_nodeid, struct qstr *name, u32 flags);

#endif /* _FS_FUSE_TESTS_EXPORT_H */
