//! One text for all JSON texts that say the same, by the rules of PostgreSQL's `jsonb`.
//!
//! Keys sorted, the last of two equal keys kept, no white space, one way to escape, and numbers by value: `7`, `7.0` and
//! `70e-1` are one number, told apart from `7.00000000000000001` because nothing goes through a float.

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

/// A number as sign, digits without outer zeros, and power of ten.
fn number(text: &str) -> String {
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let dropped = digits.len() - significant.len();
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return "0".to_owned();
    }
    // An exponent that does not fit is kept as text: it equals only itself.
    match exponent.parse::<i64>() {
        Ok(exponent) => {
            let shift = i64::try_from(dropped).unwrap_or(0) - i64::try_from(fraction.len()).unwrap_or(0);
            format!("{sign}{significant}e{}", exponent.saturating_add(shift))
        }
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn texts_that_say_the_same_have_one_form() {
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
    fn texts_that_differ_have_two() {
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
