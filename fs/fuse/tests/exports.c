// SPDX-License-Identifier: GPL-2.0
/*
 * What the KUnit suites need from fuse.ko
 *
 * Apart from the functions themselves, so that a change to fs/fuse/ under test
 * and this list do not get into each other's way.
 */

#include <kunit/visibility.h>

#include "../fuse_i.h"

EXPORT_SYMBOL_IF_KUNIT(fuse_ilookup);
EXPORT_SYMBOL_IF_KUNIT(fuse_reverse_inval_entry);
