//! The state of a guarded call. Its text says what the caller can do next.

use std::fmt;
use std::time::Duration;

use crate::Source;
use crate::handling::Fault;

/// The state of a guarded call.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Guarded<R> {
    /// The call had its effect, now or in an earlier attempt.
    Confirmed {
        /// The answer of the external system.
        response: R,
        /// An earlier run has recorded the answer. `false` if this run has called, or has found the effect of an
        /// earlier call.
        earlier: bool,
    },
    /// The call was refused and had no effect. The next run tries it again.
    Failed {
        /// The error of the external system.
        reason: String,
    },
    /// The call may or may not have had its effect. It is not made again until a search shows that it had none. The
    /// next run searches.
    Unknown {
        /// The reason why the effect is unknown.
        reason: String,
    },
    /// Another runner makes the call or searches.
    InProgress {
        /// The time until the lease of that runner ends. If it has recorded no result then, the next run searches.
        lease_left: Duration,
    },
    /// The key was used for another request. The call was not made.
    Conflict,
}

impl<R> Guarded<R> {
    /// The answer of the external system, for a handler. Otherwise the error that the handler returns. While another
    /// runner makes the call, and after a refusal, the consumer delivers the message again by itself: when the lease of
    /// the other runner ends, and after `delay`. An unknown effect and a conflict are final: an operator decides.
    ///
    /// # Errors
    /// A [`Fault`] or the text of the state.
    pub fn or_again_after(self, delay: Duration) -> Result<R, Source> {
        let text = self.to_string();
        match self {
            Self::Confirmed { response, .. } => Ok(response),
            Self::InProgress { lease_left } => Err(Fault::again_after(lease_left, text).into()),
            Self::Failed { .. } => Err(Fault::again_after(delay, text).into()),
            Self::Unknown { .. } | Self::Conflict => Err(text.into()),
        }
    }
}

impl<R> fmt::Display for Guarded<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirmed { earlier: false, .. } => f.write_str("the call had its effect"),
            Self::Confirmed { earlier: true, .. } => {
                f.write_str("the call had its effect, as an earlier run has recorded")
            }
            Self::Failed { reason } => {
                write!(
                    f,
                    "the call was refused and had no effect ({reason}). To make the call again, run the guard again: for a message that was set aside, retry its letter"
                )
            }
            Self::Unknown { reason } => write!(
                f,
                "it is unknown whether the call had its effect ({reason}). Do not make the call by hand: run the guard again later, \
                 because it searches before it calls. If the search remains inconclusive, examine the external system"
            ),
            Self::InProgress { lease_left } => write!(
                f,
                "another runner is making the call. Run the guard again when the lease of that runner has ended, in {lease_left:?}"
            ),
            Self::Conflict => {
                f.write_str("the key was used for another request, and nothing was done. Give each request its own key")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_a_text_and_that_of_unknown_says_what_to_do() {
        let reason = || "a lag".to_owned();
        let text = |guarded: Guarded<()>| guarded.to_string();
        assert_eq!(text(Guarded::Confirmed { response: (), earlier: false }), "the call had its effect");
        assert!(text(Guarded::Confirmed { response: (), earlier: true }).contains("earlier"));
        assert!(text(Guarded::Failed { reason: reason() }).contains("no effect (a lag)"));
        let unknown = text(Guarded::Unknown { reason: reason() });
        assert!(unknown.contains("unknown") && unknown.contains("(a lag)"), "{unknown}");
        assert!(unknown.contains("Do not make the call by hand: run the guard again"), "{unknown}");
        assert!(text(Guarded::InProgress { lease_left: Duration::from_secs(1) }).contains("another runner"));
        assert!(text(Guarded::Conflict).contains("nothing was done"));
    }
}
