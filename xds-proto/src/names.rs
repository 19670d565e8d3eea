//! What replica sets are called on the wire.
//!
//! Pure.

/// The cluster of a written replica set: `static/<name>`.
pub fn static_set(name: &str) -> String {
    format!("static/{name}")
}

/// The cluster of a Service's port: `k8s/<namespace>/<service>/<port>`.
pub fn k8s_set(namespace: &str, service: &str, port: &str) -> String {
    format!("k8s/{namespace}/{service}/{port}")
}

/// The cluster of a bound name, given its elements: that of `/#/static/<name>` or `/#/k8s/<namespace>/<port>/<service>`.
///
/// ```
/// use heddle_xds::set_of_path;
/// assert_eq!(set_of_path(&["#", "static", "accounts"]).as_deref(), Some("static/accounts"));
/// assert_eq!(set_of_path(&["#", "k8s", "bank", "http", "feed"]).as_deref(), Some("k8s/bank/feed/http"));
/// assert_eq!(set_of_path(&["#", "files", "accounts"]), None);
/// ```
pub fn set_of_path(elements: &[&str]) -> Option<String> {
    match elements {
        ["#", "static", name] => Some(static_set(name)),
        ["#", "k8s", namespace, port, service] => Some(k8s_set(namespace, service, port)),
        _ => None,
    }
}
