/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the servers here have in common: libfuse, one mount, and all that they answer is
 * valid for an hour. An inode number tells what the inode is.
 */
#ifndef SERVER_H
#define SERVER_H

#define _GNU_SOURCE
#define FUSE_USE_VERSION 312

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MOUNT	"/tmp/mnt"

static struct fuse_session *session;

static bool is_dir(fuse_ino_t ino);	/* each server has its own */

static void fail(const char *what, const char *name, int answer)
{
	printf("# %s of %s answered %d\nnot ok 1 guest\n", what, name, answer);
	exit(1);
}

/* In microseconds. */
static unsigned long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000UL + ts.tv_nsec / 1000;
}

static void do_init(void *data, struct fuse_conn_info *conn)
{
	/* Nothing here needs splice; and all that is listed is cached. */
	conn->want &= ~(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
			FUSE_CAP_READDIRPLUS_AUTO);
}

/* Of an inode, or with 0 of a name that does not exist. */
static struct fuse_entry_param entry(fuse_ino_t ino)
{
	return (struct fuse_entry_param) {
		.ino = ino, .entry_timeout = 3600, .attr_timeout = 3600,
		.attr.st_ino = ino, .attr.st_nlink = 1,
		.attr.st_mode = is_dir(ino) ? S_IFDIR | 0755 : S_IFREG | 0644,
	};
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fuse_entry_param e = entry(ino);

	fuse_reply_attr(req, &e.attr, e.attr_timeout);
}

/*
 * Mounts and starts a thread that serves. The guest ends with the program, so nothing is undone.
 * Notifications are refused before the first request has been answered, so there is one.
 */
static bool start_server(const struct fuse_lowlevel_ops *ops, pthread_t *thread,
			 void *(*loop)(void *unused))
{
	struct fuse_args args = FUSE_ARGS_INIT(1, (char *[]) { (char *)"test" });
	struct stat st;

	session = fuse_session_new(&args, ops, sizeof(*ops), NULL);
	return session && !mkdir(MOUNT, 0700) && !fuse_session_mount(session, MOUNT) &&
	       !pthread_create(thread, NULL, loop, NULL) && !stat(MOUNT, &st);
}

#endif /* SERVER_H */
