//! Times as an operator gives them.

use std::time::Duration;

use anyhow::Result;
use message_store::{MessageStore, Timestamp};

/// An instant, or a time ago.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum When {
    At(Timestamp),
    Ago(Duration),
}

pub(crate) fn when(text: &str) -> Result<When, String> {
    if let Ok(time) = text.parse() {
        return Ok(When::At(time));
    }
    let seconds = text.chars().last().and_then(|unit| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(60 * 60),
        'd' => Some(24 * 60 * 60),
        _ => None,
    });
    let count = text.get(..text.len().saturating_sub(1)).and_then(|count| count.parse::<u64>().ok());
    let ago = seconds.zip(count).and_then(|(seconds, count)| count.checked_mul(seconds));
    match ago {
        Some(ago) => Ok(When::Ago(Duration::from_secs(ago))),
        None => Err("it must be a time such as 2026-11-29T08:00:00Z, or 90s, 10m, 2h or 7d".to_owned()),
    }
}

impl When {
    /// The instant, by the store's clock.
    pub(crate) async fn by_the_clock_of(self, store: &dyn MessageStore) -> Result<Timestamp> {
        Ok(match self {
            Self::At(time) => time,
            Self::Ago(time) => store.now().await?.checked_sub(time)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_an_instant_or_ago() {
        assert_eq!(when("90s"), Ok(When::Ago(Duration::from_secs(90))));
        assert_eq!(when("2h"), Ok(When::Ago(Duration::from_hours(2))));
        assert!(matches!(when("2026-11-29T08:00:00Z"), Ok(When::At(_))));
        for wrong in ["", "m", "10", "yesterday", "-1d", "99999999999999999999d", "é"] {
            assert!(when(wrong).is_err(), "{wrong}");
        }
    }
}
