//! Pure. Rules in the words of Envoy's routes.
//!
//! What those cannot say is left to our own proxies, which read the documents themselves: sticky cohorts, budgets, hedging,
//! accrual, faults, and rules for certain callers (`from`), which are left out here rather than applied to everybody.

use super::names::{Names, Share};
use heddle_core::config::{self, PathRewrite, Retries, RetryOn, StringMatch};
use heddle_core::name::Path;
use heddle_xds::core::RuntimeFractionalPercent;
use heddle_xds::core::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction};
use heddle_xds::duration;
use heddle_xds::kinds::{FractionalPercent, fractional_percent::DenominatorType};
use heddle_xds::matcher::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};
use heddle_xds::protobuf::UInt32Value;
use heddle_xds::route::{
    DirectResponseAction, HeaderMatcher, QueryParameterMatcher, RetryPolicy, Route, RouteAction,
    RouteMatch, WeightedCluster, header_matcher::HeaderMatchSpecifier,
    query_parameter_matcher::QueryParameterMatchSpecifier, retry_policy::RetryBackOff,
    route::Action, route_action, route_match::PathSpecifier, weighted_cluster::ClusterWeight,
};
use std::time::Duration;

/// Shares are whole numbers of so many parts in all.
const PARTS: f64 = 1_000_000.0;
/// Methods that may be repeated whatever happened (RFC 9110, section 9.2.2).
const IDEMPOTENT: &str = "GET|HEAD|OPTIONS|TRACE|PUT|DELETE";

/// The routes of a Route document; a request that no rule matches is answered 404 by whoever has none.
pub(super) fn of_route(route: &config::Route, names: &Names<'_>) -> Vec<Route> {
    let said = route
        .rules
        .iter()
        .filter(|rule| rule.matches.from.is_none());
    said.map(|rule| of_rule(route, rule, names)).collect()
}

/// The route of a service without rules.
pub(super) fn of_name(service: &str, names: &Names<'_>) -> Route {
    let path = Path::from_elements([b"svc".as_slice(), service.as_bytes()]);
    let shares = path.map(|path| shares(&[(path, 1.0)], names));
    let action = match shares {
        Some(Ok(shares)) => Action::Route(RouteAction {
            cluster_specifier: Some(specifier(&shares)),
            retry_policy: retries(&Retries::default(), None, false),
            // None, as everywhere here: Envoy's own default is 15 s, also for streams that flow.
            timeout: Some(duration(Duration::ZERO)),
            ..RouteAction::default()
        }),
        Some(Err(status)) => direct(status),
        None => direct(404),
    };
    Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
            ..RouteMatch::default()
        }),
        action: Some(action),
        ..Route::default()
    }
}

fn of_rule(route: &config::Route, rule: &config::Rule, names: &Names<'_>) -> Route {
    let set = &rule.set;
    let mut response_headers = headers(&set.response_headers);
    let action = if let Some(redirect) = &set.redirect {
        response_headers.extend(headers(&[(
            "location".to_owned(),
            redirect.location.clone(),
        )]));
        direct(redirect.status.into())
    } else if let Some(status) = set.status {
        direct(status.into())
    } else {
        let to: Vec<_> = rule
            .to
            .iter()
            .map(|to| (to.path.clone(), to.weight))
            .collect();
        match shares(&to, names) {
            Ok(shares) => Action::Route(forward(route, rule, &shares, names)),
            Err(status) => direct(status),
        }
    };
    Route {
        r#match: Some(matches(&rule.matches)),
        request_headers_to_add: headers(&set.request_headers),
        request_headers_to_remove: set.remove_request_headers.clone(),
        response_headers_to_add: response_headers,
        response_headers_to_remove: set.remove_response_headers.clone(),
        action: Some(action),
        ..Route::default()
    }
}

fn forward(
    route: &config::Route,
    rule: &config::Rule,
    shares: &[Share],
    names: &Names<'_>,
) -> RouteAction {
    let mut action = RouteAction {
        cluster_specifier: Some(specifier(shares)),
        timeout: Some(duration(route.timeout.unwrap_or_default())),
        retry_policy: retries(&route.retries, route.attempt_timeout, rule.idempotent),
        host_rewrite_specifier: rule
            .set
            .host
            .clone()
            .map(route_action::HostRewriteSpecifier::HostRewriteLiteral),
        ..RouteAction::default()
    };
    match &rule.set.path {
        Some(PathRewrite::Prefix(prefix)) => action.prefix_rewrite.clone_from(prefix),
        Some(PathRewrite::Full(path)) => {
            action.regex_rewrite = Some(heddle_xds::matcher::RegexMatchAndSubstitute {
                pattern: Some(regex("^.*$")),
                substitution: path.replace('\\', "\\\\"),
            });
        }
        None => {}
    }
    if let Some(mirror) = &rule.mirror
        && let Ok(found) = names.shares(&mirror.to.path)
        && let Some((cluster, _)) = found.first()
    {
        action.request_mirror_policies = vec![route_action::RequestMirrorPolicy {
            cluster: cluster.clone(),
            runtime_fraction: Some(RuntimeFractionalPercent {
                default_value: Some(FractionalPercent {
                    numerator: (mirror.percent * PARTS / 100.0).round() as u32,
                    denominator: DenominatorType::Million.into(),
                }),
                runtime_key: String::new(),
            }),
            ..route_action::RequestMirrorPolicy::default()
        }];
    }
    action
}

/// The clusters of several destinations with their shares, or the status when all lead nowhere. One that leads nowhere keeps
/// its share: requests that are meant for it fail, and the others do not get more than was written.
fn shares(to: &[(Path, f64)], names: &Names<'_>) -> Result<Vec<Share>, u32> {
    let mut all: Vec<Share> = Vec::new();
    let mut nowhere = None;
    let mut lost = 0.0;
    for (path, weight) in to.iter().filter(|(_, weight)| *weight > 0.0) {
        match names.shares(path) {
            Ok(found) => {
                let sum: f64 = found.iter().map(|(_, share)| share).sum();
                all.extend(
                    found
                        .into_iter()
                        .map(|(name, share)| (name, share / sum * weight)),
                );
            }
            Err(why) => {
                nowhere = nowhere.or(Some(why));
                lost += weight;
            }
        }
    }
    if all.is_empty() {
        return Err(nowhere.map_or(404, |why| why.status()));
    }
    if lost > 0.0 {
        all.push((names.nowhere(), lost));
    }
    Ok(all)
}

fn specifier(shares: &[Share]) -> route_action::ClusterSpecifier {
    if let [(name, _)] = shares {
        return route_action::ClusterSpecifier::Cluster(name.clone());
    }
    let sum: f64 = shares.iter().map(|(_, share)| share).sum();
    let weight = |share: f64| UInt32Value {
        value: (share / sum * PARTS).round().max(1.0) as u32,
    };
    let clusters = shares.iter().map(|(name, share)| ClusterWeight {
        name: name.clone(),
        weight: Some(weight(*share)),
        ..ClusterWeight::default()
    });
    route_action::ClusterSpecifier::WeightedClusters(WeightedCluster {
        clusters: clusters.collect(),
        ..WeightedCluster::default()
    })
}

fn direct(status: u32) -> Action {
    Action::DirectResponse(DirectResponseAction {
        status,
        ..DirectResponseAction::default()
    })
}

fn headers(set: &[(String, String)]) -> Vec<HeaderValueOption> {
    let header = |(name, value): &(String, String)| HeaderValueOption {
        header: Some(HeaderValue {
            key: name.clone(),
            // A percent sign would begin one of Envoy's substitutions.
            value: value.replace('%', "%%"),
            ..HeaderValue::default()
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    };
    set.iter().map(header).collect()
}

fn regex(pattern: &str) -> RegexMatcher {
    RegexMatcher {
        regex: pattern.to_owned(),
        ..RegexMatcher::default()
    }
}

fn matches(wanted: &config::Match) -> RouteMatch {
    let path = match &wanted.path {
        None | Some(StringMatch::Present(_)) => PathSpecifier::Prefix("/".to_owned()),
        Some(StringMatch::Exact(path)) => PathSpecifier::Path(path.clone()),
        Some(StringMatch::Prefix(prefix)) if prefix.ends_with('/') => {
            PathSpecifier::Prefix(prefix.clone())
        }
        Some(StringMatch::Prefix(prefix)) => PathSpecifier::PathSeparatedPrefix(prefix.clone()),
        Some(StringMatch::Regex(pattern)) => PathSpecifier::SafeRegex(regex(pattern.as_str())),
    };
    let mut headers: Vec<_> = wanted
        .headers
        .iter()
        .map(|(name, of)| HeaderMatcher {
            name: name.clone(),
            header_match_specifier: Some(match string(of) {
                Ok(matcher) => HeaderMatchSpecifier::StringMatch(matcher),
                Err(present) => HeaderMatchSpecifier::PresentMatch(present),
            }),
            ..HeaderMatcher::default()
        })
        .collect();
    if !wanted.methods.is_empty() {
        headers.push(methods(&wanted.methods.join("|")));
    }
    let query = wanted.query.iter().map(|(name, of)| QueryParameterMatcher {
        name: name.clone(),
        query_parameter_match_specifier: Some(match string(of) {
            Ok(matcher) => QueryParameterMatchSpecifier::StringMatch(matcher),
            Err(present) => QueryParameterMatchSpecifier::PresentMatch(present),
        }),
    });
    RouteMatch {
        path_specifier: Some(path),
        headers,
        query_parameters: query.collect(),
        ..RouteMatch::default()
    }
}

fn methods(pattern: &str) -> HeaderMatcher {
    HeaderMatcher {
        name: ":method".to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(MatchPattern::SafeRegex(regex(pattern))),
            ..StringMatcher::default()
        })),
        ..HeaderMatcher::default()
    }
}

/// A condition on a value, or on whether there is one.
fn string(of: &StringMatch) -> Result<StringMatcher, bool> {
    let pattern = match of {
        StringMatch::Exact(text) => MatchPattern::Exact(text.clone()),
        StringMatch::Prefix(text) => MatchPattern::Prefix(text.clone()),
        StringMatch::Regex(pattern) => MatchPattern::SafeRegex(regex(pattern.as_str())),
        StringMatch::Present(present) => return Err(*present),
    };
    Ok(StringMatcher {
        match_pattern: Some(pattern),
        ..StringMatcher::default()
    })
}

/// Nothing is repeated that could be done twice: as soon as one reason is not a proof that the service did nothing, only
/// idempotent methods are.
fn retries(
    retries: &Retries,
    attempt_timeout: Option<Duration>,
    idempotent: bool,
) -> Option<RetryPolicy> {
    let (mut on, mut statuses, mut unsafe_reasons) = (Vec::new(), Vec::new(), false);
    for reason in retries.on.iter().filter(|_| retries.max > 0) {
        let (word, is_proof) = match reason {
            RetryOn::Connect => (Some("connect-failure"), true),
            RetryOn::RefusedStream => (Some("refused-stream"), true),
            RetryOn::UnusedConnection => (Some("reset-before-request"), true),
            RetryOn::Reset => (Some("reset"), false),
            RetryOn::ServerError => (Some("5xx"), false),
            RetryOn::Status(status) => {
                statuses.push(u32::from(*status));
                (Some("retriable-status-codes"), false)
            }
            RetryOn::Grpc(code) => (grpc(*code), false),
            // Envoy counts a timed-out attempt among those that end with 504.
            RetryOn::AttemptTimeout => {
                statuses.push(504);
                (Some("retriable-status-codes"), false)
            }
        };
        unsafe_reasons |= !is_proof;
        on.extend(word.filter(|word| !on.contains(word)));
    }
    if on.is_empty() && attempt_timeout.is_none() {
        return None;
    }
    let base = retries.backoff.base;
    Some(RetryPolicy {
        retry_on: on.join(","),
        num_retries: Some(UInt32Value { value: retries.max }),
        per_try_timeout: attempt_timeout.map(duration),
        retriable_status_codes: statuses,
        retry_back_off: (!base.is_zero()).then(|| RetryBackOff {
            base_interval: Some(duration(base)),
            max_interval: Some(duration(retries.backoff.max.max(base))),
        }),
        retriable_request_headers: if unsafe_reasons && !idempotent {
            vec![methods(IDEMPOTENT)]
        } else {
            Vec::new()
        },
        ..RetryPolicy::default()
    })
}

/// The codes that Envoy knows as reasons.
fn grpc(code: u32) -> Option<&'static str> {
    match code {
        1 => Some("cancelled"),
        4 => Some("deadline-exceeded"),
        8 => Some("resource-exhausted"),
        13 => Some("internal"),
        14 => Some("unavailable"),
        _ => None,
    }
}
