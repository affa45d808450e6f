// SPDX-License-Identifier: Apache-2.0

package iottest

import "net/http"

func (c *Core) serveHTTP(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }
