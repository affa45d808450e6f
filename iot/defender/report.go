// SPDX-License-Identifier: Apache-2.0

package defender

import (
	"fmt"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/internal/codec"
)

// Format is the format of reports.
type Format uint8

// The formats. CBOR reports have short names and are smaller.
const (
	JSON Format = iota // the default
	CBOR
)

// String returns "json" or "cbor", as in the topics.
func (f Format) String() string {
	if f == CBOR {
		return "cbor"
	}
	return "json"
}

// names are the names of the fields of a report. All of one report are long, or
// all are short.
type names struct {
	header, reportID, version                     string
	metrics, customMetrics                        string
	tcpPorts, udpPorts, ports, port, netInterface string
	total                                         string
	networkStats                                  string
	bytesIn, bytesOut, packetsIn, packetsOut      string
	tcpConnections, established, connections      string
	remoteAddress, localPort, localInterface      string
	number, numberList, stringList, ipList        string
}

var longNames = names{
	"header", "report_id", "version",
	"metrics", "custom_metrics",
	"listening_tcp_ports", "listening_udp_ports", "ports", "port", "interface",
	"total",
	"network_stats",
	"bytes_in", "bytes_out", "packets_in", "packets_out",
	"tcp_connections", "established_connections", "connections",
	"remote_addr", "local_port", "local_interface",
	"number", "number_list", "string_list", "ip_list",
}

var shortNames = names{
	"hed", "rid", "v",
	"met", "cmet",
	"tp", "up", "pts", "pt", "if",
	"t",
	"ns",
	"bi", "bo", "pi", "po",
	"tc", "ec", "cs",
	"rad", "lp", "li",
	"number", "number_list", "string_list", "ip_list",
}

// reportVersion is the version of the format.
const reportVersion = "1.0"

// object is a map of a report. Both codecs sort the names.
type object = map[string]any

// report makes the body of a report. Traffic is the difference to the one before.
func (n *names) report(id int64, m *Metrics, traffic *Traffic, custom map[string]Custom) object {
	body := object{n.header: object{n.reportID: id, n.version: reportVersion}}
	metrics := object{}
	if m.TCPPorts != nil {
		metrics[n.tcpPorts] = n.portList(m.TCPPorts)
	}
	if m.UDPPorts != nil {
		metrics[n.udpPorts] = n.portList(m.UDPPorts)
	}
	if traffic != nil {
		metrics[n.networkStats] = object{
			n.bytesIn: traffic.BytesIn, n.bytesOut: traffic.BytesOut, n.packetsIn: traffic.PacketsIn, n.packetsOut: traffic.PacketsOut,
		}
	}
	if m.Connections != nil {
		metrics[n.tcpConnections] = object{n.established: n.connectionList(m.Connections)}
	}
	if len(metrics) > 0 {
		body[n.metrics] = metrics
	}
	if len(custom) > 0 {
		values := object{}
		for name, c := range custom {
			values[name] = []object{n.custom(c)}
		}
		body[n.customMetrics] = values
	}
	return body
}

func (n *names) portList(p *Ports) object {
	list := make([]object, 0, len(p.Ports))
	for _, port := range p.Ports {
		o := object{n.port: port.Number}
		if port.Interface != "" {
			o[n.netInterface] = port.Interface
		}
		list = append(list, o)
	}
	return object{n.ports: list, n.total: max(p.Total, len(list))}
}

func (n *names) connectionList(c *Connections) object {
	list := make([]object, 0, len(c.Connections))
	for _, connection := range c.Connections {
		o := object{n.remoteAddress: connection.Remote.String()}
		if connection.LocalPort != 0 {
			o[n.localPort] = connection.LocalPort
		}
		if connection.LocalInterface != "" {
			o[n.localInterface] = connection.LocalInterface
		}
		list = append(list, o)
	}
	return object{n.connections: list, n.total: max(c.Total, len(list))}
}

func (n *names) custom(c Custom) object {
	switch {
	case c.Number != nil:
		return object{n.number: *c.Number}
	case c.Numbers != nil:
		return object{n.numberList: c.Numbers}
	case c.Strings != nil:
		return object{n.stringList: c.Strings}
	default:
		ips := make([]string, 0, len(c.IPs))
		for _, ip := range c.IPs {
			ips = append(ips, ip.String())
		}
		return object{n.ipList: ips}
	}
}

func (f Format) encode(id int64, m *Metrics, traffic *Traffic, custom map[string]Custom) ([]byte, error) {
	n := &longNames
	if f == CBOR {
		n = &shortNames
	}
	return codec.Encode(f == CBOR, n.report(id, m, traffic, custom))
}

func (f Format) decode(data []byte, v any) error { return codec.DecodeObject(f == CBOR, data, v) }

// answer is the payload of a rejection. Its form is described in few places.
type answer struct {
	ReportID      int64  `json:"reportId"`
	ThingName     string `json:"thingName"`
	StatusDetails struct {
		ErrorCode    string `json:"ErrorCode"`
		ErrorMessage string `json:"ErrorMessage"`
	} `json:"statusDetails"`
	ErrorCode    string `json:"errorCode"`
	ErrorMessage string `json:"errorMessage"`
}

// rejection makes an error from any payload.
func (f Format) rejection(id int64, payload []byte) *RejectedError {
	e := &RejectedError{ReportID: id, Code: "unknown"}
	var a answer
	if err := f.decode(payload, &a); err != nil {
		e.Message = fmt.Sprintf("the answer cannot be read: %v", err)
		return e
	}
	e.Message = a.StatusDetails.ErrorMessage
	if e.Message == "" {
		e.Message = a.ErrorMessage
	}
	for _, code := range []string{a.StatusDetails.ErrorCode, a.ErrorCode} {
		if code != "" {
			e.Code = code
			break
		}
	}
	return e
}
