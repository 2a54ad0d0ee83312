/*
 * Verdicts in the order in which they exclude each other: what concerns the peer as such, then what
 * keeps us from asking, then what our questions showed.
 */
#include "why.h"

static const struct {
	const char *code, *sentence, *action;
} verdicts[PATHS_WHY_CODES] = {
	[PATHS_WHY_DIRECT] = {
		"direct", "packets go straight to the peer", "" },
	[PATHS_WHY_NO_NETWORK] = {
		"no-network", "this node is in no network, or its control server was not reached",
		"look at `warren status`; log in with `warren up`" },
	[PATHS_WHY_PEER_UNKNOWN] = {
		"peer-unknown", "the network map does not have this peer: there is none of that "
		"name, or the policy hides it from this node",
		"check the name with `warren status`, and the policy at the control server" },
	[PATHS_WHY_KEY_EXPIRED] = {
		"key-expired", "the peer's key has expired: nothing is sent to it",
		"log in again on the peer" },
	[PATHS_WHY_IDLE] = {
		"idle", "nothing was sent to the peer for 45 s, so no way is kept open",
		"send something, for example `warren ping`" },
	[PATHS_WHY_NO_DISCO] = {
		"no-disco", "the peer does not speak the discovery protocol: it is reached where "
		"it was heard last, or at an endpoint of the map", "" },
	[PATHS_WHY_SEARCHING] = {
		"searching", "we began to send less than 10 s ago: addresses are being tried",
		"wait some seconds" },
	[PATHS_WHY_PEER_OFFLINE] = {
		"peer-offline", "the control server says that the peer is not connected, and it "
		"answers at no address", "start the peer, or look at its uplink" },
	[PATHS_WHY_NO_ENDPOINTS] = {
		"no-endpoints", "no address of the peer is known",
		"look at the peer with `netcheck`: it may be cut off from UDP" },
	[PATHS_WHY_UDP_REFUSED] = {
		"udp-refused", "this host refuses to send UDP",
		"allow outgoing UDP in the firewall of this host, and look for a default route" },
	[PATHS_WHY_CAPTIVE] = {
		"captive-portal", "this network answers in place of others until somebody agrees "
		"to its terms",
		"open any page at http:// in a browser on this network, and agree" },
	[PATHS_WHY_UDP_BLOCKED] = {
		"udp-blocked", "nobody answers by UDP, neither STUN servers nor peers",
		"allow outgoing UDP, and its answers, on the way from this host to the Internet" },
	[PATHS_WHY_STUN_UNREACHABLE] = {
		"stun-unreachable", "other peers answer by UDP, but no STUN server does: nobody "
		"knows the outside address of this host",
		"allow outgoing UDP to the STUN servers of the relays (port 3478 if the map names "
		"no other), or name the address in paths.endpoints" },
	[PATHS_WHY_MTU] = {
		"mtu-black-hole", "the peer answers small packets, but those as large as the "
		"tunnel's are lost on the way: a link there takes less, and fragments, or the "
		"messages that say so, are dropped",
		"let IP fragments and ICMP through on the way to the peer, or raise the MTU of "
		"the narrow link, or lower wg.mtu here if it is above 1280" },
	[PATHS_WHY_BLACK_HOLE] = {
		"endpoint-black-holed", "an address that had answered stopped doing so",
		"look for what changed on the way: a NAT or firewall may have been restarted" },
	[PATHS_WHY_ANSWERS_LOST] = {
		"answers-lost", "the peer's pings arrive here, but ours are not answered",
		"look for a firewall at the peer that lets no UDP in, and for one here that lets "
		"none out" },
	[PATHS_WHY_RELAY_UNREACHABLE] = {
		"relay-unreachable", "the peer answers at no address, and the relay where it is at "
		"home is not reached: nothing tells the peer to open its side for us",
		"allow outgoing TCP to the relays on the way from this host (port 443 if the map "
		"names no other), or look at the relay: `warren status` says what is wrong" },
	[PATHS_WHY_MAPPING_REFUSED] = {
		"port-mapping-refused", "the peer answers at no address, and the gateway of this "
		"host refused to map our port, by which the peer could reach us",
		"allow port mappings of this host on its router, or forward a UDP port there and "
		"name it in paths.endpoints" },
	[PATHS_WHY_HARD_NAT] = {
		"hard-nat", "our NAT gives each destination another port, and the peer cannot be "
		"reached at a fixed one either",
		"forward a UDP port on one of the two routers and name it in paths.endpoints" },
	[PATHS_WHY_NO_ANSWER] = {
		"no-answer", "the peer answers at none of its addresses",
		"allow incoming UDP at the peer, and here, at the port of wg.port" },
};

const char *paths_why_code(enum paths_why why)
{
	return verdicts[why].code;
}

const char *paths_why_sentence(enum paths_why why)
{
	return verdicts[why].sentence;
}

const char *paths_why_action(enum paths_why why)
{
	return verdicts[why].action;
}

enum paths_why paths_why(const struct paths_facts *f)
{
	if (!f->joined)
		return PATHS_WHY_NO_NETWORK;
	if (!f->known)
		return PATHS_WHY_PEER_UNKNOWN;
	if (f->expired)
		return PATHS_WHY_KEY_EXPIRED;
	if (f->narrow && f->active)
		return PATHS_WHY_MTU;
	if (f->direct)
		return PATHS_WHY_DIRECT;
	if (!f->disco)
		return PATHS_WHY_NO_DISCO;
	if (!f->active)
		return PATHS_WHY_IDLE;
	if (f->candidates == 0)
		return PATHS_WHY_NO_ENDPOINTS;
	if (f->probed && !f->can_send)
		return PATHS_WHY_UDP_REFUSED;
	if (!f->busy_long && !f->was_direct)
		return PATHS_WHY_SEARCHING;
	if (f->probed && !f->udp && !f->udp_elsewhere && f->pongs == 0)
		return f->captive ? PATHS_WHY_CAPTIVE : PATHS_WHY_UDP_BLOCKED;
	if (f->offline)
		return PATHS_WHY_PEER_OFFLINE;
	if (f->was_direct || f->pongs > 0)
		return PATHS_WHY_BLACK_HOLE;
	if (f->pinged_us)
		return PATHS_WHY_ANSWERS_LOST;
	if (f->relay_failed)
		return PATHS_WHY_RELAY_UNREACHABLE;
	if (f->mapping_refused)
		return PATHS_WHY_MAPPING_REFUSED;
	if (f->mapping_varies)
		return PATHS_WHY_HARD_NAT;
	if (f->probed && !f->udp && f->udp_elsewhere)
		return PATHS_WHY_STUN_UNREACHABLE;
	return PATHS_WHY_NO_ANSWER;
}
