//! What a failed case prints: the lines that differ, and a few around them.

use std::fmt::{Debug, Display};

use similar::TextDiff;

/// Panics unless both are equal. `what` says what was found.
#[track_caller]
pub(super) fn assert_same<T: Debug + PartialEq + ?Sized>(found: &T, expected: &T, what: impl Display) {
    assert!(found == expected, "{what} is not as expected:\n{}", difference(found, expected));
}

/// A line that only `expected` has begins with `-`, a line that only `found` has with `+`.
fn difference<T: Debug + ?Sized>(found: &T, expected: &T) -> String {
    let (found, expected) = (format!("{found:#?}\n"), format!("{expected:#?}\n"));
    if found == expected {
        return format!("both are printed as\n{found}");
    }
    let difference = TextDiff::from_lines(&expected, &found);
    difference.unified_diff().context_radius(4).header("expected", "found").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_differ_are_marked() {
        let lines = "--- expected\n+++ found\n@@ -1,4 +1,4 @@\n [\n     1,\n-    2,\n+    3,\n ]\n";
        assert_eq!(difference(&[1, 3], &[1, 2]), lines);
    }

    #[test]
    fn values_that_differ_and_are_printed_alike_are_said_to_be() {
        assert_eq!(difference(&f64::NAN, &f64::NAN), "both are printed as\nNaN\n");
    }

    #[test]
    #[should_panic(expected = "the sum is not as expected")]
    fn different_values_panic() {
        assert_same(&1, &2, "the sum");
    }
}
