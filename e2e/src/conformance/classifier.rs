//! The area `classifier`: linkerd's response classifiers by their `kind` names.

use super::Outcome;
use heddle_core::classify::Class;
use heddle_core::classify::linkerd::{Exception, Grpc, GrpcReply, Http, Reply, success_class};
use serde_json::{Value, json};

pub(super) fn run(input: &Value) -> Outcome {
    let kind = input["kind"].as_str().unwrap_or("");
    let (response, method) = (
        &input["response"],
        input["request"]["method"].as_str().unwrap_or("GET"),
    );
    if kind == "l5d-success-class" {
        return shown(
            header(response, "headers", "l5d-success-class").map(|value| success_class(&value)),
        );
    }
    if let Some(grpc) = grpc(kind, input) {
        return shown(Some(grpc.class(grpc_reply(response))));
    }
    let name = kind
        .strip_prefix("io.l5d.http.")
        .or_else(|| kind.strip_prefix("io.l5d.h2."));
    let Some(http) = name.and_then(Http::named) else {
        return Outcome::Skipped(kind.to_owned());
    };
    let Some(reply) = reply(response) else {
        return Outcome::Malformed("a response has `status` or `exception`".to_owned());
    };
    match (input["mode"].as_str(), reply) {
        (Some("raw"), _) => shown(http.raw(method, reply)),
        (Some("effective"), _) => {
            let declared = header(response, "headers", "l5d-retryable");
            let declared = declared.is_some_and(|value| value.eq_ignore_ascii_case("true"));
            shown(Some(http.effective(
                method,
                reply,
                declared,
                is_chunked(&input["request"]),
            )))
        }
        (Some("h2stream"), Reply::Status(status)) => {
            let reset = response["finalFrame"]["reset"]
                .is_string()
                .then_some(Exception::Other);
            shown(Some(http.h2_stream(method, status, reset)))
        }
        (Some("h2" | "h2stream"), _) => shown(Some(http.h2(method, reply))),
        (mode, _) => Outcome::Skipped(format!("mode {mode:?}")),
    }
}

fn shown(class: Option<Class>) -> Outcome {
    Outcome::Is(match class {
        None => json!({"undefined": true}),
        Some(Class::Success) => json!({"class": "success"}),
        Some(Class::Failure) => json!({"class": "nonRetryableFailure"}),
        Some(Class::RetryableFailure) => json!({"class": "retryableFailure"}),
    })
}

/// The value of a header or trailer, whatever its case and its JSON type.
fn header(message: &Value, member: &str, name: &str) -> Option<String> {
    let fields = message[member].as_object()?;
    let (_, value) = fields
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned),
    )
}

fn is_chunked(request: &Value) -> bool {
    request["chunked"] == true
        || header(request, "headers", "transfer-encoding")
            .is_some_and(|value| value.contains("chunked"))
}

fn reply(response: &Value) -> Option<Reply> {
    if let Some(status) = response["status"].as_u64() {
        return u16::try_from(status).ok().map(Reply::Status);
    }
    let name = response["exception"].as_str()?.to_ascii_lowercase();
    let exception = match name {
        name if name.contains("timeout") => Exception::Timeout,
        name if name.contains("write") => Exception::Write,
        name if name.contains("closed") => Exception::ChannelClosed,
        name if name.contains("framing") => Exception::Framing,
        _ => Exception::Other,
    };
    Some(Reply::Exception(exception))
}

fn grpc(kind: &str, input: &Value) -> Option<Grpc> {
    let codes = |key: &str| {
        let codes = input[key].as_array()?.iter().filter_map(Value::as_u64);
        Some(
            codes
                .filter_map(|code| u32::try_from(code).ok())
                .collect::<Vec<u32>>(),
        )
    };
    let retryable = codes("retryableStatusCodes").unwrap_or_default();
    let success = codes("successStatusCodes");
    Grpc::named(
        kind.strip_prefix("io.l5d.h2.grpc.")?,
        &retryable,
        success.as_deref(),
    )
}

fn grpc_reply(response: &Value) -> GrpcReply {
    if let Some(reset) = response["finalFrame"]["reset"].as_str() {
        return GrpcReply::Reset {
            refused: reset == "REFUSED_STREAM",
        };
    }
    if response["exception"].is_string() {
        return GrpcReply::Reset { refused: false };
    }
    let of = |member: &str| header(response, member, "grpc-status");
    match of("trailers").or_else(|| of("headers")) {
        // What is no number is UNKNOWN (2).
        Some(code) => GrpcReply::Code(code.parse().unwrap_or(2)),
        None => GrpcReply::Status(
            response["status"]
                .as_u64()
                .and_then(|status| status.try_into().ok())
                .unwrap_or(0),
        ),
    }
}
