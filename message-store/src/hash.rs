//! Message DB's `hash_64`: the first eight bytes of the MD5 of a text, as a signed number.
//!
//! It divides consumer groups and names advisory locks, so it must equal the SQL function bit for bit.

use md5::{Digest, Md5};

/// Equals `message_store.hash_64(value)` in SQL.
pub(crate) fn hash_64(value: &str) -> i64 {
    let digest = Md5::digest(value.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_equals_message_db() {
        for (value, hash) in [
            ("someStream", 2_053_039_834_977_696_644),
            ("123", 2_318_431_741_638_412_123),
            ("a", 919_145_239_626_757_800),
            ("", -3_162_216_497_309_240_828),
            ("probe", -8_239_260_754_081_981_855),
        ] {
            assert_eq!(hash_64(value), hash, "{value:?}");
        }
    }
}
