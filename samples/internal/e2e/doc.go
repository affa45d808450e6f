// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the constructors of package iot against an embedded AWS IoT
// Core: it is here because package iot itself does not depend on one.
package e2e
