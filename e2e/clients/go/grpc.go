package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const service = "/heddle.test.Echo/"

// raw lets messages be bytes.
type raw struct{}

func (raw) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (raw) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = bytes.Clone(data)
	return nil
}

func (raw) Name() string { return "raw" }

type caller struct{ connection *grpc.ClientConn }

// outcome is what a case reports; fields that a case does not use stay out.
type outcome struct {
	Code     codes.Code      `json:"code"`
	Details  string          `json:"details,omitempty"`
	Error    string          `json:"error,omitempty"`
	Reply    string          `json:"reply,omitempty"`
	Initial  string          `json:"initial,omitempty"`
	Trailing string          `json:"trailing,omitempty"`
	Binary   []int           `json:"binary,omitempty"`
	Bytes    int             `json:"bytes,omitempty"`
	Messages int             `json:"messages,omitempty"`
	Ordered  bool            `json:"ordered,omitempty"`
	Seconds  float64         `json:"seconds,omitempty"`
	Heard    int             `json:"heard,omitempty"`
	Report   json.RawMessage `json:"report,omitempty"`
}

func newCaller(how, target, name string) (caller, error) {
	transport := insecure.NewCredentials()
	if how == "tls" {
		// SSL_CERT_FILE says whom to trust; the server's name becomes the authority.
		transport = credentials.NewTLS(&tls.Config{ServerName: name})
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{}), grpc.MaxCallRecvMsgSize(16<<20)),
	}
	target = "dns:///" + target
	switch how {
	case "host":
		options = append(options, grpc.WithAuthority(name), grpc.WithNoProxy())
	case "tls":
		options = append(options, grpc.WithNoProxy())
	}
	connection, err := grpc.NewClient(target, options...)
	return caller{connection}, err
}

func timeout(limit time.Duration) context.Context {
	// The process ends with its cases: nothing is left to cancel.
	bounded, cancel := context.WithTimeout(context.Background(), limit)
	_ = cancel
	return bounded
}

func first(values metadata.MD, key string) string {
	if found := values.Get(key); len(found) > 0 {
		return found[0]
	}
	return ""
}

func (c caller) unary(limited context.Context, method string, request []byte, options ...grpc.CallOption) ([]byte, outcome) {
	var reply []byte
	var initial, trailing metadata.MD
	options = append(options, grpc.Header(&initial), grpc.Trailer(&trailing))
	err := c.connection.Invoke(limited, service+method, &request, &reply, options...)
	result := outcome{Code: status.Code(err), Initial: first(initial, "x-initial"), Trailing: first(trailing, "x-trailing")}
	if err != nil {
		result.Details = status.Convert(err).Message()
		result.Error = first(metadata.Join(initial, trailing), "heddle-err")
	}
	for _, value := range []byte(first(trailing, "x-data-bin")) {
		result.Binary = append(result.Binary, int(value))
	}
	return reply, result
}

func (c caller) stream(limited context.Context, method string, description grpc.StreamDesc) (grpc.ClientStream, error) {
	return c.connection.NewStream(limited, &description, service+method)
}

func (c caller) download() (outcome, error) {
	stream, err := c.stream(timeout(20*time.Second), "Download", grpc.StreamDesc{ServerStreams: true})
	if err != nil {
		return outcome{}, err
	}
	request := []byte("1000")
	if err := stream.SendMsg(&request); err != nil {
		return outcome{}, err
	}
	if err := stream.CloseSend(); err != nil {
		return outcome{}, err
	}
	result := outcome{Ordered: true}
	for {
		var message []byte
		err := stream.RecvMsg(&message)
		if err == io.EOF {
			break
		}
		if err != nil {
			return outcome{}, err
		}
		result.Ordered = result.Ordered && string(message) == fmt.Sprintf("message %d", result.Messages)
		result.Messages++
	}
	result.Trailing = first(stream.Trailer(), "x-trailing")
	return result, nil
}

func (c caller) upload() (outcome, error) {
	stream, err := c.stream(timeout(20*time.Second), "Upload", grpc.StreamDesc{ClientStreams: true})
	if err != nil {
		return outcome{}, err
	}
	message := make([]byte, 1000)
	for range 500 {
		if err := stream.SendMsg(&message); err != nil {
			return outcome{}, err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return outcome{}, err
	}
	var reply []byte
	err = stream.RecvMsg(&reply)
	return outcome{Code: status.Code(err), Reply: string(reply)}, nil
}

func (c caller) chat() (outcome, error) {
	both := grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := c.stream(timeout(20*time.Second), "Chat", both)
	if err != nil {
		return outcome{}, err
	}
	result := outcome{Ordered: true}
	for number := range 200 {
		said := []byte(strconv.Itoa(number))
		var heard []byte
		if err := stream.SendMsg(&said); err != nil {
			return outcome{}, err
		}
		if err := stream.RecvMsg(&heard); err != nil {
			return outcome{}, err
		}
		result.Ordered = result.Ordered && bytes.Equal(said, heard)
		result.Messages++
	}
	if err := stream.CloseSend(); err != nil {
		return outcome{}, err
	}
	var nothing []byte
	if err := stream.RecvMsg(&nothing); err != io.EOF {
		result.Code = status.Code(err)
	}
	return result, nil
}

func (c caller) cancelled() int {
	reply, _ := c.unary(timeout(20*time.Second), "Cancelled", nil)
	count, _ := strconv.Atoi(string(reply))
	return count
}

func (c caller) cancel() (outcome, error) {
	before := c.cancelled()
	limited, giveUp := context.WithTimeout(context.Background(), 20*time.Second)
	defer giveUp()
	stream, err := c.stream(limited, "Endless", grpc.StreamDesc{ServerStreams: true})
	if err != nil {
		return outcome{}, err
	}
	var message []byte
	if err := stream.SendMsg(&message); err != nil {
		return outcome{}, err
	}
	if err := stream.CloseSend(); err != nil {
		return outcome{}, err
	}
	if err := stream.RecvMsg(&message); err != nil {
		return outcome{}, err
	}
	giveUp()
	for err == nil {
		err = stream.RecvMsg(&message)
	}
	for range 250 {
		if c.cancelled() != before {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return outcome{Code: status.Code(err), Heard: c.cancelled() - before}, nil
}

// grpcCases runs the cases of ../README.md; host: TARGET is an address and NAME the authority,
// proxy: TARGET is a name and HTTPS_PROXY says where a CONNECT goes.
func grpcCases(how, target, name string) (any, error) {
	c, err := newCaller(how, target, name)
	if err != nil {
		return nil, err
	}
	long := 20 * time.Second
	results := map[string]outcome{}
	asking := metadata.AppendToOutgoingContext(timeout(long), "x-ask", "why")
	reply, result := c.unary(asking, "Unary", []byte("hello"))
	result.Reply = string(reply)
	results["unary"] = result
	reply, result = c.unary(timeout(long), "Unary", make([]byte, 3<<20))
	results["large"] = outcome{Code: result.Code, Bytes: len(reply)}
	reply, result = c.unary(timeout(long), "Unary", make([]byte, 100_000), grpc.UseCompressor(gzip.Name))
	results["gzip"] = outcome{Code: result.Code, Bytes: len(reply)}
	twice := metadata.AppendToOutgoingContext(timeout(10*time.Second), "x-ask", "a", "x-ask", "b")
	reply, result = c.unary(twice, "Look", nil)
	results["look"] = outcome{Code: result.Code, Report: reply}
	_, results["fail"] = c.unary(timeout(long), "Fail", nil)
	_, results["unimplemented"] = c.unary(timeout(long), "Nothing", nil)
	started := time.Now()
	_, result = c.unary(timeout(400*time.Millisecond), "Slow", nil)
	result.Seconds = time.Since(started).Seconds()
	results["deadline"] = result
	for name, run := range map[string]func() (outcome, error){
		"download": c.download, "upload": c.upload, "chat": c.chat, "cancel": c.cancel,
	} {
		if results[name], err = run(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	stranger, err := newCaller(how, strings.ReplaceAll(target, name, "nobody"), "nobody")
	if err != nil {
		return nil, err
	}
	_, results["unknown"] = stranger.unary(timeout(long), "Unary", nil)
	return results, nil
}
