// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit-managed threads
 */

#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/hung_task.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/minmax.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include <kunit/resource.h>
#include <kunit/test.h>
#include <kunit/thread.h>

struct kunit_thread {
	struct kunit *test;
	struct task_struct *task;
	/* Completed by the core when the task exits, whatever made it exit. */
	struct completion *exited;
	unsigned long limit;
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
		thread->joined = thread->limit ?
			wait_for_completion_timeout(thread->exited, thread->limit) :
			try_wait_for_completion(thread->exited);
	if (!thread->joined && !thread->late) {
		KUNIT_FAIL(thread->test, "thread %s did not end within %u ms",
			   thread->task->comm, jiffies_to_msecs(thread->limit));
		/* Once is enough to fail, and to wait for that long. */
		thread->late = true;
		thread->limit = min(thread->limit, 1UL);
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
	thread->limit = KUNIT_THREAD_LIMIT;
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
	if (current->nr_cpus_allowed == 1)
		kthread_bind(thread->task, raw_smp_processor_id());
	wake_up_process(thread->task);

	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, kunit_thread_release,
							   thread));
	return thread;
}
EXPORT_SYMBOL_GPL(kunit_thread_run);

void kunit_thread_set_limit(struct kunit_thread *thread, unsigned long limit)
{
	thread->limit = limit;
	thread->late = false;
}
EXPORT_SYMBOL_GPL(kunit_thread_set_limit);

/*
 * Let others run. If the test keeps to one CPU, yield() is what it takes: the
 * thread runs until it sleeps, while a timed sleep would take a tick if there are
 * no high resolution timers. Else the thread runs beside this one, and spins
 * instead of sleeping while the owner of a lock runs: sleep, so that it need not.
 */
static void kunit_thread_step_aside(void)
{
	if (num_online_cpus() == 1 || current->nr_cpus_allowed == 1)
		yield();
	else
		usleep_range(10, 20);
}

/* @queued tells if @task is in the queue of @lock, which is a @kind. */
static bool kunit_thread_sleeps_on(struct kunit_thread *thread, const char *kind,
				   bool (*queued)(struct task_struct *task, void *lock),
				   void *lock)
{
	unsigned long end = jiffies + thread->limit;
	bool last;

	do {
		/* However late it is, there is one more look after that. */
		last = time_after_eq(jiffies, end);
		if (thread->joined || completion_done(thread->exited))
			return false;
		if (queued(thread->task, lock) && !task_is_running(thread->task))
			return true;
		kunit_thread_step_aside();
	} while (!last);

	KUNIT_FAIL(thread->test, "thread %s neither slept on the %s nor ended within %u ms",
		   thread->task->comm, kind, jiffies_to_msecs(thread->limit));
	return false;
}

/* The mutex or semaphore that @task says it is in the queue of, or NULL. */
static void *kunit_thread_blocker(struct task_struct *task)
{
#ifdef CONFIG_DETECT_HUNG_TASK_BLOCKER
	unsigned long blocker = READ_ONCE(task->blocker);

	return blocker ? hung_task_blocker_to_lock(blocker) : NULL;
#else
	return NULL;
#endif
}

static bool kunit_thread_queued_on_rwsem(struct task_struct *task, void *lock)
{
	void *blocker = kunit_thread_blocker(task);

	/* A killable wait for a semaphore leaves no trace there. */
	if (blocker || (IS_ENABLED(CONFIG_DETECT_HUNG_TASK_BLOCKER) &&
			!(READ_ONCE(task->__state) & TASK_WAKEKILL)))
		return blocker == lock;
	return rwsem_is_contended(lock);
}

bool kunit_thread_sleeps_on_rwsem(struct kunit_thread *thread,
				  struct rw_semaphore *sem)
{
	return kunit_thread_sleeps_on(thread, "semaphore",
				      kunit_thread_queued_on_rwsem, sem);
}
EXPORT_SYMBOL_GPL(kunit_thread_sleeps_on_rwsem);

static bool kunit_thread_queued_on_mutex(struct task_struct *task, void *lock)
{
	struct mutex *mutex = lock;

	if (IS_ENABLED(CONFIG_DETECT_HUNG_TASK_BLOCKER))
		return kunit_thread_blocker(task) == lock;
#ifdef CONFIG_PREEMPT_RT
	return mutex_is_locked(mutex);
#else
	/* Like rwsem_is_contended(): whoever sees an old value looks again. */
	return data_race(mutex->first_waiter);
#endif
}

bool kunit_thread_sleeps_on_mutex(struct kunit_thread *thread, struct mutex *lock)
{
	return kunit_thread_sleeps_on(thread, "mutex",
				      kunit_thread_queued_on_mutex, lock);
}
EXPORT_SYMBOL_GPL(kunit_thread_sleeps_on_mutex);

static bool kunit_thread_queued_on_completion(struct task_struct *task, void *lock)
{
	struct completion *done = lock;
	struct swait_queue *waiter;

	guard(raw_spinlock_irqsave)(&done->wait.lock);
	list_for_each_entry(waiter, &done->wait.task_list, task_list) {
		if (waiter->task == task)
			return true;
	}
	return false;
}

bool kunit_thread_sleeps_on_completion(struct kunit_thread *thread,
				       struct completion *done)
{
	return kunit_thread_sleeps_on(thread, "completion",
				      kunit_thread_queued_on_completion, done);
}
EXPORT_SYMBOL_GPL(kunit_thread_sleeps_on_completion);
