// SPDX-License-Identifier: GPL-2.0
/*
 * What a notification may answer while others change the directory
 */

#include <linux/bitops.h>
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/minmax.h>

#include "race_model.h"

/* A lookup that found nothing cached asks the server and caches the answer. */
static void race_look(struct race_name *name)
{
	name->cached = true;
	name->maybe = false;
}

static bool race_make(struct race_world *world, struct race_name *name, bool dir)
{
	if (name->node)
		return false;
	*name = (struct race_name) { .node = ++world->last_nodeid, .dir = dir };
	race_look(name);
	return true;
}

/* The dentry goes along; nothing is left under the old name. */
static bool race_move(struct race_name *old, struct race_name *new)
{
	if (!old->node)
		return false;
	/* Two names of one node: rename() does nothing then. */
	if (new->node == old->node)
		return false;
	if (new->node && (new->dir != old->dir || new->busy))
		return false;
	*new = *old;
	race_look(new);
	*old = (struct race_name) {};
	return true;
}

static bool race_exchange(struct race_name *one, struct race_name *two)
{
	if (!one->node || !two->node || one->node == two->node)
		return false;
	swap(*one, *two);
	race_look(one);
	race_look(two);
	return true;
}

/* A negative entry remains, but only of a dentry that nobody else uses. */
static bool race_remove(struct race_name *name, bool dir)
{
	if (!name->node || name->dir != dir || name->busy)
		return false;
	*name = (struct race_name) { .cached = true, .maybe = true };
	return true;
}

static bool race_change(struct race_world *world, enum race_op op)
{
	struct race_name *name = &world->names[RACE_NAME];
	struct race_name *sibling = &world->names[RACE_SIBLING];
	struct race_name *elsewhere = &world->names[RACE_ELSEWHERE];
	unsigned int i;

	if (world->dead)
		return op == RACE_PARENT_REMADE && !world->moved;

	switch (op) {
	case RACE_RENAME:
		return race_move(name, &world->names[RACE_NEW]);
	case RACE_RENAME_BACK:
		return race_move(&world->names[RACE_NEW], name);
	case RACE_RENAME_OVER:
		return race_move(sibling, name);
	case RACE_EXCHANGE:
		return race_exchange(name, sibling);
	case RACE_MOVE_OUT:
		return race_move(name, &world->names[RACE_MOVED]);
	case RACE_MOVE_BACK:
		return race_move(&world->names[RACE_MOVED], name);
	case RACE_MOVE_IN:
		return race_move(elsewhere, name);
	case RACE_EXCHANGE_OUT:
		return race_exchange(name, elsewhere);
	case RACE_UNLINK:
		return race_remove(name, false);
	case RACE_RMDIR:
		return race_remove(name, true);
	case RACE_MKNOD:
		return race_make(world, name, false);
	case RACE_MKDIR:
		return race_make(world, name, true);
	case RACE_LINK:
		if (name->node || !elsewhere->node || elsewhere->dir)
			return false;
		*name = *elsewhere;
		race_look(name);
		return true;
	case RACE_GONE:
		if (!name->node)
			return false;
		*name = (struct race_name) {};
		return true;
	case RACE_REPLACED:
		if (!sibling->node)
			return false;
		race_look(sibling);
		*name = (struct race_name) {};
		return race_make(world, name, false);
	case RACE_REVALIDATE:
		*name = (struct race_name) {};
		return true;
	case RACE_LOOK_AGAIN:
		race_look(name);
		return true;
	case RACE_READDIR:
		if (!name->node && !race_make(world, name, false))
			return false;
		for (i = RACE_NAME; i <= RACE_NEW; i++)
			if (world->names[i].node)
				race_look(&world->names[i]);
		return true;
	case RACE_PARENT_REMOVED:
		world->dead = true;
		return true;
	case RACE_PARENT_MOVED:
		if (world->moved)
			return false;
		world->moved = true;
		return true;
	default:
		return false;
	}
}

static u64 race_nodes(const struct race_world *world)
{
	unsigned int i;
	u64 nodes = 0;

	for (i = 0; i < RACE_SLOTS; i++)
		nodes |= BIT_ULL(world->names[i].node);
	return nodes;
}

bool race_step(struct race_world *world, enum race_op op)
{
	u64 nodes = race_nodes(world);

	if (!race_change(world, op))
		return false;
	world->unsure |= world->killed | (nodes & ~race_nodes(world));
	world->killed = 0;
	return true;
}

int race_notify(struct race_world *world, const struct race_call *call, bool gone)
{
	struct race_name *name = &world->names[call->slot];
	struct race_name was;

	/* A directory that has been removed has no entries. */
	if (world->dead)
		return -ENOENT;

	if (name->maybe)
		name->cached = !gone;
	name->maybe = false;
	if (!name->cached)
		return -ENOENT;

	was = *name;
	name->cached = call->expire;
	if (!call->child || !was.node)
		return 0;

	/* A delete is true of one node only, and a directory in use stays. */
	if (was.node != call->child)
		return -ENOENT;
	if (was.busy)
		return -ENOTEMPTY;
	world->killed |= BIT_ULL(was.node);
	return 0;
}

bool race_differs(const struct race_world *want, const struct race_world *got,
		  enum race_slot slot)
{
	const struct race_name *w = &want->names[slot], *g = &got->names[slot];

	/* Nobody can look into a directory that has been removed. */
	if (want->dead && slot <= RACE_NEW)
		return false;
	if (!g->cached)
		return w->cached && !w->maybe;
	return !w->cached || w->node != g->node;
}

u64 race_links_differ(const struct race_history *history, const struct race_world *want)
{
	u64 known = BIT_ULL(history->start.last_nodeid + 1) - 1;

	return (want->killed ^ history->end.killed) & known & ~(want->unsure & ~want->killed);
}

struct race_search {
	const struct race_history *history;
	struct race_world *closest;
	int differences;
};

/* Go on from @world in every possible way: a step, or a notification. */
static void race_go_on(struct race_search *search, struct race_world world,
		       unsigned int step, unsigned long calls)
{
	const struct race_history *history = search->history;
	struct race_world next;
	unsigned int i, gone;
	int differences;

	if (step == history->nr_steps && !calls) {
		differences = hweight64(race_links_differ(history, &world));
		for (i = 0; i < RACE_SLOTS; i++)
			differences += race_differs(&world, &history->end, i);
		if (differences < search->differences) {
			search->differences = differences;
			*search->closest = world;
		}
		return;
	}

	for (i = 0; i < history->nr_calls; i++)
		if (calls & BIT(i) && history->calls[i].before < step)
			return;

	next = world;
	if (step < history->nr_steps && race_step(&next, history->steps[step]))
		race_go_on(search, next, step + 1, calls);

	for (i = 0; i < history->nr_calls; i++) {
		const struct race_call *call = &history->calls[i];

		if (step < call->after)
			continue;
		for (gone = 0; calls & BIT(i) && gone <= world.names[call->slot].maybe; gone++) {
			next = world;
			if (race_notify(&next, call, gone) == call->answer)
				race_go_on(search, next, step, calls & ~BIT(i));
		}
	}
}

int race_explain(const struct race_history *history, struct race_world *closest)
{
	struct race_search search = {
		.history	= history,
		.closest	= closest,
		.differences	= INT_MAX,
	};

	race_go_on(&search, history->start, 0, BIT(history->nr_calls) - 1);
	return search.differences == INT_MAX ? -1 : search.differences;
}
