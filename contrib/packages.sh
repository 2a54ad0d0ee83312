# The Debian packages of this project, the one list; sourced by check.sh and quickstart.sh.
# shellcheck shell=sh disable=SC2034

# To configure, build and install.
BUILD_PACKAGES="autoconf automake libtool pkg-config make gcc libc6-dev libevent-dev libsodium-dev
libyaml-dev libjansson-dev libssl-dev libmnl-dev libnftnl-dev
libnghttp2-dev libzstd-dev zlib1g-dev libqrencode-dev libsqlite3-dev
libcjose-dev libexpat1-dev libsystemd-dev"

# To run the demonstration of quickstart.sh.
DEMO_PACKAGES="iproute2 nftables iputils-ping curl python3-minimal procps"

# To run every suite.
TEST_PACKAGES="libcmocka-dev clang libclang-rt-14-dev clang-format-14 g++ mandoc shellcheck ccache
python3 python3-pytest python3-pytest-xdist python3-yaml python3-nacl python3-cryptography
python3-websockets
wireguard-go wireguard-tools iperf3 nftables iptables conntrack
iproute2 iputils-ping tcpdump procps faketime bash-completion zsh fish libcap2-bin
binutils xz-utils git openssl curl nghttp2-server pebble tinyproxy-bin chromium chromium-driver
miniupnpd miniupnpd-nftables coturn dbus-daemon python3-firewall python3-nftables
openssh-client bind9-dnsutils knot-dnsutils liburcu8 dnsperf unbound dnsmasq-base"

# Programs for tests that would change this host if they were installed: they are unpacked only.
UNPACKED_PACKAGES="firewalld ufw knot openresolv resolvconf systemd-resolved nginx"

# install_packages NAME...: installs those that are missing; as root, or through sudo.
install_packages() {
	missing=
	for package in "$@"; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null |
			grep -q '^install ok installed' || missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	as_root=
	[ "$(id -u)" = 0 ] || as_root=sudo
	echo "installing:$missing"
	# shellcheck disable=SC2086
	$as_root apt-get update -qq >/dev/null &&
		$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
			--no-install-recommends $missing >/dev/null
}

# unpack_packages DIR NAME...: the files of each, which is not installed, in DIR/NAME. Nothing runs.
unpack_packages() {
	unpacked=$1
	shift
	for package in "$@"; do
		[ ! -d "$unpacked/$package" ] || continue
		mkdir -p "$unpacked/part" &&
			(cd "$unpacked/part" && apt-get download -qq "$package") &&
			dpkg-deb -x "$unpacked/part/$package"_*.deb "$unpacked/part/$package" &&
			mv "$unpacked/part/$package" "$unpacked/$package" &&
			rm -r "$unpacked/part" || return
	done
}
