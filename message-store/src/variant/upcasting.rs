//! Decoding of stored messages: upcast to today's forms, then decoded as variants.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use super::upcaster::{Step, Upcaster, find, is_named, newest};
use super::{ChainFault, Fields, decode, names};
use crate::{Error, Json};

/// A form of a message: its type, version and data.
#[derive(Clone, Debug)]
pub(crate) struct Form<'a> {
    pub(crate) message_type: Cow<'a, str>,
    pub(crate) version: u32,
    pub(crate) data: Cow<'a, Json>,
}

/// What a stored message is read as.
#[derive(Debug)]
pub(crate) enum Decoded<E> {
    /// As usual.
    One(E),
    /// The enum has no variant of this type.
    Unknown(String),
    /// The message was split, or dropped. No part is `Several`.
    Several(Vec<Decoded<E>>),
}

/// The reason why a message cannot be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// Its data does not fit, or an upcaster refuses it.
    Undecodable(String),
    /// Its version is newer than the newest that the reader knows, which is this one.
    Newer(u32),
    /// The upcasters are wrong. A check at the start finds that.
    Chain(ChainFault),
}

impl<E> Decoded<E> {
    /// The parts: one, unless the message was split or dropped.
    pub(crate) fn into_parts(self) -> Vec<Self> {
        match self {
            Self::Several(parts) => parts,
            one => vec![one],
        }
    }
}

impl<'a> Form<'a> {
    pub(crate) fn new(message_type: &'a str, version: u32, data: &'a Json) -> Self {
        Self { message_type: Cow::Borrowed(message_type), version, data: Cow::Borrowed(data) }
    }

    /// Decodes the stored form. Without an upcaster for it, nothing but the data is parsed.
    pub(crate) fn decode<E: DeserializeOwned>(self, upcasters: &[Upcaster]) -> Result<Decoded<E>, Unreadable> {
        if find(upcasters, &self.message_type, self.version).is_none() {
            return self.decode_as_it_is(upcasters);
        }
        let mut parts = Vec::new();
        for form in self.upcast(upcasters)? {
            parts.push(form.decode_as_it_is(upcasters)?);
        }
        let is_one = parts.len() == 1;
        match parts.pop() {
            Some(one) if is_one => Ok(one),
            last => {
                parts.extend(last);
                Ok(Decoded::Several(parts))
            }
        }
    }

    /// The forms of today.
    pub(crate) fn upcast(self, upcasters: &[Upcaster]) -> Result<Vec<Self>, Unreadable> {
        let (mut today, mut left) = (Vec::new(), vec![(self, 0)]);
        while let Some((form, steps)) = left.pop() {
            let Some(upcaster) = find(upcasters, &form.message_type, form.version) else {
                today.push(form);
                continue;
            };
            // No way has more steps, unless it is a loop.
            if steps > upcasters.len() {
                return Err(Unreadable::Chain(ChainFault::Loop(upcaster.from)));
            }
            let next = form.step(upcaster).map_err(|error| {
                let (name, version) = upcaster.from;
                Unreadable::Undecodable(format!("reading version {version} of {name} failed: {error}"))
            })?;
            left.extend(next.into_iter().rev().map(|form| (form, steps + 1)));
        }
        Ok(today)
    }

    /// The form of today, if there is one.
    pub(crate) fn of_today(&self, upcasters: &[Upcaster]) -> Option<Self> {
        self.clone().upcast(upcasters).ok()?.pop()
    }

    fn step(self, upcaster: &Upcaster) -> Result<Vec<Self>, Error> {
        let form = |message_type, version, data| Self { message_type: Cow::Borrowed(message_type), version, data };
        let (name, version) = upcaster.from;
        let next = version.saturating_add(1);
        Ok(match upcaster.step {
            Step::Drop => Vec::new(),
            Step::Rename => {
                upcaster.targets().iter().map(|(name, version)| form(name, *version, self.data.clone())).collect()
            }
            Step::Convert(convert) => vec![form(name, next, Cow::Owned(convert(self.data.into_owned())?))],
            Step::Fields(change) => {
                let mut fields = Fields::of(&self.data)?;
                change(&mut fields)?;
                vec![form(name, next, Cow::Owned(fields.to_json()))]
            }
            Step::Split(to, split) => {
                let part = |(name, fields): (&str, Fields)| {
                    let (name, version) = to.iter().find(|to| to.0 == name).ok_or_else(|| {
                        Error::invalid("split", format!("{name} is not one of the types that it names"))
                    })?;
                    Ok(form(name, *version, Cow::Owned(fields.to_json())))
                };
                split(Fields::of(&self.data)?)?.into_iter().map(part).collect::<Result<_, Error>>()?
            }
        })
    }

    fn decode_as_it_is<E: DeserializeOwned>(self, upcasters: &[Upcaster]) -> Result<Decoded<E>, Unreadable> {
        let Self { message_type, version, data } = self;
        if !is_of_today::<E>(&message_type, version, upcasters)? {
            return Ok(Decoded::Unknown(message_type.into_owned()));
        }
        let decoded = decode(&message_type, &data).map_err(|error| Unreadable::Undecodable(error.to_string()))?;
        Ok(decoded.map_or_else(|| Decoded::Unknown(message_type.into_owned()), Decoded::One))
    }
}

/// Whether this is today's form of its type. If not, the enum has no variant of the type.
fn is_of_today<E: DeserializeOwned>(
    message_type: &str,
    version: u32,
    upcasters: &[Upcaster],
) -> Result<bool, Unreadable> {
    // Without upcasters, every type has one version.
    let newest = if upcasters.is_empty() { 1 } else { newest(upcasters, message_type) };
    if version == newest {
        return Ok(true);
    }
    match names::<E>().iter().find(|name| **name == message_type) {
        None if !is_named(upcasters, message_type) => Ok(false),
        Some(name) if version < newest => Err(Unreadable::Chain(ChainFault::Hole((name, version)))),
        _ => Err(Unreadable::Newer(newest)),
    }
}

/// The types as which a form is read, from its type and version alone: an erased message has no data. A type is `One` if
/// the enum has the variant. Of an event that is split, these are all types that it may be split into.
pub(crate) fn types_of_today<E: DeserializeOwned>(
    message_type: &str,
    version: u32,
    upcasters: &[Upcaster],
) -> Result<Vec<Decoded<String>>, Unreadable> {
    let (mut today, mut left) = (Vec::new(), vec![(message_type, version, 0)]);
    while let Some((message_type, version, steps)) = left.pop() {
        if let Some(upcaster) = find(upcasters, message_type, version) {
            if steps > upcasters.len() {
                return Err(Unreadable::Chain(ChainFault::Loop(upcaster.from)));
            }
            left.extend(upcaster.targets().iter().rev().map(|(name, version)| (*name, *version, steps + 1)));
            continue;
        }
        let is_known = is_of_today::<E>(message_type, version, upcasters)? && names::<E>().contains(&message_type);
        let name = message_type.to_owned();
        today.push(if is_known { Decoded::One(name) } else { Decoded::Unknown(name) });
    }
    Ok(today)
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Event {
        Deposited { amount: u64, currency: String },
        Withdrawn { amount: u64 },
        Closed,
    }

    const UPCASTERS: &[Upcaster] = &[
        Upcaster::rename(("Paid", 1), ("Deposited", 1)),
        Upcaster::upcast(("Deposited", 1), |fields| fields.add("currency", "CZK")),
        Upcaster::upcast(("Moved", 1), |fields| fields.rename("sum", "amount")),
        Upcaster::split(("Moved", 2), &[("Withdrawn", 1), ("Deposited", 1)], |moved| {
            Ok(vec![("Withdrawn", moved.clone()), ("Deposited", moved)])
        }),
        Upcaster::split(("Odd", 1), &[("Withdrawn", 1)], |fields| Ok(vec![("Closed", fields)])),
        Upcaster::convert(("Ended", 1), |_| Ok(Json::NULL)),
        Upcaster::rename(("Ended", 2), ("Closed", 1)),
        Upcaster::drop(("Pinged", 1)),
    ];

    fn decoded(message_type: &str, version: u32, data: &str) -> Result<Vec<Event>, String> {
        let data = Json::parse(data).unwrap();
        let form = Form::new(message_type, version, &data);
        let flat = |decoded| match decoded {
            Decoded::One(event) => event,
            other => panic!("{other:?}"),
        };
        match form.decode(UPCASTERS).map_err(|error| format!("{error:?}"))? {
            Decoded::Several(parts) => Ok(parts.into_iter().map(flat).collect()),
            one => Ok(vec![flat(one)]),
        }
    }

    fn deposited(amount: u64, currency: &str) -> Event {
        Event::Deposited { amount, currency: currency.into() }
    }

    #[test]
    fn every_earlier_form_is_read_as_today_s() {
        for (message_type, version, data, expected) in [
            ("Deposited", 2, r#"{"amount":7,"currency":"EUR"}"#, vec![deposited(7, "EUR")]),
            ("Deposited", 1, r#"{"amount":7}"#, vec![deposited(7, "CZK")]),
            ("Paid", 1, r#"{"amount":7}"#, vec![deposited(7, "CZK")]),
            ("Moved", 1, r#"{"sum":7}"#, vec![Event::Withdrawn { amount: 7 }, deposited(7, "CZK")]),
            ("Moved", 2, r#"{"amount":7}"#, vec![Event::Withdrawn { amount: 7 }, deposited(7, "CZK")]),
            ("Ended", 1, "[1,2]", vec![Event::Closed]),
            ("Pinged", 1, "{}", vec![]),
        ] {
            assert_eq!(decoded(message_type, version, data).unwrap(), expected, "{message_type} {version}");
        }
    }

    #[test]
    fn a_version_that_is_not_known_is_never_read_as_another() {
        for (message_type, version) in [("Deposited", 3), ("Withdrawn", 2), ("Paid", 2), ("Moved", 3), ("Pinged", 2)] {
            let error = decoded(message_type, version, r#"{"amount":7,"currency":"CZK"}"#).unwrap_err();
            assert!(error.contains("Newer"), "{message_type} {version}: {error}");
        }
    }

    #[test]
    fn an_unknown_type_is_unknown_at_every_version() {
        for version in [1, 2] {
            let read = Form::new("Other", version, &Json::NULL).decode::<Event>(UPCASTERS).unwrap();
            assert!(matches!(read, Decoded::Unknown(name) if name == "Other"));
        }
    }

    #[test]
    fn what_an_upcaster_refuses_names_the_version() {
        let error = decoded("Deposited", 1, "[1]").unwrap_err();
        assert!(error.contains("version 1 of Deposited"), "{error}");
        assert!(decoded("Odd", 1, "{}").unwrap_err().contains("Closed is not one of the types"));
    }

    #[test]
    fn upcasters_that_were_not_checked_end_all_the_same() {
        const LOOP: &[Upcaster] = &[Upcaster::rename(("A", 1), ("B", 1)), Upcaster::rename(("B", 1), ("A", 1))];
        let error = Form::new("A", 1, &Json::NULL).decode::<Event>(LOOP).unwrap_err();
        assert!(matches!(error, Unreadable::Chain(ChainFault::Loop(_))), "{error:?}");
    }
}
