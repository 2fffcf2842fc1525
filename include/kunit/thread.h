/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KUnit-managed threads
 *
 * A second thread under the control of a test: start it, wait until it sleeps
 * on a lock or has ended, and join it within a limit. This turns a race into a
 * sequence of steps that a test spells out.
 *
 * A thread can also be stopped at any of its preemption points, to see what
 * happens if something else runs just there:
 *
 *	for (point = 0; ; point++) {
 *		thread = kunit_thread_run_to(test, "thread", fn, data, point);
 *		if (kunit_thread_wait(thread) != KUNIT_THREAD_STOPPED)
 *			break;
 *		...
 *		kunit_thread_join(thread, &ret);
 *	}
 *
 * A preemption point is the start of a basic block, as the compiler sees it, of
 * a file in %CONFIG_KUNIT_POINTS_IN, if the thread can be preempted there:
 * interrupts and preemption are enabled, and its state is TASK_RUNNING.
 *
 * Only one thread, most often that of the test, may wait for other threads at a time.
 */

#ifndef _KUNIT_THREAD_H
#define _KUNIT_THREAD_H

#if IS_ENABLED(CONFIG_KUNIT)

#include <linux/jiffies.h>
#include <linux/types.h>

struct kunit;
struct kunit_thread;
struct rw_semaphore;

/*
 * How long, in jiffies, any wait for a thread may take unless the test says
 * otherwise. Only a test that fails waits for that long.
 */
#define KUNIT_THREAD_LIMIT	(5 * HZ)

/**
 * kunit_thread_run() - Run a function in a thread of its own
 * @test: The test context object.
 * @name: The name of the new thread.
 * @fn: The function to run. It may use expectations on @test; assertions end
 *      only the thread, so leave them to the test itself.
 * @data: The argument of @fn; it has to live until the thread has been joined.
 *        The stack of the test does not live that long: an assertion ends it.
 *
 * The thread is joined at the latest when the test ends. If it still runs then
 * and does not end within the limit, the test fails and the thread is left
 * behind, as nothing ends an uninterruptible wait from outside. To prevent this
 * after a failed assertion, release what the thread waits for in an action of
 * kunit_add_action(). An action that is added after the thread was started runs
 * before the thread is joined. No action can release a lock that the test itself
 * holds: make no assertion while it is held, or hold it in a thread, and have the
 * action tell that thread to release it.
 *
 * A test that keeps itself to one CPU, with set_cpus_allowed_ptr(), has its
 * threads there too. They take turns then, which saves a lot of time on SMP.
 *
 * Context: Process context; may sleep.
 *
 * Return: the thread, never NULL and never an error pointer: a failure to start
 * it aborts the test.
 */
struct kunit_thread *kunit_thread_run(struct kunit *test, const char *name,
				      int (*fn)(void *data), void *data);

/**
 * kunit_thread_set_limit() - Change how long waits for a thread may take
 * @thread: The thread.
 * @limit: The limit in jiffies. With 0 a wait is a single look at how
 *         things are now.
 *
 * Holds for every later wait for @thread, including the one at the end of the
 * test, and even if @thread was late before. It is %KUNIT_THREAD_LIMIT at first.
 *
 * Context: Any context.
 */
void kunit_thread_set_limit(struct kunit_thread *thread, unsigned long limit);

/**
 * kunit_thread_sleeps_on_rwsem() - Wait until a thread sleeps on a semaphore
 * @thread: The thread.
 * @sem: The semaphore. Somebody other than @thread has to hold it until this returns:
 *       a thread that was woken may still be seen in the queue.
 *
 * Waits until either @thread sleeps in the queue of @sem, as a reader or as a
 * writer, or it has ended. When neither happens within the limit the test fails.
 *
 * With %CONFIG_DETECT_HUNG_TASK_BLOCKER, a task tells which semaphore it waits for,
 * unless the wait is a killable one. For a killable sleep, and without that option
 * for any sleep, it is enough that @sem has a waiter: the caller has to make sure
 * that only @thread can be one, or that it sleeps nowhere else. With that option, a sleep in
 * down_read_interruptible() is not recognized.
 *
 * Context: Process context; may sleep. The caller may hold @sem, but must not
 * if @thread has to end.
 *
 * Return: true if the thread sleeps on @sem; false if it has ended, or if the
 * limit was exceeded.
 */
bool kunit_thread_sleeps_on_rwsem(struct kunit_thread *thread,
				  struct rw_semaphore *sem);

/**
 * kunit_thread_kill() - Send a fatal signal to a thread
 * @thread: The thread.
 *
 * It ends a killable wait, and each later one at once, but does not end the thread.
 * The function of the thread has to have begun: see that it sleeps before.
 */
void kunit_thread_kill(struct kunit_thread *thread);

/**
 * kunit_thread_join() - Wait until a thread has ended
 * @thread: The thread.
 * @ret: Where to put what the function of the thread returned, or NULL. It is
 *       -EINTR if an assertion ended the thread before the function returned.
 *
 * May be called more than once. When the thread does not end within the limit
 * the test fails, but only once, and from then on the limit is one jiffy. A thread
 * that is stopped at a point goes on.
 *
 * Context: Process context; may sleep. The caller must not hold a lock that the
 * thread needs.
 *
 * Return: true if the thread has ended; false if it has not, and *@ret is
 * -ETIMEDOUT then.
 */
bool kunit_thread_join(struct kunit_thread *thread, int *ret);

/* In place of the point to stop at: do not stop. */
#define KUNIT_NO_POINT		ULONG_MAX

/* What a thread does, see kunit_thread_wait(). */
enum kunit_thread_state {
	KUNIT_THREAD_ENDED,
	KUNIT_THREAD_STOPPED,	/* at the point that it was to run to */
	KUNIT_THREAD_SLEEPS,	/* but not at that point */
	KUNIT_THREAD_LATE,	/* it still runs: the limit was exceeded */
};

/**
 * kunit_points_missing() - Find out why no thread can be stopped at a point
 *
 * Points need %CONFIG_KUNIT_POINTS and %CONFIG_PREEMPT_COUNT, and a machine with one
 * CPU: with more of them, what runs beside a stopped thread is not determined.
 *
 * Return: the reason, for kunit_skip(), or NULL if threads can be stopped.
 */
const char *kunit_points_missing(void);

/**
 * kunit_thread_run_to() - Run a function in a thread and stop it at a point
 * @test: The test context object.
 * @name: The name of the new thread.
 * @fn: The function to run, see kunit_thread_run().
 * @data: The argument of @fn.
 * @point: The point to stop at: 0 is the first one that the thread comes to.
 *
 * While the thread is stopped it keeps its locks. When the test ends, also by an
 * assertion, all its stopped threads go on before the first of them is joined.
 * kunit_points_missing() has to return NULL.
 *
 * Context: Process context; may sleep.
 *
 * Return: the thread, as kunit_thread_run() does.
 */
struct kunit_thread *kunit_thread_run_to(struct kunit *test, const char *name,
					 int (*fn)(void *data), void *data,
					 unsigned long point);

/**
 * kunit_thread_wait() - Wait until a thread gets no further
 * @thread: The thread.
 *
 * Waits until @thread has ended, is stopped at its point, or sleeps. Any sleep counts,
 * even a short one, such as the wait for a work item: the caller has to know whether
 * it will end by itself. When @thread still runs after the limit, the test fails.
 *
 * Context: Process context; may sleep.
 *
 * Return: what the thread does.
 */
enum kunit_thread_state kunit_thread_wait(struct kunit_thread *thread);

/**
 * kunit_thread_go_on() - Let a thread that is stopped at a point go on
 * @thread: The thread.
 * @point: The point to stop at next, counted from the start of the thread; one that
 *	it has passed, or %KUNIT_NO_POINT, is never reached.
 *
 * Context: Any context.
 */
void kunit_thread_go_on(struct kunit_thread *thread, unsigned long point);

/**
 * kunit_thread_points() - How many points a thread has come to
 * @thread: The thread, which is stopped at one or has ended.
 *
 * Return: their number, the point where it is stopped included.
 */
unsigned long kunit_thread_points(struct kunit_thread *thread);

/**
 * kunit_thread_where() - Where a thread was stopped last
 * @thread: The thread.
 *
 * Return: an address in the basic block, for %pS or addr2line, or NULL.
 */
void *kunit_thread_where(struct kunit_thread *thread);

#endif /* IS_ENABLED(CONFIG_KUNIT) */

#endif /* _KUNIT_THREAD_H */
