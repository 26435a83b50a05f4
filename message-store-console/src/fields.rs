//! The fields of a request: of its query, or of a form.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use crate::failure::Failure;

/// The fields that have a value. A form sends those that were left empty, too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// No name in a store has a NUL character. (The token of access is not one of the fields: it is in no link.)
    pub(crate) fn of(fields: Vec<(String, String)>) -> Result<Self, Failure> {
        if let Some((name, _)) = fields.iter().find(|(_, value)| value.contains('\0')) {
            return Err(Failure::invalid(format!("{name} has a NUL character")));
        }
        Ok(Self(fields.into_iter().filter(|(name, value)| !value.is_empty() && name != "token").collect()))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
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
        let Some(value) = self.get(name).map(str::trim).filter(|value| !value.is_empty()) else { return Ok(None) };
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
        let Query(fields) = query.map_err(|rejection| Failure::invalid(rejection.body_text()))?;
        Self::of(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_were_left_empty_are_none() -> Result<(), Failure> {
        let fields = [("a", ""), ("b", " 7 "), ("token", "t")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let fields = Fields::of(fields.into())?;
        assert_eq!((fields.get("a"), fields.get("b")), (None, Some(" 7 ")));
        assert_eq!(fields.parse::<u64>("b").ok().flatten(), Some(7));
        assert!(fields.parse::<bool>("b").is_err());
        assert_eq!(fields.with("c", "x&y"), "b=%207%20&c=x%26y");
        assert!(Fields::of(vec![("a".to_owned(), "x\0".to_owned())]).is_err());
        Ok(())
    }
}
