#!/bin/sh
# A tailnet on this machine: a box on the Internet that is coordinator and relay, and two gateways
# behind two NATs, each in a network namespace of its own and described by a YAML file. They meet
# through the relay, find a direct path through both NATs, and a web page and a file come over it.
#
#	contrib/quickstart.sh		installs what is needed, builds, starts the three daemons
#	contrib/quickstart.sh down	stops them and removes every trace
#
# Everything lives in one folder, /opt/warren-quickstart: the program, the configurations, state
# and sockets. Outside of it are only the namespaces: wq-hq, wq-nat-a, wq-nat-b, wq-a, wq-b.
set -eu

dir=/opt/warren-quickstart
hq=192.0.2.1
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
	box=$1
	shift
	"$dir/usr/bin/warren" --socket "$dir/$box/warrend.sock" "$@"
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

# nat NAME ADDRESS: a router between wq-NAME and the Internet, which lets in only what answers.
nat() {
	nat=wq-nat-$1
	ip netns add "$nat"
	ip netns add "wq-$1"
	ip -n "$nat" link add wan type veth peer name "$1" netns wq-hq
	ip -n "$nat" link add lan type veth peer name eth0 netns "wq-$1"
	ip -n wq-hq link set dev "$1" master internet up
	ip -n "$nat" addr add "$2/24" dev wan
	ip -n "$nat" addr add 10.0.0.1/24 dev lan
	ip -n "wq-$1" addr add 10.0.0.2/24 dev eth0
	for link in lo wan lan; do
		ip -n "$nat" link set dev $link up
	done
	ip -n "wq-$1" link set lo up
	ip -n "wq-$1" link set eth0 up
	ip -n "wq-$1" route add default via 10.0.0.1
	in_ns "nat-$1" sysctl -qw net.ipv4.ip_forward=1
	in_ns "nat-$1" nft -f - <<-EOF
		table ip nat {
			chain out {
				type nat hook postrouting priority srcnat
				oifname wan masquerade
			}
			chain in {
				type filter hook input priority filter
				iifname wan ct state new drop
			}
			chain through {
				type filter hook forward priority filter
				iifname wan ct state new drop
			}
		}
	EOF
}

network() {
	say "An Internet with a box at $hq, and two NATs: 192.0.2.11 and 192.0.2.12"
	[ -d /run/netns ] || touch "$dir/made-run-netns"
	ip netns add wq-hq
	ip -n wq-hq link set lo up
	ip -n wq-hq link add internet type bridge forward_delay 0
	ip -n wq-hq addr add "$hq/24" dev internet
	ip -n wq-hq link set internet up
	nat a 192.0.2.11
	nat b 192.0.2.12
}

hq_yaml() {
	cat >"$dir/hq/warren.yaml" <<-EOF
		system: {user: "64321:64321"}
		front: {tls: self-signed}
		coordinator:
		  url: http://$hq:8080
		  listen: $hq:8080
		  base-domain: tail.example.com
		  policy: $dir/hq/policy.hujson
		relay: {code: hq}
	EOF
	echo '{"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]}' >"$dir/hq/policy.hujson"
}

gateway_yaml() {
	cat >"$dir/$1/warren.yaml" <<-EOF
		node: {hostname: gw-$1}
		system: {user: "64321:64321"}
		control:
		  url: http://$hq:8080
		  auth-key: {file: $dir/$1/auth.key}
		wg: {port: 41641}
		derp: {}
		paths: {}
		router: {}
		taildrop: {}
	EOF
}

start() {
	# Not by in_ns: $! must be the daemon, not a shell that waits for it.
	ip netns exec "wq-$1" "$dir/usr/sbin/warrend" --config "$dir/$1/warren.yaml" \
		--state "$dir/$1/state" --socket "$dir/$1/warrend.sock" \
		</dev/null >"$dir/$1/warrend.log" 2>&1 &
	echo $! >"$dir/$1/warrend.pid"
	wait_for 10 warren "$1" plugins ||
		{ cat "$dir/$1/warrend.log"; die "the daemon of wq-$1 did not start"; }
}

gateway() {
	mkdir "$dir/$1"
	(umask 077 && warren hq key create --user demo | grep '^wkey-' >"$dir/$1/auth.key")
	gateway_yaml "$1"
	start "$1"
}

# There are addresses, and the relay has it.
is_joined() {
	warren "$1" ip -4 | grep -q '^100\.' && warren "$1" netcheck | grep -q 'Nearest DERP: hq'
}

failed() {
	tail -n 20 "$dir"/*/warrend.log
	die "$1"
}

up() {
	[ "$(id -u)" = 0 ] || die "run it as root: it makes network namespaces and a TUN device"
	[ ! -e "$dir/hq" ] || die "it is up already (or half): run '$0 down' first"
	mkdir -p "$dir"
	chmod 755 "$dir"
	build
	network

	say "The box: coordinator and relay"
	mkdir "$dir/hq"
	hq_yaml
	cat "$dir/hq/warren.yaml"
	start hq
	warren hq user create demo

	say "Two gateways, each with an auth key"
	gateway a
	gateway b
	cat "$dir/a/warren.yaml"
	for gw in a b; do
		wait_for 30 is_joined $gw || failed "gw-$gw did not join"
	done
	warren hq node list
	address=$(warren b ip -4)

	say "warren ping gw-b: by the relay at first, then through both NATs"
	warren a ping gw-b || failed "no direct path was found"
	warren a paths history gw-b

	say "A web page on gw-b, fetched from gw-a through the tunnel"
	mkdir "$dir/www"
	echo "Hello from gw-b, through WireGuard." >"$dir/www/index.html"
	ip netns exec wq-b python3 -m http.server --bind "$address" --directory "$dir/www" 8080 \
		</dev/null >"$dir/www.log" 2>&1 &
	echo $! >"$dir/www.pid"
	wait_for 10 in_ns a curl -fsS -m 2 "http://$address:8080/" ||
		failed "the page did not come through"
	in_ns a curl -fsS -m 5 "http://$address:8080/"

	say "A file, from gw-a to gw-b"
	echo "Sent by gw-a." >"$dir/hello.txt"
	wait_for 10 warren a file cp "$dir/hello.txt" gw-b: || failed "the file was not sent"
	mkdir "$dir/files"
	warren b file get --verbose "$dir/files"
	cat "$dir/files/hello.txt"

	for gw in a b; do
		say "warren status of gw-$gw"
		warren $gw status
	done
	cat <<-EOF

		Look further:
		  alias hq='$dir/usr/bin/warren --socket $dir/hq/warrend.sock'
		  alias gwa='$dir/usr/bin/warren --socket $dir/a/warrend.sock'
		  hq node list; hq relay status; hq policy explain gw-a gw-b:8080
		  gwa why gw-b; gwa netcheck; gwa status --json
		  ip netns exec wq-a ping $address
		  edit $dir/hq/policy.hujson, and watch gwa status
		Logs: $dir/hq/warrend.log, $dir/a/warrend.log, $dir/b/warrend.log
		Remove every trace: $0 down
	EOF
}

# end PIDFILE: ends the process if it is still the one that we started.
end() {
	[ -f "$1" ] || return 0
	pid=$(cat "$1")
	[ -e "/proc/$pid" ] || return 0
	case $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" || true) in
	*"$dir"*)
		kill "$pid" 2>/dev/null || true
		wait_for 15 sh -c "! kill -0 $pid" || kill -9 "$pid" 2>/dev/null || true
		;;
	esac
	rm -f "$1"
}

down() {
	[ "$(id -u)" = 0 ] || die "run it as root"
	end "$dir/www.pid"
	for box in a b hq; do
		end "$dir/$box/warrend.pid"
	done
	for ns in wq-a wq-b wq-nat-a wq-nat-b wq-hq; do
		[ ! -e "/run/netns/$ns" ] || ip netns del "$ns"
	done
	if [ -e "$dir/made-run-netns" ] && [ -z "$(ls -A /run/netns 2>/dev/null)" ]; then
		umount /run/netns 2>/dev/null || true
		rmdir /run/netns 2>/dev/null || true
	fi
	rm -rf "$dir"
	echo "The tailnet is gone; nothing of it is left."
}

case ${1:-up} in
up) up ;;
down) down ;;
*) die "usage: $0 [up|down]" ;;
esac
