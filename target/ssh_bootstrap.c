// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What runs on the far machine of an ssh target before the agent does: plain POSIX sh.
 *
 * The script goes to `sh` on its standard input as one compound command, so the login
 * shell's own language and quoting do not matter and the shell has read all of it before
 * it runs. From then on both sides take turns, one line or one block each, hence no
 * program there can read bytes that are meant for the next one:
 *
 *   far: arch, uid, conn, dir, sudo, send     or: error SENTENCE
 *   we:  the agent's size as a line, then its bytes
 *   far: run                                  or: error SENTENCE
 *   we:  the agent protocol
 *
 * Nothing may remain there. The agent is opened, its folder removed, and the open
 * descriptor executed: from its first instruction on there is no file to leave behind,
 * however the connection ends. Before that the shell's traps remove the folder.
 */
#include "target/ssh_bootstrap.h"

const char ssh_bootstrap_script[] =
	"{\n"
	"umask 077\n"
	"d=\n"
	"tried=\n"
	"say() { printf '" SSH_BOOTSTRAP_MARK "%s\\n' \"$*\"; }\n"
	"trap '[ -z \"$d\" ] || rm -rf \"$d\"' EXIT\n"
	"trap 'exit 1' HUP INT TERM PIPE\n"
	"say arch \"$(uname -m)\"\n"
	"u=$(id -u)\n"
	"say uid \"$u\"\n"
	"say conn \"$SSH_CONNECTION\"\n"
	/* A folder counts when a program in it really runs: noexec mounts are passed over. */
	"for p in \"$TMPDIR\" /tmp /var/tmp \"$XDG_RUNTIME_DIR\" /dev/shm \"$HOME/.cache\" \"$HOME\"; do\n"
	"	case $p in /*) ;; *) continue ;; esac\n"
	"	tried=\"$tried $p\"\n"
	"	d=$(mktemp -d \"$p/vnetscope.XXXXXXXXXX\" 2>/dev/null) || { d=; continue; }\n"
	"	printf '#!/bin/sh\\nexit 0\\n' 2>/dev/null >\"$d/try\" && chmod 700 \"$d/try\" &&\n"
	"		\"$d/try\" >/dev/null 2>&1 </dev/null && rm -f \"$d/try\" && break\n"
	"	rm -rf \"$d\"\n"
	"	d=\n"
	"done\n"
	"[ -n \"$d\" ] || { say error \"no folder there lets a program be stored and run; tried$tried\"; exit 1; }\n"
	"say dir \"$d\"\n"
	"s=no\n"
	"[ \"$u\" = 0 ] || { sudo -n sh -c : >/dev/null 2>&1 </dev/null && s=yes; }\n"
	"say sudo $s\n"
	"say send\n"
	"read -r n || exit 1\n"
	"head -c \"$n\" 2>/dev/null >\"$d/agent\"\n"
	"k=$(wc -c <\"$d/agent\")\n"
	"[ \"$k\" -eq \"$n\" ] || { say error \"only $k of $n bytes of the agent could be stored in ${d%/*}\"; exit 1; }\n"
	"chmod 700 \"$d/agent\"\n"
	"start='exec 3<\"$1/agent\" && rm -rf \"$1\" && exec /proc/self/fd/3 --stdio'\n"
	"say run\n"
	"[ $s = no ] || exec sudo -n sh -c \"$start\" sh \"$d\"\n"
	"set -- \"$d\"\n"
	"eval \"$start\"\n"
	"}\n";
