//! JSON for people: indented, with all digits of its numbers.

use std::fmt::Write as _;

/// What is deeper is indented as this.
const DEEPEST: usize = 40;

/// The text with line breaks and indents, up to about this length. It must be JSON.
pub(crate) fn indented(text: &str, most: usize) -> String {
    let (mut shown, mut depth) = (String::new(), 0_usize);
    let (mut is_in_string, mut is_escaped) = (false, false);
    let mut characters = text.chars().peekable();
    let new_line = |shown: &mut String, depth: usize| {
        let _ = write!(shown, "\n{:width$}", "", width = depth.min(DEEPEST) * 2);
    };
    while let Some(character) = characters.next()
        && shown.len() <= most
    {
        if is_in_string {
            shown.push(character);
            (is_in_string, is_escaped) = (is_escaped || character != '"', !is_escaped && character == '\\');
            continue;
        }
        match character {
            '"' => {
                is_in_string = true;
                shown.push(character);
            }
            '{' | '[' => {
                shown.push(character);
                while characters.next_if(char::is_ascii_whitespace).is_some() {}
                if matches!(characters.peek(), Some('}' | ']')) {
                    shown.extend(characters.next());
                } else {
                    depth += 1;
                    new_line(&mut shown, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut shown, depth);
                shown.push(character);
            }
            ',' => {
                shown.push(character);
                new_line(&mut shown, depth);
            }
            ':' => shown.push_str(": "),
            character if character.is_ascii_whitespace() => {}
            character => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_keeps_its_digits() {
        let shown = indented(r#"{"a":[1.50,{ }],"b":"x,\"{y}\\","c":[]}"#, 1_000);
        assert_eq!(shown, "{\n  \"a\": [\n    1.50,\n    {}\n  ],\n  \"b\": \"x,\\\"{y}\\\\\",\n  \"c\": []\n}");
        assert_eq!(indented("null", 9), "null");
    }
}
