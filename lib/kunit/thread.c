// SPDX-License-Identifier: GPL-2.0
/* KUnit-managed threads */

#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/preempt.h>
#include <linux/rwsem.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include <kunit/resource.h>
#include <kunit/test.h>
#include <kunit/thread.h>

static LIST_HEAD(kunit_point_threads);
static DEFINE_SPINLOCK(kunit_point_lock);
static void (*kunit_point_look)(void *data);
static void *kunit_point_data;

#ifdef CONFIG_KUNIT_POINTS
/* The compiler puts a call of it into every basic block of an instrumented file. */
void __sanitizer_cov_trace_pc(void);
void notrace __sanitizer_cov_trace_pc(void)
{
	static bool looks;
	struct kunit_thread *thread;

	if (unlikely(kunit_point_look)) {
		/* What looks may have points itself. */
		if (looks)
			return;
		looks = true;
		kunit_point_look(kunit_point_data);
		looks = false;
	}
	/* Most of the kernel returns here; and with preemption off nothing can stop. */
	if (likely(list_empty(&kunit_point_threads)) || preempt_count())
		return;
	preempt_disable_notrace();
	list_for_each_entry(thread, &kunit_point_threads, list)
		if (thread->task == current)
			break;
	preempt_enable_notrace();
	if (list_entry_is_head(thread, &kunit_point_threads, list))
		return;
	/* Its function has ended; or it is about to sleep: to wait would reset its state. */
	if (irqs_disabled() || current->flags & PF_EXITING || !task_is_running(current))
		return;
	if (thread->points++ != READ_ONCE(thread->stop_at))
		return;
	thread->where = (void *)_RET_IP_;
	WRITE_ONCE(thread->stopped, true);
	wait_for_completion(&thread->go_on);
}
EXPORT_SYMBOL(__sanitizer_cov_trace_pc);
#endif

const char *kunit_points_missing(void)
{
	if (!IS_ENABLED(CONFIG_KUNIT_POINTS))
		return "needs CONFIG_KUNIT_POINTS";
	if (!IS_ENABLED(CONFIG_PREEMPT_COUNT))
		return "needs CONFIG_PREEMPT_COUNT, which CONFIG_DEBUG_ATOMIC_SLEEP selects";
	if (num_online_cpus() > 1)
		return "needs a machine with one CPU";
	return NULL;
}
EXPORT_SYMBOL_GPL(kunit_points_missing);

void kunit_points_need(struct kunit *test)
{
	const char *missing = kunit_points_missing();

	if (missing)
		kunit_skip(test, "%s", missing);
}
EXPORT_SYMBOL_GPL(kunit_points_need);

static void kunit_points_look_away(void *unused)
{
	kunit_point_look = NULL;
}

void kunit_points_look(struct kunit *test, void (*look)(void *data), void *data)
{
	kunit_point_data = data;
	kunit_point_look = look;
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, kunit_points_look_away, NULL));
}
EXPORT_SYMBOL_GPL(kunit_points_look);

void kunit_thread_go_on(struct kunit_thread *thread, unsigned long point)
{
	WRITE_ONCE(thread->stop_at, point);
	if (!thread->stopped)
		return;
	thread->stopped = false;
	complete(&thread->go_on);
}
EXPORT_SYMBOL_GPL(kunit_thread_go_on);

bool kunit_thread_join(struct kunit_thread *thread, int *ret)
{
	kunit_thread_go_on(thread, KUNIT_NO_POINT);
	if (!thread->joined && wait_for_completion_timeout(thread->exited, thread->limit)) {
		thread->joined = true;
		/* Each point walks this list: keep it short. */
		guard(spinlock)(&kunit_point_lock);
		list_del_init(&thread->list);
	}
	if (!thread->joined && !thread->late) {
		KUNIT_FAIL(thread->test, "thread %s did not end within %u ms",
			   thread->task->comm, jiffies_to_msecs(thread->limit));
		/* Once is enough to fail, and to wait for that long. */
		thread->late = true;
		thread->limit = 1;
	}
	if (ret)
		*ret = thread->joined ? thread->ret : -ETIMEDOUT;
	return thread->joined;
}
EXPORT_SYMBOL_GPL(kunit_thread_join);

static void kunit_thread_release(void *arg)
{
	struct kunit_thread *thread = arg, *stopped;

	/* A stopped thread may hold a lock that this one waits for. */
	scoped_guard(spinlock, &kunit_point_lock)
		list_for_each_entry(stopped, &kunit_point_threads, list)
			if (stopped->test == thread->test)
				kunit_thread_go_on(stopped, KUNIT_NO_POINT);
	/* A thread that goes on still uses both its task and this structure. */
	if (!kunit_thread_join(thread, NULL)) {
		/* But the test is soon gone. */
		WRITE_ONCE(thread->task->kunit_test, NULL);
		return;
	}
	put_task_struct(thread->task);
	kfree(thread);
}

static int kunit_thread_fn(void *arg)
{
	struct kunit_thread *thread = arg;

	/* Code that runs here belongs to the test, as in the test's thread. */
	current->kunit_test = thread->test;
	allow_kernel_signal(SIGKILL);
	thread->ret = thread->fn(thread->data);
	return 0;
}

struct kunit_thread *kunit_thread_run_to(struct kunit *test, const char *name,
					 int (*fn)(void *data), void *data, unsigned long point)
{
	const char *missing = kunit_points_missing();
	struct kunit_thread *thread;

	if (missing && point != KUNIT_NO_POINT)
		KUNIT_FAIL_AND_ABORT(test, "a thread that is to be stopped %s", missing);
	thread = kzalloc_obj(*thread);
	KUNIT_ASSERT_NOT_NULL(test, thread);
	thread->test = test;
	thread->limit = KUNIT_THREAD_LIMIT;
	thread->fn = fn;
	thread->data = data;
	/* A function that is cut short by an assertion returns nothing. */
	thread->ret = -EINTR;
	thread->stop_at = point;
	INIT_LIST_HEAD(&thread->list);
	init_completion(&thread->go_on);

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
	if (!missing) {
		guard(spinlock)(&kunit_point_lock);
		list_add_tail(&thread->list, &kunit_point_threads);
	}
	wake_up_process(thread->task);

	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, kunit_thread_release, thread));
	return thread;
}
EXPORT_SYMBOL_GPL(kunit_thread_run_to);

/* Every sleep counts if @sem is NULL. */
static enum kunit_thread_state
kunit_thread_wait_for(struct kunit_thread *thread, struct rw_semaphore *sem)
{
	unsigned long end = jiffies + thread->limit;
	struct task_struct *task = thread->task;
	bool last;

	do {
		/* Look once more after the end: this task may not have run until then. */
		last = time_after_eq(jiffies, end);
		if (thread->joined || completion_done(thread->exited))
			return KUNIT_THREAD_ENDED;
		if (READ_ONCE(thread->stopped))
			return KUNIT_THREAD_STOPPED;
		/*
		 * A task that is being woken does not sleep; nor does one that runs on a CPU: it
		 * has set its state, but may find that it need not sleep.
		 */
		if ((!sem || rwsem_is_contended(sem)) &&
		    READ_ONCE(task->__state) & TASK_NORMAL && !READ_ONCE(task->on_cpu))
			return KUNIT_THREAD_SLEEPS;
		/*
		 * On one CPU the thread runs until it sleeps; a timed sleep would take a tick
		 * without high resolution timers. On more, the thread may spin on a lock as long
		 * as its owner, this task maybe, runs: so sleep.
		 */
		if (num_online_cpus() == 1)
			yield();
		else
			usleep_range(10, 20);
	} while (!last);

	KUNIT_FAIL(thread->test, "thread %s neither slept%s nor ended within %u ms", task->comm,
		   sem ? " on the semaphore" : "", jiffies_to_msecs(thread->limit));
	return KUNIT_THREAD_LATE;
}

enum kunit_thread_state kunit_thread_wait(struct kunit_thread *thread)
{
	return kunit_thread_wait_for(thread, NULL);
}
EXPORT_SYMBOL_GPL(kunit_thread_wait);

bool kunit_thread_sleeps_on_rwsem(struct kunit_thread *thread, struct rw_semaphore *sem)
{
	return kunit_thread_wait_for(thread, sem) == KUNIT_THREAD_SLEEPS;
}
EXPORT_SYMBOL_GPL(kunit_thread_sleeps_on_rwsem);
