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

/* fuse_notify() as a write to /dev/fuse calls it, with what follows fuse_out_header */
int fuse_kunit_notify(struct fuse_conn *fc, enum fuse_notify_code code,
		      struct iov_iter *msg);

#endif /* _FS_FUSE_TESTS_EXPORT_H */
