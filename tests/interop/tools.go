//go:build tools

// Package interop pins the stock programs that the suite runs as peers.
package interop

import (
	_ "tailscale.com/cmd/derper"
	_ "tailscale.com/cmd/tailscale"
	_ "tailscale.com/cmd/tailscaled"
)
