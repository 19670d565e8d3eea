"""A collector over OpenTelemetry's own generated code: prints each span as a line of JSON.

Prints `listening on PORT` and serves until it is stopped.
"""

import json
from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


def value_of(value):
    return getattr(value, value.WhichOneof("value"))


def attributes(pairs):
    return {pair.key: value_of(pair.value) for pair in pairs}


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def Export(self, request, _context):
        for resource in request.resource_spans:
            known = attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                for span in scope.spans:
                    shown = {
                        "service": known.get("service.name"),
                        "trace": span.trace_id.hex(),
                        "span": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "kind": span.kind,
                        "name": span.name,
                        "start": span.start_time_unix_nano,
                        "end": span.end_time_unix_nano,
                        "status": span.status.code,
                        "attributes": attributes(span.attributes),
                    }
                    print("span " + json.dumps(shown), flush=True)
        return trace_service_pb2.ExportTraceServiceResponse()


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Collector(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on {port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
