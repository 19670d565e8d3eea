//! What a caller wants to override, and what the listener makes of it.

use super::Request;
use heddle_core::config::{Listener, Overrides};
use heddle_core::context::{HopContext, parse_local_dtab};
use heddle_core::identify::RequestView;
use heddle_core::name::Dtab;

/// Headers that may carry dentries, in the order in which they are appended.
const HEADERS: [&str; 4] = ["heddle-context", "l5d-ctx-dtab", "l5d-dtab", "heddle-dtab"];

/// The overrides of a request.
#[derive(Debug, Clone)]
pub struct OverridesExplained {
    /// Headers with overrides that the request carries.
    pub given: Vec<&'static str>,
    /// Whether the listener accepts them; otherwise they are stripped.
    pub accept: bool,
    /// The dentries that were accepted.
    pub accepted: Dtab,
    /// Why the request is refused, when an accepted override cannot be read.
    pub broken: Option<String>,
}

impl OverridesExplained {
    pub(super) fn of(listener: &Listener, request: &Request) -> Self {
        let accept = listener.overrides == Overrides::Accept;
        let context = joined(request, HEADERS[0]).map(|value| HopContext::parse(value.as_bytes()));
        let carries = |header: &&str| match (*header, &context) {
            ("heddle-context", Some(Ok(context))) => !context.dtab.is_empty(),
            (header, _) => request.header(header).is_some(),
        };
        let given = HEADERS.into_iter().filter(carries).collect();
        let parsed = if accept {
            accepted(request, context)
        } else {
            Ok(Dtab::empty())
        };
        let (accepted, broken) = match parsed {
            Ok(dtab) => (dtab, None),
            Err(reason) => (Dtab::empty(), Some(reason)),
        };
        Self {
            given,
            accept,
            accepted,
            broken,
        }
    }
}

fn joined(request: &Request, header: &str) -> Option<String> {
    let values: Vec<_> = request
        .headers_all(header)
        .into_iter()
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

fn accepted(
    request: &Request,
    context: Option<Result<HopContext, String>>,
) -> Result<Dtab, String> {
    let context = context
        .transpose()
        .map_err(|reason| format!("heddle-context cannot be read: {reason}"))?;
    let [_, ctx, l5d, own] = HEADERS.map(|header| request.headers_all(header));
    let local = parse_local_dtab(&ctx, &l5d, &own)?;
    Ok(context
        .map_or_else(Dtab::empty, |context| context.dtab)
        .concat(&local))
}
