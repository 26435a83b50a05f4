//! The canonical form: one text for all JSON texts that PostgreSQL's `jsonb` treats as equal.
//!
//! Keys are sorted, only the last of equal keys is kept, there is no white space, and characters are escaped in one
//! way. Numbers are compared by value: `7`, `7.0` and `70e-1` have one form. `7.00000000000000001` has another, because
//! no number is converted to a float.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// The canonical form of `text`, which must be no deeper than [`crate::MAX_JSON_DEPTH`].
pub(crate) fn canonical(text: &str) -> serde_json::Result<String> {
    let mut out = String::with_capacity(text.len());
    write(text, &mut out)?;
    Ok(out)
}

fn write(text: &str, out: &mut String) -> serde_json::Result<()> {
    let text = text.trim_ascii();
    match text.as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
            out.push('{');
            for (key, value) in &members {
                out.push_str(&serde_json::to_string(key)?);
                out.push(':');
                write(value.get(), out)?;
                out.push(',');
            }
            out.push('}');
        }
        Some(b'[') => {
            out.push('[');
            for element in serde_json::from_str::<Vec<&RawValue>>(text)? {
                write(element.get(), out)?;
                out.push(',');
            }
            out.push(']');
        }
        Some(b'"') => out.push_str(&serde_json::to_string(&serde_json::from_str::<String>(text)?)?),
        Some(b'-' | b'0'..=b'9') => out.push_str(&number(text)),
        _ => out.push_str(text),
    }
    Ok(())
}

/// The most digits with which [`plain_number`] writes a number without an exponent.
const WRITTEN_OUT: usize = 64;

/// A number as `sign digits * 10^exponent`, where the digits have no zeros at either end.
struct Number<'a> {
    sign: &'a str,
    /// Empty for zero.
    digits: String,
    exponent: i64,
}

/// `None` when the exponent does not fit in 64 bits. Such a number equals only itself.
fn parse(text: &str) -> Option<Number<'_>> {
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let dropped = digits.len() - significant.len();
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return Some(Number { sign: "", digits: String::new(), exponent: 0 });
    }
    let shift = i64::try_from(dropped).ok()? - i64::try_from(fraction.len()).ok()?;
    let exponent = exponent.parse::<i64>().ok()?.checked_add(shift)?;
    Some(Number { sign, digits: significant.to_owned(), exponent })
}

/// Whether PostgreSQL's `numeric` can store a number: at most 131,072 digits before the point, and 16,383 after it.
pub(crate) fn fits_numeric(text: &str) -> bool {
    parse(text).is_some_and(|Number { digits, exponent, .. }| {
        let length = i64::try_from(digits.len()).unwrap_or(i64::MAX);
        digits.is_empty() || (exponent.saturating_add(length) <= 131_072 && exponent >= -16_383)
    })
}

/// The canonical form of a number.
fn number(text: &str) -> String {
    match parse(text) {
        Some(Number { digits, .. }) if digits.is_empty() => "0".to_owned(),
        Some(Number { sign, digits, exponent }) => format!("{sign}{digits}e{exponent}"),
        None => text.to_owned(),
    }
}

/// One text for all texts of a number, with every digit and in the usual notation: `7`, `1.5`. Only a very large or
/// very small number has an exponent.
pub(crate) fn plain_number(text: &str) -> String {
    let Some(Number { sign, digits, exponent }) = parse(text) else { return text.to_owned() };
    let Ok(power) = usize::try_from(exponent.unsigned_abs()) else { return number(text) };
    if digits.is_empty() || power + digits.len() > WRITTEN_OUT {
        return number(text);
    }
    if exponent >= 0 {
        return format!("{sign}{digits}{}", "0".repeat(power));
    }
    let padded = format!("{digits:0>width$}", width = power + 1);
    let (whole, fraction) = padded.split_at(padded.len() - power);
    format!("{sign}{whole}.{fraction}")
}

/// Removes all but the last of equal keys from every object, as `jsonb` does.
pub(crate) fn last_of_equal_keys(text: &str) -> serde_json::Result<String> {
    let text = text.trim_ascii();
    let mut out = String::with_capacity(text.len());
    match text.as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
            out.push('{');
            for (number, (key, value)) in members.iter().enumerate() {
                if number > 0 {
                    out.push(',');
                }
                out.push_str(&serde_json::to_string(key)?);
                out.push(':');
                out.push_str(&last_of_equal_keys(value.get())?);
            }
            out.push('}');
        }
        Some(b'[') => {
            out.push('[');
            for (number, element) in serde_json::from_str::<Vec<&RawValue>>(text)?.into_iter().enumerate() {
                if number > 0 {
                    out.push(',');
                }
                out.push_str(&last_of_equal_keys(element.get())?);
            }
            out.push(']');
        }
        _ => out.push_str(text),
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{canonical, last_of_equal_keys, plain_number};

    #[test]
    fn a_number_is_written_out_with_every_digit() {
        for (text, plain) in [
            ("7", "7"),
            ("7.0", "7"),
            ("7e0", "7"),
            ("70E-1", "7"),
            ("-1.50", "-1.5"),
            ("0.07", "0.07"),
            ("-0.0", "0"),
            ("123456789012345678901617", "123456789012345678901617"),
            ("0.1234567890123456789012345", "0.1234567890123456789012345"),
            ("1e1000000000", "1e1000000000"),
            ("1e99999999999999999999", "1e99999999999999999999"),
        ] {
            assert_eq!(plain_number(text), plain, "{text}");
        }
    }

    #[test]
    fn the_last_of_equal_keys_is_kept() {
        let text = r#"{"a":1,"b":[{"c":1.50,"c":2.50}],"a":{"d":"x, y","d":null}}"#;
        assert_eq!(last_of_equal_keys(text).unwrap(), r#"{"a":{"d":null},"b":[{"c":2.50}]}"#);
    }

    #[test]
    fn texts_with_equal_values_have_one_form() {
        for (a, b) in [
            (r#"{"a":1,"b":[true,null]}"#, r#" { "b" : [ true , null ] , "a" : 1.0 } "#),
            ("700", "700.00"),
            ("7", "0.7e1"),
            ("100", "1E+2"),
            ("0", "-0.0"),
            (r#""é""#, r#""\u00e9""#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        ] {
            assert_eq!(canonical(a).unwrap(), canonical(b).unwrap(), "{a} and {b}");
        }
    }

    #[test]
    fn texts_with_different_values_have_two_forms() {
        for (a, b) in [
            ("7", "7.00000000000000001"),
            ("9007199254740993", "9007199254740992.0"),
            ("1", "-1"),
            ("1", "10"),
            (r#""1""#, "1"),
            ("[1,2]", "[2,1]"),
            (r#"{"a":[]}"#, r#"{"a":{}}"#),
        ] {
            assert_ne!(canonical(a).unwrap(), canonical(b).unwrap(), "{a} and {b}");
        }
    }
}
