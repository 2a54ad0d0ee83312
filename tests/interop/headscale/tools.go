//go:build tools

// Package headscale pins the Headscale that the suite runs as coordinator. It has a go.mod of its
// own because it wants an older tailscale.com than the stock programs beside it.
package headscale

import _ "github.com/juanfont/headscale/cmd/headscale"
