// SPDX-License-Identifier: Apache-2.0

package wiretest

import "github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"

// ParseFrame is wire.Frame.Parse with the frame as a result.
func ParseFrame(b []byte, limit uint32) (f wire.Frame, need int, err *wire.Error) {
	need, err = f.Parse(b, limit)
	return f, need, err
}
