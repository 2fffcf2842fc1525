// SPDX-License-Identifier: GPL-2.0
/*
 * What the KUnit suites reach of fuse.ko
 *
 * A file of its own, so that a change to fs/fuse/ that is to be judged and the
 * exports which judging it takes do not get into each other's way.
 */

#include <kunit/visibility.h>

#include "../fuse_i.h"
#include "export.h"

int fuse_kunit_reverse_inval_entry(struct fuse_conn *fc, u64 parent_nodeid,
				   u64 child_nodeid, struct qstr *name, u32 flags)
{
	return fuse_reverse_inval_entry(fc, parent_nodeid, child_nodeid, name, flags);
}
EXPORT_SYMBOL_IF_KUNIT(fuse_kunit_reverse_inval_entry);
