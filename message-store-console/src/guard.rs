//! Who may see the pages, and what a browser may do with them.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use crate::Console;
use crate::failure::Failure;

const COOKIE: &str = "message_store_console";
/// No scripts, no frames, nothing from elsewhere, and forms are sent to this console only.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Lets a request through that may see the pages, and sets what a browser must not do with the answer.
pub(crate) async fn guard(State(console): State<Console>, request: Request, next: Next) -> Response {
    let mut response = match admit(&console, request.headers(), request.uri(), request.method()) {
        Ok(None) => next.run(request).await,
        Ok(Some(answer)) => answer,
        Err(failure) => failure.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// `Ok(None)` if the request may go on.
fn admit(console: &Console, headers: &HeaderMap, uri: &Uri, method: &Method) -> Result<Option<Response>, Failure> {
    let Some(access) = &console.access else {
        // A name of another site can lead to this machine (DNS rebinding), and its pages must not read ours.
        return if host(headers).is_some_and(is_own_name) {
            Ok(None)
        } else {
            let text = "this console answers only as localhost or 127.0.0.1; others need a token (the environment variable MESSAGE_STORE_CONSOLE_TOKEN)";
            Err(Failure::new(StatusCode::FORBIDDEN, text))
        };
    };
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let cookies = text(header::COOKIE).unwrap_or_default().split(';').map(str::trim);
    let cookies = cookies.filter_map(|cookie| cookie.split_once('=')).filter(|(name, _)| *name == COOKIE);
    let cookies = cookies.map(|(_, value)| value);
    let pairs = || uri.query().into_iter().flat_map(|query| query.split('&'));
    let given = pairs().find_map(|pair| pair.strip_prefix("token="));
    if *method == Method::GET && given.is_some_and(|given| is_same(given, access)) {
        // The token does not stay in the address.
        let cookie = format!("{COOKIE}={access}; Path=/; HttpOnly; SameSite=Strict");
        let rest: Vec<&str> = pairs().filter(|pair| !pair.starts_with("token=")).collect();
        // Two slashes would be another host.
        let path = format!("/{}", uri.path().trim_start_matches(['/', '\\']));
        let to = if rest.is_empty() { path } else { format!("{path}?{}", rest.join("&")) };
        return Ok(Some(([(header::SET_COOKIE, cookie)], Redirect::to(&to)).into_response()));
    }
    let tokens = bearer.into_iter().chain(cookies);
    if tokens.into_iter().any(|given| is_same(given, access)) {
        return Ok(None);
    }
    Err(Failure::new(StatusCode::UNAUTHORIZED, "this console has a token: open it as /?token=…"))
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

/// Whether it is a name of this machine that no other can have.
fn is_own_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost") || matches!(name, "127.0.0.1" | "[::1]")
}

/// Compares all of both, however early they differ.
pub(crate) fn is_same(given: &str, token: &str) -> bool {
    let differs = |(one, other): (u8, u8)| one ^ other;
    given.len() == token.len() && given.bytes().zip(token.bytes()).map(differs).fold(0, |all, one| all | one) == 0
}

/// Whether a form was sent by a page of this console.
pub(crate) fn is_from_here(headers: &HeaderMap) -> bool {
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let authority = origin.and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    authority.is_some() && authority == host(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_this_machine_is_its_own() {
        for own in ["localhost", "localhost:80", "127.0.0.1:8090", "[::1]:1", "[::1]"] {
            assert!(is_own_name(own), "{own}");
        }
        for other in ["", "example.org", "localhost.example.org:80", "127.0.0.1.example.org", "10.0.0.1:80"] {
            assert!(!is_own_name(other), "{other}");
        }
    }

    #[test]
    fn tokens_are_the_same_as_a_whole() {
        assert!(is_same("abc", "abc"));
        assert!(!is_same("abd", "abc") && !is_same("ab", "abc") && !is_same("", "abc"));
    }
}
