// SPDX-License-Identifier: GPL-2.0
/*
 * A FUSE server inside the kernel, for tests
 */

#include <linux/slab.h>

#include <kunit/resource.h>
#include <kunit/thread.h>

#include "fake_server.h"

/* Does a hook stop this request there? Called with server->lock held. */
static bool fuse_fake_stops(struct fuse_fake_server *server, struct fuse_req *req,
			    enum fuse_fake_stop stop)
{
	struct fuse_fake_hook *hook;

	list_for_each_entry(hook, &server->hooks, list) {
		if (hook->req == req && hook->stop == stop) {
			complete_all(&hook->reached);
			return true;
		}
	}
	return false;
}

static void fuse_fake_serve(struct fuse_fake_server *server, struct fuse_req *req)
{
	bool stops;

	scoped_guard(mutex, &server->tree)
		req->out.h.error = fuse_fake_handle(server, req);
	scoped_guard(spinlock, &server->lock)
		stops = fuse_fake_stops(server, req, FUSE_FAKE_STOP_BEHIND);
	if (!stops)
		fuse_request_end(req);
}

static void fuse_fake_work(struct work_struct *work)
{
	struct fuse_fake_server *server = container_of(work, typeof(*server), work);
	struct fuse_forget_link *forget;
	struct fuse_req *req;

	do {
		scoped_guard(spinlock, &server->lock) {
			forget = server->forgets;
			if (forget)
				server->forgets = forget->next;
			req = list_first_entry_or_null(&server->queue, struct fuse_req, list);
			if (req)
				list_del_init(&req->list);
		}
		if (forget) {
			scoped_guard(mutex, &server->tree)
				fuse_fake_forget(server, forget->forget_one.nodeid,
						 forget->forget_one.nlookup);
			kfree(forget);
		}
		if (req)
			fuse_fake_serve(server, req);
	} while (forget || req);
}

static void fuse_fake_send_req(struct fuse_iqueue *fiq, struct fuse_req *req)
{
	/* Nobody waits for these, and they come with a spinlock held. */
	bool background = test_bit(FR_BACKGROUND, &req->flags);
	struct fuse_fake_server *server = fiq->priv;
	u32 opcode = req->in.h.opcode;
	struct fuse_fake_hook *hook;
	bool stops;

	fuse_request_assign_unique(fiq, req);
	clear_bit(FR_PENDING, &req->flags);

	scoped_guard(spinlock, &server->lock) {
		if (opcode < FUSE_FAKE_OPCODES)
			server->requests[opcode]++;
		list_for_each_entry(hook, &server->hooks, list) {
			if ((hook->task && hook->task != current) ||
			    (hook->opcode && hook->opcode != opcode) ||
			    opcode == FUSE_NOTIFY_REPLY || hook->requests++ != hook->skip)
				continue;
			hook->req = req;
			hook->first = opcode;
		}
		stops = fuse_fake_stops(server, req, FUSE_FAKE_STOP_BEFORE);
		if (!stops && background)
			list_add_tail(&req->list, &server->queue);
	}
	if (!stops && background)
		schedule_work(&server->work);
	else if (!stops)
		fuse_fake_serve(server, req);
}

static void fuse_fake_send_forget(struct fuse_iqueue *fiq, struct fuse_forget_link *forget)
{
	struct fuse_fake_server *server = fiq->priv;

	scoped_guard(spinlock, &server->lock) {
		forget->next = server->forgets;
		server->forgets = forget;
	}
	schedule_work(&server->work);
}

static void fuse_fake_send_interrupt(struct fuse_iqueue *fiq, struct fuse_req *req)
{
	/* A server may ignore an interrupt, and this one does. */
}

const struct fuse_iqueue_ops fuse_fake_iqueue_ops = {
	.send_req	= fuse_fake_send_req,
	.send_forget	= fuse_fake_send_forget,
	.send_interrupt	= fuse_fake_send_interrupt,
};

void fuse_fake_settle(struct fuse_fake_server *server)
{
	flush_work(&server->work);
}

unsigned int fuse_fake_requests(struct fuse_fake_server *server, u32 opcode)
{
	guard(spinlock)(&server->lock);
	return server->requests[opcode];
}

void fuse_fake_hook(struct fuse_fake_server *server, struct fuse_fake_hook *hook)
{
	hook->server = server;
	init_completion(&hook->reached);
	guard(spinlock)(&server->lock);
	list_add_tail(&hook->list, &server->hooks);
}

void fuse_fake_unhook(struct fuse_fake_hook *hook)
{
	struct fuse_fake_server *server = hook->server;
	struct fuse_req *req;

	scoped_guard(spinlock, &server->lock) {
		list_del_init(&hook->list);
		/* If it is not stopped there, it has its answer. */
		req = completion_done(&hook->reached) ? hook->req : NULL;
		hook->req = NULL;
	}
	if (req && hook->stop == FUSE_FAKE_STOP_BEFORE)
		fuse_fake_serve(server, req);
	else if (req)
		fuse_request_end(req);
}

struct fuse_fake_hook *fuse_fake_hold(struct fuse_fake_server *server, u32 opcode,
				      enum fuse_fake_stop stop)
{
	struct fuse_fake_hook *hook = kunit_kzalloc(server->test, sizeof(*hook), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(server->test, hook);
	hook->opcode = opcode;
	hook->stop = stop;
	fuse_fake_hook(server, hook);
	return hook;
}

void fuse_fake_hold_wait(struct fuse_fake_hook *hook)
{
	if (!wait_for_completion_timeout(&hook->reached, KUNIT_THREAD_LIMIT))
		KUNIT_FAIL_AND_ABORT(hook->server->test, "%s did not come within %d s",
				     hook->opcode ? fuse_fake_opname(hook->opcode) : "a request",
				     KUNIT_THREAD_LIMIT / HZ);
}

void fuse_fake_let_go(struct fuse_fake_server *server)
{
	struct fuse_fake_hook *hook, *found;

	do {
		found = NULL;
		/* Others only count, and may be on the stack of another thread. */
		scoped_guard(spinlock, &server->lock)
			list_for_each_entry(hook, &server->hooks, list)
				if (hook->stop)
					found = hook;
		if (found)
			fuse_fake_unhook(found);
	} while (found);
}

static void fuse_fake_server_stop(void *arg)
{
	struct fuse_fake_server *server = arg;

	flush_work(&server->work);
	/* The requests of the unmount may have caused a complaint, too. */
	if (server->complaint[0])
		KUNIT_FAIL(server->test, "the server complains: %s", server->complaint);
	fuse_fake_fs_free(server);
	kfree(server);
}

void fuse_fake_server_leak(struct fuse_fake_server *server)
{
	kunit_remove_action(server->test, fuse_fake_server_stop, server);
}

struct fuse_fake_server *fuse_fake_server_start(struct kunit *test)
{
	struct fuse_fake_server *server = kzalloc_obj(*server);

	KUNIT_ASSERT_NOT_NULL(test, server);
	server->test = test;
	server->entry_valid = FUSE_FAKE_VALID;
	server->negative_valid = FUSE_FAKE_VALID;
	server->attr_valid = FUSE_FAKE_VALID;
	INIT_WORK(&server->work, fuse_fake_work);
	spin_lock_init(&server->lock);
	INIT_LIST_HEAD(&server->queue);
	INIT_LIST_HEAD(&server->hooks);
	fuse_fake_fs_init(server);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, fuse_fake_server_stop, server));
	return server;
}
