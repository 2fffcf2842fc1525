// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the managed threads: what a test may rely on when it starts a second
 * thread, what becomes of that thread when the test goes wrong, and where it can be stopped.
 *
 * While a case holds a lock it makes no assertion: that would end its thread with the
 * lock held. This file has preemption points, whatever CONFIG_KUNIT_POINTS_IN says.
 */

#include <linux/completion.h>
#include <linux/jiffies.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>

#include <kunit/resource.h>
#include <kunit/test-bug.h>
#include <kunit/test.h>
#include <kunit/thread.h>

/* What the threads of a case share; it outlives them, whatever happens. */
struct thread_test {
	struct kunit failing;		/* a test that is expected to fail */
	struct rw_semaphore sem;
	struct completion completion;
	int counter;
	spinlock_t lock;		/* where a thread cannot be stopped */
	enum { BEFORE_LOCK, IN_LOCK, BEHIND_LOCK } place;
	unsigned int seen;		/* places, as bits */
};

/* What the threads do. */

static int belong_to(void *data)
{
	struct kunit *test = data;
	struct thread_test *tt = test->priv;

	tt->counter++;
	return kunit_get_current_test() == test ? 42 : -EINVAL;
}

/* A function has a point at its start. */
static noinline void do_nothing(void)
{
	barrier();
}

static int add_unlocked(void *data)
{
	struct thread_test *tt = data;
	int counter = READ_ONCE(tt->counter);

	do_nothing();
	WRITE_ONCE(tt->counter, counter + 1);
	return 0;
}

static int add_locked(void *data)
{
	struct thread_test *tt = data;

	down_write(&tt->sem);
	add_unlocked(tt);
	up_write(&tt->sem);
	return 0;
}

static int add_completed(void *data)
{
	struct thread_test *tt = data;

	wait_for_completion(&tt->completion);
	tt->counter++;
	return 0;
}

static int spin(void *data)
{
	struct thread_test *tt = data;

	do_nothing();
	spin_lock(&tt->lock);
	tt->place = IN_LOCK;
	for (int i = 0; i < 3; i++)
		do_nothing();
	tt->place = BEHIND_LOCK;
	spin_unlock(&tt->lock);
	do_nothing();
	return 0;
}

static void see_place(void *data)
{
	struct thread_test *tt = data;

	tt->seen |= BIT(tt->place);
}

/* Every kind of wait is over when the thread is, before and after it is joined. */
static void ended(struct kunit *test)
{
	struct kunit_thread *thread = kunit_thread_run(test, "thread", belong_to, test);
	struct thread_test *tt = test->priv;
	int ret;

	KUNIT_EXPECT_FALSE(test, kunit_thread_sleeps_on_rwsem(thread, &tt->sem));
	KUNIT_EXPECT_EQ(test, tt->counter, 1);
	KUNIT_EXPECT_EQ(test, kunit_thread_wait(thread), KUNIT_THREAD_ENDED);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(thread, NULL));
	KUNIT_EXPECT_EQ(test, kunit_thread_wait(thread), KUNIT_THREAD_ENDED);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(thread, &ret));
	KUNIT_EXPECT_EQ(test, ret, 42);
}

/*
 * A thread that sleeps elsewhere does not sleep on the semaphore. To be late is a failure,
 * but only one; a thread may end later.
 */
static void ends_late(struct kunit *test)
{
	struct thread_test *tt = test->priv;
	struct kunit_thread *thread = kunit_thread_run(&tt->failing, "late", add_completed, tt);
	unsigned long start = jiffies;
	int ret;

	KUNIT_EXPECT_EQ(test, kunit_thread_wait(thread), KUNIT_THREAD_SLEEPS);
	KUNIT_EXPECT_EQ(test, tt->failing.status, KUNIT_SUCCESS);
	thread->limit = 1;
	KUNIT_EXPECT_FALSE(test, kunit_thread_sleeps_on_rwsem(thread, &tt->sem));
	KUNIT_EXPECT_EQ(test, tt->failing.status, KUNIT_FAILURE);

	tt->failing.status = KUNIT_SUCCESS;
	KUNIT_EXPECT_FALSE(test, kunit_thread_join(thread, &ret));
	KUNIT_EXPECT_EQ(test, ret, -ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, tt->failing.status, KUNIT_FAILURE);

	tt->failing.status = KUNIT_SUCCESS;
	KUNIT_EXPECT_FALSE(test, kunit_thread_join(thread, NULL));
	KUNIT_EXPECT_EQ(test, tt->failing.status, KUNIT_SUCCESS);
	KUNIT_EXPECT_LT(test, jiffies - start, KUNIT_THREAD_LIMIT);

	complete(&tt->completion);
	thread->limit = KUNIT_THREAD_LIMIT;
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(thread, &ret));
	KUNIT_EXPECT_EQ(test, ret, 0);
}

KUNIT_DEFINE_ACTION_WRAPPER(complete_action, complete, struct completion *);

/* A test that an assertion ends while its threads wait, one of them for a stopped one. */
static int failing_test(void *data)
{
	struct thread_test *tt = data;
	struct kunit *test = &tt->failing;
	struct kunit_thread *first, *second;
	unsigned long point = 0;

	kunit_thread_run(test, "waiter", add_completed, tt);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, complete_action, &tt->completion));
	if (!kunit_points_missing()) {
		first = kunit_thread_run_to(test, "first", add_locked, tt, point);
		while (kunit_thread_wait(first) == KUNIT_THREAD_STOPPED &&
		       !rwsem_is_locked(&tt->sem))
			kunit_thread_go_on(first, ++point);
		second = kunit_thread_run(test, "second", add_locked, tt);
		KUNIT_ASSERT_EQ(test, kunit_thread_wait(second), KUNIT_THREAD_SLEEPS);
	}
	KUNIT_ASSERT_TRUE_MSG(test, false, "meant to fail");
	return 0;
}

/* Threads that are stopped go on, actions release others, and all of them are joined. */
static void cleans_up(struct kunit *test)
{
	struct thread_test *tt = test->priv;
	struct kunit_thread *thread = kunit_thread_run(test, "test", failing_test, tt);
	int ret;

	KUNIT_EXPECT_TRUE(test, kunit_thread_join(thread, &ret));
	KUNIT_EXPECT_EQ(test, ret, -EINTR);
	KUNIT_EXPECT_EQ(test, tt->failing.status, KUNIT_FAILURE);
	KUNIT_EXPECT_EQ(test, tt->counter, 0);
	kunit_cleanup(&tt->failing);
	KUNIT_EXPECT_EQ(test, tt->counter, kunit_points_missing() ? 1 : 3);
}

/*
 * A run that is not stopped, one that is stopped at all points, and one for each of them
 * see the same: points in front of a spinlock and behind it, but none while it is held.
 * But what looks at all points comes to those, too.
 */
static void stops_at_each_point(struct kunit *test)
{
	struct thread_test *tt = test->priv;
	unsigned long point, points, places = 0;
	struct kunit_thread *whole, *thread;

	kunit_points_need(test);
	thread = kunit_thread_run(test, "thread", spin, tt);
	KUNIT_EXPECT_EQ(test, kunit_thread_wait(thread), KUNIT_THREAD_ENDED);
	KUNIT_EXPECT_NULL(test, thread->where);
	points = thread->points;

	kunit_points_look(test, see_place, tt);
	whole = kunit_thread_run_to(test, "whole", spin, tt, 0);
	for (point = 0; point < points; point++) {
		KUNIT_ASSERT_EQ(test, kunit_thread_wait(whole), KUNIT_THREAD_STOPPED);
		tt->place = BEFORE_LOCK;
		thread = kunit_thread_run_to(test, "thread", spin, tt, point);
		KUNIT_ASSERT_EQ(test, kunit_thread_wait(thread), KUNIT_THREAD_STOPPED);
		places |= BIT(tt->place);
		KUNIT_EXPECT_EQ(test, whole->points, point + 1);
		KUNIT_EXPECT_EQ(test, thread->points, point + 1);
		KUNIT_EXPECT_NOT_NULL(test, thread->where);
		KUNIT_EXPECT_PTR_EQ(test, thread->where, whole->where);
		KUNIT_EXPECT_TRUE(test, kunit_thread_join(thread, NULL));
		kunit_thread_go_on(whole, point + 1);
	}
	KUNIT_EXPECT_EQ(test, kunit_thread_wait(whole), KUNIT_THREAD_ENDED);
	KUNIT_EXPECT_EQ(test, places, BIT(BEFORE_LOCK) | BIT(BEHIND_LOCK));
	KUNIT_EXPECT_EQ(test, tt->seen, places | BIT(IN_LOCK));
}

/* The update of one thread is lost if the other one comes between load and store. */
static void lost_update(struct kunit *test)
{
	static int (* const add[])(void *data) = { add_unlocked, add_locked };
	struct thread_test *tt = test->priv;
	struct kunit_thread *first, *second;
	unsigned long point, lost, waited;

	kunit_points_need(test);
	for (int i = 0; i < ARRAY_SIZE(add); i++) {
		lost = 0;
		waited = 0;
		for (point = 0; ; point++) {
			tt->counter = 0;
			first = kunit_thread_run_to(test, "first", add[i], tt, point);
			if (kunit_thread_wait(first) != KUNIT_THREAD_STOPPED)
				break;
			second = kunit_thread_run(test, "second", add[i], tt);
			waited += kunit_thread_wait(second) == KUNIT_THREAD_SLEEPS;
			KUNIT_EXPECT_TRUE(test, kunit_thread_join(first, NULL));
			KUNIT_EXPECT_TRUE(test, kunit_thread_join(second, NULL));
			lost += tt->counter != 2;
		}
		KUNIT_EXPECT_EQ(test, lost > 0, add[i] == add_unlocked);
		KUNIT_EXPECT_EQ(test, waited > 0, add[i] == add_locked);
	}
}

KUNIT_DEFINE_ACTION_WRAPPER(cleanup_action, kunit_cleanup, struct kunit *);

static int thread_test_init(struct kunit *test)
{
	struct thread_test *tt = kunit_kzalloc(test, sizeof(*tt), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, tt);
	kunit_init_test(&tt->failing, "meant_to_fail", NULL);
	init_rwsem(&tt->sem);
	init_completion(&tt->completion);
	spin_lock_init(&tt->lock);
	test->priv = tt;
	return kunit_add_action_or_reset(test, cleanup_action, &tt->failing);
}

static struct kunit_case kunit_thread_cases[] = {
	KUNIT_CASE(ended),
	KUNIT_CASE(ends_late),
	KUNIT_CASE(cleans_up),
	KUNIT_CASE(stops_at_each_point),
	KUNIT_CASE(lost_update),
	{}
};

static struct kunit_suite kunit_thread_suite = {
	.name		= "kunit_thread",
	.init		= thread_test_init,
	.test_cases	= kunit_thread_cases,
};

kunit_test_suite(kunit_thread_suite);

MODULE_DESCRIPTION("KUnit tests of the managed threads");
MODULE_LICENSE("GPL");
