//! Fields that the runtime adds to the data of events, as Eventide's events have them.

use serde::Serialize;

use crate::{Error, Result};

/// The JSON text of one field: `"name":value`.
pub(super) fn field(name: &str, value: &impl Serialize) -> Result<String> {
    let reject = |error: serde_json::Error| Error::invalid("event", error.to_string());
    let (name, value) = (serde_json::to_string(name).map_err(reject)?, serde_json::to_string(value).map_err(reject)?);
    Ok(format!("{name}:{value}"))
}

/// Appends `fields` to the object in the JSON text `data`. `fields` is one or more results of [`field`], separated by
/// commas.
pub(super) fn with_fields(mut data: String, fields: &str) -> Result<String> {
    if data == "null" || data == "{}" {
        return Ok(format!("{{{fields}}}"));
    }
    if data.pop() != Some('}') {
        return Err(Error::invalid(
            "event",
            format!("its data is not an object, so the fields `{fields}` cannot be added"),
        ));
    }
    data.reserve(fields.len() + 2);
    data.push(',');
    data.push_str(fields);
    data.push('}');
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Json;

    #[test]
    fn fields_are_added_to_any_object_and_to_nothing_else() {
        let fields = [field("sequence", &7).unwrap(), field("time", &"t").unwrap()].join(",");
        for (data, expected) in [
            ("null", r#"{"sequence":7,"time":"t"}"#),
            ("{}", r#"{"sequence":7,"time":"t"}"#),
            (r#"{"a":{}}"#, r#"{"a":{},"sequence":7,"time":"t"}"#),
            // The last of equal keys is kept.
            (r#"{"sequence":1}"#, r#"{"sequence":7,"time":"t"}"#),
        ] {
            let with = Json::parse(with_fields(data.to_owned(), &fields).unwrap()).unwrap();
            assert_eq!(with.text(), expected);
        }
        assert!(with_fields("[1]".to_owned(), &fields).is_err());
    }
}
