// SPDX-License-Identifier: GPL-2.0-or-later

//go:build !go1.24

package main

import "net/http"

func setProtocols(server *http.Server, mode string) bool {
	return mode != "h2c" && mode != "h2tls"
}
