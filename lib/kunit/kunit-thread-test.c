// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the managed threads: what a test may rely on when it starts a
 * second thread, and what becomes of that thread when the test goes wrong.
 *
 * While a case holds a lock it makes no assertion: that would end its thread
 * with the lock held.
 */

#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/rwsem.h>

#include <kunit/resource.h>
#include <kunit/test-bug.h>
#include <kunit/test.h>
#include <kunit/thread.h>

/* One of those who queue for the semaphore. */
struct thread_test_waiter {
	struct thread_test *tt;
	bool reads;
	bool naps;
	bool arrived;
	int served;
};

/* All that the threads of a case share; it outlives them, whatever happens. */
struct thread_test {
	struct kunit failing;		/* A test that is expected to fail. */
	struct rw_semaphore sem;	/* What a thread can sleep on. */
	struct completion completion;
	struct thread_test_waiter waiters[3];
	int served;
};

/* What the threads do. */

static int belong_to(void *data)
{
	return kunit_get_current_test() == data ? 42 : -EINVAL;
}

static int write_sem(void *data)
{
	struct thread_test *tt = data;

	down_write(&tt->sem);
	tt->served++;
	up_write(&tt->sem);
	return 0;
}

static int write_sem_killable(void *data)
{
	struct thread_test *tt = data;
	int err = down_write_killable(&tt->sem);

	if (!err)
		up_write(&tt->sem);
	return err;
}

static int read_sem(void *data)
{
	struct thread_test *tt = data;

	down_read(&tt->sem);
	up_read(&tt->sem);
	return 0;
}

static int wait_completion(void *data)
{
	struct thread_test *tt = data;

	wait_for_completion(&tt->completion);
	return 0;
}

static int hold_sem_until_completion(void *data)
{
	struct thread_test *tt = data;

	down_write(&tt->sem);
	wait_for_completion(&tt->completion);
	up_write(&tt->sem);
	return 0;
}

static int queue_for_sem(void *data)
{
	struct thread_test_waiter *waiter = data;
	struct rw_semaphore *sem = &waiter->tt->sem;

	if (waiter->naps)
		usleep_range(100, 200);
	WRITE_ONCE(waiter->arrived, true);
	if (waiter->reads) {
		down_read(sem);
		waiter->served = ++waiter->tt->served;
		up_read(sem);
	} else {
		down_write(sem);
		waiter->served = ++waiter->tt->served;
		up_write(sem);
	}
	return 0;
}

static int assert_nonsense(void *data)
{
	struct kunit *test = data;

	KUNIT_ASSERT_TRUE_MSG(test, false, "meant to fail");
	return 0;
}

/* A thread has a return value, and belongs to the test as the test's own does. */
static void returns_value(struct kunit *test)
{
	struct kunit_thread *thread = kunit_thread_run(test, "thread", belong_to, test);
	int ret;

	KUNIT_EXPECT_TRUE(test, kunit_thread_join(thread, NULL));
	/* Once more. */
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(thread, &ret));
	KUNIT_EXPECT_EQ(test, ret, 42);
}

/* Every kind of wait is over when the thread is, before and after it is joined. */
static void ended(struct kunit *test)
{
	struct thread_test *tt = test->priv;
	struct kunit_thread *thread;

	thread = kunit_thread_run(test, "thread", write_sem, tt);
	KUNIT_EXPECT_FALSE(test, kunit_thread_sleeps_on_rwsem(thread, &tt->sem));
	KUNIT_EXPECT_EQ(test, tt->served, 1);
	KUNIT_EXPECT_EQ(test, kunit_thread_wait(thread), KUNIT_THREAD_ENDED);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(thread, NULL));
	KUNIT_EXPECT_FALSE(test, kunit_thread_sleeps_on_rwsem(thread, &tt->sem));
	KUNIT_EXPECT_EQ(test, kunit_thread_wait(thread), KUNIT_THREAD_ENDED);
}

struct rwsem_param {
	const char *name;
	int (*fn)(void *data);
};

static const struct rwsem_param rwsem_params[] = {
	{ "writer", write_sem },
	{ "killable writer", write_sem_killable },
	{ "reader", read_sem },
};

KUNIT_ARRAY_PARAM_DESC(rwsem, rwsem_params, name);

static void waits_for_rwsem(struct kunit *test)
{
	const struct rwsem_param *param = test->param_value;
	struct thread_test *tt = test->priv;
	struct kunit_thread *thread;

	down_write(&tt->sem);
	thread = kunit_thread_run(test, "waiter", param->fn, tt);
	KUNIT_EXPECT_TRUE(test, kunit_thread_sleeps_on_rwsem(thread, &tt->sem));
	up_write(&tt->sem);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(thread, NULL));
}

/* A killable wait ends, whoever holds the semaphore. */
static void killed(struct kunit *test)
{
	struct thread_test *tt = test->priv;
	struct kunit_thread *thread;
	int ret;

	down_write(&tt->sem);
	thread = kunit_thread_run(test, "waiter", write_sem_killable, tt);
	KUNIT_EXPECT_TRUE(test, kunit_thread_sleeps_on_rwsem(thread, &tt->sem));
	kunit_thread_kill(thread);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(thread, &ret));
	KUNIT_EXPECT_EQ(test, ret, -EINTR);
	up_write(&tt->sem);
}

static void needs_blocker(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_DETECT_HUNG_TASK_BLOCKER))
		kunit_skip(test, "needs CONFIG_DETECT_HUNG_TASK_BLOCKER");
}

/* That another thread is in the queue is not enough. */
static void queues(struct kunit *test)
{
	struct thread_test *tt = test->priv;
	struct kunit_thread *thread;
	int i;

	needs_blocker(test);
	tt->waiters[1].reads = true;
	tt->waiters[1].naps = true;

	down_write(&tt->sem);
	for (i = 0; i < ARRAY_SIZE(tt->waiters); i++) {
		tt->waiters[i].tt = tt;
		thread = kunit_thread_run(test, "waiter", queue_for_sem, &tt->waiters[i]);
		KUNIT_EXPECT_TRUE(test, kunit_thread_sleeps_on_rwsem(thread, &tt->sem));
		KUNIT_EXPECT_TRUE(test, READ_ONCE(tt->waiters[i].arrived));
	}
	up_write(&tt->sem);

	KUNIT_EXPECT_TRUE(test, kunit_thread_join(thread, NULL));
	for (i = 0; i < ARRAY_SIZE(tt->waiters); i++)
		KUNIT_EXPECT_EQ(test, tt->waiters[i].served, i + 1);
}

/* Somebody sleeps on the lock and the thread sleeps, but not on this lock. */
static void sleeps_elsewhere(struct kunit *test)
{
	struct thread_test *tt = test->priv;
	struct kunit_thread *at_sem, *elsewhere;
	unsigned long start = jiffies;

	needs_blocker(test);
	down_write(&tt->sem);
	at_sem = kunit_thread_run(&tt->failing, "at_sem", write_sem, tt);
	KUNIT_EXPECT_TRUE(test, kunit_thread_sleeps_on_rwsem(at_sem, &tt->sem));
	elsewhere = kunit_thread_run(&tt->failing, "elsewhere", wait_completion, tt);
	KUNIT_EXPECT_EQ(test, kunit_thread_wait(elsewhere), KUNIT_THREAD_SLEEPS);
	KUNIT_EXPECT_EQ(test, tt->failing.status, KUNIT_SUCCESS);

	/* That a limit is exceeded is the test's failure. */
	kunit_thread_set_limit(elsewhere, 1);
	KUNIT_EXPECT_FALSE(test, kunit_thread_sleeps_on_rwsem(elsewhere, &tt->sem));
	KUNIT_EXPECT_EQ(test, tt->failing.status, KUNIT_FAILURE);
	KUNIT_EXPECT_LT(test, jiffies - start, KUNIT_THREAD_LIMIT);

	complete(&tt->completion);
	up_write(&tt->sem);
	kunit_thread_set_limit(elsewhere, KUNIT_THREAD_LIMIT);
}

/* To be late is a failure, but only one for each limit; a thread may end later. */
static void ends_late(struct kunit *test)
{
	struct thread_test *tt = test->priv;
	struct kunit_thread *thread;
	unsigned long start = jiffies;
	int ret;

	thread = kunit_thread_run(&tt->failing, "late", wait_completion, tt);
	kunit_thread_set_limit(thread, 0);
	KUNIT_EXPECT_FALSE(test, kunit_thread_join(thread, &ret));
	KUNIT_EXPECT_EQ(test, ret, -ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, tt->failing.status, KUNIT_FAILURE);

	tt->failing.status = KUNIT_SUCCESS;
	KUNIT_EXPECT_FALSE(test, kunit_thread_join(thread, NULL));
	KUNIT_EXPECT_EQ(test, tt->failing.status, KUNIT_SUCCESS);

	/* One jiffy at least, and nowhere near the limit there was at first. */
	kunit_thread_set_limit(thread, 1);
	KUNIT_EXPECT_FALSE(test, kunit_thread_join(thread, NULL));
	KUNIT_EXPECT_EQ(test, tt->failing.status, KUNIT_FAILURE);
	KUNIT_EXPECT_LT(test, jiffies - start, KUNIT_THREAD_LIMIT);

	complete(&tt->completion);
	kunit_thread_set_limit(thread, KUNIT_THREAD_LIMIT);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(thread, &ret));
	KUNIT_EXPECT_EQ(test, ret, 0);
}

/* An assertion ends the thread that makes it, and does no more. */
static void asserts(struct kunit *test)
{
	struct thread_test *tt = test->priv;
	struct kunit_thread *thread;
	int ret;

	thread = kunit_thread_run(test, "thread", assert_nonsense, &tt->failing);
	KUNIT_EXPECT_TRUE(test, kunit_thread_join(thread, &ret));
	KUNIT_EXPECT_EQ(test, ret, -EINTR);
	KUNIT_EXPECT_EQ(test, tt->failing.status, KUNIT_FAILURE);
}

static void complete_action(void *data)
{
	struct thread_test *tt = data;

	complete(&tt->completion);
}

/* A test that ends while its threads wait, one of them for the other. */
static int failing_test(void *data)
{
	struct thread_test *tt = data;
	struct kunit *test = &tt->failing;
	struct kunit_thread *holder, *waiter;

	holder = kunit_thread_run(test, "holder", hold_sem_until_completion, tt);
	KUNIT_ASSERT_EQ(test, kunit_thread_wait(holder), KUNIT_THREAD_SLEEPS);
	waiter = kunit_thread_run(test, "waiter", write_sem, tt);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, complete_action, tt));
	KUNIT_ASSERT_FALSE_MSG(test, kunit_thread_sleeps_on_rwsem(waiter, &tt->sem),
			       "meant to fail");
	return 0;
}

/* If an action releases what they wait for, both threads end. */
static void cleans_up(struct kunit *test)
{
	struct thread_test *tt = test->priv;
	struct kunit_thread *thread = kunit_thread_run(test, "test", failing_test, tt);
	int ret;

	KUNIT_EXPECT_TRUE(test, kunit_thread_join(thread, &ret));
	KUNIT_EXPECT_EQ(test, ret, -EINTR);
	KUNIT_EXPECT_EQ(test, tt->served, 0);
	kunit_cleanup(&tt->failing);
	KUNIT_EXPECT_EQ(test, tt->served, 1);
}

KUNIT_DEFINE_ACTION_WRAPPER(cleanup_action, kunit_cleanup, struct kunit *);

static int thread_test_init(struct kunit *test)
{
	struct thread_test *tt = kunit_kzalloc(test, sizeof(*tt), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, tt);
	kunit_init_test(&tt->failing, "meant_to_fail", NULL);
	init_rwsem(&tt->sem);
	init_completion(&tt->completion);
	test->priv = tt;
	return kunit_add_action_or_reset(test, cleanup_action, &tt->failing);
}

static struct kunit_case kunit_thread_cases[] = {
	KUNIT_CASE(returns_value),
	KUNIT_CASE(ended),
	KUNIT_CASE_PARAM(waits_for_rwsem, rwsem_gen_params),
	KUNIT_CASE(killed),
	KUNIT_CASE(queues),
	KUNIT_CASE(sleeps_elsewhere),
	KUNIT_CASE(ends_late),
	KUNIT_CASE(asserts),
	KUNIT_CASE(cleans_up),
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
