// SPDX-License-Identifier: GPL-2.0
/*
 * What other suites have left behind, as kmemleak sees it
 *
 * A suite of one case that fails if there is memory which nothing points to
 * any more. It looks at the whole kernel. It is linked behind the other suites
 * of lib/kunit and those of fs/, so it runs when these are done.
 */

#include <linux/delay.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/uaccess.h>

#include <kunit/resource.h>
#include <kunit/test.h>

KUNIT_DEFINE_ACTION_WRAPPER(leak_unmount, kern_unmount, struct vfsmount *);
KUNIT_DEFINE_ACTION_WRAPPER(leak_close, fput, struct file *);

static void unreferenced(struct kunit *test)
{
	char *text = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	struct file_system_type *debugfs = get_fs_type("debugfs");
	struct vfsmount *mnt;
	struct file *file;
	unsigned long addr;
	char __user *user;
	loff_t pos = 0;
	ssize_t len;

	/* kmemleak has no other interface than its file, and that takes memory of a user. */
	KUNIT_ASSERT_NOT_NULL(test, text);
	KUNIT_ASSERT_NOT_NULL(test, debugfs);
	mnt = kern_mount(debugfs);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mnt);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, leak_unmount, mnt));
	file = file_open_root_mnt(mnt, "kmemleak", O_RDWR, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL_MSG(test, file, "kmemleak is off: did it run out of memory?");
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, leak_close, file));
	addr = kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, addr, 0);
	user = (char __user *)addr;

	/* What is younger than five seconds is no leak yet, and the first scan takes checksums. */
	msleep(5100);
	KUNIT_ASSERT_EQ(test, 0, copy_to_user(user, "scan", 5));
	for (int i = 0; i < 2; i++, pos = 0)
		KUNIT_ASSERT_EQ(test, 5, file->f_op->write(file, user, 5, &pos));

	/* One page is enough for the first of them. */
	len = file->f_op->read(file, user, PAGE_SIZE - 1, &pos);
	KUNIT_ASSERT_GE(test, len, 0);
	KUNIT_ASSERT_EQ(test, 0, copy_from_user(text, user, len));
	if (len)
		KUNIT_FAIL(test, "nothing points any more to\n%s", text);
}

static struct kunit_case leak_cases[] = {
	KUNIT_CASE_SLOW(unreferenced),
	{}
};

static struct kunit_suite leak_suite = {
	.name = "kunit_leak",
	.test_cases = leak_cases,
};

kunit_test_suite(leak_suite);

MODULE_DESCRIPTION("KUnit suite that fails if kmemleak finds something");
MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
MODULE_LICENSE("GPL");
