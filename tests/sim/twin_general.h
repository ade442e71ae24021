/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Included before intake.c and twin.c of lib/engine/twin, makes an engine of them that never takes the
 * short way of inorder.h: what test_twin_ways.c holds the other one against. Its functions are renamed
 * in meson.build.
 */
#ifndef VNS_TESTS_TWIN_GENERAL_H
#define VNS_TESTS_TWIN_GENERAL_H

#include "engine/twin/inorder.h"

#define twin_inorder_insert(t, node, e)  ((void)(node), false)
#define twin_inorder_settled(e, before)  ((void)(e), false)

#endif
