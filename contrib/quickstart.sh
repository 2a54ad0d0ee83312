#!/bin/sh
# Two gateways on this machine, each in a network namespace of its own and described by a YAML
# file, and a web page fetched through the WireGuard tunnel between them.
#
#	contrib/quickstart.sh		installs what is needed, builds, starts the two gateways
#	contrib/quickstart.sh down	stops them and removes every trace
#
# Everything lives in one folder, /opt/warren-quickstart: the program, the two configurations,
# state and sockets. Outside of it are only the two namespaces, wq-a and wq-b.
set -eu

dir=/opt/warren-quickstart
src=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=contrib/packages.sh
. "$src/contrib/packages.sh"

die() {
	echo "quickstart.sh: $*" >&2
	exit 1
}

say() {
	printf '\n\033[1m== %s\033[0m\n' "$*"
}

in_ns() {
	ns=$1
	shift
	ip netns exec "wq-$ns" "$@"
}

warren() {
	gateway=$1
	shift
	"$dir/usr/bin/warren" --socket "$dir/$gateway/warrend.sock" "$@"
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
	tries=$(($1 * 20))
	shift
	while ! "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
		sleep 0.05
	done
}

build() {
	say "Building"
	# shellcheck disable=SC2086
	install_packages $BUILD_PACKAGES $DEMO_PACKAGES || die "the packages could not be installed"
	[ -x "$src/configure" ] || (cd "$src" && ./autogen.sh >/dev/null)
	mkdir -p "$dir/build"
	cd "$dir/build"
	"$src/configure" -q --prefix="$dir/usr" --sysconfdir="$dir/etc" --localstatedir="$dir/var" \
		>configure.log 2>&1 || { tail -n 20 configure.log; die "configure failed"; }
	{ make -s -j"$(nproc)" && make -s install; } >make.log 2>&1 ||
		{ tail -n 20 make.log; die "the build failed, see $dir/build/make.log"; }
	cd "$dir"
}

# configuration GATEWAY ADDRESS OTHER ADDRESS ENDPOINT
configuration() {
	cat >"$dir/$1/warren.yaml" <<-EOF
		node: {hostname: gw-$1}
		system: {user: "64321:64321"}
		identity:
		  node-key: {file: $dir/$1/node.key}
		wg: {port: 41641}
		static:
		  addresses: [$2/24]
		  peers:
		    gw-$3:
		      public-key: $(cat "$dir/$3/node.pub")
		      endpoint: $5:41641
		      allowed-ips: [$4/32]
		router: {}
	EOF
}

network() {
	say "Two namespaces and a wire: wq-a 192.0.2.1, wq-b 192.0.2.2"
	[ -d /run/netns ] || touch "$dir/made-run-netns"
	ip netns add wq-a
	ip netns add wq-b
	ip -n wq-a link add wire type veth peer name wire netns wq-b
	ip -n wq-a addr add 192.0.2.1/24 dev wire
	ip -n wq-b addr add 192.0.2.2/24 dev wire
	for ns in a b; do
		ip -n "wq-$ns" link set lo up
		ip -n "wq-$ns" link set wire up
	done
}

start() {
	# Not by in_ns: $! must be the daemon, not a shell that waits for it.
	ip netns exec "wq-$1" "$dir/usr/sbin/warrend" --config "$dir/$1/warren.yaml" \
		--state "$dir/$1/state" --socket "$dir/$1/warrend.sock" \
		</dev/null >"$dir/$1/warrend.log" 2>&1 &
	echo $! >"$dir/$1/warrend.pid"
	wait_for 10 warren "$1" plugins ||
		{ cat "$dir/$1/warrend.log"; die "gateway $1 did not start"; }
}

up() {
	[ "$(id -u)" = 0 ] || die "run it as root: it makes network namespaces and a TUN device"
	[ ! -e "$dir/a" ] || die "it is up already (or half): run '$0 down' first"
	mkdir -p "$dir"
	chmod 755 "$dir"
	build
	network
	say "A key pair and a YAML file for each gateway"
	for gw in a b; do
		mkdir "$dir/$gw"
		(umask 077 && "$dir/usr/bin/warren" wg genkey >"$dir/$gw/node.key")
		"$dir/usr/bin/warren" wg pubkey <"$dir/$gw/node.key" >"$dir/$gw/node.pub"
	done
	configuration a 10.90.0.1 b 10.90.0.2 192.0.2.2
	configuration b 10.90.0.2 a 10.90.0.1 192.0.2.1
	cat "$dir/a/warren.yaml"
	start a
	start b

	say "A web page on gw-b, fetched from gw-a through the tunnel"
	mkdir "$dir/www"
	echo "Hello from gw-b, through WireGuard." >"$dir/www/index.html"
	ip netns exec wq-b python3 -m http.server --bind 10.90.0.2 --directory "$dir/www" 8080 \
		</dev/null >"$dir/www.log" 2>&1 &
	echo $! >"$dir/www.pid"
	wait_for 10 in_ns a curl -fsS -m 2 http://10.90.0.2:8080/ ||
		{ cat "$dir"/?/warrend.log; die "the page did not come through"; }
	in_ns a curl -fsS -m 5 http://10.90.0.2:8080/

	for gw in a b; do
		say "warren status of gw-$gw"
		warren "$gw" status
	done
	cat <<-EOF

		Look further:
		  $dir/usr/bin/warren --socket $dir/a/warrend.sock status --json
		  ip netns exec wq-a ping 10.90.0.2
		  ip netns exec wq-a ip route show table 52
		  edit $dir/a/warren.yaml, then
		  $dir/usr/bin/warren --socket $dir/a/warrend.sock config diff
		  $dir/usr/bin/warren --socket $dir/a/warrend.sock reload
		Logs: $dir/a/warrend.log, $dir/b/warrend.log
		Remove every trace: $0 down
	EOF
}

# end PIDFILE: ends the process if it is still the one that we started.
end() {
	[ -f "$1" ] || return 0
	pid=$(cat "$1")
	[ -e "/proc/$pid" ] || return 0
	case $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" || true) in
	*"$dir"*|*"http.server --bind 10.90.0.2"*)
		kill "$pid" 2>/dev/null || true
		wait_for 15 sh -c "! kill -0 $pid" || kill -9 "$pid" 2>/dev/null || true
		;;
	esac
	rm -f "$1"
}

down() {
	[ "$(id -u)" = 0 ] || die "run it as root"
	end "$dir/www.pid"
	end "$dir/a/warrend.pid"
	end "$dir/b/warrend.pid"
	for ns in wq-a wq-b; do
		[ ! -e "/run/netns/$ns" ] || ip netns del "$ns"
	done
	if [ -e "$dir/made-run-netns" ] && [ -z "$(ls -A /run/netns 2>/dev/null)" ]; then
		umount /run/netns 2>/dev/null || true
		rmdir /run/netns 2>/dev/null || true
	fi
	rm -rf "$dir"
	echo "The two gateways are gone; nothing of them is left."
}

case ${1:-up} in
up) up ;;
down) down ;;
*) die "usage: $0 [up|down]" ;;
esac
