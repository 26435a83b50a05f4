//! Upcasters: how messages of earlier forms are read as messages of today's.

use std::num::NonZeroU32;

use super::Fields;
use crate::{Json, Result};

/// A message type, and a version of its data. Versions count from 1.
pub type TypeVersion = (&'static str, u32);

/// Divides the fields of an event among several: the types, and the fields of each.
pub type Split = fn(Fields) -> Result<Vec<(&'static str, Fields)>>;

/// Reads messages of one type and version as those of a later version or of another type.
///
/// What is stored never changes: a message is upcast each time it is read. A list of upcasters is a constant of the type
/// that reads the messages, such as [`Projection::UPCASTERS`](crate::entity::Projection::UPCASTERS). From a stored form, a
/// chain of upcasters leads to today's form: a variant of the enum.
///
/// ```
/// use message_store::Upcaster;
///
/// const UPCASTERS: &[Upcaster] = &[
///     // A deposit was called a payment.
///     Upcaster::rename(("Paid", 1), ("Deposited", 1)),
///     // A deposit has a currency since version 2.
///     Upcaster::upcast(("Deposited", 1), |fields| fields.add("currency", "CZK")),
///     // A move is two events.
///     Upcaster::split(("Moved", 1), &[("Withdrawn", 1), ("Deposited", 2)], |moved| {
///         Ok(vec![("Withdrawn", moved.clone()), ("Deposited", moved)])
///     }),
///     // Nobody needs it.
///     Upcaster::drop(("Pinged", 1)),
/// ];
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Upcaster {
    pub(super) from: TypeVersion,
    /// The form to which it leads, if that is always one.
    to: TypeVersion,
    pub(super) step: Step,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Rename,
    Fields(fn(&mut Fields) -> Result<()>),
    Convert(fn(Json) -> Result<Json>),
    Split(&'static [TypeVersion], Split),
    Drop,
}

impl Upcaster {
    /// Changes the fields of a version: the result is the next version of the type. The data must be an object.
    ///
    /// An error of the function makes the message undecodable. So prefer to repair what can be repaired: another program
    /// may have written the message.
    pub const fn upcast(from: TypeVersion, change: fn(&mut Fields) -> Result<()>) -> Self {
        Self { from, to: after(from), step: Step::Fields(change) }
    }

    /// As [`upcast`](Self::upcast), for data of any kind, or with a type for the earlier form.
    ///
    /// ```
    /// use message_store::{Json, Upcaster};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Deserialize)]
    /// struct OpenedBefore { name: String }
    /// #[derive(Serialize)]
    /// struct Opened { first_name: String, last_name: String }
    ///
    /// const NAMES: Upcaster = Upcaster::convert(("Opened", 1), |data| {
    ///     let OpenedBefore { name } = data.decode()?;
    ///     let (first, last) = name.split_once(' ').unwrap_or(("", &name));
    ///     Json::encode(&Opened { first_name: first.into(), last_name: last.into() })
    /// });
    /// ```
    pub const fn convert(from: TypeVersion, convert: fn(Json) -> Result<Json>) -> Self {
        Self { from, to: after(from), step: Step::Convert(convert) }
    }

    /// Reads a version of a type as a version of another type, with the same data.
    pub const fn rename(from: TypeVersion, to: TypeVersion) -> Self {
        Self { from, to, step: Step::Rename }
    }

    /// Reads one event as several, of these types, in the order in which the function returns them. All of them are at
    /// the position of the stored event. A message that a handler receives cannot be split: it is handled as a whole.
    pub const fn split(from: TypeVersion, to: &'static [TypeVersion], split: Split) -> Self {
        Self { from, to: from, step: Step::Split(to, split) }
    }

    /// Passes over messages of this version.
    pub const fn drop(from: TypeVersion) -> Self {
        Self { from, to: from, step: Step::Drop }
    }

    /// The forms between which it leads, as a text. Its functions do not show.
    pub(crate) fn shape(&self) -> String {
        let kind = match self.step {
            Step::Rename => "rename",
            Step::Fields(_) => "upcast",
            Step::Convert(_) => "convert",
            Step::Split(..) => "split",
            Step::Drop => "drop",
        };
        format!("{:?} {kind} {:?}", self.from, self.targets())
    }

    /// The forms to which it leads.
    pub(super) fn targets(&self) -> &[TypeVersion] {
        match self.step {
            Step::Rename | Step::Fields(_) | Step::Convert(_) => std::slice::from_ref(&self.to),
            Step::Split(to, _) => to,
            Step::Drop => &[],
        }
    }
}

const fn after(from: TypeVersion) -> TypeVersion {
    (from.0, from.1.saturating_add(1))
}

/// The upcaster of a stored form.
pub(super) fn find<'u>(upcasters: &'u [Upcaster], message_type: &str, version: u32) -> Option<&'u Upcaster> {
    upcasters.iter().find(|upcaster| upcaster.from.0 == message_type && upcaster.from.1 == version)
}

/// Whether upcasters name this type.
pub(super) fn is_named(upcasters: &[Upcaster], message_type: &str) -> bool {
    upcasters
        .iter()
        .any(|upcaster| upcaster.from.0 == message_type || upcaster.targets().iter().any(|to| to.0 == message_type))
}

/// The newest version of a type that these upcasters know. It is 1 if they do not name the type.
pub(super) fn newest(upcasters: &[Upcaster], message_type: &str) -> u32 {
    let known = upcasters.iter().flat_map(|upcaster| upcaster.targets().iter().chain([&upcaster.from]));
    known.filter(|known| known.0 == message_type).map(|known| known.1).max().unwrap_or(1)
}

/// The version that a new message of this type records. Version 1 is not recorded.
pub(crate) fn newest_version(upcasters: &[Upcaster], message_type: &str) -> Option<NonZeroU32> {
    NonZeroU32::new(newest(upcasters, message_type)).filter(|version| version.get() > 1)
}

/// The stored types that may lead to one of these types, and these types.
pub(crate) fn stored_types<'a>(upcasters: &[Upcaster], types: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut stored: Vec<&str> = types.into_iter().collect();
    let mut next = 0;
    while let Some(wanted) = stored.get(next).copied() {
        next += 1;
        for upcaster in upcasters.iter().filter(|upcaster| upcaster.targets().iter().any(|to| to.0 == wanted)) {
            if !stored.contains(&upcaster.from.0) {
                stored.push(upcaster.from.0);
            }
        }
    }
    stored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_stored_under_its_earlier_names_too() {
        const UPCASTERS: &[Upcaster] = &[
            Upcaster::rename(("Paid", 1), ("Credited", 1)),
            Upcaster::rename(("Credited", 1), ("Deposited", 1)),
            Upcaster::split(("Moved", 1), &[("Withdrawn", 1), ("Deposited", 1)], |fields| {
                Ok(vec![("Withdrawn", fields)])
            }),
            Upcaster::drop(("Pinged", 1)),
        ];
        assert_eq!(stored_types(UPCASTERS, ["Deposited"]), ["Deposited", "Credited", "Moved", "Paid"]);
        assert_eq!(stored_types(UPCASTERS, ["Withdrawn"]), ["Withdrawn", "Moved"]);
        assert_eq!(stored_types(UPCASTERS, ["Pinged"]), ["Pinged"]);
    }
}
