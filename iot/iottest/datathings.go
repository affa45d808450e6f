// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
)

// Shadows and jobs over HTTPS.

// dataAnswer turns the answer of a device service into that of a request.
func dataAnswer(out []byte, err error) (any, *dataError) {
	if err == nil {
		return out, nil
	}
	var e *ServiceError
	if !errors.As(err, &e) {
		return nil, &dataError{status: http.StatusInternalServerError, message: err.Error(), cause: err}
	}
	refused := &dataError{status: e.Status, message: e.Message, cause: err}
	if e.Service == ServiceJobs && e.Status == http.StatusConflict {
		refused.kind = "InvalidStateTransitionException"
	}
	return nil, refused
}

// shadowOf checks the policy for a call on a shadow, and returns its thing and name.
func (c *Core) shadowOf(r *dataRequest, action string) (thing, name string, err *dataError) {
	thing, name = r.args[0], r.URL.Query().Get("name")
	resource := "thing/" + thing
	if name != "" {
		resource += "/" + name
	}
	return thing, name, c.may(r, action, resource)
}

func (c *Core) dataGetShadow(r *dataRequest) (any, *dataError) {
	thing, name, err := c.shadowOf(r, "iot:GetThingShadow")
	if err != nil {
		return nil, err
	}
	return dataAnswer(c.GetShadow(thing, name))
}

func (c *Core) dataUpdateShadow(r *dataRequest) (any, *dataError) {
	thing, name, err := c.shadowOf(r, "iot:UpdateThingShadow")
	if err != nil {
		return nil, err
	}
	return dataAnswer(c.UpdateShadow(thing, name, r.body))
}

func (c *Core) dataDeleteShadow(r *dataRequest) (any, *dataError) {
	thing, name, err := c.shadowOf(r, "iot:DeleteThingShadow")
	if err != nil {
		return nil, err
	}
	return dataAnswer(c.DeleteShadow(thing, name))
}

// dataListShadows is ListNamedShadowsForThing. The token is the last name of
// the page before.
func (c *Core) dataListShadows(r *dataRequest) (any, *dataError) {
	thing := r.args[0]
	if err := c.may(r, "iot:ListNamedShadowsForThing", "thing/"+thing); err != nil {
		return nil, err
	}
	limit := 25
	if s := r.URL.Query().Get("pageSize"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 100 {
			return nil, badRequest("pageSize must be 1 to 100")
		}
		limit = n
	}
	answer := struct {
		Results   []string `json:"results"`
		NextToken string   `json:"nextToken,omitempty"`
		Timestamp int64    `json:"timestamp"`
	}{Results: []string{}, Timestamp: c.now().Unix()}
	for _, name := range c.ListNamedShadows(thing) {
		if name <= r.URL.Query().Get("nextToken") {
			continue
		}
		if len(answer.Results) == limit {
			answer.NextToken = answer.Results[limit-1]
			break
		}
		answer.Results = append(answer.Results, name)
	}
	return answer, nil
}

// jobsOf checks the policy for a call on the jobs of a thing: its actions are
// those of the jobs data plane; older policies have them with the prefix of the
// others.
func (c *Core) jobsOf(r *dataRequest, operation string) (thing string, err *dataError) {
	thing = r.args[0]
	if c.may(r, "iot:"+operation, "thing/"+thing) == nil {
		return thing, nil
	}
	return thing, c.may(r, "iotjobsdata:"+operation, "thing/"+thing)
}

func (c *Core) dataPendingJobs(r *dataRequest) (any, *dataError) {
	thing, err := c.jobsOf(r, "GetPendingJobExecutions")
	if err != nil {
		return nil, err
	}
	return dataAnswer(c.GetPendingJobExecutions(thing))
}

func (c *Core) dataStartNextJob(r *dataRequest) (any, *dataError) {
	thing, err := c.jobsOf(r, "StartNextPendingJobExecution")
	if err != nil {
		return nil, err
	}
	return dataAnswer(c.StartNextPendingJobExecution(thing, r.body))
}

func (c *Core) dataDescribeJob(r *dataRequest) (any, *dataError) {
	thing, err := c.jobsOf(r, "DescribeJobExecution")
	if err != nil {
		return nil, err
	}
	body := map[string]any{}
	query := r.URL.Query()
	if s := query.Get("executionNumber"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, badRequest("executionNumber must be a number")
		}
		body["executionNumber"] = n
	}
	if s := query.Get("includeJobDocument"); s != "" {
		include, err := strconv.ParseBool(s)
		if err != nil {
			return nil, badRequest("includeJobDocument must be true or false")
		}
		body["includeJobDocument"] = include
	}
	encoded, _ := json.Marshal(body) // numbers and booleans
	return dataAnswer(c.DescribeJobExecution(thing, r.args[1], encoded))
}

func (c *Core) dataUpdateJob(r *dataRequest) (any, *dataError) {
	thing, err := c.jobsOf(r, "UpdateJobExecution")
	if err != nil {
		return nil, err
	}
	return dataAnswer(c.UpdateJobExecution(thing, r.args[1], r.body))
}
