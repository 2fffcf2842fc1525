/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KUnit-managed threads
 *
 * A second thread under the control of a test: start it, wait until it sleeps
 * on a lock or has ended, and join it within a limit. This turns a race into a
 * sequence of steps that a test spells out.
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
 * How long, in jiffies, any wait for a thread may take. Nothing is ever won by
 * waiting: the limit only bounds how long a failure takes to show.
 */
#define KUNIT_THREAD_LIMIT	(5 * HZ)

/**
 * kunit_thread_run() - Run a function in a thread of its own
 * @test: The test context object.
 * @name: The name of the new thread.
 * @fn: The function to run. It may use expectations on @test; assertions end
 *      only the thread, so leave them to the test itself.
 * @data: The argument of @fn; it has to live until the thread has been joined.
 *
 * The thread is joined at the latest when the test ends. If it still runs then
 * and does not end within %KUNIT_THREAD_LIMIT, the test fails and the thread is
 * left behind: a thread that hangs in the kernel cannot be ended by anyone.
 *
 * Context: Process context; may sleep.
 *
 * Return: the thread, never NULL and never an error pointer: a failure to start
 * it aborts the test.
 */
struct kunit_thread *kunit_thread_run(struct kunit *test, const char *name,
				      int (*fn)(void *data), void *data);

/**
 * kunit_thread_sleeps_on_rwsem() - Wait until a thread sleeps on a semaphore
 * @thread: The thread.
 * @sem: The semaphore that somebody else holds. No other thread may be waiting
 *       for it, as a semaphore does not tell who its waiters are.
 *
 * Waits until either @thread sleeps in the queue of @sem or it has ended. When
 * neither happens within %KUNIT_THREAD_LIMIT the test fails.
 *
 * Context: Process context; may sleep. The caller must not hold @sem if @thread
 * has to end.
 *
 * Return: true if the thread sleeps on @sem, false if it has ended.
 */
bool kunit_thread_sleeps_on_rwsem(struct kunit_thread *thread,
				  struct rw_semaphore *sem);

/**
 * kunit_thread_join() - Wait until a thread has ended
 * @thread: The thread.
 * @ret: Where to put what the function of the thread returned, or NULL.
 *
 * May be called more than once. When the thread does not end within
 * %KUNIT_THREAD_LIMIT the test fails; only the first call waits for that long.
 *
 * Context: Process context; may sleep. The caller must not hold a lock that the
 * thread needs.
 *
 * Return: true if the thread has ended; false if it has not, and *@ret is
 * -ETIMEDOUT then.
 */
bool kunit_thread_join(struct kunit_thread *thread, int *ret);

#endif /* IS_ENABLED(CONFIG_KUNIT) */

#endif /* _KUNIT_THREAD_H */
