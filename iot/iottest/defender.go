// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"container/list"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// This file is AWS IoT Device Defender, which takes reports on
// $aws/things/<thing>/defender/metrics/.

// DefenderReport is a report that was accepted. Its members have their long
// names, whichever the device used.
type DefenderReport struct {
	ID            int64
	Version       string
	Time          time.Time // when it arrived
	Metrics       map[string]any
	CustomMetrics map[string]any
}

// maxReports is how many reports of a thing are kept.
const maxReports = 16

// defenderNames are the short names of members.
var defenderNames = map[string]string{
	"hed": "header", "rid": "report_id", "v": "version", "met": "metrics", "cmet": "custom_metrics",
	"tp": "listening_tcp_ports", "up": "listening_udp_ports", "pts": "ports", "pt": "port", "if": "interface", "t": "total",
	"ns": "network_stats", "bi": "bytes_in", "bo": "bytes_out", "pi": "packets_in", "po": "packets_out",
	"tc": "tcp_connections", "ec": "established_connections", "cs": "connections", "rad": "remote_addr", "lp": "local_port",
	"li": "local_interface",
}

// handleDefender handles a message on $aws/things/<thing>/defender/; levels is
// what follows.
func (c *Core) handleDefender(r *request, levels []string) {
	if len(levels) != 2 || levels[0] != "metrics" || levels[1] != formatJSON && levels[1] != formatCBOR {
		return
	}
	r.Service, r.Operation = ServiceDefender, "metrics"
	rejected, answered := c.admit(r)
	if !answered {
		c.received(r, nil)
		return
	}
	report, err := readDefenderReport(levels[1], r.payload)
	body := map[string]any{"thingName": r.Thing, "status": "ACCEPTED", "timestamp": c.nowLocked().UnixMilli()}
	if report != nil {
		body["reportId"] = report.ID
	}
	if rejected != nil {
		err = rejected
	}
	if err == nil {
		err = c.keepReport(r.Thing, report, len(r.payload))
	}
	c.received(r, err)
	a := answer{operation: r.Operation, topic: r.topic + "/accepted"}
	if err != nil {
		a.topic = r.topic + "/rejected"
		body["status"] = "REJECTED"
		body["statusDetails"] = map[string]any{"ErrorCode": err.Code, "ErrorMessage": err.Message}
	}
	a.payload = encodeAs(levels[1], body)
	c.answer(r, a)
}

func defenderError(code, format string, args ...any) *ServiceError {
	e := &ServiceError{Service: ServiceDefender, Status: 400, Code: code, Message: fmt.Sprintf(format, args...)}
	if code == "Throttled" {
		e.Status = 429
	}
	return e
}

// defenderReports are the reports that were accepted, in their order: of each
// thing, and of all.
type defenderReports struct {
	byThing map[string][]*list.Element
	all     *list.List // of *keptReport
	bytes   int
	seq     int64 // of the last one
}

type keptReport struct {
	Thing string
	Seq   int64
	Bytes int // of the payload
	DefenderReport
}

const bucketReports = "reports"

func (r *defenderReports) init() { r.byThing, r.all = map[string][]*list.Element{}, list.New() }

// keepReport keeps a report, unless it comes too soon after the one before.
// c.mu is held.
func (c *Core) keepReport(thing string, report *DefenderReport, bytes int) *ServiceError {
	report.Time = c.nowLocked()
	if of := c.device.reports.byThing[thing]; len(of) > 0 {
		last := of[len(of)-1].Value.(*keptReport)
		if report.Time.Sub(last.Time) < c.device.opts.DefenderPeriod {
			return defenderError("Throttled", "Reports must be %v apart", c.device.opts.DefenderPeriod)
		}
	}
	kept := &keptReport{thing, c.device.reports.seq + 1, bytes, *report}
	c.addReport(kept)
	c.state.put(bucketReports, kept.key(), kept)
	return nil
}

// key orders stored reports by their age.
func (k *keptReport) key() string { return fmt.Sprintf("%016x", k.Seq) }

// addReport adds a report and forgets the oldest ones if there are too many, of
// the thing or in all. c.mu is held.
func (c *Core) addReport(kept *keptReport) {
	r := &c.device.reports
	r.seq = kept.Seq
	r.bytes += kept.Bytes
	r.byThing[kept.Thing] = append(r.byThing[kept.Thing], r.all.PushBack(kept))
	if of := r.byThing[kept.Thing]; len(of) > maxReports {
		c.forgetReport(of[0])
	}
	for r.bytes > c.device.opts.DefenderMaxTotalBytes {
		c.forgetReport(r.all.Front())
	}
}

// forgetReport removes the oldest report of a thing.
func (c *Core) forgetReport(e *list.Element) {
	r := &c.device.reports
	kept := r.all.Remove(e).(*keptReport)
	r.bytes -= kept.Bytes
	if r.byThing[kept.Thing] = r.byThing[kept.Thing][1:]; len(r.byThing[kept.Thing]) == 0 {
		delete(r.byThing, kept.Thing)
	}
	c.state.remove(bucketReports, kept.key())
}

// loadReports restores the reports of the last run.
func (c *Core) loadReports() error {
	var all []*keptReport
	err := c.state.load(bucketReports, func(_ string, raw []byte) error {
		kept := &keptReport{}
		all = append(all, kept)
		return decodeJSON(raw, kept)
	})
	for _, kept := range all {
		c.addReport(kept)
	}
	return err
}

// DefenderReports returns the newest reports of a thing that were accepted, at
// most 16, the oldest first. Numbers in those from before a restart are of type
// [json.Number].
func (c *Core) DefenderReports(thing string) []DefenderReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []DefenderReport
	for _, e := range c.device.reports.byThing[thing] {
		out = append(out, e.Value.(*keptReport).DefenderReport)
	}
	return out
}

// readDefenderReport checks a report. What it returns with an error has the
// report id, if that could be read.
func readDefenderReport(format string, payload []byte) (*DefenderReport, *ServiceError) {
	var raw map[string]any
	if len(payload) == 0 || decodeAs(format, payload, &raw) != nil || raw == nil {
		return nil, defenderError("InvalidPayload", "The payload is not a %s object", format)
	}
	body, _ := longNames(raw, false).(map[string]any)
	if body == nil {
		return nil, defenderError("InvalidPayload", "A member has a name that is no text")
	}
	header, ok := body["header"].(map[string]any)
	if !ok {
		return nil, defenderError("MissingHeader", "The report has no header")
	}
	report := &DefenderReport{}
	if report.ID, ok = integer(header["report_id"]); !ok {
		return nil, defenderError("InvalidPayload", "report_id is not an integer")
	}
	if report.Version, ok = header["version"].(string); !ok || report.Version != "1.0" {
		return report, defenderError("InvalidPayload", "version is not 1.0")
	}
	var hasMetrics, hasCustom bool
	report.Metrics, hasMetrics = body["metrics"].(map[string]any)
	report.CustomMetrics, hasCustom = body["custom_metrics"].(map[string]any)
	if !hasMetrics && body["metrics"] != nil || !hasCustom && body["custom_metrics"] != nil {
		return report, defenderError("InvalidPayload", "metrics and custom_metrics must be objects")
	}
	if !hasMetrics && !hasCustom {
		return report, defenderError("InvalidPayload", "The report has neither metrics nor custom_metrics")
	}
	if wrong := checkMetrics(report.Metrics); wrong != "" {
		return report, defenderError("InvalidPayload", "%s", wrong)
	}
	if wrong := checkCustomMetrics(report.CustomMetrics); wrong != "" {
		return report, defenderError("InvalidPayload", "%s", wrong)
	}
	return report, nil
}

// longNames replaces short names of members, except those of custom metrics. It
// returns nil if a name is no text.
func longNames(v any, custom bool) any {
	switch v := v.(type) {
	case map[any]any: // within CBOR
		text := make(map[string]any, len(v))
		for name, e := range v {
			s, ok := name.(string)
			if !ok {
				return nil
			}
			text[s] = e
		}
		return longNames(text, custom)
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, e := range v {
			if long, ok := defenderNames[name]; ok && !custom {
				name = long
			}
			e = longNames(e, custom || name == "custom_metrics")
			out[name] = e
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = longNames(e, custom)
		}
		return out
	}
	return v
}

// integer reads an integer of JSON or CBOR.
func integer(v any) (int64, bool) {
	switch n := v.(type) {
	case json.Number:
		i, err := n.Int64()
		return i, err == nil
	case uint64:
		return int64(n), n < 1<<63
	case int64:
		return n, true
	}
	return 0, false
}

// checkMetrics returns the fault of the standard metrics, or "".
func checkMetrics(metrics map[string]any) string {
	for name, value := range metrics {
		object, ok := value.(map[string]any)
		if !ok {
			return name + " is not an object"
		}
		switch name {
		case "network_stats":
			for counter, v := range object {
				if n, ok := integer(v); !ok || n < 0 {
					return name + ": " + counter + " is not a count"
				}
			}
		case "listening_tcp_ports", "listening_udp_ports":
			if wrong := checkList(object, "ports", "port"); wrong != "" {
				return name + ": " + wrong
			}
		case "tcp_connections":
			established, ok := object["established_connections"].(map[string]any)
			if !ok {
				return name + ": established_connections is not an object"
			}
			if wrong := checkList(established, "connections", "remote_addr"); wrong != "" {
				return name + ": " + wrong
			}
		}
	}
	return ""
}

// checkList checks a list with its total. Each element must have a member.
func checkList(object map[string]any, list, member string) string {
	if total, given := object["total"]; given {
		if n, ok := integer(total); !ok || n < 0 {
			return "total is not a count"
		}
	}
	elements, isList := object[list].([]any)
	if object[list] != nil && !isList {
		return list + " is not a list"
	}
	for _, e := range elements {
		element, _ := e.(map[string]any)
		switch v := element[member].(type) {
		case string:
			if member == "remote_addr" && v != "" {
				continue
			}
		default:
			if n, ok := integer(v); ok && member == "port" && n >= 0 && n < 1<<16 {
				continue
			}
		}
		return list + " has an element without a valid " + member
	}
	return ""
}

var metricName = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,128}$`)

// checkCustomMetrics returns the fault of the custom metrics, or "": each
// is a list with one object with one value.
func checkCustomMetrics(metrics map[string]any) string {
	for name, value := range metrics {
		list, _ := value.([]any)
		if !metricName.MatchString(name) || len(list) != 1 {
			return fmt.Sprintf("custom metric %q: want a list of one object", name)
		}
		object, _ := list[0].(map[string]any)
		if len(object) != 1 {
			return fmt.Sprintf("custom metric %q: want an object with one value", name)
		}
		for kind, v := range object {
			elements, isList := v.([]any)
			ok := false
			switch kind {
			case "number":
				ok = isNumber(v)
			case "number_list":
				ok = isList && !slices.ContainsFunc(elements, func(e any) bool { return !isNumber(e) })
			case "string_list", "ip_list":
				ok = isList && !slices.ContainsFunc(elements, func(e any) bool { _, text := e.(string); return !text })
			}
			if !ok {
				return fmt.Sprintf("custom metric %q: %q is not a valid value", name, kind)
			}
		}
	}
	return ""
}

func isNumber(v any) bool {
	switch v.(type) {
	case json.Number, uint64, int64, float64:
		return true
	}
	return false
}
