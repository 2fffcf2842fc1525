// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of preemption points: a thread is stopped at each of them, once, in
 * the same order every time, and never where it could not be preempted.
 *
 * This file has points, whatever CONFIG_KUNIT_POINTS_IN says.
 */

#include <linux/mutex.h>
#include <linux/spinlock.h>

#include <kunit/resource.h>
#include <kunit/test.h>
#include <kunit/thread.h>

#define POINTS_MAX	64

/* A counter, and what it takes to protect it. */
struct points_test {
	struct kunit failing;	/* A test that is expected to fail. */
	int counter;
	struct mutex mutex;	/* protects @counter, if a test takes it */
	spinlock_t lock;	/* protects nothing: it is only taken */
	bool locked;		/* @lock is held. */
	unsigned int steps;
};

/* A function has a point at its start. */
static noinline void points_step(struct points_test *pt)
{
	WRITE_ONCE(pt->steps, pt->steps + 1);
}

static int points_add(void *data)
{
	struct points_test *pt = data;
	int counter = READ_ONCE(pt->counter);

	points_step(pt);
	WRITE_ONCE(pt->counter, counter + 1);
	return 0;
}

static int points_add_locked(void *data)
{
	struct points_test *pt = data;

	mutex_lock(&pt->mutex);
	points_add(pt);
	mutex_unlock(&pt->mutex);
	return 0;
}

static int points_spin(void *data)
{
	struct points_test *pt = data;
	int i;

	points_step(pt);
	spin_lock(&pt->lock);
	pt->locked = true;
	for (i = 0; i < 3; i++)
		points_step(pt);
	pt->locked = false;
	spin_unlock(&pt->lock);
	points_step(pt);
	return 0;
}

/* How many points a function has, if it is not stopped. */
static unsigned long points_count(struct kunit *test, int (*fn)(void *data))
{
	struct kunit_thread *thread;

	thread = kunit_thread_run_to(test, "thread", fn, test->priv, KUNIT_NO_POINT);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(thread, NULL));
	return kunit_thread_points(thread);
}

struct points_add_param {
	const char *name;
	int (*fn)(void *data);
	bool loses;
};

static const struct points_add_param points_add_params[] = {
	{ "unlocked", points_add, true },
	{ "locked", points_add_locked, false },
};

KUNIT_ARRAY_PARAM_DESC(points_add, points_add_params, name);

/* The update of one thread is lost if the other one comes between load and store. */
static void points_lost_update(struct kunit *test)
{
	const struct points_add_param *param = test->param_value;
	struct points_test *pt = test->priv;
	struct kunit_thread *first, *second;
	unsigned long point, lost = 0, waited = 0;

	for (point = 0; point < POINTS_MAX; point++) {
		pt->counter = 0;
		first = kunit_thread_run_to(test, "first", param->fn, pt, point);
		if (kunit_thread_wait(first) != KUNIT_THREAD_STOPPED)
			break;
		second = kunit_thread_run(test, "second", param->fn, pt);
		waited += kunit_thread_wait(second) == KUNIT_THREAD_SLEEPS;
		KUNIT_EXPECT_TRUE(test, kunit_thread_join(first, NULL));
		KUNIT_EXPECT_TRUE(test, kunit_thread_join(second, NULL));
		lost += pt->counter != 2;
	}
	KUNIT_EXPECT_EQ(test, point, points_count(test, param->fn));
	KUNIT_EXPECT_EQ(test, lost > 0, param->loses);
	KUNIT_EXPECT_EQ(test, waited > 0, !param->loses);
}

/* One run that is stopped at all points, and one run for each of them, see the same. */
static void points_each_once(struct kunit *test)
{
	unsigned long point, points = points_count(test, points_spin);
	struct kunit_thread *whole, *thread;

	whole = kunit_thread_run_to(test, "whole", points_spin, test->priv, 0);
	for (point = 0; point < points; point++) {
		KUNIT_ASSERT_EQ(test, kunit_thread_wait(whole), KUNIT_THREAD_STOPPED);
		thread = kunit_thread_run_to(test, "thread", points_spin, test->priv, point);
		KUNIT_ASSERT_EQ(test, kunit_thread_wait(thread), KUNIT_THREAD_STOPPED);
		KUNIT_EXPECT_EQ(test, kunit_thread_points(whole), point + 1);
		KUNIT_EXPECT_EQ(test, kunit_thread_points(thread), point + 1);
		KUNIT_EXPECT_PTR_EQ(test, kunit_thread_where(thread), kunit_thread_where(whole));
		KUNIT_EXPECT_TRUE(test, kunit_thread_join(thread, NULL));
		kunit_thread_go_on(whole, point + 1);
	}
	KUNIT_EXPECT_EQ(test, kunit_thread_wait(whole), KUNIT_THREAD_ENDED);
}

/* It is stopped in front of the lock and behind it, and not while it has it. */
static void points_not_in_spinlock(struct kunit *test)
{
	struct points_test *pt = test->priv;
	struct kunit_thread *thread;
	unsigned int before = 0, behind = 0;
	unsigned long point;

	for (point = 0; point < POINTS_MAX; point++) {
		pt->steps = 0;
		thread = kunit_thread_run_to(test, "thread", points_spin, pt, point);
		if (kunit_thread_wait(thread) != KUNIT_THREAD_STOPPED)
			break;
		KUNIT_EXPECT_FALSE(test, pt->locked);
		before += pt->steps <= 1;
		behind += pt->steps >= 4;
		KUNIT_EXPECT_TRUE(test, kunit_thread_join(thread, NULL));
		KUNIT_EXPECT_EQ(test, pt->steps, 5);
	}
	KUNIT_EXPECT_GE(test, before, 2);
	KUNIT_EXPECT_GE(test, behind, 1);
	KUNIT_EXPECT_EQ(test, before + behind, point);
}

/* A point that does not exist is never reached. */
static void points_no_such(struct kunit *test)
{
	struct kunit_thread *thread;

	thread = kunit_thread_run_to(test, "thread", points_add, test->priv, POINTS_MAX);
	KUNIT_EXPECT_EQ(test, kunit_thread_wait(thread), KUNIT_THREAD_ENDED);
	KUNIT_EXPECT_LT(test, kunit_thread_points(thread), POINTS_MAX);
	KUNIT_EXPECT_NULL(test, kunit_thread_where(thread));
}

/* A test that is ended by an assertion while one thread is stopped with a lock. */
static int points_failing_test(void *data)
{
	struct points_test *pt = data;
	struct kunit *test = &pt->failing;
	struct kunit_thread *first, *second;

	first = kunit_thread_run_to(test, "first", points_add_locked, pt, 0);
	KUNIT_ASSERT_EQ(test, kunit_thread_wait(first), KUNIT_THREAD_STOPPED);
	while (!mutex_is_locked(&pt->mutex)) {
		kunit_thread_go_on(first, kunit_thread_points(first));
		KUNIT_ASSERT_EQ(test, kunit_thread_wait(first), KUNIT_THREAD_STOPPED);
	}
	second = kunit_thread_run(test, "second", points_add_locked, pt);
	KUNIT_ASSERT_EQ(test, kunit_thread_wait(second), KUNIT_THREAD_SLEEPS);
	KUNIT_ASSERT_TRUE_MSG(test, false, "meant to fail");
	return 0;
}

static void points_clean_up(struct kunit *test)
{
	struct points_test *pt = test->priv;
	struct kunit_thread *thread = kunit_thread_run(test, "test", points_failing_test, pt);
	int ret;

	KUNIT_EXPECT_TRUE(test, kunit_thread_join(thread, &ret));
	KUNIT_EXPECT_EQ(test, ret, -EINTR);
	KUNIT_EXPECT_TRUE(test, mutex_is_locked(&pt->mutex));
	kunit_cleanup(&pt->failing);
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&pt->mutex));
	KUNIT_EXPECT_EQ(test, pt->counter, 2);
}

KUNIT_DEFINE_ACTION_WRAPPER(points_cleanup_action, kunit_cleanup, struct kunit *);

static int points_test_init(struct kunit *test)
{
	const char *missing = kunit_points_missing();
	struct points_test *pt;

	if (missing)
		kunit_skip(test, "%s", missing);
	pt = kunit_kzalloc(test, sizeof(*pt), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pt);
	kunit_init_test(&pt->failing, "meant_to_fail", NULL);
	mutex_init(&pt->mutex);
	spin_lock_init(&pt->lock);
	test->priv = pt;
	return kunit_add_action_or_reset(test, points_cleanup_action, &pt->failing);
}

static struct kunit_case kunit_points_cases[] = {
	KUNIT_CASE_PARAM(points_lost_update, points_add_gen_params),
	KUNIT_CASE(points_each_once),
	KUNIT_CASE(points_not_in_spinlock),
	KUNIT_CASE(points_no_such),
	KUNIT_CASE(points_clean_up),
	{}
};

static struct kunit_suite kunit_points_suite = {
	.name		= "kunit_points",
	.init		= points_test_init,
	.test_cases	= kunit_points_cases,
};

kunit_test_suite(kunit_points_suite);

MODULE_DESCRIPTION("KUnit tests of preemption points");
MODULE_LICENSE("GPL");
