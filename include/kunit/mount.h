/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KUnit-managed mounts: an instance of a file system that only the test sees, and
 * that is unmounted when the test ends. All of these functions may sleep.
 */

#ifndef _KUNIT_MOUNT_H
#define _KUNIT_MOUNT_H

#if IS_ENABLED(CONFIG_KUNIT)

struct file_system_type;
struct kunit;
struct vfsmount;

/**
 * kunit_kern_mount() - Mount a file system for the time of a test
 * @test: The test context object.
 * @type: The file system to mount; it need not be registered.
 *
 * The mount is part of no namespace. It is taken down with kern_unmount() when
 * the test ends, also after a failed assertion; everything that has been opened
 * or looked up on it has to be let go by then, which is the case for managed
 * resources that were acquired later.
 *
 * Return: the mount, or an error pointer.
 */
struct vfsmount *kunit_kern_mount(struct kunit *test, struct file_system_type *type);

/*
 * Leave it behind for good, for a test that has found out that a lock or a reference
 * was lost: to unmount would hang or bring the kernel down, and with it the tests to come.
 */
void kunit_kern_mount_leak(struct kunit *test, struct vfsmount *mnt);

#endif /* IS_ENABLED(CONFIG_KUNIT) */

#endif /* _KUNIT_MOUNT_H */
