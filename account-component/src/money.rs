//! Exact amounts of money, in hundredths.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::str::FromStr;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// An amount of money. It is parsed from decimal text and written as decimal text, never through a float.
///
/// In JSON it is a number, as in Eventide's account component. A balance cannot overflow, and neither can a sum in a
/// table (64 bits): an amount has at most 10 digits before the point, and the sum of 9 million amounts still fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money {
    hundredths: i128,
}

/// The largest number of digits before the point.
const MAX_DIGITS: usize = 10;

impl Money {
    /// 0.00.
    pub const ZERO: Self = Self { hundredths: 0 };

    /// An amount of `hundredths` hundredths.
    pub const fn from_hundredths(hundredths: i64) -> Self {
        Self { hundredths: hundredths as i128 }
    }

    /// The amount in hundredths.
    pub const fn hundredths(self) -> i128 {
        self.hundredths
    }

    /// Whether the amount is above zero.
    pub fn is_positive(self) -> bool {
        self > Self::ZERO
    }
}

/// The error for a text that is not an amount of money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotMoney(String);

impl fmt::Display for NotMoney {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an amount of money: write digits, and at most two after a point, such as 700.00", self.0)
    }
}

impl std::error::Error for NotMoney {}

impl FromStr for Money {
    type Err = NotMoney;

    fn from_str(text: &str) -> Result<Self, NotMoney> {
        let refuse = || NotMoney(text.to_owned());
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
        let (whole, fraction) = digits.split_once('.').map_or((digits, "00"), |(whole, fraction)| (whole, fraction));
        let (counted, rest) = fraction.split_at_checked(2).unwrap_or((fraction, ""));
        let only_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let well_formed = !whole.is_empty() && !fraction.is_empty() && only_digits(whole) && only_digits(fraction);
        if !well_formed || whole.len() > MAX_DIGITS || rest.bytes().any(|byte| byte != b'0') {
            return Err(refuse());
        }
        let hundredths: i128 = format!("{whole}{counted:0<2}").parse().map_err(|_| refuse())?;
        Ok(Self { hundredths: if negative { -hundredths } else { hundredths } })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, hundredths) = (if self.hundredths < 0 { "-" } else { "" }, self.hundredths.unsigned_abs());
        f.pad(&format!("{sign}{}.{:02}", hundredths / 100, hundredths % 100))
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_string()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer)?.get().parse().map_err(D::Error::custom)
    }
}

impl Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { hundredths: self.hundredths + other.hundredths }
    }
}

impl Sub for Money {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { hundredths: self.hundredths - other.hundredths }
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Money {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_that_is_not_an_amount_is_refused() {
        for text in ["", "-", ".", "1.", ".5", "1.234", "1e2", "+1", "1,00", "NaN", "\"1\"", "10000000000", "1 "] {
            assert!(text.parse::<Money>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_same_amount_is_the_same_however_it_is_written() {
        for text in ["7.5", "7.50", "7.500", "07.5"] {
            assert_eq!(text.parse(), Ok(Money::from_hundredths(750)), "{text}");
        }
        assert_eq!("-0.05".parse(), Ok(Money::from_hundredths(-5)));
    }

    #[test]
    fn three_tenths_are_three_tenths() {
        let tenth: Money = "0.1".parse().unwrap();
        assert_eq!([tenth; 3].into_iter().sum::<Money>().to_string(), "0.30");
    }

    proptest! {
        #[test]
        fn an_amount_survives_text_and_json(hundredths in any::<i32>()) {
            let money = Money::from_hundredths(hundredths.into());
            prop_assert_eq!(money.to_string().parse(), Ok(money));
            let json = serde_json::to_string(&money).unwrap();
            prop_assert_eq!(serde_json::from_str::<Money>(&json).unwrap(), money);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).unwrap().is_number());
        }
    }
}
