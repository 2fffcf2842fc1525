/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KUnit-managed threads
 *
 * A second thread under the control of a test, which starts it, waits until it sleeps on a lock
 * or has ended, and joins it within a limit. A thread can also be stopped at any of its
 * preemption points, to see what happens if something else runs just there:
 *
 *	for (point = 0; ; point++) {
 *		thread = kunit_thread_run_to(test, "thread", fn, data, point);
 *		if (kunit_thread_wait(thread) != KUNIT_THREAD_STOPPED)
 *			break;
 *		...
 *		kunit_thread_join(thread, &ret);
 *	}
 *
 * A preemption point is the start of a basic block of a file in %CONFIG_KUNIT_POINTS_IN, if
 * interrupts and preemption are enabled there, and the thread's state is TASK_RUNNING.
 *
 * Only one thread, most often that of the test, may wait for other threads at a time.
 */

#ifndef _KUNIT_THREAD_H
#define _KUNIT_THREAD_H

#include <linux/completion.h>
#include <linux/jiffies.h>
#include <linux/limits.h>
#include <linux/types.h>

struct kunit;
struct rw_semaphore;
struct task_struct;

struct kunit_thread {
	/*
	 * When its function has begun, send_sig(SIGKILL, @task, 1) ends a killable wait, and
	 * each later one at once, but not the thread.
	 */
	struct task_struct *task;
	/* How long, in jiffies, each wait for it may take, also that at the end of the test. */
	unsigned long limit;
	/* If it is stopped or has ended: how many points it has come to, with that one. */
	unsigned long points;
	/* Where it was stopped last: an address in the basic block, for %pS, or NULL. */
	void *where;

	/* private: */
	struct kunit *test;
	struct completion *exited;	/* completed by the core, whatever made the task exit */
	bool joined;
	bool late;
	int (*fn)(void *data);
	void *data;
	int ret;
	struct list_head list;		/* of those that can be stopped */
	unsigned long stop_at;
	bool stopped;
	struct completion go_on;
};

/* The limit of a new thread. Only a test that fails waits for that long. */
#define KUNIT_THREAD_LIMIT	(5 * HZ)

/* In place of the point to stop at: do not stop. */
#define KUNIT_NO_POINT		ULONG_MAX

/* What a thread does, see kunit_thread_wait(). */
enum kunit_thread_state {
	KUNIT_THREAD_ENDED,
	KUNIT_THREAD_STOPPED,	/* at the point that it was to run to */
	KUNIT_THREAD_SLEEPS,	/* but not at that point */
	KUNIT_THREAD_LATE,	/* it still runs: the limit was exceeded */
};

/*
 * Why no thread can be stopped at a point, or NULL. Points need %CONFIG_KUNIT_POINTS and
 * %CONFIG_PREEMPT_COUNT, and a machine with one CPU: with more of them, what runs beside a
 * stopped thread is not determined.
 */
const char *kunit_points_missing(void);

/* Skip @test if no thread can be stopped at a point. */
void kunit_points_need(struct kunit *test);

/*
 * Until the actions of @test run, which is after its suite's exit(), call @look at each point of
 * all tasks, also where nothing can stop, such as under a spinlock: it sees what another CPU
 * could see there. @data lives as long as that.
 */
void kunit_points_look(struct kunit *test, void (*look)(void *data), void *data);

/**
 * kunit_thread_run_to() - Run a function in a thread of its own and stop it at a point
 * @test: The test context object.
 * @name: The name of the new thread.
 * @fn: The function to run. It may use expectations on @test; an assertion ends only the thread.
 * @data: The argument of @fn; it has to live until the thread has been joined, so not on the
 *        stack of the test, which an assertion ends.
 * @point: The point to stop at: 0 is the first one that the thread comes to. Unless it
 *         is %KUNIT_NO_POINT, kunit_points_missing() has to return NULL.
 *
 * While the thread is stopped it keeps its locks. When the test ends, also by an assertion, all
 * its stopped threads go on, and then each thread is joined. One that does not end within the
 * limit is left behind, and the test fails. To prevent this, release what the thread waits for
 * in an action of kunit_add_action() that is added after the thread was started: it runs before
 * the thread is joined. While the test itself holds a lock, it makes no assertion.
 *
 * Return: the thread, never NULL and never an error pointer: a failure to start
 * it aborts the test.
 */
struct kunit_thread *kunit_thread_run_to(struct kunit *test, const char *name,
					 int (*fn)(void *data), void *data, unsigned long point);

/* The same, if it is not to stop, or not yet. */
static inline struct kunit_thread *kunit_thread_run(struct kunit *test, const char *name,
						    int (*fn)(void *data), void *data)
{
	return kunit_thread_run_to(test, name, fn, data, KUNIT_NO_POINT);
}

/*
 * Wait until a thread has ended, is stopped at its point, or sleeps. Any sleep counts, even a
 * short one. When the thread still runs after the limit, the test fails.
 */
enum kunit_thread_state kunit_thread_wait(struct kunit_thread *thread);

/*
 * As kunit_thread_wait(), but a sleep counts only while @sem has a waiter. That may be another
 * task: then @thread must not sleep elsewhere. @sem must be held by another task until this
 * returns. Returns true if the thread sleeps.
 */
bool kunit_thread_sleeps_on_rwsem(struct kunit_thread *thread, struct rw_semaphore *sem);

/*
 * Let a thread that is stopped go on, and stop next at @point, counted from the start of
 * the thread; one that it has passed, or %KUNIT_NO_POINT, is never reached.
 */
void kunit_thread_go_on(struct kunit_thread *thread, unsigned long point);

/**
 * kunit_thread_join() - Wait until a thread has ended
 * @thread: The thread. If it is stopped at a point, it goes on.
 * @ret: Where to put what the function of the thread returned, or NULL. It is
 *       -EINTR if an assertion ended the thread before the function returned, and
 *       -ETIMEDOUT if the thread has not ended.
 *
 * May be called more than once. When the thread does not end within the limit, the test
 * fails once, and the limit becomes one jiffy.
 *
 * Return: true if the thread has ended.
 */
bool kunit_thread_join(struct kunit_thread *thread, int *ret);

#endif /* _KUNIT_THREAD_H */
