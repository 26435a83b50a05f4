//! A protection that a test has switched off, to show that the test fails without it.

#[cfg(not(feature = "testing"))]
use std::marker::PhantomData;

/// The protection that is switched off, if there is one. Without the feature `testing` there is none, and the compiler
/// removes every check for one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planted<B> {
    #[cfg(feature = "testing")]
    bug: Option<B>,
    #[cfg(not(feature = "testing"))]
    bug: PhantomData<B>,
}

#[cfg(feature = "testing")]
impl<B: PartialEq> Planted<B> {
    /// All protections work.
    pub(crate) const NONE: Self = Self { bug: None };

    /// One protection is switched off.
    pub(crate) fn one(bug: B) -> Self {
        Self { bug: Some(bug) }
    }

    pub(crate) fn is(&self, bug: B) -> bool {
        self.bug == Some(bug)
    }
}

#[cfg(not(feature = "testing"))]
impl<B> Planted<B> {
    pub(crate) const NONE: Self = Self { bug: PhantomData };

    pub(crate) fn is(&self, bug: B) -> bool {
        let _ = (self.bug, bug);
        false
    }
}
