//! How a guarded call stands, and what to do then.

use std::fmt;

/// How a guarded call stands.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Guarded<R> {
    /// It had its effect: now, or at an earlier attempt that was found.
    Confirmed {
        /// The answer.
        response: R,
        /// An earlier run had confirmed it. Not so when this run has found the effect of an earlier call.
        earlier: bool,
    },
    /// It was refused; another run tries again.
    Failed {
        /// What the other side said.
        reason: String,
    },
    /// Whether it had its effect is unknown. It is not tried again; the next run searches, also when this one called
    /// and got no answer.
    Unknown {
        /// Why the search does not tell.
        reason: String,
    },
    /// Another runner is at it, until its lease ends.
    InProgress,
    /// The key was used for another request. Nothing was done.
    Conflict,
}

impl<R> fmt::Display for Guarded<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirmed { earlier: false, .. } => f.write_str("the call had its effect"),
            Self::Confirmed { earlier: true, .. } => {
                f.write_str("the call had its effect, as an earlier run has confirmed")
            }
            Self::Failed { reason } => {
                write!(f, "the call was refused and had no effect ({reason}); run the guard again to try it again")
            }
            Self::Unknown { reason } => write!(
                f,
                "it is unknown whether the call had its effect ({reason}); do not call by hand: run the guard again later, \
                 which searches before it calls, and while the search does not tell, look at the other side yourself"
            ),
            Self::InProgress => f.write_str(
                "another runner is at the call; run the guard again when the lease of that runner has ended",
            ),
            Self::Conflict => f.write_str(
                "the key was used for another request, and nothing was done; give each request a key of its own",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_is_a_sentence_and_the_unknown_one_says_what_to_do() {
        let reason = || "a lag".to_owned();
        let said = |guarded: Guarded<()>| guarded.to_string();
        assert_eq!(said(Guarded::Confirmed { response: (), earlier: false }), "the call had its effect");
        assert!(said(Guarded::Confirmed { response: (), earlier: true }).contains("earlier"));
        assert!(said(Guarded::Failed { reason: reason() }).contains("no effect (a lag)"));
        let unknown = said(Guarded::Unknown { reason: reason() });
        assert!(unknown.contains("unknown") && unknown.contains("(a lag)"), "{unknown}");
        assert!(unknown.contains("do not call by hand: run the guard again"), "{unknown}");
        assert!(said(Guarded::InProgress).contains("another runner"));
        assert!(said(Guarded::Conflict).contains("nothing was done"));
    }
}
