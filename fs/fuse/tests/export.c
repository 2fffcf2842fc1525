// SPDX-License-Identifier: GPL-2.0
/*
 * What the KUnit suites reach of fuse.ko
 *
 * A file of its own, so that a change to fs/fuse/ that is to be judged and the
 * exports which judging it takes do not get into each other's way.
 */

#include <linux/uio.h>

#include <kunit/visibility.h>

#include "../fuse_i.h"
#include "fake_server.h"

/* Only the benchmark calls this: the suites send messages, whatever its arguments are. */
#ifdef CONFIG_FUSE_KUNIT_BENCH
EXPORT_SYMBOL_IF_KUNIT(fuse_reverse_inval_entry);
#endif

int fuse_kunit_notify(struct fuse_conn *fc, enum fuse_notify_code code, struct iov_iter *msg)
{
	struct fuse_copy_state cs;
	int err;

	fuse_copy_init(&cs, false, msg);
	err = fuse_notify(fc, code, iov_iter_count(msg), &cs);
	fuse_copy_finish(&cs);
	return err;
}
EXPORT_SYMBOL_IF_KUNIT(fuse_kunit_notify);
