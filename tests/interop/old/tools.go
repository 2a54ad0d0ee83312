//go:build tools

// Package old pins an older version of the stock client.
package old

import (
	_ "tailscale.com/cmd/tailscale/cli"
	_ "tailscale.com/cmd/tailscaled"
)
