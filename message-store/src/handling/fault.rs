//! Faults: how a handler tells the consumer when to deliver a message again.

use std::fmt;
use std::time::Duration;

use crate::error::{Again, Class};
use crate::{Source, chain};

/// The error of a handler that could not handle a message now, and can later.
///
/// A consumer tells errors apart by their whole chain of causes, so a fault may be wrapped. Every error that is neither
/// a fault nor a transient [`Error`](crate::Error) is final: [`OnFailure`](crate::consumer::OnFailure) decides what
/// happens to the message.
///
/// ```
/// use std::time::Duration;
/// use message_store::Source;
/// use message_store::handling::Fault;
///
/// async fn charge(attempt: u32) -> Result<(), Source> {
///     match attempt {
///         0 => Err(Fault::passing("the payment provider does not answer").into()),
///         1 => Err(Fault::again_after(Duration::from_secs(60), "the payment is still under way").into()),
///         _ => Ok(()),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Fault {
    class: Class,
    cause: Source,
}

impl Fault {
    /// A service that the handler needs is away. The consumer delivers the message again after growing pauses, for as
    /// long as it takes, and shows an [outage](crate::consumer::ConsumerHandle::outage). Meanwhile the message keeps its
    /// place: the consumer's position stays before it.
    pub fn passing(cause: impl Into<Source>) -> Self {
        Self { class: Class::Passing, cause: cause.into() }
    }

    /// The message is to be delivered again after `delay`, by the database's clock. The request is recorded as a letter
    /// ([`DeadLetters`](crate::consumer::DeadLetters)), so it survives a restart, and the consumer goes on with other
    /// entities. Later messages of the entity wait.
    pub fn again_after(delay: Duration, cause: impl Into<Source>) -> Self {
        Self { class: Class::Again(Again { after: delay, holds: true }), cause: cause.into() }
    }

    /// Later messages of the entity do not wait for the delivery that [`again_after`](Self::again_after) requests.
    #[must_use]
    pub fn holding_nothing(mut self) -> Self {
        if let Class::Again(again) = &mut self.class {
            again.holds = false;
        }
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(&*self.cause))
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    /// As `anyhow` wraps an error without a context: its text and its sources are shown, and its type is hidden.
    #[derive(Debug)]
    struct Hidden(Source);

    impl fmt::Display for Hidden {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fmt(f)
        }
    }

    impl std::error::Error for Hidden {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.0.source()
        }
    }

    #[test]
    fn the_class_of_an_error_is_found_through_every_wrapper() {
        let again = Again { after: Duration::from_secs(5), holds: false };
        let classes: [(Source, Option<Class>); 6] = [
            (Error::backend("appending", true, "refused").into(), Some(Class::Passing)),
            (Error::backend("appending", false, "refused").into(), None),
            (Error::TimedOut { context: "appending".into(), cause: "slow".into() }.into(), Some(Class::TimedOut)),
            (Fault::passing("away").into(), Some(Class::Passing)),
            (Fault::again_after(again.after, "not yet").holding_nothing().into(), Some(Class::Again(again))),
            ("a bad message".into(), None),
        ];
        for (error, class) in classes {
            assert_eq!(Class::of(&*error), class, "{error}");
            let text = error.to_string();
            let hidden = Hidden(Box::new(Hidden(error)));
            assert_eq!(Class::of(&hidden), class, "{hidden}");
            assert_eq!(chain(&hidden), text);
        }
    }
}
