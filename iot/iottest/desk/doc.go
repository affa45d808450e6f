// SPDX-License-Identifier: Apache-2.0

// Package desk runs an AWS IoT Core on a developer's machine, for device
// programs in any language: a
// [github.com/gocrt/aws-iot-device-sdk-go/iot/iottest.Core] with devices and
// credentials in files, a proxy, a control API over HTTP and a console for the
// browser.
//
// [Config] has everything that can be set, [Config.Flags] defines it as flags
// of a command, and [Run] runs it until its context ends. [NewControl] is the
// control API and the console alone, for a core that a program has already.
//
// # Control API
//
// Requests and answers are JSON, below /v1/. A GET changes nothing; everything
// that changes something needs the header Content-Type: application/json. An
// error is {"error": "..."} with a status of 4xx.
//
//	GET    /v1/status               endpoint, ports, clock, counts
//	GET    /v1/clients              connections: how they came, what CONNECT said
//	GET    /v1/sessions             what is kept for client ids
//	GET    /v1/retained             retained messages
//	GET    /v1/devices              things and their certificates
//	GET    /v1/shadows[?thing=&name=]   list, or one document
//	GET    /v1/jobs                 job executions
//	GET    /v1/commands             command executions
//	GET    /v1/refusals             the last refusals with their reasons
//	GET    /v1/events[?after=N]     the newest events; as text/event-stream, live
//	POST   /v1/devices              {"name","policies":[],"status","type","attributes":{}} -> certificate and key
//	PUT    /v1/devices/{name}       {"policies":[],"status"}
//	DELETE /v1/devices/{name}       forgets the certificates of the thing
//	POST   /v1/publish              {"topic","payload" or "payloadBase64","qos","retain","contentType",...}
//	POST   /v1/clients              {"clientId","action",...}, see below
//	PUT    /v1/faults               faults of connections to come; {} ends them
//	PUT    /v1/service-faults       faults of device services; [] ends them
//	PUT    /v1/listening            {"on":false} closes the ports, {"on":true} opens them again
//	POST   /v1/clock                {"advance":"1h30m"}
//	PUT    /v1/shadows?thing=&name= an update, {"state":{"desired":...}}
//	DELETE /v1/shadows?thing=&name=
//	POST   /v1/jobs                 {"jobId","things":[],"document":{}} and the like -> {"jobId"}
//	DELETE /v1/jobs/{jobId}?force=  cancels the job
//	POST   /v1/commands             {"thing" or "clientId","payload",...} -> {"executionId"}
//
// Actions on a client are "cut" (TCP closed without a word), "reset", "freeze"
// and "thaw" (half-open), "delay" ("milliseconds" before each write; 0 ends
// it), "drop" (what it sends; "on"), "holdAcks" ("on"), "refuse" (its
// operations, with "reasonCode"; 0 ends it), "disconnect" (with "reasonCode",
// 139 by default), "redeliver" and "endSession".
//
// The control API gives away private keys and may do everything. It is for
// addresses of the loopback interface only, and refuses requests that a page of
// another origin makes a browser send.
package desk
