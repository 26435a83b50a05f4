//! The check of upcasters: from every stored form, exactly one way leads to a form of today.

use std::fmt;

use super::upcaster::{Step, TypeVersion, Upcaster, find, newest};

/// A mistake in a list of upcasters. Each names the type and the version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChainFault {
    /// A version is 0. Versions count from 1.
    Zero(TypeVersion),
    /// Two upcasters begin here.
    TwoWays(TypeVersion),
    /// No upcaster begins here, though the type has later versions.
    Hole(TypeVersion),
    /// The upcasters that begin here come back here.
    Loop(TypeVersion),
    /// The upcasters lead here, and the enum has no such variant.
    NoVariant(TypeVersion),
    /// The enum has this variant, so messages of this form are written, and an upcaster reads them as something else.
    Current(TypeVersion),
    /// A message that a handler receives would be split.
    SplitsReceived(TypeVersion),
}

impl fmt::Display for ChainFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero((name, _)) => write!(f, "a version of {name} is 0; versions count from 1"),
            Self::TwoWays((name, version)) => {
                write!(f, "two upcasters begin at version {version} of {name}; remove one of them")
            }
            Self::Hole((name, version)) => write!(
                f,
                "no upcaster begins at version {version} of {name}, though there are later versions; add one, because stored \
         messages may have that version"
            ),
            Self::Loop((name, version)) => {
                write!(f, "the upcasters that begin at version {version} of {name} come back to it")
            }
            Self::NoVariant((name, version)) => write!(
                f,
                "the upcasters lead to version {version} of {name}, and the enum has no variant {name}; add the variant, or an \
         upcaster that begins there"
            ),
            Self::Current((name, version)) => write!(
                f,
                "the enum has the variant {name}, which is written as version {version}, and an upcaster reads that as something \
         else; remove the variant, or let the upcaster lead to a later version of {name}"
            ),
            Self::SplitsReceived((name, version)) => write!(
                f,
                "version {version} of {name} would be split, and a handler receives a message as a whole; only events of an \
         entity can be split"
            ),
        }
    }
}

/// What reads the messages.
pub(crate) struct Reader<'a> {
    /// The variants of its enum.
    pub(crate) variants: &'a [&'a str],
    /// Whether it passes over messages of a type that has no variant.
    pub(crate) ignores: fn(&str) -> bool,
    /// Whether one message can be read as several.
    pub(crate) can_split: bool,
}

/// Checks the upcasters of a reader.
pub(crate) fn check(upcasters: &[Upcaster], reader: &Reader<'_>) -> Result<(), ChainFault> {
    let targets = || upcasters.iter().flat_map(Upcaster::targets).copied();
    let forms = || upcasters.iter().map(|upcaster| upcaster.from).chain(targets());
    if let Some(zero) = forms().find(|form| form.1 == 0) {
        return Err(ChainFault::Zero(zero));
    }
    for (index, Upcaster { from, step, .. }) in upcasters.iter().enumerate() {
        if find(&upcasters[..index], from.0, from.1).is_some() {
            return Err(ChainFault::TwoWays(*from));
        }
        if matches!(step, Step::Split(..)) && !reader.can_split {
            return Err(ChainFault::SplitsReceived(*from));
        }
    }
    if let Some(from) = first_of_a_loop(upcasters) {
        return Err(ChainFault::Loop(from));
    }
    let begins = |form: TypeVersion| find(upcasters, form.0, form.1).is_some();
    for (name, _) in forms() {
        let missing = (1..newest(upcasters, name)).find(|version| !begins((name, *version)));
        if let Some(version) = missing {
            return Err(ChainFault::Hole((name, version)));
        }
    }
    let is_variant = |name: &str| reader.variants.contains(&name);
    if let Some(end) = targets().find(|to| !begins(*to) && !is_variant(to.0) && !(reader.ignores)(to.0)) {
        return Err(ChainFault::NoVariant(end));
    }
    let is_current = |form: &TypeVersion| is_variant(form.0) && form.1 == newest(upcasters, form.0);
    match upcasters.iter().map(|upcaster| upcaster.from).find(is_current) {
        Some(current) => Err(ChainFault::Current(current)),
        None => Ok(()),
    }
}

/// Removes upcasters that lead to no other one, until only those of loops, and those that lead into them, are left.
fn first_of_a_loop(upcasters: &[Upcaster]) -> Option<TypeVersion> {
    let mut left: Vec<&Upcaster> = upcasters.iter().collect();
    loop {
        let sources: Vec<TypeVersion> = left.iter().map(|upcaster| upcaster.from).collect();
        left.retain(|upcaster| upcaster.targets().iter().any(|to| sources.contains(to)));
        if left.len() == sources.len() {
            return left.first().map(|upcaster| upcaster.from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VARIANTS: &[&str] = &["Deposited", "Withdrawn"];

    fn checked(upcasters: &[Upcaster]) -> Result<(), ChainFault> {
        check(upcasters, &Reader { variants: VARIANTS, ignores: |name| name == "Noted", can_split: true })
    }

    fn same(from: TypeVersion) -> Upcaster {
        Upcaster::upcast(from, |_| Ok(()))
    }

    const fn split(from: TypeVersion, to: &'static [TypeVersion]) -> Upcaster {
        Upcaster::split(from, to, |_| Ok(vec![]))
    }

    #[test]
    fn a_list_that_leads_every_form_to_a_variant_in_one_way_passes() {
        let rename = Upcaster::rename;
        for upcasters in [
            &[][..],
            &[same(("Deposited", 1)), same(("Deposited", 2))],
            &[rename(("Paid", 1), ("Deposited", 1))],
            &[same(("Paid", 1)), rename(("Paid", 2), ("Deposited", 1)), same(("Deposited", 1))],
            &[rename(("Paid", 1), ("Deposited", 2)), same(("Deposited", 1))],
            &[split(("Moved", 1), &[("Withdrawn", 1), ("Deposited", 1)])],
            // A part of it goes to an event of its own.
            &[split(("Deposited", 1), &[("Deposited", 2), ("Withdrawn", 1)])],
            &[Upcaster::drop(("Pinged", 1)), rename(("Remarked", 1), ("Noted", 1))],
        ] {
            assert_eq!(checked(upcasters), Ok(()), "{upcasters:?}");
        }
    }

    #[test]
    fn each_mistake_is_named_with_its_type_and_version() {
        let rename = Upcaster::rename;
        for (upcasters, fault) in [
            (vec![same(("Deposited", 0))], ChainFault::Zero(("Deposited", 0))),
            (vec![rename(("Paid", 1), ("Deposited", 0))], ChainFault::Zero(("Deposited", 0))),
            (vec![same(("Deposited", 1)), same(("Deposited", 1))], ChainFault::TwoWays(("Deposited", 1))),
            (
                vec![rename(("Paid", 1), ("Deposited", 1)), Upcaster::drop(("Paid", 1))],
                ChainFault::TwoWays(("Paid", 1)),
            ),
            (vec![same(("Deposited", 2))], ChainFault::Hole(("Deposited", 1))),
            (vec![same(("Deposited", 1)), same(("Deposited", 3))], ChainFault::Hole(("Deposited", 2))),
            (vec![rename(("Paid", 2), ("Deposited", 1))], ChainFault::Hole(("Paid", 1))),
            (vec![rename(("Paid", 1), ("Deposited", 2))], ChainFault::Hole(("Deposited", 1))),
            (vec![rename(("A", 1), ("B", 1)), rename(("B", 1), ("A", 1))], ChainFault::Loop(("A", 1))),
            (vec![split(("A", 1), &[("Deposited", 1), ("A", 1)])], ChainFault::Loop(("A", 1))),
            (vec![rename(("Paid", 1), ("Deposit", 1))], ChainFault::NoVariant(("Deposit", 1))),
            (vec![same(("Paid", 1))], ChainFault::NoVariant(("Paid", 2))),
            (vec![split(("Moved", 1), &[("Deposited", 1), ("Withdraw", 1)])], ChainFault::NoVariant(("Withdraw", 1))),
            (vec![rename(("Deposited", 1), ("Withdrawn", 1))], ChainFault::Current(("Deposited", 1))),
            (vec![same(("Deposited", 1)), Upcaster::drop(("Deposited", 2))], ChainFault::Current(("Deposited", 2))),
        ] {
            assert_eq!(checked(&upcasters), Err(fault.clone()), "{upcasters:?}");
            assert!(fault.to_string().contains("ersion"), "{fault}");
        }
        let received = Reader { variants: VARIANTS, ignores: |_| false, can_split: false };
        let upcasters = [split(("Moved", 1), &[("Deposited", 1)])];
        assert_eq!(check(&upcasters, &received), Err(ChainFault::SplitsReceived(("Moved", 1))));
    }
}
