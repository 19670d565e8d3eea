package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	"google.golang.org/grpc/orca"

	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// No case may hang.
const limit = 40 * time.Second

// channel is what a case may use: the connection and the client over it.
type channel struct {
	connection *grpc.ClientConn
	client     testgrpc.TestServiceClient
	address    string
}

type interopTest struct {
	name string
	run  func(context.Context, channel)
}

// over makes a case of one that takes the client alone.
func over(run func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption)) func(context.Context, channel) {
	return func(ctx context.Context, c channel) { run(ctx, c.client) }
}

// tests are all cases of the package that need neither TLS nor an account of a cloud provider. Left out
// besides these are two that this server fails without a proxy: pick_first_unary asks for a server id that
// the package's own server does not fill in, orca_oob for reports more often than a server made of public
// parts agrees to.
var tests = []interopTest{
	{"empty_unary", over(interop.DoEmptyUnaryCall)},
	{"large_unary", over(interop.DoLargeUnaryCall)},
	{"client_streaming", over(interop.DoClientStreaming)},
	{"server_streaming", over(interop.DoServerStreaming)},
	{"ping_pong", over(interop.DoPingPong)},
	{"empty_stream", over(interop.DoEmptyStream)},
	{"timeout_on_sleeping_server", over(interop.DoTimeoutOnSleepingServer)},
	{"cancel_after_begin", over(interop.DoCancelAfterBegin)},
	{"cancel_after_first_response", over(interop.DoCancelAfterFirstResponse)},
	{"status_code_and_message", over(interop.DoStatusCodeAndMessage)},
	{"special_status_message", over(interop.DoSpecialStatusMessage)},
	{"custom_metadata", over(interop.DoCustomMetadata)},
	{"unimplemented_method", func(ctx context.Context, c channel) {
		interop.DoUnimplementedMethod(ctx, c.connection)
	}},
	{"unimplemented_service", func(ctx context.Context, c channel) {
		interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(c.connection))
	}},
	{"orca_per_rpc", func(ctx context.Context, c channel) {
		interop.DoORCAPerRPCTest(ctx, c.client)
	}},
	{"rpc_soak", func(ctx context.Context, c channel) {
		soak(ctx, c, func() (*grpc.ClientConn, func()) { return c.connection, func() {} })
	}},
	{"channel_soak", func(ctx context.Context, c channel) {
		soak(ctx, c, func() (*grpc.ClientConn, func()) {
			connection, err := dial(c.address)
			if err != nil {
				panic(err)
			}
			return connection, func() { connection.Close() }
		})
	}},
}

// soak is the package's own: 50 calls in five tasks, none of which may fail.
func soak(ctx context.Context, c channel, provide func() (*grpc.ClientConn, func())) {
	interop.DoSoakTest(ctx, interop.SoakTestConfig{
		RequestSize:  271828,
		ResponseSize: 314159,
		// The cases are about answers; how long a busy machine takes is no finding.
		PerIterationMaxAcceptableLatency: limit,
		OverallTimeout:                   limit,
		ServerAddr:                       c.address,
		NumWorkers:                       5,
		Iterations:                       50,
		ChannelForTest:                   provide,
	})
}

func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"test_backend_metrics_load_balancer": {}}]}`))
}

// interopCase runs one case. The package ends the process where something is wrong.
func interopCase(address, name string) error {
	for _, test := range tests {
		if test.name != name {
			continue
		}
		connection, err := dial(address)
		if err != nil {
			return err
		}
		defer connection.Close()
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		test.run(ctx, channel{connection, testgrpc.NewTestServiceClient(connection), address})
		fmt.Println("passed", name)
		return nil
	}
	return fmt.Errorf("there is no case %q", name)
}

func interopCases() {
	for _, test := range tests {
		fmt.Println(test.name)
	}
}

// interopServe serves the package's test service on a free port of loopback until it is ended.
func interopServe() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	recorder := orca.NewServerMetricsRecorder()
	server := grpc.NewServer(orca.CallMetricsServerOption(recorder))
	if err := orca.Register(server, orca.ServiceOptions{ServerMetricsProvider: recorder}); err != nil {
		return err
	}
	testgrpc.RegisterTestServiceServer(server, interop.NewTestServer(interop.NewTestServerOptions{MetricsRecorder: recorder}))
	fmt.Println("listening on", listener.Addr())
	return server.Serve(listener)
}
