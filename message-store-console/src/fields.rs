//! The fields of a request: of its query, or of a form.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use crate::failure::Failure;

/// The fields that have a value. A form sends those that were left empty, too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(crate) fn of(fields: Vec<(String, String)>) -> Self {
        Self(fields.into_iter().filter(|(_, value)| !value.trim().is_empty()).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.trim())
    }

    /// All of them, without those of the form itself.
    pub(crate) fn all(&self) -> Vec<(&str, &str)> {
        let fields = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        fields.filter(|(name, _)| !matches!(*name, "form" | "sure" | "why")).collect()
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// The value as another type; `None` if it was left empty.
    pub(crate) fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let parsed = value.parse().map_err(|error| Failure::invalid(format!("{name} {value:?}: {error}")));
        parsed.map(Some)
    }

    /// The query of a link to the same page, with another value of one field.
    pub(crate) fn with(&self, name: &str, value: impl std::fmt::Display) -> String {
        let kept = self.0.iter().filter(|(other, _)| other != name);
        let pairs =
            kept.map(|(name, value)| (name.clone(), value.clone())).chain([(name.to_owned(), value.to_string())]);
        let encoded = |text: &str| crate::html::encoded(text);
        pairs.map(|(name, value)| format!("{}={}", encoded(&name), encoded(&value))).collect::<Vec<_>>().join("&")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Fields {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        query.map(|Query(fields)| Self::of(fields)).map_err(|rejection| Failure::invalid(rejection.body_text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_were_left_empty_are_none() {
        let fields = Fields::of(vec![("a".into(), " ".into()), ("b".into(), " 7 ".into())]);
        assert_eq!((fields.get("a"), fields.get("b")), (None, Some("7")));
        assert_eq!(fields.parse::<u64>("b").ok().flatten(), Some(7));
        assert!(fields.parse::<bool>("b").is_err());
        assert_eq!(fields.with("c", "x&y"), "b=%207%20&c=x%26y");
    }
}
