//! The size of a JSON text as PostgreSQL returns it.
//!
//! Problem: `jsonb` writes `, ` and `: `, and writes every number without an exponent. So a text that was written
//! within a limit could be above the limit when it is read, reserved or copied. Fix: the limits compare this size,
//! which is the same for the text that is written and for the text that is read, on every store.

use crate::canonical;

/// The number of bytes of the text as `jsonb` returns it. White space outside strings does not count. Escapes in
/// strings count as they are written, because `jsonb` never makes a string longer.
pub(super) fn stored_size(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut size, mut is_in_string) = (0, 0, false);
    while let Some(byte) = bytes.get(at) {
        let mut taken = 1;
        size += match (is_in_string, byte) {
            (true, b'\\') => {
                taken = 2;
                2
            }
            (_, b'"') => {
                is_in_string = !is_in_string;
                1
            }
            (false, b' ' | b'\t' | b'\n' | b'\r') => 0,
            (false, b',' | b':') => 2,
            (false, b'-' | b'0'..=b'9') => {
                let number = number_at(text, at);
                taken = number.len();
                let is_as_written = !number.starts_with("-0") && !number.contains(['e', 'E']);
                if is_as_written { taken } else { number_size(number) }
            }
            _ => 1,
        };
        at += taken;
    }
    size
}

fn number_at(text: &str, begin: usize) -> &str {
    let rest = text.get(begin..).unwrap_or_default();
    let length = rest.bytes().take_while(|byte| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')).count();
    rest.get(..length).unwrap_or_default()
}

/// The size of a number without an exponent: its digits before the point, and as many after it as it is precise to.
fn number_size(number: &str) -> usize {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    // PostgreSQL does not store a number that does not fit, so such a number keeps its text.
    let Some(exponent) = exponent.parse::<i64>().ok().filter(|_| canonical::fits_numeric(number)) else {
        return number.len();
    };
    let unsigned = mantissa.trim_start_matches('-');
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
    let after_point = length(fraction).saturating_sub(exponent).max(0);
    let zeros = whole.bytes().chain(fraction.bytes()).take_while(|digit| *digit == b'0').count();
    let significant = (whole.len() + fraction.len()).saturating_sub(zeros);
    // Zero has no sign, and one digit before the point.
    let is_zero = significant == 0;
    let sign = i64::from(!is_zero && mantissa.starts_with('-'));
    let shift = exponent.saturating_sub(length(fraction));
    let before_point = if is_zero { 1 } else { shift.saturating_add_unsigned(significant as u64).max(1) };
    let point = i64::from(after_point > 0);
    let size = [sign, before_point, point, after_point].into_iter().fold(0, i64::saturating_add);
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Json;

    #[test]
    fn it_is_the_size_of_the_text_that_postgres_returns() {
        for (text, returned) in [
            (r#"{"a":[1,2,{}],"b":"x,y: z"}"#, r#"{"a": [1, 2, {}], "b": "x,y: z"}"#),
            ("{ \"a\" :\n\t[ 1 ,2 ] }", r#"{"a": [1, 2]}"#),
            (r#"["\"1e9\\",1e9]"#, r#"["\"1e9\\", 1000000000]"#),
            ("1.50e1", "15.0"),
            ("1.5e-3", "0.0015"),
            ("-12.5E+2", "-1250"),
            ("123e-2", "1.23"),
            ("0.0012e2", "0.12"),
            ("0.001e5", "100"),
            ("0e5", "0"),
            ("0e-5", "0.00000"),
            ("0.000", "0.000"),
            ("-0.0", "0.0"),
            ("-0", "0"),
            ("-0.07", "-0.07"),
            ("1e99999999999999999999", "1e99999999999999999999"),
            ("1e200000", "1e200000"),
            ("not, json", "not,json "),
        ] {
            assert_eq!(stored_size(text), returned.len(), "{text}");
            assert_eq!(stored_size(returned.trim_end()), returned.len(), "{returned}");
        }
        assert_eq!(stored_size("1e131071"), 131_072);
        assert_eq!(stored_size("-2.5E-1000"), 1_004);
    }

    #[test]
    fn an_exponent_is_counted_and_a_word_with_digits_is_not() {
        let at_most = |text: &str| Json::from_database(Some(text.to_owned())).stored_size_at_most();
        for text in ["1e9", "[1.5E-3]", r#"{"a":7e+2}"#] {
            assert_eq!(at_most(text), stored_size(text), "{text}");
        }
        for text in ["", "1", "19", r#"{"1each":true}"#, r#""e9""#] {
            assert_eq!(at_most(text), 2 * text.len(), "{text}");
        }
    }
}
