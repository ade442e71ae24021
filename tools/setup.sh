#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Installs the Debian packages that vnetscope needs: only what is missing, never a question.
#
#   tools/setup.sh [build] [run] [test]   those groups; without a word: all three
#   tools/setup.sh --check [GROUP...]     install nothing; name what is missing, exit 1
#
# Exit: 0 all there, 1 something is missing (--check) or could not be installed.
# shellcheck disable=SC2034 # the groups are reached through a name reference
set -u

# Needed to compile the library, the programs and the unit tests.
build_packages=(
	make          # the shortcuts of the Makefile
	meson         # the build itself
	ninja-build   # meson's back end
	pkg-config    # finds the libraries below
	gcc           # compiler
	libc6-dev     # C library headers; libc.a for the static agent
	libpcap-dev   # filter expressions to classic BPF
	libjansson-dev # JSON in and out
	zlib1g-dev    # captures compressed with gzip; for libbpf
	libzstd-dev   # captures compressed with zstd
	libcmocka-dev # unit tests are part of the default build
	clang         # compiles the kernel programs of eBPF capture (and libFuzzer builds)
	libbpf-dev    # loads them
	libelf-dev    # ... for libbpf
)
# Needed by the lab and the demo.
run_packages=(
	qemu-system-x86 # the lab's guests
	iproute2        # ip, tc, bridge
	iputils-ping    # the comparison that rtt is checked against
	busybox-static  # shell and small tools inside a lab guest
	dpkg            # dpkg-deb -x unpacks the guest kernel into the cache
	apt             # apt-get download fetches it
	ca-certificates # apt sources over https
	util-linux      # unshare, nsenter
	kmod            # module order of the guest's initramfs
	python3         # tools of the tree
)
# Needed by `make check` beyond that.
test_packages=(
	tcpdump       # independent captures
	nftables      # the kernel's NAT between two capture points
	tshark        # independent RTT and decoding, sample by sample
	tcptrace      # a second opinion on RTT
	ngtcp2-client ngtcp2-server # real QUIC peers
	openssl       # ... and their certificate
	iperf3        # independent traffic
	openssh-server # the ssh target is tested against a real sshd
	openssh-client # ... with the real client
	sudo          # the login that is not root
	ethtool       # offloads switched in namespaces
	mandoc        # man pages are linted
	python3-numpy # the Python module's arrays; it runs without
	libclang-rt-14-dev # the sanitizer and fuzzer run times for it
	gcc-aarch64-linux-gnu # the arm64 agent
	libc6-dev-arm64-cross # ... and its libc
	qemu-user-static # runs the arm64 agent
	procps        # pgrep in tests
	git           # the layer check asks which files are ours
)

# How long to wait for another apt that holds the lock, in seconds.
lock_wait=300

usage()
{
	sed -n '3,8s/^# \{0,1\}//p' "$0"
	exit 2
}

groups=()
check_only=false
for word in "$@"; do
	case $word in
	--check) check_only=true ;;
	build | run | test) groups+=("$word") ;;
	*) usage ;;
	esac
done
[ ${#groups[@]} -gt 0 ] || groups=(build run test)

wanted=()
for group in "${groups[@]}"; do
	declare -n list=${group}_packages
	wanted+=("${list[@]}")
done

if ! command -v dpkg-query >/dev/null; then
	$check_only && exit 0 # another distribution: meson and the programs name what they miss
	echo "setup: this is not Debian; install the equivalents of: ${wanted[*]}" >&2
	exit 1
fi

# Virtual packages count through what provides them (pkg-config by pkgconf).
declare -A installed
while read -r status name provides; do
	[ "$status" = installed ] || continue
	installed[${name%%:*}]=1
	for p in ${provides//,/ }; do
		installed[$p]=1
	done
done < <(dpkg-query -W -f '${db:Status-Status} ${Package} ${Provides}\n')
missing=()
for name in "${wanted[@]}"; do
	[ -n "${installed[$name]:-}" ] || missing+=("$name")
done

[ ${#missing[@]} -gt 0 ] || exit 0
command_line="apt-get install -y --no-install-recommends ${missing[*]}"

if $check_only; then
	echo "missing Debian packages; as root: $command_line   (or: make setup)" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "setup: these packages are missing and only root may install them; run: sudo $command_line" >&2
	exit 1
fi

export DEBIAN_FRONTEND=noninteractive
export LC_ALL=C # apt's messages are read below
# Runs apt-get; while another process holds a lock, waits up to $lock_wait seconds.
apt_patient()
{
	local deadline=$((SECONDS + lock_wait)) log told=false status
	log=$(mktemp) || return 1
	while :; do
		apt-get -q -o DPkg::Lock::Timeout=$lock_wait -o Dpkg::Use-Pty=0 \
			-o Acquire::Retries=3 "$@" </dev/null >"$log" 2>&1
		status=$?
		[ $status -ne 0 ] || break
		grep -q 'Could not get lock\|Unable to lock' "$log" || break
		[ $SECONDS -lt $deadline ] || break
		$told || echo "setup: another apt is at work; waiting for it" >&2
		told=true
		sleep 2
	done
	[ $status -eq 0 ] || tail -n 20 "$log" >&2
	rm -f "$log"
	return $status
}

echo "setup: installing ${missing[*]}" >&2
if ! apt_patient update; then
	echo "setup: apt-get update failed; going on with the lists that are here" >&2
fi
if ! apt_patient install -y --no-install-recommends "${missing[@]}"; then
	echo "setup: '$command_line' failed (its last lines stand above)" >&2
	exit 1
fi
