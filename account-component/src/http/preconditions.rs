//! Preconditions: a request that is carried out only on the version that its client has seen.
//!
//! Problem: another client may change the account between a `GET` and the request that was decided on it. Fix: the request names the
//! version (`If-Match`, RFC 9110), and the command carries it, so the account's rules compare it where the events are written. Why a
//! request that is sent again is not refused: a repeat is recognised before the rules are asked.

use axum::http::{HeaderMap, HeaderValue, header};

use super::problem::Problem;

/// The `ETag` of a version.
pub(super) fn tag(version: u64) -> String {
    format!("\"{version}\"")
}

/// The version that a request expects, of an account that now has this version. `None` if it accepts any.
pub(super) fn expected(headers: &HeaderMap, version: u64) -> Result<Option<u64>, Problem> {
    let values: Vec<&HeaderValue> = headers.get_all(header::IF_MATCH).iter().collect();
    if values.is_empty() {
        return Ok(None);
    }
    let mut expected = None;
    for value in values {
        let text = value.to_str().map_err(|_| invalid())?;
        for tag in text.split(',').map(str::trim) {
            if tag == "*" {
                return Ok(None);
            }
            let strong = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            // A weak tag, or one that we have not made, matches no version.
            let tagged = match strong {
                Some(tag) => tag.parse().unwrap_or(u64::MAX),
                None if tag.starts_with("W/\"") => u64::MAX,
                None => return Err(invalid()),
            };
            if tagged == version || expected.is_none() {
                expected = Some(tagged);
            }
        }
    }
    Ok(expected)
}

fn invalid() -> Problem {
    Problem::invalid("If-Match must be the ETag of an account, such as \"5\", or *")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &'static str) -> Result<Option<u64>, String> {
        let headers = HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_static(value))]);
        expected(&headers, 5).map_err(|problem| problem.kind)
    }

    #[test]
    fn a_version_is_expected_if_one_of_the_tags_is_it() {
        assert_eq!(of("\"5\""), Ok(Some(5)));
        assert_eq!(of("\"4\", \"5\""), Ok(Some(5)));
        assert_eq!(of("\"4\",\"6\""), Ok(Some(4)));
        assert_eq!(of("*"), Ok(None));
        assert_eq!(of("W/\"5\""), Ok(Some(u64::MAX)));
        assert_eq!(of("\"other\""), Ok(Some(u64::MAX)));
        assert!(of("5").is_err());
        assert!(of("").is_err());
        assert_eq!(expected(&HeaderMap::new(), 5).map_err(|problem| problem.kind), Ok(None));
    }
}
