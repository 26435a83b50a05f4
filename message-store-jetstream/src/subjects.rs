//! The subjects of a store. A stream is one subject, so the server knows where each stream ends.
//!
//! | subject | what is there |
//! |---|---|
//! | `ms.STORE.m.CATEGORY.CARDINAL.REST` | the messages of a stream: the parts of its id before and after the first `+` |
//! | `ms.STORE.i.UUID` | the use of a message id; the message stands directly before it in the log |
//! | `ms.STORE.c.CATEGORY` | the category has messages |
//! | `ms.STORE.d.KIND.…` | a document: of what was written there, only the last is kept |

use message_store::{Category, MessageId, StreamName};

/// Names the subjects of one store.
#[derive(Clone, Debug)]
pub(crate) struct Subjects {
    root: String,
}

impl Subjects {
    /// The subjects of the store of this name, which is a token itself.
    pub(crate) fn new(store: &str) -> Self {
        Self { root: format!("ms.{store}") }
    }

    /// All subjects of the store.
    pub(crate) fn all(&self) -> String {
        format!("{}.>", self.root)
    }

    /// All messages.
    pub(crate) fn messages(&self) -> String {
        format!("{}.m.>", self.root)
    }

    /// The messages of a category.
    pub(crate) fn category(&self, category: &Category) -> String {
        format!("{}.m.{}.>", self.root, token(category.as_str()))
    }

    /// The messages of a category whose streams have this cardinal id.
    pub(crate) fn entity(&self, category: &Category, cardinal_id: &str) -> String {
        format!("{}.m.{}.{}.*", self.root, token(category.as_str()), token(cardinal_id))
    }

    /// The messages of a stream.
    pub(crate) fn stream(&self, stream: &StreamName) -> String {
        let (cardinal, rest) =
            match stream.id().map(|id| id.split_once('+').map_or((id, None), |(id, rest)| (id, Some(rest)))) {
                Some((cardinal, rest)) => (token(cardinal), rest.map_or_else(none, token)),
                None => (none(), none()),
            };
        format!("{}.m.{}.{cardinal}.{rest}", self.root, token(stream.category().as_str()))
    }

    /// The stream whose messages have this subject.
    pub(crate) fn stream_of(&self, subject: &str) -> Option<StreamName> {
        let mut tokens = subject.strip_prefix(&self.root)?.strip_prefix(".m.")?.split('.');
        let (category, cardinal, rest) = (tokens.next()?, tokens.next()?, tokens.next()?);
        let mut name = text(category)?;
        for (sign, part) in [('-', cardinal), ('+', rest)] {
            if part != NONE {
                name.push(sign);
                name.push_str(&text(part)?);
            }
        }
        // Another program may have written to a subject that no stream has.
        let stream = StreamName::from_database(&name);
        (self.stream(&stream) == subject).then_some(stream)
    }

    /// The use of a message id.
    pub(crate) fn id(&self, id: MessageId) -> String {
        format!("{}.i.{id}", self.root)
    }

    /// The mark of a category that has messages.
    pub(crate) fn mark(&self, category: &Category) -> String {
        format!("{}.c.{}", self.root, token(category.as_str()))
    }

    /// The marks of all categories.
    pub(crate) fn marks(&self) -> String {
        format!("{}.c.*", self.root)
    }

    /// The category that this subject marks.
    pub(crate) fn marked(&self, subject: &str) -> Option<Category> {
        let name = text(subject.strip_prefix(&self.root)?.strip_prefix(".c.")?)?;
        let category = StreamName::from_database(&name).category();
        (self.mark(&category) == subject).then_some(category)
    }

    /// A document of a kind, with a name of several parts.
    pub(crate) fn document(&self, kind: &str, name: &[&str]) -> String {
        let mut subject = format!("{}.d.{kind}", self.root);
        for part in name {
            subject.push('.');
            subject.push_str(&token(part));
        }
        subject
    }

    /// All documents of a kind whose names begin with these parts.
    pub(crate) fn documents(&self, kind: &str, name: &[&str]) -> String {
        format!("{}.>", self.document(kind, name))
    }

    /// The last part of a document's name.
    pub(crate) fn name_of(subject: &str) -> Option<String> {
        text(subject.rsplit('.').next()?)
    }

    /// The subject of wake-ups. It is no part of the log.
    pub(crate) fn wake_ups(&self) -> String {
        format!("wake-{}", self.root)
    }
}

/// The token of a part that a stream's name does not have. No text has this token, because `=` itself is written as `=3D`.
const NONE: &str = "==";

fn none() -> String {
    NONE.to_owned()
}

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// A text as one token of a subject. Bytes that a token cannot have are written as `=` and two hexadecimal digits.
fn token(text: &str) -> String {
    if text.is_empty() {
        return "=".to_owned();
    }
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            token.push(char::from(byte));
        } else {
            token.push('=');
            token.push(char::from(DIGITS[usize::from(byte >> 4)]));
            token.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    token
}

/// The text of a token. `None` if no text has this token.
fn text(token: &str) -> Option<String> {
    if token == "=" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = if *first == b'=' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            after
        } else {
            bytes.push(*first);
            after
        };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn streams_have_subjects_of_their_own() {
        let subjects = Subjects::new("main");
        for (stream, subject) in [
            ("account-123", "ms.main.m.account.123.=="),
            ("account:command-123+a+b", "ms.main.m.account=3Acommand.123.a=2Bb"),
            ("account", "ms.main.m.account.==.=="),
            ("account-", "ms.main.m.account.=.=="),
            ("account-=", "ms.main.m.account.=3D.=="),
            ("account-a-b.c+", "ms.main.m.account.a-b=2Ec.="),
            ("account-+a", "ms.main.m.account.=.a"),
        ] {
            let stream = StreamName::from_database(stream);
            assert_eq!(subjects.stream(&stream), subject);
            assert_eq!(subjects.stream_of(subject), Some(stream));
        }
        assert_eq!(subjects.stream_of("ms.other.m.account.1.=="), None);
        for foreign in ["account.=ZZ.==", "account", "account.1", "account.1.==.more", "account.=61.==", "a-b.1.=="] {
            assert_eq!(subjects.stream_of(&format!("ms.main.m.{foreign}")), None, "{foreign}");
        }
        assert_eq!(subjects.marked("ms.main.c.account"), Some(Category::new("account").unwrap()));
        assert_eq!((subjects.marked("ms.main.c.a-b"), subjects.marked("ms.main.c.=61")), (None, None));
    }

    proptest! {
        #[test]
        fn every_text_is_a_token(original in ".{0,40}") {
            let token = token(&original);
            prop_assert!(!token.is_empty() && token != NONE);
            prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte)));
            prop_assert_eq!(text(&token), Some(original));
        }
    }
}
