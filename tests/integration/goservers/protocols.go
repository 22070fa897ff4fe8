// SPDX-License-Identifier: GPL-2.0-or-later

//go:build go1.24

package main

import "net/http"

func setProtocols(server *http.Server, mode string) bool {
	protocols := new(http.Protocols)
	switch mode {
	case "h2c":
		protocols.SetUnencryptedHTTP2(true)
	case "h2tls":
		protocols.SetHTTP2(true)
	default:
		return true
	}
	server.Protocols = protocols
	return true
}
