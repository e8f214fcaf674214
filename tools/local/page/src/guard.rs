//! Who is answered, and what a browser may do with the answer.
//!
//! The page listens on loopback, yet any page in the same browser can send it requests. A name that
//! a stranger points at 127.0.0.1 (DNS rebinding) shows in `Host`, a form posted from elsewhere in
//! `Origin` or `Sec-Fetch-Site`.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};

use crate::problem::problem;

/// Names of this machine for itself.
const HOSTS: &[&str] = &["localhost", "127.0.0.1", "[::1]"];

/// Only what this page serves itself: no inline script or style, no other site, no plug-in, no frame
/// but of a message's HTML.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const ADDED: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Not no-referrer, which would have forms posted with `Origin: null`.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Refuses requests that don't come from the page itself, and tells the browser what it may do.
pub(super) async fn check(request: Request, next: Next) -> Response {
    let mut response = match refusal(request.method(), request.headers()) {
        Some(message) => problem(StatusCode::FORBIDDEN, message),
        None => next.run(request).await,
    };
    for (name, value) in ADDED {
        // The HTML of a message has a stricter policy of its own.
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

fn refusal(method: &Method, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(header::HOST).unwrap_or_default();
    if headers.get_all(header::HOST).iter().count() != 1 || !HOSTS.contains(&without_port(host)) {
        return Some("Open this page as http://localhost or http://127.0.0.1, with its port.");
    }
    if method == Method::GET || method == Method::HEAD {
        return None;
    }
    let elsewhere = match (text(header::ORIGIN), text(HeaderName::from_static("sec-fetch-site"))) {
        (Some(origin), _) => origin.strip_prefix("http://") != Some(host),
        (None, Some(site)) => !["same-origin", "none"].contains(&site),
        // No browser: whoever can run programs here needs no trick.
        (None, None) => false,
    };
    elsewhere.then_some("This form was sent from another page.")
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_page_itself_is_answered() {
        type Headers = &'static [(&'static str, &'static str)];
        let cases: &[(&str, Headers, bool)] = &[
            ("GET", &[("host", "localhost:8025")], true),
            ("GET", &[("host", "127.0.0.1")], true),
            ("GET", &[("host", "[::1]:8025")], true),
            ("HEAD", &[("host", "localhost")], true),
            ("GET", &[], false),
            ("GET", &[("host", "evil.example:8025")], false),
            ("GET", &[("host", "localhost.evil.example")], false),
            ("GET", &[("host", "localhost:80@evil.example")], false),
            ("GET", &[("host", "localhost"), ("host", "evil.example")], false),
            ("GET", &[("host", "localhost"), ("origin", "http://evil.example")], true),
            ("POST", &[("host", "localhost:8025"), ("origin", "http://localhost:8025")], true),
            ("POST", &[("host", "localhost:8025"), ("origin", "http://localhost:8026")], false),
            ("POST", &[("host", "localhost:8025"), ("origin", "https://localhost:8025")], false),
            ("POST", &[("host", "localhost:8025"), ("origin", "http://evil.example")], false),
            ("POST", &[("host", "localhost:8025"), ("origin", "null")], false),
            ("POST", &[("host", "evil.example"), ("origin", "http://evil.example")], false),
            ("POST", &[("host", "localhost"), ("sec-fetch-site", "cross-site")], false),
            ("POST", &[("host", "localhost"), ("sec-fetch-site", "same-site")], false),
            ("POST", &[("host", "localhost"), ("sec-fetch-site", "same-origin")], true),
            ("POST", &[("host", "localhost")], true),
        ];
        for (method, fields, answered) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in *fields {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let refusal = refusal(&Method::from_bytes(method.as_bytes()).unwrap(), &headers);
            assert_eq!(refusal.is_none(), *answered, "{method} {fields:?}: {refusal:?}");
        }
    }
}
