// SPDX-License-Identifier: Apache-2.0

package pkcs12

// Iterations is what a bundle asks for in the clear.
var Iterations = iterations
