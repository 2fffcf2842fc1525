// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit-managed mounts
 */

#include <linux/err.h>
#include <linux/export.h>
#include <linux/mount.h>

#include <kunit/mount.h>
#include <kunit/resource.h>
#include <kunit/test.h>

KUNIT_DEFINE_ACTION_WRAPPER(kern_unmount_wrapper, kern_unmount, struct vfsmount *);

struct vfsmount *kunit_kern_mount(struct kunit *test, struct file_system_type *type)
{
	struct vfsmount *mnt = kern_mount(type);
	int err;

	if (IS_ERR(mnt))
		return mnt;
	err = kunit_add_action_or_reset(test, kern_unmount_wrapper, mnt);
	return err ? ERR_PTR(err) : mnt;
}
EXPORT_SYMBOL_GPL(kunit_kern_mount);

void kunit_kern_mount_leak(struct kunit *test, struct vfsmount *mnt)
{
	kunit_remove_action(test, kern_unmount_wrapper, mnt);
}
EXPORT_SYMBOL_GPL(kunit_kern_mount_leak);
