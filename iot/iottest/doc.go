// SPDX-License-Identifier: Apache-2.0

// Package iottest is an AWS IoT Core inside the process, for tests and samples that need no AWS account, in the
// manner of net/http/httptest.
package iottest
