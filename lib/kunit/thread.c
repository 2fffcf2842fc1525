// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit-managed threads
 */

#include <linux/completion.h>
#include <linux/kthread.h>
#include <linux/rwsem.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include <kunit/resource.h>
#include <kunit/test.h>
#include <kunit/thread.h>

struct kunit_thread {
	struct kunit *test;
	struct task_struct *task;
	/* Completed by the core when the task exits, whatever made it exit. */
	struct completion *exited;
	bool joined;
	bool late;
	int (*fn)(void *data);
	void *data;
	int ret;
};

static int kunit_thread_fn(void *arg)
{
	struct kunit_thread *thread = arg;

	/* Code that runs here belongs to the test, as in the test's thread. */
	current->kunit_test = thread->test;
	thread->ret = thread->fn(thread->data);
	return 0;
}

bool kunit_thread_join(struct kunit_thread *thread, int *ret)
{
	if (!thread->joined)
		thread->joined = wait_for_completion_timeout(thread->exited,
							     thread->late ? 1 : KUNIT_THREAD_LIMIT);
	if (!thread->joined && !thread->late) {
		thread->late = true;
		KUNIT_FAIL(thread->test, "thread %s did not end within %d s",
			   thread->task->comm, KUNIT_THREAD_LIMIT / HZ);
	}
	if (ret)
		*ret = thread->joined ? thread->ret : -ETIMEDOUT;
	return thread->joined;
}
EXPORT_SYMBOL_GPL(kunit_thread_join);

static void kunit_thread_release(void *arg)
{
	struct kunit_thread *thread = arg;

	/* A thread that goes on still uses both its task and this structure. */
	if (!kunit_thread_join(thread, NULL))
		return;
	put_task_struct(thread->task);
	kfree(thread);
}

struct kunit_thread *kunit_thread_run(struct kunit *test, const char *name,
				      int (*fn)(void *data), void *data)
{
	struct kunit_thread *thread = kzalloc_obj(*thread);

	KUNIT_ASSERT_NOT_NULL(test, thread);
	thread->test = test;
	thread->fn = fn;
	thread->data = data;
	/* A function that is cut short by an assertion returns nothing. */
	thread->ret = -EINTR;

	thread->task = kthread_create(kunit_thread_fn, thread, "%s", name);
	if (IS_ERR(thread->task)) {
		int err = PTR_ERR(thread->task);

		kfree(thread);
		KUNIT_FAIL_AND_ABORT(test, "thread %s did not start: %d", name, err);
	}
	/*
	 * As in kunit_try_catch_run(): vfork_done leads to the completion for
	 * the end of a kernel thread, and is cleared when the thread exits.
	 */
	get_task_struct(thread->task);
	thread->exited = thread->task->vfork_done;
	wake_up_process(thread->task);

	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, kunit_thread_release,
							   thread));
	return thread;
}
EXPORT_SYMBOL_GPL(kunit_thread_run);

static void kunit_thread_nop(struct work_struct *work)
{
}

/*
 * Leave the CPU for as long as a worker takes to do nothing. Neither of the
 * usual ways would do: a timed sleep takes a tick if there are no high resolution
 * timers, and yield() may well return to a caller that never left the CPU. While
 * the owner of a lock runs, a thread on another CPU spins instead of sleeping.
 */
static void kunit_thread_step_aside(void)
{
	struct work_struct work;

	INIT_WORK_ONSTACK(&work, kunit_thread_nop);
	schedule_work(&work);
	flush_work(&work);
	destroy_work_on_stack(&work);
}

bool kunit_thread_sleeps_on_rwsem(struct kunit_thread *thread,
				  struct rw_semaphore *sem)
{
	unsigned long limit = jiffies + KUNIT_THREAD_LIMIT;

	while (time_before(jiffies, limit)) {
		if (thread->joined || completion_done(thread->exited))
			return false;
		if (rwsem_is_contended(sem) && !task_is_running(thread->task))
			return true;
		kunit_thread_step_aside();
	}
	KUNIT_FAIL(thread->test, "thread %s neither slept on the semaphore nor ended within %d s",
		   thread->task->comm, KUNIT_THREAD_LIMIT / HZ);
	return false;
}
EXPORT_SYMBOL_GPL(kunit_thread_sleeps_on_rwsem);
